//! The `syscall` instruction, in ring 0.
//!
//! It leaves the program's stack and GS in place and keeps RIP in RCX and the flags in R11; the mask register has
//! turned interrupts off. The entry changes GS and the stack at once, because a program's stack may be as small
//! as it likes (Go), and writes the frame at the top of the thread's kernel stack.
//!
//! What makes it short: what the table leads to follows the Win64 convention, so RDI, RSI, RBX, RBP, R12–R15 and
//! xmm6–15 come back as they were, and the entry itself need only store and bring back six xmm and four general
//! registers. A handler that calls nothing, a *leaf*, stands in the table itself, and the compiler keeps what it
//! touches. All others are plain functions behind [`call_handler`], which completes the frame's registers before
//! and brings xmm6–15 back after: once here, not in each of them. A frame that somebody has changed is loaded as
//! a whole by [`trap_return`](super::trap::trap_return), and so is one with work to do before the program goes on.
//!
//! Back to the program goes a plain jump: `sysret` would lead to ring 3. The flags come back with interrupts off
//! still, and `sti` lets them in only after the jump.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::context::{Context, SYSCALLS, WORK, work};
use super::frame::*;
use super::trap::trap_return;
use super::upcalls::{SYSCALL_COUNT, UPCALLS, Upcalls};
use super::{cpu, msr, percpu};

/// Flags that a program's system call turns off for the kernel: TF, IF, DF, IOPL, NT, AC.
const CLEARED_FLAGS: u64 = 1 << 8 | 1 << 9 | 1 << 10 | 3 << 12 | 1 << 14 | 1 << 18;

/// Assembly: stores to the frame at a base what the entry leaves alone, because handlers keep it.
macro_rules! save_kept_registers {
    ($base:literal) => {
        concat!(
            "mov [",
            $base,
            " + {rbx}], rbx\n",
            "mov [",
            $base,
            " + {rbp}], rbp\n",
            "mov [",
            $base,
            " + {r12}], r12\n",
            "mov [",
            $base,
            " + {r13}], r13\n",
            "mov [",
            $base,
            " + {r14}], r14\n",
            "mov [",
            $base,
            " + {r15}], r15\n",
            save_xmm!($base, "6, 7, 8, 9, 10, 11, 12, 13, 14, 15"),
        )
    };
}

/// Makes the instruction lead to the entry, on this CPU.
pub(super) fn init() {
    // SAFETY:
    // - every 64-bit CPU has these, and EFER.SCE is set since boot;
    // - the segments are those of the GDT.
    unsafe {
        cpu::wrmsr(msr::STAR, CODE_SELECTOR << 32);
        cpu::wrmsr(msr::LSTAR, syscall_entry as *const () as u64);
        cpu::wrmsr(msr::SFMASK, CLEARED_FLAGS);
    }
}

/// Where `syscall` leads.
#[unsafe(naked)]
unsafe extern "C" fn syscall_entry() {
    naked_asm!(
        "swapgs",
        "mov gs:[{scratch}], rsp",
        "mov rsp, gs:[{entry_rsp}]",
        "mov [rsp + {s} + {rip}], rcx",
        "mov [rsp + {s} + {rflags}], r11",
        "mov [rsp + {s} + {orig_rax}], rax",
        "mov [rsp + {s} + {rdi}], rdi",
        "mov [rsp + {s} + {rsi}], rsi",
        "mov [rsp + {s} + {rdx}], rdx",
        "mov [rsp + {s} + {r10}], r10",
        "mov [rsp + {s} + {r8}], r8",
        "mov [rsp + {s} + {r9}], r9",
        "mov rcx, gs:[{scratch}]",
        "mov [rsp + {s} + {rsp_}], rcx",
        save_xmm!("rsp + {s}", "0, 1, 2, 3, 4, 5"),
        "sti",
        "mov eax, eax",
        "cmp eax, {last}",
        "ja 4f",
        "2:",
        "mov r11, gs:[{current}]",
        "mov r11, [r11 + {syscalls}]",
        "lea rcx, [rsp + {s}]",
        "call [r11 + 8 * rax]",
        "cli",
        "mov rcx, gs:[{current}]",
        "cmp dword ptr [rcx + {work}], 0",
        "jne {return_with_work}",
        load_xmm!("rsp + {s}", "0, 1, 2, 3, 4, 5"),
        "mov rdx, [rsp + {s} + {rdx}]",
        "mov r10, [rsp + {s} + {r10}]",
        "mov r8, [rsp + {s} + {r8}]",
        "mov r9, [rsp + {s} + {r9}]",
        "mov rcx, [rsp + {s} + {rip}]",
        "mov r11, [rsp + {s} + {rflags}]",
        "and byte ptr [rsp + {s} + {rflags} + 1], {not_if}",
        "add rsp, {s} + {rflags}",
        "popfq",
        "pop rsp",
        "swapgs",
        "sti",
        "jmp rcx",
        "4:",
        "mov eax, {last}",
        "jmp 2b",
        return_with_work = sym return_with_work,
        syscalls = const SYSCALLS,
        scratch = const percpu::SCRATCH,
        entry_rsp = const percpu::ENTRY_RSP,
        current = const percpu::CURRENT,
        work = const WORK,
        last = const SYSCALL_COUNT - 1,
        not_if = const !((cpu::RFLAGS_IF >> 8) as i8),
        s = const SHADOW,
        r10 = const R10, r9 = const R9, r8 = const R8, rdx = const RDX, rsi = const RSI, rdi = const RDI,
        orig_rax = const ORIG_RAX, rip = const RIP, rflags = const RFLAGS, rsp_ = const RSP,
    )
}

/// The way back with work to do: completes the frame. RAX is what the call returns, RCX the context; interrupts are off,
/// and what handlers keep is as the program had it.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn return_with_work() {
    naked_asm!(
        "mov [rsp + {s} + {rax_}], rax",
        "mov qword ptr [rsp + {s} + {cs}], {code}",
        "mov qword ptr [rsp + {s} + {ss}], {data}",
        "add rsp, {s}",
        "test dword ptr [rcx + {work}], {rewritten}",
        "jnz {trap_return}",
        "mov rcx, [rsp + {rip}]",
        "mov [rsp + {rcx}], rcx",
        "mov r11, [rsp + {rflags}]",
        "mov [rsp + {r11}], r11",
        save_kept_registers!("rsp"),
        "jmp {trap_return}",
        trap_return = sym trap_return,
        work = const WORK,
        rewritten = const work::FRAME_REWRITTEN,
        code = const CODE_SELECTOR,
        data = const DATA_SELECTOR,
        s = const SHADOW,
        r15 = const R15, r14 = const R14, r13 = const R13, r12 = const R12, rbp = const RBP, rbx = const RBX,
        r11 = const R11, rax_ = const RAX, rcx = const RCX, rip = const RIP, cs = const CS, rflags = const RFLAGS,
        ss = const SS,
    )
}

/// What the table has for every call whose handler is no leaf: calls the one that [`Upcalls::handlers`] has for the
/// number in the frame, which is one of the table's.
///
/// The handler sees all of the program's registers in the frame but RCX and R11, which a system call leaves to the
/// kernel.
#[unsafe(naked)]
pub extern "win64" fn call_handler(frame: &mut TrapFrame) -> u64 {
    naked_asm!(
        save_kept_registers!("rcx"),
        "push rcx",
        "mov eax, [rcx + {orig_rax}]",
        "mov rdx, [rip + {upcalls} + {handlers}]",
        "mov rdi, rcx",
        "call [rdx + 8 * rax]",
        "pop rcx",
        load_xmm!("rcx", "6, 7, 8, 9, 10, 11, 12, 13, 14, 15"),
        "mov rdi, [rcx + {rdi}]",
        "mov rsi, [rcx + {rsi}]",
        "ret",
        upcalls = sym UPCALLS,
        handlers = const offset_of!(Upcalls, handlers),
        orig_rax = const ORIG_RAX, rdi = const RDI, rsi = const RSI,
        rbx = const RBX, rbp = const RBP, r12 = const R12, r13 = const R13, r14 = const R14, r15 = const R15,
    )
}

/// The entry, for all numbers, of a program that somebody observes ([`Upcalls::observed`]): completes the frame before, and
/// all registers are loaded from it after.
#[unsafe(naked)]
pub extern "win64" fn call_observed(frame: &mut TrapFrame) -> u64 {
    naked_asm!(
        save_kept_registers!("rcx"),
        "mov rax, [rcx + {rip}]",
        "mov [rcx + {rcx_}], rax",
        "mov rax, [rcx + {rflags}]",
        "mov [rcx + {r11}], rax",
        "mov qword ptr [rcx + {rax_}], {no_such_call}",
        "mov qword ptr [rcx + {cs}], {code}",
        "mov qword ptr [rcx + {ss}], {data}",
        "push rcx",
        "mov rdi, rcx",
        "call [rip + {upcalls} + {observed}]",
        "pop rcx",
        "mov rdx, gs:[{current}]",
        "lock or dword ptr [rdx + {work}], {rewritten}",
        "ret",
        upcalls = sym UPCALLS,
        observed = const offset_of!(Upcalls, observed),
        current = const percpu::CURRENT,
        work = const WORK,
        rewritten = const work::FRAME_REWRITTEN,
        no_such_call = const -(linux_raw_sys::errno::ENOSYS as i32),
        code = const CODE_SELECTOR, data = const DATA_SELECTOR,
        rip = const RIP, rflags = const RFLAGS, rcx_ = const RCX, r11 = const R11, rax_ = const RAX, cs = const CS,
        ss = const SS,
        rbx = const RBX, rbp = const RBP, r12 = const R12, r13 = const R13, r14 = const R14, r15 = const R15,
    )
}

/// Makes an entry `$name` for a table of system calls that asks `$check` first: that returns the entry that is to go on,
/// with all the caller's registers where they were, or none, and then RAX in the frame is what the call returns.
#[macro_export]
macro_rules! checked_syscalls {
    ($(#[$attribute:meta])* $name:ident => $check:path) => {
        $(#[$attribute])*
        #[unsafe(naked)]
        extern "win64" fn $name(frame: &mut $crate::arch::TrapFrame) -> u64 {
            const _: extern "win64" fn(&mut $crate::arch::TrapFrame) -> Option<$crate::arch::SyscallEntry> = $check;
            core::arch::naked_asm!(
                "sub rsp, 40", // the callee's shadow space, and RCX
                "mov [rsp + 32], rcx",
                "call {check}",
                "mov rcx, [rsp + 32]",
                "add rsp, 40",
                "test rax, rax",
                "jz 2f",
                "jmp rax",
                "2:",
                "mov rax, [rcx + {rax}]",
                "ret",
                check = sym $check,
                rax = const core::mem::offset_of!($crate::arch::TrapFrame, rax),
            )
        }
    };
}

/// Starts, or goes on with, a program: loads all registers from `frame` and leaves the kernel stack for good. The
/// thread's pending work is done first.
///
/// To be called on the kernel stack of the current context, which is a program's.
pub fn enter_program(frame: &TrapFrame) -> ! {
    cpu::disable_interrupts();
    // SAFETY:
    // - in the kernel on a CPU that is up there is a current context.
    let context: &Context = unsafe { &*percpu::current() };
    let top = (context.entry_rsp() + SHADOW as u64) as *mut TrapFrame;
    let mut frame = frame.clone();
    frame.cs = CODE_SELECTOR;
    frame.ss = DATA_SELECTOR;
    frame.from_program = 1;
    // SAFETY:
    // - the top of a program's kernel stack is reserved for a frame, and this function's own stack lies below it;
    // - nothing that lies on the stack is needed any more: control never comes back.
    unsafe {
        top.write(frame);
        leave_with(top)
    }
}

/// Leaves the kernel by the frame at `frame`.
#[unsafe(naked)]
unsafe extern "C" fn leave_with(frame: *mut TrapFrame) -> ! {
    naked_asm!("mov rsp, rdi", "jmp {trap_return}", trap_return = sym trap_return)
}
