//! Write a plugin for Eaves as a function over one value.
//!
//! ```
//! use eaves_plugin_sdk::{Reading, Value, Verdict, export_plugin};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Settings {
//!     highest: f64,
//! }
//!
//! fn validate(reading: &Reading<'_>, settings: &Settings) -> Verdict {
//!     match reading.value() {
//!         Value::Float(f) if f > settings.highest => {
//!             Verdict::reject("too_high", format!("{f} is over {}", settings.highest))
//!         }
//!         _ => Verdict::accept(),
//!     }
//! }
//!
//! export_plugin! {
//!     settings: Settings,
//!     validate: validate,
//! }
//! # fn main() {}
//! ```
//!
//! The crate hides the columns of the WIT package `eaves:rules`; it gives a plugin
//! no clock, no randomness and no I/O, because the platform gives it none. Start
//! with [`Reading`] and [`Verdict`]; `docs/plugins.md` shows how to build and push.

extern crate self as eaves_plugin_sdk;

#[doc(hidden)]
pub mod bindings;
mod columns;
mod decimal;
#[doc(hidden)]
pub mod dispatch;
mod reading;
mod settings;
pub mod testing;
mod value;
mod verdict;

pub use decimal::{BadDecimal, Decimal};
pub use reading::{Attribute, Entity, Reading};
pub use settings::{ByAttribute, SettingsFault};
pub use value::{Timestamp, Value, ValueType};
pub use verdict::Verdict;

#[doc(hidden)]
pub use wit_bindgen::rt as __rt;

/// Makes the crate a plugin. Its name and version are those of the crate.
///
/// `settings` is any type that serde can read; it is read anew for each batch, so
/// it may hold what was computed for that batch. Optional, in this order: `check`, a function
/// `fn(&Settings) -> Result<(), SettingsFault>` for what the type cannot say;
/// `attributes` and `entity_types`, the only ones the plugin wants to see;
/// `settings_schema`, a JSON Schema for people and forms.
#[macro_export]
macro_rules! export_plugin {
    (
        settings: $settings:ty,
        validate: $validate:path
        $(, check: $check:path)?
        $(, attributes: [$($attribute:expr),* $(,)?])?
        $(, entity_types: [$($entity_type:expr),* $(,)?])?
        $(, settings_schema: $schema:expr)?
        $(,)?
    ) => {
        #[doc(hidden)]
        pub struct EavesPlugin;

        impl $crate::bindings::Guest for EavesPlugin {
            fn describe() -> $crate::bindings::Description {
                $crate::bindings::Description {
                    name: env!("CARGO_PKG_NAME").into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    attributes: vec![$($($attribute.into()),*)?],
                    entity_types: vec![$($($entity_type.into()),*)?],
                    settings_schema: concat!("" $(, $schema)?).into(),
                }
            }

            fn validate(
                batch: $crate::bindings::Batch,
                settings: String,
            ) -> Result<$crate::bindings::Decision, $crate::bindings::ValidateError> {
                let check = |_settings: &$settings| -> Result<(), $crate::SettingsFault> {
                    $($check(_settings)?;)?
                    Ok(())
                };
                $crate::dispatch::validate::<$settings>(&batch, &settings, check, $validate)
            }
        }

        #[cfg(target_arch = "wasm32")]
        $crate::bindings::export_component!(EavesPlugin with_types_in $crate::bindings);
    };
}
