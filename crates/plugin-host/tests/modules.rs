//! Hostile modules, written by hand: each ends as it should, in this process and in one of its
//! own, and others are served as before. (Faults of the answers' content are in `hostile.rs`,
//! compile bombs in `compile.rs`.)

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use eaves_plugin_host::{CompileError, Host, HostConfig, LoadError, PluginError, RunnerCommand};
use std::time::Duration;
use support::{component, floats, host, module, module_of};

const ANSWER: &str = "(i32.const 1024)";
const EVERYTHING: &str = "(i32.const 256)";
const DESCRIPTION: &str = "(i32.const 64)";

/// How a module ends, and what the message says.
enum Ends {
    /// Before it is compiled, by the compiler, or as no plugin.
    Refused(&'static str),
    Deadline,
    Memory,
    Trapped(&'static str),
    BadAnswer(&'static str),
    Settings(&'static str),
    Failed(&'static str),
    /// It hurts nobody.
    Well,
}
use Ends::{BadAnswer, Deadline, Failed, Memory, Refused, Settings, Trapped, Well};

struct Case {
    name: &'static str,
    text: String,
    ends: Ends,
}

/// A module whose `validate` is hostile.
fn validate(name: &'static str, more: &str, body: &str, ends: Ends) -> Case {
    Case { name, text: module(more, body), ends }
}

fn describe(name: &'static str, more: &str, body: &str, ends: Ends) -> Case {
    Case { name, text: module_of(more, body, EVERYTHING, ANSWER), ends }
}

fn configure(name: &'static str, more: &str, body: &str, ends: Ends) -> Case {
    Case { name, text: module_of(more, DESCRIPTION, body, ANSWER), ends }
}

/// The template with something of it replaced.
fn replaced(name: &'static str, what: &str, by: &str, ends: Ends) -> Case {
    let text = module("", ANSWER);
    assert!(text.contains(what), "{name}: the template has no {what}");
    Case { name, text: text.replace(what, by), ends }
}

fn traps() -> Vec<Case> {
    let table =
        "(type $f (func)) (table $t 2 2 funcref) (func $other (param i32)) (elem (i32.const 1) $other)";
    vec![
        validate("unreachable", "", "unreachable", Trapped("unreachable")),
        validate(
            "division by zero",
            "",
            "(i32.div_u (i32.const 1) (i32.const 0))",
            Trapped("divide by zero"),
        ),
        validate(
            "division that overflows",
            "",
            "(i32.div_s (i32.const 0x80000000) (i32.const -1))",
            Trapped("integer overflow"),
        ),
        validate("NaN as an integer", "", "(i32.trunc_f64_s (f64.const nan))", Trapped("invalid conversion")),
        validate("reads beyond memory", "", "(i32.load (i32.const -4))", Trapped("out of bounds memory")),
        validate(
            "reads far beyond memory",
            "",
            "(i32.load offset=0xffffffff (i32.const -1))",
            Trapped("out of bounds memory"),
        ),
        validate(
            "writes beyond memory",
            "",
            "(i64.store (i32.const -8) (i64.const 1)) (i32.const 1024)",
            Trapped("out of bounds memory"),
        ),
        validate(
            "fills beyond memory",
            "",
            "(memory.fill (i32.const 16) (i32.const 255) (i32.const -1)) (i32.const 1024)",
            Trapped("out of bounds memory"),
        ),
        validate(
            "copies from beyond memory",
            "",
            "(memory.copy (i32.const 16) (i32.const -64) (i32.const 128)) (i32.const 1024)",
            Trapped("out of bounds memory"),
        ),
        validate(
            "copies from a segment that is gone",
            r#"(data $d "x")"#,
            "(data.drop $d) (memory.init $d (i32.const 0) (i32.const 0) (i32.const 1)) (i32.const 1024)",
            Trapped("out of bounds memory"),
        ),
        validate(
            "calls nothing",
            table,
            "(call_indirect (type $f) (i32.const 0)) (i32.const 1024)",
            Trapped("uninitialized element"),
        ),
        validate(
            "calls beyond the table",
            table,
            "(call_indirect (type $f) (i32.const 99)) (i32.const 1024)",
            Trapped("undefined element"),
        ),
        validate(
            "calls by another name",
            table,
            "(call_indirect (type $f) (i32.const 1)) (i32.const 1024)",
            Trapped("indirect call type mismatch"),
        ),
        validate(
            "sets beyond the table",
            table,
            "(table.set $t (i32.const 2) (ref.null func)) (i32.const 1024)",
            Trapped("out of bounds table"),
        ),
        validate(
            "calls itself",
            "(func $a (param i64) (result i64) (i64.add (local.get 0) (call $b (local.get 0))))
             (func $b (param i64) (result i64) (i64.sub (local.get 0) (call $a (local.get 0))))",
            "(drop (call $a (i64.const 1))) (i32.const 1024)",
            Trapped("stack"),
        ),
    ]
}

fn greed() -> Vec<Case> {
    let grow = "(loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))";
    vec![
        validate("never ends", "", "(loop $l (br $l)) unreachable", Deadline),
        validate("never ends, calling", "(func $n)", "(loop $l (call $n) (br $l)) unreachable", Deadline),
        validate(
            "fills memory for ever",
            "",
            "(loop $l (memory.fill (i32.const 4096) (i32.const 1) (i32.const 100000)) (br $l)) unreachable",
            Deadline,
        ),
        validate("takes all memory and fails", "", &format!("{grow} unreachable"), Memory),
        validate("takes all memory and goes on", "", &format!("{grow} (i32.const 1024)"), Well),
        validate("asks for four gigabytes", "", "(drop (memory.grow (i32.const 65535))) unreachable", Memory),
        validate(
            "writes all memory it can get",
            "",
            &format!(
                "{grow} (memory.fill (i32.const 4096) (i32.const 7) (i32.const 67000000)) (i32.const 1024)"
            ),
            Well,
        ),
        validate(
            "grows a table for ever",
            "(table $t 1 funcref)",
            "(loop $l (br_if $l (i32.ne (table.grow $t (ref.null func) (i32.const 500)) (i32.const -1)))) (i32.const 1024)",
            Well,
        ),
        replaced("never allocates", "(local.get $at))", "(loop $l (br $l)) unreachable)", Deadline),
        replaced("allocates by crashing", "(local.get $at))", "unreachable)", Trapped("unreachable")),
        replaced("allocates beyond memory", "(local.get $at))", "(i32.const -16))", Trapped("")),
        replaced("allocates where it likes", "(local.get $at))", "(i32.const 3))", Trapped("align")),
        // All lists in one place: what it reads is nonsense, what it answers is right.
        replaced("allocates one place twice", "(local.get $at))", "(i32.const 65536))", Well),
    ]
}

fn answers() -> Vec<Case> {
    let post = |body: &str| {
        format!(r#"(func (export "cabi_post_eaves:rules/validation@1.0.0#validate") (param i32) {body})"#)
    };
    // At 1024: which error, its path and its message.
    let error = |which: i32, length: i32| {
        format!(
            "(i32.store8 (i32.const 1024) (i32.const 1)) (i32.store8 (i32.const 1028) (i32.const {which}))
             (i32.store (i32.const 1032) (i32.const 16)) (i32.store (i32.const 1036) (i32.const 7))
             (i32.store (i32.const 1040) (i32.const 2048)) (i32.store (i32.const 1044) (i32.const {length}))
             (i32.const 1024)"
        )
    };
    let text = r#"(data (i32.const 2048) "no\0a\1b[31m good")"#;
    vec![
        validate("answers out of place", "", "(i32.const 1025)", Trapped("align")),
        validate("answers beyond memory", "", "(i32.const -8)", Trapped("")),
        validate("answers at the very end", "", "(i32.const 131064)", Trapped("")),
        validate(
            "answers neither yes nor no",
            "",
            "(i32.store8 (i32.const 1024) (i32.const 9)) (i32.const 1024)",
            Trapped(""),
        ),
        validate(
            "fails with control characters",
            text,
            &error(1, 14).replace(
                "(i32.const 16)) (i32.store (i32.const 1036) (i32.const 7))",
                "(i32.const 2048)) (i32.store (i32.const 1036) (i32.const 14))",
            ),
            Failed("no  [31m good"),
        ),
        validate("blames the settings at length", text, &error(0, 60_000), Settings("hostile")),
        validate("blames the settings beyond memory", text, &error(0, 200_000), Trapped("")),
        validate("fails in another way", text, &error(7, 14), Trapped("")),
        validate("crashes when it is thanked", &post("unreachable"), ANSWER, Trapped("unreachable")),
        validate("never lets go", &post("(loop $l (br $l))"), ANSWER, Deadline),
    ]
}

fn descriptions() -> Vec<Case> {
    let set = |at: i32, address: i32, length: i32| {
        format!(
            "(i32.store (i32.const {at}) (i32.const {address})) (i32.store (i32.const {}) (i32.const {length}))",
            at + 4
        )
    };
    let texts = r#"(data (i32.const 2048) "Loud not.a.version {\"\0a") (data (i32.const 2112) "\00\08\00\00\04\00\00\00\00\08\00\00\04\00\00\00")"#;
    let says = |what: String| format!("{what} (i32.const 64)");
    let some = |at: i32, length: i32| {
        format!("(i32.store8 (i32.const {at}) (i32.const 1)) {}", set(at + 4, 2112, length))
    };
    vec![
        describe(
            "describes itself by crashing",
            "",
            "unreachable",
            Refused("could not describe itself: the plugin crashed"),
        ),
        describe(
            "describes itself for ever",
            "",
            "(loop $l (br $l)) unreachable",
            Refused("could not describe itself: the plugin was stopped"),
        ),
        describe("has no name", texts, &says(set(64, 16, 0)), Refused("name: not 1 to 64 lower case")),
        describe("has a loud name", texts, &says(set(64, 2048, 4)), Refused("name: not 1 to 64 lower case")),
        describe("has a name without end", texts, &says(set(64, 16, 100_000)), Refused("")),
        describe("has no version", texts, &says(set(72, 2053, 13)), Refused("version: not a version")),
        describe(
            "has a schema that is none",
            texts,
            &says(set(112, 2067, 2)),
            Refused("settings-schema: not a JSON object"),
        ),
        describe(
            "has a schema without end",
            texts,
            &says(set(112, 4096, 100_000)),
            Refused("settings-schema: over 64 KiB"),
        ),
        describe(
            "wants a name twice",
            texts,
            &says(some(80, 2)),
            Refused("attributes[1]: names \"Loud\" twice"),
        ),
        describe(
            "wants names beyond measure",
            "",
            &says(set(104, 65536, 2_000_000)),
            Refused("could not describe itself"),
        ),
        configure("takes settings by crashing", "", "unreachable", Trapped("unreachable")),
        configure("takes settings for ever", "", "(loop $l (br $l)) unreachable", Deadline),
        configure(
            "takes no settings",
            "",
            "(i32.store8 (i32.const 256) (i32.const 1)) (i32.store (i32.const 260) (i32.const 16)) (i32.store (i32.const 264) (i32.const 7)) (i32.const 256)",
            Settings("hostile"),
        ),
        configure(
            "wants a value before twice",
            texts,
            &format!("{} (i32.const 256)", set(256 + 4 + 24, 2112, 2)),
            BadAnswer("previous[1]: names \"Loud\" twice"),
        ),
    ]
}

fn shapes() -> Vec<Case> {
    let more = |name, more: &str, ends| validate(name, more, ANSWER, ends);
    let deep = format!("{}{}", "(block ".repeat(60_000), ")".repeat(60_000));
    vec![
        more("starts by itself", "(func $go) (start $go)", Refused("start function")),
        more("has two memories", "(memory 1)", Refused("multi")),
        more("has a table beyond measure", "(table 4000000 funcref)", Refused("")),
        more("has five tables", &"(table 1 funcref)".repeat(5), Refused("")),
        more(
            "writes beyond memory before it starts",
            r#"(data (i32.const 131072) "x")"#,
            Refused("out of bounds memory"),
        ),
        more(
            "fills beyond its table before it starts",
            "(table 1 funcref) (func $f) (elem (i32.const 7) $f)",
            Refused("out of bounds table"),
        ),
        more(
            "shares memory",
            "(global $g (mut i32) (i32.const 0)) (func (drop (i32.atomic.load (i32.const 0))))",
            Refused("threads"),
        ),
        more("throws", "(tag $t) (func (throw $t))", Refused("exceptions")),
        more("collects garbage", "(type $s (struct (field i32)))", Refused("gc")),
        more("calls at its end", "(func $f (result i32) (return_call $f))", Refused("tail call")),
        more(
            "is not so sure",
            "(func (param v128) (result v128) (i8x16.relaxed_swizzle (local.get 0) (local.get 0)))",
            Refused("relaxed"),
        ),
        more(
            "has locals without end",
            &format!("(func (local {}))", "i64 ".repeat(2_100)),
            Refused("locals of a function"),
        ),
        more(
            "has parameters without end",
            &format!("(func (param {}))", "i32 ".repeat(80)),
            Refused("parameters of a function"),
        ),
        more("is nested deeply", &format!("(func {deep})"), Well),
        replaced(
            "starts with four gigabytes",
            r#"(memory (export "memory") 2)"#,
            r#"(memory (export "memory") 65536)"#,
            Refused(""),
        ),
        replaced(
            "counts memory in 64 bits",
            r#"(memory (export "memory") 2)"#,
            r#"(memory (export "memory") i64 2)"#,
            Refused(""),
        ),
    ]
}

fn ended(outcome: Result<(), PluginError>, ends: &Ends) -> Result<(), String> {
    let shown =
        format!("{outcome:?}: {}", outcome.as_ref().err().map(ToString::to_string).unwrap_or_default());
    let right = match (ends, outcome) {
        (Well, Ok(()))
        | (Deadline, Err(PluginError::Deadline { .. }))
        | (Memory, Err(PluginError::Memory { .. })) => true,
        (Trapped(text), Err(PluginError::Trapped { .. }))
        | (BadAnswer(text), Err(PluginError::BadAnswer(_)))
        | (Settings(text), Err(PluginError::Settings { .. }))
        | (Failed(text), Err(PluginError::Failed(_))) => shown.contains(text) && shown.len() < 2_000,
        _ => false,
    };
    if right { Ok(()) } else { Err(shown) }
}

fn run(cases: Vec<Case>, at_least: usize) {
    assert!(cases.len() >= at_least, "{}", cases.len());
    let here = host();
    let command = RunnerCommand {
        program: env!("CARGO_BIN_EXE_eaves-plugin-tool").into(),
        args: vec!["run-plugins".into()],
    };
    let there = Host::isolated(HostConfig::new(&"5a".repeat(32)).unwrap(), command).unwrap();
    let calm = here.check_and_compile(&component(&module("", ANSWER))).unwrap();
    let calm = [here.load(&calm).unwrap(), there.load(&calm).unwrap()];
    let mut wrong = Vec::new();
    for Case { name, text, ends } in cases {
        let compiled = wat::parse_str(&text).map_err(|e| e.to_string()).and_then(|core| {
            // What the tools refuse to make a component of never gets as far as an upload.
            eaves_plugin_host::componentize(&core).map_err(|e| e.to_string())
        });
        let artefact = compiled.and_then(|wasm| {
            here.check_and_compile(&wasm).map_err(|e| match e {
                CompileError::NotAPlugin(LoadError::Load(e)) => format!("{e:#}"),
                other => other.to_string(),
            })
        });
        match (artefact, &ends) {
            (Err(why), Refused(text)) if why.to_lowercase().contains(text) || why.contains(text) => {}
            (Err(why), _) => wrong.push(format!("{name}: not loaded: {why}")),
            (Ok(_), Refused(_)) => wrong.push(format!("{name}: loaded")),
            (Ok(artefact), ends) => {
                for host in [&here, &there] {
                    let plugin = host.load(&artefact).unwrap();
                    let limit =
                        if matches!(ends, Deadline) { Duration::from_millis(60) } else { support::DEADLINE };
                    let outcome = plugin.validate(&floats(), "{}", limit).map(drop);
                    if let Err(shown) = ended(outcome, ends) {
                        wrong.push(format!("{name}: {shown}"));
                    }
                }
            }
        }
        for calm in &calm {
            calm.validate(&floats(), "{}", support::DEADLINE).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn modules_that_crash() {
    run(traps(), 15);
}

#[test]
fn modules_that_want_everything() {
    run(greed(), 13);
}

#[test]
fn modules_that_answer_nonsense() {
    run(answers(), 10);
}

#[test]
fn modules_that_lie_about_themselves() {
    run(descriptions(), 14);
}

#[test]
fn modules_that_are_not_what_a_plugin_is() {
    run(shapes(), 16);
}
