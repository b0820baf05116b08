//! What can go wrong, told so that one knows what to do.

use std::io;
use std::path::PathBuf;

/// A server could not be found, started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum PgError {
    /// No PostgreSQL of a usable version.
    #[error("no PostgreSQL {wanted} found (looked in {looked_in}); on Debian: apt-get install postgresql")]
    NoBinaries {
        /// The version that would do.
        wanted: String,
        /// The folders that were searched.
        looked_in: String,
    },
    /// The operating system has no user to run the server as.
    #[error("running as root, and there is no user \"postgres\" to run the database as")]
    NoUser,
    /// The user the server runs as cannot get to its data.
    #[error(
        "user \"postgres\" cannot enter {folder}, so {data_dir} cannot hold the database: choose another folder, or chmod o+x {folder}"
    )]
    Unreachable {
        /// The folder that is closed.
        folder: PathBuf,
        /// Where the data should have been.
        data_dir: PathBuf,
    },
    /// A folder or file of the server could not be prepared.
    #[error("preparing {path}")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A program could not be started.
    #[error("starting {program}")]
    Spawn {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// `initdb` or `pg_basebackup` failed.
    #[error("{program} failed: {output}")]
    Tool {
        /// Which.
        program: &'static str,
        /// The end of what it said.
        output: String,
    },
    /// The server ended by itself.
    #[error("{name} ended ({status}); its log is {log}, which ends:\n{tail}")]
    Ended {
        /// The server's name.
        name: String,
        /// Exit status.
        status: String,
        /// Log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// The server did not get ready, or did not stop, in time.
    #[error("{name} did not {what} within {seconds} s; its log is {log}, which ends:\n{tail}")]
    Timeout {
        /// The server's name.
        name: String,
        /// What was waited for.
        what: &'static str,
        /// For how long.
        seconds: u64,
        /// Log file.
        log: PathBuf,
        /// Its last lines.
        tail: String,
    },
    /// A signal could not be sent.
    #[error("signalling process {pid}")]
    Signal {
        /// To which process.
        pid: i32,
        /// Why.
        source: io::Error,
    },
}
