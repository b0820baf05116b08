//! A fleet is deterministic, plausible, and as faulty as it is told to be.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use eaves_codec::decode;
use eaves_model::{Timestamp, ValueType};
use eaves_simulate::{Fleet, Message, Options, Rates, Sort};
use std::collections::{BTreeMap, BTreeSet};

fn options() -> Options {
    let start = "2026-03-01T00:00:00Z".parse().unwrap();
    Options { tenants: vec!["acme".into(), "globex".into()], ..Options::new(7, "", 40, start) }
}

fn good() -> Options {
    Options { rates: Rates::NONE, ..options() }
}

fn reading(message: &Message) -> eaves_model::Reading {
    let now: Timestamp = "2026-04-01T00:00:00Z".parse().unwrap();
    let mut items = decode(message.json.as_bytes(), now).items;
    items.remove(0).outcome.unwrap().remove(0).unwrap()
}

fn fnv(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

#[test]
fn the_same_seed_gives_the_same_messages() {
    let take = |o: &Options| Fleet::new(o).take(2_000).collect::<Vec<_>>();
    assert_eq!(take(&options()), take(&options()));
    assert_ne!(take(&options()), take(&Options { seed: 8, ..options() }));
    // On every machine and in every version: change this only with a note in the changelog.
    let all: String = take(&options()).into_iter().map(|m| m.json + "\n").collect();
    assert_eq!(format!("{:016x}", fnv(&all)), "fac1f80e5b08846b");
}

#[test]
fn without_faults_every_value_is_good_and_keeps_its_type() {
    let mut types: BTreeMap<String, ValueType> = BTreeMap::new();
    let (mut tenants, mut entities) = (BTreeSet::new(), BTreeSet::new());
    let mut last = None;
    for message in Fleet::new(&good()).take(20_000) {
        let reading = reading(&message);
        assert!(reading.refused.is_empty(), "{}", message.json);
        assert_eq!((reading.values.len(), message.values), (10, 10));
        for (name, value) in &reading.values {
            let known = *types.entry(name.to_string()).or_insert(value.inferred_type());
            assert_eq!(value.inferred_type(), known, "{name} in {}", message.json);
        }
        assert!(last < Some(reading.observed_at), "time moves on");
        last = Some(reading.observed_at);
        tenants.insert(reading.tenant.clone());
        entities.insert((reading.tenant, reading.entity));
    }
    assert_eq!((tenants.len(), entities.len()), (2, 40));
    assert_eq!(types.values().collect::<BTreeSet<_>>().len(), 6, "all value types: {types:?}");
}

#[test]
fn a_day_has_a_cycle_and_energy_only_grows() {
    let options = Options {
        interval: std::time::Duration::from_secs(600),
        tenants: vec!["a".into()],
        devices: 4,
        ..good()
    };
    let mut by_hour = [0.0; 24];
    let mut energy = 0.0;
    for message in Fleet::new(&options).take(4 * 144).filter(|m| &*m.entity == "meter-4") {
        let json: serde_json::Value = serde_json::from_str(&message.json).unwrap();
        let hour: usize = json["observed_at"].as_str().unwrap()[11..13].parse().unwrap();
        by_hour[hour] += json["values"]["power_kw"].as_f64().unwrap();
        let now: f64 = json["values"]["energy_kwh"]["value"].as_str().unwrap().parse().unwrap();
        assert!(now >= energy);
        energy = now;
    }
    assert!(by_hour[14] > 2.0 * by_hour[2], "{by_hour:?}");
}

#[test]
fn late_duplicate_and_faulty_messages_come_at_their_rates() {
    let rates = Rates { late: 0.1, duplicate: 0.05, faulty: 0.2 };
    let messages: Vec<_> = Fleet::new(&Options { rates, ..options() }).take(20_000).collect();
    let share = |sort| messages.iter().filter(|m| m.sort == sort).count() as f64 / messages.len() as f64;
    assert!((share(Sort::Late) - 0.08 * 0.95).abs() < 0.01, "{}", share(Sort::Late));
    assert!((share(Sort::Duplicate) - 0.05).abs() < 0.01);
    assert!((share(Sort::Faulty) - 0.19).abs() < 0.02);
    for pair in messages.windows(2).filter(|p| p[1].sort == Sort::Duplicate) {
        assert_eq!(pair[0].json, pair[1].json);
    }
    let now = "2026-04-01T00:00:00Z".parse().unwrap();
    let mut reasons = BTreeSet::new();
    for message in messages.iter().filter(|m| m.sort == Sort::Faulty) {
        match decode(message.json.as_bytes(), now).items.remove(0).outcome {
            Err(refused) => drop(reasons.insert(refused.rejection.code.0)),
            Ok(pieces) => {
                for piece in pieces {
                    match piece {
                        Err(refused) => drop(reasons.insert(refused.rejection.code.0)),
                        Ok(reading) => reasons.extend(reading.refused.into_iter().map(|(why, _)| why.code.0)),
                    }
                }
            }
        }
    }
    // Wrong types and ranges are not the decoder's to see.
    assert_eq!(
        reasons.into_iter().collect::<Vec<_>>(),
        ["bad_time", "bad_value", "missing_field", "undecodable"]
    );
}

#[test]
fn the_callers_clock_can_stand_still_and_points_are_still_distinct() {
    let mut fleet = Fleet::new(&Options { devices: 1, tenants: vec!["a".into()], ..good() });
    let now = options().start;
    let times: BTreeSet<_> = (0..1_000).map(|_| reading(&fleet.at(now)).observed_at).collect();
    assert_eq!(times.len(), 1_000);
}
