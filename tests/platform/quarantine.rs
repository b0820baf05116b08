//! What was put aside is sent again once its cause is mended, and the balance adds up.

use crate::world::{World, at, reading, said};
use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

/// The number of the newest row with this reason after `mark`.
async fn row(w: &World, mark: i64, reason: &str) -> Result<i64> {
    w.quarantined(mark, reason, "").await?;
    let query = format!(
        "select max(quarantine_id) from quarantine where quarantine_id > {mark} and reason = '{reason}'
         and redrive_of is null"
    );
    w.count(&query).await
}

async fn state(w: &World, id: i64, wanted: &str) -> Result<()> {
    let query = format!("select count(*) from quarantine where quarantine_id = {id} and state = '{wanted}'");
    w.until(30, &format!("row {id} to be {wanted}"), || async { Ok(w.count(&query).await? == 1) }).await
}

/// Readings of a tenant that does not exist yet: created, then sent again from the command
/// line, twice and at the same time. They come back once.
pub(crate) async fn an_unknown_tenants_readings_come_back_once_it_exists(w: &World) -> Result<()> {
    let mark = w.quarantine_mark().await?;
    w.put("latecomer", "e-1", reading("latecomer", "e-1", r#"{"level":7.5,"bad":null}"#)).await?;
    let id = row(w, mark, "unknown_tenant").await?.to_string();
    let listed = w.eaves(&["quarantine", "list", "--nobody", "--reason", "unknown_tenant"], "").await?;
    ensure!(said(&listed).contains("(latecomer)"), "{}", said(&listed));
    let shown = w.eaves(&["quarantine", "show", &id], "").await?;
    ensure!(said(&shown).contains("\"level\": 7.5"), "{}", said(&shown));
    w.eaves(&["tenant", "create", "latecomer"], "").await?;
    // Ingest may remember for a moment that there is no such tenant, each instance by itself:
    // so many keys reach all shards.
    w.until(30, "the tenant to be known to ingest", || async {
        for n in 0..8 {
            let entity = format!("warm-{n}");
            w.put("latecomer", &entity, reading("latecomer", &entity, r#"{"warm":true}"#)).await?;
        }
        Ok(w.count("select count(*) from entities where external_id like 'warm-%'").await? == 8)
    })
    .await?;
    let redrive = ["quarantine", "redrive", "--id", &id];
    let (one, two) = futures_util::join!(w.eaves(&redrive, ""), w.eaves(&redrive, ""));
    // The slower may find it settled already; one of them has sent it.
    let (one, two) = (one?, two?);
    ensure!(one.status.success() || two.status.success(), "neither was sent: {} {}", said(&one), said(&two));
    let answer = w.entity("latecomer", "e-1", "level").await?;
    ensure!(answer.json["attributes"]["level"]["value"] == 7.5, "{}", answer.text);
    state(w, id.parse()?, "redriven").await?;
    let late = w.eaves(&redrive, "").await?;
    ensure!(!late.status.success() && said(&late).contains("settled"), "{}", said(&late));
    let history = w.history("latecomer", "e-1", "level", 1).await?;
    ensure!(history.points() == 1, "{}", history.text);
    // The value that is still bad has one row of its own, which names where it comes from.
    let again = format!("select count(*) from quarantine where redrive_of = {id}");
    ensure!(w.count(&again).await? == 1, "{} rows after a redrive", w.count(&again).await?);
    Ok(())
}

/// A value that the tenant's plugin rejects is taken once its settings are others; another
/// tenant can do nothing with it.
pub(crate) async fn a_tenant_redrives_its_own_over_http(w: &World) -> Result<()> {
    let mark = w.quarantine_mark().await?;
    let values = json!({"rule_temperature": 998.0});
    w.put("ruled", "again-1", reading("ruled", "again-1", &values.to_string())).await?;
    w.quarantined_in(mark, "ruled", "values.rule_temperature").await?;
    let list = w.get("ruled", "/v1/quarantine?state=open&attribute=rule_temperature&limit=100").await?;
    let items = list.json["items"].as_array().context("items")?;
    let id = items.iter().filter_map(|i| i["id"].as_i64()).max().context("a row")?;
    let shown = w.get("ruled", &format!("/v1/quarantine/{id}")).await?;
    ensure!(shown.json["payload"]["values"]["rule_temperature"] == 998.0, "{}", shown.text);
    for path in [format!("/v1/quarantine/{id}/redrive"), format!("/v1/quarantine/{id}/drop")] {
        let foreign = w.post("globex", &path, json!({})).await?;
        ensure!(foreign.status == 404, "{} {}", foreign.status, foreign.text);
    }
    // Not mended: it is refused again, as a row of its own, and this one is settled.
    let path = format!("/v1/quarantine/{id}/redrive");
    let sent = w.post("ruled", &path, json!({})).await?;
    ensure!(sent.status == 202, "{} {}", sent.status, sent.text);
    state(w, id, "refused").await?;
    let next = format!("select quarantine_id from quarantine where redrive_of = {id} and attempts = 1");
    let next = w.count(&next).await?;
    ensure!(w.post("ruled", &path, json!({})).await?.status == 409, "a settled row is sent again");

    let rules = r#"{"attributes":{"rule_temperature":{"min":-40,"max":2000},"rule_status":{"allowed":["online","offline"]}}}"#;
    w.activate("ruled", "telemetry-rules", "1.0.1", rules).await?;
    // Each instance of ingest sees it by itself: so many keys reach all shards.
    w.until(30, "the new rules to be in force", || async {
        for n in 0..8 {
            let entity = format!("probe-{n}");
            let values = r#"{"rule_temperature":999.5}"#;
            w.put("ruled", &entity, reading("ruled", &entity, values)).await?;
        }
        let taken = "select count(*) from entities e join entity_jsonb h using (tenant_id, entity_id)
                     where e.external_id like 'probe-%' and h.hot_attrs ->> 'rule_temperature' = '999.5'";
        Ok(w.count(taken).await? == 8)
    })
    .await?;
    let sent = w.post("ruled", &format!("/v1/quarantine/{next}/redrive"), json!({})).await?;
    ensure!(sent.status == 202, "{} {}", sent.status, sent.text);
    let answer = w.entity("ruled", "again-1", "rule_temperature").await?;
    ensure!(answer.json["attributes"]["rule_temperature"]["value"] == 998.0, "{}", answer.text);
    state(w, next, "redriven").await?;
    ensure!(w.history("ruled", "again-1", "rule_temperature", 1).await?.points() == 1, "not once");
    Ok(())
}

/// A fleet with faults, then the balance; then a history row and a ledger line are changed
/// behind the platform's back, and the balance says so.
pub(crate) async fn the_audit_adds_up_and_tells_when_it_does_not(w: &World) -> Result<()> {
    let sim =
        ["simulate", "--tenant", "acme,globex", "--devices", "20", "--readings", "400", "--rate", "max"];
    let sim: Vec<&str> = sim.into_iter().chain(["--faulty", "0.1", "--duplicate", "0.05"]).collect();
    let played = w.eaves(&sim, "").await?;
    ensure!(played.status.success(), "{}", said(&played));
    let line = reading("acme", "audited-1", r#"{"audited":1}"#);
    w.put("acme", "audited-1", line).await?;
    w.history("acme", "audited-1", "audited", 1).await?;
    let audit = async || w.eaves(&["audit", "--since", "1h", "--wait", "20"], "").await;
    let fine = audit().await?;
    ensure!(fine.status.code() == Some(0), "{}", said(&fine));
    ensure!(said(&fine).contains("acme") && said(&fine).contains("It adds up"), "{}", said(&fine));
    let wrong = w.eaves(&["audit", "--since", "tomorrow"], "").await?;
    ensure!(wrong.status.code() == Some(2), "{}", said(&wrong));

    let of = "from entity_values_ts h using attributes a where a.attribute_id = h.attribute_id
              and a.attribute_name = 'audited'";
    w.until(30, "the flush", || async { Ok(w.count("select count(*) from staging_batches").await? == 0) })
        .await?;
    w.execute(&format!(
        "create table saved as select h.* {}",
        of.replace(" using attributes a where", ", attributes a where")
    ))
    .await?;
    w.execute(&format!("delete {of}")).await?;
    let lost = w.eaves(&["audit", "--since", "1h"], "").await?;
    ensure!(lost.status.code() == Some(1) && said(&lost).contains("found nowhere"), "{}", said(&lost));
    w.execute("insert into entity_values_ts select * from saved; drop table saved").await?;
    let fine = audit().await?;
    ensure!(fine.status.code() == Some(0), "{}", said(&fine));

    let one = "where ctid = (select min(ctid) from ingest_ledger where outcome = 'accepted' and minute > now() - interval '50 minutes')";
    w.execute(&format!("update ingest_ledger set count = count + 1 {one}")).await?;
    let forged = w.eaves(&["audit", "--since", "1h", "--json"], "").await?;
    let json: Value = serde_json::from_slice(&forged.stdout)?;
    ensure!(forged.status.code() == Some(1) && json["adds_up"] == false, "{}", said(&forged));
    Ok(())
}

/// A frame that a device makes up is rubbish like any other.
pub(crate) async fn a_made_up_redrive_is_put_aside(w: &World) -> Result<()> {
    let mark = w.quarantine_mark().await?;
    let marker = eaves_codec::redrive::Marker { id: mark.max(1), token: [1; 16] };
    let payload = reading("acme", "forged-1", r#"{"forged":1}"#);
    w.put_bytes("forged", eaves_codec::redrive::wrap(marker, payload.as_bytes())?).await?;
    w.quarantined(mark, "undecodable", "record").await?;
    ensure!(w.get("acme", "/v1/entities/forged-1").await?.status == 404, "it was taken ({})", at(0));
    Ok(())
}
