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
mod bound;
pub mod checks;
mod columns;
mod decimal;
#[doc(hidden)]
pub mod dispatch;
mod interest;
mod previous;
#[doc(hidden)]
pub mod promotion;
mod reading;
mod settings;
pub mod testing;
pub mod units;
mod value;
mod verdict;

pub use bound::Bound;
pub use decimal::{BadDecimal, Decimal};
pub use interest::Interest;
pub use previous::Previous;
pub use promotion::{AttributeStatistics, Promotion, Statistics};
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
/// `attributes` and `entity_types`, the only ones the plugin ever wants to see; `previous`, the
/// attributes whose previous value it wants to see; `interest`, a function
/// `fn(&Settings) -> Interest` instead of `previous`, if that depends on the settings;
/// `promote`, a function `fn(&Statistics, &Settings) -> Vec<Promotion>` that decides which
/// attributes are hot; `settings_schema`, a JSON Schema for people and forms.
#[macro_export]
macro_rules! export_plugin {
    (
        settings: $settings:ty,
        validate: $validate:path
        $(, check: $check:path)?
        $(, attributes: [$($attribute:expr),* $(,)?])?
        $(, entity_types: [$($entity_type:expr),* $(,)?])?
        $(, previous: [$($previous:expr),* $(,)?])?
        $(, interest: $interest:path)?
        $(, promote: $promote:path)?
        $(, settings_schema: $schema:expr)?
        $(,)?
    ) => {
        #[doc(hidden)]
        pub struct EavesPlugin;

        const _: () = {
            fn __eaves_always() -> $crate::Interest {
                let interest = $crate::Interest::default();
                $(let interest = $crate::Interest {
                    attributes: Some(vec![$($attribute.into()),*]),
                    ..interest
                };)?
                $(let interest = $crate::Interest {
                    entity_types: Some(vec![$($entity_type.into()),*]),
                    ..interest
                };)?
                $(let interest = $crate::Interest { previous: vec![$($previous.into()),*], ..interest };)?
                interest
            }

            fn __eaves_interest(_settings: &$settings) -> $crate::Interest {
                let interest = __eaves_always;
                $(let interest = || $interest(_settings);)?
                interest()
            }

            impl $crate::bindings::Guest for EavesPlugin {
                fn describe() -> $crate::bindings::Description {
                    $crate::bindings::Description {
                        name: env!("CARGO_PKG_NAME").into(),
                        version: env!("CARGO_PKG_VERSION").into(),
                        interest: __eaves_always().into(),
                        settings_schema: concat!("" $(, $schema)?).into(),
                    }
                }

                fn configure(
                    settings: String,
                ) -> Result<$crate::bindings::Interest, $crate::bindings::SettingsFault> {
                    let check = |_settings: &$settings| -> Result<(), $crate::SettingsFault> {
                        $($check(_settings)?;)?
                        Ok(())
                    };
                    $crate::dispatch::configure::<$settings>(&settings, check, __eaves_interest)
                }

                fn validate(
                    batch: $crate::bindings::Batch,
                    settings: String,
                ) -> Result<$crate::bindings::Decision, $crate::bindings::ValidateError> {
                    $crate::dispatch::validate::<$settings>(&batch, &settings, __eaves_interest, $validate)
                }
            }
        };

        $(
            impl $crate::bindings::promotion::Guest for EavesPlugin {
                fn promote(
                    statistics: $crate::bindings::promotion::Statistics,
                    settings: String,
                ) -> Result<$crate::bindings::promotion::Decision, String> {
                    $crate::promotion::promote::<$settings>(&statistics, &settings, $promote)
                }
            }

            #[cfg(target_arch = "wasm32")]
            $crate::bindings::promotion::export_promotion!(
                EavesPlugin with_types_in $crate::bindings::promotion
            );
        )?

        #[cfg(target_arch = "wasm32")]
        $crate::bindings::export_component!(EavesPlugin with_types_in $crate::bindings);
    };
}
