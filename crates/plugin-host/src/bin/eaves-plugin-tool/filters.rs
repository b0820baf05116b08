//! A platform that lets nobody install filters of system calls, as Lambda may be one.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

/// Becomes `program`, which from then on cannot install a filter, nor can what it starts.
pub(crate) fn run_without(program: &str, args: &[&str]) -> ExitCode {
    let why = match refuse_filters() {
        Ok(()) => Command::new(program).args(args).exec().to_string(),
        Err(why) => why.to_string(),
    };
    eprintln!("{program}: {why}");
    ExitCode::FAILURE
}

#[cfg(not(target_os = "linux"))]
fn refuse_filters() -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}

/// The kernel's own refusal cannot be had in a test, so another filter answers in its place.
#[cfg(target_os = "linux")]
fn refuse_filters() -> Result<(), Box<dyn std::error::Error>> {
    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
        SeccompFilter, SeccompRule,
    };
    rustix::thread::set_no_new_privs(true)?;
    let by_prctl = SeccompCondition::new(0, Len::Dword, Op::Eq, libc::PR_SET_SECCOMP as u64)?;
    let rules = [(libc::SYS_seccomp, Vec::new()), (libc::SYS_prctl, vec![SeccompRule::new(vec![by_prctl])?])];
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let arch = std::env::consts::ARCH.try_into()?;
    let filter = SeccompFilter::new(rules.into_iter().collect(), SeccompAction::Allow, refused, arch)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    Ok(())
}
