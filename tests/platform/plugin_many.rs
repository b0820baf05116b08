//! Many tenants with a plugin each in one instance of ingest.

use crate::plugin_life::level;
use crate::world::World;
use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use futures_util::StreamExt as _;
use serde_json::json;

/// Tenants, each with a component of its own.
const TENANTS: usize = 200;
/// Uploads under way at once.
const AT_ONCE: usize = 4;
/// What one instance may use, both of its processes together.
const MOST_MB: f64 = 512.0;
/// Of a table in each component: with it the compiled plugin is as large as one in Rust, while
/// it is compiled in milliseconds.
const TABLE_BYTES: usize = 256 << 10;

/// A plugin from text whose rule is in its code: it rejects floats over `most`.
///
/// The places are those of the canonical ABI: `bits` of the batch stands at 96 of the arguments,
/// and at 1024 there is an empty decision, whose first three lists are the rejected rows, their
/// reasons, and the reasons themselves.
pub(crate) fn rule(most: f64, seed: u32) -> Result<Vec<u8>> {
    let text = format!(
        r#"(module
            (memory (export "memory") 2)
            (global $next (mut i32) (i32.const 65536))
            (data (i32.const 16) "limits1.0.0above_max")
            (data (i32.const 64) "\10\00\00\00\06\00\00\00\16\00\00\00\05\00\00\00")
            ;; The one reason: its code, and the code again as its text.
            (data (i32.const 512) "\1b\00\00\00\09\00\00\00\1b\00\00\00\09\00\00\00")
            (data $table "{}")
            (func $take (export "cabi_realloc") (param i32 i32) (param $align i32) (param $size i32) (result i32)
                (local $at i32)
                (local.set $at (i32.and
                    (i32.add (global.get $next) (i32.sub (local.get $align) (i32.const 1)))
                    (i32.sub (i32.const 0) (local.get $align))))
                (global.set $next (i32.add (local.get $at) (local.get $size)))
                (block $enough (loop $more
                    (br_if $enough (i32.le_u (global.get $next) (i32.mul (memory.size) (i32.const 65536))))
                    (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
                    unreachable))
                (local.get $at))
            (func (export "eaves:rules/validation@1.0.0#describe") (result i32) (i32.const 64))
            (func (export "eaves:rules/validation@1.0.0#configure") (param i32 i32) (result i32) (i32.const 256))
            (func (export "eaves:rules/validation@1.0.0#validate") (param $args i32) (result i32)
                (local $rows i32) (local $row i32) (local $bits i32) (local $rejected i32) (local $reasons i32) (local $n i32)
                (local.set $bits (i32.load offset=96 (local.get $args)))
                (local.set $rows (i32.load offset=100 (local.get $args)))
                (local.set $rejected (call $take (i32.const 0) (i32.const 0) (i32.const 4) (i32.mul (local.get $rows) (i32.const 4))))
                (local.set $reasons (call $take (i32.const 0) (i32.const 0) (i32.const 4) (i32.mul (local.get $rows) (i32.const 4))))
                (block $end (loop $each
                    (br_if $end (i32.ge_u (local.get $row) (local.get $rows)))
                    (if (f64.gt (f64.load (i32.add (local.get $bits) (i32.mul (local.get $row) (i32.const 8)))) (f64.const {most}))
                        (then
                            (i32.store (i32.add (local.get $rejected) (i32.mul (local.get $n) (i32.const 4))) (local.get $row))
                            (i32.store (i32.add (local.get $reasons) (i32.mul (local.get $n) (i32.const 4))) (i32.const 0))
                            (local.set $n (i32.add (local.get $n) (i32.const 1)))))
                    (local.set $row (i32.add (local.get $row) (i32.const 1)))
                    (br $each)))
                (i32.store (i32.const 1028) (local.get $rejected))
                (i32.store (i32.const 1032) (local.get $n))
                (i32.store (i32.const 1036) (local.get $reasons))
                (i32.store (i32.const 1040) (local.get $n))
                (if (local.get $n) (then
                    (i32.store (i32.const 1044) (i32.const 512))
                    (i32.store (i32.const 1048) (i32.const 1))))
                (i32.const 1024)))"#,
        table(seed)
    );
    let core = wat::parse_str(&text).context("the plugin's text")?;
    eaves_plugin_host::componentize(&core).context("make a component of it")
}

/// Letters that differ from one component to the next.
fn table(seed: u32) -> String {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let letter = |_| {
        // xorshift
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        char::from(b'a' + (state >> 24) as u8 % 26)
    };
    (0..TABLE_BYTES).map(letter).collect()
}

/// Two hundred tenants with a plugin of their own each, in one instance of ingest within 512 MB.
pub(crate) async fn two_hundred_plugins_fit_into_one_instance(w: &World) -> Result<()> {
    w.execute(&format!("select tenant_create('many-' || n, false, 64) from generate_series(1, {TENANTS}) n"))
        .await?;
    let names: Vec<String> = (1..=TENANTS).map(|n| format!("many-{n}")).collect();
    let tokens = w.sign_all(&names, "plugins:write").await?;
    let began = std::time::Instant::now();
    let put = async |n: usize| -> Result<()> {
        let token = &tokens[n - 1];
        let component = tokio::task::spawn_blocking(move || rule(n as f64, n as u32)).await??;
        let component = base64::engine::general_purpose::STANDARD.encode(component);
        let body = json!({"name": "limits", "version": "1.0.0", "wasm_base64": component});
        let up = w.post_as(token, "/v1/plugins", body).await?;
        ensure!(up.status == 201, "many-{n}: {} {}", up.status, up.text);
        let on = w.post_as(token, "/v1/plugins/limits/versions/1.0.0/activate", json!({})).await?;
        ensure!(on.status == 200, "many-{n}: {} {}", on.status, on.text);
        Ok(())
    };
    let mut under_way = futures_util::stream::iter(1..=TENANTS).map(put).buffer_unordered(AT_ONCE);
    while let Some(done) = under_way.next().await {
        done?;
    }
    drop(under_way);
    eprintln!("{TENANTS} plugins were uploaded and activated in {:.1} s", began.elapsed().as_secs_f64());
    // One key: all of them in one shard's batches, and so in one instance. A value over the
    // tenant's own limit, and one under it: with any other tenant's rule both would be taken or
    // both refused.
    let records = |n: usize| {
        let t = format!("many-{n}");
        let over = level(&t, "over", 1, n as f64 + 0.5).into_bytes();
        let under = level(&t, "under", 1, n as f64 - 0.5).into_bytes();
        [("many/k".to_owned(), over), ("many/k".to_owned(), under)]
    };
    w.put_many((1..=TENANTS).flat_map(records).collect()).await?;
    let taken = "select count(*) from entity_jsonb h join entities e using (tenant_id, entity_id)
        join tenants t using (tenant_id) where t.name like 'many-%' and e.external_id = 'under'";
    let refused = "select count(distinct t.name) from quarantine q join tenants t using (tenant_id)
        where t.name like 'many-%' and q.reason = 'above_max' and encode(payload, 'escape') like '%\"over\"%'";
    w.until(60, "all 400 values to be judged", || async {
        Ok(w.count(taken).await? == TENANTS as i64 && w.count(refused).await? == TENANTS as i64)
    })
    .await?;
    let all =
        "select count(*) from entity_jsonb h join tenants t using (tenant_id) where t.name like 'many-%'";
    ensure!(w.count(all).await? == TENANTS as i64, "{} were taken", w.count(all).await?);
    // The instance that had the shard is the one with all the plugins.
    let largest = w.ingest_peaks_mb()?.into_iter().max_by(|a, b| a.total().total_cmp(&b.total()));
    let largest = largest.context("no instance of ingest is left")?;
    eprintln!(
        "{TENANTS} tenants' plugins: ingest had {:.0} MB at most, the process for plugins {:.0} MB",
        largest.own, largest.plugins
    );
    ensure!(largest.plugins > 0.0, "the instance has no process for plugins");
    ensure!(largest.total() < MOST_MB, "an instance of ingest had {:.0} MB", largest.total());
    Ok(())
}
