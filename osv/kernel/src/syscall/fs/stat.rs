//! `stat(2)` and its family, `statx(2)`.

use linux_raw_sys::general;
use zerocopy::{Immutable, IntoBytes};

use super::{CURRENT, at, at_place, file, known_flags, with_path};
use crate::errno::{Errno, Result};
use crate::fs::{Metadata, Timespec, major, minor};
use crate::mem::user::{UserAddr, UserPtr};
use crate::syscall::{Fd, SysResult};

/// `struct stat`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct Stat {
    dev: u64,
    ino: u64,
    nlink: u64,
    mode: u32,
    uid: u32,
    gid: u32,
    padding: u32,
    rdev: u64,
    size: u64,
    block_size: u64,
    blocks: u64,
    atime: [u64; 2],
    mtime: [u64; 2],
    ctime: [u64; 2],
    reserved: [u64; 3],
}

impl From<&Metadata> for Stat {
    #[inline]
    fn from(metadata: &Metadata) -> Stat {
        let pair = |time: Timespec| [time.sec as u64, u64::from(time.nsec)];
        Stat {
            dev: metadata.dev,
            ino: metadata.ino,
            nlink: u64::from(metadata.nlink),
            mode: metadata.st_mode(),
            uid: metadata.uid,
            gid: metadata.gid,
            padding: 0,
            rdev: metadata.rdev,
            size: metadata.size,
            block_size: u64::from(metadata.block_size),
            blocks: metadata.blocks,
            atime: pair(metadata.atime),
            mtime: pair(metadata.mtime),
            ctime: pair(metadata.ctime),
            reserved: [0; 3],
        }
    }
}

/// `struct statx_timestamp`.
#[derive(Default, IntoBytes, Immutable)]
#[repr(C)]
struct Stamp {
    sec: i64,
    nsec: u32,
    reserved: i32,
}

impl From<Timespec> for Stamp {
    fn from(time: Timespec) -> Stamp {
        Stamp { sec: time.sec, nsec: time.nsec, reserved: 0 }
    }
}

/// `struct statx`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
pub struct Statx {
    mask: u32,
    block_size: u32,
    attributes: u64,
    nlink: u32,
    uid: u32,
    gid: u32,
    mode: u16,
    padding: u16,
    ino: u64,
    size: u64,
    blocks: u64,
    attributes_mask: u64,
    atime: Stamp,
    btime: Stamp,
    ctime: Stamp,
    mtime: Stamp,
    rdev: [u32; 2],
    dev: [u32; 2],
    mount_id: u64,
    alignments: [u32; 2],
    spare: [u64; 12],
}

/// Tells of a file. <https://man7.org/linux/man-pages/man2/stat.2.html>
pub fn stat(path: UserAddr, buffer: UserPtr<Stat>) -> SysResult {
    newfstatat(CURRENT, path, buffer, 0)
}

/// As `stat`, of a symlink itself. <https://man7.org/linux/man-pages/man2/lstat.2.html>
pub fn lstat(path: UserAddr, buffer: UserPtr<Stat>) -> SysResult {
    newfstatat(CURRENT, path, buffer, general::AT_SYMLINK_NOFOLLOW)
}

/// As `stat`, of an open file. <https://man7.org/linux/man-pages/man2/fstat.2.html>
pub fn fstat(fd: Fd, buffer: UserPtr<Stat>) -> SysResult {
    write(file(fd)?.metadata(), buffer)
}

/// As `stat`, relative to a directory. <https://man7.org/linux/man-pages/man2/newfstatat.2.html>
pub fn newfstatat(directory: Fd, path: UserAddr, buffer: UserPtr<Stat>, flags: u32) -> SysResult {
    let known = general::AT_SYMLINK_NOFOLLOW | general::AT_NO_AUTOMOUNT | general::AT_EMPTY_PATH;
    if flags & !general::AT_SYMLINK_NOFOLLOW == 0 {
        return at(directory, path, |caller, start, path| {
            let place = caller.resolve(start, path, flags == 0)?;
            write(place.inode().metadata(), buffer)
        });
    }
    let (metadata, _) = metadata_at(directory, path, known_flags(flags, known)?)?;
    write(Ok(metadata), buffer)
}

/// As `stat`, with more fields. <https://man7.org/linux/man-pages/man2/statx.2.html>
pub fn statx(directory: Fd, path: UserAddr, flags: u32, mask: u32, buffer: UserPtr<Statx>) -> SysResult {
    let known = general::AT_SYMLINK_NOFOLLOW
        | general::AT_NO_AUTOMOUNT
        | general::AT_EMPTY_PATH
        | general::AT_STATX_FORCE_SYNC
        | general::AT_STATX_DONT_SYNC;
    let both = general::AT_STATX_FORCE_SYNC | general::AT_STATX_DONT_SYNC;
    if mask & general::STATX__RESERVED != 0 || flags & both == both {
        return Err(Errno::EINVAL);
    }
    let (metadata, mount) = metadata_at(directory, path, known_flags(flags, known)?)?;
    buffer.write(&extended(&metadata, mount))?;
    Ok(0)
}

/// Metadata, and where they come from: the number of the mount, and whether it is the root of that.
type Found = (Metadata, Option<(u64, bool)>);

fn metadata_at(directory: Fd, path: UserAddr, flags: u32) -> Result<Found> {
    let may_be_anonymous = flags & general::AT_EMPTY_PATH != 0 && directory != CURRENT;
    if may_be_anonymous && with_path(path, |path| Ok(path.is_empty()))? {
        let file = file(directory)?;
        let mount = file.path().map(|place| (place.mount().id(), place.is_mount_root()));
        return Ok((file.metadata()?, mount));
    }
    at_place(directory, path, flags, |_, place| {
        Ok((place.inode().metadata()?, Some((place.mount().id(), place.is_mount_root()))))
    })
}

#[inline]
fn write(metadata: Result<Metadata>, buffer: UserPtr<Stat>) -> SysResult {
    match &metadata {
        Ok(metadata) => buffer.write(&Stat::from(metadata)).map(|()| 0),
        Err(error) => Err(*error),
    }
}

fn extended(metadata: &Metadata, mount: Option<(u64, bool)>) -> Statx {
    let mut mask = general::STATX_BASIC_STATS;
    if metadata.btime.is_some() {
        mask |= general::STATX_BTIME;
    }
    if mount.is_some() {
        mask |= general::STATX_MNT_ID;
    }
    let is_mount_root = mount.is_some_and(|(_, is_root)| is_root);
    Statx {
        mask,
        block_size: metadata.block_size,
        attributes: if is_mount_root { u64::from(general::STATX_ATTR_MOUNT_ROOT) } else { 0 },
        nlink: metadata.nlink,
        uid: metadata.uid,
        gid: metadata.gid,
        mode: metadata.st_mode() as u16,
        padding: 0,
        ino: metadata.ino,
        size: metadata.size,
        blocks: metadata.blocks,
        attributes_mask: u64::from(general::STATX_ATTR_MOUNT_ROOT),
        atime: metadata.atime.into(),
        btime: metadata.btime.unwrap_or_default().into(),
        ctime: metadata.ctime.into(),
        mtime: metadata.mtime.into(),
        rdev: [major(metadata.rdev), minor(metadata.rdev)],
        dev: [major(metadata.dev), minor(metadata.dev)],
        mount_id: mount.map_or(0, |(id, _)| id),
        alignments: [0; 2],
        spare: [0; 12],
    }
}

const _: () = assert!(size_of::<Stat>() == 144 && size_of::<Statx>() == 256);
