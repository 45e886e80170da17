//! `gettimeofday(2)`, `settimeofday(2)`, `time(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::clock::{require_time_right, set_time_of_day};
use super::{Timespec, Timeval};
use crate::drivers::clock;
use crate::errno::Errno;
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
    require_time_right()?;
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
