//! Hostile plugins in the real ingest, each kind under each failure policy. (Case 15 of the faults.)

use crate::instance::{Fate, Instance, events, fate, figures, treated};
use crate::plugin_life::{MOODY, level, put_in_force};
use crate::world::{World, peak_mb};
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const POLICIES: [&str; 3] = ["quarantine", "accept", "reject"];
/// Most memory of an instance of a plugin.
const MEMORY: u64 = 64 << 20;
/// On this value the plugins from text do their harm.
const POISON: f64 = 666.0;

/// Who does harm.
enum By {
    /// The tests' plugin: the settings name what it fails on.
    Moody,
    /// A plugin from text, with declarations and with what it does on [`POISON`].
    Text(&'static str, &'static str),
}

struct Fault {
    name: &'static str,
    by: By,
    /// As the metrics call it.
    kind: &'static str,
    /// In the message.
    says: &'static str,
}

const FAULTS: [Fault; 7] = [
    Fault { name: "trap", by: By::Moody, kind: "trapped", says: "the plugin crashed" },
    Fault { name: "spin", by: By::Moody, kind: "deadline", says: "the plugin was stopped after" },
    Fault { name: "grow", by: By::Moody, kind: "memory", says: "bytes of memory" },
    Fault { name: "garble", by: By::Moody, kind: "bad_answer", says: "of row 0 twice" },
    Fault {
        name: "table",
        by: By::Text(
            "(table $t 1 funcref)",
            "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))))
             unreachable",
        ),
        kind: "trapped",
        says: "unreachable",
    },
    Fault {
        name: "recursion",
        by: By::Text(
            "(func $deep (param i64) (result i64)
                (i64.add (local.get 0) (call $deep (i64.add (local.get 0) (i64.const 1)))))",
            "(drop (call $deep (i64.const 0)))",
        ),
        kind: "trapped",
        says: "stack",
    },
    Fault {
        name: "lists",
        // Two rejected rows, and no reasons.
        by: By::Text("", "(i32.store (i32.const 1028) (i32.const 2048)) (i32.store (i32.const 1032) (i32.const 2))"),
        kind: "bad_answer",
        says: "rejected-reason: has 0 entries and rejected-row has 2",
    },
];

/// A plugin from text that looks for [`POISON`] among the values, and accepts all if it finds none.
/// The places are those of the canonical ABI: see `plugin_many::rule`.
fn on_poison(more: &str, harm: &str) -> Result<Vec<u8>> {
    let text = format!(
        r#"(module
            (memory (export "memory") 2)
            (global $next (mut i32) (i32.const 65536))
            (data (i32.const 16) "limits1.0.0")
            (data (i32.const 64) "\10\00\00\00\06\00\00\00\16\00\00\00\05\00\00\00")
            {more}
            (func (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                    (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get $align))))
                (global.set $next (i32.add (local.get $at) (local.get $size)))
                (if (i32.gt_u (global.get $next) (i32.mul (memory.size) (i32.const 65536)))
                    (then (drop (memory.grow (i32.const 16)))))
                (local.get $at))
            (func (export "eaves:rules/validation@1.0.0#describe") (result i32) (i32.const 64))
            (func (export "eaves:rules/validation@1.0.0#configure") (param i32 i32) (result i32) (i32.const 256))
            (func (export "eaves:rules/validation@1.0.0#validate") (param $args i32) (result i32)
                (local $at i32) (local $end i32)
                (local.set $at (i32.load offset=96 (local.get $args)))
                (local.set $end (i32.add (local.get $at) (i32.mul (i32.load offset=100 (local.get $args)) (i32.const 8))))
                (block $none (loop $each
                    (br_if $none (i32.ge_u (local.get $at) (local.get $end)))
                    (if (f64.eq (f64.load (local.get $at)) (f64.const {POISON}))
                        (then {harm} (return (i32.const 1024))))
                    (local.set $at (i32.add (local.get $at) (i32.const 8)))
                    (br $each)))
                (i32.const 1024)))"#
    );
    let core = wat::parse_str(&text).context("the plugin's text")?;
    eaves_plugin_host::componentize(&core).context("make a component of it")
}

async fn tenant(w: &World, tenant: &str, component: &[u8]) -> Result<()> {
    w.execute(&format!("select tenant_create('{tenant}', false, 64)")).await?;
    let wasm = base64::engine::general_purpose::STANDARD.encode(component);
    let body = json!({"name": "limits", "version": "1.0.0", "wasm_base64": wasm});
    let answer = w.admin(tenant, "POST", "/v1/plugins", body).await?;
    ensure!(answer.status == 201, "{tenant}: {} {}", answer.status, answer.text);
    Ok(())
}

/// How many values a tenant has in history.
async fn in_history(w: &World, tenant: &str) -> Result<i64> {
    let query = "select count(*) from entity_values_ts v join tenants t using (tenant_id) where t.name = ";
    w.count(&format!("{query} '{tenant}'")).await
}

impl Fault {
    fn settings(&self) -> Value {
        match self.by {
            By::Moody => json!({ self.name: "bad-" }),
            By::Text(..) => json!({}),
        }
    }

    /// A batch with one poisoned reading among good ones, and one of another tenant.
    async fn show(&self, w: &World, instance: &mut Instance, policy: &str) -> Result<()> {
        let t = &*format!("fault-{}", self.name);
        let body = json!({"settings": self.settings(), "on_failure": policy});
        put_in_force(w, t, "limits@1.0.0", "activate", body).await?;
        let [before, bad, after] = ["good-a", "bad", "good-z"].map(|name| format!("{name}-{policy}"));
        let other = format!("beside-{}-{policy}", self.name);
        let readings = [
            level(t, &before, 1, 1.0),
            level("globex", &other, 1, POISON),
            level(t, &bad, 2, POISON),
            level(t, &after, 3, 1.0),
        ];
        instance.take(&readings).await?;
        treated(w, (t, &bad), policy, ("plugin_failed", self.says)).await?;
        for good in [before, after] {
            if self.kind == "deadline" {
                // It has used up the time for all of them.
                treated(w, (t, &good), policy, ("plugin_failed", self.says)).await?;
            } else {
                let fate = fate(w, t, &good).await?;
                ensure!(fate == Fate::Taken { validated: true }, "{good} of {t}: {fate:?}");
            }
        }
        let beside = w.entity("globex", &other, "level").await?;
        ensure!(beside.json["attributes"]["level"]["value"] == POISON, "{}", beside.text);
        Ok(())
    }
}

/// Each kind of harm by each failure policy: a typed error that the tenant sees, bounded memory, the
/// readings beside it and the other tenants unaffected, and the instance goes on.
pub(crate) async fn each_kind_of_harm_is_treated_by_each_policy(w: &World) -> Result<()> {
    let moody = std::fs::read(MOODY)?;
    let mut instance = Instance::start(w, "shardId-000000009996").await?;
    for fault in &FAULTS {
        let t = &*format!("fault-{}", fault.name);
        match fault.by {
            By::Moody => tenant(w, t, &moody).await?,
            By::Text(more, harm) => tenant(w, t, &on_poison(more, harm)?).await?,
        }
        for policy in POLICIES {
            let shown = fault.show(w, &mut instance, policy).await;
            shown.with_context(|| format!("{} under {policy}", fault.name))?;
        }
        let figures = figures(w, t, "active", "1.0.0").await?;
        ensure!(figures["failures"][fault.kind].as_u64() >= Some(3), "{t}: {figures}");
        ensure!(figures["failures"].as_object().map(serde_json::Map::len) == Some(1), "{t}: {figures}");
        let peak = figures["memory_peak"].as_u64().context("memory_peak")?;
        ensure!(peak <= MEMORY, "{t}: an instance had {peak} bytes");
        // Of the good ones two a policy, and of the bad one what `accept` takes.
        let taken = if fault.kind == "deadline" { 3 } else { 7 };
        w.until(20, "all that is taken", || async { Ok(in_history(w, t).await? == taken) }).await?;
    }
    let runner = peak_mb(instance.runner()?)?;
    ensure!(runner < 256.0, "the process for plugins had {runner:.0} MB");
    instance.stop().await
}

/// A version that fails on everything, and none before it: while its breaker is open it is not asked,
/// and its failure policy decides.
pub(crate) async fn without_a_last_good_version_the_policy_decides(w: &World) -> Result<()> {
    let moody = std::fs::read(MOODY)?;
    let mut instance = Instance::start(w, "shardId-000000009995").await?;
    for policy in POLICIES {
        let t = &*format!("first-{policy}");
        tenant(w, t, &moody).await?;
        // Every name begins with nothing.
        let body = json!({"settings": {"trap": ""}, "on_failure": policy});
        put_in_force(w, t, "limits@1.0.0", "activate", body).await?;
        let mut asked = 0;
        let opened = loop {
            asked += 1;
            ensure!(asked <= 10, "{t}: the breaker does not open");
            let began = Instant::now();
            instance.take(&[level(t, &format!("asked-{asked}"), asked, 1.0)]).await?;
            let opened = events(w, t, "breaker_opened").await?;
            if let Some(message) = opened.first() {
                let wanted = format!("its failure policy ({policy}) holds meanwhile");
                ensure!(message.contains("the plugin crashed"), "{message}");
                ensure!(message.contains(&wanted) && opened.len() == 1, "{opened:?}");
                break began;
            }
        };
        let before = figures(w, t, "active", "1.0.0").await?;
        for n in 1..=2 {
            let beside = level("globex", &format!("beside-{t}-{n}"), 1, 1.0);
            instance.take(&[level(t, &format!("unasked-{n}"), n, 1.0), beside]).await?;
        }
        ensure!(opened.elapsed() < Duration::from_secs(10), "too slow: it was tried again meanwhile");
        let after = figures(w, t, "active", "1.0.0").await?;
        ensure!(before["calls"] == after["calls"], "{t} was asked: {before}, then {after}");
        ensure!(figures(w, t, "fallback", "1.0.0").await?.is_null(), "{t} has no version before this one");

        for n in 1..=asked {
            treated(w, (t, &format!("asked-{n}")), policy, ("plugin_failed", "crashed")).await?;
        }
        let unasked = "version 1.0.0 kept failing and is not asked";
        for n in 1..=2 {
            treated(w, (t, &format!("unasked-{n}")), policy, ("plugin_failed", unasked)).await?;
            w.entity("globex", &format!("beside-{t}-{n}"), "level").await?;
        }
        let taken = if policy == "accept" { asked + 2 } else { 0 };
        ensure!(in_history(w, t).await? == taken, "{t}: {} values were taken", in_history(w, t).await?);
    }
    instance.stop().await
}
