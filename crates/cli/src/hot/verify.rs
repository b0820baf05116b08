//! `eaves hot verify`: the projection against history.

use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Result, bail};
use eaves_model::{EntityId, TenantId, Timestamp};
use eaves_store::admin::{AdminStore, HotCheck};

/// Entities that are compared at once: a flush is slower meanwhile.
const AT_ONCE: u32 = 200;
/// Differences that are shown.
const SHOWN: usize = 20;

/// Which entities.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The tenant's name
    tenant: String,
    /// Only so many entities, from places chosen at random
    #[arg(long, value_name = "ENTITIES", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Repair what is missing, stale or another value
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let target = Target::find(&args.data)?;
    let id = tenant::find(&target, &args.tenant).await?;
    let admin = tenant::admin(&target).await?;
    let all = compare(&admin, id, &args).await?;
    if !all.differences.is_empty() {
        let time =
            |at: Option<i64>| at.and_then(Timestamp::from_micros).map_or_else(String::new, |t| t.to_string());
        let rows = all.differences.iter().map(|d| {
            let (projected, folded) = (d.projected.to_string(), d.folded.to_string());
            let row = [
                &d.entity,
                &d.attribute,
                &d.kind,
                &projected,
                &time(d.projected_at),
                &folded,
                &time(d.folded_at),
            ];
            row.map(String::clone).to_vec()
        });
        out::line(out::table(&["ENTITY", "ATTRIBUTE", "KIND", "PROJECTED", "AT", "HISTORY", "AT"], rows))?;
    }
    let (entities, values, found) = (all.entities, all.values, all.found);
    if found == 0 {
        return out::line(format!("{values} hot values of {entities} entities are the latest of history."));
    }
    let told = format!("{found} of {values} hot values of {entities} entities differ from history");
    if !args.repair {
        bail!("{told}; --repair repairs all but those that are ahead");
    }
    out::line(format!("{told}; the rows of {} entities were repaired.", all.repaired))
}

/// Part by part, added up.
async fn compare(admin: &AdminStore, tenant: TenantId, args: &Args) -> Result<HotCheck> {
    let mut all = HotCheck::default();
    let mut after = EntityId(0);
    loop {
        let part = match args.sample {
            None => admin.hot_verify(tenant, after, AT_ONCE, args.repair).await?,
            Some(sample) => {
                let left = u64::from(sample).saturating_sub(all.entities);
                let some = u32::try_from(left).unwrap_or(AT_ONCE).min(AT_ONCE);
                if some == 0 {
                    return Ok(all);
                }
                admin.hot_verify_some(tenant, some, args.repair).await?
            }
        };
        all.entities += part.entities;
        all.values += part.values;
        all.found += part.found;
        all.repaired += part.repaired;
        let room = SHOWN.saturating_sub(all.differences.len());
        all.differences.extend(part.differences.into_iter().take(room));
        match part.last {
            Some(last) => after = EntityId(last),
            None => return Ok(all),
        }
    }
}
