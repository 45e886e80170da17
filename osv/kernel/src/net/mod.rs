//! Sockets.
//!
//! A [`Socket`] is what the socket calls act on, whatever its family; [`SocketFile`] makes a file of it, for `read`,
//! `write` and `poll`. There are two families by now: [`unix`], between the programs of this machine, and [`netlink`], to the kernel.

#![forbid(unsafe_code)]

pub mod abi;
pub mod netlink;
pub mod unix;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU64, Ordering};

use linux_raw_sys::ioctl::{FIONREAD, TIOCOUTQ};

use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::fs::anonymous::Attributes;
use crate::fs::{self, File, FileType, IoFlags, Metadata, OpenFile, SetAttributes};
use crate::mem::user::{Dest, Source, UserPtr};
use crate::process::signal::send::broken_pipe;
use crate::sched::{Deadline, WaitQueue};
use crate::sync::Once;

bitflags::bitflags! {
    /// Flags of the sending and receiving calls that matter here, in Linux' bits.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct MessageFlags: u32 {
        /// Data out of band: there is none here.
        const OOB = 0x1;
        /// Look, but leave the data.
        const PEEK = 0x2;
        /// Control data did not fit.
        const CTRUNC = 0x8;
        /// The message did not fit; asked for: tell its whole length.
        const TRUNC = 0x20;
        /// Do not wait.
        const DONTWAIT = 0x40;
        /// End of a record.
        const EOR = 0x80;
        /// Wait for all that was asked for.
        const WAITALL = 0x100;
        /// No SIGPIPE.
        const NOSIGNAL = 0x4000;
        /// Received descriptors are closed on exec.
        const CMSG_CLOEXEC = 0x4000_0000;
    }
}

/// What comes with a message beside its bytes.
#[derive(Clone, Default)]
pub struct Ancillary {
    /// Open files that are handed over (SCM_RIGHTS).
    pub files: Vec<Arc<OpenFile>>,
    /// Who sent it.
    pub sender: Option<Peer>,
}

/// Who is at the other side: `struct ucred`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// Process.
    pub pid: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// What a receiving call got.
#[derive(Default)]
pub struct Received {
    /// Bytes; of a record that did not fit those that did, unless its whole length was asked for.
    pub count: usize,
    /// The sender's address, for sockets without connection.
    pub address: Option<Vec<u8>>,
    /// TRUNC, EOR.
    pub flags: MessageFlags,
    /// Files and sender.
    pub ancillary: Ancillary,
}

/// Whether and how long a call waits.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patience {
    /// Not at all: EAGAIN.
    pub is_none: bool,
    /// Until then: EAGAIN after it.
    pub deadline: Option<Deadline>,
}

impl Patience {
    /// That of a file's flags and a time limit in nanoseconds (0: none).
    pub fn new(flags: IoFlags, limit_ns: u64) -> Patience {
        let deadline = (limit_ns != 0).then(|| Deadline::after(limit_ns));
        Patience { is_none: flags.contains(IoFlags::NONBLOCK), deadline }
    }

    /// Waits in `queue` until `condition`, which must not sleep, gives a value.
    pub fn wait<T>(&self, queue: &WaitQueue, mut condition: impl FnMut() -> Option<T>) -> Result<T> {
        if self.is_none {
            return condition().ok_or(Errno::EAGAIN);
        }
        match queue.wait_interruptible(self.deadline, condition) {
            Err(Errno::ETIMEDOUT) => Err(Errno::EAGAIN),
            // With a time limit the call cannot be restarted: the time would start anew.
            Err(_) if self.deadline.is_some() => Err(Errno::EINTR),
            result => result,
        }
    }
}

/// Which way a connection is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Shutdown {
    Read,
    Write,
    Both,
}

/// What the socket calls act on. Addresses are `struct sockaddr` as bytes.
pub trait Socket: Any + Send + Sync {
    /// Domain, type and protocol.
    fn identity(&self) -> (u32, u32, u32);
    /// Gives the socket an address.
    fn bind(&self, address: &[u8]) -> Result<()>;
    /// Lets others connect.
    fn listen(&self, backlog: u32) -> Result<()>;
    /// The next connection, and its address.
    fn accept(&self, how: Patience) -> Result<Arc<dyn Socket>>;
    /// Connects.
    fn connect(&self, address: &[u8], how: Patience) -> Result<()>;
    /// The own address.
    fn name(&self) -> Result<Vec<u8>>;
    /// The other side's address.
    fn peer_name(&self) -> Result<Vec<u8>>;
    /// Sends; `to` is the address for sockets without connection.
    fn send(&self, data: &mut Source<'_>, to: Option<&[u8]>, ancillary: Ancillary, how: Patience) -> Result<usize>;
    /// Puts a message of the kernel into the queue of a netlink socket; no other has such messages (EINVAL).
    fn hear(&self, _text: &[u8]) -> Result<()> {
        Err(Errno::EINVAL)
    }
    /// Receives.
    fn receive(&self, data: &mut Dest<'_>, flags: MessageFlags, how: Patience) -> Result<Received>;
    /// Shuts down.
    fn shutdown(&self, how: Shutdown) -> Result<()>;
    /// The value of an option.
    fn option(&self, level: u32, name: u32) -> Result<Vec<u8>>;
    /// Sets an option.
    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<()>;
    /// How long receiving and sending wait (SO_RCVTIMEO, SO_SNDTIMEO), in nanoseconds; 0 for ever.
    fn time_limits(&self) -> (u64, u64);
    /// Bytes that can be received at once, and bytes that were sent but not received.
    fn queued(&self) -> (usize, usize);
    /// What would not block now.
    fn readiness(&self) -> PollEvents;
    /// Where to wait for changes of that.
    fn pollee(&self) -> &Pollee;
    /// Nobody has it open any more.
    fn close(&self);
}

/// A socket as a file.
pub struct SocketFile {
    socket: Arc<dyn Socket>,
    ino: u64,
    attributes: Attributes,
}

impl SocketFile {
    /// The file of a new socket.
    pub fn new(socket: Arc<dyn Socket>) -> Arc<SocketFile> {
        static NEXT_INO: AtomicU64 = AtomicU64::new(1);
        let ino = NEXT_INO.fetch_add(1, Ordering::Relaxed);
        Arc::new(SocketFile { socket, ino, attributes: Attributes::new(0o777) })
    }

    /// The socket.
    pub fn socket(&self) -> &Arc<dyn Socket> {
        &self.socket
    }
}

impl File for SocketFile {
    fn can_signal(&self) -> bool {
        true
    }

    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        let how = Patience::new(flags, self.socket.time_limits().0);
        Ok(self.socket.receive(dst, MessageFlags::empty(), how)?.count)
    }

    fn write(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        let how = Patience::new(flags, self.socket.time_limits().1);
        let result = self.socket.send(src, None, Ancillary::default(), how);
        if result == Err(Errno::EPIPE) {
            broken_pipe();
        }
        result
    }

    fn ioctl(&self, command: u32, arg: u64) -> Result<u64> {
        let (incoming, outgoing) = self.socket.queued();
        let count = match command {
            FIONREAD => incoming,
            TIOCOUTQ => outgoing,
            _ => return Err(Errno::ENOTTY),
        };
        UserPtr::<i32>::new(arg).write(&i32::try_from(count).unwrap_or(i32::MAX))?;
        Ok(0)
    }

    fn readiness(&self) -> PollEvents {
        self.socket.readiness()
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(self.socket.pollee())
    }

    fn metadata(&self) -> Result<Metadata> {
        static DEVICE: Once<u64> = Once::new();
        let device = *DEVICE.call_once(fs::new_device_number);
        Ok(self.attributes.apply(Metadata::new(device, self.ino, FileType::Socket, 0o777)))
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.attributes.set(change);
        Ok(())
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("socket:[{}]", self.ino).as_bytes());
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.socket.close();
    }
}
