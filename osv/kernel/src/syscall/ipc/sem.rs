//! `semget(2)`, `semop(2)`, `semtimedop(2)`, `semctl(2)`.

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{IpcPerm, SysResult, command};
use crate::errno::{Errno, Result};
use crate::ipc::sem::{self, MAX_VALUE, Operation, Set};
use crate::ipc::{Object, access, limits};
use crate::mem::user::UserPtr;
use crate::process::current_task;
use crate::sched::Deadline;
use crate::syscall::time::Timespec;

const GET_PID: i32 = 11;
const GET_VALUE: i32 = 12;
const GET_ALL: i32 = 13;
const GET_WAITING: i32 = 14;
const GET_WAITING_FOR_ZERO: i32 = 15;
const SET_VALUE: i32 = 16;
const SET_ALL: i32 = 17;
const STAT_AT: i32 = 18;
const USE: i32 = 19;
const STAT_ANY: i32 = 20;

/// `struct semid64_ds`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct SemidDs {
    perm: IpcPerm,
    operated_at: i64,
    unused: u64,
    changed_at: i64,
    unused2: u64,
    count: u64,
    unused3: [u64; 2],
}

/// `struct seminfo`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct SemInfo {
    map: u32,
    sets: u32,
    all: u32,
    undos: u32,
    per_set: u32,
    operations: u32,
    undo_entries: u32,
    undo_size: u32,
    max_value: u32,
    max_adjustment: u32,
}

const _: () = assert!(size_of::<SemidDs>() == 104 && size_of::<SemInfo>() == 40);

/// <https://man7.org/linux/man-pages/man2/semget.2.html>
pub fn semget(key: i32, count: i32, flags: u32) -> SysResult {
    sem::get(key, count, flags, &current_task().credentials()).map(|id| id as u64)
}

/// <https://man7.org/linux/man-pages/man2/semop.2.html>
pub fn semop(id: i32, operations: UserPtr<Operation>, count: u32) -> SysResult {
    semtimedop(id, operations, count, UserPtr::new(0))
}

/// <https://man7.org/linux/man-pages/man2/semop.2.html>
pub fn semtimedop(id: i32, operations: UserPtr<Operation>, count: u32, timeout: UserPtr<Timespec>) -> SysResult {
    let timeout_ns = match timeout.non_null() {
        Some(timeout) => Some(timeout.read()?.to_nanos()),
        None => None,
    };
    if u64::from(count) > limits::SEM_OPERATIONS.get() {
        return Err(Errno::E2BIG);
    }
    if count == 0 || id < 0 {
        return Err(Errno::EINVAL);
    }
    let operations = operations.read_vec(count as usize)?;
    let deadline = timeout_ns.transpose()?.map(Deadline::after);
    let task = current_task();
    sem::operate(id, operations, deadline, &task.credentials(), || task.sem_undo()).map(|()| 0)
}

/// `argument` is a number or an address, as the command wants it.
/// <https://man7.org/linux/man-pages/man2/semctl.2.html>
pub fn semctl(id: i32, number: i32, command: i32, argument: u64) -> SysResult {
    if id < 0 {
        return Err(Errno::EINVAL);
    }
    let credentials = current_task().credentials();
    match command {
        command::INFO | USE => write_info(command == USE, UserPtr::new(argument)),
        command::STAT => stat(&*sem::table().find(id)?, true, UserPtr::new(argument)).map(|()| 0),
        STAT_AT | STAT_ANY => {
            let set = sem::table().at(id)?;
            stat(&set, command == STAT_AT, UserPtr::new(argument))?;
            Ok(set.header().id() as u64)
        }
        command::SET => {
            let new = UserPtr::<SemidDs>::new(argument).read()?.perm;
            let set = sem::table().find(id)?;
            set.header().permissions().check_owner(&credentials)?;
            set.set(new.uid, new.gid, new.mode).map(|()| 0)
        }
        command::REMOVE => {
            let set = sem::table().find(id)?;
            set.header().permissions().check_owner(&credentials)?;
            set.remove();
            Ok(0)
        }
        GET_ALL | SET_ALL => {
            let set = sem::table().find(id)?;
            set.header().check(&credentials, if command == GET_ALL { access::READ } else { access::WRITE })?;
            let values = UserPtr::<u16>::new(argument);
            match command {
                GET_ALL => values.write_slice(&set.values()?)?,
                _ => set.set_values(&values.read_vec(set.len())?)?,
            }
            Ok(0)
        }
        SET_VALUE => {
            let value = argument as i32;
            if !(0..=MAX_VALUE).contains(&value) {
                return Err(Errno::ERANGE);
            }
            let set = sem::table().find(id)?;
            let number = place(&set, number)?;
            set.header().check(&credentials, access::WRITE)?;
            set.set_value(number, value).map(|()| 0)
        }
        GET_PID | GET_VALUE | GET_WAITING | GET_WAITING_FOR_ZERO => {
            let set = sem::table().find(id)?;
            set.header().check(&credentials, access::READ)?;
            let number = place(&set, number)?;
            Ok(match command {
                GET_PID => u64::from(set.semaphore(number)?.last),
                GET_VALUE => u64::from(set.semaphore(number)?.value),
                _ => set.waiting(number, command == GET_WAITING_FOR_ZERO)? as u64,
            })
        }
        _ => Err(Errno::EINVAL),
    }
}

fn place(set: &Set, number: i32) -> Result<usize> {
    usize::try_from(number).ok().filter(|&number| number < set.len()).ok_or(Errno::EINVAL)
}

fn stat(set: &Set, is_checked: bool, buffer: UserPtr<SemidDs>) -> Result<()> {
    if is_checked {
        set.header().check(&current_task().credentials(), access::READ)?;
    }
    let (operated_at, changed_at) = set.times();
    let (perm, count) = (IpcPerm::of(set.header()), set.len() as u64);
    buffer.write(&SemidDs { perm, operated_at, changed_at, count, ..SemidDs::default() })
}

fn write_info(is_use: bool, buffer: UserPtr<SemInfo>) -> SysResult {
    let all = limits::SEM_ALL.get() as u32;
    let (sets, semaphores) = match is_use {
        true => (sem::table().count() as u32, sem::count() as u32),
        false => (20, MAX_VALUE as u32),
    };
    let operations = limits::SEM_OPERATIONS.get() as u32;
    buffer.write(&SemInfo {
        map: all,
        sets: limits::SEM_IDS.get() as u32,
        all,
        undos: all,
        per_set: limits::SEM_PER_SET.get() as u32,
        operations,
        undo_entries: operations,
        undo_size: sets,
        max_value: MAX_VALUE as u32,
        max_adjustment: semaphores,
    })?;
    Ok(sem::table().highest_place() as u64)
}
