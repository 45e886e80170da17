//! `/proc/PID/pagemap`: eight bytes for each page of a process' memory, at eight times its number.
//! Where a page lies is shown only to those who hold CAP_SYS_ADMIN.

use alloc::sync::Arc;

use linux_raw_sys::general::CAP_SYS_ADMIN;

use super::process::Subject;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Context, Volume};
use crate::fs::{File, FileType, Inode, Metadata, OpenFlags, SeekFrom};
use crate::mem::layout::{PAGE_SIZE, USER_END};
use crate::mem::space::AddressSpace;
use crate::mem::user::Dest;
use crate::process::current_task;
use crate::sched::relax;

const PAGE: u64 = PAGE_SIZE as u64;
/// Bytes for each page.
const SIZE: u64 = 8;

/// Which pages were written since is not known: all may have been.
const SOFT_DIRTY: u64 = 1 << 55;
const FILE: u64 = 1 << 61;
const PRESENT: u64 = 1 << 63;

pub(super) fn make(subject: &Subject, volume: Volume, ino: u64) -> Result<Arc<dyn Inode>> {
    Ok(Arc::new(PageMap { subject: subject.clone(), volume, ino }))
}

struct PageMap {
    subject: Subject,
    volume: Volume,
    ino: u64,
}

impl Inode for PageMap {
    fn metadata(&self) -> Result<Metadata> {
        let (uid, gid) = self.subject.owner();
        Ok(Metadata { uid, gid, ..Metadata::new(self.volume.device, self.ino, FileType::Regular, 0o400) })
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Option<Arc<dyn File>>> {
        let task = current_task();
        if !task.may_access(&*self.subject.task()?) {
            return Err(Errno::EACCES);
        }
        let space = self.subject.space().ok_or(Errno::ESRCH)?;
        Ok(Some(Arc::new(OpenPageMap { space, shows_frames: task.credentials().is_capable(CAP_SYS_ADMIN) })))
    }
}

struct OpenPageMap {
    space: Arc<AddressSpace>,
    shows_frames: bool,
}

impl OpenPageMap {
    fn entry(&self, addr: u64) -> u64 {
        let Some(info) = self.space.page_info(addr) else { return 0 };
        let frame = info.phys.filter(|_| self.shows_frames).map_or(0, |phys| phys / PAGE);
        let present = if info.phys.is_some() { PRESENT } else { 0 };
        frame | present | SOFT_DIRTY | if info.is_file { FILE } else { 0 }
    }
}

impl File for OpenPageMap {
    fn is_positioned(&self) -> bool {
        true
    }

    fn read_at(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        if !offset.is_multiple_of(SIZE) || !dst.remaining().is_multiple_of(SIZE as usize) {
            return Err(Errno::EINVAL);
        }
        let before = dst.moved();
        let mut addr = (offset / SIZE).saturating_mul(PAGE);
        while addr < USER_END && !dst.is_full() {
            dst.push(&self.entry(addr).to_ne_bytes())?;
            addr += PAGE;
            relax();
        }
        Ok(dst.moved() - before)
    }

    fn seek(&self, from: SeekFrom, current: u64) -> Result<u64> {
        match from {
            SeekFrom::Start(offset) => Ok(offset as u64),
            SeekFrom::Current(delta) => Ok(current.wrapping_add_signed(delta)),
            _ => Err(Errno::EINVAL),
        }
    }
}
