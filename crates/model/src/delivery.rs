//! What is done with a delivery: the decisions of checkpoint, epoch, flush and replay.
//!
//! A shard is read in order. What was read is staged, in a table that a crash empties, and
//! later flushed to history; how far both have come is written in the same transactions.
//! The functions here say what follows from that, without I/O: `eaves-pipeline` acts on
//! them, `tests/delivery.rs` explores them under crashes, and the SQL functions
//! `ingest_rewind`, `ingest_finish` and `flush_leaf`, which have to decide under the
//! database's locks, follow them.

use crate::position::Position;

/// How far a shard is, for one consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The first record that the stream kept when the shard was first seen; `None` before.
    pub begin: Option<Position>,
    /// Everything up to here has been taken; `None` before the first batch.
    pub position: Option<Position>,
    /// Everything up to here is in history.
    pub flushed: Option<Position>,
    /// Staging still holds what lies between the two.
    pub epoch_current: bool,
    /// After staging was lost: what is up to here is to be read from the stream again
    /// before anything newer.
    pub replay_to: Option<Position>,
    /// After staging was lost: up to here records are known to have been in it. What was
    /// acknowledged after that may have been, too.
    pub lost_to: Option<Position>,
}

/// What to do with a shard before its next batch is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next<'a> {
    /// Nothing is known of the shard: find the first record that the stream keeps.
    Begin,
    /// Staging was lost: set the shard back to what is in history.
    Rewind,
    /// Read again what follows `after` (`None`: from the oldest record) up to `until`.
    Replay {
        /// The last record that need not be read.
        after: Option<&'a Position>,
        /// The last record that must be.
        until: &'a Position,
    },
    /// Take what is newer than this.
    Take(Option<&'a Position>),
}

/// Why a batch may not be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Staging was emptied since the checkpoint moved.
    StagingLost,
    /// The checkpoint is not where the batch was made on.
    Moved,
}

impl Checkpoint {
    /// A shard that was never seen.
    pub const UNSEEN: Self = Self {
        begin: None,
        position: None,
        flushed: None,
        epoch_current: true,
        replay_to: None,
        lost_to: None,
    };

    /// What to do next.
    pub fn next(&self) -> Next<'_> {
        if !self.epoch_current {
            Next::Rewind
        } else if let Some(until) = &self.replay_to {
            Next::Replay { after: self.position.as_ref(), until }
        } else if self.begin.is_none() && self.position.is_none() {
            Next::Begin
        } else {
            Next::Take(self.position.as_ref())
        }
    }

    /// Whether a batch that was made on `expected` may be taken. Asked under the
    /// checkpoint's lock, in the transaction that takes it.
    pub fn admits(&self, expected: Option<&Position>) -> Result<(), Refusal> {
        if !self.epoch_current {
            Err(Refusal::StagingLost)
        } else if self.position.as_ref() != expected {
            Err(Refusal::Moved)
        } else {
            Ok(())
        }
    }

    /// The checkpoint of a shard whose first kept record is `begin`, when everything up to
    /// `until` had been acknowledged already: on a promoted replica the checkpoint itself
    /// may be missing.
    #[must_use]
    pub fn begun(&self, begin: &Position, until: &Position) -> Self {
        if self.begin.is_some() || self.position.is_some() {
            return self.clone();
        }
        let replay_to = (begin <= until).then(|| until.clone());
        Self { begin: Some(begin.clone()), replay_to, ..self.clone() }
    }

    /// The checkpoint after staging was lost and the shard was set back. Commits are
    /// asynchronous, so the crash may have taken the last ones off the checkpoint as well:
    /// `until` is the last record that is known to have been acknowledged.
    ///
    /// Unchanged where the epoch is current, so that two callers cannot set it back twice.
    #[must_use]
    pub fn rewound(&self, until: Option<&Position>) -> Self {
        if self.epoch_current {
            return self.clone();
        }
        let staged =
            |p: Option<&Position>| p.filter(|p| self.flushed.as_ref().is_none_or(|f| *p > f)).cloned();
        let lost_to = staged(self.position.as_ref()).max(staged(self.lost_to.as_ref()));
        // A replay that was itself interrupted by a crash still goes as far as the first.
        let replay_to = lost_to.clone().max(staged(self.replay_to.as_ref())).max(staged(until));
        let position = self.flushed.clone();
        Self { position, epoch_current: true, replay_to, lost_to, ..self.clone() }
    }

    /// The checkpoint after a batch up to `to` was taken.
    #[must_use]
    pub fn advanced(&self, to: &Position) -> Self {
        let open = |p: &Option<Position>| p.clone().filter(|p| p > to);
        Self {
            position: Some(to.clone()),
            replay_to: open(&self.replay_to),
            lost_to: if open(&self.replay_to).is_some() { self.lost_to.clone() } else { None },
            ..self.clone()
        }
    }

    /// How far a replay has to go that is due, for whoever has the next batch at hand:
    /// `acknowledged` is the last record before it. One that was begun without that
    /// knowledge goes to the shard's end, and behind a fleet that keeps writing it might
    /// never get there; but what follows `acknowledged` will be delivered.
    pub fn replay_bound(&self, acknowledged: Option<&Position>) -> Option<Position> {
        let until = self.replay_to.clone()?;
        match acknowledged {
            Some(acknowledged) if until == Position::end() => {
                self.lost_to.clone().max(Some(acknowledged.clone()))
            }
            _ => Some(until),
        }
    }

    /// The checkpoint when the stream has nothing more of what was to be read again.
    #[must_use]
    pub fn replayed(&self) -> Self {
        Self { replay_to: None, lost_to: None, ..self.clone() }
    }
}

/// Whether what stands at `at` has been taken already.
pub fn is_duplicate(done: Option<&Position>, at: &Position) -> bool {
    done.is_some_and(|done| at <= done)
}

/// The position up to which nothing of a shard is staged any more, given the batches that
/// are, each with the position before it and its own. `None`: nothing is in history yet.
pub fn watermark<'a>(
    position: Option<&'a Position>,
    staged: impl IntoIterator<Item = (Option<&'a Position>, &'a Position)>,
) -> Option<&'a Position> {
    // Before the lowest: a late writer may have put one behind a later one.
    let lowest = staged.into_iter().min_by_key(|(_, position)| *position);
    lowest.map_or(position, |(previous, _)| previous)
}

/// Records that the stream no longer keeps although they were to be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gap {
    /// The last one before them; `None` if they were the shard's first.
    pub after: Option<Position>,
    /// The first one after them; `None` if the stream keeps nothing newer.
    pub before: Option<Position>,
}

/// What is missing between `after` and the oldest record found behind it, when the stream
/// was read from `after` on. `kept` says whether the record at `after` itself is still
/// there: where it is, nothing behind it can be gone, because a stream forgets the oldest
/// first. `begin` is the shard's first record, for `after` = `None`.
pub fn gap(
    begin: Option<&Position>,
    after: Option<&Position>,
    kept: bool,
    found: Option<&Position>,
) -> Option<Gap> {
    let complete = match after {
        Some(_) => kept,
        None => begin.is_none_or(|begin| found.is_some_and(|found| found.sequence() == begin.sequence())),
    };
    (!complete).then(|| Gap { after: after.cloned(), before: found.cloned() })
}
