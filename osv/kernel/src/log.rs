//! The kernel's log: lines with a level, to the serial port.
//!
//! `kprint!` and `kprintln!` print as they are; `error!`, `warn!`, `info!` and `debug!` print a line if the
//! [`Level`] that is set lets them, and compute nothing otherwise. `warn_once!` is for what a program does again
//! and again, such as a call that is not there: each place in the source speaks once. Lines with a level are also kept, the
//! last [`CAPACITY`] bytes of them, for `dmesg`.

mod record;

use crate::drivers::serial;
use core::{
    fmt,
    sync::atomic::{AtomicU8, Ordering::Relaxed},
};

pub use record::{CAPACITY, clear, last, take_unread, unread};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something failed that should not.
    Error,
    /// Something is not as it should be, and was handled.
    Warn,
    /// What the kernel does, in few lines.
    Info,
    /// What the kernel does, in many.
    Debug,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Info as u8);

/// Lets lines up to `level` through.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Relaxed);
}

/// Whether lines of `level` are let through.
#[inline]
pub fn enabled(level: Level) -> bool {
    level as u8 <= LEVEL.load(Relaxed)
}

/// Prints to the log whatever the level.
pub fn print(text: fmt::Arguments) {
    serial::print(text);
}

/// Prints a line of `level` to the log, and keeps it.
pub fn line(level: Level, text: fmt::Arguments) {
    print(format_args!("osv: {text}\n"));
    record::keep(level, text);
}

/// Prints text to the log as it is.
#[macro_export]
macro_rules! kprint {
    ($($arg:tt)*) => { $crate::log::print(format_args!($($arg)*)) };
}

/// Prints a line to the log as it is.
#[macro_export]
macro_rules! kprintln {
    () => { $crate::log::print(format_args!("\n")) };
    ($($arg:tt)*) => { $crate::log::print(format_args!("{}\n", format_args!($($arg)*))) };
}

/// Prints a line if its level is enabled.
#[macro_export]
macro_rules! log_at {
    ($level:ident, $($arg:tt)*) => {
        if $crate::log::enabled($crate::log::Level::$level) {
            $crate::log::line($crate::log::Level::$level, format_args!($($arg)*));
        }
    };
}

/// A line about something that failed.
#[macro_export]
macro_rules! error {
    ($($arg:tt)*) => { $crate::log_at!(Error, $($arg)*) };
}

/// A line about something that is not as it should be.
#[macro_export]
macro_rules! warn {
    ($($arg:tt)*) => { $crate::log_at!(Warn, $($arg)*) };
}

/// A line about what the kernel does.
#[macro_export]
macro_rules! info {
    ($($arg:tt)*) => { $crate::log_at!(Info, $($arg)*) };
}

/// A line for whoever looks for a fault.
#[macro_export]
macro_rules! debug {
    ($($arg:tt)*) => { $crate::log_at!(Debug, $($arg)*) };
}

/// A warning that this place gives once, however often it is reached.
#[macro_export]
macro_rules! warn_once {
    ($($arg:tt)*) => {{
        static SAID: core::sync::atomic::AtomicBool = core::sync::atomic::AtomicBool::new(false);
        if !SAID.swap(true, core::sync::atomic::Ordering::Relaxed) {
            $crate::warn!($($arg)*);
        }
    }};
}

pub use crate::{debug, error, info, warn, warn_once};
