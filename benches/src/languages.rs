//! What a value costs in each language that plugins are written in: the project that
//! `eaves plugin new` makes, built by `eaves plugin build`; in JavaScript also with the range and
//! enum rules of [`crate::plugin`] in its place.

use crate::plugin;
use crate::results::Figure;
use anyhow::{Context as _, Result, ensure};
use eaves_model::batch::Batch;
use eaves_plugin_host::{Host, HostConfig, speed};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const VALUES: usize = 10_000;

/// The language, the figure, and at most how many nanoseconds a value are wanted.
const LANGUAGES: [(&str, &str, f64, usize); 4] = [
    ("rust", NAMES[0], 30.0, 200),
    ("c", NAMES[1], 30.0, 200),
    ("assemblyscript", NAMES[2], 30.0, 200),
    ("js", NAMES[3], 1_500.0, 50),
];

pub(crate) const NAMES: [&str; 4] = [
    "plugin_rust_ns_per_value",
    "plugin_c_ns_per_value",
    "plugin_assemblyscript_ns_per_value",
    "plugin_js_ns_per_value",
];

pub(crate) fn measure(wanted: &impl Fn(&[&str]) -> bool) -> Result<Vec<Figure>> {
    let asked = LANGUAGES.into_iter().filter(|(_, name, ..)| wanted(&[name]));
    asked.map(|(language, name, target, calls)| one(language, name, target, calls)).collect()
}

fn one(language: &str, name: &'static str, target: f64, calls: usize) -> Result<Figure> {
    let made = Measured::of(&built(language, None)?, &batch(), "{}", calls)
        .with_context(|| format!("the {language} project"))?;
    let note = format!(
        "{VALUES} values a call, the rules of `eaves plugin new --lang {language}` with values before looked up, a \
         fresh instance per call; {}",
        made.what
    );
    if language != "js" {
        let note = format!("{note}; baseline: the target");
        return Ok(Figure::new(name, made.speed.median_ns, "ns", target, calls as u64, note));
    }
    let ranges = |source| -> Result<Measured> {
        Measured::of(
            &built(language, Some(source))?,
            &speed::device_batch(VALUES),
            plugin::ONE_PERCENT,
            calls,
        )
    };
    let function =
        ranges(include_str!("../languages/ranges-by-function.ts")).context("rules by a function")?;
    let ranges = ranges(include_str!("../languages/ranges.ts")).context("rules by checks")?;
    let note = format!(
        "{VALUES} values a call, all seen by range and enum rules as `checks`, 1 % rejected with a reason, a fresh \
         instance per call; {}; {:.0} ns if a function calls `range` and `oneOf` for each value; {:.0} ns for {note}; \
         baseline: the target",
        ranges.what, function.speed.median_ns, made.speed.median_ns
    );
    Ok(Figure::new(name, ranges.speed.median_ns, "ns", target, calls as u64, note))
}

struct Measured {
    speed: speed::Speed,
    what: String,
}

impl Measured {
    fn of(wasm: &[u8], batch: &Batch, settings: &str, calls: usize) -> Result<Self> {
        let host = Host::new(HostConfig::new(&"5a".repeat(32))?)?;
        let start = Instant::now();
        let artefact = host.check_and_compile(wasm)?;
        let compiled = start.elapsed();
        let cold = plugin::Cold::of(&host, &artefact)?;
        let speed = speed::measure(&host.load(&artefact)?, batch, settings, calls)?;
        let what = format!(
            "p95 {:.1} ns; component {} KiB, compiled in {:.2} s, artefact of {} KiB loaded in {:.2} ms (verified in \
             {:.2} while it arrives)",
            speed.p95_ns,
            wasm.len() >> 10,
            compiled.as_secs_f64(),
            artefact.len() >> 10,
            cold.load_ms,
            cold.arrive_ms,
        );
        Ok(Self { speed, what })
    }
}

/// Values of the two attributes that the project's rules want to see.
fn batch() -> Batch {
    let mut batch = speed::device_batch(VALUES / 2 * 10);
    let seen: Vec<bool> =
        batch.attributes.iter().map(|a| matches!(&*a.name, "temperature" | "status")).collect();
    batch.rows.retain(|row| seen[row.attribute as usize]);
    batch
}

/// Makes the project anew and builds it, with another source if one is given.
fn built(language: &str, source: Option<&str>) -> Result<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace folder")?;
    let folder = root.join("target/bench-languages");
    let project = folder.join(language);
    if project.exists() {
        std::fs::remove_dir_all(&project)?;
    }
    std::fs::create_dir_all(&folder)?;
    let name = format!("measured-{language}");
    eaves(root, &folder, &["plugin", "new", &name, "--lang", language, "--folder", language])?;
    if let Some(source) = source {
        std::fs::write(project.join("src/plugin.ts"), source)?;
    }
    eaves(root, &project, &["plugin", "build"])?;
    Ok(std::fs::read(project.join("build/plugin.wasm"))?)
}

fn eaves(root: &Path, folder: &Path, args: &[&str]) -> Result<()> {
    let mut program: PathBuf = std::env::current_exe()?;
    program.set_file_name("eaves");
    let mut command = Command::new(&program);
    command.args(args).current_dir(folder);
    if std::env::var_os("EAVES_TOOLS_DIR").is_none() {
        command.env("EAVES_TOOLS_DIR", root.join(".tools/plugins"));
    }
    let output = command.output().with_context(|| format!("run {}", program.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "eaves {}: {said}", args.join(" "));
    Ok(())
}
