//! What the boot loader says about the machine, brought into one form.
//!
//! Every protocol has its own structures in memory; a parser for each turns them into a [`BootInfo`], and nothing
//! above this file knows which one it was. All of it is a stranger's: a parser reads through [`Physical`], which
//! refuses what lies outside the mapped memory, counts are capped, and memory ranges that are empty, wrap or
//! overlap are put in order by [`MemoryMap::normalise`]: sorted, disjoint, and what anybody calls reserved is
//! reserved. Command line and modules' names are copied, because the memory that holds them is free as soon as
//! the frame allocator runs.

use super::{entry::Protocol, layout};

/// Ranges that a boot loader may report; more are counted in [`MemoryMap::dropped`].
const MAX_REPORTED: usize = 128;
/// Each border of a reported range can start a new one.
const MAX_REGIONS: usize = 2 * MAX_REPORTED;
/// Modules that are kept.
const MAX_MODULES: usize = 16;
/// Bytes of command line that are kept.
const MAX_CMDLINE: usize = 8192;

/// What a range of physical memory is for. Of overlapping ranges the later variant wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum MemoryKind {
    /// Free RAM.
    #[default]
    Usable,
    /// Persistent memory.
    Persistent,
    /// ACPI tables; RAM once they are read.
    AcpiReclaimable,
    /// ACPI's own storage.
    AcpiNvs,
    /// Broken RAM.
    Unusable,
    /// Anything else.
    Reserved,
}

impl MemoryKind {
    /// From the numbers of E820, which PVH and the Linux protocol share.
    const fn from_e820(n: u32) -> Self {
        match n {
            1 => Self::Usable,
            3 => Self::AcpiReclaimable,
            4 => Self::AcpiNvs,
            5 => Self::Unusable,
            7 => Self::Persistent,
            _ => Self::Reserved,
        }
    }
}

/// A range of physical memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryRegion {
    /// First address.
    pub start: u64,
    /// First address after it; always above `start`.
    pub end: u64,
    /// What it is for.
    pub kind: MemoryKind,
}

/// The machine's memory: sorted, disjoint, adjacent regions of one kind merged.
#[derive(Clone, Debug)]
pub struct MemoryMap {
    regions: [MemoryRegion; MAX_REGIONS],
    len: usize,
    /// Ranges that were reported and found no place.
    pub dropped: usize,
}

impl MemoryMap {
    /// No memory at all.
    pub const fn empty() -> Self {
        let none = MemoryRegion { start: 0, end: 0, kind: MemoryKind::Usable };
        Self { regions: [none; MAX_REGIONS], len: 0, dropped: 0 }
    }

    /// The regions in ascending order.
    pub fn regions(&self) -> &[MemoryRegion] {
        self.regions.get(..self.len).unwrap_or(&[])
    }

    /// Only the free RAM.
    pub fn usable(&self) -> impl Iterator<Item = &MemoryRegion> {
        self.regions().iter().filter(|region| region.kind == MemoryKind::Usable)
    }

    /// Adds a range as the boot loader reports it; the map is in order only after [`Self::normalise`].
    fn report(&mut self, start: u64, size: u64, kind: MemoryKind) {
        let end = start.saturating_add(size);
        if start == end {
            return;
        }
        if self.len < MAX_REPORTED {
            self.regions[self.len] = MemoryRegion { start, end, kind };
            self.len += 1;
        } else {
            self.dropped += 1;
        }
    }

    /// Puts what was reported in order.
    ///
    /// Between two neighbouring borders the kind is the same everywhere, so it is enough to ask once per
    /// interval. Quadratic, over the dozen entries of a real machine.
    fn normalise(&mut self) {
        let reported = self.regions;
        let reported = &reported[..self.len];
        let mut borders = [0; MAX_REGIONS];
        let borders = &mut borders[..2 * reported.len()];
        for (pair, region) in borders.chunks_exact_mut(2).zip(reported) {
            pair.copy_from_slice(&[region.start, region.end]);
        }
        borders.sort_unstable();
        self.len = 0;
        for pair in borders.windows(2) {
            let (start, end) = (pair[0], pair[1]);
            let covering = reported.iter().filter(|r| r.start <= start && end <= r.end);
            if let Some(kind) = covering.map(|r| r.kind).max()
                && start < end
            {
                self.append(MemoryRegion { start, end, kind });
            }
        }
    }

    /// Adds a region above all others, merging it with the last one where it continues that.
    fn append(&mut self, region: MemoryRegion) {
        match self.regions[..self.len].last_mut() {
            Some(last) if last.end == region.start && last.kind == region.kind => last.end = region.end,
            _ => {
                self.regions[self.len] = region;
                self.len += 1;
            }
        }
    }
}

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
    cmdline: [u8; MAX_CMDLINE],
    cmdline_len: usize,
    modules: [Module; MAX_MODULES],
    modules_len: usize,
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
            cmdline: [0; MAX_CMDLINE],
            cmdline_len: 0,
            modules: [NONE; MAX_MODULES],
            modules_len: 0,
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

    fn set_cmdline(&mut self, from: &[u8]) {
        self.cmdline_len = from.len().min(MAX_CMDLINE);
        self.cmdline[..self.cmdline_len].copy_from_slice(&from[..self.cmdline_len]);
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

/// Reads Xen's `hvm_start_info` at `addr` into `info`.
///
/// # Errors
///
/// [`BootError`] says what is wrong with it; what could be read before that is in `info`.
pub fn parse_pvh(memory: &impl Physical, addr: u64, info: &mut BootInfo) -> Result<(), BootError> {
    const MAGIC: u32 = 0x336e_c578;
    const V0_SIZE: usize = 40;
    const V1_SIZE: usize = 56;
    const MODULE_SIZE: usize = 32;
    const REGION_SIZE: usize = 24;

    let head = memory.bytes(addr, V0_SIZE).ok_or(BootError::OutOfReach)?;
    if u32_at(head, 0) != MAGIC {
        return Err(BootError::BadMagic);
    }
    info.rsdp = Some(u64_at(head, 32)).filter(|&rsdp| rsdp != 0);
    match u64_at(head, 24) {
        0 => {}
        cmdline => info.set_cmdline(memory.string(cmdline, MAX_CMDLINE)),
    }

    let modules = (u32_at(head, 12) as usize).min(MAX_MODULES);
    if let Some(list) = memory.bytes(u64_at(head, 16), modules * MODULE_SIZE) {
        for module in list.chunks_exact(MODULE_SIZE) {
            info.add_module(u64_at(module, 0), u64_at(module, 8));
        }
    }

    if u32_at(head, 4) < 1 {
        return Err(BootError::NoMemory);
    }
    let tail = memory.bytes(addr, V1_SIZE).ok_or(BootError::OutOfReach)?;
    let reported = u32_at(tail, 48) as usize;
    let kept = reported.min(8 * MAX_REPORTED);
    let list = memory.bytes(u64_at(tail, 40), kept * REGION_SIZE).ok_or(BootError::OutOfReach)?;
    for region in list.chunks_exact(REGION_SIZE) {
        info.memory.report(u64_at(region, 0), u64_at(region, 8), MemoryKind::from_e820(u32_at(region, 16)));
    }
    info.memory.dropped += reported - kept;
    info.memory.normalise();
    if info.memory.usable().next().is_none() {
        return Err(BootError::NoMemory);
    }
    Ok(())
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
        None => Err(BootError::UnknownProtocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    struct Ram(Vec<u8>);

    impl Physical for Ram {
        fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
            let start = usize::try_from(addr).ok()?;
            self.0.get(start..start.checked_add(len)?)
        }
    }

    impl Ram {
        fn put(&mut self, at: usize, bytes: &[u8]) {
            self.0[at..at + bytes.len()].copy_from_slice(bytes);
        }

        fn pvh(regions: &[(u64, u64, u32)]) -> Self {
            let mut ram = Ram(vec![0; 0x4000]);
            ram.put(0x100, &0x336e_c578_u32.to_le_bytes());
            ram.put(0x104, &1_u32.to_le_bytes());
            ram.put(0x10c, &1_u32.to_le_bytes());
            ram.put(0x110, &0x300_u64.to_le_bytes());
            ram.put(0x118, &0x400_u64.to_le_bytes());
            ram.put(0x120, &0xf5a00_u64.to_le_bytes());
            ram.put(0x128, &0x1000_u64.to_le_bytes());
            ram.put(0x130, &(regions.len() as u32).to_le_bytes());
            ram.put(0x300, &0x20_0000_u64.to_le_bytes());
            ram.put(0x308, &0x1234_u64.to_le_bytes());
            ram.put(0x400, b"--quiet a=\"b c\"\0rest");
            for (i, &(start, size, kind)) in regions.iter().enumerate() {
                ram.put(0x1000 + 24 * i, &start.to_le_bytes());
                ram.put(0x1008 + 24 * i, &size.to_le_bytes());
                ram.put(0x1010 + 24 * i, &kind.to_le_bytes());
            }
            ram
        }
    }

    fn parse(ram: &Ram) -> (Result<(), BootError>, BootInfo) {
        let mut info = BootInfo::empty();
        (parse_pvh(ram, 0x100, &mut info), info)
    }

    fn spans(info: &BootInfo) -> Vec<(u64, u64, MemoryKind)> {
        info.memory.regions().iter().map(|r| (r.start, r.end, r.kind)).collect()
    }

    #[test]
    fn reads_what_qemu_writes() {
        let (result, info) = parse(&Ram::pvh(&[(0, 0x9fc00, 1), (0x9fc00, 0x400, 2), (0x10_0000, 0x7ee_0000, 1)]));
        assert_eq!(result, Ok(()));
        assert_eq!(info.cmdline(), b"--quiet a=\"b c\"");
        assert_eq!(info.rsdp, Some(0xf5a00));
        assert_eq!(info.modules(), [Module { start: 0x20_0000, end: 0x20_1234 }]);
        assert_eq!(info.memory.usable().count(), 2);
    }

    #[test]
    fn sorts_merges_and_lets_reserved_win() {
        use MemoryKind::{Reserved, Usable};
        let (result, info) = parse(&Ram::pvh(&[
            (0x5000, 0x1000, 1),
            (0x1000, 0x4000, 1),
            (0x2000, 0, 1),
            (0x2000, 0x1000, 2),
            (0x1000, 0x2000, 1),
            (u64::MAX - 1, 0x1000, 2),
        ]));
        assert_eq!(result, Ok(()));
        assert_eq!(
            spans(&info),
            [
                (0x1000, 0x2000, Usable),
                (0x2000, 0x3000, Reserved),
                (0x3000, 0x6000, Usable),
                (u64::MAX - 1, u64::MAX, Reserved)
            ]
        );
    }

    #[test]
    fn caps_counts() {
        let many: Vec<_> = (0..200).map(|i| (i * 0x2000, 0x1000, 1)).collect();
        let (result, info) = parse(&Ram::pvh(&many));
        assert_eq!(result, Ok(()));
        assert_eq!((info.memory.regions().len(), info.memory.dropped), (128, 72));
    }

    #[test]
    fn refuses_rubbish() {
        let mut ram = Ram::pvh(&[(0, 0x1000, 2)]);
        assert_eq!(parse(&ram).0, Err(BootError::NoMemory));
        ram.put(0x130, &u32::MAX.to_le_bytes());
        assert_eq!(parse(&ram).0, Err(BootError::OutOfReach));
        ram.put(0x118, &u64::MAX.to_le_bytes());
        assert_eq!(parse(&ram).1.cmdline(), b"");
        ram.put(0x100, &[0]);
        assert_eq!(parse(&ram).0, Err(BootError::BadMagic));
        assert_eq!(parse_pvh(&ram, u64::MAX - 3, &mut BootInfo::empty()), Err(BootError::OutOfReach));
    }

    #[test]
    fn survives_any_bytes() {
        let mut seed = 1_u64;
        for _ in 0..2000 {
            let mut ram = Ram::pvh(&[(0, 0x1000, 1); 8]);
            for _ in 0..16 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let at = if seed & 1 == 0 { 0x104 + (seed >> 33) % 0x30 } else { 0x1000 + (seed >> 33) % 0xc0 };
                ram.0[at as usize] = (seed >> 56) as u8;
            }
            let (_, info) = parse(&ram);
            assert!(info.memory.regions().windows(2).all(|w| w[0].end <= w[1].start));
            assert!(info.memory.regions().iter().all(|r| r.start < r.end));
        }
    }
}
