//! Entries of the cache that an instance holds in memory.
//!
//! Writers announce what changes, and what is announced is let go. Whether everything announced
//! was heard is asked each time ([`Listener::heard`]): while the function was frozen, or the connection
//! away, it may not have been, and then nothing that is held is used. That makes what is held newer than it has
//! to be; what an answer says of its age rests on the entry's `as_of` alone.

use eaves_cache::{Cache, Entry, Heard, Listener};
use eaves_model::{EntityId, TenantId, Timestamp};
use quick_cache::Weighter;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes held, roughly.
const BYTES: u64 = 16 * 1024 * 1024;
/// Entities that room is made for beforehand.
const ENTITIES: usize = 10_000;
/// What was heard up to so long ago is trusted, in microseconds.
const TRUSTED: i64 = 1_000_000;
/// Counters of changes; entities share them.
const STRIPES: usize = 1_024;

type Key = (TenantId, EntityId);

#[derive(Clone)]
struct Bytes;

impl Weighter<Key, Arc<Entry>> for Bytes {
    fn weight(&self, _: &Key, entry: &Arc<Entry>) -> u64 {
        entry.bytes() as u64
    }
}

struct Inner {
    entries: quick_cache::sync::Cache<Key, Arc<Entry>, Bytes>,
    /// How many changes were heard of: who reads an entry while it changes must not hold it.
    changes: Vec<AtomicU64>,
    hasher: RandomState,
}

impl Inner {
    fn stripe(&self, key: Key) -> &AtomicU64 {
        &self.changes[self.hasher.hash_one(key) as usize % STRIPES]
    }

    fn hold_read(&self, reading: &Reading, entry: &Arc<Entry>) {
        let stripe = self.stripe(reading.key);
        let counted = reading.changes.wrapping_add(1);
        let unchanged =
            stripe.compare_exchange(reading.changes, counted, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if !reading.known || !unchanged {
            let (tenant, entity) = reading.key;
            return self.hear(Heard::Changed(tenant, entity, entry.version));
        }
        let newer = |held: Arc<Entry>| (held.version, held.as_of) > (entry.version, entry.as_of);
        if self.entries.get(&reading.key).is_some_and(newer) {
            return;
        }
        self.entries.insert(reading.key, Arc::clone(entry));
        if stripe.load(Ordering::SeqCst) != counted {
            self.entries.remove(&reading.key);
        }
    }

    fn hear(&self, heard: Heard) {
        match heard {
            Heard::Changed(tenant, entity, version) => {
                let key = (tenant, entity);
                // Counted first: who holds it a moment later finds the count changed.
                self.stripe(key).fetch_add(1, Ordering::SeqCst);
                if self.entries.get(&key).is_some_and(|held| held.version < version) {
                    self.entries.remove(&key);
                }
            }
            Heard::Lost => {
                for stripe in &self.changes {
                    stripe.fetch_add(1, Ordering::SeqCst);
                }
                self.entries.clear();
            }
        }
    }
}

/// The entries held, and who hears of changes.
pub(crate) struct Held {
    inner: Arc<Inner>,
    listener: Listener,
}

/// A read of an entry under way.
pub(crate) struct Reading {
    key: Key,
    changes: u64,
    known: bool,
}

impl Reading {
    pub(crate) fn is_of(&self, tenant: TenantId, entity: EntityId) -> bool {
        self.key == (tenant, entity)
    }
}

impl Held {
    pub(crate) fn new(cache: &Cache) -> Self {
        let inner = Arc::new(Inner {
            entries: quick_cache::sync::Cache::with_weighter(ENTITIES, BYTES, Bytes),
            changes: std::iter::repeat_with(AtomicU64::default).take(STRIPES).collect(),
            hasher: RandomState::new(),
        });
        let ears = Arc::clone(&inner);
        Self { inner, listener: cache.listen(move |heard| ears.hear(heard)) }
    }

    fn knows(&self, tenant: TenantId) -> bool {
        let heard = self.listener.heard(tenant);
        heard.is_some_and(|at| Timestamp::now().as_micros() - at.as_micros() < TRUSTED)
    }

    /// The entry, if it is held and nothing newer was announced.
    pub(crate) fn get(&self, tenant: TenantId, entity: EntityId) -> Option<Arc<Entry>> {
        if !self.knows(tenant) {
            return None;
        }
        self.inner.entries.get(&(tenant, entity))
    }

    /// Lets go of what is older than what this instance has just read: nobody may have announced that.
    pub(crate) fn saw(&self, tenant: TenantId, entity: EntityId, version: i64) {
        self.inner.hear(Heard::Changed(tenant, entity, version));
    }

    /// Holds what was just read from a database and is now in the cache, as [`Held::saw`] and [`Held::hold`]
    /// together: unless something newer is held, or it changed meanwhile.
    pub(crate) fn hold_read(&self, reading: &Reading, entry: &Arc<Entry>) {
        self.inner.hold_read(reading, entry);
    }

    /// Before an entry is read, from the cache or a database.
    pub(crate) fn reading(&self, tenant: TenantId, entity: EntityId) -> Reading {
        let key = (tenant, entity);
        let changes = self.inner.stripe(key).load(Ordering::SeqCst);
        Reading { key, changes, known: self.listener.heard(tenant).is_some() }
    }

    /// Holds what was read, unless it changed meanwhile or nobody would hear of it.
    pub(crate) fn hold(&self, reading: &Reading, entry: &Arc<Entry>) {
        if !reading.known {
            return;
        }
        self.inner.entries.insert(reading.key, Arc::clone(entry));
        if self.inner.stripe(reading.key).load(Ordering::SeqCst) != reading.changes {
            self.inner.entries.remove(&reading.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inner() -> Inner {
        Inner {
            entries: quick_cache::sync::Cache::with_weighter(10, 10_000, Bytes),
            changes: std::iter::repeat_with(AtomicU64::default).take(STRIPES).collect(),
            hasher: RandomState::new(),
        }
    }

    fn entry(entity: i64, version: i64, bytes: usize) -> (Key, Arc<Entry>) {
        let (tenant, entity) = (TenantId(1), EntityId(entity));
        let (attrs_json, times_json) = ("x".repeat(bytes), "{}".into());
        let as_of = Timestamp::now();
        (
            (tenant, entity),
            Arc::new(Entry { tenant, entity, version, as_of, attrs_json, times_json, taken: None }),
        )
    }

    #[test]
    fn what_is_announced_is_let_go_and_what_was_missed_is_all_let_go() {
        let inner = inner();
        for (key, entry) in [entry(1, 5, 10), entry(2, 5, 10), entry(3, 5, 10)] {
            inner.entries.insert(key, entry);
        }
        let tenant = TenantId(1);
        inner.hear(Heard::Changed(tenant, EntityId(1), 5));
        inner.hear(Heard::Changed(tenant, EntityId(2), 6));
        let held = |entity| inner.entries.get(&(tenant, EntityId(entity))).is_some();
        assert!(held(1), "it is the version that is held");
        assert!(!held(2) && held(3));
        inner.hear(Heard::Lost);
        assert!(!held(1) && !held(3));
    }

    #[test]
    fn what_was_read_is_held_unless_something_newer_is_known() {
        let inner = inner();
        let reading = |key| Reading { key, changes: inner.stripe(key).load(Ordering::SeqCst), known: true };
        let version = |key| inner.entries.get(&key).map(|held| held.version);
        let (key, five) = entry(1, 5, 10);
        inner.hold_read(&reading(key), &five);
        assert_eq!(version(key), Some(5));
        // Another instance has filled in more than this one's replica knew.
        let (_, six) = entry(1, 6, 10);
        inner.entries.insert(key, six);
        inner.hold_read(&reading(key), &five);
        assert_eq!(version(key), Some(6));
        // A change was announced while it was read.
        let began = reading(key);
        inner.hear(Heard::Changed(key.0, key.1, 7));
        let (_, six) = entry(1, 6, 10);
        inner.hold_read(&began, &six);
        assert_eq!(version(key), None);
        // Nobody would hear of a change.
        let (_, eight) = entry(1, 8, 10);
        inner.hold_read(&Reading { known: false, ..reading(key) }, &eight);
        assert_eq!(version(key), None);
    }

    #[test]
    fn bytes_are_bounded() {
        let inner = inner();
        for n in 0..100 {
            let (key, entry) = entry(n, 1, 800);
            inner.entries.insert(key, entry);
        }
        assert!(inner.entries.weight() <= 10_000, "{}", inner.entries.weight());
        assert!(!inner.entries.is_empty());
    }
}
