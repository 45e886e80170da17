//! Partition tables: which parts of a disk are volumes of their own. GPT, and the older MBR where there is no GPT.
//!
//! The disk's first sectors come from a stranger: counts are bounded, and what does not lie on the disk is left out. The
//! checksums are not looked at, since whoever reads a volume checks that it holds what he wants.

use alloc::vec::Vec;

/// The size of a sector, the unit of everything here.
pub const SECTOR: usize = 512;
/// So much of a disk's start is looked at.
pub const HEAD: usize = 64 << 10;

const ENTRIES_MAX: usize = 256;
const PROTECTIVE: u8 = 0xee;

/// A part of a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Its number in the table, from 1 on, as in `vda1`.
    pub number: usize,
    /// Its first sector.
    pub start: u64,
    /// Its length in sectors.
    pub len: u64,
}

/// The partitions of a disk of `sectors` sectors that starts with the bytes `head`.
pub fn parse(head: &[u8], sectors: u64) -> Vec<Extent> {
    let mut found = Vec::new();
    let Some(mbr) = head.get(..SECTOR).filter(|mbr| mbr.ends_with(&[0x55, 0xaa])) else { return found };
    let entries = mbr.get(446..510).unwrap_or_default().chunks_exact(16);
    let has_gpt = entries.clone().any(|entry| entry.get(4) == Some(&PROTECTIVE));
    match gpt_entries(head).filter(|_| has_gpt) {
        Some((entries, size)) => {
            let is_used = |entry: &&[u8]| entry.iter().take(16).any(|&byte| byte != 0);
            for (index, entry) in entries.chunks_exact(size).enumerate().take(ENTRIES_MAX) {
                let (start, last) = (u64_at(entry, 32), u64_at(entry, 40));
                let len = last.checked_sub(start).and_then(|len| len.checked_add(1)).unwrap_or(0);
                if is_used(&entry) {
                    found.push(Extent { number: index + 1, start, len });
                }
            }
        }
        None => found.extend(entries.enumerate().map(|(index, entry)| Extent {
            number: index + 1,
            start: u64::from(u32_at(entry, 8)),
            len: u64::from(u32_at(entry, 12)),
        })),
    }
    found.retain(|extent| {
        let end = extent.start.checked_add(extent.len);
        extent.len != 0 && extent.start != 0 && end.is_some_and(|end| end <= sectors)
    });
    found
}

/// The array of GPT's entries as far as it lies in `head`, and the size of one.
fn gpt_entries(head: &[u8]) -> Option<(&[u8], usize)> {
    let header = head.get(SECTOR..2 * SECTOR).filter(|header| header.starts_with(b"EFI PART"))?;
    let size = usize::try_from(u32_at(header, 84)).ok().filter(|size| (128..=4096).contains(size))?;
    let count = usize::try_from(u32_at(header, 80)).ok()?.min(ENTRIES_MAX);
    let start = usize::try_from(u64_at(header, 72)).ok()?.checked_mul(SECTOR)?;
    let array = head.get(start..)?;
    Some((array.get(..count * size).unwrap_or(array), size))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u32::from_le_bytes(*b))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|b| b.first_chunk()).map_or(0, |b| u64::from_le_bytes(*b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn mbr(kind: u8) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head[446 + 16 + 4] = kind;
        head[446 + 16 + 8..446 + 16 + 12].copy_from_slice(&2048u32.to_le_bytes());
        head[446 + 16 + 12..446 + 16 + 16].copy_from_slice(&100u32.to_le_bytes());
        head
    }

    fn gpt() -> Vec<u8> {
        let mut head = mbr(PROTECTIVE);
        head[512..520].copy_from_slice(b"EFI PART");
        head[512 + 72..512 + 80].copy_from_slice(&20u64.to_le_bytes());
        head[512 + 80..512 + 84].copy_from_slice(&128u32.to_le_bytes());
        head[512 + 84..512 + 88].copy_from_slice(&128u32.to_le_bytes());
        for (index, (start, last)) in [(64u64, 147u64), (148, 5907), (9000, 8000), (9280, u64::MAX)].iter().enumerate()
        {
            let entry = &mut head[20 * 512 + 128 * index..][..128];
            entry[0] = 1;
            entry[32..40].copy_from_slice(&start.to_le_bytes());
            entry[40..48].copy_from_slice(&last.to_le_bytes());
        }
        head
    }

    #[test]
    fn both_tables_are_read() {
        assert_eq!(parse(&mbr(0x83), 4000), [Extent { number: 2, start: 2048, len: 100 }]);
        let found = parse(&gpt(), 10_000);
        assert_eq!(found, [Extent { number: 1, start: 64, len: 84 }, Extent { number: 2, start: 148, len: 5760 }]);
    }

    #[test]
    fn what_does_not_fit_is_left_out() {
        assert!(parse(&mbr(0x83), 2100).is_empty());
        assert!(parse(&[], 1 << 40).is_empty());
        assert_eq!(parse(&gpt(), 200).len(), 1);
    }

    proptest! {
        #[test]
        fn damage_is_survived(at in 446usize..3000, value in any::<u8>(), cut in 0..HEAD, sectors in any::<u64>()) {
            let mut head = gpt();
            head[at] = value;
            let found = parse(&head[..cut], sectors);
            prop_assert!(found.iter().all(|extent| extent.start + extent.len <= sectors));
        }
    }
}
