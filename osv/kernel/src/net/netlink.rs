//! AF_NETLINK sockets, as far as a machine without network devices has something to say: messages between a program and
//! the kernel. Source: netlink(7), rtnetlink(7).
//!
//! There is one family, NETLINK_ROUTE. Asked to list something, the kernel lists nothing; all else it does not support.
//! Its groups can be joined and stay silent. The other use is mq_notify(3): libc has a netlink socket told of messages,
//! whatever its family ([`Socket::hear`]).

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};

use linux_raw_sys::net::{AF_NETLINK, SO_DOMAIN, SO_PROTOCOL, SO_TYPE, SOL_SOCKET};
use linux_raw_sys::netlink::{self as linux, nlmsghdr};
use zerocopy::{FromBytes, IntoBytes};

use super::unix::{Endpoint, Kind};
use super::{Ancillary, MessageFlags, Patience, Peer, Received, Shutdown, Socket};
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::mem::user::{Dest, Source};

/// `struct sockaddr_nl` as numbers: the family, the port (0 is the kernel's) and the groups.
type Address = [u32; 3];

const HEADER_LEN: usize = size_of::<nlmsghdr>();
/// SOL_NETLINK, which is in glibc's headers only.
const SOL_NETLINK: u32 = 270;

/// A socket.
pub struct Netlink {
    kind: u32,
    /// What the kernel has said.
    inbox: Arc<Endpoint>,
    port: AtomicU32,
    groups: AtomicU32,
}

impl Netlink {
    /// A socket of type `kind`.
    pub fn new(kind: u32) -> Arc<Netlink> {
        let inbox = Endpoint::new(Kind::Datagram);
        Arc::new(Netlink { kind, inbox, port: AtomicU32::new(0), groups: AtomicU32::new(0) })
    }

    /// The own port; a socket that asked for none gets one, from the top as on Linux where the process has several.
    fn port(&self) -> u32 {
        static NEXT: AtomicU32 = AtomicU32::new(0u32.wrapping_sub(4096));
        if self.port.load(Ordering::Relaxed) == 0 {
            let fresh = NEXT.fetch_sub(1, Ordering::Relaxed);
            let _ = self.port.compare_exchange(0, fresh, Ordering::Relaxed, Ordering::Relaxed);
        }
        self.port.load(Ordering::Relaxed)
    }

    /// Answers the requests in `text`.
    fn answer(&self, mut text: &[u8]) -> Result<()> {
        while let Ok((header, _)) = <[u32; HEADER_LEN / 4]>::read_from_prefix(text) {
            let [len, kind_and_flags, sequence, _] = header;
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            if !(HEADER_LEN..=text.len()).contains(&len) {
                break;
            }
            let (kind, flags) = (kind_and_flags & 0xffff, kind_and_flags >> 16);
            let is_request = flags & linux::NLM_F_REQUEST != 0 && kind >= linux::NLMSG_MIN_TYPE;
            // Every fourth kind of message asks for something: the others change something.
            let is_list = kind % 4 == linux::_bindgen_ty_62::RTM_GETLINK as u32 % 4
                && flags & linux::NLM_F_DUMP == linux::NLM_F_DUMP;
            if is_request && is_list {
                self.reply(linux::NLMSG_DONE, linux::NLM_F_MULTI, sequence, &[0])?;
            } else if is_request {
                let error = u32::from(Errno::EOPNOTSUPP.raw()).wrapping_neg();
                self.reply(linux::NLMSG_ERROR, 0, sequence, [&[error][..], &header].concat().as_slice())?;
            } else if flags & linux::NLM_F_ACK != 0 {
                self.reply(linux::NLMSG_ERROR, 0, sequence, [&[0][..], &header].concat().as_slice())?;
            }
            text = text.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        Ok(())
    }

    fn reply(&self, kind: u32, flags: u32, sequence: u32, payload: &[u32]) -> Result<()> {
        let len = HEADER_LEN + size_of_val(payload);
        let header = [len as u32, kind | flags << 16, sequence, self.port()];
        self.hear([&header, payload].concat().as_bytes())
    }
}

/// Where an address leads.
fn parse(address: &[u8]) -> Result<Address> {
    let (address, _) = Address::read_from_prefix(address).map_err(|_| Errno::EINVAL)?;
    if address[0] & 0xffff == AF_NETLINK { Ok(address) } else { Err(Errno::EINVAL) }
}

impl Socket for Netlink {
    fn identity(&self) -> (u32, u32, u32) {
        (AF_NETLINK, self.kind, linux::NETLINK_ROUTE)
    }

    fn hear(&self, text: &[u8]) -> Result<()> {
        let kernel: Address = [AF_NETLINK, 0, 0];
        let ancillary = Ancillary { files: Vec::new(), sender: Some(Peer::default()) };
        self.inbox.put(&mut Source::from_slice(text), ancillary, kernel.as_bytes().to_vec())
    }

    fn bind(&self, address: &[u8]) -> Result<()> {
        let [_, port, groups] = parse(address)?;
        if port != 0 {
            let _ = self.port.compare_exchange(0, port, Ordering::Relaxed, Ordering::Relaxed);
            if self.port() != port {
                return Err(Errno::EINVAL);
            }
        }
        self.port();
        self.groups.store(groups, Ordering::Relaxed);
        Ok(())
    }

    fn listen(&self, _backlog: u32) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    fn accept(&self, _how: Patience) -> Result<Arc<dyn Socket>> {
        Err(Errno::EOPNOTSUPP)
    }

    fn connect(&self, address: &[u8], _how: Patience) -> Result<()> {
        match parse(address)? {
            [_, 0, _] => Ok(()),
            _ => Err(Errno::ECONNREFUSED),
        }
    }

    fn name(&self) -> Result<Vec<u8>> {
        let (port, groups) = (self.port.load(Ordering::Relaxed), self.groups.load(Ordering::Relaxed));
        Ok([AF_NETLINK, port, groups].as_bytes().to_vec())
    }

    fn peer_name(&self) -> Result<Vec<u8>> {
        let kernel: Address = [AF_NETLINK, 0, 0];
        Ok(kernel.as_bytes().to_vec())
    }

    fn send(&self, data: &mut Source<'_>, to: Option<&[u8]>, _ancillary: Ancillary, how: Patience) -> Result<usize> {
        if let Some(to) = to {
            self.connect(to, how)?;
        }
        let text = self.inbox.read_message(data)?;
        self.answer(&text)?;
        Ok(text.len())
    }

    fn receive(&self, data: &mut Dest<'_>, flags: MessageFlags, how: Patience) -> Result<Received> {
        self.inbox.receive(data, flags, how)
    }

    fn shutdown(&self, _how: Shutdown) -> Result<()> {
        Err(Errno::EOPNOTSUPP)
    }

    fn option(&self, level: u32, name: u32) -> Result<Vec<u8>> {
        let (domain, kind, protocol) = self.identity();
        let number = match (level, name) {
            (SOL_SOCKET, SO_DOMAIN) => domain,
            (SOL_SOCKET, SO_TYPE) => kind,
            (SOL_SOCKET, SO_PROTOCOL) => protocol,
            _ => return self.inbox.option(level, name),
        };
        Ok(number.as_bytes().to_vec())
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        match (level, name) {
            (SOL_NETLINK, linux::NETLINK_ADD_MEMBERSHIP | linux::NETLINK_DROP_MEMBERSHIP) => Ok(()),
            (SOL_NETLINK, _) => Err(Errno::ENOPROTOOPT),
            _ => self.inbox.set_option(level, name, value),
        }
    }

    fn time_limits(&self) -> (u64, u64) {
        self.inbox.time_limits()
    }

    fn queued(&self) -> (usize, usize) {
        self.inbox.queued()
    }

    fn readiness(&self) -> PollEvents {
        self.inbox.readiness()
    }

    fn pollee(&self) -> &Pollee {
        self.inbox.pollee()
    }

    fn close(&self) {
        self.inbox.close();
    }
}
