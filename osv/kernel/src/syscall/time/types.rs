//! Times as programs lay them out.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::errno::{Errno, Result};

const NANOS_PER_SEC: u64 = 1_000_000_000;

/// `struct timespec`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Timespec {
    pub sec: i64,
    pub nsec: i64,
}

impl Timespec {
    /// The time `ns` nanoseconds after zero.
    pub const fn from_nanos(ns: u64) -> Timespec {
        Timespec { sec: (ns / NANOS_PER_SEC) as i64, nsec: (ns % NANOS_PER_SEC) as i64 }
    }

    /// Nanoseconds after zero; what is beyond 584 years saturates. EINVAL for what is no time.
    pub fn to_nanos(self) -> Result<u64> {
        let sec = u64::try_from(self.sec).map_err(|_| Errno::EINVAL)?;
        let nsec = u64::try_from(self.nsec).ok().filter(|&nsec| nsec < NANOS_PER_SEC).ok_or(Errno::EINVAL)?;
        Ok(sec.saturating_mul(NANOS_PER_SEC).saturating_add(nsec))
    }
}

/// `struct timeval`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct Timeval {
    pub sec: i64,
    pub usec: i64,
}

impl Timeval {
    /// The time `ns` nanoseconds after zero.
    pub const fn from_nanos(ns: u64) -> Timeval {
        Timeval { sec: (ns / NANOS_PER_SEC) as i64, usec: (ns % NANOS_PER_SEC / 1000) as i64 }
    }

    /// Nanoseconds after zero, saturating. EINVAL for what is no time.
    pub fn to_nanos(self) -> Result<u64> {
        let nsec = u64::try_from(self.usec).ok().filter(|&usec| usec < 1_000_000).ok_or(Errno::EINVAL)? * 1000;
        Timespec { sec: self.sec, nsec: nsec as i64 }.to_nanos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_convert() {
        assert_eq!(Timespec { sec: 2, nsec: 5 }.to_nanos(), Ok(2_000_000_005));
        assert_eq!(Timespec { sec: i64::MAX, nsec: 0 }.to_nanos(), Ok(u64::MAX));
        assert_eq!(Timespec { sec: 0, nsec: 1_000_000_000 }.to_nanos(), Err(Errno::EINVAL));
        assert_eq!(Timespec { sec: -1, nsec: 0 }.to_nanos(), Err(Errno::EINVAL));
        assert_eq!(Timeval { sec: 1, usec: 999_999 }.to_nanos(), Ok(1_999_999_000));
        assert_eq!(Timeval { sec: 1, usec: 1_000_000 }.to_nanos(), Err(Errno::EINVAL));
        let Timeval { sec, usec } = Timeval::from_nanos(3_000_004_999);
        assert_eq!((sec, usec), (3, 4));
    }
}
