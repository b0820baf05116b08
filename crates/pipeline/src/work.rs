//! A batch sorted by tenant, and the running account of what became of each piece.
//!
//! A piece is a value of a reading; what cannot be decoded is one piece. Each is counted
//! once as received, when it is decoded, and once more when it is decided: accepted,
//! rejected, quarantined, or a duplicate. `docs/audit.md` has the equation.

use crate::report::Report;
use eaves_model::{Reading, Rejection, TenantId, Timestamp};
use eaves_store::ingest::{LedgerLine, Outcome, QuarantineKind, Quarantined, Settled};
use std::collections::{BTreeMap, HashMap};

/// Where in the shard a piece came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    pub(crate) sequence: &'a str,
    pub(crate) sub: u32,
    /// The place of its first piece in the sub-record: the same whenever it is read.
    pub(crate) item: u32,
    /// When the stream took the record.
    pub(crate) arrived: Timestamp,
    /// Which redrive the record is, as an index into [`Account::redrives`].
    pub(crate) redrive: Option<usize>,
}

impl Origin<'_> {
    /// The piece so many places on.
    pub(crate) fn piece(self, offset: u32) -> Self {
        Self { item: self.item.saturating_add(offset), ..self }
    }
}

impl Origin<'_> {
    /// To be kept beyond the records.
    pub(crate) fn kept(self) -> KeptOrigin {
        let Self { sequence, sub, item, arrived, redrive } = self;
        KeptOrigin { sequence: sequence.to_owned(), sub, item, arrived, redrive }
    }
}

/// An [`Origin`] that outlives the records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptOrigin {
    pub(crate) sequence: String,
    pub(crate) sub: u32,
    item: u32,
    arrived: Timestamp,
    redrive: Option<usize>,
}

impl KeptOrigin {
    pub(crate) fn origin(&self) -> Origin<'_> {
        let Self { sequence, sub, item, arrived, redrive } = self;
        Origin { sequence, sub: *sub, item: *item, arrived: *arrived, redrive: *redrive }
    }
}

/// The readings of one tenant, in stream order.
pub(crate) struct TenantWork<'a> {
    pub(crate) name: Box<str>,
    pub(crate) readings: Vec<(Origin<'a>, Reading)>,
}

/// A redriven record that takes effect.
#[derive(Debug, Clone)]
pub(crate) struct Redrive {
    pub(crate) settled: Settled,
    /// Whose the quarantine row is; none if it is no tenant's.
    pub(crate) tenant: Option<TenantId>,
    pub(crate) attempts: u32,
}

/// Something that is not taken.
pub(crate) struct Refusal<'a> {
    pub(crate) why: Rejection,
    /// So that it can be sent again as it is.
    pub(crate) payload: Vec<u8>,
    pub(crate) digest: Option<&'a str>,
}

/// Ledger lines and quarantine rows of a batch, and the same in numbers.
#[derive(Default)]
pub(crate) struct Account {
    /// By minute of arrival.
    lines: BTreeMap<(i64, TenantId, Outcome, String), u64>,
    derived: HashMap<(String, u32), i32>,
    pub(crate) quarantine: Vec<Quarantined>,
    pub(crate) redrives: Vec<Redrive>,
    pub(crate) report: Report,
    /// All of it was taken before, and is read again because an operator asked for it.
    again: bool,
}

/// The ledger's tenant for what has none: an unreadable record, an unknown tenant's.
pub(crate) const NO_TENANT: TenantId = TenantId(0);

/// The ledger's reason for accepted values that no plugin judged although one is in force.
const UNVALIDATED: &str = "unvalidated";

const MINUTE_MICROS: i64 = 60_000_000;

/// The minute a time is in.
pub(crate) fn minute(time: Timestamp) -> i64 {
    time.as_micros().div_euclid(MINUTE_MICROS) * MINUTE_MICROS
}

impl Account {
    pub(crate) fn new(again: bool) -> Self {
        Self { again, ..Self::default() }
    }

    fn line(&mut self, arrived: Timestamp, tenant: TenantId, outcome: Outcome, reason: &str, count: u64) {
        if count > 0 {
            *self.lines.entry((minute(arrived), tenant, outcome, reason.to_owned())).or_default() += count;
        }
    }

    /// Pieces as they come out of the decoder, before anything is decided.
    pub(crate) fn receive(&mut self, tenant: Option<TenantId>, origin: Origin<'_>, pieces: u32) {
        let tenant = tenant.unwrap_or(NO_TENANT);
        self.line(origin.arrived, tenant, Outcome::Received, "", pieces.into());
    }

    /// Values that are taken; `validated` unless the plugin failed on them and its tenant takes
    /// them all the same.
    pub(crate) fn accept(&mut self, tenant: TenantId, origin: Origin<'_>, values: u64, validated: bool) {
        self.report.accepted += values;
        let reason = if validated { "" } else { UNVALIDATED };
        self.line(origin.arrived, tenant, Outcome::Accepted, reason, values);
        if let Some(redrive) = self.redrive(origin) {
            redrive.settled.taken += u32::try_from(values).unwrap_or(u32::MAX);
        }
    }

    /// Values that a plugin added.
    pub(crate) fn derive(&mut self, tenant: TenantId, origin: Origin<'_>, values: u64) {
        self.report.derived += values;
        self.line(origin.arrived, tenant, Outcome::Derived, "", values);
    }

    /// Records that the stream delivered again.
    pub(crate) fn redelivered(&mut self, arrived: Timestamp) {
        self.report.duplicates += 1;
        self.line(arrived, NO_TENANT, Outcome::Redelivered, "checkpoint", 1);
    }

    /// Pieces of a redriven record whose effect another one had.
    pub(crate) fn duplicate(&mut self, tenant: Option<TenantId>, origin: Origin<'_>, pieces: u32) {
        let tenant = tenant.unwrap_or(NO_TENANT);
        self.line(origin.arrived, tenant, Outcome::Duplicate, "redrive", pieces.into());
    }

    /// A value that is refused: counted by reason, and kept to be looked at.
    pub(crate) fn reject(&mut self, tenant: TenantId, origin: Origin<'_>, refusal: Refusal<'_>) {
        self.report.rejected += 1;
        self.line(origin.arrived, tenant, Outcome::Rejected, &refusal.why.code.0, 1);
        self.keep((Some(tenant), None), QuarantineKind::Value, origin, refusal, 1);
    }

    /// A value that a plugin wanted to add and may not.
    pub(crate) fn reject_derived(&mut self, tenant: TenantId, origin: Origin<'_>, refusal: Refusal<'_>) {
        self.line(origin.arrived, tenant, Outcome::DerivedRejected, &refusal.why.code.0, 1);
        self.keep((Some(tenant), None), QuarantineKind::Derived, origin, refusal, 0);
    }

    /// A record or reading of so many pieces that could not be taken at all; `named` is what
    /// it calls its tenant, if there is none of that name.
    pub(crate) fn quarantine(
        &mut self,
        (tenant, named): (Option<TenantId>, Option<&str>),
        origin: Origin<'_>,
        refusal: Refusal<'_>,
        pieces: u32,
    ) {
        self.report.quarantined += 1;
        let of = tenant.unwrap_or(NO_TENANT);
        self.line(origin.arrived, of, Outcome::Quarantined, &refusal.why.code.0, pieces.into());
        self.keep((tenant, named), QuarantineKind::Record, origin, refusal, pieces);
    }

    fn redrive(&mut self, origin: Origin<'_>) -> Option<&mut Redrive> {
        self.redrives.get_mut(origin.redrive?)
    }

    fn keep(
        &mut self,
        (tenant, named): (Option<TenantId>, Option<&str>),
        kind: QuarantineKind,
        origin: Origin<'_>,
        refusal: Refusal<'_>,
        pieces: u32,
    ) {
        let mut redriven = (None, 0);
        if let Some(redrive) = self.redrive(origin) {
            redrive.settled.refused = redrive.settled.refused.saturating_add(pieces);
            redriven = (Some(redrive.settled.id), redrive.attempts);
        }
        let item = match kind {
            // Below zero, where no piece that was sent has its place.
            QuarantineKind::Derived => {
                let next = self.derived.entry((origin.sequence.to_owned(), origin.sub)).or_default();
                *next -= 1;
                *next
            }
            _ => i32::try_from(origin.item).unwrap_or(i32::MAX),
        };
        self.quarantine.push(Quarantined {
            tenant,
            kind,
            rejection: refusal.why,
            payload: refusal.payload,
            sequence: origin.sequence.to_owned(),
            sub: origin.sub,
            plugin_digest: refusal.digest.map(str::to_owned),
            item,
            pieces,
            named: named.map(str::to_owned),
            arrived: Some(origin.arrived),
            redrive_of: redriven.0,
            attempts: redriven.1,
        });
    }

    /// The ledger's lines. Of what was asked to be read again each piece counts as that,
    /// once: it was received and decided when it was first read.
    pub(crate) fn ledger(&self) -> Vec<LedgerLine> {
        let line = |((minute, tenant, outcome, reason), count): (&(i64, TenantId, Outcome, String), &u64)| {
            LedgerLine {
                tenant: *tenant,
                outcome: if self.again { Outcome::Replayed } else { *outcome },
                reason: reason.clone(),
                count: *count,
                minute: Timestamp::from_micros(*minute),
            }
        };
        let counted = |(key, _): &(&(i64, TenantId, Outcome, String), &u64)| {
            !self.again
                || matches!(
                    key.2,
                    Outcome::Accepted | Outcome::Rejected | Outcome::Quarantined | Outcome::Duplicate
                )
        };
        self.lines.iter().filter(counted).map(line).collect()
    }

    /// The quarantine rows that this batch settles.
    pub(crate) fn settled(&self) -> Vec<Settled> {
        self.redrives.iter().map(|r| r.settled.clone()).collect()
    }
}
