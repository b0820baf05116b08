//! Servers of their own for the cases that make replicas lag, promote one or take all
//! connections: a primary behind an address that can be pointed elsewhere, two replicas, a cache.

use crate::doubles::{Memory, Redis};
use crate::world::{Answer, PASSWORD, claims, execute, send, settings};
use axum::Router;
use axum::http::Method;
use eaves_fn_query::{Context, Stream, router};
use eaves_model::tenant::Tenant;
use eaves_model::{Position, TenantId, Timestamp, Value, ValueType, batch::Point};
use eaves_pg_server::{PgOptions, PgServer};
use eaves_settings::{Postgres, Secret};
use eaves_store::admin::{AdminStore, set_password};
use eaves_store::flush::FlushStore;
use eaves_store::ingest::{Commit, CommitError, HotRow, IngestStore, ShardPlace};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex as AsyncMutex;

/// Few enough to be used up by a case.
const CONNECTIONS: &str = "40";

/// From when on values are observed.
static FIRST: LazyLock<Timestamp> = LazyLock::new(Timestamp::now);

/// What was committed, and when that was known: by both clocks of the process.
#[derive(Clone, Copy)]
pub(crate) struct Known {
    pub(crate) value: i64,
    pub(crate) at: Instant,
    pub(crate) time: Timestamp,
}

pub(crate) struct Ground {
    pub(crate) primary: AsyncMutex<PgServer>,
    pub(crate) a: AsyncMutex<PgServer>,
    pub(crate) b: AsyncMutex<PgServer>,
    password: String,
    /// Where the primary's address leads.
    target: Arc<AtomicU16>,
    address: u16,
    pub(crate) tenant: Tenant,
    pub(crate) router: Router,
    pub(crate) context: Arc<Context>,
    /// Whether values are written, staging is flushed, and the heartbeat written.
    pub(crate) writes: Arc<AtomicBool>,
    pub(crate) flushes: Arc<AtomicBool>,
    pub(crate) beats: Arc<AtomicBool>,
    /// Set by the writer between two commits while it does not write.
    pub(crate) rests: Arc<AtomicBool>,
    pub(crate) known: Arc<Mutex<Vec<Known>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
    _redis: Redis,
    _dir: tempfile::TempDir,
}

impl Ground {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let options = |name: &str| {
            PgOptions::new(name, dir.path().join(name))
                .setting("fsync", "off")
                .setting("shared_buffers", "32MB")
                .setting("max_connections", CONNECTIONS)
        };
        let primary = PgServer::start(options("primary")).await.expect("PostgreSQL does not start");
        let superuser = settings(primary.port(), primary.superuser(), primary.password());
        execute(&Postgres { database: "postgres".into(), ..superuser.clone() }, "create database eaves")
            .await;
        eaves_store::migrate(&superuser).await.unwrap();
        for role in ["eaves_ingest", "eaves_flush", "eaves_query", "eaves_admin"] {
            set_password(&superuser, role, &Secret::new(PASSWORD)).await.unwrap();
        }
        let admin = AdminStore::connect(&settings(primary.port(), "eaves_admin", PASSWORD)).await.unwrap();
        let id = admin.tenant_create("acme", false, Some(20)).await.unwrap();
        let tenant = Tenant { id, name: "acme".into(), strict: false };
        drop(admin);
        let a = primary.replica(options("a")).await.unwrap();
        let b = primary.replica(options("b")).await.unwrap();
        let redis = Redis::start();

        let target = Arc::new(AtomicU16::new(primary.port()));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().port();
        let vars: BTreeMap<String, String> = [
            ("EAVES_DB_HOST", "127.0.0.1".to_owned()),
            ("EAVES_DB_PORT", address.to_string()),
            ("EAVES_DB_USER", "eaves_query".to_owned()),
            ("EAVES_DB_PASSWORD", PASSWORD.to_owned()),
            ("EAVES_DB_TLS", "disable".to_owned()),
            ("EAVES_REPLICA_HOST", format!("127.0.0.1:{}, 127.0.0.1:{}", a.port(), b.port())),
            ("EAVES_STREAM", "tests".to_owned()),
            ("EAVES_REDIS_URL", format!("redis://127.0.0.1:{}", redis.port)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let stream = Arc::new(Memory::default()) as Arc<dyn Stream>;
        let context = Arc::new(Context::with_stream(&vars, stream).unwrap());

        let (writes, flushes, beats, rests) = (flag(false), flag(true), flag(true), flag(false));
        let known = Arc::new(Mutex::new(Vec::new()));
        let role = |name: &str| settings(address, name, PASSWORD);
        let tasks = vec![
            tokio::spawn(forward(listener, Arc::clone(&target))),
            tokio::spawn(flush(role("eaves_flush"), Arc::clone(&flushes))),
            tokio::spawn(beat(role("eaves_flush"), Arc::clone(&beats))),
            tokio::spawn(write(
                role("eaves_ingest"),
                tenant.id,
                (Arc::clone(&writes), Arc::clone(&rests)),
                Arc::clone(&known),
            )),
        ];
        Self {
            password: primary.password().to_owned(),
            primary: AsyncMutex::new(primary),
            a: AsyncMutex::new(a),
            b: AsyncMutex::new(b),
            target,
            address,
            tenant,
            router: router(Arc::clone(&context)),
            context,
            writes,
            flushes,
            beats,
            rests,
            known,
            tasks,
            _redis: redis,
            _dir: dir,
        }
    }

    pub(crate) async fn stop(self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        for server in [self.b, self.a, self.primary] {
            drop(server.into_inner().stop().await);
        }
    }

    /// Points the primary's address elsewhere.
    pub(crate) fn leads_to(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }

    /// The superuser, at a port; without one where the primary's address leads.
    pub(crate) fn superuser(&self, port: Option<u16>) -> Postgres {
        settings(port.unwrap_or(self.address), "postgres", &self.password)
    }

    pub(crate) async fn sql(&self, port: u16, sql: &str) {
        execute(&self.superuser(Some(port)), sql).await;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        let claims = Some(claims(&self.tenant, "query:read"));
        send(&self.router, Method::GET, path, claims, &[], Vec::new()).await
    }

    pub(crate) async fn until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let answer = self.get(path).await;
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "{path}: {:?} {}", answer.headers, answer.text);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

fn flag(on: bool) -> Arc<AtomicBool> {
    Arc::new(AtomicBool::new(on))
}

async fn forward(listener: TcpListener, target: Arc<AtomicU16>) {
    while let Ok((mut from, _)) = listener.accept().await {
        let to = target.load(Ordering::SeqCst);
        tokio::spawn(async move {
            // Whoever is cut off sees it, and that is what is wanted.
            if let Ok(mut database) = TcpStream::connect(("127.0.0.1", to)).await {
                drop(copy_bidirectional(&mut from, &mut database).await);
            }
        });
    }
}

async fn flush(settings: Postgres, on: Arc<AtomicBool>) {
    loop {
        let store = FlushStore::new(&settings);
        while !on.load(Ordering::SeqCst) || store.stage_flush(50_000).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn beat(settings: Postgres, on: Arc<AtomicBool>) {
    let store = FlushStore::new(&settings);
    loop {
        if on.load(Ordering::SeqCst) {
            drop(store.heartbeat().await);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Commits 1, 2, 3, … as the value of one attribute of one entity, as ingest would. It goes on after a
/// failover, once it has read again what that took, and never has a commit under way while it rests.
async fn write(
    settings: Postgres,
    tenant: TenantId,
    (on, rests): (Arc<AtomicBool>, Arc<AtomicBool>),
    known: Arc<Mutex<Vec<Known>>>,
) {
    let mut store: Option<IngestStore> = None;
    loop {
        if !on.load(Ordering::SeqCst) {
            store = None;
            rests.store(true, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        rests.store(false, Ordering::SeqCst);
        if store.is_none() {
            store = IngestStore::connect(&settings).await.ok();
        }
        let Some(open) = store.as_mut() else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let last = known.lock().unwrap().last().map_or(0, |k: &Known| k.value);
        match commit(open, tenant, last + 1).await {
            Ok(()) => {
                let done = Known { value: last + 1, at: Instant::now(), time: Timestamp::now() };
                known.lock().unwrap().push(done);
            }
            Err(CommitError::StagingLost { .. } | CommitError::CheckpointMoved { .. }) => {
                replay(open, tenant, last).await;
            }
            Err(e) => panic!("{e:?}"),
        }
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}

/// Commits everything up to `last` again that a failover took, with a pause in which it is missing.
async fn replay(store: &mut IngestStore, tenant: TenantId, last: i64) {
    let place = ShardPlace { stream: "tests".into(), shard: "0".into(), consumer: "ingest".into() };
    let until = Position::whole(&last.to_string()).unwrap();
    store.rewind(&place, Some(&until)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    loop {
        let at = store.checkpoint(&place).await.unwrap().position;
        let at = at.map_or(0, |p| p.sequence().parse::<i64>().unwrap());
        if at >= last {
            return;
        }
        commit(store, tenant, at + 1).await.unwrap();
    }
}

async fn commit(store: &mut IngestStore, tenant: TenantId, value: i64) -> Result<(), CommitError> {
    let entity = store.register_entities(tenant, &[("e", "pump")], true).await.unwrap()[0].id;
    let attribute =
        store.register_attributes(tenant, &[("n", ValueType::Integer)], true).await.unwrap()[0].id;
    // The same each time that the value is committed, and later for a higher one.
    let observed_at = Timestamp::from_micros(FIRST.as_micros() + value).unwrap();
    let point = Point { tenant, entity, attribute, observed_at, plugin: None, value: Value::Integer(value) };
    let hot = HotRow { tenant, entity, observed_at, attrs_json: format!("{{\"n\":{value}}}") };
    let expected = (value > 1).then(|| Position::whole(&(value - 1).to_string()).unwrap());
    let commit = Commit {
        stream: "tests",
        shard: "0",
        consumer: "ingest",
        expected: expected.as_ref(),
        position: &Position::whole(&value.to_string()).unwrap(),
        points: &[point],
        hot: &[hot],
        ledger: &[],
        quarantine: &[],
        redrives: &[],
    };
    store.commit(&commit).await.map(drop)
}
