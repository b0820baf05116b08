//! Plugins in a process of their own: what it can reach, and what happens when it dies, hangs
//! or lies.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

mod support;

use eaves_model::Value;
use eaves_plugin_host::{
    CallStats, Host, HostConfig, LoadError, Lock, Plugin, PluginError, RunnerCommand, speed,
};
use std::collections::BTreeMap;
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use support::{DEADLINE, built, component, floats, host, load, module, module_of, reading};

const TOOL: &str = env!("CARGO_BIN_EXE_eaves-plugin-tool");

fn runner(program: &str, args: &[&str]) -> Host {
    let command = RunnerCommand { program: program.into(), args: args.iter().map(Into::into).collect() };
    Host::isolated(HostConfig::new(&"5a".repeat(32)).unwrap(), command).unwrap()
}

fn isolated() -> Host {
    runner(TOOL, &["run-plugins"])
}

/// Ticks of processor time that a process has used; none if it is gone.
fn used(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.split_whitespace().nth(11)?.parse().ok()
}

/// The process in which `plugin`, which loops, runs: the child that a call keeps busy.
fn pid_of(plugin: &Plugin) -> u32 {
    let children = || {
        let threads = std::fs::read_dir("/proc/self/task").unwrap();
        let listed = threads.filter_map(|t| std::fs::read_to_string(t.unwrap().path().join("children")).ok());
        let pids = |list: String| list.split_whitespace().map(|p| p.parse().unwrap()).collect::<Vec<u32>>();
        listed.flat_map(pids).collect::<Vec<_>>()
    };
    // The first call starts the process.
    let call = || plugin.validate(&floats(), "{}", Duration::from_millis(400)).unwrap_err();
    assert!(matches!(call(), PluginError::Deadline { .. }));
    let before: BTreeMap<u32, u64> = children().into_iter().filter_map(|p| Some((p, used(p)?))).collect();
    assert!(matches!(call(), PluginError::Deadline { .. }));
    let spent = |pid: &&u32| used(**pid).unwrap_or_default().saturating_sub(before[*pid]);
    *before.keys().max_by_key(spent).unwrap()
}

fn looping(host: &Host) -> Plugin {
    load(host, &component(&module("", "(loop $again (br $again)) unreachable")))
}

fn works(host: &Host) {
    let plugin = load(host, &built("dew-point"));
    let batch = reading(&[
        ("temperature", "degC", Value::Float(25.0)),
        ("relative_humidity", "%", Value::Float(50.0)),
    ]);
    assert_eq!(plugin.validate(&batch, "{}", DEADLINE).unwrap().derived.len(), 1);
}

fn signal(pid: u32, name: &str) {
    assert!(Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap().success());
}

#[test]
fn a_plugin_says_the_same_in_a_process_of_its_own() {
    let settings = r#"{"attributes": {"temperature": {"max": 25}, "status": {"allowed": ["offline"]}}}"#;
    let batch = speed::device_batch(5_000);
    let (here, there) = (host(), isolated());
    let artefact = here.check_and_compile(&built("telemetry-rules")).unwrap();
    let (here, plugin) = (here.load(&artefact).unwrap(), there.load(&artefact).unwrap());
    assert_eq!(plugin.describe(), here.describe());
    let mut stats = CallStats::default();
    let decision = plugin.validate_counting(&batch, settings, DEADLINE, &mut stats).unwrap();
    assert!(!decision.rejected.is_empty());
    assert_eq!(decision, here.validate(&batch, settings, DEADLINE).unwrap());
    assert_eq!((stats.calls, stats.values), (2, 5_000));
    assert!(stats.memory_peak_bytes > 1 << 16 && !stats.duration.is_zero());
    let error = plugin.configure(r#"{"attributes": 7}"#, DEADLINE).unwrap_err();
    assert!(matches!(&error, PluginError::Settings { path, .. } if path == "attributes"), "{error}");
    assert_eq!(there.lock(), cfg!(target_os = "linux").then_some(Lock::Filter));
}

/// More texts than the shared file holds: through the socket.
#[test]
fn a_batch_beyond_the_shared_memory_arrives_too() {
    let (here, there) = (host(), isolated());
    let artefact = here.check_and_compile(&built("echo")).unwrap();
    let mut batch = reading(&[("t", "", Value::Integer(1))]);
    batch.entities[0].external_id = "x".repeat(70 << 20).into();
    for _ in 0..2 {
        let error = there.load(&artefact).unwrap().validate(&batch, "{}", DEADLINE).unwrap_err();
        // It arrives, and is more than an instance has room for.
        assert!(matches!(error, PluginError::Memory { .. } | PluginError::Trapped { .. }), "{error}");
    }
    works(&there);
}

#[test]
fn hostile_code_ends_in_the_same_typed_errors() {
    let host = isolated();
    let error = looping(&host).validate(&floats(), "{}", Duration::from_millis(50)).unwrap_err();
    assert!(
        matches!(error, PluginError::Deadline { limit } if limit == Duration::from_millis(50)),
        "{error}"
    );
    let grow =
        "(loop $again (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";
    let error = load(&host, &component(&module("", grow))).validate(&floats(), "{}", DEADLINE).unwrap_err();
    assert!(matches!(error, PluginError::Memory { limit } if limit == 64 << 20), "{error}");
    let error =
        load(&host, &component(&module("", "unreachable"))).validate(&floats(), "{}", DEADLINE).unwrap_err();
    assert!(matches!(&error, PluginError::Trapped { trap } if trap.contains("unreachable")), "{error}");
    let text = module_of("", "(loop $l (br $l)) unreachable", "(i32.const 256)", "(i32.const 1024)");
    let error = host.check_and_compile(&component(&text)).unwrap_err().to_string();
    assert!(error.contains("could not describe itself"), "{error}");
    let error = host.check_and_compile(&wat::parse_str("(component)").unwrap()).unwrap_err().to_string();
    assert!(error.contains("eaves:rules@1.0.0"), "{error}");
    works(&host);
}

fn probe(args: &[&str]) -> BTreeMap<String, String> {
    let Output { stdout, status, stderr } =
        Command::new(TOOL).args(["probe"]).args(args).env_clear().output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    let text = String::from_utf8(stdout).unwrap();
    text.lines().map(|l| l.split_once(": ").unwrap()).map(|(a, b)| (a.into(), b.into())).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn a_locked_process_opens_connects_starts_and_signals_nothing() {
    let (free, locked) = (probe(&["unlocked"]), probe(&[]));
    assert_eq!(locked["lock"], "Filter");
    assert_eq!(locked["variables of the environment"], "0");
    let attempts: Vec<_> = free.iter().filter(|(what, _)| !what.starts_with("variables")).collect();
    assert_eq!(attempts.len(), 14, "{free:?}");
    for (what, how) in attempts {
        // Each can be done before: the probe means something.
        assert_eq!(how, "DONE", "{what}");
        assert!(locked[what].starts_with("refused"), "{what}: {}", locked[what]);
    }
}

/// Nothing of the environment, no descriptor but its own, and no more than it may have.
#[cfg(target_os = "linux")]
fn holds_nothing(pid: u32) {
    let read = |what: &str| std::fs::read(format!("/proc/{pid}/{what}")).unwrap();
    assert_eq!(read("environ"), b"");
    let status = String::from_utf8(read("status")).unwrap();
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    let opened: Vec<String> = (std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap())
        .map(|fd| std::fs::read_link(fd.unwrap().path()).unwrap().display().to_string())
        .collect();
    let known = ["socket:", "/memfd:eaves-columns", "/memfd:eaves-plugin", "/dev/null", "/proc/"];
    assert!(opened.iter().all(|fd| known.iter().any(|k| fd.starts_with(k))), "{opened:?}");
    // The plugin's code, which it was handed: it is mapped, and its memory has no copy of its own.
    assert!(opened.iter().any(|fd| fd.starts_with("/memfd:eaves-plugin")), "{opened:?}");
    let mapped = String::from_utf8(read("maps")).unwrap();
    let code = mapped.lines().find(|line| line.contains("/memfd:eaves-plugin") && line.contains(" r-xp "));
    assert!(code.is_some(), "{mapped}");
    // Its socket, twice: as standard input and as the descriptor in use. No other.
    assert_eq!(opened.iter().filter(|fd| fd.starts_with("socket:")).count(), 2, "{opened:?}");
    let limits = String::from_utf8(read("limits")).unwrap();
    for (what, most) in [("Max processes", 0), ("Max core file size", 0), ("Max data size", 1_u64 << 30)] {
        let line = limits.lines().find_map(|line| line.strip_prefix(what)).unwrap();
        let most = most.to_string();
        assert_eq!(line.split_whitespace().take(2).collect::<Vec<_>>(), [&most, &most], "{what}");
    }
}

/// How many filters of system calls a process is under.
#[cfg(target_os = "linux")]
fn filters(pid: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("Seccomp_filters:")).unwrap();
    line.trim().parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn the_process_holds_nothing() {
    let host = isolated();
    let pid = pid_of(&looping(&host));
    holds_nothing(pid);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert!(status.contains("Seccomp:\t2"), "{status}");
    assert!(filters(&pid.to_string()) > filters("self"), "{status}");
}

/// Where the kernel takes no filter, the process says so and goes on: all other walls stand.
#[test]
#[cfg(target_os = "linux")]
fn without_a_filter_the_other_walls_stand() {
    let host = runner(TOOL, &["without-filters", TOOL, "run-plugins"]);
    assert_eq!(host.lock(), None, "nothing was loaded yet");
    let plugin = looping(&host);
    assert_eq!(host.lock(), Some(Lock::LimitsOnly));
    let pid = pid_of(&plugin);
    holds_nothing(pid);
    // The one that refuses filters is the only one.
    assert_eq!(filters(&pid.to_string()), filters("self") + 1);
    works(&host);
    let locked = Command::new(TOOL).args(["without-filters", TOOL, "probe"]).env_clear().output().unwrap();
    let said = String::from_utf8(locked.stdout).unwrap();
    assert!(said.contains("lock: LimitsOnly") && said.contains("variables of the environment: 0"), "{said}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_is_killed_costs_the_call_and_no_other() {
    let host = isolated();
    let plugin = looping(&host);
    let pid = pid_of(&plugin);
    let error = std::thread::scope(|scope| {
        let call = scope.spawn(|| plugin.validate(&floats(), "{}", Duration::from_secs(30)).unwrap_err());
        let before = used(pid).unwrap();
        while used(pid).unwrap() <= before + 2 {
            assert!(!call.is_finished());
        }
        signal(pid, "KILL");
        call.join().unwrap()
    });
    assert!(matches!(&error, PluginError::RunnerDied { how } if how == "signal 9"), "{error}");
    works(&host);
    // Between calls it is not even noticed; the plugin is loaded again.
    let other = pid_of(&plugin);
    assert_ne!(other, pid);
    signal(other, "KILL");
    let end = Instant::now() + DEADLINE;
    // Its first thread may be gone before the others: only then can it be waited for.
    let threads = || std::fs::read_dir(format!("/proc/{other}/task")).map_or(0, Iterator::count);
    let ended = || std::fs::read_to_string(format!("/proc/{other}/stat")).is_ok_and(|s| s.contains(") Z "));
    while !(threads() == 1 && ended()) {
        assert!(Instant::now() < end, "{other} does not end");
    }
    let error = plugin.validate(&floats(), "{}", Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, PluginError::Deadline { .. }), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_process_that_does_not_answer_is_ended() {
    let host = isolated();
    let plugin = looping(&host);
    let pid = pid_of(&plugin);
    signal(pid, "STOP");
    let error = plugin.validate(&floats(), "{}", Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, PluginError::Deadline { .. }), "{error}");
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it was ended and waited for");
    works(&host);
}

#[test]
fn a_process_that_lies_is_not_believed() {
    let artefact = host().check_and_compile(&built("echo")).unwrap();
    // Takes the greeting, says it is locked, takes the request, and then writes something.
    let says = |what: &str| {
        let script = format!(
            "exec 3<&0; dd bs=1 count=32 <&3 >/dev/null 2>&1; printf '\\001' >&3; \
             dd bs=1 count=16 <&3 >/dev/null 2>&1; {what}"
        );
        runner("/bin/sh", &["-c", &script]).load(&artefact).unwrap_err()
    };
    for (what, wanted) in [
        // Half a length, and the end.
        ("printf '\\001' >&3", "exit status: 0"),
        // A length beyond all measure, and one that is no multiple of eight.
        ("printf '\\377\\377\\377\\377\\377\\377\\377\\177' >&3", "absurd"),
        ("printf '\\003\\0\\0\\0\\0\\0\\0\\0abc' >&3; sleep 5", ""),
        // A reply of eight bytes.
        ("printf '\\010\\0\\0\\0\\0\\0\\0\\0abcdefgh' >&3; sleep 5", "its reply was broken"),
        // A status that is none.
        ("exit 7", "exit status: 7"),
    ] {
        let error = says(what);
        let died =
            matches!(&error, LoadError::Runner(PluginError::RunnerDied { how }) if how.contains(wanted));
        assert!(died, "{what}: {error}");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_said() {
    let artefact = host().check_and_compile(&built("echo")).unwrap();
    let error = runner("/nowhere/eaves", &[]).load(&artefact).unwrap_err();
    assert!(matches!(&error, LoadError::Runner(e @ PluginError::Runner(_)) if e.is_retryable()), "{error}");
    assert!(error.is_retryable(), "callers are to try again, not to blame the plugin");
    let error = runner("/bin/true", &[]).load(&artefact).unwrap_err();
    assert!(matches!(&error, LoadError::Runner(PluginError::Runner(_))), "{error}");
    let error = runner("/nowhere/eaves", &[]).check_and_compile(&built("echo")).unwrap_err();
    assert!(error.is_retryable(), "{error}");
    // A component that is no plugin stays refused.
    let error = host().check_and_compile(&wat::parse_str("(component)").unwrap()).unwrap_err();
    assert!(!error.is_retryable(), "{error}");
}

#[test]
fn threads_share_the_process() {
    let host = isolated();
    let plugin = load(&host, &built("telemetry-rules"));
    let batch = speed::device_batch(500);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    plugin.validate(&batch, "{}", DEADLINE).unwrap();
                }
            });
        }
    });
}
