//! Processor time by program: how much of a figure is the platform's own, where client and what stands for API
//! Gateway and Lambda run on the same cores.

use anyhow::{Context as _, Result};
use std::collections::{BTreeMap, HashMap};

/// A second of `/proc/…/stat` (`USER_HZ`, the same on all architectures that we build for).
const TICKS: f64 = 100.0;

/// Seconds of processor time by the name of the program, of the processes that this one started and that run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Used(BTreeMap<String, f64>);

impl Used {
    /// So far.
    pub(crate) fn so_far() -> Result<Self> {
        let mut all = HashMap::new();
        for entry in std::fs::read_dir("/proc").context("read /proc")? {
            let Some(pid) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
                continue;
            };
            // One that has ended meanwhile.
            let Ok(text) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
            if let Some(process) = Process::parse(&text) {
                all.insert(pid, process);
            }
        }
        let mut used = Self::default();
        for process in all.values() {
            let mut line = std::iter::successors(Some(process), |p| all.get(&p.parent));
            if line.any(|p| p.parent == std::process::id()) {
                *used.0.entry(process.name.clone()).or_default() += process.seconds;
            }
        }
        Ok(used)
    }

    /// What programs of these names have used since, seconds.
    pub(crate) fn since(&self, before: &Self, names: &[&str]) -> f64 {
        let of = |used: &Self| names.iter().filter_map(|name| used.0.get(*name)).sum::<f64>();
        of(self) - of(before)
    }
}

struct Process {
    name: String,
    parent: u32,
    seconds: f64,
}

impl Process {
    /// From a line of `/proc/…/stat`; the name may have blanks and parentheses in it.
    fn parse(stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(") ")?;
        let (_, name) = head.split_once(" (")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |at: usize| fields.get(at)?.parse::<u32>().ok();
        let seconds = (f64::from(number(11)?) + f64::from(number(12)?)) / TICKS;
        Some(Self { name: name.to_owned(), parent: number(1)?, seconds })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let line = "42 (a (b) c) S 7 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 9 1 1 1\n";
        let process = Process::parse(line).unwrap();
        assert_eq!((process.name.as_str(), process.parent, process.seconds), ("a (b) c", 7, 2.0));
        assert!(Process::parse("").is_none() && Process::parse("1 (x) S").is_none());
    }
}
