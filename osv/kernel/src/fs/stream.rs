//! The first program's standard streams where they are no terminal: a port to the host each.
//!
//! To programs a stream is what a shell would have given them, a pipe: no terminal, no positions. What a program has
//! written and the host has not taken yet waits in the port's buffer, and behind that in a small one here, so that a
//! write that does not want to wait never loses a byte of what it said it took: [`flush_all`] sends the rest before the
//! machine goes off.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::file::{File, IoFlags};
use super::{FileType, Metadata};
use crate::drivers::console::Port;
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::mem::user::{Dest, Source};
use crate::sync::SpinLock;

/// Bytes that move at a time.
const CHUNK: usize = 4096;

/// An open port.
pub struct Stream {
    port: Port,
    /// Taken from a program, but not by the port yet. At most one chunk.
    unsent: SpinLock<VecDeque<u8>>,
    pollee: Arc<Pollee>,
    ino: u64,
}

/// All streams there are: as many as ports.
static STREAMS: SpinLock<Vec<Arc<Stream>>> = SpinLock::new(Vec::new());

/// Sleeps until the ports have taken all that programs have written.
pub fn flush_all() {
    let streams = STREAMS.lock().clone();
    for stream in streams {
        stream.port.waiters().wait_until(|| (!matches!(stream.send_unsent(), Ok(false))).then_some(()));
    }
}

impl Stream {
    /// The stream on `port`.
    pub fn new(port: Port) -> Arc<Stream> {
        let pollee = Arc::new(Pollee::new());
        let observed = Arc::clone(&pollee);
        port.on_change(move || observed.notify(PollEvents::POLLIN | PollEvents::POLLOUT));
        let mut streams = STREAMS.lock();
        let ino = streams.len() as u64 + 1;
        let stream = Arc::new(Stream { port, unsent: SpinLock::new(VecDeque::new()), pollee, ino });
        streams.push(Arc::clone(&stream));
        stream
    }

    /// Gives the port what it has room for; whether nothing is left.
    fn send_unsent(&self) -> Result<bool> {
        let mut unsent = self.unsent.lock();
        while !unsent.is_empty() {
            let (first, _) = unsent.as_slices();
            match self.port.write(first) {
                Ok(sent) => drop(unsent.drain(..sent)),
                // Asking whether there is room is what makes the port tell when there is.
                Err(Errno::EAGAIN) if self.port.can_write() => {}
                Err(Errno::EAGAIN) => return Ok(false),
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }

    /// Makes room for a chunk.
    fn wait_for_room(&self, flags: IoFlags) -> Result<()> {
        if self.send_unsent()? {
            return Ok(());
        }
        if flags.contains(IoFlags::NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        let outcome = || self.send_unsent().map(|is_sent| is_sent.then_some(())).transpose();
        self.pollee.wait_interruptible(None, outcome)?
    }

    fn write_chunk(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        self.wait_for_room(flags)?;
        let mut chunk = [0; CHUNK];
        let length = src.pull(&mut chunk)?;
        self.unsent.lock().extend(chunk.get(..length).unwrap_or_default());
        self.send_unsent()?;
        Ok(length)
    }
}

impl File for Stream {
    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        let mut chunk = [0; CHUNK];
        let wanted = dst.remaining().min(CHUNK);
        let chunk = chunk.get_mut(..wanted).unwrap_or_default();
        let length = match self.port.read(chunk) {
            Err(Errno::EAGAIN) if !flags.contains(IoFlags::NONBLOCK) => {
                self.pollee.wait_interruptible(None, || match self.port.read(chunk) {
                    Err(Errno::EAGAIN) => None,
                    outcome => Some(outcome),
                })??
            }
            outcome => outcome?,
        };
        dst.push(chunk.get(..length).unwrap_or_default())
    }

    fn write(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        let before = src.moved();
        while !src.is_empty() {
            match self.write_chunk(src, flags) {
                Ok(_) => {}
                Err(errno) if src.moved() == before => return Err(errno),
                Err(_) => break,
            }
        }
        Ok(src.moved() - before)
    }

    fn readiness(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        events.set(PollEvents::POLLIN | PollEvents::POLLRDNORM, self.port.can_read());
        events.set(PollEvents::POLLHUP, self.port.is_eof());
        events.set(PollEvents::POLLOUT | PollEvents::POLLWRNORM, self.send_unsent().unwrap_or(true));
        events
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.pollee)
    }

    fn metadata(&self) -> Result<Metadata> {
        Ok(Metadata::new(super::ANONYMOUS_DEVICE, self.ino, FileType::Fifo, 0o600))
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(alloc::format!("pipe:[{}]", self.ino).as_bytes());
    }
}
