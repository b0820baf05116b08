//! The HTTP API with a token.

use super::Common;
use crate::target::Target;
use crate::token;
use anyhow::{Context as _, Result, bail};
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Method, Url};
use serde_json::Value;
use std::time::Duration;

/// What the tokens made here allow.
const SCOPE: &str = "query:read plugins:read";
/// How long they hold: one command.
const TTL: Duration = Duration::from_secs(300);
/// Longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(35);

/// A page in another form than JSON.
pub(crate) struct Page {
    /// As it came.
    pub(crate) text: String,
    /// What leads to the next one.
    pub(crate) next: Option<String>,
}

/// The API with a token.
pub(crate) struct Api {
    base: Url,
    token: String,
    client: reqwest::Client,
}

impl Api {
    pub(crate) async fn find(common: &Common) -> Result<Self> {
        // A platform here is only needed for what the user did not give.
        let target = if common.url.is_some() && common.token.is_some() {
            None
        } else {
            Some(Target::find(&common.data)?)
        };
        let base = match (&common.url, &target) {
            (Some(url), _) => url.clone(),
            (None, Some(target)) => target.api_url()?,
            (None, None) => bail!("give --url"),
        };
        let token = match (&common.token, &target, &common.tenant) {
            (Some(token), _, _) => token.clone(),
            (None, Some(target), Some(tenant)) => token::sign(target, tenant, SCOPE, TTL).await.context(
                "give a token with --token or EAVES_TOKEN, or --tenant with a platform on this machine",
            )?,
            (None, _, None) => {
                bail!("whom to ask for? Give --tenant NAME, or a token with --token or EAVES_TOKEN")
            }
            (None, None, _) => bail!("give a token with --token or EAVES_TOKEN"),
        };
        Self::new(&base, token)
    }

    /// The API at a URL, with a token.
    pub(crate) fn new(base: &str, token: String) -> Result<Self> {
        let base = base.trim_end_matches('/');
        let base =
            Url::parse(base).with_context(|| format!("{base:?} is no URL such as http://127.0.0.1:8080"))?;
        let client = reqwest::Client::builder().timeout(TIMEOUT).build()?;
        Ok(Self { base, token, client })
    }

    pub(crate) fn url(&self, segments: &[&str]) -> Result<Url> {
        let mut url = self.base.clone();
        match url.path_segments_mut() {
            Ok(mut path) => path.pop_if_empty().extend(segments.iter().map(|s| escaped(s))),
            Err(()) => bail!("{} is no URL such as http://127.0.0.1:8080", self.base),
        };
        Ok(url)
    }

    pub(crate) async fn get(&self, url: Url) -> Result<Value> {
        self.send(self.client.request(Method::GET, url)).await
    }

    pub(crate) async fn post(&self, url: Url, body: &Value) -> Result<Value> {
        self.send(self.client.request(Method::POST, url).json(body)).await
    }

    /// The answer in another form than JSON, as it is.
    pub(crate) async fn page(&self, url: Url, body: Option<&Value>, accept: &str) -> Result<Page> {
        let request = match body {
            Some(body) => self.client.request(Method::POST, url).json(body),
            None => self.client.request(Method::GET, url),
        };
        let (text, headers) = self.answer(request.header(ACCEPT, accept)).await?;
        let next = headers.get("x-next-cursor").and_then(|next| next.to_str().ok()).map(str::to_owned);
        Ok(Page { text, next })
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value> {
        Ok(serde_json::from_str(&self.answer(request).await?.0).unwrap_or(Value::Null))
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Result<(String, HeaderMap)> {
        let unreachable = || format!("the API at {} does not answer", self.base);
        let answer = request.bearer_auth(&self.token).send().await.with_context(unreachable)?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await.with_context(unreachable)?;
        if status.is_success() {
            return Ok((text, headers));
        }
        let body: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        let word = |name: &str| body[name].as_str().map(str::to_owned);
        let detail =
            word("detail").or_else(|| word("message")).unwrap_or_else(|| text.chars().take(200).collect());
        match word("field") {
            Some(field) => bail!("{} ({}): {detail}", field, status.as_u16()),
            None => bail!("{status}: {detail}"),
        }
    }
}

/// A name for a path. It is escaped once more when it is put into the URL, because API
/// Gateway decodes a path before the function splits it: a slash must survive that.
pub(super) fn escaped(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(byte.into()),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Adds what is given to the query string.
pub(crate) fn escaped_query(url: &mut Url, pairs: &[(&str, Option<&str>)]) {
    for (name, value) in pairs {
        if let Some(value) = value {
            url.query_pairs_mut().append_pair(name, value);
        }
    }
}
