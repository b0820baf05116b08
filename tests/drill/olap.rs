//! Case 14: the loader of history's files is killed at chosen points, and its slot is lost.

use crate::cases::{Done, Fault};
use crate::stage::Stage;
use anyhow::{Context as _, Result, ensure};
use rand::RngExt as _;
use serde_json::json;
use std::time::Duration;
use tokio::task::JoinHandle;

/// Every so many-th round the slot is dropped as well.
const DROPS: u32 = 4;

/// Where the loader is stopped to be killed there.
#[derive(Debug, Clone, Copy)]
enum Point {
    /// It has said which file it writes, and does.
    Uploading,
    /// The file is there, and the watermark has not moved.
    Uploaded,
    /// The watermark has moved, and the slot is behind.
    Moved,
    /// Wherever it is.
    Anywhere,
}

const POINTS: [Point; 4] = [Point::Uploading, Point::Uploaded, Point::Moved, Point::Anywhere];

pub(crate) async fn killed_olap_loader(mut f: Fault<'_>) -> Result<Done> {
    // The first load copies what the cases before have left in history.
    let mut problems = differences(f.stage).await?;
    let mut injected = 0;
    for round in 0..f.times {
        f.pause(100, 400).await;
        let point = POINTS[round as usize % POINTS.len()];
        injected += kill_at(&mut f, point).await.with_context(|| format!("{point:?}"))?;
        if round % DROPS == DROPS - 1 {
            drop_the_slot(f.stage).await?;
            injected += 1;
            if round % (2 * DROPS) == DROPS - 1 {
                problems.extend(differences(f.stage).await?);
            }
        }
    }
    problems.extend(differences(f.stage).await?);
    let lost = f.stage.count("select count(*) from olap_epochs where ended_at is not null").await?;
    let wanted = i64::from(f.times / DROPS);
    if lost < wanted {
        problems.push(format!("the slot was lost {wanted} times, and {lost} were noticed"));
    }
    let told = "select (health_check() -> 'problems' ?| array['olap_slot_lost', 'olap_resync'])::int::int8";
    if f.stage.count(told).await? != 0 {
        problems.push("the health check says that the slot is lost, and it is not".into());
    }
    Ok(Done { injected, problems, ..Done::default() })
}

/// I4: what the fold of the files lacks, or has too much.
pub(crate) async fn differences(stage: &Stage) -> Result<Vec<String>> {
    // The platform's own loads come every ten seconds: here nobody waits for them.
    let load = load(stage);
    let (code, said) = stage.eaves_by_settings(&["olap", "verify", "--wait", "90"]).await?;
    load.abort();
    Ok(match code {
        Some(0) => Vec::new(),
        _ => vec![format!("I4: eaves olap verify: {}", said.trim())],
    })
}

/// Calls the loader again and again until it is aborted.
fn load(stage: &Stage) -> JoinHandle<()> {
    let loader = stage.platform.olap_load().clone();
    tokio::spawn(async move {
        loop {
            // One that is killed answers with an error: that is what this is about.
            drop(loader.invoke(&json!({})).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
}

/// Kills the loader at this point. Returns how many instances that were.
async fn kill_at(f: &mut Fault<'_>, point: Point) -> Result<u32> {
    let stage = f.stage;
    let load = load(stage);
    let client = stage.sql().await?;
    let killed = match point {
        Point::Anywhere => {
            let pause = f.rng.random_range(20..500);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            stage.kill_functions(stage.platform.olap_load().pids()).await?
        }
        Point::Uploading => {
            let planned =
                "select count(*) from olap_epochs where ended_at is null and planned_to is not null";
            let seen = stage.until(30, "a file that is being written", || async {
                // As often as the server answers: an upload takes moments.
                for _ in 0..50 {
                    if client.query_one(planned, &[]).await?.get::<_, i64>(0) > 0 {
                        return Ok(true);
                    }
                }
                Ok(false)
            });
            seen.await?;
            stage.kill_functions(stage.platform.olap_load().pids()).await?
        }
        Point::Uploaded | Point::Moved => {
            let hold = match point {
                // Noting the file comes with the watermark.
                Point::Uploaded => "begin; lock table olap_files in share mode",
                _ => "begin; select pg_advisory_xact_lock(hashtextextended('eaves.olap_advance', 0))",
            };
            client.batch_execute(hold).await?;
            let waiting = "select count(*) from pg_stat_activity
                           where usename = 'eaves_olap' and wait_event_type = 'Lock'";
            stage.until(30, "the loader to wait", || async { Ok(stage.count(waiting).await? > 0) }).await?;
            let killed = stage.kill_functions(stage.platform.olap_load().pids()).await?;
            // What it had sent would still be carried out.
            let end =
                "select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = 'eaves_olap'";
            stage.count(end).await?;
            client.batch_execute("rollback").await?;
            killed
        }
    };
    load.abort();
    Ok(killed)
}

/// The slot is gone, with what it had not shown yet.
async fn drop_the_slot(stage: &Stage) -> Result<()> {
    // It can be dropped while nobody looks into it.
    let dropped = "select count(pg_drop_replication_slot(slot_name)) from pg_replication_slots
                   where slot_name ~ '^eaves_olap_' and not active";
    stage
        .until(30, "the slot to be dropped", || async {
            stage.count(dropped).await?;
            let left = "select count(*) from pg_replication_slots where slot_name ~ '^eaves_olap_'";
            Ok(stage.count(left).await? == 0)
        })
        .await?;
    ensure!(stage.count("select count(*) from olap_epochs").await? > 0, "nothing was ever loaded");
    Ok(())
}
