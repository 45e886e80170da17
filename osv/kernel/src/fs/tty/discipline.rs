//! The line discipline: what becomes of bytes between a terminal and a program.
//!
//! A state machine without any I/O: the owner feeds it bytes that were typed and takes out what programs may read, what
//! is to be echoed, and which signals are due. It serves the console and ptys alike, and may run in interrupt
//! handlers. Editing is in `edit`, output and echo in [`Screen`]. Source: termios(3), Linux' `n_tty.c`.

use alloc::collections::VecDeque;

use linux_raw_sys::general;

use super::screen::{Screen, to_lower};
use super::termios::Termios;

/// Bytes that wait for a reader, and the end of a line that fills all of them.
const CAPACITY: usize = 4096;

/// A signal that a typed character asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// `^C`
    Interrupt,
    /// `^\`
    Quit,
    /// `^Z`
    Suspend,
}

/// A byte that was typed, and whether it ends a line. An end of file is a NUL that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Input {
    pub(super) byte: u8,
    ends_line: bool,
}

impl Input {
    const END_OF_FILE: Input = Input { byte: 0, ends_line: true };
}

/// The state of one terminal.
#[derive(Default)]
pub struct Discipline {
    pub(super) termios: Termios,
    /// What programs may read, and behind it the line that is being edited.
    pub(super) input: VecDeque<Input>,
    /// How much of `input` programs may read line by line.
    pub(super) complete: usize,
    pub(super) screen: Screen,
    /// In the midst of showing what is erased (ECHOPRT).
    pub(super) is_erasing: bool,
    is_stopped: bool,
    /// Stopped by a program (TCOOFF): typing does not let it go on.
    is_held: bool,
    is_next_literal: bool,
}

impl Discipline {
    /// A new terminal's, with these settings.
    pub fn new(termios: Termios) -> Discipline {
        Discipline { termios, ..Discipline::default() }
    }

    /// The settings.
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings. What was typed can be read under the new ones.
    pub fn set_termios(&mut self, termios: Termios) {
        let old = core::mem::replace(&mut self.termios, termios);
        if (old.local ^ termios.local) & (general::ICANON | general::EXTPROC) != 0 {
            self.input.iter_mut().for_each(|input| input.ends_line = false);
            self.complete = 0;
            if termios.is_canonical()
                && let Some(last) = self.input.back_mut()
            {
                last.ends_line = true;
                self.complete = self.input.len();
            }
            self.is_erasing = false;
            self.is_next_literal = false;
        }
        if old.is_input(general::IXON) && !termios.is_input(general::IXON) {
            self.start();
        }
    }

    /// Whether output waits to go on.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// A program stops output, whatever is typed, or lets it go on (`TCXONC`).
    pub fn hold(&mut self, is_held: bool) {
        if self.is_held != is_held {
            self.is_held = is_held;
            self.is_stopped = is_held;
        }
    }

    fn start(&mut self) {
        if !self.is_held {
            self.is_stopped = false;
        }
    }

    /// Forgets all input (`TCFLSH`).
    pub fn flush_input(&mut self) {
        self.input.clear();
        self.complete = 0;
        self.is_erasing = false;
    }

    /// Whether lines are what programs read.
    pub fn reads_lines(&self) -> bool {
        self.termios.is_canonical() && !self.termios.is_local(general::EXTPROC)
    }

    /// How many bytes a program may read (`FIONREAD`).
    pub fn readable(&self) -> usize {
        if !self.reads_lines() {
            return self.input.len();
        }
        self.input.iter().take(self.complete).filter(|&&input| input != Input::END_OF_FILE).count()
    }

    /// Whether a read would find something: a line or an end of file, or in raw mode `least` bytes.
    pub fn has_input(&self, least: usize) -> bool {
        if self.reads_lines() { self.complete != 0 } else { self.input.len() >= least.max(1) }
    }

    /// Moves bytes to `out`: the rest of the first line, or what there is in raw mode. 0 is an end of file.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        if self.reads_lines() { self.read_line(out) } else { self.read_raw(out) }
    }

    fn read_raw(&mut self, out: &mut [u8]) -> usize {
        let count = self.input.len().min(out.len());
        for (place, input) in out.iter_mut().zip(self.input.drain(..count)) {
            *place = input.byte;
        }
        self.complete = self.complete.saturating_sub(count);
        count
    }

    /// An end of file right behind what fills `out` is taken along.
    fn read_line(&mut self, out: &mut [u8]) -> usize {
        let mut count = 0;
        while self.complete != 0
            && let Some(&input) = self.input.front()
            && (count < out.len() || input == Input::END_OF_FILE)
        {
            self.input.pop_front();
            self.complete -= 1;
            if input == Input::END_OF_FILE {
                break;
            }
            if let Some(place) = out.get_mut(count) {
                *place = input.byte;
                count += 1;
            }
            if input.ends_line {
                break;
            }
        }
        count
    }

    /// Whether a byte may be typed. A line that is too long keeps its last place for what may end it.
    pub fn has_room(&self) -> bool {
        self.input.len() + 1 < CAPACITY || self.is_overlong()
    }

    fn is_overlong(&self) -> bool {
        self.termios.is_canonical() && self.complete == 0
    }

    /// A byte was typed, and [`Discipline::has_room`]. A signal may be due.
    pub fn receive(&mut self, byte: u8) -> Option<Typed> {
        let byte = self.stripped(byte);
        if self.termios.is_local(general::EXTPROC) {
            self.push(byte);
            return None;
        }
        if core::mem::take(&mut self.is_next_literal) {
            self.enter(byte);
            return None;
        }
        if self.is_flow_control(byte) {
            return None;
        }
        if let Some(typed) = self.signal_of(byte) {
            self.on_signal(byte);
            return Some(typed);
        }
        if self.termios.is_input(general::IXON | general::IXANY) {
            self.start();
        }
        let typed = byte;
        let byte = self.translated(byte)?;
        if !self.termios.is_canonical() {
            self.enter_raw(byte, typed != byte);
        } else if !self.edit(byte) {
            self.enter_in_line(byte);
        }
        None
    }

    fn stripped(&self, byte: u8) -> u8 {
        let byte = if self.termios.is_input(general::ISTRIP) { byte & 0x7f } else { byte };
        let lowers = self.termios.is_input(general::IUCLC) && self.termios.is_local(general::IEXTEN);
        if lowers { to_lower(byte) } else { byte }
    }

    /// What a line break becomes, if anything.
    fn translated(&self, byte: u8) -> Option<u8> {
        match byte {
            b'\r' if self.termios.is_input(general::IGNCR) => None,
            b'\r' if self.termios.is_input(general::ICRNL) => Some(b'\n'),
            b'\n' if self.termios.is_input(general::INLCR) => Some(b'\r'),
            _ => Some(byte),
        }
    }

    fn is_flow_control(&mut self, byte: u8) -> bool {
        if !self.termios.is_input(general::IXON) {
            return false;
        }
        if self.termios.is_character(byte, general::VSTART) {
            self.start();
            return true;
        }
        let is_stop = self.termios.is_character(byte, general::VSTOP);
        self.is_stopped |= is_stop;
        is_stop
    }

    fn signal_of(&self, byte: u8) -> Option<Typed> {
        if !self.termios.is_local(general::ISIG) {
            return None;
        }
        let signals =
            [(general::VINTR, Typed::Interrupt), (general::VQUIT, Typed::Quit), (general::VSUSP, Typed::Suspend)];
        signals.into_iter().find(|&(which, _)| self.termios.is_character(byte, which)).map(|(_, typed)| typed)
    }

    /// What a signal's character does to the queues, and its echo.
    fn on_signal(&mut self, byte: u8) {
        if !self.termios.is_local(general::NOFLSH) {
            self.screen.clear_echo();
            self.flush_input();
        }
        if self.termios.is_input(general::IXON) {
            self.start();
        }
        if self.termios.is_local(general::ECHO) {
            self.screen.echo(&self.termios, byte);
        }
    }

    /// Ordinary bytes of a line, its end among them.
    fn enter_in_line(&mut self, byte: u8) {
        let is = |which| self.termios.is_character(byte, which);
        if byte == b'\n' {
            if self.termios.is_local(general::ECHO) || self.termios.is_local(general::ECHONL) {
                self.screen.echo_raw(&self.termios, byte);
            }
            self.end_line(Input { byte, ends_line: true });
        } else if is(general::VEOF) {
            self.end_line(Input::END_OF_FILE);
        } else if is(general::VEOL) || (self.termios.is_local(general::IEXTEN) && is(general::VEOL2)) {
            self.show(byte);
            self.end_line(Input { byte, ends_line: true });
        } else {
            self.enter(byte);
        }
    }

    fn end_line(&mut self, end: Input) {
        if end.byte == 0xff && self.termios.is_input(general::PARMRK) {
            self.push_input(Input { byte: 0xff, ends_line: false });
        }
        self.push_input(end);
        self.complete = self.input.len();
    }

    pub(super) fn expect_literal(&mut self) {
        self.is_next_literal = true;
    }

    /// Outside of lines a newline breaks the line on the screen only if another byte became one.
    fn enter_raw(&mut self, byte: u8, is_translated: bool) {
        if byte == b'\n' && is_translated {
            if self.termios.is_local(general::ECHO) {
                self.screen.echo_raw(&self.termios, byte);
            }
            self.push(byte);
        } else {
            self.enter(byte);
        }
    }

    /// Echoes a byte and takes it as it is.
    fn enter(&mut self, byte: u8) {
        if self.termios.is_local(general::ECHO) {
            self.finish_erasing();
            self.show(byte);
        }
        if byte == 0xff && self.termios.is_input(general::PARMRK) {
            self.push(byte);
        }
        self.push(byte);
    }

    fn show(&mut self, byte: u8) {
        if !self.termios.is_local(general::ECHO) {
            return;
        }
        if self.input.len() == self.complete {
            self.screen.begin_line();
        }
        self.screen.echo(&self.termios, byte);
    }

    fn push(&mut self, byte: u8) {
        self.push_input(Input { byte, ends_line: false });
    }

    fn push_input(&mut self, input: Input) {
        if self.input.len() >= CAPACITY && self.is_overlong() {
            self.input.pop_back();
        }
        if self.input.len() < CAPACITY && self.input.try_reserve(1).is_ok() {
            self.input.push_back(input);
        }
    }

    /// Output modes: hands on what a byte that a program wrote becomes.
    pub fn put(&mut self, byte: u8, emit: impl FnMut(u8)) {
        self.screen.put(&self.termios, byte, emit);
    }

    /// Whether echo waits to be taken.
    pub fn has_echo(&self) -> bool {
        self.screen.has_echo()
    }

    /// The next byte of echo.
    pub fn take_echo(&mut self) -> Option<u8> {
        self.screen.take_echo()
    }
}

#[cfg(test)]
#[path = "discipline_tests.rs"]
mod tests;
