//! Hearing of changes: which entries that an instance holds in memory have become old.
//!
//! What was heard is only worth something together with what cannot have been missed. A ping on the
//! same connection comes back after all that was published before it, so [`Listener::heard`] says up to
//! which time nothing was missed. A function that was frozen between two requests, or whose
//! connection broke, thereby knows that it does not know.

use crate::entry::channel;
use eaves_model::{EntityId, TenantId, Timestamp};
use futures_util::{FutureExt as _, StreamExt as _};
use redis::Client;
use redis::aio::{PubSubSink, PubSubStream};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// Most tenants that are listened to; for more nothing is heard.
const MOST_TENANTS: usize = 1_000;
/// When what was heard is so old, it is asked for anew with the next request.
const ASK_AFTER: i64 = 200_000;
/// Longest wait for the connection, for a subscription and for a ping.
const PATIENCE: Duration = Duration::from_millis(500);
/// Pause after a connection that broke.
const PAUSE: Duration = Duration::from_millis(500);

/// What was heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// An entity has this version, or a newer one.
    Changed(TenantId, EntityId, i64),
    /// Something may have been missed: nothing that is held can be trusted.
    Lost,
}

type Ear = dyn Fn(Heard) + Send + Sync;

#[derive(Default)]
struct State {
    /// By tenant up to when nothing was missed; `None` until the subscription is confirmed.
    tenants: HashMap<TenantId, Option<Timestamp>>,
}

struct Shared {
    state: Mutex<State>,
    asked: Notify,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens for changes until it is dropped.
pub struct Listener {
    shared: Arc<Shared>,
    task: tokio::task::JoinHandle<()>,
}

impl std::fmt::Debug for Listener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Listener {
    pub(crate) fn start(client: Client, ear: Arc<Ear>) -> Self {
        let shared = Arc::new(Shared { state: Mutex::default(), asked: Notify::new() });
        let task = tokio::spawn(listen(client, Arc::clone(&shared), ear));
        Self { shared, task }
    }

    /// Up to when nothing of the tenant was missed; `None` if nobody can say so. Asking makes it be listened to
    /// from now on.
    pub fn heard(&self, tenant: TenantId) -> Option<Timestamp> {
        let mut state = self.shared.state();
        let known = state.tenants.get(&tenant).copied();
        if known.is_none() && state.tenants.len() < MOST_TENANTS {
            state.tenants.insert(tenant, None);
        }
        let heard = known.flatten();
        let old = |at: Timestamp| Timestamp::now().as_micros() - at.as_micros() > ASK_AFTER;
        if heard.is_none_or(old) {
            self.shared.asked.notify_one();
        }
        heard
    }
}

async fn listen(client: Client, shared: Arc<Shared>, ear: Arc<Ear>) {
    loop {
        // Who is never asked connects to nothing.
        shared.asked.notified().await;
        let connected = tokio::time::timeout(PATIENCE, client.get_async_pubsub()).await;
        if let Ok(Ok(connection)) = connected {
            let (sink, stream) = connection.split();
            shared.asked.notify_one();
            hear(sink, stream, &shared, &*ear).await;
            // First what is known, so that nobody takes what is held for known.
            shared.state().tenants.values_mut().for_each(|heard| *heard = None);
            ear(Heard::Lost);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Until the connection breaks.
async fn hear(mut sink: PubSubSink, mut stream: PubSubStream, shared: &Shared, ear: &Ear) {
    let mut subscribed: Vec<TenantId> = Vec::new();
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => tell(&message, ear),
                None => return,
            },
            () = shared.asked.notified() => {
                let wanted: Vec<TenantId> = shared.state().tenants.keys().copied().collect();
                let new: Vec<TenantId> = wanted.into_iter().filter(|t| !subscribed.contains(t)).collect();
                let channels: Vec<String> = new.iter().map(|t| channel(*t)).collect();
                let before = Timestamp::now();
                let asked = async {
                    if !channels.is_empty() {
                        sink.subscribe(&channels).await?;
                    }
                    sink.ping::<redis::Value>().await
                };
                let Ok(Ok(_)) = tokio::time::timeout(PATIENCE, asked).await else { return };
                // What came before the answer waits here.
                while let Some(message) = stream.next().now_or_never() {
                    match message {
                        Some(message) => tell(&message, ear),
                        None => return,
                    }
                }
                // What was subscribed to just now has been heard of from now on only.
                let now = Timestamp::now();
                let mut state = shared.state();
                for tenant in &subscribed {
                    state.tenants.insert(*tenant, Some(before));
                }
                for tenant in &new {
                    state.tenants.insert(*tenant, Some(now));
                }
                subscribed.extend(new);
            }
        }
    }
}

fn tell(message: &redis::Msg, ear: &Ear) {
    let Some(tenant) =
        message.get_channel_name().rsplit_once(':').and_then(|(_, tenant)| tenant.parse().ok()).map(TenantId)
    else {
        return;
    };
    for (entity, version) in changes(&String::from_utf8_lossy(message.get_payload_bytes())) {
        ear(Heard::Changed(tenant, entity, version));
    }
}

/// What is published: each entity with its version.
pub(crate) fn announcement(entries: impl Iterator<Item = (EntityId, i64)>) -> String {
    let each: Vec<String> = entries.map(|(entity, version)| format!("{entity}:{version}")).collect();
    each.join(" ")
}

fn changes(text: &str) -> impl Iterator<Item = (EntityId, i64)> {
    text.split(' ').filter_map(|each| {
        let (entity, version) = each.split_once(':')?;
        Some((EntityId(entity.parse().ok()?), version.parse().ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_is_understood() {
        let all = [(EntityId(1), 2), (EntityId(30), 1_800_000_000_000_000)];
        assert_eq!(changes(&announcement(all.into_iter())).collect::<Vec<_>>(), all);
        assert_eq!(changes("").count() + changes("x 1 :2 3:").count(), 0);
    }
}
