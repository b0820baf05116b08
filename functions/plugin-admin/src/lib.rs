//! The plugin-admin function: a tenant's plugins over HTTP, and their backtests.
//!
//! An axum router behind an authorizer of API Gateway; the tenant comes from the verified
//! claims. What is uploaded is compiled in a limited process of its own and nowhere else.
//! A backtest is asked for over HTTP and worked on by an asynchronous invocation of the same
//! function. Start with [`router`]; `backtest` is the worker.

pub mod backtest;
mod backtests;
mod body;
mod caller;
mod context;
mod force;
mod invite;
mod openapi;
mod plugins;
mod policy;
mod problem;
mod rate;
pub mod recompile;
mod router;
mod simulate;
mod upload;
mod watch;

pub use context::{Context, Invoker, Lambda, StartError};
pub use openapi::document;
pub use router::router;
