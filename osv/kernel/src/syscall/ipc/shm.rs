//! `shmget(2)`, `shmat(2)`, `shmdt(2)`, `shmctl(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{IpcPerm, SysResult, command};
use crate::errno::{Errno, Result};
use crate::ipc::shm::{self, Attach, Segment};
use crate::ipc::{Object, access, limits};
use crate::mem::layout::PAGE_SIZE;
use crate::mem::space::Prot;
use crate::mem::user::UserPtr;
use crate::process::limits::Resource;
use crate::process::{current_process, current_task};

const HUGE_PAGES: u32 = 0o4000;
const HUGE_SIZE_SHIFT: u32 = 26;
const READ_ONLY: u32 = 0o10000;
const ROUND: u32 = 0o20000;
const REMAP: u32 = 0o40000;
const EXEC: u32 = 0o100000;

const LOCK: i32 = 11;
const UNLOCK: i32 = 12;
const STAT_AT: i32 = 13;
const USE: i32 = 14;
const STAT_ANY: i32 = 15;

/// `struct shmid64_ds`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct ShmidDs {
    perm: IpcPerm,
    size: u64,
    attached_at: i64,
    detached_at: i64,
    changed_at: i64,
    creator: u32,
    last: u32,
    areas: u64,
    unused: [u64; 2],
}

/// `struct shminfo64`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ShmInfo {
    max: u64,
    min: u64,
    ids: u64,
    per_process: u64,
    all: u64,
    unused: [u64; 4],
}

/// `struct shm_info`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct ShmUse {
    ids: u64,
    pages: u64,
    resident: u64,
    swapped: u64,
    swap_attempts: u64,
    swap_successes: u64,
}

const _: () = assert!(size_of::<ShmidDs>() == 112 && size_of::<ShmInfo>() == 72 && size_of::<ShmUse>() == 48);

/// <https://man7.org/linux/man-pages/man2/shmget.2.html>
pub fn shmget(key: i32, size: u64, flags: u32) -> SysResult {
    // There is no pool of huge pages: the sizes that the processor has are known, and none is there.
    if flags & HUGE_PAGES != 0 {
        let is_known = matches!(flags >> HUGE_SIZE_SHIFT, 0 | 21 | 30);
        return Err(if is_known { Errno::ENOMEM } else { Errno::EINVAL });
    }
    shm::get(key, size, flags, &current_task().credentials()).map(|id| id as u64)
}

/// <https://man7.org/linux/man-pages/man2/shmat.2.html>
pub fn shmat(id: i32, addr: u64, flags: u32) -> SysResult {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let addr = if flags & ROUND != 0 { addr & !(PAGE_SIZE as u64 - 1) } else { addr };
    let is_nowhere = addr == 0 && flags & REMAP != 0;
    if !addr.is_multiple_of(PAGE_SIZE as u64) || is_nowhere {
        return Err(Errno::EINVAL);
    }
    let mut prot = Prot::READ | Prot::WRITE;
    let mut wanted = access::READ | access::WRITE;
    if flags & READ_ONLY != 0 {
        (prot, wanted) = (Prot::READ, access::READ);
    }
    if flags & EXEC != 0 {
        prot |= Prot::EXEC;
        wanted |= access::EXECUTE;
    }
    let segment = shm::table().find(id)?;
    segment.header().check(&current_task().credentials(), wanted)?;
    segment.attach(&current_process().space()?, Attach { addr, replaces: flags & REMAP != 0, prot })
}

/// <https://man7.org/linux/man-pages/man2/shmdt.2.html>
pub fn shmdt(addr: u64) -> SysResult {
    current_process().space()?.detach_segment(addr).map(|()| 0)
}

/// <https://man7.org/linux/man-pages/man2/shmctl.2.html>
pub fn shmctl(id: i32, command: i32, buffer: UserPtr<ShmidDs>) -> SysResult {
    if id < 0 || command < 0 {
        return Err(Errno::EINVAL);
    }
    let credentials = current_task().credentials();
    match command {
        command::INFO => write_info(buffer.cast()),
        USE => write_use(buffer.cast()),
        command::STAT => stat(&*shm::table().find(id)?, true, buffer).map(|()| 0),
        STAT_AT | STAT_ANY => {
            let segment = shm::table().at(id)?;
            stat(&segment, command == STAT_AT, buffer)?;
            Ok(segment.header().id() as u64)
        }
        command::SET => {
            let new = buffer.read()?.perm;
            let segment = shm::table().find(id)?;
            segment.header().permissions().check_owner(&credentials)?;
            segment.set(new.uid, new.gid, new.mode).map(|()| 0)
        }
        command::REMOVE => {
            let segment = shm::table().find(id)?;
            segment.header().permissions().check_owner(&credentials)?;
            segment.remove();
            Ok(0)
        }
        LOCK | UNLOCK => {
            let segment = shm::table().find(id)?;
            let limit = current_process().limit(Resource::LockedMemory);
            let limit = if command == UNLOCK { u64::MAX } else { limit };
            segment.header().permissions().check_locking(&credentials, limit)?;
            segment.lock(command == LOCK);
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn stat(segment: &Segment, is_checked: bool, buffer: UserPtr<ShmidDs>) -> Result<()> {
    if is_checked {
        segment.header().check(&current_task().credentials(), access::READ)?;
    }
    let record = segment.record();
    buffer.write(&ShmidDs {
        perm: IpcPerm::of(segment.header()),
        size: segment.bytes(),
        attached_at: record.attached_at,
        detached_at: record.detached_at,
        changed_at: record.changed_at,
        creator: record.creator,
        last: record.last,
        areas: record.areas,
        unused: [0; 2],
    })
}

fn write_info(buffer: UserPtr<ShmInfo>) -> SysResult {
    let ids = limits::SHM_IDS.get();
    let (max, all) = (limits::SHM_MAX.get(), limits::SHM_ALL.get());
    buffer.write(&ShmInfo { max, min: 1, ids, per_process: ids, all, unused: [0; 4] })?;
    Ok(shm::table().highest_place() as u64)
}

fn write_use(buffer: UserPtr<ShmUse>) -> SysResult {
    let (pages, resident) = shm::pages();
    let ids = shm::table().count() as u64;
    buffer.write(&ShmUse { ids, pages, resident, swapped: 0, swap_attempts: 0, swap_successes: 0 })?;
    Ok(shm::table().highest_place() as u64)
}
