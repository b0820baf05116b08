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

/// As csv and ndjson all pages come, one after the other; a limit is kept, and what it leaves out is told.
pub(crate) async fn an_export_is_whole(w: &World) -> Result<()> {
    let reading = |entity: &str, second: i64, attribute: &str, value: i64| {
        let at = at(second);
        format!(
            r#"{{"entity":"{entity}","type":"exported","observed_at":"{at}","values":{{"{attribute}":{value}}}}}"#
        )
    };
    let mut lines: Vec<String> = (0..2_300).map(|n| reading("cli-export", n, "cli_count", n)).collect();
    lines.extend((0..130).map(|n| reading(&format!("cli-export-{n}"), 0, "cli_number", n)));
    // Of one entity, so in the order in which they were sent.
    lines.push(reading("cli-export", 2_300, "cli_end", 1));
    let sent = w.eaves(&["send", "--tenant", "acme"], &lines.join("\n")).await?;
    ensure!(sent.status.success(), "{sent:?}");
    w.entity("acme", "cli-export", "cli_end").await?;
    w.entity("acme", "cli-export-129", "cli_number").await?;

    let history =
        ["query", "history", "cli-export", "cli_count", "--tenant", "acme", "--consistency", "strong"];
    let csv = w.eaves(&[&history[..], &["--output", "csv", "--ascending"]].concat(), "").await?;
    let text = String::from_utf8(csv.stdout.clone())?;
    let counts: Vec<&str> = text.split("\r\n").skip(1).filter_map(|row| row.split(',').nth(1)).collect();
    let expected: Vec<String> = (0..2_300).map(|n| n.to_string()).collect();
    ensure!(
        counts == expected,
        "{} rows, such as {:?}",
        counts.len(),
        text.lines().take(3).collect::<Vec<_>>()
    );
    ensure!(text.matches("observed_at").count() == 1 && csv.stderr.is_empty(), "{:?}", csv.stderr);
    let few = w.eaves(&[&history[..], &["--output", "ndjson", "--limit", "7"]].concat(), "").await?;
    let told = String::from_utf8_lossy(&few.stderr);
    ensure!(few.stdout.iter().filter(|b| **b == b'\n').count() == 7 && told.contains("more"), "{few:?}");
    let shown = w.eaves(&history, "").await?;
    ensure!(String::from_utf8_lossy(&shown.stdout).contains("2299"), "{shown:?}");

    let search = ["query", "search", "cli_number>=0", "--tenant", "acme", "--consistency", "strong"];
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let found =
            w.eaves(&[&search[..], &["--output", "csv", "--fields", "cli_number"]].concat(), "").await?;
        let rows = String::from_utf8(found.stdout)?.split("\r\n").filter(|row| !row.is_empty()).count();
        if rows == 131 {
            return Ok(());
        }
        // The other entities are in other shards.
        ensure!(std::time::Instant::now() < end, "{rows} rows; {}", String::from_utf8_lossy(&found.stderr));
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
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
