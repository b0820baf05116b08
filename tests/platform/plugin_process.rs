//! The process in which an instance of ingest runs plugins: what it holds and may do, looked at from outside.

use crate::instance::{Fate, Instance, fate};
use crate::plugin_life::{level, put_in_force};
use crate::plugin_many::rule;
use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use serde_json::json;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;

/// What ingest must not hand on.
const SECRETS: [&str; 3] = ["AWS_SECRET_ACCESS_KEY", "EAVES_PLUGIN_KEY", "EAVES_DB_PASSWORD"];

fn read(pid: u32, what: &str) -> Result<String> {
    let path = format!("/proc/{pid}/{what}");
    std::fs::read_to_string(&path).with_context(|| format!("read {path}"))
}

/// A line of a process's status.
fn status(pid: u32, name: &str) -> Result<u32> {
    let status = read(pid, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(line.with_context(|| format!("no {name} in {status}"))?.trim().parse()?)
}

/// An instance of which a tenant's plugin has judged a value, and so has its process.
async fn judging(w: &World, mut instance: Instance, tenant: &str) -> Result<Instance> {
    w.execute(&format!("select tenant_create('{tenant}', false, 64)")).await?;
    let wasm = base64::engine::general_purpose::STANDARD.encode(rule(10.0, 3_000_000)?);
    let body = json!({"name": "limits", "version": "1.0.0", "wasm_base64": wasm});
    let up = w.admin(tenant, "POST", "/v1/plugins", body).await?;
    ensure!(up.status == 201, "{} {}", up.status, up.text);
    put_in_force(w, tenant, "limits@1.0.0", "activate", json!({})).await?;
    instance.take(&[level(tenant, "under", 1, 5.0), level(tenant, "over", 1, 50.0)]).await?;
    let under = fate(w, tenant, "under").await?;
    ensure!(under == Fate::Taken { validated: true }, "{under:?}");
    let over = fate(w, tenant, "over").await?;
    ensure!(matches!(&over, Fate::Refused { reason, .. } if reason == "above_max"), "{over:?}");
    Ok(instance)
}

/// No variable, no descriptor but its own, nothing to be gained, no more than its limits.
fn holds_nothing(ingest: u32, runner: u32) -> Result<()> {
    // The instance itself does hold what is looked for; only root may see that.
    match read(ingest, "environ") {
        Ok(own) => {
            for secret in SECRETS {
                ensure!(own.contains(secret), "the instance has no {secret}: the test looks for nothing");
            }
        }
        Err(e) => {
            let refused = e.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
            ensure!(refused == Some(ErrorKind::PermissionDenied), "{e:#}");
        }
    }
    let environ = read(runner, "environ")?;
    ensure!(environ.is_empty(), "its environment: {environ:?}");
    ensure!(read(runner, "cmdline")?.ends_with("run-plugins\0"), "{:?}", read(runner, "cmdline")?);
    ensure!(status(runner, "NoNewPrivs")? == 1, "it may gain rights");
    let mut opened = Vec::new();
    for descriptor in std::fs::read_dir(format!("/proc/{runner}/fd"))? {
        opened.push(std::fs::read_link(descriptor?.path())?.display().to_string());
    }
    let known = ["socket:", "/memfd:eaves-columns", "/memfd:eaves-plugin", "/dev/null"];
    let pagemap = format!("/proc/{runner}/pagemap");
    let own = |fd: &String| known.iter().any(|k| fd.starts_with(k)) || *fd == pagemap;
    ensure!(opened.iter().all(|fd| own(fd) || fd == "/proc/self/pagemap"), "{opened:?}");
    // As standard input and as the descriptor in use: to the instance, which made a pair of them.
    let mut sockets: Vec<&String> = opened.iter().filter(|fd| fd.starts_with("socket:")).collect();
    sockets.dedup();
    ensure!(sockets.len() == 1, "{opened:?}");
    for table in ["tcp", "tcp6", "udp", "udp6"] {
        let inode = sockets[0].trim_start_matches("socket:[").trim_end_matches(']');
        let connected = read(runner, &format!("net/{table}")).unwrap_or_default();
        let mut lines = connected.lines().filter_map(|line| line.split_whitespace().nth(9));
        ensure!(lines.all(|of| of != inode), "its socket is one of {table}");
    }
    let limits = read(runner, "limits")?;
    for (what, most) in [("Max processes", "0"), ("Max core file size", "0"), ("Max data size", "1073741824")]
    {
        let line = limits.lines().find_map(|line| line.strip_prefix(what)).context(what)?;
        ensure!(line.split_whitespace().take(2).eq([most, most]), "{what}{line}");
    }
    Ok(())
}

/// The child that a real instance of ingest has started.
pub(crate) async fn the_process_for_plugins_holds_nothing(w: &World) -> Result<()> {
    let instance = Instance::start(w, "shardId-000000009990").await?;
    let instance = judging(w, instance, "process-locked").await?;
    let (ingest, runner) = (instance.pid()?, instance.runner()?);
    holds_nothing(ingest, runner)?;
    ensure!(status(runner, "Seccomp")? == 2, "it is under no filter of system calls");
    let filters = |pid| status(pid, "Seccomp_filters");
    ensure!(filters(runner)? > filters(ingest)?, "it has no filter of its own");
    ensure!(!instance.log()?.contains("takes no filter"), "{}", instance.log()?);
    instance.stop().await
}

/// Where the kernel takes no filter, as Lambda's may not: ingest says so in its log and goes on, and all
/// other walls stand.
pub(crate) async fn without_a_filter_ingest_says_so_and_goes_on(w: &World) -> Result<()> {
    let mut config = w.ingest().clone();
    let tool = w.program().with_file_name("eaves-plugin-tool");
    let folder = tempfile::tempdir()?;
    let script = folder.path().join("ingest");
    let (tool, binary) = (tool.display(), config.binary.display());
    std::fs::write(&script, format!("#!/bin/sh\nexec '{tool}' without-filters '{binary}'\n"))?;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700))?;
    config.binary = script;
    let instance = Instance::of(&config, "shardId-000000009989").await?;
    let instance = judging(w, instance, "process-unlocked").await?;
    let (ingest, runner) = (instance.pid()?, instance.runner()?);
    holds_nothing(ingest, runner)?;
    let filters = |pid| status(pid, "Seccomp_filters");
    ensure!(filters(runner)? == filters(ingest)?, "it has a filter of its own: the test tests nothing");
    let log = instance.log()?;
    let warned = log.lines().filter(|line| line.contains("takes no filter of system calls")).count();
    ensure!(warned == 1, "warned {warned} times:\n{log}");
    instance.stop().await
}
