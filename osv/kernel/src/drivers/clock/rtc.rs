//! The CMOS real-time clock: the time of day at boot, in whole seconds of UTC.
//!
//! The chip's registers change under the reader once a second; the time is read until two readings agree. Values come
//! as BCD or binary, with 12 or 24 hours, as a status register says. [`Reading::unix_seconds`] is pure and tested.

use crate::drivers::io::{inb, outb};

const INDEX: u16 = 0x70;
const DATA: u16 = 0x71;
const STATUS_A: u8 = 0x0a;
const STATUS_B: u8 = 0x0b;
const UPDATE_IN_PROGRESS: u8 = 0x80;
const BINARY: u8 = 0x04;
const HOURS_24: u8 = 0x02;
const AFTERNOON: u8 = 0x80;
/// Readings to try before giving up on two that agree.
const ATTEMPTS: usize = 16;
/// Where the chip keeps seconds, minutes, hours, day, month and year.
const FIELDS: [u8; 6] = [0, 2, 4, 7, 8, 9];

/// The chip's registers at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reading {
    fields: [u8; 6],
    status_b: u8,
}

impl Reading {
    /// Seconds since 1970, or `None` if the registers hold no date.
    fn unix_seconds(self) -> Option<u64> {
        let decode = |raw: u8| if self.status_b & BINARY != 0 { raw } else { (raw >> 4) * 10 + (raw & 15) };
        let [second, minute, hour, day, month, year] = self.fields;
        let hour = match (self.status_b & HOURS_24 != 0, hour & AFTERNOON != 0) {
            (true, _) => decode(hour),
            (false, is_afternoon) => decode(hour & !AFTERNOON) % 12 + if is_afternoon { 12 } else { 0 },
        };
        let (second, minute) = (decode(second), decode(minute));
        let (day, month) = (decode(day), decode(month));
        let is_date = second < 60 && minute < 60 && hour < 24 && (1..=31).contains(&day) && (1..=12).contains(&month);
        let two_digits = u64::from(decode(year));
        let year = two_digits + if two_digits < 70 { 2000 } else { 1900 };
        let days = days_since_1970(year, u64::from(month), u64::from(day));
        is_date.then(|| ((days * 24 + u64::from(hour)) * 60 + u64::from(minute)) * 60 + u64::from(second))
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar.
fn days_since_1970(year: u64, month: u64, day: u64) -> u64 {
    // Years are counted from March, so that the leap day is the last of its year.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    year * 365 + leap_days + (month * 153 + 2) / 5 + day - 1 - 719_468
}

fn register(index: u8) -> u8 {
    outb(INDEX, index);
    inb(DATA)
}

fn reading() -> Option<Reading> {
    (register(STATUS_A) & UPDATE_IN_PROGRESS == 0)
        .then(|| Reading { fields: FIELDS.map(register), status_b: register(STATUS_B) })
}

/// The time of day in seconds since 1970, or `None` without a clock that shows a date.
///
/// A machine without the chip answers with all ones, which is no date.
pub fn unix_seconds() -> Option<u64> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let now = reading();
        if now.is_some() && now == last {
            return now?.unix_seconds();
        }
        last = now;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bcd_and_binary_agree() {
        let bcd = Reading { fields: [0x59, 0x30, 0x23, 0x29, 0x02, 0x24], status_b: HOURS_24 };
        let binary = Reading { fields: [59, 30, 23, 29, 2, 24], status_b: HOURS_24 | BINARY };
        assert_eq!(bcd.unix_seconds(), Some(1_709_249_459));
        assert_eq!(binary.unix_seconds(), bcd.unix_seconds());
    }

    #[test]
    fn twelve_hours() {
        let noon = Reading { fields: [0, 0, 0x12 | AFTERNOON, 1, 1, 0x70], status_b: 0 };
        let midnight = Reading { fields: [0, 0, 0x12, 1, 1, 0x70], status_b: 0 };
        assert_eq!((midnight.unix_seconds(), noon.unix_seconds()), (Some(0), Some(12 * 3600)));
    }

    #[test]
    fn no_chip_is_no_date() {
        assert_eq!(Reading { fields: [0xff; 6], status_b: 0xff }.unix_seconds(), None);
        assert_eq!(Reading { fields: [0; 6], status_b: 0 }.unix_seconds(), None);
    }

    #[test]
    fn days_follow_the_calendar() {
        assert_eq!(days_since_1970(1970, 1, 1), 0);
        assert_eq!(days_since_1970(2000, 3, 1), 11_017);
        assert_eq!(days_since_1970(2026, 11, 23), 20_780);
    }
}
