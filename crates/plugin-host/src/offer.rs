//! How a process that can open nothing hands a file that is open to a library that opens by name.
//!
//! wasmtime maps a component's code from a file that it opens itself. The process that runs plugins may
//! not open anything, and that stays: the kernel does not carry out `open` there. It sends the
//! process a signal instead (`SECCOMP_RET_TRAP`), as Chromium's sandbox has it, and the handler
//! answers in the kernel's place: with the file on offer, if there is one, and else with EPERM. Likewise
//! `statx`, which the standard library asks how long a file is, is answered by `fstat`, which knows no names.
//!
//! Code that has broken out of the sandbox gains nothing by this: the handler can do nothing that such code
//! could not do without it.
#![expect(unsafe_code, reason = "signal handlers are")]

use std::fs::File;
use std::io;
use std::os::fd::{FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

const NONE: RawFd = -1;

/// What the next `open` is to be answered with.
static OFFERED: AtomicI32 = AtomicI32::new(NONE);
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// A file that the next `open` in this process is answered with, as long as this is alive.
#[derive(Debug)]
pub(crate) struct Offer(());

impl Offer {
    pub(crate) fn of(file: File) -> Self {
        withdraw(OFFERED.swap(file.into_raw_fd(), Ordering::SeqCst));
        Self(())
    }
}

/// Whether `open` comes here.
pub(crate) fn is_answering() -> bool {
    INSTALLED.load(Ordering::Relaxed)
}

impl Drop for Offer {
    fn drop(&mut self) {
        withdraw(OFFERED.swap(NONE, Ordering::SeqCst));
    }
}

fn withdraw(descriptor: RawFd) {
    if descriptor != NONE {
        // SAFETY: nobody has taken it, so it is this one's.
        drop(unsafe { OwnedFd::from_raw_fd(descriptor) });
    }
}

/// The calls that are answered here; the filter of [`crate::lockdown`] sends them.
pub(crate) fn calls() -> Vec<i64> {
    let mut calls = vec![libc::SYS_openat, libc::SYS_statx];
    #[cfg(target_arch = "x86_64")]
    calls.push(libc::SYS_open);
    calls
}

/// Makes this process answer them. Whether the kernel sends them is the filter's.
pub(crate) fn answer_calls() -> io::Result<()> {
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = answer;
    // SAFETY: the action is plain numbers, for which zero is nothing; the handler has the form that SA_SIGINFO wants
    // and does only what a handler may: atomics, one system call, and writing where the caller said.
    let set = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSYS, &raw const action, std::ptr::null_mut())
    };
    if set != 0 {
        return Err(io::Error::last_os_error());
    }
    INSTALLED.store(true, Ordering::Relaxed);
    Ok(())
}

/// The registers of a call that the kernel did not carry out.
struct Call {
    number: i64,
    arguments: [u64; 5],
}

impl Call {
    #[cfg(target_arch = "x86_64")]
    fn of(context: &libc::ucontext_t) -> Self {
        use libc::{REG_R8, REG_R10, REG_RAX, REG_RDI, REG_RDX, REG_RSI};
        let register = |r: libc::c_int| context.uc_mcontext.gregs[r as usize];
        let arguments = [REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8].map(|r| register(r) as u64);
        Self { number: register(REG_RAX), arguments }
    }

    #[cfg(target_arch = "aarch64")]
    fn of(context: &libc::ucontext_t) -> Self {
        let registers = &context.uc_mcontext.regs;
        let arguments = [registers[0], registers[1], registers[2], registers[3], registers[4]];
        Self { number: registers[8] as i64, arguments }
    }
}

fn give(context: &mut libc::ucontext_t, result: i64) {
    #[cfg(target_arch = "x86_64")]
    {
        context.uc_mcontext.gregs[libc::REG_RAX as usize] = result;
    }
    #[cfg(target_arch = "aarch64")]
    {
        context.uc_mcontext.regs[0] = result as u64;
    }
}

extern "C" fn answer(_: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: the kernel gives a handler the context that it goes on with afterwards.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let call = Call::of(context);
    let refused = i64::from(-libc::EPERM);
    let result = if call.number == libc::SYS_statx {
        // SAFETY: the caller has said where the name is and where the answer is to go.
        unsafe { statx(call.arguments) }.unwrap_or(refused)
    } else {
        match OFFERED.swap(NONE, Ordering::SeqCst) {
            NONE => refused,
            file => file.into(),
        }
    };
    give(context, result);
}

/// Of a descriptor that is open, and of nothing that has a name.
///
/// # Safety
///
/// As that of the system call: its pointers are none or good.
unsafe fn statx([descriptor, name, flags, _, into]: [u64; 5]) -> Option<i64> {
    let (name, into) = (name as *const u8, into as *mut libc::statx);
    // SAFETY: by this function's own.
    let named = name.is_null() || unsafe { name.read() } != 0;
    if named || into.is_null() || flags & libc::AT_EMPTY_PATH as u64 == 0 {
        return None;
    }
    // SAFETY: plain numbers.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: this is where errors are noted; what was interrupted must not find another one.
    let errno = unsafe { libc::__errno_location() };
    let before = unsafe { *errno };
    // SAFETY: it writes to `found`. Not `libc::fstat`, which may ask by name.
    let done = unsafe { libc::syscall(libc::SYS_fstat, descriptor as libc::c_int, &raw mut found) };
    // SAFETY: as above.
    unsafe { *errno = before };
    if done != 0 {
        return None;
    }
    // SAFETY: plain numbers; the caller's place.
    unsafe {
        let mut answer: libc::statx = std::mem::zeroed();
        answer.stx_mask = libc::STATX_BASIC_STATS;
        answer.stx_mode = found.st_mode as u16;
        answer.stx_size = found.st_size as u64;
        answer.stx_blocks = found.st_blocks as u64;
        answer.stx_blksize = found.st_blksize as u32;
        answer.stx_nlink = found.st_nlink as u32;
        answer.stx_ino = found.st_ino;
        into.write_unaligned(answer);
    }
    Some(0)
}
