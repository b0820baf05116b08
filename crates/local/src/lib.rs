//! The whole platform on one machine: PostgreSQL with a replica, Redis, an AWS emulator
//! for DynamoDB, S3 and SQS, a Kinesis of our own, and the function binaries under a Lambda
//! host of our own, with Kinesis's event source mapping, API Gateway's HTTP API and the schedules.
//!
//! Everything listens on loopback, on free ports, keeps its data in one folder and stops
//! together. This crate holds no domain logic: the binaries it runs are those that are
//! deployed, and where it stands for an AWS service it follows that service's documented
//! rules. It is not for production, and not a Lambda for other people's functions.
//!
//! Start with [`Platform::start`]. [`lambda::FunctionHost`] and [`kinesis::Kinesis`] serve
//! alone to tests and benchmarks.

mod backoff;
mod database;
mod emulator;
mod endpoints;
pub mod esm;
mod files;
pub mod front;
mod functions;
pub mod kinesis;
pub mod lambda;
mod lock;
mod options;
mod platform;
mod process;
mod redis;
mod schedule;
mod secrets;
mod servers;

pub use database::Databases;
pub use endpoints::{Endpoints, Process};
pub use kinesis::client as kinesis_client;
pub use options::{Options, Progress, default_data_dir};
pub use platform::Platform;
