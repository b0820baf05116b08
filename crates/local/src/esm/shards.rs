//! Which shards may be read: a child not before its parents are read to their end.

use super::checkpoint::Checkpoints;

/// A shard as the stream lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: String,
    /// The shards it was split or merged from.
    pub parents: Vec<String>,
}

/// The listed shards that may be read now.
///
/// A parent counts as read when its checkpoint is closed. One that the stream no longer
/// lists and of which nothing was ever read has passed its retention: there is nothing
/// left of it to wait for.
pub fn readable(listed: &[Shard], checkpoints: &Checkpoints) -> Vec<String> {
    let read = |id: &String| {
        checkpoints.is_closed(id)
            || (!listed.iter().any(|s| s.id == *id) && checkpoints.sequence(id).is_none())
    };
    let open = listed.iter().filter(|shard| !checkpoints.is_closed(&shard.id));
    open.filter(|shard| shard.parents.iter().all(read)).map(|shard| shard.id.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> Shard {
        Shard { id: id.into(), parents: parents.iter().map(|p| (*p).into()).collect() }
    }

    #[test]
    fn children_wait_for_all_their_parents() {
        let mut read = Checkpoints::in_memory();
        let listed = [shard("0", &[]), shard("1", &[]), shard("2", &["0", "1"]), shard("3", &["2"])];
        assert_eq!(readable(&listed, &read), ["0", "1"]);
        read.close("0").unwrap();
        assert_eq!(readable(&listed, &read), ["1"]);
        read.close("1").unwrap();
        assert_eq!(readable(&listed, &read), ["2"]);
    }

    #[test]
    fn a_parent_that_has_expired_is_not_waited_for() {
        let read = Checkpoints::in_memory();
        assert_eq!(readable(&[shard("2", &["0"])], &read), ["2"]);
    }

    #[test]
    fn a_parent_being_read_is_waited_for_even_if_it_is_no_longer_listed() {
        let mut read = Checkpoints::in_memory();
        read.advance("0", "4967").unwrap();
        assert!(readable(&[shard("2", &["0"])], &read).is_empty());
    }
}
