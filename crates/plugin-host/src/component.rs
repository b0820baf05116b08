//! From the core module a compiler makes to the component a plugin is.

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The WIT package of plugins, as text.
pub const RULES_WIT: &str = include_str!("../../../plugins/wit/eaves-rules/1.0.0/rules.wit");

/// A core module that makes no plugin.
#[derive(Debug, thiserror::Error)]
pub enum ComponentizeError {
    /// The bytes are a component already, or no WebAssembly.
    #[error("not a core module: build the crate for wasm32-unknown-unknown with crate-type cdylib")]
    NotACoreModule,
    /// The module's exports are not those of a plugin, or it imports something.
    #[error("make a component of the module: {0}")]
    Encode(String),
}

fn encode_error(error: impl std::fmt::Debug) -> ComponentizeError {
    ComponentizeError::Encode(format!("{error:?}"))
}

/// Makes the component. A module that does not say which world it is for (as those of the
/// Rust SDK do) is taken to be for `eaves:rules/plugin`, or for `plugin-with-promotion` if it
/// exports `promote`.
pub fn componentize(core: &[u8]) -> Result<Vec<u8>, ComponentizeError> {
    if !wasmparser::Parser::is_core_wasm(core) {
        return Err(ComponentizeError::NotACoreModule);
    }
    let mut module = core.to_vec();
    if !names_its_world(core) {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("rules.wit", RULES_WIT).map_err(encode_error)?;
        let world = resolve.select_world(&[package], Some(world_of(core))).map_err(encode_error)?;
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).map_err(encode_error)?;
    }
    ComponentEncoder::default()
        .module(&module)
        .and_then(|encoder| encoder.validate(true).encode())
        .map_err(encode_error)
}

fn world_of(core: &[u8]) -> &'static str {
    let exports = wasmparser::Parser::new(0).parse_all(core).filter_map(|payload| match payload {
        Ok(wasmparser::Payload::ExportSection(exports)) => Some(exports),
        _ => None,
    });
    let prefix = "eaves:rules/promotion@1.0.0#";
    let promotes = exports.flatten().any(|export| export.is_ok_and(|e| e.name.starts_with(prefix)));
    if promotes { "plugin-with-promotion" } else { "plugin" }
}

fn names_its_world(core: &[u8]) -> bool {
    wasmparser::Parser::new(0).parse_all(core).any(|payload| {
        matches!(payload, Ok(wasmparser::Payload::CustomSection(s)) if s.name().starts_with("component-type"))
    })
}
