//! Which platform a command talks to.

use anyhow::{Context as _, Result, bail};
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_kinesis::config::{Credentials, SharedCredentialsProvider};
use eaves_local::{Endpoints, default_data_dir};
use eaves_settings::{Postgres, Stream};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The option that names a platform on this machine.
#[derive(clap::Args, Debug, Clone, Default)]
pub(crate) struct Data {
    /// Data folder of the local platform [default: a folder of yours; root's is /var/lib/eaves]
    #[arg(long = "data", value_name = "DIR", env = "EAVES_DATA_DIR")]
    folder: Option<PathBuf>,
}

impl Data {
    /// The data folder.
    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(default_data_dir)
    }

    /// The platform that runs on the data folder.
    pub(crate) fn running(&self) -> Result<Option<Endpoints>> {
        Endpoints::load(&self.folder())
    }
}

/// A platform that was found.
pub(crate) enum Target {
    /// One on this machine.
    Local(Box<Endpoints>),
    /// A deployed one, by the variables of the environment.
    Remote(BTreeMap<String, String>),
}

impl Target {
    /// The one the user means: on `--data`, else by `EAVES_DB_HOST` or `EAVES_STREAM`,
    /// else on the default data folder.
    pub(crate) fn find(data: &Data) -> Result<Self> {
        let env: BTreeMap<String, String> = std::env::vars().collect();
        let remote =
            ["EAVES_DB_HOST", "EAVES_STREAM", "EAVES_API_URL"].iter().any(|name| env.contains_key(*name));
        if data.folder.is_none() && remote {
            return Ok(Self::Remote(env));
        }
        match data.running()? {
            Some(endpoints) => Ok(Self::Local(Box::new(endpoints))),
            None => {
                let (folder, option) = (data.folder(), data.folder.is_some());
                let option = if option { format!(" --data {}", folder.display()) } else { String::new() };
                bail!(
                    "no platform runs on {}: start one with `eaves local up{option}`, or set EAVES_DB_HOST and the \
                     other variables of docs/configuration.md to reach a deployed one",
                    folder.display()
                )
            }
        }
    }

    /// The local platform, for what cannot be done with a deployed one.
    pub(crate) fn local(&self, what: &str) -> Result<&Endpoints> {
        match self {
            Self::Local(endpoints) => Ok(endpoints),
            Self::Remote(_) => bail!("{what} works with a platform on this machine only"),
        }
    }

    /// The environment for a program with database role `role`. A deployed platform's
    /// role is the one in `EAVES_DB_USER`.
    pub(crate) fn vars(&self, role: &str) -> BTreeMap<String, String> {
        match self {
            Self::Local(endpoints) => endpoints.vars(role),
            Self::Remote(env) => env.clone(),
        }
    }

    /// The database as `role`.
    pub(crate) fn postgres(&self, role: &str) -> Result<Postgres> {
        Ok(Postgres::primary(&self.vars(role))?)
    }

    /// The stream of readings.
    pub(crate) fn stream(&self) -> Result<String> {
        Ok(Stream::read(&self.vars("eaves_ingest"))?.name)
    }

    /// Where the HTTP API listens.
    pub(crate) fn api_url(&self) -> Result<String> {
        match self {
            Self::Local(endpoints) => Ok(endpoints.api_url.clone()),
            Self::Remote(env) => env.get("EAVES_API_URL").cloned().context(
                "EAVES_API_URL is not set; example: EAVES_API_URL=https://abc123.execute-api.eu-central-1.amazonaws.com",
            ),
        }
    }

    /// A Kinesis client.
    pub(crate) async fn kinesis(&self) -> aws_sdk_kinesis::Client {
        let mut config = aws_sdk_kinesis::config::Builder::from(&self.aws().await);
        // An endpoint that is set in the configuration goes before the variables of one service.
        if let Self::Local(endpoints) = self {
            config = config.endpoint_url(&endpoints.kinesis_endpoint_url);
        }
        aws_sdk_kinesis::Client::from_conf(config.build())
    }

    /// How the other AWS services are reached.
    pub(crate) async fn aws(&self) -> SdkConfig {
        let loader = aws_config::defaults(BehaviorVersion::latest());
        match self {
            Self::Remote(_) => loader.load().await,
            Self::Local(endpoints) => {
                let vars = endpoints.vars("eaves_ingest");
                let var = |name: &str| vars.get(name).cloned().unwrap_or_default();
                let (id, secret) = (var("AWS_ACCESS_KEY_ID"), var("AWS_SECRET_ACCESS_KEY"));
                let credentials = Credentials::new(id, secret, None, None, "eaves local");
                loader
                    .endpoint_url(&endpoints.aws_endpoint_url)
                    .region(Region::new(endpoints.region.clone()))
                    .credentials_provider(SharedCredentialsProvider::new(credentials))
                    .load()
                    .await
            }
        }
    }
}
