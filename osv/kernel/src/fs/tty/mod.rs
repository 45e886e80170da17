//! Terminals: a line discipline between a [`FarSide`] and programs, with job control.
//!
//! The console is one ([`super::console`]), the slave of each pty another, whose far side is the master ([`pty`]). What
//! is typed comes in by [`Tty::accept`], waits while programs do not read, and goes through the [`Discipline`]; what
//! programs write, and echo, waits until the far side takes it. Programs hold a terminal by a [`TtyFile`] each, so that
//! a hang-up reaches those who have it open and nobody who opens it later. Which terminal controls which session is
//! `process::session`'s; the foreground group is kept here. Source: tty_ioctl(4), termios(3), credentials(7).

mod control;
mod discipline;
mod edit;
mod file;
mod job;
pub mod pty;
mod screen;
mod termios;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::{Arc, Weak};

use linux_raw_sys::general;

use super::{File, OpenFlags};
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::mem::user::Source;
use crate::process::signal::Signal;
use crate::process::try_current_task;
use crate::sched::WaitQueue;
use crate::sync::{IrqOff, SpinLock};
pub use discipline::{Discipline, Typed};
pub use file::TtyFile;
use job::Job;
pub use job::controlling;
use screen::WIDEST;
pub use termios::{Termio, Termios, Termios2, WindowSize};

/// Typed bytes that wait until programs have read those before them.
const MAX_PENDING: usize = 64 << 10;
/// Bytes for the far side that wait for it.
const MAX_OUTPUT: usize = 64 << 10;
/// So many bytes of what a program writes are copied at a time.
const CHUNK: usize = 512;
/// What a flush of the output leaves alone: on Linux it has reached the far side's own buffer by then.
const DELIVERED: usize = 4095;

/// Hands what a program writes to `write`, a piece at a time. That says how much it has taken, and why it took no more; an
/// error counts only if nothing was taken at all.
fn write_in_chunks(src: &mut Source<'_>, mut write: impl FnMut(&[u8]) -> (usize, Result<()>)) -> Result<usize> {
    let mut done = 0;
    let mut chunk = [0; CHUNK];
    while src.remaining() != 0 {
        let (count, outcome) = match src.pull(&mut chunk) {
            Ok(count) => write(chunk.get(..count).unwrap_or_default()),
            Err(error) => (0, Err(error)),
        };
        done += count;
        match outcome {
            Err(error) if done == 0 => return Err(error),
            Err(_) => break,
            Ok(()) => {}
        }
    }
    Ok(done)
}

/// The other side of a terminal: where typing comes from and output goes. All but [`FarSide::drain`] may be called in
/// interrupt handlers, without locks.
pub trait FarSide: Send + Sync {
    /// There is output to take, or a status of packet mode.
    fn on_output(&self, tty: &Tty);

    /// There is room for what is typed.
    fn on_room(&self);

    /// No program has the terminal open any more.
    fn on_last_close(&self) {}

    /// Sleeps until everything has left (`tcdrain`).
    fn drain(&self, _tty: &Tty) -> Result<()> {
        Ok(())
    }

    /// Whether it is a program: the terminal then outlives its session.
    fn is_program(&self) -> bool {
        false
    }
}

/// A terminal.
pub struct Tty {
    this: Weak<Tty>,
    device: u64,
    state: SpinLock<State, IrqOff>,
    job: SpinLock<Job, IrqOff>,
    /// Where readers wait.
    input: WaitQueue,
    /// Where writers wait.
    room: WaitQueue,
    pollee: Pollee,
    far: Box<dyn FarSide>,
}

/// What changes together.
struct State {
    line: Discipline,
    settings: Termios2,
    /// Bits that TCSETS may not change.
    locked: Termios,
    window: WindowSize,
    pending: VecDeque<u8>,
    output: VecDeque<u8>,
    /// The master does not want to send (TCOOFF).
    is_far_held: bool,
    /// In packet mode, what the master is to be told (`TIOCPKT_*`).
    packet: Option<u8>,
    /// Somebody is in the midst of a write.
    is_written: bool,
    is_exclusive: bool,
    /// Opens that were not closed.
    opens: usize,
    /// Nobody has it open any more.
    is_closed: bool,
    hang_ups: u32,
    /// The far side is gone for good.
    is_dead: bool,
}

impl State {
    fn tell_master(&mut self, clear: u32, set: u32) {
        if let Some(status) = &mut self.packet {
            *status = *status & !(clear as u8) | set as u8;
        }
    }

    fn can_write(&self) -> bool {
        !self.line.is_stopped() && self.has_output_room()
    }

    fn has_output_room(&self) -> bool {
        self.output.len() + WIDEST <= MAX_OUTPUT
    }

    /// Moves echo to the output, as far as that takes any.
    fn send_echo(&mut self) {
        while self.can_write()
            && let Some(byte) = self.line.take_echo()
        {
            self.output.push_back(byte);
        }
    }

    /// Writes as much of `bytes` as there is room for.
    fn write(&mut self, bytes: &[u8]) -> usize {
        self.send_echo();
        let State { line, output, .. } = self;
        if line.is_stopped() || output.try_reserve(bytes.len() + WIDEST).is_err() {
            return 0;
        }
        for (count, &byte) in bytes.iter().enumerate() {
            if output.len() + WIDEST > MAX_OUTPUT {
                return count;
            }
            line.put(byte, |byte| output.push_back(byte));
        }
        bytes.len()
    }

    /// Puts what was typed through the discipline, until a signal is due, there is no room or nothing left. Echo is sent
    /// in the end, so that a signal takes it back, as on Linux.
    fn process_pending(&mut self) -> Option<Typed> {
        while self.line.has_room()
            && let Some(byte) = self.pending.pop_front()
        {
            let was_stopped = self.line.is_stopped();
            let typed = self.line.receive(byte);
            self.note_flow(was_stopped);
            if typed.is_some() && !self.line.termios().is_local(general::NOFLSH) {
                self.flush_output();
                self.tell_master(0, general::TIOCPKT_FLUSHREAD);
            }
            if typed.is_some() {
                return typed;
            }
        }
        self.send_echo();
        None
    }

    /// Output may have been stopped, or may go on.
    fn note_flow(&mut self, was_stopped: bool) {
        match (was_stopped, self.line.is_stopped()) {
            (false, true) => self.tell_master(general::TIOCPKT_START, general::TIOCPKT_STOP),
            (true, false) => {
                self.tell_master(general::TIOCPKT_STOP, general::TIOCPKT_START);
                self.send_echo();
            }
            _ => {}
        }
    }

    fn flush_input(&mut self) {
        self.pending.clear();
        self.line.flush_input();
        self.tell_master(0, general::TIOCPKT_FLUSHREAD);
    }

    fn flush_output(&mut self) {
        self.output.truncate(DELIVERED);
        self.tell_master(0, general::TIOCPKT_FLUSHWRITE);
    }
}

impl Tty {
    /// A terminal with device number `device`.
    pub fn new(device: u64, settings: Termios, far: Box<dyn FarSide>) -> Arc<Tty> {
        let state = State {
            line: Discipline::new(settings),
            settings: Termios2 { settings, ..Termios2::default() },
            locked: Termios::NONE,
            window: WindowSize::default(),
            pending: VecDeque::new(),
            output: VecDeque::new(),
            is_far_held: false,
            packet: None,
            is_written: false,
            is_exclusive: false,
            opens: 0,
            is_closed: false,
            hang_ups: 0,
            is_dead: false,
        };
        Arc::new_cyclic(|this| Tty {
            this: this.clone(),
            device,
            state: SpinLock::new(state),
            job: SpinLock::new(Job::default()),
            input: WaitQueue::new(),
            room: WaitQueue::new(),
            pollee: Pollee::new(),
            far,
        })
    }

    /// Its device number.
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Opens it for a program; as the console it never becomes a controlling terminal. EIO when the far side is gone,
    /// EBUSY when somebody has it for himself.
    pub fn open(self: &Arc<Self>, flags: OpenFlags, is_console: bool) -> Result<Arc<dyn File>> {
        // The kernel itself opens the first program's streams.
        let is_privileged = try_current_task().is_none_or(|task| task.credentials().is_capable(general::CAP_SYS_ADMIN));
        let hang_ups = {
            let mut state = self.state.lock();
            if state.is_dead {
                return Err(Errno::EIO);
            }
            if state.is_exclusive && !is_privileged {
                return Err(Errno::EBUSY);
            }
            state.opens += 1;
            state.is_closed = false;
            state.hang_ups
        };
        let file = Arc::new(TtyFile::new(Arc::clone(self), hang_ups, is_console));
        if !is_console && flags.is_readable() && !flags.contains(OpenFlags::NOCTTY) {
            self.become_controlling();
        }
        Ok(file)
    }

    /// Somebody has closed it.
    fn closed(&self) {
        {
            let mut state = self.state.lock();
            state.opens -= 1;
            if state.opens != 0 {
                return;
            }
            state.is_closed = true;
            state.is_exclusive = false;
        }
        self.far.on_last_close();
    }

    /// Takes what was typed, and says how much there was room for.
    pub fn accept(&self, bytes: &[u8]) -> usize {
        let count = {
            let mut state = self.state.lock();
            let room = if state.is_far_held { 0 } else { MAX_PENDING.saturating_sub(state.pending.len()) };
            let bytes = bytes.get(..room).unwrap_or(bytes);
            if state.pending.try_reserve(bytes.len()).is_err() {
                return 0;
            }
            state.pending.extend(bytes);
            bytes.len()
        };
        self.process_pending();
        count
    }

    /// Whether there is room for what is typed. On a console that nobody reads, typing is to be held back at once.
    pub fn has_room(&self) -> bool {
        let state = self.state.lock();
        let limit = if self.far.is_program() { MAX_PENDING } else { 1 };
        !state.is_far_held && state.pending.len() < limit
    }

    /// Puts what was typed through the discipline, and does what follows from it.
    fn process_pending(&self) {
        loop {
            let typed = self.state.lock().process_pending();
            if let Some(typed) = typed {
                self.signal_foreground(match typed {
                    Typed::Interrupt => Signal::SIGINT,
                    Typed::Quit => Signal::SIGQUIT,
                    Typed::Suspend => Signal::SIGTSTP,
                });
            } else {
                break;
            }
        }
        self.tell_all();
    }

    /// Wakes whoever may go on after a change.
    fn tell_all(&self) {
        let (has_input, can_write, has_output) = {
            let state = self.state.lock();
            let has_status = state.packet.is_some_and(|status| status != 0);
            (state.line.has_input(1), state.can_write(), !state.output.is_empty() || has_status)
        };
        let mut events = PollEvents::empty();
        if has_input {
            self.input.wake_all();
            events |= PollEvents::READABLE;
        }
        if can_write {
            self.room.wake_all();
            events |= PollEvents::WRITABLE;
        }
        self.pollee.notify(events);
        if has_output {
            self.far.on_output(self);
        }
    }

    /// Takes output out. To be followed by [`Tty::output_taken`].
    pub fn take_output(&self, out: &mut [u8]) -> usize {
        let mut state = self.state.lock();
        let count = state.output.len().min(out.len());
        for (place, byte) in out.iter_mut().zip(state.output.drain(..count)) {
            *place = byte;
        }
        count
    }

    /// Puts back what could not be delivered.
    pub fn untake_output(&self, bytes: &[u8]) {
        let mut state = self.state.lock();
        for &byte in bytes.iter().rev() {
            state.output.push_front(byte);
        }
    }

    /// Output was taken: echo moves up, and writers go on.
    pub fn output_taken(&self) {
        let can_write = {
            let mut state = self.state.lock();
            state.send_echo();
            state.can_write()
        };
        if can_write {
            self.room.wake_all();
            self.pollee.notify(PollEvents::WRITABLE);
        }
    }

    /// The far side may have room again.
    pub fn port_changed(&self) {
        self.far.on_output(self);
    }

    /// Whether output waits for the far side.
    pub fn has_output(&self) -> bool {
        !self.state.lock().output.is_empty()
    }

    /// All who have it open lose it: reads end, writes fail; the session that it controls is told.
    pub fn hang_up(&self) {
        {
            let mut state = self.state.lock();
            state.hang_ups = state.hang_ups.wrapping_add(1);
            state.is_exclusive = false;
        }
        self.release_session();
        self.input.wake_all();
        self.room.wake_all();
        self.pollee.notify(PollEvents::ALWAYS_READY | PollEvents::POLLHUP | PollEvents::POLLERR);
    }

    /// The far side is gone for good: a hang-up, and nobody can open it any more.
    pub fn far_closed(&self) {
        self.state.lock().is_dead = true;
        self.hang_up();
    }

    /// The window has another size; the foreground group is told (SIGWINCH).
    pub fn set_window_size(&self, size: WindowSize) {
        let old = core::mem::replace(&mut self.state.lock().window, size);
        if old != size {
            self.signal_foreground(Signal::SIGWINCH);
        }
    }
}
