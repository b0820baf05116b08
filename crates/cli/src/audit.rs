//! `eaves audit`: what was sent = accepted + rejected + quarantined + duplicate, per shard
//! and tenant, from the data. `docs/audit.md` says what is compared with what.
//!
//! The stream is read once more and its values are counted here, so that the ledger is
//! measured against something that it did not write itself.

mod sheet;
mod stream;

use crate::query::time;
use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Context as _, Result, ensure};
use eaves_model::{TenantId, Timestamp};
use sheet::Sheet;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Exit code where something does not add up.
const DIFFERENT: u8 = 1;
/// Exit code where the question could not be answered.
const FAILED: u8 = 2;
/// Whose checkpoints are meant: the ingest function's.
const CONSUMER: &str = "ingest";
const MINUTE: i64 = 60_000_000;
const EXAMPLES: &str = "\
Examples:
  eaves audit                          the last hour, all tenants
  eaves audit --tenant acme --since 1d
  eaves audit --since 15m --wait 30 --json

Exit code 0: it adds up. 1: it does not. 2: it could not be found out.";

/// Check that what was sent adds up with what became of it
///
/// Counts by whole minutes of arrival in the stream.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Only this tenant's
    #[arg(long, value_name = "NAME")]
    tenant: Option<String>,
    /// From this minute on: RFC 3339, or how long ago, such as 15m or 7d
    #[arg(long, value_name = "TIME", default_value = "1h")]
    since: String,
    /// Up to this minute, likewise [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The stream [default: the platform's]
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// Believe the ledger's own count of what was sent, and do not read the stream
    #[arg(long)]
    no_stream: bool,
    /// Also count the tenants' points in history since the beginning; may take long
    #[arg(long)]
    history: bool,
    /// Seconds to wait for what is under way, such as a replay
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    wait: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

/// Runs `eaves audit`.
pub(crate) async fn run(args: Args) -> ExitCode {
    match audited(&args).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(DIFFERENT),
        Err(e) if out::is_closed(&e) => ExitCode::SUCCESS,
        Err(e) => {
            // The exit code must tell a failure from a difference.
            drop(std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("eaves: {e:#}\n")));
            ExitCode::from(FAILED)
        }
    }
}

async fn audited(args: &Args) -> Result<bool> {
    let target = Target::find(&args.data)?;
    let since = whole(time("since", &args.since)?.parse()?, false)?;
    let until = match &args.until {
        Some(text) => whole(time("until", text)?.parse()?, true)?,
        None => whole(Timestamp::now(), true)?,
    };
    ensure!(since < until, "--since is not before --until");
    let store = tenant::admin(&target).await?;
    let stream = match &args.stream {
        Some(name) => name.clone(),
        None => target.stream()?,
    };
    let only = match &args.tenant {
        Some(name) => Some(tenant::find(&target, name).await?),
        None => None,
    };
    let kinesis = match args.no_stream {
        true => None,
        false => Some(target.kinesis().await),
    };
    let end = Instant::now() + Duration::from_secs(args.wait);
    let sheet = loop {
        let snapshot = store.audit_snapshot(&stream, CONSUMER, since, until).await?;
        let mut sheet = Sheet::of_ledger(&snapshot);
        match &kinesis {
            Some(client) => {
                let span = stream::Span { stream: &stream, since, until };
                stream::count(client, &store, span, &snapshot, &mut sheet)
                    .await
                    .context("read the stream; --no-stream goes without it")?;
            }
            None => sheet.note("the stream was not read: sent is what the ledger says was received"),
        }
        if args.history {
            for (name, id) in snapshot.tenants.iter().filter(|(_, id)| only.is_none_or(|o| o == **id)) {
                let (points, counted) = store.audit_history(*id).await?;
                if points > counted {
                    sheet.fault(format!("{name} has {points} points in history, {counted} were counted"));
                }
            }
        }
        sheet.finish(only);
        if sheet.adds_up() && !sheet.is_unsettled() || Instant::now() >= end {
            let names: BTreeMap<TenantId, String> =
                snapshot.tenants.into_iter().map(|(name, id)| (id, name)).collect();
            sheet.name(&names);
            break sheet;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    out::line(if args.json {
        sheet.json(&stream, since, until)?
    } else {
        sheet.text(&stream, since, until)
    })?;
    Ok(sheet.adds_up())
}

/// The minute a time is in, or the next one's beginning.
fn whole(time: Timestamp, up: bool) -> Result<Timestamp> {
    let micros = time.as_micros() + if up { MINUTE - 1 } else { 0 };
    Timestamp::from_micros(micros.div_euclid(MINUTE) * MINUTE).context("a time out of range")
}
