//! One file at a time: look into the slot, plan, write, move the watermark, let the log go.
//!
//! It may be killed between any two of these. Before the plan nothing has happened. After it the next
//! one makes the same file again, under the same name, from the same part of the log. After the
//! watermark has moved the slot is behind: it is advanced first, and what it shows again is passed over.

use crate::archive::{Archive, ArchiveError};
use crate::file::{Builder, Encoded, FileError};
use crate::name;
use crate::standing::{Epoch, Slot, Standing, judge};
use crate::stream::{Decoder, StreamError};
use eaves_model::Timestamp;
use eaves_model::history::{Change, Operation};
use eaves_store::StoreError;
use eaves_store::olap::{OlapEpoch, OlapFile, OlapState, OlapStore};
use serde::Serialize;

/// Messages of the slot for one file; the transaction at hand is always taken whole.
const MESSAGES: u32 = 100_000;
/// Rows of history for one file of the copy.
const COPIED: u32 = 50_000;
/// A commit that others see is on disk after three `wal_writer_delay`; on RDS that is 0.6 s.
const ON_DISK_US: i64 = 1_000_000;

/// Why a file was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The database.
    #[error("the database failed the load")]
    Store(#[from] StoreError),
    /// The bucket.
    #[error("the bucket failed the load")]
    Archive(#[from] ArchiveError),
    /// The slot's messages.
    #[error("the slot cannot be followed")]
    Stream(#[from] StreamError),
    /// A file.
    #[error("a file cannot be made")]
    File(#[from] FileError),
}

impl LoadError {
    /// Whether the same may succeed later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Store(e) => e.is_retryable(),
            Self::Archive(ArchiveError::File { .. }) => true,
            Self::Archive(ArchiveError::Setup { .. }) | Self::Stream(_) | Self::File(_) => false,
        }
    }
}

/// What is left after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Something, or nobody knows.
    More,
    /// Nothing that was there when the turn began.
    CaughtUp,
    /// Another loader has moved the watermark.
    Busy,
}

/// Loads.
pub struct Loader {
    /// The slot and the watermark.
    pub store: OlapStore,
    /// Where the files go.
    pub archive: Archive,
}

/// What was done.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Changes that were written.
    pub changes: u64,
    /// Rows of history that were copied.
    pub copied: u64,
    /// Files that were written.
    pub files: u64,
    /// Slots that were found lost.
    pub resyncs: u64,
    /// Times another loader had been there before.
    pub busy: u64,
    /// Failures that passed.
    pub failures: u64,
    /// The files are as far as the log was.
    pub caught_up: bool,
}

impl Loader {
    /// The next file with changes, and while history is being copied the next of those.
    pub async fn turn(&self, summary: &mut Summary) -> Result<Turn, LoadError> {
        let state = self.store.state().await?;
        let known =
            state.epoch.as_ref().map(|e| Epoch { timeline: e.timeline.clone(), loaded_to: e.loaded_to });
        let slot = state.slot.as_ref();
        let slot = slot.map(|s| Slot { confirmed_to: s.confirmed_to, wal_status: s.wal_status.clone() });
        let epoch = match (judge(known.as_ref(), slot.as_ref(), &state.timeline), &state.epoch) {
            (Standing::Good, Some(epoch)) => epoch,
            (Standing::Lost(reason), _) => {
                tracing::warn!(olap.reason = reason, "the replication slot is lost; history is copied anew");
                let begun = self.begin(&state, &reason).await?;
                summary.resyncs += 1;
                return Ok(begun);
            }
            (Standing::New | Standing::Good, _) => return self.begin(&state, "").await,
        };
        if slot.is_some_and(|slot| slot.confirmed_to < epoch.loaded_to) {
            self.store.advance(&epoch.epoch).await?;
        }
        let followed = self.follow(&state, epoch, summary).await?;
        if followed == Turn::Busy {
            return Ok(Turn::Busy);
        }
        if epoch.copied_at.is_none() {
            return self.copy(epoch, summary).await;
        }
        // The copy has ended, and the changes up to there have only just been loaded, or are due.
        if epoch.complete { Ok(followed) } else { Ok(Turn::More) }
    }

    async fn begin(&self, state: &OlapState, reason: &str) -> Result<Turn, LoadError> {
        let epoch = name::epoch(state.now_us.unsigned_abs(), rand::random());
        self.store.begin(&epoch, &state.timeline, reason).await?;
        Ok(Turn::More)
    }

    async fn follow(
        &self,
        state: &OlapState,
        epoch: &OlapEpoch,
        summary: &mut Summary,
    ) -> Result<Turn, LoadError> {
        let from = epoch.loaded_to;
        let upto = epoch.planned_to.unwrap_or(state.flushed_to);
        if upto <= from {
            return Ok(Turn::CaughtUp);
        }
        let most = epoch.planned_to.is_none().then_some(MESSAGES);
        let mut decoder = Decoder::new(from, epoch.planned_to, state.next_xid);
        let mut builder = Builder::default();
        let (mut messages, mut failed) = (0_u32, None);
        let take = |message: &[u8]| {
            messages = messages.saturating_add(1);
            let taken = decoder.read(message).map_err(LoadError::from);
            let taken = taken.and_then(|change| match change {
                Some(change) => builder.push(change).map_err(LoadError::from),
                None => Ok(()),
            });
            failed = taken.err();
            failed.is_none()
        };
        self.store.peek(&epoch.epoch, upto, most, take).await?;
        if let Some(e) = failed {
            return Err(e);
        }
        if decoder.is_within_transaction() {
            return Err(StreamError::Order("a transaction without an end").into());
        }
        let stopped_early = most.is_some_and(|most| messages >= most);
        let to = match (epoch.planned_to, decoder.end_at()) {
            (Some(planned), _) => planned,
            (None, Some(end)) if stopped_early => end,
            // All it showed had been loaded; it stands further on by the next turn.
            (None, None) if stopped_early => return Ok(Turn::More),
            (None, end) => upto.max(end.unwrap_or(0)),
        };
        let complete_to = match epoch.planned_to.is_some() || stopped_early {
            true => decoder.committed_us(),
            false => Some(state.now_us - ON_DISK_US),
        };
        let complete_to = complete_to.and_then(Timestamp::from_micros);
        let encoded = builder.finish()?;
        let moved = match &encoded {
            None => self.store.loaded(&epoch.epoch, from, to, complete_to, None).await?,
            Some(encoded) => {
                let name = name::changes(&epoch.epoch, from, to);
                if !self.store.plan(&epoch.epoch, from, to).await? {
                    return Ok(Turn::Busy);
                }
                let file = self.write(&name, encoded).await?;
                self.store.loaded(&epoch.epoch, from, to, complete_to, Some(file)).await?
            }
        };
        if !moved {
            return Ok(Turn::Busy);
        }
        if let Some(encoded) = &encoded {
            summary.changes += encoded.rows;
            summary.files += 1;
        }
        self.store.advance(&epoch.epoch).await?;
        let reached = epoch.planned_to.is_none() && !stopped_early;
        Ok(if reached { Turn::CaughtUp } else { Turn::More })
    }

    async fn copy(&self, epoch: &OlapEpoch, summary: &mut Summary) -> Result<Turn, LoadError> {
        let rows = self.store.copy(&epoch.epoch, COPIED).await?;
        let Some(last) = rows.last().cloned() else {
            let noted = self.store.copied(&epoch.epoch, epoch.copied_rows, None).await?;
            return Ok(if noted { Turn::More } else { Turn::Busy });
        };
        let mut builder = Builder::default();
        for row in rows {
            builder.push(Change { operation: Operation::Copy, lsn: epoch.start_at, seq: 0, xid: 0, row })?;
        }
        let Some(encoded) = builder.finish()? else { return Ok(Turn::More) };
        let name = name::copy(&epoch.epoch, epoch.copied_rows, rand::random());
        let file = self.write(&name, &encoded).await?;
        if !self.store.copied(&epoch.epoch, epoch.copied_rows, Some((&last, file))).await? {
            return Ok(Turn::Busy);
        }
        summary.copied += encoded.rows;
        summary.files += 1;
        Ok(Turn::More)
    }

    async fn write<'a>(&self, name: &'a str, encoded: &Encoded) -> Result<OlapFile<'a>, LoadError> {
        self.archive.put(name, encoded.bytes.clone()).await?;
        Ok(OlapFile { name, rows: encoded.rows, bytes: encoded.bytes.len() as u64 })
    }
}
