//! What happens to a batch: pure rules, after "Using AWS Lambda with Amazon Kinesis"
//! (AWS Lambda developer guide: error handling, partial batch responses).
//!
//! Invariant: a record leaves a [`Delivery`] in one of two ways only, in order and
//! exactly once: taken by the function, or discarded to the on-failure destination.

use serde::Deserialize;
use std::collections::VecDeque;
use std::time::Duration;

/// The mapping's failure settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// `ReportBatchItemFailures`: whether the answer says which records failed.
    pub report_item_failures: bool,
    /// `BisectBatchOnFunctionError`. Splitting does not count as a retry.
    pub bisect: bool,
    /// `MaximumRetryAttempts`; `None` is without end.
    pub max_retries: Option<u32>,
    /// `MaximumRecordAgeInSeconds`; `None` is without end.
    pub max_age: Option<Duration>,
}

/// A record as the rules see it.
pub trait Sequenced {
    /// Its sequence number.
    fn sequence(&self) -> &str;
    /// When it arrived, milliseconds since 1970.
    fn arrived_ms(&self) -> u64;
}

/// What an invocation said about its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All taken.
    Taken,
    /// Records before this index are taken, the rest is to be delivered again.
    FailedFrom(usize),
    /// None is taken: the function failed, or its answer cannot be understood.
    Failed,
}

/// Why records were discarded, as the destination is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// Tried as often as allowed.
    RetryAttemptsExhausted,
    /// Older than allowed.
    RecordAgeExceeded,
}

impl Condition {
    /// The name in the destination's document.
    pub fn name(self) -> &'static str {
        match self {
            Self::RetryAttemptsExhausted => "RetryAttemptsExhausted",
            Self::RecordAgeExceeded => "RecordAgeExceeded",
        }
    }
}

/// What an answer says, given the sequence numbers that were delivered.
///
/// An empty or null answer or list is success. The lowest failed record counts. A missing,
/// empty or unknown identifier fails the whole batch: nothing may be skipped on a guess.
pub fn verdict<R: Sequenced>(answer: &[u8], delivered: &[R]) -> Verdict {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        batch_item_failures: Option<Vec<serde_json::Value>>,
    }
    if answer.trim_ascii().is_empty() {
        return Verdict::Taken;
    }
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(answer) else { return Verdict::Failed };
    if !value.is_object() {
        // Without the field there is no failure; Lambda takes any other answer as success.
        return Verdict::Taken;
    }
    let Ok(answer) = serde_json::from_value::<Answer>(value) else { return Verdict::Failed };
    let mut lowest = None;
    for failure in answer.batch_item_failures.unwrap_or_default() {
        let Some(id) = failure.get("itemIdentifier").and_then(|id| id.as_str()) else {
            return Verdict::Failed;
        };
        let Some(index) = delivered.iter().position(|r| r.sequence() == id) else { return Verdict::Failed };
        lowest = Some(lowest.map_or(index, |l: usize| l.min(index)));
    }
    lowest.map_or(Verdict::Taken, Verdict::FailedFrom)
}

/// Records that are delivered together.
#[derive(Debug)]
struct Part<R> {
    records: Vec<R>,
    /// Invocations that ended in failure since this part last made progress.
    failures: u32,
    /// All its invocations.
    invocations: u32,
}

/// What to do next with a batch.
#[derive(Debug, PartialEq)]
pub enum Step<'a, R> {
    /// Deliver these, then call [`Delivery::answered`].
    Invoke(&'a [R]),
    /// Send these to the on-failure destination; they are done with.
    Discard {
        /// The records.
        records: Vec<R>,
        /// Why.
        condition: Condition,
        /// How often they were delivered.
        invocations: u32,
    },
    /// Nothing is left.
    Done,
}

/// A batch on its way through a function.
#[derive(Debug)]
pub struct Delivery<R> {
    parts: VecDeque<Part<R>>,
    rules: Rules,
}

impl<R: Sequenced> Delivery<R> {
    /// A batch of records in stream order.
    pub fn new(records: Vec<R>, rules: Rules) -> Self {
        Self { parts: VecDeque::from([Part { records, failures: 0, invocations: 0 }]), rules }
    }

    /// What to do next. Always the oldest records first.
    pub fn step(&mut self, now_ms: u64) -> Step<'_, R> {
        while self.parts.front().is_some_and(|part| part.records.is_empty()) {
            self.parts.pop_front();
        }
        let Some(part) = self.parts.front_mut() else { return Step::Done };
        if self.rules.max_retries.is_some_and(|max| part.failures > max) {
            let (records, invocations) = (std::mem::take(&mut part.records), part.invocations);
            return Step::Discard { records, condition: Condition::RetryAttemptsExhausted, invocations };
        }
        if let Some(max_age) = self.rules.max_age {
            let too_old = |r: &R| u128::from(now_ms.saturating_sub(r.arrived_ms())) > max_age.as_millis();
            let old = part.records.iter().take_while(|r| too_old(r)).count();
            if old > 0 {
                let records = part.records.drain(..old).collect();
                let invocations = part.invocations;
                return Step::Discard { records, condition: Condition::RecordAgeExceeded, invocations };
            }
        }
        Step::Invoke(&part.records)
    }

    /// Takes back discarded records that the destination did not take.
    pub fn put_back(&mut self, records: Vec<R>, invocations: u32) {
        // They stay exhausted, so that the next step discards them again.
        self.parts.push_front(Part { records, failures: u32::MAX, invocations });
    }

    /// Applies what the last [`Step::Invoke`] came to, and returns the records it took.
    pub fn answered(&mut self, verdict: Verdict) -> Vec<R> {
        let Some(part) = self.parts.front_mut() else { return Vec::new() };
        part.invocations += 1;
        let failed_from = match verdict {
            Verdict::Taken => part.records.len(),
            Verdict::FailedFrom(index) if self.rules.report_item_failures => index,
            // Without ReportBatchItemFailures the answer is not looked at.
            Verdict::FailedFrom(_) => part.records.len(),
            Verdict::Failed => 0,
        };
        let taken: Vec<R> = part.records.drain(..failed_from.min(part.records.len())).collect();
        if !taken.is_empty() {
            // Progress: what is left is another batch, with all its attempts.
            part.failures = 0;
            part.invocations = 0;
        } else if verdict == Verdict::Failed && self.rules.bisect && part.records.len() > 1 {
            let later = part.records.split_off(part.records.len() / 2);
            let (failures, invocations) = (part.failures, part.invocations);
            self.parts.insert(1, Part { records: later, failures, invocations });
        } else {
            part.failures = part.failures.saturating_add(1);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone, PartialEq)]
    struct Rec(String, u64);

    impl Sequenced for Rec {
        fn sequence(&self) -> &str {
            &self.0
        }
        fn arrived_ms(&self) -> u64 {
            self.1
        }
    }

    fn records(n: u64) -> Vec<Rec> {
        (0..n).map(|i| Rec(format!("4967{i:02}"), i)).collect()
    }

    fn rules() -> Rules {
        Rules { report_item_failures: true, bisect: true, max_retries: Some(2), max_age: None }
    }

    /// Case 8 of the fault list: partial batch responses.
    #[test]
    fn answers_are_read_as_lambda_reads_them() {
        let table: &[(&str, Verdict)] = &[
            ("", Verdict::Taken),
            ("null", Verdict::Taken),
            ("{}", Verdict::Taken),
            (r#"{"batchItemFailures": null}"#, Verdict::Taken),
            (r#"{"batchItemFailures": []}"#, Verdict::Taken),
            (r#""ok""#, Verdict::Taken),
            (r#"{"batchItemFailures": [{"itemIdentifier": "496700"}]}"#, Verdict::FailedFrom(0)),
            (r#"{"batchItemFailures": [{"itemIdentifier": "496702"}]}"#, Verdict::FailedFrom(2)),
            (
                r#"{"batchItemFailures": [{"itemIdentifier": "496703"}, {"itemIdentifier": "496701"}]}"#,
                Verdict::FailedFrom(1),
            ),
            (
                r#"{"batchItemFailures": [{"itemIdentifier": "496703"}, {"itemIdentifier": "496703"}]}"#,
                Verdict::FailedFrom(3),
            ),
            (r#"{"batchItemFailures": [{"itemIdentifier": ""}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures": [{"itemIdentifier": null}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures": [{"itemIdentifier": 496702}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures": [{"identifier": "496702"}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures": [{}]}"#, Verdict::Failed),
            (r#"{"batchItemFailures": ["496702"]}"#, Verdict::Failed),
            (r#"{"batchItemFailures": [{"itemIdentifier": "nobody"}]}"#, Verdict::Failed),
            (
                r#"{"batchItemFailures": [{"itemIdentifier": "496702"}, {"itemIdentifier": "nobody"}]}"#,
                Verdict::Failed,
            ),
            (r#"{"batchItemFailures": {"itemIdentifier": "496702"}}"#, Verdict::Failed),
            (r#"{"batchItemFailures": [{"itemIdent"#, Verdict::Failed),
        ];
        for (answer, expected) in table {
            assert_eq!(verdict(answer.as_bytes(), &records(4)), *expected, "{answer}");
        }
    }

    /// Runs a delivery against a function that fails whenever record `poison` is in the
    /// batch; returns what was taken and what was discarded.
    fn run(poison: usize, n: u64, rules: Rules, partial: bool) -> (Vec<Rec>, Vec<Rec>) {
        let poison = records(n)[poison].clone();
        let mut delivery = Delivery::new(records(n), rules);
        let (mut taken, mut discarded) = (Vec::new(), Vec::new());
        for _ in 0..1000 {
            let verdict = match delivery.step(0) {
                Step::Done => return (taken, discarded),
                Step::Discard { records, .. } => {
                    discarded.extend(records);
                    continue;
                }
                Step::Invoke(batch) => match batch.iter().position(|r| *r == poison) {
                    None => Verdict::Taken,
                    Some(at) if partial => Verdict::FailedFrom(at),
                    Some(_) => Verdict::Failed,
                },
            };
            taken.extend(delivery.answered(verdict));
        }
        panic!("the shard never advanced");
    }

    /// Case 7 of the fault list: a poison record first, in the middle, last.
    #[test]
    fn bisecting_isolates_a_poison_record() {
        for at in [0, 3, 7] {
            let (taken, discarded) = run(at, 8, rules(), false);
            assert_eq!(discarded, vec![records(8)[at].clone()], "poison at {at}");
            assert_eq!(taken.len(), 7);
        }
    }

    #[test]
    fn without_bisecting_the_whole_batch_goes_to_the_destination() {
        let rules = Rules { bisect: false, ..rules() };
        let (taken, discarded) = run(3, 8, rules, false);
        assert_eq!((taken.len(), discarded.len()), (0, 8));
    }

    #[test]
    fn a_reported_failure_keeps_what_came_before_it() {
        let (taken, discarded) = run(3, 8, rules(), true);
        assert_eq!(taken, records(8)[..3]);
        assert_eq!(discarded, records(8)[3..]);
    }

    #[test]
    fn retries_are_counted_and_splitting_is_not_one() {
        let mut delivery = Delivery::new(records(2), rules());
        let mut invocations = 0;
        loop {
            match delivery.step(0) {
                Step::Invoke(_) => invocations += 1,
                Step::Discard { records, invocations: told, .. } => {
                    // One together, then each alone: the first try and two retries.
                    assert_eq!((records.len(), told), (1, 4));
                    continue;
                }
                Step::Done => break,
            }
            delivery.answered(Verdict::Failed);
        }
        assert_eq!(invocations, 1 + 3 + 3);
    }

    #[test]
    fn old_records_are_discarded_and_younger_ones_delivered() {
        let rules = Rules { max_age: Some(Duration::from_millis(97)), ..rules() };
        let mut delivery = Delivery::new(records(4), rules);
        let Step::Discard { records: old, condition, .. } = delivery.step(100) else { panic!() };
        assert_eq!((old.len(), condition), (3, Condition::RecordAgeExceeded));
        assert_eq!(delivery.step(100), Step::Invoke(&records(4)[3..]));
    }

    #[derive(Debug, Clone)]
    enum Said {
        Taken,
        Failed,
        From(usize),
        Later(u64),
    }

    fn said() -> impl Strategy<Value = Said> {
        prop_oneof![
            Just(Said::Taken),
            Just(Said::Failed),
            (0usize..20).prop_map(Said::From),
            (1u64..500).prop_map(Said::Later),
        ]
    }

    proptest! {
        /// No record is skipped: whatever the function says, each record is taken or
        /// discarded exactly once, in order, and not before it was delivered or too old.
        #[test]
        fn every_record_is_taken_or_discarded_once_and_in_order(
            n in 0u64..24,
            script in proptest::collection::vec(said(), 0..200),
            bisect: bool,
            partial: bool,
            max_retries in proptest::option::of(0u32..4),
            max_age in proptest::option::of(1u64..2000),
        ) {
            let max_age = max_age.map(Duration::from_millis);
            let rules = Rules { report_item_failures: partial, bisect, max_retries, max_age };
            let mut delivery = Delivery::new(records(n), rules);
            let mut left: Vec<Rec> = Vec::new();
            let mut delivered = std::collections::HashSet::new();
            let mut now = 0;
            let mut script = script.into_iter();
            loop {
                let (batch, said) = match delivery.step(now) {
                    Step::Done => break,
                    Step::Discard { records, condition, .. } => {
                        prop_assert!(!records.is_empty());
                        if condition == Condition::RetryAttemptsExhausted {
                            prop_assert!(records.iter().all(|r| delivered.contains(&r.0)));
                        }
                        left.extend(records);
                        continue;
                    }
                    Step::Invoke(batch) => (batch.to_vec(), script.next().unwrap_or(Said::Taken)),
                };
                prop_assert!(!batch.is_empty());
                delivered.extend(batch.iter().map(|r| r.0.clone()));
                let verdict = match said {
                    Said::Taken => Verdict::Taken,
                    Said::Failed => Verdict::Failed,
                    Said::From(i) => Verdict::FailedFrom(i % batch.len()),
                    Said::Later(ms) => {
                        now += ms;
                        Verdict::Failed
                    }
                };
                let taken = delivery.answered(verdict);
                prop_assert!(taken.iter().all(|r| delivered.contains(&r.0)));
                left.extend(taken);
            }
            prop_assert_eq!(left, records(n));
        }
    }
}
