//! What the log said last: a ring of bytes, each line with level and time as `dmesg` wants them.
//!
//! Lines come from anywhere, from interrupts and last words too: a line that finds the ring locked is printed but not kept.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::Level;
use crate::drivers::clock;
use crate::sync::{IrqOff, SpinLock};

/// How many bytes are kept.
pub const CAPACITY: usize = 32 << 10;

struct Ring {
    bytes: [u8; CAPACITY],
    /// Bytes that were ever written.
    written: usize,
    /// Up to where `READ` has come, and where `CLEAR` has put the beginning.
    read: usize,
    cleared: usize,
}

static RING: SpinLock<Ring, IrqOff> = SpinLock::new(Ring { bytes: [0; CAPACITY], written: 0, read: 0, cleared: 0 });

impl Ring {
    /// Up to `most` of the last bytes since `from`; never a part of a line.
    fn last(&self, from: usize, most: usize) -> (usize, usize) {
        let oldest = self.written.saturating_sub(CAPACITY);
        let start = from.max(oldest).max(self.written.saturating_sub(most));
        // What stood before the oldest byte is not there to be looked at.
        let is_cut = start != 0 && start != from && (start == oldest || self.byte(start - 1) != b'\n');
        let start = if is_cut {
            (start..self.written).find(|&at| self.byte(at) == b'\n').map_or(self.written, |at| at + 1)
        } else {
            start
        };
        (start, self.written)
    }

    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at % CAPACITY).copied().unwrap_or(0)
    }

    fn copy(&self, from: usize, to: usize) -> Vec<u8> {
        (from..to).map(|at| self.byte(at)).collect()
    }
}

impl Write for Ring {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if let Some(place) = self.bytes.get_mut(self.written % CAPACITY) {
                *place = byte;
            }
            self.written += 1;
        }
        Ok(())
    }
}

/// Keeps a line.
pub(super) fn keep(level: Level, text: fmt::Arguments) {
    let Some(mut ring) = RING.try_lock() else { return };
    let number = match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug => 7,
    };
    let micros = if cfg!(test) { 0 } else { clock::monotonic_ns() / 1000 };
    // Writing to the ring cannot fail.
    let _ = writeln!(ring, "<{number}>[{:5}.{:06}] {text}", micros / 1_000_000, micros % 1_000_000);
}

/// The last lines that take no more than `most` bytes, since they were cleared.
pub fn last(most: usize) -> Vec<u8> {
    let ring = RING.lock();
    let (from, to) = ring.last(ring.cleared, most);
    ring.copy(from, to)
}

/// Takes up to `most` bytes of what nobody has taken yet.
pub fn take_unread(most: usize) -> Vec<u8> {
    let mut ring = RING.lock();
    let from = ring.read.max(ring.written.saturating_sub(CAPACITY));
    let to = ring.written.min(from.saturating_add(most));
    ring.read = to;
    ring.copy(from, to)
}

/// How many bytes nobody has taken yet.
pub fn unread() -> usize {
    let ring = RING.lock();
    ring.written - ring.read.max(ring.written.saturating_sub(CAPACITY))
}

/// Forgets what there is, for [`last`].
pub fn clear() {
    let mut ring = RING.lock();
    ring.cleared = ring.written;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_told() {
        let mut ring = Ring { bytes: [0; CAPACITY], written: 0, read: 0, cleared: 0 };
        ring.write_str("one\ntwo\nthree\n").unwrap();
        let tell = |ring: &Ring, most| {
            let (from, to) = ring.last(0, most);
            ring.copy(from, to)
        };
        assert_eq!(tell(&ring, 100), b"one\ntwo\nthree\n");
        assert_eq!(tell(&ring, 12), b"two\nthree\n");
        assert_eq!(tell(&ring, 10), b"two\nthree\n");
        assert_eq!(tell(&ring, 6), b"three\n");
        assert_eq!(tell(&ring, 5), b"");
        for _ in 0..CAPACITY {
            ring.write_str("12345678\n").unwrap();
        }
        assert_eq!(tell(&ring, CAPACITY).len() % 9, 0);
    }
}
