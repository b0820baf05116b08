//! Compile bombs, the limited worker, and artefacts that are not what they seem.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

use eaves_plugin_host::scan::{Refused, ScanLimits, scan};
use eaves_plugin_host::worker::WorkerLimits;
use eaves_plugin_host::{CompileError, Host, HostConfig, LoadError, compile_in_worker};
use std::path::Path;
use std::time::{Duration, Instant};
use support::{DEADLINE, built, floats, host};

const TOOL: &str = env!("CARGO_BIN_EXE_eaves-plugin-tool");
const WORKER: [&str; 1] = ["compile-worker"];

#[track_caller]
fn refused(text: &str, what: &str) {
    let wasm = wat::parse_str(text).unwrap();
    let start = Instant::now();
    let error = host().check_and_compile(&wasm).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(5));
    assert!(matches!(error, CompileError::Refused(_)), "{error}");
    assert!(error.to_string().contains(what), "{error}");
}

/// Each level instantiates the one inside twice: 2^n instances from a few bytes.
fn doubling(levels: usize) -> String {
    let mut inner = "(component)".to_string();
    for _ in 0..levels {
        inner = format!(
            "(component (component $c {}) (instance (instantiate $c)) (instance (instantiate $c)))",
            inner.strip_prefix("(component").unwrap().strip_suffix(')').unwrap()
        );
    }
    inner
}

#[test]
fn components_that_unfold_are_refused() {
    refused(&doubling(25), "nested components");
    // Side by side instead of nested.
    let mut flat = "(component (component $c0)".to_string();
    for i in 1..30 {
        flat += &format!(
            "(component $c{i} (alias outer 1 {} (component $x)) (instance (instantiate $x)) (instance (instantiate $x)))",
            i - 1
        );
    }
    refused(&(flat + ")"), "nested components: 9");
    let instances = "(instance (instantiate $c))".repeat(40);
    refused(&format!("(component (component $c) {instances})"), "instances: ");
}

#[test]
fn modules_beyond_measure_are_refused() {
    let module = |body: &str| format!("(component (core module {body}))");
    refused(&module(&format!("(func (local {}))", "i64 ".repeat(3_000))), "locals of a function");
    refused(&module(&format!("(type (func (param {})))", "i32 ".repeat(100))), "parameters of a function");
    refused(&module(&"(func)".repeat(20_001)), "functions");
    refused(&module(&format!("(func {})", "nop ".repeat(600_000))), "bytes of a function");
    refused(&format!("(component {})", "(core module)".repeat(49)), "modules: 49");
    refused(&module(&format!("(data \"{}\")", "x".repeat(25 << 20))), "bytes: ");
}

#[test]
fn a_resource_is_of_no_use_to_a_plugin() {
    let text = "(component (type $r (resource (rep i32))) (core func (canon resource.new $r)))";
    let error = scan(&wat::parse_str(text).unwrap(), &ScanLimits::default()).unwrap_err();
    assert!(matches!(error, Refused::Feature(_)), "{error}");
}

#[test]
fn the_worker_compiles_and_the_parent_signs() {
    let host = host();
    let wasm = built("telemetry-rules");
    let limits = WorkerLimits::default();
    let artefact = host.check_and_compile_in_worker(Path::new(TOOL), &WORKER, &wasm, &limits).unwrap();
    let plugin = host.load(&artefact).unwrap();
    plugin.validate(&floats(), "{}", DEADLINE).unwrap();
    // It is the same as compiling here.
    assert_eq!(artefact, host.check_and_compile(&wasm).unwrap());
}

#[test]
fn the_worker_is_held_to_its_limits() {
    let wasm = built("telemetry-rules");
    let run = |limits: WorkerLimits| compile_in_worker(Path::new(TOOL), &WORKER, &wasm, &limits).unwrap_err();

    let error = run(WorkerLimits { wall_clock: Duration::ZERO, ..WorkerLimits::default() });
    assert!(matches!(error, CompileError::Timeout { .. }), "{error}");
    if cfg!(target_os = "linux") {
        let error = run(WorkerLimits { memory_bytes: 24 << 20, ..WorkerLimits::default() });
        assert!(matches!(&error, CompileError::OverLimit(what) if what.contains("24 MiB")), "{error:?}");
    }
    let error = compile_in_worker(Path::new(TOOL), &WORKER, b"\0asm", &WorkerLimits::default()).unwrap_err();
    assert!(error.to_string().contains("not a WebAssembly component"), "{error}");
    let error =
        compile_in_worker(Path::new("/nowhere/eaves"), &[], &wasm, &WorkerLimits::default()).unwrap_err();
    assert!(matches!(error, CompileError::Worker(_)), "{error}");
    let error = compile_in_worker(Path::new("/bin/cat"), &[], &wasm, &WorkerLimits::default()).unwrap_err();
    assert!(error.to_string().contains("not the compile worker"), "{error}");
}

/// 30 KB in which nothing is too many for [`scan`]. Each loop hands on each local, so what the compiler
/// has to keep track of are the loops times the locals.
fn bomb() -> Vec<u8> {
    const LOCALS: usize = 1_900;
    const LOOPS: usize = 1_500;
    let add = |i: usize| format!("local.get {i} local.get {} i32.add local.set {i} ", i + 1);
    let text = format!(
        "(component (core module (func (local {}) {}{}{})))",
        "i32 ".repeat(LOCALS),
        "loop ".repeat(LOOPS),
        (0..LOCALS - 1).map(add).collect::<String>(),
        "local.get 0 br_if 0 end ".repeat(LOOPS)
    );
    wat::parse_str(&text).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_bomb_that_passes_the_scan_is_stopped_by_each_limit() {
    let bomb = bomb();
    assert!(bomb.len() < 64 << 10, "{} bytes", bomb.len());
    scan(&bomb, &ScanLimits::default()).unwrap();
    let plenty =
        WorkerLimits { memory_bytes: 4 << 30, cpu_seconds: 100, wall_clock: Duration::from_secs(100) };
    for (limits, wanted) in [
        (WorkerLimits { cpu_seconds: 1, ..plenty.clone() }, "it took more than 1 s of processor time"),
        (WorkerLimits { memory_bytes: 128 << 20, ..plenty.clone() }, "it needed more than 128 MiB of memory"),
        (WorkerLimits { wall_clock: Duration::from_millis(300), ..plenty }, "stopped after 300ms"),
    ] {
        let start = Instant::now();
        let error = compile_in_worker(Path::new(TOOL), &WORKER, &bomb, &limits).unwrap_err();
        assert!(error.to_string().contains(wanted), "{error}, and not: {wanted}");
        assert!(!error.is_retryable(), "the plugin is refused, not tried again: {error}");
        assert!(start.elapsed() < Duration::from_secs(60), "{wanted}: after {:?}", start.elapsed());
    }
}

#[test]
fn a_changed_artefact_is_refused_wherever_it_was_changed() {
    let host = host();
    let artefact = host.check_and_compile(&built("echo")).unwrap();
    let step = artefact.len() / 400 + 1;
    for at in (0..140).chain((140..artefact.len()).step_by(step)) {
        let mut changed = artefact.clone();
        changed[at] ^= 1 << (at % 8);
        let error = host.load(&changed).unwrap_err();
        let wanted = if at < 8 {
            matches!(error, LoadError::NotAnArtefact)
        } else {
            matches!(error, LoadError::BadSignature)
        };
        assert!(wanted, "byte {at}: {error}");
    }
    for length in [0, 7, 8, 20, 39, 40, 100, artefact.len() - 1] {
        assert!(host.load(&artefact[..length]).is_err(), "{length} bytes");
    }
    let mut longer = artefact.clone();
    longer.push(0);
    assert!(matches!(host.load(&longer), Err(LoadError::BadSignature)));
    host.load(&artefact).unwrap();
}

#[test]
fn an_artefact_of_another_key_is_refused() {
    let artefact = host().check_and_compile(&built("echo")).unwrap();
    let other = Host::new(HostConfig::new(&"a5".repeat(32)).unwrap()).unwrap();
    assert!(matches!(other.load(&artefact), Err(LoadError::BadSignature)));
    // Unsigned machine code, as the worker returns it, is not loaded either.
    let wasm = built("echo");
    let code = compile_in_worker(Path::new(TOOL), &WORKER, &wasm, &WorkerLimits::default()).unwrap();
    assert!(matches!(other.load(&code), Err(LoadError::NotAnArtefact)));
}

#[test]
fn a_key_is_long_enough_or_none() {
    assert!(HostConfig::new("").is_err());
    assert!(HostConfig::new(&"5a".repeat(31)).is_err());
    assert!(HostConfig::new(&"zz".repeat(32)).is_err());
}
