//! Bringing a shard up to where its next batch begins: what a crash took out of staging is
//! read from the stream again first.

use crate::ingest::{CONSUMER, Ingest, IngestError, Interrupted};
use crate::report::Report;
use crate::source::Reread;
use eaves_model::Position;
use eaves_model::delivery::{Checkpoint, Gap, Next, gap};
use eaves_store::ingest::{Loss, LossKind, ShardPlace};
use std::time::{Duration, Instant};

/// Most records read again at a time.
const REREAD_RECORDS: usize = 1000;

/// Kinesis keeps records for 24 hours at least; for less than this it is not even asked.
const SHORTEST_OUTAGE: Duration = Duration::from_secs(60);

/// What the caller knows of the shard besides its checkpoint.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ahead<'a> {
    /// The first record of the batch at hand: all before it was acknowledged, whatever a
    /// crash has left of the checkpoint.
    Batch(&'a Position),
    /// Nothing is delivered: the shard is read to its end.
    Idle,
}

impl Ahead<'_> {
    /// The last record that is to be read again if staging was lost.
    fn until(self, place: &ShardPlace) -> Option<Position> {
        match self {
            Self::Batch(first) => first.before(),
            // What an operator asked for ends where they said.
            Self::Idle => (place.consumer == CONSUMER).then(Position::end),
        }
    }
}

impl<R: Reread> Ingest<R> {
    /// Reads again what is due of shards that nobody has moved for `idle`: their staging
    /// was lost and nothing is delivered to them, or an operator asked for it. Safe beside
    /// a delivery to the same shard: of two who write on the same checkpoint one wins, and
    /// the other begins anew.
    ///
    /// Answers with what was done and, if a shard could not be read, with the first reason:
    /// one that fails does not hold up the others.
    pub async fn recover(&mut self, idle: Duration, time: Duration) -> (Report, Option<IngestError>) {
        let end = Instant::now() + time;
        let mut report = Report::default();
        let mut failed = None;
        let stale = match self.store.stale_shards(idle).await {
            Ok(stale) => stale,
            Err(e) => return (report, Some(e.into())),
        };
        for place in stale {
            match self.ready(&place, Ahead::Idle, &mut report, end).await {
                Ok(_) => {}
                Err(IngestError::OutOfTime { .. }) => break,
                Err(e) => failed = failed.or(Some(e)),
            }
            // Deliveries to the shard are somebody else's.
            self.checkpoints.remove(&place);
        }
        self.tell(&report).await;
        (report, failed)
    }

    /// The shard's checkpoint, after any replay that is due.
    pub(crate) async fn ready(
        &mut self,
        place: &ShardPlace,
        ahead: Ahead<'_>,
        report: &mut Report,
        end: Instant,
    ) -> Result<Option<Position>, IngestError> {
        if let Some(position) = self.checkpoints.get(place) {
            return Ok(position.clone());
        }
        let mut continuous = matches!(ahead, Ahead::Idle);
        loop {
            if Instant::now() >= end {
                return Err(IngestError::OutOfTime { shard: place.shard.clone() });
            }
            let checkpoint = self.store.checkpoint(place).await?;
            match checkpoint.next() {
                Next::Begin => {
                    if !self.begin(place, ahead).await? {
                        return Ok(None);
                    }
                }
                Next::Rewind => {
                    tracing::warn!(shard.id = place.shard, "staging was emptied; replaying");
                    report.staging_lost = true;
                    // Identifiers registered just before a failover may be gone with it.
                    self.directory.forget();
                    self.store.rewind(place, ahead.until(place).as_ref()).await?;
                    // The replay looks for a gap itself.
                    continuous = true;
                }
                Next::Replay { until, .. } => {
                    continuous = true;
                    let acknowledged = match ahead {
                        Ahead::Batch(first) => first.before(),
                        Ahead::Idle => None,
                    };
                    let until =
                        checkpoint.replay_bound(acknowledged.as_ref()).unwrap_or_else(|| until.clone());
                    let undisturbed = self.replay(place, &checkpoint, &until, report, end).await?;
                    if !undisturbed && matches!(ahead, Ahead::Idle) {
                        // Somebody has a batch of the shard at hand, and knows more.
                        return Ok(checkpoint.position.clone());
                    }
                }
                Next::Take(position) => {
                    if let (false, Some(position)) = (continuous, position) {
                        // This instance is new to the shard, or comes back to it.
                        let found = self.stream.read(&place.stream, &place.shard, Some(position), 1).await?;
                        let first =
                            found.records.first().map(|r| Position::whole(&r.sequence)).transpose()?;
                        let missing = gap(None, Some(position), found.kept, first.as_ref());
                        self.note(place, &checkpoint, missing).await?;
                    }
                    let position = position.cloned();
                    self.checkpoints.insert(place.clone(), position.clone());
                    return Ok(position);
                }
            }
        }
    }

    /// A shard that was not seen before, or of which a promoted replica knows nothing. False:
    /// there is nothing in it to begin with.
    async fn begin(&mut self, place: &ShardPlace, ahead: Ahead<'_>) -> Result<bool, IngestError> {
        let found = self.stream.read(&place.stream, &place.shard, None, 1).await?;
        let oldest = found.records.first().map(|r| Position::whole(&r.sequence)).transpose()?;
        let (begin, until) = match (oldest, ahead) {
            // The stream may not have it any more, or not yet (a test's event).
            (None, Ahead::Batch(first)) => (first.clone(), first.before()),
            (Some(oldest), Ahead::Batch(first)) => (oldest.min(first.clone()), first.before()),
            (Some(oldest), Ahead::Idle) => (oldest, Some(Position::end())),
            (None, Ahead::Idle) => return Ok(false),
        };
        // Before number 0 there is nothing to be read.
        let until = until.unwrap_or_else(|| begin.clone());
        self.store.begun(place, &begin, &until).await?;
        Ok(true)
    }

    /// Reads a part again and takes it. False: somebody else is at it.
    async fn replay(
        &mut self,
        place: &ShardPlace,
        checkpoint: &Checkpoint,
        until: &Position,
        report: &mut Report,
        end: Instant,
    ) -> Result<bool, IngestError> {
        let after = checkpoint.position.as_ref();
        let found = self.stream.read(&place.stream, &place.shard, after, REREAD_RECORDS).await?;
        let mut records = found.records;
        let first = records.first().map(|r| Position::whole(&r.sequence)).transpose()?;
        let missing = gap(checkpoint.begin.as_ref(), after, found.kept, first.as_ref());
        self.note(place, checkpoint, missing).await?;
        records.retain(|r| Position::whole(&r.sequence).is_ok_and(|at| at <= *until));
        if records.is_empty() {
            self.store.end_replay(place, after).await?;
            return Ok(true);
        }
        let mut part = Report::default();
        // Boxed: a future of futures of futures takes the compiler too deep.
        let took = Box::pin(self.take_all(place, &records, after.cloned(), &mut part, end)).await;
        report.replayed += part.records;
        report.add(&Report { records: 0, ..part });
        match took {
            Ok(_) => {
                tracing::info!(shard.id = place.shard, replay.records = records.len(), "replayed a part");
                Ok(true)
            }
            Err(Interrupted::Moved) => Ok(false),
            // Lost again: look anew.
            Err(Interrupted::StagingLost) => Ok(true),
            Err(Interrupted::Failed(e)) => Err(e),
        }
    }

    /// Tells of records that the stream no longer keeps, if any can have been lost: a
    /// shard to which nobody has written for longer than the retention has lost nothing.
    async fn note(
        &mut self,
        place: &ShardPlace,
        checkpoint: &Checkpoint,
        missing: Option<Gap>,
    ) -> Result<(), IngestError> {
        let Some(gap) = missing.filter(|_| place.consumer == CONSUMER) else { return Ok(()) };
        let staged =
            checkpoint.lost_to.as_ref().is_some_and(|lost| Some(lost) > checkpoint.position.as_ref());
        let loss = if staged {
            let reason = "a crash emptied staging, and the stream no longer keeps what was in it";
            Loss { gap: &gap, kind: LossKind::Certain, reason }
        } else {
            let away = self.store.longest_outage(place).await?;
            if away < SHORTEST_OUTAGE || away < self.stream.retention(&place.stream).await? {
                return Ok(());
            }
            let reason = "the platform was away for longer than the stream keeps records";
            Loss { gap: &gap, kind: LossKind::Possible, reason }
        };
        if self.store.note_loss(place, &loss).await? {
            tracing::error!(
                shard.id = place.shard,
                loss.after = gap.after.as_ref().map(tracing::field::display),
                loss.before = gap.before.as_ref().map(tracing::field::display),
                loss.reason = loss.reason,
                "records of the stream are missing"
            );
        }
        Ok(())
    }
}
