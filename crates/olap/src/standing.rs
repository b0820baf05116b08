//! Whether the slot can be followed from where the files are.

/// The current epoch, as the database knows it. Positions are bytes of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Epoch {
    /// The timeline its slot was made on.
    pub timeline: String,
    /// The watermark.
    pub loaded_to: u64,
}

/// Its slot, as the server shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What was committed before this is shown no more.
    pub confirmed_to: u64,
    /// `reserved`, `extended`, `unreserved` or `lost`.
    pub wal_status: String,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was ever loaded: begin.
    New,
    /// Go on.
    Good,
    /// Changes may be missing: begin anew with a copy. The reason is for people.
    Lost(String),
}

/// Compares the two. `timeline` is the server's own now.
///
/// A slot that shows no more what follows on the files has been advanced by somebody else, or is
/// another one under its name. After a promotion the server may have lost what the slot had shown
/// before it, and positions mean something else: an epoch never crosses timelines, also not with a slot
/// that was carried over.
pub fn judge(epoch: Option<&Epoch>, slot: Option<&Slot>, timeline: &str) -> Standing {
    let Some(epoch) = epoch else { return Standing::New };
    if epoch.timeline != timeline {
        let (from, to) = (&epoch.timeline, timeline);
        return Standing::Lost(format!(
            "another server has taken over: timeline {to}, the slot is of {from}"
        ));
    }
    let Some(slot) = slot else { return Standing::Lost("the slot is gone".into()) };
    if slot.wal_status == "lost" {
        return Standing::Lost("the server has given up the slot's log (max_slot_wal_keep_size)".into());
    }
    if slot.confirmed_to > epoch.loaded_to {
        let (slot, files) = (slot.confirmed_to, epoch.loaded_to);
        return Standing::Lost(format!("the slot stands at {slot}, ahead of the files at {files}"));
    }
    Standing::Good
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_slot_that_shows_all_that_follows_is_good() {
        let epoch = Epoch { timeline: "00000001".into(), loaded_to: 100 };
        let slot = |confirmed_to, wal_status: &str| Slot { confirmed_to, wal_status: wal_status.into() };
        assert_eq!(judge(None, None, "00000001"), Standing::New);
        // Behind, as after a crash: what comes again is passed over.
        for good in [slot(100, "reserved"), slot(40, "unreserved")] {
            assert_eq!(judge(Some(&epoch), Some(&good), "00000001"), Standing::Good);
        }
        let lost =
            |slot: Option<Slot>, timeline, word: &str| match judge(Some(&epoch), slot.as_ref(), timeline) {
                Standing::Lost(reason) => assert!(reason.contains(word), "{reason}"),
                other => panic!("{other:?}"),
            };
        lost(None, "00000001", "gone");
        lost(Some(slot(100, "lost")), "00000001", "max_slot_wal_keep_size");
        lost(Some(slot(101, "reserved")), "00000001", "ahead");
        lost(Some(slot(100, "reserved")), "00000002", "timeline");
    }
}
