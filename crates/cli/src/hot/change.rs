//! `eaves hot promote|demote|pin|unpin|changes`: what is hot, by hand.

use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Result, bail};
use eaves_model::hot::step::Pin;
use eaves_model::{TenantId, Timestamp};
use eaves_store::admin::AdminStore;
use eaves_store::hot::{ByHand, Decided, HotChange};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::time::Duration;

/// How often `--watch` looks.
const PACE: Duration = Duration::from_secs(1);

/// Which attribute.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tenant's name
    tenant: String,
    /// The attribute's name
    attribute: String,
    /// Why, for whoever looks at the decisions later
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    data: Data,
}

/// Which attribute, and where to pin it.
#[derive(clap::Args)]
pub(crate) struct PinArgs {
    /// The tenant's name
    tenant: String,
    /// The attribute's name
    attribute: String,
    /// hot: always hot; cold: never
    pin: Pin,
    /// Why, for whoever looks at the decisions later
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    #[command(flatten)]
    data: Data,
}

/// Whose changes.
#[derive(clap::Args)]
pub(crate) struct ListArgs {
    /// The tenant's name
    tenant: String,
    /// Show bars with the time left until nothing is under way any more
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn pin(args: PinArgs) -> Result<()> {
    let PinArgs { tenant, attribute, pin, reason, data } = args;
    run(Args { tenant, attribute, reason, data }, ByHand::Pin(pin)).await
}

pub(crate) async fn run(args: Args, change: ByHand) -> Result<()> {
    let target = Target::find(&args.data)?;
    let id = tenant::find(&target, &args.tenant).await?;
    let by = std::env::var("USER").unwrap_or_else(|_| "an operator".into());
    let admin = tenant::admin(&target).await?;
    let state = admin.hot_decide(id, &args.attribute, change, (&by, &args.reason)).await?;
    let (tenant, attribute) = (&args.tenant, &args.attribute);
    let pinned = match change {
        ByHand::Pin(Pin::Hot) => "It is pinned: always hot. ",
        ByHand::Pin(Pin::Cold) => "It is pinned: never hot. ",
        ByHand::Unpin => "It is not pinned. ",
        ByHand::Promote | ByHand::Demote => "",
    };
    match state {
        Decided::Unknown => bail!("tenant {tenant} has no attribute {attribute}; its first value makes it"),
        Decided::Pinned => {
            bail!(
                "attribute {attribute} is pinned; take the pin away with `eaves hot unpin {tenant} {attribute}`"
            )
        }
        Decided::Hot => out::line(format!("{pinned}Attribute {attribute} is hot.")),
        Decided::Filling => out::line(format!(
            "{pinned}Attribute {attribute} is being filled and will be hot then; \
             `eaves hot changes {tenant} --watch` shows how far it is."
        )),
        Decided::Cold => out::line(format!(
            "{pinned}Attribute {attribute} is not hot; what the projection has of it is taken out part by part."
        )),
    }
}

pub(crate) async fn list(args: ListArgs) -> Result<()> {
    let target = Target::find(&args.data)?;
    let id = tenant::find(&target, &args.tenant).await?;
    let admin = tenant::admin(&target).await?;
    if args.watch {
        return watch(&admin, id, &args.tenant).await;
    }
    let changes = admin.hot_changes(id).await?;
    if changes.is_empty() {
        return out::line(format!("Nothing was changed for tenant {}.", args.tenant));
    }
    let now = Timestamp::now();
    let rows = changes.iter().map(|c| {
        vec![
            c.attribute.clone(),
            c.change.clone(),
            c.state.clone(),
            progress(c, now),
            c.rows.to_string(),
            c.requested_at.to_string(),
            c.requested_by.clone(),
            c.reason.clone(),
        ]
    });
    let heading = ["ATTRIBUTE", "CHANGE", "STATE", "ENTITIES", "ROWS", "ASKED FOR", "BY", "WHY"];
    out::line(out::table(&heading, rows))
}

/// Bars on a terminal, else a line whenever something has moved.
async fn watch(admin: &AdminStore, id: TenantId, tenant: &str) -> Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let all = MultiProgress::new();
    let mut bars: HashMap<String, ProgressBar> = HashMap::new();
    let mut told: HashMap<String, String> = HashMap::new();
    loop {
        let mut open = admin.hot_changes(id).await?;
        open.retain(HotChange::is_open);
        bars.retain(|attribute, bar| {
            let goes_on = open.iter().any(|c| c.attribute == *attribute);
            if !goes_on {
                bar.finish_and_clear();
            }
            goes_on
        });
        if open.is_empty() {
            return out::line(format!("Nothing is under way for tenant {tenant}."));
        }
        let now = Timestamp::now();
        for change in &open {
            if terminal {
                let bar = bars.entry(change.attribute.clone()).or_insert_with(|| all.add(bar()));
                bar.set_length(change.of_entities.unwrap_or(0));
                bar.set_position(change.entities);
                bar.set_message(format!("{} {}: {}", change.change, change.attribute, left(change, now)));
            } else {
                let line = format!("{} {}: {}", change.change, change.attribute, progress(change, now));
                if told.insert(change.attribute.clone(), line.clone()).as_ref() != Some(&line) {
                    out::line(line)?;
                }
            }
        }
        tokio::time::sleep(PACE).await;
    }
}

fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} entities  {msg}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn left(change: &HotChange, now: Timestamp) -> String {
    match change.seconds_left(now) {
        Some(seconds) => format!("about {seconds:.0} s left"),
        None => change.state.clone(),
    }
}

/// `1200 of 4000, about 180 s left`
fn progress(change: &HotChange, now: Timestamp) -> String {
    let (Some(all), true) = (change.of_entities, change.is_open()) else {
        return change.entities.to_string();
    };
    match change.seconds_left(now) {
        Some(seconds) => format!("{} of {all}, about {seconds:.0} s left", change.entities),
        None => format!("{} of {all}", change.entities),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_far_and_how_long() {
        let now = Timestamp::now();
        let at = |seconds: i64| now.plus_micros(seconds * 1_000_000);
        let change = HotChange {
            attribute: "a".into(),
            change: "promote".into(),
            state: "running".into(),
            requested_at: at(-200),
            requested_by: "me".into(),
            reason: String::new(),
            entities: 100,
            of_entities: Some(400),
            rows: 10,
            started_at: Some(at(-10)),
            ended_at: None,
        };
        assert_eq!(progress(&change, at(-1)), "100 of 400, about 27 s left");
        assert_eq!(left(&change, at(-1)), "about 27 s left");
        let begun = HotChange { entities: 0, ..change.clone() };
        assert_eq!((progress(&begun, at(0)), left(&begun, at(0))), ("0 of 400".into(), "running".into()));
        assert_eq!(progress(&HotChange { ended_at: Some(at(0)), ..change }, at(0)), "100");
    }
}
