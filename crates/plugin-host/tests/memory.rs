//! A caller's own limit of memory, below what the host gives: in this process and in another.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

mod support;

use eaves_plugin_host::{CallStats, Host, HostConfig, Plugin, PluginError, RunnerCommand};
use std::sync::Arc;
use std::time::Duration;
use support::{DEADLINE, component, floats, host, module};

const MIB: u64 = 1 << 20;

fn isolated() -> Host {
    let program = env!("CARGO_BIN_EXE_eaves-plugin-tool").into();
    let command = RunnerCommand { program, args: vec!["run-plugins".into()] };
    Host::isolated(HostConfig::new(&"5a".repeat(32)).unwrap(), command).unwrap()
}

/// A plugin that takes so many MiB in each call, beside its first two pages, and accepts everything.
fn eats(host: &Host, mib: u64) -> Plugin {
    let grow = format!(
        "(if (i32.eq (memory.grow (i32.const {})) (i32.const -1)) (then unreachable)) (i32.const 1024)",
        mib * 16
    );
    host.load(&host.check_and_compile(&component(&module("", &grow))).unwrap()).unwrap()
}

#[track_caller]
fn stopped_at(plugin: &Plugin, bytes: u64) {
    let mut stats = CallStats::default();
    let error = plugin.validate_counting(&floats(), "{}", DEADLINE, &mut stats).unwrap_err();
    assert!(matches!(error, PluginError::Memory { limit } if limit as u64 == bytes), "{error}");
    assert!(error.to_string().contains(&format!("more than {bytes} bytes")), "{error}");
    assert!(stats.memory_peak_bytes <= bytes, "it had {} bytes", stats.memory_peak_bytes);
}

#[test]
fn a_tenants_limit_holds_for_its_calls_and_nobody_elses() {
    for (what, host) in [("in this process", host()), ("in a process of its own", isolated())] {
        let plugin = eats(&host, 8);
        let (small, large) = (plugin.within(4 * MIB), plugin.within(16 * MIB));
        for _ in 0..2 {
            stopped_at(&small, 4 * MIB);
            for plugin in [&plugin, &large] {
                let mut stats = CallStats::default();
                let said = plugin.validate_counting(&floats(), "{}", DEADLINE, &mut stats);
                assert_eq!(said.unwrap(), Default::default(), "{what}");
                assert!(stats.memory_peak_bytes > 8 * MIB, "{what}: {} bytes", stats.memory_peak_bytes);
            }
        }
        // A plugin that has more to begin with.
        stopped_at(&plugin.within(MIB / 16), MIB / 16);
        let error = plugin.within(1).promote(&Default::default(), "{}", DEADLINE).unwrap_err();
        assert!(matches!(error, PluginError::NoPromotion), "{what}: {error}");
    }
}

#[test]
fn nobody_may_have_more_than_the_host_gives() {
    for host in [host(), isolated()] {
        let plugin = eats(&host, 100);
        stopped_at(&plugin, 64 * MIB);
        for bytes in [65 * MIB, 1 << 40, u64::MAX] {
            stopped_at(&plugin.within(bytes), 64 * MIB);
        }
    }
}

/// Threads of several tenants at once: each call has the limit of its own caller.
#[test]
fn limits_do_not_mix() {
    let host = isolated();
    let plugin = Arc::new(eats(&host, 8));
    std::thread::scope(|scope| {
        for n in 0..4 {
            let mine = plugin.within(if n % 2 == 0 { 4 * MIB } else { 16 * MIB });
            scope.spawn(move || {
                for _ in 0..10 {
                    let said = mine.validate(&floats(), "{}", DEADLINE);
                    assert_eq!(said.is_ok(), n % 2 == 1, "{said:?}");
                }
            });
        }
    });
}

#[test]
fn settings_are_looked_at_within_the_limit_too() {
    let text = support::module_of(
        "",
        "(i32.const 64)",
        "(if (i32.eq (memory.grow (i32.const 128)) (i32.const -1)) (then unreachable)) (i32.const 256)",
        "(i32.const 1024)",
    );
    for host in [host(), isolated()] {
        let plugin = host.load(&host.check_and_compile(&component(&text)).unwrap()).unwrap();
        let asked = |plugin: &Plugin| plugin.configure("{}", Duration::from_secs(5));
        let error = asked(&plugin.within(4 * MIB)).unwrap_err();
        assert!(matches!(error, PluginError::Memory { limit } if limit as u64 == 4 * MIB), "{error}");
        asked(&plugin).unwrap();
    }
}

#[test]
fn a_plugin_is_there_as_long_as_somebody_holds_it() {
    let host = host();
    let plugin = eats(&host, 1);
    assert_eq!(plugin.handles(), 1);
    let other = plugin.within(4 * MIB);
    assert_eq!((plugin.handles(), other.handles()), (2, 2));
    drop(plugin);
    assert_eq!(other.handles(), 1);
    other.validate(&floats(), "{}", DEADLINE).unwrap();
}
