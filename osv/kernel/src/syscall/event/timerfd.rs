//! `timerfd_create(2)`, `timerfd_settime(2)`, `timerfd_gettime(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{file_flags, install};
use crate::errno::{Errno, Result};
use crate::event::{Clock, SettingFlags, TimerFd, TimerSetting};
use crate::fs::{OpenFile, OpenFlags};
use crate::mem::user::UserPtr;
use crate::process::current_task;
use crate::syscall::time::Timespec;
use crate::syscall::{Fd, SysResult};

/// `struct itimerspec`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Itimerspec {
    interval: Timespec,
    value: Timespec,
}

impl Itimerspec {
    fn to_setting(self) -> Result<TimerSetting> {
        Ok(TimerSetting { value_ns: self.value.to_nanos()?, interval_ns: self.interval.to_nanos()? })
    }

    fn from_setting(setting: TimerSetting) -> Self {
        let [interval, value] = [setting.interval_ns, setting.value_ns].map(Timespec::from_nanos);
        Itimerspec { interval, value }
    }
}

/// A timer to wait for. <https://man7.org/linux/man-pages/man2/timerfd_create.2.html>
pub fn timerfd_create(clock_id: i32, flags: u32) -> SysResult {
    let flags = file_flags(flags, 0)?;
    let clock = Clock::from_id(clock_id)?;
    if !clock.drives_timerfds() {
        return Err(Errno::EINVAL);
    }
    clock.check_alarm_right()?;
    install(TimerFd::new(clock, clock_id)?, flags | OpenFlags::RDWR)
}

/// Sets a timer. <https://man7.org/linux/man-pages/man2/timerfd_settime.2.html>
pub fn timerfd_settime(fd: Fd, flags: u32, new: UserPtr<Itimerspec>, old: UserPtr<Itimerspec>) -> SysResult {
    let setting = new.read()?;
    if flags & !(general::TFD_TIMER_ABSTIME | general::TFD_TIMER_CANCEL_ON_SET) != 0 {
        return Err(Errno::EINVAL);
    }
    let flags = SettingFlags {
        is_absolute: flags & general::TFD_TIMER_ABSTIME != 0,
        is_cancelled_by_set: flags & general::TFD_TIMER_CANCEL_ON_SET != 0,
    };
    let setting = setting.to_setting()?;
    let file = current_task().files().get(fd.0)?;
    let was = timer(&file)?.set(setting, flags)?;
    if let Some(old) = old.non_null() {
        old.write(&Itimerspec::from_setting(was))?;
    }
    Ok(0)
}

/// What remains of a timer. <https://man7.org/linux/man-pages/man2/timerfd_gettime.2.html>
pub fn timerfd_gettime(fd: Fd, now: UserPtr<Itimerspec>) -> SysResult {
    let file = current_task().files().get(fd.0)?;
    now.write(&Itimerspec::from_setting(timer(&file)?.setting()))?;
    Ok(0)
}

fn timer(file: &Arc<OpenFile>) -> Result<&TimerFd> {
    file.downcast().ok_or(Errno::EINVAL)
}
