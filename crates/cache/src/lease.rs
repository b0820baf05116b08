//! The right to read an entity from a database, so that of many instances that miss an entry one
//! reads it and the others take what it filled in.

use crate::{Cache, CacheError, entry};
use eaves_model::TenantId;
use rand::RngExt as _;
use redis::{ErrorKind, ServerErrorKind};
use std::time::Duration;

/// How long a lease holds if it is not given back: longer than nearly every read of one entity.
const HOLDS: Duration = Duration::from_millis(250);

/// The right to read one entity. Ends by itself, and when it is given back.
#[derive(Debug)]
pub struct Lease {
    key: String,
    holder: u64,
}

impl Cache {
    /// The lease of an entity; `None` if somebody else has it.
    pub async fn lease(&self, tenant: TenantId, external_id: &str) -> Result<Option<Lease>, CacheError> {
        let lease = Lease { key: entry::lease_key(tenant, external_id), holder: rand::rng().random() };
        let mut command = redis::cmd("SET");
        command.arg(&lease.key).arg(lease.holder).arg("NX").arg("PX").arg(HOLDS.as_millis() as u64);
        let taken: Option<String> = self.read(&command).await?;
        Ok(taken.map(|_| lease))
    }

    /// Gives a lease back. One that ended meanwhile, and is another's now, stays that one's.
    pub async fn release(&self, lease: Lease) -> Result<(), CacheError> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(self.release.get_hash()).arg(1).arg(&lease.key).arg(lease.holder);
        let work = async {
            match self.connection.query::<usize>(&command).await {
                Err(e) if e.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                    self.connection.load(&self.release).await?;
                    self.connection.query::<usize>(&command).await
                }
                other => other,
            }
        };
        self.write(work).await.map(drop)
    }
}
