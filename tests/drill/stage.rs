//! The platform under the drill, and the hands that break it.

use crate::forward::Forward;
use anyhow::{Context as _, Result, bail, ensure};
use eaves_local::{Endpoints, Options, Platform};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// A tenant without a plugin.
pub(crate) const PLAIN: &str = "drill-plain";
/// A tenant whose plugin rejects a `level` above 100.
pub(crate) const RULED: &str = "drill-ruled";

pub(crate) struct Stage {
    pub(crate) platform: Platform,
    pub(crate) endpoints: Endpoints,
    pub(crate) kinesis: aws_sdk_kinesis::Client,
    forward: Forward,
    eaves: PathBuf,
}

pub(crate) struct Connector(tokio_postgres::Config);

impl Connector {
    pub(crate) async fn open(&self) -> Result<Client> {
        let (client, connection) = self.0.connect(NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }
}

impl Stage {
    /// Starts a platform whose functions reach the database through a port that can be
    /// turned to another server, and the tenants.
    pub(crate) async fn set() -> Result<Self> {
        let forward = Forward::listen().await?;
        let mut options = Options::ephemeral();
        options.function_env.insert("EAVES_DB_PORT".into(), forward.port.to_string());
        // The functions connect when they are first called, and find the way open by then.
        let platform = Platform::start(options);
        let exe = std::env::current_exe()?;
        let eaves = exe.parent().and_then(Path::parent).context("the folder of the binaries")?.join("eaves");
        let platform = platform.await?;
        let endpoints = platform.endpoints().clone();
        forward.to(endpoints.database_port);
        let kinesis = eaves_local::kinesis_client(&endpoints.kinesis_endpoint_url);
        let stage = Self { platform, endpoints, kinesis, forward, eaves };
        stage.eaves(&["tenant", "create", PLAIN]).await?;
        stage.eaves(&["tenant", "create", RULED]).await?;
        stage.rules(100, "1.0.0").await?;
        Ok(stage)
    }

    pub(crate) async fn clear(self) -> Result<()> {
        let pids: Vec<u32> = self.endpoints.processes.iter().filter_map(|p| p.pid).collect();
        self.platform.stop().await;
        let alive = |pid: &u32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
        };
        let left: Vec<u32> = pids.into_iter().filter(alive).collect();
        ensure!(left.is_empty(), "still running after the platform stopped: {left:?}");
        Ok(())
    }

    /// Runs `eaves` against whichever server is the primary now, as a deployed platform's operator
    /// would; exit code and standard output.
    pub(crate) async fn eaves_by_settings(&self, args: &[&str]) -> Result<(Option<i32>, String)> {
        let mut command = tokio::process::Command::new(&self.eaves);
        command.args(args).envs(self.endpoints.vars("eaves_admin")).env_remove("EAVES_DATA_DIR");
        command.env("EAVES_DB_PORT", self.forward.port.to_string()).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("start {}", self.eaves.display()))?;
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        Ok((output.status.code(), said))
    }

    /// Runs `eaves` against the platform; its standard output.
    pub(crate) async fn eaves(&self, args: &[&str]) -> Result<String> {
        let mut command = tokio::process::Command::new(&self.eaves);
        command.args(args).arg("--data").arg(&self.endpoints.data_dir).kill_on_drop(true);
        let output = command.output().await.with_context(|| format!("start {}", self.eaves.display()))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        ensure!(
            output.status.success(),
            "eaves {}: {said}{}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(said)
    }

    /// Gives the ruled tenant a version of its rules that rejects a `level` above `max`.
    pub(crate) async fn rules(&self, max: u32, version: &str) -> Result<()> {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins/telemetry-rules.wasm");
        let settings = format!(r#"{{"attributes":{{"level":{{"min":0,"max":{max}}}}}}}"#);
        let mut args = vec!["plugin", "push", file, "--tenant", RULED, "--name", "telemetry-rules"];
        args.extend(["--version", version, "--settings", &settings, "--activate"]);
        self.eaves(&args).await.map(drop)
    }

    /// Makes connections to the database that is the primary then, as the superuser.
    pub(crate) fn connector(&self) -> Connector {
        let user = "postgres";
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.forward.port).connect_timeout(Duration::from_secs(2));
        config.dbname(&self.endpoints.database).user(user);
        config.password(self.endpoints.passwords.get(user).map_or("", String::as_str));
        Connector(config)
    }

    pub(crate) async fn sql(&self) -> Result<Client> {
        self.connector().open().await
    }

    pub(crate) async fn count(&self, query: &str) -> Result<i64> {
        Ok(self.sql().await?.query_one(query, &[]).await?.get(0))
    }

    /// Waits for a condition; what fails meanwhile is tried again.
    pub(crate) async fn until<F>(&self, seconds: u64, what: &str, mut met: impl FnMut() -> F) -> Result<()>
    where
        F: Future<Output = Result<bool>>,
    {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            let last = met().await;
            if matches!(last, Ok(true)) {
                return Ok(());
            }
            if Instant::now() > end {
                last?;
                bail!("waited {seconds} s for {what}");
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn back(&self) -> Result<()> {
        self.until(60, "the database to be back", || async { Ok(self.count("select 1::int8").await? == 1) })
            .await
    }

    /// Whether everything that was delivered is in history, nothing is to be read again, and
    /// nothing new has come for a moment.
    pub(crate) async fn at_rest(&self) -> Result<bool> {
        let sql = "select (select count(*) from staging_batches)
            + (select count(*) from ingest_checkpoints c
               where c.updated_at > now() - interval '1 second' or c.replay_sequence is not null
                  or not exists (select from staging_epoch e where e.epoch = c.epoch))";
        Ok(self.count(sql).await? == 0)
    }

    /// Whether every open shard has something staged.
    pub(crate) async fn all_staged(&self) -> Result<bool> {
        let listed = self.kinesis.list_shards().stream_name(&self.endpoints.stream).send().await?;
        let open = listed.shards.unwrap_or_default().into_iter().filter(|shard| {
            shard.sequence_number_range.as_ref().is_some_and(|r| r.ending_sequence_number.is_none())
        });
        let open: Vec<String> = open.map(|shard| shard.shard_id).collect();
        let sql = "select count(*) from ingest_checkpoints c
                   join staging_epoch e on e.epoch = c.epoch
                   left join flush_checkpoints f using (stream, shard, consumer)
                   where c.shard = any($1) and c.consumer = 'ingest' and c.replay_sequence is null
                     and c.sequence > coalesce(f.sequence, -1)";
        let staged: i64 = self.sql().await?.query_one(sql, &[&open]).await?.get(0);
        Ok(staged == open.len() as i64)
    }

    /// How long it takes from now until every shard is through with its replay.
    pub(crate) async fn recovered(&self) -> Result<Duration> {
        let began = Instant::now();
        let due = "select count(*) from ingest_checkpoints c
                   where c.replay_sequence is not null
                      or not exists (select from staging_epoch e where e.epoch = c.epoch)";
        self.until(90, "the replay", || async { Ok(self.count(due).await? == 0) }).await?;
        Ok(began.elapsed())
    }

    // Faults

    /// `kill -9` of one server process that serves a client: PostgreSQL then restarts all.
    pub(crate) async fn kill_a_backend(&self) -> Result<()> {
        let client = self.sql().await?;
        let victim: i32 = client.query_one("select pg_backend_pid()", &[]).await?.get(0);
        kill(u32::try_from(victim)?).await?;
        self.until(20, "the server to notice", || async { Ok(client.is_closed()) }).await?;
        self.back().await
    }

    /// The whole server, as `pg_ctl stop -m immediate` or a power cut ends it.
    pub(crate) async fn stop_immediately(&self) -> Result<()> {
        {
            let mut databases = self.platform.databases().await.context("no databases")?;
            databases.primary.stop_immediately().await?;
            databases.primary.restart().await?;
        }
        self.back().await
    }

    /// The primary dies, the replica takes over.
    pub(crate) async fn promote_the_replica(&self) -> Result<()> {
        {
            let mut databases = self.platform.databases().await.context("no databases")?;
            databases.primary.kill_hard().await?;
            databases.replica.promote()?;
            self.forward.to(databases.replica.port());
        }
        let promoted = "select (not pg_is_in_recovery())::int::int8";
        self.until(60, "the replica to take over", || async { Ok(self.count(promoted).await? == 1) }).await
    }

    /// Keeps the flush from doing anything until the connection is dropped, or broken.
    pub(crate) async fn hold_the_flush(&self) -> Result<Client> {
        let client = self.sql().await?;
        client.query_one("select pg_advisory_lock(hashtextextended('eaves.stage_flush', 0))", &[]).await?;
        Ok(client)
    }

    pub(crate) async fn kill_functions(&self, pids: Vec<u32>) -> Result<u32> {
        let mut killed = 0;
        for pid in pids {
            // One that has just ended by itself is being started again already.
            killed += u32::from(kill(pid).await.is_ok());
        }
        Ok(killed)
    }
}

pub(crate) async fn kill(pid: u32) -> Result<()> {
    let killed = tokio::process::Command::new("kill").args(["-9", &pid.to_string()]).output().await?;
    ensure!(killed.status.success(), "kill -9 {pid}: {}", String::from_utf8_lossy(&killed.stderr));
    Ok(())
}
