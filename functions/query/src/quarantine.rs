//! `/v1/quarantine`: what could not be taken of a tenant's, looked at, sent again, given up.

mod decide;
mod show;

pub(crate) use decide::*;
pub(crate) use show::*;

use crate::context::Context;
use crate::problem::Problem;
use crate::sources::Server;
use eaves_store::read::ReadError;

/// The primary: what was just changed is to be seen changed, and only it can be written.
fn primary(context: &Context) -> Result<&Server, Problem> {
    context.sources.primary()
}

/// A row's number in the path. What is none is the number of no row.
fn number(text: &str) -> Result<i64, Problem> {
    text.parse().ok().filter(|id| *id > 0).ok_or_else(|| not_found(text))
}

fn not_found(id: impl std::fmt::Display) -> Problem {
    let id: String = id.to_string().chars().take(24).collect();
    Problem::not_found("id", format!("there is no quarantine row {id:?}"))
}

fn read_failed(error: ReadError) -> Problem {
    error.into()
}
