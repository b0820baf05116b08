//! What the tests of the host share.
#![allow(dead_code, reason = "not every test file uses all of it")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use eaves_model::batch::{AttributeInfo, Batch, EntityInfo, Row};
use eaves_model::{Timestamp, Value};
use eaves_plugin_host::{CompileError, Host, HostConfig, Plugin, componentize};
use std::path::PathBuf;
use std::time::Duration;

pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

pub(crate) fn host() -> Host {
    Host::new(HostConfig::new(&"5a".repeat(32)).unwrap()).unwrap()
}

/// A plugin that `make plugins` built.
pub(crate) fn built(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("../../target/plugins/{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: run `make plugins`", path.display()))
}

pub(crate) fn load(host: &Host, wasm: &[u8]) -> Plugin {
    host.load(&host.check_and_compile(wasm).unwrap()).unwrap()
}

/// A batch with one entity and one attribute per value, all of one reading.
pub(crate) fn reading(values: &[(&str, &str, Value)]) -> Batch {
    let observed_at = Timestamp::from_micros(1_767_225_600_000_000).unwrap();
    Batch {
        entities: vec![EntityInfo { external_id: "pump-7".into(), entity_type: "pump".into() }],
        attributes: values
            .iter()
            .map(|(name, unit, value)| AttributeInfo {
                name: (*name).into(),
                value_type: value.value_type(),
                unit: (*unit).into(),
            })
            .collect(),
        rows: (values.iter().enumerate())
            .map(|(i, (_, _, value))| Row {
                entity: 0,
                attribute: i as u32,
                observed_at,
                value: value.clone(),
            })
            .collect(),
        previous: Vec::new(),
    }
}

/// Three floats, one value a reading.
pub(crate) fn floats() -> Batch {
    let mut batch = reading(&[("temperature", "degC", Value::Float(20.0))]);
    let row = batch.rows[0].clone();
    for i in 1..3 {
        batch.rows.push(Row { observed_at: row.observed_at.plus_micros(i), ..row.clone() });
    }
    batch
}

/// A component from text: a core module with a memory and an allocator, that describes itself
/// as `hostile 1.0.0`, takes all settings, and has `validate` as its body and `more` beside it.
///
/// `validate` gets the address of its arguments and returns that of its answer: at 1024 there
/// is an empty decision to start from ([`list`]).
pub(crate) fn module(more: &str, validate: &str) -> String {
    module_of(more, "(i32.const 64)", "(i32.const 256)", validate)
}

/// The same with bodies of its own for `describe` (a description is at 64) and `configure`
/// (an interest in everything is at 256).
pub(crate) fn module_of(more: &str, describe: &str, configure: &str, validate: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 2)
            (global $next (mut i32) (i32.const 65536))
            (data (i32.const 16) "hostile1.0.0")
            ;; The description: name, version, interest (two options and a list), schema.
            (data (i32.const 64) "\10\00\00\00\07\00\00\00\17\00\00\00\05\00\00\00")
            {more}
            (func (export "cabi_realloc") (param $old i32) (param i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                    (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get $align))))
                (global.set $next (i32.add (local.get $at) (local.get $size)))
                (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
                    (then (drop (memory.grow (i32.const 16)))))
                (local.get $at))
            (func (export "eaves:rules/validation@1.0.0#describe") (result i32) {describe})
            (func (export "eaves:rules/validation@1.0.0#configure") (param i32 i32) (result i32) {configure})
            (func (export "eaves:rules/validation@1.0.0#validate") (param $args i32) (result i32)
                {validate}))"#
    )
}

/// Sets a list of the answer at 1024: the n-th pair of address and length.
pub(crate) fn list(nth: i32, address: i32, length: i32) -> String {
    let at = 1024 + 4 + nth * 8;
    format!(
        "(i32.store (i32.const {at}) (i32.const {address})) (i32.store (i32.const {}) (i32.const {length}))",
        at + 4
    )
}

/// The lists of a decision, in the order of the WIT record.
pub(crate) mod lists {
    pub(crate) const REJECTED_ROW: i32 = 0;
    pub(crate) const REJECTED_REASON: i32 = 1;
    pub(crate) const REASONS: i32 = 2;
    pub(crate) const REPLACED_ROW: i32 = 3;
    pub(crate) const REPLACED_BITS: i32 = 4;
    pub(crate) const DERIVED_ROW: i32 = 5;
    pub(crate) const DERIVED_ATTRIBUTE: i32 = 6;
    pub(crate) const DERIVED_BITS: i32 = 7;
    pub(crate) const DERIVED_ATTRIBUTES: i32 = 8;
    pub(crate) const TEXTS_BLOB: i32 = 9;
    pub(crate) const TEXTS_OFFSETS: i32 = 10;
    pub(crate) const DECIMALS_LOW: i32 = 11;
}

pub(crate) fn component(text: &str) -> Vec<u8> {
    componentize(&wat::parse_str(text).unwrap()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

/// A plugin from text, compiled and loaded.
pub(crate) fn hostile(host: &Host, more: &str, validate: &str) -> Result<Plugin, CompileError> {
    let artefact = host.check_and_compile(&component(&module(more, validate)))?;
    Ok(host.load(&artefact)?)
}
