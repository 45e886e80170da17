//! `mmap(2)` and `munmap(2)`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Errno, Fd, Prot, SysResult, general, lock, prot, space};
use crate::errno::Result;
use crate::fs::{MountFlags, OpenFile};
use crate::mem::object::MappingName;
use crate::mem::space::{FilePart, MapFlags, MapRequest};
use crate::process::current_task;

/// Flags that MAP_SHARED_VALIDATE knows.
const VALIDATED: u32 = MapFlags::all().bits()
    | general::MAP_TYPE
    | general::MAP_ANONYMOUS
    | general::MAP_DENYWRITE
    | general::MAP_EXECUTABLE
    | general::MAP_HUGETLB;

/// Maps a file or memory. <https://man7.org/linux/man-pages/man2/mmap.2.html>
pub fn mmap(addr: u64, len: u64, protection: u64, flags: u32, fd: Fd, offset: u64) -> SysResult {
    if !offset.is_multiple_of(crate::mem::layout::PAGE_SIZE as u64) {
        return Err(Errno::EINVAL);
    }
    let is_shared = match flags & general::MAP_TYPE {
        general::MAP_PRIVATE => false,
        general::MAP_SHARED => true,
        general::MAP_SHARED_VALIDATE if flags & !VALIDATED != 0 => return Err(Errno::EOPNOTSUPP),
        general::MAP_SHARED_VALIDATE => true,
        _ => return Err(Errno::EINVAL),
    };
    let mut request = MapRequest { addr, ..MapRequest::anonymous(len, prot(protection)) };
    request.flags = MapFlags::from_bits_truncate(flags & !general::MAP_TYPE);
    request.flags.set(MapFlags::SHARED, is_shared);
    if flags & general::MAP_ANONYMOUS == 0 {
        attach(&mut request, fd, offset)?;
    }
    // There is no pool of huge pages to take them from.
    if flags & general::MAP_HUGETLB != 0 {
        return Err(if flags & general::MAP_ANONYMOUS == 0 { Errno::EINVAL } else { Errno::ENOMEM });
    }
    lock::check_new(len, request.flags.contains(MapFlags::LOCKED))?;
    space()?.mmap(request)
}

/// Has the request show the file behind `fd`, if that may be.
fn attach(request: &mut MapRequest, fd: Fd, offset: u64) -> Result<()> {
    let file = current_task().files().get(fd.0)?;
    if file.is_place() {
        return Err(Errno::EBADF);
    }
    if !file.flags().is_readable() {
        return Err(Errno::EACCES);
    }
    if file.path().is_some_and(|place| place.mount().flags().contains(MountFlags::NOEXEC)) {
        if request.prot.contains(Prot::EXEC) {
            return Err(Errno::EPERM);
        }
        request.never_exec = true;
    }
    let is_shared = request.flags.contains(MapFlags::SHARED);
    request.never_write = is_shared && !file.flags().is_writable();
    if is_shared && let Some(seals) = file.inode().and_then(|inode| inode.seals()) {
        check_seals(request, seals)?;
    }
    let source = file.mapping()?;
    // A private mapping of /dev/zero is anonymous memory.
    if is_shared || !source.is_zero() {
        request.file = Some(FilePart::new(source, Some(name(&file)), offset));
    }
    Ok(())
}

fn check_seals(request: &mut MapRequest, seals: u32) -> Result<()> {
    if seals & (general::F_SEAL_WRITE | general::F_SEAL_FUTURE_WRITE) != 0 {
        if request.prot.contains(Prot::WRITE) {
            return Err(Errno::EPERM);
        }
        request.never_write = true;
    }
    Ok(())
}

/// What `/proc/PID/maps` calls a mapping of `file`.
fn name(file: &OpenFile) -> Arc<dyn MappingName> {
    if let Some(path) = file.path() {
        return Arc::new(path.clone());
    }
    let mut text = Vec::new();
    if let Some(file) = file.file() {
        file.link_text(&mut text);
    }
    Arc::new(text)
}

/// Unmaps whatever is mapped in a range. <https://man7.org/linux/man-pages/man2/munmap.2.html>
pub fn munmap(addr: u64, len: u64) -> SysResult {
    space()?.munmap(addr, len).map(|()| 0)
}
