//! A tenant's entities: page by page, or some by their names.

use super::entity::entity_row;
use super::{EntityRow, Parameter, ReadError, Reader, Snapshot, Statement};
use eaves_model::{EntityId, TenantId};
use tokio_postgres::types::Type;

/// The page first and the hot rows then: a page is the same whatever is written meanwhile.
const PAGE: &str = "select e.entity_id, e.external_id, e.entity_type, coalesce(j.version, 0), \
       coalesce(j.hot_attrs::text, '{}'), coalesce(j.hot_times::text, '{}') \
     from (select entity_id, external_id, entity_type from entities \
           where tenant_id = $1 and entity_id > $2 and ($3::text is null or entity_type = $3) \
           order by entity_id limit $4) e \
     left join entity_jsonb j on j.tenant_id = $1 and j.entity_id = e.entity_id \
     order by e.entity_id";

const NAMED: &str = "select e.entity_id, e.external_id, e.entity_type, coalesce(j.version, 0), \
       coalesce(j.hot_attrs::text, '{}'), coalesce(j.hot_times::text, '{}') \
     from entities e \
     left join entity_jsonb j on j.tenant_id = e.tenant_id and j.entity_id = e.entity_id \
     where e.tenant_id = $1 and e.external_id = any ($2)";

/// Which entities to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntitiesQuery {
    /// Whose entities.
    pub tenant: TenantId,
    /// Only entities of this type.
    pub entity_type: Option<String>,
    /// Only entities registered after this one.
    pub after: EntityId,
    /// Most entities.
    pub limit: u32,
}

impl Reader {
    /// Entities in the order in which they were registered, with their hot attributes.
    pub async fn entities_page(&self, query: &EntitiesQuery) -> Result<Snapshot<Vec<EntityRow>>, ReadError> {
        let limit = i64::from(query.limit);
        let parameters: [Parameter<'_>; 4] = [
            (&query.tenant.0, Type::INT4),
            (&query.after.0, Type::INT8),
            (&query.entity_type, Type::TEXT),
            (&limit, Type::INT8),
        ];
        let done = self.unit(Some(query.tenant), &[Statement { sql: PAGE, parameters: &parameters }]).await?;
        done.try_map(|results| results.iter().flatten().map(entity_row).collect())
    }

    /// Those of the named entities that are registered, in no order, each once.
    pub async fn entities_named(
        &self,
        tenant: TenantId,
        external_ids: &[&str],
    ) -> Result<Snapshot<Vec<EntityRow>>, ReadError> {
        let parameters: [Parameter<'_>; 2] = [(&tenant.0, Type::INT4), (&external_ids, Type::TEXT_ARRAY)];
        let done = self.unit(Some(tenant), &[Statement { sql: NAMED, parameters: &parameters }]).await?;
        done.try_map(|results| results.iter().flatten().map(entity_row).collect())
    }
}
