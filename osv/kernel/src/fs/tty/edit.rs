//! Line editing: what takes characters of an unfinished line back, and what shows that.
//!
//! The bytes behind `complete` in a [`Discipline`]'s input are the line; only they can be erased. How an erasure is
//! shown depends on ECHOE (wiped out), ECHOPRT (printed between slashes, for paper), or neither. Source: termios(3),
//! Linux' `n_tty.c`.

use linux_raw_sys::general;

use super::discipline::Discipline;
use super::screen::{is_control, is_letter};

/// How much a character takes back.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Character,
    Word,
    Line,
}

impl Discipline {
    /// Carries out an editing character. False if `byte` is none.
    pub(super) fn edit(&mut self, byte: u8) -> bool {
        let is = |which| self.termios.is_character(byte, which);
        let is_extended = self.termios.is_local(general::IEXTEN);
        if is(general::VERASE) {
            self.erase(Extent::Character);
        } else if is(general::VKILL) {
            self.erase_line(byte);
        } else if is_extended && is(general::VWERASE) {
            self.erase(Extent::Word);
        } else if is_extended && is(general::VLNEXT) {
            self.quote();
        } else if is_extended && self.termios.is_local(general::ECHO) && is(general::VREPRINT) {
            self.reprint(byte);
        } else {
            return false;
        }
        true
    }

    fn quote(&mut self) {
        self.expect_literal();
        if self.termios.is_local(general::ECHO) {
            self.finish_erasing();
            if self.termios.is_local(general::ECHOCTL) {
                self.screen.echo_raw(&self.termios, b'^');
                self.screen.echo_raw(&self.termios, 8);
            }
        }
    }

    fn reprint(&mut self, byte: u8) {
        self.finish_erasing();
        self.screen.echo(&self.termios, byte);
        self.screen.echo_raw(&self.termios, b'\n');
        for input in self.input.range(self.complete..) {
            self.screen.echo(&self.termios, input.byte);
        }
    }

    fn erase_line(&mut self, byte: u8) {
        if self.input.len() == self.complete {
            return;
        }
        let has_echo = self.termios.is_local(general::ECHO);
        if has_echo && self.termios.is_local(general::ECHOK | general::ECHOKE | general::ECHOE) {
            return self.erase(Extent::Line);
        }
        self.input.truncate(self.complete);
        if has_echo {
            self.finish_erasing();
            self.screen.echo(&self.termios, byte);
            if self.termios.is_local(general::ECHOK) {
                self.screen.echo_raw(&self.termios, b'\n');
            }
        }
    }

    fn erase(&mut self, extent: Extent) {
        let mut has_word = false;
        while let Some(start) = self.last_character() {
            let Some(byte) = self.input.get(start).map(|input| input.byte) else { break };
            if extent == Extent::Word {
                let is_part = is_letter(byte) || byte.is_ascii_digit() || byte == b'_';
                if has_word && !is_part {
                    break;
                }
                has_word |= is_part;
            }
            if self.termios.is_local(general::ECHO) {
                self.show_erasure(start, byte, extent);
            }
            self.input.truncate(start);
            if extent == Extent::Character {
                break;
            }
        }
        if self.input.len() == self.complete && self.termios.is_local(general::ECHO) {
            self.finish_erasing();
        }
    }

    /// Where the last character of the line begins: a whole UTF-8 sequence with IUTF8.
    fn last_character(&self) -> Option<usize> {
        let line = self.input.range(self.complete..);
        let from_end = line.rev().position(|input| !self.termios.is_continuation(input.byte))?;
        Some(self.input.len() - 1 - from_end)
    }

    /// Shows that the character at `start`, the last one, is gone.
    fn show_erasure(&mut self, start: usize, byte: u8, extent: Extent) {
        if self.termios.is_local(general::ECHOPRT) {
            if !core::mem::replace(&mut self.is_erasing, true) {
                self.screen.echo_raw(&self.termios, b'\\');
            }
            self.screen.echo(&self.termios, byte);
            for input in self.input.range(start + 1..) {
                self.screen.echo_raw(&self.termios, input.byte);
                self.screen.step_back();
            }
        } else if extent == Extent::Character && !self.termios.is_local(general::ECHOE) {
            self.screen.echo(&self.termios, self.termios.character(general::VERASE));
        } else if byte == b'\t' {
            let (width, follows_tab) = self.width_before(start);
            self.screen.rub_out_tab(width, follows_tab);
        } else {
            let shows_control = self.termios.is_local(general::ECHOCTL);
            let width = if !is_control(byte) { 1 } else { 2 * usize::from(shows_control) };
            (0..width).for_each(|_| self.screen.rub_out(&self.termios));
        }
    }

    /// How wide the line's bytes before `end` are, back to a tabulator (true) or to its beginning.
    fn width_before(&self, end: usize) -> (usize, bool) {
        let mut width = 0;
        for input in self.input.range(self.complete..end).rev() {
            match input.byte {
                b'\t' => return (width, true),
                byte if is_control(byte) => width += 2 * usize::from(self.termios.is_local(general::ECHOCTL)),
                byte => width += usize::from(!self.termios.is_continuation(byte)),
            }
        }
        (width, false)
    }

    /// Ends what ECHOPRT prints of erased characters.
    pub(super) fn finish_erasing(&mut self) {
        if core::mem::take(&mut self.is_erasing) {
            self.screen.echo_raw(&self.termios, b'/');
        }
    }
}
