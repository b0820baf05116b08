//! Secrets by reference: a function's environment names them, and here they are fetched.
//!
//! `EAVES_DB_PASSWORD_SECRET=<ARN or name>` stands for `EAVES_DB_PASSWORD`, and likewise for
//! each of [`SECRETS`]. So the secret itself is in no template, no stack parameter and no
//! function configuration. It is fetched once at start, before anything else; where no
//! variable refers to a secret, nothing is called. Start with [`resolved`].

use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::DisplayErrorContext;
use eaves_settings::{Secret, Vars};
use std::collections::BTreeMap;

/// The variables that may be given by reference, each with the key of a JSON secret that
/// holds it.
pub const SECRETS: [(&str, &str); 4] = [
    ("EAVES_DB_PASSWORD", "password"),
    ("EAVES_REDIS_URL", "url"),
    ("EAVES_PLUGIN_KEY", "key"),
    ("EAVES_SUPERADMIN_PASSWORD", "password"),
];

/// A secret that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    /// Secrets Manager did not give it out.
    #[error("{variable}={reference:?} could not be fetched: {cause}")]
    Fetch {
        /// The variable that refers to it.
        variable: String,
        /// What it says.
        reference: String,
        /// Why not.
        cause: String,
    },
    /// It is there, but not what is needed.
    #[error("the secret of {variable}={reference:?} is neither a plain text nor a JSON object with {key:?}")]
    Shape {
        /// The variable that refers to it.
        variable: String,
        /// What it says.
        reference: String,
        /// The key that is missing.
        key: String,
    },
}

/// Variables with the secrets among them filled in.
pub struct Resolved<V> {
    inner: V,
    secrets: BTreeMap<&'static str, Secret>,
}

impl<V: Vars> Vars for Resolved<V> {
    fn get(&self, name: &str) -> Option<String> {
        match self.secrets.get(name) {
            Some(secret) => Some(secret.expose().to_owned()),
            None => self.inner.get(name),
        }
    }
}

/// Fetches what the variables refer to, all at once. A variable that is itself set is left
/// as it is.
pub async fn resolved<V: Vars>(vars: V) -> Result<Resolved<V>, SecretsError> {
    let wanted: Vec<_> = SECRETS
        .into_iter()
        .filter(|(name, _)| vars.get(name).is_none())
        .filter_map(|(name, key)| {
            let variable = format!("{name}_SECRET");
            let reference = vars.get(&variable)?;
            Some((name, key, variable, reference))
        })
        .collect();
    if wanted.is_empty() {
        return Ok(Resolved { inner: vars, secrets: BTreeMap::new() });
    }
    let client = Client::new(&aws_config::load_from_env().await);
    let fetched = wanted.into_iter().map(|(name, key, variable, reference)| {
        let client = &client;
        async move { Ok((name, fetch(client, key, variable, reference).await?)) }
    });
    let secrets = futures_util::future::try_join_all(fetched).await?;
    Ok(Resolved { inner: vars, secrets: secrets.into_iter().collect() })
}

async fn fetch(
    client: &Client,
    key: &str,
    variable: String,
    reference: String,
) -> Result<Secret, SecretsError> {
    let answer = match client.get_secret_value().secret_id(&reference).send().await {
        Ok(answer) => answer,
        Err(e) => {
            let cause = DisplayErrorContext(&e).to_string();
            return Err(SecretsError::Fetch { variable, reference, cause });
        }
    };
    let text = answer.secret_string().unwrap_or_default();
    match value(text, key) {
        Some(value) => Ok(Secret::new(value)),
        None => Err(SecretsError::Shape { variable, reference, key: key.to_owned() }),
    }
}

/// The secret's value: what a JSON object has under `key`, or else the whole text.
fn value(text: &str, key: &str) -> Option<String> {
    let value = match serde_json::from_str::<serde_json::Value>(text) {
        Ok(serde_json::Value::Object(object)) => object.get(key)?.as_str()?.to_owned(),
        _ => text.to_owned(),
    };
    Some(value).filter(|v| !v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_a_text_or_an_object_with_the_key() {
        assert_eq!(value(r#"{"username":"u","password":"p w"}"#, "password").as_deref(), Some("p w"));
        assert_eq!(value("rediss://:x@h:6379", "url").as_deref(), Some("rediss://:x@h:6379"));
        // Digits only are a text, too.
        assert_eq!(value("1234", "key").as_deref(), Some("1234"));
        for (text, key) in
            [(r#"{"username":"u"}"#, "password"), (r#"{"password":7}"#, "password"), ("", "url")]
        {
            assert_eq!(value(text, key), None, "{text}");
        }
    }
}
