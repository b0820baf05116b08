//! Search over the latest values of attributes.

use super::entity::entity_row;
use super::{EntityRow, Parameter, ReadError, Reader, Snapshot, Statement};
use crate::micros::Micros;
use eaves_model::{EntityId, TenantId, Timestamp};
use tokio_postgres::types::Type;

const SEARCH: &str = "select entity_id, external_id, entity_type, version, hot_attrs, hot_times, sort_key \
     from search_entities($1::jsonb, $2, $3, $4, $5, $6, $7, $8, $9)";

const COUNT: &str = "select search_count($1::jsonb, $2, $3, $4)";

const GUARD: &str = "select search_guard($1::jsonb, $2, $3, $4)";

/// The order of what a search finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SearchSort {
    /// As they were registered.
    #[default]
    Registered,
    /// By the tenant's own names for them.
    ExternalId,
    /// By the value of a hot attribute. Those without it come last.
    Attribute(String),
}

/// What to search for.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchQuery {
    /// Whose entities.
    pub tenant: TenantId,
    /// The filter as JSON (`V52__search_cold_and_sorted.sql`), `{}` for all.
    pub filter_json: String,
    /// Only entities of this type.
    pub entity_type: Option<String>,
    /// Attributes that are not hot are compared by their latest value since then; without it
    /// they are refused. What is not flushed yet is not seen.
    pub cold_from: Option<Timestamp>,
    /// The order.
    pub sort: SearchSort,
    /// The other way round.
    pub descending: bool,
    /// Only entities after this one; 0 for the first page.
    pub after: EntityId,
    /// Its [`SearchRow::key`].
    pub after_key: Option<String>,
    /// Most entities, up to 1000.
    pub limit: u32,
    /// It is refused if it would cost more, in the planner's units ([`ReadError::TooExpensive`]).
    pub most_cost: Option<f64>,
}

impl SearchQuery {
    /// The first entities of a tenant that match, in the order in which they were registered.
    pub fn new(tenant: TenantId, filter_json: impl Into<String>, limit: u32) -> Self {
        Self {
            tenant,
            filter_json: filter_json.into(),
            entity_type: None,
            cold_from: None,
            sort: SearchSort::Registered,
            descending: false,
            after: EntityId(0),
            after_key: None,
            limit,
            most_cost: None,
        }
    }
}

/// An entity that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchRow {
    /// The entity.
    pub entity: EntityRow,
    /// The value it was sorted by, if that was an attribute and it has it.
    pub key: Option<String>,
}

impl Reader {
    /// The entities that match.
    pub async fn search(&self, query: &SearchQuery) -> Result<Snapshot<Vec<SearchRow>>, ReadError> {
        Ok(self.search_counting(query, None).await?.map(|(rows, _)| rows))
    }

    /// The entities that match, and how many of them there are on all pages; counting ends at `count_to`.
    pub async fn search_counting(
        &self,
        query: &SearchQuery,
        count_to: Option<i64>,
    ) -> Result<Snapshot<(Vec<SearchRow>, Option<i64>)>, ReadError> {
        let limit = i32::try_from(query.limit).unwrap_or(i32::MAX);
        let cold_from = query.cold_from.map(Micros);
        let (sort, attribute) = match &query.sort {
            SearchSort::Registered => ("registered", None),
            SearchSort::ExternalId => ("external_id", None),
            SearchSort::Attribute(name) => ("attribute", Some(name.as_str())),
        };
        let parameters: [Parameter<'_>; 9] = [
            (&query.filter_json, Type::TEXT),
            (&query.entity_type, Type::TEXT),
            (&cold_from, Type::TIMESTAMPTZ),
            (&sort, Type::TEXT),
            (&attribute, Type::TEXT),
            (&query.descending, Type::BOOL),
            (&query.after.0, Type::INT8),
            (&query.after_key, Type::TEXT),
            (&limit, Type::INT4),
        ];
        let guard: [Parameter<'_>; 4] = [
            (&query.filter_json, Type::TEXT),
            (&query.entity_type, Type::TEXT),
            (&cold_from, Type::TIMESTAMPTZ),
            (&query.most_cost, Type::FLOAT8),
        ];
        // Sent together: what the first one refuses, the second one does not run.
        let mut statements = Vec::with_capacity(3);
        if query.most_cost.is_some() && query.filter_json != "{}" {
            statements.push(Statement { sql: GUARD, parameters: &guard });
        }
        statements.push(Statement { sql: SEARCH, parameters: &parameters });
        let count: [Parameter<'_>; 4] = [
            (&query.filter_json, Type::TEXT),
            (&query.entity_type, Type::TEXT),
            (&cold_from, Type::TIMESTAMPTZ),
            (&count_to, Type::INT8),
        ];
        if count_to.is_some() {
            statements.push(Statement { sql: COUNT, parameters: &count });
        }
        let done = self.unit(Some(query.tenant), &statements).await?;
        done.try_map(|mut results| {
            let count = match count_to.and_then(|_| results.pop()) {
                Some(rows) => rows.first().map(|row| row.try_get(0)).transpose()?,
                None => None,
            };
            let rows = results.last().into_iter().flatten();
            let rows = rows.map(|row| Ok(SearchRow { entity: entity_row(row)?, key: row.try_get(6)? }));
            Ok((rows.collect::<Result<_, ReadError>>()?, count))
        })
    }
}
