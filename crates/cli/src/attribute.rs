//! `eaves attribute`: a tenant's attributes and their limits.

use crate::out;
use crate::target::{Data, Target};
use crate::tenant::{self, Limits, shown};
use anyhow::{Result, bail};
use clap::Subcommand;

const EXAMPLES: &str = "\
Examples:
  eaves attribute list acme
  eaves attribute set acme meter_reading --late 400d:reject --ahead 1m:quarantine
  eaves attribute set acme heartbeat --late accept     however late, whatever the tenant's limit
  eaves attribute set acme heartbeat --late none       the tenant's limit again

A limit is a time and what is done beyond it: accept, reject or quarantine. See docs/points.md.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Change the limits of one attribute and leave the others as they are
    Set {
        /// The tenant's name
        tenant: String,
        /// The attribute's name
        attribute: String,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        data: Data,
    },
    /// List a tenant's attributes
    List {
        /// The tenant's name
        tenant: String,
        #[command(flatten)]
        data: Data,
    },
}

pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Set { tenant, attribute, limits, data } => {
            let target = Target::find(&data)?;
            let id = tenant::find(&target, &tenant).await?;
            if !tenant::admin(&target).await?.attribute_set(id, &attribute, limits.change()).await? {
                bail!("tenant {tenant} has no attribute {attribute}; its first value makes it");
            }
            out::line(format!("Attribute {attribute} is changed; a running platform follows within 10 s."))
        }
        Command::List { tenant, data } => {
            let target = Target::find(&data)?;
            let id = tenant::find(&target, &tenant).await?;
            let attributes = tenant::admin(&target).await?.attribute_settings(id).await?;
            if attributes.is_empty() {
                return out::line(format!("Tenant {tenant} has no attributes yet."));
            }
            let rows = attributes.into_iter().map(|a| {
                let hot = if a.is_hot { "yes" } else { "no" };
                let (late, ahead) = (shown(a.limits.late), shown(a.limits.ahead));
                vec![a.name, a.value_type.name().into(), a.unit, hot.into(), late, ahead]
            });
            out::line(out::table(&["ATTRIBUTE", "TYPE", "UNIT", "HOT", "LATE", "AHEAD"], rows))
        }
    }
}
