//! Second values for a point, for tenants where they do not simply replace the first.
//!
//! Decided inside the transaction that writes, once it is known what the points hold
//! already (see `IngestStore::commit_guarded`): what is staged has been decided.

use crate::directory::KnownAttribute;
use crate::work::{Account, Origin};
use eaves_model::batch::Point;
use eaves_model::point::{PointPolicy, Settled};
use eaves_model::{AttributeId, Code, EntityId, Rejection, TenantId, Timestamp, Value};
use eaves_store::ingest::{Correction, Decided, Held, HotRow};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A reading of a tenant whose policy has to know what its points hold already.
#[derive(Debug)]
pub(crate) struct GuardedReading {
    pub(crate) policy: PointPolicy,
    pub(crate) tenant_name: Arc<str>,
    pub(crate) entity_name: Box<str>,
    pub(crate) sequence: String,
    pub(crate) sub: u32,
    pub(crate) digest: Option<Arc<str>>,
    /// Its first point in the batch.
    pub(crate) first: u32,
    /// Of each point in turn: the attribute, and whether a plugin derived it.
    pub(crate) points: Vec<(Arc<KnownAttribute>, bool)>,
}

type Key = (TenantId, EntityId, AttributeId, Timestamp);

fn key(point: &Point) -> Key {
    (point.tenant, point.entity, point.attribute, point.observed_at)
}

/// The indices of all guarded points.
pub(crate) fn guarded(readings: &[GuardedReading]) -> Vec<u32> {
    readings.iter().flat_map(|r| r.first..r.first + r.points.len() as u32).collect()
}

/// What a point holds while its batch is decided, and since when.
struct Holds {
    value: Value,
    /// `None`: since this batch.
    ingested_at: Option<Timestamp>,
    /// The point in the batch that brought it.
    brought_by: Option<u32>,
}

/// Decides about the batch's guarded points in stream order, on top of what they hold.
/// What loses is accounted for; values that repeat what is there, or that a later one of
/// the batch took the place of, are accepted but need not be written.
pub(crate) fn settle(
    points: &[Point],
    hot: Vec<HotRow>,
    readings: &[GuardedReading],
    account: &mut Account,
    held: Vec<Held>,
) -> Decided {
    let mut holds: HashMap<Key, Holds> = held
        .into_iter()
        .filter_map(|h| {
            let key = key(points.get(h.point as usize)?);
            Some((key, Holds { value: h.value, ingested_at: Some(h.ingested_at), brought_by: None }))
        })
        .collect();
    let mut decided = Decided { hot, ..Decided::default() };
    let mut unwritten: HashSet<u32> = HashSet::new();
    for reading in readings {
        let mut accepted = 0;
        let mut any = None;
        let mut taken: Vec<(&KnownAttribute, &Value)> = Vec::with_capacity(reading.points.len());
        for (at, (attribute, derived)) in (reading.first..).zip(&reading.points) {
            let Some(point) = points.get(at as usize) else { continue };
            any = Some(point);
            let held = holds.get(&key(point));
            let settled = reading.policy.settle(held.map(|h| &h.value), &point.value);
            if settled == Settled::Rejected {
                let held = held.map(|h| &h.value);
                refuse(account, reading, attribute, *derived, point, held);
                unwritten.insert(at);
                continue;
            }
            accepted += u64::from(!derived);
            taken.push((attribute, &point.value));
            if settled == Settled::Repeated {
                unwritten.insert(at);
                continue;
            }
            let now = Holds { value: point.value.clone(), ingested_at: None, brought_by: Some(at) };
            let Some(before) = holds.insert(key(point), now) else { continue };
            unwritten.extend(before.brought_by);
            if settled == Settled::Corrected {
                decided.corrections.push(Correction {
                    tenant: point.tenant,
                    entity: point.entity,
                    attribute: point.attribute,
                    observed_at: point.observed_at,
                    value: before.value,
                    ingested_at: before.ingested_at,
                    sequence: reading.sequence.clone(),
                    sub: reading.sub,
                });
            }
        }
        let Some(point) = any else { continue };
        account.accept(point.tenant, accepted);
        decided.hot.extend(hot_row(point, &taken));
    }
    let written = (0u32..).zip(points).filter(|(at, _)| !unwritten.contains(at));
    decided.points = written.map(|(_, point)| point.clone()).collect();
    decided.ledger = account.ledger();
    decided.quarantine = std::mem::take(&mut account.quarantine);
    decided
}

/// The hot attributes of what was taken of a reading.
fn hot_row(point: &Point, taken: &[(&KnownAttribute, &Value)]) -> Option<HotRow> {
    let mut json = String::new();
    for (attribute, value) in taken.iter().filter(|(a, _)| a.row.is_hot) {
        json.push(if json.is_empty() { '{' } else { ',' });
        json.push_str(&attribute.json_key);
        value.write_json(&mut json);
    }
    if json.is_empty() {
        return None;
    }
    json.push('}');
    let (tenant, entity, observed_at) = (point.tenant, point.entity, point.observed_at);
    Some(HotRow { tenant, entity, observed_at, attrs_json: json })
}

fn refuse(
    account: &mut Account,
    reading: &GuardedReading,
    attribute: &KnownAttribute,
    derived: bool,
    point: &Point,
    held: Option<&Value>,
) {
    let name = attribute.row.name.as_str();
    let mut has = String::new();
    if let Some(held) = held {
        held.write_json(&mut has);
    }
    let has: String =
        if has.chars().count() > 80 { has.chars().take(79).chain(['…']).collect() } else { has };
    let text = format!(
        "the point at {} has the value {has}, and this tenant lets the first one hold",
        point.observed_at
    );
    let why = Rejection::new(Code::POINT_CONFLICT, format!("values.{name}"), text);
    let value = std::iter::once((name, &point.value));
    let payload =
        crate::ingest::reading_json(&reading.tenant_name, &reading.entity_name, point.observed_at, value);
    let origin = Origin { sequence: &reading.sequence, sub: reading.sub, arrived: point.observed_at };
    let digest = reading.digest.as_deref();
    if derived {
        // Nobody sent it, so the ledger does not count it.
        account.note(point.tenant, origin, why, payload.into_bytes(), digest);
    } else {
        account.reject(point.tenant, origin, why, payload.into_bytes(), digest);
    }
}

#[cfg(test)]
mod tests;
