//! The registry's clients, and looking things up.

use crate::RegistryError;
use crate::error::table;
use crate::files::Files;
use crate::rows::{self, ACTIVE, Reader, Row};
use crate::upload::wasm_key;
use crate::version::{Activation, Pointer, Version};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{BuildError, ProvideErrorMetadata};
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, KeysAndAttributes, ScalarAttributeType,
};
use bytes::Bytes;
use eaves_model::TenantId;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::ops::ControlFlow;

/// Most bytes of settings: they travel with every call of the plugin.
const MAX_SETTINGS: usize = 64 << 10;
/// Most rows that one request of DynamoDB reads by their keys.
const KEYS_AT_ONCE: usize = 100;

/// The plugin registry.
#[derive(Debug)]
pub struct Registry {
    pub(crate) client: Client,
    pub(crate) table: String,
    pub(crate) files: Files,
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

impl Registry {
    /// The registry in `settings.table` and `settings.bucket`. An `AWS_ENDPOINT_URL` in
    /// `aws` leads to an emulator.
    pub async fn connect(
        aws: &SdkConfig,
        settings: &eaves_settings::Registry,
    ) -> Result<Self, RegistryError> {
        let files = Files::new(aws, &settings.bucket)?;
        Ok(Self { client: Client::new(aws), table: settings.table.clone(), files })
    }

    /// Makes the table if there is none, for local use: in AWS the SAM template makes it.
    pub async fn ensure_table(&self) -> Result<(), RegistryError> {
        let setup = |e: BuildError| RegistryError::Setup(e.to_string());
        let mut create = self.client.create_table().table_name(&self.table);
        for (name, role) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
            let kind = ScalarAttributeType::S;
            let attribute = AttributeDefinition::builder().attribute_name(name).attribute_type(kind);
            let element = KeySchemaElement::builder().attribute_name(name).key_type(role);
            create = create
                .attribute_definitions(attribute.build().map_err(setup)?)
                .key_schema(element.build().map_err(setup)?);
        }
        match create.billing_mode(BillingMode::PayPerRequest).send().await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("ResourceInUseException") => Ok(()),
            Err(e) => Err(table("make the table")(e)),
        }
    }

    /// The tenant's versions, the newest last.
    pub async fn versions(&self, tenant: TenantId) -> Result<Vec<Version>, RegistryError> {
        let mut pages = self.list(tenant, "version#").into_paginator().send();
        let mut versions = Vec::new();
        while let Some(page) = pages.next().await {
            for row in page.map_err(table("list plugin versions"))?.items() {
                versions.push(Version::from_row(tenant, row)?);
            }
        }
        versions.sort_by_key(|v| v.pushed_at);
        Ok(versions)
    }

    /// One version.
    pub async fn version(
        &self,
        tenant: TenantId,
        name: &str,
        version: &str,
    ) -> Result<Option<Version>, RegistryError> {
        let row = self.get(tenant, &rows::version_key(name, version), "find a plugin version").await?;
        row.map(|row| Version::from_row(tenant, &row)).transpose()
    }

    /// What is in force for the tenant. The settings are left out.
    pub async fn pointer(&self, tenant: TenantId) -> Result<Pointer, RegistryError> {
        match self.get(tenant, ACTIVE, "find what is in force").await? {
            None => Ok(Pointer::default()),
            Some(row) => Reader { tenant, row: &row }.doc(),
        }
    }

    /// What is in force for each of the tenants, in as few requests as can be.
    pub async fn pointers(&self, tenants: &[TenantId]) -> Result<HashMap<TenantId, Pointer>, RegistryError> {
        let setup = |e: BuildError| RegistryError::Setup(e.to_string());
        let mut found: HashMap<TenantId, Pointer> =
            tenants.iter().map(|tenant| (*tenant, Pointer::default())).collect();
        for chunk in tenants.chunks(KEYS_AT_ONCE) {
            let keys: Vec<Row> = chunk.iter().map(|tenant| rows::key(*tenant, ACTIVE)).collect();
            // Consistent: an activation counts from the moment it was confirmed.
            let wanted = KeysAndAttributes::builder().set_keys(Some(keys)).consistent_read(true);
            let mut wanted = HashMap::from([(self.table.clone(), wanted.build().map_err(setup)?)]);
            while !wanted.is_empty() {
                let answer = self.client.batch_get_item().set_request_items(Some(wanted)).send().await;
                let answer = answer.map_err(table("find what is in force"))?;
                for row in answer.responses.iter().flat_map(HashMap::values).flatten() {
                    let of = |tenant: &&TenantId| row.get("pk") == Some(&rows::partition(**tenant));
                    let Some(tenant) = chunk.iter().find(of) else { continue };
                    found.insert(*tenant, Reader { tenant: *tenant, row }.doc()?);
                }
                wanted = answer.unprocessed_keys.unwrap_or_default();
            }
        }
        Ok(found)
    }

    /// What is active for the tenant, with its settings.
    pub async fn active(&self, tenant: TenantId) -> Result<Option<Activation>, RegistryError> {
        let Some(mut active) = self.pointer(tenant).await?.active else { return Ok(None) };
        active.settings = self.settings(tenant, &active.name, &active.settings_digest).await?;
        Ok(Some(active))
    }

    /// The compiled plugin of an activation, as the plugin host signed it.
    pub async fn artefact(&self, activation: &Activation) -> Result<Bytes, RegistryError> {
        self.files.get(&activation.artefact_key).await
    }

    /// The same bit by bit as it comes: to `take`, as long as that says to go on.
    pub async fn artefact_in_parts(
        &self,
        activation: &Activation,
        take: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), RegistryError> {
        self.files.each(&activation.artefact_key, take).await
    }

    /// The component with this digest.
    pub async fn wasm(&self, digest: &str) -> Result<Bytes, RegistryError> {
        self.files.get(&wasm_key(digest)).await
    }

    pub(crate) async fn get(
        &self,
        tenant: TenantId,
        sort: &str,
        doing: &'static str,
    ) -> Result<Option<Row>, RegistryError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(rows::key(tenant, sort)));
        Ok(get.consistent_read(true).send().await.map_err(table(doing))?.item)
    }

    /// The tenant's rows whose key begins so.
    pub(crate) fn list(&self, tenant: TenantId, begins: &str) -> QueryFluentBuilder {
        self.client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk and begins_with(sk, :sk)")
            .expression_attribute_values(":pk", rows::partition(tenant))
            .expression_attribute_values(":sk", rows::text(begins))
            .consistent_read(true)
    }
}

pub(crate) fn check_name(name: &str) -> Result<(), RegistryError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let wanted = "is not 1 to 64 lower case letters, digits and hyphens";
    Err(RegistryError::BadName { what: "plugin name", text: name.chars().take(64).collect(), wanted })
}

pub(crate) fn check_version(version: &str) -> Result<(), RegistryError> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'+' | b'_');
    if (1..=64).contains(&version.len()) && version.bytes().all(plain) {
        return Ok(());
    }
    let wanted = "is not 1 to 64 letters, digits, dots, hyphens, plus signs and underscores";
    Err(RegistryError::BadName { what: "plugin version", text: version.chars().take(64).collect(), wanted })
}

pub(crate) fn check_settings(settings: &str) -> Result<(), RegistryError> {
    if settings.len() > MAX_SETTINGS {
        return Err(RegistryError::BadSettings(format!("{} bytes", settings.len())));
    }
    type Object = std::collections::BTreeMap<String, serde::de::IgnoredAny>;
    let parsed = serde_json::from_str::<Object>(settings);
    parsed.map(drop).map_err(|e| RegistryError::BadSettings(e.to_string()))
}
