//! The command line, as a user types it.

use crate::world::{World, at, said};
use anyhow::{Result, ensure};

/// NDJSON from standard input, then the entity as a table and as JSON.
pub(crate) async fn a_file_is_sent_and_asked_for(w: &World) -> Result<()> {
    let line = format!(
        r#"{{"entity":"cli-1","type":"pump","observed_at":"{}","values":{{"cli_level":4.5}}}}"#,
        at(0)
    );
    let sent = w.eaves(&["send", "--tenant", "acme"], &line).await?;
    ensure!(sent.status.success(), "{sent:?}");
    w.entity("acme", "cli-1", "cli_level").await?;
    let asked = w.eaves(&["query", "entity", "cli-1", "--tenant", "acme"], "").await?;
    let table = String::from_utf8_lossy(&asked.stdout);
    ensure!(asked.status.success() && table.contains("cli_level") && table.contains("4.5"), "{asked:?}");
    let asked = w.eaves(&["query", "entity", "cli-1", "--tenant", "acme", "--json"], "").await?;
    let json: serde_json::Value = serde_json::from_slice(&asked.stdout)?;
    ensure!(json["entity"]["attributes"]["cli_level"]["value"] == 4.5, "{json}");
    let unknown = w.eaves(&["query", "entity", "no-such", "--tenant", "acme"], "").await?;
    ensure!(!unknown.status.success() && !unknown.stderr.is_empty(), "{unknown:?}");
    Ok(())
}

/// A line that cannot be sent is reported; the others are sent.
pub(crate) async fn bad_lines_are_told_by_line_and_field(w: &World) -> Result<()> {
    let good = format!(r#"{{"entity":"cli-2","observed_at":"{}","values":{{"level":1}}}}"#, at(0));
    let bad = r#"{"entity":"cli-2","observed_at":"noon","values":{"level":1}}"#;
    let sent = w.eaves(&["send", "--tenant", "acme"], &format!("{good}\n{bad}\n")).await?;
    let told = String::from_utf8_lossy(&sent.stderr);
    ensure!(!sent.status.success(), "a bad line, and exit code 0: {sent:?}");
    ensure!(told.contains("line 2") && told.contains("observed_at"), "{told}");
    w.entity("acme", "cli-2", "level").await?;
    Ok(())
}

/// Columns become attributes under the names they are mapped to.
pub(crate) async fn a_csv_with_mapped_columns_is_sent(w: &World) -> Result<()> {
    let csv = format!("device,when,temp\ncsv-1,{},21.5\ncsv-2,{},22\n", at(0), at(0));
    let maps = ["--map", "device=entity", "--map", "when=observed_at", "--map", "temp=csv_temperature"];
    let mut args = vec!["send", "--tenant", "acme", "--format", "csv"];
    args.extend(maps);
    let sent = w.eaves(&args, &csv).await?;
    ensure!(sent.status.success(), "{sent:?}");
    let answer = w.entity("acme", "csv-1", "csv_temperature").await?;
    ensure!(answer.json["attributes"]["csv_temperature"]["value"] == 21.5, "{}", answer.text);
    Ok(())
}

/// Advice has statements and attributes of all tenants in it: the command line leaves a note, too.
pub(crate) async fn who_asks_for_advice_is_noted(w: &World) -> Result<()> {
    let args = ["advise", "--operator", "jane@example.org", "--reason", "weekly look at slow queries"];
    let advised = w.eaves(&args, "").await?;
    ensure!(advised.status.success(), "{}", said(&advised));
    let reads = w.eaves(&["admin", "reads", "--json"], "").await?;
    let told = said(&reads);
    ensure!(told.contains("jane@example.org") && told.contains("weekly look at slow queries"), "{told}");
    let short = w.eaves(&["advise", "--operator", "jane@example.org", "--reason", "why?"], "").await?;
    ensure!(!short.status.success() && said(&short).contains("give 8 to 500"), "{}", said(&short));
    Ok(())
}
