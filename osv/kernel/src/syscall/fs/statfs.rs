//! `statfs(2)`, `fstatfs(2)`, `ustat(2)`, `sysfs(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use zerocopy::{Immutable, IntoBytes};

use super::{CURRENT, at_place, file};
use crate::errno::{Errno, Result};
use crate::fs::{FileType, Mount, MountFlags, OpenFile, PATH_MAX, PathRef, StatFs, types};
use crate::mem::user::{UserAddr, UserPtr, UserSlice, read_cstr};
use crate::process::current_task;
use crate::syscall::{Fd, SysResult};

/// `f_type` of eventfds and their like.
const ANON_INODE_MAGIC: u64 = 0x0904_1934;
/// `f_type` of pipes.
const PIPE_MAGIC: u64 = 0x5049_5045;
/// `f_type` of sockets.
const SOCKET_MAGIC: u64 = 0x534f_434b;
/// `ST_VALID`: the flags mean something.
const ST_VALID: u64 = 0x20;

/// `struct statfs`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct RawStatFs {
    kind: u64,
    block_size: u64,
    blocks: u64,
    blocks_free: u64,
    blocks_available: u64,
    files: u64,
    files_free: u64,
    id: [u32; 2],
    name_max: u64,
    fragment_size: u64,
    flags: u64,
    spare: [u64; 4],
}

/// Tells of a file system. <https://man7.org/linux/man-pages/man2/statfs.2.html>
pub fn statfs(path: UserAddr, buffer: UserPtr<RawStatFs>) -> SysResult {
    let raw = at_place(CURRENT, path, 0, |_, place| of_place(place))?;
    buffer.write(&raw)?;
    Ok(0)
}

/// As `statfs`, by an open file. <https://man7.org/linux/man-pages/man2/fstatfs.2.html>
pub fn fstatfs(fd: Fd, buffer: UserPtr<RawStatFs>) -> SysResult {
    let file = file(fd)?;
    let raw = match file.path() {
        Some(place) => of_place(place)?,
        None => encode(&StatFs { magic: magic_of(&file)?, block_size: 4096, name_max: 255, ..StatFs::default() }, 0),
    };
    buffer.write(&raw)?;
    Ok(0)
}

/// `struct ustat`: blocks and inodes that are free, and names that nobody gives any more.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct Ustat {
    blocks_free: i32,
    padding: u32,
    files_free: u64,
    names: [u8; 16],
}

/// Tells of the mounted file system with device number `device`.
/// <https://man7.org/linux/man-pages/man2/ustat.2.html>
pub fn ustat(device: u32, buffer: UserPtr<Ustat>) -> SysResult {
    let device = u64::from(device);
    let root = current_task().fs().namespace().root();
    let shows = |mount: &&Arc<Mount>| mount.root().inode().metadata().is_ok_and(|metadata| metadata.dev == device);
    let mounts = root.tree();
    let found = mounts.iter().find(shows).ok_or(Errno::EINVAL)?.file_system().statfs()?;
    let blocks_free = found.blocks_free as i32;
    buffer.write(&Ustat { blocks_free, padding: 0, files_free: found.files_free, names: [0; 16] })?;
    Ok(0)
}

/// Tells of the types of file systems: the number of one by name (1), its name by number (2), how many there are (3).
/// <https://man7.org/linux/man-pages/man2/sysfs.2.html>
pub fn sysfs(option: u32, argument: UserAddr, buffer: UserAddr) -> SysResult {
    let types = types::list();
    match option {
        1 => {
            let name = read_cstr(argument, PATH_MAX)?;
            types.iter().position(|(kind, _)| *kind == name).map(|index| index as u64).ok_or(Errno::EINVAL)
        }
        2 => {
            let index = usize::try_from(argument.0).map_err(|_| Errno::EINVAL)?;
            let (name, _) = types.get(index).ok_or(Errno::EINVAL)?;
            let name: Vec<u8> = name.iter().copied().chain([0]).collect();
            UserSlice::new(buffer.0, name.len()).write_all(&name)?;
            Ok(0)
        }
        3 => Ok(types.len() as u64),
        _ => Err(Errno::EINVAL),
    }
}

fn magic_of(file: &OpenFile) -> Result<u64> {
    Ok(match file.metadata()?.kind {
        FileType::Fifo => PIPE_MAGIC,
        FileType::Socket => SOCKET_MAGIC,
        _ => ANON_INODE_MAGIC,
    })
}

fn of_place(place: &PathRef) -> Result<RawStatFs> {
    let mount = place.mount();
    let mut flags = mount.flags() - MountFlags::RELATIME;
    flags.set(MountFlags::RDONLY, mount.check_writable().is_err());
    let relatime = if mount.flags().contains(MountFlags::RELATIME) { 0x1000 } else { 0 };
    Ok(encode(&mount.file_system().statfs()?, u64::from(flags.bits()) | relatime))
}

fn encode(statfs: &StatFs, flags: u64) -> RawStatFs {
    RawStatFs {
        kind: statfs.magic,
        block_size: statfs.block_size,
        blocks: statfs.blocks,
        blocks_free: statfs.blocks_free,
        blocks_available: statfs.blocks_available,
        files: statfs.files,
        files_free: statfs.files_free,
        id: [statfs.id as u32, (statfs.id >> 32) as u32],
        name_max: statfs.name_max,
        fragment_size: statfs.block_size,
        flags: flags | ST_VALID,
        spare: [0; 4],
    }
}

const _: () = assert!(size_of::<RawStatFs>() == 120);
