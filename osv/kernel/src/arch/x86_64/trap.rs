//! Interrupts and exceptions: from the vector to Rust and back.
//!
//! Every vector arrives on an interrupt stack with interrupts off. The stub moves the frame off it before
//! anything else can arrive: from a program to the top of the current thread's kernel stack, from the kernel to
//! below the interrupted RSP and its red zone. From then on it is like any function call: handlers may be
//! interrupted, fault, and, for exceptions of code that had interrupts on, sleep.
//!
//! Who was interrupted? By RIP: the upper half is the kernel, and GS is as the kernel needs it. A program that
//! jumps to a wild address in the upper half looks the same, so a RIP outside the kernel's text is decided by GS
//! itself, which in a program is not in the upper half. So is one in the [`gate`](super::gate), whose first instruction
//! runs in the program's state: what arrives there goes to the `syscall` instruction behind which the program put RCX. NMI, machine check and double fault can hit between any
//! two instructions of the entries, so they always ask GS, and stay on their stacks.
//!
//! A kernel stack that overflows shows as a fault of the stub's own stores; this ends in last words on the
//! interrupt stack.

use core::arch::{global_asm, naked_asm};
use core::mem::{offset_of, size_of};

use super::context::{WORK, work};
use super::frame::*;
use super::gate::{SYSCALL_LENGTH, gate_entry};
use super::upcalls::{self, UPCALLS, Upcalls};
use super::{cpu, msr, percpu, vector};
use crate::panic;

/// Bytes between one vector's stub and the next one's.
pub(super) const STUB_SIZE: u64 = 16;

unsafe extern "C" {
    static trap_stubs: u8;
}

/// The address of a vector's stub.
pub(super) fn stub(vector: u8) -> u64 {
    &raw const trap_stubs as u64 + STUB_SIZE * u64::from(vector)
}

// One stub per vector: an error code where the CPU pushes none, the vector, and on to the common part.
global_asm!(
    ".section .text.trap_stubs, \"ax\"",
    ".balign 16",
    ".globl trap_stubs",
    "trap_stubs:",
    ".set vector, 0",
    ".rept 256",
    ".balign 16",
    ".if (vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17) || (vector == 21) || (vector == 29) || (vector == 30)",
    ".else",
    "push 0",
    ".endif",
    "push vector",
    ".if (vector == 2) || (vector == 8) || (vector == 18)",
    "jmp {paranoid}",
    ".elseif vector == 1",
    "jmp {debug}",
    ".else",
    "jmp {common}",
    ".endif",
    ".set vector, vector + 1",
    ".endr",
    ".text",
    common = sym trap_entry,
    paranoid = sym paranoid_entry,
    debug = sym debug_entry,
);

// On the interrupt stack after three pushes.
const ON_STACK_RDX: usize = 0;
const ON_STACK_RCX: usize = 8;
const ON_STACK_RAX: usize = 16;
const ON_STACK_VECTOR: usize = 24;
const ON_STACK_ERROR: usize = 32;
const ON_STACK_RIP: usize = 40;
const ON_STACK_CS: usize = 48;
const ON_STACK_RFLAGS: usize = 56;
const ON_STACK_RSP: usize = 64;
const ON_STACK_SS: usize = 72;

/// What the three entries share: RAX = where the frame goes, RCX = `from_program`; three registers, vector and
/// the CPU's frame at RSP. Ends with RSP = the frame, ESI = the vector.
macro_rules! move_frame {
    () => {
        concat!(
            "mov [rax + {from_program}], rcx\n",
            "mov rcx, [rsp + {on_ss}]\n",
            "mov [rax + {ss}], rcx\n",
            "mov rcx, [rsp + {on_rsp}]\n",
            "mov [rax + {rsp_}], rcx\n",
            "mov rcx, [rsp + {on_rflags}]\n",
            "mov [rax + {rflags}], rcx\n",
            "mov rcx, [rsp + {on_cs}]\n",
            "mov [rax + {cs}], rcx\n",
            "mov rcx, [rsp + {on_rip}]\n",
            "mov [rax + {rip}], rcx\n",
            "mov rcx, [rsp + {on_error}]\n",
            "mov [rax + {orig_rax}], rcx\n",
            "mov rcx, [rsp + {on_rax}]\n",
            "mov [rax + {rax_}], rcx\n",
            "mov rcx, [rsp + {on_rcx}]\n",
            "mov [rax + {rcx_}], rcx\n",
            "mov rcx, [rsp + {on_rdx}]\n",
            "mov [rax + {rdx}], rcx\n",
            "mov [rax + {rdi}], rdi\n",
            "mov [rax + {rsi}], rsi\n",
            "mov [rax + {r8}], r8\n",
            "mov [rax + {r9}], r9\n",
            "mov [rax + {r10}], r10\n",
            "mov [rax + {r11}], r11\n",
            "mov [rax + {rbx}], rbx\n",
            "mov [rax + {rbp}], rbp\n",
            "mov [rax + {r12}], r12\n",
            "mov [rax + {r13}], r13\n",
            "mov [rax + {r14}], r14\n",
            "mov [rax + {r15}], r15\n",
            "movzx esi, byte ptr [rsp + {on_vector}]\n",
            "mov rsp, rax\n",
            "cld\n",
            save_xmm!("rsp", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"),
        )
    };
}

/// The way back from the frame at RSP to whatever it describes.
macro_rules! load_frame {
    () => {
        concat!(
            load_xmm!("rsp", "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15"),
            "\n",
            "mov r15, [rsp + {r15}]\n",
            "mov r14, [rsp + {r14}]\n",
            "mov r13, [rsp + {r13}]\n",
            "mov r12, [rsp + {r12}]\n",
            "mov rbp, [rsp + {rbp}]\n",
            "mov rbx, [rsp + {rbx}]\n",
            "mov r11, [rsp + {r11}]\n",
            "mov r10, [rsp + {r10}]\n",
            "mov r9, [rsp + {r9}]\n",
            "mov r8, [rsp + {r8}]\n",
            "mov rax, [rsp + {rax_}]\n",
            "mov rcx, [rsp + {rcx_}]\n",
            "mov rdx, [rsp + {rdx}]\n",
            "mov rsi, [rsp + {rsi}]\n",
            "mov rdi, [rsp + {rdi}]\n",
        )
    };
}

/// Interrupts and all exceptions without an entry of their own.
#[unsafe(naked)]
unsafe extern "C" fn trap_entry() {
    naked_asm!(
        "push rax",
        "push rcx",
        "push rdx",
        "mov rcx, [rsp + {on_rip}]",
        "test rcx, rcx",
        "js 3f",
        "2:", // from a program
        "swapgs",
        "mov rax, gs:[{entry_rsp}]",
        "add rax, {shadow}",
        "mov ecx, 1",
        "jmp 5f",
        "3:", // from the kernel, if inside its text
        "lea rax, [rip + __text_start]",
        "cmp rcx, rax",
        "jb 7f",
        "lea rax, [rip + __text_gate]",
        "cmp rcx, rax",
        "jae 7f",
        "lea rax, [rip + 5f]",
        "cmp rcx, rax",
        "jb 4f",
        "lea rax, [rip + 6f]",
        "cmp rcx, rax",
        "jb 8f",
        "4:",
        "mov rax, [rsp + {on_rsp}]",
        "sub rax, 128 + {frame_size}",
        "and rax, -16",
        "xor ecx, ecx",
        "5:",
        move_frame!(),
        "6:",
        "mov rdi, rsp",
        "call {dispatch}",
        "jmp {trap_return}",
        "7:", // a wild jump: in the kernel or in a program?
        "mov ecx, {gs_base}",
        "rdmsr",
        "test edx, edx",
        "js 4b",
        "lea rax, [rip + {gate}]",
        "cmp [rsp + {on_rip}], rax",
        "jne 2b",
        "mov rax, [rsp + {on_rcx}]", // to the instruction instead of the gate
        "sub rax, {syscall_length}",
        "mov [rsp + {on_rip}], rax",
        "jmp 2b",
        "8:", // these stores themselves fault: no room on the kernel stack
        "mov rdi, [rsp + {on_rax}]", // where the frame was to go
        "mov rsi, rbp",
        "mov rdx, cr2",
        "and rsp, -16",
        "call {overflow}",
        "ud2",
        dispatch = sym dispatch,
        trap_return = sym trap_return,
        overflow = sym stack_overflow,
        gate = sym gate_entry,
        syscall_length = const SYSCALL_LENGTH,
        entry_rsp = const percpu::ENTRY_RSP,
        shadow = const SHADOW,
        frame_size = const size_of::<TrapFrame>(),
        gs_base = const msr::GS_BASE,
        on_rip = const ON_STACK_RIP, on_cs = const ON_STACK_CS, on_rflags = const ON_STACK_RFLAGS,
        on_rsp = const ON_STACK_RSP, on_ss = const ON_STACK_SS, on_error = const ON_STACK_ERROR,
        on_vector = const ON_STACK_VECTOR, on_rax = const ON_STACK_RAX, on_rcx = const ON_STACK_RCX,
        on_rdx = const ON_STACK_RDX,
        r15 = const R15, r14 = const R14, r13 = const R13, r12 = const R12, rbp = const RBP, rbx = const RBX,
        r11 = const R11, r10 = const R10, r9 = const R9, r8 = const R8, rax_ = const RAX, rcx_ = const RCX,
        rdx = const RDX, rsi = const RSI, rdi = const RDI, orig_rax = const ORIG_RAX, rip = const RIP,
        cs = const CS, rflags = const RFLAGS, rsp_ = const RSP, ss = const SS, from_program = const FROM_PROGRAM,
    )
}

/// Leaves the kernel, or a nested piece of it, with the complete frame at RSP. Before it goes back to a program it
/// has the floors above do what there is to do.
#[unsafe(naked)]
pub(super) unsafe extern "C" fn trap_return() {
    naked_asm!(
        "2:",
        "cli",
        "cmp qword ptr [rsp + {from_program}], 0",
        "je 3f",
        "mov rax, gs:[{current}]",
        "cmp dword ptr [rax + {work}], 0",
        "jne 4f",
        "mov rax, [rsp + {rip}]",
        "shr rax, 47",
        "jnz 5f",
        load_frame!(),
        "swapgs",
        "add rsp, {rip}",
        "iretq",
        "3:",
        load_frame!(),
        "add rsp, {rip}",
        "iretq",
        "4:", // work to do; whatever the frame was, it is complete now
        "lock and dword ptr [rax + {work}], {not_rewritten}",
        "mov eax, [rax + {work}]",
        "test eax, eax",
        "jz 2b",
        "mov rdi, rsp",
        "call [rip + {upcalls} + {return_to_program}]",
        "jmp 2b",
        "5:", // an address that `iretq` would fault on
        "mov rdi, rsp",
        "call {bad_rip}",
        "jmp 2b",
        bad_rip = sym bad_rip,
        upcalls = sym UPCALLS,
        return_to_program = const offset_of!(Upcalls, return_to_program),
        current = const percpu::CURRENT,
        work = const WORK,
        not_rewritten = const !work::FRAME_REWRITTEN as i32,
        r15 = const R15, r14 = const R14, r13 = const R13, r12 = const R12, rbp = const RBP, rbx = const RBX,
        r11 = const R11, r10 = const R10, r9 = const R9, r8 = const R8, rax_ = const RAX, rcx_ = const RCX,
        rdx = const RDX, rsi = const RSI, rdi = const RDI, rip = const RIP, from_program = const FROM_PROGRAM,
    )
}

/// NMI, machine check, double fault: stays on its stack, and asks the GS base whose GS it is.
#[unsafe(naked)]
unsafe extern "C" fn paranoid_entry() {
    naked_asm!(
        "push rax",
        "push rcx",
        "push rdx",
        "lea rax, [rsp - {frame_size}]",
        "and rax, -16",
        "xor ecx, ecx",
        "cmp qword ptr [rsp + {on_rip}], 0",
        "setge cl",
        move_frame!(),
        "mov ecx, {gs_base}",
        "rdmsr",
        "mov ebx, edx", // negative: already the kernel's
        "test ebx, ebx",
        "js 2f",
        "swapgs",
        "2:",
        "mov rdi, rsp",
        "call {dispatch}",
        "test ebx, ebx",
        "js 3f",
        "swapgs",
        "3:",
        load_frame!(),
        "add rsp, {rip}",
        "iretq",
        dispatch = sym dispatch,
        frame_size = const size_of::<TrapFrame>(),
        gs_base = const msr::GS_BASE,
        on_rip = const ON_STACK_RIP, on_cs = const ON_STACK_CS, on_rflags = const ON_STACK_RFLAGS,
        on_rsp = const ON_STACK_RSP, on_ss = const ON_STACK_SS, on_error = const ON_STACK_ERROR,
        on_vector = const ON_STACK_VECTOR, on_rax = const ON_STACK_RAX, on_rcx = const ON_STACK_RCX,
        on_rdx = const ON_STACK_RDX,
        r15 = const R15, r14 = const R14, r13 = const R13, r12 = const R12, rbp = const RBP, rbx = const RBX,
        r11 = const R11, r10 = const R10, r9 = const R9, r8 = const R8, rax_ = const RAX, rcx_ = const RCX,
        rdx = const RDX, rsi = const RSI, rdi = const RDI, orig_rax = const ORIG_RAX, rip = const RIP,
        cs = const CS, rflags = const RFLAGS, rsp_ = const RSP, ss = const SS, from_program = const FROM_PROGRAM,
    )
}

/// A debug exception. One that hits the kernel comes from a program that single-steps itself through a system
/// call: it is ended there and then, since the entry code may be on any stack. At the gate's door it is the program's
/// still. Where a step and a watched address come together, an emulator raises a second one before this code's first
/// instruction, which takes the place of the first: where the program was is lost then, and it goes on at 0, which is
/// its end.
#[unsafe(naked)]
unsafe extern "C" fn debug_entry() {
    naked_asm!(
        "cmp qword ptr [rsp + 16], 0",
        "jge {common}",
        "push rax",
        "lea rax, [rip + {gate}]",
        "cmp [rsp + 24], rax",
        "je 3f",
        "lea rax, [rip + trap_stubs + {stub_size}]",
        "cmp [rsp + 24], rax",
        "pop rax",
        "je 2f",
        "and dword ptr [rsp + 32], {not_tf}",
        "add rsp, 16",
        "iretq",
        "2:",
        "mov qword ptr [rsp + 16], 0",
        "mov qword ptr [rsp + 32], {flags}",
        "mov qword ptr [rsp + 40], 0",
        "jmp {common}",
        "3:",
        "pop rax",
        "jmp {common}",
        stub_size = const STUB_SIZE,
        flags = const cpu::RFLAGS_IF | 2,
        common = sym trap_entry,
        gate = sym gate_entry,
        not_tf = const !cpu::RFLAGS_TF as i32,
    )
}

/// Sorts what arrived.
extern "C" fn dispatch(frame: &mut TrapFrame, vector: u8) {
    let upcalls = upcalls::get();
    let error = frame.orig_rax;
    if frame.from_user() {
        // No system call that could be started again.
        frame.orig_rax = u64::MAX;
    }
    match vector {
        vector::PAGE_FAULT => (upcalls.page_fault)(frame, cpu::fault_address(), error),
        vector::NMI => (upcalls.nmi)(frame),
        vector::DOUBLE_FAULT | vector::MACHINE_CHECK => {
            panic::crash(frame, format_args!("{} (error {error:#x})", vector::name(vector)))
        }
        vector::FIRST_INTERRUPT.. => (upcalls.interrupt)(frame, vector),
        _ => (upcalls.exception)(frame, vector, error),
    }
}

/// The frame would lead to an address that the CPU does not take: as if the program had jumped there.
extern "C" fn bad_rip(frame: &mut TrapFrame) {
    (upcalls::get().exception)(frame, vector::PROTECTION, 0);
}

/// The kernel stack has no room for a frame.
extern "C" fn stack_overflow(frame: u64, frame_pointer: u64, address: u64) -> ! {
    panic::die(
        format_args!("kernel stack overflow: no room for a frame at {frame:#x} (fault at {address:#x})"),
        None,
        frame_pointer,
    )
}
