//! `setitimer(2)`, `alarm(2)`, `timer_create(2)` and their like.

use alloc::sync::Arc;

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{Errno, Result};
use crate::event::Clock;
use crate::mem::user::UserPtr;
use crate::process::signal::Signal;
use crate::process::timers::{Notify, Setting, TimeBase};
use crate::process::{current_process, current_task, tree};
use crate::syscall::SysResult;
use crate::syscall::time::{Timespec, Timeval};

const NS_PER_SEC: u64 = 1_000_000_000;

/// `struct itimerval`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Itimerval {
    interval: Timeval,
    value: Timeval,
}

/// `struct itimerspec`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Itimerspec {
    interval: Timespec,
    value: Timespec,
}

impl From<Setting> for Itimerval {
    fn from(setting: Setting) -> Itimerval {
        // A timer that is set shows at least a microsecond.
        let remaining_ns = if setting.remaining_ns == 0 { 0 } else { setting.remaining_ns.max(1000) };
        Itimerval { interval: Timeval::from_nanos(setting.interval_ns), value: Timeval::from_nanos(remaining_ns) }
    }
}

impl From<Setting> for Itimerspec {
    fn from(setting: Setting) -> Itimerspec {
        Itimerspec {
            interval: Timespec::from_nanos(setting.interval_ns),
            value: Timespec::from_nanos(setting.remaining_ns),
        }
    }
}

/// <https://man7.org/linux/man-pages/man2/getitimer.2.html>
pub fn getitimer(which: u32, value: UserPtr<Itimerval>) -> SysResult {
    value.write(&current_process().interval_timer(which)?.into())?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/getitimer.2.html>
pub fn setitimer(which: u32, new: UserPtr<Itimerval>, old: UserPtr<Itimerval>) -> SysResult {
    let setting = match new.non_null() {
        None => Setting::default(),
        Some(new) => {
            let new = new.read()?;
            Setting { remaining_ns: new.value.to_nanos()?, interval_ns: new.interval.to_nanos()? }
        }
    };
    let before = current_process().set_interval_timer(which, setting)?;
    if let Some(old) = old.non_null() {
        old.write(&before.into())?;
    }
    Ok(0)
}

/// Returns the seconds that were left, rounded up if there are less than one.
/// <https://man7.org/linux/man-pages/man2/alarm.2.html>
pub fn alarm(seconds: u32) -> SysResult {
    let setting = Setting { remaining_ns: u64::from(seconds) * NS_PER_SEC, interval_ns: 0 };
    let left_ns = current_process().set_interval_timer(linux::ITIMER_REAL, setting)?.remaining_ns;
    let rounded = (left_ns + NS_PER_SEC / 2) / NS_PER_SEC;
    Ok(if left_ns != 0 { rounded.max(1) } else { 0 })
}

/// The used part of `struct sigevent`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Sigevent {
    value: u64,
    signal: u32,
    notify: u32,
    tid: u32,
    padding: [u32; 11],
}

const _: () = assert!(size_of::<Sigevent>() == linux::SIGEV_MAX_SIZE as usize);

impl Sigevent {
    /// `SIGEV_*`.
    pub fn kind(&self) -> u32 {
        self.notify
    }

    /// The signal to send.
    pub fn signal(&self) -> u32 {
        self.signal
    }

    /// What is sent along.
    pub fn value(&self) -> u64 {
        self.value
    }

    fn notify(&self) -> Result<Notify> {
        let signal = || Signal::new(self.signal).ok_or(Errno::EINVAL);
        match self.notify {
            linux::SIGEV_NONE => Ok(Notify::Silently),
            linux::SIGEV_SIGNAL | linux::SIGEV_THREAD => Ok(Notify::Process(signal()?, Some(self.value))),
            linux::SIGEV_THREAD_ID => {
                let task = tree::find_task(self.tid).map_err(|_| Errno::EINVAL)?;
                if !Arc::ptr_eq(task.process(), current_process()) {
                    return Err(Errno::EINVAL);
                }
                Ok(Notify::Task(signal()?, self.value, task))
            }
            _ => Err(Errno::EINVAL),
        }
    }
}

/// The clock that a timer can go by.
fn time_base(clock: Clock) -> Result<TimeBase> {
    match clock {
        Clock::Realtime(_) | Clock::Monotonic(_) => {
            clock.deadline(0)?;
            clock.check_alarm_right()?;
            Ok(TimeBase::Monotonic { is_realtime: clock.is_realtime() })
        }
        Clock::ProcessCpu(0) => Ok(TimeBase::ProcessCpu),
        Clock::ProcessCpu(pid) if pid == current_process().pid() => Ok(TimeBase::ProcessCpu),
        Clock::ThreadCpu(0) => Ok(TimeBase::TaskCpu(Arc::downgrade(&current_task().arc()))),
        Clock::ThreadCpu(tid) => {
            let task = tree::find_task(tid).map_err(|_| Errno::EINVAL)?;
            Ok(TimeBase::TaskCpu(Arc::downgrade(&task)))
        }
        Clock::ProcessCpu(_) => Err(Errno::EINVAL),
    }
}

/// <https://man7.org/linux/man-pages/man2/timer_create.2.html>
pub fn timer_create(clock: i32, event: UserPtr<Sigevent>, id: UserPtr<u32>) -> SysResult {
    let base = time_base(Clock::from_id(clock)?)?;
    let notify = match event.non_null() {
        None => Notify::Process(Signal::SIGALRM, None),
        Some(event) => event.read()?.notify()?,
    };
    let process = current_process();
    let number = process.create_timer(base, notify)?;
    if let Err(errno) = id.write(&number) {
        process.delete_timer(number)?;
        return Err(errno);
    }
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/timer_settime.2.html>
pub fn timer_settime(id: u32, flags: u32, new: UserPtr<Itimerspec>, old: UserPtr<Itimerspec>) -> SysResult {
    let new = new.non_null().ok_or(Errno::EINVAL)?.read()?;
    let setting = Setting { remaining_ns: new.value.to_nanos()?, interval_ns: new.interval.to_nanos()? };
    let before = current_process().set_timer(id, setting, flags & linux::TIMER_ABSTIME != 0)?;
    if let Some(old) = old.non_null() {
        old.write(&before.into())?;
    }
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/timer_settime.2.html>
pub fn timer_gettime(id: u32, value: UserPtr<Itimerspec>) -> SysResult {
    value.write(&current_process().timer_setting(id)?.into())?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/timer_getoverrun.2.html>
pub fn timer_getoverrun(id: u32) -> SysResult {
    current_process().timer_overruns(id).map(u64::from)
}

/// <https://man7.org/linux/man-pages/man2/timer_delete.2.html>
pub fn timer_delete(id: u32) -> SysResult {
    current_process().delete_timer(id)?;
    Ok(0)
}
