//! `clock_gettime(2)`, `clock_settime(2)`, `clock_getres(2)`.

use super::Timespec;
use crate::drivers::clock as hardware;
use crate::errno::{Errno, Result};
use crate::event::{self, Clock};
use crate::mem::user::UserPtr;
use crate::process::current_task;
use crate::syscall::SysResult;

/// What a clock shows. <https://man7.org/linux/man-pages/man2/clock_gettime.2.html>
pub fn clock_gettime(clock: i32, time: UserPtr<Timespec>) -> SysResult {
    let now_ns = Clock::from_id(clock)?.now_ns()?;
    time.write(&Timespec::from_nanos(now_ns))?;
    Ok(0)
}

/// How exact a clock is. <https://man7.org/linux/man-pages/man2/clock_getres.2.html>
pub fn clock_getres(clock: i32, resolution: UserPtr<Timespec>) -> SysResult {
    let clock = Clock::from_id(clock)?;
    clock.now_ns()?;
    if let Some(resolution) = resolution.non_null() {
        resolution.write(&Timespec::from_nanos(clock.resolution_ns()))?;
    }
    Ok(0)
}

/// Sets the time of day. <https://man7.org/linux/man-pages/man2/clock_settime.2.html>
pub fn clock_settime(clock: i32, time: UserPtr<Timespec>) -> SysResult {
    let clock = Clock::from_id(clock)?;
    if !clock.is_settable() {
        let is_of_another = clock.is_cpu_time() && !clock.is_own_cpu_time();
        return Err(if is_of_another { Errno::EPERM } else { Errno::EINVAL });
    }
    let now_ns = time.read()?.to_nanos()?;
    require_time_right()?;
    set_time_of_day(now_ns)
}

/// EPERM for those who may not set the clock.
pub(super) fn require_time_right() -> Result<()> {
    if current_task().credentials().is_capable(linux_raw_sys::general::CAP_SYS_TIME) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

/// Sets the time of day and tells the timers that follow it.
pub(super) fn set_time_of_day(now_ns: u64) -> SysResult {
    if now_ns < hardware::monotonic_ns() {
        return Err(Errno::EINVAL);
    }
    hardware::set_realtime_ns(now_ns);
    event::on_clock_set();
    Ok(0)
}
