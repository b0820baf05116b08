//! The words of the domain: tenants, entities, attributes, values, readings.
//!
//! This crate does no I/O and knows no wire format, database or plugin engine;
//! everything else depends on it. Start with [`value::Value`] and
//! [`reading::Reading`].

pub mod batch;
pub mod caller;
pub mod delivery;
pub mod history;
pub mod hot;
pub mod id;
pub mod limits;
pub mod point;
pub mod position;
pub mod promotion;
pub mod reading;
pub mod rejection;
pub mod sketch;
pub mod tenant;
pub mod time;
pub mod token;
pub mod trace;
pub mod usage;
pub mod value;
pub mod verdict;

pub use id::{AttributeId, EntityId, PluginId, TenantId};
pub use point::{PointPolicy, TimeLimits};
pub use position::Position;
pub use reading::Reading;
pub use rejection::{Code, Rejection};
pub use rust_decimal::Decimal;
pub use time::Timestamp;
pub use token::ConsistencyToken;
pub use trace::TraceParent;
pub use value::{Value, ValueType, WireValue};
