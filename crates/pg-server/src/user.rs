//! As whom the server runs: as ourselves, or as `postgres` if we are root.

use crate::PgError;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;
use std::process::Command;

/// The user a server runs as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// The user of this process.
    Ourselves,
    /// Another, because this process is root.
    Other { uid: u32, gid: u32 },
}

impl RunAs {
    /// Decides by who we are.
    pub(crate) fn detect() -> Result<Self, PgError> {
        if !rustix::process::geteuid().is_root() {
            return Ok(Self::Ourselves);
        }
        let number = |flag: &str| -> Option<u32> {
            let output = Command::new("id").args([flag, "postgres"]).output().ok()?;
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        };
        match (number("-u"), number("-g")) {
            (Some(uid), Some(gid)) => Ok(Self::Other { uid, gid }),
            _ => Err(PgError::NoUser),
        }
    }

    /// Gives a folder or file to that user.
    pub(crate) fn own(self, path: &Path) -> Result<(), PgError> {
        let Self::Other { uid, gid } = self else { return Ok(()) };
        chown(path, Some(uid), Some(gid)).map_err(|source| PgError::Prepare { path: path.into(), source })
    }

    /// Checks that the user can get to `data_dir`, which exists.
    pub(crate) fn check_reach(self, data_dir: &Path) -> Result<(), PgError> {
        let Self::Other { uid, gid } = self else { return Ok(()) };
        for folder in data_dir.ancestors().skip(1) {
            let Ok(meta) = folder.metadata() else { continue };
            let bit = match () {
                () if meta.uid() == uid => 0o100,
                () if meta.gid() == gid => 0o010,
                () => 0o001,
            };
            if meta.permissions().mode() & bit == 0 {
                return Err(PgError::Unreachable { folder: folder.into(), data_dir: data_dir.into() });
            }
        }
        Ok(())
    }

    /// A command that runs `program` as that user and, where the system can do that,
    /// ends it with the thread that starts it.
    pub(crate) fn command(self, program: &Path) -> Command {
        let setpriv = Path::new("/usr/bin/setpriv");
        let mut command = match self {
            Self::Other { .. } => Command::new(setpriv),
            Self::Ourselves if setpriv.exists() => Command::new(setpriv),
            Self::Ourselves => return Command::new(program),
        };
        if let Self::Other { uid, gid } = self {
            command.args([format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".into()]);
        }
        // QUIT makes a server kill its children and end at once; tools just die of it.
        command.args(["--pdeathsig", "QUIT", "--"]).arg(program);
        command
    }
}
