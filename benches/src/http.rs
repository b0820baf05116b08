//! A single entity over HTTP under a light load, from a client on the same machine.

use crate::results::{Figure, percentile};
use crate::rig::{DEVICE_TENANT, Rig};
use anyhow::{Result, ensure};
use std::time::{Duration, Instant};

const REQUESTS: usize = 2_000;
const WARM_UP: usize = 200;

pub(crate) async fn measure(rig: &Rig) -> Result<Figure> {
    rig.some_devices(100).await?;
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
    let token = rig.token(DEVICE_TENANT).await?;
    let mut took = Vec::with_capacity(REQUESTS);
    for n in 0..WARM_UP + REQUESTS {
        let url = format!("{}/v1/entities/dev-91-{}", rig.http_url(), n % 100);
        let started = Instant::now();
        let answer = client.get(url).bearer_auth(&token).send().await?;
        let status = answer.status();
        let body = answer.bytes().await?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        ensure!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        if n >= WARM_UP {
            took.push(ms);
        }
    }
    let median = percentile(&mut took, 50.0);
    let p95 = percentile(&mut took, 95.0);
    let note = format!(
        "consistency=eventual, one client, through front, Runtime API and function; median {median:.2} ms; baseline: the bound of 8 ms"
    );
    Ok(Figure::new("http_entity_p95_ms", p95, "ms", 8.0, REQUESTS as u64, note))
}
