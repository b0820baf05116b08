//! `/v1/entities`: a tenant's entities by page and by name.

mod batch;
mod list;

pub(crate) use batch::*;
pub(crate) use list::*;
