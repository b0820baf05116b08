//! Where a running platform can be reached, as it writes it to `platform.json`.

use crate::files;
use crate::front::auth::{AUDIENCE, ISSUER};
use crate::secrets::Secrets;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The services here take any credentials; these are what its documentation uses.
pub(crate) const TEST_CREDENTIAL: &str = "test";
/// Region of the local platform.
pub(crate) const REGION: &str = "us-east-1";
/// Name of the stream of readings.
pub(crate) const STREAM: &str = "eaves-telemetry";
/// Name of the plugin registry's table.
pub(crate) const REGISTRY_TABLE: &str = "eaves-registry";
/// Name of the bucket with plugins.
pub(crate) const PLUGIN_BUCKET: &str = "eaves-plugins";
/// Name of the bucket with records that could not be processed.
pub(crate) const FAILED_BUCKET: &str = "eaves-failed-records";
/// Name of the bucket with history as files.
pub(crate) const ARCHIVE_BUCKET: &str = "eaves-archive";
/// Name of the database.
pub(crate) const DATABASE: &str = "eaves";

/// Addresses, names and credentials of a running platform.
#[derive(Clone, Serialize, Deserialize)]
pub struct Endpoints {
    /// Process id of the platform.
    pub pid: u32,
    /// When it was started, RFC 3339.
    pub started_at: String,
    /// Its data folder.
    pub data_dir: PathBuf,
    /// Where the HTTP API listens, such as `http://127.0.0.1:8080`.
    pub api_url: String,
    /// Where DynamoDB, S3 and SQS listen.
    pub aws_endpoint_url: String,
    /// Where Kinesis listens. Empty only in the file of a version that had none of its own.
    #[serde(default)]
    pub kinesis_endpoint_url: String,
    /// Region to name to them.
    pub region: String,
    /// The Kinesis stream.
    pub stream: String,
    /// The DynamoDB table of the plugin registry.
    pub registry_table: String,
    /// The S3 bucket of the plugins.
    pub plugin_bucket: String,
    /// The S3 bucket for records that could not be processed.
    pub failed_bucket: String,
    /// The S3 bucket of history as files. Empty only in the file of a version that had none.
    #[serde(default)]
    pub archive_bucket: String,
    /// Key that signs compiled plugins, hex.
    pub plugin_key: String,
    /// The cache.
    pub redis_url: String,
    /// The primary's port on 127.0.0.1.
    pub database_port: u16,
    /// The replica's port on 127.0.0.1.
    pub replica_port: u16,
    /// Name of the database.
    pub database: String,
    /// Passwords of the roles that log in, and of the superuser.
    pub passwords: BTreeMap<String, String>,
    /// The key that signs tokens, PEM.
    pub token_key: PathBuf,
    /// What runs.
    pub processes: Vec<Process>,
}

/// A process of the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// What people call it.
    pub name: String,
    /// Its process id; `None` while it is being started again.
    pub pid: Option<u32>,
    /// The port it listens on, if others call it.
    pub port: Option<u16>,
    /// Its log.
    pub log: PathBuf,
}

impl Process {
    /// Whether it runs now.
    pub fn is_running(&self) -> bool {
        self.pid.is_some_and(exists)
    }
}

fn exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    // Not allowed to signal it: it is there, but another user's.
    pid.is_some_and(|pid| !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH)))
}

impl Endpoints {
    /// The file of a data folder.
    pub fn file(data_dir: &Path) -> PathBuf {
        data_dir.join("platform.json")
    }

    /// Those of the platform that runs on a data folder, or `None` if none does.
    pub fn load(data_dir: &Path) -> Result<Option<Self>> {
        let path = Self::file(data_dir);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).with_context(|| format!("read {}", path.display())),
        };
        let found: Self =
            serde_json::from_slice(&bytes).with_context(|| format!("read {}", path.display()))?;
        Ok(found.is_running().then_some(found))
    }

    /// Whether its process is still there. A killed platform leaves its file behind.
    pub fn is_running(&self) -> bool {
        exists(self.pid) && crate::lock::is_held(&self.data_dir)
    }

    /// Asks the platform to stop. It takes some seconds: see [`Endpoints::is_running`].
    pub fn terminate(&self) -> Result<()> {
        let pid =
            i32::try_from(self.pid).ok().and_then(rustix::process::Pid::from_raw).context("no process id")?;
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .with_context(|| format!("ask process {} to stop", self.pid))
    }

    pub(crate) fn save(&self) -> Result<()> {
        let path = Self::file(&self.data_dir);
        let bytes = serde_json::to_vec_pretty(self)?;
        files::replace(&path, &bytes, 0o600).with_context(|| format!("write {}", path.display()))
    }

    pub(crate) fn passwords(secrets: &Secrets, superuser: &str, password: &str) -> BTreeMap<String, String> {
        let mut passwords = secrets.roles.clone();
        passwords.insert(superuser.to_owned(), password.to_owned());
        passwords
    }

    /// The environment of a program that uses everything, with database role `role`: the
    /// variables of `eaves-settings` and those of the AWS SDKs.
    pub fn vars(&self, role: &str) -> BTreeMap<String, String> {
        let mut vars = self.database_vars(role);
        for more in [
            self.replica_vars(),
            self.cache_vars(),
            self.aws_vars(),
            self.stream_vars(),
            self.registry_vars(),
            self.archive_vars(),
        ] {
            vars.extend(more);
        }
        vars
    }

    /// The primary, with a role of it.
    pub fn database_vars(&self, role: &str) -> BTreeMap<String, String> {
        vars(&[
            ("EAVES_DB_HOST", "127.0.0.1"),
            ("EAVES_DB_PORT", &self.database_port.to_string()),
            ("EAVES_DB_NAME", &self.database),
            ("EAVES_DB_USER", role),
            ("EAVES_DB_PASSWORD", self.passwords.get(role).map_or("", String::as_str)),
            ("EAVES_DB_TLS", "disable"),
        ])
    }

    pub(crate) fn replica_vars(&self) -> BTreeMap<String, String> {
        vars(&[("EAVES_REPLICA_HOST", "127.0.0.1"), ("EAVES_REPLICA_PORT", &self.replica_port.to_string())])
    }

    /// For operators' reads across tenants.
    pub(crate) fn superadmin_vars(&self) -> BTreeMap<String, String> {
        let role = "eaves_superadmin";
        let password = self.passwords.get(role).map_or("", String::as_str);
        vars(&[("EAVES_SUPERADMIN_USER", role), ("EAVES_SUPERADMIN_PASSWORD", password)])
    }

    pub(crate) fn cache_vars(&self) -> BTreeMap<String, String> {
        vars(&[("EAVES_REDIS_URL", &self.redis_url)])
    }

    pub(crate) fn aws_vars(&self) -> BTreeMap<String, String> {
        vars(&[
            ("AWS_ENDPOINT_URL", &self.aws_endpoint_url),
            // The SDKs and the AWS CLI prefer a service's own variable.
            ("AWS_ENDPOINT_URL_KINESIS", &self.kinesis_endpoint_url),
            ("AWS_REGION", &self.region),
            ("AWS_ACCESS_KEY_ID", TEST_CREDENTIAL),
            ("AWS_SECRET_ACCESS_KEY", TEST_CREDENTIAL),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ])
    }

    pub(crate) fn stream_vars(&self) -> BTreeMap<String, String> {
        vars(&[("EAVES_STREAM", &self.stream)])
    }

    /// For the function that lets in who has a token. The issuer is this platform, which can be asked often.
    pub(crate) fn authorizer_vars(&self) -> BTreeMap<String, String> {
        vars(&[
            ("EAVES_JWT_ISSUER", ISSUER),
            ("EAVES_JWT_AUDIENCE", AUDIENCE),
            ("EAVES_JWT_KEYS_URL", &format!("{}/.well-known/jwks.json", self.api_url)),
            ("EAVES_JWT_KEYS_TTL_S", "1"),
            ("EAVES_JWT_KEYS_PAUSE_S", "1"),
        ])
    }

    pub(crate) fn archive_vars(&self) -> BTreeMap<String, String> {
        vars(&[("EAVES_ARCHIVE_BUCKET", &self.archive_bucket)])
    }

    /// What functions are told of the plugin registry.
    pub fn registry_vars(&self) -> BTreeMap<String, String> {
        vars(&[
            ("EAVES_REGISTRY_TABLE", &self.registry_table),
            ("EAVES_PLUGIN_BUCKET", &self.plugin_bucket),
            ("EAVES_PLUGIN_KEY", &self.plugin_key),
        ])
    }
}

fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
