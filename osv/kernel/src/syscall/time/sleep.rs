//! `nanosleep(2)`, `clock_nanosleep(2)`.

use alloc::boxed::Box;

use linux_raw_sys::general;

use super::Timespec;
use crate::errno::{Errno, Result};
use crate::event::Clock;
use crate::mem::user::UserPtr;
use crate::process::current_task;
use crate::sched::{Deadline, WaitQueue};
use crate::syscall::SysResult;

/// Sleeps for a while. <https://man7.org/linux/man-pages/man2/nanosleep.2.html>
pub fn nanosleep(request: UserPtr<Timespec>, remaining: UserPtr<Timespec>) -> SysResult {
    let duration_ns = request.read()?.to_nanos()?;
    sleep_for(duration_ns, remaining)
}

/// Sleeps until a clock shows a time, or for a while.
/// <https://man7.org/linux/man-pages/man2/clock_nanosleep.2.html>
pub fn clock_nanosleep(clock: i32, flags: u32, request: UserPtr<Timespec>, remaining: UserPtr<Timespec>) -> SysResult {
    let clock = Clock::from_id(clock)?;
    let time_ns = request.read()?.to_nanos()?;
    let deadline = clock.deadline(time_ns)?;
    clock.check_alarm_right()?;
    if flags & general::TIMER_ABSTIME == 0 {
        return sleep_for(time_ns, remaining);
    }
    match sleep_until(deadline) {
        Ok(()) => Ok(0),
        Err(_) => Err(Errno::ERESTARTNOHAND),
    }
}

/// Sleeps; a signal that comes first leaves what remains in `remaining`.
fn sleep_for(duration_ns: u64, remaining: UserPtr<Timespec>) -> SysResult {
    sleep_on(Deadline::after(duration_ns), remaining)
}

/// Sleeps to the end of what was begun before; again after each signal that has no handler.
fn sleep_on(deadline: Deadline, remaining: UserPtr<Timespec>) -> SysResult {
    if sleep_until(deadline).is_ok() {
        return Ok(0);
    }
    if let Some(remaining) = remaining.non_null() {
        remaining.write(&Timespec::from_nanos(deadline.remaining_ns()))?;
    }
    Err(current_task().restart_with(Box::new(move || sleep_on(deadline, remaining))))
}

fn sleep_until(deadline: Deadline) -> Result<()> {
    let nobody_wakes = WaitQueue::new();
    match nobody_wakes.wait_interruptible(Some(deadline), || deadline.has_passed().then_some(())) {
        Err(Errno::ETIMEDOUT) => Ok(()),
        result => result,
    }
}
