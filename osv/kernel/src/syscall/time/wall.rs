//! `gettimeofday(2)`, `settimeofday(2)`, `time(2)`, `adjtimex(2)`.

use linux_raw_sys::general;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::clock::set_time_of_day;
use super::{Timespec, Timeval};
use crate::drivers::clock;
use crate::errno::Errno;
use crate::event::Clock;
use crate::mem::user::UserPtr;
use crate::syscall::SysResult;

/// `struct timezone`: always Greenwich.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Timezone {
    minutes_west: i32,
    dst_time: i32,
}

/// The time of day. <https://man7.org/linux/man-pages/man2/gettimeofday.2.html>
pub fn gettimeofday(time: UserPtr<Timeval>, zone: UserPtr<Timezone>) -> SysResult {
    if let Some(time) = time.non_null() {
        time.write(&Timeval::from_nanos(clock::realtime_ns()))?;
    }
    if let Some(zone) = zone.non_null() {
        zone.write(&Timezone::default())?;
    }
    Ok(0)
}

/// Sets the time of day; the time zone is read, checked and has no effect.
/// <https://man7.org/linux/man-pages/man2/settimeofday.2.html>
pub fn settimeofday(time: UserPtr<Timeval>, zone: UserPtr<Timezone>) -> SysResult {
    let time = time.non_null().map(|time| time.read()?.to_nanos()).transpose()?;
    if let Some(zone) = zone.non_null() {
        let Timezone { minutes_west, .. } = zone.read()?;
        if !(-15 * 60..=15 * 60).contains(&minutes_west) {
            return Err(Errno::EINVAL);
        }
    }
    match time {
        Some(now_ns) => set_time_of_day(now_ns),
        None => Ok(0),
    }
}

/// The time of day in seconds. <https://man7.org/linux/man-pages/man2/time.2.html>
pub fn time(seconds: UserPtr<i64>) -> SysResult {
    let now = Timespec::from_nanos(clock::realtime_ns()).sec;
    if let Some(seconds) = seconds.non_null() {
        seconds.write(&now)?;
    }
    Ok(now as u64)
}

/// `struct timex`, of which only what is reported has a name.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Timex {
    modes: u32,
    _pad0: u32,
    offset: i64,
    freq: i64,
    maxerror: i64,
    esterror: i64,
    status: i32,
    _pad1: u32,
    constant: i64,
    precision: i64,
    tolerance: i64,
    time: Timeval,
    tick: i64,
    _rest: [u64; 14],
}

/// The clock is not synchronised with another one.
const STA_UNSYNC: i32 = 0x40;
/// What `adjtimex` returns for such a clock.
const TIME_ERROR: u64 = 5;
/// Errors of a clock that nobody disciplines, in microseconds.
const MAX_ERROR: i64 = 16_000_000;
/// Frequency tolerance in parts per million, scaled by 2^16.
const TOLERANCE: i64 = 500 << 16;
/// Microseconds per tick at 100 ticks per second.
const TICK: i64 = 10_000;

/// Tells the state of the clock, which nobody disciplines; changes are refused.
/// <https://man7.org/linux/man-pages/man2/adjtimex.2.html>
pub fn adjtimex(state: UserPtr<Timex>) -> SysResult {
    let asked = state.read()?;
    if asked.modes != 0 {
        return Err(Errno::EPERM);
    }
    let told = Timex {
        offset: 0,
        freq: 0,
        maxerror: MAX_ERROR,
        esterror: MAX_ERROR,
        status: STA_UNSYNC,
        constant: 2,
        precision: 1,
        tolerance: TOLERANCE,
        time: Timeval::from_nanos(clock::realtime_ns()),
        tick: TICK,
        _rest: [0; 14],
        ..asked
    };
    state.write(&told)?;
    Ok(TIME_ERROR)
}

/// `adjtimex` for a clock that is named. <https://man7.org/linux/man-pages/man2/clock_adjtime.2.html>
pub fn clock_adjtime(clock: i32, state: UserPtr<Timex>) -> SysResult {
    Clock::from_id(clock)?;
    if clock as u32 != general::CLOCK_REALTIME {
        return Err(Errno::EOPNOTSUPP);
    }
    adjtimex(state)
}
