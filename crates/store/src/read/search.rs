//! Search over hot attributes.

use super::entity::entity_row;
use super::{EntityRow, Parameter, ReadError, Reader, Snapshot, Statement};
use eaves_model::{EntityId, TenantId};
use tokio_postgres::types::Type;

const SEARCH: &str = "select entity_id, external_id, entity_type, version, hot_attrs::text, hot_times::text \
     from find_entities_by_attributes($1::jsonb, $2, $3, $4)";

/// What to search for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchQuery {
    /// Whose entities.
    pub tenant: TenantId,
    /// The filter as JSON (`V18__search.sql`), `{}` for all.
    pub filter_json: String,
    /// Only entities of this type.
    pub entity_type: Option<String>,
    /// Only entities after this one.
    pub after: EntityId,
    /// Most entities, up to 1000.
    pub limit: u32,
}

impl Reader {
    /// The entities that match, in order of their identifiers.
    pub async fn search(&self, query: &SearchQuery) -> Result<Snapshot<Vec<EntityRow>>, ReadError> {
        let limit = i32::try_from(query.limit).unwrap_or(i32::MAX);
        let parameters: [Parameter<'_>; 4] = [
            (&query.filter_json, Type::TEXT),
            (&query.entity_type, Type::TEXT),
            (&query.after.0, Type::INT8),
            (&limit, Type::INT4),
        ];
        let done =
            self.unit(Some(query.tenant), &[Statement { sql: SEARCH, parameters: &parameters }]).await?;
        done.try_map(|results| results.iter().flatten().map(entity_row).collect())
    }
}
