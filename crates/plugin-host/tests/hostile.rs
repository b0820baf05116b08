//! Plugins that mean harm: each ends in a typed error, and the host goes on.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use eaves_model::Value;
use eaves_plugin_host::scan::Refused;
use eaves_plugin_host::{CompileError, Host, LoadError, Plugin, PluginError};
use std::time::{Duration, Instant};
use support::{
    DEADLINE, built, component, floats, host, hostile, list, lists, load, module, module_of, reading,
};

const ANSWER: &str = "(i32.const 1024)";

/// The host still serves others.
fn still_works(host: &Host) {
    let plugin = load(host, &built("dew-point"));
    let batch = reading(&[
        ("temperature", "degC", Value::Float(25.0)),
        ("relative_humidity", "%", Value::Float(50.0)),
    ]);
    assert_eq!(plugin.validate(&batch, "{}", DEADLINE).unwrap().derived.len(), 1);
}

#[track_caller]
fn validate(plugin: &Plugin, deadline: Duration) -> PluginError {
    plugin.validate(&floats(), "{}", deadline).unwrap_err()
}

#[test]
fn an_empty_answer_accepts_everything() {
    let host = host();
    let plugin = hostile(&host, "", ANSWER).unwrap();
    assert_eq!(plugin.describe().name, "hostile");
    assert_eq!(plugin.validate(&floats(), "{}", DEADLINE).unwrap(), Default::default());
}

#[test]
fn an_endless_loop_is_stopped_in_time() {
    let host = host();
    let plugin = hostile(&host, "", "(loop $again (br $again)) unreachable").unwrap();
    for limit in [Duration::from_millis(20), Duration::from_millis(100)] {
        let start = Instant::now();
        let error = validate(&plugin, limit);
        assert!(matches!(error, PluginError::Deadline { .. }), "{error}");
        let took = start.elapsed();
        assert!(took >= limit && took < limit + Duration::from_secs(2), "{took:?} of {limit:?}");
    }
    let error = validate(&plugin, Duration::ZERO);
    assert!(matches!(error, PluginError::Deadline { .. }), "{error}");
    still_works(&host);
}

#[test]
fn an_endless_loop_while_describing_is_stopped() {
    let text = module_of("", "(loop $l (br $l)) unreachable", "(i32.const 256)", ANSWER);
    let error = host().check_and_compile(&component(&text)).unwrap_err();
    let describe =
        matches!(&error, CompileError::NotAPlugin(LoadError::Describe(PluginError::Deadline { .. })));
    assert!(describe, "{error}");
}

#[test]
fn memory_grows_to_the_limit_and_no_further() {
    let grow =
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let host = host();
    let error = validate(&hostile(&host, "", grow).unwrap(), DEADLINE);
    assert!(matches!(error, PluginError::Memory { .. }), "{error}");
    still_works(&host);
}

#[test]
fn a_memory_that_starts_too_large_is_not_loaded() {
    let text =
        module("", ANSWER).replace(r#"(memory (export "memory") 2)"#, r#"(memory (export "memory") 60000)"#);
    let error = host().check_and_compile(&component(&text)).unwrap_err();
    assert!(matches!(error, CompileError::NotAPlugin(_)), "{error}");
}

#[test]
fn recursion_ends_at_the_stack_limit() {
    let host = host();
    let plugin = hostile(
        &host,
        "(func $deep (param i64) (result i64) (i64.add (local.get 0) (call $deep (i64.add (local.get 0) (i64.const 1)))))",
        "(drop (call $deep (i64.const 0))) (i32.const 1024)",
    );
    let error = validate(&plugin.unwrap(), DEADLINE);
    assert!(matches!(&error, PluginError::Trapped { trap } if trap.contains("stack")), "{error}");
    still_works(&host);
}

#[test]
fn tables_do_not_grow_without_end() {
    let host = host();
    let plugin = hostile(
        &host,
        "(table $t 1 funcref)",
        "(loop $again (br_if $again (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
         (if (i32.gt_u (table.size $t) (i32.const 10000)) (then unreachable)) (i32.const 1024)",
    );
    plugin.unwrap().validate(&floats(), "{}", DEADLINE).unwrap();
    let bomb = hostile(&host, "(table $t 4000000 funcref)", ANSWER).unwrap_err();
    assert!(matches!(bomb, CompileError::NotAPlugin(_)), "{bomb}");
    still_works(&host);
}

#[test]
fn nothing_is_remembered_between_calls() {
    let host = host();
    let count = "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
                 (if (i32.gt_u (global.get $calls) (i32.const 1)) (then unreachable))
                 (if (i32.load (i32.const 4096)) (then unreachable))
                 (i32.store (i32.const 4096) (i32.const 1)) (i32.const 1024)";
    let plugin = hostile(&host, "(global $calls (mut i32) (i32.const 0))", count).unwrap();
    for _ in 0..40 {
        plugin.validate(&floats(), "{}", DEADLINE).unwrap();
    }
}

#[test]
fn more_calls_than_instances_is_busy_and_passes() {
    let mut config = eaves_plugin_host::HostConfig::new(&"5a".repeat(32)).unwrap();
    config.concurrency = 1;
    let host = Host::new(config).unwrap();
    let looping = hostile(&host, "", "(loop $again (br $again)) unreachable").unwrap();
    let calm = hostile(&host, "", ANSWER).unwrap();
    std::thread::scope(|scope| {
        let busy = scope.spawn(|| {
            loop {
                match validate(&looping, Duration::from_millis(500)) {
                    PluginError::Busy => {}
                    error => break error,
                }
            }
        });
        let end = Instant::now() + DEADLINE;
        let error = loop {
            match calm.validate(&floats(), "{}", DEADLINE) {
                Err(error) => break error,
                Ok(_) => assert!(Instant::now() < end, "never busy"),
            }
        };
        assert!(matches!(error, PluginError::Busy) && error.is_retryable(), "{error}");
        assert!(matches!(busy.join().unwrap(), PluginError::Deadline { .. }));
    });
    calm.validate(&floats(), "{}", DEADLINE).unwrap();
}

/// An answer made by `code` must be refused, the message naming `list` and `what`.
#[track_caller]
fn bad_answer(code: &str, wanted: &str) {
    let host = host();
    let data = r#"(data (i32.const 2048) "\00\00\00\00\01\00\00\00\02\00\00\00\ff\00\00\00")
                  (data (i32.const 2064) "\00\00\00\00\00\00\f8\7f")
                  (data (i32.const 2080) "\00\00\00\00\03\00\00\00" "\40\08\00\00\08\00\00\00")
                  (data (i32.const 2112) "too_high")"#;
    let plugin = hostile(&host, data, &format!("{code} (i32.const 1024)")).unwrap();
    let error = plugin.validate(&floats(), "{}", DEADLINE).unwrap_err();
    let shown = error.to_string();
    assert!(matches!(error, PluginError::BadAnswer(_)), "{shown}");
    assert!(shown.contains(wanted), "{shown}\nshould say {wanted}");
    still_works(&host);
}

#[test]
fn rows_and_reasons_out_of_range_are_refused() {
    use lists::*;
    let reason = list(REASONS, 2240, 1);
    bad_answer(
        &format!("{} {} {reason}", list(REJECTED_ROW, 2060, 1), list(REJECTED_REASON, 2048, 1)),
        "rejected-row[0]: names row 255 of 3",
    );
    bad_answer(
        &format!("{} {}", list(REJECTED_ROW, 2048, 1), list(REJECTED_REASON, 2052, 1)),
        "rejected-reason[0]: names reason 1 of 0",
    );
    bad_answer(&list(REJECTED_ROW, 2048, 2), "rejected-reason: has 0 entries and rejected-row has 2");
    bad_answer(
        &format!("{} {}", list(REPLACED_ROW, 2060, 1), list(REPLACED_BITS, 2048, 1)),
        "replaced-row[0]: names row 255 of 3",
    );
}

#[test]
fn a_row_has_one_verdict() {
    use lists::*;
    bad_answer(
        &format!(
            "{} {} {} {}",
            list(REJECTED_ROW, 2048, 1),
            list(REJECTED_REASON, 2048, 1),
            list(REPLACED_ROW, 2048, 1),
            list(REPLACED_BITS, 2048, 1)
        ),
        "replaced-row[0]: names row 0, which has a verdict already",
    );
}

#[test]
fn a_value_that_is_none_is_refused() {
    use lists::*;
    bad_answer(
        &format!("{} {}", list(REPLACED_ROW, 2048, 1), list(REPLACED_BITS, 2064, 1)),
        "replaced-bits[0]: NaN is not a value",
    );
}

#[test]
fn an_unreadable_reason_is_refused() {
    use lists::*;
    bad_answer(
        &format!(
            "{} {} {}",
            list(REJECTED_ROW, 2048, 1),
            list(REJECTED_REASON, 2048, 1),
            list(REASONS, 2240, 1)
        ),
        "reasons[0]: the code is not snake case",
    );
}

#[test]
fn derived_values_are_checked_too() {
    use lists::*;
    bad_answer(
        &format!(
            "{} {} {}",
            list(DERIVED_ROW, 2048, 1),
            list(DERIVED_ATTRIBUTE, 2048, 1),
            list(DERIVED_BITS, 2048, 1)
        ),
        "derived-attribute[0]: names attribute 0 of 0",
    );
    bad_answer(&list(DERIVED_ATTRIBUTES, 2240, 1), "derived-attributes[0]: the name is empty");
}

#[test]
fn texts_and_decimals_are_checked_before_they_are_used() {
    use lists::*;
    bad_answer(&list(TEXTS_BLOB, 2112, 8), "texts: the offsets do not go from 0 to the end of the blob");
    // Offsets 0, 255, 8.
    bad_answer(
        &format!(
            "(i32.store (i32.const 3000) (i32.const 0)) (i32.store (i32.const 3004) (i32.const 255))
             (i32.store (i32.const 3008) (i32.const 8)) {} {}",
            list(TEXTS_BLOB, 2112, 8),
            list(TEXTS_OFFSETS, 3000, 3)
        ),
        "texts[2]: the offset is below the one before",
    );
    bad_answer(&list(DECIMALS_LOW, 2048, 1), "decimals: has lists of 1, 0 and 0 entries");
}

/// What cannot even be lifted is a crash of the plugin, not of the host.
#[test]
fn lists_beyond_memory_and_beyond_measure_are_refused() {
    use lists::*;
    let host = host();
    for code in [
        list(REJECTED_ROW, 0x7fff_0000, 64),
        list(REJECTED_ROW, 2048, i32::MAX),
        list(REASONS, 2048, 0x1000_0000),
        // Two million empty reasons: cheap to write, dear to lift.
        format!("(drop (memory.grow (i32.const 800))) {}", list(REASONS, 65536, 2_000_000)),
        // Not UTF-8.
        format!("(i32.store8 (i32.const 3000) (i32.const 255)) {}", list(TEXTS_BLOB, 3000, 1)),
        // A result that is neither ok nor error.
        "(i32.store8 (i32.const 1024) (i32.const 7))".into(),
    ] {
        let plugin = hostile(&host, "", &format!("{code} (i32.const 1024)")).unwrap();
        let error = validate(&plugin, DEADLINE);
        assert!(matches!(error, PluginError::Trapped { .. }), "{code}: {error:?}");
    }
    let plugin = hostile(&host, "", "(i32.const -8)").unwrap();
    assert!(matches!(validate(&plugin, DEADLINE), PluginError::Trapped { .. }));
    still_works(&host);
}

#[test]
fn an_allocator_that_lies_hurts_only_itself() {
    let host = host();
    let text = module("", ANSWER).replace(
        "(local.get $at))\n            (func (export \"eaves",
        "(i32.const -16))\n            (func (export \"eaves",
    );
    let plugin = load(&host, &component(&text));
    let error = validate(&plugin, DEADLINE);
    assert!(matches!(error, PluginError::Trapped { .. }), "{error:?}");
    still_works(&host);
}

#[test]
fn start_functions_and_imports_are_refused_before_compiling() {
    let host = host();
    let error = hostile(&host, "(func $go) (start $go)", ANSWER).unwrap_err();
    assert!(matches!(error, CompileError::Refused(Refused::StartFunction)), "{error}");

    let component = |text: &str| wat::parse_str(text).unwrap();
    let error = host.check_and_compile(&component(r#"(component (import "wasi:cli/stdin@0.2.0" (func)))"#));
    assert!(
        matches!(error, Err(CompileError::Refused(Refused::Import(name))) if name.starts_with("wasi:cli"))
    );

    let error = host.check_and_compile(&component("(module)")).unwrap_err();
    assert!(matches!(error, CompileError::Refused(Refused::CoreModule)), "{error}");
    for bytes in [&b""[..], b"\0asm", b"hello, this is text"] {
        assert!(host.check_and_compile(bytes).is_err());
    }
    let error = host.check_and_compile(&component("(component)")).unwrap_err();
    assert!(matches!(error, CompileError::NotAPlugin(LoadError::WrongWorld(_))), "{error}");
}
