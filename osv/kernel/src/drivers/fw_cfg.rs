//! QEMU's firmware configuration device: files that the one who starts the VM hands to the guest.
//!
//! Read once at boot, by DMA where the device offers it (one access for a whole file) and byte by byte through the data port
//! otherwise. The directory and the sizes in it come from the hypervisor and are bounded.

use alloc::vec::Vec;

use crate::drivers::dma::DmaBuffer;
use crate::drivers::io::{inb, outl, outw};
use crate::errno::{Errno, Result};

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const DMA_HIGH: u16 = 0x514;
const DMA_LOW: u16 = 0x518;

const KEY_SIGNATURE: u16 = 0;
const KEY_FEATURES: u16 = 1;
const KEY_DIRECTORY: u16 = 0x19;
const FEATURE_DMA: u32 = 2;

/// A directory entry: size, key, padding, name.
const ENTRY_LEN: usize = 64;
const NAME_AT: usize = 8;
const ENTRIES_MAX: u32 = 4096;
/// A file of arguments or environment is at most so long, as for `execve`.
const FILE_MAX: u32 = 8 << 20;

/// The control block of a DMA access, in big-endian order: control, length, address.
mod dma {
    pub const LEN: usize = 16;
    pub const ERROR: u32 = 1;
    pub const READ: u32 = 2;
    pub const SELECT: u32 = 8;
}

/// The device.
#[derive(Debug)]
pub struct FwCfg {
    has_dma: bool,
}

/// A file: its key and size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry {
    key: u16,
    size: u32,
}

/// Finds `name` in a directory's entries.
fn find(entries: &[u8], name: &[u8]) -> Option<Entry> {
    entries.chunks_exact(ENTRY_LEN).find_map(|entry| {
        let (fields, entry_name) = entry.split_at_checked(NAME_AT)?;
        let end = entry_name.iter().position(|byte| *byte == 0).unwrap_or(entry_name.len());
        let [s0, s1, s2, s3, k0, k1, ..] = *fields else { return None };
        (entry_name.get(..end)? == name)
            .then_some(Entry { key: u16::from_be_bytes([k0, k1]), size: u32::from_be_bytes([s0, s1, s2, s3]) })
    })
}

impl FwCfg {
    /// The device, where there is one.
    pub fn find() -> Option<Self> {
        let mut device = Self { has_dma: false };
        if device.read_start::<4>(KEY_SIGNATURE) != *b"QEMU" {
            return None;
        }
        device.has_dma = u32::from_le_bytes(device.read_start(KEY_FEATURES)) & FEATURE_DMA != 0;
        Some(device)
    }

    /// The first bytes of an item, through the data port.
    fn read_start<const N: usize>(&self, key: u16) -> [u8; N] {
        outw(SELECTOR, key);
        [(); N].map(|()| inb(DATA))
    }

    /// The contents of file `name`; ENOENT if there is none, EFBIG if it is too long.
    pub fn file(&self, name: &[u8]) -> Result<Vec<u8>> {
        let count = u32::from_be_bytes(self.read_start(KEY_DIRECTORY)).min(ENTRIES_MAX);
        let directory = self.item(KEY_DIRECTORY, 4 + count * ENTRY_LEN as u32)?;
        let entry = find(directory.get(4..).unwrap_or_default(), name).ok_or(Errno::ENOENT)?;
        self.item(entry.key, entry.size)
    }

    /// The first `len` bytes of an item.
    fn item(&self, key: u16, len: u32) -> Result<Vec<u8>> {
        if len > FILE_MAX {
            return Err(Errno::EFBIG);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(len as usize).map_err(|_| Errno::ENOMEM)?;
        if !self.has_dma {
            outw(SELECTOR, key);
            bytes.extend((0..len).map(|_| inb(DATA)));
            return Ok(bytes);
        }
        bytes.resize(len as usize, 0);
        if len != 0 {
            let buffer = self.read_by_dma(key, len)?;
            buffer.load(dma::LEN, &mut bytes);
        }
        Ok(bytes)
    }

    /// Has the device write `len` bytes of an item into a buffer, behind the control block.
    fn read_by_dma(&self, key: u16, len: u32) -> Result<DmaBuffer> {
        const TRIES: usize = 10_000_000;
        let buffer = DmaBuffer::new(dma::LEN + len as usize)?;
        let control = u32::from(key) << 16 | dma::SELECT | dma::READ;
        buffer.store(0, &control.to_be_bytes());
        buffer.store(4, &len.to_be_bytes());
        buffer.store(8, &(buffer.phys() + dma::LEN as u64).to_be_bytes());
        let address = buffer.phys();
        outl(DMA_HIGH, ((address >> 32) as u32).to_be());
        outl(DMA_LOW, (address as u32).to_be());
        // QEMU has finished when the access returns; the interface lets a device take longer.
        for _ in 0..TRIES {
            let mut control = [0; 4];
            buffer.load(0, &mut control);
            match u32::from_be_bytes(control) {
                0 => return Ok(buffer),
                control if control & dma::ERROR != 0 => return Err(Errno::EIO),
                _ => core::hint::spin_loop(),
            }
        }
        // The device may still write: it keeps the memory.
        core::mem::forget(buffer);
        Err(Errno::EIO)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &[u8], key: u16, size: u32) -> Vec<u8> {
        let mut bytes = size.to_be_bytes().to_vec();
        bytes.extend(key.to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(name);
        bytes.resize(ENTRY_LEN, 0);
        bytes
    }

    #[test]
    fn files_are_found_by_their_whole_name() {
        let mut directory = entry(b"opt/org.osv/arg", 32, 1);
        directory.extend(entry(b"opt/org.osv/argv", 33, 5));
        directory.extend(entry(&[b'x'; 56], 34, 6));
        assert_eq!(find(&directory, b"opt/org.osv/argv"), Some(Entry { key: 33, size: 5 }));
        assert_eq!(find(&directory, &[b'x'; 56]), Some(Entry { key: 34, size: 6 }));
        assert_eq!(find(&directory, b"opt"), None);
        assert_eq!(find(&directory[..100], b"opt/org.osv/argv"), None);
        assert_eq!(find(&[], b""), None);
    }
}
