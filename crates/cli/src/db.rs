//! `eaves db`: the database's schema.

use crate::out;
use crate::target::{Data, Target};
use anyhow::{Context as _, Result, ensure};
use clap::Subcommand;
use eaves_settings::Secret;

#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Apply the migrations that are missing; does nothing where none is
    ///
    /// `eaves local up` does this by itself. For a deployed database, set EAVES_DB_HOST,
    /// EAVES_DB_NAME, EAVES_DB_USER and EAVES_DB_PASSWORD; the first time, the user must be
    /// allowed to create roles and extensions.
    Migrate {
        #[command(flatten)]
        data: Data,
    },
    /// Set the password of a role; it is read from standard input
    ///
    /// The database is sent a SCRAM verifier, not the password. For a deployed database set the
    /// variables that `migrate` needs, with a user who may change roles.
    Password {
        /// The role
        #[arg(value_parser = ["eaves_admin", "eaves_flush", "eaves_ingest", "eaves_migrate", "eaves_query", "eaves_superadmin"])]
        role: String,
        #[command(flatten)]
        data: Data,
    },
}

pub(crate) async fn run(args: Args) -> Result<()> {
    let data = match args.command {
        Command::Migrate { data } => data,
        Command::Password { role, data } => return password(&role, &data).await,
    };
    let applied = eaves_store::migrate(&Target::find(&data)?.postgres("postgres")?).await?;
    for name in &applied {
        out::line(format!("applied {name}"))?;
    }
    out::line(if applied.is_empty() { "The schema is up to date." } else { "The schema is now up to date." })
}

async fn password(role: &str, data: &Data) -> Result<()> {
    let text = std::io::read_to_string(std::io::stdin()).context("read the password from standard input")?;
    let password = text.trim_end_matches(['\r', '\n']);
    ensure!(
        password.len() >= 16,
        "the password has {} bytes; at least 16 are wanted: openssl rand -hex 24 | eaves db password {role}",
        password.len()
    );
    let superuser = Target::find(data)?.postgres("postgres")?;
    eaves_store::admin::set_password(&superuser, role, &Secret::new(password)).await?;
    out::line(format!("The password of {role} is set."))
}
