//! Pipes and FIFOs.
//!
//! A [`Pipe`] is a [`Ring`] of bytes between ends; a [`PipeEnd`] is the [`File`] that a descriptor holds. Data moves
//! under a sleeping lock, because the other side of each copy is program memory that may have to be faulted in.
//! Whether a thread has to wait is decided from mirrors of the ring's state that need no lock, so that the wait
//! queues can ask again at any time. Nobody is woken who does not wait, and no operation allocates once the pages
//! are there: a byte through a pipe costs two copies and one wake-up.
//!
//! As on Linux, a write of up to PIPE_BUF bytes is never torn, a larger one may be; a pipe is ready for writing
//! when PIPE_BUF bytes fit. Unlike on Linux the capacity is exact: small writes do not use up a page each.
//! Source: pipe(7), fifo(7).

mod fifo;
mod ring;
mod splice;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use linux_raw_sys::ioctl::FIONREAD;

use super::anonymous::Attributes;
use super::{File, FileType, IoFlags, Metadata, OpenFlags, SetAttributes, Timespec};
use crate::drivers::clock;
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::mem::user::{Dest, Source, UserPtr};
use crate::process;
use crate::sched::{Mutex, WaitQueue};
use crate::sync::Once;
use ring::{PAGE, Ring};

pub use fifo::open_fifo;
pub use splice::Place;

/// Capacity of a new pipe.
pub const DEFAULT_CAPACITY: usize = 16 * PAGE;
/// The most that F_SETPIPE_SZ gives: what a ring's bookkeeping can be trusted with.
const MAX_CAPACITY: usize = 1 << 31;

/// What the ring's lock protects.
struct State {
    ring: Ring,
    /// The least room that a waiting writer wants; `usize::MAX` if none waits.
    wanted_room: usize,
}

/// A pipe: the data between its ends, and who has them.
pub struct Pipe {
    created: Timespec,
    state: Mutex<State>,
    len: AtomicUsize,
    room: AtomicUsize,
    readers: AtomicU32,
    writers: AtomicU32,
    /// How often a reading or writing end was opened: what the opener of a FIFO waits for.
    read_opens: AtomicU32,
    write_opens: AtomicU32,
    read_queue: WaitQueue,
    write_queue: WaitQueue,
    open_queue: WaitQueue,
    pollee: Pollee,
    fifo: fifo::Key,
    /// Whether `open_fifo` can find it.
    is_reachable: AtomicBool,
    attributes: Attributes,
}

impl Pipe {
    /// A pipe that is in no file system.
    fn new_anonymous() -> Result<Arc<Pipe>> {
        static NEXT_INO: AtomicU64 = AtomicU64::new(1);
        Pipe::new((pipe_device(), NEXT_INO.fetch_add(1, Ordering::Relaxed)))
    }

    fn new(fifo: fifo::Key) -> Result<Arc<Pipe>> {
        let ring = Ring::new(DEFAULT_CAPACITY)?;
        Ok(Arc::new(Pipe {
            created: Timespec::from_nanos(clock::realtime_ns()),
            len: AtomicUsize::new(0),
            room: AtomicUsize::new(ring.room()),
            state: Mutex::new(State { ring, wanted_room: usize::MAX }),
            readers: AtomicU32::new(0),
            writers: AtomicU32::new(0),
            read_opens: AtomicU32::new(0),
            write_opens: AtomicU32::new(0),
            read_queue: WaitQueue::new(),
            write_queue: WaitQueue::new(),
            open_queue: WaitQueue::new(),
            pollee: Pollee::new(),
            fifo,
            is_reachable: AtomicBool::new(false),
            attributes: Attributes::new(0o600),
        }))
    }

    fn has_readers(&self) -> bool {
        self.readers.load(Ordering::SeqCst) != 0
    }

    fn has_writers(&self) -> bool {
        self.writers.load(Ordering::SeqCst) != 0
    }

    /// Takes what is there out of the ring by `drain`; waits for it unless `flags` forbid. 0 is the end of file.
    fn take(&self, flags: IoFlags, mut drain: impl FnMut(&mut Ring) -> Result<usize>) -> Result<usize> {
        loop {
            let is_connected = self.has_writers();
            let mut state = self.state.lock();
            if state.ring.len() != 0 {
                let room_before = state.ring.room();
                let result = drain(&mut state.ring);
                let wakes_writers = self.publish(&mut state);
                drop(state);
                self.after_taking(room_before, wakes_writers);
                return result;
            }
            drop(state);
            if !is_connected {
                return Ok(0);
            }
            self.wait_for_data(flags)?;
        }
    }

    /// Waits until the pipe has data or no writer.
    fn wait_for_data(&self, flags: IoFlags) -> Result<()> {
        if flags.contains(IoFlags::NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        self.read_queue
            .wait_interruptible(None, || (self.len.load(Ordering::SeqCst) != 0 || !self.has_writers()).then_some(()))
    }

    /// Puts data into the ring by `fill` once at least `need` bytes fit; waits for that unless `flags` forbid.
    /// EPIPE if there is no reader (the signal is the caller's affair).
    fn put(&self, need: usize, flags: IoFlags, fill: impl FnOnce(&mut Ring) -> Result<usize>) -> Result<usize> {
        let need = need.clamp(1, PAGE);
        loop {
            if !self.has_readers() {
                return Err(Errno::EPIPE);
            }
            let mut state = self.state.lock();
            if state.ring.room() >= need {
                let was_empty = state.ring.len() == 0;
                let result = fill(&mut state.ring);
                self.publish(&mut state);
                drop(state);
                self.after_putting(was_empty);
                return result;
            }
            state.wanted_room = state.wanted_room.min(need);
            drop(state);
            self.wait_for_room(need, flags)?;
        }
    }

    /// Waits until `need` bytes fit or there is no reader.
    fn wait_for_room(&self, need: usize, flags: IoFlags) -> Result<()> {
        if flags.contains(IoFlags::NONBLOCK) {
            return Err(Errno::EAGAIN);
        }
        self.write_queue.wait_interruptible(None, || {
            (self.room.load(Ordering::SeqCst) >= need || !self.has_readers()).then_some(())
        })
    }

    /// Brings the mirrors up to date; whether a writer waits for no more room than there is now.
    #[inline(always)]
    fn publish(&self, state: &mut State) -> bool {
        let room = state.ring.room();
        self.len.store(state.ring.len(), Ordering::SeqCst);
        self.room.store(room, Ordering::SeqCst);
        let is_wanted = room >= state.wanted_room;
        if is_wanted {
            state.wanted_room = usize::MAX;
        }
        is_wanted
    }

    #[inline(always)]
    fn after_taking(&self, room_before: usize, wakes_writers: bool) {
        if wakes_writers {
            self.write_queue.wake_all();
        }
        if room_before < PAGE && self.room.load(Ordering::Relaxed) >= PAGE {
            self.pollee.notify_observers(PollEvents::WRITABLE);
        }
        if self.len.load(Ordering::Relaxed) != 0 {
            self.read_queue.wake_one();
        }
    }

    #[inline(always)]
    fn after_putting(&self, was_empty: bool) {
        if was_empty {
            self.read_queue.wake_one();
        }
        self.pollee.notify_observers(PollEvents::READABLE);
    }

    fn capacity(&self) -> usize {
        self.state.lock().ring.capacity()
    }

    /// F_SETPIPE_SZ: the next power of two of pages. EBUSY if the data would not fit.
    fn set_capacity(&self, size: usize) -> Result<usize> {
        if size > MAX_CAPACITY {
            return Err(Errno::EINVAL);
        }
        let capacity = size.max(PAGE).next_power_of_two();
        let mut state = self.state.lock();
        state.ring.resize(capacity)?;
        let wakes_writers = self.publish(&mut state);
        drop(state);
        self.after_taking(0, wakes_writers);
        Ok(capacity)
    }
}

/// Fills `space`, or fails: a page that a bad address cuts short does not reach the pipe, as on Linux.
#[inline]
fn pull_all(src: &mut Source<'_>, space: &mut [u8]) -> Result<usize> {
    match src.pull(space) {
        Ok(moved) if moved < space.len() => Err(Errno::EFAULT),
        result => result,
    }
}

/// One end of a pipe, or both of a FIFO that was opened for reading and writing.
pub struct PipeEnd {
    pipe: Arc<Pipe>,
    is_reader: bool,
    is_writer: bool,
    /// Each write is a packet (O_DIRECT).
    is_packet_mode: AtomicBool,
    /// `write_opens` when the end was opened: only a writer that has come since can hang up.
    write_opens_seen: Option<u32>,
}

impl PipeEnd {
    fn new(pipe: Arc<Pipe>, flags: OpenFlags) -> PipeEnd {
        let (is_reader, is_writer) = (flags.is_readable(), flags.is_writable());
        if is_reader {
            pipe.readers.fetch_add(1, Ordering::SeqCst);
            pipe.read_opens.fetch_add(1, Ordering::SeqCst);
        }
        if is_writer {
            pipe.writers.fetch_add(1, Ordering::SeqCst);
            pipe.write_opens.fetch_add(1, Ordering::SeqCst);
        }
        let is_packet_mode = AtomicBool::new(flags.contains(OpenFlags::DIRECT));
        PipeEnd { pipe, is_reader, is_writer, is_packet_mode, write_opens_seen: None }
    }

    /// Bytes that fit into the pipe (F_GETPIPE_SZ).
    pub fn capacity(&self) -> usize {
        self.pipe.capacity()
    }

    /// Changes the capacity to at least `size` and returns what it is now (F_SETPIPE_SZ).
    pub fn set_capacity(&self, size: usize) -> Result<usize> {
        self.pipe.set_capacity(size)
    }

    /// Lets the pipe be opened again by its device and inode number, as a FIFO is.
    pub fn make_reachable(&self) {
        fifo::enter(&self.pipe);
    }

    /// Whether both are ends of the same pipe.
    pub fn is_same_pipe(&self, other: &PipeEnd) -> bool {
        Arc::ptr_eq(&self.pipe, &other.pipe)
    }

    fn is_packet_mode(&self) -> bool {
        self.is_packet_mode.load(Ordering::Relaxed)
    }

    /// Writes one piece: all of a small write, or what fits of a large one.
    fn write_piece(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        let is_packet = self.is_packet_mode();
        let want = if is_packet { src.remaining().min(PAGE) } else { src.remaining() };
        let is_torn = src.moved() > 0 || want > PAGE;
        let need = if is_torn && flags.contains(IoFlags::NONBLOCK) && !is_packet { 1 } else { want };
        self.pipe.put(need, flags, |ring| ring.fill(want, is_packet, |space| pull_all(src, space)))
    }

    fn readiness_of_reader(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        if self.pipe.len.load(Ordering::SeqCst) != 0 {
            events |= PollEvents::READABLE;
        }
        let write_opens = self.pipe.write_opens.load(Ordering::SeqCst);
        if !self.pipe.has_writers() && self.write_opens_seen != Some(write_opens) {
            events |= PollEvents::POLLHUP;
        }
        events
    }

    fn readiness_of_writer(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        if self.pipe.room.load(Ordering::SeqCst) >= PAGE {
            events |= PollEvents::WRITABLE;
        }
        if !self.pipe.has_readers() {
            events |= PollEvents::POLLERR;
        }
        events
    }
}

impl File for PipeEnd {
    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        if dst.is_full() {
            return Ok(0);
        }
        self.pipe.take(flags, |ring| ring.drain(dst.remaining(), |chunk| dst.push(chunk)))
    }

    fn write(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        let mut done = 0;
        while !src.is_empty() {
            match self.write_piece(src, flags) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(Errno::EPIPE) => {
                    process::signal::send::broken_pipe();
                    return if done > 0 { Ok(done) } else { Err(Errno::EPIPE) };
                }
                Err(_) if done > 0 => break,
                Err(errno) => return Err(errno),
            }
        }
        Ok(done)
    }

    fn ioctl(&self, command: u32, arg: u64) -> Result<u64> {
        match command {
            FIONREAD => {
                let count = i32::try_from(self.pipe.len.load(Ordering::SeqCst)).unwrap_or(i32::MAX);
                UserPtr::<i32>::new(arg).write(&count)?;
                Ok(0)
            }
            _ => Err(Errno::ENOTTY),
        }
    }

    fn readiness(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        if self.is_reader {
            events |= self.readiness_of_reader();
        }
        if self.is_writer {
            events |= self.readiness_of_writer();
        }
        events
    }

    fn can_signal(&self) -> bool {
        true
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.pipe.pollee)
    }

    fn metadata(&self) -> Result<Metadata> {
        let time = self.pipe.created;
        let metadata = Metadata::new(pipe_device(), self.pipe.fifo.1, FileType::Fifo, 0o600);
        let metadata = self.pipe.attributes.apply(metadata);
        Ok(Metadata { atime: time, mtime: time, ctime: time, ..metadata })
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        self.pipe.attributes.set(change);
        Ok(())
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("pipe:[{}]", self.pipe.fifo.1).as_bytes());
    }

    fn set_status(&self, flags: OpenFlags) {
        self.is_packet_mode.store(flags.contains(OpenFlags::DIRECT), Ordering::Relaxed);
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let pipe = &self.pipe;
        if self.is_reader && pipe.readers.fetch_sub(1, Ordering::SeqCst) == 1 {
            pipe.write_queue.wake_all();
            pipe.pollee.notify_observers(PollEvents::POLLERR | PollEvents::WRITABLE);
        }
        if self.is_writer && pipe.writers.fetch_sub(1, Ordering::SeqCst) == 1 {
            pipe.read_queue.wake_all();
            pipe.pollee.notify_observers(PollEvents::POLLHUP | PollEvents::READABLE);
        }
    }
}

/// A new pipe: its reading and its writing end. `flags` may have DIRECT.
pub fn create(flags: OpenFlags) -> Result<(Arc<PipeEnd>, Arc<PipeEnd>)> {
    let pipe = Pipe::new_anonymous()?;
    let flags = flags & OpenFlags::DIRECT;
    let reader = PipeEnd::new(pipe.clone(), flags);
    let writer = PipeEnd::new(pipe, flags | OpenFlags::WRONLY);
    Ok((Arc::new(reader), Arc::new(writer)))
}

/// `st_dev` of all pipes.
fn pipe_device() -> u64 {
    static DEVICE: Once<u64> = Once::new();
    *DEVICE.call_once(super::new_device_number)
}
