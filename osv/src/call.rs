//! System calls by number, without a C library: what the native interface is made of in programs with std and without.

use core::arch::asm;

use crate::gate::GATE;
use crate::io::Error;

/// Numbers of the system calls that are used here.
pub mod number {
    pub const READ: usize = 0;
    pub const WRITE: usize = 1;
    pub const OPEN: usize = 2;
    pub const CLOSE: usize = 3;
    pub const FSTAT: usize = 5;
    pub const POLL: usize = 7;
    pub const LSEEK: usize = 8;
    pub const UNAME: usize = 63;
    pub const FSYNC: usize = 74;
    pub const FTRUNCATE: usize = 77;
    pub const UNLINK: usize = 87;
    pub const SYSINFO: usize = 99;
    pub const GETPID: usize = 39;
    pub const REBOOT: usize = 169;
    pub const SCHED_GETAFFINITY: usize = 204;
    pub const CLOCK_GETTIME: usize = 228;
    pub const EXIT_GROUP: usize = 231;
    #[cfg(not(feature = "std"))]
    pub use no_std::*;

    #[cfg(not(feature = "std"))]
    mod no_std {
        pub const MMAP: usize = 9;
        pub const MUNMAP: usize = 11;
        pub const MREMAP: usize = 25;
        pub const EXECVE: usize = 59;
        pub const KILL: usize = 62;
        pub const READLINK: usize = 89;
    }
}

/// Makes a system call.
///
/// # Errors
/// What the kernel says.
///
/// # Safety
/// The arguments must be what the call with this number takes, with pointers to memory that it may use as it does.
pub unsafe fn call(number: usize, arguments: [usize; 6]) -> Result<usize, Error> {
    // SAFETY: the caller vouches for it.
    let result = unsafe { raw(number, arguments) };
    usize::try_from(result).map_err(|_| Error::from_errno(-result as i32))
}

/// Makes a system call; the result is the kernel's, an error its negated number.
///
/// # Safety
/// As for [`call`].
#[inline]
pub unsafe fn raw(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    let result;
    // SAFETY:
    // - what is called changes what functions may change, and uses no stack of the program's but for the way back;
    // - what the call does to memory is the caller's promise.
    unsafe {
        asm!(
            "call qword ptr [rip + {gate}]",
            gate = sym GATE,
            inlateout("rax") number => result,
            inlateout("rdi") a => _, inlateout("rsi") b => _, inlateout("rdx") c => _,
            inlateout("r10") d => _, inlateout("r8") e => _, inlateout("r9") f => _,
            clobber_abi("sysv64"),
        );
    }
    result
}
