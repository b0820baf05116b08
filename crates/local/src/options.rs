//! How a platform is started.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Told what has been started, in words for people.
pub type Progress = Arc<dyn Fn(&str) + Send + Sync>;

/// What to start, and where. [`Options::new`] and [`Options::ephemeral`] are good as they are.
#[derive(Clone)]
pub struct Options {
    /// Where data, logs and `platform.json` are kept.
    pub data_dir: PathBuf,
    /// Whether the data folder is removed at the end, and needs not survive a power cut.
    pub ephemeral: bool,
    /// The folder with the function binaries; that of the running program by default.
    pub bin_dir: Option<PathBuf>,
    /// Port of the HTTP API; a free one by default.
    pub http_port: Option<u16>,
    /// Shards of the stream, where there is no stream yet.
    pub shards: u32,
    /// Most bytes a stream keeps in memory; its oldest records are forgotten over it, as if
    /// retention had passed. See [`KinesisConfig::stream_bytes`](crate::kinesis::KinesisConfig).
    pub stream_bytes: u64,
    /// Instances of the ingest function; one for each shard by default.
    pub ingest_instances: Option<usize>,
    /// Instances of the query function: how many requests are worked on at once.
    pub query_instances: usize,
    /// `BatchSize` of the event source mapping.
    pub batch_size: usize,
    /// Pause between two loads of history into files; `None`: none by the clock.
    pub olap_pause: Option<Duration>,
    /// Settings of both databases, beside those they are started with anyway.
    pub database_settings: Vec<(String, String)>,
    /// Whether the HTTP API asks the authorizer function, as with `Authorizer=lambda` of the SAM template,
    /// instead of verifying tokens itself.
    pub authorizer_function: bool,
    /// Variables for all functions besides those they need, such as `EAVES_LOG`.
    pub function_env: BTreeMap<String, String>,
    /// Told what has been started.
    pub progress: Option<Progress>,
}

impl Options {
    /// A platform whose data is kept in `data_dir`.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            ephemeral: false,
            bin_dir: None,
            http_port: None,
            shards: 2,
            stream_bytes: crate::kinesis::KinesisConfig::default().stream_bytes,
            ingest_instances: None,
            query_instances: 4,
            batch_size: 500,
            olap_pause: Some(Duration::from_secs(10)),
            database_settings: Vec::new(),
            authorizer_function: false,
            function_env: BTreeMap::new(),
            progress: None,
        }
    }

    /// A platform in a temporary folder, for tests and benchmarks.
    pub fn ephemeral() -> Self {
        Self { ephemeral: true, ..Self::new(PathBuf::new()) }
    }

    pub(crate) fn say(&self, text: &str) {
        tracing::debug!("{text}");
        if let Some(progress) = &self.progress {
            progress(text);
        }
    }
}

/// The data folder if none is named: one per user. Root's is outside its home, which the
/// database's user cannot enter.
pub fn default_data_dir() -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/eaves");
    }
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let data = set("XDG_DATA_HOME").or_else(|| Some(set("HOME")?.join(".local/share")));
    data.map_or_else(|| PathBuf::from(".eaves"), |data| data.join("eaves"))
}
