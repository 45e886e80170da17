//! Virtio over PCI: the modern interface, which transitional devices offer too.
//!
//! The device says by capabilities in which BARs its registers lie; every window is checked when it is mapped, and an access
//! outside reads as all ones. Devices with the legacy interface only (`disable-modern=on`) are left alone.

use super::queue::Layout;
use super::{Handler, connect_line};
use crate::drivers::io::Mmio;
use crate::drivers::irq::{self, LineMode};
use crate::drivers::pci::{Function, Msix};
use crate::errno::{Errno, Result};

const VENDOR: u16 = 0x1af4;
const MODERN_BASE: u16 = 0x1040;
const TRANSITIONAL: core::ops::RangeInclusive<u16> = 0x1000..=0x103f;
const CAPABILITY_VENDOR: u8 = 0x09;
const NO_VECTOR: u16 = 0xffff;
/// Queues of one device that we can use: a console of eight ports has 18.
const QUEUES_MAX: usize = 20;

/// Kinds of windows.
mod window {
    pub const COMMON: u8 = 1;
    pub const NOTIFY: u8 = 2;
    pub const INTERRUPT: u8 = 3;
    pub const DEVICE: u8 = 4;
}

/// Registers of the common window.
mod common {
    pub const LEN: usize = 0x38;
    pub const DEVICE_FEATURE_SELECT: usize = 0x00;
    pub const DEVICE_FEATURE: usize = 0x04;
    pub const DRIVER_FEATURE_SELECT: usize = 0x08;
    pub const DRIVER_FEATURE: usize = 0x0c;
    pub const CONFIG_VECTOR: usize = 0x10;
    pub const STATUS: usize = 0x14;
    pub const GENERATION: usize = 0x15;
    pub const QUEUE_SELECT: usize = 0x16;
    pub const QUEUE_SIZE: usize = 0x18;
    pub const QUEUE_VECTOR: usize = 0x1a;
    pub const QUEUE_ENABLE: usize = 0x1c;
    pub const QUEUE_NOTIFY_OFFSET: usize = 0x1e;
    pub const QUEUE_DESCRIPTORS: usize = 0x20;
    pub const QUEUE_AVAILABLE: usize = 0x28;
    pub const QUEUE_USED: usize = 0x30;
}

/// A device's windows.
#[derive(Debug, Clone, Copy)]
pub struct PciTransport {
    function: Function,
    msix: Option<Msix>,
    common: Mmio,
    notify: Mmio,
    interrupt: Mmio,
    device: Option<Mmio>,
    notify_multiplier: u32,
    /// Where in the notification window each queue's register lies.
    notify_at: [u32; QUEUES_MAX],
}

impl PciTransport {
    /// The device behind `function` and its type, if it is a virtio device with the modern interface.
    pub fn probe(function: &Function) -> Option<(Self, u16)> {
        let kind = match function.device {
            _ if function.vendor != VENDOR => None,
            id if TRANSITIONAL.contains(&id) => Some(function.subsystem()),
            id => id.checked_sub(MODERN_BASE),
        }?;
        function.enable();
        let map = |kind| Self::map(function, kind);
        let (notify, at) = map(window::NOTIFY)?;
        let transport = Self {
            function: *function,
            msix: function.msix().ok(),
            common: map(window::COMMON)?.0.part(0, common::LEN)?,
            notify,
            interrupt: map(window::INTERRUPT)?.0,
            device: map(window::DEVICE).map(|(window, _)| window),
            notify_multiplier: function.read32(at + 16),
            notify_at: [0; QUEUES_MAX],
        };
        Some((transport, kind))
    }

    /// The first window of a kind that can be mapped, and the offset of its capability.
    fn map(function: &Function, kind: u8) -> Option<(Mmio, u16)> {
        const WINDOW_MAX: u32 = 1 << 20;
        function.capabilities().filter(|(id, _)| *id == CAPABILITY_VENDOR).find_map(|(_, at)| {
            let [_, _, _, this_kind] = function.read32(at).to_le_bytes();
            let bar = function.read32(at + 4) as u8;
            let (offset, len) = (function.read32(at + 8), function.read32(at + 12).min(WINDOW_MAX));
            let window = (this_kind == kind).then(|| function.map_bar(bar, offset, len as usize))?.ok()?;
            Some((window, at))
        })
    }

    pub(super) fn device_features(&self) -> u64 {
        let half = |select| {
            self.common.write32(common::DEVICE_FEATURE_SELECT, select);
            u64::from(self.common.read32(common::DEVICE_FEATURE))
        };
        half(0) | half(1) << 32
    }

    pub(super) fn set_driver_features(&self, features: u64) {
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.common.write32(common::DRIVER_FEATURE_SELECT, select);
            self.common.write32(common::DRIVER_FEATURE, half);
        }
    }

    pub(super) fn status(&self) -> u8 {
        self.common.read8(common::STATUS)
    }

    pub(super) fn set_status(&self, status: u8) {
        self.common.write8(common::STATUS, status);
    }

    fn select(&self, index: u16) {
        self.common.write16(common::QUEUE_SELECT, index);
    }

    pub(super) fn queue_size_max(&mut self, index: u16) -> u16 {
        self.select(index);
        let offset = u32::from(self.common.read16(common::QUEUE_NOTIFY_OFFSET)).wrapping_mul(self.notify_multiplier);
        match self.notify_at.get_mut(usize::from(index)) {
            Some(slot) => *slot = offset,
            None => return 0,
        }
        match self.common.read16(common::QUEUE_SIZE) {
            u16::MAX => 0,
            size => size,
        }
    }

    pub(super) fn enable_queue(&self, index: u16, size: u16, layout: &Layout) -> Result<()> {
        self.select(index);
        self.common.write16(common::QUEUE_SIZE, size);
        for (register, address) in [
            (common::QUEUE_DESCRIPTORS, layout.descriptors),
            (common::QUEUE_AVAILABLE, layout.available),
            (common::QUEUE_USED, layout.used),
        ] {
            self.common.write32(register, address as u32);
            self.common.write32(register + 4, (address >> 32) as u32);
        }
        if self.msix.is_some() {
            self.common.write16(common::QUEUE_VECTOR, 0);
            if self.common.read16(common::QUEUE_VECTOR) == NO_VECTOR {
                return Err(Errno::ENOSPC);
            }
        }
        self.common.write16(common::QUEUE_ENABLE, 1);
        Ok(())
    }

    /// The first message serves everything; a device without messages has a line and says whether it was it.
    pub(super) fn connect_interrupt(&self, handler: Handler) -> Result<()> {
        let Some(msix) = self.msix else {
            let line = self.function.line().ok_or(Errno::ENODEV)?;
            let wiring = crate::drivers::platform().isa_irq(line);
            let interrupt = self.interrupt;
            let mode = LineMode { is_level: true, is_active_low: wiring.is_active_low };
            // Reading the register lets the device release the line.
            return connect_line(wiring.gsi, mode, move || interrupt.read8(0) != 0, handler);
        };
        let vector = irq::register(handler)?;
        msix.route(0, vector);
        msix.enable();
        self.common.write16(common::CONFIG_VECTOR, 0);
        Ok(())
    }

    #[inline]
    pub(super) fn notify(&self, index: u16) {
        if let Some(offset) = self.notify_at.get(usize::from(index)) {
            self.notify.write16(*offset as usize, index);
        }
    }

    pub(super) fn config_generation(&self) -> u32 {
        u32::from(self.common.read8(common::GENERATION))
    }

    pub(super) fn write_config32(&self, offset: usize, value: u32) {
        if let Some(window) = self.device {
            window.write32(offset, value);
        }
    }

    pub(super) fn read_config8(&self, offset: usize) -> u8 {
        self.device.map_or(0, |window| window.read8(offset))
    }
}
