//! Counters of known rate, against which the TSC is measured: HPET, ACPI timer, PIT.
//!
//! All are read as 32-bit counters or less and wrap; [`Reference::elapsed`] gives the ticks between two readings that
//! are less than one turn apart (42 s for an HPET of 100 MHz, 4.6 s for an ACPI timer of 24 bits, 55 ms for a PIT).

use crate::drivers::acpi::Platform;
use crate::drivers::io::{Mmio, inb, inl, outb};

const FEMTOSECONDS: u64 = 1_000_000_000_000_000;
const PM_TIMER_HZ: u64 = 3_579_545;
const PIT_HZ: u64 = 1_193_182;

/// A counter of known rate.
#[derive(Debug, Clone, Copy)]
pub struct Reference {
    kind: Kind,
    /// Ticks per second.
    pub hz: u64,
    mask: u32,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Hpet(Mmio),
    PmTimer(u16),
    Pit,
}

mod hpet {
    pub const CAPABILITIES_HIGH: usize = 4;
    pub const CONFIGURATION: usize = 0x10;
    pub const COUNTER: usize = 0xf0;
    pub const ENABLE: u32 = 1;
    /// The slowest that the specification allows: 100 ns.
    pub const PERIOD_MAX_FS: u32 = 100_000_000;
}

mod pit {
    pub const CHANNEL_2: u16 = 0x42;
    pub const COMMAND: u16 = 0x43;
    pub const GATE: u16 = 0x61;
    pub const GATE_OPEN: u8 = 1;
    pub const SPEAKER: u8 = 2;
    /// Channel 2, low byte then high byte, rate generator, binary.
    pub const COUNT_DOWN: u8 = 0xb4;
    pub const LATCH: u8 = 0x80;
}

impl Reference {
    /// The best one of the machine.
    pub fn find(platform: &Platform) -> Option<Self> {
        let hpet = platform.hpet.and_then(Self::hpet);
        hpet.or_else(|| Self::pm_timer(platform)).or_else(Self::pit)
    }

    fn hpet(address: u64) -> Option<Self> {
        let window = Mmio::map(address, 0x400).ok()?;
        let period_fs = window.read32(hpet::CAPABILITIES_HIGH);
        if !(1..=hpet::PERIOD_MAX_FS).contains(&period_fs) {
            return None;
        }
        window.write32(hpet::CONFIGURATION, window.read32(hpet::CONFIGURATION) | hpet::ENABLE);
        Some(Self { kind: Kind::Hpet(window), hz: FEMTOSECONDS / u64::from(period_fs), mask: u32::MAX })
    }

    fn pm_timer(platform: &Platform) -> Option<Self> {
        let timer = platform.pm_timer?;
        let mask = if timer.is_32_bit { u32::MAX } else { 0xff_ffff };
        Some(Self { kind: Kind::PmTimer(timer.port), hz: PM_TIMER_HZ, mask })
    }

    fn pit() -> Option<Self> {
        outb(pit::GATE, (inb(pit::GATE) & !pit::SPEAKER) | pit::GATE_OPEN);
        outb(pit::COMMAND, pit::COUNT_DOWN);
        outb(pit::CHANNEL_2, 0xff);
        outb(pit::CHANNEL_2, 0xff);
        let this = Self { kind: Kind::Pit, hz: PIT_HZ, mask: 0xffff };
        // Without a PIT its ports read as all ones and stand still.
        let start = this.read();
        (0..1000).any(|_| this.read() != start).then_some(this)
    }

    /// The counter as it is now.
    #[inline]
    pub fn read(&self) -> u32 {
        match self.kind {
            Kind::Hpet(window) => window.read32(hpet::COUNTER),
            Kind::PmTimer(port) => inl(port),
            Kind::Pit => {
                outb(pit::COMMAND, pit::LATCH);
                let low = inb(pit::CHANNEL_2);
                let down = u16::from_le_bytes([low, inb(pit::CHANNEL_2)]);
                u32::from(!down)
            }
        }
    }

    /// Ticks from reading `start` to reading `end`, less than a turn apart.
    #[inline]
    pub fn elapsed(&self, start: u32, end: u32) -> u32 {
        end.wrapping_sub(start) & self.mask
    }

    /// Nanoseconds that the counter takes for one turn.
    pub fn turn_ns(&self) -> u64 {
        u64::from(self.mask) * 1_000_000_000 / self.hz.max(1)
    }
}
