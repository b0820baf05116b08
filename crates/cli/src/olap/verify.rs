//! `eaves olap verify`: the files against history.
//!
//! History is counted in one snapshot. When the files are as far, they are folded as that snapshot sees
//! them: each change names its transaction. So both may go on meanwhile.

use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Context as _, Result, bail};
use eaves_model::history::Operation;
use eaves_model::{TenantId, Timestamp};
use eaves_olap::archive::Archive;
use eaves_olap::file;
use eaves_olap::fold::{Days, Fold, Snapshot};
use eaves_store::admin::{AdminStore, OlapFiles, OlapHistory};
use std::time::{Duration, Instant};

/// Differences that are shown.
const SHOWN: usize = 20;
/// How long counting history may take.
const COUNTING: Duration = Duration::from_secs(3600);

/// Compare the files with history
///
/// Reads all of history and all files; takes about a hundred bytes of memory a point.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this tenant's points
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// Seconds to wait for the files to be as far as history
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    wait: u64,
    #[command(flatten)]
    data: Data,
}

/// Whether they are the same.
pub(crate) async fn run(args: &Args) -> Result<bool> {
    let target = Target::find(&args.data)?;
    let tenant = match &args.tenant {
        Some(name) => Some(tenant::find(&target, name).await?),
        None => None,
    };
    let mut postgres = target.postgres("eaves_admin")?;
    postgres.statement_timeout = COUNTING;
    let admin = AdminStore::connect(&postgres).await?;
    let bucket = target.vars("eaves_admin").remove("EAVES_ARCHIVE_BUCKET").unwrap_or_default();
    if bucket.is_empty() {
        bail!(
            "EAVES_ARCHIVE_BUCKET is not set; example: EAVES_ARCHIVE_BUCKET=eaves-prod-archive-123456789012"
        );
    }
    let archive = Archive::new(&target.aws().await, &bucket)?;
    let (history, files) = counted(&admin, tenant, Instant::now() + Duration::from_secs(args.wait)).await?;
    let snapshot = Snapshot::read(&history.snapshot).context("the database's snapshot")?;
    let mut problems = overlapping(&files);
    let mut fold = Fold::new(snapshot, tenant.map(|id| id.0));
    for listed in &files.files {
        let (before, mut outside) = (fold.rows(), 0_u64);
        file::read(archive.get(&listed.name).await?, |change| {
            let inside =
                change.operation == Operation::Copy || (listed.from..listed.to).contains(&change.lsn);
            outside += u64::from(!inside);
            fold.take(&change);
        })
        .with_context(|| format!("read {}", listed.name))?;
        let rows = fold.rows() - before;
        if rows != listed.rows || outside > 0 {
            let (name, wanted) = (&listed.name, listed.rows);
            problems
                .push(format!("{name} has {rows} rows of {wanted}, {outside} of them outside of its range"));
        }
    }
    if fold.repeated() > 0 {
        problems.push(format!("{} rows contradict another one of the same version", fold.repeated()));
    }
    let (days, differences) = compare(&history, &fold.days());
    if !differences.is_empty() {
        let count = differences.len();
        let heading = ["TENANT", "DAY", "POINTS IN HISTORY", "IN THE FILES", "CHECKSUMS"];
        out::line(out::table(&heading, differences.into_iter().take(SHOWN)))?;
        problems.push(format!("{count} of {days} days of tenants differ"));
    }
    for problem in &problems {
        out::line(problem)?;
    }
    if problems.is_empty() {
        let points: u64 = history.days.iter().map(|(_, points, _)| points).sum();
        let (count, rows, epoch) = (files.files.len(), fold.rows(), &files.epoch);
        out::line(format!(
            "{points} points of {days} days are the same in history and in {count} files ({rows} rows, epoch {epoch})."
        ))?;
    }
    Ok(problems.is_empty())
}

/// History, and the files once they are as far.
async fn counted(
    admin: &AdminStore,
    tenant: Option<TenantId>,
    end: Instant,
) -> Result<(OlapHistory, OlapFiles)> {
    loop {
        let begun = reached(admin, 0, end).await?;
        let history = admin.olap_history(tenant).await?;
        let files = reached(admin, history.seen_to, end).await?;
        // A copy that began later has what the snapshot does not see.
        if files.epoch == begun.epoch {
            return Ok((history, files));
        }
    }
}

/// The files of a complete epoch whose watermark has come to a position.
async fn reached(admin: &AdminStore, position: u64, end: Instant) -> Result<OlapFiles> {
    loop {
        let found = admin.olap_files(None).await?;
        let state = match found {
            Some(files) if files.complete && files.loaded_to >= position => return Ok(files),
            Some(files) if files.complete => {
                format!("the files are at {} and history was read at {position}", files.loaded_to)
            }
            Some(_) => "history is being copied".into(),
            None => "nothing was ever loaded: does olap-load run?".into(),
        };
        if Instant::now() >= end {
            bail!("the files are not as far as history: {state}; wait longer with --wait");
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// A change is in one file only.
fn overlapping(files: &OlapFiles) -> Vec<String> {
    let mut last = 0;
    let mut problems = Vec::new();
    for file in files.files.iter().filter(|file| file.from < file.to) {
        if file.from < last {
            problems
                .push(format!("{} begins at {}, and a file before it ends at {last}", file.name, file.from));
        }
        last = last.max(file.to);
    }
    problems
}

/// How many days there are, and a row for each that differs.
fn compare(history: &OlapHistory, folded: &Days) -> (usize, Vec<Vec<String>>) {
    let mut days: std::collections::BTreeMap<_, (Option<_>, Option<_>)> =
        folded.iter().map(|(key, day)| (*key, (None, Some((day.points, day.checksum))))).collect();
    for (key, points, checksum) in &history.days {
        days.entry(*key).or_default().0 = Some((*points, *checksum));
    }
    let different = days.iter().filter(|(_, (history, files))| history != files);
    let rows = different.map(|((tenant, day), (history, files))| {
        let points = |side: &Option<(u64, i128)>| side.map_or(0, |(points, _)| points).to_string();
        let at = Timestamp::from_micros(i64::from(*day) * 86_400_000_000);
        let day = at.map_or_else(|| day.to_string(), |at| at.to_string().chars().take(10).collect());
        let sums = if points(history) == points(files) { "differ" } else { "" };
        vec![tenant.to_string(), day, points(history), points(files), sums.into()]
    });
    (days.len(), rows.collect())
}
