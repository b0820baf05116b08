//! The functions with the settings they have in the SAM template.

use crate::endpoints::{Endpoints, Process};
use crate::lambda::invoke_api::InvokeApi;
use crate::lambda::{FunctionConfig, FunctionHost};
use crate::options::Options;
use anyhow::{Context as _, Result, bail};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The binaries.
const NAMES: [&str; 7] = [
    "eaves-ingest",
    "eaves-flush",
    "eaves-query",
    "eaves-maintain",
    "eaves-hot-projection",
    "eaves-olap-load",
    "eaves-plugin-admin",
];

/// Only where the HTTP API asks it.
const AUTHORIZER: &str = "eaves-authorizer";

/// Instances of plugin-admin, which a backtest has for itself: as many as there may be backtests at once
/// (`PLATFORM_BACKTESTS` in `eaves-registry`), and two for uploads and activations meanwhile.
const PLUGIN_ADMINS: usize = 6 + 2;

/// The running functions.
pub(crate) struct Functions {
    pub(crate) ingest: FunctionHost,
    pub(crate) flush: FunctionHost,
    pub(crate) query: FunctionHost,
    pub(crate) maintain: FunctionHost,
    pub(crate) hot_projection: FunctionHost,
    pub(crate) olap_load: FunctionHost,
    pub(crate) plugin_admin: FunctionHost,
    pub(crate) authorizer: Option<FunctionHost>,
    // Ends when it is dropped.
    _invoke: InvokeApi,
}

impl Functions {
    pub(crate) async fn start(
        endpoints: &Endpoints,
        options: &Options,
        bin: &Path,
        logs: &Path,
    ) -> Result<Self> {
        let e = endpoints;
        let config =
            |name: &str, role: &str, more: Vec<BTreeMap<String, String>>, seconds: u64, instances: usize| {
                let mut config = FunctionConfig::new(name, bin.join(name), logs);
                config.env = e.database_vars(role);
                config.env.extend(more.into_iter().flatten());
                config.env.extend(options.function_env.clone());
                config.region.clone_from(&e.region);
                config.timeout = Duration::from_secs(seconds);
                config.instances = instances;
                config
            };
        // plugin-admin compiles uploads, and works on backtests, which it starts itself over the
        // API that Lambda has for that. Over it ingest asks for plugins to be compiled anew.
        let invoke = InvokeApi::bind().await?;
        let invoke_vars = BTreeMap::from([("AWS_ENDPOINT_URL_LAMBDA".to_owned(), invoke.url())]);
        let ingest = vec![e.cache_vars(), e.registry_vars(), e.aws_vars(), invoke_vars.clone()];
        // The flush loop replays idle shards: it does then what ingest does.
        let flush = ingest.clone();
        let query =
            vec![e.replica_vars(), e.cache_vars(), e.stream_vars(), e.aws_vars(), e.superadmin_vars()];
        // A statement of maintenance, or one that reads a long transaction, may take long; the
        // function ends before it would.
        let timeout = BTreeMap::from([("EAVES_DB_TIMEOUT_MS".to_owned(), "240000".to_owned())]);
        let maintain = vec![timeout.clone(), e.cache_vars()];
        // It asks the tenants' plugins, and does what follows from nothing itself.
        let hot = vec![e.registry_vars(), e.aws_vars()];
        let olap = vec![e.archive_vars(), e.aws_vars(), timeout];
        let shards = usize::try_from(options.shards).unwrap_or(1);
        let admin = vec![e.replica_vars(), e.cache_vars(), e.registry_vars(), e.aws_vars(), invoke_vars];
        let (ingest, flush, query, maintain, hot_projection, olap_load, plugin_admin) = tokio::join!(
            start(config(
                "eaves-ingest",
                "eaves_ingest",
                ingest,
                60,
                options.ingest_instances.unwrap_or(shards)
            )),
            start(config("eaves-flush", "eaves_flush", flush, 75, 1)),
            start(config("eaves-query", "eaves_query", query, 29, options.query_instances)),
            start(config("eaves-maintain", "eaves_flush", maintain, 300, 1)),
            start(config("eaves-hot-projection", "eaves_query", hot, 300, 1)),
            start(config("eaves-olap-load", "eaves_olap", olap, 300, 1)),
            start(config("eaves-plugin-admin", "eaves_query", admin, 900, PLUGIN_ADMINS)),
        );
        let authorizer = match options.authorizer_function {
            true => Some(start(authorizer(endpoints, options, bin, logs)).await?),
            false => None,
        };
        let plugin_admin = plugin_admin?;
        invoke.serve(vec![plugin_admin.clone()]);
        Ok(Self {
            ingest: ingest?,
            flush: flush?,
            query: query?,
            maintain: maintain?,
            hot_projection: hot_projection?,
            olap_load: olap_load?,
            plugin_admin,
            authorizer,
            _invoke: invoke,
        })
    }

    pub(crate) fn all(&self) -> Vec<&FunctionHost> {
        let Self { ingest, flush, query, maintain, hot_projection, olap_load, plugin_admin, .. } = self;
        let seven = [ingest, flush, query, maintain, hot_projection, olap_load, plugin_admin];
        seven.into_iter().chain(&self.authorizer).collect()
    }

    pub(crate) async fn stop(&self, grace: Duration) {
        futures_util::future::join_all(self.all().into_iter().map(|function| function.stop(grace))).await;
    }

    pub(crate) fn processes(&self) -> Vec<Process> {
        let of = |function: &FunctionHost| {
            let instances = function.instances().into_iter().enumerate();
            let name = function.name().to_owned();
            let process =
                move |(index, (pid, log))| Process { name: format!("{name} {index}"), pid, port: None, log };
            instances.map(process).collect::<Vec<_>>()
        };
        self.all().into_iter().flat_map(of).collect()
    }
}

/// It knows the issuer, and nothing of the rest. There are as many as of query, which it stands before.
fn authorizer(endpoints: &Endpoints, options: &Options, bin: &Path, logs: &Path) -> FunctionConfig {
    let mut config = FunctionConfig::new(AUTHORIZER, bin.join(AUTHORIZER), logs);
    config.env = endpoints.authorizer_vars();
    config.env.extend(options.function_env.clone());
    config.region.clone_from(&endpoints.region);
    config.timeout = Duration::from_secs(10);
    config.instances = options.query_instances;
    config
}

async fn start(config: FunctionConfig) -> Result<FunctionHost> {
    let name = config.name.clone();
    FunctionHost::spawn(config).await.with_context(|| format!("start the function {name}"))
}

/// The folder with the function binaries, with all of them in it that are needed: the chosen one, that of
/// the running program, or the one above it where cargo puts tests and examples.
pub(crate) fn bin_dir(options: &Options) -> Result<PathBuf> {
    let folder = match options.bin_dir.as_deref() {
        Some(chosen) => chosen.to_path_buf(),
        None => own_folder()?,
    };
    let folder = folder.canonicalize().with_context(|| format!("find the folder {}", folder.display()))?;
    let names = NAMES.into_iter().chain(options.authorizer_function.then_some(AUTHORIZER));
    let missing: Vec<&str> = names.filter(|name| !folder.join(name).is_file()).collect();
    if !missing.is_empty() {
        let (names, folder) = (missing.join(", "), folder.display());
        bail!(
            "{folder} has no {names}: build with `cargo build --workspace`, or choose another folder with --bin"
        );
    }
    Ok(folder)
}

fn own_folder() -> Result<PathBuf> {
    let program = std::env::current_exe().context("find the running program")?;
    let folder = program.parent().context("the running program is in no folder")?;
    let above = ["deps", "examples"].iter().any(|name| folder.ends_with(name));
    Ok(if above { folder.parent().unwrap_or(folder).to_path_buf() } else { folder.to_path_buf() })
}
