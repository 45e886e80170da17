//! [`TrapFrame`]: the registers of whoever was running when the kernel was entered.
//!
//! One layout serves system calls, interrupts and exceptions. The frame of an entry from a program always lies at
//! the very top of the thread's kernel stack, so that anybody who has the thread has the frame.
//!
//! The frame of a *system call* is written by hand-picked stores to be fast, and is complete only when
//! `return_to_program` is called. Before, `rax`, `rcx`, `r11`, `cs` and `ss` are not valid, and for a leaf of the
//! table (see [`syscall`](super::syscall)) neither are `rbx`, `rbp`, `r12` to `r15` and `xmm[6..]`. A handler that
//! changes anything but its return value has to set [`work::FRAME_REWRITTEN`](super::work::FRAME_REWRITTEN) and is no
//! leaf; with it, every register is loaded from the frame, so all that was not valid has to be written.
//!
//! A call through the [`gate`](super::gate) stores still less, for every handler what a leaf gets without any `xmm`; see
//! [`TrapFrame::is_by_gate`].

use core::mem::{offset_of, size_of};

/// Registers at an entry into the kernel, lowest address first.
#[derive(Clone, Debug)]
#[repr(C, align(16))]
#[allow(missing_docs)]
pub struct TrapFrame {
    pub xmm: [u128; 16],
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The number of the system call; for an exception its error code.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
    /// 1 if a program was running, 0 if the kernel was.
    pub(super) from_program: u64,
}

const _: () = assert!(size_of::<TrapFrame>() == 432 && offset_of!(TrapFrame, xmm) == 0);

impl TrapFrame {
    /// A frame that starts a program: all registers zero but these.
    pub const fn new(rip: u64, rsp: u64) -> Self {
        TrapFrame {
            xmm: [0; 16],
            r15: 0,
            r14: 0,
            r13: 0,
            r12: 0,
            rbp: 0,
            rbx: 0,
            r11: 0,
            r10: 0,
            r9: 0,
            r8: 0,
            rax: 0,
            rcx: 0,
            rdx: 0,
            rsi: 0,
            rdi: 0,
            orig_rax: u64::MAX,
            rip,
            cs: CODE_SELECTOR,
            rflags: super::RFLAGS_IF | 2,
            rsp,
            ss: DATA_SELECTOR,
            from_program: 1,
        }
    }

    /// Whether a program was running, not the kernel.
    #[inline(always)]
    pub const fn from_user(&self) -> bool {
        self.from_program != 0
    }

    /// Whether this is the frame of a system call through the gate, of which the handler sees `orig_rax`, `rip`, `rsp` and the
    /// arguments only. It has no flags, which no program can have; a function need not preserve them.
    #[inline(always)]
    pub const fn is_by_gate(&self) -> bool {
        self.rflags == 0
    }
}

/// Selector of the code segment that kernel and programs share.
pub(super) const CODE_SELECTOR: u64 = 0x08;
/// Selector of the data segment that kernel and programs share.
pub(super) const DATA_SELECTOR: u64 = 0x10;

/// Bytes below a system call's frame that the Win64 calling convention gives to the callee.
pub(super) const SHADOW: usize = 32;
/// From the top of a kernel stack to the stack pointer of a system call: the frame and the shadow space.
pub(super) const ENTRY_SIZE: usize = size_of::<TrapFrame>() + SHADOW;

pub(super) const R15: usize = offset_of!(TrapFrame, r15);
pub(super) const R14: usize = offset_of!(TrapFrame, r14);
pub(super) const R13: usize = offset_of!(TrapFrame, r13);
pub(super) const R12: usize = offset_of!(TrapFrame, r12);
pub(super) const RBP: usize = offset_of!(TrapFrame, rbp);
pub(super) const RBX: usize = offset_of!(TrapFrame, rbx);
pub(super) const R11: usize = offset_of!(TrapFrame, r11);
pub(super) const R10: usize = offset_of!(TrapFrame, r10);
pub(super) const R9: usize = offset_of!(TrapFrame, r9);
pub(super) const R8: usize = offset_of!(TrapFrame, r8);
pub(super) const RAX: usize = offset_of!(TrapFrame, rax);
pub(super) const RCX: usize = offset_of!(TrapFrame, rcx);
pub(super) const RDX: usize = offset_of!(TrapFrame, rdx);
pub(super) const RSI: usize = offset_of!(TrapFrame, rsi);
pub(super) const RDI: usize = offset_of!(TrapFrame, rdi);
pub(super) const ORIG_RAX: usize = offset_of!(TrapFrame, orig_rax);
pub(super) const RIP: usize = offset_of!(TrapFrame, rip);
pub(super) const CS: usize = offset_of!(TrapFrame, cs);
pub(super) const RFLAGS: usize = offset_of!(TrapFrame, rflags);
pub(super) const RSP: usize = offset_of!(TrapFrame, rsp);
pub(super) const SS: usize = offset_of!(TrapFrame, ss);
pub(super) const FROM_PROGRAM: usize = offset_of!(TrapFrame, from_program);

/// Assembly: stores xmm registers `first..` of the list to the frame at `base`.
macro_rules! save_xmm {
    ($base:literal, $list:literal) => {
        concat!(".irp i, ", $list, "\nmovaps [", $base, " + 16 * \\i], xmm\\i\n.endr")
    };
}

/// Assembly: loads xmm registers of the list from the frame at `base`.
macro_rules! load_xmm {
    ($base:literal, $list:literal) => {
        concat!(".irp i, ", $list, "\nmovaps xmm\\i, [", $base, " + 16 * \\i]\n.endr")
    };
}

pub(super) use {load_xmm, save_xmm};
