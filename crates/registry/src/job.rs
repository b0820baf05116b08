//! Backtests: rows that the one who asks and the one who works share.

use crate::RegistryError;
use crate::error::table;
use crate::registry::Registry;
use crate::rows::{self, DOC, Reader};
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use eaves_model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// A backtest's row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number: 32 hex digits.
    pub id: String,
    /// The plugin.
    pub name: String,
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
    /// A new one.
    pub fn new(name: &str, by: &str, request: serde_json::Value) -> Self {
        let now = Timestamp::now();
        Self {
            id: format!("{:032x}", rand::random::<u128>()),
            name: name.into(),
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
}

fn job_key(id: &str) -> String {
    format!("job#{id}")
}

impl Registry {
    /// Adds a job, or writes what its worker has done. Returns whether it goes on: `false` if
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

    /// Asks the worker to stop. It does with its next step.
    pub async fn job_cancel(&self, tenant: TenantId, id: &str) -> Result<(), RegistryError> {
        let cancel = self
            .client
            .update_item()
            .table_name(&self.table)
            .set_key(Some(rows::key(tenant, job_key(id))))
            .update_expression("SET cancelled = :t")
            .condition_expression("attribute_exists(pk)")
            .expression_attribute_values(":t", rows::text(Timestamp::now().to_string()));
        match cancel.send().await {
            Ok(_) => Ok(()),
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
