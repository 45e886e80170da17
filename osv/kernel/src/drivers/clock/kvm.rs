//! KVM's paravirtual clock: tells the exact rate of the TSC and the time of day, without a measurement.
//!
//! The hypervisor writes two small records into memory whose address it is given by MSR. Only the rate and the wall
//! clock are taken from them, once, at boot; time itself is then told from the TSC like everywhere else, and the
//! hypervisor is told to forget the addresses.

use core::sync::atomic::{AtomicU32, Ordering};

use super::{Scale, cpuid, tsc};
use crate::drivers::io::phys_of_static;

const MSR_WALL_CLOCK: u32 = 0x4b56_4d00;
const MSR_SYSTEM_TIME: u32 = 0x4b56_4d01;
const FEATURE_CLOCK_2: u32 = 1 << 3;
const ENABLE: u64 = 1;

/// The record of the system time: version, padding, TSC stamp (two words), nanoseconds (two words), factor, shift and flags.
#[repr(C, align(64))]
struct TimeRecord([AtomicU32; 8]);

/// The record of the time of day when system time was 0: version, seconds, nanoseconds.
#[repr(C, align(64))]
struct WallRecord([AtomicU32; 3]);

static TIME: TimeRecord = TimeRecord([const { AtomicU32::new(0) }; 8]);
static WALL: WallRecord = WallRecord([const { AtomicU32::new(0) }; 3]);

/// The clock's readings at boot.
pub struct KvmClock {
    factor: u32,
    shift: i8,
    system_ns: u64,
    wall_ns: u64,
}

fn wrmsr(index: u32, value: u64) {
    // SAFETY:
    // - the MSRs exist, as KVM's feature bit says;
    // - the address is that of a static of the size and alignment that the interface asks for, made of atomics.
    unsafe { x86_64::registers::model_specific::Msr::new(index).write(value) }
}

/// The words of a record whose first is a version: even, and the same before and after.
fn snapshot<const N: usize>(record: &[AtomicU32; N]) -> Option<[u32; N]> {
    const ATTEMPTS: usize = 100;
    let take = || {
        let words = record.each_ref().map(|word| word.load(Ordering::Acquire));
        (words[0] & 1 == 0 && words[0] == record[0].load(Ordering::Acquire)).then_some(words)
    };
    (0..ATTEMPTS).find_map(|_| take())
}

fn wide(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}

impl KvmClock {
    /// Asks KVM, where it runs us and has the clock.
    pub fn find() -> Option<Self> {
        if cpuid::kvm_features() & FEATURE_CLOCK_2 == 0 {
            return None;
        }
        wrmsr(MSR_SYSTEM_TIME, phys_of_static(&TIME) | ENABLE);
        wrmsr(MSR_WALL_CLOCK, phys_of_static(&WALL));
        let time = snapshot(&TIME.0)?;
        let wall = snapshot(&WALL.0)?;
        wrmsr(MSR_SYSTEM_TIME, 0);
        let [_, _, stamp_low, stamp_high, ns_low, ns_high, factor, flags] = time;
        let mut clock = Self {
            factor,
            shift: flags.to_le_bytes()[0] as i8,
            system_ns: 0,
            wall_ns: u64::from(wall[1]) * 1_000_000_000 + u64::from(wall[2]),
        };
        let since_stamp = tsc().wrapping_sub(wide(stamp_low, stamp_high));
        clock.system_ns = wide(ns_low, ns_high).wrapping_add(clock.scale()?.apply(since_stamp));
        Some(clock)
    }

    /// The TSC's rate.
    pub fn scale(&self) -> Option<Scale> {
        let factor = u64::from(self.factor);
        let shifted = match self.shift {
            shift @ 0..=31 => factor << shift,
            shift @ -31..=-1 => factor >> shift.unsigned_abs(),
            _ => 0,
        };
        (shifted != 0).then(|| Scale::from_factor(shifted))
    }

    /// The time of day when the clock was read.
    pub fn wall_ns(&self) -> Option<u64> {
        (self.wall_ns != 0).then(|| self.wall_ns.wrapping_add(self.system_ns))
    }
}
