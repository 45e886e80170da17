//! An open terminal: reading, writing and waiting, as a program does it. Source: Linux' `n_tty.c`, `tty_io.c`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general;

use super::{State, Tty};
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::fs::{File, IoFlags};
use crate::mem::user::{Dest, Source};
use crate::process::signal::Signal;
use crate::sched::Deadline;

/// The most bytes that one read moves.
const MAX_READ: usize = 4096;
/// The unit of VTIME.
const TENTH_NS: u64 = 100_000_000;

/// A terminal that a program has open.
pub struct TtyFile {
    tty: Arc<Tty>,
    /// How often the terminal was hung up before it was opened.
    hang_ups: u32,
    /// Opened as `/dev/console`: no job control.
    is_console: bool,
}

/// How long a read waits: VMIN and VTIME, or a line.
struct Patience {
    /// Bytes that end the wait.
    least: usize,
    /// Time between bytes.
    gap_ns: Option<u64>,
    /// Time for the first byte.
    deadline: Option<Deadline>,
}

impl Patience {
    fn of(state: &State) -> Patience {
        let termios = state.line.termios();
        let least = usize::from(termios.character(general::VMIN));
        let time_ns = u64::from(termios.character(general::VTIME)) * TENTH_NS;
        match (termios.is_canonical(), least) {
            (true, _) => Patience { least: 0, gap_ns: None, deadline: None },
            (false, 0) => Patience { least: 1, gap_ns: None, deadline: Some(Deadline::after(time_ns)) },
            _ => Patience { least, gap_ns: (time_ns != 0).then_some(time_ns), deadline: None },
        }
    }
}

/// The right to write, of which there is one per terminal.
struct Turn<'a>(&'a Tty);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.state.lock().is_written = false;
        self.0.room.wake_all();
    }
}

impl TtyFile {
    pub(super) fn new(tty: Arc<Tty>, hang_ups: u32, is_console: bool) -> TtyFile {
        TtyFile { tty, hang_ups, is_console }
    }

    fn is_hung_up(&self) -> bool {
        self.tty.state.lock().hang_ups != self.hang_ups
    }

    fn check_foreground(&self, signal: Signal) -> Result<()> {
        if self.is_console { Ok(()) } else { self.tty.check_foreground(signal) }
    }

    /// Reads until the settings say that it is enough.
    fn read_patiently(&self, buffer: &mut [u8], flags: IoFlags) -> Result<usize> {
        let mut patience = Patience::of(&self.tty.state.lock());
        let mut count = 0;
        while let Some(rest) = buffer.get_mut(count..).filter(|rest| !rest.is_empty()) {
            match self.read_now(rest) {
                Some((got, is_line)) => {
                    count += got;
                    if is_line || count >= patience.least {
                        break;
                    }
                    patience.deadline = patience.gap_ns.map(Deadline::after);
                }
                None if self.is_hung_up() || patience.deadline.is_some_and(Deadline::has_passed) => break,
                None if flags.contains(IoFlags::NONBLOCK) && count == 0 => return Err(Errno::EAGAIN),
                None if flags.contains(IoFlags::NONBLOCK) => break,
                None => match self.wait_for_input(patience.deadline) {
                    Ok(()) | Err(Errno::ETIMEDOUT) => {}
                    Err(_) if count != 0 => break,
                    Err(error) => return Err(error),
                },
            }
        }
        Ok(count)
    }

    /// What there is, and whether it is a line, or an end of file; `None` if there is nothing.
    fn read_now(&self, buffer: &mut [u8]) -> Option<(usize, bool)> {
        let mut state = self.tty.state.lock();
        if state.hang_ups != self.hang_ups || !state.line.has_input(1) {
            return None;
        }
        let is_line = state.line.reads_lines();
        Some((state.line.read(buffer), is_line))
    }

    fn wait_for_input(&self, deadline: Option<Deadline>) -> Result<()> {
        self.tty.input.wait_interruptible(deadline, || {
            let state = self.tty.state.lock();
            (state.line.has_input(1) || state.hang_ups != self.hang_ups).then_some(())
        })
    }

    /// Waits until no one else writes, so that one write's bytes stay together.
    fn take_turn(&self, flags: IoFlags) -> Result<Turn<'_>> {
        let try_take = || {
            let mut state = self.tty.state.lock();
            if core::mem::replace(&mut state.is_written, true) { None } else { Some(Turn(&self.tty)) }
        };
        match try_take() {
            Some(turn) => Ok(turn),
            None if flags.contains(IoFlags::NONBLOCK) => Err(Errno::EAGAIN),
            None => self.tty.room.wait_interruptible(None, try_take),
        }
    }

    /// Writes all bytes, waiting for room and for `^Q`; how many, and what ended it early.
    fn write_patiently(&self, bytes: &[u8], flags: IoFlags) -> (usize, Result<()>) {
        let mut done = 0;
        while let Some(rest) = bytes.get(done..).filter(|rest| !rest.is_empty()) {
            let written = {
                let mut state = self.tty.state.lock();
                if state.hang_ups != self.hang_ups {
                    return (done, Err(Errno::EIO));
                }
                state.write(rest)
            };
            done += written;
            if written != 0 {
                self.tty.far.on_output(&self.tty);
            } else if flags.contains(IoFlags::NONBLOCK) {
                return (done, Err(Errno::EAGAIN));
            } else if let Err(error) = self.wait_for_room() {
                return (done, Err(error));
            }
        }
        (done, Ok(()))
    }

    fn wait_for_room(&self) -> Result<()> {
        self.tty.room.wait_interruptible(None, || {
            let state = self.tty.state.lock();
            (state.can_write() || state.hang_ups != self.hang_ups).then_some(())
        })
    }
}

impl Drop for TtyFile {
    fn drop(&mut self) {
        self.tty.closed();
    }
}

impl File for TtyFile {
    fn read(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        if self.is_hung_up() {
            return Ok(0);
        }
        self.check_foreground(Signal::SIGTTIN)?;
        let room = dst.remaining().min(MAX_READ);
        let mut buffer = Vec::new();
        buffer.try_reserve_exact(room).map_err(|_| Errno::ENOMEM)?;
        buffer.resize(room, 0);
        let count = self.read_patiently(&mut buffer, flags)?;
        self.tty.process_pending();
        self.tty.far.on_room();
        dst.push(buffer.get(..count).unwrap_or_default())
    }

    fn write(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        if self.is_hung_up() {
            return Err(Errno::EIO);
        }
        let stops_writers = self.tty.state.lock().line.termios().is_local(general::TOSTOP);
        if stops_writers {
            self.check_foreground(Signal::SIGTTOU)?;
        }
        let _turn = self.take_turn(flags)?;
        super::write_in_chunks(src, |chunk| self.write_patiently(chunk, flags))
    }

    fn ioctl(&self, command: u32, arg: u64) -> Result<u64> {
        if self.is_hung_up() {
            let knows_no_groups = command == linux_raw_sys::ioctl::TIOCSPGRP;
            return Err(if knows_no_groups { Errno::ENOTTY } else { Errno::EIO });
        }
        self.tty.control(false, command, arg)
    }

    fn readiness(&self) -> PollEvents {
        let state = self.tty.state.lock();
        if state.hang_ups != self.hang_ups {
            return PollEvents::ALWAYS_READY | PollEvents::POLLERR | PollEvents::POLLHUP;
        }
        let termios = state.line.termios();
        let is_timed = termios.character(general::VTIME) != 0;
        let least = if is_timed { 1 } else { usize::from(termios.character(general::VMIN)) };
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, state.line.has_input(least));
        events.set(PollEvents::WRITABLE, state.can_write());
        events
    }

    fn can_signal(&self) -> bool {
        true
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.tty.pollee)
    }
}
