//! timerfd: expirations of a timer, counted and waited for. Source: timerfd_create(2).
//!
//! Nothing is counted while nobody looks: the state holds the moment of the next expiration, and how many there
//! were follows from the clock when the file is read. The kernel's timer is armed for the first expiration after
//! each read only, as on Linux, so that a fast periodic timer which nobody reads costs nothing.

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;

use super::{Clock, PollEvents, Pollee};
use crate::drivers::clock;
use crate::errno::{Errno, Result};
use crate::fs::generated::Text;
use crate::fs::{File, IoFlags, SeekFrom};
use crate::mem::user::Dest;
use crate::sched::Deadline;
use crate::sched::timer::Timer;
use crate::sync::{IrqOff, SpinLock};

/// What a program sets and gets: 0 as `value_ns` is a timer that is not armed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TimerSetting {
    /// The first expiration: a moment when setting absolutely, else how long it is until then.
    pub value_ns: u64,
    /// From one expiration to the next; 0 for a single one.
    pub interval_ns: u64,
}

/// How a setting is to be understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SettingFlags {
    /// `value_ns` is a moment of the timer's clock (TFD_TIMER_ABSTIME).
    pub is_absolute: bool,
    /// Reading fails with ECANCELED after the time of day was set (TFD_TIMER_CANCEL_ON_SET).
    pub is_cancelled_by_set: bool,
}

/// The arithmetic of an armed or idle timer, on the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
struct Schedule {
    /// The first expiration that was not read yet.
    next_ns: Option<u64>,
    interval_ns: u64,
}

impl Schedule {
    fn is_expired(&self, now_ns: u64) -> bool {
        self.next_ns.is_some_and(|next_ns| next_ns <= now_ns)
    }

    /// How many expirations there were that were not read.
    fn expirations(&self, now_ns: u64) -> u64 {
        let mut ahead = *self;
        ahead.take_expirations(now_ns)
    }

    /// How many expirations there were, and moves on past them.
    fn take_expirations(&mut self, now_ns: u64) -> u64 {
        let Some(next_ns) = self.next_ns.filter(|&next_ns| next_ns <= now_ns) else { return 0 };
        match (now_ns - next_ns).checked_div(self.interval_ns) {
            None => {
                self.next_ns = None;
                1
            }
            Some(further) => {
                self.next_ns =
                    Some(next_ns + further * self.interval_ns).and_then(|last| last.checked_add(self.interval_ns));
                further + 1
            }
        }
    }

    /// How long it is until the next expiration; 0 for a single one that has been.
    fn setting(&self, now_ns: u64) -> TimerSetting {
        let mut ahead = *self;
        if self.interval_ns != 0 {
            ahead.take_expirations(now_ns);
        }
        let value_ns = ahead.next_ns.map_or(0, |next_ns| next_ns.saturating_sub(now_ns));
        TimerSetting { value_ns, interval_ns: self.interval_ns }
    }
}

#[derive(Default)]
struct State {
    schedule: Schedule,
    /// The offset of the time of day that an absolute schedule on it was made with.
    wall_offset_ns: Option<u64>,
    is_absolute: bool,
    is_cancelled_by_set: bool,
    is_cancelled: bool,
}

/// The file of a timerfd.
pub struct TimerFd {
    clock: Clock,
    /// The number that the program gave for it.
    clock_id: i32,
    state: SpinLock<State, IrqOff>,
    timer: Arc<Timer>,
    /// Shared with the timer's callback.
    pollee: Arc<Pollee>,
}

/// The timers whose expirations move when the time of day is set.
static REALTIME_TIMERS: SpinLock<Vec<Weak<TimerFd>>> = SpinLock::new(Vec::new());

impl TimerFd {
    /// A timer of `clock` that is not armed. ENOMEM when memory is short.
    pub fn new(clock: Clock, clock_id: i32) -> Result<Arc<TimerFd>> {
        let pollee = Arc::new(Pollee::new());
        let rung = pollee.clone();
        let timer = Timer::new(move || rung.notify(PollEvents::POLLIN));
        let file = Arc::new(TimerFd { clock, clock_id, state: SpinLock::default(), timer, pollee });
        if clock.is_realtime() {
            remember(&file)?;
        }
        Ok(file)
    }

    /// Sets the timer; what was set before. ECANCELED if a cancellation had not been read, but the timer is set.
    pub fn set(&self, setting: TimerSetting, flags: SettingFlags) -> Result<TimerSetting> {
        let now_ns = clock::monotonic_ns();
        let is_wall = flags.is_absolute && self.clock.is_realtime();
        let next_ns = match setting.value_ns {
            0 => None,
            value_ns if flags.is_absolute => Some(self.clock.deadline(value_ns)?.as_ns()),
            value_ns => Some(now_ns.saturating_add(value_ns)),
        };
        let mut state = self.state.lock();
        let old = state.schedule.setting(now_ns);
        let was_cancelled = state.is_cancelled;
        *state = State {
            schedule: Schedule { next_ns, interval_ns: setting.interval_ns },
            wall_offset_ns: is_wall.then(clock::wall_offset_ns),
            is_absolute: flags.is_absolute,
            is_cancelled_by_set: is_wall && flags.is_cancelled_by_set,
            is_cancelled: false,
        };
        drop(state);
        self.arm(next_ns);
        if was_cancelled && is_wall && flags.is_cancelled_by_set && next_ns.is_some() {
            return Err(Errno::ECANCELED);
        }
        Ok(old)
    }

    /// How long it is until the next expiration, and the interval.
    pub fn setting(&self) -> TimerSetting {
        self.state.lock().schedule.setting(clock::monotonic_ns())
    }

    fn arm(&self, next_ns: Option<u64>) {
        match next_ns {
            Some(next_ns) => self.timer.arm(Deadline::at(next_ns)),
            None => self.timer.cancel(),
        }
    }

    /// What a read returns now: the number of expirations, ECANCELED, or nothing yet.
    fn take(&self) -> Option<Result<u64>> {
        let mut state = self.state.lock();
        if core::mem::take(&mut state.is_cancelled) {
            return Some(Err(Errno::ECANCELED));
        }
        let expirations = state.schedule.take_expirations(clock::monotonic_ns());
        (expirations != 0).then_some(Ok(expirations))
    }

    /// The time of day was set: the schedule moves with it.
    fn on_clock_set(&self) {
        let mut state = self.state.lock();
        let Some(old_offset_ns) = state.wall_offset_ns else { return };
        let new_offset_ns = clock::wall_offset_ns();
        let moved = |next_ns: u64| next_ns.saturating_add(old_offset_ns).saturating_sub(new_offset_ns);
        state.schedule.next_ns = state.schedule.next_ns.map(moved);
        state.wall_offset_ns = Some(new_offset_ns);
        state.is_cancelled = state.is_cancelled_by_set;
        let (next_ns, is_cancelled) = (state.schedule.next_ns, state.is_cancelled);
        drop(state);
        self.arm(next_ns);
        if is_cancelled {
            self.pollee.notify(PollEvents::POLLIN);
        }
    }
}

impl File for TimerFd {
    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        if dst.remaining() < size_of::<u64>() {
            return Err(Errno::EINVAL);
        }
        let taken = if flags.contains(IoFlags::NONBLOCK) {
            self.take().ok_or(Errno::EAGAIN)?
        } else {
            self.pollee.wait_interruptible(None, || self.take())?
        };
        let next_ns = self.state.lock().schedule.next_ns;
        if next_ns.is_some() && !self.timer.is_armed() {
            self.arm(next_ns);
        }
        dst.push(&taken?.to_ne_bytes())
    }

    fn readiness(&self) -> PollEvents {
        let state = self.state.lock();
        let is_ready = state.is_cancelled || state.schedule.is_expired(clock::monotonic_ns());
        if is_ready { PollEvents::POLLIN } else { PollEvents::empty() }
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.pollee)
    }

    fn seek(&self, _from: SeekFrom, current: u64) -> Result<u64> {
        Ok(current)
    }

    fn describe(&self, out: &mut Text) {
        let state = self.state.lock();
        let now_ns = clock::monotonic_ns();
        let (setting, ticks) = (state.schedule.setting(now_ns), state.schedule.expirations(now_ns));
        let is_absolute = state.is_absolute;
        let flags = u8::from(is_absolute) | u8::from(state.is_cancelled_by_set) << 1;
        drop(state);
        write!(out, "clockid: {}\nticks: {ticks}\nsettime flags: 0{flags:o}\n", self.clock_id);
        for (name, ns) in [("value", setting.value_ns), ("interval", setting.interval_ns)] {
            writeln!(out, "it_{name}: ({}, {})", ns / 1_000_000_000, ns % 1_000_000_000);
        }
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"anon_inode:[timerfd]");
    }
}

impl Drop for TimerFd {
    fn drop(&mut self) {
        self.timer.cancel();
    }
}

/// Tells all timers on the time of day that it was set.
pub fn on_clock_set() {
    let timers = REALTIME_TIMERS.lock().clone();
    for timer in timers.iter().filter_map(Weak::upgrade) {
        timer.on_clock_set();
    }
}

fn remember(file: &Arc<TimerFd>) -> Result<()> {
    let mut timers = REALTIME_TIMERS.lock();
    timers.retain(|timer| timer.strong_count() != 0);
    timers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
    timers.push(Arc::downgrade(file));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_expiration_is_read_once() {
        let mut schedule = Schedule { next_ns: Some(100), interval_ns: 0 };
        assert_eq!(schedule.setting(40), TimerSetting { value_ns: 60, interval_ns: 0 });
        assert_eq!(schedule.take_expirations(99), 0);
        assert!(schedule.is_expired(100));
        assert_eq!(schedule.setting(130), TimerSetting::default());
        assert_eq!(schedule.take_expirations(150), 1);
        assert_eq!(schedule.take_expirations(500), 0);
    }

    #[test]
    fn periodic_expirations_add_up_and_stay_in_step() {
        let mut schedule = Schedule { next_ns: Some(100), interval_ns: 30 };
        assert_eq!(schedule.setting(175), TimerSetting { value_ns: 15, interval_ns: 30 });
        assert_eq!(schedule.take_expirations(175), 3);
        assert_eq!(schedule.next_ns, Some(190));
        assert_eq!(schedule.take_expirations(190), 1);
    }

    #[test]
    fn the_end_of_time_ends_the_period() {
        let mut schedule = Schedule { next_ns: Some(u64::MAX - 1), interval_ns: 30 };
        assert_eq!(schedule.take_expirations(u64::MAX), 1);
        assert_eq!(schedule.next_ns, None);
    }
}
