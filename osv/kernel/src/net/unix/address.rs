//! Addresses of AF_UNIX sockets: paths, abstract names, and none. Source: unix(7).

use alloc::format;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use super::{Endpoint, Kind};
use crate::errno::{Errno, Result};
use crate::fs::{Access, Caller, FileType, NewKind, Start};
use crate::net::abi::AF_UNIX;
use crate::process::current_task;
use crate::sched::Mutex;
use crate::sorted_map::SortedMap;

/// Longest path or abstract name.
const MAX_PATH: usize = 108;
/// `sa_family`.
const FAMILY: usize = size_of::<u16>();

/// What a program wrote as an address.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed<'a> {
    /// A place in the tree.
    Path(&'a [u8]),
    /// A name of its own kind.
    Abstract(&'a [u8]),
    /// Nothing but the family: bind picks a name.
    Unnamed,
}

pub(super) fn parse(address: &[u8]) -> Result<Parsed<'_>> {
    let (family, rest) = address.split_first_chunk::<FAMILY>().ok_or(Errno::EINVAL)?;
    if u32::from(u16::from_ne_bytes(*family)) != AF_UNIX || rest.len() > MAX_PATH {
        return Err(Errno::EINVAL);
    }
    match rest.split_first() {
        None => Ok(Parsed::Unnamed),
        Some((0, name)) => Ok(Parsed::Abstract(name)),
        Some(_) => {
            let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
            rest.get(..end).map(Parsed::Path).ok_or(Errno::EINVAL)
        }
    }
}

/// The address of a socket without a name.
pub(super) fn unnamed() -> Vec<u8> {
    (AF_UNIX as u16).to_ne_bytes().to_vec()
}

fn with_family(rest: &[&[u8]]) -> Vec<u8> {
    let mut address = unnamed();
    rest.iter().for_each(|part| address.extend_from_slice(part));
    address
}

/// Under what a bound socket is found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Key {
    /// Device and inode of the socket's file.
    Inode(u64, u64),
    /// Its abstract name, of which each kind of socket has its own.
    Abstract(Kind, Vec<u8>),
}

static BOUND: Mutex<SortedMap<Key, Weak<Endpoint>>> = Mutex::new(SortedMap::new());

/// Enters `endpoint` under the address that a program asked for: the key and the address as `getsockname` tells it.
pub(super) fn bind(endpoint: &Arc<Endpoint>, address: &[u8]) -> Result<(Key, Vec<u8>)> {
    match parse(address)? {
        Parsed::Path(path) => bind_path(endpoint, path),
        Parsed::Abstract(name) => bind_abstract(endpoint, name),
        Parsed::Unnamed => bind_anywhere(endpoint),
    }
}

fn bind_path(endpoint: &Arc<Endpoint>, path: &[u8]) -> Result<(Key, Vec<u8>)> {
    let task = current_task();
    let (context, credentials) = (task.fs(), task.credentials());
    let subject = credentials.subject();
    let created = Caller::new(&context, &subject).create(Start::Current, path, NewKind::Socket, 0o777);
    let place = created.map_err(|errno| if errno == Errno::EEXIST { Errno::EADDRINUSE } else { errno })?;
    let metadata = place.inode().metadata()?;
    let key = Key::Inode(metadata.dev, metadata.ino);
    BOUND.lock().insert(key.clone(), Arc::downgrade(endpoint));
    Ok((key, with_family(&[path, &[0]])))
}

fn bind_abstract(endpoint: &Arc<Endpoint>, name: &[u8]) -> Result<(Key, Vec<u8>)> {
    let key = Key::Abstract(endpoint.kind, name.to_vec());
    let mut bound = BOUND.lock();
    if bound.get(&key).is_some_and(|other| other.strong_count() != 0) {
        return Err(Errno::EADDRINUSE);
    }
    bound.insert(key.clone(), Arc::downgrade(endpoint));
    Ok((key, with_family(&[&[0], name])))
}

/// Picks a free abstract name of five hexadecimal digits.
fn bind_anywhere(endpoint: &Arc<Endpoint>) -> Result<(Key, Vec<u8>)> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..1 << 20 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed) & 0xf_ffff;
        match bind_abstract(endpoint, format!("{number:05x}").as_bytes()) {
            Err(Errno::EADDRINUSE) => {}
            result => return result,
        }
    }
    Err(Errno::ENOSPC)
}

/// Whether the address is none at all (AF_UNSPEC), which dissolves a datagram socket's connection.
pub(super) fn is_unspecified(address: &[u8]) -> bool {
    address.first_chunk::<FAMILY>() == Some(&[0; FAMILY])
}

/// Makes an address free again, if it is `endpoint`'s.
pub(super) fn unbind(key: &Key, endpoint: &Endpoint) {
    let mut bound = BOUND.lock();
    if bound.get(key).is_some_and(|other| core::ptr::eq(other.as_ptr(), endpoint)) {
        bound.remove(key);
    }
}

/// The socket that is bound to `address`. ECONNREFUSED if there is a file but no socket behind it any more.
pub(super) fn find(address: &[u8], kind: Kind) -> Result<Arc<Endpoint>> {
    let key = match parse(address)? {
        Parsed::Path(path) => key_of(path)?,
        Parsed::Abstract(name) => Key::Abstract(kind, name.to_vec()),
        Parsed::Unnamed => return Err(Errno::EINVAL),
    };
    BOUND.lock().get(&key).and_then(Weak::upgrade).ok_or(Errno::ECONNREFUSED)
}

fn key_of(path: &[u8]) -> Result<Key> {
    let task = current_task();
    let (context, credentials) = (task.fs(), task.credentials());
    let subject = credentials.subject();
    let caller = Caller::new(&context, &subject);
    let place = caller.resolve(Start::Current, path, true)?;
    caller.check(&place, Access::WRITE)?;
    if place.kind() != FileType::Socket {
        return Err(Errno::ECONNREFUSED);
    }
    let metadata = place.inode().metadata()?;
    Ok(Key::Inode(metadata.dev, metadata.ino))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_parsed() {
        assert_eq!(parse(b"\x01\0/run/x\0junk"), Ok(Parsed::Path(b"/run/x")));
        assert_eq!(parse(b"\x01\0\0name\0"), Ok(Parsed::Abstract(b"name\0")));
        assert_eq!(parse(b"\x01\0"), Ok(Parsed::Unnamed));
        assert_eq!(parse(b"\x02\0x"), Err(Errno::EINVAL));
        assert_eq!(parse(b"\x01"), Err(Errno::EINVAL));
        assert_eq!(parse(&[&[1, 0][..], &[b'x'; 109]].concat()), Err(Errno::EINVAL));
    }
}
