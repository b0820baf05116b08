//! `eaves token`: tokens for the local platform's HTTP API.

use crate::target::{Data, Target};
use crate::{out, tenant};
use anyhow::{Result, bail};
use eaves_local::front::auth::Issuer;
use std::time::Duration;

/// What a token allows if nothing else is said.
const SCOPE: &str = "query:read telemetry:write";

const EXAMPLES: &str = "\
Examples:
  curl -H \"Authorization: Bearer $(eaves token --tenant acme)\" http://127.0.0.1:8080/v1/entities/pump-7
  eaves token --tenant acme --scope query:read --ttl 10m

A deployed platform takes tokens of its own issuer only.";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The tenant it is for
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// What it allows, separated by spaces
    #[arg(long, default_value = SCOPE)]
    scope: String,
    /// How long it holds, such as 30s, 15m, 1h or 7d
    #[arg(long, default_value = "1h", value_parser = duration)]
    ttl: Duration,
    #[command(flatten)]
    data: Data,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let target = Target::find(&args.data)?;
    out::line(sign(&target, &args.tenant, &args.scope, args.ttl).await?)
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
