//! The clocks that programs name by number. Source: clock_gettime(2).
//!
//! All of them are views of two: the monotonic clock and its offset to the time of day, beside the CPU time that
//! the scheduler accounts. The machine never sleeps, so BOOTTIME is MONOTONIC; nobody disciplines the clock, so
//! MONOTONIC_RAW is too, and TAI is UTC as on Linux before somebody sets the leap seconds. The COARSE clocks are as
//! exact as the others, which costs no more than being coarse.

use alloc::sync::Arc;

use linux_raw_sys::general;

use crate::drivers::clock;
use crate::errno::{Errno, Result};
use crate::process::{current_process, tree};
use crate::sched::{self, Deadline, Thread};

/// Resolution that Linux reports for the COARSE clocks, with 250 ticks per second.
const COARSE_RESOLUTION_NS: u64 = 4_000_000;

/// A clock that a program named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// The time of day: REALTIME, its ALARM and COARSE variants, TAI.
    Realtime(Variant),
    /// Time since boot: MONOTONIC, its RAW and COARSE variants, BOOTTIME and its ALARM variant.
    Monotonic(Variant),
    /// CPU time of the process `pid`, or of the calling one if 0.
    ProcessCpu(u32),
    /// CPU time of the thread `tid`, or of the calling one if 0.
    ThreadCpu(u32),
}

/// What a clock's number says beside the time that it shows: what may be done with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Can be read, slept on, and drive timers.
    Plain,
    /// As Plain; for timers that would wake a suspended machine.
    Alarm,
    /// Can be read and slept on, but not set (TAI).
    Derived,
    /// Can only be read.
    ReadOnly,
    /// Can only be read, and says so by a coarse resolution.
    Coarse,
}

impl Clock {
    /// The clock with number `id`. EINVAL if there is none.
    pub fn from_id(id: i32) -> Result<Clock> {
        if id < 0 {
            return Self::from_dynamic_id(id);
        }
        Ok(match id as u32 {
            general::CLOCK_REALTIME => Clock::Realtime(Variant::Plain),
            general::CLOCK_MONOTONIC | general::CLOCK_BOOTTIME => Clock::Monotonic(Variant::Plain),
            general::CLOCK_PROCESS_CPUTIME_ID => Clock::ProcessCpu(0),
            general::CLOCK_THREAD_CPUTIME_ID => Clock::ThreadCpu(0),
            general::CLOCK_MONOTONIC_RAW => Clock::Monotonic(Variant::ReadOnly),
            general::CLOCK_REALTIME_COARSE => Clock::Realtime(Variant::Coarse),
            general::CLOCK_MONOTONIC_COARSE => Clock::Monotonic(Variant::Coarse),
            general::CLOCK_REALTIME_ALARM => Clock::Realtime(Variant::Alarm),
            general::CLOCK_BOOTTIME_ALARM => Clock::Monotonic(Variant::Alarm),
            general::CLOCK_TAI => Clock::Realtime(Variant::Derived),
            _ => return Err(Errno::EINVAL),
        })
    }

    /// Clocks of other processes and threads: the inverted number above three bits that say what is counted. User
    /// time and scheduled time are counted alike here. Clocks behind descriptors (PTP) do not exist.
    fn from_dynamic_id(id: i32) -> Result<Clock> {
        let target = !(id >> 3) as u32;
        let is_thread = id & 4 != 0;
        match id & 3 {
            0..=2 if is_thread => Ok(Clock::ThreadCpu(target)),
            0..=2 => Ok(Clock::ProcessCpu(target)),
            _ => Err(Errno::EINVAL),
        }
    }

    /// What it shows. EINVAL if the process or thread does not exist.
    #[inline]
    pub fn now_ns(self) -> Result<u64> {
        match self {
            Clock::Realtime(_) => Ok(clock::realtime_ns()),
            Clock::Monotonic(_) => Ok(clock::monotonic_ns()),
            Clock::ThreadCpu(0) => Ok(sched::current().cpu_time_ns()),
            Clock::ThreadCpu(tid) => Ok(own_thread(tid)?.cpu_time_ns()),
            Clock::ProcessCpu(0) => Ok(current_process().cpu_time_ns()),
            Clock::ProcessCpu(pid) => Ok(tree::find(pid).map_err(|_| Errno::EINVAL)?.cpu_time_ns()),
        }
    }

    /// What `clock_getres` says.
    pub fn resolution_ns(self) -> u64 {
        match self {
            Clock::Realtime(Variant::Coarse) | Clock::Monotonic(Variant::Coarse) => COARSE_RESOLUTION_NS,
            _ => 1,
        }
    }

    /// The moment at which the clock will show `time_ns`, if nobody sets it. EOPNOTSUPP for clocks that cannot be
    /// slept on, as on Linux.
    pub fn deadline(self, time_ns: u64) -> Result<Deadline> {
        match self {
            Clock::Monotonic(Variant::Plain | Variant::Alarm) => Ok(Deadline::at(time_ns)),
            Clock::Realtime(Variant::Plain | Variant::Alarm | Variant::Derived) => {
                Ok(Deadline::at(time_ns.saturating_sub(clock::wall_offset_ns())))
            }
            _ => Err(Errno::EOPNOTSUPP),
        }
    }

    /// EPERM for those who may not wake a suspended machine, if timers by this clock would.
    pub fn check_alarm_right(self) -> Result<()> {
        let is_alarm = matches!(self, Clock::Realtime(Variant::Alarm) | Clock::Monotonic(Variant::Alarm));
        let may = || crate::process::current_task().credentials().is_capable(general::CAP_WAKE_ALARM);
        if is_alarm && !may() { Err(Errno::EPERM) } else { Ok(()) }
    }

    /// Whether `clock_settime` may set it.
    pub fn is_settable(self) -> bool {
        self == Clock::Realtime(Variant::Plain)
    }

    /// Whether it counts the time of processes or threads on CPUs.
    pub fn is_cpu_time(self) -> bool {
        matches!(self, Clock::ProcessCpu(_) | Clock::ThreadCpu(_))
    }

    /// Whether it is the CPU time of the calling thread, which does not pass while that sleeps.
    pub fn is_own_cpu_time(self) -> bool {
        matches!(self, Clock::ThreadCpu(0) | Clock::ProcessCpu(0))
    }

    /// Whether timerfds can run by it.
    pub fn drives_timerfds(self) -> bool {
        matches!(
            self,
            Clock::Realtime(Variant::Plain | Variant::Alarm) | Clock::Monotonic(Variant::Plain | Variant::Alarm)
        )
    }

    /// Whether it is a time of day, which can jump.
    pub fn is_realtime(self) -> bool {
        matches!(self, Clock::Realtime(_))
    }
}

/// A thread of the process that asks: the time of others' threads is not told.
fn own_thread(tid: u32) -> Result<Arc<Thread>> {
    let task = tree::find_task(tid).map_err(|_| Errno::EINVAL)?;
    if !Arc::ptr_eq(task.process(), current_process()) {
        return Err(Errno::EINVAL);
    }
    task.thread().ok_or(Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_name_clocks() {
        assert_eq!(Clock::from_id(0), Ok(Clock::Realtime(Variant::Plain)));
        assert_eq!(Clock::from_id(7), Ok(Clock::Monotonic(Variant::Plain)));
        assert_eq!(Clock::from_id(10), Err(Errno::EINVAL));
        assert_eq!(Clock::from_id(12), Err(Errno::EINVAL));
    }

    #[test]
    fn numbers_of_others_hold_their_ids() {
        let process_clock = |pid: i32| (!pid << 3) | 2;
        let thread_clock = |tid: i32| (!tid << 3) | 6;
        assert_eq!(Clock::from_id(process_clock(77)), Ok(Clock::ProcessCpu(77)));
        assert_eq!(Clock::from_id(thread_clock(78)), Ok(Clock::ThreadCpu(78)));
        assert_eq!(Clock::from_id((!3 << 3) | 3), Err(Errno::EINVAL));
    }
}
