//! Quarantine rows after ingest: claimed, settled by one record, dropped; never twice, and
//! never another tenant's.

use crate::support::{Database, Server, Suite, Writer, place, position};
use eaves_model::{Code, Rejection, TenantId};
use eaves_settings::Postgres;
use eaves_store::ingest::{Commit, CommitError, QuarantineKind, Quarantined, Redriven, Settled, Verdict};
use eaves_store::quarantine::{Claimed, Filter};
use eaves_store::read::Reader;
use std::sync::Arc;
use std::time::Duration;

pub fn add(suite: &mut Suite) {
    suite.test("redrive::only_the_tenant_moves_its_rows", only_its_own);
    suite.test("redrive::one_record_settles_a_row", one_record);
    suite.test("redrive::two_shards_at_once_settle_it_once", two_shards);
    suite.test("redrive::a_record_read_again_settles_it_again", read_again);
    suite.test("redrive::a_replay_forgets_what_is_taken_now", replayed);
}

fn refused(tenant: Option<TenantId>, sequence: u64, item: i32) -> Quarantined {
    Quarantined {
        tenant,
        kind: QuarantineKind::Value,
        rejection: Rejection::new(Code::TYPE_MISMATCH, "values.t", "no"),
        payload: b"{}".to_vec(),
        sequence: position(sequence).sequence().to_owned(),
        sub: 0,
        plugin_digest: None,
        item,
        pieces: 1,
        named: None,
        arrived: None,
        redrive_of: None,
        attempts: 0,
    }
}

async fn put_aside(w: &mut Writer, to: u64, tenant: Option<TenantId>) {
    w.commit_all(to, &[], &[], &[refused(tenant, to, 0)]).await.unwrap();
}

fn reader(db: &Database) -> Reader {
    let settings: Postgres = db.role("eaves_query");
    Reader::new(&settings, Duration::from_secs(5))
}

async fn only_its_own(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let (mine, theirs) = (Some(db.acme), Some(db.other));
    for (to, tenant) in [(1, mine), (2, theirs), (3, None)] {
        put_aside(&mut w, to, tenant).await;
    }
    let all = db.admin().await.quarantine_list(&Filter::default(), 10).await.unwrap();
    let ids: Vec<i64> = all.iter().rev().map(|i| i.id).collect();
    assert_eq!(ids.len(), 3);
    let reader = reader(&db);
    let seen = reader.quarantine_list(db.acme, &Filter::default(), 10).await.unwrap();
    assert_eq!(seen.iter().map(|i| i.id).collect::<Vec<_>>(), [ids[0]]);
    assert!(reader.quarantine_get(db.acme, ids[1]).await.unwrap().is_none());
    let claimed = reader.quarantine_claim(db.acme, &ids, "me").await.unwrap();
    assert_eq!(claimed.iter().map(|c| c.id).collect::<Vec<_>>(), [ids[0]]);
    assert_eq!(reader.quarantine_drop(db.acme, &ids, "me", "why").await.unwrap(), [ids[0]]);
    let states =
        "select state, changed_by, changed_why, payload is null from quarantine order by quarantine_id";
    assert_eq!(db.one(states).await, "dropped|me|why|t\nopen|||f\nopen|||f");
    // An operator may, rows of nobody too; what is dropped stays so.
    let claimed = db.admin().await.quarantine_claim(&ids, "operator").await.unwrap();
    assert_eq!(claimed.iter().map(|c| c.id).collect::<Vec<_>>(), ids[1..]);
}

/// Puts one row aside and claims it.
async fn claimed(db: &Database, w: &mut Writer) -> Claimed {
    put_aside(w, 1, Some(db.acme)).await;
    let admin = db.admin().await;
    let id = admin.quarantine_list(&Filter::default(), 1).await.unwrap()[0].id;
    admin.quarantine_claim(&[id], "operator").await.unwrap().remove(0)
}

async fn verdict(w: &mut Writer, row: &Claimed, at: u64) -> Verdict {
    let sequence = position(at).sequence().to_owned();
    let asked = [Redriven { id: row.id, token: row.token.to_vec(), sequence }];
    w.store.redrives("stream", &w.shard.clone(), &asked).await.unwrap()[0]
}

async fn settle(w: &mut Writer, row: &Claimed, at: u64, taken: u32) -> Result<(), CommitError> {
    let to = position(at);
    let settled = Settled { id: row.id, sequence: to.sequence().to_owned(), taken, refused: 1 - taken };
    let commit = Commit {
        stream: "stream",
        shard: &w.shard,
        consumer: "test",
        expected: w.at.as_ref(),
        position: &to,
        points: &[],
        hot: &[],
        ledger: &[],
        quarantine: &[],
        redrives: &[settled],
    };
    w.store.commit(&commit).await?;
    w.at = Some(to);
    Ok(())
}

async fn one_record(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let row = claimed(&db, &mut w).await;
    let takes = |v| matches!(v, Verdict::Take { tenant: Some(t), attempts: 1 } if t == db.acme);
    assert!(takes(verdict(&mut w, &row, 2).await));
    let guessed = Claimed { token: [0; 16], ..row.clone() };
    assert_eq!(verdict(&mut w, &guessed, 2).await, Verdict::Forged);
    settle(&mut w, &row, 2, 1).await.unwrap();
    assert_eq!(db.one("select state, taken_again, refused_again from quarantine").await, "redriven|1|0");
    // Another record of the same row has no effect any more, and its batch is refused whole.
    assert_eq!(verdict(&mut w, &row, 3).await, Verdict::Duplicate);
    assert!(matches!(settle(&mut w, &row, 3, 1).await, Err(CommitError::RedriveSettled)));
    let at = w.store.checkpoint(&place("s")).await.unwrap().position;
    assert_eq!(at, Some(position(2)));
    // A settled row is not sent again.
    assert!(db.admin().await.quarantine_claim(&[row.id], "operator").await.unwrap().is_empty());
}

async fn two_shards(server: Arc<Server>) {
    let db = server.database().await;
    let (mut one, mut two) = (db.writer("s1").await, db.writer("s2").await);
    let row = claimed(&db, &mut one).await;
    let (x, y) = tokio::join!(settle(&mut one, &row, 5, 1), settle(&mut two, &row, 5, 0));
    let late = |r: &Result<(), _>| matches!(r, Err(CommitError::RedriveSettled));
    assert!((x.is_ok() && late(&y)) || (y.is_ok() && late(&x)), "{x:?} {y:?}");
    let state = db.one("select state from quarantine").await;
    assert_eq!(state, if x.is_ok() { "redriven" } else { "refused" });
}

/// After a crash the checkpoint is set back while the settled row is still there: the
/// record's values are gone with staging, so it must have its effect again.
async fn read_again(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let row = claimed(&db, &mut w).await;
    let before = w.at.clone();
    settle(&mut w, &row, 2, 1).await.unwrap();
    db.sql
        .batch_execute(
            "truncate staging_epoch, staging_batches, staging_ledger;
             update ingest_checkpoints set replay_sequence = null",
        )
        .await
        .unwrap();
    w.store.rewind(&place("s"), None).await.unwrap();
    w.at = w.store.checkpoint(&place("s")).await.unwrap().position;
    assert_ne!(w.at, before, "nothing was flushed, so the shard is read from its beginning");
    assert!(matches!(verdict(&mut w, &row, 2).await, Verdict::Take { .. }));
    assert_eq!(verdict(&mut w, &row, 3).await, Verdict::Duplicate);
    settle(&mut w, &row, 2, 1).await.unwrap();
}

async fn replayed(server: Arc<Server>) {
    let db = server.database().await;
    let mut w = db.writer("s").await;
    let rows = [refused(Some(db.acme), 1, 0), refused(Some(db.acme), 1, 1), refused(Some(db.acme), 2, 0)];
    w.commit_all(2, &[], &[], &rows).await.unwrap();
    let first = db.admin().await.quarantine_list(&Filter::default(), 9).await.unwrap().pop().unwrap().id;
    db.admin().await.quarantine_drop(&[first], "operator", "").await.unwrap();
    db.sql.batch_execute("truncate staging_epoch, staging_batches, staging_ledger").await.unwrap();
    w.store.rewind(&place("s"), None).await.unwrap();
    let back = w.store.checkpoint(&place("s")).await.unwrap();
    assert_eq!(back.replay_to, Some(position(2)));
    w.at = back.position;
    // This time the first record's second value is refused, and nothing else.
    w.commit_all(2, &[], &[], &[refused(Some(db.acme), 1, 1)]).await.unwrap();
    let kept = "select item, state from quarantine order by quarantine_id";
    assert_eq!(db.one(kept).await, "0|dropped\n1|open", "what somebody decided about stays");
}
