//! Xen's PVH: an `hvm_start_info`, as QEMU, Cloud Hypervisor, newer Firecrackers and Xen itself hand it over.

use super::memory_map::{MAX_REPORTED, MemoryKind};
use super::{BootError, BootInfo, MAX_CMDLINE, MAX_MODULES, Physical, u32_at, u64_at};

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
    info.finish()
}

#[cfg(test)]
mod tests {
    use super::super::ram::Ram;
    use super::super::{MemoryKind, Module};
    use super::*;
    use std::vec::Vec;

    impl Ram {
        fn pvh(regions: &[(u64, u64, u32)]) -> Self {
            let mut ram = Ram::new();
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
