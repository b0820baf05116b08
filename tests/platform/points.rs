//! A second value for a point, and values that are late or ahead, by the tenant's rules.

use crate::world::{World, at};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

fn seen(tenant: &str, entity: &str, second: i64, values: &str) -> String {
    let time = at(second);
    format!(r#"{{"tenant":"{tenant}","entity":"{entity}","observed_at":"{time}","values":{values}}}"#)
}

async fn run(w: &World, args: &[&str]) -> Result<String> {
    let done = w.eaves(args, "").await?;
    ensure!(done.status.success(), "eaves {args:?}: {done:?}");
    Ok(String::from_utf8(done.stdout)?)
}

/// The first value holds in history and hot; the second is rejected once and kept.
pub(crate) async fn a_rejecting_tenant_keeps_the_first_value(w: &World) -> Result<()> {
    run(w, &["tenant", "create", "firsts", "--points", "reject"]).await?;
    let mark = w.quarantine_mark().await?;
    let first = seen("firsts", "p-1", 0, r#"{"n":1,"m":1}"#);
    // In one record, then in history, then a repetition.
    w.put("firsts", "p-1", format!("{first}\n{}", seen("firsts", "p-1", 0, r#"{"n":2}"#))).await?;
    w.history("firsts", "p-1", "n", 1).await?;
    w.put("firsts", "p-1", seen("firsts", "p-1", 0, r#"{"n":3,"m":1,"done":true}"#)).await?;
    let hot = w.entity("firsts", "p-1", "done").await?;
    ensure!(hot.json["attributes"]["n"]["value"] == 1, "{}", hot.text);
    let history = w.history("firsts", "p-1", "n", 1).await?;
    ensure!(history.points() == 1 && history.json["points"][0]["value"] == 1, "{}", history.text);
    let kept = w.quarantined_in(mark, "firsts", "values.n").await?;
    ensure!(kept.payload.contains(r#""n":2"#), "{}", kept.payload);
    let counted = |outcome: &str| {
        format!(
            "select coalesce(sum(count), 0)::int8 from ingest_ledger join tenants using (tenant_id)
             where name = 'firsts' and outcome = '{outcome}'"
        )
    };
    let (accepted, rejected) = (counted("accepted"), counted("rejected"));
    w.until(10, "the ledger to add up", || async {
        Ok(w.count(&accepted).await? == 4 && w.count(&rejected).await? == 2)
    })
    .await
}

/// The later value holds, and the earlier one is shown to who asks for it.
pub(crate) async fn a_correcting_tenant_shows_both_values(w: &World) -> Result<()> {
    run(w, &["tenant", "create", "amends", "--points", "correction"]).await?;
    w.put("amends", "p-1", seen("amends", "p-1", 0, r#"{"n":1}"#)).await?;
    w.history("amends", "p-1", "n", 1).await?;
    w.put("amends", "p-1", seen("amends", "p-1", 0, r#"{"n":2,"done":true}"#)).await?;
    let hot = w.entity("amends", "p-1", "done").await?;
    ensure!(hot.json["attributes"]["n"]["value"] == 2, "{}", hot.text);
    for consistency in ["strong", "eventual"] {
        let path = format!("/v1/entities/p-1/history/n?corrections=true&consistency={consistency}");
        w.until(20, "the correction in history", || async {
            let answer = w.get("amends", &path).await?;
            let point = &answer.json["points"][0];
            Ok(answer.points() == 1 && point["value"] == 2 && point["superseded"][0]["value"] == 1)
        })
        .await?;
    }
    let plain = w.history("amends", "p-1", "n", 1).await?;
    ensure!(!plain.text.contains("superseded"), "{}", plain.text);
    Ok(())
}

/// Limits of tenant and attribute, each with its action; late values leave hot alone.
pub(crate) async fn late_and_future_values_get_their_action(w: &World) -> Result<()> {
    run(w, &["tenant", "create", "timely", "--late", "2h:quarantine", "--ahead", "10m:reject"]).await?;
    // An hour old: within.
    w.put("timely", "p-0", seen("timely", "p-0", 0, r#"{"slow":1,"fast":1,"gone":1}"#)).await?;
    w.entity("timely", "p-0", "gone").await?;
    run(w, &["attribute", "set", "timely", "slow", "--late", "accept"]).await?;
    run(w, &["attribute", "set", "timely", "gone", "--late", "90m:reject"]).await?;
    let listed = run(w, &["attribute", "list", "timely"]).await?;
    ensure!(listed.contains("90m:reject") && listed.contains("accept"), "{listed}");
    let listed = run(w, &["tenant", "list"]).await?;
    ensure!(listed.contains("2h:quarantine") && listed.contains("10m:reject"), "{listed}");
    // An instance trusts for ten seconds what it read of a tenant: a round may still go by the
    // settings of before, and is then sent again for another entity.
    let end = Instant::now() + Duration::from_secs(40);
    let mut round = 0;
    let (entity, mark) = loop {
        round += 1;
        let (entity, mark) = (format!("p-{round}"), w.quarantine_mark().await?);
        if a_round_of_late_values(w, &entity).await? == 3 {
            break (entity, mark);
        }
        ensure!(Instant::now() < end, "after {round} rounds the limits are not kept");
    };
    let late = w.quarantined(mark, "too_late", "observed_at").await?;
    let ahead = w.quarantined(mark, "too_far_ahead", "observed_at").await?;
    ensure!(ahead.payload.contains(r#""slow":3"#), "{}", ahead.payload);
    ensure!(late.payload.contains("\"observed_at\""), "{}", late.payload);
    w.history("timely", &entity, "slow", 2).await?;
    let fast = w.history("timely", &entity, "fast", 1).await?;
    ensure!(fast.points() == 1, "{}", fast.text);
    let hot = w.entity("timely", &entity, "slow").await?;
    ensure!(hot.json["attributes"]["slow"]["value"] == 1, "{}", hot.text);
    Ok(())
}

/// Values three hours old and half an hour ahead of an entity that has some of an hour ago.
/// Answers with how many refusals of the right kind there were.
async fn a_round_of_late_values(w: &World, entity: &str) -> Result<i64> {
    let readings = [
        (0, r#"{"slow":1,"fast":1,"gone":1}"#),
        (-7200, r#"{"slow":2,"fast":2,"gone":2}"#),
        (5400, r#"{"slow":3}"#),
        // One key is one shard, in order: with this all before it have been decided.
        (1, r#"{"done":true}"#),
    ];
    for (second, values) in readings {
        w.put("timely", "one-key", seen("timely", entity, second, values)).await?;
    }
    w.entity("timely", entity, "done").await?;
    w.count(&format!(
        "select count(*) from quarantine q join tenants t using (tenant_id) where t.name = 'timely'
         and encode(payload, 'escape') like '%\"{entity}\"%'
         and (kind, encode(payload, 'escape') like '%\"fast\":2%') in (('record', true), ('value', false))"
    ))
    .await
}
