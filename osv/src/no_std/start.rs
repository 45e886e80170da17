//! The first code of a program without std: relocates the program, finds its arguments, and calls `main`; on Linux it
//! starts the launcher instead, which boots the program's file in a VM.

use core::ffi::{CStr, c_char};
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use crate::call::{call, number};
use crate::{gate, machine};

/// A copy of the crate's build script, which is the launcher, too.
const LAUNCHER: &str = concat!(env!("OSV_LAUNCHER"), "\0");

/// Where the kernel says that its vDSO is.
const AT_SYSINFO_EHDR: usize = 33;

/// What a launcher that is not there means for the exit status, as for a shell.
const NOT_FOUND: u8 = 127;

static ARGUMENTS: AtomicPtr<*const c_char> = AtomicPtr::new(core::ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

// Brings the script that lays out the file into the link.
#[link(name = "osv_link", kind = "dylib")]
unsafe extern "C" {}

unsafe extern "Rust" {
    /// What `#[osv::main]` makes of the program's `main`.
    safe fn __osv_main() -> u8;
}

// The entry. The program is linked at 0 and lies elsewhere: its relocations, all of them R_X86_64_RELATIVE (8), are
// done before any compiled code runs. DT_RELA is 7, DT_RELASZ 8; an entry has place, kind and addend.
core::arch::global_asm!(
    ".pushsection .text.osv_start, \"ax\", @progbits",
    ".globl osv_start",
    ".type osv_start, @function",
    "osv_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    ".hidden _DYNAMIC",
    ".hidden __ehdr_start",
    "lea rsi, [rip + _DYNAMIC]",
    "lea rdx, [rip + __ehdr_start]",
    "xor r8d, r8d",
    "xor r9d, r9d",
    "2:",
    "mov rax, [rsi]",
    "test rax, rax",
    "jz 5f",
    "cmp rax, 7",
    "jne 3f",
    "mov r8, [rsi + 8]",
    "add r8, rdx",
    "3:",
    "cmp rax, 8",
    "jne 4f",
    "mov r9, [rsi + 8]",
    "4:",
    "add rsi, 16",
    "jmp 2b",
    "5:",
    "add r9, r8",
    "6:",
    "cmp r8, r9",
    "jae 8f",
    "cmp dword ptr [r8 + 8], 8",
    "jne 7f",
    "mov rax, [r8]",
    "mov rcx, [r8 + 16]",
    "add rcx, rdx",
    "mov [rdx + rax], rcx",
    "7:",
    "add r8, 24",
    "jmp 6b",
    "8:",
    "and rsp, -16",
    "call {begin}",
    "ud2",
    ".size osv_start, . - osv_start",
    ".popsection",
    begin = sym begin,
);

/// Begins with the stack as the kernel has laid it out: the number of arguments, their pointers, a null, the
/// environment's pointers.
extern "C" fn begin(stack: *const usize) -> ! {
    // SAFETY: the stack begins with the number of arguments and so many pointers, see above.
    let (count, arguments) = unsafe { (stack.read(), stack.add(1).cast::<*const c_char>()) };
    COUNT.store(count, Ordering::Relaxed);
    ARGUMENTS.store(arguments.cast_mut(), Ordering::Relaxed);
    // SAFETY: the environment follows the arguments and the null behind them.
    let environment = unsafe { arguments.add(count + 1) };
    // SAFETY: the auxiliary vector follows the environment, and says where the kernel's vDSO is, if it has one.
    unsafe { gate::open(auxiliary(environment, AT_SYSINFO_EHDR)) };
    machine::note_start();
    if !machine::is_osv() && !is_native(environment) {
        launch(arguments, count, environment);
    }
    machine::exit(__osv_main())
}

/// The address that the auxiliary vector has under this number, or null.
///
/// # Safety
/// `environment` is where the kernel has put it: pointers up to a null, and then the auxiliary vector, up to a number 0.
unsafe fn auxiliary(environment: *const *const c_char, wanted: usize) -> *const u8 {
    let mut place = environment;
    // SAFETY: both ends are reached and not passed.
    unsafe {
        while !place.read().is_null() {
            place = place.add(1);
        }
        let mut entry = place.add(1).cast::<[usize; 2]>();
        loop {
            match entry.read() {
                [0, _] => return core::ptr::null(),
                [number, address] if number == wanted => return core::ptr::with_exposed_provenance(address),
                _ => entry = entry.add(1),
            }
        }
    }
}

/// Whether the environment has `OSV_NATIVE`, and not empty or 0.
fn is_native(mut environment: *const *const c_char) -> bool {
    loop {
        // SAFETY: the environment ends with a null pointer, and this has not gone beyond it.
        let variable = unsafe { environment.read() };
        if variable.is_null() {
            return false;
        }
        // SAFETY: the kernel ends each string with a NUL.
        let text = unsafe { CStr::from_ptr(variable) }.to_bytes();
        if let Some(value) = text.strip_prefix(b"OSV_NATIVE=") {
            return !matches!(value, b"" | b"0");
        }
        // SAFETY: this was not the null at the end.
        environment = unsafe { environment.add(1) };
    }
}

/// Runs the launcher in place of this process: `launcher PROGRAM'S-FILE ARGUMENT…`.
fn launch(arguments: *const *const c_char, count: usize, environment: *const *const c_char) -> ! {
    let mut file = [0_u8; 4096];
    let link = c"/proc/self/exe";
    let room = file.len() - 1;
    // SAFETY: the kernel writes no more than `room` bytes, and leaves the last one a NUL.
    let read = unsafe { call(number::READLINK, [link.as_ptr().addr(), file.as_mut_ptr().addr(), room, 0, 0, 0]) };
    let mut words = alloc::vec::Vec::with_capacity(count + 3);
    words.push(LAUNCHER.as_ptr().cast::<c_char>());
    words.push(file.as_ptr().cast());
    for index in 0..count {
        // SAFETY: there are `count` arguments.
        words.push(unsafe { arguments.add(index).read() });
    }
    words.push(core::ptr::null());
    if read.is_ok() {
        let call_arguments = [words[0].addr(), words.as_ptr().addr(), environment.addr(), 0, 0, 0];
        // SAFETY: the strings end with NULs, both lists with null pointers.
        let _ = unsafe { call(number::EXECVE, call_arguments) };
    }
    crate::eprintln!(
        "osv: the launcher {} is not there: build the program again, or boot its file by a hypervisor",
        LAUNCHER.trim_end_matches('\0')
    );
    machine::exit(NOT_FOUND)
}

/// The program's arguments, its name first.
///
/// ```ignore
/// for argument in osv::args().skip(1) {
///     osv::println!("{}", argument.escape_ascii());
/// }
/// ```
pub fn args() -> Arguments {
    Arguments { next: 0 }
}

/// Iterates over the program's arguments.
#[derive(Clone, Debug)]
pub struct Arguments {
    next: usize,
}

impl Iterator for Arguments {
    type Item = &'static [u8];

    fn next(&mut self) -> Option<&'static [u8]> {
        if self.next >= COUNT.load(Ordering::Relaxed) {
            return None;
        }
        // SAFETY:
        // - `begin` has stored a list of `COUNT` pointers to strings that end with NULs;
        // - the kernel has put them at the stack's far end, where they stay.
        let text = unsafe { CStr::from_ptr(ARGUMENTS.load(Ordering::Relaxed).add(self.next).read()) };
        self.next += 1;
        Some(text.to_bytes())
    }
}

/// What `main` may return.
pub trait Termination {
    /// The exit status.
    fn report(self) -> u8;
}

impl Termination for () {
    fn report(self) -> u8 {
        0
    }
}

impl Termination for u8 {
    fn report(self) -> u8 {
        self
    }
}

impl<T: Termination, E: core::fmt::Debug> Termination for Result<T, E> {
    fn report(self) -> u8 {
        match self {
            Ok(value) => value.report(),
            Err(error) => {
                crate::eprintln!("Error: {error:?}");
                1
            }
        }
    }
}
