//! What the boot loader says about the machine, brought into one form.
//!
//! Every protocol has its own structures in memory; a parser for each (`pvh`, `linux`, `multiboot`) turns them into a
//! [`BootInfo`], and nothing above this directory knows which one it was. All of it is a stranger's: a parser reads through [`Physical`], which
//! refuses what lies outside the mapped memory, counts are capped, and memory ranges that are empty, wrap or
//! overlap are put in order by [`MemoryMap::normalise`]: sorted, disjoint, and what anybody calls reserved is
//! reserved. Command line and modules' names are copied, because the memory that holds them is free as soon as
//! the frame allocator runs.

mod linux;
mod memory_map;
mod multiboot;
mod pvh;

use super::{entry::Protocol, layout};
pub use linux::parse_linux;
pub use memory_map::{MemoryKind, MemoryMap, MemoryRegion};
pub use multiboot::{parse_multiboot1, parse_multiboot2};
pub use pvh::parse_pvh;

/// Modules that are kept.
const MAX_MODULES: usize = 16;
/// Bytes of command line that are kept.
const MAX_CMDLINE: usize = 8192;
/// Random bytes that are kept.
const MAX_SEED: usize = 64;
/// Bytes of ACPI's root structure, since version 2.
const ROOT_SIZE: usize = 36;

/// A file that the boot loader put into memory, such as an initrd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Module {
    /// First physical address.
    pub start: u64,
    /// First address after it.
    pub end: u64,
}

/// What the page at the start of the kernel's image says: filled in by whoever put the kernel into an app.
/// Physical ranges; empty where there is nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Handoff {
    magic: u64,
    kernel_size: u64,
    /// The app's own ELF segments, as loaded.
    pub app: Module,
    /// The bundled files.
    pub bundle: Module,
    /// The configuration.
    pub config: Module,
}

impl Handoff {
    /// "OSVHAND1".
    const MAGIC: u64 = u64::from_le_bytes(*b"OSVHAND1");

    /// What is left of a page after anything that cannot be true is taken out.
    fn checked(mut self) -> Self {
        if self.magic != Self::MAGIC {
            return Self::default();
        }
        for range in [&mut self.app, &mut self.bundle, &mut self.config] {
            if range.end <= range.start {
                *range = Module::default();
            }
        }
        self
    }
}

/// Everything that the boot loader said.
#[derive(Debug)]
pub struct BootInfo {
    /// Physical memory.
    pub memory: MemoryMap,
    /// Physical address of ACPI's root pointer, where the boot loader knows it.
    pub rsdp: Option<u64>,
    /// Time stamp counter at the kernel's first instruction.
    pub entry_tsc: u64,
    /// The app that this kernel came with.
    pub handoff: Handoff,
    /// ACPI's root structure itself, where the boot loader hands over a copy; `rsdp` is `None` then.
    root_copy: [u8; ROOT_SIZE],
    cmdline: [u8; MAX_CMDLINE],
    cmdline_len: usize,
    modules: [Module; MAX_MODULES],
    modules_len: usize,
    seed: [u8; MAX_SEED],
    seed_len: usize,
}

impl BootInfo {
    /// What is known before anybody was asked.
    pub const fn empty() -> Self {
        const NONE: Module = Module { start: 0, end: 0 };
        Self {
            memory: MemoryMap::empty(),
            rsdp: None,
            entry_tsc: 0,
            handoff: Handoff { magic: 0, kernel_size: 0, app: NONE, bundle: NONE, config: NONE },
            root_copy: [0; ROOT_SIZE],
            cmdline: [0; MAX_CMDLINE],
            cmdline_len: 0,
            modules: [NONE; MAX_MODULES],
            modules_len: 0,
            seed: [0; MAX_SEED],
            seed_len: 0,
        }
    }

    /// The command line, without a final NUL. Any bytes.
    pub fn cmdline(&self) -> &[u8] {
        self.cmdline.get(..self.cmdline_len).unwrap_or(&[])
    }

    /// The files that were loaded beside the kernel.
    pub fn modules(&self) -> &[Module] {
        self.modules.get(..self.modules_len).unwrap_or(&[])
    }

    /// Random bytes from the boot loader; empty if it gave none.
    pub fn seed(&self) -> &[u8] {
        self.seed.get(..self.seed_len).unwrap_or(&[])
    }

    /// Puts the memory map in order; the last step of each parser.
    fn finish(&mut self) -> Result<(), BootError> {
        self.memory.normalise();
        if self.memory.usable().next().is_none() { Err(BootError::NoMemory) } else { Ok(()) }
    }

    /// Keeps a copy of ACPI's root structure; the longer one, if there are two.
    fn set_root_copy(&mut self, from: &[u8]) {
        if from.len() >= ROOT_SIZE || self.root_copy[0] == 0 {
            let len = from.len().min(ROOT_SIZE);
            self.root_copy[..len].copy_from_slice(&from[..len]);
        }
    }

    fn set_cmdline(&mut self, from: &[u8]) {
        self.cmdline_len = from.len().min(MAX_CMDLINE);
        self.cmdline[..self.cmdline_len].copy_from_slice(&from[..self.cmdline_len]);
    }

    fn set_seed(&mut self, from: &[u8]) {
        self.seed_len = from.len().min(MAX_SEED);
        self.seed[..self.seed_len].copy_from_slice(&from[..self.seed_len]);
    }

    fn add_module(&mut self, start: u64, size: u64) {
        if let Some(end) = start.checked_add(size)
            && size > 0
            && self.modules_len < MAX_MODULES
        {
            self.modules[self.modules_len] = Module { start, end };
            self.modules_len += 1;
        }
    }
}

/// Why the kernel cannot use what it was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootError {
    /// The entry code named a protocol that does not exist.
    UnknownProtocol,
    /// The information lies outside the memory that the boot page tables map.
    OutOfReach,
    /// The information does not start with its magic number.
    BadMagic,
    /// There is no memory map, or no RAM in it.
    NoMemory,
}

/// Physical memory as far as it can be read.
pub trait Physical {
    /// The `len` bytes at `addr`, if all of them can be read.
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]>;

    /// The bytes from `addr` up to a NUL, at most `max`.
    fn string(&self, addr: u64, max: usize) -> &[u8] {
        let len = (0..max as u64)
            .position(|i| !matches!(addr.checked_add(i).and_then(|a| self.bytes(a, 1)), Some([byte]) if *byte != 0))
            .unwrap_or(max);
        self.bytes(addr, len).unwrap_or(&[])
    }
}

/// The memory that the boot page tables map.
struct BootMapped;

impl Physical for BootMapped {
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
        if addr.checked_add(len as u64)? > layout::BOOT_MAPPED {
            return None;
        }
        // SAFETY:
        // - the boot page tables map the first 4 GiB at `DIRECT_MAP`, writable;
        // - one CPU runs, and nothing writes there while a parser runs.
        Some(unsafe { core::slice::from_raw_parts((layout::DIRECT_MAP + addr) as *const u8, len) })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Fills `info` from what the entry code was given.
///
/// # Errors
///
/// [`BootError`], if there is nothing to boot from.
pub(super) fn collect(info: &mut BootInfo, protocol: u32, addr: u64, entry_tsc: u64) -> Result<(), BootError> {
    unsafe extern "C" {
        static osv_handoff: Handoff;
    }
    info.entry_tsc = entry_tsc;
    // SAFETY: the linker script puts a page of that layout there; any bytes make a `Handoff`.
    info.handoff = unsafe { (&raw const osv_handoff).read_volatile() }.checked();
    match Protocol::from_number(protocol) {
        Some(Protocol::Pvh) => parse_pvh(&BootMapped, addr, info),
        Some(Protocol::Linux) => parse_linux(&BootMapped, addr, info),
        Some(Protocol::Multiboot1) => parse_multiboot1(&BootMapped, addr, info),
        Some(Protocol::Multiboot2) => parse_multiboot2(&BootMapped, addr, info),
        None => Err(BootError::UnknownProtocol),
    }?;
    if info.root_copy[0] != 0 {
        info.rsdp = Some((&raw const info.root_copy as u64).wrapping_sub(layout::KERNEL_BASE));
    }
    Ok(())
}

/// What the parsers' tests read from: 16 KiB of memory.
#[cfg(test)]
mod ram {
    use std::{vec, vec::Vec};

    pub struct Ram(pub Vec<u8>);

    impl super::Physical for Ram {
        fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
            let start = usize::try_from(addr).ok()?;
            self.0.get(start..start.checked_add(len)?)
        }
    }

    impl Ram {
        pub fn new() -> Self {
            Ram(vec![0; 0x4000])
        }

        pub fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }

        pub fn put_u32(&mut self, at: usize, value: u32) {
            self.put(at, &value.to_le_bytes());
        }

        pub fn put_u64(&mut self, at: usize, value: u64) {
            self.put(at, &value.to_le_bytes());
        }
    }
}
