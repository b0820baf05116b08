//! `eaves advise`: what could be done about slow queries.

use crate::out;
use crate::target::{Data, Target};
use anyhow::{Context as _, Result, bail, ensure};
use eaves_store::advice::Advice;
use eaves_store::superadmin::{Purpose, Superadmin};

const EXAMPLES: &str = "\
Examples:
  eaves advise
  eaves advise --slow 50 --filters 5 --json
  eaves advise --reason 'weekly look at slow queries'

From pg_stat_statements, from what queries ask of attributes, and from the statistics of indexes.
Statements and attributes of all tenants are in it, so who looks is noted (`eaves admin reads`).
Operators can have the same over HTTP: GET /v1/admin/advice.";
/// Why somebody looks who gives no reason.
const USUAL: &str = "a look at slow queries (eaves advise)";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Tell statements that take so many milliseconds on average
    #[arg(long, value_name = "MS", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=60_000))]
    slow: u32,
    /// Tell attributes that are not hot and by which so many queries filter
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    filters: u32,
    /// Who looks, for the note [default: your user name]
    #[arg(long, value_name = "WHO", env = "USER")]
    operator: Option<String>,
    /// Why, for the note: 8 to 500 characters
    #[arg(long, default_value = USUAL)]
    reason: String,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let Some(who) = args.operator.as_deref().filter(|who| !who.is_empty()) else {
        bail!("who looks? Give --operator WHO: it is noted");
    };
    let length = args.reason.trim().chars().count();
    ensure!((8..=500).contains(&length), "--reason has {length} characters: give 8 to 500");
    let settings = Target::find(&args.data)?.postgres("eaves_admin")?;
    let purpose = Purpose { who, reason: &args.reason };
    let found = Superadmin::new(&settings)
        .advice(purpose, args.slow.into(), args.filters)
        .await
        .context("read what there is to advise")?;
    if args.json {
        return out::line(serde_json::to_string_pretty(&found)?);
    }
    if found.is_empty() {
        return out::line("Nothing to advise: no slow statements, nothing worth promoting, no unused index.");
    }
    for advice in &found {
        out::line(paragraph(advice))?;
    }
    Ok(())
}

/// What it is about, and what to do.
fn paragraph(advice: &Advice) -> String {
    let what = match advice.kind.as_str() {
        "slow_statement" => "Slow statement",
        "no_time_filter" => "History without a time",
        "promote_attribute" => "Worth promoting",
        "unused_index" => "Unused index",
        _ => "Not known",
    };
    let whose = advice.tenant.as_ref().map(|t| format!(" of {t}")).unwrap_or_default();
    // A statement is written over several lines.
    let subject: String = advice.subject.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut shown: String = subject.chars().take(160).collect();
    if shown.len() < subject.len() {
        shown.push('…');
    }
    format!("{what}: {shown}{whose}\n  {}\n", advice.advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_tells_what_and_what_to_do() {
        let advice = Advice {
            kind: "promote_attribute".into(),
            tenant: Some("acme".into()),
            subject: "serial".into(),
            weight: 1.0,
            figures: serde_json::Value::Null,
            advice: "do this".into(),
        };
        assert_eq!(paragraph(&advice), "Worth promoting: serial of acme\n  do this\n");
    }
}
