//! One tenant's readings to points and hot rows: identifiers, types, rules.

use crate::consult::{Ruling, consult};
use crate::directory::{Directory, KnownAttribute, KnownEntity};
use crate::ingest::IngestError;
use crate::late::Aside;
use crate::meter::Meter;
use crate::points::GuardedReading;
use crate::previous;
use crate::rules::Force;
use crate::shadow::Seen;
use crate::work::{Account, Origin, Refusal, TenantWork};
use eaves_codec::{encode, pieces};
use eaves_model::batch::{AttributeInfo, Batch, EntityInfo, Point, Row};
use eaves_model::tenant::Tenant;
use eaves_model::{
    AttributeId, Code, EntityId, PluginId, PointPolicy, Reading, Rejection, Timestamp, Value, ValueType,
};
use eaves_registry::OnFailure;
use eaves_store::ingest::{HotRow, IngestStore};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a batch writes, apart from its account.
#[derive(Default)]
pub(crate) struct Output {
    pub(crate) points: Vec<Point>,
    pub(crate) hot: Vec<HotRow>,
    /// Readings whose points are decided about when it is known what they hold; they have
    /// no hot row yet.
    pub(crate) guarded: Vec<GuardedReading>,
    /// What shadows are to see once it is written.
    pub(crate) seen: Vec<Seen>,
}

/// How a tenant's plugin is asked.
pub(crate) struct Asking<'a> {
    /// What is in force.
    pub(crate) force: &'a mut Force,
    /// Figures and events.
    pub(crate) meter: &'a Meter,
    /// How long it may take.
    pub(crate) time: Duration,
    /// Whether there is time for a shadow.
    pub(crate) shadows: bool,
}

/// A tenant's readings with their identifiers: the plugin's batch and what stands behind
/// its indices.
struct Resolved<'a> {
    batch: Batch,
    entities: Vec<KnownEntity>,
    attributes: Vec<Arc<KnownAttribute>>,
    /// Per row: its value's place in the reading.
    places: Vec<u32>,
    /// Per reading: where from, its entity, first row and last row + 1.
    readings: Vec<(Origin<'a>, u32, u32, u32)>,
}

/// Registers the names of `work` that this instance has not seen.
pub(crate) async fn register(
    directory: &mut Directory,
    store: &mut IngestStore,
    tenant: &Tenant,
    work: &TenantWork<'_>,
) -> Result<(), IngestError> {
    let mut entities: HashMap<&str, &str> = HashMap::new();
    let mut attributes: Vec<(&str, ValueType)> = Vec::new();
    let mut seen: HashSet<&str> = HashSet::new();
    for (_, reading) in &work.readings {
        let said = reading.entity_type.as_deref().unwrap_or("");
        let known = directory.entity(tenant.id, &reading.entity);
        // A type said for the first time is worth a registration too.
        if known.is_none_or(|k| k.entity_type.is_empty() && !said.is_empty()) {
            let slot = entities.entry(&reading.entity).or_default();
            if slot.is_empty() {
                *slot = said;
            }
        }
        for (name, value) in &reading.values {
            if directory.attribute(&tenant.name, name).is_none() && seen.insert(name) {
                attributes.push((name, value.inferred_type()));
            }
        }
    }
    let entities: Vec<(&str, &str)> = entities.into_iter().collect();
    directory.add_entities(store, tenant, &entities).await?;
    directory.add_attributes(store, tenant, &attributes).await?;
    Ok(())
}

/// Turns `work` into points and hot rows, asking the tenant's plugin.
pub(crate) async fn assemble(
    directory: &mut Directory,
    store: &mut IngestStore,
    tenant: &Tenant,
    asking: Option<Asking<'_>>,
    work: TenantWork<'_>,
    account: &mut Account,
    output: &mut Output,
) -> Result<(), IngestError> {
    let mut resolved = resolve(directory, tenant, work, account);
    let mut ruling = Ruling::default();
    if let Some(asking) = asking {
        let Resolved { batch, entities, attributes, readings, .. } = &mut resolved;
        let Asking { force, meter, time, shadows } = asking;
        // One that cannot be asked, or is not for a while, costs the batch nothing.
        let watched = shadows && force.watch.is_asked(Instant::now());
        let watched = watched && force.shadow.as_ref().is_some_and(|s| s.plugin.is_ok());
        previous::fill(store, tenant.id, (&*force, watched), (batch, entities, attributes)).await?;
        let ranges: Vec<(u32, u32)> = readings.iter().map(|r| (r.2, r.3)).collect();
        let limit = limit(force.ms_per_1000, batch.rows.len());
        let time = time.min(limit);
        ruling = consult(tenant.id, force, meter, (batch, &ranges), time);
        if let Some(why) = ruling.judged.unavailable.take() {
            return Err(IngestError::Plugins(why));
        }
        if let Some(shadow) = force.shadow.as_ref().filter(|_| !batch.rows.is_empty()) {
            if watched {
                output.seen.push(Seen {
                    tenant: tenant.id,
                    shadow: shadow.clone(),
                    batch: batch.clone(),
                    readings: ranges,
                    limit,
                    decision: ruling.judged.decision.clone(),
                    failed: ruling.judged.failed_rows(),
                });
            } else {
                meter.skipped(tenant.id, &shadow.activation);
            }
        }
    }
    let mut deciding = None;
    if let Some(by) = &ruling.by {
        let id = directory.plugin(store, tenant.id, by, true).await?;
        let unvalidated = match (ruling.on_failure, ruling.judged.failed.is_empty()) {
            (OnFailure::Accept, false) => Some(directory.plugin(store, tenant.id, by, false).await?),
            _ => None,
        };
        deciding = Some(Deciding { id, unvalidated, digest: by.digest.clone() });
    }
    let judged = &ruling.judged;
    account.report.plugin_failures += judged.cost.failed();
    let derived: Vec<(&str, ValueType)> = {
        let mut seen = HashSet::new();
        let derived = judged.decision.derived.iter();
        derived
            .filter(|d| directory.attribute(&tenant.name, &d.attribute).is_none())
            .filter(|d| seen.insert(&*d.attribute))
            .map(|d| (&*d.attribute, d.value.value_type()))
            .collect()
    };
    directory.add_attributes(store, tenant, &derived).await?;
    emit(directory, tenant, deciding.as_ref(), resolved, ruling, account, output);
    Ok(())
}

/// What history rows name.
struct Deciding {
    id: PluginId,
    /// For values that are taken although the plugin failed on them.
    unvalidated: Option<PluginId>,
    digest: String,
}

/// What so many values may take, by the tenant's limit per 1,000.
fn limit(ms_per_1000: u32, rows: usize) -> Duration {
    let thousands = u64::try_from(rows.div_ceil(1000)).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(u64::from(ms_per_1000).saturating_mul(thousands))
}

/// Gives readings their identifiers and values their types; what has none is accounted for.
fn resolve<'a>(
    directory: &mut Directory,
    tenant: &Tenant,
    work: TenantWork<'a>,
    account: &mut Account,
) -> Resolved<'a> {
    let mut out = Resolved {
        batch: Batch::default(),
        entities: Vec::new(),
        attributes: Vec::new(),
        places: Vec::new(),
        readings: Vec::with_capacity(work.readings.len()),
    };
    let mut entity_index: HashMap<EntityId, u32> = HashMap::new();
    let mut attribute_index: HashMap<AttributeId, u32> = HashMap::new();
    for (origin, reading) in work.readings {
        let Some(entity) = directory.entity(tenant.id, &reading.entity) else {
            let text = format!("{:?} is not registered and the tenant is strict", reading.entity);
            let why = Rejection::new(Code::UNKNOWN_ENTITY, "entity", text);
            let refusal = Refusal { why, payload: encode::whole(&reading).into_bytes(), digest: None };
            account.quarantine((Some(tenant.id), None), origin, refusal, pieces(&reading));
            continue;
        };
        // Each refused value is kept as a reading of its own, which can be sent again.
        let mut refuse = |place: usize, why: Rejection, member: &str| {
            let payload = encode::with_members(&reading, &[member]).into_bytes();
            let origin = origin.piece(u32::try_from(place).unwrap_or(u32::MAX));
            account.reject(tenant.id, origin, Refusal { why, payload, digest: None });
        };
        for (place, (why, member)) in (reading.values.len()..).zip(&reading.refused) {
            refuse(place, why.clone(), member);
        }
        let entity_at = *entity_index.entry(entity.id).or_insert_with(|| {
            out.batch.entities.push(EntityInfo {
                external_id: reading.entity.clone(),
                entity_type: (*entity.entity_type).into(),
            });
            out.entities.push(entity.clone());
            out.entities.len() as u32 - 1
        });
        let first = out.batch.rows.len() as u32;
        let mut aside = Aside::default();
        for (place, (name, wire)) in reading.values.iter().enumerate() {
            let Some(attribute) = directory.attribute(&tenant.name, name) else {
                let field = format!("values.{name}");
                let text = "is not registered and the tenant is strict";
                let why = Rejection::new(Code::UNKNOWN_ATTRIBUTE, field, text);
                refuse(place, why, &encode::member(name, wire));
                continue;
            };
            if let Some(breach) = attribute.limits.breach(reading.observed_at, origin.arrived) {
                match aside.put(&breach, &reading, origin.arrived, place, name, wire) {
                    None => {}
                    Some(why) => refuse(place, why, &encode::member(name, wire)),
                }
                continue;
            }
            let wanted = attribute.row.value_type;
            // The field's name is built only for a refusal: this runs once per value.
            let value = match quick(wire, wanted) {
                Some(value) => value,
                None => match wire.clone().resolve(wanted, &format!("values.{name}")) {
                    Ok(value) => value,
                    Err(why) => {
                        refuse(place, why, &encode::member(name, wire));
                        continue;
                    }
                },
            };
            let attribute_at = *attribute_index.entry(attribute.row.id).or_insert_with(|| {
                out.batch.attributes.push(AttributeInfo {
                    name: name.clone(),
                    value_type: wanted,
                    unit: attribute.row.unit.as_str().into(),
                });
                out.attributes.push(attribute.clone());
                out.attributes.len() as u32 - 1
            });
            let row =
                Row { entity: entity_at, attribute: attribute_at, observed_at: reading.observed_at, value };
            out.batch.rows.push(row);
            out.places.push(place as u32);
        }
        aside.finish(tenant, origin, &reading, account);
        let end = out.batch.rows.len() as u32;
        if end > first {
            out.readings.push((origin, entity_at, first, end));
        }
    }
    out
}

/// The conversions that cannot fail and need no text, taken without one.
fn quick(wire: &eaves_model::WireValue, wanted: ValueType) -> Option<Value> {
    use eaves_model::WireValue as W;
    match (wire, wanted) {
        (W::Integer(i), ValueType::Integer) => Some(Value::Integer(*i)),
        (W::Boolean(b), ValueType::Boolean) => Some(Value::Boolean(*b)),
        (W::Text(s), ValueType::String) => Some(Value::String(s.clone())),
        (W::Number(n), ValueType::Float) => n.parse().ok().and_then(Value::float),
        _ => None,
    }
}

/// What the plugin let pass becomes points and hot rows; the rest is accounted for.
fn emit(
    directory: &Directory,
    tenant: &Tenant,
    deciding: Option<&Deciding>,
    resolved: Resolved<'_>,
    ruling: Ruling,
    account: &mut Account,
    output: &mut Output,
) {
    let Ruling { judged, on_failure, .. } = ruling;
    let digest = deciding.map(|d| d.digest.as_str());
    let policy = directory.points(&tenant.name);
    let guard = policy != PointPolicy::Replace;
    let (tenant_name, shared_digest): (Arc<str>, _) = (tenant.name.as_str().into(), digest.map(Arc::from));
    let Resolved { batch, entities, attributes, places, readings } = resolved;
    let rejected: HashMap<u32, u32> = judged.decision.rejected.into_iter().collect();
    let mut replaced: HashMap<u32, Value> = judged.decision.replaced.into_iter().collect();
    let mut derived: HashMap<u32, Vec<(Box<str>, Value)>> = HashMap::new();
    for d in judged.decision.derived {
        derived.entry(d.row).or_default().push((d.attribute, d.value));
    }
    let failed = |row: u32| judged.failed.iter().find(|(from, to, _)| (*from..*to).contains(&row));
    let place = |row: u32| places.get(row as usize).copied().unwrap_or_default();

    let mut rows = batch.rows.into_iter();
    for (origin, entity_at, first, end) in readings {
        let taken: Vec<Row> = rows.by_ref().take((end - first) as usize).collect();
        let Some(observed_at) = taken.first().map(|r| r.observed_at) else { continue };
        let named = |row: &Row| &*attributes[row.attribute as usize].row.name;
        let external = &batch.entities[entity_at as usize].external_id;
        let refusal = |why: Rejection, members: &[String]| {
            let reading = envelope(tenant, external, observed_at);
            let payload = encode::with_members(&reading, members).into_bytes();
            Refusal { why, payload, digest }
        };
        let failure = failed(first).map(|(_, _, why)| why);
        let unvalidated = failure.and(deciding).and_then(|d| d.unvalidated);
        let plugin_id = unvalidated.or(deciding.map(|d| d.id));
        if let (Some(why), OnFailure::Reject) = (failure, on_failure) {
            for (row_at, row) in (first..).zip(&taken) {
                let member = encode::typed_member(named(row), &row.value);
                let field = format!("values.{}", named(row));
                let why = Rejection::new(why.code.clone(), field, why.message.clone());
                account.reject(tenant.id, origin.piece(place(row_at)), refusal(why, &[member]));
            }
            continue;
        }
        if let (Some(why), None) = (failure, unvalidated) {
            let members: Vec<String> =
                taken.iter().map(|r| encode::typed_member(named(r), &r.value)).collect();
            let origin = origin.piece(place(first));
            account.quarantine((Some(tenant.id), None), origin, refusal(why.clone(), &members), end - first);
            continue;
        }
        let entity = entities[entity_at as usize].id;
        let mut hot = String::new();
        let (mut accepted, mut added) = (0, 0);
        let mut guarded = Vec::new();
        let first_point = output.points.len() as u32;
        // `sent`: its place in the reading, or none if a plugin derived it.
        let mut push = |attribute: &Arc<KnownAttribute>, value: Value, sent: Option<u32>| {
            if guard {
                guarded.push((attribute.clone(), sent));
            } else if attribute.row.is_hot {
                hot.push(if hot.is_empty() { '{' } else { ',' });
                hot.push_str(&attribute.json_key);
                value.write_json(&mut hot);
            }
            output.points.push(Point {
                tenant: tenant.id,
                entity,
                attribute: attribute.row.id,
                observed_at,
                plugin: plugin_id,
                value,
            });
        };
        for (row_at, row) in (first..).zip(taken) {
            let origin = origin.piece(place(row_at));
            if let Some(reason) = rejected.get(&row_at) {
                let reason = &judged.decision.reasons[*reason as usize];
                let field = format!("values.{}", named(&row));
                let why = Rejection::new(reason.code.clone(), field, reason.text.clone());
                let member = encode::typed_member(named(&row), &row.value);
                account.reject(tenant.id, origin, refusal(why, &[member]));
                continue;
            }
            accepted += 1;
            let attribute = &attributes[row.attribute as usize];
            push(attribute, replaced.remove(&row_at).unwrap_or(row.value), Some(place(row_at)));
            for (name, value) in derived.remove(&row_at).into_iter().flatten() {
                match directory.attribute(&tenant.name, &name) {
                    Some(known) if known.row.value_type == value.value_type() => {
                        added += 1;
                        push(known, value, None);
                    }
                    // Told, since the plugin's author must know.
                    known => {
                        let why = not_derived(&name, &value, known.map(|k| k.row.value_type));
                        let member = encode::typed_member(&name, &value);
                        account.reject_derived(tenant.id, origin, refusal(why, &[member]));
                    }
                }
            }
        }
        if guard {
            output.guarded.push(GuardedReading {
                policy,
                tenant_name: tenant_name.clone(),
                entity_name: external.clone(),
                place: origin.kept(),
                digest: shared_digest.clone(),
                validated: unvalidated.is_none(),
                first: first_point,
                points: guarded,
            });
            continue;
        }
        account.accept(tenant.id, origin, accepted, unvalidated.is_none());
        account.derive(tenant.id, origin, added);
        if !hot.is_empty() {
            hot.push('}');
            output.hot.push(HotRow { tenant: tenant.id, entity, observed_at, attrs_json: hot });
        }
    }
}

/// A reading's head, for values of it that are kept.
fn envelope(tenant: &Tenant, entity: &str, observed_at: Timestamp) -> Reading {
    Reading {
        tenant: tenant.name.as_str().into(),
        entity: entity.into(),
        entity_type: None,
        observed_at,
        trace: None,
        values: Vec::new(),
        refused: Vec::new(),
    }
}

/// A strict tenant's plugin may only derive what is registered, and none with another type.
fn not_derived(name: &str, value: &Value, known: Option<ValueType>) -> Rejection {
    let text = match known {
        None => "derived, but not registered and the tenant is strict".to_owned(),
        Some(known) => format!("derived as {}, but the attribute is {known}", value.value_type()),
    };
    Rejection::new(Code::TYPE_MISMATCH, format!("values.{name}"), text)
}
