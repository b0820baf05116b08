//! The hot projection as an operator changes it (`V47__hot_decisions.sql`), and against the fold of
//! history (`V43__hot_verify.sql`, `V54__hot_versions.sql`).

use super::AdminStore;
use crate::StoreError;
use crate::db::{Db, Parameter};
use crate::hot::{self, ByHand, Decided, HotChange};
use crate::ingest::HotState;
use eaves_model::{EntityId, TenantId};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio_postgres::types::Type;

/// What a comparison found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
pub struct HotCheck {
    /// Entities that were looked at.
    pub entities: u64,
    /// Their hot values, in the projection or in history.
    pub values: u64,
    /// The last of these entities; `None` if there was none left.
    pub last: Option<i64>,
    /// Entities whose row was repaired.
    pub repaired: u64,
    /// Differences.
    pub found: u64,
    /// The first hundred of them.
    pub differences: Vec<HotDifference>,
    #[serde(default)]
    tenant: i32,
    #[serde(default)]
    changed: Vec<ChangedRow<String>>,
}

/// An entity, its row's version, `hot_attrs` and `hot_times`.
type ChangedRow<T> = (i64, i64, T, T);

fn states<T>(tenant: i32, changed: &[ChangedRow<T>], text: impl Fn(&T) -> &str) -> Vec<HotState> {
    let state = |(entity, version, attrs, times): &ChangedRow<T>| HotState {
        tenant: TenantId(tenant),
        entity: EntityId(*entity),
        version: *version,
        attrs_json: text(attrs).to_owned(),
        times_json: text(times).to_owned(),
    };
    changed.iter().map(state).collect()
}

impl HotCheck {
    /// What became of the rows that were repaired.
    pub fn repaired_rows(&self) -> Vec<HotState> {
        states(self.tenant, &self.changed, |text| text)
    }
}

/// A hot value that is not the latest of history.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct HotDifference {
    /// The tenant's own name for the entity.
    pub entity: String,
    /// The attribute.
    pub attribute: String,
    /// `missing`, `stale`, `value` or `ahead`.
    pub kind: String,
    /// The value in the projection.
    pub projected: serde_json::Value,
    /// Its time, in microseconds since 1970.
    pub projected_at: Option<i64>,
    /// The latest value of history.
    pub folded: serde_json::Value,
    /// Its time, likewise.
    pub folded_at: Option<i64>,
}

/// Runs a statement that answers with a comparison as text.
pub(crate) async fn check(db: &Db, sql: &str, parameters: &[Parameter<'_>]) -> Result<HotCheck, StoreError> {
    let row = db.query_one("comparing hot values with history", sql, parameters).await?;
    serde_json::from_str(row.get(0)).map_err(|_| StoreError::Unreadable("a comparison of hot values"))
}

/// One part of a change.
#[derive(Debug, Clone, Deserialize)]
pub struct HotStep {
    /// Whose.
    pub tenant: i32,
    /// The attributes: several where they are filled in together.
    pub attributes: Vec<String>,
    /// `promote` or `demote`.
    pub change: String,
    /// Entities that were looked at.
    pub entities: u64,
    /// Rows that were changed.
    pub rows: u64,
    /// That was the last part.
    pub done: bool,
    /// As they stand in the answer: of a part this is most of it.
    changed: Vec<ChangedRow<Box<RawValue>>>,
}

impl HotStep {
    /// What became of the rows that were changed.
    pub fn changed_rows(&self) -> Vec<HotState> {
        states(self.tenant, &self.changed, |json| json.get())
    }
}

impl AdminStore {
    /// Somebody decides about an attribute; whoever it was and why is kept. The maintain function
    /// does what follows from it part by part.
    pub async fn hot_decide(
        &self,
        tenant: TenantId,
        attribute: &str,
        change: ByHand,
        (by, reason): (&str, &str),
    ) -> Result<Decided, StoreError> {
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&attribute, Type::TEXT),
            (&change.name(), Type::TEXT),
            (&by, Type::TEXT),
            (&reason, Type::TEXT),
        ];
        let sql = "select hot_decide($1, $2, $3, $4, $5)";
        let row = self.db.query_one("changing what is hot", sql, parameters).await?;
        Decided::of(row.get(0)).ok_or(StoreError::Unreadable("an attribute's state"))
    }

    /// A tenant's changes, those under way first, then the newest; at most 100.
    pub async fn hot_changes(&self, tenant: TenantId) -> Result<Vec<HotChange>, StoreError> {
        let sql = "select attribute_name, change, state, requested_at, requested_by, reason, entities, \
                   of_entities, rows_changed, started_at, finished_at from hot_changes_of($1)";
        let rows = self.db.query("listing changes", sql, &[(&tenant.0, Type::INT4)]).await?;
        let unreadable = |_| StoreError::Unreadable("a change of what is hot");
        rows.iter().map(|row| hot::change(row).map_err(unreadable)).collect()
    }

    /// Compares some of a tenant's entities, those after `after`, with history, and repairs what
    /// differs if `repair` is set. At most 1,000 at once; a flush is slower meanwhile.
    pub async fn hot_verify(
        &self,
        tenant: TenantId,
        after: EntityId,
        entities: u32,
        repair: bool,
    ) -> Result<HotCheck, StoreError> {
        let entities = i32::try_from(entities).unwrap_or(i32::MAX);
        let parameters: &[Parameter<'_>] = &[
            (&tenant.0, Type::INT4),
            (&after.0, Type::INT8),
            (&entities, Type::INT4),
            (&repair, Type::BOOL),
        ];
        check(&self.db, "select hot_verify($1, $2, $3, $4)::text", parameters).await
    }

    /// The same for entities from a place chosen at random.
    pub async fn hot_verify_some(
        &self,
        tenant: TenantId,
        entities: u32,
        repair: bool,
    ) -> Result<HotCheck, StoreError> {
        let entities = i32::try_from(entities).unwrap_or(i32::MAX);
        let parameters: &[Parameter<'_>] =
            &[(&tenant.0, Type::INT4), (&entities, Type::INT4), (&repair, Type::BOOL)];
        check(&self.db, "select hot_verify_some($1, $2, $3)::text", parameters).await
    }
}
