//! Compiled plugins that somebody has changed in the object store, and a new instance of ingest that is
//! to load them. (Case 17 of the faults.)

use crate::instance::{Fate, Instance, events, fate, figures, treated};
use crate::plugin_life::{level, put_in_force};
use crate::plugin_many::rule;
use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use eaves_plugin_host::{Host, HostConfig};
use serde_json::json;

struct Case {
    name: &'static str,
    policy: &'static str,
    /// In the log of the instance.
    why: &'static str,
    /// What stands in the artefact's place, made of the artefact and the component.
    change: fn(&HostConfig, &mut Vec<u8>, &[u8]) -> Result<()>,
}

const CHANGED: &str = "signature is not right";

fn flip(artefact: &mut [u8], at: usize) -> Result<()> {
    *artefact.get_mut(at).context("the artefact is shorter")? ^= 1;
    Ok(())
}

/// The artefact of a component, signed with this configuration's key.
fn compiled(config: HostConfig, component: &[u8]) -> Result<Vec<u8>> {
    Ok(Host::new(config)?.check_and_compile(component)?)
}

const CASES: [Case; 6] = [
    Case {
        name: "a-bit-of-the-code",
        policy: "quarantine",
        why: CHANGED,
        change: |_, artefact, _| {
            let middle = artefact.len() / 2;
            flip(artefact, middle)
        },
    },
    Case {
        name: "a-bit-of-the-head",
        policy: "accept",
        why: CHANGED,
        change: |_, artefact, _| flip(artefact, 60),
    },
    Case {
        name: "cut",
        policy: "reject",
        why: CHANGED,
        change: |_, artefact, _| {
            artefact.truncate(artefact.len() / 2);
            Ok(())
        },
    },
    Case {
        name: "forged",
        policy: "accept",
        why: CHANGED,
        // Good in all else, signed with a key that somebody has made up.
        change: |_, artefact, component| {
            *artefact = compiled(HostConfig::new(&"a5".repeat(32))?, component)?;
            Ok(())
        },
    },
    Case {
        name: "unsigned",
        policy: "quarantine",
        why: "not a compiled plugin",
        // The machine code alone.
        change: |_, artefact, _| {
            let code = artefact.windows(4).position(|w| w == b"\x7fELF").context("machine code")?;
            artefact.drain(..code);
            Ok(())
        },
    },
    Case {
        name: "exchanged",
        policy: "reject",
        why: "it was exchanged",
        // Signed by the platform, of a component that would reject everything.
        change: |config, artefact, _| {
            *artefact = compiled(config.clone(), &rule(-1.0, 2_000_000)?)?;
            Ok(())
        },
    },
];

/// A tenant's component, uploaded: its digest.
async fn uploaded(w: &World, tenant: &str, version: &str, component: &[u8]) -> Result<String> {
    let wasm = base64::engine::general_purpose::STANDARD.encode(component);
    let body = json!({"name": "limits", "version": version, "wasm_base64": wasm});
    let up = w.admin(tenant, "POST", "/v1/plugins", body).await?;
    ensure!(up.status == 201, "{tenant}: {} {}", up.status, up.text);
    Ok(up.json["digest"].as_str().context("digest")?.to_owned())
}

/// None of them is executed: the tenant's failure policy holds, an event tells the tenant, other
/// tenants of the batch are unaffected, and with the right artefact in its place all is well.
pub(crate) async fn a_changed_artefact_is_not_executed(w: &World) -> Result<()> {
    let config = w.plugin_config()?;
    let mut originals = Vec::new();
    for (case, seed) in CASES.iter().zip(1_999_000..) {
        let t = &*format!("file-{}", case.name);
        w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
        let component = rule(10.0, seed)?;
        let digest = uploaded(w, t, "1.0.0", &component).await?;
        put_in_force(w, t, "limits@1.0.0", "activate", json!({"on_failure": case.policy})).await?;
        let artefacts = w.artefacts(&digest).await?;
        ensure!(artefacts.len() == 1, "{t}: {} artefacts", artefacts.len());
        for (url, original) in artefacts {
            let mut changed = original.clone();
            (case.change)(&config, &mut changed, &component).with_context(|| case.name)?;
            ensure!(changed != original, "{t}: nothing was changed");
            w.put_artefact(&url, changed).await?;
            originals.push((url, original));
        }
    }
    let readings = |round: &str| {
        let of = |case: &Case| {
            let t = &*format!("file-{}", case.name);
            // What the right one would take, and what it would reject.
            [level(t, &format!("under-{round}"), 1, 5.0), level(t, &format!("over-{round}"), 1, 50.0)]
        };
        let mut all: Vec<String> = CASES.iter().flat_map(of).collect();
        all.push(level("globex", &format!("beside-files-{round}"), 1, 50.0));
        all
    };
    let mut instance = Instance::start(w, "shardId-000000009992").await?;
    for round in ["first", "second"] {
        instance.take(&readings(round)).await?;
        w.entity("globex", &format!("beside-files-{round}"), "level").await?;
    }
    let log = instance.log()?;
    for case in &CASES {
        let t = &*format!("file-{}", case.name);
        for entity in ["under-first", "over-first", "under-second", "over-second"] {
            let why = ("plugin_unavailable", "plugin limits could not be loaded");
            treated(w, (t, entity), case.policy, why).await?;
        }
        let told = events(w, t, "unavailable").await?;
        ensure!(told.len() == 1 && told[0].contains("could not be loaded"), "{t}: told {told:?}");
        for role in ["active", "fallback", "shadow"] {
            let figures = figures(w, t, role, "1.0.0").await?;
            ensure!(figures.is_null(), "{t}: it was executed: {figures}");
        }
        ensure!(log.lines().any(|line| line.contains(case.why)), "{t}: no {:?} in the log:\n{log}", case.why);
    }
    instance.stop().await?;

    for (url, original) in originals {
        w.put_artefact(&url, original).await?;
    }
    let mut instance = Instance::start(w, "shardId-000000009991").await?;
    instance.take(&readings("mended")).await?;
    for case in &CASES {
        let t = &*format!("file-{}", case.name);
        let under = fate(w, t, "under-mended").await?;
        ensure!(under == Fate::Taken { validated: true }, "{t}: {under:?}");
        treated(w, (t, "over-mended"), "reject", ("above_max", "above_max")).await?;
    }
    instance.stop().await
}

/// A shadow whose compiled code somebody has changed: live values are judged as ever, and the tenant is told.
pub(crate) async fn a_changed_shadow_only_does_not_look_on(w: &World) -> Result<()> {
    let t = "file-of-a-shadow";
    w.execute(&format!("select tenant_create('{t}', false, 64)")).await?;
    uploaded(w, t, "1.0.0", &rule(10.0, 1_998_001)?).await?;
    let digest = uploaded(w, t, "2.0.0", &rule(-1.0, 1_998_002)?).await?;
    put_in_force(w, t, "limits@1.0.0", "activate", json!({})).await?;
    put_in_force(w, t, "limits@2.0.0", "shadow", json!({})).await?;
    for (url, mut artefact) in w.artefacts(&digest).await? {
        let middle = artefact.len() / 2;
        flip(&mut artefact, middle)?;
        w.put_artefact(&url, artefact).await?;
    }
    let mut instance = Instance::start(w, "shardId-000000009988").await?;
    for n in 1..=2 {
        let readings = [level(t, &format!("under-{n}"), 1, 5.0), level(t, &format!("over-{n}"), 1, 50.0)];
        instance.take(&readings).await?;
        let under = fate(w, t, &format!("under-{n}")).await?;
        ensure!(under == Fate::Taken { validated: true }, "{under:?}");
        treated(w, (t, &format!("over-{n}")), "reject", ("above_max", "above_max")).await?;
    }
    let told = events(w, t, "unavailable").await?;
    ensure!(told.len() == 1, "told {told:?}");
    let shadow = figures(w, t, "shadow", "2.0.0").await?;
    ensure!(shadow["calls"] == 0 && shadow["skipped"] == 2, "{shadow}");
    instance.stop().await
}
