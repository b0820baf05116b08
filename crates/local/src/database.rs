//! The database: a primary with its schema and passwords, and a streaming replica.

use crate::endpoints::DATABASE;
use crate::options::Options;
use crate::secrets::Secrets;
use anyhow::{Context as _, Result, bail};
use eaves_pg_server::{PgOptions, PgServer};
use eaves_settings::{Postgres, Secret, Tls};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;

/// The running servers.
pub struct Databases {
    /// The primary.
    pub primary: PgServer,
    /// Its replica.
    pub replica: PgServer,
}

impl Databases {
    pub(crate) async fn start(
        data_dir: &Path,
        log_dir: &Path,
        secrets: &Secrets,
        how: &Options,
    ) -> Result<Self> {
        let options = |name: &str, folder: &str| {
            let mut options = PgOptions::new(name, data_dir.join(folder));
            options.log_file = Some(log_dir.join(format!("{folder}.log")));
            options.settings.clone_from(&how.database_settings);
            // What is thrown away afterwards needs not survive a power cut.
            if how.ephemeral { options.setting("fsync", "off") } else { options }
        };
        let primary = PgServer::start(options("PostgreSQL primary", "primary")).await?;
        let (replica, prepared) = tokio::join!(
            primary.replica(options("PostgreSQL replica", "replica")),
            prepare(&primary, secrets)
        );
        prepared?;
        Ok(Self { replica: replica?, primary })
    }

    /// Stops both in order, the replica first.
    pub(crate) async fn stop(self) {
        for mut server in [self.replica, self.primary] {
            if let Err(e) = server.stop().await {
                tracing::warn!(error = %e, "a database did not stop in order");
            }
        }
    }

    /// An error that says what ended, if one of them has.
    pub(crate) fn check(&mut self) -> Result<(), eaves_pg_server::PgError> {
        self.primary.check()?;
        self.replica.check()
    }
}

/// Makes the database, applies the migrations, sets the passwords.
async fn prepare(primary: &PgServer, secrets: &Secrets) -> Result<()> {
    let make = format!(
        "select 'create database {DATABASE}' where not exists (select from pg_database where datname = '{DATABASE}') \\gexec\n"
    );
    psql(primary, "postgres", &make).await.context("make the database")?;
    let admin = Postgres {
        host: primary.host().to_owned(),
        port: primary.port(),
        database: DATABASE.into(),
        user: primary.superuser().to_owned(),
        password: Secret::new(primary.password()),
        sign_in: eaves_settings::SignIn::Password,
        tls: Tls::Disable,
        statement_timeout: Duration::from_secs(120),
    };
    eaves_store::migrate(&admin).await.context("apply the schema")?;
    for (role, password) in &secrets.roles {
        let password = Secret::new(password);
        let set = eaves_store::admin::set_password(&admin, role, &password).await;
        set.with_context(|| format!("set the password of {role}"))?;
    }
    Ok(())
}

/// Runs SQL as the superuser. It goes through standard input: arguments can be seen by
/// every user of the machine.
async fn psql(server: &PgServer, database: &str, sql: &str) -> Result<()> {
    let mut command = tokio::process::Command::new(server.bin_dir().join("psql"));
    command
        .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--host", server.host()])
        .args(["--port", &server.port().to_string(), "--username", server.superuser(), "--dbname", database])
        .env("PGPASSWORD", server.password())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .current_dir("/")
        .kill_on_drop(true);
    let mut child = command.spawn().context("start psql")?;
    let mut stdin = child.stdin.take().context("psql has no standard input")?;
    stdin.write_all(sql.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    if !output.status.success() {
        bail!("psql: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
