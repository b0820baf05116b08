//! What the names in a request stand for. Identifiers and types never change, so memory, the cache
//! and any server may answer, whatever consistency is asked for.

use crate::context::Context;
use crate::memory::Recall;
use crate::problem::Problem;
use crate::token;
use eaves_cache::Named;
use eaves_model::rejection::excerpt;
use eaves_model::{EntityId, TenantId};
use eaves_store::read::AttributeRow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What is known of attributes, by name.
pub(crate) type Attributes = HashMap<String, Arc<AttributeRow>>;

impl Context {
    /// The entity and the attributes, in the order given; a problem names what is not registered.
    pub(crate) async fn identified(
        &self,
        tenant: TenantId,
        external_id: &str,
        attributes: &[&str],
    ) -> Result<(EntityId, Vec<AttributeRow>), Problem> {
        // What the request's token names may be what registers them.
        token::ready(&self.sources).await?;
        let mut entity = self.named(tenant, external_id).await.map(|named| named.entity);
        let (mut known, mut missing) = self.remembered(tenant, attributes);
        let mut answered = false;
        for server in self.sources.any() {
            if entity.is_some() && missing.is_empty() {
                break;
            }
            let names = server.reader.names(tenant, external_id, &missing);
            let done = self.sources.look_up(server, names).await;
            server.note(&done);
            let (found, rows) = match done {
                Ok(snapshot) => snapshot.value,
                Err(e) if e.is_away() => continue,
                Err(e) => return Err(e.into()),
            };
            answered = true;
            if let Some((id, entity_type)) = found {
                self.remember_named(tenant, external_id, Named { entity: id, entity_type }).await;
                entity = Some(id);
            }
            self.learn(tenant, rows, &mut known, &mut missing);
        }
        let rows = in_order(attributes, &mut known);
        match (entity, rows) {
            (Some(entity), Ok(rows)) => Ok((entity, rows)),
            _ if !answered => Err(no_answer()),
            (None, _) => {
                let detail = format!("no entity {} is registered", excerpt(external_id));
                Err(Problem::not_found("external_id", detail))
            }
            (_, Err(name)) => Err(Problem::not_found("attribute", unregistered(name))),
        }
    }

    /// The attributes, in the order given; `field` is what to call wrong where one is not registered.
    pub(crate) async fn registered(
        &self,
        tenant: TenantId,
        attributes: &[&str],
        field: &str,
    ) -> Result<Vec<AttributeRow>, Problem> {
        let mut known = self.looked_up(tenant, attributes).await?;
        let rows = in_order(attributes, &mut known);
        rows.map_err(|name| Problem::bad_parameter(field, unregistered(name)))
    }

    /// The attribute, if it is registered.
    pub(crate) async fn attribute(
        &self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Option<AttributeRow>, Problem> {
        Ok(self.looked_up(tenant, &[name]).await?.remove(name).map(Arc::unwrap_or_clone))
    }

    /// Types and units of attributes, as far as they can be had: this never fails a
    /// request that has its values already.
    pub(crate) async fn attributes(&self, tenant: TenantId, names: &[&str]) -> Attributes {
        let (mut known, mut missing) = self.remembered(tenant, names);
        for server in self.sources.any() {
            if missing.is_empty() {
                break;
            }
            let done = self.sources.look_up(server, server.reader.attributes(tenant, &missing)).await;
            server.note(&done);
            let rows = done.map(|s| s.value).unwrap_or_default();
            self.learn(tenant, rows, &mut known, &mut missing);
        }
        known
    }

    /// Those of the attributes that are registered. What is old does where no server answers.
    async fn looked_up(&self, tenant: TenantId, attributes: &[&str]) -> Result<Attributes, Problem> {
        let (mut known, mut missing) = self.remembered(tenant, attributes);
        if !missing.is_empty() {
            // What the request's token names may be what registers them.
            token::ready(&self.sources).await?;
        }
        let mut answered = missing.is_empty();
        for server in self.sources.any() {
            if missing.is_empty() {
                break;
            }
            let done = self.sources.look_up(server, server.reader.attributes(tenant, &missing)).await;
            server.note(&done);
            match done {
                Ok(snapshot) => self.learn(tenant, snapshot.value, &mut known, &mut missing),
                Err(e) if e.is_away() => continue,
                Err(e) => return Err(e.into()),
            }
            answered = true;
        }
        if !answered && missing.iter().any(|name| !known.contains_key(*name)) {
            return Err(no_answer());
        }
        Ok(known)
    }

    /// What memory has of the attributes, and which are to be looked up (again).
    fn remembered<'a>(&self, tenant: TenantId, attributes: &[&'a str]) -> (Attributes, Vec<&'a str>) {
        let (mut known, mut missing) = (HashMap::with_capacity(attributes.len()), Vec::new());
        for name in attributes {
            match self.memory.attribute(tenant, name) {
                Recall::Fresh(row) => drop(known.insert((*name).to_owned(), row)),
                Recall::Old(row) => {
                    known.insert((*name).to_owned(), row);
                    missing.push(*name);
                }
                Recall::Nothing => missing.push(*name),
            }
        }
        (known, missing)
    }

    fn learn(
        &self,
        tenant: TenantId,
        rows: Vec<AttributeRow>,
        known: &mut Attributes,
        missing: &mut Vec<&str>,
    ) {
        for row in rows {
            missing.retain(|name| *name != row.name);
            let row = Arc::new(row);
            self.memory.remember_attribute(tenant, Arc::clone(&row));
            known.insert(row.name.clone(), row);
        }
    }
}

fn in_order<'a>(names: &[&'a str], known: &mut Attributes) -> Result<Vec<AttributeRow>, &'a str> {
    names.iter().map(|name| known.remove(*name).map(Arc::unwrap_or_clone).ok_or(*name)).collect()
}

fn unregistered(name: &str) -> String {
    format!("no attribute {} is registered", excerpt(name))
}

fn no_answer() -> Problem {
    Problem::unavailable("no database answers", Duration::from_secs(1))
}
