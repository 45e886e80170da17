//! An uncompressed ELF file that holds everything: for hypervisors that load such a file by PVH (QEMU, Cloud Hypervisor,
//! Firecracker since 1.12, Xen) or enter it by Linux' 64-bit protocol (older Firecrackers), and for GRUB's `multiboot2`.

use super::{HANDOFF, Payload, entry, multiboot, put_u32, put_u64};

const FILE_START: usize = 0x1000;
const HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
const NOTE: usize = 0x200;
const NOTE_SIZE: usize = 24;

/// The file's bytes.
///
/// # Errors
/// If it is too large.
pub fn write(mut payload: Payload) -> Result<Vec<u8>, String> {
    multiboot::add_header2(&mut payload, multiboot::Load::Elf)?;
    let mut file = vec![0; FILE_START];
    file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    put_u32(&mut file, 16, 62 << 16 | 2); // an executable for x86-64
    put_u32(&mut file, 20, 1);
    put_u64(&mut file, 24, entry::LINUX_64);
    put_u64(&mut file, 32, HEADER as u64);
    put_u32(&mut file, 52, (PROGRAM_HEADER as u32) << 16 | HEADER as u32);
    put_u32(&mut file, 56, 2);

    let memory_size = payload.memory_end - HANDOFF;
    // All of it is one segment with all rights: the kernel makes its own page tables.
    program_header(
        &mut file[HEADER..],
        [1, 7, 4096],
        [FILE_START as u64, HANDOFF, payload.memory.len() as u64, memory_size],
    );
    program_header(
        &mut file[HEADER + PROGRAM_HEADER..],
        [4, 4, 4],
        [NOTE as u64, HANDOFF, NOTE_SIZE as u64, NOTE_SIZE as u64],
    );
    let note = &mut file[NOTE..];
    for (at, word) in [4, 8, 18].into_iter().enumerate() {
        put_u32(note, 4 * at, word);
    }
    note[12..16].copy_from_slice(b"Xen\0");
    put_u64(note, 16, entry::PVH);
    file.extend_from_slice(&payload.memory);
    Ok(file)
}

fn program_header(
    at: &mut [u8],
    [kind, flags, alignment]: [u32; 3],
    [offset, address, file_size, memory_size]: [u64; 4],
) {
    put_u32(at, 0, kind);
    put_u32(at, 4, flags);
    for (index, value) in [offset, address, address, file_size, memory_size, alignment.into()].into_iter().enumerate() {
        put_u64(at, 8 + 8 * index, value);
    }
}
