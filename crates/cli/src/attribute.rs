//! `eaves attribute`: a tenant's attributes and their limits.

use crate::out;
use crate::target::{Data, Target};
use crate::tenant::{self, Limits, shown};
use anyhow::{Result, anyhow, bail};
use clap::Subcommand;
use eaves_model::ValueType;
use eaves_model::reading::check_name;

const EXAMPLES: &str = "\
Examples:
  eaves attribute list acme
  eaves attribute add acme energy --type decimal --unit kWh
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
    /// Make an attribute before its first value comes, with the type that it shall have
    Add {
        /// The tenant's name
        tenant: String,
        /// The attribute's name
        attribute: String,
        /// string, integer, float, decimal, boolean or timestamp
        #[arg(long = "type", value_name = "TYPE")]
        value_type: ValueType,
        /// Its unit, up to 64 characters
        #[arg(long)]
        unit: Option<String>,
        /// What it is, up to 1000 characters
        #[arg(long)]
        description: Option<String>,
        #[command(flatten)]
        data: Data,
    },
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
        Command::Add { tenant, attribute, value_type, unit, description, data } => {
            check_name("attribute", &attribute).map_err(|e| anyhow!(e.message))?;
            for (what, text, most) in [("unit", &unit, 64), ("description", &description, 1000)] {
                // As over HTTP.
                let control = |c: char| c.is_control() && c != '\n';
                if text.as_ref().is_some_and(|t| t.chars().count() > most || t.contains(control)) {
                    bail!("--{what} has more than {most} characters, or control characters");
                }
            }
            let target = Target::find(&data)?;
            let id = tenant::find(&target, &tenant).await?;
            let (unit, description) = (unit.as_deref(), description.as_deref());
            let admin = tenant::admin(&target).await?;
            let declared = admin.attribute_declare(id, (&attribute, value_type), unit, description).await?;
            if declared.value_type != value_type {
                let is = declared.value_type;
                bail!(
                    "tenant {tenant} has {attribute} as {is}, and values of it may be stored: take another name"
                );
            }
            let done = if declared.made { "is made" } else { "was there already" };
            out::line(format!("Attribute {attribute} {done}: {value_type}."))
        }
        Command::Set { tenant, attribute, limits, data } => {
            let target = Target::find(&data)?;
            let id = tenant::find(&target, &tenant).await?;
            if !tenant::admin(&target).await?.attribute_set(id, &attribute, limits.change()).await? {
                bail!(
                    "tenant {tenant} has no attribute {attribute}: its first value makes it, or `eaves attribute add`"
                );
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
