//! The write path: a batch of one shard's records in, history and hot projection out.
//!
//! [`Ingest::process`] takes the records of one Kinesis event through decoding,
//! identifiers, the tenant's plugin and one database transaction, then writes the cache.
//! A record that cannot be taken goes to quarantine and the shard moves on; only a
//! failure that may pass (database or registry away) is handed back to the stream.
//!
//! This crate holds the order of the steps and nothing of how they are done: bytes are
//! `eaves-codec`'s, SQL is `eaves-store`'s, WebAssembly is `eaves-plugin-host`'s.
//! Start with [`ingest`].

mod assemble;
mod breaker;
mod compiler;
mod consult;
mod decode;
mod directory;
pub mod ingest;
pub mod judge;
mod late;
mod meter;
mod points;
mod previous;
mod replay;
mod report;
mod retry;
pub mod rules;
mod shadow;
mod source;
mod work;

pub use compiler::{Compiler, Recompile};
pub use ingest::{Ingest, IngestError, Record, ShardBatch};
pub use report::Report;
pub use rules::Rules;
pub use source::{Found, Reread, RereadError, arrival};
