//! `eaves replay`: a range of a shard read again.

use crate::out;
use crate::target::{Data, Target};
use crate::tenant::admin;
use anyhow::{Context as _, Result, bail, ensure};
use eaves_codec::decode;
use eaves_model::{Position, Timestamp};
use eaves_pipeline::Reread as _;
use eaves_stream::Kinesis;
use std::time::{Duration, Instant};

const EXAMPLES: &str = "\
Examples:
  eaves replay --shard shardId-000000000000 --from 49590338271490256608559692538361571095921575989136588898
  eaves replay --shard shardId-000000000000 --from oldest --to 4959… --yes

Without --yes it only says what would be read. Staging that was lost in a crash is read again
without being asked; this is for what an operator wants taken once more, such as records
that came while a wrong plugin was active. Points are written as if they had just come: with
the active plugin, the same points again under the tenant's policy for them. Where a shard
stands is not touched, and the ledger counts what is read again as `replayed`.";

/// Records read at a time.
const PAGE: usize = 1000;
/// How often the platform is asked how far it is.
const LOOK: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The stream [default: the platform's]
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,
    /// The shard
    #[arg(long, value_name = "ID")]
    shard: String,
    /// The first record to read, by sequence number, or `oldest`
    #[arg(long, value_name = "SEQUENCE")]
    from: String,
    /// The last record to read, by sequence number [default: the newest there is now]
    #[arg(long, value_name = "SEQUENCE")]
    to: Option<String>,
    /// Do it
    #[arg(long)]
    yes: bool,
    /// With --yes: most seconds to wait for the end
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
    #[command(flatten)]
    data: Data,
}

/// What a range holds.
#[derive(Default)]
struct Range {
    records: u64,
    values: u64,
    unreadable: u64,
    first: Option<(String, Option<Timestamp>)>,
    last: Option<(String, Option<Timestamp>)>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let target = Target::find(&args.data)?;
    let stream = match &args.stream {
        Some(stream) => stream.clone(),
        None => target.stream()?,
    };
    let from = match args.from.as_str() {
        "oldest" => None,
        sequence => Some(Position::whole(sequence).context("--from")?),
    };
    let to = args.to.as_deref().map(Position::whole).transpose().context("--to")?;
    if let (Some(from), Some(to)) = (&from, &to) {
        ensure!(from <= to, "--to {to} is before --from {from}");
    }
    // The record itself is to be read, so the place is before it.
    let after = from.as_ref().and_then(Position::before);
    let found = look(&target, &stream, &args.shard, from.as_ref(), to.as_ref()).await?;
    tell(&found, &args.shard)?;
    let Some((last, _)) = &found.last else { return Ok(()) };
    if !args.yes {
        return out::line("Nothing was done. With --yes these records are read again.");
    }
    let last = Position::whole(last)?;
    let store = admin(&target).await?;
    let id = store.replay_request(&stream, &args.shard, after.as_ref(), Some(&last), "operator").await?;
    out::line(format!("Replay {id} is asked for; the flush loop reads it now."))?;
    let end = Instant::now() + Duration::from_secs(args.wait);
    let mut told = None;
    loop {
        let state = store.replay(id).await?;
        if state.finished {
            return out::line(format!("Replay {id} is through: {} records were read again.", found.records));
        }
        if state.sequence != told && state.sequence.is_some() {
            out::line(format!("  up to {}", state.sequence.as_deref().unwrap_or_default()))?;
            told = state.sequence;
        }
        if Instant::now() > end {
            bail!("replay {id} is not through after {} s; it goes on by itself", args.wait);
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn look(
    target: &Target,
    stream: &str,
    shard: &str,
    from: Option<&Position>,
    to: Option<&Position>,
) -> Result<Range> {
    let kinesis = Kinesis::with(target.kinesis().await);
    let mut range = Range::default();
    let mut after: Option<Position> = None;
    loop {
        let start = after.is_none();
        let found = match (&after, from) {
            (None, Some(from)) => kinesis.read_at(stream, shard, from, PAGE).await,
            (after, _) => kinesis.read(stream, shard, after.as_ref(), PAGE).await,
        };
        let found = found.with_context(|| format!("read stream {stream}"))?;
        if start && !found.kept {
            bail!("the stream no longer keeps the record of --from; `--from oldest` begins with what it has");
        }
        let Some(last) = found.records.last() else { return Ok(range) };
        after = Some(Position::whole(&last.sequence)?);
        for record in found.records {
            if to.is_some_and(|to| Position::whole(&record.sequence).is_ok_and(|at| at > *to)) {
                return Ok(range);
            }
            range.add(&record);
        }
    }
}

impl Range {
    fn add(&mut self, record: &eaves_pipeline::Record) {
        self.records += 1;
        for item in decode(&record.data, record.arrived.unwrap_or_else(Timestamp::now)).items {
            for piece in item.outcome.unwrap_or_else(|why| vec![Err(why)]) {
                match piece {
                    Ok(reading) => self.values += reading.values.len() as u64,
                    Err(_) => self.unreadable += 1,
                }
            }
        }
        let place = (record.sequence.clone(), record.arrived);
        self.first.get_or_insert_with(|| place.clone());
        self.last = Some(place);
    }
}

fn tell(found: &Range, shard: &str) -> Result<()> {
    let (Some(first), Some(last)) = (&found.first, &found.last) else {
        return out::line(format!("The stream keeps no such records of shard {shard}."));
    };
    let time =
        |arrived: &Option<Timestamp>| arrived.map_or_else(|| "at an unknown time".into(), |t| t.to_string());
    out::line(format!("Records     {}", found.records))?;
    out::line(format!("Values      {} ({} pieces cannot be read)", found.values, found.unreadable))?;
    out::line(format!("First       {} of {}", first.0, time(&first.1)))?;
    out::line(format!("Last        {} of {}", last.0, time(&last.1)))
}
