//! The balance: a line per shard and tenant, what is wrong with it, and how it is shown.

use crate::out;
use anyhow::Result;
use eaves_model::{TenantId, Timestamp};
use eaves_store::admin::AuditSnapshot;
use serde::Serialize;
use std::collections::BTreeMap;

/// One shard's pieces of one tenant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    shard: String,
    /// Empty for none.
    tenant: String,
    tenant_id: i32,
    /// In the stream, up to where the shard has been taken.
    pub(super) sent: i64,
    /// What the ledger says was in it.
    received: i64,
    accepted: i64,
    rejected: i64,
    quarantined: i64,
    duplicate: i64,
    /// In the stream, not yet taken; not in `sent`.
    pub(super) pending: i64,
    /// Taken, but neither staged, nor in history, nor in quarantine.
    pub(super) missing: i64,
    /// Pieces that quarantine holds.
    held: i64,
    /// What does not add up: zero in sum where all does.
    difference: i64,
}

impl Line {
    /// What the ledger says became of the pieces.
    fn decided(&self) -> i64 {
        self.accepted + self.rejected + self.quarantined + self.duplicate
    }
}

/// The whole balance.
#[derive(Debug, Default)]
pub(super) struct Sheet {
    lines: BTreeMap<(String, TenantId), Line>,
    /// Pieces of `sent` that are redrives without effect.
    repeated: BTreeMap<(String, TenantId), i64>,
    stream_read: bool,
    unsettled: bool,
    faults: Vec<String>,
    notes: Vec<String>,
}

impl Sheet {
    /// What the database says.
    pub(super) fn of_ledger(snapshot: &AuditSnapshot) -> Self {
        let mut sheet = Self::default();
        for sum in &snapshot.ledger {
            let line = sheet.line(&sum.shard, sum.tenant_id);
            match sum.outcome.as_str() {
                "received" => line.received += sum.count,
                "accepted" => line.accepted += sum.count,
                "rejected" => line.rejected += sum.count,
                "quarantined" => line.quarantined += sum.count,
                "duplicate" => line.duplicate += sum.count,
                _ => {}
            }
        }
        for held in &snapshot.held {
            sheet.line(&held.shard, held.tenant_id).held += held.pieces;
        }
        for shard in snapshot.shards.iter().filter(|s| s.replaying) {
            sheet.unsettled = true;
            sheet.note(format!("{} is being read again after a crash", shard.shard));
        }
        sheet
    }

    /// The line of a shard and tenant.
    pub(super) fn line(&mut self, shard: &str, tenant: TenantId) -> &mut Line {
        self.lines.entry((shard.to_owned(), tenant)).or_insert_with(|| Line {
            shard: shard.to_owned(),
            tenant_id: tenant.0,
            ..Line::default()
        })
    }

    /// What was sent is what the stream has, not what the ledger says.
    pub(super) fn stream_is_read(&mut self) {
        self.stream_read = true;
    }

    /// Of what was sent, pieces of a redrive whose effect another record has.
    pub(super) fn repeated(&mut self, shard: &str, tenant: TenantId, pieces: i64) {
        *self.repeated.entry((shard.to_owned(), tenant)).or_default() += pieces;
    }

    /// A redrive without effect leaves nothing behind that says whose it was: its tenant may
    /// have been created since it was taken, and the ledger has it as nobody's.
    fn give_back_to_nobody(&mut self) {
        for ((shard, tenant), pieces) in std::mem::take(&mut self.repeated) {
            let nobody = self.line(&shard, TenantId(0));
            let room = nobody.decided() - nobody.sent;
            let line = self.line(&shard, tenant);
            let moved = pieces.min(line.sent - line.decided()).min(room);
            if tenant != TenantId(0) && moved > 0 {
                line.sent -= moved;
                self.line(&shard, TenantId(0)).sent += moved;
            }
        }
    }

    /// Something to know.
    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Something wrong beside the lines.
    pub(super) fn fault(&mut self, text: String) {
        self.faults.push(text);
    }

    /// Draws the balance, of one tenant or of all.
    pub(super) fn finish(&mut self, only: Option<TenantId>) {
        if self.stream_read {
            self.give_back_to_nobody();
        }
        self.lines.retain(|(_, tenant), line| {
            let blank = Line { shard: line.shard.clone(), tenant_id: line.tenant_id, ..Line::default() };
            *line != blank && only.is_none_or(|o| o == *tenant)
        });
        for line in self.lines.values_mut() {
            if !self.stream_read {
                line.sent = line.received;
            }
            let decided = line.decided();
            let of = format!("{} tenant {}", line.shard, line.tenant_id);
            let mut off = 0;
            let mut check = |what: &str, one: i64, other: i64| {
                if one != other {
                    off += (one - other).abs();
                    self.faults.push(format!("{of}: {what}: {one} and {other}"));
                }
            };
            check("sent, and what became of it", line.sent, decided);
            check("sent, and received by the ledger", line.sent, line.received);
            check(
                "not taken by the ledger, and held in quarantine",
                line.rejected + line.quarantined,
                line.held,
            );
            check("taken, and found nowhere", line.missing, 0);
            line.difference = off;
        }
    }

    /// Puts the tenants' names in.
    pub(super) fn name(&mut self, names: &BTreeMap<TenantId, String>) {
        for ((_, tenant), line) in &mut self.lines {
            line.tenant = names.get(tenant).cloned().unwrap_or_default();
        }
    }

    pub(super) fn adds_up(&self) -> bool {
        self.faults.is_empty()
    }

    /// Whether something is still under way.
    pub(super) fn is_unsettled(&self) -> bool {
        self.unsettled || self.lines.values().any(|l| l.pending > 0)
    }

    pub(super) fn json(&self, stream: &str, since: Timestamp, until: Timestamp) -> Result<String> {
        Ok(serde_json::to_string_pretty(&serde_json::json!({
            "stream": stream, "since": since, "until": until, "stream_read": self.stream_read,
            "adds_up": self.adds_up(), "lines": self.lines.values().collect::<Vec<_>>(),
            "faults": self.faults, "notes": self.notes,
        }))?)
    }

    pub(super) fn text(&self, stream: &str, since: Timestamp, until: Timestamp) -> String {
        let heading = [
            "SHARD",
            "TENANT",
            "SENT",
            "ACCEPTED",
            "REJECTED",
            "QUARANTINED",
            "DUPLICATE",
            "PENDING",
            "DIFFERENCE",
        ];
        let rows = self.lines.values().map(|l| {
            let tenant = if l.tenant.is_empty() { "(none)".to_owned() } else { l.tenant.clone() };
            let counts =
                [l.sent, l.accepted, l.rejected, l.quarantined, l.duplicate, l.pending, l.difference];
            let head = [l.shard.clone(), tenant];
            head.into_iter().chain(counts.iter().map(ToString::to_string)).collect()
        });
        let mut text = format!("{stream}, arrived from {since} to {until}\n{}", out::table(&heading, rows));
        for note in &self.notes {
            text.push_str(&format!("\nnote: {note}"));
        }
        for fault in &self.faults {
            text.push_str(&format!("\nDIFFERENT: {fault}"));
        }
        text + if self.adds_up() { "\nIt adds up." } else { "\nIt does not add up." }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(counts: [i64; 5], held: i64) -> Sheet {
        let ledger: Vec<_> = ["received", "accepted", "rejected", "quarantined", "duplicate"]
            .into_iter()
            .zip(counts)
            .map(|(outcome, count)| {
                serde_json::json!({"shard": "s", "tenant_id": 1, "outcome": outcome, "count": count})
            })
            .collect();
        let held = serde_json::json!([{"shard": "s", "tenant_id": 1, "pieces": held}]);
        let snapshot =
            serde_json::json!({"shards": [], "ledger": ledger, "held": held, "tenants": {"acme": 1}});
        Sheet::of_ledger(&serde_json::from_value(snapshot).unwrap())
    }

    #[track_caller]
    fn adds_up(mut sheet: Sheet, expect: bool) {
        sheet.finish(None);
        assert_eq!(sheet.adds_up(), expect, "{:?}", sheet.faults);
    }

    #[test]
    fn every_sum_is_checked() {
        adds_up(sheet([10, 5, 2, 2, 1], 4), true);
        adds_up(sheet([10, 6, 2, 2, 1], 4), false);
        adds_up(sheet([10, 5, 2, 2, 1], 3), false);
        let mut lost = sheet([10, 5, 2, 2, 1], 4);
        lost.line("s", TenantId(1)).missing = 1;
        adds_up(lost, false);
        // A ledger that is wrong in itself, evenly, is found by the stream.
        let mut stream = sheet([9, 4, 2, 2, 1], 4);
        stream.stream_is_read();
        stream.line("s", TenantId(1)).sent = 10;
        adds_up(stream, false);
        let mut other = sheet([10, 6, 2, 2, 1], 4);
        other.finish(Some(TenantId(2)));
        assert!(other.adds_up(), "another tenant's line is not asked for");
    }

    /// Sent, and duplicates in the ledger, by tenant.
    fn duplicates(lines: &[(i32, i64, i64)]) -> Sheet {
        let mut sheet = Sheet { stream_read: true, ..Sheet::default() };
        for (tenant, sent, duplicate) in lines {
            let line = sheet.line("s", TenantId(*tenant));
            (line.sent, line.received, line.duplicate) = (*sent, *duplicate, *duplicate);
        }
        sheet
    }

    /// A redrive was taken twice before its tenant was created: the ledger has the second as
    /// nobody's, and the stream is counted when the tenant is there.
    #[test]
    fn a_repeated_redrive_of_a_tenant_created_since_adds_up() {
        let mut later = duplicates(&[(0, 0, 3), (7, 3, 0)]);
        later.repeated("s", TenantId(7), 3);
        adds_up(later, true);
        let mut lost = duplicates(&[(0, 0, 0), (7, 3, 0)]);
        lost.repeated("s", TenantId(7), 3);
        adds_up(lost, false);
        // Nor does it cover for values that were no redrives.
        adds_up(duplicates(&[(0, 0, 3), (7, 3, 0)]), false);
    }
}
