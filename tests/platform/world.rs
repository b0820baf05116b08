//! The platform under test and the ways in: Kinesis, HTTP, the command line, SQL.

use crate::instance::children;
use anyhow::{Context as _, Result, bail, ensure};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use eaves_local::lambda::FunctionConfig;
use eaves_local::{Endpoints, Options, Platform};
use reqwest::header::HeaderMap;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

/// How long a scenario waits for what it sent to come back.
const PATIENCE_S: u64 = 30;

/// A time `second` seconds into the run's own hour: recent, so that default windows
/// cover it, and the same throughout the run.
pub(crate) fn at(second: i64) -> String {
    static BASE: OnceLock<i64> = OnceLock::new();
    let base = *BASE.get_or_init(|| jiff::Timestamp::now().as_second() - 3600);
    jiff::Timestamp::from_second(base + second).map(|t| t.to_string()).unwrap_or_default()
}

/// A reading at [`at`]`(0)`.
pub(crate) fn reading(tenant: &str, entity: &str, values: &str) -> String {
    format!(
        r#"{{"tenant":"{tenant}","entity":"{entity}","type":"test","observed_at":"{}","values":{values}}}"#,
        at(0)
    )
}

/// An answer over HTTP.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Result<&str> {
        let value =
            self.headers.get(name).with_context(|| format!("no header {name}: {:?}", self.headers))?;
        Ok(value.to_str()?)
    }

    /// How many points a history has.
    pub(crate) fn points(&self) -> usize {
        self.json["points"].as_array().map_or(0, Vec::len)
    }
}

/// A quarantine row.
pub(crate) struct Row {
    pub(crate) payload: String,
    pub(crate) plugin_digest: Option<String>,
}

/// Most memory that an instance has had, in MB.
pub(crate) struct Peak {
    /// Of the instance's own process.
    pub(crate) own: f64,
    /// Of the process that runs its plugins.
    pub(crate) plugins: f64,
}

impl Peak {
    pub(crate) fn total(&self) -> f64 {
        self.own + self.plugins
    }
}

pub(crate) struct World {
    pub(crate) platform: Platform,
    endpoints: Endpoints,
    http: reqwest::Client,
    kinesis: aws_sdk_kinesis::Client,
    eaves: PathBuf,
    tokens: std::sync::Mutex<std::collections::HashMap<(String, Option<String>), String>>,
}

impl World {
    /// Starts a platform and the tenants the scenarios use.
    pub(crate) async fn start() -> Result<Self> {
        let platform = Platform::start(Options::ephemeral()).await?;
        let endpoints = platform.endpoints().clone();
        // `target/<profile>/deps/platform-…` stands beside the binaries' folder.
        let exe = std::env::current_exe()?;
        let eaves = exe.parent().and_then(Path::parent).context("the folder of the binaries")?.join("eaves");
        let world = Self {
            kinesis: eaves_local::kinesis_client(&endpoints.kinesis_endpoint_url),
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?,
            endpoints,
            platform,
            eaves,
            tokens: Default::default(),
        };
        match world.prepare().await {
            Ok(()) => Ok(world),
            Err(e) => {
                world.stop().await?;
                Err(e)
            }
        }
    }

    async fn prepare(&self) -> Result<()> {
        for tenant in [
            "acme",
            "globex",
            "ruled",
            "dewy",
            "lively",
            "same-a",
            "same-b",
            "poisoned",
            "breaking",
            "growing",
            "spinning",
            "upgraded",
            "author-rust",
            "author-c",
            "author-assemblyscript",
            "author-js",
            "uncoded",
        ] {
            self.eaves_ok(&["tenant", "create", tenant]).await?;
        }
        self.eaves_ok(&["tenant", "create", "strict", "--strict"]).await?;
        let rules = r#"{"attributes":{"rule_temperature":{"min":-40,"max":150},"rule_status":{"allowed":["online","offline"]}}}"#;
        let plugins = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/plugins");
        for (tenant, plugin, settings) in [("ruled", "telemetry-rules", rules), ("dewy", "dew-point", "{}")] {
            let file = format!("{plugins}/{plugin}.wasm");
            let mut args = vec!["plugin", "push", &file, "--tenant", tenant, "--name", plugin];
            args.extend(["--version", "1.0.0", "--settings", settings, "--activate"]);
            self.eaves_ok(&args).await?;
        }
        Ok(())
    }

    /// Makes a version of a plugin the tenant's active one.
    pub(crate) async fn activate(
        &self,
        tenant: &str,
        plugin: &str,
        version: &str,
        settings: &str,
    ) -> Result<()> {
        let file = format!("{}/../target/plugins/{plugin}.wasm", env!("CARGO_MANIFEST_DIR"));
        let mut args = vec!["plugin", "push", &file, "--tenant", tenant, "--name", plugin];
        args.extend(["--version", version, "--settings", settings, "--activate"]);
        self.eaves_ok(&args).await.map(drop)
    }

    /// The command line.
    pub(crate) fn program(&self) -> &Path {
        &self.eaves
    }

    /// How the platform runs ingest.
    pub(crate) fn ingest(&self) -> &FunctionConfig {
        self.platform.ingest().config()
    }

    /// How the platform runs flush.
    pub(crate) fn flush(&self) -> &FunctionConfig {
        self.platform.flush().config()
    }

    /// How the platform runs query.
    pub(crate) fn query(&self) -> &FunctionConfig {
        self.platform.query().config()
    }

    /// How the platform runs maintain.
    pub(crate) fn maintain(&self) -> &FunctionConfig {
        self.platform.maintain().config()
    }

    /// How the platform runs hot-projection.
    pub(crate) fn hot_projection(&self) -> &FunctionConfig {
        self.platform.hot_projection().config()
    }

    /// How the platform runs olap-load.
    pub(crate) fn olap_load(&self) -> &FunctionConfig {
        self.platform.olap_load().config()
    }

    /// How the platform runs plugin-admin.
    pub(crate) fn plugin_admin(&self) -> &FunctionConfig {
        self.platform.plugin_admin().config()
    }

    /// Stops the platform and looks whether any of its processes is left.
    pub(crate) async fn stop(self) -> Result<()> {
        let pids: Vec<u32> = self.endpoints.processes.iter().filter_map(|p| p.pid).collect();
        self.platform.stop().await;
        let left: Vec<u32> = pids.into_iter().filter(|pid| is_alive(*pid)).collect();
        ensure!(left.is_empty(), "still running after the platform stopped: {left:?}");
        Ok(())
    }

    // Kinesis

    /// Puts one record, with tenant and key as a gateway would set its partition key.
    pub(crate) async fn put(&self, tenant: &str, key: &str, record: String) -> Result<()> {
        self.put_bytes(&format!("{tenant}/{key}"), record.into_bytes()).await
    }

    pub(crate) async fn put_bytes(&self, key: &str, record: Vec<u8>) -> Result<()> {
        self.put_many(vec![(key.to_owned(), record)]).await
    }

    /// Puts one record into the shard whose range holds `hash`.
    pub(crate) async fn put_at(&self, hash: u128, record: Vec<u8>) -> Result<()> {
        let request = self.kinesis.put_record().stream_name(&self.endpoints.stream).partition_key("k");
        request.explicit_hash_key(hash.to_string()).data(Blob::new(record)).send().await?;
        Ok(())
    }

    pub(crate) async fn put_many(&self, records: Vec<(String, Vec<u8>)>) -> Result<()> {
        let entries: Result<Vec<_>, _> = records
            .into_iter()
            .map(|(key, data)| {
                PutRecordsRequestEntry::builder().partition_key(key).data(Blob::new(data)).build()
            })
            .collect();
        let request =
            self.kinesis.put_records().stream_name(&self.endpoints.stream).set_records(Some(entries?));
        let answer = request.send().await?;
        ensure!(answer.failed_record_count.unwrap_or(0) == 0, "{answer:?}");
        Ok(())
    }

    /// The first record on the stream whose bytes have this text in them.
    pub(crate) async fn record_with(&self, text: &str) -> Result<Vec<u8>> {
        use aws_sdk_kinesis::types::ShardIteratorType::TrimHorizon;
        let stream = &self.endpoints.stream;
        let shards = self.kinesis.list_shards().stream_name(stream).send().await?;
        for shard in shards.shards() {
            let from = self.kinesis.get_shard_iterator().stream_name(stream).shard_id(shard.shard_id());
            let mut next = from.shard_iterator_type(TrimHorizon).send().await?.shard_iterator;
            while let Some(iterator) = next {
                let answer = self.kinesis.get_records().shard_iterator(iterator).send().await?;
                let has = |data: &[u8]| String::from_utf8_lossy(data).contains(text);
                if let Some(found) = answer.records().iter().find(|r| has(r.data().as_ref())) {
                    return Ok(found.data().clone().into_inner());
                }
                next = answer.next_shard_iterator.filter(|_| answer.millis_behind_latest != Some(0));
            }
        }
        bail!("no record has {text:?} in it")
    }

    pub(crate) fn gzip(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        use std::io::Write as _;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes)?;
        Ok(encoder.finish()?)
    }

    /// Packs records as the Kinesis Producer Library does.
    pub(crate) fn aggregate(&self, records: &[(&str, Vec<u8>)]) -> Vec<u8> {
        let records: Vec<(&str, &[u8])> = records.iter().map(|(key, data)| (*key, data.as_slice())).collect();
        eaves_codec::encode::kpl(&records)
    }

    // HTTP

    pub(crate) async fn token(&self, tenant: &str, scope: Option<&str>) -> Result<String> {
        let key = (tenant.to_owned(), scope.map(str::to_owned));
        let known = self.tokens.lock().ok().and_then(|t| t.get(&key).cloned());
        if let Some(token) = known {
            return Ok(token);
        }
        let mut args = vec!["token", "--tenant", tenant];
        args.extend(scope.iter().flat_map(|s| ["--scope", s]));
        let printed = self.eaves_ok(&args).await?;
        let token = String::from_utf8(printed.stdout)?.trim().to_owned();
        if let Ok(mut tokens) = self.tokens.lock() {
            tokens.insert(key, token.clone());
        }
        Ok(token)
    }

    pub(crate) async fn get(&self, tenant: &str, path: &str) -> Result<Answer> {
        let token = self.token(tenant, None).await?;
        self.get_with(Some(&token), path).await
    }

    pub(crate) async fn get_with(&self, token: Option<&str>, path: &str) -> Result<Answer> {
        let mut request = self.http.get(format!("{}{path}", self.endpoints.api_url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        answer(request).await
    }

    pub(crate) async fn post(&self, tenant: &str, path: &str, body: Value) -> Result<Answer> {
        let token = self.token(tenant, None).await?;
        answer(self.http.post(format!("{}{path}", self.endpoints.api_url)).bearer_auth(token).json(&body))
            .await
    }

    /// Calls the API as one who administers the tenant's plugins.
    pub(crate) async fn admin(&self, tenant: &str, method: &str, path: &str, body: Value) -> Result<Answer> {
        let token = self.token(tenant, Some("plugins:read plugins:write admin")).await?;
        let url = format!("{}{path}", self.endpoints.api_url);
        let mut request = self.http.request(method.parse()?, url).bearer_auth(token);
        // A plugin is compiled meanwhile.
        request = request.timeout(Duration::from_secs(60));
        if !body.is_null() {
            request = request.json(&body);
        }
        answer(request).await
    }

    /// Posts bytes of a kind as one who administers the tenant's plugins.
    pub(crate) async fn post_bytes(
        &self,
        tenant: &str,
        path: &str,
        kind: &str,
        body: Vec<u8>,
    ) -> Result<Answer> {
        let token = self.token(tenant, Some("plugins:read plugins:write admin")).await?;
        let request = self.http.post(format!("{}{path}", self.endpoints.api_url)).bearer_auth(token);
        let request = request.timeout(Duration::from_secs(60)).header("content-type", kind);
        answer(request.body(body)).await
    }

    /// Puts bytes at a URL of the object store, as somebody without a token.
    pub(crate) async fn put_at_url(&self, url: &str, headers: &Value, body: Vec<u8>) -> Result<u16> {
        let mut request = self.http.put(url);
        for (name, value) in headers.as_object().into_iter().flatten() {
            request = request.header(name, value.as_str().unwrap_or_default());
        }
        Ok(request.body(body).send().await?.status().as_u16())
    }

    /// What the platform's functions load plugins with.
    pub(crate) fn plugin_config(&self) -> Result<eaves_plugin_host::HostConfig> {
        let vars = self.endpoints.registry_vars();
        let key = vars.get("EAVES_PLUGIN_KEY").context("the signing key")?;
        Ok(eaves_plugin_host::HostConfig::new(key)?)
    }

    /// What a component was compiled to, in the object store: each with its URL.
    pub(crate) async fn artefacts(&self, digest: &str) -> Result<Vec<(String, Vec<u8>)>> {
        let bucket = format!("{}/{}", self.endpoints.aws_endpoint_url, self.endpoints.plugin_bucket);
        let list = format!("{bucket}?list-type=2&prefix=artefacts/{digest}/");
        let listed = self.http.get(list).send().await?.text().await?;
        let mut found = Vec::new();
        for key in listed.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next()) {
            let url = format!("{bucket}/{key}");
            let bytes = self.http.get(&url).send().await?.error_for_status()?.bytes().await?;
            found.push((url, bytes.to_vec()));
        }
        Ok(found)
    }

    /// Puts an artefact in the place of another, as somebody could who has got at the bucket.
    pub(crate) async fn put_artefact(&self, url: &str, bytes: Vec<u8>) -> Result<()> {
        self.http.put(url).body(bytes).send().await?.error_for_status()?;
        Ok(())
    }

    /// Tokens for tenants, without starting a program for each.
    pub(crate) async fn sign_all(&self, tenants: &[String], scope: &str) -> Result<Vec<String>> {
        let query = "select t.tenant_id::int8 from unnest($1::text[]) with ordinality n (name, nth)
                     join tenants t using (name) order by nth";
        let ids = self.database().await?.query(query, &[&tenants]).await?;
        ensure!(ids.len() == tenants.len(), "{} of {} tenants are there", ids.len(), tenants.len());
        let issuer = eaves_local::front::auth::Issuer::load(&self.endpoints.token_key)?;
        let token = |(name, row): (&String, &tokio_postgres::Row)| {
            issuer.token(name, row.get(0), scope, Duration::from_secs(600))
        };
        tenants.iter().zip(&ids).map(token).collect()
    }

    pub(crate) async fn post_as(&self, token: &str, path: &str, body: Value) -> Result<Answer> {
        let request = self.http.post(format!("{}{path}", self.endpoints.api_url)).bearer_auth(token);
        answer(request.timeout(Duration::from_secs(60)).json(&body)).await
    }

    /// The most memory that each instance of ingest has had.
    pub(crate) fn ingest_peaks_mb(&self) -> Result<Vec<Peak>> {
        let peak = |pid: u32| {
            let mut plugins = 0.0;
            for child in children(pid)? {
                plugins += peak_mb(child)?;
            }
            Ok(Peak { own: peak_mb(pid)?, plugins })
        };
        self.platform.ingest().pids().into_iter().map(peak).collect()
    }

    pub(crate) async fn search(&self, tenant: &str, filter: Value) -> Result<Answer> {
        let body = serde_json::json!({"filter": filter, "limit": 100});
        self.post(tenant, "/v1/entities/search?consistency=strong", body).await
    }

    /// The entity, once it has the attribute.
    pub(crate) async fn entity(&self, tenant: &str, entity: &str, attribute: &str) -> Result<Answer> {
        let token = self.token(tenant, None).await?;
        let path = format!("/v1/entities/{entity}?consistency=strong");
        let end = Instant::now() + Duration::from_secs(PATIENCE_S);
        loop {
            let answer = self.get_with(Some(&token), &path).await?;
            ensure!(answer.status < 500, "{path}: {} {}", answer.status, answer.text);
            let entity = &answer.json["entity"];
            if answer.status == 200 && entity["attributes"].get(attribute).is_some() {
                return Ok(Answer { json: entity.clone(), ..answer });
            }
            if Instant::now() > end {
                bail!(
                    "{entity} of {tenant} has no {attribute} after {PATIENCE_S} s: {} {}",
                    answer.status,
                    answer.text
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The attribute's history of the last day, once it has that many points.
    pub(crate) async fn history(
        &self,
        tenant: &str,
        entity: &str,
        attribute: &str,
        points: usize,
    ) -> Result<Answer> {
        let token = self.token(tenant, None).await?;
        let path = format!("/v1/entities/{entity}/history/{attribute}?consistency=strong");
        let end = Instant::now() + Duration::from_secs(PATIENCE_S);
        loop {
            let answer = self.get_with(Some(&token), &path).await?;
            if answer.status == 200 && answer.points() >= points {
                return Ok(answer);
            }
            if Instant::now() > end {
                bail!("history of {entity}.{attribute}: {} {}", answer.status, answer.text);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    // The command line

    /// Runs `eaves` against this platform with the given standard input.
    pub(crate) async fn eaves(&self, args: &[&str], input: &str) -> Result<Output> {
        let mut command = tokio::process::Command::new(&self.eaves);
        command.args(args).arg("--data").arg(&self.endpoints.data_dir);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("start {}", self.eaves.display()))?;
        let mut stdin = child.stdin.take().context("standard input")?;
        // A program that ends without reading its input is judged by its exit code.
        drop(stdin.write_all(input.as_bytes()).await);
        drop(stdin);
        Ok(child.wait_with_output().await?)
    }

    async fn eaves_ok(&self, args: &[&str]) -> Result<Output> {
        let output = self.eaves(args, "").await?;
        ensure!(
            output.status.success(),
            "eaves {}: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }

    // SQL

    async fn database(&self) -> Result<tokio_postgres::Client> {
        let superuser = "postgres";
        let password = self.endpoints.passwords.get(superuser).context("the superuser's password")?;
        let mut config = tokio_postgres::Config::new();
        config.host("127.0.0.1").port(self.endpoints.database_port);
        config.dbname(&self.endpoints.database).user(superuser).password(password);
        let (client, connection) = config.connect(tokio_postgres::NoTls).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A number from the database, past all row-level security.
    pub(crate) async fn count(&self, query: &str) -> Result<i64> {
        Ok(self.database().await?.query_one(query, &[]).await?.get(0))
    }

    /// A text from the database, past all row-level security.
    pub(crate) async fn text(&self, query: &str) -> Result<Option<String>> {
        Ok(self.database().await?.query_one(query, &[]).await?.get(0))
    }

    /// Changes the database behind the platform's back.
    pub(crate) async fn execute(&self, sql: &str) -> Result<()> {
        Ok(self.database().await?.batch_execute(sql).await?)
    }

    /// Where quarantine stands, to look only at what comes later.
    pub(crate) async fn quarantine_mark(&self) -> Result<i64> {
        self.count("select coalesce(max(quarantine_id), 0) from quarantine").await
    }

    /// Waits for a quarantine row after `mark` with this reason and a field that starts so.
    pub(crate) async fn quarantined(&self, mark: i64, reason: &str, field: &str) -> Result<Row> {
        let query = "select encode(payload, 'escape'), plugin_digest from quarantine
                     where quarantine_id > $1 and reason = $2 and field like '%' || $3 || '%' limit 1";
        self.row(query, &[&mark, &reason, &field]).await
    }

    /// Waits for a quarantine row of a tenant after `mark` about `field`.
    pub(crate) async fn quarantined_in(&self, mark: i64, tenant: &str, field: &str) -> Result<Row> {
        let query = "select encode(q.payload, 'escape'), q.plugin_digest
                     from quarantine q join tenants t using (tenant_id)
                     where q.quarantine_id > $1 and t.name = $2 and q.field = $3 limit 1";
        self.row(query, &[&mark, &tenant, &field]).await
    }

    async fn row(&self, query: &str, params: &[&(dyn tokio_postgres::types::ToSql + Sync)]) -> Result<Row> {
        let database = self.database().await?;
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            if let Some(row) = database.query_opt(query, params).await? {
                return Ok(Row { payload: row.get(0), plugin_digest: row.get(1) });
            }
            ensure!(Instant::now() < end, "no such row in quarantine");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// `kill -9` of one server process that serves a client: PostgreSQL then restarts all.
    pub(crate) async fn kill_a_backend(&self) -> Result<()> {
        let database = self.database().await?;
        let own: i32 = database.query_one("select pg_backend_pid()", &[]).await?.get(0);
        let killed = tokio::process::Command::new("kill").args(["-9", &own.to_string()]).status().await?;
        ensure!(killed.success(), "kill -9 {own}");
        self.until(30, "the database to be back", || async { Ok(self.database().await.is_ok()) }).await
    }

    /// Keeps the flush from doing anything until the connection is dropped, or broken.
    pub(crate) async fn hold_the_flush(&self) -> Result<tokio_postgres::Client> {
        let database = self.database().await?;
        let lock = "select pg_advisory_lock(hashtextextended('eaves.stage_flush', 0))";
        database.query_one(lock, &[]).await?;
        Ok(database)
    }

    /// Keeps ingest from taking anything until the connection is dropped. Checkpoints can be read.
    pub(crate) async fn hold_ingest(&self) -> Result<tokio_postgres::Client> {
        let database = self.database().await?;
        database.batch_execute("begin; lock table ingest_checkpoints in exclusive mode").await?;
        Ok(database)
    }

    /// How long the stream keeps records.
    pub(crate) async fn set_retention(&self, retention: Duration) -> Result<()> {
        let kinesis = self.platform.kinesis();
        // What is written in the very millisecond is to be gone, too.
        tokio::time::sleep(Duration::from_millis(5)).await;
        Ok(kinesis.set_retention_ms(&self.endpoints.stream, u64::try_from(retention.as_millis())?)?)
    }

    /// The ends of the functions' logs, for a failure's message.
    pub(crate) fn logs(&self) -> String {
        let end = |p: &eaves_local::Process| {
            let text = std::fs::read_to_string(&p.log).unwrap_or_default();
            let said = |l: &&str| l.contains("\"level\"");
            let lines: Vec<&str> = text.lines().rev().filter(said).take(6).collect();
            format!("{} (newest first):\n{}\n", p.name, lines.join("\n"))
        };
        self.endpoints.processes.iter().filter(|p| p.name.starts_with("eaves-")).map(end).collect()
    }

    /// Waits for a condition.
    pub(crate) async fn until<F>(&self, seconds: u64, what: &str, mut met: impl FnMut() -> F) -> Result<()>
    where
        F: Future<Output = Result<bool>>,
    {
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut last = met().await;
        while !matches!(last, Ok(true)) {
            if Instant::now() > end {
                last?;
                bail!("waited {seconds} s for {what}; logs:\n{}", self.logs());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            last = met().await;
        }
        Ok(())
    }
}

/// What a program said, for a failure's message.
pub(crate) fn said(output: &std::process::Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn answer(request: reqwest::RequestBuilder) -> Result<Answer> {
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    let json = serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(Answer { status, headers, text, json })
}

/// The most memory that a process has had.
pub(crate) fn peak_mb(pid: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kb: f64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kb / 1024.0)
}

fn is_alive(pid: u32) -> bool {
    // A zombie is dead; it only waits for its parent.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
