//! Shared memory segments: shmget(2), shmat(2), shmdt(2), shmctl(2).
//!
//! A segment is memory that mappings show, as a file's is. It counts the areas that show it, of whatever process:
//! `fork`, `exec` and `exit` come and go with the areas and need not know of it. One that is marked for removal goes with
//! its last area. Nothing is swapped here, so locking a segment is a mark.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{Header, Object, Permissions, Table, current_pid, limits, now};
use crate::errno::{Errno, Result};
use crate::fs::make_device;
use crate::mem::Frame;
use crate::mem::layout::PAGE_SIZE;
use crate::mem::object::{MappingName, PageSource, SharedMemory};
use crate::mem::space::{AddressSpace, FilePart, MapFlags, MapRequest, Prot};
use crate::process::Credentials;
use crate::sync::SpinLock;

const PAGE: u64 = PAGE_SIZE as u64;
/// The device that `/proc/PID/maps` shows: that of memory without a file.
const DEVICE: u64 = make_device(0, 1);

/// Marks in the mode.
pub mod mode {
    /// Goes with its last user.
    pub const REMOVED: u32 = 0o1000;
    /// Kept in memory.
    pub const LOCKED: u32 = 0o2000;
}

/// How a segment is attached.
#[derive(Clone, Copy, Debug)]
pub struct Attach {
    /// Where; 0 for anywhere.
    pub addr: u64,
    /// In place of what is there.
    pub replaces: bool,
    /// What the program may do.
    pub prot: Prot,
}

/// A segment.
pub struct Segment {
    header: Header,
    /// As it was asked for.
    size: u64,
    memory: SharedMemory,
    name: Vec<u8>,
    record: SpinLock<Record>,
}

/// Who has used a segment when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// When it was last attached, in seconds.
    pub attached_at: i64,
    /// When it was last detached.
    pub detached_at: i64,
    /// When it was made, or its owners changed.
    pub changed_at: i64,
    /// The process that made it.
    pub creator: u32,
    /// The process that attached or detached it last.
    pub last: u32,
    /// How many areas show it.
    pub areas: u64,
}

static SEGMENTS: Table<Segment> = Table::new();
/// Pages of all segments, whether they are there or not.
static ALL_PAGES: AtomicU64 = AtomicU64::new(0);

/// The family's table.
pub fn table() -> &'static Table<Segment> {
    &SEGMENTS
}

/// Pages of all segments: what may be there, and what is.
pub fn pages() -> (u64, u64) {
    let resident = SEGMENTS.all().iter().map(|segment| segment.resident() / PAGE).sum();
    (ALL_PAGES.load(Ordering::Relaxed), resident)
}

/// `shmget`: the id of the segment with `key`, made if need be.
pub fn get(key: i32, size: u64, wanted: u32, credentials: &Credentials) -> Result<i32> {
    let make = || Segment::new(key, size, wanted, credentials);
    let check = |segment: &Segment| if segment.size < size { Err(Errno::EINVAL) } else { Ok(()) };
    SEGMENTS.get(key, wanted, limits::SHM_IDS.get(), credentials, make, check)
}

impl Segment {
    fn new(key: i32, size: u64, mode: u32, credentials: &Credentials) -> Result<Arc<Segment>> {
        if size == 0 || size > limits::SHM_MAX.get() {
            return Err(Errno::EINVAL);
        }
        let bytes = size.checked_next_multiple_of(PAGE).ok_or(Errno::ENOSPC)?;
        let count = bytes / PAGE;
        let is_room = |all: u64| all.checked_add(count).filter(|&sum| sum <= limits::SHM_ALL.get());
        ALL_PAGES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_room).map_err(|_| Errno::ENOSPC)?;
        Ok(Arc::new(Segment {
            header: Header::new(Permissions::new(key, mode, credentials)),
            size,
            memory: SharedMemory::new(bytes),
            name: alloc::format!("/SYSV{key:08x} (deleted)").into_bytes(),
            record: SpinLock::new(Record { changed_at: now(), creator: current_pid(), ..Record::default() }),
        }))
    }

    /// Its size in bytes, as it was asked for.
    pub fn bytes(&self) -> u64 {
        self.size
    }

    /// Bytes that are in memory.
    pub fn resident(&self) -> u64 {
        self.memory.resident()
    }

    /// Who has used it when.
    pub fn record(&self) -> Record {
        *self.record.lock()
    }

    /// `IPC_SET`.
    pub fn set(&self, uid: u32, gid: u32, mode: u32) -> Result<()> {
        self.header.set(uid, gid, mode)?;
        self.record.lock().changed_at = now();
        Ok(())
    }

    /// `SHM_LOCK` and `SHM_UNLOCK`.
    pub fn lock(&self, is_locked: bool) {
        self.header.change(|permissions| {
            permissions.mode &= !mode::LOCKED;
            permissions.mode |= if is_locked { mode::LOCKED } else { 0 };
        });
    }

    /// `IPC_RMID`: it goes now, or with its last user.
    pub fn remove(&self) {
        self.header.change(|permissions| permissions.mode |= mode::REMOVED);
        if self.record().areas == 0 {
            SEGMENTS.remove(self);
        } else {
            SEGMENTS.forget_key(self);
            self.remove_if_unused();
        }
    }

    fn remove_if_unused(&self) {
        if self.record().areas == 0 && self.header.permissions().mode & mode::REMOVED != 0 {
            SEGMENTS.remove(self);
        }
    }

    /// `shmat`: maps it and returns where. EINVAL where something else is mapped already.
    pub fn attach(self: &Arc<Self>, space: &Arc<AddressSpace>, attach: Attach) -> Result<u64> {
        let mut flags = MapFlags::SHARED;
        match (attach.addr, attach.replaces) {
            (0, _) => {}
            (_, true) => flags |= MapFlags::FIXED,
            (_, false) => flags |= MapFlags::FIXED_NO_REPLACE,
        }
        let name: Arc<dyn MappingName> = Arc::new(self.name.clone());
        let request = MapRequest {
            addr: attach.addr,
            flags,
            file: Some(FilePart::new(Arc::clone(self) as _, Some(name), 0)),
            never_write: !attach.prot.contains(Prot::WRITE),
            ..MapRequest::anonymous(self.memory.size(), attach.prot)
        };
        space.mmap(request).map_err(|errno| if errno == Errno::EEXIST { Errno::EINVAL } else { errno })
    }
}

impl Object for Segment {
    fn header(&self) -> &Header {
        &self.header
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        ALL_PAGES.fetch_sub(self.memory.size() / PAGE, Ordering::Relaxed);
    }
}

impl PageSource for Segment {
    fn size(&self) -> u64 {
        self.memory.size()
    }

    fn page(&self, index: u64, for_write: bool) -> Result<Frame> {
        self.memory.page(index, for_write)
    }

    fn cached(&self, index: u64) -> Option<Frame> {
        self.memory.cached(index)
    }

    fn cached_run(&self, first: u64, count: usize, found: &mut dyn FnMut(u64, Frame)) {
        self.memory.cached_run(first, count, found);
    }

    fn identity(&self) -> (u64, u64) {
        (DEVICE, self.header.id() as u64)
    }

    fn is_segment(&self) -> bool {
        true
    }

    fn note_shown(&self) {
        let mut record = self.record.lock();
        record.areas += 1;
        (record.attached_at, record.last) = (now(), current_pid());
    }

    fn note_hidden(&self) {
        {
            let mut record = self.record.lock();
            record.areas -= 1;
            (record.detached_at, record.last) = (now(), current_pid());
        }
        self.remove_if_unused();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(key: i32) -> Arc<Segment> {
        let root = Credentials::root();
        let id = get(key, 5000, 0o1600, &root).unwrap();
        SEGMENTS.find(id).unwrap()
    }

    fn part(segment: &Arc<Segment>) -> FilePart {
        FilePart::new(Arc::clone(segment) as _, None, 0)
    }

    #[test]
    fn areas_are_counted_as_they_come_and_go() {
        let segment = segment(1001);
        assert_eq!((segment.bytes(), PageSource::size(&*segment)), (5000, 8192));
        let first = part(&segment);
        let second = first.clone();
        assert_eq!(segment.record().areas, 2);
        drop((first, second));
        assert_eq!(segment.record().areas, 0);
        segment.remove();
        assert!(segment.header().is_removed());
    }

    #[test]
    fn a_removed_segment_goes_with_its_last_area() {
        let segment = segment(1002);
        let id = segment.header().id();
        let area = part(&segment);
        segment.remove();
        let Permissions { key, mode, .. } = SEGMENTS.find(id).unwrap().header().permissions();
        assert_eq!((key, mode), (super::super::PRIVATE, 0o1600));
        assert_eq!(get(1002, 1, 0, &Credentials::root()), Err(Errno::ENOENT));
        drop(area);
        assert_eq!(SEGMENTS.find(id).err(), Some(Errno::EINVAL));
    }

    #[test]
    fn sizes_are_checked() {
        let root = Credentials::root();
        assert_eq!(get(1003, 0, 0o1600, &root), Err(Errno::EINVAL));
        assert_eq!(get(1003, u64::MAX - (1 << 24) + 1, 0o1600, &root), Err(Errno::EINVAL));
        let segment = segment(1003);
        assert_eq!(get(1003, 5001, 0, &root), Err(Errno::EINVAL));
        assert_eq!(get(1003, 0, 0, &root), Ok(segment.header().id()));
        segment.remove();
    }
}
