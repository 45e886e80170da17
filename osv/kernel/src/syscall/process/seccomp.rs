//! `seccomp(2)` and its older form in `prctl(2)`; the table of calls for those who have filters.

use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::arch::{self, SyscallEntry, TrapFrame};
use crate::errno::{Errno, Result};
use crate::mem::user::{UserAddr, UserPtr};
use crate::process::current_task;
use crate::process::seccomp::{self as process, NewFilter, action, bpf};
use crate::syscall::{SysResult, TABLE_SIZE};

crate::checked_syscalls! {
    /// Every call of a task that has filters.
    filtered => judge
}

/// What each number of a task that has filters leads to.
pub const FILTERED: SyscallEntry = filtered;

/// The handler of the call, unless a filter has answered it; then RAX in the frame is what it returns.
extern "win64" fn judge(frame: &mut TrapFrame) -> Option<SyscallEntry> {
    match process::judge(frame, false) {
        None => {
            let number = (frame.orig_rax as u32 as usize).min(TABLE_SIZE - 1);
            arch::syscall_table()?.get(number).copied()
        }
        Some(rax) => {
            frame.rax = rax;
            None
        }
    }
}

/// `struct sock_fprog`.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct FilterProgram {
    len: u16,
    padding: [u16; 3],
    filter: u64,
}

const SET_MODE_STRICT: u32 = 0;
const SET_MODE_FILTER: u32 = 1;
const GET_ACTION_AVAIL: u32 = 2;

const FLAG_TSYNC: u32 = 1 << 0;
const FLAG_LOG: u32 = 1 << 1;
const FLAG_SPEC_ALLOW: u32 = 1 << 2;
const FLAG_TSYNC_ESRCH: u32 = 1 << 4;

/// <https://man7.org/linux/man-pages/man2/seccomp.2.html>
pub fn seccomp(operation: u32, flags: u32, arguments: UserAddr) -> SysResult {
    match operation {
        SET_MODE_STRICT if flags == 0 && arguments.is_null() => set_strict(),
        SET_MODE_FILTER => set_filter(flags, arguments),
        GET_ACTION_AVAIL if flags == 0 => is_available(UserPtr::new(arguments.0).read()?),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn set_strict() -> SysResult {
    process::set_strict()?;
    Ok(0)
}

pub(super) fn set_filter(flags: u32, arguments: UserAddr) -> SysResult {
    if flags & !(FLAG_TSYNC | FLAG_LOG | FLAG_SPEC_ALLOW | FLAG_TSYNC_ESRCH) != 0 {
        return Err(Errno::EINVAL);
    }
    let program: FilterProgram = UserPtr::new(arguments.0).read()?;
    let len = usize::from(program.len);
    if len == 0 || len > bpf::MAX_INSTRUCTIONS || program.filter == 0 {
        return Err(Errno::EINVAL);
    }
    let instructions = UserPtr::new(program.filter).read_vec(len)?;
    let new = NewFilter { instructions, logs: flags & FLAG_LOG != 0, for_all: flags & FLAG_TSYNC != 0 };
    match process::add_filter(new)? {
        None => Ok(0),
        Some(_) if flags & FLAG_TSYNC_ESRCH != 0 => Err(Errno::ESRCH),
        Some(tid) => Ok(u64::from(tid)),
    }
}

fn is_available(wanted: u32) -> SysResult {
    use action::*;
    match wanted {
        KILL_PROCESS | KILL_THREAD | TRAP | ERRNO | TRACE | LOG | ALLOW => Ok(0),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// `PR_SET_SECCOMP`.
pub(super) fn set_by_prctl(mode: u64, filter: u64) -> SysResult {
    const STRICT: u64 = 1;
    const FILTER: u64 = 2;
    match mode {
        STRICT => set_strict(),
        FILTER => set_filter(0, UserAddr(filter)),
        _ => Err(Errno::EINVAL),
    }
}

/// `PR_GET_SECCOMP`.
pub(super) fn mode() -> Result<u64> {
    Ok(u64::from(current_task().seccomp().number()))
}
