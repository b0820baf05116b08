//! `eaves simulate`: a fleet of devices that sends readings.

use crate::pace::{Pace, Rate, parse_rate};
use crate::sender::{PutRecords, Record, Sender};
use crate::stream::Destination;
use anyhow::{Result, bail};
use eaves_model::Timestamp;
use eaves_simulate::{Fleet, Message, Options, Rates, Sort};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::Write as _;
use std::time::Duration;

/// Values in a device's reading, nearly always: what a rate of values means in readings.
const VALUES_PER_READING: usize = 10;
/// Most readings handed to the sender at a time.
const PORTION: usize = 4_000;

/// Play a fleet of devices: pumps, air conditioners, freezers and meters
///
/// Readings have daily cycles, noise, drift and status changes, and some come late, twice
/// or wrong. The same seed gives the same fleet. Until Ctrl-C, unless --for or --readings
/// says otherwise.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  eaves simulate --tenant acme --devices 200 --rate 20000 --for 30s
  eaves simulate --tenant acme,globex --rate max --for 1m --faulty 0.05
  eaves simulate --tenant acme --print --readings 1000 --start 2026-03-01T00:00:00Z > day.ndjson")]
pub(crate) struct Args {
    /// Tenants the devices belong to
    #[arg(long, required = true, value_delimiter = ',')]
    tenant: Vec<String>,

    /// Devices in all
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    devices: u32,

    /// Values per second of all devices together, or max
    #[arg(long, default_value = "1000", value_parser = parse_rate)]
    rate: Rate,

    /// How long, such as 30s or 5m
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,

    /// How many readings
    #[arg(long, value_name = "N")]
    readings: Option<u64>,

    /// What decides every noise, fault and name
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Observe from this time on, as fast as the rate allows, rather than now
    #[arg(long, value_name = "RFC 3339")]
    start: Option<Timestamp>,

    /// With --start: how often each device reports
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    interval: Duration,

    /// Share of readings that were observed minutes to hours before
    #[arg(long, default_value_t = Rates::default().late, value_parser = parse_share)]
    late: f64,

    /// Share of readings that are sent twice
    #[arg(long, default_value_t = Rates::default().duplicate, value_parser = parse_share)]
    duplicate: f64,

    /// Share of readings with something wrong in them
    #[arg(long, default_value_t = Rates::default().faulty, value_parser = parse_share)]
    faulty: f64,

    /// Print the readings as NDJSON instead of sending them
    #[arg(long)]
    print: bool,

    #[command(flatten)]
    destination: Destination,
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration: give 30s, 5m or 1h30m");
    let duration: jiff::SignedDuration = text.parse().map_err(|_| bad())?;
    Duration::try_from(duration).ok().filter(|d| !d.is_zero()).ok_or_else(bad)
}

fn parse_share(text: &str) -> Result<f64, String> {
    let share = text.parse::<f64>().ok().filter(|s| (0.0..=1.0).contains(s));
    share.ok_or_else(|| "give a share from 0 to 1, such as 0.01".into())
}

/// What a fleet has done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Played {
    /// Readings that the stream has taken.
    pub(crate) readings: u64,
    /// Values in them.
    pub(crate) values: u64,
    /// How many of the readings were late.
    pub(crate) late: u64,
    /// How many were sent a second time.
    pub(crate) duplicate: u64,
    /// How many had something wrong in them.
    pub(crate) faulty: u64,
    /// Times a record was sent again after throttling.
    pub(crate) retried: u64,
    /// Readings that the stream has not taken.
    pub(crate) failed: u64,
    /// Why not, the last time.
    pub(crate) failure: Option<String>,
}

impl Played {
    fn count(&mut self, message: &Message) {
        self.readings += 1;
        self.values += u64::from(message.values);
        match message.sort {
            Sort::Normal => {}
            Sort::Late => self.late += 1,
            Sort::Duplicate => self.duplicate += 1,
            Sort::Faulty => self.faulty += 1,
        }
    }
}

/// When a fleet stops.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Until {
    /// After this long.
    pub(crate) duration: Option<Duration>,
    /// After so many readings.
    pub(crate) readings: Option<u64>,
}

/// Runs the command.
pub(crate) async fn run(args: Args) -> Result<()> {
    let now = Timestamp::now();
    let options = Options {
        seed: args.seed,
        tenants: args.tenant.clone(),
        devices: args.devices as usize,
        start: args.start.unwrap_or(now),
        interval: args.interval,
        rates: Rates { late: args.late, duplicate: args.duplicate, faulty: args.faulty },
    };
    let mut fleet = Fleet::new(&options);
    let live = args.start.is_none();
    let mut next = move || if live { Some(fleet.at(Timestamp::now())) } else { fleet.next() };
    let until = Until { duration: args.duration, readings: args.readings };
    if args.print {
        return print(&mut next, args.rate.0.filter(|_| live), until).await;
    }
    let (client, stream) = args.destination.connect().await?;
    let sender = Sender::new(client, &stream);
    // Nothing is drawn when standard error is not a terminal.
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {elapsed}") {
        bar.set_style(style);
    }
    let mut pace = Pace::new(args.rate.0);
    let mut last = Played::default();
    let playing = play(&mut next, &sender, &mut pace, until, |played| {
        bar.set_message(format!("{} readings, {} values sent", played.readings, played.values));
        bar.tick();
        last = played.clone();
    });
    tokio::select! {
        () = playing => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    bar.finish_and_clear();
    report(&last, &stream, pace.seconds())
}

fn report(played: &Played, stream: &str, seconds: f64) -> Result<()> {
    let mut text = format!(
        "Sent {} readings with {} values to {stream} in {seconds:.1} s ({:.0} values/s)",
        played.readings,
        played.values,
        played.values as f64 / seconds.max(0.001),
    );
    for (count, what) in [
        (played.late, "late"),
        (played.duplicate, "twice"),
        (played.faulty, "wrong"),
        (played.retried, "throttled"),
    ] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    eprintln!("{text}.");
    match &played.failure {
        None => Ok(()),
        Some(why) => bail!("{} readings were not taken: {why}", played.failed),
    }
}

/// Sends a fleet's readings until its time is up, telling what is done after each portion.
pub(crate) async fn play<P: PutRecords>(
    next: &mut impl FnMut() -> Option<Message>,
    sender: &Sender<P>,
    pace: &mut Pace,
    until: Until,
    mut progress: impl FnMut(&Played),
) {
    let mut played = Played::default();
    let portion = pace.portion(PORTION * VALUES_PER_READING).div_ceil(VALUES_PER_READING);
    let (mut left, mut over) = (until.readings.unwrap_or(u64::MAX), false);
    while left > 0 && !over {
        let messages: Vec<_> = (0..left.min(portion as u64)).map_while(|_| next()).collect();
        if messages.is_empty() {
            break;
        }
        left -= messages.len() as u64;
        pace.wait(messages.iter().map(|m| u64::from(m.values)).sum()).await;
        let records = messages.iter().map(|message| Record {
            partition_key: message.partition_key(),
            data: message.json.clone().into_bytes(),
        });
        let outcome = sender.send(records.collect()).await;
        let failed: std::collections::HashSet<usize> = outcome.failed.iter().map(|f| f.index).collect();
        for (_, message) in messages.iter().enumerate().filter(|(index, _)| !failed.contains(index)) {
            played.count(message);
        }
        played.retried += outcome.retried as u64;
        played.failed += failed.len() as u64;
        if let Some(last) = outcome.failed.into_iter().next_back() {
            played.failure = Some(last.reason);
        }
        progress(&played);
        over = outcome.broken.is_some() || until.duration.is_some_and(|d| pace.seconds() >= d.as_secs_f64());
    }
}

/// Writes a fleet's readings to standard output; a closed pipe ends it in peace.
async fn print(next: &mut impl FnMut() -> Option<Message>, rate: Option<f64>, until: Until) -> Result<()> {
    let mut pace = Pace::new(rate);
    let portion = pace.portion(PORTION * VALUES_PER_READING).div_ceil(VALUES_PER_READING);
    let (mut left, mut over) = (until.readings.unwrap_or(u64::MAX), false);
    while left > 0 && !over {
        let (mut text, mut values) = (String::new(), 0);
        for message in (0..left.min(portion as u64)).map_while(|_| next()) {
            text += &message.json;
            text.push('\n');
            values += u64::from(message.values);
            left -= 1;
        }
        if text.is_empty() {
            break;
        }
        pace.wait(values).await;
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => break,
            written => written?,
        }
        over = until.duration.is_some_and(|d| pace.seconds() >= d.as_secs_f64());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender::{Persistence, Refusal};

    #[test]
    fn durations_and_shares_are_read() {
        assert_eq!(parse_duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(parse_duration("1m 30s"), Ok(Duration::from_secs(90)));
        assert!(
            parse_duration("-1s").is_err()
                && parse_duration("0s").is_err()
                && parse_duration("soon").is_err()
        );
        assert!(parse_share("1.1").is_err() && parse_share("x").is_err());
    }

    /// Takes everything but records of one device.
    struct Picky;

    impl PutRecords for Picky {
        async fn put(&self, records: Vec<Record>) -> Result<Vec<Option<Refusal>>, Refusal> {
            let refusal = || Refusal { retryable: false, reason: "not that one".into() };
            Ok(records.iter().map(|r| r.partition_key.ends_with("-1").then(refusal)).collect())
        }
    }

    #[tokio::test]
    async fn a_fleet_sends_what_it_was_told_and_counts_what_was_not_taken() {
        let start = "2026-03-01T00:00:00Z".parse().unwrap();
        let mut fleet = Fleet::new(&Options { rates: Rates::NONE, ..Options::new(1, "acme", 10, start) });
        let mut last = Played::default();
        let until = Until { duration: None, readings: Some(10_000) };
        let sender = Sender::with(Picky, Persistence::default());
        play(&mut || fleet.next(), &sender, &mut Pace::new(None), until, |p| last = p.clone()).await;
        assert_eq!((last.readings, last.values, last.failed), (9_000, 90_000, 1_000));
        assert_eq!(last.failure.as_deref(), Some("not that one"));
    }
}
