//! What runbooks and pages on operation tell people to ask the database, asked.

use crate::support::{Server, Suite, text};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

pub fn add(suite: &mut Suite) {
    suite.test("runbooks::their_statements_run", their_statements_run);
    suite.test("runbooks::the_queries_they_name_are_there", the_queries_they_name_are_there);
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(ROOT);
    let runbooks = std::fs::read_dir(root.join("ops/runbooks")).unwrap().map(|entry| entry.unwrap().path());
    let docs = ["deploy.md", "disaster-recovery.md", "rds-proxy.md"].map(|page| root.join("docs").join(page));
    runbooks.chain(docs).filter(|path| path.extension().is_some_and(|e| e == "md")).collect()
}

/// The statements of a page: those for `psql -c`, and those between backticks.
fn statements(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = page[at..].find("psql ") {
        let command = &page[at + next..];
        at += next + "psql ".len();
        // On the same line, for the statement itself goes over several.
        let line = command.lines().next().unwrap_or_default();
        if let Some(c) = line.find(" -c ") {
            let rest = &command[c + " -c ".len()..];
            let quote = &rest[..1];
            assert!(quote == "\"" || quote == "'", "{line}: what is asked is not in quotes");
            let end = rest[1..].find(quote).unwrap_or_else(|| panic!("{line}: the quotes do not end"));
            found.push(rest[1..=end].to_owned());
        }
    }
    let mut fenced = false;
    let prose: Vec<&str> = page
        .lines()
        .filter(|line| {
            let fence = line.trim_start().starts_with("```");
            fenced ^= fence;
            !fenced && !fence
        })
        .collect();
    for code in prose.join("\n").split('`').skip(1).step_by(2) {
        if code.starts_with("select ") {
            found.push(code.to_owned());
        } else if code.starts_with("pg_") && code.contains('(') {
            found.push(format!("select {code}"));
        }
    }
    // Aurora's own cannot be asked here, and rows from standard input are none.
    found.retain(|sql| !sql.contains("aurora_") && !sql.contains("from stdin"));
    found
}

async fn their_statements_run(server: Arc<Server>) {
    let db = server.database().await;
    let mut count = 0;
    for page in pages() {
        for sql in statements(&std::fs::read_to_string(&page).unwrap()) {
            if sql.contains("pg_drop_replication_slot") {
                db.one("select pg_create_physical_replication_slot('eaves_olap_runbook')").await;
            }
            // Nobody has this process, and there is no such month.
            let sql =
                sql.replace("<pid>", "0").replace("(pid)", "(0)").replace("<name>", "eaves_olap_runbook");
            // Other tests on this server have slots of their own.
            let sql = sql.replace("'^eaves_olap_'", "'^eaves_olap_runbook'");
            let sql = sql.replace("$PARTITION", "entity_values_ts_p2019_01");
            let sql = sql.replace("$MONTH", "2019-01-01").replace("$NEXT_MONTH", "2019-02-01");
            assert!(
                !sql.contains('<') || sql.contains("< "),
                "{}: {sql}: what stands there?",
                page.display()
            );
            eprintln!("{}: {sql}", page.display());
            text(&db.sql, &sql).await;
            count += 1;
        }
    }
    assert!(count >= 15, "{count} statements were found: are the pages read as they are written?");
    assert_eq!(
        db.one("select count(*) from pg_replication_slots where slot_name = 'eaves_olap_runbook'").await,
        "0"
    );
}

async fn the_queries_they_name_are_there(_server: Arc<Server>) {
    let monitoring = std::fs::read_to_string(Path::new(ROOT).join("ops/monitoring.sql")).unwrap();
    let mut count = 0;
    for page in pages() {
        for line in std::fs::read_to_string(&page).unwrap().lines() {
            let Some((_, named)) = line.split_once("ops/monitoring.sql") else { continue };
            // `# 12 (statements), 13 (connections)`
            let outside = named.split(['(', ')']).step_by(2);
            for number in outside.flat_map(|part| part.split(|c: char| !c.is_ascii_digit())) {
                if !number.is_empty() {
                    let heading = format!("\n-- {number}. ");
                    assert!(monitoring.contains(&heading), "{}: {line}", page.display());
                    count += 1;
                }
            }
        }
    }
    assert!(count >= 10, "{count} queries were named: are the pages read as they are written?");
}
