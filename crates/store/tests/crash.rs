//! A crash empties staging; what was acknowledged comes back from the stream.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test binary without a harness"
)]

#[path = "support/mod.rs"]
mod support;

use eaves_model::{Value, ValueType};
use eaves_pg_server::{PgOptions, PgServer};
use eaves_settings::Postgres;
use eaves_store::ingest::CommitError;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{Database, Server, Suite, Writer, connect, own, place, position, role, until};

fn main() {
    let mut suite = Suite::new();
    suite.test("crash::all_faults", all_faults);
    suite.test("crash::history_is_brought_back_to_a_point_in_time", point_in_time);
    suite.run()
}

/// One after the other: each brings the whole server down.
async fn all_faults(server: Arc<Server>) {
    killed_backend(&server).await;
    immediate_stop(&server).await;
    orderly_restart(&server).await;
}

/// Three batches: the first flushed, two staged.
async fn staged(server: &Server) -> (Database, Writer) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    for to in 1..4 {
        write(&mut w, to).await.unwrap();
        if to == 1 {
            db.drain().await;
        }
    }
    (db, w)
}

async fn write(w: &mut Writer, to: u64) -> Result<(), CommitError> {
    let (e, a) = (w.entity("e").await, w.attribute("a", ValueType::Integer).await);
    let at = to as i64;
    let points = [w.point(e, a, at, Value::Integer(at)), w.point(e, a, at + 1000, Value::Integer(at))];
    let hot = [w.hot(e, at, &format!(r#"{{"a":{at}}}"#))];
    w.commit(to, &points, &hot).await.map(drop)
}

/// The writer finds staging lost, goes back to what is in history and reads again.
async fn recovers(db: Database, mut w: Writer) {
    // What the store had is gone, so the next statement may fail; it says that it may
    // be tried again, and then it works.
    let mut tries = 0;
    let flushed = loop {
        tries += 1;
        assert!(tries < 200, "still no connection");
        match w.commit(4, &[], &[]).await {
            Err(CommitError::StagingLost { flushed }) => break flushed,
            Err(CommitError::Store(e)) => {
                assert!(e.is_retryable(), "{e:?}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(flushed, Some(position(1)));
    let db = Database { sql: connect(&db.superuser).await, ..db };
    assert_eq!(db.one("select count(*) from entity_values_ts").await, "2");
    // Until it has been read again, the flush claims nothing.
    assert_eq!(db.flusher().await.stage_flush(1).await.unwrap(), Some(0));

    // The crash may have taken the last commits off the checkpoint as well; the batch at
    // hand says up to where the stream had been acknowledged.
    w.store.rewind(&place("s"), Some(&position(4))).await.unwrap();
    let back = w.store.checkpoint(&place("s")).await.unwrap();
    assert_eq!((back.position.clone(), back.replay_to.clone()), (Some(position(1)), Some(position(4))));
    // A second one finds it done.
    w.store.rewind(&place("s"), None).await.unwrap();
    assert_eq!(w.store.checkpoint(&place("s")).await.unwrap(), back);
    w.at = back.position;
    for to in 2..5 {
        write(&mut w, to).await.unwrap();
    }
    db.drain().await;
    let now = w.store.checkpoint(&place("s")).await.unwrap();
    assert_eq!((now.position, now.flushed, now.replay_to), (Some(position(4)), Some(position(4)), None));
    assert_eq!(db.one("select count(*), sum(value_int) from entity_values_ts").await, "8|20");
    assert_eq!(db.one("select hot_attrs from entity_jsonb").await, r#"{"a": 4}"#);
    // What was read twice is counted once.
    let totals = db.admin().await.ledger_totals(None).await.unwrap();
    assert_eq!(totals.iter().map(|t| t.count).sum::<u64>(), 8);
}

async fn killed_backend(server: &Server) {
    let (db, w) = staged(server).await;
    let victim: i32 = db.one("select pg_backend_pid()").await.parse().unwrap();
    server.pg.lock().await.kill_backend(victim).unwrap();
    until("the server to notice", async || db.sql.is_closed()).await;
    recovers(db, w).await;
}

async fn immediate_stop(server: &Server) {
    let (db, w) = staged(server).await;
    let mut pg = server.pg.lock().await;
    pg.stop_immediately().await.unwrap();
    pg.restart().await.unwrap();
    drop(pg);
    recovers(db, w).await;
}

/// A server that is shut down in order keeps staging: nothing has to be read again.
async fn orderly_restart(server: &Server) {
    let (db, mut w) = staged(server).await;
    server.pg.lock().await.restart().await.unwrap();
    let db = Database { sql: connect(&db.superuser).await, ..db };
    let mut tries = 0;
    while let Err(CommitError::Store(e)) = write_no_names(&mut w).await {
        assert!(e.is_retryable() && tries < 200, "{e:?}");
        tries += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    db.drain().await;
    assert_eq!(db.one("select count(*) from entity_values_ts").await, "6");
    assert_eq!(w.store.checkpoint(&place("s")).await.unwrap().flushed, Some(position(4)));
}

async fn write_no_names(w: &mut Writer) -> Result<(), CommitError> {
    w.commit(4, &[], &[]).await.map(drop)
}

/// What docs/disaster-recovery.md describes for RDS, here with a base backup and archived
/// WAL: somebody empties history, the database is brought back to the moment before, and
/// what was staged then is read from the stream again.
async fn point_in_time(server: Arc<Server>) {
    let folder = server.folder.join("pitr");
    let archive = folder.join("archive");
    std::fs::create_dir_all(&archive).unwrap();
    own(&archive);
    let archived = archive.to_str().unwrap();
    let settings = [("archive_mode", "on".to_owned()), ("archive_command", format!("cp %p {archived}/%f"))];
    let first = Server::start_in(folder.clone(), &settings).await;

    let copy = folder.join("copy");
    let (host, port, program) = {
        let pg = first.pg.lock().await;
        (pg.host().to_owned(), pg.port().to_string(), pg.bin_dir().join("pg_basebackup"))
    };
    let backup = Command::new(program)
        .args(["--host", &host, "--port", &port, "--username", &first.superuser.user, "--checkpoint=fast"])
        .args(["--pgdata", copy.to_str().unwrap()])
        .env("PGPASSWORD", first.superuser.password.expose())
        .output()
        .unwrap();
    assert!(backup.status.success(), "{}", String::from_utf8_lossy(&backup.stderr));

    let (db, w) = staged(&first).await;
    let moment = db.one("select clock_timestamp()").await;
    db.sql.batch_execute("truncate entity_values_ts").await.unwrap();
    assert_eq!(db.one("select count(*) from entity_values_ts").await, "0");
    let last = db.one("select pg_walfile_name(pg_switch_wal())").await;
    let kept = archive.join(last);
    until("the log to be archived", async || kept.exists()).await;
    first.pg.lock().await.stop().await.unwrap();

    let since = Instant::now();
    std::fs::write(copy.join("recovery.signal"), "").unwrap();
    own(&copy);
    let options = PgOptions::new("restored", &copy)
        .setting("restore_command", &format!("cp {archived}/%f %p"))
        .setting("recovery_target_time", &moment)
        .setting("recovery_target_action", "promote")
        // Not less than where the log comes from.
        .setting("max_connections", "400");
    let mut restored = PgServer::start(options).await.unwrap();
    let superuser = Postgres { port: restored.port(), ..db.superuser.clone() };
    // The test's database itself only comes with the log.
    let any = connect(&Postgres { database: "postgres".into(), ..superuser.clone() }).await;
    let recovering = async || support::text(&any, "select pg_is_in_recovery()").await;
    until("the end of recovery", async || recovering().await == "f").await;
    let sql = connect(&superuser).await;
    println!("brought back to a point in time in {:.1} s", since.elapsed().as_secs_f64());

    let mut writer = Writer::connect(&role(&superuser, "eaves_ingest"), w.tenant, "s").await;
    writer.at = w.at;
    let db = Database { through: superuser.clone(), superuser, sql, ..db };
    recovers(db, writer).await;
    restored.stop().await.unwrap();
}
