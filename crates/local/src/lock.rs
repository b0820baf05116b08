//! One platform per data folder: a file that stays locked while it runs, however it ends.

use anyhow::{Context as _, Result, bail};
use std::fs::{File, TryLockError};
use std::path::Path;

/// Held as long as the value lives.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join("lock");
        let file = File::create(&path).with_context(|| format!("make {}", path.display()))?;
        // Whoever asks `is_held` holds it for a moment.
        let mut attempts = (0..5).map(|_| file.try_lock());
        let moment = || std::thread::sleep(std::time::Duration::from_millis(10));
        let taken = attempts.find(|t| {
            !matches!(t, Err(TryLockError::WouldBlock)) || {
                moment();
                false
            }
        });
        match taken {
            Some(Ok(())) => Ok(Self { _file: file }),
            None | Some(Err(TryLockError::WouldBlock)) => bail!(
                "a platform already runs on {}: stop it with `eaves local down`, or choose another folder with --data",
                data_dir.display()
            ),
            Some(Err(TryLockError::Error(e))) => Err(e).with_context(|| format!("lock {}", path.display())),
        }
    }
}

/// Whether a platform runs on the data folder.
pub(crate) fn is_held(data_dir: &Path) -> bool {
    let Ok(file) = File::open(data_dir.join("lock")) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_folder_is_for_one_platform() {
        let dir = tempfile::tempdir().unwrap();
        let lock = Lock::take(dir.path()).unwrap();
        assert!(is_held(dir.path()));
        let second = Lock::take(dir.path()).unwrap_err().to_string();
        assert!(second.contains("already runs"), "{second}");
        drop(lock);
        assert!(!is_held(dir.path()));
    }
}
