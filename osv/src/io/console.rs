//! The console: what the program reads from and writes to unless it is told otherwise.

use embedded_io::{ErrorType, Read, ReadReady, Write, WriteReady};

use super::{Error, is_ready, read_from, write_to};

const POLLIN: u16 = 1;
const POLLOUT: u16 = 4;

/// Standard input and standard output, unbuffered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Console;

/// Standard error, unbuffered.
#[derive(Clone, Copy, Debug, Default)]
pub struct ErrorConsole;

impl ErrorType for Console {
    type Error = Error;
}

impl ErrorType for ErrorConsole {
    type Error = Error;
}

impl Read for Console {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        read_from(0, buffer)
    }
}

impl ReadReady for Console {
    fn read_ready(&mut self) -> Result<bool, Error> {
        is_ready(0, POLLIN)
    }
}

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        write_to(1, bytes)
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

impl WriteReady for Console {
    fn write_ready(&mut self) -> Result<bool, Error> {
        is_ready(1, POLLOUT)
    }
}

impl Write for ErrorConsole {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        write_to(2, bytes)
    }

    fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// A line or a piece of one, collected so that it is written at once.
struct Line {
    bytes: [u8; 256],
    len: usize,
    descriptor: usize,
}

impl Line {
    fn flush(&mut self) {
        let mut rest = self.bytes.get(..self.len).unwrap_or_default();
        // As with `print!` of other systems, nobody is told if nobody listens.
        while let Ok(count @ 1..) = write_to(self.descriptor, rest) {
            rest = rest.get(count..).unwrap_or_default();
        }
        self.len = 0;
    }
}

impl core::fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for &byte in text.as_bytes() {
            if self.len == self.bytes.len() {
                self.flush();
            }
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = byte;
                self.len += 1;
            }
        }
        Ok(())
    }
}

/// What the printing macros expand to.
#[doc(hidden)]
pub fn print(is_error: bool, text: core::fmt::Arguments<'_>) {
    let mut line = Line { bytes: [0; 256], len: 0, descriptor: if is_error { 2 } else { 1 } };
    let _ = core::fmt::Write::write_fmt(&mut line, text);
    line.flush();
}
