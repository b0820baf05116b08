//! What `wit-bindgen` makes of the WIT package. Authors use the types of the crate's root.
#![allow(missing_docs, unreachable_pub, clippy::all, clippy::unwrap_used, reason = "generated")]

wit_bindgen::generate!({
    path: "../../wit/eaves-rules/1.0.0",
    world: "plugin",
    pub_export_macro: true,
    export_macro_name: "export_component",
    runtime_path: "::eaves_plugin_sdk::__rt",
});

pub use exports::eaves::rules::validation::{
    Attributes, Batch, Decimals, Decision, DerivedAttribute, Description, Entities, Guest, Interest,
    Previous, Reason, SettingsFault, Texts, ValidateError, ValueType,
};

/// The second interface, for those who export it: the component has both worlds then.
pub mod promotion {
    wit_bindgen::generate!({
        inline: "
            package eaves:sdk;
            world promoter {
                export eaves:rules/promotion@1.0.0;
            }
        ",
        path: "../../wit/eaves-rules/1.0.0",
        pub_export_macro: true,
        export_macro_name: "export_promotion",
        runtime_path: "::eaves_plugin_sdk::__rt",
    });

    pub use exports::eaves::rules::promotion::{
        Decision, Guest, Reason, Statistics, Texts, ValueType, Verdict,
    };
}
