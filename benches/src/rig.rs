//! The platform that is measured: release binaries, a tenant per shape, the rules plugin.

use crate::events::{Events, Shape};
use crate::plugin;
use anyhow::{Context as _, Result, ensure};
use eaves_cache::Cache;
use eaves_local::lambda::{FunctionConfig, FunctionHost};
use eaves_local::{Endpoints, Options, Platform};
use eaves_pg_server::PgOptions;
use eaves_settings::{Postgres, Secret};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

pub(crate) const DEVICE_TENANT: &str = "bench-device";
pub(crate) const RANDOM_TENANT: &str = "bench-random";

pub(crate) struct Rig {
    platform: Platform,
    endpoints: Endpoints,
    database_settings: Vec<(String, String)>,
    /// Runs of maintain that its log had before the start.
    maintained: usize,
}

impl Rig {
    pub(crate) async fn start(options: Options) -> Result<Self> {
        let rig = Self::bare(options).await?;
        match rig.prepare().await {
            Ok(()) => Ok(rig),
            Err(e) => {
                rig.stop().await;
                Err(e)
            }
        }
    }

    /// Without tenants.
    pub(crate) async fn bare(options: Options) -> Result<Self> {
        let database_settings = options.database_settings.clone();
        let maintained = maintained(&options.data_dir);
        let platform = Platform::start(options).await?;
        Ok(Self { endpoints: platform.endpoints().clone(), platform, database_settings, maintained })
    }

    async fn prepare(&self) -> Result<()> {
        for tenant in [DEVICE_TENANT, RANDOM_TENANT] {
            self.tenant_with_rules(tenant).await?;
        }
        Ok(())
    }

    /// A tenant with the rules plugin active.
    pub(crate) async fn tenant_with_rules(&self, tenant: &str) -> Result<()> {
        let rules = std::env::temp_dir().join(format!("eaves-bench-rules-{}.wasm", std::process::id()));
        std::fs::write(&rules, plugin::telemetry_rules()?)?;
        let file = rules.to_string_lossy().into_owned();
        let mut outcome = self.eaves(&["tenant", "create", tenant]).await.map(drop);
        if outcome.is_ok() {
            let mut args = vec!["plugin", "push", &file, "--tenant", tenant, "--name", "telemetry-rules"];
            args.extend(["--version", "1.0.0", "--settings", plugin::SETTINGS, "--activate"]);
            outcome = self.eaves(&args).await.map(drop);
        }
        std::fs::remove_file(rules)?;
        outcome
    }

    /// Ends the platform.
    pub(crate) async fn stop(self) {
        self.platform.stop().await;
    }

    /// Ingest instances of their own, with the environment that the platform's have.
    pub(crate) async fn ingest_host(&self, instances: usize) -> Result<FunctionHost> {
        let binary = beside("eaves-ingest")?;
        let logs = self.endpoints.data_dir.join("logs");
        let mut config = FunctionConfig::new("bench-ingest", binary, logs);
        config.env = self.endpoints.vars("eaves_ingest");
        config.instances = instances;
        config.timeout = Duration::from_secs(60);
        Ok(FunctionHost::spawn(config).await?)
    }

    /// Stops the replica, or starts it again.
    pub(crate) async fn without_replica(&self, without: bool) -> Result<()> {
        let mut databases = self.platform.databases().await.context("the databases")?;
        if without {
            databases.replica.stop().await?
        } else {
            databases.replica.restart().await?
        }
        Ok(())
    }

    /// Makes the replica anew from the primary, on the port that it had.
    pub(crate) async fn replica_anew(&self) -> Result<()> {
        let mut databases = self.platform.databases().await.context("the databases")?;
        let mut options = PgOptions::new("PostgreSQL replica", self.data_dir().join("replica"));
        options.log_file = Some(self.data_dir().join("logs/replica.log"));
        options.port = self.endpoints.replica_port;
        options.settings.clone_from(&self.database_settings);
        databases.replica.stop().await?;
        databases.replica = databases.primary.replica(options).await?;
        Ok(())
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.endpoints.data_dir
    }

    /// How the primary is reached with a role of it.
    pub(crate) fn database(&self, role: &str) -> Result<Postgres> {
        Ok(Postgres::primary(&self.endpoints.database_vars(role))?)
    }

    pub(crate) fn cache(&self) -> Result<Cache> {
        let settings = eaves_settings::Cache {
            url: Secret::new(&self.endpoints.redis_url),
            ttl: Duration::from_secs(600),
            ca_file: None,
            cluster: false,
            wait: eaves_settings::Cache::WAIT,
        };
        Ok(Cache::connect(&settings)?)
    }

    /// A few devices with values, for reads.
    pub(crate) async fn some_devices(&self, devices: u32) -> Result<()> {
        let host = self.ingest_host(1).await?;
        let mut events = Events::new(DEVICE_TENANT, Shape::Device, 91, devices);
        let answer = host.invoke_bytes(events.next()).await?;
        ensure!(!String::from_utf8_lossy(&answer).contains("itemIdentifier"), "{answer:?}");
        host.stop(Duration::from_secs(2)).await;
        self.wait_flushed().await
    }

    /// The function that loads history into files.
    pub(crate) fn olap_load(&self) -> FunctionHost {
        self.platform.olap_load().clone()
    }

    pub(crate) fn http_url(&self) -> &str {
        &self.endpoints.api_url
    }

    pub(crate) async fn token(&self, tenant: &str) -> Result<String> {
        Ok(self.eaves(&["token", "--tenant", tenant]).await?.trim().to_owned())
    }

    /// Where records are put as devices put them.
    pub(crate) fn kinesis(&self) -> (aws_sdk_kinesis::Client, &str) {
        (eaves_local::kinesis_client(&self.endpoints.kinesis_endpoint_url), &self.endpoints.stream)
    }

    pub(crate) async fn token_for(&self, tenant: &str, scope: &str) -> Result<String> {
        Ok(self.eaves(&["token", "--tenant", tenant, "--scope", scope]).await?.trim().to_owned())
    }

    /// Waits until what the start brings about is over: maintain's first run, which counts a day's values.
    pub(crate) async fn settled(&self) -> Result<()> {
        let end = Instant::now() + Duration::from_secs(180);
        while maintained(self.data_dir()) <= self.maintained {
            ensure!(Instant::now() < end, "maintain has not run after 180 s");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let db = self.admin().await?;
        let sql = "select count(*) from pg_stat_activity
                   where state = 'active' and backend_type in ('client backend', 'autovacuum worker')
                     and query_start < clock_timestamp() - interval '200 ms'";
        while db.query_one(sql, &[]).await?.get::<_, i64>(0) > 0 {
            ensure!(Instant::now() < end, "the database is busy after 180 s");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Waits until the replica has replayed what the primary has written.
    pub(crate) async fn wait_replica(&self) -> Result<()> {
        let db = self.admin().await?;
        let sql =
            "select coalesce(bool_and(replay_lsn >= pg_current_wal_lsn()), false) from pg_stat_replication";
        let end = Instant::now() + Duration::from_secs(60);
        while !db.query_one(sql, &[]).await?.get::<_, bool>(0) {
            ensure!(Instant::now() < end, "the replica has not caught up after 60 s");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// A connection past all row-level security.
    pub(crate) async fn admin(&self) -> Result<Client> {
        let password = self.endpoints.passwords.get("postgres").context("the superuser's password")?;
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.endpoints.database_port);
        config.dbname(&self.endpoints.database).user("postgres").password(password);
        let (client, connection) = config.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// Waits until nothing is staged.
    pub(crate) async fn wait_flushed(&self) -> Result<()> {
        let db = self.admin().await?;
        let end = Instant::now() + Duration::from_secs(120);
        loop {
            let staged: i64 = db.query_one("select count(*) from staging_batches", &[]).await?.get(0);
            if staged == 0 {
                return Ok(());
            }
            ensure!(Instant::now() < end, "{staged} batches still staged after 120 s");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The definitions of the functions that `unguarded.sql` replaces, as they are now.
    pub(crate) async fn functions(&self) -> Result<String> {
        let query = "select string_agg(pg_get_functiondef(p.oid), E';\n') from pg_proc p
                     where p.pronamespace = 'public'::regnamespace
                       and p.proname in ('ingest_begin', 'ingest_begun', 'ingest_finish', 'flush_leaf')";
        let found: Option<String> = self.admin().await?.query_one(query, &[]).await?.get(0);
        found.context("the functions of the write path")
    }

    /// Rows of a tenant in history.
    pub(crate) async fn history_rows(&self, tenant: &str) -> Result<u64> {
        let query =
            "select count(*) from entity_values_ts v join tenants t using (tenant_id) where t.name = $1";
        let rows: i64 = self.admin().await?.query_one(query, &[&tenant]).await?.get(0);
        Ok(rows.unsigned_abs())
    }

    pub(crate) async fn eaves(&self, args: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(beside("eaves")?);
        command.args(args).arg("--data").arg(&self.endpoints.data_dir).stdin(Stdio::null());
        let output = command.output().await.context("run eaves")?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "eaves {}: {told}", args.join(" "));
        Ok(String::from_utf8(output.stdout)?)
    }
}

/// How often maintain has told of a run.
fn maintained(data_dir: &Path) -> usize {
    let log = std::fs::read_to_string(data_dir.join("logs/eaves-maintain-0.log")).unwrap_or_default();
    log.matches("\"maintained\"").count()
}

/// A binary of the same build.
fn beside(name: &str) -> Result<PathBuf> {
    Ok(std::env::current_exe()?.with_file_name(name))
}
