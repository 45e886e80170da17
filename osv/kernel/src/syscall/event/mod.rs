//! Waiting for events: poll and select, epoll, and the files that stand for events; pipes.

mod epoll;
mod eventfd;
mod inotify;
mod pipe;
mod poll;
mod select;
mod signalfd;
mod splice;
mod timerfd;

pub use epoll::{epoll_create, epoll_create1, epoll_ctl, epoll_pwait, epoll_pwait2, epoll_wait};
pub use eventfd::{eventfd, eventfd2};
pub use inotify::{inotify_add_watch, inotify_init, inotify_init1, inotify_rm_watch};
pub use pipe::{pipe, pipe2};
pub use poll::{poll, ppoll};
pub use select::{pselect6, select};
pub use signalfd::{signalfd, signalfd4};
pub(super) use splice::splice_whole;
pub use splice::{splice, tee, vmsplice};
pub use timerfd::{timerfd_create, timerfd_gettime, timerfd_settime};

use alloc::sync::Arc;

use crate::errno::{Errno, Result};
use crate::fs::{File, OpenFile, OpenFlags};
use crate::mem::user::UserPtr;
use crate::process::limits::Resource;
use crate::process::signal::SignalSet;
use crate::process::{current_process, current_task};
use crate::sched::Deadline;
use crate::syscall::SysResult;
use crate::syscall::time::Timespec;

/// Gives an anonymous file a descriptor. `flags` has its access mode, NONBLOCK and CLOEXEC.
fn install(file: Arc<dyn File>, flags: OpenFlags) -> SysResult {
    let open_file = OpenFile::anonymous(file, flags);
    let limit = current_process().limit(Resource::OpenFiles);
    let fd = current_task().files().install(open_file, flags.contains(OpenFlags::CLOEXEC), limit)?;
    Ok(fd as u64)
}

/// The flags of a call that makes an anonymous file: CLOEXEC and NONBLOCK, plus `others`. EINVAL for any more.
fn file_flags(flags: u32, others: u32) -> Result<OpenFlags> {
    let allowed = OpenFlags::CLOEXEC | OpenFlags::NONBLOCK;
    if flags & !(allowed.bits() | others) != 0 {
        return Err(Errno::EINVAL);
    }
    Ok(OpenFlags::from_bits_truncate(flags) & allowed)
}

/// The moment at which a wait in milliseconds is over: `None` if it lasts for ever (negative).
#[inline(always)]
fn deadline_ms(timeout_ms: i32) -> Option<Deadline> {
    let timeout_ms = u64::try_from(timeout_ms).ok()?;
    Some(deadline_after(timeout_ms * 1_000_000))
}

/// The moment at which a wait is over; none of it costs a look at the clock.
fn deadline_after(duration_ns: u64) -> Deadline {
    if duration_ns == 0 { Deadline::at(0) } else { Deadline::after(duration_ns) }
}

/// The time-out that a program wrote: `None` for the null pointer, which means for ever.
fn read_timeout(timeout: UserPtr<Timespec>) -> Result<Option<u64>> {
    timeout.non_null().map(|timeout| timeout.read()?.to_nanos()).transpose()
}

/// Runs a wait with the signal mask at `mask` instead of the task's own (unless it is null).
fn with_mask(mask: UserPtr<u64>, mask_size: usize, wait: impl FnOnce() -> SysResult) -> SysResult {
    let Some(mask) = mask.non_null() else { return wait() };
    if mask_size != size_of::<SignalSet>() {
        return Err(Errno::EINVAL);
    }
    let task = current_task();
    task.replace_blocked_for_call(SignalSet(mask.read()?));
    let result = wait();
    // Interrupted by a signal: its handler runs first, and gets the old mask into its frame.
    if !matches!(result, Err(Errno::EINTR | Errno::ERESTARTNOHAND)) {
        task.restore_mask();
    }
    result
}

/// Writes back what remains of a time-out, as Linux does whatever the result; failing at that is no error.
fn write_remaining(timeout: UserPtr<Timespec>, deadline: Option<Deadline>, result: SysResult) -> SysResult {
    if let (Some(timeout), Some(deadline)) = (timeout.non_null(), deadline) {
        let _ = timeout.write(&Timespec::from_nanos(deadline.remaining_ns()));
    }
    result
}
