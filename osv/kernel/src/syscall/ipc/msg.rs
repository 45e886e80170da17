//! `msgget(2)`, `msgsnd(2)`, `msgrcv(2)`, `msgctl(2)`.

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{IpcPerm, SysResult, command};
use crate::errno::{Errno, Result};
use crate::ipc::msg::{self, Choice, Message, Queue, Receive};
use crate::ipc::{Object, access, flags, limits};
use crate::mem::user::UserPtr;
use crate::process::current_task;

const CUT: u32 = 0o10000;
const EXCEPT: u32 = 0o20000;
const COPY: u32 = 0o40000;

const STAT_AT: i32 = 11;
const USE: i32 = 12;
const STAT_ANY: i32 = 13;

/// Bytes of a message's type, which stands before its text.
const KIND_SIZE: usize = size_of::<i64>();

/// `struct msqid64_ds`.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MsqidDs {
    perm: IpcPerm,
    sent_at: i64,
    received_at: i64,
    changed_at: i64,
    bytes: u64,
    messages: u64,
    max_bytes: u64,
    last_sender: u32,
    last_receiver: u32,
    unused: [u64; 2],
}

/// `struct msginfo`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct MsgInfo {
    pool: u32,
    map: u32,
    max: u32,
    queue_bytes: u32,
    queues: u32,
    segment_size: u32,
    headers: u32,
    segments: u16,
    padding: u16,
}

const _: () = assert!(size_of::<MsqidDs>() == 120 && size_of::<MsgInfo>() == 32);

/// <https://man7.org/linux/man-pages/man2/msgget.2.html>
pub fn msgget(key: i32, flags: u32) -> SysResult {
    msg::get(key, flags, &current_task().credentials()).map(|id| id as u64)
}

/// <https://man7.org/linux/man-pages/man2/msgsnd.2.html>
pub fn msgsnd(id: i32, message: UserPtr<i64>, size: usize, flags: u32) -> SysResult {
    let kind = message.read()?;
    if size as u64 > limits::MSG_MAX.get() || id < 0 || kind < 1 {
        return Err(Errno::EINVAL);
    }
    let text = message.at(1).cast::<u8>().read_vec(size)?;
    msg::send(id, Message { kind, text }, flags & flags::NO_WAIT == 0, &current_task().credentials())?;
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/msgsnd.2.html>
pub fn msgrcv(id: i32, message: UserPtr<i64>, size: usize, kind: i64, flags: u32) -> SysResult {
    if id < 0 || isize::try_from(size).is_err() {
        return Err(Errno::EINVAL);
    }
    let (copies, is_patient) = (flags & COPY != 0, flags & flags::NO_WAIT == 0);
    if copies && (flags & EXCEPT != 0 || is_patient) {
        return Err(Errno::EINVAL);
    }
    let choice = match kind {
        index if copies => Choice::Index(index),
        0 => Choice::Any,
        most if most < 0 => Choice::UpTo(most.checked_neg().unwrap_or(i64::MAX)),
        kind if flags & EXCEPT != 0 => Choice::Except(kind),
        kind => Choice::Kind(kind),
    };
    let wanted = Receive { choice, size, cuts: flags & CUT != 0, copies, is_patient };
    let received = msg::receive(id, wanted, &current_task().credentials())?;
    message.write(&received.kind)?;
    UserPtr::<u8>::new(message.addr().add(KIND_SIZE as u64).0).write_slice(&received.text)?;
    Ok(received.text.len() as u64)
}

/// <https://man7.org/linux/man-pages/man2/msgctl.2.html>
pub fn msgctl(id: i32, command: i32, buffer: UserPtr<MsqidDs>) -> SysResult {
    if id < 0 || command < 0 {
        return Err(Errno::EINVAL);
    }
    let credentials = current_task().credentials();
    match command {
        command::INFO | USE => write_info(command == USE, buffer.cast()),
        command::STAT => stat(&*msg::table().find(id)?, true, buffer).map(|()| 0),
        STAT_AT | STAT_ANY => {
            let queue = msg::table().at(id)?;
            stat(&queue, command == STAT_AT, buffer)?;
            Ok(queue.header().id() as u64)
        }
        command::SET => {
            let new = buffer.read()?;
            let queue = msg::table().find(id)?;
            queue.header().permissions().check_owner(&credentials)?;
            if new.max_bytes > limits::MSG_BYTES.get() && !credentials.is_capable(linux::CAP_SYS_RESOURCE) {
                return Err(Errno::EPERM);
            }
            queue.set(new.perm.uid, new.perm.gid, new.perm.mode, new.max_bytes).map(|()| 0)
        }
        command::REMOVE => {
            let queue = msg::table().find(id)?;
            queue.header().permissions().check_owner(&credentials)?;
            queue.remove();
            Ok(0)
        }
        _ => Err(Errno::EINVAL),
    }
}

fn stat(queue: &Queue, is_checked: bool, buffer: UserPtr<MsqidDs>) -> Result<()> {
    if is_checked {
        queue.header().check(&current_task().credentials(), access::READ)?;
    }
    let record = queue.record();
    buffer.write(&MsqidDs {
        perm: IpcPerm::of(queue.header()),
        sent_at: record.sent_at,
        received_at: record.received_at,
        changed_at: record.changed_at,
        bytes: record.bytes,
        messages: record.messages,
        max_bytes: record.max_bytes,
        last_sender: record.last_sender,
        last_receiver: record.last_receiver,
        unused: [0; 2],
    })
}

fn write_info(is_use: bool, buffer: UserPtr<MsgInfo>) -> SysResult {
    let (queues, queue_bytes) = (limits::MSG_IDS.get() as u32, limits::MSG_BYTES.get() as u32);
    let (pool, map, headers) = match is_use {
        true => {
            let (messages, bytes) = msg::totals();
            (msg::table().count() as u32, messages as u32, bytes as u32)
        }
        // What Linux has always said here.
        false => (512_000, 16384, 16384),
    };
    buffer.write(&MsgInfo {
        pool,
        map,
        max: limits::MSG_MAX.get() as u32,
        queue_bytes,
        queues,
        segment_size: 16,
        headers,
        segments: u16::MAX,
        padding: 0,
    })?;
    Ok(msg::table().highest_place() as u64)
}
