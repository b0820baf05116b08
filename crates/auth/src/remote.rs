//! Keys that an issuer serves over HTTPS.
//!
//! The list is fetched when the first token comes, again when it is older than [`Source::ttl`], and when a
//! token names a key that is not in it; in any case at most once every [`Source::pause`], whatever
//! tokens name. While the issuer is away the last list is good until [`Source::stale`]. Ages are by the
//! clock on the wall: between two requests Lambda stops the process, and other clocks with it.

use crate::keys::Keys;
use crate::verify::{Authorized, Denied, Verifier, bearer};
use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode, Url};
use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

/// Longest list that is read.
pub const MAX_BYTES: usize = 256 * 1024;

/// Where an issuer's keys are, and how long they are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// An https URL, or http on loopback.
    pub url: String,
    /// How long the issuer may take to answer, from the connection to the last byte.
    pub timeout: Duration,
    /// After this the list is fetched again.
    pub ttl: Duration,
    /// Shortest time between two fetches.
    pub pause: Duration,
    /// After this a list that could not be fetched again is good no longer.
    pub stale: Duration,
}

/// A source that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Its URL is none.
    #[error("{0} is no https URL (http is for loopback only)")]
    Url(String),
    /// There is no HTTP client.
    #[error("there is no HTTP client: {0}")]
    Client(String),
}

/// Why a token is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Because of the token.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Nothing can be said about it: the issuer's keys cannot be had.
    #[error("the issuer's keys cannot be had")]
    Away,
}

/// Verifies tokens by keys that the issuer serves.
pub struct Remote {
    source: Source,
    url: Url,
    client: Client,
    verifier: Verifier,
    state: Mutex<State>,
    failures: AtomicU64,
}

#[derive(Default)]
struct State {
    known: Option<Known>,
    /// When a fetch was last begun.
    tried: Option<SystemTime>,
}

struct Known {
    keys: Arc<Keys>,
    fetched: SystemTime,
}

/// How long ago. A moment in the future, of a clock that was set back, is long ago.
fn age(then: SystemTime, now: SystemTime) -> Duration {
    now.duration_since(then).unwrap_or(Duration::MAX)
}

impl State {
    /// Whether the list is to be fetched now.
    fn due(&self, source: &Source, now: SystemTime, unknown: bool) -> bool {
        let old = self.known.as_ref().is_none_or(|known| age(known.fetched, now) >= source.ttl);
        (old || unknown) && self.tried.is_none_or(|tried| age(tried, now) >= source.pause)
    }

    /// The same keys as before stay the same, with the tokens that they verified. Tells of others.
    fn learn(&mut self, keys: Keys, now: SystemTime) {
        let same = self.known.take().filter(|known| known.keys.text() == keys.text());
        let keys = same.map_or_else(
            || {
                tracing::info!(keys = keys.names().collect::<Vec<_>>().join(" "), "the issuer's keys");
                Arc::new(keys)
            },
            |known| known.keys,
        );
        self.known = Some(Known { keys, fetched: now });
    }

    fn usable(&self, source: &Source, now: SystemTime) -> Option<Arc<Keys>> {
        let known = self.known.as_ref()?;
        (age(known.fetched, now) < source.stale).then(|| Arc::clone(&known.keys))
    }
}

impl Remote {
    /// Takes tokens of `issuer` for `audience`. Nothing is fetched before the first one comes.
    pub fn new(source: Source, issuer: &str, audience: &str) -> Result<Self, SourceError> {
        let url = parse(&source.url).ok_or_else(|| SourceError::Url(source.url.clone()))?;
        let client = Client::builder()
            .https_only(url.scheme() == "https")
            // An address elsewhere is not the one that was configured.
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            // Minutes pass between two fetches, and the process is stopped meanwhile: a connection that was
            // kept would be dead.
            .pool_max_idle_per_host(0)
            .timeout(source.timeout)
            .build()
            .map_err(|e| SourceError::Client(e.to_string()))?;
        let verifier = Verifier::new(issuer, audience);
        let (state, failures) = (Mutex::default(), AtomicU64::new(0));
        Ok(Self { source, url, client, verifier, state, failures })
    }

    /// Verifies the value of an `Authorization` header.
    pub async fn check(&self, header: Option<&str>) -> Result<Arc<Authorized>, Refused> {
        // What is no token is not worth a fetch.
        bearer(header)?;
        let keys = self.keys(None).await?;
        match self.verifier.check(&keys, header) {
            Err(Denied::UnknownKey) => {
                let newer = self.keys(Some(&keys)).await?;
                Ok(self.verifier.check(&newer, header)?)
            }
            checked => Ok(checked?),
        }
    }

    /// How many fetches have failed since this was last asked.
    pub fn take_failures(&self) -> u64 {
        self.failures.swap(0, Ordering::Relaxed)
    }

    /// The keys; newer ones than `lacking`, which lack one, if they may be fetched now. Who comes
    /// while a fetch is under way waits for it, and takes what it brought.
    async fn keys(&self, lacking: Option<&Arc<Keys>>) -> Result<Arc<Keys>, Refused> {
        let mut state = self.state.lock().await;
        let now = SystemTime::now();
        let known = state.known.as_ref();
        let unknown = known.is_some_and(|known| lacking.is_some_and(|keys| Arc::ptr_eq(&known.keys, keys)));
        if state.due(&self.source, now, unknown) {
            state.tried = Some(now);
            match self.fetch().await {
                Ok(keys) => state.learn(keys, now),
                Err(error) => {
                    self.failures.fetch_add(1, Ordering::Relaxed);
                    let age = state.known.as_ref().map(|known| age(known.fetched, now).as_secs());
                    tracing::error!(error, url = %self.url, keys.age_s = age, "the issuer's keys cannot be fetched");
                }
            }
        }
        state.usable(&self.source, now).ok_or(Refused::Away)
    }

    async fn fetch(&self) -> Result<Keys, String> {
        let request = self.client.get(self.url.clone()).header(ACCEPT, "application/json");
        let mut answer = request.send().await.map_err(said)?;
        if answer.status() != StatusCode::OK {
            return Err(format!("the answer is {}", answer.status()));
        }
        let mut list = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(said)? {
            if list.len() + part.len() > MAX_BYTES {
                return Err(format!("the answer is longer than {MAX_BYTES} bytes"));
            }
            list.extend_from_slice(&part);
        }
        Keys::offered(&list).map_err(|e| e.to_string())
    }
}

/// An https URL, or one of loopback; none with a name and password in it, which would be logged.
fn parse(url: &str) -> Option<Url> {
    let url = Url::parse(url).ok()?;
    let host = url.host_str().filter(|host| !host.is_empty())?;
    let loopback = ["127.0.0.1", "[::1]", "localhost"].contains(&host);
    let scheme = url.scheme() == "https" || url.scheme() == "http" && loopback;
    (scheme && url.username().is_empty() && url.password().is_none()).then_some(url)
}

/// The error with what it comes from: "error sending request" alone says nothing.
fn said(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &[u8] = br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "one",
        "x": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"}]}"#;

    fn at(second: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(second)
    }

    fn source() -> Source {
        let seconds = Duration::from_secs;
        Source {
            url: String::new(),
            timeout: seconds(2),
            ttl: seconds(300),
            pause: seconds(10),
            stale: seconds(7_200),
        }
    }

    #[test]
    fn the_list_is_fetched_when_it_is_old_or_lacks_a_key_and_never_twice_in_a_pause() {
        let (source, mut state) = (source(), State::default());
        assert!(state.due(&source, at(1_000), false), "there is none");
        state.tried = Some(at(1_000));
        assert!(!state.due(&source, at(1_009), false), "it failed a moment ago");
        assert!(state.due(&source, at(1_010), false));
        state.learn(Keys::offered(LIST).unwrap(), at(1_000));
        for (second, unknown, due) in [
            (1_009, true, false),
            (1_010, true, true),
            (1_010, false, false),
            (1_299, false, false),
            (1_300, false, true),
            // The clock was set back: as if it were long ago.
            (999, false, true),
        ] {
            assert_eq!(state.due(&source, at(second), unknown), due, "{second} {unknown}");
        }
        for (second, usable) in [(1_000, true), (8_199, true), (8_200, false), (999, false)] {
            assert_eq!(state.usable(&source, at(second)).is_some(), usable, "{second}");
        }
    }

    #[test]
    fn the_same_list_again_is_the_same_keys() {
        let (source, mut state) = (source(), State::default());
        state.learn(Keys::offered(LIST).unwrap(), at(1_000));
        let first = state.usable(&source, at(1_000)).unwrap();
        state.learn(Keys::offered(LIST).unwrap(), at(9_000));
        assert!(Arc::ptr_eq(&first, &state.usable(&source, at(9_000)).unwrap()), "tokens that held go on");
        let other = String::from_utf8_lossy(LIST).replace("one", "two");
        state.learn(Keys::offered(other.as_bytes()).unwrap(), at(9_001));
        assert!(!Arc::ptr_eq(&first, &state.usable(&source, at(9_001)).unwrap()));
    }
}
