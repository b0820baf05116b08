//! Places of backtests: how many are under way at once, of a tenant and of all tenants.
//!
//! A place is a row that says which backtest has it, and until when. It is taken, kept and given
//! back by conditional writes, so that of two who come for the last one, one gets it; and it ends
//! by itself, so that a worker that was killed does not hold it for ever.

use crate::RegistryError;
use crate::error::table;
use crate::registry::Registry;
use crate::rows::{self, Row};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use eaves_model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Most backtests of a tenant at once, over all its plugins.
pub const TENANT_BACKTESTS: u8 = 2;

/// Most backtests of all tenants at once. Each is an invocation of the plugin-admin function, which
/// has uploads and activations to answer, too: its `ReservedConcurrentExecutions` in
/// `sam-template.yaml` are well above this.
pub const PLATFORM_BACKTESTS: u8 = 6;

/// The places of a backtest, by their numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Places {
    /// Among the tenant's.
    tenant: u8,
    /// Among the platform's.
    platform: u8,
}

/// A place's row: of a tenant, or of the platform.
fn key(of: Option<TenantId>, number: u8) -> Row {
    let sort = format!("backtest#{number}");
    match of {
        Some(tenant) => rows::key(tenant, sort),
        None => rows::platform_key(sort),
    }
}

impl Registry {
    /// Gives a backtest its places for `lease`: those that it had, or else free ones.
    pub(crate) async fn take_places(
        &self,
        tenant: TenantId,
        (job, had): (&str, Option<Places>),
        lease: Duration,
    ) -> Result<Places, RegistryError> {
        let own = self.take_any(Some(tenant), TENANT_BACKTESTS, (job, had.map(|p| p.tenant)), lease).await?;
        let own = own.ok_or(RegistryError::TooManyBacktests { most: TENANT_BACKTESTS })?;
        match self.take_any(None, PLATFORM_BACKTESTS, (job, had.map(|p| p.platform)), lease).await {
            Ok(Some(platform)) => Ok(Places { tenant: own, platform }),
            // One alone is of no use to it.
            none => {
                self.give_back(Some(tenant), own, job).await?;
                none?;
                Err(RegistryError::BacktestsFull { most: PLATFORM_BACKTESTS })
            }
        }
    }

    /// Gives them back, if it still has them.
    pub(crate) async fn leave_places(
        &self,
        tenant: TenantId,
        job: &str,
        places: Places,
    ) -> Result<(), RegistryError> {
        self.give_back(Some(tenant), places.tenant, job).await?;
        self.give_back(None, places.platform, job).await
    }

    async fn take_any(
        &self,
        of: Option<TenantId>,
        most: u8,
        (job, had): (&str, Option<u8>),
        lease: Duration,
    ) -> Result<Option<u8>, RegistryError> {
        for number in had.into_iter().chain(0..most) {
            if self.take_one(key(of, number), job, lease).await? {
                return Ok(Some(number));
            }
        }
        Ok(None)
    }

    async fn take_one(&self, key: Row, job: &str, lease: Duration) -> Result<bool, RegistryError> {
        let now = Timestamp::now();
        let micros = |at: Timestamp| rows::number(at.as_micros().unsigned_abs());
        let until = now.plus_micros(i64::try_from(lease.as_micros()).unwrap_or(i64::MAX));
        let take = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(key))
            .update_expression("SET #j = :job, #u = :until")
            .condition_expression("attribute_not_exists(pk) OR #j = :job OR #u < :now")
            .expression_attribute_names("#j", "job")
            .expression_attribute_names("#u", "until")
            .expression_attribute_values(":job", rows::text(job))
            .expression_attribute_values(":until", micros(until))
            .expression_attribute_values(":now", micros(now));
        match take.send().await {
            Ok(_) => Ok(true),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(false),
            Err(e) => Err(table("take a backtest's place")(e)),
        }
    }

    async fn give_back(&self, of: Option<TenantId>, number: u8, job: &str) -> Result<(), RegistryError> {
        let give = self
            .client
            .delete_item()
            .table_name(&self.table)
            .set_key(Some(key(of, number)))
            .condition_expression("#j = :job")
            .expression_attribute_names("#j", "job")
            .expression_attribute_values(":job", rows::text(job));
        match give.send().await {
            Ok(_) => Ok(()),
            // It ended, and is another's by now.
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(()),
            Err(e) => Err(table("give a backtest's place back")(e)),
        }
    }
}
