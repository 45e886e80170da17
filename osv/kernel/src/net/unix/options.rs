//! Options of AF_UNIX sockets. Source: socket(7), unix(7).

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use linux_raw_sys::net as linux;
use zerocopy::IntoBytes;

use super::{Endpoint, Peer};
use crate::errno::{Errno, Result};
use crate::net::Socket;

/// The least and the most that buffers can be made.
const MIN_BUFFER: usize = 2304;
const MAX_BUFFER: usize = 1 << 24;

fn number(value: u32) -> Vec<u8> {
    value.to_ne_bytes().to_vec()
}

/// A time limit as a `struct timeval`.
fn time(ns: u64) -> Vec<u8> {
    [ns / 1_000_000_000, ns % 1_000_000_000 / 1000].as_bytes().to_vec()
}

fn parse_time(value: &[u8]) -> Result<u64> {
    let (sec, rest) = value.split_first_chunk::<8>().ok_or(Errno::EINVAL)?;
    let (usec, _) = rest.split_first_chunk::<8>().ok_or(Errno::EINVAL)?;
    let (sec, usec) = (i64::from_ne_bytes(*sec), i64::from_ne_bytes(*usec));
    if !(0..1_000_000).contains(&usec) {
        return Err(Errno::EDOM);
    }
    // A negative time is no time at all: the shortest wait that is not for ever.
    let Ok(sec) = u64::try_from(sec) else { return Ok(1) };
    Ok(sec.saturating_mul(1_000_000_000).saturating_add(usec as u64 * 1000))
}

fn parse_number(value: &[u8]) -> Result<u32> {
    value.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes)).ok_or(Errno::EINVAL)
}

fn credentials(peer: Option<Peer>) -> Vec<u8> {
    // Nobody: as Linux tells of a socket that was never connected.
    let Peer { pid, uid, gid } = peer.unwrap_or(Peer { pid: 0, uid: u32::MAX, gid: u32::MAX });
    [pid, uid, gid].as_bytes().to_vec()
}

/// Whether the option is a switch that Linux keeps for every socket, though it means nothing to one of this family.
const fn is_kept(name: u32) -> bool {
    matches!(
        name,
        linux::SO_DEBUG
            | linux::SO_REUSEADDR
            | linux::SO_REUSEPORT
            | linux::SO_KEEPALIVE
            | linux::SO_BROADCAST
            | linux::SO_DONTROUTE
            | linux::SO_OOBINLINE
            | linux::SO_NO_CHECK
    )
}

pub(super) fn get(endpoint: &Endpoint, level: u32, name: u32) -> Result<Vec<u8>> {
    if level != linux::SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    let (domain, kind, protocol) = endpoint.identity();
    Ok(match name {
        linux::SO_TYPE => number(kind),
        linux::SO_DOMAIN => number(domain),
        linux::SO_PROTOCOL => number(protocol),
        linux::SO_ERROR => number(endpoint.error.swap(0, Ordering::Relaxed)),
        linux::SO_SNDBUF | linux::SO_RCVBUF => number(endpoint.incoming.limit() as u32),
        linux::SO_ACCEPTCONN => number(u32::from(endpoint.state.lock().listener.is_some())),
        linux::SO_PASSCRED => number(u32::from(endpoint.passes_credentials.load(Ordering::Relaxed))),
        linux::SO_PEERCRED => credentials(endpoint.state.lock().peer_credentials),
        linux::SO_RCVTIMEO_OLD => time(endpoint.receive_limit_ns.load(Ordering::Relaxed)),
        linux::SO_SNDTIMEO_OLD => time(endpoint.send_limit_ns.load(Ordering::Relaxed)),
        linux::SO_RCVLOWAT | linux::SO_SNDLOWAT => number(1),
        linux::SO_LINGER => endpoint.linger.load(Ordering::Relaxed).to_ne_bytes().to_vec(),
        _ if is_kept(name) => number(u32::from(endpoint.kept_options.load(Ordering::Relaxed) >> name & 1 != 0)),
        linux::SO_PRIORITY => number(0),
        _ => return Err(Errno::ENOPROTOOPT),
    })
}

pub(super) fn set(endpoint: &Endpoint, level: u32, name: u32, value: &[u8]) -> Result<()> {
    if level != linux::SOL_SOCKET {
        return Err(Errno::EOPNOTSUPP);
    }
    match name {
        linux::SO_PASSCRED => endpoint.passes_credentials.store(parse_number(value)? != 0, Ordering::Relaxed),
        linux::SO_RCVTIMEO_OLD => endpoint.receive_limit_ns.store(parse_time(value)?, Ordering::Relaxed),
        linux::SO_SNDTIMEO_OLD => endpoint.send_limit_ns.store(parse_time(value)?, Ordering::Relaxed),
        // The receiver's buffer is the only one there is; Linux doubles what is asked for.
        linux::SO_SNDBUF | linux::SO_RCVBUF | linux::SO_SNDBUFFORCE | linux::SO_RCVBUFFORCE => {
            let doubled = (parse_number(value)? as usize).saturating_mul(2);
            let sends = matches!(name, linux::SO_SNDBUF | linux::SO_SNDBUFFORCE);
            let least = if sends { 2 * MIN_BUFFER } else { MIN_BUFFER };
            endpoint.incoming.set_limit(doubled.clamp(least, MAX_BUFFER));
        }
        linux::SO_LINGER => {
            let value = value.first_chunk::<8>().ok_or(Errno::EINVAL)?;
            endpoint.linger.store(u64::from_ne_bytes(*value), Ordering::Relaxed);
        }
        _ if is_kept(name) => {
            let bit = 1 << name;
            if parse_number(value)? != 0 {
                endpoint.kept_options.fetch_or(bit, Ordering::Relaxed);
            } else {
                endpoint.kept_options.fetch_and(!bit, Ordering::Relaxed);
            }
        }
        // As on Linux they change nothing for such sockets.
        linux::SO_PRIORITY | linux::SO_RCVLOWAT => {
            parse_number(value)?;
        }
        _ => return Err(Errno::ENOPROTOOPT),
    }
    Ok(())
}
