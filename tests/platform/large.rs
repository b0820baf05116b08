//! Records that are too large for one transaction.

use crate::world::{World, reading, said};
use anyhow::{Context as _, Result, ensure};
use eaves_local::kinesis::{ErrorKind, Operation};
use std::fmt::Write as _;

/// Readings of a sub-record; of ten values each.
const READINGS: usize = 5_000;
/// Two of three sub-records fill a transaction.
const SUBS: usize = 3;

/// One aggregated record of three compressed sub-records with 50,000 values each.
fn bulk(w: &World, entity: &str) -> Result<Vec<u8>> {
    let start = jiff::Timestamp::now().as_second() - 40_000;
    let mut subs = Vec::new();
    for sub in 0..SUBS {
        let mut lines = String::new();
        for n in 0..READINGS {
            let seen = jiff::Timestamp::from_second(start + (sub * READINGS + n) as i64)?;
            write!(
                lines,
                r#"{{"tenant":"bulk","entity":"{entity}","observed_at":"{seen}","values":{{"a0":{n}"#
            )?;
            (1..10).try_for_each(|a| write!(lines, r#","a{a}":{n}"#))?;
            lines.push_str("}}\n");
        }
        subs.push(("k", w.gzip(lines.as_bytes())?));
    }
    Ok(w.aggregate(&subs))
}

/// An aggregated record that takes several transactions is cut between its sub-records, and a
/// redrive that comes after the cut, in the same batch, is settled with what it really took.
pub(crate) async fn a_record_of_many_values_is_taken_in_parts(w: &World) -> Result<()> {
    let mark = w.quarantine_mark().await?;
    w.put("bulk", "put-aside", reading("bulk", "put-aside", r#"{"level":7.5,"depth":3}"#)).await?;
    w.quarantined(mark, "unknown_tenant", "").await?;
    let put_aside = format!("select max(quarantine_id) from quarantine where quarantine_id > {mark}");
    let id = w.count(&put_aside).await?.to_string();
    w.eaves(&["tenant", "create", "bulk"], "").await?;

    // Nobody reads until all is there: so the redrive comes in one batch with a large record,
    // whichever shard it goes to.
    w.platform.kinesis().fail_next(Operation::GetRecords, u32::MAX, ErrorKind::InternalFailure);
    // One for each of the two shards.
    let entities = ["bulk-first", "bulk-last"];
    for (entity, hash) in entities.iter().zip([0, u128::MAX]) {
        w.put_at(hash, bulk(w, entity)?).await?;
    }
    let sent = w.eaves(&["quarantine", "redrive", "--id", &id], "").await?;
    ensure!(sent.status.success(), "{}", said(&sent));
    w.platform.kinesis().fail_next(Operation::GetRecords, 0, ErrorKind::InternalFailure);

    let values = (SUBS * READINGS * 10) as i64;
    for entity in entities {
        let of = format!(
            "from entity_values_ts v join entities e using (tenant_id, entity_id) where e.external_id = '{entity}'"
        );
        let count = format!("select count(*) {of}");
        w.until(60, "all values of a large record", || async { Ok(w.count(&count).await? >= values) })
            .await?;
        let parts = w.count(&format!("select count(distinct v.ingested_at) {of}")).await?;
        ensure!(parts >= 2, "{values} values in {parts} transaction");
        let found = w.count(&count).await?;
        ensure!(found == values, "{found} of {values} values");
    }
    let state = format!(
        "select count(*) from quarantine where quarantine_id = {id} and state = 'redriven' and taken_again = 2"
    );
    w.until(30, "the redrive to be settled", || async { Ok(w.count(&state).await? == 1) }).await?;
    let level = w.entity("bulk", "put-aside", "level").await?;
    ensure!(level.json["attributes"]["level"]["value"] == 7.5, "{}", level.text);
    let accepted =
        "select sum(count)::int8 from ledger_totals() where tenant = 'bulk' and outcome = 'accepted'";
    let accepted = w.count(accepted).await.context("the ledger")?;
    let wanted = values * entities.len() as i64 + 2;
    ensure!(accepted == wanted, "{accepted} of {wanted} values in the ledger");
    Ok(())
}
