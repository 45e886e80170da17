//! Error numbers of Linux, the one error type below `syscall/`.
//!
//! An [`Errno`] is what a failing system call returns, negated, in `rax`. Every fallible function of the
//! kernel that a program can cause to fail returns `Result<T, Errno>`, so that the value travels unchanged
//! from where it is known to where the program reads it. Source: errno(3) and Linux' `asm-generic/errno.h`.

use core::fmt;

/// An error number of Linux (1 to 4095).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Errno(u16);

/// Result of anything that a program can cause to fail.
pub type Result<T, E = Errno> = core::result::Result<T, E>;

macro_rules! errnos {
    ($($name:ident)*) => {
        #[allow(missing_docs)]
        impl Errno {
            $(pub const $name: Errno = Errno(linux_raw_sys::errno::$name as u16);)*
        }

        impl Errno {
            /// The symbolic name, as strace prints it; `"E?"` for a number that Linux does not name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Errno::$name => stringify!($name),)*
                    _ => "E?",
                }
            }
        }
    };
}

errnos! {
    EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK EBUSY
    EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS EMLINK
    EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP ENOMSG EIDRM ENOSTR ENODATA ETIME
    ENONET EREMOTE ENOLINK ECOMM EPROTO EMULTIHOP EBADMSG EOVERFLOW EILSEQ EUSERS ENOTSOCK EDESTADDRREQ
    EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT
    EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN
    ESHUTDOWN ETOOMANYREFS ETIMEDOUT ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN
    EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED EOWNERDEAD
    ENOTRECOVERABLE ERFKILL EHWPOISON ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EBADFD ESTRPIPE
}

impl Errno {
    /// Restart the call after the signal handler if it was installed with SA_RESTART, else EINTR.
    /// Never reaches a program: the signal code turns it into EINTR or a restart.
    pub const ERESTARTSYS: Errno = Errno(512);
    /// Restart always, unless a handler runs (then EINTR if it has no SA_RESTART). Kernel-internal.
    pub const ERESTARTNOINTR: Errno = Errno(513);
    /// Restart only if no handler runs, else EINTR. Kernel-internal.
    pub const ERESTARTNOHAND: Errno = Errno(514);
    /// Restart through `restart_syscall` (relative time-outs), EINTR if a handler runs. Kernel-internal.
    pub const ERESTART_RESTARTBLOCK: Errno = Errno(516);

    /// The error with number `number`, for replies of devices and servers; EIO if it is none.
    pub fn from_raw(number: u32) -> Errno {
        match u16::try_from(number) {
            Ok(number @ 1..=133) => Errno(number),
            _ => Errno::EIO,
        }
    }

    /// The number.
    pub const fn raw(self) -> u16 {
        self.0
    }

    /// The value of `rax` that tells a program of this error.
    pub const fn to_rax(self) -> u64 {
        (-(self.0 as i64)) as u64
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.name(), self.0)
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl core::error::Error for Errno {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rax_is_the_negated_number() {
        assert_eq!(Errno::ENOENT.to_rax(), (-2i64) as u64);
        assert_eq!(Errno::ENOENT.name(), "ENOENT");
    }

    #[test]
    fn strange_numbers_become_eio() {
        assert_eq!(Errno::from_raw(0), Errno::EIO);
        assert_eq!(Errno::from_raw(70_000), Errno::EIO);
        assert_eq!(Errno::from_raw(2), Errno::ENOENT);
    }
}
