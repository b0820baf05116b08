//! `eaves send`: readings from a file into the stream.

mod input;
mod table;

use crate::out;
use crate::pace::{Pace, Rate, parse_rate};
use crate::sender::{MAX_RECORD_BYTES, PutRecords, Record, Sender};
use crate::stream::Destination;
use anyhow::{Context as _, Result, bail};
use eaves_codec::encode;
use eaves_model::TraceParent;
use eaves_telemetry::span;
use eaves_telemetry::trace::{self, Invocation};
use indicatif::{ProgressBar, ProgressStyle};
use input::{Item, Line, Problem};
use std::io::Read;
use std::path::PathBuf;
use table::Mapping;
use tokio::sync::mpsc;
use tracing::Instrument as _;

/// Lines that are read ahead of the sender.
const AHEAD: usize = 8_192;
/// Most readings handed to the sender at a time.
const PORTION: usize = 4_000;
/// Most bytes of readings put into one record by `--aggregate`.
const AGGREGATE_BYTES: usize = 128 * 1024;
const _: () =
    assert!(AGGREGATE_BYTES < MAX_RECORD_BYTES / 2, "a record must not outgrow Kinesis by aggregation");
/// Problems shown one by one; the rest is counted.
const SHOWN: u64 = 50;

/// Send readings from a file or standard input to the stream
///
/// Each line of NDJSON is a reading as docs/wire-format.md describes it. A CSV file has
/// one row per reading: columns `entity` and `observed_at`, and a column for each
/// attribute. Lines are checked before they are sent; what is wrong with one is reported
/// with its number, and the others are sent. The exit status is 1 if anything was not.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  eaves send --tenant acme readings.ndjson
  eaves send --tenant acme --map device=entity --map time=observed_at --map price=price:decimal day.csv
  zcat old.ndjson.gz | eaves send --tenant acme --rate 20000 --aggregate --gzip")]
pub(crate) struct Args {
    /// File to read; `-` is standard input
    #[arg(default_value = "-")]
    file: PathBuf,

    /// Tenant of readings that do not name one. One that names another is not sent
    #[arg(long)]
    tenant: Option<String>,

    /// What the file holds; by default told from its name
    #[arg(long, value_enum)]
    format: Option<Format>,

    /// What a CSV column is: entity, observed_at, type, tenant, an attribute's name
    /// (with a type, as in price:decimal), values.NAME for an attribute called like one
    /// of those, or `-` to leave it out. Other columns are attributes of their own name
    #[arg(long = "map", value_name = "COLUMN=TARGET")]
    map: Vec<String>,

    /// Character between the columns of a CSV file
    #[arg(long, default_value = ",", value_parser = table::parse_delimiter)]
    delimiter: u8,

    /// Values per second, or max
    #[arg(long, default_value = "max", value_parser = parse_rate)]
    rate: Rate,

    /// Compress records
    #[arg(long)]
    gzip: bool,

    /// Put several readings of a device into one record
    #[arg(long)]
    aggregate: bool,

    /// Print a token: a query with it (`eaves query … --after TOKEN`) has all that was sent
    #[arg(long, requires = "tenant")]
    token: bool,

    /// Stop at the first line that is wrong
    #[arg(long)]
    strict: bool,

    #[command(flatten)]
    destination: Destination,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Ndjson,
    Csv,
}

/// What was sent and what was not.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    readings: u64,
    values: u64,
    records: u64,
    retried: u64,
    /// Readings and values that were not sent.
    problems: u64,
    /// Why sending ended before the input did.
    broken: Option<String>,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> Result<()> {
    let from_stdin = args.file.as_os_str() == "-";
    let (reader, size): (Box<dyn Read + Send>, Option<u64>) = if from_stdin {
        (Box::new(std::io::stdin()), None)
    } else {
        let file =
            std::fs::File::open(&args.file).with_context(|| format!("open {}", args.file.display()))?;
        let size = file.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
        (Box::new(file), size)
    };
    let (client, stream) = args.destination.connect().await?;
    let bar = progress_bar(size);
    let reader = bar.wrap_read(reader);
    let lines = start_reading(&args, reader)?;
    let sender = Sender::new(client, &stream);
    let mut pace = Pace::new(args.rate.0);
    // As shells and build tools hand on what they are part of.
    let part_of = std::env::var("TRACEPARENT").ok();
    let invocation = Invocation { function: "send", sender: part_of.as_deref(), ..Invocation::default() };
    let totals = invocation.run(deliver(&args, lines, &sender, &mut pace, &bar)).await?;
    bar.finish_and_clear();
    if let (true, Some(tenant)) = (args.token, &args.tenant) {
        // None if nothing was sent; the summary says so.
        match sender.token(tenant) {
            Some(token) => out::line(token)?,
            None if totals.records > 0 => bail!("readings went to more shards than a token can name"),
            None => {}
        }
    }
    summary(&totals, &stream, pace.seconds())
}

fn summary(totals: &Totals, stream: &str, seconds: f64) -> Result<()> {
    eprintln!(
        "Sent {} readings with {} values to {stream} in {} records and {seconds:.1} s ({:.0} values/s){}.",
        totals.readings,
        totals.values,
        totals.records,
        totals.values as f64 / seconds.max(0.001),
        if totals.retried > 0 {
            format!(", {} records again after throttling", totals.retried)
        } else {
            String::new()
        },
    );
    if let Some(why) = &totals.broken {
        bail!("stopped after {} readings, the stream takes no more: {why}", totals.readings);
    }
    match totals.problems {
        0 => Ok(()),
        1 => bail!("1 line or value was not sent"),
        n => bail!("{n} lines or values were not sent"),
    }
}

fn progress_bar(size: Option<u64>) -> ProgressBar {
    // Neither is drawn when standard error is not a terminal.
    let (bar, style) = match size {
        Some(size) => (ProgressBar::new(size), "{bar:30} {bytes}/{total_bytes} {msg} {elapsed}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {msg} {elapsed}"),
    };
    bar.with_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Reads and checks lines on a thread of their own, so that it overlaps with sending.
fn start_reading(args: &Args, reader: impl Read + Send + 'static) -> Result<mpsc::Receiver<Result<Item>>> {
    let by_name = args.file.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv"));
    let format = args.format.unwrap_or(if by_name { Format::Csv } else { Format::Ndjson });
    if format == Format::Ndjson && !args.map.is_empty() {
        bail!("--map is for CSV: add --format csv");
    }
    let tenant = args.tenant.clone();
    let (send, receive) = mpsc::channel(AHEAD);
    match format {
        Format::Ndjson => {
            std::thread::spawn(move || input::read_lines(reader, tenant.as_deref(), &send));
        }
        Format::Csv => {
            let mut csv = csv::ReaderBuilder::new().delimiter(args.delimiter).from_reader(reader);
            let header = csv.headers().context("read the header of the CSV file")?.clone();
            let mapping = Mapping::new(&header, &args.map, tenant.as_deref())?;
            std::thread::spawn(move || input::read_rows(csv, &mapping, tenant.as_deref(), &send));
        }
    }
    Ok(receive)
}

async fn deliver<P: PutRecords>(
    args: &Args,
    mut items: mpsc::Receiver<Result<Item>>,
    sender: &Sender<P>,
    pace: &mut Pace,
    bar: &ProgressBar,
) -> Result<Totals> {
    let mut totals = Totals::default();
    let portion = pace.portion(PORTION);
    // Handed on as it came where this program exports no spans of its own.
    let part_of = std::env::var("TRACEPARENT").ok().and_then(|text| text.parse().ok());
    loop {
        let (lines, more) = receive(args, &mut items, portion, &mut totals, bar).await?;
        pace.wait(lines.iter().map(|l| l.values).sum()).await;
        let sending = span!("publish", otel.kind = "producer", readings = lines.len());
        let trace = sending.in_scope(trace::current).or(part_of);
        let packed = pack(lines, trace, args.aggregate, args.gzip);
        let (records, contents): (Vec<_>, Vec<_>) = packed.into_iter().unzip();
        let report = sender.send(records).instrument(sending).await;
        let mut taken = vec![true; contents.len()];
        for failed in &report.failed {
            taken[failed.index] = false;
            // Each line of a call that was refused has the same reason: it is told once.
            for line in contents[failed.index].iter().filter(|_| report.broken.is_none()) {
                complain(&mut totals, bar, &Problem { line: line.number, text: failed.reason.clone() });
            }
        }
        totals.records += report.accepted as u64;
        totals.retried += report.retried as u64;
        for line in contents.iter().zip(taken).filter(|(_, taken)| *taken).flat_map(|(lines, _)| lines) {
            totals.readings += 1;
            totals.values += line.values;
        }
        bar.set_message(format!("{} readings, {} values", totals.readings, totals.values));
        totals.broken = report.broken;
        if !more || totals.broken.is_some() {
            break;
        }
    }
    if totals.problems > SHOWN {
        eprintln!("… and {} more", totals.problems - SHOWN);
    }
    Ok(totals)
}

/// The next lines, up to `most`; false at the end of the input.
async fn receive(
    args: &Args,
    items: &mut mpsc::Receiver<Result<Item>>,
    most: usize,
    totals: &mut Totals,
    bar: &ProgressBar,
) -> Result<(Vec<Line>, bool)> {
    let mut lines = Vec::new();
    while lines.len() < most {
        // A slow source must not hold back what has come.
        let item = match items.try_recv() {
            Ok(item) => item,
            Err(mpsc::error::TryRecvError::Empty) if !lines.is_empty() => return Ok((lines, true)),
            Err(_) => match items.recv().await {
                Some(item) => item,
                None => return Ok((lines, false)),
            },
        };
        let item = item?;
        let bad = !item.problems.is_empty();
        for problem in &item.problems {
            complain(totals, bar, problem);
        }
        if bad && args.strict {
            return Ok((lines, false));
        }
        lines.extend(item.line);
    }
    Ok((lines, true))
}

fn complain(totals: &mut Totals, bar: &ProgressBar, problem: &Problem) {
    totals.problems += 1;
    if totals.problems <= SHOWN {
        bar.suspend(|| eprintln!("line {}: {}", problem.line, problem.text));
    }
}

/// A line whose text has gone into a record.
#[derive(Debug, PartialEq, Eq)]
struct Content {
    number: u64,
    values: u64,
}

/// Lines as records: one each, or those of a device together. The first line of each record says
/// what sent it.
fn pack(
    lines: Vec<Line>,
    trace: Option<TraceParent>,
    aggregate: bool,
    gzip: bool,
) -> Vec<(Record, Vec<Content>)> {
    let mut packed: Vec<(Record, Vec<Content>)> = Vec::new();
    let mut open: std::collections::HashMap<String, usize> = std::collections::HashMap::new();
    for line in lines {
        let content = Content { number: line.number, values: line.values };
        let at = open.get(&line.partition_key).copied().filter(|_| aggregate);
        match at.and_then(|at| packed.get_mut(at)) {
            Some((record, contents)) if record.data.len() + line.json.len() < AGGREGATE_BYTES => {
                record.data.push(b'\n');
                record.data.extend_from_slice(line.json.as_bytes());
                contents.push(content);
            }
            _ => {
                open.insert(line.partition_key.clone(), packed.len());
                let json = match trace.filter(|_| !line.traced && line.json.len() < AGGREGATE_BYTES) {
                    Some(trace) => encode::with_trace(&line.json, &trace),
                    None => line.json,
                };
                let record = Record { partition_key: line.partition_key, data: json.into_bytes() };
                packed.push((record, vec![content]));
            }
        }
    }
    for (record, _) in packed.iter_mut().filter(|_| gzip) {
        record.data = encode::gzip(&record.data);
    }
    packed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(number: u64, entity: &str, json: &str) -> Line {
        Line { number, values: 1, partition_key: format!("t/{entity}"), traced: false, json: json.into() }
    }

    #[test]
    fn one_reading_is_one_record_unless_they_are_to_be_put_together() {
        let lines = || vec![line(1, "a", "A1"), line(2, "b", "B1"), line(3, "a", "A2")];
        let texts = |packed: Vec<(Record, Vec<Content>)>| -> Vec<String> {
            packed.into_iter().map(|(r, _)| String::from_utf8(r.data).unwrap()).collect()
        };
        assert_eq!(texts(pack(lines(), None, false, false)), ["A1", "B1", "A2"]);
        let together = pack(lines(), None, true, false);
        assert_eq!(together[0].1.iter().map(|c| c.number).collect::<Vec<_>>(), [1, 3]);
        assert_eq!(texts(together), ["A1\nA2", "B1"]);
        let long = "x".repeat(AGGREGATE_BYTES / 2);
        let lines = vec![line(1, "a", &long), line(2, "a", &long), line(3, "a", "x")];
        assert_eq!(pack(lines, None, true, false).iter().map(|(_, c)| c.len()).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(pack(vec![line(1, "a", "A")], None, false, true)[0].0.data[..2], [0x1f, 0x8b]);
    }
    #[test]
    fn the_first_reading_of_a_record_says_what_sent_it() {
        let trace: TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse().unwrap();
        let own = Line { traced: true, ..line(3, "b", r#"{"traceparent":"x"}"#) };
        let lines = vec![line(1, "a", r#"{"n":1}"#), line(2, "a", r#"{"n":2}"#), own];
        let packed = pack(lines, Some(trace), true, false);
        let texts: Vec<_> = packed.iter().map(|(r, _)| std::str::from_utf8(&r.data).unwrap()).collect();
        let first = format!("{{\"traceparent\":\"{trace}\",\"n\":1}}\n{{\"n\":2}}");
        assert_eq!(texts, [first.as_str(), r#"{"traceparent":"x"}"#]);
    }
}
