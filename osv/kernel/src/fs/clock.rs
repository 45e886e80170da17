//! The time that files are stamped with.

use super::Timespec;

/// The present, by the wall clock.
#[cfg(not(test))]
#[inline]
pub fn now() -> Timespec {
    Timespec::from_nanos(crate::drivers::clock::realtime_ns())
}

/// The present, by the host's clock.
#[cfg(test)]
pub fn now() -> Timespec {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Timespec { sec: since.as_secs() as i64, nsec: since.subsec_nanos() }
}
