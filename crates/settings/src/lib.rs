//! What the functions read from their environment, parsed once at start.
//!
//! One struct per concern, put together into one per function ([`functions`]), each read from a
//! [`Vars`] source, so that tests never
//! touch the process environment. A missing or bad variable is an error that names
//! the variable and gives an example. `docs/configuration.md` lists them all.

pub mod functions;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Where variables come from.
pub trait Vars {
    /// The variable's value, or `None` if it is unset or empty.
    fn get(&self, name: &str) -> Option<String>;
}

/// The process environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessEnv;

impl Vars for ProcessEnv {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|v| !v.is_empty())
    }
}

impl Vars for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).filter(|v| !v.is_empty()).cloned()
    }
}

/// A variable that is missing or cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A required variable is unset.
    #[error("{name} is not set; example: {name}={example}")]
    Missing {
        /// The variable.
        name: &'static str,
        /// A value that would do.
        example: &'static str,
    },
    /// A variable has a value that cannot be read.
    #[error("{name}={value:?} is not {wanted}; example: {name}={example}")]
    Bad {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it should be.
        wanted: &'static str,
        /// A value that would do.
        example: &'static str,
    },
}

/// A value that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The secret itself, for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

fn required(vars: &impl Vars, name: &'static str, example: &'static str) -> Result<String, SettingsError> {
    vars.get(name).ok_or(SettingsError::Missing { name, example })
}

fn parsed<T: std::str::FromStr>(
    vars: &impl Vars,
    name: &'static str,
    wanted: &'static str,
    example: &'static str,
    default: Option<T>,
) -> Result<T, SettingsError> {
    match (vars.get(name), default) {
        (None, Some(default)) => Ok(default),
        (None, None) => Err(SettingsError::Missing { name, example }),
        (Some(value), _) => value.parse().map_err(|_| SettingsError::Bad { name, value, wanted, example }),
    }
}

/// Whether and how a connection to PostgreSQL is encrypted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// No encryption: only for a database on the same machine.
    Disable,
    /// Encrypted, the server's certificate and name verified, against the system's
    /// authorities or those in the given PEM file.
    VerifyFull {
        /// PEM file with the certificate authorities to trust.
        ca_file: Option<String>,
    },
}

/// How a role proves who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SignIn {
    /// With [`Postgres::password`].
    Password,
    /// With a token that is signed with the function's own AWS credentials for every
    /// connection (RDS and RDS Proxy: "IAM database authentication").
    Iam {
        /// Region of the database.
        region: String,
    },
}

/// How to reach one PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Postgres {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Database name.
    pub database: String,
    /// Role to log in as.
    pub user: String,
    /// Its password.
    /// Its password; empty if it signs in otherwise.
    pub password: Secret,
    /// How it signs in.
    pub sign_in: SignIn,
    /// Encryption.
    pub tls: Tls,
    /// Longest a single statement may run.
    pub statement_timeout: Duration,
}

impl Postgres {
    /// The primary (or the proxy in front of it), from `EAVES_DB_*`.
    pub fn primary(vars: &impl Vars) -> Result<Self, SettingsError> {
        let tls = match vars.get("EAVES_DB_TLS").as_deref() {
            None | Some("verify-full") => Tls::VerifyFull { ca_file: vars.get("EAVES_DB_CA_FILE") },
            Some("disable") => Tls::Disable,
            Some(other) => {
                return Err(SettingsError::Bad {
                    name: "EAVES_DB_TLS",
                    value: other.into(),
                    wanted: "verify-full or disable",
                    example: "verify-full",
                });
            }
        };
        let sign_in = sign_in(vars, "EAVES_DB_AUTH")?.unwrap_or(SignIn::Password);
        if tls == Tls::Disable && sign_in != SignIn::Password {
            return Err(SettingsError::Bad {
                name: "EAVES_DB_TLS",
                value: "disable".into(),
                wanted: "possible with EAVES_DB_AUTH=iam: RDS takes tokens over TLS only",
                example: "verify-full",
            });
        }
        let timeout: u64 =
            parsed(vars, "EAVES_DB_TIMEOUT_MS", "a number of milliseconds", "5000", Some(30_000))?;
        Ok(Self {
            host: required(vars, "EAVES_DB_HOST", "127.0.0.1")?,
            port: parsed(vars, "EAVES_DB_PORT", "a TCP port", "5432", Some(5432))?,
            database: vars.get("EAVES_DB_NAME").unwrap_or_else(|| "eaves".into()),
            user: required(vars, "EAVES_DB_USER", "eaves_ingest")?,
            password: password(vars, &sign_in)?,
            sign_in,
            tls,
            statement_timeout: Duration::from_millis(timeout),
        })
    }

    /// The read replicas: the primary's settings with each host of `EAVES_REPLICA_HOST` (one or
    /// several, comma separated, each with a port of its own if it differs),
    /// `EAVES_REPLICA_PORT` and `EAVES_REPLICA_AUTH`; empty if there is none.
    pub fn replicas(vars: &impl Vars) -> Result<Vec<Self>, SettingsError> {
        let Some(hosts) = vars.get("EAVES_REPLICA_HOST") else { return Ok(Vec::new()) };
        let port = parsed(vars, "EAVES_REPLICA_PORT", "a TCP port", "5432", Some(5432))?;
        let primary = Self::primary(vars)?;
        let sign_in = sign_in(vars, "EAVES_REPLICA_AUTH")?.unwrap_or(primary.sign_in.clone());
        let password = password(vars, &sign_in)?;
        let of = |(host, port): (String, u16)| Self {
            host,
            port,
            password: password.clone(),
            sign_in: sign_in.clone(),
            ..primary.clone()
        };
        let places: Option<Vec<_>> = hosts.split(',').map(|host| place(host.trim(), port)).collect();
        let places = places.ok_or(SettingsError::Bad {
            name: "EAVES_REPLICA_HOST",
            value: hosts,
            wanted: "a host, or several separated by commas",
            example: "replica-1.example,replica-2.example:5433",
        })?;
        Ok(places.into_iter().map(of).collect())
    }

    /// The first of the read replicas, for those who read from one only.
    pub fn replica(vars: &impl Vars) -> Result<Option<Self>, SettingsError> {
        Ok(Self::replicas(vars)?.into_iter().next())
    }
}

/// A host with its port, if it has one of its own. (An IPv6 address has several colons.)
fn place(text: &str, port: u16) -> Option<(String, u16)> {
    let (host, port) = match text.split_once(':') {
        Some((host, own)) if !own.contains(':') => (host, own.parse().ok()?),
        _ => (text, port),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

/// How a role signs in, if the variable says so.
fn sign_in(vars: &impl Vars, name: &'static str) -> Result<Option<SignIn>, SettingsError> {
    match vars.get(name).as_deref() {
        None => Ok(None),
        Some("password") => Ok(Some(SignIn::Password)),
        Some("iam") => {
            // Lambda sets it in every function.
            let region = required(vars, "AWS_REGION", "eu-central-1")?;
            Ok(Some(SignIn::Iam { region }))
        }
        Some(other) => {
            let value = other.to_owned();
            Err(SettingsError::Bad { name, value, wanted: "password or iam", example: "iam" })
        }
    }
}

fn password(vars: &impl Vars, sign_in: &SignIn) -> Result<Secret, SettingsError> {
    match sign_in {
        SignIn::Iam { .. } => Ok(Secret::new("")),
        SignIn::Password => {
            required(vars, "EAVES_DB_PASSWORD", "…, or EAVES_DB_PASSWORD_SECRET=<ARN>").map(Secret::new)
        }
    }
}

/// The Redis cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cache {
    /// `redis://` or `rediss://` URL.
    pub url: Secret,
    /// How long an entry lives, seconds.
    pub ttl: Duration,
    /// PEM file with the certificate authorities to trust instead of the system's.
    pub ca_file: Option<String>,
    /// Whether it is a cluster of shards, found through the URL's host.
    pub cluster: bool,
    /// Longest wait for one answer; for a pipeline of writes or a connection, ten times that.
    pub wait: Duration,
}

impl Cache {
    /// Longest wait for one answer: a cache that is slower than the database is of no use.
    pub const WAIT: Duration = Duration::from_millis(20);

    /// From `EAVES_REDIS_URL`, `EAVES_REDIS_CA_FILE`, `EAVES_REDIS_CLUSTER` and `EAVES_CACHE_TTL_S`;
    /// `None` without a URL.
    pub fn read(vars: &impl Vars) -> Result<Option<Self>, SettingsError> {
        let Some(url) = vars.get("EAVES_REDIS_URL") else { return Ok(None) };
        let ttl = parsed(vars, "EAVES_CACHE_TTL_S", "a number of seconds", "600", Some(600))?;
        let cluster = parsed(vars, "EAVES_REDIS_CLUSTER", "true or false", "true", Some(false))?;
        let ca_file = vars.get("EAVES_REDIS_CA_FILE");
        let (url, ttl) = (Secret::new(url), Duration::from_secs(ttl));
        Ok(Some(Self { url, ttl, ca_file, cluster, wait: Self::WAIT }))
    }
}

/// The Kinesis stream of readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    /// Its name, or its ARN's last part.
    pub name: String,
}

impl Stream {
    /// From `EAVES_STREAM`.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self { name: required(vars, "EAVES_STREAM", "eaves-telemetry")? })
    }
}

/// Where plugins are registered and stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registry {
    /// DynamoDB table.
    pub table: String,
    /// S3 bucket.
    pub bucket: String,
    /// Key that signs compiled plugins: at least 32 bytes, hex.
    pub signing_key: Secret,
    /// How long an ingest instance trusts its copy of a tenant's active version.
    pub refresh: Duration,
    /// The Lambda function that compiles plugins: plugin-admin.
    pub compiler: String,
}

impl Registry {
    /// From `EAVES_REGISTRY_TABLE`, `EAVES_PLUGIN_BUCKET`, `EAVES_PLUGIN_KEY`,
    /// `EAVES_PLUGIN_REFRESH_MS`, `EAVES_PLUGIN_COMPILER`.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        let refresh =
            parsed(vars, "EAVES_PLUGIN_REFRESH_MS", "a number of milliseconds", "1000", Some(1000))?;
        Ok(Self {
            table: required(vars, "EAVES_REGISTRY_TABLE", "eaves-registry")?,
            bucket: required(vars, "EAVES_PLUGIN_BUCKET", "eaves-plugins")?,
            signing_key: Secret::new(required(vars, "EAVES_PLUGIN_KEY", "64 hex digits")?),
            refresh: Duration::from_millis(refresh),
            compiler: vars.get("EAVES_PLUGIN_COMPILER").unwrap_or_else(|| "eaves-plugin-admin".into()),
        })
    }
}

/// The flush loop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flush {
    /// Pause between two flushes, milliseconds.
    pub interval: Duration,
    /// How long one invocation keeps looping.
    pub run_for: Duration,
}

impl Flush {
    /// From `EAVES_FLUSH_INTERVAL_MS` and `EAVES_FLUSH_RUN_S`.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        let interval = parsed(vars, "EAVES_FLUSH_INTERVAL_MS", "a number of milliseconds", "100", Some(100))?;
        let run_for = parsed(vars, "EAVES_FLUSH_RUN_S", "a number of seconds", "58", Some(58))?;
        Ok(Self { interval: Duration::from_millis(interval), run_for: Duration::from_secs(run_for) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect()
    }

    #[test]
    fn a_missing_variable_is_named_with_an_example() {
        let e = Postgres::primary(&vars(&[])).unwrap_err();
        assert_eq!(e.to_string(), "EAVES_DB_HOST is not set; example: EAVES_DB_HOST=127.0.0.1");
    }

    #[test]
    fn a_bad_variable_says_what_would_do() {
        let v = vars(&[("EAVES_DB_HOST", "h"), ("EAVES_DB_PORT", "high")]);
        let e = Postgres::primary(&v).unwrap_err();
        assert_eq!(e.to_string(), "EAVES_DB_PORT=\"high\" is not a TCP port; example: EAVES_DB_PORT=5432");
    }

    #[test]
    fn tls_is_verified_unless_disabled_by_name() {
        let base = [("EAVES_DB_HOST", "h"), ("EAVES_DB_USER", "u"), ("EAVES_DB_PASSWORD", "p")];
        let p = Postgres::primary(&vars(&base)).unwrap();
        assert_eq!(p.tls, Tls::VerifyFull { ca_file: None });
        assert!(!format!("{p:?}").contains("\"p\""));
    }

    #[test]
    fn replicas_are_listed_with_commas() {
        let base = [("EAVES_DB_HOST", "h"), ("EAVES_DB_USER", "u"), ("EAVES_DB_PASSWORD", "p")];
        let mut v = vars(&base);
        assert!(Postgres::replicas(&v).unwrap().is_empty());
        v.insert("EAVES_REPLICA_PORT".into(), "5433".into());
        v.insert("EAVES_REPLICA_HOST".into(), "a, b:6000,::1".into());
        let places: Vec<_> =
            Postgres::replicas(&v).unwrap().into_iter().map(|p| (p.host, p.port, p.user)).collect();
        let place = |host: &str, port| (host.to_owned(), port, "u".to_owned());
        assert_eq!(places, [place("a", 5433), place("b", 6000), place("::1", 5433)]);
        assert_eq!(Postgres::replica(&v).unwrap().unwrap().host, "a");
        for bad in ["a,", ",", "a:port"] {
            v.insert("EAVES_REPLICA_HOST".into(), bad.into());
            let e = Postgres::replicas(&v).unwrap_err().to_string();
            assert!(e.contains("EAVES_REPLICA_HOST") && e.contains("separated by commas"), "{e}");
        }
    }

    #[test]
    fn iam_needs_no_password_and_no_plain_connection() {
        let mut v = vars(&[
            ("EAVES_DB_HOST", "h"),
            ("EAVES_DB_USER", "u"),
            ("EAVES_DB_AUTH", "iam"),
            ("AWS_REGION", "eu-central-1"),
            ("EAVES_REPLICA_HOST", "r"),
        ]);
        let iam = SignIn::Iam { region: "eu-central-1".into() };
        assert_eq!(Postgres::primary(&v).unwrap().sign_in, iam);
        assert_eq!(Postgres::replica(&v).unwrap().unwrap().sign_in, iam);
        v.insert("EAVES_REPLICA_AUTH".into(), "password".into());
        let e = Postgres::replica(&v).unwrap_err().to_string();
        assert!(e.contains("EAVES_DB_PASSWORD is not set"), "{e}");
        v.insert("EAVES_DB_PASSWORD".into(), "p".into());
        assert_eq!(Postgres::replica(&v).unwrap().unwrap().sign_in, SignIn::Password);
        v.insert("EAVES_DB_TLS".into(), "disable".into());
        let e = Postgres::primary(&v).unwrap_err().to_string();
        assert!(e.contains("EAVES_DB_TLS") && e.contains("TLS only"), "{e}");
        v.insert("EAVES_DB_AUTH".into(), "kerberos".into());
        let e = Postgres::primary(&v).unwrap_err().to_string();
        assert!(e.contains("kerberos") && e.contains("password or iam"), "{e}");
    }
}
