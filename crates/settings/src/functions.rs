//! What each function reads, in one struct each: its variables are what
//! [`sam-template.yaml`], `infra/parameters.tf` and `docs/configuration.md` must name.

use crate::{Cache, Flush as Rhythm, Postgres, Registry, SettingsError, Stream, Vars, parsed};
use std::time::Duration;

/// Variables of every function: the log filter, the name of the environment in metrics and the
/// collector of traces (`eaves-telemetry`).
const TELLING: [&str; 3] = ["EAVES_LOG", "EAVES_ENVIRONMENT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
/// The same with the database.
const COMMON: [&str; 11] = [
    TELLING[0],
    TELLING[1],
    TELLING[2],
    "EAVES_DB_HOST",
    "EAVES_DB_PORT",
    "EAVES_DB_NAME",
    "EAVES_DB_USER",
    "EAVES_DB_PASSWORD",
    "EAVES_DB_AUTH",
    "EAVES_DB_TLS",
    "EAVES_DB_CA_FILE",
];
const CACHE: [&str; 4] =
    ["EAVES_REDIS_URL", "EAVES_REDIS_CA_FILE", "EAVES_REDIS_CLUSTER", "EAVES_CACHE_TTL_S"];
const REGISTRY: [&str; 5] = [
    "EAVES_REGISTRY_TABLE",
    "EAVES_PLUGIN_BUCKET",
    "EAVES_PLUGIN_KEY",
    "EAVES_PLUGIN_REFRESH_MS",
    "EAVES_PLUGIN_COMPILER",
];

/// A function and its variables.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Its name: `eaves-<name>` is its binary.
    pub name: &'static str,
    /// Groups of variables.
    groups: &'static [&'static [&'static str]],
}

impl Function {
    /// The variables it reads, sorted.
    pub fn variables(&self) -> Vec<&'static str> {
        let mut all: Vec<_> = self.groups.iter().flat_map(|group| group.iter().copied()).collect();
        all.sort_unstable();
        all
    }
}

/// All functions.
pub const FUNCTIONS: [Function; 8] = [
    Function { name: "ingest", groups: &[&COMMON, &["EAVES_DB_TIMEOUT_MS"], &CACHE, &REGISTRY] },
    Function {
        name: "flush",
        groups: &[
            &COMMON,
            &["EAVES_DB_TIMEOUT_MS", "EAVES_FLUSH_INTERVAL_MS", "EAVES_FLUSH_RUN_S"],
            &CACHE,
            &REGISTRY,
        ],
    },
    Function {
        name: "maintain",
        groups: &[
            &COMMON,
            &["EAVES_DB_TIMEOUT_MS", "EAVES_PLUGIN_METRICS_DAYS", "EAVES_QUARANTINE_DAYS"],
            &CACHE,
        ],
    },
    Function {
        name: "hot-projection",
        groups: &[&COMMON, &["EAVES_DB_TIMEOUT_MS", "EAVES_HOT_COOLDOWN_S"], &REGISTRY],
    },
    Function { name: "olap-load", groups: &[&COMMON, &["EAVES_DB_TIMEOUT_MS", "EAVES_ARCHIVE_BUCKET"]] },
    Function {
        name: "query",
        groups: &[
            &COMMON,
            &["EAVES_DB_TIMEOUT_MS", "EAVES_REPLICA_HOST", "EAVES_REPLICA_PORT", "EAVES_REPLICA_AUTH"],
            &CACHE,
            &["EAVES_STREAM"],
            &[
                "EAVES_QUERY_COST_LIMIT",
                "EAVES_RATE_READS",
                "EAVES_RATE_EXPENSIVE",
                "EAVES_RATE_VALUES",
                "EAVES_QUOTA_READS",
                "EAVES_QUOTA_EXPENSIVE",
                "EAVES_QUOTA_VALUES",
                "EAVES_SUPERADMIN_USER",
                "EAVES_SUPERADMIN_PASSWORD",
            ],
        ],
    },
    Function {
        name: "plugin-admin",
        groups: &[
            &COMMON,
            &["EAVES_DB_TIMEOUT_MS", "EAVES_REPLICA_HOST", "EAVES_REPLICA_PORT", "EAVES_REPLICA_AUTH"],
            &CACHE,
            &REGISTRY,
            &["EAVES_RATE_READS", "EAVES_RATE_EXPENSIVE", "EAVES_QUOTA_READS", "EAVES_QUOTA_EXPENSIVE"],
        ],
    },
    Function {
        name: "authorizer",
        groups: &[
            &TELLING,
            &["EAVES_JWT_ISSUER", "EAVES_JWT_AUDIENCE", "EAVES_JWT_KEYS_URL"],
            &[
                "EAVES_JWT_KEYS_TIMEOUT_MS",
                "EAVES_JWT_KEYS_TTL_S",
                "EAVES_JWT_KEYS_PAUSE_S",
                "EAVES_JWT_KEYS_STALE_S",
            ],
        ],
    },
];

/// What ingest reads.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// The primary, as `eaves_ingest`.
    pub database: Postgres,
    /// The cache that is written through.
    pub cache: Option<Cache>,
    /// Where plugins are.
    pub registry: Registry,
}

impl Ingest {
    /// From the environment.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self {
            database: Postgres::primary(vars)?,
            cache: Cache::read(vars)?,
            registry: Registry::read(vars)?,
        })
    }
}

/// What flush reads: it also replays, as ingest would.
#[derive(Debug, Clone)]
pub struct Flush {
    /// How often and how long.
    pub rhythm: Rhythm,
    /// What a replay needs; the database as `eaves_flush`.
    pub replay: Ingest,
}

impl Flush {
    /// From the environment.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self { rhythm: Rhythm::read(vars)?, replay: Ingest::read(vars)? })
    }
}

/// What maintain reads.
#[derive(Debug, Clone)]
pub struct Maintain {
    /// The primary, as `eaves_flush`.
    pub database: Postgres,
    /// What is kept for a time only.
    pub retention: Retention,
    /// The cache that is written through when rows are repaired or what is hot changes.
    pub cache: Option<Cache>,
}

/// For how many days rows are kept that are not the tenants' values: 1 to 3,650 each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Figures of plugins, by the hour.
    pub metrics_days: u16,
    /// What was put aside, decided about or not.
    pub quarantine_days: u16,
}

impl Retention {
    /// From `EAVES_PLUGIN_METRICS_DAYS` and `EAVES_QUARANTINE_DAYS`.
    fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        let days = |name, example| {
            let wanted = "a number of days, 1 to 3650";
            match crate::parsed(vars, name, wanted, example, Some(90))? {
                days @ 1..=3650 => Ok(days),
                days => Err(SettingsError::Bad { name, value: days.to_string(), wanted, example }),
            }
        };
        let metrics_days = days("EAVES_PLUGIN_METRICS_DAYS", "90")?;
        Ok(Self { metrics_days, quarantine_days: days("EAVES_QUARANTINE_DAYS", "90")? })
    }
}

impl Maintain {
    /// From the environment.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self {
            database: Postgres::primary(vars)?,
            retention: Retention::read(vars)?,
            cache: Cache::read(vars)?,
        })
    }
}

/// What hot-projection reads.
#[derive(Debug, Clone)]
pub struct HotProjection {
    /// The primary, as `eaves_query`: it reads and decides for one tenant at a time.
    pub primary: Postgres,
    /// Where plugins are.
    pub registry: Registry,
    /// How long an attribute stays as it is after it became hot, or ceased to be.
    pub cooldown: Duration,
}

impl HotProjection {
    /// From the environment.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        let cooldown =
            parsed(vars, "EAVES_HOT_COOLDOWN_S", "a number of seconds", "86400", Some(86_400_u32))?;
        Ok(Self {
            primary: Postgres::primary(vars)?,
            registry: Registry::read(vars)?,
            cooldown: Duration::from_secs(cooldown.into()),
        })
    }
}

/// What olap-load reads.
#[derive(Debug, Clone)]
pub struct OlapLoad {
    /// The primary, as `eaves_olap`.
    pub database: Postgres,
    /// The S3 bucket of the files.
    pub bucket: String,
}

impl OlapLoad {
    /// From the environment.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        let bucket = crate::required(vars, "EAVES_ARCHIVE_BUCKET", "eaves-archive")?;
        Ok(Self { database: Postgres::primary(vars)?, bucket })
    }
}

/// What query reads.
#[derive(Debug, Clone)]
pub struct Query {
    /// The primary, as `eaves_query`.
    pub primary: Postgres,
    /// The read replicas.
    pub replicas: Vec<Postgres>,
    /// The cache.
    pub cache: Option<Cache>,
    /// Where readings sent over HTTP go.
    pub stream: Stream,
    /// What a tenant may ask for that has no rates of its own.
    pub rates: Rates,
    /// What it may have in a day that has no quotas of its own.
    pub quotas: Quotas,
    /// Most that a query may cost, in the planner's units; 0: no limit.
    pub cost_limit: u32,
    /// The primary, as `eaves_superadmin`; without it nobody reads across tenants here.
    pub superadmin: Option<Postgres>,
}

/// Requests or values a minute of each tenant; 0: no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rates {
    /// Requests that read little or change something.
    pub reads: u32,
    /// Requests that may read much.
    pub expensive: u32,
    /// Values sent over HTTP.
    pub values: u32,
}

impl Rates {
    /// From `EAVES_RATE_READS`, `EAVES_RATE_EXPENSIVE` and `EAVES_RATE_VALUES`.
    fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self { values: rate(vars, "EAVES_RATE_VALUES", 6_000_000)?, ..Self::of_requests(vars)? })
    }

    /// Of a function that takes no values.
    fn of_requests(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self {
            reads: rate(vars, "EAVES_RATE_READS", 600_000)?,
            expensive: rate(vars, "EAVES_RATE_EXPENSIVE", 60_000)?,
            values: 0,
        })
    }
}

/// Requests or values a day (UTC) of each tenant; 0: no quota.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Quotas {
    /// Requests that read little or change something.
    pub reads: u64,
    /// Requests that may read much.
    pub expensive: u64,
    /// Values sent over HTTP.
    pub values: u64,
}

impl Quotas {
    /// From `EAVES_QUOTA_READS`, `EAVES_QUOTA_EXPENSIVE` and `EAVES_QUOTA_VALUES`.
    fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self { values: quota(vars, "EAVES_QUOTA_VALUES")?, ..Self::of_requests(vars)? })
    }

    /// Of a function that takes no values.
    fn of_requests(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self {
            reads: quota(vars, "EAVES_QUOTA_READS")?,
            expensive: quota(vars, "EAVES_QUOTA_EXPENSIVE")?,
            values: 0,
        })
    }
}

fn quota(vars: &impl Vars, name: &'static str) -> Result<u64, SettingsError> {
    parsed(vars, name, "a number a day, 0 for no quota", "5000000", Some(0))
}

fn rate(vars: &impl Vars, name: &'static str, default: u32) -> Result<u32, SettingsError> {
    parsed(vars, name, "a number a minute, 0 for no limit", "60000", Some(default))
}

/// The primary with the role that reads across tenants.
fn superadmin(vars: &impl Vars) -> Result<Option<Postgres>, SettingsError> {
    let Some(user) = vars.get("EAVES_SUPERADMIN_USER") else { return Ok(None) };
    let primary = Postgres::primary(vars)?;
    let password = match primary.sign_in {
        crate::SignIn::Iam { .. } => crate::Secret::new(""),
        crate::SignIn::Password => crate::Secret::new(crate::required(
            vars,
            "EAVES_SUPERADMIN_PASSWORD",
            "…, or EAVES_SUPERADMIN_PASSWORD_SECRET=<ARN>",
        )?),
    };
    Ok(Some(Postgres { user, password, ..primary }))
}

impl Query {
    /// From the environment.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self {
            primary: Postgres::primary(vars)?,
            replicas: Postgres::replicas(vars)?,
            cache: Cache::read(vars)?,
            stream: Stream::read(vars)?,
            rates: Rates::read(vars)?,
            quotas: Quotas::read(vars)?,
            cost_limit: parsed(
                vars,
                "EAVES_QUERY_COST_LIMIT",
                "a cost in the planner's units, 0 for no limit",
                "1000000",
                Some(1_000_000),
            )?,
            superadmin: superadmin(vars)?,
        })
    }
}

/// What plugin-admin reads.
#[derive(Debug, Clone)]
pub struct PluginAdmin {
    /// Where plugins are.
    pub registry: Registry,
    /// The primary, as `eaves_query`.
    pub primary: Postgres,
    /// A read replica, for backtests.
    pub replica: Option<Postgres>,
    /// Where rates and quotas are counted for all instances.
    pub cache: Option<Cache>,
    /// Requests a minute of a tenant, of those counted by query the same.
    pub rates: Rates,
    /// Requests a day, likewise.
    pub quotas: Quotas,
}

impl PluginAdmin {
    /// From the environment.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self {
            registry: Registry::read(vars)?,
            primary: Postgres::primary(vars)?,
            replica: Postgres::replica(vars)?,
            cache: Cache::read(vars)?,
            rates: Rates::of_requests(vars)?,
            quotas: Quotas::of_requests(vars)?,
        })
    }
}

/// What authorizer reads. There is no secret among it.
#[derive(Debug, Clone)]
pub struct Authorizer {
    /// Whose tokens are taken.
    pub issuer: String,
    /// What they have to be for.
    pub audience: String,
    /// Where the issuer's public keys are.
    pub keys: Keys,
}

/// Where an issuer's public keys are, and how long they are good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// An https URL, or http on loopback.
    pub url: String,
    /// How long the issuer may take to answer.
    pub timeout: Duration,
    /// After this they are fetched again.
    pub ttl: Duration,
    /// Shortest time between two fetches, whatever tokens name.
    pub pause: Duration,
    /// After this keys that could not be fetched again are good no longer.
    pub stale: Duration,
}

impl Authorizer {
    /// From the environment.
    pub fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        Ok(Self {
            issuer: crate::required(vars, "EAVES_JWT_ISSUER", "https://auth.example.com")?,
            audience: crate::required(vars, "EAVES_JWT_AUDIENCE", "eaves")?,
            keys: Keys::read(vars)?,
        })
    }
}

impl Keys {
    /// From `EAVES_JWT_KEYS_*`.
    fn read(vars: &impl Vars) -> Result<Self, SettingsError> {
        let seconds = |name, example, default: u32, most: u32| {
            let wanted = "a number of seconds that is neither 0 nor too many";
            match parsed(vars, name, wanted, example, Some(default))? {
                seconds if (1..=most).contains(&seconds) => Ok(Duration::from_secs(seconds.into())),
                seconds => Err(SettingsError::Bad { name, value: seconds.to_string(), wanted, example }),
            }
        };
        let (name, example) = ("EAVES_JWT_KEYS_TIMEOUT_MS", "2000");
        // The function has ten seconds, API Gateway waits as long.
        let wanted = "a number of milliseconds, 1 to 5000";
        let timeout = match parsed(vars, name, wanted, example, Some(2_000_u64))? {
            timeout @ 1..=5_000 => Duration::from_millis(timeout),
            timeout => return Err(SettingsError::Bad { name, value: timeout.to_string(), wanted, example }),
        };
        Ok(Self {
            url: keys_url(vars)?,
            timeout,
            ttl: seconds("EAVES_JWT_KEYS_TTL_S", "300", 300, 3_600)?,
            pause: seconds("EAVES_JWT_KEYS_PAUSE_S", "10", 10, 3_600)?,
            stale: seconds("EAVES_JWT_KEYS_STALE_S", "7200", 7_200, 86_400)?,
        })
    }
}

/// Whoever can change the answer on its way decides who comes in, so it comes over TLS, or does not
/// leave the machine.
fn keys_url(vars: &impl Vars) -> Result<String, SettingsError> {
    let (name, example) = ("EAVES_JWT_KEYS_URL", "https://auth.example.com/.well-known/jwks.json");
    let url = crate::required(vars, name, example)?;
    let strange = |c: char| c.is_whitespace() || c.is_control() || c == '\\';
    let authority = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
    let good = match url.split_once("://") {
        _ if url.contains(strange) => false,
        Some(("https", rest)) => {
            let authority = authority(rest);
            !authority.is_empty() && !authority.contains('@')
        }
        Some(("http", rest)) => {
            let authority = authority(rest);
            let host = authority.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
            ["127.0.0.1", "[::1]", "localhost"].contains(&host.map_or(authority.as_str(), |(host, _)| host))
        }
        _ => false,
    };
    if good {
        return Ok(url);
    }
    Err(SettingsError::Bad { name, value: url, wanted: "an https URL, or an http one of loopback", example })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    /// Gives every variable a value that will do, and keeps what it was asked for.
    #[derive(Default)]
    struct Asked(RefCell<BTreeSet<String>>);

    impl Vars for Asked {
        fn get(&self, name: &str) -> Option<String> {
            self.0.borrow_mut().insert(name.to_owned());
            let number = ["_PORT", "_MS", "_S", "_DAYS", "_LIMIT"].iter().any(|end| name.ends_with(end))
                || ["EAVES_RATE_", "EAVES_QUOTA_"].iter().any(|start| name.starts_with(start));
            let value = match name {
                _ if number => "1",
                "EAVES_DB_TLS" => "verify-full",
                "EAVES_DB_AUTH" | "EAVES_REPLICA_AUTH" => "password",
                "EAVES_REDIS_CLUSTER" => "true",
                "EAVES_JWT_KEYS_URL" => "https://x",
                _ => "x",
            };
            Some(value.to_owned())
        }
    }

    #[test]
    fn days_are_bounded() {
        let read = |days: &'static str| {
            struct Days(&'static str);
            impl Vars for Days {
                fn get(&self, name: &str) -> Option<String> {
                    (name == "EAVES_QUARANTINE_DAYS").then(|| self.0.to_owned())
                }
            }
            Retention::read(&Days(days))
        };
        assert_eq!(read("30").unwrap(), Retention { metrics_days: 90, quarantine_days: 30 });
        for wrong in ["0", "3651", "-1", "", "a week"] {
            let error = read(wrong).unwrap_err().to_string();
            assert!(error.contains("EAVES_QUARANTINE_DAYS"), "{wrong}: {error}");
        }
    }

    #[test]
    fn keys_come_over_https_or_from_the_machine_itself() {
        let read = |url: &str| {
            let vars = std::collections::BTreeMap::from([
                ("EAVES_JWT_ISSUER".to_owned(), "https://auth.example.com".to_owned()),
                ("EAVES_JWT_AUDIENCE".to_owned(), "eaves".to_owned()),
                ("EAVES_JWT_KEYS_URL".to_owned(), url.to_owned()),
            ]);
            Authorizer::read(&vars)
        };
        for good in [
            "https://auth.example.com/.well-known/jwks.json",
            "https://auth.example.com:8443/keys?a=b",
            "http://127.0.0.1:8080/jwks.json",
            "http://[::1]:8080/jwks.json",
            "http://localhost/jwks.json",
        ] {
            let keys = read(good).unwrap().keys;
            assert_eq!((keys.url.as_str(), keys.ttl.as_secs(), keys.pause.as_secs()), (good, 300, 10));
        }
        for bad in [
            "http://auth.example.com/jwks.json",
            "http://127.0.0.1@evil.example/",
            "http://127.0.0.1:80@evil.example/",
            "http://127.0.0.1.evil.example/",
            "http://127.0.0.1\\@evil.example/",
            "https://user:secret@auth.example.com/",
            "https://",
            "https:///jwks.json",
            "file:///etc/passwd",
            "ftp://127.0.0.1/",
            "auth.example.com",
            "https://auth.example.com/a b",
        ] {
            let error = read(bad).unwrap_err().to_string();
            assert!(error.contains("EAVES_JWT_KEYS_URL"), "{bad}: {error}");
        }
    }

    #[test]
    fn each_function_reads_the_variables_it_lists() {
        for function in FUNCTIONS {
            let asked = Asked::default();
            match function.name {
                "ingest" => drop(Ingest::read(&asked).unwrap()),
                "flush" => drop(Flush::read(&asked).unwrap()),
                "maintain" => drop(Maintain::read(&asked).unwrap()),
                "hot-projection" => drop(HotProjection::read(&asked).unwrap()),
                "olap-load" => drop(OlapLoad::read(&asked).unwrap()),
                "query" => drop(Query::read(&asked).unwrap()),
                "plugin-admin" => drop(PluginAdmin::read(&asked).unwrap()),
                "authorizer" => drop(Authorizer::read(&asked).unwrap()),
                other => panic!("{other} is not tested"),
            }
            let mut read: BTreeSet<&str> =
                BTreeSet::from(["EAVES_LOG", "EAVES_ENVIRONMENT", "OTEL_EXPORTER_OTLP_ENDPOINT"]);
            let asked = asked.0.into_inner();
            read.extend(asked.iter().map(String::as_str));
            assert_eq!(read, function.variables().into_iter().collect(), "{}", function.name);
        }
    }

    /// The table of docs/configuration.md has the same names for the same functions.
    #[test]
    fn the_documentation_names_the_same_variables() {
        let docs = include_str!("../../../docs/configuration.md");
        let mut rows = BTreeSet::new();
        for line in
            docs.lines().filter(|line| ["| `EAVES_", "| `OTEL_"].iter().any(|start| line.starts_with(start)))
        {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let name = cells[1].trim_matches('`').to_owned();
            for function in FUNCTIONS {
                let named = cells[2].split(", ").any(|f| f == "all" || f == function.name);
                if named && !name.ends_with("_SECRET") {
                    rows.insert((function.name, name.clone()));
                }
            }
        }
        let listed = FUNCTIONS.iter().flat_map(|f| f.variables().into_iter().map(|v| (f.name, v.to_owned())));
        assert_eq!(rows, listed.collect());
    }
}
