//! Files that a machine boots from: the kernel with a program and its files, in each boot protocol's own clothes.
//!
//! What all of them carry is a [`Payload`], the bytes from physical 1 MiB on. Its first page is the hand-off page
//! ([`handoff`]), which no format packs: so the command line of a finished image can be read and changed in place,
//! wherever in the file the page lies.

pub mod bzimage;
pub mod elf;
pub mod grub;
pub mod handoff;
pub mod multiboot;
pub mod payload;
pub mod qcow2;

pub use payload::Payload;

/// Where the hand-off page lies in physical memory.
pub const HANDOFF: u64 = osv_kernel_build::HANDOFF_START;

/// The kernel's entries, at fixed places (`osv/kernel/src/arch/x86_64/entry.rs`).
pub mod entry {
    /// Linux' 64-bit protocol.
    pub const LINUX_64: u64 = osv_kernel_build::IMAGE_START;
    /// Both versions of multiboot.
    pub const MULTIBOOT: u64 = LINUX_64 + 0x20;
    /// PVH.
    pub const PVH: u64 = LINUX_64 + 0x30;
}

fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn put_u64(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn get_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// A number that a header keeps in 32 bits.
fn narrow(value: u64) -> Result<u32, String> {
    u32::try_from(value).map_err(|_| "the image is larger than 4 GiB".to_owned())
}
