//! `eaves hot promote|demote|changes`: what is hot, by hand.

use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Result, bail};
use eaves_model::Timestamp;
use eaves_store::admin::HotChange;

/// Which attribute.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tenant's name
    tenant: String,
    /// The attribute's name
    attribute: String,
    /// Why, for whoever looks at the changes later
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
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args, hot: bool) -> Result<()> {
    let target = Target::find(&args.data)?;
    let id = tenant::find(&target, &args.tenant).await?;
    let by = std::env::var("USER").unwrap_or_else(|_| "an operator".into());
    let admin = tenant::admin(&target).await?;
    let state = admin.hot_request(id, &args.attribute, hot, (&by, &args.reason)).await?;
    let (tenant, attribute) = (&args.tenant, &args.attribute);
    match state.as_deref() {
        None => bail!("tenant {tenant} has no attribute {attribute}; its first value makes it"),
        Some("hot") => out::line(format!("Attribute {attribute} is hot.")),
        Some("filling") => out::line(format!(
            "Attribute {attribute} is being filled and will be hot then; `eaves hot changes {tenant}` shows how far it is."
        )),
        Some(_) => out::line(format!(
            "Attribute {attribute} is not hot; its values are taken out of the projection part by part."
        )),
    }
}

pub(crate) async fn list(args: ListArgs) -> Result<()> {
    let target = Target::find(&args.data)?;
    let id = tenant::find(&target, &args.tenant).await?;
    let changes = tenant::admin(&target).await?.hot_changes(id).await?;
    if changes.is_empty() {
        return out::line(format!("Nothing was changed by hand for tenant {}.", args.tenant));
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

/// `1200 of 4000, 3 min left`: by the pace since it began, pauses between runs of maintain
/// included.
fn progress(change: &HotChange, now: Timestamp) -> String {
    let (Some(all), Some(began), None) = (change.of_entities, change.started_at, change.ended_at) else {
        return change.entities.to_string();
    };
    let left = all.saturating_sub(change.entities);
    let told = format!("{} of {all}", change.entities);
    if change.entities == 0 {
        return told;
    }
    let seconds = now.seconds_since(began).max(0.0) * left as f64 / change.entities as f64;
    format!("{told}, about {:.0} s left", seconds.ceil())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_is_told_by_the_pace_so_far() {
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
        assert_eq!(progress(&HotChange { entities: 0, ..change.clone() }, at(0)), "0 of 400");
        assert_eq!(progress(&HotChange { ended_at: Some(at(0)), ..change }, at(0)), "100");
    }
}
