//! Signals and the timers that send them.

mod action;
mod kill;
mod mask;
mod restart;
mod timers;
mod wait;

use crate::errno::{Errno, Result};
use crate::process::signal::{Signal, SignalSet};

pub use action::{rt_sigaction, rt_sigreturn, sigaltstack};
pub use kill::{kill, rt_sigqueueinfo, rt_tgsigqueueinfo, tgkill, tkill};
pub use mask::{rt_sigpending, rt_sigprocmask, rt_sigsuspend};
pub use restart::restart_syscall;
pub use timers::{
    Sigevent, alarm, getitimer, setitimer, timer_create, timer_delete, timer_getoverrun, timer_gettime, timer_settime,
};
pub use wait::{pause, rt_sigtimedwait};

/// The signal with this number, nothing for 0; EINVAL for a number that is none.
pub(super) fn parse_signal(number: u32) -> Result<Option<Signal>> {
    match number {
        0 => Ok(None),
        number => Signal::new(number).map(Some).ok_or(Errno::EINVAL),
    }
}

/// EINVAL unless `size` is that of a signal set.
fn check_set_size(size: usize) -> Result<()> {
    if size == size_of::<SignalSet>() { Ok(()) } else { Err(Errno::EINVAL) }
}
