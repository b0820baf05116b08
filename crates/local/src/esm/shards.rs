//! Which shards may be read: a child not before its parents are read to their end.

use super::checkpoint::Checkpoints;
use std::collections::{BTreeMap, BTreeSet};

/// A shard as the stream lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// The shards it was split or merged from.
    pub parents: Vec<String>,
}

/// The shards a mapping knows of.
#[derive(Debug, Default)]
pub struct Lineage {
    /// The parents of all shards that were ever listed.
    parents: BTreeMap<String, Vec<String>>,
    /// Those of the last listing.
    listed: BTreeSet<String>,
    /// Those that have a poller.
    polled: BTreeSet<String>,
}

impl Lineage {
    /// Takes note of a listing.
    pub fn list(&mut self, shards: Vec<Shard>) {
        self.listed = shards.iter().map(|s| s.id.clone()).collect();
        self.parents.extend(shards.into_iter().map(|s| (s.id, s.parents)));
    }

    /// The shards that get a poller now; they are taken to have one until
    /// [`Lineage::ended`].
    ///
    /// They are those listed and those begun that are listed no more, unless they are read
    /// already or a parent is not.
    pub fn start(&mut self, checkpoints: &Checkpoints) -> Vec<String> {
        let begun = checkpoints.open().map(str::to_owned);
        let wanted: BTreeSet<String> = self.listed.iter().cloned().chain(begun).collect();
        let may = |id: &String| {
            let parents = self.parents.get(id).map_or(&[][..], Vec::as_slice);
            !self.polled.contains(id)
                && !checkpoints.is_closed(id)
                && parents.iter().all(|parent| self.is_read(parent, checkpoints))
        };
        let start: Vec<String> = wanted.into_iter().filter(may).collect();
        self.polled.extend(start.iter().cloned());
        start
    }

    /// The shard's poller has ended.
    pub fn ended(&mut self, shard: &str) {
        self.polled.remove(shard);
    }

    /// Whether there is nothing left of a shard that its children must wait for: its
    /// checkpoint is closed. One that the stream no longer lists, that nobody reads and of
    /// which nothing was ever read has passed its retention; its own parents count then.
    fn is_read(&self, id: &str, checkpoints: &Checkpoints) -> bool {
        if checkpoints.is_closed(id) {
            return true;
        }
        if self.listed.contains(id) || self.polled.contains(id) || checkpoints.sequence(id).is_some() {
            return false;
        }
        // Parents are older than their children: this ends.
        let parents = self.parents.get(id).map_or(&[][..], Vec::as_slice);
        parents.iter().all(|parent| self.is_read(parent, checkpoints))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> Shard {
        Shard { id: id.into(), parents: parents.iter().map(|p| (*p).into()).collect() }
    }

    fn lineage(shards: &[(&str, &[&str])]) -> Lineage {
        let mut lineage = Lineage::default();
        lineage.list(shards.iter().map(|(id, parents)| shard(id, parents)).collect());
        lineage
    }

    #[test]
    fn children_wait_for_all_their_parents() {
        let mut read = Checkpoints::in_memory();
        let mut lineage = lineage(&[("0", &[]), ("1", &[]), ("2", &["0", "1"]), ("3", &["2"])]);
        assert_eq!(lineage.start(&read), ["0", "1"]);
        assert!(lineage.start(&read).is_empty(), "a shard has one poller");
        for (ended, started) in [("0", &[][..]), ("1", &["2"]), ("2", &["3"])] {
            read.close(ended).unwrap();
            lineage.ended(ended);
            assert_eq!(lineage.start(&read), started);
        }
    }

    #[test]
    fn a_parent_that_has_expired_is_not_waited_for() {
        assert_eq!(lineage(&[("2", &["0"])]).start(&Checkpoints::in_memory()), ["2"]);
    }

    #[test]
    fn a_parent_being_read_is_waited_for_even_if_it_is_no_longer_listed() {
        let mut read = Checkpoints::in_memory();
        read.advance("0", "4967").unwrap();
        // Begun before a restart: it is read on, its child waits.
        assert_eq!(lineage(&[("2", &["0"])]).start(&read), ["0"]);
        // Polled, but nothing delivered of it yet.
        let read = Checkpoints::in_memory();
        let mut lineage = lineage(&[("0", &[])]);
        assert_eq!(lineage.start(&read), ["0"]);
        lineage.list(vec![shard("2", &["0"])]);
        assert!(lineage.start(&read).is_empty());
    }

    #[test]
    fn a_grandparent_is_waited_for_through_a_parent_that_has_expired() {
        let mut read = Checkpoints::in_memory();
        let mut lineage = lineage(&[("0", &[]), ("1", &["0"]), ("2", &["1"])]);
        assert_eq!(lineage.start(&read), ["0"]);
        lineage.list(vec![shard("2", &["1"])]);
        assert!(lineage.start(&read).is_empty());
        read.close("0").unwrap();
        lineage.ended("0");
        assert_eq!(lineage.start(&read), ["2"]);
    }
}
