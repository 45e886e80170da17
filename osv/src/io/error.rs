//! What can go wrong, by the kernel's number.

use core::fmt;

use embedded_io::ErrorKind;

/// An error of the kernel's, with its number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Error(i32);

impl Error {
    /// There is no such thing on this system: the program runs on Linux.
    pub const UNSUPPORTED: Error = Error(95);

    /// The error with this number.
    pub const fn from_errno(errno: i32) -> Error {
        Error(errno)
    }

    /// Its number, as in `errno.h`.
    pub const fn errno(self) -> i32 {
        self.0
    }

    fn text(self) -> &'static str {
        match self.0 {
            1 => "operation not permitted",
            2 => "no such file or directory",
            4 => "interrupted",
            5 => "input or output failed",
            9 => "bad descriptor",
            11 => "try again",
            12 => "out of memory",
            13 => "permission denied",
            14 => "bad address",
            17 => "file exists",
            20 => "not a directory",
            21 => "is a directory",
            22 => "invalid argument",
            28 => "no space left",
            30 => "read-only file system",
            32 => "broken pipe",
            38 => "no such system call",
            95 => "not supported",
            _ => "error",
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (errno {})", self.text(), self.0)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl core::error::Error for Error {}

impl embedded_io::Error for Error {
    fn kind(&self) -> ErrorKind {
        match self.0 {
            2 => ErrorKind::NotFound,
            1 | 13 => ErrorKind::PermissionDenied,
            4 => ErrorKind::Interrupted,
            12 => ErrorKind::OutOfMemory,
            17 => ErrorKind::AlreadyExists,
            22 => ErrorKind::InvalidInput,
            32 => ErrorKind::BrokenPipe,
            38 | 95 => ErrorKind::Unsupported,
            110 => ErrorKind::TimedOut,
            _ => ErrorKind::Other,
        }
    }
}

#[cfg(feature = "std")]
impl From<Error> for std::io::Error {
    fn from(error: Error) -> Self {
        std::io::Error::from_raw_os_error(error.0)
    }
}
