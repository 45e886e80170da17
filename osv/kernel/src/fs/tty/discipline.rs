//! The line discipline: what becomes of bytes between a terminal and a program.
//!
//! A state machine without any I/O: the owner feeds it bytes that were typed and takes out what programs may read, what
//! is to be echoed, and which signals are due. It serves the console and ptys alike, and allocates nothing after it
//! was made, so that it may run in interrupt handlers. Source: termios(3), Linux' `n_tty.c`.

use alloc::collections::VecDeque;

use linux_raw_sys::general;

use super::termios::Termios;

/// Bytes that wait for a reader; more are dropped.
const CAPACITY: usize = 4096;
/// Width of a tabulator.
const TAB: usize = 8;

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

/// A few bytes to send to the terminal.
#[derive(Default)]
pub struct Echo {
    bytes: [u8; 16],
    len: usize,
}

impl Echo {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The state of one terminal.
pub struct Discipline {
    termios: Termios,
    /// Bytes that programs may read, and behind them those of the line that is being edited.
    buffer: VecDeque<u8>,
    /// Bytes at the end of `buffer` that can still be edited.
    editing: usize,
    /// Lengths of the lines in `buffer`, ends of file included (as lines without a delimiter).
    lines: VecDeque<usize>,
    column: usize,
    /// The column at which the line that is being edited began.
    first_column: usize,
    is_stopped: bool,
    is_next_literal: bool,
}

impl Default for Discipline {
    fn default() -> Self {
        Discipline::new()
    }
}

impl Discipline {
    /// A new terminal's.
    pub fn new() -> Discipline {
        Discipline {
            termios: Termios::default(),
            buffer: VecDeque::with_capacity(CAPACITY),
            editing: 0,
            lines: VecDeque::with_capacity(CAPACITY),
            column: 0,
            first_column: 0,
            is_stopped: false,
            is_next_literal: false,
        }
    }

    /// The settings.
    pub fn termios(&self) -> &Termios {
        &self.termios
    }

    /// Changes the settings. What was typed can be read under the new ones.
    pub fn set_termios(&mut self, termios: Termios) {
        let (was, is) = (self.termios.is_canonical(), termios.is_canonical());
        self.termios = termios;
        if was != is {
            self.editing = 0;
            self.lines.clear();
            if is && !self.buffer.is_empty() {
                self.lines.push_back(self.buffer.len());
            }
        }
        if termios.input & general::IXON == 0 {
            self.is_stopped = false;
        }
    }

    /// Whether output waits for `^Q`.
    pub fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Stops output or lets it go on (`TCXONC`).
    pub fn set_stopped(&mut self, is_stopped: bool) {
        self.is_stopped = is_stopped;
    }

    /// Forgets all input (`TCFLSH`).
    pub fn flush_input(&mut self) {
        self.buffer.clear();
        self.lines.clear();
        self.editing = 0;
        self.is_next_literal = false;
    }

    /// How many bytes a read would get at most (`FIONREAD`).
    pub fn readable(&self) -> usize {
        self.buffer.len() - self.editing
    }

    /// Whether a read would find something: a line, or in raw mode `least` bytes.
    pub fn has_input(&self, least: usize) -> bool {
        if self.termios.is_canonical() { !self.lines.is_empty() } else { self.buffer.len() >= least.max(1) }
    }

    /// Moves bytes to `out`: the rest of the first line, or what there is in raw mode. 0 is an end of file, or nothing.
    pub fn read(&mut self, out: &mut [u8]) -> usize {
        let available = match self.lines.front_mut() {
            Some(line) if self.termios.is_canonical() => {
                let taken = (*line).min(out.len());
                *line -= taken;
                if *line == 0 {
                    self.lines.pop_front();
                }
                taken
            }
            None if self.termios.is_canonical() => 0,
            _ => self.buffer.len().min(out.len()),
        };
        for (place, byte) in out.iter_mut().zip(self.buffer.drain(..available)) {
            *place = byte;
        }
        available
    }

    /// A byte was typed. What to show goes to `echo`; a signal may be due.
    pub fn receive(&mut self, byte: u8, echo: &mut Echo) -> Option<Typed> {
        let byte = self.translate(byte)?;
        if self.is_next_literal {
            self.is_next_literal = false;
            self.accept(byte, echo);
            return None;
        }
        if self.is_flow_control(byte) {
            return None;
        }
        if let Some(typed) = self.signal_of(byte) {
            if !self.termios.is_local(general::NOFLSH) {
                self.flush_input();
            }
            self.is_stopped = false;
            self.show(byte, echo);
            return Some(typed);
        }
        if self.termios.is_canonical() {
            self.edit(byte, echo)
        } else {
            self.accept(byte, echo)
        }
        None
    }

    /// Input modes: what a byte becomes, if anything.
    fn translate(&self, byte: u8) -> Option<u8> {
        let has = |flag: u32| self.termios.input & flag != 0;
        let byte = if has(general::ISTRIP) { byte & 0x7f } else { byte };
        match byte {
            b'\r' if has(general::IGNCR) => None,
            b'\r' if has(general::ICRNL) => Some(b'\n'),
            b'\n' if has(general::INLCR) => Some(b'\r'),
            _ => Some(byte),
        }
    }

    fn is_flow_control(&mut self, byte: u8) -> bool {
        if self.termios.input & general::IXON == 0 {
            return false;
        }
        if self.termios.is_character(byte, general::VSTOP) {
            self.is_stopped = true;
            return true;
        }
        if self.termios.is_character(byte, general::VSTART) {
            self.is_stopped = false;
            return true;
        }
        if self.termios.input & general::IXANY != 0 {
            self.is_stopped = false;
        }
        false
    }

    fn signal_of(&self, byte: u8) -> Option<Typed> {
        if !self.termios.is_local(general::ISIG) {
            return None;
        }
        let signals =
            [(general::VINTR, Typed::Interrupt), (general::VQUIT, Typed::Quit), (general::VSUSP, Typed::Suspend)];
        signals.into_iter().find(|&(which, _)| self.termios.is_character(byte, which)).map(|(_, typed)| typed)
    }

    /// Canonical mode: line editing.
    fn edit(&mut self, byte: u8, echo: &mut Echo) {
        let is = |which| self.termios.is_character(byte, which);
        let is_extended = |which| self.termios.is_local(general::IEXTEN) && is(which);
        if is(general::VERASE) {
            self.erase_character(echo);
        } else if is_extended(general::VWERASE) {
            self.erase_word(echo);
        } else if is(general::VKILL) {
            self.erase_line(byte, echo);
        } else if is_extended(general::VLNEXT) {
            self.is_next_literal = true;
            if self.termios.is_local(general::ECHO | general::ECHOCTL) {
                echo.push(b'^');
                echo.push(8);
            }
        } else if is_extended(general::VREPRINT) {
            self.show(byte, echo);
            self.put_out(b'\n', echo);
        } else if is(general::VEOF) {
            self.end_line();
        } else if byte == b'\n' || is(general::VEOL) || is_extended(general::VEOL2) {
            self.finish_line(byte, echo);
        } else {
            self.accept(byte, echo);
        }
    }

    fn finish_line(&mut self, byte: u8, echo: &mut Echo) {
        if self.buffer.len() >= CAPACITY {
            return;
        }
        let shows_newline = byte == b'\n' && self.termios.is_local(general::ECHONL);
        if self.termios.is_local(general::ECHO) || shows_newline {
            self.put_out(byte, echo);
        }
        self.buffer.push_back(byte);
        self.editing += 1;
        self.end_line();
    }

    fn end_line(&mut self) {
        self.lines.push_back(self.editing);
        self.editing = 0;
    }

    /// Enters a byte as it is. One place stays free for the end of the line.
    fn accept(&mut self, byte: u8, echo: &mut Echo) {
        let is_canonical = self.termios.is_canonical();
        if self.buffer.len() + usize::from(is_canonical) >= CAPACITY {
            if self.termios.input & general::IMAXBEL != 0 {
                echo.push(7);
            }
            return;
        }
        if is_canonical && self.editing == 0 {
            self.first_column = self.column;
        }
        self.buffer.push_back(byte);
        self.editing += usize::from(is_canonical);
        self.show(byte, echo);
    }

    /// Echoes a byte as ECHO and ECHOCTL say.
    fn show(&mut self, byte: u8, echo: &mut Echo) {
        if !self.termios.is_local(general::ECHO) {
            return;
        }
        let is_control = (byte < b' ' && byte != b'\t' && byte != b'\n') || byte == 127;
        if is_control && self.termios.is_local(general::ECHOCTL) {
            self.put_out(b'^', echo);
            self.put_out(byte ^ 0x40, echo);
        } else {
            self.put_out(byte, echo);
        }
    }

    /// How wide the echo of a byte is; tabulators depend on where they start.
    fn width(&self, byte: u8, column: usize) -> usize {
        match byte {
            b'\t' => TAB - column % TAB,
            0..b' ' | 127 if self.termios.is_local(general::ECHOCTL) => 2,
            0..b' ' | 127 | 0x80..0xc0 => 0,
            _ => 1,
        }
    }

    /// Takes back the last character of the line, a whole UTF-8 sequence with IUTF8.
    fn erase_character(&mut self, echo: &mut Echo) {
        let is_utf8 = self.termios.input & general::IUTF8 != 0;
        while self.editing > 0 {
            let Some(byte) = self.buffer.pop_back() else { return };
            self.editing -= 1;
            if is_utf8 && byte & 0xc0 == 0x80 {
                continue;
            }
            self.show_erasure(byte, echo);
            return;
        }
    }

    fn show_erasure(&mut self, byte: u8, echo: &mut Echo) {
        if !self.termios.is_local(general::ECHO) {
            return;
        }
        if !self.termios.is_local(general::ECHOE) {
            return self.show(self.termios.character(general::VERASE), echo);
        }
        let width = self.erased_width(byte);
        for _ in 0..width {
            echo.push(8);
            if byte != b'\t' {
                echo.push(b' ');
                echo.push(8);
            }
        }
        self.column = self.column.saturating_sub(width);
    }

    fn erased_width(&self, byte: u8) -> usize {
        if byte != b'\t' {
            return self.width(byte, 0);
        }
        let start = self.buffer.len() - self.editing;
        let column =
            self.buffer.range(start..).fold(self.first_column, |column, &byte| column + self.width(byte, column));
        self.width(b'\t', column)
    }

    fn erase_word(&mut self, echo: &mut Echo) {
        let is_blank = |byte: Option<&u8>| byte.is_some_and(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_');
        while self.editing > 0 && is_blank(self.buffer.back()) && echo.len < 10 {
            self.erase_character(echo);
        }
        while self.editing > 0 && !is_blank(self.buffer.back()) && echo.len < 10 {
            self.erase_character(echo);
        }
    }

    fn erase_line(&mut self, byte: u8, echo: &mut Echo) {
        let kept = self.buffer.len() - self.editing;
        self.buffer.truncate(kept);
        self.editing = 0;
        if !self.termios.is_local(general::ECHO) {
            return;
        }
        if self.termios.is_local(general::ECHOK | general::ECHOKE | general::ECHOE) {
            echo.push(b'\r');
            if self.first_column > 0 {
                for digit in [27, b'[', b'0' + (self.first_column / 100 % 10) as u8] {
                    echo.push(digit);
                }
                echo.push(b'0' + (self.first_column / 10 % 10) as u8);
                echo.push(b'0' + (self.first_column % 10) as u8);
                echo.push(b'C');
            }
            [27, b'[', b'K'].into_iter().for_each(|byte| echo.push(byte));
            self.column = self.first_column;
        } else {
            self.show(byte, echo);
            self.put_out(b'\n', echo);
        }
    }

    fn put_out(&mut self, byte: u8, echo: &mut Echo) {
        self.send(byte, |byte| echo.push(byte));
    }

    /// Output modes: hands on what a byte that a program wrote becomes.
    pub fn send(&mut self, byte: u8, mut emit: impl FnMut(u8)) {
        let output = self.termios.output;
        let has = |flag: u32| output & flag != 0;
        if !has(general::OPOST) {
            return emit(byte);
        }
        match byte {
            b'\n' if has(general::ONLCR) => {
                self.column = 0;
                emit(b'\r');
                emit(b'\n');
            }
            b'\r' if has(general::OCRNL) => self.send_newline(&mut emit),
            b'\r' if has(general::ONOCR) && self.column == 0 => {}
            b'\t' => {
                let width = TAB - self.column % TAB;
                self.column += width;
                if output & general::XTABS == general::XTABS {
                    (0..width).for_each(|_| emit(b' '));
                } else {
                    emit(byte);
                }
            }
            _ => {
                self.column = match byte {
                    b'\r' => 0,
                    b'\n' if has(general::ONLRET) => 0,
                    8 => self.column.saturating_sub(1),
                    0..b' ' | 0x80..0xc0 => self.column,
                    _ => self.column + 1,
                };
                emit(byte);
            }
        }
    }

    fn send_newline(&mut self, emit: &mut impl FnMut(u8)) {
        if self.termios.output & general::ONLRET != 0 {
            self.column = 0;
        }
        emit(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Terminal {
        discipline: Discipline,
        screen: Vec<u8>,
    }

    impl Terminal {
        fn new() -> Terminal {
            Terminal { discipline: Discipline::new(), screen: Vec::new() }
        }

        fn kind(&mut self, text: &[u8]) -> Vec<Typed> {
            let mut signals = Vec::new();
            for &byte in text {
                let mut echo = Echo::default();
                signals.extend(self.discipline.receive(byte, &mut echo));
                self.screen.extend_from_slice(echo.as_bytes());
            }
            signals
        }

        fn read(&mut self, len: usize) -> Vec<u8> {
            let mut buffer = vec![0; len];
            let count = self.discipline.read(&mut buffer);
            buffer.truncate(count);
            buffer
        }

        fn change(&mut self, change: impl FnOnce(&mut Termios)) {
            let mut termios = *self.discipline.termios();
            change(&mut termios);
            self.discipline.set_termios(termios);
        }
    }

    #[test]
    fn lines_are_edited_before_they_are_read() {
        let mut tty = Terminal::new();
        tty.kind(b"helo\x7fxo");
        assert!(!tty.discipline.has_input(1));
        tty.kind(b"\r");
        assert_eq!(tty.read(100), b"helxo\n");
        assert_eq!(tty.screen, b"helo\x08 \x08xo\r\n");
        tty.kind(b"one two\x17three\n");
        assert_eq!(tty.read(4), b"one ");
        assert_eq!(tty.read(100), b"three\n");
        tty.kind(b"gone\x15kept\n");
        assert_eq!(tty.read(100), b"kept\n");
    }

    #[test]
    fn an_end_of_file_ends_a_line_or_the_input() {
        let mut tty = Terminal::new();
        tty.kind(b"abc\x04\x04");
        assert_eq!((tty.read(10), tty.discipline.has_input(1)), (b"abc".to_vec(), true));
        assert_eq!((tty.read(10), tty.discipline.has_input(1)), (vec![], false));
    }

    #[test]
    fn signals_flush_what_was_typed() {
        let mut tty = Terminal::new();
        assert_eq!(tty.kind(b"abc\x03"), [Typed::Interrupt]);
        assert_eq!(tty.screen, b"abc^C");
        assert_eq!(tty.kind(b"\x1c\x1a"), [Typed::Quit, Typed::Suspend]);
        tty.kind(b"d\n");
        assert_eq!(tty.read(10), b"d\n");
        tty.change(|termios| termios.local &= !general::ISIG);
        assert_eq!(tty.kind(b"\x03\n"), []);
        assert_eq!(tty.read(10), b"\x03\n");
    }

    #[test]
    fn raw_mode_hands_out_every_byte() {
        let mut tty = Terminal::new();
        tty.kind(b"half");
        tty.change(|termios| {
            termios.local = 0;
            termios.input = 0;
        });
        tty.kind(b"\r\x03\x7f");
        assert!(tty.discipline.has_input(7) && !tty.discipline.has_input(8));
        assert_eq!(tty.read(3), b"hal");
        assert_eq!(tty.read(100), b"f\r\x03\x7f");
        assert_eq!(tty.screen, b"half");
    }

    #[test]
    fn literal_and_control_characters_are_shown() {
        let mut tty = Terminal::new();
        tty.kind(b"\x16\x03\x01\n");
        assert_eq!(tty.read(10), b"\x03\x01\n");
        assert_eq!(tty.screen, b"^\x08^C^A\r\n");
    }

    #[test]
    fn output_is_processed() {
        let mut discipline = Discipline::new();
        let mut out = Vec::new();
        for &byte in b"a\tb\n" {
            discipline.send(byte, |byte| out.push(byte));
        }
        assert_eq!(out, b"a\tb\r\n");
        let mut termios = *discipline.termios();
        termios.output |= general::XTABS;
        discipline.set_termios(termios);
        out.clear();
        for &byte in b"a\tb" {
            discipline.send(byte, |byte| out.push(byte));
        }
        assert_eq!(out, b"a       b");
    }

    #[test]
    fn too_much_input_is_dropped() {
        let mut tty = Terminal::new();
        tty.kind(&[b'x'; 10_000]);
        tty.kind(b"\n");
        assert_eq!(tty.read(10_000).len(), CAPACITY);
    }

    #[test]
    fn output_stops_and_goes_on() {
        let mut tty = Terminal::new();
        tty.kind(b"\x13");
        assert!(tty.discipline.is_stopped());
        tty.kind(b"\x11");
        assert!(!tty.discipline.is_stopped());
    }
}
