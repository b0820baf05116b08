//! The tree's branches by example, and what holds on all of them.

use super::Availability::{Away, Busy, Up};
use super::*;
use crate::Freshness;
use proptest::prelude::*;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const ALL: Sources = Sources { cache: Cached::Entry(s(1)), replica: Some(Lag::AtMost(s(2))), primary: Up };

fn check(demand: Demand, sources: Sources, expect: Result<(Source, &str), NoSource>) {
    let got = route(demand, sources).map(|r| (r.source, r.to_string()));
    assert_eq!(got, expect.map(|(source, why)| (source, why.to_owned())), "{demand:?} {sources:?}");
}

fn of(purpose: Purpose) -> Demand {
    Demand::new(None, None, Some(purpose)).unwrap()
}

#[test]
fn the_tree_of_the_seeds() {
    let eventual = Demand::EVENTUAL;
    check(eventual, ALL, Ok((Source::Cache, "cache entry is 1.0 s old, under 5 s")));
    let old_cache = Sources { cache: Cached::Entry(s(6)), ..ALL };
    check(eventual, old_cache, Ok((Source::ReadReplica, "replica lag is 2.0 s, under 5 s")));
    let lagging = Sources { replica: Some(Lag::AtMost(s(7))), ..old_cache };
    check(eventual, lagging, Ok((Source::Primary, "replica lag is 7.0 s, not under 5 s")));
    let unknown = Sources { replica: Some(Lag::Unknown), ..old_cache };
    check(eventual, unknown, Ok((Source::Primary, "replica lag is unknown, not under 5 s")));
    let alone = Sources { cache: Cached::Missing, replica: None, primary: Up };
    check(eventual, alone, Ok((Source::Primary, "no replica can answer")));
    check(Demand::STRONG, ALL, Ok((Source::Primary, "strong consistency was asked for")));
}

#[test]
fn realtime_near_realtime_and_eventual_by_purpose() {
    check(of(Purpose::Critical), ALL, Ok((Source::Primary, "critical reads go to the primary")));
    let away = Sources { primary: Away, ..ALL };
    let told = "primary is away; this source's lag is 1.0 s";
    check(of(Purpose::Critical), away, Ok((Source::Cache, told)));
    let old = Sources { cache: Cached::Entry(s(5)), replica: Some(Lag::AtMost(s(6))), ..away };
    check(of(Purpose::Critical), old, Err(NoSource::TooOldFor(Purpose::Critical)));

    let operational = of(Purpose::Operational);
    check(operational, ALL, Ok((Source::ReadReplica, "replica lag is 2.0 s, under 5 s")));
    let lagging = Sources { replica: Some(Lag::AtMost(s(6))), ..ALL };
    check(operational, lagging, Ok((Source::Cache, "cache entry is 1.0 s old, under 5 s")));
    check(
        operational,
        Sources { replica: None, ..old },
        Ok((Source::Cache, "primary is away; this source's lag is 5.0 s")),
    );

    let dashboard = of(Purpose::Dashboard);
    check(dashboard, ALL, Ok((Source::Cache, "cache entry is 1.0 s old, under 3 s")));
    let both = Sources { cache: Cached::Entry(s(3)), replica: Some(Lag::AtMost(s(3))), ..ALL };
    check(dashboard, both, Ok((Source::Primary, "replica lag is 3.0 s, not under 3 s")));
    check(of(Purpose::Alerting), both, Ok((Source::Cache, "cache entry is 3.0 s old, under 15 s")));
}

#[test]
fn analytics_reads_the_replica_and_the_primary_only_if_the_budget_demands_it() {
    let told = "no OLAP store is attached; replica lag is 400.0 s, under 1800 s";
    let far = Sources { replica: Some(Lag::AtMost(s(400))), ..ALL };
    check(Demand::ANALYTICS, far, Ok((Source::ReadReplica, told)));
    let told = "no OLAP store is attached; replica lag is 400.0 s, not under 300 s";
    check(of(Purpose::Reporting), far, Ok((Source::Primary, told)));
    let sent = Demand::EVENTUAL.redirected_to_analytics().unwrap();
    let told = "redirected to analytics because of its cost; no OLAP store is attached; replica lag is 400.0 s, under \
                1800 s";
    check(sent, far, Ok((Source::ReadReplica, told)));
}

#[test]
fn with_the_primary_away_strong_reads_stop_and_eventual_ones_tell_the_truth() {
    let away = Sources { cache: Cached::Entry(s(90)), replica: Some(Lag::AtMost(s(60))), primary: Away };
    check(Demand::STRONG, away, Err(NoSource::StrongNeedsPrimary));
    let told = "primary is away; this source's lag is 60.0 s";
    check(Demand::EVENTUAL, away, Ok((Source::ReadReplica, told)));
    let bounded = Demand { max_staleness: Some(s(30)), ..Demand::EVENTUAL };
    check(bounded, away, Err(NoSource::TooOld));
    let cache_only = Sources { replica: None, ..away };
    let told = "primary is away; this source's lag is 90.0 s";
    check(Demand::EVENTUAL, cache_only, Ok((Source::Cache, told)));
    check(Demand::EVENTUAL, Sources { cache: Cached::Missing, ..cache_only }, Err(NoSource::AllAway));
}

#[test]
fn with_its_share_in_use_the_primary_takes_its_own_reads_only() {
    let busy = Sources { cache: Cached::Missing, replica: Some(Lag::AtMost(s(60))), primary: Busy };
    check(Demand::STRONG, busy, Ok((Source::Primary, "strong consistency was asked for")));
    check(of(Purpose::Critical), busy, Ok((Source::Primary, "critical reads go to the primary")));
    let told = "the primary's share for such reads is in use; this source's lag is 60.0 s";
    check(Demand::EVENTUAL, busy, Ok((Source::ReadReplica, told)));
    let bounded = Demand { max_staleness: Some(s(30)), ..Demand::EVENTUAL };
    check(bounded, busy, Err(NoSource::PrimaryBusy));
    check(Demand::EVENTUAL, Sources { replica: None, ..busy }, Err(NoSource::PrimaryBusy));
}

#[test]
fn a_bound_of_the_caller_replaces_the_default() {
    let sources = Sources { cache: Cached::Entry(s(3)), replica: Some(Lag::AtMost(s(8))), primary: Up };
    let tight = Demand { max_staleness: Some(s(2)), ..Demand::EVENTUAL };
    assert_eq!(route(tight, sources).unwrap().source, Source::Primary);
    let loose = Demand { max_staleness: Some(s(20)), ..Demand::EVENTUAL };
    let old_cache = Sources { cache: Cached::Entry(s(30)), ..sources };
    assert_eq!(route(loose, old_cache).unwrap().source, Source::ReadReplica);
    let none = Demand { max_staleness: Some(Duration::ZERO), ..Demand::EVENTUAL };
    let now = Sources { cache: Cached::Entry(Duration::ZERO), ..sources };
    assert_eq!(route(none, now).unwrap().source, Source::Primary);
}

#[test]
fn replicas_take_turns_within_the_bound_and_else_the_freshest_is_read() {
    let lags = [Some(Lag::AtMost(s(1))), None, Some(Lag::AtMost(s(2))), Some(Lag::Unknown)];
    let turns: Vec<_> = (0..4).map(|turn| pick(&lags, s(5), turn)).collect();
    assert_eq!(turns, [Some(0), Some(2), Some(0), Some(2)]);
    assert_eq!(pick(&lags[1..], s(2), 7), Some(1));
    assert_eq!(pick(&lags[3..], s(2), 7), Some(0), "unknown, but the only one");
    assert_eq!(pick(&[None], s(2), 7), None);
    assert_eq!(pick(&[], s(2), 7), None);
}

fn lag() -> impl Strategy<Value = Lag> {
    prop_oneof![Just(Lag::Unknown), (0u64..100_000).prop_map(|ms| Lag::AtMost(Duration::from_millis(ms)))]
}

fn age() -> impl Strategy<Value = Option<Duration>> {
    proptest::option::of((0u64..100_000).prop_map(Duration::from_millis))
}

fn cached() -> impl Strategy<Value = Cached> {
    age().prop_map(|age| age.map_or(Cached::Missing, Cached::Entry))
}

prop_compose! {
    fn sources()(
        cache in cached(),
        replica in proptest::option::of(lag()),
        primary in prop_oneof![Just(Up), Just(Away), Just(Busy)],
    ) -> Sources {
        Sources { cache, replica, primary }
    }
}

/// Every demand that can be made.
fn demand() -> impl Strategy<Value = Demand> {
    let level = proptest::option::of(proptest::sample::select(Consistency::ALL.to_vec()));
    let purpose = proptest::option::of(proptest::sample::select(Purpose::ALL.to_vec()));
    (level, age(), purpose, any::<bool>()).prop_filter_map(
        "a contradiction",
        |(level, bound, purpose, sent)| {
            let demand = Demand::new(level, bound, purpose).ok()?;
            if sent { demand.redirected_to_analytics() } else { Some(demand) }
        },
    )
}

fn lag_of(route: Route, sources: Sources) -> Lag {
    match route.source {
        Source::Cache => Lag::AtMost(sources.cache.age().unwrap()),
        Source::ReadReplica => sources.replica.unwrap(),
        Source::Primary => Lag::ZERO,
    }
}

proptest! {
    #[test]
    fn strong_goes_to_the_primary_or_nowhere(sources in sources(), demand in demand()) {
        let demand = Demand { consistency: Consistency::Strong, ..demand };
        match route(demand, sources) {
            Ok(route) => prop_assert!(route.source == Source::Primary && sources.primary != Away),
            Err(e) => prop_assert!(e == NoSource::StrongNeedsPrimary && sources.primary == Away),
        }
    }

    #[test]
    fn a_bound_is_kept_or_told(sources in sources(), demand in demand()) {
        let Ok(route) = route(demand, sources) else { return Ok(()) };
        let lag = lag_of(route, sources);
        if route.source == Source::Primary {
            prop_assert!(sources.primary != Away);
            prop_assert!(sources.primary == Up || !route.reason.is_fallback(), "its share is kept");
        } else {
            // With the primary at hand, a budget of the matrix is kept as well.
            prop_assert!(sources.primary != Up || lag.is_under(demand.bound()));
            if let Some(bound) = demand.max_staleness {
                prop_assert!(lag.is_under(bound), "a bound of the caller is kept, whatever is away");
            }
        }
        let told = Freshness::of(demand, route, lag);
        prop_assert_eq!(told.sla_met, lag.is_under(demand.target()), "and a budget that is missed is told");
        prop_assert!(demand.consistency == Consistency::Strong || demand.bound() <= demand.target());
        // In whole milliseconds, as it is told: doubles of one time may differ in the last bit.
        let told_ms = told.lag_seconds.map(|s| (s * 1000.0).round() as u64);
        let as_told = told_ms.map_or(Lag::Unknown, |ms| Lag::AtMost(Duration::from_millis(ms)));
        let not_fresher = match (as_told, lag) {
            (Lag::AtMost(told), Lag::AtMost(lag)) => told >= lag,
            (told, _) => told == Lag::Unknown,
        };
        prop_assert!(not_fresher, "never fresher than its source");
        prop_assert_eq!(told.tier, crate::Tier::of(lag));
    }

    #[test]
    fn a_read_without_a_bound_fails_only_when_all_are_away(sources in sources(), demand in demand()) {
        let none = sources.cache.age().is_none() && sources.replica.is_none() && sources.primary != Up;
        let free = Demand { max_staleness: None, ..demand };
        prop_assume!(free.consistency != Consistency::Strong && free.purpose != Some(Purpose::Critical));
        prop_assert_eq!(route(free, sources).is_err(), none);
    }

    #[test]
    fn what_need_not_be_measured_changes_nothing(sources in sources(), demand in demand()) {
        if !replica_matters(demand, sources) {
            let unmeasured = route(demand, Sources { replica: None, ..sources }).map(|r| r.source);
            prop_assert_eq!(route(demand, sources).map(|r| r.source), unmeasured);
        }
    }

    #[test]
    fn a_picked_replica_is_under_the_bound_if_any_is(
        lags in proptest::collection::vec(proptest::option::of(lag()), 0..6), bound in 0u64..100_000, turn: usize,
    ) {
        let bound = Duration::from_millis(bound);
        let under = |lag: &Option<Lag>| lag.is_some_and(|lag| lag.is_under(bound));
        match pick(&lags, bound, turn) {
            None => prop_assert!(lags.iter().all(Option::is_none)),
            Some(i) => prop_assert!(lags[i].is_some() && under(&lags[i]) == lags.iter().any(under)),
        }
    }
}
