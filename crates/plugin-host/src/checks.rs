//! What must hold for anything that a plugin, or the process that runs it, can answer. For the
//! property tests and the fuzz target `answers`: panics if it does not hold.
#![expect(clippy::expect_used, reason = "a check fails by panicking")]

use crate::bindings::{promotion, validation};
use crate::columns::{Buffers, Calls, Tables};
use crate::guest::Usage;
use crate::message::{Answer, Loaded, Reply, Request, Types};
use crate::wire::Put;
use crate::{Interest, PluginError, answer, description, limits, plugin, speed};
use eaves_model::batch::{Batch, Decision};
use std::collections::HashSet;
use std::time::Duration;

/// Takes bytes apart into small numbers and texts, so that what comes out often fits.
struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    fn list<T>(&mut self, item: impl Fn(&mut Self) -> T) -> Vec<T> {
        let length = self.byte() % 8;
        (0..length).map(|_| item(self)).collect()
    }

    fn small(&mut self) -> u32 {
        match self.byte() {
            255 => u32::MAX,
            n => u32::from(n % 12),
        }
    }

    fn bits(&mut self) -> u64 {
        match self.byte() % 4 {
            0 => u64::from(self.small()),
            1 => f64::from(self.byte()).to_bits(),
            2 => f64::NAN.to_bits(),
            _ => u64::from_ne_bytes(std::array::from_fn(|_| self.byte())),
        }
    }

    fn text(&mut self) -> String {
        const TEXTS: [&str; 8] = ["", "a", "too_high", "é", "Bad", "line\nbreak", "1.0.0", "{}"];
        match self.byte() {
            254 => "x".repeat(70_000),
            255 => "x".repeat(501),
            n => TEXTS[usize::from(n) % TEXTS.len()].into(),
        }
    }

    fn value_type(&mut self) -> validation::ValueType {
        crate::message::value_type(self.byte() % 6).expect("there are six")
    }

    fn decision(&mut self) -> validation::Decision {
        validation::Decision {
            rejected_row: self.list(Self::small),
            rejected_reason: self.list(Self::small),
            reasons: self.list(|b| validation::Reason { code: b.text(), text: b.text() }),
            replaced_row: self.list(Self::small),
            replaced_bits: self.list(Self::bits),
            derived_row: self.list(Self::small),
            derived_attribute: self.list(Self::small),
            derived_bits: self.list(Self::bits),
            derived_attributes: self
                .list(|b| validation::DerivedAttribute { name: b.text(), type_: b.value_type() }),
            texts: validation::TextsResult { blob: self.text(), offsets: self.list(Self::small) },
            decimals: validation::DecimalsResult {
                low: self.list(Self::bits),
                high: self.list(|b| b.bits() as i64),
                scale: self.list(Self::byte),
            },
        }
    }

    fn interest(&mut self) -> validation::Interest {
        let names = |b: &mut Self| b.byte().is_multiple_of(2).then(|| b.list(Self::text));
        validation::Interest {
            attributes: names(self),
            entity_types: names(self),
            previous: self.list(Self::text),
        }
    }

    fn fault(&mut self) -> validation::SettingsFault {
        validation::SettingsFault { path: self.text(), message: self.text() }
    }

    fn error(&mut self) -> validation::ValidateError {
        match self.byte() % 2 {
            0 => validation::ValidateError::Settings(self.fault()),
            _ => validation::ValidateError::Failed(self.text()),
        }
    }

    fn promotion(&mut self) -> promotion::Decision {
        use promotion::Verdict::{Demote, Keep, Promote};
        promotion::Decision {
            row: self.list(Self::small),
            verdict: self.list(|b| [Keep, Promote, Demote][usize::from(b.byte() % 3)]),
            reason: self.list(Self::small),
            reasons: self.list(|b| promotion::Reason { code: b.text(), text: b.text() }),
        }
    }
}

/// Answers made from `bytes` are refused or keep every promise, and cross to another process as
/// they are.
pub fn answers(bytes: &[u8]) {
    let mut b = Bytes(bytes);
    let batch = speed::device_batch(10);
    let decision = b.decision();
    let crossed: Result<validation::Decision, validation::ValidateError> = cross(Ok(decision));
    let Ok(decision) = crossed else { panic!("a decision became an error") };
    judged(decision, &batch);

    let said = cross(validation::Description {
        name: b.text(),
        version: b.text(),
        interest: b.interest(),
        settings_schema: b.text(),
    });
    let described = description::described(said);
    if let Ok(described) = &described {
        assert!(!described.name.is_empty() && described.version.len() <= 64);
        distinct(&described.interest);
    }
    let before = described.map(|d| d.interest).unwrap_or_default();
    if let Ok(wanted) = description::interest(cross(b.interest()), Some(&before)) {
        distinct(&wanted);
        for (wanted, before) in
            [(&wanted.attributes, &before.attributes), (&wanted.entity_types, &before.entity_types)]
        {
            if let Some(before) = before {
                let wanted = wanted.as_ref().expect("not all, where some were said");
                assert!(wanted.iter().all(|name| before.contains(name)));
            }
        }
    }

    if let Ok(decided) = crate::promotion::decode(cross(b.promotion()), 10) {
        let rows: HashSet<u32> = decided.iter().map(|d| d.attribute).collect();
        assert!(rows.len() == decided.len() && rows.iter().all(|row| *row < 10));
        assert!(decided.iter().all(|d| good_text(&d.reason.text) && !d.reason.code.0.is_empty()));
    }
    refusals(&mut b);
}

/// What a plugin says in place of an answer, in each of its three calls.
fn refusals(b: &mut Bytes<'_>) {
    let (error, fault, why) = (b.error(), b.fault(), b.text());
    let Err(judged) = cross::<Result<validation::Decision, _>>(Err(error)) else {
        panic!("an error became a decision")
    };
    let Err(configured) = cross::<Result<validation::Interest, _>>(Err(fault)) else {
        panic!("a fault became an interest")
    };
    let Err(decided) = cross::<Result<promotion::Decision, _>>(Err(why)) else {
        panic!("an error became a decision over hot attributes")
    };
    let fault = plugin::settings_error(configured);
    assert!(matches!(fault, PluginError::Settings { .. }), "{fault:?}");
    for error in [plugin::told(judged), fault, plugin::failed(decided)] {
        // The batch goes by the tenant's failure policy: no plugin keeps its shard waiting.
        assert!(!error.is_retryable(), "{error:?}");
        let texts = match &error {
            PluginError::Settings { path, message } => vec![path, message],
            PluginError::Failed(why) => vec![why],
            other => panic!("a plugin's own error became {other:?}"),
        };
        assert!(texts.into_iter().all(|text| good_line(text)), "{error:?}");
    }
}

/// Frames of any bytes are read or refused, whoever sent them.
pub fn frames(bytes: &[u8]) {
    // As they come from a socket: aligned, and a multiple of eight long.
    let mut aligned = vec![0_u64; bytes.len().div_ceil(8)];
    bytemuck::cast_slice_mut(&mut aligned)[..bytes.len()].copy_from_slice(bytes);
    let frame: &[u8] = bytemuck::cast_slice(&aligned);
    let (limit, memory) = (Duration::from_secs(1), 1 << 20);
    let _ = Request::read(frame, &mut Types::default());
    let _ = Reply::<Loaded>::read(frame, limit, memory);
    let _ = Reply::<validation::Description>::read(frame, limit, memory);
    let _ = Reply::<Result<validation::Interest, validation::SettingsFault>>::read(frame, limit, memory);
    let promoted = Reply::<Result<promotion::Decision, String>>::read(frame, limit, memory);
    if let Ok(Reply { said: Ok(Ok(decision)), .. }) = promoted {
        let _ = crate::promotion::decode(decision, 10);
    }
    let reply = Reply::<Result<validation::Decision, validation::ValidateError>>::read(frame, limit, memory);
    if let Ok(Reply { said: Ok(Ok(decision)), .. }) = reply {
        judged(decision, &speed::device_batch(10));
    }
}

/// A request as the asking side writes it, a byte of it changed: `at` and `with` say which.
pub fn changed_request(rows: usize, at: usize, with: u8) {
    let batch = speed::device_batch(rows);
    let tables = Tables::of(&batch);
    let (left, limit) = (Duration::from_millis(7), Duration::from_secs(1));
    let bounds = crate::guest::Bounds { left, limit, memory_bytes: 3 << 20 };
    let mut calls = Calls::new(&batch, &Interest::default(), Buffers::default()).expect("a good batch");
    while let Some(call) = calls.next(&Decision::default()).expect("a good batch") {
        let columns = call.columns(&tables);
        let request = Request::Validate { id: 3, bounds, settings: "{}", batch: columns.clone() };
        let mut frame = request.frame();
        let mut types = Types::default();
        let Ok(Request::Validate { id: 3, settings: "{}", batch, bounds }) =
            Request::read(bytemuck::cast_slice(&frame), &mut types)
        else {
            panic!("a request was not understood");
        };
        assert_eq!((bounds.left, bounds.limit, bounds.memory_bytes), (left, limit, 3 << 20));
        assert_eq!((batch.bits, batch.entity), (columns.bits, columns.entity));
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut frame);
        let at = at % bytes.len();
        bytes[at] = with;
        let _ = Request::read(bytes, &mut Types::default());
    }
}

fn cross<T: Answer>(said: T) -> T {
    let reply = Reply { said: Ok(said), usage: Usage::default() };
    let frame = reply.frame();
    let read: Reply<T> = Reply::read(bytemuck::cast_slice(&frame), Duration::ZERO, 0).expect("a good frame");
    let again = read.frame();
    assert_eq!(frame, again, "an answer changed on its way");
    read.said.unwrap_or_else(|e: PluginError| panic!("an answer became {e}"))
}

fn distinct(interest: &Interest) {
    let lists = [interest.attributes.as_ref(), interest.entity_types.as_ref(), Some(&interest.previous)];
    for names in lists.into_iter().flatten() {
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}

fn good_text(text: &str) -> bool {
    text.len() <= limits::MAX_REASON_BYTES && !text.chars().any(char::is_control)
}

/// Fit for a log line, a quarantine row and an event.
fn good_line(text: &str) -> bool {
    text.chars().count() <= limits::MAX_REASON_BYTES && !text.chars().any(char::is_control)
}

/// What `answer::decode` lets pass fits the batch.
fn judged(raw: validation::Decision, batch: &Batch) {
    let mut calls = Calls::new(batch, &Interest::default(), Buffers::default()).expect("a good batch");
    let call = calls.next(&Decision::default()).expect("a good batch").expect("rows");
    let mut decision = Decision::default();
    if answer::decode(raw, &call, &mut decision).is_err() {
        return;
    }
    let rows = batch.rows.len() as u32;
    let named = decision.rejected.iter().map(|r| r.0).chain(decision.replaced.iter().map(|r| r.0));
    let named: Vec<u32> = named.collect();
    assert!(named.iter().all(|row| *row < rows));
    assert_eq!(named.iter().collect::<HashSet<_>>().len(), named.len(), "two verdicts on a row");
    assert!(decision.rejected.iter().all(|(_, why)| (*why as usize) < decision.reasons.len()));
    assert!(decision.reasons.iter().all(|r| good_text(&r.text) && !r.code.0.is_empty()));
    for (row, value) in &decision.replaced {
        let attribute = batch.rows[*row as usize].attribute as usize;
        assert_eq!(value.value_type(), batch.attributes[attribute].value_type);
    }
    let mut derived = HashSet::new();
    for d in &decision.derived {
        assert!(d.row < rows && derived.insert((d.row, &d.attribute)), "{d:?}");
        let known = batch.attributes.iter().find(|a| a.name == d.attribute);
        assert!(known.is_none_or(|a| a.value_type == d.value.value_type()), "{d:?}");
    }
}

/// A reader never goes beyond its frame, whatever the lengths say.
#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Reader;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn answers_are_refused_or_right(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            answers(&bytes);
        }

        #[test]
        fn answers_of_small_numbers_are_refused_or_right(bytes in prop::collection::vec(0..4_u8, 0..120)) {
            answers(&bytes);
        }

        #[test]
        fn what_a_plugin_says_in_place_of_an_answer_is_one_line(bytes in prop::collection::vec(any::<u8>(), 0..12)) {
            refusals(&mut Bytes(&bytes));
        }

        #[test]
        fn frames_are_refused_or_read(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            frames(&bytes);
        }

        #[test]
        fn frames_of_small_numbers_are_refused_or_read(words in prop::collection::vec(0..4_u64, 0..80)) {
            frames(bytemuck::cast_slice(&words));
        }

        #[test]
        fn a_changed_request_is_refused_or_read(rows in 1..30_usize, at in any::<usize>(), with in any::<u8>()) {
            changed_request(rows, at, with);
        }
    }

    #[test]
    fn lengths_beyond_measure_are_refused() {
        for length in [2, 1 << 40, u64::MAX, u64::MAX / 8] {
            let frame = [length, 7];
            let mut reader = Reader(bytemuck::cast_slice(&frame));
            assert!(reader.list::<u64>().is_err(), "{length}");
        }
        let frame = [1_u64 << 60];
        assert!(Reader(bytemuck::cast_slice(&frame)).count().is_err());
    }
}
