//! The delivery protocol under crashes, explored at random.
//!
//! A small model of everything around the decisions of `eaves_model::delivery`: a stream
//! that delivers at least once, two workers (a delivery and a recovery) whose steps
//! interleave, staging that a crash empties, a log whose unsynced end a crash takes away,
//! and a flush. The workers ask the same functions that the real code asks.

#![allow(clippy::expect_used, clippy::panic, reason = "a test binary")]

use eaves_model::Position;
use eaves_model::delivery::{Checkpoint, Next, Refusal, gap, is_duplicate, watermark};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// Records are numbered from 1.
fn at(record: u32) -> Position {
    Position::whole(&record.to_string()).expect("a number")
}

fn number(position: Option<&Position>) -> u32 {
    position.map_or(0, |p| p.sequence().parse().expect("a number of this test"))
}

/// What a transaction wrote to tables that are logged. A crash cuts the log.
#[derive(Clone, Debug)]
enum Logged {
    Checkpoint(Row),
    /// Rows in history are points, and the same point twice is one; counts in the ledger
    /// would add up.
    Flush {
        rows: Vec<u32>,
        counted: Vec<u32>,
        watermark: Option<Position>,
    },
    /// Committed with the disk: everything before it stays.
    Synced,
}

/// A row of `ingest_checkpoints`.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    begin: Option<Position>,
    position: Option<Position>,
    replay_to: Option<Position>,
    lost_to: Option<Position>,
    epoch: u32,
}

struct Batch {
    previous: Option<Position>,
    position: Position,
    records: Vec<u32>,
}

#[derive(Default)]
struct Database {
    log: Vec<Logged>,
    /// UNLOGGED.
    staged: Vec<Batch>,
    epoch: u32,
}

impl Database {
    fn row(&self) -> Option<Row> {
        self.log.iter().rev().find_map(|l| match l {
            Logged::Checkpoint(row) => Some(row.clone()),
            _ => None,
        })
    }

    fn flushed(&self) -> Option<Position> {
        let flushed = |l: &Logged| match l {
            Logged::Flush { watermark, .. } => watermark.clone(),
            _ => None,
        };
        self.log.iter().filter_map(flushed).max()
    }

    fn checkpoint(&mut self) -> Checkpoint {
        if self.row().is_none() {
            let row = Row { begin: None, position: None, replay_to: None, lost_to: None, epoch: self.epoch };
            self.write(row, true);
        }
        let row = self.row().expect("written above");
        Checkpoint {
            begin: row.begin,
            position: row.position,
            flushed: self.flushed(),
            epoch_current: row.epoch == self.epoch,
            replay_to: row.replay_to,
            lost_to: row.lost_to,
        }
    }

    fn write(&mut self, row: Row, synced: bool) {
        self.log.push(Logged::Checkpoint(row));
        if synced {
            self.log.push(Logged::Synced);
        }
    }

    fn store(&mut self, checkpoint: Checkpoint, synced: bool) {
        let Checkpoint { begin, position, replay_to, lost_to, .. } = checkpoint;
        self.write(Row { begin, position, replay_to, lost_to, epoch: self.epoch }, synced);
    }

    fn commit(&mut self, expected: Option<&Position>, records: &[u32]) -> Result<Position, Refusal> {
        let checkpoint = self.checkpoint();
        checkpoint.admits(expected)?;
        let position = at(*records.last().expect("a batch has records"));
        self.staged.push(Batch {
            previous: expected.cloned(),
            position: position.clone(),
            records: records.to_vec(),
        });
        self.store(checkpoint.advanced(&position), false);
        Ok(position)
    }

    /// Moves the batches whose bit is set: a late writer may have put one into a leaf of
    /// staging that is not this flush's, behind a later one or before it.
    fn flush(&mut self, leaf: u8) {
        if self.row().is_none() {
            return;
        }
        let checkpoint = self.checkpoint();
        let (mut rows, mut counted, mut index) = (Vec::new(), Vec::new(), 0);
        let mut staged = std::mem::take(&mut self.staged);
        let stays = |index: usize| leaf & (1 << (index % 8)) == 0;
        // Counts wait for those of the shard's batches before them.
        let lowest = (0..staged.len()).find(|i| stays(*i));
        staged.retain(|batch| {
            index += 1;
            if stays(index - 1) {
                return true;
            }
            rows.extend(&batch.records);
            let waits = lowest.is_some_and(|lowest| lowest < index - 1);
            if !waits {
                counted.extend(&batch.records);
            }
            waits
        });
        self.staged = staged;
        // A checkpoint of an earlier epoch says nothing.
        let to = if checkpoint.epoch_current {
            watermark(
                checkpoint.position.as_ref(),
                self.staged.iter().map(|b| (b.previous.as_ref(), &b.position)),
            )
            .cloned()
        } else {
            None
        };
        self.log.push(Logged::Flush { rows, counted, watermark: to.max(self.flushed()) });
    }

    /// Staging is emptied, and the log loses what was not synced, as much as it happens.
    fn crash(&mut self, cut: usize) {
        self.staged.clear();
        self.epoch += 1;
        let synced = self.log.iter().rposition(|l| matches!(l, Logged::Synced)).map_or(0, |i| i + 1);
        let keep = synced.max(self.log.len().saturating_sub(cut));
        self.log.truncate(keep);
    }

    /// How often each record is counted.
    fn ledger(&self) -> BTreeMap<u32, usize> {
        let mut times = BTreeMap::new();
        for logged in &self.log {
            if let Logged::Flush { counted, .. } = logged {
                for record in counted {
                    *times.entry(*record).or_default() += 1;
                }
            }
        }
        times
    }

    fn history(&self) -> BTreeSet<u32> {
        let rows = |l: &Logged| match l {
            Logged::Flush { rows, .. } => rows.clone(),
            _ => Vec::new(),
        };
        self.log.iter().flat_map(rows).collect()
    }
}

/// Who works on the shard, one step at a time.
#[derive(Clone, Debug)]
enum Step {
    /// Look at the checkpoint and do what it says.
    Look,
    /// Write these on top of that.
    Write { expected: Option<Position>, records: Vec<u32>, replay: bool },
}

struct World {
    db: Database,
    /// Records 1..=written are in the stream, those up to `trimmed` no longer.
    written: u32,
    trimmed: u32,
    /// The mapping's own checkpoint: what was answered with success.
    acknowledged: u32,
    delivery: Option<(Vec<u32>, Step)>,
    recovery: Option<Step>,
    /// Missing ranges that were told: exclusive on both sides.
    told: Vec<(u32, u32)>,
}

impl World {
    fn new() -> Self {
        Self {
            db: Database::default(),
            written: 0,
            trimmed: 0,
            acknowledged: 0,
            delivery: None,
            recovery: None,
            told: Vec::new(),
        }
    }

    fn read(&self, after: Option<&Position>, limit: usize) -> (bool, Vec<u32>) {
        let from = number(after);
        let kept = after.is_none() || from > self.trimmed;
        (kept, (from.max(self.trimmed) + 1..=self.written).take(limit).collect())
    }

    /// One look at the checkpoint, as `Ingest::ready` takes it. `None`: all is ready.
    fn look(&mut self, first: Option<u32>) -> Result<Step, Option<Position>> {
        let until = match first {
            Some(first) => at(first).before(),
            None => Some(Position::end()),
        };
        let checkpoint = self.db.checkpoint();
        match checkpoint.next() {
            Next::Begin => {
                let oldest = self.read(None, 1).1.first().copied();
                if let Some(begin) = oldest.into_iter().chain(first).min() {
                    let until = until.unwrap_or_else(|| at(begin));
                    self.db.store(checkpoint.begun(&at(begin), &until), true);
                }
                Ok(Step::Look)
            }
            Next::Rewind => {
                self.db.store(checkpoint.rewound(until.as_ref()), true);
                Ok(Step::Look)
            }
            Next::Replay { after, until } => {
                let acknowledged = first.and_then(|first| at(first).before());
                let until = checkpoint.replay_bound(acknowledged.as_ref()).unwrap_or_else(|| until.clone());
                let (kept, mut records) = self.read(after, 3);
                let found = records.first().map(|r| at(*r));
                if let Some(gap) = gap(checkpoint.begin.as_ref(), after, kept, found.as_ref()) {
                    let before = gap.before.as_ref().map_or(self.written + 1, |p| number(Some(p)));
                    self.told.push((number(gap.after.as_ref()), before));
                }
                records.retain(|r| at(*r) <= until);
                if records.is_empty() {
                    self.db.store(checkpoint.replayed(), false);
                    return Ok(Step::Look);
                }
                Ok(Step::Write { expected: after.cloned(), records, replay: true })
            }
            Next::Take(position) => Err(position.cloned()),
        }
    }

    fn deliver(&mut self, batch: usize, again: bool) {
        if let Some((records, step)) = self.delivery.take() {
            self.delivery = self.step_delivery(records, step);
            return;
        }
        // A delivery may come again although it was answered.
        let from = if again { self.acknowledged.saturating_sub(2) } else { self.acknowledged };
        let records: Vec<u32> = (from.max(self.trimmed) + 1..=self.written).take(batch).collect();
        if !records.is_empty() {
            if records[0] > from + 1 {
                // The mapping itself found records gone that it had never delivered.
                self.told.push((from, records[0]));
            }
            self.delivery = Some((records, Step::Look));
        }
    }

    fn step_delivery(&mut self, records: Vec<u32>, step: Step) -> Option<(Vec<u32>, Step)> {
        let next = match step {
            Step::Look => match self.look(Some(records[0])) {
                Ok(step) => step,
                Err(expected) => {
                    let fresh: Vec<u32> = records
                        .iter()
                        .copied()
                        .filter(|r| !is_duplicate(expected.as_ref(), &at(*r)))
                        .collect();
                    if fresh.is_empty() {
                        self.acknowledged = self.acknowledged.max(*records.last()?);
                        return None;
                    }
                    Step::Write { expected, records: fresh, replay: false }
                }
            },
            Step::Write { expected, records: fresh, replay } => {
                if self.db.commit(expected.as_ref(), &fresh).is_ok() && !replay {
                    self.acknowledged = self.acknowledged.max(*records.last()?);
                    return None;
                }
                Step::Look
            }
        };
        Some((records, next))
    }

    fn recover(&mut self) {
        let step = match self.recovery.take() {
            Some(step) => step,
            None => {
                let due = self.db.row().is_some_and(|r| r.epoch != self.db.epoch || r.replay_to.is_some());
                if !due {
                    return;
                }
                Step::Look
            }
        };
        self.recovery = match step {
            Step::Look => self.look(None).ok(),
            Step::Write { expected, records, .. } => {
                // Whether it went through or not: look anew.
                let _ = self.db.commit(expected.as_ref(), &records);
                Some(Step::Look)
            }
        };
    }

    fn crash(&mut self, cut: usize) {
        self.db.crash(cut);
        // Connections broke; the mapping delivers again what was not answered.
        self.delivery = None;
        self.recovery = None;
    }

    fn act(&mut self, action: &Action) {
        match action {
            Action::Put(n) => self.written += n,
            Action::Deliver(batch) => self.deliver(*batch, false),
            Action::DeliverAgain => self.deliver(2, true),
            Action::Recover => self.recover(),
            Action::Flush(leaf) => self.db.flush(*leaf),
            Action::Crash(cut) => self.crash(*cut),
            Action::Sync => self.db.log.push(Logged::Synced),
            Action::Trim(n) => self.trimmed = (self.trimmed + n).min(self.written),
        }
    }

    /// Everybody goes on undisturbed until nothing is left to do.
    fn settle(&mut self) {
        for _ in 0..2_000 {
            self.deliver(5, false);
            self.recover();
            self.db.flush(u8::MAX);
            let idle = self.delivery.is_none() && self.recovery.is_none();
            let due = self.db.row().is_some_and(|r| r.epoch != self.db.epoch || r.replay_to.is_some());
            if idle && !due && self.acknowledged.max(self.trimmed) >= self.written {
                self.db.flush(u8::MAX);
                if self.acknowledged < self.trimmed {
                    // Forgotten before it was ever delivered: the mapping's to tell.
                    self.told.push((self.acknowledged, self.trimmed + 1));
                }
                return;
            }
        }
        panic!("the shard never came to rest");
    }
}

#[derive(Clone, Debug)]
enum Action {
    Put(u32),
    Deliver(usize),
    DeliverAgain,
    Recover,
    Flush(u8),
    /// Also cuts so many unsynced entries off the log.
    Crash(usize),
    /// A commit elsewhere (a heartbeat) waits for the disk.
    Sync,
    Trim(u32),
}

fn action(trims: bool) -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (1u32..6).prop_map(Action::Put),
        10 => (1usize..5).prop_map(Action::Deliver),
        1 => Just(Action::DeliverAgain),
        6 => Just(Action::Recover),
        4 => any::<u8>().prop_map(Action::Flush),
        2 => (0usize..12).prop_map(Action::Crash),
        1 => Just(Action::Sync),
        u32::from(trims) => (1u32..4).prop_map(Action::Trim),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// I1, I2: whatever is interleaved and whatever a crash takes, each record is in
    /// history exactly once in the end.
    #[test]
    fn nothing_is_lost_and_nothing_comes_twice(actions in prop::collection::vec(action(false), 1..120)) {
        let mut world = World::new();
        for action in &actions {
            world.act(action);
        }
        world.settle();
        let expected: BTreeMap<u32, usize> = (1..=world.written).map(|r| (r, 1)).collect();
        prop_assert_eq!(world.db.history(), expected.keys().copied().collect());
        prop_assert_eq!(world.db.ledger(), expected);
        prop_assert!(world.told.is_empty(), "a loss was told where nothing was lost: {:?}", world.told);
    }

    /// A stream that forgets too early loses records; each of them is in a range that was
    /// told, and none comes twice.
    #[test]
    fn what_the_stream_forgot_is_never_silent(actions in prop::collection::vec(action(true), 1..120)) {
        let mut world = World::new();
        for action in &actions {
            world.act(action);
        }
        world.settle();
        let ledger = world.db.ledger();
        // (The rows of one may be there although its counts, which waited, were lost.)
        prop_assert!(world.db.history().is_superset(&ledger.keys().copied().collect()));
        for record in 1..=world.written {
            match ledger.get(&record) {
                Some(times) => prop_assert_eq!(*times, 1, "record {} came {} times", record, times),
                None => prop_assert!(
                    world.told.iter().any(|(after, before)| *after < record && record < *before),
                    "record {} was lost in silence; told: {:?}", record, world.told
                ),
            }
        }
    }

    /// I7: a watermark that is on disk never moves back.
    #[test]
    fn the_watermark_moves_forward_between_crashes(actions in prop::collection::vec(action(false), 1..120)) {
        let mut world = World::new();
        for action in &actions {
            let before = number(world.db.flushed().as_ref());
            world.act(action);
            let after = number(world.db.flushed().as_ref());
            prop_assert!(after >= before || matches!(action, Action::Crash(_)));
            // What is in history below it is whole.
            let history = world.db.history();
            for record in 1..=after {
                prop_assert!(history.contains(&record), "{} is missing below the watermark {}", record, after);
            }
        }
    }
}
