//! Second values for a point, for tenants where they do not simply replace the first.
//!
//! Decided inside the transaction that writes, once it is known what the points hold
//! already (see `IngestStore::commit_guarded`): what is staged has been decided.

use crate::directory::KnownAttribute;
use crate::work::{Account, KeptOrigin, Refusal};
use eaves_codec::encode;
use eaves_model::batch::Point;
use eaves_model::point::{PointPolicy, Settled};
use eaves_model::{AttributeId, Code, EntityId, Reading, Rejection, TenantId, Timestamp, Value};
use eaves_store::ingest::{Correction, Decided, Held, HotRow};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A reading of a tenant whose policy has to know what its points hold already.
#[derive(Debug)]
pub(crate) struct GuardedReading {
    pub(crate) policy: PointPolicy,
    pub(crate) tenant_name: Arc<str>,
    pub(crate) entity_name: Box<str>,
    /// Where it came from.
    pub(crate) place: KeptOrigin,
    pub(crate) digest: Option<Arc<str>>,
    /// Whether the plugin judged it, if there is one.
    pub(crate) validated: bool,
    /// Its first point in the batch.
    pub(crate) first: u32,
    /// Of each point in turn: the attribute, and its place in the reading, none if a plugin
    /// derived it.
    pub(crate) points: Vec<(Arc<KnownAttribute>, Option<u32>)>,
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
        let (mut accepted, mut added) = (0, 0);
        let mut any = None;
        let mut taken: Vec<(&KnownAttribute, &Value)> = Vec::with_capacity(reading.points.len());
        for (at, (attribute, sent)) in (reading.first..).zip(&reading.points) {
            let Some(point) = points.get(at as usize) else { continue };
            any = Some(point);
            let held = holds.get(&key(point));
            let settled = reading.policy.settle(held.map(|h| &h.value), &point.value);
            if settled == Settled::Rejected {
                let held = held.map(|h| &h.value);
                refuse(account, reading, attribute, *sent, point, held);
                unwritten.insert(at);
                continue;
            }
            accepted += u64::from(sent.is_some());
            added += u64::from(sent.is_none());
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
                    sequence: reading.place.sequence.clone(),
                    sub: reading.place.sub,
                });
            }
        }
        let Some(point) = any else { continue };
        account.accept(point.tenant, reading.place.origin(), accepted, reading.validated);
        account.derive(point.tenant, reading.place.origin(), added);
        decided.hot.extend(hot_row(point, &taken));
    }
    let written = (0u32..).zip(points).filter(|(at, _)| !unwritten.contains(at));
    decided.points = written.map(|(_, point)| point.clone()).collect();
    decided.ledger = account.ledger();
    decided.quarantine = std::mem::take(&mut account.quarantine);
    decided.redrives = account.settled();
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
    sent: Option<u32>,
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
    let head = Reading {
        tenant: (*reading.tenant_name).into(),
        entity: reading.entity_name.clone(),
        entity_type: None,
        observed_at: point.observed_at,
        trace: None,
        values: Vec::new(),
        refused: Vec::new(),
    };
    let payload = encode::with_members(&head, &[encode::typed_member(name, &point.value)]).into_bytes();
    let refusal = Refusal { why, payload, digest: reading.digest.as_deref() };
    let origin = reading.place.origin();
    match sent {
        Some(place) => account.reject(point.tenant, origin.piece(place), refusal),
        // Nobody sent it, so it stands beside the ledger's equation.
        None => account.reject_derived(point.tenant, origin, refusal),
    }
}

#[cfg(test)]
mod tests;
