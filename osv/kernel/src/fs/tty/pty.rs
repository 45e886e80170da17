//! Pseudo-terminals: the master's side, a file whose other end is a terminal. Source: pty(7), tty_ioctl(4).
//!
//! What is written into the master is typed at the slave; what programs write to the slave, and echo, can be read from
//! the master. When the master is closed, the slave is hung up; when nobody has the slave open any more, reads of the
//! master fail with EIO until somebody opens it again. The names in `/dev/pts` are [`devpts`](crate::fs::devpts)'.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use linux_raw_sys::{general, ioctl};

use super::{FarSide, Termios, Tty};
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::fs::{File, IoFlags};
use crate::mem::user::{Dest, Source, UserPtr};
use crate::process::signal::Signal;

/// The most bytes that one read moves.
const MAX_READ: usize = 4096;

/// What opening the slave of a pair by its master needs; given by the file system that names it.
pub trait Names: Send + Sync {
    /// The number of the slave in its directory.
    fn index(&self) -> u32;

    /// Opens the slave for the process that runs (TIOCGPTPEER), and returns the descriptor.
    fn open_peer(&self, flags: u32) -> Result<i32>;
}

/// Where the master waits.
#[derive(Default)]
struct End {
    pollee: Pollee,
}

struct MasterSide(Arc<End>);

impl FarSide for MasterSide {
    fn on_output(&self, _tty: &Tty) {
        self.0.pollee.notify(PollEvents::READABLE | PollEvents::POLLPRI);
    }

    fn on_room(&self) {
        self.0.pollee.notify(PollEvents::WRITABLE);
    }

    fn on_last_close(&self) {
        self.0.pollee.notify(PollEvents::READABLE | PollEvents::POLLHUP);
    }

    fn is_program(&self) -> bool {
        true
    }
}

/// A new pair with device number `device`.
pub struct Pair {
    /// The slave.
    pub slave: Arc<Tty>,
    /// Whether the slave may not be opened yet (TIOCSPTLCK).
    pub lock: Arc<AtomicBool>,
    end: Arc<End>,
}

impl Pair {
    /// Makes one, locked.
    pub fn new(device: u64) -> Pair {
        let end = Arc::new(End::default());
        let slave = Tty::new(device, Termios::of_pty(), Box::new(MasterSide(Arc::clone(&end))));
        Pair { slave, lock: Arc::new(AtomicBool::new(true)), end }
    }

    /// The master's file, whose names are `names`.
    pub fn into_master(self, names: Box<dyn Names>) -> Arc<Master> {
        Arc::new(Master { slave: self.slave, lock: self.lock, end: self.end, names })
    }
}

/// The master's side, open.
pub struct Master {
    slave: Arc<Tty>,
    lock: Arc<AtomicBool>,
    end: Arc<End>,
    names: Box<dyn Names>,
}

impl Drop for Master {
    fn drop(&mut self) {
        self.slave.far_closed();
    }
}

impl Master {
    /// What there is to read: a status or data in packet mode. `None` if there is nothing yet, EIO if nothing can come.
    fn read_now(&self, out: &mut [u8]) -> Option<Result<usize>> {
        let mut state = self.slave.state.lock();
        if let Some(status) = state.packet.as_mut().filter(|status| **status != 0) {
            let first = out.first_mut()?;
            *first = core::mem::take(status);
            return Some(Ok(1));
        }
        if state.output.is_empty() {
            return state.is_closed.then_some(Err(Errno::EIO));
        }
        let header = usize::from(state.packet.is_some());
        if let Some(first) = out.first_mut().filter(|_| header == 1) {
            *first = general::TIOCPKT_DATA as u8;
        }
        let room = out.get_mut(header..).unwrap_or_default();
        let count = state.output.len().min(room.len());
        for (place, byte) in room.iter_mut().zip(state.output.drain(..count)) {
            *place = byte;
        }
        Some(Ok(header + count))
    }

    fn set_packet_mode(&self, is_on: bool) {
        let packet = &mut self.slave.state.lock().packet;
        *packet = is_on.then(|| packet.unwrap_or(0));
    }

    fn signal(&self, number: u64) -> Result<()> {
        let signal = u32::try_from(number).ok().and_then(Signal::new).ok_or(Errno::EINVAL)?;
        if !matches!(signal, Signal::SIGINT | Signal::SIGQUIT | Signal::SIGTSTP) {
            return Err(Errno::EINVAL);
        }
        self.slave.signal_foreground(signal);
        Ok(())
    }

    fn write_chunk(&self, bytes: &[u8], flags: IoFlags) -> (usize, Result<()>) {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let taken = self.slave.accept(rest);
            done += taken;
            if taken != 0 {
                continue;
            }
            if flags.contains(IoFlags::NONBLOCK) {
                return (done, Err(Errno::EAGAIN));
            }
            let has_room = || self.slave.has_room().then_some(());
            if let Err(error) = self.end.pollee.wait_interruptible(None, has_room) {
                return (done, Err(error));
            }
        }
        (done, Ok(()))
    }
}

impl File for Master {
    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        let room = dst.remaining().min(MAX_READ);
        if room == 0 {
            return Ok(0);
        }
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(room).map_err(|_| Errno::ENOMEM)?;
        buffer.resize(room, 0);
        let count = match self.read_now(&mut buffer) {
            Some(outcome) => outcome?,
            None if flags.contains(IoFlags::NONBLOCK) => return Err(Errno::EAGAIN),
            None => self.end.pollee.wait_interruptible(None, || self.read_now(&mut buffer))??,
        };
        self.slave.output_taken();
        dst.push(buffer.get(..count).unwrap_or_default())
    }

    fn write(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        super::write_in_chunks(src, |chunk| self.write_chunk(chunk, flags))
    }

    fn ioctl(&self, command: u32, arg: u64) -> Result<u64> {
        match command {
            ioctl::TIOCGPTN => UserPtr::<u32>::new(arg).write(&self.names.index())?,
            ioctl::TIOCSPTLCK => {
                let is_locked = UserPtr::<i32>::new(arg).read()? != 0;
                self.lock.store(is_locked, Ordering::SeqCst);
            }
            ioctl::TIOCGPTLCK => {
                UserPtr::<i32>::new(arg).write(&i32::from(self.lock.load(Ordering::SeqCst)))?;
            }
            ioctl::TIOCGPTPEER => return self.names.open_peer(arg as u32).map(|fd| fd as u64),
            ioctl::TIOCPKT => self.set_packet_mode(UserPtr::<i32>::new(arg).read()? != 0),
            ioctl::TIOCGPKT => {
                let is_on = self.slave.state.lock().packet.is_some();
                UserPtr::<i32>::new(arg).write(&i32::from(is_on))?;
            }
            ioctl::TIOCSIG => self.signal(arg)?,
            _ => return self.slave.control(true, command, arg),
        }
        Ok(0)
    }

    fn readiness(&self) -> PollEvents {
        let state = self.slave.state.lock();
        let has_status = state.packet.is_some_and(|status| status != 0);
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, !state.output.is_empty() || has_status);
        events.set(PollEvents::POLLPRI, has_status);
        events.set(PollEvents::POLLHUP, state.is_closed);
        drop(state);
        events.set(PollEvents::WRITABLE, self.slave.has_room());
        events
    }

    fn can_signal(&self) -> bool {
        true
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.end.pollee)
    }
}
