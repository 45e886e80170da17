//! AF_UNIX sockets: streams, datagrams and sequenced packets between programs of this machine. Source: unix(7).
//!
//! Each socket is an [`Endpoint`] with a [`Channel`] of what comes in; sending puts messages into the channel of the
//! other side. Two connected endpoints hold each other until one is closed. A connection is complete as soon as the
//! client has made it: the server's endpoint waits in the listener's queue with all that was sent meanwhile.
//! Files in flight keep what they carry alive; a socket that is sent to itself and then closed is never freed
//! (Linux has a collector for that, here there is none).

mod address;
mod channel;
mod options;

use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use super::abi::{AF_UNIX, SOCK_DGRAM, SOCK_SEQPACKET, SOCK_STREAM, SOMAXCONN};
use super::{Ancillary, MessageFlags, Patience, Peer, Received, Shutdown, Socket};
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::mem::user::{Dest, Source};
use crate::process::current_task;
use crate::sched::WaitQueue;
use crate::sync::SpinLock;
use channel::{Channel, Message};

/// What a message means to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Bytes in order.
    Stream,
    /// Messages, to whomever.
    Datagram,
    /// Messages in order, over a connection.
    SeqPacket,
}

impl Kind {
    const fn number(self) -> u32 {
        match self {
            Kind::Stream => SOCK_STREAM,
            Kind::Datagram => SOCK_DGRAM,
            Kind::SeqPacket => SOCK_SEQPACKET,
        }
    }
}

/// A socket.
pub struct Endpoint {
    me: Weak<Endpoint>,
    kind: Kind,
    incoming: Channel,
    pollee: Pollee,
    state: SpinLock<State>,
    /// Where connecting waits for room in the listener's queue, and accepting for a connection.
    connections: WaitQueue,
    /// Who made it: what the other side gets as SO_PEERCRED.
    creator: Peer,
    /// An error to be told once (SO_ERROR).
    error: AtomicU32,
    passes_credentials: AtomicBool,
    /// Nobody holds it open any more.
    is_closed: AtomicBool,
    /// Options that are kept without meaning anything, a bit for each number.
    kept_options: AtomicU64,
    linger: AtomicU64,
    receive_limit_ns: AtomicU64,
    send_limit_ns: AtomicU64,
}

#[derive(Default)]
struct State {
    /// Under what it can be found, and what `getsockname` tells.
    bound: Option<(address::Key, Vec<u8>)>,
    peer: Option<Arc<Endpoint>>,
    /// Who is at the other side, told even after it has gone.
    peer_credentials: Option<Peer>,
    listener: Option<Listener>,
    is_write_shut: bool,
    was_connected: bool,
}

struct Listener {
    backlog: usize,
    waiting: VecDeque<Arc<Endpoint>>,
}

/// Who asks.
#[inline(always)]
fn myself() -> Peer {
    let task = current_task();
    let credentials = task.credentials();
    Peer { pid: task.process().pid(), uid: credentials.user.effective, gid: credentials.group.effective }
}

impl Endpoint {
    /// A socket that is neither bound nor connected.
    pub fn new(kind: Kind) -> Arc<Endpoint> {
        Endpoint::made_by(kind, myself())
    }

    fn made_by(kind: Kind, creator: Peer) -> Arc<Endpoint> {
        Arc::new_cyclic(|me| Endpoint {
            me: me.clone(),
            kind,
            incoming: Channel::new(),
            pollee: Pollee::new(),
            state: SpinLock::default(),
            connections: WaitQueue::new(),
            creator,
            error: AtomicU32::new(0),
            passes_credentials: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            kept_options: AtomicU64::new(0),
            linger: AtomicU64::new(0),
            receive_limit_ns: AtomicU64::new(0),
            send_limit_ns: AtomicU64::new(0),
        })
    }

    /// Two sockets that are connected to each other.
    pub fn pair(kind: Kind) -> (Arc<Endpoint>, Arc<Endpoint>) {
        let (a, b) = (Endpoint::new(kind), Endpoint::new(kind));
        a.join(&b);
        b.join(&a);
        (a, b)
    }

    /// Makes `peer` the other side.
    fn join(&self, peer: &Arc<Endpoint>) {
        let mut state = self.state.lock();
        state.peer = Some(peer.clone());
        state.peer_credentials = Some(peer.creator);
        state.was_connected = true;
    }

    #[inline(always)]
    fn peer(&self) -> Option<Arc<Endpoint>> {
        self.state.lock().peer.clone()
    }

    fn bound_address(&self) -> Option<Vec<u8>> {
        self.state.lock().bound.as_ref().map(|(_, address)| address.clone())
    }

    /// A server's endpoint for a new connection from `client`, put into the queue. Nothing if the queue is full.
    fn admit(&self, client: &Arc<Endpoint>) -> Option<Result<()>> {
        let bound = self.bound_address();
        let server = Endpoint::made_by(self.kind, self.creator);
        server.join(client);
        let mut state = self.state.lock();
        let Some(listener) = &mut state.listener else { return Some(Err(Errno::ECONNREFUSED)) };
        if listener.waiting.len() > listener.backlog {
            return None;
        }
        if listener.waiting.try_reserve(1).is_err() {
            return Some(Err(Errno::ENOMEM));
        }
        // The accepted socket tells the listener's name, but cannot be found by it.
        server.state.lock().bound = bound.map(|address| (address::Key::Abstract(self.kind, Vec::new()), address));
        listener.waiting.push_back(server.clone());
        drop(state);
        client.join(&server);
        Some(Ok(()))
    }

    fn connect_stream(&self, target: &Arc<Endpoint>, how: Patience) -> Result<()> {
        {
            let state = self.state.lock();
            if state.listener.is_some() {
                return Err(Errno::EINVAL);
            }
            if state.was_connected {
                return Err(Errno::EISCONN);
            }
        }
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        loop {
            if let Some(result) = target.admit(&me) {
                result?;
                target.connections.wake_all();
                target.pollee.notify(PollEvents::READABLE);
                self.pollee.notify(PollEvents::WRITABLE);
                return Ok(());
            }
            how.wait(&target.connections, || target.has_room_for_connection().then_some(()))?;
        }
    }

    fn has_room_for_connection(&self) -> bool {
        let state = self.state.lock();
        state.listener.as_ref().is_none_or(|listener| listener.waiting.len() <= listener.backlog)
    }

    fn take_connection(&self) -> Option<Result<Arc<Endpoint>>> {
        match &mut self.state.lock().listener {
            Some(listener) => listener.waiting.pop_front().map(Ok),
            None => Some(Err(Errno::EINVAL)),
        }
    }

    /// Where a message goes: the address given, or the other side of the connection.
    fn receiver(&self, to: Option<&[u8]>) -> Result<Arc<Endpoint>> {
        if self.kind != Kind::Datagram {
            let state = self.state.lock();
            return match (&state.peer, to) {
                _ if state.is_write_shut => Err(Errno::EPIPE),
                (Some(_), Some(_)) if self.kind == Kind::Stream => Err(Errno::EISCONN),
                (Some(peer), _) => Ok(peer.clone()),
                (None, _) if state.was_connected => Err(Errno::EPIPE),
                (None, _) => Err(Errno::ENOTCONN),
            };
        }
        let receiver = match to {
            Some(address) => self.checked(address::find(address, self.kind)?)?,
            None => self.peer().ok_or(Errno::ENOTCONN)?,
        };
        if self.state.lock().is_write_shut {
            return Err(Errno::EPIPE);
        }
        self.check_welcome(&receiver)?;
        Ok(receiver)
    }

    /// EPERM for a datagram socket that is connected to somebody else.
    fn check_welcome(&self, other: &Endpoint) -> Result<()> {
        match other.peer() {
            Some(peer) if !core::ptr::eq(&*peer, self) => Err(Errno::EPERM),
            _ => Ok(()),
        }
    }

    /// EPROTOTYPE if the other socket is of another kind.
    fn checked(&self, other: Arc<Endpoint>) -> Result<Arc<Endpoint>> {
        if other.kind == self.kind { Ok(other) } else { Err(Errno::EPROTOTYPE) }
    }

    fn send_stream(
        &self,
        receiver: &Endpoint,
        data: &mut Source<'_>,
        mut ancillary: Ancillary,
        how: Patience,
    ) -> Result<usize> {
        let mut done = 0;
        while !data.is_empty() {
            match self.send_piece(receiver, data, core::mem::take(&mut ancillary), how) {
                Ok(count) => done += count,
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    fn send_piece(
        &self,
        receiver: &Endpoint,
        data: &mut Source<'_>,
        ancillary: Ancillary,
        how: Patience,
    ) -> Result<usize> {
        let room = receiver.incoming.wait_for_room(1, how)?;
        let len = Channel::piece(room, data.remaining());
        let message = Message::new(data, len, ancillary, None)?;
        let count = message.len();
        receiver.deliver(message)?;
        Ok(count)
    }

    fn send_message(
        &self,
        receiver: &Endpoint,
        data: &mut Source<'_>,
        ancillary: Ancillary,
        how: Patience,
    ) -> Result<usize> {
        let len = data.remaining();
        if len > receiver.incoming.limit() {
            return Err(Errno::EMSGSIZE);
        }
        // A connection to somebody who is gone is dissolved by the first that fails.
        let refused = |errno| match errno {
            Errno::EPIPE if self.kind == Kind::Datagram && receiver.is_closed.load(Ordering::Relaxed) => {
                self.leave(receiver);
                Errno::ECONNREFUSED
            }
            errno => errno,
        };
        receiver.incoming.wait_for_room(len.max(1), how).map_err(refused)?;
        let message = Message::new(data, len, ancillary, self.bound_address())?;
        receiver.deliver(message).map_err(refused)?;
        Ok(len)
    }

    /// Takes a whole message out of a program's memory (EMSGSIZE).
    pub(super) fn read_message(&self, data: &mut Source<'_>) -> Result<Vec<u8>> {
        let len = Some(data.remaining()).filter(|&len| len <= self.incoming.limit()).ok_or(Errno::EMSGSIZE)?;
        let message = Message::new(data, len, Ancillary::default(), None)?;
        Ok(message.into_data())
    }

    /// Puts a message in that comes from the kernel. ENOBUFS if there is no room.
    pub(super) fn put(&self, data: &mut Source<'_>, ancillary: Ancillary, from: Vec<u8>) -> Result<()> {
        let now = Patience { is_none: true, deadline: None };
        let len = data.remaining();
        self.incoming.wait_for_room(len.max(1), now).map_err(|_| Errno::ENOBUFS)?;
        self.deliver(Message::new(data, len, ancillary, Some(from))?)
    }

    /// Ends a datagram socket's connection to `other`.
    fn leave(&self, other: &Endpoint) {
        let left = {
            let mut state = self.state.lock();
            let is_there = state.peer.as_ref().is_some_and(|peer| core::ptr::eq(&**peer, other));
            if is_there { state.peer.take() } else { None }
        };
        drop(left);
    }

    fn deliver(&self, message: Message) -> Result<()> {
        self.incoming.push(message)?;
        self.pollee.notify(PollEvents::READABLE);
        Ok(())
    }

    /// Somebody has taken something out of the channel: whoever fills it may go on.
    #[inline(always)]
    fn tell_senders(&self) {
        if let Some(peer) = self.peer() {
            peer.pollee.notify(PollEvents::WRITABLE);
        }
    }

    fn shut_reading(&self) {
        self.incoming.end();
        self.incoming.refuse();
        self.pollee.notify(PollEvents::READABLE | PollEvents::POLLRDHUP);
        self.tell_senders();
    }

    fn shut_writing(&self, peer: Option<&Endpoint>) {
        self.state.lock().is_write_shut = true;
        if let Some(peer) = peer.filter(|_| self.kind != Kind::Datagram) {
            peer.incoming.end();
            peer.pollee.notify(PollEvents::READABLE | PollEvents::POLLRDHUP);
        }
        self.pollee.notify(PollEvents::WRITABLE);
    }

    /// An error that was not told yet, if there is one.
    fn take_error(&self) -> Result<()> {
        match self.error.swap(0, Ordering::Relaxed) {
            0 => Ok(()),
            _ => Err(Errno::ECONNRESET),
        }
    }

    fn has_unread_data(&self) -> bool {
        self.incoming.bytes() != 0
    }
}

impl Socket for Endpoint {
    fn identity(&self) -> (u32, u32, u32) {
        (AF_UNIX, self.kind.number(), 0)
    }

    fn bind(&self, address: &[u8]) -> Result<()> {
        if self.state.lock().bound.is_some() {
            let is_autobind = address::parse(address)? == address::Parsed::Unnamed;
            return if is_autobind { Ok(()) } else { Err(Errno::EINVAL) };
        }
        let me = self.me.upgrade().ok_or(Errno::EINVAL)?;
        let bound = address::bind(&me, address)?;
        self.state.lock().bound = Some(bound);
        Ok(())
    }

    fn listen(&self, backlog: u32) -> Result<()> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let mut state = self.state.lock();
        if state.bound.is_none() || state.was_connected {
            return Err(Errno::EINVAL);
        }
        let backlog = backlog.min(SOMAXCONN) as usize;
        match &mut state.listener {
            Some(listener) => listener.backlog = backlog,
            none => *none = Some(Listener { backlog, waiting: VecDeque::new() }),
        }
        drop(state);
        self.connections.wake_all();
        Ok(())
    }

    fn accept(&self, how: Patience) -> Result<Arc<dyn Socket>> {
        if self.kind == Kind::Datagram {
            return Err(Errno::EOPNOTSUPP);
        }
        let connection = how.wait(&self.connections, || self.take_connection())??;
        self.connections.wake_all();
        Ok(connection)
    }

    fn connect(&self, address: &[u8], how: Patience) -> Result<()> {
        if self.kind == Kind::Datagram && address::is_unspecified(address) {
            self.state.lock().peer = None;
            return Ok(());
        }
        let target = self.checked(address::find(address, self.kind)?)?;
        if self.kind != Kind::Datagram {
            return self.connect_stream(&target, how);
        }
        self.check_welcome(&target)?;
        self.join(&target);
        Ok(())
    }

    fn name(&self) -> Result<Vec<u8>> {
        Ok(self.bound_address().unwrap_or_else(address::unnamed))
    }

    fn peer_name(&self) -> Result<Vec<u8>> {
        let peer = self.peer().ok_or(Errno::ENOTCONN)?;
        peer.name()
    }

    fn send(&self, data: &mut Source<'_>, to: Option<&[u8]>, mut ancillary: Ancillary, how: Patience) -> Result<usize> {
        let receiver = self.receiver(to)?;
        ancillary.sender.get_or_insert_with(myself);
        match self.kind {
            Kind::Stream => self.send_stream(&receiver, data, ancillary, how),
            Kind::Datagram | Kind::SeqPacket => self.send_message(&receiver, data, ancillary, how),
        }
    }

    fn receive(&self, data: &mut Dest<'_>, flags: MessageFlags, how: Patience) -> Result<Received> {
        if self.kind != Kind::Datagram && !self.state.lock().was_connected {
            return Err(if self.kind == Kind::Stream { Errno::EINVAL } else { Errno::ENOTCONN });
        }
        if flags.contains(MessageFlags::OOB) {
            return Err(if self.kind == Kind::Stream { Errno::EINVAL } else { Errno::EOPNOTSUPP });
        }
        let is_peek = flags.contains(MessageFlags::PEEK);
        let received = if self.kind == Kind::Stream {
            let mut taken = self.incoming.receive_stream(data, is_peek, how)?;
            let wants_all = flags.contains(MessageFlags::WAITALL) && !is_peek;
            while wants_all && taken.count > 0 && !data.is_full() && taken.ancillary.files.is_empty() {
                match self.incoming.receive_stream(data, false, how) {
                    Ok(more) if more.count > 0 => taken.count += more.count,
                    _ => break,
                }
            }
            let flags = MessageFlags::empty();
            Received { count: taken.count, address: None, flags, ancillary: taken.ancillary }
        } else {
            match self.incoming.receive_message(data, is_peek, how)? {
                Some(taken) => {
                    let is_cut = taken.whole > taken.count;
                    let count = if flags.contains(MessageFlags::TRUNC) { taken.whole } else { taken.count };
                    let mut seen = MessageFlags::empty();
                    seen.set(MessageFlags::TRUNC, is_cut);
                    Received { count, address: taken.from, flags: seen, ancillary: taken.ancillary }
                }
                // A datagram socket whose reading was shut down only ends the waits.
                None if self.kind == Kind::Datagram && how.is_none => return Err(Errno::EAGAIN),
                None => Received::default(),
            }
        };
        if received.count == 0 && !data.is_full() && self.incoming.is_ended() {
            self.take_error()?;
        }
        if !is_peek {
            self.tell_senders();
        }
        Ok(received)
    }

    fn shutdown(&self, how: Shutdown) -> Result<()> {
        let peer = self.peer();
        if how != Shutdown::Write {
            self.shut_reading();
        }
        if how != Shutdown::Read {
            self.shut_writing(peer.as_deref());
        }
        Ok(())
    }

    fn option(&self, level: u32, name: u32) -> Result<Vec<u8>> {
        options::get(self, level, name)
    }

    fn set_option(&self, level: u32, name: u32, value: &[u8]) -> Result<()> {
        options::set(self, level, name, value)
    }

    fn time_limits(&self) -> (u64, u64) {
        (self.receive_limit_ns.load(Ordering::Relaxed), self.send_limit_ns.load(Ordering::Relaxed))
    }

    fn queued(&self) -> (usize, usize) {
        (self.incoming.bytes(), self.peer().map_or(0, |peer| peer.incoming.bytes()))
    }

    fn readiness(&self) -> PollEvents {
        let state = self.state.lock();
        let mut events = PollEvents::empty();
        if let Some(listener) = &state.listener {
            events.set(PollEvents::READABLE, !listener.waiting.is_empty());
            return events;
        }
        let peer = state.peer.clone();
        drop(state);
        let has_ended = self.incoming.is_ended();
        events.set(PollEvents::READABLE, self.incoming.can_read());
        events.set(PollEvents::POLLRDHUP, has_ended);
        let is_unconnected_stream = self.kind != Kind::Datagram && peer.is_none();
        let can_write = peer.as_ref().is_none_or(|peer| peer.incoming.can_write());
        events.set(PollEvents::WRITABLE, can_write);
        events.set(
            PollEvents::POLLHUP,
            is_unconnected_stream || (has_ended && peer.is_some_and(|peer| peer.incoming.is_ended())),
        );
        events
    }

    fn pollee(&self) -> &Pollee {
        &self.pollee
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
        let mut state = self.state.lock();
        let (bound, peer, listener) = (state.bound.take(), state.peer.take(), state.listener.take());
        drop(state);
        if let Some((key, _)) = bound {
            address::unbind(&key, self);
        }
        for waiting in listener.into_iter().flat_map(|listener| listener.waiting) {
            waiting.abandon();
        }
        self.connections.wake_all();
        self.incoming.end();
        self.incoming.refuse();
        if let Some(peer) = peer.filter(|_| self.kind != Kind::Datagram) {
            peer.on_peer_closed(self.has_unread_data());
        }
        self.incoming.clear();
    }
}

impl Endpoint {
    /// Nobody will accept this connection: the other side is told that it was reset.
    fn abandon(&self) {
        if let Some(peer) = self.state.lock().peer.take() {
            peer.on_peer_closed(true);
        }
        self.close();
    }

    /// The other side is gone: nothing comes any more, and with data left unread there the connection was reset.
    fn on_peer_closed(&self, was_reset: bool) {
        let peer = self.state.lock().peer.take();
        drop(peer);
        if was_reset {
            self.error.store(u32::from(Errno::ECONNRESET.raw()), Ordering::Relaxed);
        }
        self.incoming.end();
        self.pollee.notify(PollEvents::READABLE | PollEvents::WRITABLE | PollEvents::POLLHUP | PollEvents::POLLRDHUP);
    }
}
