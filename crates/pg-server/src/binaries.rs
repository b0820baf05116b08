//! Where PostgreSQL's programs are.

use crate::PgError;
use std::path::{Path, PathBuf};

/// The oldest version the schema works with.
const OLDEST: u32 = 15;

/// The folder with a server's programs: of version `wanted` if given (an existing data
/// folder's), else of the newest there is. Packaged servers come before whatever is on
/// the PATH: that is where packaged extensions are installed to.
pub(crate) fn find(wanted: Option<u32>) -> Result<PathBuf, PgError> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for pattern in ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt"] {
        let Ok(entries) = std::fs::read_dir(pattern) else { continue };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            let version = name.strip_prefix("postgresql@").unwrap_or(name).parse::<u32>();
            let bin = entry.path().join("bin");
            if let Ok(version) = version
                && usable(&bin)
            {
                found.push((version, bin));
            }
        }
    }
    let fits = |version: u32| wanted.map_or(version >= OLDEST, |wanted| version == wanted);
    found.retain(|(version, _)| fits(*version));
    found.sort_by_key(|(version, _)| *version);
    if let Some((_, bin)) = found.pop() {
        return Ok(bin);
    }
    for bin in std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()) {
        if usable(&bin) && version_of(&bin).is_some_and(fits) {
            return Ok(bin);
        }
    }
    Err(PgError::NoBinaries {
        wanted: wanted.map_or_else(|| format!("{OLDEST} or newer"), |v| v.to_string()),
        looked_in: "/usr/lib/postgresql, Homebrew, PATH".into(),
    })
}

fn usable(bin: &Path) -> bool {
    ["postgres", "initdb", "pg_basebackup"].iter().all(|program| bin.join(program).is_file())
}

fn version_of(bin: &Path) -> Option<u32> {
    let output = std::process::Command::new(bin.join("postgres")).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let number = text.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split('.').next()?.parse().ok()
}
