//! Ports and device registers: the driver's only way to touch hardware, checked for bounds and width.
//!
//! A driver holds an [`Mmio`] window that was mapped for it and reads and writes registers in it by offset. An offset
//! outside the window (drivers take offsets from the device itself, which is hostile) reads as all ones and writes
//! nothing, as on a bus where nobody answers. Ports can be touched by anybody: on x86 a port access has no effect on
//! memory safety by itself, and the devices that could be told to write to memory (bus masters) are told where by
//! `drivers::virtio::queue` alone.

use core::ptr::NonNull;

use x86_64::instructions::port::{PortReadOnly, PortWriteOnly};

use crate::arch::Physical;
use crate::arch::layout::KERNEL_BASE;
use crate::errno::{Errno, Result};
use crate::mem;

macro_rules! port_access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads a port.
        #[inline]
        pub fn $read(port: u16) -> $type {
            // SAFETY:
            // - reading a port changes nothing but a register; no memory is involved.
            unsafe { PortReadOnly::<$type>::new(port).read() }
        }

        /// Writes a port.
        #[inline]
        pub fn $write(port: u16, value: $type) {
            // SAFETY:
            // - writing a port changes no register or memory of ours; devices behind ports get memory
            //   addresses only from `virtio::queue` and `fw_cfg`, which hand out memory that they own.
            unsafe { PortWriteOnly::<$type>::new(port).write(value) }
        }
    };
}

port_access!(inb, outb, u8);
port_access!(inw, outw, u16);
port_access!(inl, outl, u32);

/// A window onto device registers.
#[derive(Debug, Clone, Copy)]
pub struct Mmio {
    base: NonNull<u8>,
    len: usize,
}

// SAFETY:
// - the window is device memory that stays mapped for ever and is only accessed by volatile instructions;
// - what concurrent accesses mean is up to the device and its driver, memory safety is not at stake.
unsafe impl Send for Mmio {}
// SAFETY:
// - as above.
unsafe impl Sync for Mmio {}

macro_rules! register_access {
    ($read:ident, $write:ident, $type:ty) => {
        /// Reads the register at `offset`; all ones if it is not in the window.
        #[inline]
        pub fn $read(&self, offset: usize) -> $type {
            match self.register::<$type>(offset) {
                // SAFETY:
                // - `register` checked bounds and alignment; the window is mapped for ever.
                Some(at) => unsafe { at.read_volatile() },
                None => <$type>::MAX,
            }
        }

        /// Writes the register at `offset`, if it is in the window.
        #[inline]
        pub fn $write(&self, offset: usize, value: $type) {
            if let Some(at) = self.register::<$type>(offset) {
                // SAFETY:
                // - `register` checked bounds and alignment; the window is mapped for ever;
                // - it is device memory, so no Rust object is overwritten.
                unsafe { at.write_volatile(value) }
            }
        }
    };
}

impl Mmio {
    /// The window of `len` bytes at `base`.
    ///
    /// # Safety
    /// The range is mapped as device memory for ever, and no Rust object lives in it.
    pub const unsafe fn new(base: NonNull<u8>, len: usize) -> Self {
        Self { base, len }
    }

    /// The window onto the `len` bytes of device memory at physical address `phys`; ENODEV where there can be none.
    pub fn map(phys: u64, len: usize) -> Result<Self> {
        if phys == 0 {
            return Err(Errno::ENODEV);
        }
        let base = mem::map_mmio(phys, len).map_err(|_| Errno::ENODEV)?;
        // SAFETY:
        // - mapped for ever, and no RAM.
        NonNull::new(base).map(|base| unsafe { Self::new(base, len) }).ok_or(Errno::ENODEV)
    }

    /// The part of the window from `offset`, `len` bytes long, if it lies within.
    pub fn part(&self, offset: usize, len: usize) -> Option<Self> {
        let end = offset.checked_add(len)?;
        // SAFETY:
        // - the part lies in this window, as is checked here.
        (end <= self.len).then(|| Self { base: unsafe { self.base.add(offset) }, len })
    }

    #[inline]
    fn register<T>(&self, offset: usize) -> Option<NonNull<T>> {
        let fits = self.len.checked_sub(size_of::<T>()).is_some_and(|last| offset <= last);
        // SAFETY:
        // - the offset is within the window, so the address does not leave it.
        let at = fits.then(|| unsafe { self.base.add(offset) }.cast::<T>())?;
        at.is_aligned().then_some(at)
    }

    register_access!(read8, write8, u8);
    register_access!(read16, write16, u16);
    register_access!(read32, write32, u32);
    register_access!(read64, write64, u64);
}

/// Memory that the firmware filled: its tables.
#[derive(Debug, Clone, Copy)]
pub struct FirmwareMemory;

impl Physical for FirmwareMemory {
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
        let base = mem::map_firmware(addr, len).ok()?;
        // SAFETY:
        // - mapped for ever; nobody writes to the firmware's tables.
        Some(unsafe { core::slice::from_raw_parts(base, len) })
    }
}

/// The physical address of a static of the kernel's.
pub fn phys_of_static<T>(value: &'static T) -> u64 {
    (core::ptr::from_ref(value) as u64).wrapping_sub(KERNEL_BASE)
}
