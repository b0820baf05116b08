//! Sending a descriptor along with bytes through a socket between two processes.
#![expect(unsafe_code, reason = "the standard library cannot do it yet")]

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// Room for the head of a message and one descriptor, aligned like a head.
type Control = [u64; 4];

#[cfg(target_os = "linux")]
const SEND: libc::c_int = libc::MSG_NOSIGNAL;
#[cfg(target_os = "linux")]
const RECEIVE: libc::c_int = libc::MSG_CMSG_CLOEXEC;
#[cfg(not(target_os = "linux"))]
const SEND: libc::c_int = 0;
#[cfg(not(target_os = "linux"))]
const RECEIVE: libc::c_int = 0;

/// Sends all the bytes, and the descriptor with the first of them.
pub(crate) fn send(socket: &UnixStream, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let mut descriptor = descriptor;
    let mut left = bytes;
    while !left.is_empty() {
        let mut part = libc::iovec { iov_base: left.as_ptr().cast_mut().cast(), iov_len: left.len() };
        let mut control = Control::default();
        let mut message = message(&mut part);
        if let Some(descriptor) = descriptor {
            message.msg_control = control.as_mut_ptr().cast();
            // SAFETY: the room is large enough for one descriptor and aligned like `cmsghdr`; the pointers
            // that the macros give are inside it.
            unsafe {
                message.msg_controllen = libc::CMSG_SPACE(size_of::<RawFd>() as u32) as _;
                let head = libc::CMSG_FIRSTHDR(&raw const message);
                (*head).cmsg_level = libc::SOL_SOCKET;
                (*head).cmsg_type = libc::SCM_RIGHTS;
                (*head).cmsg_len = libc::CMSG_LEN(size_of::<RawFd>() as u32) as _;
                libc::CMSG_DATA(head).cast::<RawFd>().write_unaligned(descriptor.as_raw_fd());
            }
        }
        // SAFETY: the message names `left` and `control`, which live until after the call.
        let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, SEND) };
        match usize::try_from(sent) {
            Ok(sent) => {
                left = &left[sent..];
                descriptor = None;
            }
            Err(_) => again_if_interrupted()?,
        }
    }
    Ok(())
}

/// Fills `into`, and takes a descriptor that came with it.
pub(crate) fn receive(socket: &UnixStream, into: &mut [u8]) -> io::Result<Option<OwnedFd>> {
    let mut came = None;
    let mut filled = 0;
    while filled < into.len() {
        let rest = &mut into[filled..];
        let mut part = libc::iovec { iov_base: rest.as_mut_ptr().cast(), iov_len: rest.len() };
        let mut control = Control::default();
        let mut message = message(&mut part);
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of::<Control>() as _;
        // SAFETY: the message names `rest` and `control`, which live until after the call.
        let read = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, RECEIVE) };
        match usize::try_from(read) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(read) => filled += read,
            Err(_) => {
                again_if_interrupted()?;
                continue;
            }
        }
        // SAFETY: the kernel has filled in the message and its heads. Each descriptor in it is new and nobody
        // else's. The room is for two at most: what does not fit the kernel closes.
        unsafe {
            let mut head = libc::CMSG_FIRSTHDR(&raw const message);
            while !head.is_null() {
                if (*head).cmsg_level == libc::SOL_SOCKET && (*head).cmsg_type == libc::SCM_RIGHTS {
                    let bytes = (*head).cmsg_len as usize - libc::CMSG_LEN(0) as usize;
                    for i in 0..bytes / size_of::<RawFd>() {
                        let raw = libc::CMSG_DATA(head).cast::<RawFd>().add(i).read_unaligned();
                        came = Some(OwnedFd::from_raw_fd(raw));
                    }
                }
                head = libc::CMSG_NXTHDR(&raw const message, head);
            }
        }
    }
    Ok(came)
}

fn message(part: &mut libc::iovec) -> libc::msghdr {
    // SAFETY: it is plain numbers and pointers, for which zero means none.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message
}

fn again_if_interrupted() -> io::Result<()> {
    let error = io::Error::last_os_error();
    if error.kind() == ErrorKind::Interrupted { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::AsFd;

    #[test]
    fn a_descriptor_comes_with_its_bytes() {
        let (here, there) = UnixStream::pair().unwrap();
        let file = File::open("/dev/zero").unwrap();
        send(&here, b"with", Some(file.as_fd())).unwrap();
        send(&here, b"without", None).unwrap();
        let mut bytes = [0; 4];
        let came = receive(&there, &mut bytes).unwrap();
        assert_eq!(&bytes, b"with");
        let mut zero = [1];
        File::from(came.unwrap()).read_exact(&mut zero).unwrap();
        assert_eq!(zero, [0]);
        let mut bytes = [0; 7];
        assert!(receive(&there, &mut bytes).unwrap().is_none());
        assert_eq!(&bytes, b"without");
        drop(here);
        assert_eq!(receive(&there, &mut bytes).unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }
}
