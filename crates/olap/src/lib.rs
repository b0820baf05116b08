//! The way of history to object storage: the change stream of PostgreSQL, Parquet files, and the fold
//! that makes history of them again.
//!
//! It knows no SQL: `eaves_store::olap` looks into the slot and keeps the watermark. Start with
//! [`load::Loader::turn`], which the function `olap-load` calls, then [`stream`], [`file`] and [`fold`];
//! `docs/olap.md` has the order of the steps and why nothing is lost in between.
//!
//! *Deliberately absent:* an engine that answers questions from the files.

pub mod archive;
mod column;
pub mod file;
pub mod fold;
pub mod load;
pub mod name;
mod numeric;
pub mod pgoutput;
pub mod standing;
pub mod stream;
mod thrift;
