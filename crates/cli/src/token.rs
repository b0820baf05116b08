//! `eaves token`: tokens for the local platform's HTTP API.

use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use eaves_local::front::auth::{Issuer, Kind};
use std::time::Duration;

/// What a token allows if nothing else is said.
const SCOPE: &str = "query:read telemetry:write";

const EXAMPLES: &str = "\
Examples:
  curl -H \"Authorization: Bearer $(eaves token --tenant acme)\" http://127.0.0.1:8080/v1/entities/pump-7
  eaves token --tenant acme --scope query:read --ttl 10m
  eaves token --operator jane@example.org --scope admin      to read across tenants
  eaves token rotate --algorithm ES256                       sign with a new key from now on
  eaves token keys                                           the keys that are taken
  eaves token retire KID                                     take no tokens of a key any more

A deployed platform takes tokens of its own issuer only.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Option<Command>,
    /// The tenant it is for
    #[arg(long, value_name = "NAME", required_unless_present = "operator", conflicts_with = "operator")]
    tenant: Option<String>,
    /// For somebody who operates the platform; reads across tenants are noted under this name
    #[arg(long, value_name = "WHO")]
    operator: Option<String>,
    /// What it allows, separated by spaces
    #[arg(long, default_value = SCOPE)]
    scope: String,
    /// How long it holds, such as 30s, 15m, 1h or 7d
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    #[command(flatten)]
    data: Data,
}

#[derive(Subcommand)]
enum Command {
    /// Sign with a new key from now on; tokens of the one before are taken until it is retired
    Rotate {
        /// RS256, ES256 or EdDSA
        #[arg(long, default_value = "RS256")]
        algorithm: Kind,
        #[command(flatten)]
        data: Data,
    },
    /// Take no tokens of a key any more
    Retire {
        /// Its name, as `eaves token keys` lists it
        kid: String,
        #[command(flatten)]
        data: Data,
    },
    /// List the keys that are taken; the last one signs
    Keys {
        #[command(flatten)]
        data: Data,
    },
}

pub(crate) async fn run(args: Args) -> Result<()> {
    if let Some(command) = args.command {
        return keys(command);
    }
    let target = Target::find(&args.data)?;
    let token = match (&args.tenant, &args.operator) {
        (Some(tenant), _) => sign(&target, tenant, &args.scope, args.ttl).await?,
        (None, Some(who)) => sign_operator(&target, who, &args.scope, args.ttl)?,
        (None, None) => bail!("whom is it for? Give --tenant NAME or --operator WHO"),
    };
    out::line(token)
}

fn keys(command: Command) -> Result<()> {
    let key = |data: &Data| -> Result<std::path::PathBuf> {
        Ok(Target::find(data)?.local("changing keys")?.token_key.clone())
    };
    match command {
        Command::Rotate { algorithm, data } => {
            let issuer = Issuer::rotate(&key(&data)?, algorithm)?;
            out::line(format!(
                "{} signs from now on. Tokens of the key before are taken until `eaves token retire`.",
                issuer.kid()
            ))
        }
        Command::Retire { kid, data } => {
            Issuer::retire(&key(&data)?, &kid)?;
            out::line(format!("Tokens signed with {kid} are refused from now on."))
        }
        Command::Keys { data } => {
            let keys = Issuer::taken(&key(&data)?)?;
            out::line(out::table(&["KEY", "ALGORITHM"], keys.into_iter().map(|(kid, alg)| vec![kid, alg])))
        }
    }
}

/// A token for somebody who operates the local platform.
pub(crate) fn sign_operator(target: &Target, who: &str, scope: &str, ttl: Duration) -> Result<String> {
    let endpoints = target.local("making tokens")?;
    Issuer::load(&endpoints.token_key)?.operator_token(who, scope, ttl).context("sign the token")
}

/// A token for a tenant of the local platform.
pub(crate) async fn sign(target: &Target, tenant: &str, scope: &str, ttl: Duration) -> Result<String> {
    let endpoints = target.local("making tokens")?;
    let id = tenant::find(target, tenant).await?;
    Issuer::load(&endpoints.token_key)?.token(tenant, i64::from(id.0), scope, ttl)
}

fn duration(text: &str) -> Result<Duration> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        _ => bail!("give a number with s, m, h or d, such as 15m"),
    };
    match digits.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)) {
        Some(seconds) if (1..=10 * 365 * 86_400).contains(&seconds) => Ok(Duration::from_secs(seconds)),
        _ => bail!("give a time from 1s to 3650d, such as 15m"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [("30s", 30), ("90", 90), ("15m", 900), ("1h", 3600), ("7d", 604_800)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(seconds), "{text}");
        }
        for bad in ["", "h", "0s", "-1s", "1w", "1.5h", "99999999999999999999d", "9999d"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
