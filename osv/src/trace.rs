//! Lines in the kernel's log, which the runner shows on standard error apart from the program's output.
//!
//! ```
//! # fn main() -> Result<(), osv::io::Error> {
//! osv::trace::line("the table is loaded")?;
//! let span = osv::trace::span("sorting");
//! let mut numbers = vec![3, 1, 2];
//! numbers.sort();
//! drop(span); // logs how long it took
//! # Ok(())
//! # }
//! ```
//!
//! On Linux there is no such log: [`line()`] returns [`Error::UNSUPPORTED`], and a span says nothing.

use alloc::format;
use core::time::Duration;

use crate::io::traits::Write as _;
use crate::io::{Error, File};
use crate::machine;

/// Puts a line into the kernel's log.
///
/// # Errors
/// [`Error::UNSUPPORTED`] on Linux.
pub fn line(text: &str) -> Result<(), Error> {
    if !machine::is_osv() {
        return Err(Error::UNSUPPORTED);
    }
    // One write is one line.
    File::append("/dev/kmsg")?.write(text.as_bytes()).map(drop)
}

/// A piece of work whose duration is logged at its end.
#[derive(Debug)]
#[must_use = "its end is logged when it is dropped"]
pub struct Span<'a> {
    name: &'a str,
    start_ns: u64,
}

/// Begins a piece of work.
pub fn span(name: &str) -> Span<'_> {
    Span { name, start_ns: machine::monotonic_ns() }
}

impl Span<'_> {
    /// How long it has taken until now.
    pub fn elapsed(&self) -> Duration {
        Duration::from_nanos(machine::monotonic_ns().saturating_sub(self.start_ns))
    }
}

impl Drop for Span<'_> {
    fn drop(&mut self) {
        // On Linux nobody wants to hear it.
        let _ = line(&format!("{}: {:?}", self.name, self.elapsed()));
    }
}
