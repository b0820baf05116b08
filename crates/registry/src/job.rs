//! Backtests: rows that the one who asks and the one who works share.

use crate::error::table;
use crate::places::Places;
use crate::registry::{Registry, sha256};
use crate::rows::{self, DOC, Reader};
use crate::version::Version;
use crate::{AuditEntry, RegistryError};
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::types::{Put, TransactWriteItem};
use eaves_model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A backtest's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number: 32 hex digits.
    pub id: String,
    /// The plugin.
    pub name: String,
    /// The candidate; empty in rows of earlier releases, as are the digests.
    #[serde(default)]
    pub version: String,
    /// SHA-256 of its component, in hex.
    #[serde(default)]
    pub digest: String,
    /// SHA-256 of its settings, in hex.
    #[serde(default)]
    pub settings_digest: String,
    /// What it runs in, from when it was asked for until it is over.
    #[serde(default)]
    pub places: Option<Places>,
    /// `waiting`, `running`, `done`, `cancelled` or `failed`.
    pub state: String,
    /// Who asked.
    pub by: String,
    /// When.
    pub asked_at: Timestamp,
    /// When its last step ended.
    pub updated_at: Timestamp,
    /// From 0 to 1.
    pub progress: f64,
    /// Why it failed.
    pub error: Option<String>,
    /// What is asked: the worker's own.
    pub request: serde_json::Value,
    /// Where it goes on after an interruption: the worker's own.
    pub resume: serde_json::Value,
    /// What came out so far.
    pub report: serde_json::Value,
}

impl Job {
    /// A new one of a version with these settings.
    pub fn new(version: &Version, settings: &str, by: &str, request: serde_json::Value) -> Self {
        let now = Timestamp::now();
        Self {
            id: format!("{:032x}", rand::random::<u128>()),
            name: version.name.clone(),
            version: version.version.clone(),
            digest: version.digest.clone(),
            settings_digest: sha256(settings.as_bytes()),
            places: None,
            state: "waiting".into(),
            by: by.into(),
            asked_at: now,
            updated_at: now,
            progress: 0.0,
            error: None,
            request,
            resume: serde_json::Value::Null,
            report: serde_json::Value::Null,
        }
    }

    /// Whether nothing happens to it any more.
    pub fn is_over(&self) -> bool {
        !matches!(self.state.as_str(), "waiting" | "running")
    }

    fn entry(&self, action: &str, by: &str, why: &str) -> AuditEntry {
        let entry = AuditEntry::new(action, by, why).about(&self.name, &self.version, &self.digest);
        entry.with_settings(&self.settings_digest)
    }
}

fn job_key(id: &str) -> String {
    format!("job#{id}")
}

impl Registry {
    /// Adds a backtest, with an entry in the audit trail, if there are places for it: it has them
    /// for `lease`, unless [`Self::job_hold`] is called within. Otherwise the error says whose bound is
    /// reached ([`RegistryError::TooManyBacktests`], [`RegistryError::BacktestsFull`]).
    pub async fn job_start(
        &self,
        tenant: TenantId,
        job: Job,
        why: &str,
        lease: Duration,
    ) -> Result<Job, RegistryError> {
        let places = self.take_places(tenant, (&job.id, None), lease).await?;
        let job = Job { places: Some(places), ..job };
        let setup = |e: BuildError| RegistryError::Setup(e.to_string());
        let entry = job.entry("backtest", &job.by, why);
        let mut writes = Vec::new();
        for row in [rows::row(tenant, job_key(&job.id), &job), entry.to_row(tenant)] {
            let put = Put::builder().table_name(&self.table).set_item(Some(row)).build().map_err(setup)?;
            writes.push(TransactWriteItem::builder().put(put).build());
        }
        match self.client.transact_write_items().set_transact_items(Some(writes)).send().await {
            Ok(_) => Ok(job),
            Err(e) => {
                self.leave_places(tenant, &job.id, places).await?;
                Err(table("add a backtest")(e))
            }
        }
    }

    /// Keeps a backtest's places for another `lease`, or gives it free ones if they ended
    /// meanwhile. Returns `false` if there are none: it may not go on.
    pub async fn job_hold(
        &self,
        tenant: TenantId,
        job: &mut Job,
        lease: Duration,
    ) -> Result<bool, RegistryError> {
        match self.take_places(tenant, (&job.id, job.places), lease).await {
            Ok(places) => {
                job.places = Some(places);
                Ok(true)
            }
            Err(RegistryError::TooManyBacktests { .. } | RegistryError::BacktestsFull { .. }) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Gives the places of a backtest that is over to others.
    pub async fn job_leave(&self, tenant: TenantId, job: &Job) -> Result<(), RegistryError> {
        match job.places {
            Some(places) => self.leave_places(tenant, &job.id, places).await,
            None => Ok(()),
        }
    }

    /// Writes what a job's worker has done. Returns whether it goes on: `false` if
    /// somebody cancelled it meanwhile, which is then written too.
    pub async fn job_save(&self, tenant: TenantId, job: &Job) -> Result<bool, RegistryError> {
        let save = |job: &Job| {
            self.client
                .update_item()
                .table_name(&self.table)
                .set_key(Some(rows::key(tenant, job_key(&job.id))))
                .update_expression("SET #d = :d")
                .expression_attribute_names("#d", DOC)
                .expression_attribute_values(":d", rows::text(rows::json(job)))
        };
        match save(job).condition_expression("attribute_not_exists(cancelled)").send().await {
            Ok(_) => Ok(true),
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => {
                let over = Job { state: "cancelled".into(), ..job.clone() };
                save(&over).send().await.map_err(table("end a backtest"))?;
                Ok(false)
            }
            Err(e) => Err(table("write a backtest's progress")(e)),
        }
    }

    /// The tenant's job of this number.
    pub async fn job(&self, tenant: TenantId, id: &str) -> Result<Option<Job>, RegistryError> {
        let row = self.get(tenant, &job_key(id), "read a backtest").await?;
        row.map(|row| {
            let reader = Reader { tenant, row: &row };
            let mut job: Job = reader.doc()?;
            if row.contains_key("cancelled") && !job.is_over() {
                job.state = "cancelled".into();
            }
            Ok(job)
        })
        .transpose()
    }

    /// Asks the worker to stop, once: `by` and `why` go into the audit trail. It does with its
    /// next step, and only then are its places free.
    pub async fn job_cancel(
        &self,
        tenant: TenantId,
        job: &Job,
        by: &str,
        why: &str,
    ) -> Result<(), RegistryError> {
        let cancel = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(rows::key(tenant, job_key(&job.id))))
            .update_expression("SET cancelled = :t")
            .condition_expression("attribute_exists(pk) AND attribute_not_exists(cancelled)")
            .expression_attribute_values(":t", rows::text(Timestamp::now().to_string()));
        match cancel.send().await {
            Ok(_) => self.audit_add(tenant, &job.entry("backtest_cancel", by, why)).await,
            Err(e) if e.code() == Some("ConditionalCheckFailedException") => Ok(()),
            Err(e) => Err(table("cancel a backtest")(e)),
        }
    }

    /// The tenant's last jobs of a plugin.
    pub async fn jobs(&self, tenant: TenantId, name: &str) -> Result<Vec<Job>, RegistryError> {
        let mut pages = self.list(tenant, "job#").into_paginator().send();
        let mut jobs: Vec<Job> = Vec::new();
        while let Some(page) = pages.next().await {
            for row in page.map_err(table("list backtests"))?.items() {
                jobs.push(Reader { tenant, row }.doc()?);
            }
        }
        jobs.retain(|j| j.name == name);
        jobs.sort_by_key(|j| std::cmp::Reverse(j.asked_at));
        Ok(jobs)
    }
}
