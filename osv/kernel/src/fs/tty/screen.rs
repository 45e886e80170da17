//! What goes to the terminal: output modes, the cursor's column, and echo that waits for room.
//!
//! A state machine without any I/O, half of the [`Discipline`](super::Discipline). Echo is put through the output
//! modes when it is made, and waits in a queue until the owner takes it: a terminal that is stopped, or whose line is
//! full, keeps it. Source: termios(3), Linux' `n_tty.c`.

use alloc::collections::VecDeque;

use linux_raw_sys::general;

use super::termios::Termios;

/// Width of a tabulator.
const TAB: usize = 8;
/// The most bytes that one byte of a program becomes.
pub const WIDEST: usize = TAB;
/// Echo that waits; more is lost. Room for taking back a whole line.
const MAX_ECHO: usize = 3 * 4096 + 64;
/// What takes back the character left of the cursor.
const RUB_OUT: [u8; 3] = [8, b' ', 8];

/// Where the cursor is, and the echo that is due.
#[derive(Default)]
pub struct Screen {
    column: usize,
    /// The column at which the line that is being edited began.
    line_column: usize,
    echo: VecDeque<u8>,
}

/// Whether a byte is a control character.
pub const fn is_control(byte: u8) -> bool {
    byte < b' ' || byte == 127
}

/// Whether a byte is a letter of Latin-1, which is what Linux' discipline knows of letters.
pub const fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || (byte >= 0xc0 && byte != 0xd7 && byte != 0xf7)
}

/// The upper-case letter for one of Latin-1.
const fn to_upper(byte: u8) -> u8 {
    let is_lower = is_letter(byte) && (byte.is_ascii_lowercase() || byte >= 0xdf);
    if is_lower { byte - 0x20 } else { byte }
}

/// The lower-case letter for one of Latin-1.
pub const fn to_lower(byte: u8) -> u8 {
    let is_upper = is_letter(byte) && (byte.is_ascii_uppercase() || (byte >= 0xc0 && byte < 0xdf));
    if is_upper { byte + 0x20 } else { byte }
}

impl Screen {
    /// Output modes: hands on what a byte that a program wrote becomes, [`WIDEST`] bytes at most.
    pub fn put(&mut self, termios: &Termios, byte: u8, mut emit: impl FnMut(u8)) {
        let has = |flag: u32| termios.output & flag != 0;
        if !has(general::OPOST) {
            return emit(byte);
        }
        match byte {
            b'\n' => {
                if has(general::ONLCR) {
                    emit(b'\r');
                }
                if has(general::ONLRET | general::ONLCR) {
                    self.column = 0;
                }
                self.line_column = self.column;
                emit(b'\n');
            }
            b'\r' if has(general::ONOCR) && self.column == 0 => {}
            b'\r' => {
                if !has(general::OCRNL) || has(general::ONLRET) {
                    self.column = 0;
                    self.line_column = 0;
                }
                emit(if has(general::OCRNL) { b'\n' } else { b'\r' });
            }
            b'\t' => {
                let width = TAB - self.column % TAB;
                self.column += width;
                if termios.output & general::TABDLY == general::XTABS {
                    (0..width).for_each(|_| emit(b' '));
                } else {
                    emit(b'\t');
                }
            }
            8 => {
                self.column = self.column.saturating_sub(1);
                emit(byte);
            }
            _ if is_control(byte) => emit(byte),
            _ => {
                if !termios.is_continuation(byte) {
                    self.column += 1;
                }
                emit(if has(general::OLCUC) { to_upper(byte) } else { byte });
            }
        }
    }

    /// Marks the cursor's place as the beginning of the line that is being edited.
    pub fn begin_line(&mut self) {
        self.line_column = self.column;
    }

    /// Echoes a byte through the output modes only.
    pub fn echo_raw(&mut self, termios: &Termios, byte: u8) {
        let mut echo = core::mem::take(&mut self.echo);
        self.put(termios, byte, |byte| push(&mut echo, byte));
        self.echo = echo;
    }

    /// Echoes a character; control characters as `^X` with ECHOCTL.
    pub fn echo(&mut self, termios: &Termios, byte: u8) {
        if is_control(byte) && byte != b'\t' && termios.is_local(general::ECHOCTL) {
            push(&mut self.echo, b'^');
            push(&mut self.echo, byte ^ 0x40);
            self.column += 2;
        } else {
            self.echo_raw(termios, byte);
        }
    }

    /// Wipes out the character left of the cursor.
    pub fn rub_out(&mut self, termios: &Termios) {
        for byte in RUB_OUT {
            self.echo_raw(termios, byte);
        }
    }

    /// Wipes out a tabulator that stood `width` columns after another one, or after the line's beginning.
    pub fn rub_out_tab(&mut self, width: usize, follows_tab: bool) {
        let start = if follows_tab { width } else { self.line_column + width };
        for _ in 0..TAB - start % TAB {
            push(&mut self.echo, 8);
            self.column = self.column.saturating_sub(1);
        }
    }

    /// The column of what comes after a byte that was echoed in passing, for ECHOPRT.
    pub fn step_back(&mut self) {
        self.column = self.column.saturating_sub(1);
    }

    /// Forgets echo that nobody has taken.
    pub fn clear_echo(&mut self) {
        self.echo.clear();
    }

    /// Whether echo waits to be taken.
    pub fn has_echo(&self) -> bool {
        !self.echo.is_empty()
    }

    /// The next byte of echo.
    pub fn take_echo(&mut self) -> Option<u8> {
        self.echo.pop_front()
    }
}

fn push(echo: &mut VecDeque<u8>, byte: u8) {
    if echo.len() < MAX_ECHO && echo.try_reserve(1).is_ok() {
        echo.push_back(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(output: u32, bytes: &[u8]) -> Vec<u8> {
        let termios = Termios { output, ..Termios::default() };
        let (mut screen, mut out) = (Screen::default(), Vec::new());
        bytes.iter().for_each(|&byte| screen.put(&termios, byte, |byte| out.push(byte)));
        out
    }

    #[test]
    fn output_is_processed_as_its_modes_say() {
        assert_eq!(shown(0, b"a\n\r\tB"), b"a\n\r\tB");
        assert_eq!(shown(general::OPOST | general::ONLCR, b"a\tb\n"), b"a\tb\r\n");
        assert_eq!(shown(general::OPOST | general::XTABS, b"a\tb"), b"a       b");
        assert_eq!(shown(general::OPOST | general::OCRNL, b"a\rb"), b"a\nb");
        assert_eq!(shown(general::OPOST | general::ONOCR, b"\ra\r\rb"), b"a\rb");
        assert_eq!(shown(general::OPOST | general::OLCUC, b"aBc\n"), b"ABC\n");
        assert_eq!(shown(general::OPOST | general::ONLRET | general::ONOCR, b"a\n\rb"), b"a\nb");
    }

    #[test]
    fn echo_waits_and_has_an_end() {
        let termios = Termios::default();
        let mut screen = Screen::default();
        (0..20_000).for_each(|_| screen.echo(&termios, b'x'));
        let mut taken = 0;
        while screen.take_echo().is_some() {
            taken += 1;
        }
        assert_eq!(taken, MAX_ECHO);
    }
}
