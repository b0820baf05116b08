//! The database crashes; nothing is lost, nothing comes twice.

use crate::world::{World, at, reading, said};
use anyhow::{Result, ensure};
use std::time::Duration;

/// How many points of an entity are in history.
fn points_of(entity: &str) -> String {
    format!(
        "select count(*) from entity_values_ts v join entities e using (tenant_id, entity_id)
         where e.external_id = '{entity}'"
    )
}

/// `kill -9` of a backend under load: PostgreSQL restarts all of them and empties
/// UNLOGGED staging; what was staged is read from the stream again.
pub(crate) async fn a_killed_backend_loses_nothing_and_doubles_nothing(w: &World) -> Result<()> {
    const ENTITIES: usize = 40;
    const ROUNDS: i64 = 30;
    let line = |entity: usize, round: i64| {
        let time = at(round);
        format!(
            r#"{{"tenant":"acme","entity":"crash-{entity}","observed_at":"{time}","values":{{"round":{round}}}}}"#
        )
    };
    for round in 0..ROUNDS {
        let records = (0..ENTITIES).map(|e| (format!("crash-{e}"), line(e, round).into_bytes())).collect();
        w.put_many(records).await?;
        if round % 10 == 5 {
            w.kill_a_backend().await?;
        }
    }
    let expected = (ENTITIES as i64) * ROUNDS;
    let count = "select count(*) from entity_values_ts v join entities e using (tenant_id, entity_id)
                 where e.external_id like 'crash-%'";
    let arrived =
        w.until(60, "all rounds in history", || async { Ok(w.count(count).await? >= expected) }).await;
    if arrived.is_err() {
        let found = w.count(count).await?;
        anyhow::bail!("{found} of {expected} values in history after 60 s; logs:\n{}", w.logs());
    }
    ensure!(w.count(count).await? == expected, "more rows than were sent");
    let behind = "select count(*) from entity_jsonb h join entities e using (tenant_id, entity_id)
                  where e.external_id like 'crash-%' and (h.hot_attrs->>'round')::int <> 29";
    ensure!(w.count(behind).await? == 0, "the hot projection is not the newest value");
    Ok(())
}

/// What was staged for shards to which nobody writes any more comes back by itself.
pub(crate) async fn an_idle_shard_is_replayed_without_a_delivery(w: &World) -> Result<()> {
    // Both shards get some, and nothing reaches history before the crash.
    let held = w.hold_the_flush().await?;
    for n in 0..20 {
        w.put("acme", &format!("idle-{n}"), reading("acme", &format!("idle-{n}"), r#"{"idle":1}"#)).await?;
    }
    let staged = "select count(*) from entity_values_ingest v join entities e using (tenant_id, entity_id)
                  where e.external_id like 'idle-%'";
    w.until(20, "the values in staging", || async { Ok(w.count(staged).await? == 20) }).await?;
    w.kill_a_backend().await?;
    drop(held);
    let count = "select count(*) from entity_values_ts v join entities e using (tenant_id, entity_id)
                 where e.external_id like 'idle-%'";
    w.until(20, "the values in history", || async { Ok(w.count(count).await? == 20) }).await?;
    let due = "select count(*) from ingest_checkpoints where replay_sequence is not null";
    w.until(20, "the end of the replay", || async { Ok(w.count(due).await? == 0) }).await?;
    Ok(())
}

/// `eaves replay` says what it would do, does it, and changes nothing that was right.
pub(crate) async fn a_range_can_be_read_again_by_hand(w: &World) -> Result<()> {
    let entity = "reread-1";
    w.put("acme", entity, reading("acme", entity, r#"{"reread":1}"#)).await?;
    w.history("acme", entity, "reread", 1).await?;
    let accepted = "select coalesce(sum(count), 0)::int8 from ingest_ledger where outcome = 'accepted'";
    let flushed = "select count(*) from staging_batches";
    w.until(20, "the flush", || async { Ok(w.count(flushed).await? == 0) }).await?;
    let before = w.count(accepted).await?;
    for shard in ["shardId-000000000000", "shardId-000000000001"] {
        let args = ["replay", "--shard", shard, "--from", "oldest"];
        let dry = w.eaves(&args, "").await?;
        ensure!(dry.status.success() && said(&dry).contains("Nothing was done"), "{}", said(&dry));
        let done = w.eaves(&[&args[..], &["--yes", "--wait", "60"]].concat(), "").await?;
        ensure!(done.status.success() && said(&done).contains("is through"), "{}", said(&done));
    }
    let replayed = "select coalesce(sum(count), 0)::int8 from ingest_ledger where outcome = 'replayed'";
    w.until(20, "the counts of the replay", || async { Ok(w.count(replayed).await? > 0) }).await?;
    ensure!(w.count(&points_of(entity)).await? == 1, "one point became several");
    ensure!(w.count(accepted).await? == before, "what was read again was counted as new");
    let wrong = w.eaves(&["replay", "--shard", "shardId-000000000000", "--from", "x1"], "").await?;
    ensure!(!wrong.status.success() && said(&wrong).contains("x1"), "{}", said(&wrong));
    Ok(())
}

/// Staging lost, and the stream has forgotten: told, never silent.
pub(crate) async fn records_that_are_gone_for_good_are_told(w: &World) -> Result<()> {
    let held = w.hold_the_flush().await?;
    for n in 0..20 {
        w.put("acme", &format!("gone-{n}"), reading("acme", &format!("gone-{n}"), r#"{"gone":1}"#)).await?;
    }
    let staged = "select count(*) from entity_values_ingest v join entities e using (tenant_id, entity_id)
                  where e.external_id like 'gone-%'";
    w.until(20, "the values in staging", || async { Ok(w.count(staged).await? == 20) }).await?;
    // Batches are committed asynchronously; a heartbeat takes them to the disk with it.
    let beats = "select sequence from replication_heartbeat";
    let beat = w.count(beats).await?;
    w.until(20, "two heartbeats", || async { Ok(w.count(beats).await? >= beat + 2) }).await?;
    w.set_retention(Duration::from_millis(1)).await?;
    w.kill_a_backend().await?;
    drop(held);
    let losses = "select count(*) from stream_losses where kind = 'certain' and acknowledged_at is null";
    w.until(20, "the losses to be told", || async { Ok(w.count(losses).await? == 2) }).await?;
    w.set_retention(Duration::from_secs(24 * 3600)).await?;
    let problem = "select (health_check() -> 'problems' ? 'stream_loss')::int::int8";
    ensure!(w.count(problem).await? == 1, "the health check says nothing of it");
    let listed = w.eaves(&["losses", "list", "--json"], "").await?;
    let json: serde_json::Value = serde_json::from_slice(&listed.stdout)?;
    for loss in json.as_array().into_iter().flatten() {
        let id = loss["id"].to_string();
        let done = w.eaves(&["losses", "acknowledge", &id, "--note", "a drill"], "").await?;
        ensure!(done.status.success(), "{}", said(&done));
    }
    ensure!(w.count(problem).await? == 0, "still told after it was acknowledged: {}", said(&listed));
    // The shards go on.
    w.put("acme", "gone-after", reading("acme", "gone-after", r#"{"gone":2}"#)).await?;
    w.history("acme", "gone-after", "gone", 1).await?;
    Ok(())
}
