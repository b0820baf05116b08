//! Against a real redis-server on a free port of the loopback interface.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may stop at what it does not expect")]

use eaves_cache::{Cache, CacheError, Class, Entry, Heard, Named, Rates, Refusal, Standing, Today, Wanted};
use eaves_model::tenant::{TenantLimits, TenantQuotas, TenantRates};
use eaves_model::{EntityId, TenantId, Timestamp};
use eaves_settings::functions::{Quotas, Rates as RateSettings};
use eaves_settings::{Cache as Settings, Secret};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

struct Redis {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Redis {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let child = spawn(port, dir.path());
        let redis = Self { child, port, dir };
        redis.wait();
        redis
    }

    fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.port, self.dir.path());
        self.wait();
    }

    fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn wait(&self) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            assert!(Instant::now() < deadline, "redis-server does not answer on port {}", self.port);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the server says of itself: the number behind this text.
    fn info(&self, section: &str, text: &str) -> u64 {
        let output =
            Command::new("redis-cli").args(["-p", &self.port.to_string(), "info", section]).output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        let number = output.split_once(text).map_or("0", |(_, number)| number);
        number.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
    }

    fn cache(&self) -> Cache {
        Cache::connect(&settings(format!("redis://127.0.0.1:{}", self.port))).unwrap()
    }
}

/// A machine that runs other tests answers slowly: what is tested is what the cache says, not when.
fn settings(url: String) -> Settings {
    let wait = Duration::from_secs(5);
    Settings { url: Secret::new(url), ttl: Duration::from_secs(60), ca_file: None, cluster: false, wait }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(port: u16, dir: &std::path::Path) -> Child {
    Command::new("redis-server")
        .args([
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--appendonly",
            "no",
            "--port",
            &port.to_string(),
            "--dir",
        ])
        .arg(dir)
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server does not start: run make setup")
}

fn entry(entity: i64, version: i64, as_of: i64) -> Entry {
    Entry {
        tenant: TenantId(1),
        entity: EntityId(entity),
        version,
        as_of: Timestamp::from_micros(1_700_000_000_000_000 + as_of).unwrap(),
        attrs_json: format!("{{\"n\":{version}}}"),
        times_json: "{\"n\":1}".into(),
        taken: None,
    }
}

/// The first operations may meet a connection that is still being made.
async fn until_ok<T>(mut work: impl AsyncFnMut() -> Result<T, CacheError>) -> T {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match work().await {
            Ok(value) => return value,
            Err(e) => assert!(Instant::now() < deadline, "{e:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn an_entry_is_only_replaced_by_a_newer_one() {
    let redis = Redis::start();
    let cache = redis.cache();
    let (tenant, entity) = (TenantId(1), EntityId(5));
    assert_eq!(until_ok(async || cache.get(tenant, entity).await).await, None);

    let steps = [
        (entry(5, 10, 0), 1, "the first is stored"),
        (entry(5, 9, 50), 0, "an older version is not, even if vouched for later"),
        (entry(5, 10, 0), 0, "the same is not stored again"),
        (entry(5, 10, 20), 1, "the same version vouched for later is"),
        (entry(5, 11, 10), 1, "a newer version is"),
    ];
    for (step, expect, why) in steps {
        assert_eq!(cache.write_through(std::slice::from_ref(&step)).await.unwrap(), expect, "{why}");
        if expect == 1 {
            assert_eq!(cache.get(tenant, entity).await.unwrap(), Some(step), "{why}");
        }
    }
    assert_eq!(cache.get(TenantId(2), entity).await.unwrap(), None, "another tenant has none");
}

#[tokio::test]
async fn many_entries_race_and_the_newest_stays() {
    let redis = Redis::start();
    let cache = redis.cache();
    until_ok(async || cache.ping().await).await;
    let mut writers = Vec::new();
    for worker in 0..4i64 {
        let cache = cache.clone();
        writers.push(tokio::spawn(async move {
            for round in 0..5i64 {
                let entries: Vec<_> =
                    (0..600).map(|e| entry(e, 1 + (round * 7 + worker * 3 + e) % 20, 0)).collect();
                while cache.write_through(&entries).await.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
    for e in [0, 1, 299, 599] {
        let newest = (0..4).flat_map(|w| (0..5).map(move |r| 1 + (r * 7 + w * 3 + e) % 20)).max().unwrap();
        let got = until_ok(async || cache.get(TenantId(1), EntityId(e)).await).await.unwrap();
        assert_eq!(got.version, newest, "entity {e}");
    }
}

#[tokio::test]
async fn a_version_that_a_crash_undid_does_not_stay() {
    let redis = Redis::start();
    let cache = redis.cache();
    until_ok(async || cache.ping().await).await;
    let (tenant, entity) = (TenantId(1), EntityId(5));
    let at = |version, seconds: i64| Entry {
        as_of: Timestamp::now().plus_micros(seconds * 1_000_000),
        ..entry(5, version, 0)
    };
    let undone = at(20, 0);
    until_ok(async || cache.write_through(std::slice::from_ref(&undone)).await).await;
    // What was read around the same time may just be old.
    assert_eq!(until_ok(async || cache.fill(&[at(19, 1)]).await).await, 0);
    assert_eq!(cache.get(tenant, entity).await.unwrap(), Some(undone));
    // What is still the latest well after the other one was known cannot be.
    let after = at(19, 3);
    assert_eq!(until_ok(async || cache.fill(std::slice::from_ref(&after)).await).await, 1);
    assert_eq!(cache.get(tenant, entity).await.unwrap(), Some(after));
}

#[tokio::test]
async fn a_lease_is_one_holders_until_it_is_given_back_or_ends() {
    let redis = Redis::start();
    let cache = redis.cache();
    let tenant = TenantId(1);
    let first = until_ok(async || cache.lease(tenant, "p").await).await;
    let first = match first {
        Some(lease) => lease,
        // An attempt that timed out may have taken it.
        None => until_some(async || cache.lease(tenant, "p").await).await,
    };
    assert!(cache.lease(tenant, "p").await.unwrap().is_none(), "it is taken");
    assert!(
        cache.lease(tenant, "q").await.unwrap().is_some()
            && cache.lease(TenantId(2), "p").await.unwrap().is_some()
    );
    cache.release(first).await.unwrap();
    let second = cache.lease(tenant, "p").await.unwrap().expect("it was given back");
    // It ends by itself; who had it cannot end that of the next one.
    let third = until_some(async || cache.lease(tenant, "p").await).await;
    cache.release(second).await.unwrap();
    assert!(cache.lease(tenant, "p").await.unwrap().is_none());
    cache.release(third).await.unwrap();
    assert!(cache.lease(tenant, "p").await.unwrap().is_some());
}

async fn until_some<T>(mut work: impl AsyncFnMut() -> Result<Option<T>, CacheError>) -> T {
    loop {
        if let Some(found) = until_ok(&mut work).await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_asked_for_most_is_known_until_redis_loses_it() {
    let mut redis = Redis::start();
    let cache = redis.cache();
    let (tenant, counts) = (TenantId(1), [("a".to_owned(), 1), ("b".to_owned(), 9), ("c".to_owned(), 3)]);
    until_ok(async || cache.ping().await).await;
    assert!(!cache.note_asked(tenant, &counts).await.unwrap(), "nothing was known");
    assert!(cache.note_asked(tenant, &counts).await.unwrap());
    assert_eq!(cache.most_asked(tenant, 2).await.unwrap(), ["b", "c"]);
    assert!(cache.most_asked(TenantId(2), 2).await.unwrap().is_empty());
    redis.restart();
    assert!(until_ok(async || cache.most_asked(tenant, 2).await).await.is_empty());
    assert!(!until_ok(async || cache.note_asked(tenant, &counts[..1]).await).await);
}

#[tokio::test]
async fn changes_are_heard_and_what_may_have_been_missed_is_told() {
    let mut redis = Redis::start();
    let cache = redis.cache();
    until_ok(async || cache.ping().await).await;
    let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
    let ears = Arc::clone(&heard);
    let listener = cache.listen(move |what| ears.lock().unwrap().push(what));
    let (tenant, entity) = (TenantId(1), EntityId(5));
    assert_eq!(listener.heard(tenant), None, "nobody was listening");
    let until = async |what: &str, condition: &dyn Fn() -> bool| {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition() {
            assert!(Instant::now() < deadline, "{what}: {:?}", heard.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    until("subscribed", &|| listener.heard(tenant).is_some()).await;
    // Of another tenant nobody has asked to hear.
    until_ok(async || cache.write_through(&[Entry { tenant: TenantId(2), ..entry(5, 1, 1) }]).await).await;
    until_ok(async || cache.write_through(&[entry(5, 2, 1), entry(6, 3, 1)]).await).await;
    // Whoever has heard up to now has heard of both.
    let now = Timestamp::now();
    until("heard up to now", &|| listener.heard(tenant) > Some(now)).await;
    let all = [Heard::Changed(tenant, entity, 2), Heard::Changed(tenant, EntityId(6), 3)];
    assert!(heard.lock().unwrap().ends_with(&all), "{heard:?}");
    // What readers fill in is no change.
    until_ok(async || cache.fill(&[entry(5, 4, 1)]).await).await;
    let now = Timestamp::now();
    until("heard up to now", &|| listener.heard(tenant) > Some(now)).await;
    assert!(heard.lock().unwrap().ends_with(&all), "{heard:?}");

    redis.stop();
    until("the loss", &|| heard.lock().unwrap().last() == Some(&Heard::Lost)).await;
    assert_eq!(listener.heard(tenant), None, "nobody can know");
    redis.restart();
    let now = Timestamp::now();
    until("subscribed again", &|| listener.heard(tenant) > Some(now)).await;
    until_ok(async || cache.write_through(&[entry(5, 9, 1)]).await).await;
    let changed = Heard::Changed(tenant, entity, 9);
    until("heard again", &|| heard.lock().unwrap().contains(&changed)).await;
}

#[tokio::test]
async fn a_name_is_remembered_per_tenant() {
    let redis = Redis::start();
    let cache = redis.cache();
    let named = Named { entity: EntityId(77), entity_type: "pump".into() };
    until_ok(async || cache.remember(TenantId(1), "a:b/ü", &named).await).await;
    assert_eq!(cache.named(TenantId(1), "a:b/ü").await.unwrap(), Some(named));
    assert_eq!(cache.named(TenantId(2), "a:b/ü").await.unwrap(), None);
}

#[tokio::test]
async fn a_cache_that_is_away_fails_fast_and_comes_back() {
    let mut redis = Redis::start();
    let url = format!("redis://127.0.0.1:{}", redis.port);
    let cache = Cache::connect(&Settings { wait: Settings::WAIT, ..settings(url) }).unwrap();
    until_ok(async || cache.write_through(&[entry(1, 1, 0)]).await).await;

    redis.stop();
    let began = Instant::now();
    let mut resting = 0;
    for _ in 0..50 {
        let error = cache.get(TenantId(1), EntityId(1)).await.unwrap_err();
        resting += usize::from(matches!(error, CacheError::Resting));
    }
    assert!(resting >= 40, "only {resting} of 50 did not even try");
    assert!(began.elapsed() < Duration::from_secs(2), "50 reads took {:?}", began.elapsed());

    redis.restart();
    // The restarted server knows no scripts any more.
    let stored = until_ok(async || cache.write_through(&[entry(1, 2, 0)]).await).await;
    assert_eq!(stored, 1);
    let got = until_ok(async || cache.get(TenantId(1), EntityId(1)).await).await;
    assert_eq!(got.unwrap().version, 2);
}

#[path = "../../store/tests/support/ca.rs"]
mod ca;
mod support;

/// The errors of a cache that shall not get through, until one says why.
/// 2026-03-01T22:00:00Z.
const EVENING: u64 = 1_772_402_400;

/// An instance with a connection of its own, whose days go by a clock.
struct Instance {
    rates: Rates,
    cache: Cache,
}

impl Instance {
    async fn start(redis: &Redis, clock: &Arc<AtomicU64>) -> Self {
        let clock = Arc::clone(clock);
        let read = move || UNIX_EPOCH + Duration::from_secs(clock.load(Ordering::SeqCst));
        let usual = RateSettings { reads: 600_000, expensive: 60_000, values: 6_000_000 };
        let instance =
            Self { rates: Rates::new(usual, Quotas::default()).with_clock(read), cache: redis.cache() };
        until_ok(async || instance.cache.ping().await).await;
        instance
    }

    /// With its quota of reads.
    async fn take(&self, tenant: i32, quota: u64) -> Standing {
        let quotas = TenantQuotas { reads: Some(quota), ..<_>::default() };
        let own = TenantLimits { quotas, rates: TenantRates::default() };
        let standing =
            self.rates.take(Some(&self.cache), TenantId(tenant), Class::Read, own, (1, false)).await;
        standing.unwrap()
    }

    /// How many of so many requests are let through.
    async fn had(&self, tenant: i32, quota: u64, requests: usize) -> u64 {
        let mut had = 0;
        for _ in 0..requests {
            match self.take(tenant, quota).await.refused() {
                None => had += 1,
                Some(Refusal::Quota(..)) => {}
                Some(Refusal::Rate(wait, why)) => panic!("{wait:?} {why}"),
            }
        }
        had
    }
}

/// What is left of the day, as the headers tell.
fn left(standing: &Standing) -> u64 {
    let [_, (_, limit)] = standing.headers();
    let (_, day) = limit.split_once("\"reads-day\";r=").unwrap();
    day.split(';').next().unwrap().parse().unwrap()
}

#[tokio::test]
async fn instances_share_a_quota_until_the_day_turns() {
    let redis = Redis::start();
    let clock = Arc::new(AtomicU64::new(EVENING));
    let (one, two) = (Instance::start(&redis, &clock).await, Instance::start(&redis, &clock).await);
    for n in 0..10 {
        let standing = if n % 2 == 0 { one.take(1, 10).await } else { two.take(1, 10).await };
        assert!(standing.refused().is_none(), "{n}: {standing:?}");
        assert_eq!(left(&standing), 9 - n, "one by one where there are few");
    }
    for instance in [&one, &two] {
        assert_eq!(instance.had(1, 10, 50).await, 0);
        assert_eq!(instance.had(2, 10, 1).await, 1, "another tenant's");
    }
    // An instance that starts now knows it, and a larger quota holds for all.
    let three = Instance::start(&redis, &clock).await;
    assert_eq!(three.had(1, 10, 5).await, 0);
    assert_eq!(two.had(1, 12, 5).await, 2);
    assert_eq!(one.had(1, 12, 5).await, 0);

    clock.store(EVENING + 7199, Ordering::SeqCst);
    let refused = one.take(1, 10).await.refused();
    assert!(
        matches!(refused, Some(Refusal::Quota(wait, _)) if wait == Duration::from_secs(1)),
        "{refused:?}"
    );
    clock.store(EVENING + 7200, Ordering::SeqCst);
    assert_eq!(one.had(1, 10, 6).await + two.had(1, 10, 6).await + three.had(1, 10, 6).await, 10);
    // A clock that is slow counts in its own day still.
    clock.store(EVENING + 7199, Ordering::SeqCst);
    assert_eq!(three.had(1, 10, 6).await, 0);
}

#[tokio::test]
async fn what_is_taken_together_is_counted_when_it_is_used() {
    let redis = Redis::start();
    let clock = Arc::new(AtomicU64::new(EVENING));
    let (one, two) = (Instance::start(&redis, &clock).await, Instance::start(&redis, &clock).await);
    // A thousand are taken together, and one of them is used.
    assert_eq!(left(&one.take(1, 1_000_000).await), 999_999);
    assert_eq!(left(&two.take(1, 1_000_000).await), 999_998);
    // A tenant that may have much costs a question now and then, and not one with each request.
    let asked = redis.info("commandstats", "cmdstat_evalsha:calls=");
    assert_eq!(one.had(3, 5_000_000, 5000).await, 5000);
    let asked = redis.info("commandstats", "cmdstat_evalsha:calls=") - asked;
    assert!((1..100).contains(&asked), "{asked} questions for 5000 requests");
    // Two instances at full speed: each may have a hundredth of what is left, at most, before it tells.
    let began = Instant::now();
    let (first, second) = tokio::join!(one.had(2, 5000, 6000), two.had(2, 5000, 6000));
    let had = first + second;
    assert!((5000..=5100).contains(&had), "{had}: {first} and {second} in {:?}", began.elapsed());
    assert!(first > 0 && second > 0, "{first} and {second}");
}

#[tokio::test]
async fn a_quota_outlives_redis_and_instances() {
    let mut redis = Redis::start();
    let clock = Arc::new(AtomicU64::new(EVENING));
    let (one, two) = (Instance::start(&redis, &clock).await, Instance::start(&redis, &clock).await);
    assert_eq!(one.had(1, 20, 6).await + two.had(1, 20, 6).await, 12);
    assert_eq!(one.had(2, 10_000, 6).await + two.had(2, 10_000, 6).await, 12);
    redis.stop();
    // Each goes on from what it heard last: the first has heard of six, the second of twelve.
    assert_eq!((one.had(1, 20, 4).await, two.had(1, 20, 30).await), (4, 8));
    assert_eq!((one.had(2, 10_000, 40).await, two.had(2, 10_000, 80).await), (40, 80));
    // Redis has lost everything. Whoever knows that the quota is used up does not ask.
    redis.restart();
    let three = Instance::start(&redis, &clock).await;
    assert_eq!(two.had(1, 20, 5).await, 0);
    // Whoever asks tells what it knows: the second of what it used itself and of one of the first's.
    let deadline = Instant::now() + Duration::from_secs(20);
    let (mut used, mut known) = (12 + 120, 0);
    while known < 87 {
        assert!(Instant::now() < deadline, "{known} of {used} are known");
        for instance in [&one, &two] {
            assert_eq!(instance.had(2, 10_000, 1).await, 1);
        }
        known = 10_000 - left(&three.take(2, 10_000).await);
        used += 3;
        assert!(known <= used, "{known} of {used} are known");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_tenant_without_a_quota_is_not_counted() {
    let redis = Redis::start();
    let clock = Arc::new(AtomicU64::new(EVENING));
    let one = Instance::start(&redis, &clock).await;
    assert_eq!(one.had(1, 0, 100).await, 100);
    assert_eq!(one.had(2, 10, 1).await, 1);
    let keys = Command::new("redis-cli").args(["-p", &redis.port.to_string(), "keys", "*"]).output().unwrap();
    let keys = String::from_utf8(keys.stdout).unwrap();
    // A bucket is gone when it is full again.
    let keys: Vec<&str> = keys.split_whitespace().filter(|key| !key.starts_with("rate:")).collect();
    assert_eq!(keys, ["day:{rate:2:reads}:20513"]);
    let ttl = Command::new("redis-cli")
        .args(["-p", &redis.port.to_string(), "ttl", "day:{rate:2:reads}:20513"])
        .output()
        .unwrap();
    let ttl: u64 = String::from_utf8(ttl.stdout).unwrap().trim().parse().unwrap();
    assert!((7200..=10_800).contains(&ttl), "{ttl}");
}

async fn refused(settings: &Settings) -> String {
    let cache = Cache::connect(settings).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        match cache.ping().await {
            Ok(()) => panic!("a connection to somebody else"),
            Err(CacheError::Read(e)) if e.is_timeout() => {}
            Err(CacheError::Read(e)) => return format!("{e:?}"),
            // A handshake may take longer than a read may.
            Err(CacheError::TimedOut | CacheError::Resting) => {}
            Err(e) => panic!("{e:?}"),
        }
        assert!(Instant::now() < deadline, "no reason within 20 s");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn answers(cache: &Cache) {
    until_ok(async || cache.ping().await).await;
}

#[tokio::test]
async fn tls_is_verified_and_the_password_sent() {
    let dir = tempfile::tempdir().unwrap();
    let files = ca::Ca::make(&dir.path().join("ca"), "localhost");
    let other = ca::Ca::make(&dir.path().join("other"), "localhost");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let child = Command::new("redis-server")
        .args(["--bind", "127.0.0.1", "--save", "", "--port", "0", "--requirepass", "pass word"])
        .args(["--tls-auth-clients", "no", "--tls-port", &port.to_string(), "--dir"])
        .arg(dir.path())
        .arg("--tls-cert-file")
        .arg(&files.certificate)
        .arg("--tls-key-file")
        .arg(&files.key)
        .arg("--tls-ca-cert-file")
        .arg(&files.ca)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let redis = Redis { child, port, dir };
    redis.wait();
    let settings = |host: &str, ca: Option<&std::path::Path>| Settings {
        ca_file: ca.map(|path| path.to_str().unwrap().to_owned()),
        ..settings(format!("rediss://:pass%20word@{host}:{port}"))
    };
    let cache = Cache::connect(&settings("localhost", Some(&files.ca))).unwrap();
    answers(&cache).await;
    until_ok(async || cache.write_through(&[entry(1, 1, 1)]).await).await;
    let found = until_ok(async || cache.get(TenantId(1), EntityId(1)).await).await;
    assert_eq!(found, Some(entry(1, 1, 1)));
    let said = refused(&settings("127.0.0.1", Some(&files.ca))).await;
    assert!(said.contains("mismatch"), "{said}");
    for ca in [Some(other.ca.as_path()), None] {
        let said = refused(&settings("localhost", ca)).await;
        assert!(said.contains("certificate verify failed"), "{said}");
    }
    let mut insecure = settings("localhost", None);
    insecure.url = Secret::new(format!("rediss://localhost:{port}/#insecure"));
    assert!(matches!(Cache::connect(&insecure), Err(CacheError::Unverified)));
    let nowhere = settings("localhost", Some(std::path::Path::new("/no/such/file.pem")));
    assert!(matches!(Cache::connect(&nowhere), Err(CacheError::Authorities { .. })));
}

#[tokio::test]
async fn a_cluster_keeps_each_entry_on_its_shard() {
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let port = support::free_cluster_port();
        let dir = tempfile::tempdir().unwrap();
        let child = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port", &port.to_string()])
            .args(["--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--dir"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        nodes.push(Redis { child, port, dir });
    }
    nodes.iter().for_each(Redis::wait);
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)))
        .args(["--cluster-replicas", "0", "--cluster-yes"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    let settings = Settings { cluster: true, ..settings(format!("redis://127.0.0.1:{}", nodes[0].port)) };
    let cache = Cache::connect(&settings).unwrap();
    answers(&cache).await;
    let entries: Vec<Entry> = (0..300).map(|n| entry(n, 2, 2)).collect();
    // The cluster may still be settling, and a slow answer rests the cache for a while.
    until_ok(async || cache.write_through(&entries).await).await;
    let older = until_ok(async || cache.write_through(&[entry(7, 1, 1)]).await).await;
    assert_eq!(older, 0, "an older one does not replace it");
    for n in [0, 7, 150, 299] {
        let found = until_ok(async || cache.get(TenantId(1), EntityId(n)).await).await;
        assert_eq!(found, Some(entry(n, 2, 2)), "entity {n}");
    }
    // A bucket and its quota are on one shard.
    let today = Today::at(SystemTime::now(), 5);
    let wanted = Wanted { least: 1, most: 1, forced: false };
    for n in 0..20 {
        let taken =
            until_ok(async || cache.take(TenantId(n), "reads", None, wanted, Some(today)).await).await;
        assert!(taken.units == 1 && (1..5).contains(&taken.used_today), "{taken:?}");
    }
    // Other scripts have one key each, and announcements reach those who listen at any node.
    let lease = until_some(async || cache.lease(TenantId(1), "p").await).await;
    until_ok(async || cache.fill(&[entry(7, 3, 3)]).await).await;
    cache.release(lease).await.unwrap();
    let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
    let ears = Arc::clone(&heard);
    let listener = cache.listen(move |what| ears.lock().unwrap().push(what));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !heard.lock().unwrap().contains(&Heard::Changed(TenantId(1), EntityId(7), 4)) {
        assert!(Instant::now() < deadline, "{heard:?}");
        if listener.heard(TenantId(1)).is_some() {
            until_ok(async || cache.write_through(&[entry(7, 4, 4)]).await).await;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(
        until_ok(async || cache.get_many(TenantId(1), &[EntityId(0), EntityId(7)]).await).await.len(),
        2
    );
    until_ok(async || cache.note_asked(TenantId(1), &[("p".to_owned(), 1)]).await).await;
    for node in &nodes {
        let size = Command::new("redis-cli").args(["-p", &node.port.to_string(), "dbsize"]).output().unwrap();
        let size: u64 = String::from_utf8_lossy(&size.stdout).trim().parse().unwrap();
        assert!(size > 50, "a shard has {size} of 300 entries");
    }
    let mut both = settings;
    both.ca_file = Some("/etc/ssl/cert.pem".into());
    assert!(matches!(
        Cache::connect(&both),
        Err(CacheError::Authorities { .. } | CacheError::ClusterAuthorities)
    ));
}
