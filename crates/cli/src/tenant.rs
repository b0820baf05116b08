//! `eaves tenant`: tenants.

use crate::out;
use crate::target::{Data, Target};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use eaves_model::point::Limit;
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
  eaves tenant set meters --quota reads=5000000,expensive=20000,values=100000000
  eaves tenant set meters --quota none,values=default
  eaves tenant list

A later, different value for a point (same entity, attribute and time) replaces the first, is
rejected, or is kept as a correction. Limits are a time and what is done beyond it: accept,
reject or quarantine. A running platform follows within ten seconds. See docs/points.md.
Windows are the days of history that one query covers; rates are a minute, quotas a day that
begins at midnight UTC (docs/api.md).";

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
    #[arg(long, value_name = "KIND=N", value_delimiter = ',', value_parser = most)]
    rate_limit: Vec<Most>,
    /// The same a day, which begins at midnight UTC; none or default alone: of all kinds
    #[arg(long, value_name = "KIND=N", value_delimiter = ',', value_parser = most)]
    quota: Vec<Most>,
}

/// What is limited.
const KINDS: [&str; 3] = ["reads", "expensive", "values"];

/// How much a tenant may have, of one kind or (`None`) of all that are not named.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Most {
    kind: Option<&'static str>,
    /// 0 for no limit, `None` for the platform's.
    number: Option<u64>,
}

/// `reads=6000`, `values=none`, `reads=default`; `none` and `default` are of all kinds.
fn most(text: &str) -> Result<Most> {
    let wanted = || {
        format!(
            "{text:?} is not such as reads=6000, expensive=60, values=none or reads=default, and neither none nor default"
        )
    };
    let (kind, number) = match text.split_once('=') {
        Some((kind, number)) => (Some(KINDS.into_iter().find(|k| *k == kind).with_context(wanted)?), number),
        None => (None, text),
    };
    let number = match (number, kind) {
        ("default", _) => None,
        ("none", _) => Some(0),
        (number, Some(_)) => {
            // More cannot be stored.
            let number = number.parse::<u64>().ok().filter(|n| (1..=i64::MAX.unsigned_abs()).contains(n));
            Some(number.with_context(wanted)?)
        }
        _ => bail!(wanted()),
    };
    Ok(Most { kind, number })
}

/// What becomes of a kind: what was said of it last, or of all.
fn of(all: &[Most], kind: &str) -> Option<Option<u64>> {
    let said = |kind: Option<&str>| all.iter().rfind(|m| m.kind == kind).map(|m| m.number);
    said(Some(kind)).or_else(|| said(None))
}

impl Guards {
    fn change(&self) -> GuardChange {
        let (rates, quotas) = (&self.rate_limit, &self.quota);
        GuardChange {
            default_window_days: self.default_window,
            longest_window_days: self.longest_window,
            reads: of(rates, "reads"),
            expensive: of(rates, "expensive"),
            values: of(rates, "values"),
            reads_per_day: of(quotas, "reads"),
            expensive_per_day: of(quotas, "expensive"),
            values_per_day: of(quotas, "values"),
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
        let (rates, quotas) = (t.guards.limits.rates, t.guards.limits.quotas);
        let rates = own([rates.reads, rates.expensive, rates.values]);
        let quotas = own([quotas.reads, quotas.expensive, quotas.values]);
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
            quotas,
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
        "QUOTAS",
    ];
    out::line(out::table(&heading, rows))
}

/// A tenant's own rates or quotas, of each kind, in a table.
fn own(all: [Option<u64>; 3]) -> String {
    let own = KINDS.into_iter().zip(all).filter_map(|(kind, most)| match most? {
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
    use super::*;
    use clap::Parser;
    use proptest::prelude::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        guards: Guards,
    }

    fn change(arguments: &[&str]) -> GuardChange {
        Line::try_parse_from([&["set"], arguments].concat()).unwrap().guards.change()
    }

    #[test]
    fn rates_and_quotas_are_numbers_none_or_the_platforms() {
        let of = |text: &str| most(text).map(|m| (m.kind, m.number)).unwrap();
        assert_eq!(of("reads=6000"), (Some("reads"), Some(6000)));
        assert_eq!(of("values=none"), (Some("values"), Some(0)));
        assert_eq!(of("expensive=default"), (Some("expensive"), None));
        assert_eq!((of("none"), of("default")), ((None, Some(0)), (None, None)));
        for bad in
            ["reads", "writes=5", "reads=0", "reads=-1", "reads=", "=5", "5", "", "none=5", "reads=5=6"]
        {
            assert!(most(bad).is_err(), "{bad}");
        }
        assert!(most("reads=9223372036854775808").is_err(), "more than can be stored");
    }

    #[test]
    fn rates_and_quotas_are_changed_apart() {
        assert_eq!(change(&[]), GuardChange::default());
        let quotas = change(&["--quota", "reads=5000000,expensive=20000,values=100000000"]);
        let expected = GuardChange {
            reads_per_day: Some(Some(5_000_000)),
            expensive_per_day: Some(Some(20_000)),
            values_per_day: Some(Some(100_000_000)),
            ..<_>::default()
        };
        assert_eq!(quotas, expected);
        let both = change(&["--rate-limit", "reads=5", "--quota", "expensive=6"]);
        let expected =
            GuardChange { reads: Some(Some(5)), expensive_per_day: Some(Some(6)), ..<_>::default() };
        assert_eq!(both, expected);
        // Alone it is of all kinds but those that are named.
        let none = change(&["--quota", "values=7,none"]);
        let expected = GuardChange {
            reads_per_day: Some(Some(0)),
            expensive_per_day: Some(Some(0)),
            values_per_day: Some(Some(7)),
            ..<_>::default()
        };
        assert_eq!(none, expected);
        assert_eq!(change(&["--quota", "default"]).reads_per_day, Some(None));
        assert!(Line::try_parse_from(["set", "--quota", "reads"]).is_err());
    }

    #[test]
    fn a_table_shows_what_is_a_tenants_own() {
        assert_eq!(own([None; 3]), "-");
        assert_eq!(own([Some(5), None, Some(0)]), "reads=5,values=none");
    }

    proptest! {
        /// Whatever is typed, it is taken as it stands or refused with what would do.
        #[test]
        fn what_is_typed_is_taken_or_refused(text in "\\PC{0,40}", kind in 0..4_usize, number in "[0-9+-]{0,22}") {
            let kind = ["reads", "expensive", "values", "writes"][kind];
            for text in [text.clone(), format!("{kind}={number}"), format!("{kind}={text}")] {
                match most(&text) {
                    Ok(Most { kind: Some(kind), number: Some(n) }) if n > 0 => {
                        let typed = text.strip_prefix(kind).and_then(|t| t.strip_prefix('=')).unwrap();
                        prop_assert_eq!(typed.parse::<u64>().ok(), Some(n));
                        prop_assert!(i64::try_from(n).is_ok());
                    }
                    Ok(Most { number, .. }) => {
                        let word = if number.is_some() { "none" } else { "default" };
                        prop_assert!(text == word || text.ends_with(&format!("={word}")), "{}", text);
                    }
                    Err(e) => prop_assert!(e.to_string().contains("reads=6000"), "{}", e),
                }
            }
        }

        /// What the table shows can be typed again, and is the same.
        #[test]
        fn what_is_shown_can_be_typed(all in any::<[Option<u32>; 3]>()) {
            let all = all.map(|n| n.map(u64::from));
            let shown = own(all);
            prop_assume!(shown != "-");
            let change = change(&["--quota", &shown]);
            let typed = [change.reads_per_day, change.expensive_per_day, change.values_per_day];
            prop_assert_eq!(typed.map(Option::flatten), all);
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
