//! `eaves plugin limits`: what a tenant's plugins may cost, set by the operator.

use crate::out;
use crate::target::{Data, Target};
use crate::tenant;
use anyhow::{Context as _, Result};
use eaves_registry::{Registry, TenantPolicy};

/// Arguments of `eaves plugin limits`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Whose
    #[arg(long, value_name = "NAME")]
    tenant: String,
    /// Most bytes of a component
    #[arg(long)]
    max_bytes: Option<u64>,
    /// Most versions
    #[arg(long)]
    max_versions: Option<u32>,
    /// Most uploads in an hour
    #[arg(long)]
    uploads_per_hour: Option<u32>,
    /// Most milliseconds for 1,000 values
    #[arg(long)]
    ms_per_1000: Option<u32>,
    /// Most bytes of memory of a call, up to 67108864
    #[arg(long)]
    memory_bytes: Option<u64>,
    /// Why, for the audit trail
    #[arg(long, default_value = "")]
    why: String,
    #[command(flatten)]
    data: Data,
}

pub(super) async fn run(args: Args) -> Result<()> {
    let target = Target::find(&args.data)?;
    let tenant = tenant::find(&target, &args.tenant).await?;
    let settings = eaves_settings::Registry::read(&target.vars("eaves_admin"))?;
    let registry = Registry::connect(&target.aws().await, &settings).await?;
    let before = registry.policy(tenant).await?;
    let after = TenantPolicy {
        max_bytes: args.max_bytes.unwrap_or(before.max_bytes),
        max_versions: args.max_versions.unwrap_or(before.max_versions),
        uploads_per_hour: args.uploads_per_hour.unwrap_or(before.uploads_per_hour),
        ms_per_1000: args.ms_per_1000.unwrap_or(before.ms_per_1000),
        memory_bytes: args.memory_bytes.unwrap_or(before.memory_bytes),
        ..before.clone()
    };
    let now = if after == before {
        before
    } else {
        registry.set_policy(tenant, after, "operator", &args.why).await.context("set the limits")?
    };
    let publishers: Vec<&str> = now.publishers.keys().map(String::as_str).collect();
    out::line(format!(
        "bytes of a component: {}\nversions: {}\nuploads an hour: {}\nmilliseconds for 1,000 values: {}\n\
         bytes of memory of a call: {}\nsignature required: {}\npublishers: {}",
        now.max_bytes,
        now.max_versions,
        now.uploads_per_hour,
        now.ms_per_1000,
        now.memory_bytes,
        now.require_signature,
        publishers.join(", ")
    ))
}
