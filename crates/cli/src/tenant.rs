//! `eaves tenant`: tenants.

use crate::out;
use crate::target::{Data, Target};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use eaves_model::point::Limit;
use eaves_model::tenant::TenantRates;
use eaves_model::{PointPolicy, TenantId};
use eaves_store::admin::{AdminStore, GuardChange, LimitChange, TenantChange};

const EXAMPLES: &str = "\
Examples:
  eaves tenant create acme
  eaves tenant create globex --strict      entities and attributes must be registered first
  eaves tenant create meters --points reject --late 30d:quarantine --ahead 10m:reject
  eaves tenant set meters --points correction --late none
  eaves tenant set meters --hot-bytes 4000 --hot-auto false    see docs/hot.md
  eaves tenant set meters --longest-window 90 --default-window 2
  eaves tenant set meters --rate-limit reads=6000,expensive=60,values=600000
  eaves tenant set meters --rate-limit reads=default,values=none
  eaves tenant list

A later, different value for a point (same entity, attribute and time) replaces the first, is
rejected, or is kept as a correction. Limits are a time and what is done beyond it: accept,
reject or quarantine. A running platform follows within ten seconds. See docs/points.md.
Windows are the days of history that one query covers; rates are a minute (docs/api.md).";

#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a tenant, or change the settings of one that exists
    Create {
        /// Its name: lower case letters, digits and hyphens
        name: String,
        /// Take values only of entities and attributes that are registered
        #[arg(long)]
        strict: bool,
        /// How many attributes are kept in the hot projection by themselves
        #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=10_000))]
        hot_limit: u32,
        #[command(flatten)]
        rules: Rules,
        #[command(flatten)]
        data: Data,
    },
    /// Change settings of a tenant and leave the others as they are
    Set {
        /// Its name
        name: String,
        /// Take values only of entities and attributes that are registered, or of all
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        strict: Option<bool>,
        /// How many attributes are kept in the hot projection by themselves
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=1_000))]
        hot_limit: Option<u32>,
        /// Bytes of hot values that a mean entity may have
        #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(0..=100_000))]
        hot_bytes: Option<u32>,
        /// Let it be decided by itself what is hot, or not
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        hot_auto: Option<bool>,
        #[command(flatten)]
        rules: Rules,
        #[command(flatten)]
        guards: Guards,
        #[command(flatten)]
        data: Data,
    },
    /// List the tenants
    List {
        #[command(flatten)]
        data: Data,
    },
}

/// The rules for points.
#[derive(clap::Args, Clone, Copy)]
struct Rules {
    /// What a later, different value for a point does: replace, reject or correction
    #[arg(long, value_name = "POLICY")]
    points: Option<PointPolicy>,
    #[command(flatten)]
    limits: Limits,
}

/// What queries may cost.
#[derive(clap::Args, Clone)]
struct Guards {
    /// Days of history that a query covers where it names none
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=366))]
    default_window: Option<u32>,
    /// Most days of history of one query
    #[arg(long, value_name = "DAYS", value_parser = clap::value_parser!(u32).range(1..=366))]
    longest_window: Option<u32>,
    /// Requests (reads=…, expensive=…) and values (values=…) a minute: a number, none or default
    #[arg(long, value_name = "KIND=N", value_delimiter = ',', value_parser = rate)]
    rate_limit: Vec<(String, Option<u64>)>,
}

/// `reads=6000`: a rate of its own, 0 for none; `None` for the platform's.
fn rate(text: &str) -> Result<(String, Option<u64>)> {
    let wanted =
        || format!("{text:?} is no rate such as reads=6000, expensive=60, values=none or reads=default");
    let (kind, number) = text.split_once('=').with_context(wanted)?;
    if !["reads", "expensive", "values"].contains(&kind) {
        bail!(wanted());
    }
    let number = match number {
        "default" => None,
        "none" => Some(0),
        number => Some(number.parse().ok().filter(|n| *n > 0).with_context(wanted)?),
    };
    Ok((kind.to_owned(), number))
}

impl Guards {
    fn change(&self) -> GuardChange {
        let of = |kind: &str| self.rate_limit.iter().find(|(k, _)| k == kind).map(|(_, n)| *n);
        GuardChange {
            default_window_days: self.default_window,
            longest_window_days: self.longest_window,
            reads: of("reads"),
            expensive: of("expensive"),
            values: of("values"),
        }
    }
}

/// How late and how far ahead values may be.
#[derive(clap::Args, Clone, Copy)]
pub(crate) struct Limits {
    /// How long before its arrival a value may have been seen, such as 30d:quarantine
    #[arg(long, value_name = "TIME:ACTION", value_parser = limit)]
    late: Option<Change>,
    /// How far after its arrival a value may be dated, such as 10m:reject
    #[arg(long, value_name = "TIME:ACTION", value_parser = limit)]
    ahead: Option<Change>,
}

/// A limit, or none any more.
#[derive(Clone, Copy)]
struct Change(Option<Limit>);

fn limit(text: &str) -> Result<Change, eaves_model::point::BadRule> {
    if text == "none" { Ok(Change(None)) } else { text.parse().map(|limit| Change(Some(limit))) }
}

impl Limits {
    /// What is to be changed.
    pub(crate) fn change(self) -> LimitChange {
        LimitChange { late: self.late.map(|c| c.0), ahead: self.ahead.map(|c| c.0) }
    }
}

pub(crate) async fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Create { name, strict, hot_limit, rules, data } => {
            check(&name)?;
            let admin = admin(&Target::find(&data)?).await?;
            let id = admin.tenant_create(&name, strict, Some(hot_limit)).await?;
            let change =
                TenantChange { points: rules.points, limits: rules.limits.change(), ..<_>::default() };
            admin.tenant_set(&name, change).await?;
            out::line(format!("Tenant {name} has id {id}."))
        }
        Command::Set { name, strict, hot_limit, hot_bytes, hot_auto, rules, guards, data } => {
            let target = Target::find(&data)?;
            find(&target, &name).await?;
            let limits = rules.limits.change();
            let points = rules.points;
            let change = TenantChange { strict, hot_limit, hot_bytes, hot_auto, points, limits };
            let admin = admin(&target).await?;
            admin.tenant_set(&name, change).await?;
            if guards.change() != GuardChange::default() {
                admin.tenant_guards_set(&name, guards.change()).await?;
            }
            out::line(format!("Tenant {name} is changed; a running platform follows within 10 s."))
        }
        Command::List { data } => list(&data).await,
    }
}

/// The id of a tenant that exists.
pub(crate) async fn find(target: &Target, name: &str) -> Result<TenantId> {
    let tenants = admin(target).await?.tenants().await?;
    let found = tenants.iter().find(|t| t.name == name).map(|t| t.id);
    found.with_context(|| {
        let names: Vec<&str> = tenants.iter().map(|t| t.name.as_str()).collect();
        let known = if names.is_empty() {
            "there are none".into()
        } else {
            format!("there are: {}", names.join(", "))
        };
        format!("there is no tenant {name} ({known}); make it with `eaves tenant create {name}`")
    })
}

/// The database as the operator.
pub(crate) async fn admin(target: &Target) -> Result<AdminStore> {
    let settings = target.postgres("eaves_admin")?;
    AdminStore::connect(&settings).await.context("connect to the database")
}

async fn list(data: &Data) -> Result<()> {
    let tenants = admin(&Target::find(data)?).await?.tenant_settings().await?;
    if tenants.is_empty() {
        return out::line("There are no tenants. Make one with `eaves tenant create NAME`.");
    }
    let rows = tenants.into_iter().map(|t| {
        let strict = if t.strict { "yes" } else { "no" };
        let points = t.points.name().into();
        let (late, ahead) = (shown(t.limits.late), shown(t.limits.ahead));
        let (most, bytes) = (t.hot_limit.to_string(), t.hot_bytes.to_string());
        let auto = if t.hot_auto { "yes" } else { "no" };
        let window = format!("{} of {} d", t.guards.default_window_days, t.guards.longest_window_days);
        let rates = rates(t.guards.rates);
        vec![
            t.name,
            t.id.to_string(),
            strict.into(),
            most,
            bytes,
            auto.into(),
            points,
            late,
            ahead,
            window,
            rates,
        ]
    });
    let heading = [
        "TENANT",
        "ID",
        "STRICT",
        "HOT LIMIT",
        "HOT BYTES",
        "HOT AUTO",
        "POINTS",
        "LATE",
        "AHEAD",
        "WINDOW",
        "RATES",
    ];
    out::line(out::table(&heading, rows))
}

/// A tenant's own rates in a table.
fn rates(rates: TenantRates) -> String {
    let all = [("reads", rates.reads), ("expensive", rates.expensive), ("values", rates.values)];
    let own = all.into_iter().filter_map(|(kind, rate)| match rate? {
        0 => Some(format!("{kind}=none")),
        n => Some(format!("{kind}={n}")),
    });
    let own: Vec<String> = own.collect();
    if own.is_empty() { "-".into() } else { own.join(",") }
}

/// A limit in a table.
pub(crate) fn shown(limit: Option<Limit>) -> String {
    limit.map_or_else(|| "-".into(), |limit| limit.to_string())
}

fn check(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || name.len() > 63
        || !name.chars().all(good)
        || name.starts_with('-')
        || name.ends_with('-')
    {
        bail!(
            "{name:?} is no tenant name: use 1 to 63 lower case letters, digits and inner hyphens, such as acme-eu"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn rates_are_numbers_none_or_the_platforms() {
        assert_eq!(super::rate("reads=6000").unwrap(), ("reads".to_owned(), Some(6000)));
        assert_eq!(super::rate("values=none").unwrap(), ("values".to_owned(), Some(0)));
        assert_eq!(super::rate("expensive=default").unwrap(), ("expensive".to_owned(), None));
        for bad in ["reads", "writes=5", "reads=0", "reads=-1", "reads=", "=5"] {
            assert!(super::rate(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_checked() {
        for good in ["acme", "a", "acme-2"] {
            assert!(super::check(good).is_ok(), "{good}");
        }
        for bad in ["", "Acme", "-a", "a-", "a b", "ä", &"a".repeat(64)] {
            assert!(super::check(bad).is_err(), "{bad}");
        }
    }
}
