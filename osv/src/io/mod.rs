//! Input and output by system calls alone: the console, files, and the errors of both.
//!
//! The types implement the traits of [`embedded_io`] (re-exported as [`traits`]), so that crates written for small
//! systems work on them, in programs with std and without. On Linux (`OSV_NATIVE=1`) all of it works the same: the
//! console is the process' standard streams, files are Linux' files.
//!
//! ```
//! use osv::io::traits::{Read, Seek, SeekFrom, Write};
//! use osv::io::{Console, File};
//!
//! # fn main() -> Result<(), osv::io::Error> {
//! let mut file = File::create("/tmp/greeting")?;
//! file.write_all(b"hello")?;
//! file.seek(SeekFrom::Start(1))?;
//! let mut rest = [0; 4];
//! assert_eq!(file.read(&mut rest)?, 4);
//! assert_eq!(&rest, b"ello");
//! Console.write_all(b"written\n")?;
//! assert_eq!(osv::io::read("/nowhere").unwrap_err().errno(), 2);
//! # Ok(())
//! # }
//! ```

mod console;
mod error;
mod file;

#[doc(hidden)]
pub use console::print;
pub use console::{Console, ErrorConsole};
pub use embedded_io as traits;
pub use error::Error;
pub use file::{File, read, remove, write};

use crate::call::{call, number};

/// Reads from a descriptor.
fn read_from(descriptor: usize, buffer: &mut [u8]) -> Result<usize, Error> {
    // SAFETY: the kernel writes no more than `buffer` holds.
    unsafe { call(number::READ, [descriptor, buffer.as_mut_ptr().addr(), buffer.len(), 0, 0, 0]) }
}

/// Writes to a descriptor.
fn write_to(descriptor: usize, bytes: &[u8]) -> Result<usize, Error> {
    // SAFETY: the kernel reads no more than `bytes` holds.
    unsafe { call(number::WRITE, [descriptor, bytes.as_ptr().addr(), bytes.len(), 0, 0, 0]) }
}

/// Whether a descriptor is ready for `event` (of `poll`) at once.
fn is_ready(descriptor: usize, event: u16) -> Result<bool, Error> {
    let mut entry = [descriptor as u32, u32::from(event)];
    // SAFETY: `entry` is laid out as one `struct pollfd`; no time is waited.
    let count = unsafe { call(number::POLL, [entry.as_mut_ptr().addr(), 1, 0, 0, 0, 0])? };
    Ok(count != 0)
}
