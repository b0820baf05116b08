//! Which attributes an answer about entities has: hot ones from their row, others by their latest
//! value in history.

use crate::context::Context;
use crate::entity_body::{EntityBody, Hot};
use crate::entity_name::checked;
use crate::names::Attributes;
use crate::problem::Problem;
use crate::sources::{Need, Server};
use eaves_freshness::{Route, Source};
use eaves_model::{AttributeId, EntityId, TenantId, Timestamp};
use eaves_store::read::{AttributeRow, EntityRow, LatestQuery, LatestValue, ReadError, Snapshot};
use std::collections::{HashMap, HashSet};

/// Most attributes that one answer is asked for by name.
pub(crate) const MOST_FIELDS: usize = 1000;
/// Most look-ups of history for one answer: entities times attributes that are not hot.
const MOST_LOOK_UPS: usize = 10_000;

/// The attributes asked for.
pub(crate) struct Fields {
    wanted: Option<Vec<String>>,
    cold: Vec<AttributeRow>,
    /// How far back a value that is not hot is looked for, in microseconds.
    within: i64,
}

impl Fields {
    /// Those named, each of which must be registered; all hot ones where none are. `most` is the
    /// number of entities that the answer may have.
    pub(crate) async fn of(
        context: &Context,
        tenant: TenantId,
        wanted: Option<Vec<String>>,
        within: i64,
        most: u32,
    ) -> Result<Self, Problem> {
        let names: Vec<&str> = wanted.iter().flatten().map(String::as_str).collect();
        if names.len() > MOST_FIELDS {
            return Err(Problem::too_many("fields", format!("names over {MOST_FIELDS} attributes")));
        }
        for name in &names {
            checked("fields", name)?;
        }
        let rows = context.registered(tenant, &names, "fields").await?;
        let cold: Vec<AttributeRow> = rows.into_iter().filter(|row| !row.is_hot).collect();
        let look_ups = cold.len() * most as usize;
        if look_ups > MOST_LOOK_UPS {
            let detail = format!(
                "{} of the attributes are not hot, and for up to {most} entities that would be {look_ups} look-ups \
                 of history, at most {MOST_LOOK_UPS} are made: set limit to {} or less, or name fewer",
                cold.len(),
                MOST_LOOK_UPS / cold.len().max(1)
            );
            return Err(Problem::too_many("fields", detail));
        }
        Ok(Self { wanted, cold, within })
    }

    /// What the answer needs of its source.
    pub(crate) fn need(&self) -> Need {
        if self.cold.is_empty() { Need::Hot } else { Need::History }
    }

    /// The names asked for.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.wanted.iter().flatten().map(String::as_str).collect()
    }

    /// The attributes of a table: those asked for, if any were.
    pub(crate) fn columns(&self) -> Option<Vec<String>> {
        self.wanted.clone()
    }

    /// The latest values of what is not hot; `None` if there is nothing to read.
    pub(crate) async fn read(
        &self,
        route: Route,
        server: &Server,
        tenant: TenantId,
        rows: &[EntityRow],
    ) -> Option<Result<Snapshot<Vec<LatestValue>>, ReadError>> {
        if self.cold.is_empty() || rows.is_empty() {
            return None;
        }
        let now = Timestamp::now();
        let query = LatestQuery {
            tenant,
            entities: rows.iter().map(|row| row.entity).collect(),
            attributes: self.cold.iter().map(|a| (a.id, a.value_type)).collect(),
            from: now.plus_micros(-self.within),
            until: now.plus_micros(eaves_model::limits::MAX_AHEAD_MICROS),
            // The primary has staging at hand, so its answer lacks nothing.
            with_staging: route.source == Source::Primary,
        };
        Some(server.reader.latest(&query).await)
    }

    /// What is known of the attributes that the rows have and the answer may.
    pub(crate) async fn known(&self, context: &Context, tenant: TenantId, rows: &[Hot<'_>]) -> Attributes {
        let mut names: HashSet<&str> = rows.iter().flat_map(Hot::names).collect();
        if let Some(wanted) = &self.wanted {
            names.retain(|name| wanted.iter().any(|wanted| wanted == name));
        }
        let names: Vec<&str> = names.into_iter().collect();
        context.attributes(tenant, &names).await
    }

    /// The entities as they are answered, in the order of the rows.
    pub(crate) fn bodies<'a>(
        &'a self,
        rows: Vec<Hot<'a>>,
        known: &'a Attributes,
        cold: Vec<LatestValue>,
    ) -> Vec<EntityBody<'a>> {
        let registered: HashMap<AttributeId, &AttributeRow> = self.cold.iter().map(|a| (a.id, a)).collect();
        let mut by_entity: HashMap<EntityId, Vec<LatestValue>> = HashMap::new();
        for value in cold {
            by_entity.entry(value.entity).or_default().push(value);
        }
        let mut bodies = Vec::with_capacity(rows.len());
        for row in rows {
            let values = by_entity.remove(&row.entity()).unwrap_or_default();
            let mut body = row.body(known, self.wanted.as_deref());
            for value in values {
                if let Some(attribute) = registered.get(&value.attribute) {
                    body.add(attribute, &value.value, value.observed_at);
                }
            }
            bodies.push(body);
        }
        bodies
    }
}
