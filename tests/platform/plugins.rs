//! A tenant's plugin decides about its values, and about nobody else's.

use crate::world::{World, reading};
use anyhow::{Result, ensure};

/// The range rule rejects with its reason, the unit rule converts; another tenant's
/// same values pass as they are.
pub(crate) async fn rules_reject_and_convert_for_their_tenant_only(w: &World) -> Result<()> {
    let mark = w.quarantine_mark().await?;
    let values = r#"{"rule_temperature":999.0,"rule_status":"exploded","rule_humidity":40.0}"#;
    w.put("ruled", "rule-1", reading("ruled", "rule-1", values)).await?;
    w.put("globex", "rule-1", reading("globex", "rule-1", values)).await?;

    let ruled = w.entity("ruled", "rule-1", "rule_humidity").await?;
    ensure!(ruled.json["attributes"]["rule_temperature"].is_null(), "{}", ruled.text);
    ensure!(ruled.json["attributes"]["rule_status"].is_null(), "{}", ruled.text);
    let free = w.entity("globex", "rule-1", "rule_humidity").await?;
    ensure!(free.json["attributes"]["rule_temperature"]["value"] == 999.0, "{}", free.text);
    ensure!(free.json["attributes"]["rule_status"]["value"] == "exploded", "{}", free.text);

    for field in ["values.rule_temperature", "values.rule_status"] {
        let row = w.quarantined_in(mark, "ruled", field).await?;
        ensure!(row.plugin_digest.is_some(), "{field}: the quarantine row names no plugin");
        ensure!(row.payload.contains("rule-1"), "{field}: payload {}", row.payload);
    }
    let rows = w
        .count(
            "select count(*) from entity_values_ts v join tenants t using (tenant_id)
                        join plugin_versions p using (plugin_id) where t.name = 'ruled'",
        )
        .await?;
    ensure!(rows > 0, "history names no plugin version for what it let pass");
    Ok(())
}

/// The derived attribute is there like one that was sent.
pub(crate) async fn a_derived_attribute_is_hot_and_in_history(w: &World) -> Result<()> {
    let values = r#"{"temperature":25.0,"relative_humidity":60.0}"#;
    w.put("dewy", "room-1", reading("dewy", "room-1", values)).await?;
    let room = w.entity("dewy", "room-1", "dew_point").await?;
    let dew = room.json["attributes"]["dew_point"]["value"].as_f64().unwrap_or_default();
    // Magnus formula by hand: 16.7 °C at 25 °C and 60 %.
    ensure!((dew - 16.7).abs() < 0.15, "{}", room.text);
    w.history("dewy", "room-1", "dew_point", 1).await?;
    Ok(())
}
