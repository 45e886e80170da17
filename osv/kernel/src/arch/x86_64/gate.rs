//! The call gate: a system call made by a call.
//!
//! The vDSO's `__vdso_osv_call` takes number and arguments where the `syscall` instruction takes them, and jumps here
//! with RCX = the address just behind a `syscall` instruction of its own. Since the program *calls*, the registers that
//! a function may clobber need not come back: no vector register is saved, and nothing is loaded but RSP.
//!
//! The gate is a short cut and nothing else. To everybody the call was made by that instruction: signals find RIP
//! behind it, a restart runs it again. And whatever is out of the ordinary *is* made by it, because
//! the gate sends the program back to it with its registers as they were: threads with a table of their own (seccomp,
//! tracing), handlers that copy the whole frame (fork, execve), numbers outside of the table, programs that
//! single-step themselves or set odd flags.
//!
//! An interrupt or a step may arrive before the first instruction, which runs in the program's state but at an
//! address of the kernel's. The code therefore lies outside of what `trap` takes for the kernel's text, so that GS
//! decides there whom an interrupt has hit; one at the first instruction is moved to the vDSO's `syscall`.
//! RCX is whatever the program likes. The jump to it is the last instruction, when GS is the program's again, so that
//! a wild one is the program's fault.

use core::arch::naked_asm;
use core::mem::offset_of;

use super::context::{GATE_LIMIT, WORK};
use super::frame::*;
use super::syscall::return_with_work;
use super::upcalls::{UPCALLS, Upcalls};
use super::{cpu, percpu};

/// Flags with which a call goes by way of the instruction, which clears them for the kernel: DF, NT.
const ODD_FLAGS: u64 = 1 << 10 | 1 << 14;

/// Length of the `syscall` instruction.
pub(super) const SYSCALL_LENGTH: u8 = 2;

/// Where the vDSO jumps to.
///
/// # Safety
/// - Not for the kernel: a program enters here, with a program's GS.
#[unsafe(naked)]
#[unsafe(link_section = ".gate")]
pub unsafe extern "C" fn gate_entry() {
    naked_asm!(
        "cli",
        "swapgs",
        "mov r11, rsp",
        "mov rsp, gs:[{entry_rsp}]",
        "mov [rsp + {s} + {rsp_}], r11",
        "pushfq",
        "pop [rsp + {s} + {rflags}]",
        "and qword ptr [rsp + {s} + {rflags}], {odd}", // leaves none: what tells this frame from the instruction's
        "jnz 2f",
        "mov [rsp + {s} + {rip}], rcx",
        "mov [rsp + {s} + {orig_rax}], rax",
        "mov [rsp + {s} + {rdi}], rdi",
        "mov [rsp + {s} + {rsi}], rsi",
        "mov [rsp + {s} + {rdx}], rdx",
        "mov [rsp + {s} + {r10}], r10",
        "mov [rsp + {s} + {r8}], r8",
        "mov [rsp + {s} + {r9}], r9",
        "mov r11, gs:[{current}]",
        "cmp rax, [r11 + {limit}]",
        "jae 2f",
        "sti",
        "mov r11, [rip + {upcalls} + {handlers}]",
        "lea rdi, [rsp + {s}]",
        "call [r11 + 8 * rax]",
        "cli",
        "mov rcx, gs:[{current}]",
        "cmp dword ptr [rcx + {work}], 0",
        "jne 3f",
        "mov rcx, [rsp + {s} + {rip}]",
        "mov rsp, [rsp + {s} + {rsp_}]",
        "swapgs",
        "sti",
        "jmp rcx",
        "2:", // by the instruction
        "mov rsp, [rsp + {s} + {rsp_}]",
        "sub rcx, {syscall_length}",
        "swapgs",
        "sti",
        "jmp rcx",
        "3:",
        "mov qword ptr [rsp + {s} + {rflags}], {flags}",
        "jmp {return_with_work}",
        return_with_work = sym return_with_work,
        upcalls = sym UPCALLS,
        handlers = const offset_of!(Upcalls, handlers),
        entry_rsp = const percpu::ENTRY_RSP,
        current = const percpu::CURRENT,
        limit = const GATE_LIMIT,
        work = const WORK,
        odd = const ODD_FLAGS,
        flags = const cpu::RFLAGS_IF | 2,
        syscall_length = const SYSCALL_LENGTH,
        s = const SHADOW,
        r10 = const R10, r9 = const R9, r8 = const R8, rdx = const RDX, rsi = const RSI, rdi = const RDI,
        orig_rax = const ORIG_RAX, rip = const RIP, rflags = const RFLAGS, rsp_ = const RSP,
    )
}
