//! The database crashes; nothing is lost, nothing comes twice.

use crate::world::{World, at};
use anyhow::{Result, ensure};

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
