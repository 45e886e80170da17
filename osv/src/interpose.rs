//! libc's hot functions, made calls of the kernel: `read`, `write`, `recv`, `send`, `epoll_wait`, `getpid`, and `syscall`,
//! through which std waits for futexes.
//!
//! These definitions stand before libc's in the link, so std and every crate get them; libc itself keeps its own
//! (`__read`). They are weak, so that a libc that is in the link for another reason wins instead of clashing. What they do is
//! what libc's do: the same arguments, results, `errno` and interruption.
//!
//! All but `getpid` and `syscall` are points where a thread can be cancelled. Hardly any program cancels threads; in those
//! that do, waiting is bracketed by asynchronous cancellation, as in libc. The linker tells: `pthread_cancel` is defined here
//! in a section of its own, which is dropped where nobody calls it, and the linker script puts its size into `osv_cancels`.
//! `clock_gettime` is not here: libc has it from the vDSO, which needs no system call at all.

use core::ffi::c_int;

use crate::call::raw;
use crate::gate::GATE;

unsafe extern "C" {
    safe fn __errno_location() -> *mut c_int;
    safe fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_ASYNCHRONOUS: c_int = 1;

/// Gives the error to C.
extern "C" fn fail(errno: c_int) -> isize {
    // SAFETY: libc says where the thread's `errno` is.
    unsafe { __errno_location().write(errno) };
    -1
}

/// Makes a call during which the thread may be cancelled.
fn cancelable(number: usize, arguments: [usize; 6]) -> isize {
    let mut old = 0;
    pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &raw mut old);
    // SAFETY: C's caller vouches for the arguments.
    let result = unsafe { raw(number, arguments) };
    pthread_setcanceltype(old, core::ptr::null_mut());
    if (-4095..0).contains(&result) { fail(-result as c_int) } else { result }
}

/// A function whose arguments are the call's: its name, the assembly that brings them from C's registers to the kernel's, and
/// what does the same where threads can be cancelled.
macro_rules! functions {
    ($($name:literal, $($line:literal,)* number $number:literal $(, cancel $cancel:ident)?;)*) => {$(
        core::arch::global_asm!(
            concat!(".pushsection .text.osv_", $name, ", \"ax\", @progbits"),
            concat!(".weak ", $name),
            concat!(".type ", $name, ", @function"),
            concat!($name, ":"),
            ".cfi_startproc",
            $(
                concat!("cmp qword ptr [rip + osv_cancels], 0\njne {cancel} # ", stringify!($cancel)),
            )?
            $($line,)*
            $number,
            "call qword ptr [rip + {gate}]",
            "cmp rax, -4095",
            "jae 2f",
            "ret",
            "2:",
            "neg eax",
            "mov edi, eax",
            "jmp {fail}",
            ".cfi_endproc",
            concat!(".size ", $name, ", . - ", $name),
            ".popsection",
            $(cancel = sym $cancel,)?
            gate = sym GATE,
            fail = sym fail,
        );
    )*};
}

core::arch::global_asm!(
    ".pushsection .osv.cancel, \"ax\", @progbits",
    ".globl pthread_cancel",
    ".type pthread_cancel, @function",
    "pthread_cancel:",
    "jmp __pthread_cancel",
    ".size pthread_cancel, . - pthread_cancel",
    ".popsection",
    ".hidden osv_cancels",
);

functions! {
    "read", number "xor eax, eax", cancel cancelable_read;
    "write", number "mov eax, 1", cancel cancelable_write;
    "recv", "mov r10, rcx", "xor r8d, r8d", "xor r9d, r9d", number "mov eax, 45", cancel cancelable_recv;
    "send", "mov r10, rcx", "xor r8d, r8d", "xor r9d, r9d", number "mov eax, 44", cancel cancelable_send;
    "epoll_wait", "mov r10, rcx", number "mov eax, 232", cancel cancelable_epoll_wait;
    "getpid", number "mov eax, 39";
    "syscall", "mov rax, rdi", "mov rdi, rsi", "mov rsi, rdx", "mov rdx, rcx", "mov r10, r8", "mov r8, r9",
        number "mov r9, [rsp + 8]";
}

extern "C" fn cancelable_read(fd: usize, buffer: usize, len: usize) -> isize {
    cancelable(0, [fd, buffer, len, 0, 0, 0])
}

extern "C" fn cancelable_write(fd: usize, data: usize, len: usize) -> isize {
    cancelable(1, [fd, data, len, 0, 0, 0])
}

extern "C" fn cancelable_recv(fd: usize, buffer: usize, len: usize, flags: usize) -> isize {
    cancelable(45, [fd, buffer, len, flags, 0, 0])
}

extern "C" fn cancelable_send(fd: usize, data: usize, len: usize, flags: usize) -> isize {
    cancelable(44, [fd, data, len, flags, 0, 0])
}

extern "C" fn cancelable_epoll_wait(epoll: usize, events: usize, max: usize, timeout: usize) -> isize {
    cancelable(232, [epoll, events, max, timeout, 0, 0])
}
