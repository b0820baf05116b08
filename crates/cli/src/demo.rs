//! `eaves demo`: the whole platform at work, in a folder that is gone afterwards.

use crate::out;
use anyhow::{Context as _, Result, bail, ensure};
use eaves_local::{Endpoints, Options, Platform};
use eaves_settings::Postgres;
use eaves_store::admin::{AdminStore, LedgerTotal};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::process::Command;

/// The tenant with a plugin, and the one without.
const RULED: &str = "acme";
const FREE: &str = "globex";
/// What the plugin of [`RULED`] takes.
const RULES: &str = r#"{"attributes":{"temperature":{"min":-40,"max":150},"power_kw":{"min":0,"max":500}}}"#;
/// How long what was sent may take to arrive once the fleet has stopped.
const ARRIVE: Duration = Duration::from_secs(60);

/// Start everything in a temporary folder, play a fleet, ask queries, stop
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Go on running until Ctrl-C
    #[arg(long)]
    keep: bool,
    /// How long the fleet plays, seconds
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Values per second of the fleet
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    rate: u64,
    /// Port of the HTTP API [default: a free one]
    #[arg(long)]
    port: Option<u16>,
    /// The example plugin [default: target/plugins/telemetry-rules.wasm, from `make plugins`]
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let plugin = find_plugin(args.plugin.clone())?;
    heading("Starting the platform")?;
    let started = Instant::now();
    let mut options = Options::ephemeral();
    options.http_port = args.port;
    options.progress = Some(Arc::new(|text: &str| drop(out::line(format!("  {text}")))));
    let platform = Platform::start(options).await?;
    out::line(format!("  ready after {:.1} s", started.elapsed().as_secs_f64()))?;
    let demo = Demo { endpoints: platform.endpoints().clone() };
    let ended = tokio::select! {
        ended = demo.play(&args, &plugin) => ended,
        why = platform.failure() => Err(anyhow::anyhow!("the platform failed: {why}")),
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    platform.stop().await;
    out::line("\nStopped; nothing is left running.")?;
    ended
}

struct Demo {
    endpoints: Endpoints,
}

impl Demo {
    async fn play(&self, args: &Args, plugin: &str) -> Result<()> {
        heading("Two tenants, one with a plugin of its own")?;
        self.show(&["tenant", "create", RULED]).await?;
        self.show(&["tenant", "create", FREE]).await?;
        let push = ["plugin", "push", plugin, "--tenant", RULED, "--name", "telemetry-rules"];
        self.show(&[&push[..], &["--version", "0.1.0", "--settings", RULES, "--activate"]].concat()).await?;

        heading(&format!("A fleet sends {} values/s to Kinesis for {} s", args.rate, args.seconds))?;
        let admin =
            AdminStore::connect(&Postgres::primary(&self.endpoints.database_vars("eaves_admin"))?).await?;
        let sent = self.simulate(args, &admin).await?;
        out::line(format!("  {}", sent.trim()))?;
        let totals = self.arrived(&admin).await?;
        summary(&totals)?;

        heading("Questions, and how fresh the answers are")?;
        let device = self.a_device().await?;
        self.show(&["query", "entity", &device, "--tenant", RULED, "--consistency", "strong"]).await?;
        self.show(&["query", "entity", &device, "--tenant", RULED]).await?;
        self.show(&[
            "query",
            "history",
            &device,
            "temperature",
            "--tenant",
            RULED,
            "--from",
            "1h",
            "--limit",
            "5",
        ])
        .await?;
        self.show(&[
            "query",
            "search",
            "temperature>20",
            "--tenant",
            RULED,
            "--limit",
            "3",
            "--fields",
            "temperature,status",
        ])
        .await?;
        self.isolation(&admin).await?;
        self.how_to_go_on(&device).await?;
        if args.keep {
            out::line("\nRunning. Ctrl-C stops everything.")?;
            std::future::pending::<()>().await;
        }
        Ok(())
    }

    fn eaves(&self, args: &[&str]) -> Command {
        let exe = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("eaves"));
        let mut command = Command::new(exe);
        command
            .args(args)
            .env("EAVES_DATA_DIR", &self.endpoints.data_dir)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs a command as a user would type it, and shows both.
    async fn show(&self, args: &[&str]) -> Result<()> {
        let typed: Vec<String> = args.iter().map(|a| shell(a)).collect();
        out::line(format!("\n  $ eaves {}", typed.join(" ")))?;
        let output = self.eaves(args).output().await.context("run eaves")?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
        out::line(indent(&String::from_utf8_lossy(&output.stdout)))
    }

    /// Plays the fleet and shows each second what has become of it so far.
    async fn simulate(&self, args: &Args, admin: &AdminStore) -> Result<String> {
        let (tenants, rate, time) =
            (format!("{RULED},{FREE}"), args.rate.to_string(), format!("{}s", args.seconds));
        let mut command =
            self.eaves(&["simulate", "--tenant", &tenants, "--devices", "400", "--faulty", "0.02"]);
        command.args(["--rate", &rate, "--for", &time]).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut playing = std::pin::pin!(command.output());
        let (began, mut before) = (Instant::now(), 0);
        let mut second = tokio::time::interval(Duration::from_secs(1));
        second.tick().await;
        loop {
            tokio::select! {
                ended = &mut playing => {
                    let ended = ended.context("run eaves simulate")?;
                    let told = String::from_utf8_lossy(&ended.stderr).into_owned() + &String::from_utf8_lossy(&ended.stdout);
                    ensure!(ended.status.success(), "eaves simulate: {}", told.trim());
                    return Ok(told.lines().rfind(|l| !l.trim().is_empty()).unwrap_or_default().to_owned());
                }
                _ = second.tick() => before = progress(admin, began, before).await?,
            }
        }
    }

    /// Waits until nothing is staged and the counts stand still.
    async fn arrived(&self, admin: &AdminStore) -> Result<Vec<LedgerTotal>> {
        let end = Instant::now() + ARRIVE;
        let mut last = Vec::new();
        loop {
            let totals = admin.ledger_totals(None).await?;
            let staged = admin.pipeline_status().await?["staged_rows"].as_i64().unwrap_or(0);
            if staged == 0 && !totals.is_empty() && totals == last {
                return Ok(totals);
            }
            if Instant::now() > end {
                bail!("what was sent has not arrived after {} s", ARRIVE.as_secs());
            }
            last = totals;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    /// A device of the first tenant that has a temperature.
    async fn a_device(&self) -> Result<String> {
        let args = ["query", "search", "temperature>-1000", "--tenant", RULED, "--limit", "1", "--json"];
        let output = self.eaves(&args).output().await?;
        let answer: serde_json::Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        let id = answer["entities"][0]["external_id"].as_str().context("no device has a temperature")?;
        Ok(id.to_owned())
    }

    /// What one tenant sent, another cannot see: not as strong, not from the cache.
    async fn isolation(&self, admin: &AdminStore) -> Result<()> {
        const OWN: &str = "only-acme-has-this";
        let now = eaves_model::Timestamp::now();
        let reading =
            format!(r#"{{"entity":"{OWN}","observed_at":"{now}","values":{{"temperature":21.5}}}}"#);
        let mut send = self
            .eaves(&["send", "--tenant", RULED])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut input = send.stdin.take().context("standard input of eaves send")?;
        tokio::io::AsyncWriteExt::write_all(&mut input, reading.as_bytes()).await?;
        drop(input);
        ensure!(send.wait().await?.success(), "eaves send failed");
        self.arrived(admin).await?;
        self.show(&["query", "entity", OWN, "--tenant", RULED]).await?;
        let foreign = ["query", "entity", OWN, "--tenant", FREE];
        out::line(format!("\n  $ eaves {}", foreign.join(" ")))?;
        let answer = self.eaves(&foreign).output().await?;
        ensure!(!answer.status.success(), "{FREE} was shown an entity of {RULED}");
        out::line(indent(&String::from_utf8_lossy(&answer.stderr)))
    }

    async fn how_to_go_on(&self, device: &str) -> Result<()> {
        heading("How to go on")?;
        let token = self.eaves(&["token", "--tenant", RULED]).output().await?;
        let token = String::from_utf8_lossy(&token.stdout).trim().to_owned();
        let url = &self.endpoints.api_url;
        out::line(format!(
            "  The API listens at {url} (to read about it: {url}/docs). While the platform runs:\n\n\
             export EAVES_DATA_DIR={}\n\
             TOKEN={token}\n\
             curl -si -H \"Authorization: Bearer $TOKEN\" '{url}/v1/entities/{device}?consistency=strong'\n\
             curl -s -H \"Authorization: Bearer $TOKEN\" '{url}/v1/freshness'\n\
             curl -s -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' '{url}/v1/telemetry' \\\n  \
             -d '{{\"entity\":\"mine-1\",\"observed_at\":\"'$(date -u +%FT%TZ)'\",\"values\":{{\"temperature\":21.5}}}}'\n\n  \
             `KEEP=1 make demo` or `eaves local up` keep it running.",
            self.endpoints.data_dir.display()
        ))
    }
}

/// One line a second: rate, outcomes, staging, flush.
async fn progress(admin: &AdminStore, began: Instant, before: u64) -> Result<u64> {
    let totals = admin.ledger_totals(None).await?;
    let status = admin.pipeline_status().await?;
    let sum = |outcome: &str| totals.iter().filter(|t| t.outcome == outcome).map(|t| t.count).sum::<u64>();
    let accepted = sum("accepted");
    out::line(format!(
        "  {:>3.0} s  {:>7} values/s   accepted {:>9}   rejected {:>6}   quarantined {:>5}   staged {:>7}   flush lag {:>4.0} ms",
        began.elapsed().as_secs_f64(),
        accepted.saturating_sub(before),
        accepted,
        sum("rejected"),
        sum("quarantined"),
        status["staged_rows"].as_i64().unwrap_or(0),
        status["oldest_staged_seconds"].as_f64().unwrap_or(0.0) * 1e3,
    ))?;
    Ok(accepted)
}

/// What became of everything, by tenant and reason.
fn summary(totals: &[LedgerTotal]) -> Result<()> {
    let mut rows: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    for t in totals {
        let tenant = if t.tenant_name.is_empty() { "(no such tenant)".into() } else { t.tenant_name.clone() };
        *rows.entry((tenant, t.outcome.clone(), t.reason.clone())).or_default() += t.count;
    }
    let rows =
        rows.into_iter().map(|((tenant, outcome, reason), n)| vec![tenant, outcome, reason, n.to_string()]);
    out::line(format!("\n{}", indent(&out::table(&["tenant", "outcome", "reason", "count"], rows))))?;
    out::line("  (values; records for redelivered, and what could not be decoded counts as one)")
}

fn find_plugin(given: Option<PathBuf>) -> Result<String> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.parent()?.join("plugins/telemetry-rules.wasm")));
    let path = given.or(beside).context("find the example plugin")?;
    ensure!(path.is_file(), "there is no {}: run `make plugins`, or name one with --plugin", path.display());
    Ok(path.to_string_lossy().into_owned())
}

fn heading(text: &str) -> Result<()> {
    out::line(format!("\n== {text}"))
}

fn indent(text: &str) -> String {
    text.trim_end().lines().map(|l| format!("    {l}")).collect::<Vec<_>>().join("\n")
}

/// An argument as a shell takes it.
fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,".contains(c);
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("'{text}'") }
}
