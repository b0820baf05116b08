//! A batch sorted by tenant, and the running account of what became of each piece.

use crate::report::Report;
use eaves_model::{Reading, Rejection, TenantId, Timestamp};
use eaves_store::ingest::{LedgerLine, Outcome, QuarantineKind, Quarantined};
use std::collections::BTreeMap;

/// Where in the shard a piece came from, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin<'a> {
    pub(crate) sequence: &'a str,
    pub(crate) sub: u32,
    /// When the stream took it: the same however often it is read.
    pub(crate) arrived: Timestamp,
}

/// The readings of one tenant, in stream order.
pub(crate) struct TenantWork<'a> {
    pub(crate) name: Box<str>,
    pub(crate) readings: Vec<(Origin<'a>, Reading)>,
}

/// Ledger lines and quarantine rows of a batch, and the same in numbers.
#[derive(Default)]
pub(crate) struct Account {
    lines: BTreeMap<(TenantId, Outcome, String), u64>,
    pub(crate) quarantine: Vec<Quarantined>,
    pub(crate) report: Report,
    /// All of it was taken before, and is read again because an operator asked for it.
    again: bool,
}

/// The ledger's tenant for what has none: an unreadable record, an unknown tenant's.
pub(crate) const NO_TENANT: TenantId = TenantId(0);

impl Account {
    pub(crate) fn new(again: bool) -> Self {
        Self { again, ..Self::default() }
    }

    fn line(&mut self, tenant: TenantId, outcome: Outcome, reason: &str, count: u64) {
        if count > 0 {
            *self.lines.entry((tenant, outcome, reason.to_owned())).or_default() += count;
        }
    }

    pub(crate) fn accept(&mut self, tenant: TenantId, values: u64) {
        self.report.accepted += values;
        self.line(tenant, Outcome::Accepted, "", values);
    }

    pub(crate) fn duplicates(&mut self, records: u64) {
        self.report.duplicates += records;
        self.line(NO_TENANT, Outcome::Duplicate, "checkpoint", records);
    }

    /// A value that is refused: counted by reason, and kept to be looked at.
    pub(crate) fn reject(
        &mut self,
        tenant: TenantId,
        origin: Origin<'_>,
        why: Rejection,
        payload: Vec<u8>,
        digest: Option<&str>,
    ) {
        self.report.rejected += 1;
        self.line(tenant, Outcome::Rejected, &why.code.0, 1);
        self.keep(Some(tenant), QuarantineKind::Value, origin, why, payload, digest);
    }

    /// A refused value that nobody sent (a plugin derived it): kept, but not counted.
    pub(crate) fn note(
        &mut self,
        tenant: TenantId,
        origin: Origin<'_>,
        why: Rejection,
        payload: Vec<u8>,
        digest: Option<&str>,
    ) {
        self.keep(Some(tenant), QuarantineKind::Value, origin, why, payload, digest);
    }

    /// A record or reading that could not be taken at all.
    pub(crate) fn quarantine(
        &mut self,
        tenant: Option<TenantId>,
        origin: Origin<'_>,
        why: Rejection,
        payload: Vec<u8>,
        digest: Option<&str>,
    ) {
        self.report.quarantined += 1;
        self.line(tenant.unwrap_or(NO_TENANT), Outcome::Quarantined, &why.code.0, 1);
        self.keep(tenant, QuarantineKind::Record, origin, why, payload, digest);
    }

    fn keep(
        &mut self,
        tenant: Option<TenantId>,
        kind: QuarantineKind,
        origin: Origin<'_>,
        why: Rejection,
        payload: Vec<u8>,
        digest: Option<&str>,
    ) {
        self.quarantine.push(Quarantined {
            tenant,
            kind,
            rejection: why,
            payload,
            sequence: origin.sequence.to_owned(),
            sub: origin.sub,
            plugin_digest: digest.map(str::to_owned),
        });
    }

    /// The ledger's lines. Of what was asked to be read again everything counts as that.
    pub(crate) fn ledger(&self) -> Vec<LedgerLine> {
        let line = |((tenant, outcome, reason), count): (&(TenantId, Outcome, String), &u64)| LedgerLine {
            tenant: *tenant,
            outcome: if self.again { Outcome::Replayed } else { *outcome },
            reason: reason.clone(),
            count: *count,
        };
        self.lines.iter().map(line).collect()
    }
}
