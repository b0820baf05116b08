//! One database read per key, demand and instance: who comes while another request reads the same entity
//! waits for what that one finds. One with another demand may have to read elsewhere, and so reads for itself.

use eaves_cache::Entry;
use eaves_freshness::{Demand, Lag, Route};
use eaves_model::TenantId;
use eaves_store::read::EntityRow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::watch;

type Key = (TenantId, Box<str>, Demand);
type Seat = watch::Receiver<Option<Arc<Landed>>>;

/// What a read found.
pub(crate) struct Landed {
    /// The entity, if there is one.
    pub(crate) row: Option<Arc<EntityRow>>,
    /// Where it was read.
    pub(crate) route: Route,
    lag: Lag,
    began: Instant,
}

impl Landed {
    /// What was found by a read that began then.
    pub(crate) fn new(row: Option<Arc<EntityRow>>, route: Route, lag: Lag, began: Instant) -> Self {
        Self { row, route, lag, began }
    }

    /// How old it is for who did not read it: since the read began more may have been committed.
    pub(crate) fn lag(&self) -> Lag {
        match self.lag {
            Lag::AtMost(lag) => Lag::AtMost(lag + self.began.elapsed()),
            Lag::Unknown => Lag::Unknown,
        }
    }
}

/// The reads under way.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<Key, Seat>>);

/// Whether to read or to wait.
pub(crate) enum Boarding<'a> {
    /// Reads, for all that wait.
    Pilot(Pilot<'a>),
    /// Waits.
    Passenger(Seat),
}

/// Who reads. If it is dropped before it has landed, the next one reads.
pub(crate) struct Pilot<'a> {
    flights: &'a Flights,
    key: Key,
    sender: watch::Sender<Option<Arc<Landed>>>,
}

impl Flights {
    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Seat>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn board(&self, tenant: TenantId, external_id: &str, demand: Demand) -> Boarding<'_> {
        let key = (tenant, external_id.into(), demand);
        let mut all = self.lock();
        if let Some(seat) = all.get(&key) {
            return Boarding::Passenger(seat.clone());
        }
        let (sender, seat) = watch::channel(None);
        all.insert(key.clone(), seat);
        Boarding::Pilot(Pilot { flights: self, key, sender })
    }
}

impl Pilot<'_> {
    /// Tells those who wait what was found.
    pub(crate) fn land(self, landed: Landed) {
        self.sender.send_replace(Some(Arc::new(landed)));
    }
}

impl Drop for Pilot<'_> {
    fn drop(&mut self) {
        self.flights.lock().remove(&self.key);
    }
}

/// What the read found that a seat was taken in; `None` if it failed.
pub(crate) async fn arrival(mut seat: Seat) -> Option<Arc<Landed>> {
    match seat.wait_for(Option::is_some).await {
        Ok(landed) => landed.clone(),
        Err(_) => None,
    }
}

/// An entry as a row of a database.
pub(crate) fn row(entry: &Entry, external_id: &str, entity_type: String) -> EntityRow {
    EntityRow {
        entity: entry.entity,
        external_id: external_id.to_owned(),
        entity_type,
        version: entry.version,
        attrs_json: entry.attrs_json.clone(),
        times_json: entry.times_json.clone(),
    }
}
