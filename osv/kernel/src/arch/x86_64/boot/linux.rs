//! Linux' boot protocol: the "zero page", `struct boot_params`, as Firecracker, GRUB, kexec and our own bzImage hand it
//! over. The kernel's documentation (`Documentation/arch/x86/boot.rst` and `zero-page.rst`) names the fields.

use super::memory_map::MemoryKind;
use super::{BootError, BootInfo, MAX_CMDLINE, MAX_SEED, Physical, u32_at, u64_at};

const SIZE: usize = 4096;

/// Where the fields are.
mod field {
    pub const ACPI_ROOT: usize = 0x070;
    pub const RAMDISK_HIGH: usize = 0x0c0;
    pub const RAMDISK_SIZE_HIGH: usize = 0x0c4;
    pub const CMDLINE_HIGH: usize = 0x0c8;
    pub const EFI_SIGNATURE: usize = 0x1c0;
    pub const EFI_TABLE: usize = 0x1c4;
    pub const EFI_TABLE_HIGH: usize = 0x1d8;
    pub const E820_COUNT: usize = 0x1e8;
    pub const MAGIC: usize = 0x202;
    pub const RAMDISK: usize = 0x218;
    pub const RAMDISK_SIZE: usize = 0x21c;
    pub const CMDLINE: usize = 0x228;
    pub const SETUP_DATA: usize = 0x250;
    pub const E820: usize = 0x2d0;
}

const MAGIC: &[u8] = b"HdrS";
const E820_SIZE: usize = 20;
const E820_MAX: usize = 128;

/// Reads the zero page at `addr` into `info`.
///
/// # Errors
///
/// [`BootError`] says what is wrong with it; what could be read before that is in `info`.
pub fn parse_linux(memory: &impl Physical, addr: u64, info: &mut BootInfo) -> Result<(), BootError> {
    let page = memory.bytes(addr, SIZE).ok_or(BootError::OutOfReach)?;
    if !page[field::MAGIC..].starts_with(MAGIC) {
        return Err(BootError::BadMagic);
    }
    let wide = |low: usize, high: usize| u64::from(u32_at(page, low)) | u64::from(u32_at(page, high)) << 32;
    match wide(field::CMDLINE, field::CMDLINE_HIGH) {
        0 => {}
        cmdline => info.set_cmdline(memory.string(cmdline, MAX_CMDLINE)),
    }
    let ramdisk = wide(field::RAMDISK, field::RAMDISK_HIGH);
    if ramdisk != 0 {
        info.add_module(ramdisk, wide(field::RAMDISK_SIZE, field::RAMDISK_SIZE_HIGH));
    }
    info.rsdp = match u64_at(page, field::ACPI_ROOT) {
        0 if page[field::EFI_SIGNATURE..].starts_with(b"EL64") => {
            root_in_efi_table(memory, wide(field::EFI_TABLE, field::EFI_TABLE_HIGH))
        }
        rsdp => Some(rsdp).filter(|&rsdp| rsdp != 0),
    };
    let count = usize::from(page[field::E820_COUNT]);
    for entry in page[field::E820..].chunks_exact(E820_SIZE).take(count.min(E820_MAX)) {
        info.memory.report(u64_at(entry, 0), u64_at(entry, 8), MemoryKind::from_e820(u32_at(entry, 16)));
    }
    info.memory.dropped += count.saturating_sub(E820_MAX);
    find_seed(memory, u64_at(page, field::SETUP_DATA), info);
    info.finish()
}

/// Keeps the random bytes among the further data, a list of nodes: address of the next one, type, length, contents.
fn find_seed(memory: &impl Physical, mut node: u64, info: &mut BootInfo) {
    const HEAD: usize = 16;
    const RNG_SEED: u32 = 9;
    const NODES_MAX: usize = 64;
    for _ in 0..NODES_MAX {
        let Some(head) = memory.bytes(node, HEAD).filter(|_| node != 0) else { return };
        if u32_at(head, 8) == RNG_SEED {
            let len = (u32_at(head, 12) as usize).min(MAX_SEED);
            info.set_seed(memory.bytes(node.saturating_add(HEAD as u64), len).unwrap_or_default());
        }
        node = u64_at(head, 0);
    }
}

/// ACPI's root pointer in the list of tables that a 64-bit UEFI leaves.
fn root_in_efi_table(memory: &impl Physical, table: u64) -> Option<u64> {
    const TABLE_SIZE: usize = 120;
    const COUNT: usize = 104;
    const LIST: usize = 112;
    const ENTRY_SIZE: usize = 24;
    const ENTRIES_MAX: u64 = 64;
    /// 8868e871-e4f1-11d3-bc22-0080c73c8881, ACPI 2.0 and later.
    const ACPI: [u8; 16] =
        [0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0, 0x80, 0xc7, 0x3c, 0x88, 0x81];

    let table = memory.bytes(table, TABLE_SIZE).filter(|table| table.starts_with(b"IBI SYST"))?;
    let count = u64_at(table, COUNT).min(ENTRIES_MAX) as usize;
    let list = memory.bytes(u64_at(table, LIST), count * ENTRY_SIZE)?;
    list.chunks_exact(ENTRY_SIZE).find(|entry| entry.starts_with(&ACPI)).map(|entry| u64_at(entry, 16))
}

#[cfg(test)]
mod tests {
    use super::super::ram::Ram;
    use super::super::{MemoryKind, Module};
    use super::*;

    const PAGE: usize = 0x1000;

    fn ram() -> Ram {
        let mut ram = Ram::new();
        ram.put(PAGE + field::MAGIC, MAGIC);
        ram.put_u32(PAGE + field::CMDLINE, 0x200);
        ram.put(0x200, b"console=ttyS0 --quiet /bin/sh\0rest");
        ram.put_u32(PAGE + field::RAMDISK, 0x50_0000);
        ram.put_u32(PAGE + field::RAMDISK_SIZE, 0x1001);
        ram.put(PAGE + field::E820_COUNT, &[3]);
        for (i, (start, size, kind)) in
            [(0, 0x9_fc00, 1), (0x10_0000, 0x7ee_0000, 1), (0xfffc_0000, 0x4_0000, 2)].into_iter().enumerate()
        {
            ram.put_u64(PAGE + field::E820 + E820_SIZE * i, start);
            ram.put_u64(PAGE + field::E820 + E820_SIZE * i + 8, size);
            ram.put_u32(PAGE + field::E820 + E820_SIZE * i + 16, kind);
        }
        ram
    }

    fn parse(ram: &Ram) -> (Result<(), BootError>, BootInfo) {
        let mut info = BootInfo::empty();
        (parse_linux(ram, PAGE as u64, &mut info), info)
    }

    #[test]
    fn reads_the_zero_page() {
        let (result, info) = parse(&ram());
        assert_eq!(result, Ok(()));
        assert_eq!(info.cmdline(), b"console=ttyS0 --quiet /bin/sh");
        assert_eq!(info.modules(), [Module { start: 0x50_0000, end: 0x50_1001 }]);
        assert_eq!(info.memory.regions().len(), 3);
        assert_eq!(info.memory.regions()[2].kind, MemoryKind::Reserved);
        assert_eq!(info.rsdp, None);
    }

    #[test]
    fn finds_the_seed() {
        let mut ram = ram();
        assert_eq!(parse(&ram).1.seed(), b"");
        ram.put_u64(PAGE + field::SETUP_DATA, 0x3000);
        ram.put_u64(0x3000, 0x3100);
        ram.put_u32(0x3008, 1);
        ram.put_u32(0x3108, 9);
        ram.put_u32(0x310c, 4);
        ram.put(0x3110, b"seed and more");
        assert_eq!(parse(&ram).1.seed(), b"seed");
        ram.put_u32(0x310c, u32::MAX);
        assert_eq!(parse(&ram).1.seed().len(), MAX_SEED);
        ram.put_u64(0x3100, 0x3000);
        assert_eq!(parse(&ram).0, Ok(()), "a ring of nodes has an end");
        ram.put_u64(PAGE + field::SETUP_DATA, u64::MAX - 8);
        assert_eq!(parse(&ram).1.seed(), b"");
    }

    #[test]
    fn finds_the_root_pointer() {
        let mut ram = ram();
        ram.put(PAGE + field::EFI_SIGNATURE, b"EL64");
        ram.put_u32(PAGE + field::EFI_TABLE, 0x3000);
        ram.put(0x3000, b"IBI SYST");
        ram.put_u64(0x3000 + 104, 2);
        ram.put_u64(0x3000 + 112, 0x3800);
        ram.put(0x3818, &[0x71, 0xe8, 0x68, 0x88, 0xf1, 0xe4, 0xd3, 0x11, 0xbc, 0x22, 0, 0x80, 0xc7, 0x3c, 0x88, 0x81]);
        ram.put_u64(0x3828, 0x7fb_e014);
        assert_eq!(parse(&ram).1.rsdp, Some(0x7fb_e014));
        ram.put_u64(PAGE + field::ACPI_ROOT, 0xe_0000);
        assert_eq!(parse(&ram).1.rsdp, Some(0xe_0000));
        ram.put_u64(PAGE + field::ACPI_ROOT, 0);
        ram.put_u64(0x3000 + 104, u64::MAX);
        ram.put_u64(0x3000 + 112, 0x3f00);
        assert_eq!(parse(&ram).1.rsdp, None);
    }

    #[test]
    fn refuses_rubbish() {
        let mut ram = ram();
        ram.put(PAGE + field::E820_COUNT, &[255]);
        assert_eq!(parse(&ram).1.memory.dropped, 127);
        ram.put(PAGE + field::E820_COUNT, &[0]);
        assert_eq!(parse(&ram).0, Err(BootError::NoMemory));
        ram.put_u32(PAGE + field::CMDLINE, u32::MAX);
        assert_eq!(parse(&ram).1.cmdline(), b"");
        ram.put(PAGE + field::MAGIC, b"x");
        assert_eq!(parse(&ram).0, Err(BootError::BadMagic));
        assert_eq!(parse_linux(&ram, u64::MAX - 9, &mut BootInfo::empty()), Err(BootError::OutOfReach));
    }
}
