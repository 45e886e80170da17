//! Last words: what the kernel says when it cannot go on, and how it ends.
//!
//! A panic or a fault inside the kernel prints what happened, the CPU, the thread and program that the upper
//! floors name through [`set_describe`], and the return addresses along the frame pointers in lines like `  #3
//! 0xffffffff80123456`, which the runner turns into names. Then the VM ends through the debug-exit device with
//! [`power::CRASH`], or where there is none by a reset; or by switching the machine off if the command line asks for
//! that. A panic during a panic ends it at once.

use crate::{
    arch::{self, TrapFrame, layout, power},
    drivers::{self, serial},
    kprintln,
};
use core::{
    fmt,
    sync::atomic::{
        AtomicBool, AtomicPtr, AtomicU32,
        Ordering::{Acquire, Relaxed, Release},
    },
};

/// Frames that a backtrace shows.
const MAX_FRAMES: usize = 48;

/// Prints who was running: thread and program.
pub type Describe = fn(&mut dyn FnMut(fmt::Arguments));

static DESCRIBE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static DEPTH: AtomicU32 = AtomicU32::new(0);
static POWERS_OFF: AtomicBool = AtomicBool::new(false);

/// Names the function that tells thread and program. It is called in the worst of situations: it must take no lock.
pub fn set_describe(describe: Describe) {
    DESCRIBE.store(describe as *mut (), Release);
}

/// Has the machine switched off after the last words, instead of reset. Needs the platform.
pub fn power_off_on_abort() {
    POWERS_OFF.store(true, Relaxed);
}

/// Prints last words and ends the VM. `frame_pointer` is where the backtrace starts, `rip` its first line.
pub fn die(what: fmt::Arguments, rip: Option<u64>, frame_pointer: u64) -> ! {
    arch::disable_interrupts();
    match DEPTH.fetch_add(1, Relaxed) {
        0 => {
            serial::start_last_words();
            kprintln!("\nosv: kernel crash: {what}");
            describe();
            backtrace(rip, frame_pointer);
            drivers::pvpanic::report();
            if POWERS_OFF.load(Relaxed) {
                drivers::power::power_off(power::CRASH);
            }
        }
        1 => kprintln!("osv: another crash while reporting the first: {what}"),
        _ => {}
    }
    power::debug_exit(power::CRASH);
    power::reset()
}

/// Prints last words about code that an exception hit, with its registers, and ends the VM.
pub fn crash(frame: &TrapFrame, what: fmt::Arguments) -> ! {
    die(format_args!("{what}\n{}", Registers(frame)), Some(frame.rip), frame.rbp)
}

/// Shows a frame's general registers.
struct Registers<'a>(&'a TrapFrame);

impl fmt::Display for Registers<'_> {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let f = self.0;
        writeln!(
            out,
            "  rip {:016x}  rsp {:016x}  rflags {:08x}  cs {:x}  ss {:x}",
            f.rip, f.rsp, f.rflags, f.cs, f.ss
        )?;
        writeln!(out, "  rax {:016x}  rbx {:016x}  rcx {:016x}  rdx {:016x}", f.rax, f.rbx, f.rcx, f.rdx)?;
        writeln!(out, "  rsi {:016x}  rdi {:016x}  rbp {:016x}  r8  {:016x}", f.rsi, f.rdi, f.rbp, f.r8)?;
        writeln!(out, "  r9  {:016x}  r10 {:016x}  r11 {:016x}  r12 {:016x}", f.r9, f.r10, f.r11, f.r12)?;
        write!(out, "  r13 {:016x}  r14 {:016x}  r15 {:016x}", f.r13, f.r14, f.r15)
    }
}

fn describe() {
    kprintln!("osv: on CPU {}", arch::cpu_id());
    let describe = DESCRIBE.load(Acquire);
    if describe.is_null() {
        return;
    }
    // SAFETY: only `set_describe` stores here, and it stores a `Describe`.
    let describe = unsafe { core::mem::transmute::<*mut (), Describe>(describe) };
    describe(&mut |line| kprintln!("osv: {line}"));
}

/// Prints the return addresses along the frame pointers, `rip` first, as long as these stay in the kernel's half and go upwards.
pub fn backtrace(rip: Option<u64>, mut frame_pointer: u64) {
    let mut number = 0;
    let mut line = |address: u64| {
        kprintln!("  #{number} {address:#018x}");
        number += 1;
    };
    if let Some(rip) = rip {
        line(rip);
    }
    for _ in 0..MAX_FRAMES {
        if frame_pointer < layout::DIRECT_MAP || !frame_pointer.is_multiple_of(8) || frame_pointer > u64::MAX - 16 {
            return;
        }
        // SAFETY: a frame pointer of the kernel's points into a mapped stack; should it not, the fault that
        // follows is reported as the second crash and ends the VM.
        let [next, address] = unsafe { (frame_pointer as *const [u64; 2]).read_volatile() };
        if address < layout::KERNEL_BASE {
            return;
        }
        line(address);
        if next <= frame_pointer {
            return;
        }
        frame_pointer = next;
    }
}

#[cfg(all(feature = "image", not(test)))]
#[panic_handler]
fn panic(info: &core::panic::PanicInfo) -> ! {
    die(format_args!("{info}"), None, arch::frame_pointer())
}
