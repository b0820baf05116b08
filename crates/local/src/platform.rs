//! The whole platform: started together, supervised, stopped together.

use crate::database::Databases;
use crate::emulator::Emulator;
use crate::endpoints::{
    ARCHIVE_BUCKET, DATABASE, Endpoints, FAILED_BUCKET, PLUGIN_BUCKET, Process, REGION, REGISTRY_TABLE,
    STREAM,
};
use crate::esm::checkpoint::Checkpoints;
use crate::esm::destination::Bucket;
use crate::esm::{self, Mapping, MappingConfig, Stats};
use crate::files;
use crate::front::auth::{AUDIENCE, Authorizer, ISSUER, Issuer, keys_file};
use crate::front::{Front, FrontConfig};
use crate::functions::{Functions, bin_dir};
use crate::kinesis::{self, Kinesis};
use crate::lambda::FunctionHost;
use crate::lock::Lock;
use crate::options::Options;
use crate::process::{Child, log_end};
use crate::redis::Redis;
use crate::schedule::{Rhythm, Schedule};
use crate::secrets::Secrets;
use crate::servers::{checkpoint_file, start_kinesis, start_servers, stop_servers};
use anyhow::{Context as _, Result};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{MappedMutexGuard, Mutex, MutexGuard, watch};
use tokio::task::JoinHandle;

/// How often the databases are looked at and `platform.json` is brought up to date.
const WATCH: Duration = Duration::from_millis(500);
/// How long what is under way may take to end.
pub(crate) const GRACE: Duration = Duration::from_secs(3);
const MAINTENANCE: Duration = Duration::from_secs(5 * 60);

/// A running platform.
///
/// End it with [`Platform::stop`]. When it is dropped instead, or its process dies in any
/// way, its children are killed; data that was kept is recovered by the next start.
pub struct Platform {
    endpoints: Endpoints,
    parts: Arc<Parts>,
    front: Option<Front>,
    mapping: Option<Mapping>,
    schedules: Vec<Schedule>,
    failed: watch::Receiver<Option<String>>,
    watcher: JoinHandle<()>,
    // Dropped last: the folder is free, and gone if it was temporary, when nothing runs.
    _lock: Lock,
    temporary: Option<tempfile::TempDir>,
}

/// What does the work.
struct Parts {
    /// `None` once they are stopped.
    databases: Mutex<Option<Databases>>,
    kinesis: Kinesis,
    redis: Redis,
    emulator: Emulator,
    functions: Functions,
}

impl Platform {
    /// Starts everything. If a part does not start, the others are stopped again, and the
    /// error says which it was, why, and where its log is.
    pub async fn start(mut options: Options) -> Result<Self> {
        let temporary = if options.ephemeral { Some(temporary_folder()?) } else { None };
        if let Some(folder) = &temporary {
            options.data_dir = folder.path().to_path_buf();
        }
        files::make_data_dir(&options.data_dir)?;
        let data = options.data_dir.canonicalize().context("find the data folder")?;
        let lock = Lock::take(&data)?;
        let logs = data.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("make {}", logs.display()))?;
        // The databases' user writes its logs' last lines itself.
        std::fs::set_permissions(&logs, std::fs::Permissions::from_mode(0o711))?;
        // What may be missing or taken is looked at before anything is started.
        let bin = bin_dir(&options)?;
        let listener = Front::bind(options.http_port.unwrap_or(0)).await?;
        let secrets = Secrets::load_or_make(&data.join("secrets.json"))?;
        let token_key = data.join("token-key.pem");
        Issuer::load_or_make(&token_key)?;

        let (databases, redis, emulator) = start_servers(&options, &data, &logs, &secrets).await?;
        let kinesis = match start_kinesis(&options, &data).await {
            Ok(kinesis) => kinesis,
            Err(e) => {
                stop_servers(Some(databases), &redis, &emulator).await;
                return Err(e);
            }
        };
        let mut endpoints = endpoints(&data, token_key, &secrets, &databases, &redis);
        endpoints.aws_endpoint_url.clone_from(&emulator.url);
        endpoints.kinesis_endpoint_url = kinesis.url();
        // Where the issuer's keys will be; the authorizer asks when the first token comes.
        endpoints.api_url = format!("http://{}", listener.local_addr()?);
        let functions = match Functions::start(&endpoints, &options, &bin, &logs).await {
            Ok(functions) => functions,
            Err(e) => {
                kinesis.stop(GRACE).await;
                stop_servers(Some(databases), &redis, &emulator).await;
                return Err(e);
            }
        };
        let authorizer = if functions.authorizer.is_some() { ", authorizer" } else { "" };
        options.say(&format!(
            "functions: ingest, flush, query, maintain, hot-projection, olap-load, plugin-admin{authorizer}"
        ));
        let databases = Mutex::new(Some(databases));
        let parts = Arc::new(Parts { databases, kinesis, redis, emulator, functions });
        let open = open(&options, &data, &parts, listener, &mut endpoints).await;
        let (front, mapping) = match open {
            Ok(open) => open,
            Err(e) => {
                parts.stop().await;
                return Err(e);
            }
        };
        options.say(&format!("HTTP API on {}", endpoints.api_url));
        let mut schedules = vec![
            Schedule::start(parts.functions.flush.clone(), Rhythm::Endlessly(Duration::from_millis(200))),
            Schedule::start(parts.functions.maintain.clone(), Rhythm::Every(MAINTENANCE)),
            Schedule::start(parts.functions.hot_projection.clone(), Rhythm::Every(MAINTENANCE)),
        ];
        if let Some(pause) = options.olap_pause {
            schedules.push(Schedule::start(parts.functions.olap_load.clone(), Rhythm::Every(pause)));
        }
        let (tell, failed) = watch::channel(None);
        let watcher = tokio::spawn(watch_over(parts.clone(), endpoints.clone(), tell));
        Ok(Self {
            endpoints,
            parts,
            front: Some(front),
            mapping: Some(mapping),
            schedules,
            failed,
            watcher,
            _lock: lock,
            temporary,
        })
    }

    /// Where everything is.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The databases, for those who break them on purpose. They are not watched meanwhile.
    pub async fn databases(&self) -> Option<MappedMutexGuard<'_, Databases>> {
        MutexGuard::try_map(self.parts.databases.lock().await, Option::as_mut).ok()
    }

    /// The stream of readings, for those who reshard, throttle or break it on purpose.
    pub fn kinesis(&self) -> &Kinesis {
        &self.parts.kinesis
    }

    /// The ingest function.
    pub fn ingest(&self) -> &FunctionHost {
        &self.parts.functions.ingest
    }

    /// The flush function.
    pub fn flush(&self) -> &FunctionHost {
        &self.parts.functions.flush
    }

    /// The query function.
    pub fn query(&self) -> &FunctionHost {
        &self.parts.functions.query
    }

    /// The maintain function.
    pub fn maintain(&self) -> &FunctionHost {
        &self.parts.functions.maintain
    }

    /// The function that decides what is hot.
    pub fn hot_projection(&self) -> &FunctionHost {
        &self.parts.functions.hot_projection
    }

    /// The function that loads history into files.
    pub fn olap_load(&self) -> &FunctionHost {
        &self.parts.functions.olap_load
    }

    /// The function that administers plugins.
    pub fn plugin_admin(&self) -> &FunctionHost {
        &self.parts.functions.plugin_admin
    }

    /// The function that lets in who has a token, where the HTTP API asks it.
    pub fn authorizer(&self) -> Option<&FunctionHost> {
        self.parts.functions.authorizer.as_ref()
    }

    /// What the event source mapping has done.
    pub fn mapping_stats(&self) -> Option<Stats> {
        self.mapping.as_ref().map(Mapping::stats)
    }

    /// Resolves when a server has died, with a sentence that says which, why, and where
    /// its log is. Function instances are started again instead.
    pub async fn failure(&self) -> String {
        let mut failed = self.failed.clone();
        match failed.wait_for(Option::is_some).await {
            Ok(text) => text.clone().unwrap_or_default(),
            Err(_) => "the supervision has ended".into(),
        }
    }

    /// Stops everything: first what brings work, then what does it, then what keeps it.
    pub async fn stop(mut self) {
        self.watcher.abort();
        self.schedules.clear();
        if let Some(front) = self.front.take() {
            front.stop(GRACE).await;
        }
        if let Some(mapping) = self.mapping.take() {
            mapping.stop(GRACE).await;
        }
        self.parts.stop().await;
        drop(std::fs::remove_file(Endpoints::file(&self.endpoints.data_dir)));
        if let Some(folder) = self.temporary.take()
            && let Err(e) = folder.close()
        {
            tracing::warn!(error = %e, "the temporary data folder could not be removed");
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        self.watcher.abort();
    }
}

impl Parts {
    async fn stop(&self) {
        self.functions.stop(GRACE).await;
        self.kinesis.stop(GRACE).await;
        stop_servers(self.databases.lock().await.take(), &self.redis, &self.emulator).await;
    }

    async fn processes(&self) -> Vec<Process> {
        let server = |name: &str, child: &Child, port: u16| Process {
            name: name.into(),
            pid: Some(child.pid()),
            port: Some(port),
            log: child.log().to_path_buf(),
        };
        let database = |name: &str, server: &eaves_pg_server::PgServer| Process {
            name: name.into(),
            pid: server.pid(),
            port: Some(server.port()),
            log: server.log_file().to_path_buf(),
        };
        let mut processes = Vec::new();
        if let Some(databases) = &*self.databases.lock().await {
            processes.push(database("PostgreSQL primary", &databases.primary));
            processes.push(database("PostgreSQL replica", &databases.replica));
        }
        processes.push(server("Redis", &self.redis.child, self.redis.port));
        processes.push(server("AWS emulator", &self.emulator.child, self.emulator.port));
        processes.extend(self.functions.processes());
        processes
    }
}

/// Opens the doors: the HTTP API and the stream.
async fn open(
    options: &Options,
    data: &Path,
    parts: &Arc<Parts>,
    listener: TcpListener,
    endpoints: &mut Endpoints,
) -> Result<(Front, Mapping)> {
    let keys = keys_file(&endpoints.token_key);
    let front = FrontConfig {
        listener,
        authorizer: Authorizer::watching(&keys, ISSUER, AUDIENCE)?,
        ask: parts.functions.authorizer.clone(),
        query: parts.functions.query.clone(),
        plugin_admin: parts.functions.plugin_admin.clone(),
    };
    let front = Front::start(front)?;
    endpoints.api_url = front.url();
    endpoints.processes = parts.processes().await;
    endpoints.save()?;
    let file = checkpoint_file(data);
    let checkpoints = Checkpoints::load(&file).with_context(|| format!("read {}", file.display()))?;
    let mut config = MappingConfig::new(STREAM, REGION);
    config.batch_size = options.batch_size;
    let source = esm::kinesis::Stream::new(kinesis::client(&endpoints.kinesis_endpoint_url), STREAM);
    let destination = Bucket::new(&endpoints.aws_endpoint_url, FAILED_BUCKET);
    let mapping = Mapping::start(config, source, parts.functions.ingest.clone(), destination, checkpoints);
    Ok((front, mapping))
}

/// Tells the first death of a server, and keeps the process list of `platform.json` true.
async fn watch_over(parts: Arc<Parts>, mut endpoints: Endpoints, tell: watch::Sender<Option<String>>) {
    loop {
        tokio::time::sleep(WATCH).await;
        let mut dead = match &mut *parts.databases.lock().await {
            Some(databases) => databases.check().err().map(|e| e.to_string()),
            None => return,
        };
        for child in [&parts.redis.child, &parts.emulator.child] {
            if let Some(reason) = child.ended() {
                dead.get_or_insert(format!("{} {reason}{}", child.name(), log_end(child.log())));
            }
        }
        // The first death is told; the others may well follow from it.
        tell.send_if_modified(|told| {
            told.is_none() && dead.is_some() && {
                *told = dead;
                true
            }
        });
        let processes = parts.processes().await;
        if processes != endpoints.processes {
            endpoints.processes = processes;
            if let Err(e) = endpoints.save() {
                tracing::warn!(error = %e, "platform.json could not be brought up to date");
            }
        }
    }
}

fn endpoints(
    data: &Path,
    token_key: PathBuf,
    secrets: &Secrets,
    databases: &Databases,
    redis: &Redis,
) -> Endpoints {
    let primary = &databases.primary;
    Endpoints {
        pid: std::process::id(),
        started_at: jiff::Timestamp::now().to_string(),
        data_dir: data.to_path_buf(),
        api_url: String::new(),
        aws_endpoint_url: String::new(),
        kinesis_endpoint_url: String::new(),
        region: REGION.into(),
        stream: STREAM.into(),
        registry_table: REGISTRY_TABLE.into(),
        plugin_bucket: PLUGIN_BUCKET.into(),
        failed_bucket: FAILED_BUCKET.into(),
        archive_bucket: ARCHIVE_BUCKET.into(),
        plugin_key: secrets.plugin_key.clone(),
        redis_url: format!("redis://127.0.0.1:{}", redis.port),
        database_port: primary.port(),
        replica_port: databases.replica.port(),
        database: DATABASE.into(),
        passwords: Endpoints::passwords(secrets, primary.superuser(), primary.password()),
        token_key,
        processes: Vec::new(),
    }
}

/// A folder that the databases' user can pass through.
fn temporary_folder() -> Result<tempfile::TempDir> {
    let mode = std::fs::Permissions::from_mode(0o711);
    let folder = tempfile::Builder::new().prefix("eaves-").permissions(mode).tempdir();
    folder.context("make a temporary data folder")
}
