//! Which Kinesis stream to write to.

use crate::target::{Data, Target};
use anyhow::Result;
use aws_config::BehaviorVersion;
use aws_sdk_kinesis::Client;

/// The options that say where readings go: the platform's stream, unless one is named.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Destination")]
pub(crate) struct Destination {
    #[command(flatten)]
    data: Data,

    /// Another stream than the platform's, in the account and region the AWS_ variables name
    #[arg(long, value_name = "NAME")]
    stream: Option<String>,

    /// With --stream: another endpoint than AWS's, such as http://127.0.0.1:4566
    #[arg(long, value_name = "URL", requires = "stream")]
    endpoint: Option<String>,
}

impl Destination {
    /// A client, and the stream's name.
    pub(crate) async fn connect(&self) -> Result<(Client, String)> {
        if let Some(stream) = &self.stream {
            let mut loader = aws_config::defaults(BehaviorVersion::latest());
            if let Some(url) = &self.endpoint {
                loader = loader.endpoint_url(url);
            }
            return Ok((Client::new(&loader.load().await), stream.clone()));
        }
        let target = Target::find(&self.data)?;
        Ok((target.kinesis().await, target.stream()?))
    }
}
