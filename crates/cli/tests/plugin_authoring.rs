//! From `eaves plugin new` to verdicts of the real host, outside the repository. Compilers are
//! installed once, to `.tools/plugins`. Rust, C, AssemblyScript and TypeScript go further, to
//! activation and rollback, in the platform's scenarios (`tests/platform/authoring.rs`).
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use serde_json::Value as Json;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

fn eaves(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_eaves"));
    command.args(args).current_dir(folder);
    if std::env::var_os("EAVES_TOOLS_DIR").is_none() {
        command.env("EAVES_TOOLS_DIR", format!("{ROOT}/.tools/plugins"));
    }
    // Cargo's own variables would make a project part of this build.
    for name in ["CARGO_TARGET_DIR", "CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS", "EAVES_CC"] {
        command.env_remove(name);
    }
    command.output().unwrap()
}

#[track_caller]
fn succeeds(folder: &Path, args: &[&str]) -> String {
    let output = eaves(folder, args);
    let (said, complained) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "eaves {}: {said}{complained}", args.join(" "));
    said
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A project made, tested and run on its sample: all languages say the same of the same values.
fn authored(language: &str) {
    let home = tempfile::tempdir().unwrap();
    succeeds(home.path(), &["plugin", "new", "limits", "--lang", language]);
    let project: PathBuf = home.path().join("limits");
    let said = succeeds(&project, &["plugin", "test"]);
    assert!(said.contains("limits 0.1.0: 7 of 7 cases passed."), "{said}");
    let said = succeeds(&project, &["plugin", "run", "sample.ndjson", "--json"]);
    let lines: Vec<Json> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (summary, values) = lines.split_last().unwrap();
    assert_eq!((&summary["values"], &summary["accepted"]), (&9.into(), &6.into()), "{summary}");
    assert_eq!(summary["rejected"], serde_json::json!({"too_hot": 1, "unknown_state": 2}));
    let hot = values.iter().find(|v| v["value"] == 95.5).unwrap();
    assert_eq!((&hot["code"], &hot["text"]), (&"too_hot".into(), &"95.5 is over 90".into()));
    let near = values.iter().find(|v| v["value"] == 88.25).unwrap();
    assert_eq!(near["derived"], serde_json::json!({"near_limit": true}));
    let foreign = values.iter().find(|v| v["value"] == "größer 🌡").unwrap();
    assert_eq!(foreign["text"], "größer 🌡 is none of online, offline, fault");
    let settings = succeeds(
        &project,
        &["plugin", "run", "sample.ndjson", "--changed", "--settings", r#"{"highest": 20}"#],
    );
    assert!(settings.contains("too_hot 3"), "{settings}");
}

#[test]
fn python() {
    authored("python");
}

/// The example that decides which attributes are hot, in a copy of its own: the same cases hold
/// in all languages.
fn promotes(language: &str) {
    let home = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .args(["-R", &format!("{ROOT}/plugins/examples/read-often/{language}"), "project"])
        .current_dir(home.path())
        .status();
    assert!(copied.unwrap().success());
    let cases = format!("{ROOT}/plugins/examples/read-often/cases");
    let project = home.path().join("project");
    let said = succeeds(&project, &["plugin", "test", &cases]);
    assert!(said.contains("read-often 1.0.0: 5 of 5 cases passed."), "{said}");
}

#[test]
fn c_decides_what_is_hot() {
    promotes("c");
}

#[test]
fn assemblyscript_decides_what_is_hot() {
    promotes("assemblyscript");
}

#[test]
fn typescript_decides_what_is_hot() {
    promotes("js");
}

#[test]
fn the_javascript_sdk_passes_its_own_tests() {
    let of = |name: &str| format!("{ROOT}/plugins/sdk/js/test/{name}.test.mjs");
    let output = Command::new("node").args(["--test", &of("checks"), &of("helpers")]).output().unwrap();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

fn standard() -> String {
    format!("{ROOT}/target/plugins/standard.wasm")
}

#[test]
fn a_case_that_does_not_hold_is_shown_and_fails() {
    let folder = tempfile::tempdir().unwrap();
    let cases = r#"{"cases": [{"name": "range", "settings": {"attributes": {"x": {"max": 10}}},
        "readings": [{"values": {"x": 11, "y": 1}}]}]}"#;
    std::fs::write(folder.path().join("cases.json"), cases).unwrap();
    let output = eaves(folder.path(), &["plugin", "test", "cases.json", "--plugin", &standard()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    assert!(said.contains("FAILED range"), "{said}");
    assert!(said.contains("x = 11"), "{said}");
    assert!(
        said.contains("expected accept") && said.contains("got      reject above_range: 11 is above 10"),
        "{said}"
    );
    assert!(said.contains("0 of 1 cases passed"), "{said}");
}

#[test]
fn the_standard_plugin_names_the_setting_that_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sample.ndjson"), "").unwrap();
    let wrong = r#"{"attributes": {"temperature": {"max_rate": {"change": 1, "per": "soon"}}}}"#;
    let args = ["plugin", "run", "sample.ndjson", "--plugin", &standard(), "--settings", wrong];
    let output = eaves(folder.path(), &args);
    let why = text(&output.stderr);
    assert!(!output.status.success() && why.contains("attributes.temperature.max_rate.per"), "{why}");
}

#[test]
fn a_project_that_is_none_and_a_plugin_that_imports_say_so() {
    let folder = tempfile::tempdir().unwrap();
    let why = text(&eaves(folder.path(), &["plugin", "build"]).stderr);
    assert!(why.contains("holds no plugin's source") && why.contains("eaves plugin new"), "{why}");
    succeeds(folder.path(), &["plugin", "new", "chatty", "--lang", "c"]);
    let project = folder.path().join("chatty");
    let source = std::fs::read_to_string(project.join("src/plugin.c")).unwrap();
    let chatty = source
        .replace("#include \"eaves.h\"", "#include \"eaves.h\"\n#include <stdio.h>")
        .replace("double degrees, rate;", "double degrees, rate;\n  puts(\"hello\");");
    std::fs::write(project.join("src/plugin.c"), chatty).unwrap();
    let output = eaves(&project, &["plugin", "build"]);
    let why = text(&output.stderr);
    assert!(!output.status.success() && why.contains("may import nothing"), "{why}");
    let why = text(&eaves(folder.path(), &["plugin", "new", "chatty", "--lang", "rust"]).stderr);
    assert!(why.contains("is there already"), "{why}");
}
