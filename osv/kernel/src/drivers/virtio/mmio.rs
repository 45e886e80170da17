//! Virtio over memory-mapped registers, as microvm and Firecracker have it: version 2, and QEMU's legacy version 1.
//!
//! Such devices are announced by the kernel's command line, `virtio_mmio.device=SIZE@ADDRESS:IRQ` once for each, or by
//! ACPI's byte code.

use super::queue::Layout;
use super::{Handler, connect_line};
use crate::drivers::acpi::VirtioPlace;
use crate::drivers::io::Mmio;
use crate::drivers::irq::LineMode;
use crate::errno::{Errno, Result};

const MAGIC: u32 = u32::from_le_bytes(*b"virt");
const WINDOW_MIN: usize = 0x200;
const WINDOW_MAX: usize = 1 << 16;
const LEGACY_PAGE: u32 = 4096;

mod register {
    pub const MAGIC: usize = 0x000;
    pub const VERSION: usize = 0x004;
    pub const DEVICE: usize = 0x008;
    pub const DEVICE_FEATURES: usize = 0x010;
    pub const DEVICE_FEATURES_SELECT: usize = 0x014;
    pub const DRIVER_FEATURES: usize = 0x020;
    pub const DRIVER_FEATURES_SELECT: usize = 0x024;
    pub const LEGACY_PAGE_SIZE: usize = 0x028;
    pub const QUEUE_SELECT: usize = 0x030;
    pub const QUEUE_SIZE_MAX: usize = 0x034;
    pub const QUEUE_SIZE: usize = 0x038;
    pub const LEGACY_QUEUE_ALIGN: usize = 0x03c;
    pub const LEGACY_QUEUE_PAGE: usize = 0x040;
    pub const QUEUE_READY: usize = 0x044;
    pub const NOTIFY: usize = 0x050;
    pub const INTERRUPT_STATUS: usize = 0x060;
    pub const INTERRUPT_ACK: usize = 0x064;
    pub const STATUS: usize = 0x070;
    pub const DESCRIPTORS: usize = 0x080;
    pub const AVAILABLE: usize = 0x090;
    pub const USED: usize = 0x0a0;
    pub const GENERATION: usize = 0x0fc;
    pub const CONFIG: usize = 0x100;
}

/// The devices that a kernel command line names.
pub fn from_cmdline(cmdline: &[u8]) -> impl Iterator<Item = VirtioPlace> {
    cmdline.split(|byte| byte.is_ascii_whitespace()).filter_map(|word| {
        let text = core::str::from_utf8(word.strip_prefix(b"virtio_mmio.device=")?).ok()?;
        let (size, rest) = text.split_once('@')?;
        let mut fields = rest.split(':');
        let (address, irq) = (fields.next()?, fields.next()?);
        let len = usize::try_from(parse_size(size)?).ok()?;
        Some(VirtioPlace { address: parse_number(address)?, len, gsi: u32::try_from(parse_number(irq)?).ok()? })
    })
}

fn parse_number(text: &str) -> Option<u64> {
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

/// A number that may end with K, M or G.
fn parse_size(text: &str) -> Option<u64> {
    let shift = match text.as_bytes().last()? {
        b'k' | b'K' => 10,
        b'm' | b'M' => 20,
        b'g' | b'G' => 30,
        _ => return parse_number(text),
    };
    parse_number(text.get(..text.len() - 1)?)?.checked_mul(1 << shift)
}

/// A device's registers.
#[derive(Debug, Clone, Copy)]
pub struct MmioTransport {
    window: Mmio,
    gsi: u32,
    is_legacy: bool,
}

impl MmioTransport {
    /// The device at `place` and its type, if there is one.
    pub fn probe(place: VirtioPlace) -> Option<(Self, u16)> {
        let window = Mmio::map(place.address, place.len.clamp(WINDOW_MIN, WINDOW_MAX)).ok()?;
        let is_legacy = match (window.read32(register::MAGIC), window.read32(register::VERSION)) {
            (MAGIC, 1) => true,
            (MAGIC, 2) => false,
            _ => return None,
        };
        let kind = u16::try_from(window.read32(register::DEVICE)).ok().filter(|kind| *kind != 0)?;
        Some((Self { window, gsi: place.gsi, is_legacy }, kind))
    }

    pub(super) fn device_features(&self) -> u64 {
        let half = |select| {
            self.window.write32(register::DEVICE_FEATURES_SELECT, select);
            u64::from(self.window.read32(register::DEVICE_FEATURES))
        };
        let low = half(0);
        if self.is_legacy { low } else { low | half(1) << 32 }
    }

    pub(super) fn set_driver_features(&self, features: u64) {
        for (select, half) in [(0, features as u32), (1, (features >> 32) as u32)] {
            self.window.write32(register::DRIVER_FEATURES_SELECT, select);
            self.window.write32(register::DRIVER_FEATURES, half);
        }
        if self.is_legacy {
            self.window.write32(register::LEGACY_PAGE_SIZE, LEGACY_PAGE);
        }
    }

    pub(super) fn status(&self) -> u8 {
        self.window.read32(register::STATUS) as u8
    }

    pub(super) fn set_status(&self, status: u8) {
        self.window.write32(register::STATUS, u32::from(status));
    }

    fn select(&self, index: u16) {
        self.window.write32(register::QUEUE_SELECT, u32::from(index));
    }

    pub(super) fn queue_size_max(&mut self, index: u16) -> u16 {
        self.select(index);
        u16::try_from(self.window.read32(register::QUEUE_SIZE_MAX)).unwrap_or(0)
    }

    pub(super) fn enable_queue(&self, index: u16, size: u16, layout: &Layout) -> Result<()> {
        self.select(index);
        self.window.write32(register::QUEUE_SIZE, u32::from(size));
        if self.is_legacy {
            let page = layout.descriptors / u64::from(LEGACY_PAGE);
            self.window.write32(register::LEGACY_QUEUE_ALIGN, LEGACY_PAGE);
            self.window.write32(register::LEGACY_QUEUE_PAGE, u32::try_from(page).map_err(|_| Errno::ENODEV)?);
            return Ok(());
        }
        for (register, address) in [
            (register::DESCRIPTORS, layout.descriptors),
            (register::AVAILABLE, layout.available),
            (register::USED, layout.used),
        ] {
            self.window.write32(register, address as u32);
            self.window.write32(register + 4, (address >> 32) as u32);
        }
        self.window.write32(register::QUEUE_READY, 1);
        Ok(())
    }

    pub(super) fn connect_interrupt(&self, handler: Handler) -> Result<()> {
        let window = self.window;
        let acknowledge = move || {
            let status = window.read32(register::INTERRUPT_STATUS);
            window.write32(register::INTERRUPT_ACK, status);
            status != 0
        };
        // The line stays up until the device is acknowledged: a missed edge would be lost for ever.
        connect_line(self.gsi, LineMode { is_level: true, is_active_low: false }, acknowledge, handler)
    }

    #[inline]
    pub(super) fn notify(&self, index: u16) {
        self.window.write32(register::NOTIFY, u32::from(index));
    }

    pub(super) fn config_generation(&self) -> u32 {
        if self.is_legacy { 0 } else { self.window.read32(register::GENERATION) }
    }

    pub(super) fn write_config32(&self, offset: usize, value: u32) {
        self.window.write32(register::CONFIG + offset, value);
    }

    pub(super) fn read_config8(&self, offset: usize) -> u8 {
        self.window.read8(register::CONFIG + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_lines_name_devices() {
        let line = b"quiet virtio_mmio.device=512@0xfeb00000:5 x virtio_mmio.device=4K@0xd0001000:6:1 y=z";
        let places: Vec<_> = from_cmdline(line).collect();
        assert_eq!(
            places,
            [
                VirtioPlace { address: 0xfeb0_0000, len: 512, gsi: 5 },
                VirtioPlace { address: 0xd000_1000, len: 4096, gsi: 6 }
            ]
        );
    }

    #[test]
    fn nonsense_names_none() {
        for line in [
            &b"virtio_mmio.device="[..],
            b"virtio_mmio.device=@:",
            b"virtio_mmio.device=512@0xfeb00000",
            b"virtio_mmio.device=99999999999999999999G@1:1",
            b"virtio_mmio.device=18446744073709551615G@1:1",
            b"virtio_mmio.device=K@1:99999999999",
            b"virtio_mmio.device=\xff@1:1",
        ] {
            assert_eq!(from_cmdline(line).count(), 0, "{line:?}");
        }
    }
}
