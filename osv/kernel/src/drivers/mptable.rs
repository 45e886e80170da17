//! Intel's MultiProcessor tables: CPUs and interrupt wiring of machines without ACPI, such as Firecracker's.
//!
//! The tables are older and say less than ACPI's: there are no timers, no way to power off, and I/O APICs are taken to have 24
//! inputs each. As hostile as everything else from the firmware: lengths are bounded, checksums checked.

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::arch::Physical;
use crate::drivers::acpi::{IoApic, IsaOverride, Platform};

/// Where the pointer may be: extended BIOS data area, end of base memory, BIOS.
const AREAS: [(u64, usize); 3] = [(0x9_fc00, 0x400), (0x9_f800, 0x400), (0xf_0000, 0x1_0000)];
const POINTER_LEN: usize = 16;
const INPUTS_PER_IO_APIC: u32 = 24;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Pointer {
    signature: [u8; 4],
    table: U32,
    rest: [u8; 8],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    signature: [u8; 4],
    len: U16,
    revision: u8,
    checksum: u8,
    oem: [u8; 20],
    oem_table: U32,
    oem_len: U16,
    count: U16,
    local_apic: U32,
    extended: U32,
}

fn is_checksum_good(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)) == 0
}

/// Where the table is that a pointer in `area` leads to.
fn table_in(area: &[u8]) -> Option<u64> {
    area.chunks_exact(POINTER_LEN).find_map(|bytes| {
        let pointer = Pointer::ref_from_bytes(bytes).ok()?;
        let is_pointer = &pointer.signature == b"_MP_" && is_checksum_good(bytes);
        is_pointer.then(|| u64::from(pointer.table.get())).filter(|table| *table != 0)
    })
}

/// Finds and reads the tables.
pub fn read<P: Physical>(memory: &P) -> Option<Platform> {
    let at = AREAS.iter().find_map(|(start, len)| table_in(memory.bytes(*start, *len)?))?;
    let header = Header::ref_from_bytes(memory.bytes(at, size_of::<Header>())?).ok()?;
    let table = memory.bytes(at, usize::from(header.len.get()))?;
    if &header.signature != b"PCMP" || !is_checksum_good(table) {
        return None;
    }
    let mut platform = Platform { local_apic: u64::from(header.local_apic.get()), ..Platform::default() };
    let mut rest = table.get(size_of::<Header>()..)?;
    let mut isa_bus = None;
    while let Some((entry, next)) = split_entry(rest) {
        take(&mut platform, &mut isa_bus, entry);
        rest = next;
    }
    Some(platform)
}

/// The first entry, and what follows it.
fn split_entry(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = match bytes.first()? {
        0 => 20,
        1..=4 => 8,
        _ => return None,
    };
    bytes.split_at_checked(len)
}

fn take(platform: &mut Platform, isa_bus: &mut Option<u8>, entry: &[u8]) {
    const ENABLED: u8 = 1;
    match *entry {
        [0, id, _, flags, ..] if flags & ENABLED != 0 => {
            let id = u32::from(id);
            if !platform.cpus.contains(&id) {
                platform.cpus.push(id);
            }
        }
        [1, id, b'I', b'S', b'A', ..] => *isa_bus = Some(id),
        [2, _, _, flags, a0, a1, a2, a3] if flags & ENABLED != 0 => {
            let address = u64::from(u32::from_le_bytes([a0, a1, a2, a3]));
            let gsi_base = platform.io_apics.len() as u32 * INPUTS_PER_IO_APIC;
            platform.io_apics.push(IoApic { address, gsi_base });
        }
        // An ordinary interrupt of the ISA bus.
        [3, 0, flags, _, bus, irq, _, input] if Some(bus) == *isa_bus => {
            let is_level = (flags >> 2) & 3 == 3;
            let wiring = IsaOverride { irq, gsi: u32::from(input), is_active_low: flags & 3 == 3, is_level };
            if irq != input || is_level || wiring.is_active_low {
                platform.overrides.push(wiring);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Image(Vec<u8>);

    impl Physical for Image {
        fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
            let start = usize::try_from(addr).ok()?;
            self.0.get(start..start.checked_add(len)?)
        }
    }

    fn fix(bytes: &mut [u8], at: usize) {
        bytes[at] = 0;
        bytes[at] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg();
    }

    fn image() -> Image {
        let mut table = b"PCMP".to_vec();
        table.resize(size_of::<Header>(), 0);
        table[36..40].copy_from_slice(&0xfee0_0000u32.to_le_bytes());
        for (id, flags) in [(0, 3), (1, 1), (2, 0)] {
            let mut cpu = vec![0, id, 0x14, flags];
            cpu.resize(20, 0);
            table.extend(cpu);
        }
        table.extend([1, 0, b'I', b'S', b'A', b' ', b' ', b' ']);
        table.extend([2, 3, 0x11, 1, 0, 0, 0xc0, 0xfe]);
        table.extend([3, 0, 0, 0, 0, 0, 3, 2]);
        table.extend([3, 0, 0, 0, 0, 4, 3, 4]);
        let len = u16::try_from(table.len()).unwrap();
        table[4..6].copy_from_slice(&len.to_le_bytes());
        fix(&mut table, 7);
        let mut pointer = b"_MP_".to_vec();
        pointer.extend(0x9_fd00u32.to_le_bytes());
        pointer.extend([1, 4, 0, 0, 0, 0, 0, 0]);
        fix(&mut pointer, 10);
        let mut memory = vec![0; 0x10_0000];
        memory[0x9_fc10..][..16].copy_from_slice(&pointer);
        memory[0x9_fd00..][..table.len()].copy_from_slice(&table);
        Image(memory)
    }

    #[test]
    fn cpus_and_wiring_are_read() {
        let platform = read(&image()).unwrap();
        assert_eq!(platform.cpus, [0, 1]);
        assert_eq!(platform.io_apics, [IoApic { address: 0xfec0_0000, gsi_base: 0 }]);
        assert_eq!(platform.isa_irq(0).gsi, 2);
        assert_eq!(platform.overrides.len(), 1);
    }

    #[test]
    fn damage_is_survived() {
        let good = image();
        for at in (0x9_fc10..0x9_fc20).chain(0x9_fd00..0x9_fd90) {
            for flip in [1, 0x80, 0xff] {
                let mut memory = good.0.clone();
                memory[at] ^= flip;
                let _ = read(&Image(memory));
            }
        }
        assert!(read(&Image(vec![0; 0x10_0000])).is_none());
    }
}
