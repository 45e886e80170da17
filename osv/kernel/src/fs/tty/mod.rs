//! Terminals: a line discipline between a [`Transport`] and programs, with job control.
//!
//! The console is one ([`super::console`]); a pty would be another, whose transport is its master's side. What was typed
//! comes in by [`Tty::receive`] on a thread; programs read, write and control through the [`File`]. Which terminal
//! controls which session is `process::session`'s; the foreground group is kept here. Source: tty_ioctl(4), termios(3),
//! credentials(7).

mod control;
mod discipline;
mod termios;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use linux_raw_sys::general;

use super::{File, IoFlags};
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::mem::user::{Dest, Source};
use crate::process::session::{self, Terminal};
use crate::process::signal::Signal;
use crate::process::{current_process, current_task};
use crate::sched::{Deadline, WaitQueue};
use crate::sync::{IrqOff, SpinLock};
pub use discipline::{Discipline, Echo, Typed};
pub use termios::{Termios, WindowSize};

/// Bytes that programs write and that are processed at once.
const CHUNK: usize = 256;
/// The most bytes that one read moves.
const MAX_READ: usize = 4096;
/// The unit of VTIME.
const TENTH_NS: u64 = 100_000_000;

/// The other side of a terminal: where output goes.
pub trait Transport: Send + Sync {
    /// Sends what there is room for (EAGAIN if there is none).
    fn send(&self, bytes: &[u8]) -> Result<usize>;

    /// Whether there is room.
    fn can_send(&self) -> bool;

    /// Sleeps until there is room; a signal ends that (ERESTARTSYS).
    fn wait_for_room(&self) -> Result<()>;

    /// Sleeps until everything has left (`tcdrain`).
    fn drain(&self);
}

/// A terminal.
pub struct Tty {
    this: Weak<Tty>,
    device: u64,
    line: SpinLock<Discipline, IrqOff>,
    window: SpinLock<WindowSize, IrqOff>,
    job: SpinLock<Job, IrqOff>,
    input: WaitQueue,
    resumed: WaitQueue,
    pollee: Pollee,
    transport: Box<dyn Transport>,
    is_hung_up: AtomicBool,
}

/// Whose terminal it is.
#[derive(Clone, Copy, Default)]
struct Job {
    /// The session that it controls; 0 for none.
    session: u32,
    /// The group that may read, and gets its signals.
    foreground: u32,
}

static TTYS: SpinLock<BTreeMap<u64, Weak<Tty>>> = SpinLock::new(BTreeMap::new());

/// The terminal with device number `device` (ENXIO).
pub fn find(device: u64) -> Result<Arc<Tty>> {
    TTYS.lock().get(&device).and_then(Weak::upgrade).ok_or(Errno::ENXIO)
}

/// The terminal that controls the session of the process that runs (ENXIO): what `/dev/tty` is.
pub fn controlling() -> Result<Arc<Tty>> {
    let terminal = session::current_session().and_then(|session| session.terminal()).ok_or(Errno::ENXIO)?;
    find(terminal.device_number())
}

impl Tty {
    /// A terminal with device number `device`.
    pub fn new(device: u64, transport: Box<dyn Transport>) -> Arc<Tty> {
        let tty = Arc::new_cyclic(|this| Tty {
            this: this.clone(),
            device,
            line: SpinLock::new(Discipline::new()),
            window: SpinLock::new(WindowSize::default()),
            job: SpinLock::new(Job::default()),
            input: WaitQueue::new(),
            resumed: WaitQueue::new(),
            pollee: Pollee::new(),
            transport,
            is_hung_up: AtomicBool::new(false),
        });
        TTYS.lock().insert(device, Arc::downgrade(&tty));
        tty
    }

    /// A program has opened it: a session leader without a terminal gets this one.
    pub fn opened(self: &Arc<Self>) {
        if self.job.lock().session == 0 {
            // EPERM only says that the process does not lead a session or has a terminal.
            let _ = self.control_current_session();
        }
    }

    /// Becomes the controlling terminal of the session that the process that runs leads.
    fn control_current_session(self: &Arc<Self>) -> Result<()> {
        session::set_terminal(self.clone())
    }

    /// Bytes were typed. Called on a thread.
    pub fn receive(&self, bytes: &[u8]) {
        for &byte in bytes {
            let mut echo = Echo::default();
            let (typed, was_stopped, is_stopped) = {
                let mut line = self.line.lock();
                let was_stopped = line.is_stopped();
                (line.receive(byte, &mut echo), was_stopped, line.is_stopped())
            };
            self.send_echo(echo.as_bytes());
            if was_stopped && !is_stopped {
                self.resumed.wake_all();
            }
            if let Some(typed) = typed {
                self.signal_foreground(match typed {
                    Typed::Interrupt => Signal::SIGINT,
                    Typed::Quit => Signal::SIGQUIT,
                    Typed::Suspend => Signal::SIGTSTP,
                });
            }
        }
        if self.has_input(1) {
            self.input.wake_all();
            self.pollee.notify(PollEvents::READABLE);
        }
    }

    /// The other side is gone: reads end, writes fail.
    pub fn hang_up(&self) {
        self.is_hung_up.store(true, Ordering::SeqCst);
        self.input.wake_all();
        self.resumed.wake_all();
        self.pollee.notify(PollEvents::READABLE | PollEvents::POLLHUP);
    }

    /// The transport has room again.
    pub fn writable(&self) {
        self.pollee.notify(PollEvents::WRITABLE);
    }

    /// The window has another size; the foreground group is told (SIGWINCH).
    pub fn set_window_size(&self, size: WindowSize) {
        let old = core::mem::replace(&mut *self.window.lock(), size);
        if old != size {
            self.signal_foreground(Signal::SIGWINCH);
        }
    }

    fn signal_foreground(&self, signal: Signal) {
        let foreground = self.job.lock().foreground;
        if foreground != 0 {
            // ESRCH: the group has ended, and nobody is left to be told.
            let _ = session::signal_group(foreground, signal);
        }
    }

    /// Echo that finds no room is lost, as on a real terminal whose line is stopped.
    fn send_echo(&self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(sent) = self.transport.send(rest) else { return };
            rest = rest.get(sent..).unwrap_or_default();
        }
    }

    fn has_input(&self, least: usize) -> bool {
        self.is_hung_up.load(Ordering::SeqCst) || self.line.lock().has_input(least)
    }

    /// Whether the terminal controls the session of the process that runs.
    fn is_mine(&self) -> bool {
        let session = self.job.lock().session;
        session != 0 && session == current_process().session_id()
    }

    /// Stops a process that is not in the foreground by `signal`; EIO if nobody could let it go on.
    fn check_foreground(&self, signal: Signal) -> Result<()> {
        let group = current_process().group_id();
        let foreground = self.job.lock().foreground;
        if !self.is_mine() || foreground == 0 || group == foreground {
            return Ok(());
        }
        let is_deaf = current_task().is_deaf_to(signal);
        if signal == Signal::SIGTTOU && is_deaf {
            return Ok(());
        }
        if is_deaf || session::is_orphaned(group) {
            return Err(Errno::EIO);
        }
        session::signal_group(group, signal)?;
        Err(Errno::ERESTARTSYS)
    }

    /// Waits for input as VMIN and VTIME say; whether there is some.
    fn wait_for_input(&self, room: usize) -> Result<()> {
        let (least, tenths) = {
            let line = self.line.lock();
            let termios = line.termios();
            if termios.is_canonical() {
                (1, 0)
            } else {
                (usize::from(termios.character(general::VMIN)), u64::from(termios.character(general::VTIME)))
            }
        };
        let needed = least.min(room);
        if tenths == 0 {
            if least == 0 {
                return Ok(());
            }
            return self.input.wait_interruptible(None, || self.has_input(needed).then_some(()));
        }
        if least != 0 {
            self.input.wait_interruptible(None, || self.has_input(1).then_some(()))?;
        }
        loop {
            let before = self.line.lock().readable();
            let deadline = Deadline::after(tenths * TENTH_NS);
            let changed = || self.line.lock().readable() > before || self.is_hung_up.load(Ordering::SeqCst);
            match self.input.wait_interruptible(Some(deadline), || changed().then_some(())) {
                Ok(()) if self.has_input(needed) => return Ok(()),
                Ok(()) => {}
                Err(Errno::ETIMEDOUT) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends all bytes, waiting for room and for `^Q`.
    fn send_all(&self, bytes: &[u8], flags: IoFlags) -> Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let is_going = || !self.line.lock().is_stopped() || self.is_hung_up.load(Ordering::SeqCst);
            if flags.contains(IoFlags::NONBLOCK) && !(is_going() && self.transport.can_send()) {
                return Err(Errno::EAGAIN);
            }
            self.resumed.wait_interruptible(None, || is_going().then_some(()))?;
            if self.is_hung_up.load(Ordering::SeqCst) {
                return Err(Errno::EIO);
            }
            match self.transport.send(rest) {
                Ok(sent) => rest = rest.get(sent..).unwrap_or_default(),
                Err(Errno::EAGAIN) => self.transport.wait_for_room()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What programs see of `bytes` on the terminal.
    fn processed(&self, bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        out.try_reserve(bytes.len() * 2).map_err(|_| Errno::ENOMEM)?;
        let mut line = self.line.lock();
        for &byte in bytes {
            line.send(byte, |byte| out.push(byte));
        }
        Ok(out)
    }
}

impl File for Tty {
    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        self.check_foreground(Signal::SIGTTIN)?;
        let room = dst.remaining().min(MAX_READ);
        if room == 0 {
            return Ok(0);
        }
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(room).map_err(|_| Errno::ENOMEM)?;
        buffer.resize(room, 0);
        if !flags.contains(IoFlags::NONBLOCK) {
            self.wait_for_input(room)?;
        } else if !self.has_input(1) {
            return Err(Errno::EAGAIN);
        }
        let count = self.line.lock().read(&mut buffer);
        dst.push(buffer.get(..count).unwrap_or_default())
    }

    fn write(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        if self.line.lock().termios().is_local(general::TOSTOP) {
            self.check_foreground(Signal::SIGTTOU)?;
        }
        let mut done = 0;
        let mut chunk = [0; CHUNK];
        while src.remaining() != 0 {
            let result = src.pull(&mut chunk).and_then(|count| {
                let bytes = self.processed(chunk.get(..count).unwrap_or_default())?;
                self.send_all(&bytes, flags).map(|()| count)
            });
            match result {
                Ok(count) => done += count,
                Err(error) if done == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(done)
    }

    fn ioctl(&self, command: u32, arg: u64) -> Result<u64> {
        self.control(command, arg)
    }

    fn readiness(&self) -> PollEvents {
        let mut events = PollEvents::empty();
        let is_hung_up = self.is_hung_up.load(Ordering::SeqCst);
        if is_hung_up {
            events |= PollEvents::POLLHUP;
        }
        let least = {
            let line = self.line.lock();
            let termios = line.termios();
            if termios.character(general::VTIME) == 0 { usize::from(termios.character(general::VMIN)) } else { 1 }
        };
        if self.has_input(least) {
            events |= PollEvents::READABLE;
        }
        if is_hung_up || (!self.line.lock().is_stopped() && self.transport.can_send()) {
            events |= PollEvents::WRITABLE;
        }
        events
    }

    fn can_signal(&self) -> bool {
        true
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.pollee)
    }
}

impl Terminal for Tty {
    fn foreground_group(&self) -> u32 {
        self.job.lock().foreground
    }

    fn on_session_begin(&self, session: u32) {
        *self.job.lock() = Job { session, foreground: session };
    }

    fn on_session_end(&self) {
        *self.job.lock() = Job::default();
    }

    fn device_number(&self) -> u64 {
        self.device
    }
}
