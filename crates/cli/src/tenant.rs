//! `eaves tenant`: tenants.

use crate::out;
use crate::target::{Data, Target};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use eaves_model::TenantId;
use eaves_store::admin::AdminStore;

const EXAMPLES: &str = "\
Examples:
  eaves tenant create acme
  eaves tenant create globex --strict    entities and attributes must be registered first
  eaves tenant list";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a tenant, or change the settings of one that exists
    Create {
        /// Its name: lower case letters, digits and hyphens
        name: String,
        /// Take values only of entities and attributes that are registered
        #[arg(long)]
        strict: bool,
        /// How many attributes are kept in the hot projection by themselves
        #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=10_000))]
        hot_limit: u32,
        #[command(flatten)]
        data: Data,
    },
    /// List the tenants
    List {
        #[command(flatten)]
        data: Data,
    },
}

pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Create { name, strict, hot_limit, data } => {
            check(&name)?;
            let target = Target::find(&data)?;
            let id = admin(&target).await?.tenant_create(&name, strict, Some(hot_limit)).await?;
            out::line(format!("Tenant {name} has id {id}."))
        }
        Command::List { data } => list(&data).await,
    }
}

/// The id of a tenant that exists.
pub(crate) async fn find(target: &Target, name: &str) -> Result<TenantId> {
    let tenants = admin(target).await?.tenants().await?;
    let found = tenants.iter().find(|t| t.name == name).map(|t| t.id);
    found.with_context(|| {
        let names: Vec<&str> = tenants.iter().map(|t| t.name.as_str()).collect();
        let known = if names.is_empty() {
            "there are none".into()
        } else {
            format!("there are: {}", names.join(", "))
        };
        format!("there is no tenant {name} ({known}); make it with `eaves tenant create {name}`")
    })
}

/// The database as the operator.
pub(crate) async fn admin(target: &Target) -> Result<AdminStore> {
    let settings = target.postgres("eaves_admin")?;
    AdminStore::connect(&settings).await.context("connect to the database")
}

async fn list(data: &Data) -> Result<()> {
    let tenants = admin(&Target::find(data)?).await?.tenants().await?;
    if tenants.is_empty() {
        return out::line("There are no tenants. Make one with `eaves tenant create NAME`.");
    }
    let rows = tenants.into_iter().map(|t| {
        let strict = if t.strict { "yes" } else { "no" };
        vec![t.name, t.id.to_string(), strict.into()]
    });
    out::line(out::table(&["TENANT", "ID", "STRICT"], rows))
}

fn check(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || name.len() > 63
        || !name.chars().all(good)
        || name.starts_with('-')
        || name.ends_with('-')
    {
        bail!(
            "{name:?} is no tenant name: use 1 to 63 lower case letters, digits and inner hyphens, such as acme-eu"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn names_are_checked() {
        for good in ["acme", "a", "acme-2"] {
            assert!(super::check(good).is_ok(), "{good}");
        }
        for bad in ["", "Acme", "-a", "a-", "a b", "ä", &"a".repeat(64)] {
            assert!(super::check(bad).is_err(), "{bad}");
        }
    }
}
