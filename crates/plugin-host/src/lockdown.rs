//! Taking away from a process what it does not need, for good.
//!
//! Called in processes that compile or run what tenants bring, before the first byte of it
//! arrives. What is taken away cannot be got back by the process itself.

use rustix::process::{Resource, Rlimit, setrlimit};

/// What a process may still do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Address space in bytes; none where an engine reserves more than it uses.
    pub(crate) address_space: Option<u64>,
    /// Private writable memory in bytes.
    pub(crate) data: Option<u64>,
    /// Processor time in seconds.
    pub(crate) cpu_seconds: Option<u64>,
    /// Bytes of a file that it writes. An anonymous file in memory is one, too.
    pub(crate) file_bytes: u64,
    /// One more than the highest file descriptor.
    pub(crate) descriptors: u64,
}

/// What keeps a process from files, sockets and other processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// A filter of system calls: the kernel refuses all that running a plugin does not need.
    Filter,
    /// The kernel took no filter (macOS has none; a container may forbid it): limits only.
    LimitsOnly,
}

/// Closes all descriptors but the first three: whatever the parent left open.
pub(crate) fn close_inherited() {
    #[cfg(target_os = "linux")]
    {
        #[expect(unsafe_code, reason = "no safe wrapper closes a range of descriptors")]
        // SAFETY: called first thing in `main`, before anything in this process has opened a
        // descriptor of its own.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) };
        if closed == 0 {
            return;
        }
    }
    for descriptor in 3..1024 {
        #[expect(unsafe_code, reason = "as above, where the kernel is older")]
        // SAFETY: as above.
        unsafe {
            libc::close(descriptor);
        }
    }
}

/// Limits and locks this process.
pub(crate) fn lock_down(limits: Limits) -> Lock {
    limit(limits);
    filter(false)
}

/// The same for a process that is handed files, which libraries open by name: [`crate::offer`].
pub(crate) fn lock_down_but_for_offers(limits: Limits) -> Lock {
    limit(limits);
    filter(true)
}

fn limit(limits: Limits) {
    let set = |resource, value: Option<u64>| {
        // Best effort: each limit stands beside others, and the parent holds the clock.
        let _ = value.map(|v| setrlimit(resource, Rlimit { current: Some(v), maximum: Some(v) }));
    };
    set(Resource::As, limits.address_space);
    set(Resource::Data, limits.data);
    // The signal of the first limit says which it was; that of the second ends whoever does not heed it.
    let ending = |seconds: u64| Rlimit { current: Some(seconds), maximum: Some(seconds.saturating_add(1)) };
    let _ = limits.cpu_seconds.map(|seconds| setrlimit(Resource::Cpu, ending(seconds)));
    set(Resource::Core, Some(0));
    set(Resource::Fsize, Some(limits.file_bytes));
    // No process or thread can be started. Root may: the filter refuses it.
    set(Resource::Nproc, Some(0));
    set(Resource::Nofile, Some(limits.descriptors));
}

#[cfg(not(target_os = "linux"))]
fn filter(_: bool) -> Lock {
    Lock::LimitsOnly
}

#[cfg(target_os = "linux")]
fn filter(offers: bool) -> Lock {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter_all_threads};
    // A process that was started by another user's setuid program would gain rights: none here.
    if rustix::thread::set_no_new_privs(true).is_err() {
        return Lock::LimitsOnly;
    }
    // Before the other one, which lets no further filter through. Of two that speak of a call the kernel heeds
    // the trap. Without it code is copied where it would be mapped.
    if offers && crate::offer::answer_calls().is_ok() {
        let calls = crate::offer::calls().into_iter().map(|call| (call, Vec::new())).collect();
        let filter = std::env::consts::ARCH
            .try_into()
            .and_then(|arch| SeccompFilter::new(calls, SeccompAction::Allow, SeccompAction::Trap, arch))
            .and_then(BpfProgram::try_from);
        let _ = filter.map(|program| apply_filter_all_threads(&program));
    }
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = std::env::consts::ARCH
        .try_into()
        .and_then(|arch| SeccompFilter::new(rules()?, refused, SeccompAction::Allow, arch))
        .and_then(BpfProgram::try_from);
    match filter.map(|program| apply_filter_all_threads(&program)) {
        Ok(Ok(())) => Lock::Filter,
        _ => Lock::LimitsOnly,
    }
}

/// What compiling and running need: reading and writing what is open, memory, threads that are
/// there already, time, the end. Nothing that opens, connects, starts, signals or looks at
/// another process.
#[cfg(target_os = "linux")]
fn rules() -> Result<std::collections::BTreeMap<i64, Vec<seccompiler::SeccompRule>>, seccompiler::BackendError>
{
    use seccompiler::{SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompRule};
    let mut rules: std::collections::BTreeMap<_, Vec<SeccompRule>> = [
        libc::SYS_read,
        libc::SYS_readv,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_recvfrom,
        // A plugin's code comes as a file that is open.
        libc::SYS_recvmsg,
        libc::SYS_fstat,
        libc::SYS_sendto,
        libc::SYS_close,
        // Memory. Code is made executable when it is loaded.
        libc::SYS_brk,
        libc::SYS_mmap,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        libc::SYS_membarrier,
        // The initial memory of a plugin, shared by its instances, is an anonymous file.
        libc::SYS_memfd_create,
        libc::SYS_ftruncate,
        // Threads, signals of one's own, time.
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_restart_syscall,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_getrandom,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ]
    .into_iter()
    .map(|call| (call, Vec::new()))
    .collect();
    let second_is =
        |number: u64| SeccompRule::new(vec![SeccompCondition::new(1, Len::Dword, Op::Eq, number)?]);
    // Which pages were written, asked of a descriptor that is open; sealing an anonymous file.
    const PAGEMAP_SCAN: u64 = 0xc060_6610;
    rules.insert(libc::SYS_ioctl, vec![second_is(PAGEMAP_SCAN)?]);
    rules.insert(libc::SYS_fcntl, vec![second_is(libc::F_ADD_SEALS as u64)?]);
    Ok(rules)
}
