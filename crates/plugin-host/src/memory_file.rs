//! Files in memory that two processes share, and that one of them cannot change, or none any more.

use memmap2::{Mmap, MmapMut, MmapOptions};
use std::fs::File;
use std::io::{self, Write};

/// Machine code that is being written.
pub(crate) struct Growing {
    file: File,
    len: usize,
}

impl Growing {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { file: new_file("eaves-plugin")?, len: 0 })
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.len += bytes.len();
        self.file.write_all(bytes)
    }

    /// From here on nobody can change it, this process included. (macOS has no seals.)
    pub(crate) fn seal(self) -> io::Result<Code> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::{SealFlags, fcntl_add_seals};
            let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
            fcntl_add_seals(&self.file, all)?;
        }
        Ok(Code { file: self.file, len: self.len })
    }
}

/// Machine code in a file in memory that nobody can change any more.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) file: File,
    pub(crate) len: usize,
}

impl Code {
    /// For reading. The kernel gives pages as they are touched.
    pub(crate) fn map(&self) -> io::Result<Mmap> {
        #[expect(unsafe_code, reason = "a file is mapped")]
        // SAFETY: it is sealed: nobody changes it. (macOS has no seals: there its only writer is done.)
        unsafe {
            MmapOptions::new().len(self.len).map_copy_read_only(&self.file)
        }
    }
}

/// A file of this size, mapped here, that whoever gets it can read and not change.
pub(crate) fn shared(bytes: usize) -> io::Result<(File, MmapMut)> {
    let file = new_file("eaves-columns")?;
    file.set_len(bytes as u64)?;
    #[expect(unsafe_code, reason = "a file is mapped that another process has open")]
    // SAFETY: its size is sealed and, from here on, no other process can write it. (macOS has
    // no seals: there the runner could, and this process never reads what it wrote.)
    let mapped = unsafe { MmapMut::map_mut(&file) }?;
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{SealFlags, fcntl_add_seals};
        let all_but_here = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        fcntl_add_seals(&file, all_but_here)?;
    }
    Ok((file, mapped))
}

#[cfg(target_os = "linux")]
fn new_file(name: &str) -> io::Result<File> {
    use rustix::fs::{MemfdFlags, memfd_create};
    Ok(File::from(memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?))
}

#[cfg(not(target_os = "linux"))]
fn new_file(_: &str) -> io::Result<File> {
    tempfile::tempfile()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::FileExt;

    #[test]
    fn sealed_code_cannot_be_changed() {
        let mut growing = Growing::new().unwrap();
        growing.push(b"co").unwrap();
        growing.push(b"de").unwrap();
        let code = growing.seal().unwrap();
        assert_eq!(&code.map().unwrap()[..], b"code");
        // Not through this descriptor, not through another one that is opened anew, not by mapping it.
        let again = File::options()
            .read(true)
            .write(true)
            .open(format!("/proc/self/fd/{}", code.file.as_raw_fd()))
            .unwrap();
        for file in [&code.file, &again] {
            assert!(file.write_all_at(b"x", 0).is_err());
            assert!(file.set_len(1).is_err() && file.set_len(10).is_err());
            // SAFETY: it is refused.
            #[expect(unsafe_code, reason = "mapping is what is tried")]
            let mapped = unsafe { MmapOptions::new().len(4).map_mut(file) };
            assert!(mapped.is_err());
        }
        assert_eq!(&code.map().unwrap()[..], b"code");
    }
}
