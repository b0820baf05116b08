//! Brings the schema up to date.

use crate::{StoreError, db};
use eaves_settings::Postgres;
use refinery::Target;

mod embedded {
    refinery::embed_migrations!("../../schemas/postgresql");
}

/// Applies the migrations that are missing and returns their names. Safe to call again,
/// and by several at once. Needs a direct connection, and for a new database a superuser
/// (on RDS a member of `rds_superuser`); later `eaves_migrate` will do.
pub async fn migrate(admin: &Postgres) -> Result<Vec<String>, StoreError> {
    up_to(admin, Target::Latest).await
}

/// Applies those up to this version, as an older release did: for tests of what a later one makes of its data.
pub async fn migrate_to(admin: &Postgres, version: i32) -> Result<Vec<String>, StoreError> {
    up_to(admin, Target::Version(version)).await
}

async fn up_to(admin: &Postgres, target: Target) -> Result<Vec<String>, StoreError> {
    let mut client = db::open(admin).await?;
    let operation = "preparing the migration";
    let version = client
        .query_typed_one(
            "select current_setting('server_version_num')::int4, current_setting('server_version')",
            &[],
        )
        .await
        .map_err(StoreError::of(operation))?;
    if version.get::<_, i32>(0) < 150_000 {
        return Err(StoreError::OldServer { found: version.get(1) });
    }
    // The lock is the session's and ends with it: one migrator at a time.
    client
        .batch_execute(
            "set search_path = public; set client_min_messages = warning; \
             select pg_advisory_lock(hashtextextended('eaves.migrate', 0))",
        )
        .await
        .map_err(StoreError::of(operation))?;
    let report = embedded::migrations::runner()
        .set_target(target)
        .run_async(&mut client)
        .await
        .map_err(|e| StoreError::Migrate(Box::new(e)))?;
    let applied: Vec<String> = report.applied_migrations().iter().map(ToString::to_string).collect();
    if !applied.is_empty() {
        tracing::info!(db.name = %admin.database, migrations = applied.len(), "schema is up to date");
    }
    Ok(applied)
}
