//! How far each shard has been read, kept in a file.

use crate::files;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// The mapping's checkpoints.
#[derive(Debug, Default)]
pub struct Checkpoints {
    path: Option<PathBuf>,
    shards: BTreeMap<String, Shard>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Shard {
    sequence: Option<String>,
    #[serde(default)]
    closed: bool,
}

impl Checkpoints {
    /// Those of the file; none if there is no file.
    pub fn load(path: &Path) -> io::Result<Self> {
        let shards = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(e),
        };
        Ok(Self { path: Some(path.to_path_buf()), shards })
    }

    /// Checkpoints that are forgotten with the value.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// The last record of the shard that is done with.
    pub fn sequence(&self, shard: &str) -> Option<&str> {
        self.shards.get(shard)?.sequence.as_deref()
    }

    /// Whether the shard was read to its end.
    pub fn is_closed(&self, shard: &str) -> bool {
        self.shards.get(shard).is_some_and(|s| s.closed)
    }

    /// The shards that were begun and not read to their end.
    pub fn open(&self) -> impl Iterator<Item = &str> {
        self.shards.iter().filter(|(_, s)| !s.closed).map(|(id, _)| id.as_str())
    }

    /// Records up to `sequence` are done with.
    pub fn advance(&mut self, shard: &str, sequence: &str) -> io::Result<()> {
        self.shards.entry(shard.to_owned()).or_default().sequence = Some(sequence.to_owned());
        self.save()
    }

    /// The shard was read to its end.
    pub fn close(&mut self, shard: &str) -> io::Result<()> {
        self.shards.entry(shard.to_owned()).or_default().closed = true;
        self.save()
    }

    fn save(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        files::replace(path, &serde_json::to_vec_pretty(&self.shards)?, 0o600)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_survive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("checkpoints.json");
        let mut first = Checkpoints::load(&path).unwrap();
        first.advance("a", "4967").unwrap();
        first.advance("a", "4968").unwrap();
        first.close("b").unwrap();
        let second = Checkpoints::load(&path).unwrap();
        assert_eq!(second.sequence("a"), Some("4968"));
        assert!(second.is_closed("b"));
        assert_eq!(second.open().collect::<Vec<_>>(), ["a"]);
    }
}
