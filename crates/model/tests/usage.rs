//! What an instance tells of its batches adds up to what was written.

use eaves_model::batch::Point;
use eaves_model::sketch::Sketch;
use eaves_model::usage::{PERIOD_SECONDS, WriteMeter, period, window_seconds};
use eaves_model::{AttributeId, EntityId, TenantId, Timestamp, Value};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

fn point(entity: i64, attribute: i32, value: i64) -> Point {
    Point {
        tenant: TenantId(1),
        entity: EntityId(entity),
        attribute: AttributeId(attribute),
        observed_at: at(0),
        plugin: None,
        value: Value::Integer(value),
    }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((1_767_225_600 + seconds) * 1_000_000).unwrap_or(Timestamp::now())
}

/// Registers put together from what was told, as the database does it.
fn grow(registers: &mut [u8], grown: &[u16]) {
    for word in grown {
        let register = &mut registers[usize::from(word >> 6)];
        *register = (*register).max((word & 63) as u8);
    }
}

proptest! {
    #[test]
    fn batches_add_up(
        batches in proptest::collection::vec(
            proptest::collection::vec((0..40_i64, 0..4_i32, 0..6_i64), 0..30), 1..12),
        lost in proptest::collection::vec(any::<bool>(), 12),
    ) {
        let mut meter = WriteMeter::default();
        type Told = (u64, u64, u64, u64, Vec<u8>, Vec<u8>);
        let mut told: BTreeMap<i32, Told> = BTreeMap::new();
        let mut expected: BTreeMap<i32, (u64, BTreeSet<i64>, BTreeSet<i64>)> = BTreeMap::new();
        for (rows, lost) in batches.iter().zip(&lost) {
            let points: Vec<Point> = rows.iter().map(|(e, a, v)| point(*e, *a, *v)).collect();
            if *lost {
                // Not taken: the stream delivers it again.
                meter.measure(&points, at(0));
                meter.forget();
            }
            for (e, a, v) in rows {
                let x = expected.entry(*a).or_default();
                x.0 += 1;
                x.1.insert(*e);
                x.2.insert(*v);
            }
            for (_, attribute, w) in meter.measure(&points, at(0)).rows {
                let t = told.entry(attribute.0).or_insert_with(|| (0, 0, 0, 0, vec![0; 1024], vec![0; 1024]));
                t.0 += w.values;
                t.1 += w.bytes;
                t.2 += w.compared;
                t.3 += w.changed;
                grow(&mut t.4, &w.entities);
                grow(&mut t.5, &w.distinct_values);
            }
        }
        prop_assert_eq!(told.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
        for (attribute, (values, bytes, compared, changed, entities, distinct)) in told {
            let x = &expected[&attribute];
            prop_assert_eq!((values, bytes), (x.0, x.0 * 8));
            prop_assert!(changed <= compared && compared <= values);
            for (registers, exact) in [(entities, x.1.len()), (distinct, x.2.len())] {
                let mut sketch = Sketch::default();
                prop_assert!(sketch.merge(&registers));
                // So few are told apart nearly exactly.
                prop_assert!(sketch.estimate().abs_diff(exact as u64) <= 2, "{:?} for {}", sketch, exact);
            }
        }
    }
}

#[test]
fn changes_are_told_from_repetitions() {
    let mut meter = WriteMeter::default();
    let rows = [(1, 5), (1, 5), (1, 6), (2, 5), (2, 5), (1, 6)];
    let points: Vec<Point> = rows.iter().map(|(e, v)| point(*e, 1, *v)).collect();
    let batch = meter.measure(&points, at(0));
    assert_eq!((batch.rows[0].2.compared, batch.rows[0].2.changed), (4, 1));
    // Also across batches; what was told of sketches is not told again, but in a new period.
    let batch = meter.measure(&points[..1], at(1));
    assert_eq!((batch.rows[0].2.compared, batch.rows[0].2.changed), (1, 1));
    assert!(batch.rows[0].2.entities.is_empty());
    let next = meter.measure(&points[..1], at(PERIOD_SECONDS));
    assert_eq!((next.period, next.rows[0].2.entities.len()), (batch.period + 1, 1));
}

#[test]
fn many_entities_are_sampled() {
    let mut meter = WriteMeter::default();
    let mut compared = 0;
    for value in 0..4 {
        for chunk in 0..30 {
            let points: Vec<Point> = (0..10_000).map(|e| point(chunk * 10_000 + e, 1, value)).collect();
            let rows = meter.measure(&points, at(0)).rows;
            assert_eq!(rows[0].2.values, 10_000);
            assert_eq!(rows[0].2.compared, rows[0].2.changed);
            compared += rows[0].2.compared;
        }
    }
    // Of 300,000 entities a quarter fits.
    assert!((200_000..260_000).contains(&compared), "{compared}");
}

#[test]
fn the_window_is_one_to_two_periods() {
    let midnight = at(0);
    assert_eq!(period(midnight), period(at(PERIOD_SECONDS - 1)));
    assert_eq!(window_seconds(midnight, at(-1_767_225_600)), PERIOD_SECONDS as f64);
    assert_eq!(window_seconds(at(100), at(-1_767_225_600)), PERIOD_SECONDS as f64 + 100.0);
    assert_eq!(window_seconds(at(1000), at(0)), 1000.0);
    assert_eq!(window_seconds(at(5), at(0)), 60.0);
}
