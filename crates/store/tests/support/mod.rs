//! A server for a test binary, and a database in it for each test.
//!
//! The binaries have a main function of their own, so that the server is stopped and its
//! folder removed when the last test is through.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its part")]

pub mod ca;
pub mod pooler;

use eaves_model::batch::Point;
use eaves_model::{AttributeId, EntityId, Position, TenantId, Timestamp, Value, ValueType};
use eaves_pg_server::{PgOptions, PgServer};
use eaves_settings::{Postgres, Secret, Tls};
use eaves_store::admin::{AdminStore, set_password};
use eaves_store::flush::FlushStore;
use eaves_store::ingest::{
    Commit, CommitError, Committed, HotRow, IngestStore, LedgerLine, Outcome, Quarantined, ShardPlace,
};
use libtest_mimic::{Arguments, Trial};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// Every role that logs in has this password.
pub const PASSWORD: &str = "for-tests-only";
/// The roles that log in.
pub const LOGINS: [&str; 7] = [
    "eaves_migrate",
    "eaves_ingest",
    "eaves_flush",
    "eaves_olap",
    "eaves_query",
    "eaves_admin",
    "eaves_superadmin",
];
/// The database that the tests' databases are copies of.
const TEMPLATE: &str = "template_eaves";

/// The server of this test binary, as one test sees it.
pub struct Server {
    inner: Arc<Inner>,
    /// The port of PgBouncer, if roles shall connect through it.
    through: Option<u16>,
}

impl std::ops::Deref for Server {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.inner
    }
}

/// The server.
pub struct Inner {
    pub folder: PathBuf,
    pub pg: tokio::sync::Mutex<PgServer>,
    pub superuser: Postgres,
    /// Its certificate is for `localhost`.
    pub ca: ca::Ca,
    next: AtomicU32,
    pooler: tokio::sync::OnceCell<pooler::Pooler>,
}

impl Server {
    /// A server of its own, without a pooler.
    pub async fn start() -> Self {
        Self { inner: Arc::new(Inner::start().await), through: None }
    }

    /// A server of its own in a folder, with settings of its own.
    pub async fn start_in(folder: PathBuf, settings: &[(&str, String)]) -> Self {
        Self { inner: Arc::new(Inner::start_in(folder, settings).await), through: None }
    }

    /// A database with the schema and two tenants, `acme` and `other`.
    pub async fn database(&self) -> Database {
        let name = format!("t{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.create(&name, TEMPLATE).await;
        let superuser = self.as_superuser(&name);
        let through = Postgres { port: self.through.unwrap_or(superuser.port), ..superuser.clone() };
        Database::open(superuser, through).await
    }
}

impl Inner {
    pub async fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("eaves-store-test-{}", std::process::id()));
        Self::start_in(folder, &[]).await
    }

    async fn start_in(folder: PathBuf, settings: &[(&str, String)]) -> Self {
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::set_permissions(&folder, std::fs::Permissions::from_mode(0o755)).unwrap();
        let ca = ca::Ca::make(&folder.join("ca"), "localhost");
        give_to_the_database(&ca.key);
        let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
        let mut options = PgOptions::new("tests", folder.join("db"))
            .setting("fsync", "off")
            // Several tests at once, directly and through a pooler that keeps connections.
            .setting("max_connections", "400")
            .setting("ssl", "on")
            .setting("ssl_cert_file", &path(&ca.certificate))
            .setting("ssl_key_file", &path(&ca.key));
        for (name, value) in settings {
            options = options.setting(name, value);
        }
        let pg = PgServer::start(options).await.expect("PostgreSQL; run `make setup`");
        let superuser = Postgres {
            host: pg.host().into(),
            port: pg.port(),
            database: "postgres".into(),
            user: pg.superuser().into(),
            password: Secret::new(pg.password()),
            sign_in: eaves_settings::SignIn::Password,
            tls: Tls::Disable,
            statement_timeout: Duration::from_secs(30),
        };
        let server = Self {
            folder,
            pg: pg.into(),
            superuser,
            ca,
            next: AtomicU32::new(0),
            pooler: Default::default(),
        };
        server.create(TEMPLATE, "template1").await;
        let template = server.as_superuser(TEMPLATE);
        eaves_store::migrate(&template).await.unwrap();
        for role in LOGINS {
            set_password(&template, role, &Secret::new(PASSWORD)).await.unwrap();
        }
        server
    }

    pub fn as_superuser(&self, database: &str) -> Postgres {
        Postgres { database: database.into(), ..self.superuser.clone() }
    }

    pub async fn create(&self, name: &str, template: &str) {
        let client = connect(&self.superuser).await;
        let deadline = Instant::now() + Duration::from_secs(20);
        // A session that has just ended may still count as a user of the template.
        while let Err(e) = client.batch_execute(&format!("create database {name} template {template}")).await
        {
            assert!(Instant::now() < deadline, "{e:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// An empty database.
    pub async fn empty(&self) -> Postgres {
        let name = format!("t{}", self.next.fetch_add(1, Ordering::Relaxed));
        self.create(&name, "template0").await;
        self.as_superuser(&name)
    }
}

/// One test's database.
pub struct Database {
    pub superuser: Postgres,
    /// How roles connect: directly, or through PgBouncer.
    pub through: Postgres,
    pub sql: Client,
    pub acme: TenantId,
    pub other: TenantId,
}

impl Database {
    async fn open(superuser: Postgres, through: Postgres) -> Self {
        let sql = connect(&superuser).await;
        let admin = AdminStore::connect(&role(&superuser, "eaves_admin")).await.unwrap();
        let acme = admin.tenant_create("acme", false, None).await.unwrap();
        let other = admin.tenant_create("other", false, None).await.unwrap();
        Self { superuser, through, sql, acme, other }
    }

    pub fn role(&self, name: &str) -> Postgres {
        role(&self.through, name)
    }

    pub async fn admin(&self) -> AdminStore {
        AdminStore::connect(&self.role("eaves_admin")).await.unwrap()
    }

    pub async fn flusher(&self) -> FlushStore {
        FlushStore::connect(&self.role("eaves_flush")).await.unwrap()
    }

    pub async fn writer(&self, shard: &str) -> Writer {
        Writer::connect(&self.role("eaves_ingest"), self.acme, shard).await
    }

    /// Flushes until nothing is staged.
    pub async fn drain(&self) {
        let flusher = self.flusher().await;
        while flusher.stage_flush(1).await.unwrap() != Some(0) {}
    }

    /// One value, as text.
    pub async fn one(&self, sql: &str) -> String {
        text(&self.sql, sql).await
    }
}

/// PostgreSQL takes a key that only it, or only root and its group, can read. It runs as
/// `postgres` where the tests run as root.
fn give_to_the_database(key: &std::path::Path) {
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    own(key);
}

/// Makes a file or folder, with all in it, that of the user who runs PostgreSQL.
pub fn own(path: &std::path::Path) {
    let root = std::process::Command::new("id").arg("-u").output().unwrap().stdout.starts_with(b"0\n");
    if root {
        let given = std::process::Command::new("chown").args(["-R", "postgres"]).arg(path).status().unwrap();
        assert!(given.success(), "chown postgres {}", path.display());
    }
}

/// The settings with another role.
pub fn role(settings: &Postgres, name: &str) -> Postgres {
    Postgres { user: name.into(), password: Secret::new(PASSWORD), ..settings.clone() }
}

/// A plain connection.
pub async fn connect(settings: &Postgres) -> Client {
    let mut config = tokio_postgres::Config::new();
    config.host(&settings.host).port(settings.port).dbname(&settings.database);
    config.user(&settings.user).password(settings.password.expose());
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

/// The rows of a query, columns joined by `|`, rows by newlines.
pub async fn text(client: &Client, sql: &str) -> String {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    let mut lines = Vec::new();
    for message in messages {
        if let tokio_postgres::SimpleQueryMessage::Row(row) = message {
            let columns: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("")).collect();
            lines.push(columns.join("|"));
        }
    }
    lines.join("\n")
}

/// The error of a statement: its SQLSTATE.
pub async fn refused(client: &Client, sql: &str) -> String {
    match client.simple_query(sql).await {
        Ok(_) => panic!("{sql}: was not refused"),
        Err(e) => e.code().unwrap_or_else(|| panic!("{sql}: {e:?}")).code().to_owned(),
    }
}

/// Writes batches of one shard.
pub struct Writer {
    pub store: IngestStore,
    pub tenant: TenantId,
    pub shard: String,
    pub at: Option<Position>,
}

impl Writer {
    pub async fn connect(settings: &Postgres, tenant: TenantId, shard: &str) -> Self {
        let store = IngestStore::connect(settings).await.unwrap();
        Self { store, tenant, shard: shard.into(), at: None }
    }

    pub async fn entity(&mut self, name: &str) -> EntityId {
        self.store.register_entities(self.tenant, &[(name, "")], true).await.unwrap()[0].id
    }

    pub async fn attribute(&mut self, name: &str, value_type: ValueType) -> AttributeId {
        self.store.register_attributes(self.tenant, &[(name, value_type)], true).await.unwrap()[0].id
    }

    pub fn point(&self, entity: EntityId, attribute: AttributeId, at: i64, value: Value) -> Point {
        Point { tenant: self.tenant, entity, attribute, observed_at: time(at), plugin: None, value }
    }

    pub fn hot(&self, entity: EntityId, at: i64, attrs: &str) -> HotRow {
        HotRow { tenant: self.tenant, entity, observed_at: time(at), attrs_json: attrs.into() }
    }

    /// Commits on top of where this writer is.
    pub async fn commit(
        &mut self,
        to: u64,
        points: &[Point],
        hot: &[HotRow],
    ) -> Result<Committed, CommitError> {
        self.commit_all(to, points, hot, &[]).await
    }

    pub async fn commit_all(
        &mut self,
        to: u64,
        points: &[Point],
        hot: &[HotRow],
        quarantine: &[Quarantined],
    ) -> Result<Committed, CommitError> {
        let to = position(to);
        let mut ledger = vec![LedgerLine {
            tenant: self.tenant,
            outcome: Outcome::Accepted,
            reason: String::new(),
            count: points.len() as u64,
            minute: None,
        }];
        if !quarantine.is_empty() {
            ledger.push(LedgerLine {
                tenant: TenantId(0),
                outcome: Outcome::Quarantined,
                reason: "undecodable".into(),
                count: quarantine.len() as u64,
                minute: None,
            });
        }
        let commit = Commit {
            stream: "stream",
            shard: &self.shard,
            consumer: "test",
            expected: self.at.as_ref(),
            position: &to,
            points,
            hot,
            ledger: &ledger,
            quarantine,
            redrives: &[],
        };
        let done = self.store.commit(&commit).await?;
        self.at = Some(to);
        Ok(done)
    }
}

/// 2026-01-01T00:00:00Z and so many seconds.
pub fn time(seconds: i64) -> Timestamp {
    Timestamp::from_micros(1_767_225_600_000_000 + seconds * 1_000_000).unwrap()
}

pub fn position(n: u64) -> Position {
    // As long as Kinesis makes them.
    Position::whole(&format!("49600000000000000000000000000000000000000000000000{n:06}")).unwrap()
}

/// The shard as the consumer of these tests reads it.
pub fn place(shard: &str) -> ShardPlace {
    ShardPlace { stream: "stream".into(), shard: shard.into(), consumer: "test".into() }
}

/// Waits for a condition.
pub async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition().await {
        assert!(Instant::now() < deadline, "{what}: not within 30 s");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The tests of a binary.
pub struct Suite {
    runtime: Arc<Runtime>,
    server: Arc<Mutex<Option<Arc<Inner>>>>,
    trials: Vec<Trial>,
    pooled: bool,
}

impl Suite {
    pub fn new() -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        Self { runtime: Arc::new(runtime), server: Arc::default(), trials: Vec::new(), pooled: false }
    }

    /// Tests that are added from now on run once more, through PgBouncer.
    pub fn also_pooled(&mut self, yes: bool) {
        self.pooled = yes;
    }

    /// Adds a test. The server starts with the first one that runs.
    pub fn test<F: Future<Output = ()>>(
        &mut self,
        name: &str,
        test: impl FnOnce(Arc<Server>) -> F + Clone + Send + 'static,
    ) {
        if self.pooled {
            self.trial(&format!("pooled::{name}"), test.clone(), true);
        }
        self.trial(name, test, false);
    }

    fn trial<F: Future<Output = ()>>(
        &mut self,
        name: &str,
        test: impl FnOnce(Arc<Server>) -> F + Send + 'static,
        pooled: bool,
    ) {
        let (runtime, slot) = (self.runtime.clone(), self.server.clone());
        self.trials.push(Trial::test(name, move || {
            let server = {
                let mut slot = slot.lock().unwrap_or_else(|e| e.into_inner());
                slot.get_or_insert_with(|| Arc::new(runtime.block_on(Inner::start()))).clone()
            };
            runtime.block_on(async {
                let through = match pooled {
                    false => None,
                    true => Some(server.pooler.get_or_init(|| pooler::Pooler::start(&server)).await.port),
                };
                test(Arc::new(Server { inner: server, through })).await;
            });
            Ok(())
        }));
    }

    /// Runs them, stops the server, ends the process.
    pub fn run(self) -> ! {
        let conclusion = libtest_mimic::run(&Arguments::from_args(), self.trials);
        let server = self.server.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(mut server) = server {
            // PgBouncer first: it would only say that its server is gone.
            if let Some(server) = Arc::get_mut(&mut server) {
                drop(server.pooler.take());
            }
            self.runtime.block_on(async {
                if let Err(e) = server.pg.lock().await.stop().await {
                    eprintln!("the server did not stop in order: {e}");
                }
            });
            drop(std::fs::remove_dir_all(&server.folder));
        }
        conclusion.exit()
    }
}
