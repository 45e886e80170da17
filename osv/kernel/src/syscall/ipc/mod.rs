//! IPC: System V shared memory, semaphores and message queues, and POSIX message queues. The structures here are those of 64-bit Linux.

mod mqueue;
mod msg;
mod sem;
mod shm;

pub use mqueue::{mq_getsetattr, mq_notify, mq_open, mq_timedreceive, mq_timedsend, mq_unlink};
pub use msg::{msgctl, msgget, msgrcv, msgsnd};
pub use sem::{semctl, semget, semop, semtimedop};
pub use shm::{shmat, shmctl, shmdt, shmget};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::SysResult;
use crate::ipc::{Header, Permissions};

/// Commands that all `*ctl` calls know.
mod command {
    pub const REMOVE: i32 = 0;
    pub const SET: i32 = 1;
    pub const STAT: i32 = 2;
    pub const INFO: i32 = 3;
}

/// `struct ipc64_perm`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct IpcPerm {
    key: i32,
    uid: u32,
    gid: u32,
    creator_uid: u32,
    creator_gid: u32,
    mode: u32,
    sequence: u16,
    padding: [u16; 3],
    unused: [u64; 2],
}

impl IpcPerm {
    fn of(header: &Header) -> IpcPerm {
        let Permissions { key, uid, gid, creator_uid, creator_gid, mode } = header.permissions();
        let sequence = header.sequence();
        IpcPerm { key, uid, gid, creator_uid, creator_gid, mode, sequence, padding: [0; 3], unused: [0; 2] }
    }
}

const _: () = assert!(size_of::<IpcPerm>() == 48);
