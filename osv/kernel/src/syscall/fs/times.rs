//! Times of files: `utimensat(2)` and its elders.

use linux_raw_sys::general;
use zerocopy::FromBytes;

use super::{CURRENT, as_caller, at_place, known_flags, usable_file};
use crate::errno::{Errno, Result};
use crate::fs::{SetTime, Timespec, anonymous};
use crate::mem::user::{UserAddr, UserPtr};
use crate::syscall::{Fd, SysResult};

const NANOS_PER_SEC: i64 = 1_000_000_000;
/// A time of one of the two kinds of `struct` with seconds first.
type RawTime = [i64; 2];
/// Access and modification time; `None` leaves one as it is.
type Times = [Option<SetTime>; 2];

/// `struct utimbuf`.
#[derive(Clone, Copy, FromBytes)]
#[repr(C)]
pub struct TimeBuffer {
    access: i64,
    modification: i64,
}

/// Sets times in seconds. <https://man7.org/linux/man-pages/man2/utime.2.html>
pub fn utime(path: UserAddr, times: UserPtr<TimeBuffer>) -> SysResult {
    let times = match times.non_null() {
        None => [Some(SetTime::Now); 2],
        Some(times) => {
            let TimeBuffer { access, modification } = times.read()?;
            [access, modification].map(|sec| Some(SetTime::To(Timespec { sec, nsec: 0 })))
        }
    };
    set(CURRENT, path, times, 0)
}

/// Sets times in microseconds. <https://man7.org/linux/man-pages/man2/utimes.2.html>
pub fn utimes(path: UserAddr, times: UserPtr<[RawTime; 2]>) -> SysResult {
    futimesat(CURRENT, path, times)
}

/// As `utimes`, relative to a directory. <https://man7.org/linux/man-pages/man2/futimesat.2.html>
pub fn futimesat(directory: Fd, path: UserAddr, times: UserPtr<[RawTime; 2]>) -> SysResult {
    let times = match times.non_null() {
        None => [Some(SetTime::Now); 2],
        Some(times) => {
            let [access, modification] = times.read()?;
            [from_micros(access)?, from_micros(modification)?]
        }
    };
    if path.is_null() {
        return set_opened(directory, times);
    }
    set(directory, path, times, 0)
}

/// Sets times in nanoseconds. <https://man7.org/linux/man-pages/man2/utimensat.2.html>
pub fn utimensat(directory: Fd, path: UserAddr, times: UserPtr<[RawTime; 2]>, flags: u32) -> SysResult {
    let times = match times.non_null() {
        None => [Some(SetTime::Now); 2],
        Some(times) => {
            let [access, modification] = times.read()?;
            [from_nanos(access)?, from_nanos(modification)?]
        }
    };
    if times == [None; 2] {
        return Ok(0);
    }
    if path.is_null() && directory != CURRENT {
        known_flags(flags, 0)?;
        return set_opened(directory, times);
    }
    set(directory, path, times, known_flags(flags, general::AT_SYMLINK_NOFOLLOW | general::AT_EMPTY_PATH)?)
}

fn from_micros([sec, usec]: RawTime) -> Result<Option<SetTime>> {
    if !(0..1_000_000).contains(&usec) {
        return Err(Errno::EINVAL);
    }
    Ok(Some(SetTime::To(Timespec { sec, nsec: usec as u32 * 1000 })))
}

fn from_nanos([sec, nsec]: RawTime) -> Result<Option<SetTime>> {
    const NOW: i64 = general::UTIME_NOW as i64;
    const OMIT: i64 = general::UTIME_OMIT as i64;
    match nsec {
        NOW => Ok(Some(SetTime::Now)),
        OMIT => Ok(None),
        0..NANOS_PER_SEC => Ok(Some(SetTime::To(Timespec { sec, nsec: nsec as u32 }))),
        _ => Err(Errno::EINVAL),
    }
}

fn set(directory: Fd, path: UserAddr, [access, modification]: Times, flags: u32) -> SysResult {
    at_place(directory, path, flags, |caller, place| caller.change_times(place, access, modification))?;
    Ok(0)
}

fn set_opened(fd: Fd, [access, modification]: Times) -> SysResult {
    let file = usable_file(fd)?;
    let place = anonymous::place_of(&file)?;
    as_caller(|caller| caller.change_times(&place, access, modification))?;
    Ok(0)
}
