//! What decides whether an attribute is hot, and what was decided.

use crate::ValueType;
use crate::batch::Reason;

/// What is known of one attribute. Rates and counts are estimates over
/// [`Statistics::window_seconds`].
#[derive(Clone, Debug, PartialEq)]
pub struct AttributeStatistics {
    /// Its name.
    pub name: Box<str>,
    /// Its type.
    pub value_type: ValueType,
    /// Its unit; empty if none is set.
    pub unit: Box<str>,
    /// Whether it is hot now.
    pub hot: bool,
    /// Seconds since it became hot or ceased to be; since it was first seen if neither.
    pub settled_seconds: f64,
    /// Values written per second.
    pub writes_per_second: f64,
    /// Distinct entities with a value of it.
    pub entities: u64,
    /// Distinct values.
    pub distinct_values: u64,
    /// How many writes changed the value, as a share from 0 to 1.
    pub change_ratio: f64,
    /// Mean size of a value, in bytes.
    pub value_bytes: f64,
    /// Queries per second that filter by it.
    pub filters_per_second: f64,
    /// Queries per second that return it.
    pub returns_per_second: f64,
    /// Mean time of the queries that name it, in milliseconds.
    pub query_milliseconds: f64,
}

/// What is known of a tenant's attributes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Statistics {
    /// The time the rates were taken over, in seconds.
    pub window_seconds: f64,
    /// The tenant's entities.
    pub tenant_entities: u64,
    /// How many bytes of hot values an entity may have.
    pub byte_budget: u32,
    /// The attributes.
    pub attributes: Vec<AttributeStatistics>,
}

/// What becomes of an attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It stays as it is.
    Keep,
    /// It becomes hot.
    Promote,
    /// It ceases to be hot.
    Demote,
}

/// A plugin's word on one attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionDecision {
    /// Index into [`Statistics::attributes`]; each at most once.
    pub attribute: u32,
    /// What becomes of it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
}
