//! Multiboot, both versions: what QEMU's own loader (version 1) and GRUB hand over.
//!
//! Version 1 is a table with flags that say which fields hold something, version 2 a list of tags. In both the modules
//! are the files that the loader was told to put into memory, the first of them the root image.

use super::memory_map::{MAX_REPORTED, MemoryKind};
use super::{BootError, BootInfo, MAX_CMDLINE, MAX_MODULES, Physical, u32_at, u64_at};

/// Reads version 1's information at `addr` into `info`.
///
/// # Errors
///
/// [`BootError`] says what is wrong with it; what could be read before that is in `info`.
pub fn parse_multiboot1(memory: &impl Physical, addr: u64, info: &mut BootInfo) -> Result<(), BootError> {
    const SIZE: usize = 88;
    const HAS_CMDLINE: u32 = 1 << 2;
    const HAS_MODULES: u32 = 1 << 3;
    const HAS_MAP: u32 = 1 << 6;
    const HAS_LOADER: u32 = 1 << 9;
    const MODULE_SIZE: usize = 16;

    let head = memory.bytes(addr, SIZE).ok_or(BootError::OutOfReach)?;
    let pointer = |offset: usize| u64::from(u32_at(head, offset));
    let flags = u32_at(head, 0);
    if flags & HAS_CMDLINE != 0 {
        let line = memory.string(pointer(16), MAX_CMDLINE);
        // QEMU puts the kernel's file name before it, GRUB does not.
        let is_qemu = flags & HAS_LOADER != 0 && memory.string(pointer(64), 5) == b"qemu";
        info.set_cmdline(if is_qemu { without_first_word(line) } else { line });
    }
    if flags & HAS_MODULES != 0 {
        let count = (u32_at(head, 20) as usize).min(MAX_MODULES);
        for module in memory.bytes(pointer(24), count * MODULE_SIZE).unwrap_or(&[]).chunks_exact(MODULE_SIZE) {
            let (start, end) = (u64::from(u32_at(module, 0)), u64::from(u32_at(module, 4)));
            info.add_module(start, end.saturating_sub(start));
        }
    }
    if flags & HAS_MAP == 0 {
        return Err(BootError::NoMemory);
    }
    read_map1(memory, pointer(48), pointer(44), info)?;
    info.finish()
}

fn without_first_word(line: &[u8]) -> &[u8] {
    let end = line.iter().position(|&byte| byte == b' ').map_or(line.len(), |at| at + 1);
    line.get(end..).unwrap_or_default()
}

/// Entries of `size + 4` bytes each, where the size stands in front.
fn read_map1(memory: &impl Physical, start: u64, len: u64, info: &mut BootInfo) -> Result<(), BootError> {
    const ENTRY_MIN: u64 = 20;
    let mut at = 0;
    for _ in 0..8 * MAX_REPORTED {
        if at + 4 + ENTRY_MIN > len {
            return Ok(());
        }
        let entry = memory.bytes(start + at, 24).ok_or(BootError::OutOfReach)?;
        let size = u64::from(u32_at(entry, 0)).max(ENTRY_MIN);
        info.memory.report(u64_at(entry, 4), u64_at(entry, 12), MemoryKind::from_e820(u32_at(entry, 20)));
        at += 4 + size;
    }
    info.memory.dropped += 1;
    Ok(())
}

/// Reads version 2's list of tags at `addr` into `info`.
///
/// # Errors
///
/// [`BootError`] says what is wrong with it; what could be read before that is in `info`.
pub fn parse_multiboot2(memory: &impl Physical, addr: u64, info: &mut BootInfo) -> Result<(), BootError> {
    const SIZE_MAX: usize = 1 << 20;
    const HEAD: usize = 8;
    let head = memory.bytes(addr, HEAD).ok_or(BootError::OutOfReach)?;
    let size = u32_at(head, 0) as usize;
    if !(HEAD..=SIZE_MAX).contains(&size) {
        return Err(BootError::BadMagic);
    }
    let mut rest = memory.bytes(addr, size).and_then(|list| list.get(HEAD..)).ok_or(BootError::OutOfReach)?;
    while rest.len() >= HEAD {
        let (kind, size) = (u32_at(rest, 0), u32_at(rest, 4) as usize);
        let Some(body) = rest.get(HEAD..size) else { break };
        take_tag(kind, body, info);
        // Each tag starts at a multiple of eight bytes.
        rest = rest.get(size.next_multiple_of(8)..).unwrap_or_default();
        if kind == tag::END {
            break;
        }
    }
    info.finish()
}

mod tag {
    pub const END: u32 = 0;
    pub const CMDLINE: u32 = 1;
    pub const MODULE: u32 = 3;
    pub const MAP: u32 = 6;
    pub const ACPI_OLD: u32 = 14;
    pub const ACPI_NEW: u32 = 15;
}

fn take_tag(kind: u32, body: &[u8], info: &mut BootInfo) {
    match kind {
        tag::CMDLINE => {
            let end = body.iter().position(|&byte| byte == 0).unwrap_or(body.len());
            info.set_cmdline(&body[..end]);
        }
        tag::MODULE => {
            let (start, end) = (u64::from(u32_at(body, 0)), u64::from(u32_at(body, 4)));
            info.add_module(start, end.saturating_sub(start));
        }
        tag::MAP => {
            let size = (u32_at(body, 0) as usize).max(20);
            for entry in body.get(8..).unwrap_or_default().chunks_exact(size) {
                info.memory.report(u64_at(entry, 0), u64_at(entry, 8), MemoryKind::from_e820(u32_at(entry, 16)));
            }
        }
        tag::ACPI_OLD | tag::ACPI_NEW => info.set_root_copy(body),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::ram::Ram;
    use super::super::{MemoryRegion, Module};
    use super::*;

    const USABLE: MemoryRegion = MemoryRegion { start: 0x10_0000, end: 0x800_0000, kind: MemoryKind::Usable };

    fn version1() -> Ram {
        let mut ram = Ram::new();
        ram.put_u32(0x100, 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
        ram.put_u32(0x110, 0x400);
        ram.put(0x400, b"/boot/osv --quiet x\0");
        ram.put_u32(0x114, 1);
        ram.put_u32(0x118, 0x500);
        ram.put_u32(0x500, 0x60_0000);
        ram.put_u32(0x504, 0x60_2000);
        ram.put_u32(0x12c, 24);
        ram.put_u32(0x130, 0x600);
        ram.put_u32(0x600, 20);
        ram.put_u64(0x604, USABLE.start);
        ram.put_u64(0x60c, USABLE.end - USABLE.start);
        ram.put_u32(0x614, 1);
        ram.put_u32(0x140, 0x700);
        ram.put(0x700, b"qemu\0");
        ram
    }

    fn version2() -> Ram {
        let mut ram = Ram::new();
        let mut at = 0x108;
        let mut tag = |kind: u32, body: &[u8]| {
            ram.put_u32(at, kind);
            ram.put_u32(at + 4, 8 + body.len() as u32);
            ram.put(at + 8, body);
            at = (at + 8 + body.len()).next_multiple_of(8);
        };
        tag(tag::CMDLINE, b"--quiet x\0");
        tag(tag::MODULE, b"\0\0\x60\0\0\x20\x60\0name\0");
        let mut map = [24u32.to_le_bytes(), [0; 4]].concat();
        map.extend(USABLE.start.to_le_bytes());
        map.extend((USABLE.end - USABLE.start).to_le_bytes());
        map.extend([1, 0, 0, 0, 0, 0, 0, 0]);
        tag(tag::MAP, &map);
        tag(tag::ACPI_NEW, &[b'R'; 36]);
        tag(tag::ACPI_OLD, &[b'O'; 20]);
        tag(tag::END, &[]);
        ram.put_u32(0x100, (at - 0x100) as u32);
        ram
    }

    #[test]
    fn reads_version_1() {
        let mut info = BootInfo::empty();
        assert_eq!(parse_multiboot1(&version1(), 0x100, &mut info), Ok(()));
        assert_eq!(info.cmdline(), b"--quiet x");
        assert_eq!(info.modules(), [Module { start: 0x60_0000, end: 0x60_2000 }]);
        assert_eq!(info.memory.regions(), [USABLE]);
    }

    #[test]
    fn only_qemu_names_the_kernel() {
        let mut ram = version1();
        ram.put(0x700, b"GRUB");
        let mut info = BootInfo::empty();
        assert_eq!(parse_multiboot1(&ram, 0x100, &mut info), Ok(()));
        assert_eq!(info.cmdline(), b"/boot/osv --quiet x");
    }

    #[test]
    fn reads_version_2() {
        let mut info = BootInfo::empty();
        assert_eq!(parse_multiboot2(&version2(), 0x100, &mut info), Ok(()));
        assert_eq!(info.cmdline(), b"--quiet x");
        assert_eq!(info.modules(), [Module { start: 0x60_0000, end: 0x60_2000 }]);
        assert_eq!(info.memory.regions(), [USABLE]);
        assert_eq!(info.root_copy, [b'R'; 36]);
    }

    #[test]
    fn survives_damage() {
        for at in (0x100..0x160).chain(0x500..0x510).chain(0x600..0x620) {
            for value in [0, 1, 0x7f, 0xff] {
                let (mut one, mut two) = (version1(), version2());
                one.0[at] = value;
                two.0[at] = value;
                let _ = parse_multiboot1(&one, 0x100, &mut BootInfo::empty());
                let _ = parse_multiboot2(&two, 0x100, &mut BootInfo::empty());
            }
        }
        let far = u64::MAX - 7;
        assert_eq!(parse_multiboot1(&version1(), far, &mut BootInfo::empty()), Err(BootError::OutOfReach));
        assert_eq!(parse_multiboot2(&version2(), far, &mut BootInfo::empty()), Err(BootError::OutOfReach));
    }
}
