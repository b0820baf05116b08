//! Figures over all entities, made of history: aggregates, distributions.
//!
//! They are as old as the flush, wherever they are read; the answer says how old that is.

mod aggregates;
mod distribution;

pub(crate) use aggregates::*;
pub(crate) use distribution::*;

use crate::answer::FreshnessBody;
use crate::params::Params;
use crate::problem::Problem;
use crate::window::Window;
use eaves_freshness::{Consistency, Demand};
use eaves_model::{Timestamp, ValueType};
use serde::Serialize;
use utoipa::ToSchema;

/// What makes figures cheaper.
const NARROW: &str = "take a shorter window or fewer attributes, or a type of entity";

/// What the answer covers, and how fresh it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct WindowMetadata {
    /// First time taken.
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    /// First time not taken any more.
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
    /// How fresh the answer is.
    freshness: FreshnessBody,
}

impl WindowMetadata {
    fn new(window: Window, freshness: FreshnessBody) -> Self {
        Self { from: window.from, to: window.to, freshness }
    }
}

/// What is asked of the figures' age.
fn demand(params: &Params) -> Result<Demand, Problem> {
    let demand = params.demand()?;
    if demand.consistency == Consistency::Strong {
        let detail = "figures are made of what is flushed, so none can be strong: use eventual or analytics";
        return Err(Problem::bad_parameter("consistency", detail));
    }
    Ok(demand)
}

fn is_number(value_type: ValueType) -> bool {
    matches!(value_type, ValueType::Integer | ValueType::Float | ValueType::Decimal)
}
