//! Files of the data folder: written whole or not at all, secrets readable by their owner only.

use anyhow::{Context as _, Result};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Replaces a file in one step.
pub(crate) fn replace(path: &Path, bytes: &[u8], mode: u32) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    let mut file = OpenOptions::new().create(true).write(true).truncate(true).mode(mode).open(&temporary)?;
    // An old temporary file keeps its mode: set it again before anything is in it.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    std::fs::rename(temporary, path)
}

/// Makes the data folder, so that others can pass through it (the database may run as
/// another user) but not list it.
pub(crate) fn make_data_dir(path: &Path) -> Result<()> {
    let existed = path.exists();
    std::fs::create_dir_all(path).with_context(|| format!("make the data folder {}", path.display()))?;
    if !existed {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711))?;
    }
    Ok(())
}

/// The first folder on the way to `path` that other users cannot pass through.
pub(crate) fn closed_to_others(path: &Path) -> Option<PathBuf> {
    let ancestors: Vec<&Path> = path.ancestors().filter(|a| !a.as_os_str().is_empty()).collect();
    let closed = ancestors.into_iter().rev().find(|a| a.metadata().is_ok_and(|m| m.mode() & 0o001 == 0));
    closed.map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "old").unwrap();
        replace(&path, b"new", 0o600).unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_closed_folder_on_the_way_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
        let inside = closed.join("inside");
        std::fs::create_dir(&inside).unwrap();
        assert_eq!(closed_to_others(&inside).unwrap(), closed);
    }
}
