//! Push, activate, look up.

use crate::RegistryError;
use crate::error::table;
use crate::files::Files;
use crate::rows::{self, ACTIVE, Activation, Reader, Row, Version};
use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, ConditionCheck, KeySchemaElement, KeyType, Put, ScalarAttributeType,
    TransactWriteItem,
};
use bytes::Bytes;
use eaves_model::{TenantId, Timestamp};
use sha2::{Digest, Sha256};

/// Most bytes of settings: they travel with every call of the plugin.
const MAX_SETTINGS: usize = 64 << 10;

/// The plugin registry.
#[derive(Debug)]
pub struct Registry {
    client: Client,
    table: String,
    files: Files,
}

fn sha256(bytes: &[u8]) -> String {
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
        let setup = |e: aws_sdk_dynamodb::error::BuildError| RegistryError::Setup(e.to_string());
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

    /// Stores a version: the component, and what the plugin host made of it. Pushing the same
    /// component again is allowed and replaces the artefact, as a new engine needs it.
    pub async fn push(
        &self,
        tenant: TenantId,
        name: &str,
        version: &str,
        wasm: impl Into<Bytes>,
        artefact: impl Into<Bytes>,
    ) -> Result<Version, RegistryError> {
        check_name(name)?;
        check_version(version)?;
        let (wasm, artefact) = (wasm.into(), artefact.into());
        let digest = sha256(&wasm);
        // The artefact's own digest in its key: an instance still running the old engine
        // keeps finding the old one.
        let artefact_key = format!("artefacts/{digest}/{}.bin", &sha256(&artefact)[..16]);
        self.files.put(&wasm_key(&digest), wasm).await?;
        self.files.put(&artefact_key, artefact).await?;
        let pushed = Version {
            tenant,
            name: name.into(),
            version: version.into(),
            digest,
            artefact_key,
            pushed_at: Timestamp::now(),
        };
        let put = self.client.put_item().table_name(&self.table).set_item(Some(pushed.to_row()));
        put.send().await.map_err(table("register a plugin version"))?;
        Ok(pushed)
    }

    /// The tenant's versions, the newest last.
    pub async fn versions(&self, tenant: TenantId) -> Result<Vec<Version>, RegistryError> {
        let mut pages = self
            .client
            .query()
            .table_name(&self.table)
            .key_condition_expression("pk = :pk and begins_with(sk, :sk)")
            .expression_attribute_values(":pk", rows::partition(tenant))
            .expression_attribute_values(":sk", rows::text("version#"))
            .consistent_read(true)
            .into_paginator()
            .send();
        let mut versions = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(table("list plugin versions"))?;
            for row in page.items() {
                versions.push(Version::from_row(tenant, row)?);
            }
        }
        versions.sort_by_key(|v| v.pushed_at);
        Ok(versions)
    }

    /// Makes a version active with the given settings, whatever was active before. Fails with
    /// [`RegistryError::Conflict`] if someone else changes it at the same moment.
    pub async fn activate(
        &self,
        tenant: TenantId,
        name: &str,
        digest: &str,
        settings: &str,
    ) -> Result<Activation, RegistryError> {
        let revision = self.revision(tenant).await?;
        self.activate_after(revision, tenant, name, digest, settings).await
    }

    /// Makes a version active if the tenant's last change is still the one that the caller saw:
    /// [`Activation::revision`], or 0 if nothing was ever active.
    pub async fn activate_after(
        &self,
        seen: u64,
        tenant: TenantId,
        name: &str,
        digest: &str,
        settings: &str,
    ) -> Result<Activation, RegistryError> {
        check_settings(settings)?;
        let Some(version) = self.version(tenant, name, digest).await? else {
            return Err(RegistryError::NoSuchVersion { tenant, name: name.into(), digest: digest.into() });
        };
        let activation = Activation {
            tenant,
            name: version.name,
            version: version.version,
            digest: version.digest,
            settings: settings.into(),
            settings_digest: sha256(settings.as_bytes()),
            artefact_key: version.artefact_key,
            revision: seen + 1,
            activated_at: Timestamp::now(),
        };
        let history = activation.to_row(history_key(activation.revision));
        self.change(tenant, seen, activation.to_row(ACTIVE), history, Some(&activation)).await?;
        tracing::info!(
            tenant.id = tenant.0,
            plugin.name = activation.name,
            plugin.digest = activation.digest,
            revision = activation.revision,
            "plugin activated"
        );
        Ok(activation)
    }

    /// Makes nothing active: the tenant's values get the built-in checks only.
    pub async fn deactivate(&self, tenant: TenantId) -> Result<(), RegistryError> {
        let seen = self.revision(tenant).await?;
        let nothing = |sort: String| {
            let mut row = rows::key(tenant, sort);
            row.insert("revision".into(), rows::number(seen + 1));
            row.insert("activated_at".into(), rows::text(Timestamp::now().to_string()));
            row
        };
        self.change(tenant, seen, nothing(ACTIVE.into()), nothing(history_key(seen + 1)), None).await?;
        tracing::info!(tenant.id = tenant.0, revision = seen + 1, "plugin deactivated");
        Ok(())
    }

    /// What is active for the tenant.
    pub async fn active(&self, tenant: TenantId) -> Result<Option<Activation>, RegistryError> {
        match self.get(tenant, ACTIVE, "find the active plugin").await? {
            None => Ok(None),
            Some(row) => Activation::from_row(tenant, &row),
        }
    }

    /// The compiled plugin of an activation, as the plugin host signed it.
    pub async fn artefact(&self, activation: &Activation) -> Result<Bytes, RegistryError> {
        self.files.get(&activation.artefact_key).await
    }

    /// The component with this digest.
    pub async fn wasm(&self, digest: &str) -> Result<Bytes, RegistryError> {
        self.files.get(&wasm_key(digest)).await
    }

    async fn version(
        &self,
        tenant: TenantId,
        name: &str,
        digest: &str,
    ) -> Result<Option<Version>, RegistryError> {
        let row = self.get(tenant, &rows::version_key(name, digest), "find a plugin version").await?;
        row.map(|row| Version::from_row(tenant, &row)).transpose()
    }

    /// The number of the tenant's last change.
    async fn revision(&self, tenant: TenantId) -> Result<u64, RegistryError> {
        match self.get(tenant, ACTIVE, "find the active plugin").await? {
            None => Ok(0),
            Some(row) => Reader { tenant, row: &row }.number("revision"),
        }
    }

    async fn get(
        &self,
        tenant: TenantId,
        sort: &str,
        doing: &'static str,
    ) -> Result<Option<Row>, RegistryError> {
        let get = self.client.get_item().table_name(&self.table).set_key(Some(rows::key(tenant, sort)));
        // Consistent: an activation counts from the moment it was confirmed.
        Ok(get.consistent_read(true).send().await.map_err(table(doing))?.item)
    }

    /// Writes the active row and its place in the history, if the revision is still `seen`.
    async fn change(
        &self,
        tenant: TenantId,
        seen: u64,
        active: Row,
        history: Row,
        version: Option<&Activation>,
    ) -> Result<(), RegistryError> {
        let setup = |e: aws_sdk_dynamodb::error::BuildError| RegistryError::Setup(e.to_string());
        let put = Put::builder().table_name(&self.table).set_item(Some(active));
        let put = match seen {
            0 => put.condition_expression("attribute_not_exists(pk)"),
            _ => put
                .condition_expression("revision = :seen")
                .expression_attribute_values(":seen", rows::number(seen)),
        };
        let history = Put::builder().table_name(&self.table).set_item(Some(history));
        let mut items = vec![
            TransactWriteItem::builder().put(put.build().map_err(setup)?).build(),
            TransactWriteItem::builder().put(history.build().map_err(setup)?).build(),
        ];
        if let Some(a) = version {
            let there = ConditionCheck::builder()
                .table_name(&self.table)
                .set_key(Some(rows::key(tenant, rows::version_key(&a.name, &a.digest))))
                .condition_expression("attribute_exists(pk)");
            items.push(TransactWriteItem::builder().condition_check(there.build().map_err(setup)?).build());
        }
        match self.client.transact_write_items().set_transact_items(Some(items)).send().await {
            Ok(_) => Ok(()),
            Err(e) if e.code() == Some("TransactionCanceledException") => {
                Err(RegistryError::Conflict { tenant })
            }
            Err(e) => Err(table("change what is active")(e)),
        }
    }
}

fn wasm_key(digest: &str) -> String {
    format!("components/{digest}.wasm")
}

/// Padded, so that the rows sort as the numbers do.
fn history_key(revision: u64) -> String {
    format!("activation#{revision:020}")
}

fn check_name(name: &str) -> Result<(), RegistryError> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(());
    }
    let wanted = "is not 1 to 64 lower case letters, digits and hyphens";
    Err(RegistryError::BadName { what: "plugin name", text: name.chars().take(64).collect(), wanted })
}

fn check_version(version: &str) -> Result<(), RegistryError> {
    if (1..=64).contains(&version.len()) && version.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    let wanted = "is not 1 to 64 printable characters without spaces";
    Err(RegistryError::BadName { what: "plugin version", text: version.chars().take(64).collect(), wanted })
}

fn check_settings(settings: &str) -> Result<(), RegistryError> {
    if settings.len() > MAX_SETTINGS {
        return Err(RegistryError::BadSettings(format!("{} bytes", settings.len())));
    }
    type Object = std::collections::BTreeMap<String, serde::de::IgnoredAny>;
    let parsed = serde_json::from_str::<Object>(settings);
    parsed.map(drop).map_err(|e| RegistryError::BadSettings(e.to_string()))
}
