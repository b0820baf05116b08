//! Servers, tenants and requests for the cases.

use crate::doubles::{Memory, Redis};
use crate::pipeline::{flush, place, recovered};
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use eaves_cache::Cache;
use eaves_fn_query::{Context, Stream, router};
use eaves_model::batch::Point;
use eaves_model::tenant::Tenant;
use eaves_model::{Code, EntityId, Position, Rejection, TenantId, Timestamp, Value};
use eaves_pg_server::{PgOptions, PgServer};
use eaves_settings::{Cache as CacheSettings, Postgres, Secret, Tls};
use eaves_store::admin::{AdminStore, set_password};
use eaves_store::flush::FlushStore;
use eaves_store::ingest::{Commit, HotRow, IngestStore, QuarantineKind, Quarantined};
use eaves_store::quarantine::Filter;
use http_body_util::BodyExt as _;
use lambda_http::request::RequestContext;
use serde_json::{Value as Json, json};
use std::collections::{BTreeMap, HashMap};
use std::io::Read as _;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::Mutex as AsyncMutex;
use tokio::task::JoinHandle;
use tokio_postgres::Client;
use tower::ServiceExt as _;

pub(crate) const PASSWORD: &str = "for-tests";

pub(crate) struct World {
    pub(crate) primary: AsyncMutex<PgServer>,
    pub(crate) replica: AsyncMutex<PgServer>,
    pub(crate) redis: Mutex<Redis>,
    replica_super: Postgres,
    pub(crate) superuser: Postgres,
    looking: AsyncMutex<Option<Arc<tokio_postgres::Client>>>,
    ingest: AsyncMutex<IngestStore>,
    tenants: AtomicI32,
    flushing: Arc<AtomicBool>,
    pub(crate) stream: Arc<Memory>,
    context: Arc<Context>,
    router: Router,
    vars: BTreeMap<String, String>,
    _dir: tempfile::TempDir,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) body: Json,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("")
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.status, StatusCode::OK, "{}", self.text);
        self
    }

    /// Checks that this is a problem with the status and field, and a text in its detail.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, field: Option<&str>, detail: &str) {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/problem+json", "{}", self.text);
        assert_eq!(self.body["status"], status, "{}", self.text);
        assert_eq!(self.body["field"].as_str(), field, "{}", self.text);
        assert!(self.body["detail"].as_str().unwrap().contains(detail), "{}", self.text);
        assert!(self.body["type"].as_str().unwrap().starts_with("/docs#"), "{}", self.text);
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = |name: &str| {
            PgOptions::new(name, dir.path().join(name))
                .setting("fsync", "off")
                .setting("shared_buffers", "32MB")
        };
        let primary =
            PgServer::start(options("primary")).await.expect("PostgreSQL does not start: run make setup");
        let superuser = settings(primary.port(), primary.superuser(), primary.password());
        let server = Postgres { database: "postgres".into(), ..superuser.clone() };
        execute(&server, "create database eaves").await;
        eaves_store::migrate(&superuser).await.unwrap();
        for role in ["eaves_ingest", "eaves_flush", "eaves_query", "eaves_admin", "eaves_superadmin"] {
            set_password(&superuser, role, &Secret::new(PASSWORD)).await.unwrap();
        }
        let replica = primary.replica(options("replica")).await.unwrap();
        let replica_super = settings(replica.port(), primary.superuser(), primary.password());
        let redis = Redis::start();
        let role = |name: &str| settings(primary.port(), name, PASSWORD);

        let stream = Arc::new(Memory::default());
        let vars: BTreeMap<String, String> = [
            ("EAVES_DB_HOST", "127.0.0.1".to_owned()),
            ("EAVES_DB_PORT", primary.port().to_string()),
            ("EAVES_DB_USER", "eaves_query".to_owned()),
            ("EAVES_DB_PASSWORD", PASSWORD.to_owned()),
            ("EAVES_DB_TLS", "disable".to_owned()),
            ("EAVES_REPLICA_HOST", "127.0.0.1".to_owned()),
            ("EAVES_REPLICA_PORT", replica.port().to_string()),
            ("EAVES_STREAM", "tests".to_owned()),
            ("EAVES_SUPERADMIN_USER", "eaves_superadmin".to_owned()),
            ("EAVES_SUPERADMIN_PASSWORD", PASSWORD.to_owned()),
            ("EAVES_REDIS_URL", format!("redis://127.0.0.1:{}", redis.port)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let context = Arc::new(Context::with_stream(&vars, Arc::clone(&stream) as Arc<dyn Stream>).unwrap());

        let flushing = Arc::new(AtomicBool::new(true));
        tokio::spawn(flush(role("eaves_flush"), Arc::clone(&flushing)));
        Self {
            ingest: AsyncMutex::new(IngestStore::connect(&role("eaves_ingest")).await.unwrap()),
            primary: AsyncMutex::new(primary),
            replica: AsyncMutex::new(replica),
            redis: Mutex::new(redis),
            replica_super,
            superuser,
            looking: AsyncMutex::new(None),
            tenants: AtomicI32::new(0),
            flushing,
            stream,
            router: router(Arc::clone(&context)),
            context,
            vars,
            _dir: dir,
        }
    }

    pub(crate) async fn stop(self) {
        drop(self.replica.into_inner().stop().await);
        drop(self.primary.into_inner().stop().await);
    }

    /// How many reads were sent to a database so far.
    pub(crate) fn entity_reads(&self) -> u64 {
        self.context.database_reads()
    }

    /// The cache as ingest has it.
    pub(crate) async fn cache(&self) -> Cache {
        let url = Secret::new(format!("redis://127.0.0.1:{}", self.redis.lock().unwrap().port));
        let (ttl, wait) = (Duration::from_secs(60), CacheSettings::WAIT);
        let settings = CacheSettings { url, ttl, ca_file: None, cluster: false, wait };
        let cache = Cache::connect(&settings).unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        while cache.ping().await.is_err() {
            assert!(Instant::now() < deadline, "Redis does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cache
    }

    /// The version and the content of an entity's row on the primary; `None` while it does not answer.
    pub(crate) async fn try_hot_row(&self, tenant: TenantId, entity: EntityId) -> Option<(i64, String)> {
        let client = {
            let mut kept = self.looking.lock().await;
            if kept.as_ref().is_none_or(|client| client.is_closed()) {
                let s = &self.superuser;
                let mut config = tokio_postgres::Config::new();
                config.host(&s.host).port(s.port).dbname(&s.database).user(&s.user);
                config.password(s.password.expose());
                let (client, connection) = config.connect(tokio_postgres::NoTls).await.ok()?;
                tokio::spawn(connection);
                *kept = Some(Arc::new(client));
            }
            Arc::clone(kept.as_ref()?)
        };
        let sql = "select version, hot_attrs::text from entity_jsonb where tenant_id = $1 and entity_id = $2";
        let rows = client.query(sql, &[&tenant.0, &entity.0]).await.ok()?;
        Some(rows.first().map_or((0, "{}".to_owned()), |row| (row.get(0), row.get(1))))
    }

    /// The same, when it answers.
    pub(crate) async fn hot_row(&self, tenant: TenantId, entity: EntityId) -> (i64, String) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(row) = self.try_hot_row(tenant, entity).await {
                return row;
            }
            assert!(Instant::now() < deadline, "the primary does not come back");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// A new tenant.
    pub(crate) async fn tenant(&self, hot_limit: u32) -> Tenant {
        let name = format!("tenant-{}", self.tenants.fetch_add(1, Ordering::Relaxed));
        let id = self.admin().await.tenant_create(&name, false, Some(hot_limit)).await.unwrap();
        Tenant { id, name, strict: false }
    }

    /// The operator's view.
    pub(crate) async fn admin(&self) -> AdminStore {
        AdminStore::connect(&settings(self.superuser.port, "eaves_admin", PASSWORD)).await.unwrap()
    }

    /// Statements as the superuser.
    pub(crate) async fn execute(&self, sql: &str) {
        execute(&self.superuser, sql).await;
    }

    /// A session of the superuser's.
    pub(crate) async fn session(&self) -> Client {
        session(&self.superuser).await.0
    }

    /// Statements as the function's role.
    pub(crate) async fn execute_as_query(&self, sql: &str) {
        execute(&settings(self.superuser.port, "eaves_query", PASSWORD), sql).await;
    }

    /// Another instance of the function, with other settings; an empty one takes a setting away.
    pub(crate) fn instance(&self, other: &[(&str, &str)]) -> Router {
        let mut vars = self.vars.clone();
        vars.extend(other.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let stream = Arc::clone(&self.stream) as Arc<dyn Stream>;
        router(Arc::new(Context::with_stream(&vars, stream).unwrap()))
    }

    /// Takes a reading as ingest would.
    pub(crate) async fn take(&self, tenant: TenantId, entity: &str, at: Timestamp, values: &[(&str, Value)]) {
        self.take_as(tenant, (entity, "pump"), at, values).await;
    }

    /// The same of an entity of some type.
    pub(crate) async fn take_as(
        &self,
        tenant: TenantId,
        entity: (&str, &str),
        at: Timestamp,
        values: &[(&str, Value)],
    ) {
        let mut store = self.ingest.lock().await;
        let entity = store.register_entities(tenant, &[entity], true).await.unwrap()[0].id;
        let types: Vec<_> = values.iter().map(|(name, value)| (*name, value.value_type())).collect();
        let attributes = store.register_attributes(tenant, &types, true).await.unwrap();
        let attributes: HashMap<_, _> = attributes.iter().map(|a| (a.name.as_str(), a)).collect();
        let mut points = Vec::new();
        let mut hot = String::from("{");
        for (name, value) in values {
            let attribute = attributes[name];
            points.push(Point {
                tenant,
                entity,
                attribute: attribute.id,
                observed_at: at,
                plugin: None,
                value: value.clone(),
            });
            if attribute.is_hot {
                hot.push_str(if hot.len() > 1 { "," } else { "" });
                hot.push_str(&Json::from(*name).to_string());
                hot.push(':');
                value.write_json(&mut hot);
            }
        }
        hot.push('}');
        let hot = HotRow { tenant, entity, observed_at: at, attrs_json: hot };
        let hot = if hot.attrs_json == "{}" { vec![] } else { vec![hot] };
        self.commit(&mut store, &points, &hot, &[]).await;
    }

    /// Refuses a record as ingest would; returns its quarantine row.
    pub(crate) async fn refuse(&self, tenant: Option<TenantId>, reason: &str, payload: &[u8]) -> i64 {
        let mut store = self.ingest.lock().await;
        let refused = Quarantined {
            tenant,
            kind: QuarantineKind::Record,
            rejection: Rejection::new(Code(reason.to_owned().into()), "values.t", "for the test"),
            payload: payload.to_vec(),
            sequence: (self.stream.last.load(Ordering::SeqCst) + 1).to_string(),
            sub: 0,
            plugin_digest: None,
            item: 0,
            pieces: 1,
            named: None,
            arrived: None,
            redrive_of: None,
            attempts: 0,
        };
        self.commit(&mut store, &[], &[], &[refused]).await;
        let newest = self.admin().await.quarantine_list(&Filter::default(), 1).await;
        newest.unwrap()[0].id
    }

    async fn commit(
        &self,
        store: &mut IngestStore,
        points: &[Point],
        hot: &[HotRow],
        quarantine: &[Quarantined],
    ) {
        let place = place();
        recovered(store, &place).await;
        // After a crash it is where the flush was.
        if let Some(at) = store.checkpoint(&place).await.unwrap().position {
            self.stream.last.store(at.sequence().parse().unwrap(), Ordering::SeqCst);
        }
        let sequence = self.stream.last.fetch_add(1, Ordering::SeqCst);
        let expected = (sequence > 0).then(|| Position::whole(&sequence.to_string()).unwrap());
        let position = Position::whole(&(sequence + 1).to_string()).unwrap();
        let commit = Commit {
            stream: "tests",
            shard: "0",
            consumer: "ingest",
            expected: expected.as_ref(),
            position: &position,
            points,
            hot,
            ledger: &[],
            quarantine,
            redrives: &[],
        };
        store.commit(&commit).await.unwrap();
    }

    /// Goes on with changes of what is hot, as maintain does: so many entities.
    pub(crate) async fn fill_step(&self, entities: u32) -> bool {
        let store = FlushStore::new(&settings(self.superuser.port, "eaves_flush", PASSWORD));
        store.hot_step(entities, Some(Duration::ZERO)).await.unwrap().is_some()
    }

    /// As if the tenant's changes had been asked for long ago; the flush has gone on since.
    pub(crate) async fn asked_long_ago(&self, tenant: &Tenant) {
        let sql = "update hot_changes set requested_at = now() - interval '1 hour' where tenant_id =";
        execute(&self.superuser, &format!("{sql} {}", tenant.id)).await;
        let (mut config, due) = (tokio_postgres::Config::new(), Instant::now() + Duration::from_secs(30));
        let all = &self.superuser;
        config.host(&all.host).port(all.port).dbname(&all.database).user(&all.user);
        config.password(all.password.expose());
        let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let flushed = "select history_as_of > now() - interval '5 s' from flush_state";
        while !client.query_one(flushed, &[]).await.unwrap().get::<_, bool>(0) {
            assert!(Instant::now() < due, "the flush does not go on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until nothing is under way.
    pub(crate) async fn fill(&self) {
        while self.fill_step(1_000).await {}
    }

    /// Stops or resumes the flush.
    pub(crate) fn flushes(&self, on: bool) {
        self.flushing.store(on, Ordering::SeqCst);
    }

    /// Stops or resumes replication.
    pub(crate) async fn replicates(&self, on: bool) {
        let sql = if on { "select pg_wal_replay_resume()" } else { "select pg_wal_replay_pause()" };
        execute(&self.replica_super, sql).await;
    }

    pub(crate) async fn get(&self, tenant: &Tenant, path: &str) -> Answer {
        self.send(Method::GET, path, Some(claims(tenant, "query:read")), &[], "").await
    }

    pub(crate) async fn search(&self, tenant: &Tenant, body: &Json) -> Answer {
        self.ask(tenant, "/v1/entities/search?consistency=strong", body).await
    }

    pub(crate) async fn simulate(&self, tenant: &Tenant, body: &Json) -> Answer {
        self.ask(tenant, "/v1/hot/simulate?consistency=strong", body).await
    }

    /// A query with a body.
    pub(crate) async fn ask(&self, tenant: &Tenant, path: &str, body: &Json) -> Answer {
        let claims = Some(claims(tenant, "query:read"));
        self.send(Method::POST, path, claims, &[], &body.to_string()).await
    }

    pub(crate) async fn post(&self, tenant: &Tenant, content_type: &str, body: impl Into<Vec<u8>>) -> Answer {
        let claims = Some(claims(tenant, "telemetry:write"));
        self.send_bytes(Method::POST, "/v1/telemetry", claims, &[("content-type", content_type)], body.into())
            .await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        claims: Option<Json>,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        self.send_bytes(method, path, claims, headers, body.as_bytes().to_vec()).await
    }

    async fn send_bytes(
        &self,
        method: Method,
        path: &str,
        claims: Option<Json>,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        send(&self.router, method, path, claims, headers, body).await
    }

    /// Asks until the answer is as wanted.
    pub(crate) async fn until(
        &self,
        tenant: &Tenant,
        path: &str,
        wanted: impl Fn(&Answer) -> bool,
    ) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.get(tenant, path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path}: {:?} {}", answer.headers, answer.text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

pub(crate) fn claims(tenant: &Tenant, scope: &str) -> Json {
    json!({"tenant": tenant.name, "tenant_id": tenant.id.to_string(), "scope": scope, "sub": "t"})
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// So many seconds before now, to the second.
pub(crate) fn ago(seconds: i64) -> Timestamp {
    let now = Timestamp::now().as_micros() / 1_000_000 * 1_000_000;
    Timestamp::from_micros(now - seconds * 1_000_000).unwrap()
}

/// The primary with a role.
pub(crate) fn role(world: &World, name: &str) -> Postgres {
    settings(world.superuser.port, name, PASSWORD)
}

pub(crate) fn settings(port: u16, user: &str, password: &str) -> Postgres {
    Postgres {
        host: "127.0.0.1".into(),
        port,
        database: "eaves".into(),
        user: user.into(),
        password: Secret::new(password),
        sign_in: eaves_settings::SignIn::Password,
        tls: Tls::Disable,
        statement_timeout: Duration::from_secs(30),
    }
}

pub(crate) async fn execute(settings: &Postgres, sql: &str) {
    let (client, connection) = session(settings).await;
    client.batch_execute(sql).await.unwrap();
    drop(client);
    drop(connection.await);
}

/// A connection, and what moves its bytes until it is dropped.
async fn session(settings: &Postgres) -> (Client, JoinHandle<Result<(), tokio_postgres::Error>>) {
    let mut config = tokio_postgres::Config::new();
    config.host(&settings.host).port(settings.port).dbname(&settings.database);
    config.user(&settings.user).password(settings.password.expose());
    let (client, connection) = config.connect(tokio_postgres::NoTls).await.unwrap();
    (client, tokio::spawn(connection))
}

/// Sends a request to an instance of the function.
pub(crate) async fn send(
    instance: &Router,
    method: Method,
    path: &str,
    claims: Option<Json>,
    headers: &[(&str, &str)],
    body: impl Into<Vec<u8>>,
) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut context = json!({
        "accountId": "0", "stage": "$default", "requestId": "r", "apiId": "a", "timeEpoch": 0,
        "http": {"method": "GET", "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1", "userAgent": "t"},
    });
    if let Some(claims) = claims {
        context["authorizer"] = json!({"jwt": {"claims": claims, "scopes": null}});
    }
    let context = RequestContext::ApiGatewayV2(serde_json::from_value(context).unwrap());
    let request = request.extension(context).body(Body::from(body.into())).unwrap();
    let response = instance.clone().oneshot(request).await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let plain = match headers.get("content-encoding") {
        Some(coding) if coding == "zstd" => zstd::stream::decode_all(&bytes[..]).unwrap(),
        Some(_) => {
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut plain).unwrap();
            plain
        }
        None => bytes.to_vec(),
    };
    let text = String::from_utf8(plain).unwrap();
    let body = serde_json::from_str(&text).unwrap_or(Json::Null);
    Answer { status, headers, text, body }
}
