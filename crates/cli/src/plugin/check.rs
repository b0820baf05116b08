//! `eaves plugin test`: the cases of a project, through the real host.

use super::cases::{self, Case, Expected};
use super::load::{Loaded, Which};
use super::promotion_case::PromotionCase;
use crate::out;
use anyhow::{Context as _, Result, bail, ensure};
use eaves_model::Value;
use eaves_model::batch::{Batch, Decision};
use eaves_plugin_host::{Plugin, PluginError};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long a case may take.
const DEADLINE: Duration = Duration::from_secs(10);

#[derive(clap::Args)]
pub(super) struct Args {
    /// Files of cases, YAML or JSON, or folders of them [default: the project's cases/]
    files: Vec<PathBuf>,
    #[command(flatten)]
    which: Which,
}

/// What a value got, or was to get.
fn verdict(expected: &Expected) -> String {
    match expected {
        Expected::Accept => "accept".into(),
        Expected::Reject(code, None) => format!("reject {code}"),
        Expected::Reject(code, Some(text)) => format!("reject {code}: {text}"),
        Expected::Replace(value) => format!("replace {}", shown(value)),
    }
}

/// A value as JSON.
pub(super) fn shown(value: &Value) -> String {
    let mut text = String::new();
    value.write_json(&mut text);
    text
}

/// What the plugin said of each row.
pub(super) fn verdicts(batch: &Batch, decision: &Decision) -> Vec<Expected> {
    let mut all = vec![Expected::Accept; batch.rows.len()];
    for (row, reason) in &decision.rejected {
        let reason = &decision.reasons[*reason as usize];
        all[*row as usize] = Expected::Reject(reason.code.0.to_string(), Some(reason.text.clone()));
    }
    for (row, value) in &decision.replaced {
        all[*row as usize] = Expected::Replace(value.clone());
    }
    all
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let files = files(args)?;
    let mut all = Vec::new();
    for file in files {
        all.extend(cases::read(&file)?.into_iter().map(|case| (file.clone(), case)));
    }
    let Loaded { plugin, .. } = args.which.load()?;
    let (mut failed, count) = (0, all.len());
    for (file, case) in all {
        let name = case.name.clone();
        let differences = differences(&plugin, case)?;
        if differences.is_empty() {
            out::line(format!("{} {name}", paint(GREEN, "ok    ")))?;
        } else {
            failed += 1;
            out::line(format!("{} {name} ({})\n{differences}", paint(RED, "FAILED"), file.display()))?;
        }
    }
    let described = plugin.describe();
    out::line(format!(
        "\n{} {}: {} of {count} cases passed.",
        described.name,
        described.version,
        count - failed
    ))?;
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The files meant: those named, and those in the folders named.
fn files(args: &Args) -> Result<Vec<PathBuf>> {
    let named =
        if args.files.is_empty() { vec![args.which.folder().join("cases")] } else { args.files.clone() };
    let mut files = Vec::new();
    for path in named {
        if !path.is_dir() {
            files.push(path);
            continue;
        }
        let entries = std::fs::read_dir(&path).with_context(|| format!("read {}", path.display()))?;
        let is_case = |p: &Path| p.extension().is_some_and(|e| e == "yaml" || e == "yml" || e == "json");
        files.extend(entries.flatten().map(|e| e.path()).filter(|p| is_case(p)));
    }
    files.sort();
    ensure!(!files.is_empty(), "there are no files of cases: docs/plugins.md shows how to write one");
    Ok(files)
}

/// What differs from what is expected, a line or two for each; empty if nothing does.
fn differences(plugin: &Plugin, case: Case) -> Result<String> {
    let configured = plugin.configure(&case.settings, DEADLINE);
    let interest = match (configured, &case.settings_fault) {
        (Err(PluginError::Settings { path, .. }), Some(wanted)) if path == *wanted => {
            return Ok(String::new());
        }
        (Err(error), Some(wanted)) => {
            return Ok(differs("settings", &format!("refused at {wanted}"), &error.to_string()));
        }
        (Ok(_), Some(wanted)) => return Ok(differs("settings", &format!("refused at {wanted}"), "taken")),
        (Err(error @ PluginError::Settings { .. }), None) => {
            return Ok(differs("settings", "taken", &error.to_string()));
        }
        (Err(error), None) => return Err(error.into()),
        (Ok(interest), None) => interest,
    };
    if let Some(promotion) = &case.promotion {
        return promotion_differences(plugin, promotion, &case.settings, &case.name);
    }
    let (expected, derived, settings) = (case.expected.clone(), case.derived.clone(), case.settings.clone());
    let name = case.name.clone();
    let batch = case.into_batch(&interest.previous);
    let decision = match plugin.validate(&batch, &settings, DEADLINE) {
        Ok(decision) => decision,
        Err(error) if error.is_retryable() => bail!("case {name:?}: {error}"),
        Err(error) => return Ok(differs("batch", "judged", &error.to_string())),
    };
    let mut text = String::new();
    for (row, (got, wanted)) in verdicts(&batch, &decision).iter().zip(&expected).enumerate() {
        let same = match (got, wanted) {
            (Expected::Reject(got, _), Expected::Reject(wanted, None)) => got == wanted,
            _ => got == wanted,
        };
        if !same {
            text += &differs(&place(&batch, row), &verdict(wanted), &verdict(got));
        }
    }
    for (rows, wanted) in derived {
        let of_reading = decision.derived.iter().filter(|d| rows.contains(&(d.row as usize)));
        let mut got: Vec<String> = of_reading.map(|d| derivation(&d.attribute, &d.value)).collect();
        let mut wanted: Vec<String> = wanted.iter().map(|(name, value)| derivation(name, value)).collect();
        got.sort();
        wanted.sort();
        if got != wanted {
            text +=
                &differs(&format!("{}, derived", entity(&batch, rows.start)), &list(&wanted), &list(&got));
        }
    }
    Ok(text)
}

fn promotion_differences(
    plugin: &Plugin,
    case: &PromotionCase,
    settings: &str,
    name: &str,
) -> Result<String> {
    let decisions = match plugin.promote(&case.statistics, settings, DEADLINE) {
        Ok(decisions) => decisions,
        Err(error) if error.is_retryable() => bail!("case {name:?}: {error}"),
        Err(error) => return Ok(differs("attributes", "decided", &error.to_string())),
    };
    let differences = case.differences(&decisions).into_iter();
    Ok(differences.map(|d| differs(&d.attribute, &d.expected, &d.got)).collect())
}

/// 14 and 14.0 are one number in a case file.
fn derivation(name: &str, value: &Value) -> String {
    match value {
        Value::Integer(i) => format!("{name} = {:?}", *i as f64),
        other => format!("{name} = {}", shown(other)),
    }
}

fn list(derived: &[String]) -> String {
    if derived.is_empty() { "nothing".into() } else { derived.join(", ") }
}

fn entity(batch: &Batch, row: usize) -> String {
    let Some(row) = batch.rows.get(row) else { return String::new() };
    format!("{} at {}", batch.entities[row.entity as usize].external_id, row.observed_at)
}

fn place(batch: &Batch, row: usize) -> String {
    let cell = &batch.rows[row];
    let attribute = &batch.attributes[cell.attribute as usize];
    format!("{}, {} = {}", entity(batch, row), attribute.name, shown(&cell.value))
}

fn differs(place: &str, expected: &str, got: &str) -> String {
    let mut text = String::new();
    let _infallible = writeln!(text, "       {place}");
    let _infallible = writeln!(text, "         {} {}", paint(GREEN, "expected"), paint(GREEN, expected));
    let _infallible = writeln!(text, "         {} {}", paint(RED, "got     "), paint(RED, got));
    text
}

const GREEN: &str = "32";
const RED: &str = "31";

/// Coloured, where somebody looks at a terminal and did not ask for none (no-color.org).
fn paint(colour: &str, text: &str) -> String {
    let terminal = std::io::IsTerminal::is_terminal(&std::io::stdout());
    let wanted = terminal && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    if wanted { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
}
