//! A tracee's debug registers as its tracer sees them: what may be watched, and what was.
//!
//! Only the lower half can be watched: the kernel's own accesses never trap but for those to the program's memory, which
//! the entry of the exception ignores.

use crate::arch::{DEBUG_ADDRESSES, DEBUG_STATUS_NONE, DebugRegisters};
use crate::errno::{Errno, Result};
use crate::mem::user::{USER_END, UserSlice};

/// Bits of DR7 per address: two that enable it, from bit 0; kind and length, from bit 16.
const ENABLE_BITS: usize = 2;
const KIND_BITS: usize = 4;
const KINDS_AT: usize = 16;
/// Kinds of accesses; 2 would be ports.
const EXECUTE: u64 = 0;
const PORTS: u64 = 2;
/// "Exact", for old CPUs, and the bit that is always set.
const EXACT: u64 = 1 << 8 | 1 << 10;

/// DR0 to DR7 of a tracee.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Watch {
    addresses: [u64; DEBUG_ADDRESSES],
    /// DR7 as it was set.
    control: u64,
    /// DR6.
    pub(super) status: u64,
    /// What stood at the addresses before the step that is under way.
    before: [u64; DEBUG_ADDRESSES],
}

impl Default for Watch {
    fn default() -> Watch {
        Watch { addresses: [0; DEBUG_ADDRESSES], control: 0, status: DEBUG_STATUS_NONE, before: [0; DEBUG_ADDRESSES] }
    }
}

impl Watch {
    /// The register `number`.
    pub(super) fn get(&self, number: usize) -> u64 {
        match number {
            6 => self.status,
            7 => self.control,
            _ => self.addresses.get(number).copied().unwrap_or(0),
        }
    }

    /// Sets the register `number`. EIO if there is none, EINVAL for what it cannot be.
    pub(super) fn set(&mut self, number: usize, value: u64) -> Result<()> {
        let mut new = *self;
        match number {
            6 => new.status = value,
            7 => new.control = value,
            _ => *new.addresses.get_mut(number).ok_or(Errno::EIO)? = value,
        }
        new.check()?;
        *self = new;
        Ok(())
    }

    /// EINVAL unless all that is watched are aligned pieces of the lower half.
    fn check(&self) -> Result<()> {
        for (index, &address) in self.addresses.iter().enumerate() {
            if address >= USER_END {
                return Err(Errno::EINVAL);
            }
            let Some((kind, len)) = self.kind(index) else { continue };
            if kind == PORTS || kind == EXECUTE && len != 1 || !address.is_multiple_of(len) {
                return Err(Errno::EINVAL);
            }
        }
        Ok(())
    }

    /// The kind of access that is watched at an address, and the length; nothing if it is not enabled.
    fn kind(&self, index: usize) -> Option<(u64, u64)> {
        const LENGTHS: [u64; 4] = [1, 2, 8, 4];
        let is_enabled = self.control >> (ENABLE_BITS * index) & 0b11 != 0;
        let bits = self.control >> (KINDS_AT + KIND_BITS * index) & 0b1111;
        is_enabled.then(|| (bits & 0b11, LENGTHS.get((bits >> 2) as usize).copied().unwrap_or(1)))
    }

    /// Whether one of the addresses that `status`, DR6, names stands for an instruction that has yet to be executed.
    pub(super) fn is_before_instruction(&self, status: u64) -> bool {
        (0..DEBUG_ADDRESSES)
            .any(|index| status >> index & 1 != 0 && self.kind(index).is_some_and(|(kind, _)| kind == EXECUTE))
    }

    /// What stands at the addresses of the current program whose data are watched.
    pub(super) fn look(&self) -> [u64; DEBUG_ADDRESSES] {
        let mut values = [0; DEBUG_ADDRESSES];
        for (index, value) in values.iter_mut().enumerate() {
            let Some((kind, len)) = self.kind(index).filter(|&(kind, _)| kind != EXECUTE) else { continue };
            debug_assert!(kind != PORTS, "`set` refuses ports");
            let mut bytes = [0; 8];
            let place = self.addresses.get(index).map(|&address| UserSlice::new(address, len as usize));
            if let (Some(place), Some(bytes)) = (place, bytes.get_mut(..len as usize)) {
                // What cannot be read does not change.
                let _ = place.read_exact(bytes);
            }
            *value = u64::from_le_bytes(bytes);
        }
        values
    }

    /// A step begins, and this stands at the addresses.
    pub(super) fn begin_step(&mut self, values: [u64; DEBUG_ADDRESSES]) {
        self.before = values;
    }

    /// A step is over, and this stands at the addresses: the bits of DR6 for those that have changed.
    pub(super) fn changes(&self, values: [u64; DEBUG_ADDRESSES]) -> u64 {
        let changed = self.before.iter().zip(values).enumerate().filter(|(_, (before, now))| **before != *now);
        changed.fold(0, |bits, (index, _)| bits | 1 << index)
    }

    /// What the CPU is to watch. In a step no data: whether they change is seen by looking, since a step and a watched
    /// address at once are too much for emulators ([`arch`](crate::arch)'s entry of the exception).
    pub(super) fn registers(&self, is_stepping: bool) -> DebugRegisters {
        let mut control = 0;
        let is_watched = |index: &usize| self.kind(*index).is_some_and(|(kind, _)| kind == EXECUTE || !is_stepping);
        for index in (0..DEBUG_ADDRESSES).filter(is_watched) {
            let kind = 0b1111 << (KINDS_AT + KIND_BITS * index);
            control |= self.control & kind | 1 << (ENABLE_BITS * index) | EXACT;
        }
        DebugRegisters { addresses: self.addresses, control }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE_8_BYTES: u64 = 0b1001 << 16 | 1;

    #[test]
    fn only_aligned_addresses_of_programs_are_watched() {
        let mut watch = Watch::default();
        assert_eq!(watch.set(0, 0xffff_ffff_8000_0000), Err(Errno::EINVAL));
        assert_eq!(watch.set(0, 0x1004), Ok(()));
        assert_eq!(watch.set(7, WRITE_8_BYTES), Err(Errno::EINVAL));
        assert_eq!(watch.set(0, 0x1008), Ok(()));
        assert_eq!(watch.set(7, WRITE_8_BYTES), Ok(()));
        assert_eq!(watch.set(0, 0x1001), Err(Errno::EINVAL));
        assert_eq!(watch.set(7, 0b0010 << 16 | 1), Err(Errno::EINVAL));
        assert_eq!(watch.set(7, 0b0100 << 16 | 1), Err(Errno::EINVAL));
        assert_eq!(watch.set(4, 0), Err(Errno::EIO));
        assert_eq!((watch.get(0), watch.get(7)), (0x1008, WRITE_8_BYTES));
    }

    #[test]
    fn data_are_not_watched_in_a_step_but_compared() {
        let mut watch = Watch::default();
        watch.set(0, 0x1008).unwrap();
        watch.set(7, WRITE_8_BYTES).unwrap();
        assert_eq!(watch.registers(false).control, WRITE_8_BYTES | EXACT);
        assert_eq!(watch.registers(true).control, 0);
        watch.begin_step([1, 2, 3, 4]);
        assert_eq!(watch.changes([1, 2, 3, 4]), 0);
        assert_eq!(watch.changes([9, 2, 3, 9]), 0b1001);
    }

    #[test]
    fn the_cpu_gets_nothing_but_what_is_enabled() {
        let mut watch = Watch::default();
        watch.set(1, 0x2000).unwrap();
        watch.set(7, 1 << 13 | 1 << 9 | 0b0001 << 24 | 0b11 << 2).unwrap();
        assert_eq!(watch.registers(true).control, 1 << 2 | EXACT);
        assert!(watch.is_before_instruction(0b10));
        watch.set(7, 0).unwrap();
        assert_eq!(watch.registers(false).control, 0);
    }
}
