//! Components that are too large for a request: their author is invited to put them into the
//! bucket, and the registry takes them from there.
//!
//! An invitation is bound to its tenant (the key), to the component's size and SHA-256 (headers
//! that are signed, and checked once more when it is taken), and to a few minutes. What nobody
//! comes back for is removed by the bucket's lifecycle (prefix `uploads/`).

use crate::RegistryError;
use crate::error::table;
use crate::registry::{Registry, sha256};
use crate::rows::{self, Reader};
use bytes::Bytes;
use eaves_model::{TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long a component may be put for an invitation.
const OPEN: Duration = Duration::from_secs(15 * 60);
/// How long it may be taken afterwards.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// Where a component may be put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Its number: 32 hex digits. Given instead of the component's bytes.
    pub id: String,
    /// Where to `PUT` it.
    pub url: String,
    /// With these headers: they are signed.
    pub headers: Vec<(String, String)>,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Its row.
#[derive(Debug, Serialize, Deserialize)]
struct Invited {
    bytes: u64,
    sha256: String,
    at: Timestamp,
    by: String,
}

fn row_key(id: &str) -> String {
    format!("upload#{id}")
}

fn file_key(tenant: TenantId, id: &str) -> String {
    format!("uploads/{tenant}/{id}.wasm")
}

/// Whether it can be an invitation's number, and nothing else in a key.
fn is_id(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

impl Registry {
    /// Invites the tenant to put a component of so many bytes with this SHA-256 (64 hex
    /// digits). Counts as an upload, under the tenant's limits.
    pub async fn invite(
        &self,
        tenant: TenantId,
        bytes: u64,
        digest: &str,
        by: &str,
    ) -> Result<Invitation, RegistryError> {
        let digest = digest.to_ascii_lowercase();
        let decoded = hex::decode(&digest).ok().and_then(|d| <[u8; 32]>::try_from(d).ok());
        let text = || digest.chars().take(64).collect();
        let wanted = "is not 64 hex digits";
        let decoded =
            decoded.ok_or_else(|| RegistryError::BadName { what: "sha256", text: text(), wanted })?;
        let policy = self.policy(tenant).await?;
        if bytes > policy.max_bytes {
            return Err(RegistryError::TooLarge { bytes, most: policy.max_bytes });
        }
        self.count_upload(tenant, policy.uploads_per_hour).await?;
        let id = format!("{:032x}", rand::random::<u128>());
        let now = Timestamp::now();
        let by = by.chars().take(200).collect();
        let row = rows::row(tenant, row_key(&id), &Invited { bytes, sha256: digest, at: now, by });
        let put = self.client.put_item().table_name(&self.table).set_item(Some(row));
        put.send().await.map_err(table("note an invitation to upload"))?;
        let (url, headers) = self.files.invitation(&file_key(tenant, &id), bytes, &decoded, OPEN).await?;
        Ok(Invitation { id, url, headers, expires_at: now.plus_micros(OPEN.as_micros() as i64) })
    }

    /// The component that the tenant put for an invitation. It stays until
    /// [`Self::forget_received`].
    pub async fn received(&self, tenant: TenantId, id: &str) -> Result<Bytes, RegistryError> {
        let missing = || RegistryError::NoUpload { id: id.chars().take(40).collect() };
        if !is_id(id) {
            return Err(missing());
        }
        let row = self.get(tenant, &row_key(id), "find an upload").await?.ok_or_else(missing)?;
        let invited: Invited = Reader { tenant, row: &row }.doc()?;
        if Timestamp::now().seconds_since(invited.at) > KEPT.as_secs_f64() {
            return Err(missing());
        }
        let key = file_key(tenant, id);
        // Before it is read: what enforces the size is the store, and not every one does.
        let size = self.files.size(&key).await?.ok_or_else(missing)?;
        let wrong = |what: String| RegistryError::WrongUpload { id: id.into(), what };
        if size != invited.bytes {
            return Err(wrong(format!("{size} bytes and not the {} that were announced", invited.bytes)));
        }
        let component = self.files.get(&key).await?;
        let digest = sha256(&component);
        if digest != invited.sha256 {
            return Err(wrong(format!("the SHA-256 {digest} and not {}", invited.sha256)));
        }
        Ok(component)
    }

    /// Removes what was put for an invitation, and the invitation.
    pub async fn forget_received(&self, tenant: TenantId, id: &str) -> Result<(), RegistryError> {
        let delete = self.client.delete_item().table_name(&self.table);
        let delete = delete.set_key(Some(rows::key(tenant, row_key(id))));
        delete.send().await.map_err(table("forget an upload"))?;
        self.files.delete(&file_key(tenant, id)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn no_number_leads_out_of_a_tenants_place(id in "[0-9a-fA-F/.%#-]{0,40}|\\PC{0,40}") {
            if is_id(&id) {
                proptest::prop_assert!(id.bytes().all(|b| b.is_ascii_hexdigit()) && id.len() == 32);
                proptest::prop_assert_eq!(file_key(TenantId(7), &id), format!("uploads/7/{id}.wasm"));
            }
        }
    }
}
