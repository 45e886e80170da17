//! A flat file with multiboot's headers of both versions in its first page: QEMU's `-kernel` takes the first, GRUB either.
//!
//! Both headers say where the bytes go, since the 64-bit ELF that they would else be taken from is not for version 1.

use super::{HANDOFF, Payload, entry, handoff, narrow, put_u32};

const HEADER1: usize = handoff::HEADERS.start;
const HEADER2: usize = 0x60;

/// Where a boot loader learns what goes where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Load {
    /// From the file's ELF headers.
    Elf,
    /// From the multiboot header.
    Flat,
}

/// The file's bytes.
///
/// # Errors
/// If it is too large.
pub fn write(mut payload: Payload) -> Result<Vec<u8>, String> {
    add_header1(&mut payload)?;
    add_header2(&mut payload, Load::Flat)?;
    Ok(payload.memory)
}

fn load_end(payload: &Payload) -> Result<u32, String> {
    narrow(HANDOFF + payload.memory.len() as u64)
}

fn add_header1(payload: &mut Payload) -> Result<(), String> {
    const MAGIC: u32 = 0x1bad_b002;
    const ALIGNED_MODULES: u32 = 1;
    const MEMORY_MAP: u32 = 1 << 1;
    const ADDRESSES: u32 = 1 << 16;
    let flags = ALIGNED_MODULES | MEMORY_MAP | ADDRESSES;
    let words = [
        MAGIC,
        flags,
        0u32.wrapping_sub(MAGIC).wrapping_sub(flags),
        HANDOFF as u32 + HEADER1 as u32,
        HANDOFF as u32,
        load_end(payload)?,
        narrow(payload.memory_end)?,
        entry::MULTIBOOT as u32,
    ];
    put_words(&mut payload.memory[HEADER1..], &words);
    Ok(())
}

/// Puts version 2's header into the hand-off page.
///
/// # Errors
/// If the payload is too large.
pub fn add_header2(payload: &mut Payload, load: Load) -> Result<(), String> {
    const MAGIC: u32 = 0xe852_50d6;
    const ADDRESSES: u32 = 2;
    const ENTRY: u32 = 3;
    const ALIGNED_MODULES: u32 = 6;
    let mut tags = Vec::new();
    if load == Load::Flat {
        let header = HANDOFF as u32 + HEADER2 as u32;
        tags.extend([ADDRESSES, 24, header, HANDOFF as u32, load_end(payload)?, narrow(payload.memory_end)?]);
    }
    tags.extend([ENTRY, 12, entry::MULTIBOOT as u32, 0]);
    tags.extend([ALIGNED_MODULES, 8, 0, 8]);
    let len = 16 + 4 * tags.len() as u32;
    let mut words = vec![MAGIC, 0, len, 0u32.wrapping_sub(MAGIC).wrapping_sub(len)];
    words.extend(tags);
    put_words(&mut payload.memory[HEADER2..], &words);
    Ok(())
}

fn put_words(to: &mut [u8], words: &[u32]) {
    for (index, word) in words.iter().enumerate() {
        put_u32(to, 4 * index, *word);
    }
}
