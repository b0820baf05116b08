//! `eaves plugin run`: a sample of readings through the plugin, with the verdict on each value.

use super::batch::{self, Attributes, Batcher, Latest};
use super::cases::Expected;
use super::check::{shown, verdicts};
use super::load::{Loaded, Which};
use super::read_settings;
use crate::out;
use anyhow::{Context as _, Result, anyhow};
use eaves_model::ValueType;
use eaves_model::batch::{Batch, Decision};
use eaves_plugin_host::{CallStats, Plugin};
use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read};
use std::path::PathBuf;
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct Args {
    /// Readings in the wire format, one on each line; - is standard input. A tenant need not be
    /// named
    sample: PathBuf,
    #[command(flatten)]
    which: Which,
    /// The settings: JSON, or a file with JSON
    #[arg(long, value_name = "JSON|FILE", default_value = "{}")]
    settings: String,
    /// Type and unit of an attribute, as temperature=float or temperature=float:degC; others
    /// have the type of their first value
    #[arg(long = "attribute", value_name = "NAME=TYPE[:UNIT]")]
    attributes: Vec<String>,
    /// Readings in one call
    #[arg(long, value_name = "N", default_value_t = 1_000)]
    batch: usize,
    /// Print only values that are not simply accepted
    #[arg(long)]
    changed: bool,
    /// Print JSON: a line for each value, and one with the summary
    #[arg(long)]
    json: bool,
}

/// A value with what became of it.
struct Line {
    line: u64,
    entity: String,
    attribute: String,
    value: String,
    verdict: Expected,
    derived: Vec<(String, String)>,
}

#[derive(Default)]
struct Summary {
    values: u64,
    accepted: u64,
    replaced: u64,
    derived: u64,
    rejected: BTreeMap<String, u64>,
    stats: CallStats,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let settings = read_settings(&args.settings)?;
    let mut types = Attributes::default();
    for declared in &args.attributes {
        declare(&mut types, declared)?;
    }
    let reader: Box<dyn Read> = if args.sample.as_os_str() == "-" {
        Box::new(std::io::stdin())
    } else {
        let open = std::fs::File::open(&args.sample);
        Box::new(open.with_context(|| format!("read {}", args.sample.display()))?)
    };
    let loaded = args.which.load()?;
    let asked = loaded.plugin.configure(&settings, DEADLINE)?.previous.clone();
    let mut summary = Summary::default();
    let (mut latest, mut waiting, mut numbers) = (Latest::new(), Batcher::default(), Vec::new());
    let mut readings = 0;
    for (number, line) in (1..).zip(BufReader::new(reader).split(b'\n')) {
        let line = line.with_context(|| format!("read line {number}"))?;
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let reading = reading(text).with_context(|| format!("line {number}"))?;
        let (entity, at) = (reading.entity.clone(), reading.observed_at);
        let entity_type = reading.entity_type.clone().unwrap_or_default();
        let values = types.resolve(reading).with_context(|| format!("line {number}"))?;
        numbers.extend(values.iter().map(|_| number));
        waiting.push(&entity, &entity_type, at, values, &types);
        readings += 1;
        if readings % args.batch.max(1) == 0 {
            let batch = std::mem::take(&mut waiting).finish(&asked, &latest);
            judge(
                &loaded.plugin,
                batch,
                &settings,
                &mut summary,
                &mut latest,
                &std::mem::take(&mut numbers),
                args,
            )?;
        }
    }
    let batch = waiting.finish(&asked, &latest);
    if !batch.rows.is_empty() {
        judge(&loaded.plugin, batch, &settings, &mut summary, &mut latest, &numbers, args)?;
    }
    print_summary(&summary, &loaded, args.json)
}

/// `temperature=float:degC`.
fn declare(types: &mut Attributes, text: &str) -> Result<()> {
    let example = || anyhow!("--attribute {text:?} is not NAME=TYPE[:UNIT], such as temperature=float:degC");
    let (name, rest) = text.rsplit_once('=').ok_or_else(example)?;
    let (value_type, unit) = rest.split_once(':').unwrap_or((rest, ""));
    let value_type: ValueType = value_type.parse().map_err(|e| anyhow!("--attribute {text:?}: {e}"))?;
    types.declare(name, value_type, unit);
    Ok(())
}

/// A sample may leave the tenant out.
fn reading(text: &[u8]) -> Result<eaves_model::Reading> {
    let missing = |why: &anyhow::Error| why.to_string().contains("tenant: is missing");
    match batch::reading(text) {
        Err(why) if missing(&why) && text.starts_with(b"{") => {
            batch::reading(&[b"{\"tenant\":\"sample\",", &text[1..]].concat())
        }
        other => other,
    }
}

fn judge(
    plugin: &Plugin,
    batch: Batch,
    settings: &str,
    summary: &mut Summary,
    latest: &mut Latest,
    numbers: &[u64],
    args: &Args,
) -> Result<()> {
    let decision = plugin.validate_counting(&batch, settings, DEADLINE, &mut summary.stats)?;
    let lines = lines(&batch, &decision, numbers);
    for (row, line) in batch.rows.iter().zip(&lines) {
        let taken = match &line.verdict {
            Expected::Reject(..) => continue,
            Expected::Replace(value) => value.clone(),
            Expected::Accept => row.value.clone(),
        };
        batch::remember(latest, &line.entity, &line.attribute, row.observed_at, taken);
    }
    let mut rows = Vec::new();
    for line in lines {
        summary.count(&line);
        if args.changed && line.verdict == Expected::Accept && line.derived.is_empty() {
            continue;
        }
        if args.json {
            out::line(line.json())?;
        } else {
            rows.push(line.cells());
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    out::line(out::table(&["LINE", "ENTITY", "ATTRIBUTE", "VALUE", "VERDICT", "", "DERIVED"], rows))
}

fn lines(batch: &Batch, decision: &Decision, numbers: &[u64]) -> Vec<Line> {
    let verdicts = verdicts(batch, decision);
    let mut lines: Vec<Line> = (batch.rows.iter().zip(verdicts).zip(numbers))
        .map(|((row, verdict), line)| Line {
            line: *line,
            entity: batch.entities[row.entity as usize].external_id.to_string(),
            attribute: batch.attributes[row.attribute as usize].name.to_string(),
            value: shown(&row.value),
            verdict,
            derived: Vec::new(),
        })
        .collect();
    for derived in &decision.derived {
        lines[derived.row as usize].derived.push((derived.attribute.to_string(), shown(&derived.value)));
    }
    lines
}

impl Line {
    fn cells(self) -> Vec<String> {
        let (verdict, more) = match self.verdict {
            Expected::Accept => ("accept", String::new()),
            Expected::Reject(code, text) => ("reject", format!("{code}: {}", text.unwrap_or_default())),
            Expected::Replace(value) => ("replace", shown(&value)),
        };
        let derived: Vec<_> = self.derived.iter().map(|(name, value)| format!("{name} = {value}")).collect();
        vec![
            self.line.to_string(),
            self.entity,
            self.attribute,
            self.value,
            verdict.into(),
            more,
            derived.join(", "),
        ]
    }

    fn json(&self) -> serde_json::Value {
        let raw = |text: &str| serde_json::from_str(text).unwrap_or(serde_json::Value::Null);
        let mut json = serde_json::json!({
            "line": self.line, "entity": self.entity, "attribute": self.attribute, "value": raw(&self.value),
        });
        match &self.verdict {
            Expected::Accept => json["verdict"] = "accept".into(),
            Expected::Reject(code, text) => {
                json["verdict"] = "reject".into();
                json["code"] = code.as_str().into();
                json["text"] = text.clone().unwrap_or_default().into();
            }
            Expected::Replace(value) => {
                json["verdict"] = "replace".into();
                json["replacement"] = raw(&shown(value));
            }
        }
        for (name, value) in &self.derived {
            json["derived"][name] = raw(value);
        }
        json
    }
}

impl Summary {
    fn count(&mut self, line: &Line) {
        self.values += 1;
        self.derived += line.derived.len() as u64;
        match &line.verdict {
            Expected::Accept => self.accepted += 1,
            Expected::Replace(_) => self.replaced += 1,
            Expected::Reject(code, _) => *self.rejected.entry(code.clone()).or_default() += 1,
        }
    }
}

fn print_summary(summary: &Summary, loaded: &Loaded, json: bool) -> Result<()> {
    let Summary { values, accepted, replaced, derived, rejected, stats } = summary;
    let described = loaded.plugin.describe();
    let each = stats.duration.as_nanos() as f64 / (stats.values.max(1)) as f64;
    let refused: u64 = rejected.values().sum();
    if json {
        return out::line(serde_json::json!({
            "plugin": described.name, "version": described.version, "values": values, "accepted": accepted,
            "replaced": replaced, "derived": derived, "rejected": rejected, "calls": stats.calls,
            "ns_per_value": each.round(), "memory_peak_bytes": stats.memory_peak_bytes,
            "component_bytes": loaded.bytes, "load_us": loaded.load.as_micros() as u64,
        }));
    }
    let reasons: Vec<_> = rejected.iter().map(|(code, count)| format!("{code} {count}")).collect();
    let reasons = if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    out::line(format!(
        "\n{} {}: {values} values, {accepted} accepted, {refused} rejected{reasons}, {replaced} replaced, {derived} \
         derived.\n{:.0} ns a value in {} calls, {:.1} MiB at most; the component has {:.1} KiB and loads in {:.2} ms.",
        described.name,
        described.version,
        each,
        stats.calls,
        stats.memory_peak_bytes as f64 / 1_048_576.0,
        loaded.bytes as f64 / 1024.0,
        loaded.load.as_secs_f64() * 1e3,
    ))
}
