//! What `wit-bindgen` makes of the WIT package. Authors use the types of the crate's root.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit/eaves-rules/0.1.0",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_component",
    runtime_path: "::eaves_plugin_sdk::__rt",
});

pub use exports::eaves::rules::validation::{
    Attributes, Batch, Decimals, Decision, DerivedAttribute, Description, Entities, Guest, Reason,
    SettingsFault, Texts, ValidateError, ValueType,
};
