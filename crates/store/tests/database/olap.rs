//! History in files: whatever happens to it, to the slot or to the loader, the fold of the files is
//! history as a snapshot sees it.

use crate::support::{Database, Server, Suite, connect, refused, until};
use eaves_model::history::Operation;
use eaves_model::{Decimal, TenantId, Timestamp, Value, ValueType};
use eaves_olap::archive::Archive;
use eaves_olap::file;
use eaves_olap::fold::{Day, Days, Fold, Snapshot};
use eaves_olap::load::{Loader, Summary, Turn};
use eaves_store::admin::OlapFiles;
use eaves_store::olap::OlapStore;
use std::sync::Arc;

pub fn add(suite: &mut Suite) {
    suite.test("olap::every_type_and_every_change", every_type_and_every_change);
    suite.test("olap::what_was_there_before_is_copied", what_was_there_before);
    suite.test("olap::a_lost_slot_is_followed_by_a_copy", a_lost_slot);
    suite.test("olap::a_loader_may_end_anywhere", a_loader_may_end_anywhere);
    suite.test("olap::a_dropped_partition_is_gone", a_dropped_partition);
    suite.test("olap::the_loader_may_do_nothing_else", the_loader_may_do_nothing_else);
}

struct Olap {
    db: Database,
    loader: Loader,
}

impl Olap {
    async fn new(server: &Server) -> Self {
        let db = server.database().await;
        let loader = Loader { store: OlapStore::new(&db.role("eaves_olap")), archive: Archive::in_memory() };
        Self { db, loader }
    }

    /// Until the files are complete and as far as the log was at the beginning.
    async fn load(&self) -> Summary {
        self.loader.store.note_partitions().await.unwrap();
        let mut summary = Summary::default();
        until("the files", async || self.loader.turn(&mut summary).await.unwrap() == Turn::CaughtUp).await;
        summary
    }

    async fn files(&self) -> OlapFiles {
        self.db.admin().await.olap_files(None).await.unwrap().expect("an epoch")
    }

    /// The fold of the files is history. Returns how many points that is.
    async fn agrees(&self) -> u64 {
        let history = self.db.admin().await.olap_history(None).await.unwrap();
        until("the watermark", async || {
            self.load().await;
            self.files().await.loaded_to >= history.seen_to
        })
        .await;
        let mut fold = Fold::new(Snapshot::read(&history.snapshot).unwrap(), None);
        for listed in self.files().await.files {
            let before = fold.rows();
            let bytes = self.loader.archive.get(&listed.name).await.unwrap();
            file::read(bytes, |change| {
                let inside = (listed.from..listed.to).contains(&change.lsn);
                assert!(inside || change.operation == Operation::Copy, "{listed:?} {change:?}");
                fold.take(&change);
            })
            .unwrap();
            assert_eq!(fold.rows() - before, listed.rows, "{listed:?}");
        }
        assert_eq!(fold.repeated(), 0);
        let wanted: Days =
            history.days.into_iter().map(|(key, points, checksum)| (key, Day { points, checksum })).collect();
        assert_eq!(fold.days(), wanted);
        wanted.values().map(|day| day.points).sum()
    }

    /// One point a second of an integer, from second `from` on.
    async fn write(&self, shard: &str, batch: u64, from: i64, count: i64) {
        let mut w = self.db.writer(shard).await;
        w.at = (batch > 1).then(|| crate::support::position(batch - 1));
        let (e, a) = (w.entity(shard).await, w.attribute("n", ValueType::Integer).await);
        let points: Vec<_> = (from..from + count).map(|at| w.point(e, a, at, Value::Integer(at))).collect();
        w.commit(batch, &points, &[]).await.unwrap();
        self.db.drain().await;
    }

    async fn end(self) {
        // A slot keeps log for as long as the server runs.
        let drop = "select pg_drop_replication_slot(slot_name) from pg_replication_slots
                    where database = current_database()";
        self.db.one(drop).await;
    }
}

async fn every_type_and_every_change(server: Arc<Server>) {
    let olap = Olap::new(&server).await;
    olap.load().await;
    let mut w = olap.db.writer("s1").await;
    let e = w.entity("e").await;
    let values: Vec<Value> = vec![
        Value::Boolean(true),
        Value::Boolean(false),
        Value::Integer(i64::MIN),
        Value::Integer(i64::MAX),
        Value::Float(-0.0),
        Value::Float(f64::MIN_POSITIVE),
        Value::Float(1e300),
        Value::Decimal("79228162514264337593543950335".parse::<Decimal>().unwrap()),
        Value::Decimal("-0.0000000000000000000000000001".parse::<Decimal>().unwrap()),
        Value::Decimal("1.50".parse::<Decimal>().unwrap()),
        Value::Decimal("0".parse::<Decimal>().unwrap()),
        Value::Timestamp(Timestamp::from_micros(-62_135_596_800_000_000).unwrap()),
        Value::String("".into()),
        Value::String("Wärme|n 🌡".into()),
        Value::String("long ".repeat(5000).into()),
    ];
    let mut points = Vec::new();
    for (at, value) in values.into_iter().enumerate() {
        let a = w.attribute(value.value_type().name(), value.value_type()).await;
        points.push(w.point(e, a, at as i64, value));
    }
    w.commit(1, &points, &[]).await.unwrap();
    olap.db.drain().await;
    assert_eq!(olap.agrees().await, 15);

    // The same point with another value, in the same transaction's flush and in a later one.
    let a = w.attribute("integer", ValueType::Integer).await;
    let again = [w.point(e, a, 2, Value::Integer(7)), w.point(e, a, 2, Value::Integer(8))];
    w.commit(2, &again, &[]).await.unwrap();
    olap.db.drain().await;
    w.commit(3, &again[..1], &[]).await.unwrap();
    olap.db.drain().await;
    assert_eq!(olap.agrees().await, 15);

    // What no function does, and an operator may.
    let deleted =
        "with gone as (delete from entity_values_ts where value_bool returning 1) select count(*) from gone";
    assert_eq!(olap.db.one(deleted).await, "1");
    assert_eq!(olap.agrees().await, 14);
    olap.end().await;
}

async fn what_was_there_before(server: Arc<Server>) {
    let olap = Olap::new(&server).await;
    olap.write("s1", 1, 0, 5000).await;
    let status = olap.db.one("select olap_status() ->> 'state'").await;
    assert_eq!(status, "off");
    // Changes while it is copied: in the copy, in the stream, or in both.
    let mut summary = Summary::default();
    assert_eq!(olap.loader.turn(&mut summary).await.unwrap(), Turn::More);
    olap.write("s1", 2, 4000, 5000).await;
    let summary = olap.load().await;
    assert!(summary.copied >= 5000, "{summary:?}");
    assert_eq!(olap.agrees().await, 9000);
    assert_eq!(olap.db.one("select olap_status() ->> 'state'").await, "following");
    assert_eq!(olap.db.one("select health_check() -> 'problems'").await, "[]");
    olap.end().await;
}

async fn a_lost_slot(server: Arc<Server>) {
    let olap = Olap::new(&server).await;
    olap.write("s1", 1, 0, 100).await;
    assert_eq!(olap.agrees().await, 100);
    let before = olap.files().await.epoch;
    olap.write("s1", 2, 100, 100).await;
    let slot = "select pg_drop_replication_slot('eaves_olap_' || (select epoch from olap_epochs where ended_at is null))";
    olap.db.one(slot).await;
    olap.write("s1", 3, 200, 100).await;
    let problems = olap.db.one("select health_check() ->> 'problems'").await;
    assert!(problems.contains("olap_slot_lost"), "{problems}");
    let mut summary = Summary::default();
    assert_eq!(olap.loader.turn(&mut summary).await.unwrap(), Turn::More);
    assert_eq!(summary.resyncs, 1);
    let problems = olap.db.one("select health_check() ->> 'problems'").await;
    assert!(problems.contains("olap_resync"), "{problems}");
    assert_eq!(olap.agrees().await, 300);
    assert_ne!(olap.files().await.epoch, before);
    assert_eq!(olap.db.one("select health_check() -> 'problems'").await, "[]");

    // Somebody else advances it: what lay between is missing, and that is noticed.
    olap.write("s1", 4, 300, 100).await;
    let advanced = "select pg_replication_slot_advance('eaves_olap_' || epoch, pg_current_wal_flush_lsn())
                    from olap_epochs where ended_at is null";
    olap.db.one("select pg_switch_wal()").await;
    olap.db.one(advanced).await;
    let summary = olap.load().await;
    assert_eq!(summary.resyncs, 1, "{summary:?}");
    assert_eq!(olap.agrees().await, 400);
    let reasons =
        olap.db.one("select end_reason from olap_epochs where ended_at is not null order by ended_at").await;
    assert!(reasons.contains("is gone") && reasons.contains("ahead of the files"), "{reasons}");
    olap.end().await;
}

/// The steps of a loader that is killed, each left as it would be.
async fn a_loader_may_end_anywhere(server: Arc<Server>) {
    let olap = Olap::new(&server).await;
    olap.write("s1", 1, 0, 10).await;
    assert_eq!(olap.agrees().await, 10);
    let store = &olap.loader.store;

    // After the plan, and after the file: whoever comes next writes the same, whatever came since.
    olap.write("s1", 2, 10, 10).await;
    until("the log on disk", async || {
        let state = store.state().await.unwrap();
        state.flushed_to == state.inserted_to
    })
    .await;
    let state = store.state().await.unwrap();
    let epoch = state.epoch.unwrap();
    let planned = state.flushed_to;
    assert!(store.plan(&epoch.epoch, epoch.loaded_to, planned).await.unwrap());
    assert!(!store.plan(&epoch.epoch, epoch.loaded_to, planned + 8).await.unwrap(), "another file");
    olap.write("s1", 3, 20, 10).await;
    let mut summary = Summary::default();
    olap.loader.turn(&mut summary).await.unwrap();
    let files = olap.files().await;
    assert_eq!((files.loaded_to, summary.changes), (planned, 10), "only what was planned");
    assert_eq!(olap.agrees().await, 30);

    // A loader that comes late with what has been written: it moves nothing.
    assert!(!store.loaded(&epoch.epoch, epoch.loaded_to, planned, None, None).await.unwrap());

    // After the watermark, before the slot.
    olap.write("s1", 4, 30, 10).await;
    let before = olap.files().await.loaded_to;
    let holder = connect(&olap.db.superuser).await;
    let hold = "begin; select pg_advisory_xact_lock(hashtextextended('eaves.olap_advance', 0))";
    holder.batch_execute(hold).await.unwrap();
    let waiting = "from pg_stat_activity where usename = 'eaves_olap' and datname = current_database()
                     and wait_event_type = 'Lock'";
    tokio::select! {
        ended = olap.loader.turn(&mut summary) => panic!("{ended:?}"),
        () = until("the loader to wait", async || {
            olap.db.one(&format!("select count(*) {waiting}")).await == "1"
        }) => {}
    }
    olap.db.one(&format!("select pg_terminate_backend(pid) {waiting}")).await;
    holder.batch_execute("rollback").await.unwrap();
    until("a new connection", async || store.state().await.is_ok()).await;
    let state = store.state().await.unwrap();
    assert!(olap.files().await.loaded_to > before);
    assert!(state.slot.unwrap().confirmed_to < state.epoch.unwrap().loaded_to, "the slot is behind");
    assert_eq!(olap.agrees().await, 40);

    // Two at once: one of them writes, both end well.
    olap.write("s1", 5, 40, 1000).await;
    let other =
        Loader { store: OlapStore::new(&olap.db.role("eaves_olap")), archive: olap.loader.archive.clone() };
    let (mut one, mut two) = (Summary::default(), Summary::default());
    let (first, second) = tokio::join!(olap.loader.turn(&mut one), other.turn(&mut two));
    for result in [first, second] {
        // The slot is in the hands of one; the other is told so.
        assert!(result.as_ref().map_or_else(|e| e.may_pass(), |_| true), "{result:?}");
    }
    assert!(one.changes == 0 || two.changes == 0, "{one:?} {two:?}");
    assert_eq!(olap.agrees().await, 1040);
    olap.end().await;
}

async fn a_dropped_partition(server: Arc<Server>) {
    let olap = Olap::new(&server).await;
    // January 2026, in a partition of its own.
    let made = "create table january partition of entity_values_ts
                  for values from ('2025-12-01 00:00:00+00') to ('2026-02-01 00:00:00+00')";
    olap.db.sql.batch_execute(made).await.unwrap();
    olap.db.one("select olap_note_partitions()").await;
    olap.write("s1", 1, 0, 100).await;
    assert_eq!(olap.agrees().await, 100);
    olap.db.sql.batch_execute("drop table january").await.unwrap();
    // By the function that makes and drops partitions, as every quarter of an hour.
    olap.db.flusher().await.maintain_partitions().await.unwrap();
    // The same time again, after that: it is there.
    olap.write("s1", 2, 50, 10).await;
    assert_eq!(olap.agrees().await, 10);
    olap.end().await;
}

async fn the_loader_may_do_nothing_else(server: Arc<Server>) {
    let olap = Olap::new(&server).await;
    olap.load().await;
    let client = connect(&olap.db.role("eaves_olap")).await;
    for forbidden in [
        "select from entity_values_ts",
        "select from olap_epochs",
        "select * from pg_logical_slot_peek_changes('eaves_olap_x', null, null)",
        "select pg_create_physical_replication_slot('mine')",
        "select pg_drop_replication_slot('eaves_olap_x')",
        "set role eaves_replication",
        "select olap_fingerprint(null)",
    ] {
        assert_eq!(refused(&client, forbidden).await, "42501", "{forbidden}");
    }
    assert_eq!(refused(&client, "select olap_slot_create('Bad name')").await, "22023");
    let acme: TenantId = olap.db.acme;
    assert!(olap.db.admin().await.olap_history(Some(acme)).await.unwrap().days.is_empty());
    olap.end().await;
}
