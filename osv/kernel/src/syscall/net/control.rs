//! Control data: what travels beside the bytes of a message. Source: cmsg(3), unix(7).

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::net::SOL_SOCKET;
use zerocopy::IntoBytes;

use crate::errno::{Errno, Result};
use crate::fs::OpenFile;
use crate::mem::user::UserSlice;
use crate::net::abi::{SCM_CREDENTIALS, SCM_MAX_FD, SCM_RIGHTS};
use crate::net::{Ancillary, Peer};
use crate::process::limits::Resource;
use crate::process::{current_process, current_task, tree};

/// `struct cmsghdr`.
const HEADER: usize = 16;
const ALIGN: usize = 8;
/// The most control data of one message.
const MAX_LEN: usize = 20480;

/// One piece of control data.
struct Item<'a> {
    level: u32,
    kind: u32,
    data: &'a [u8],
}

/// Splits control data. EINVAL for lengths that lie.
fn items(mut bytes: &[u8]) -> Result<Vec<Item<'_>>> {
    let mut items = Vec::new();
    while let Some((header, _)) = bytes.split_first_chunk::<HEADER>() {
        let word = |at: usize| header.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_ne_bytes);
        let (len, high) = (word(0).unwrap_or(0) as usize, word(4).unwrap_or(0));
        if high != 0 {
            return Err(Errno::EINVAL);
        }
        let data = bytes.get(HEADER..len).ok_or(Errno::EINVAL)?;
        items.push(Item { level: word(8).unwrap_or(0), kind: word(12).unwrap_or(0), data });
        bytes = bytes.get(len.next_multiple_of(ALIGN)..).unwrap_or_default();
    }
    Ok(items)
}

fn numbers(data: &[u8]) -> impl Iterator<Item = u32> {
    data.chunks_exact(4).map(|word| u32::from_ne_bytes([word[0], word[1], word[2], word[3]]))
}

/// Reads what a program wants to send beside a message.
pub(super) fn read(slice: UserSlice) -> Result<Ancillary> {
    if slice.is_empty() {
        return Ok(Ancillary::default());
    }
    if slice.len() > MAX_LEN {
        return Err(Errno::ENOBUFS);
    }
    let bytes = slice.read_vec()?;
    let mut ancillary = Ancillary::default();
    for Item { level, kind, data } in items(&bytes)? {
        match (level, kind) {
            (SOL_SOCKET, SCM_RIGHTS) => add_files(&mut ancillary.files, data)?,
            (SOL_SOCKET, SCM_CREDENTIALS) => ancillary.sender = Some(checked_sender(data)?),
            (SOL_SOCKET, _) => return Err(Errno::EINVAL),
            _ => {}
        }
    }
    Ok(ancillary)
}

fn add_files(files: &mut Vec<Arc<OpenFile>>, data: &[u8]) -> Result<()> {
    let table = current_task().files();
    for fd in numbers(data) {
        if files.len() >= SCM_MAX_FD {
            return Err(Errno::EINVAL);
        }
        files.push(table.get(fd as i32)?);
    }
    Ok(())
}

/// A program may only claim to be itself, unless it is privileged.
fn checked_sender(data: &[u8]) -> Result<Peer> {
    let mut numbers = numbers(data);
    let (Some(pid), Some(uid), Some(gid)) = (numbers.next(), numbers.next(), numbers.next()) else {
        return Err(Errno::EINVAL);
    };
    let credentials = current_task().credentials();
    let is_own = |id: u32, ids: &crate::process::credentials::Ids| [ids.real, ids.effective, ids.saved].contains(&id);
    let is_true = pid == current_process().pid() && is_own(uid, &credentials.user) && is_own(gid, &credentials.group);
    if !is_true && credentials.user.effective != 0 {
        return Err(Errno::EPERM);
    }
    tree::find_by_any_id(pid)?;
    Ok(Peer { pid, uid, gid })
}

/// What is written to a program that receives control data.
pub(super) struct Written {
    /// Bytes of control data.
    pub(super) len: usize,
    /// Not all of it fitted.
    pub(super) is_cut: bool,
}

/// Writes what came with a message; files get descriptors, as many as fit.
pub(super) fn write(
    ancillary: &Ancillary,
    shows_sender: bool,
    closes_on_exec: bool,
    slice: UserSlice,
) -> Result<Written> {
    let mut bytes = Vec::new();
    let mut is_cut = false;
    if shows_sender {
        let Peer { pid, uid, gid } = ancillary.sender.unwrap_or_default();
        is_cut |= !push(&mut bytes, SCM_CREDENTIALS, [pid, uid, gid].as_bytes(), slice.len());
    }
    if !ancillary.files.is_empty() {
        let room = slice.len().saturating_sub(bytes.len() + HEADER) / size_of::<i32>();
        let fds = install(&ancillary.files, room, closes_on_exec);
        is_cut |= fds.len() < ancillary.files.len();
        if !fds.is_empty() {
            is_cut |= !push(&mut bytes, SCM_RIGHTS, fds.as_bytes(), slice.len());
        }
    }
    let len = bytes.len().min(slice.len());
    slice.write_all(bytes.get(..len).unwrap_or_default())?;
    Ok(Written { len, is_cut })
}

/// Appends one item if at least its header fits into `room`; whether all of it did.
fn push(bytes: &mut Vec<u8>, kind: u32, data: &[u8], room: usize) -> bool {
    let len = HEADER + data.len();
    if bytes.len() + len > room {
        return false;
    }
    bytes.extend_from_slice(&(len as u64).to_ne_bytes());
    bytes.extend_from_slice(&SOL_SOCKET.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(ALIGN), 0);
    true
}

fn install(files: &[Arc<OpenFile>], room: usize, closes_on_exec: bool) -> Vec<i32> {
    let table = current_task().files();
    let limit = current_process().limit(Resource::OpenFiles);
    let installed = files.iter().take(room).map_while(|file| table.install(file.clone(), closes_on_exec, limit).ok());
    installed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_split_and_lies_refused() {
        let mut bytes = Vec::new();
        assert!(push(&mut bytes, SCM_RIGHTS, &[1, 0, 0, 0], 100));
        assert!(push(&mut bytes, SCM_CREDENTIALS, &[0; 12], 100));
        assert!(!push(&mut bytes, SCM_RIGHTS, &[0; 64], 100));
        let split = items(&bytes).unwrap();
        assert_eq!((split.len(), split[0].data, split[1].kind), (2, &[1u8, 0, 0, 0][..], SCM_CREDENTIALS));
        bytes[0] = 200;
        assert_eq!(items(&bytes).err(), Some(Errno::EINVAL));
        bytes[0] = 3;
        assert_eq!(items(&bytes).err(), Some(Errno::EINVAL));
    }
}
