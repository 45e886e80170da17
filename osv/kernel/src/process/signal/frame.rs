//! The frame that a handler finds on its stack, and the way back from it: `struct rt_sigframe` of Linux on x86-64.
//!
//! From the handler's stack pointer upwards: the address to return to, `ucontext_t`, `siginfo_t`, and behind that, at a
//! multiple of 64, the extended state (see `arch::fpu`). Unwinders and language runtimes know this layout, so it is
//! kept to the byte; segments are given as Linux would have them. What `rt_sigreturn` finds there may be anything: it
//! takes flags that a program may change, an address of the lower half, and no segments.

use core::sync::atomic::Ordering;

use alloc::vec::Vec;
use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::action::Action;
use super::altstack::UserStack;
use super::info::{SignalInfo, USER_SIZE};
use super::set::{Signal, SignalSet};
use crate::arch::{TrapFrame, fpu, work};
use crate::errno::{Errno, Result};
use crate::mem::user::{USER_END, UserPtr, UserSlice};
use crate::process::task::Task;
use crate::sched;

/// What a function may use below its stack pointer.
const RED_ZONE: u64 = 128;

/// The frame holds the state that XSAVE wrote.
const UC_FP_XSTATE: u64 = 1;
/// SS is in the frame, and `rt_sigreturn` would restore it.
const UC_SIGCONTEXT_SS: u64 = 2;
const UC_STRICT_RESTORE_SS: u64 = 4;

/// Segments as a program sees them on Linux.
pub(in crate::process) const USER_CS: u16 = 0x33;
pub(in crate::process) const USER_SS: u16 = 0x2b;

/// Flags that a program may set: CF, PF, AF, ZF, SF, TF, DF, OF, RF, AC.
pub(in crate::process) const CHANGEABLE_FLAGS: u64 = 0x5_0dd5;
/// Flags that a handler does not start with: DF, RF, TF.
const CLEARED_FLAGS: u64 = 0x1_0500;

/// `struct sigcontext_64`.
#[derive(Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SigContext {
    r8: u64,
    r9: u64,
    r10: u64,
    r11: u64,
    r12: u64,
    r13: u64,
    r14: u64,
    r15: u64,
    rdi: u64,
    rsi: u64,
    rbp: u64,
    rbx: u64,
    rdx: u64,
    rax: u64,
    rcx: u64,
    rsp: u64,
    rip: u64,
    rflags: u64,
    cs: u16,
    gs: u16,
    fs: u16,
    ss: u16,
    error: u64,
    vector: u64,
    old_mask: u64,
    fault_address: u64,
    extended_state: u64,
    reserved: [u64; 8],
}

/// `struct ucontext`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct UserContext {
    flags: u64,
    link: u64,
    stack: UserStack,
    registers: SigContext,
    mask: u64,
}

/// `struct rt_sigframe`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct SignalFrame {
    return_address: u64,
    context: UserContext,
    info: [u8; USER_SIZE],
}

const _: () = assert!(size_of::<SigContext>() == 256 && size_of::<SignalFrame>() == 440);

/// The most that a frame takes, for AT_MINSIGSTKSZ and the smallest alternate stack.
pub fn max_size() -> u64 {
    (size_of::<SignalFrame>() + fpu::signal_size()) as u64 + 64 + 16
}

/// Where the parts of a frame go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Places {
    frame: u64,
    extended_state: u64,
}

/// Places for a frame below `top`; EFAULT if there can be none.
fn places(top: u64, extended_size: u64) -> Result<Places> {
    let extended_state = top.checked_sub(extended_size).ok_or(Errno::EFAULT)? & !63;
    let below = extended_state.checked_sub(size_of::<SignalFrame>() as u64).ok_or(Errno::EFAULT)?;
    let frame = (below & !15).checked_sub(8).ok_or(Errno::EFAULT)?;
    Ok(Places { frame, extended_state })
}

/// Writes a frame onto the program's stack and makes `frame` go to the handler.
pub(super) fn push(
    task: &Task,
    frame: &mut TrapFrame,
    signal: Signal,
    info: &SignalInfo,
    action: &Action,
    old_mask: SignalSet,
) -> Result<()> {
    if !action.has(linux::SA_RESTORER) {
        return Err(Errno::EFAULT);
    }
    let alt_stack = *task.signals.alt_stack.lock();
    let own_top = frame.rsp.wrapping_sub(RED_ZONE);
    let alternate_top = if action.has(linux::SA_ONSTACK) { alt_stack.top_for(frame.rsp) } else { None };
    let places = places(alternate_top.unwrap_or(own_top), fpu::signal_size() as u64)?;
    if alt_stack.is_in_use(frame.rsp) && alternate_top.is_none() && !alt_stack.contains(places.frame) {
        return Err(Errno::EFAULT);
    }
    UserPtr::<u8>::new(places.extended_state).addr().check(fpu::signal_size())?;

    let mut extended = zeroed(fpu::signal_size())?;
    fpu::save_for_signal(frame, &mut extended);
    let context = UserContext {
        flags: UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS,
        link: 0,
        stack: alt_stack.to_user(frame.rsp),
        registers: registers(task, frame, old_mask, places.extended_state),
        mask: old_mask.0,
    };
    let image = SignalFrame { return_address: action.restorer, context, info: info.to_user() };
    let written = UserSlice::new(places.extended_state, extended.len())
        .write_all(&extended)
        .and_then(|()| UserPtr::<SignalFrame>::new(places.frame).write(&image));
    if let Err(errno) = written {
        let _ = fpu::load_from_signal(frame, Some(&extended));
        return Err(errno);
    }
    *task.signals.alt_stack.lock() = alt_stack.after_use();
    frame.rdi = u64::from(signal.number());
    frame.rsi = places.frame + core::mem::offset_of!(SignalFrame, info) as u64;
    frame.rdx = places.frame + core::mem::offset_of!(SignalFrame, context) as u64;
    frame.rax = 0;
    frame.rip = action.handler;
    frame.rsp = places.frame;
    frame.rflags &= !CLEARED_FLAGS;
    rewritten(frame);
    if action.handler >= USER_END { Err(Errno::EFAULT) } else { Ok(()) }
}

/// The frame was changed as a whole, and belongs to no system call any more.
fn rewritten(frame: &mut TrapFrame) {
    frame.orig_rax = u64::MAX;
    sched::current().context.work.fetch_or(work::FRAME_REWRITTEN, Ordering::Relaxed);
}

fn zeroed(len: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(len).map_err(|_| Errno::ENOMEM)?;
    bytes.resize(len, 0);
    Ok(bytes)
}

fn registers(task: &Task, frame: &TrapFrame, old_mask: SignalSet, extended_state: u64) -> SigContext {
    let mut last_fault = task.signals.last_fault.lock();
    last_fault.signal = None;
    let fault = *last_fault;
    drop(last_fault);
    SigContext {
        r8: frame.r8,
        r9: frame.r9,
        r10: frame.r10,
        r11: frame.r11,
        r12: frame.r12,
        r13: frame.r13,
        r14: frame.r14,
        r15: frame.r15,
        rdi: frame.rdi,
        rsi: frame.rsi,
        rbp: frame.rbp,
        rbx: frame.rbx,
        rdx: frame.rdx,
        rax: frame.rax,
        rcx: frame.rcx,
        rsp: frame.rsp,
        rip: frame.rip,
        rflags: frame.rflags,
        cs: USER_CS,
        gs: 0,
        fs: 0,
        ss: USER_SS,
        error: fault.error,
        vector: fault.vector,
        old_mask: old_mask.0,
        fault_address: fault.address,
        extended_state,
        reserved: [0; 8],
    }
}

/// `rt_sigreturn`: the handler is done. Returns what goes into RAX.
///
/// # Errors
/// EFAULT for a frame that is not there or makes no sense: the caller sends SIGSEGV.
pub fn pop(task: &Task, frame: &mut TrapFrame) -> Result<u64> {
    let address = frame.rsp.wrapping_sub(8);
    let saved = UserPtr::<SignalFrame>::new(address).read()?.context;
    let from = &saved.registers;
    if from.rip >= USER_END || from.rsp > USER_END {
        return Err(Errno::EFAULT);
    }
    task.replace_blocked(SignalSet(saved.mask));
    let extended = match from.extended_state {
        0 => None,
        address if address % 64 != 0 => return Err(Errno::EFAULT),
        address => Some(read_extended_state(address)?),
    };
    fpu::load_from_signal(frame, extended.as_deref())?;
    frame.r8 = from.r8;
    frame.r9 = from.r9;
    frame.r10 = from.r10;
    frame.r11 = from.r11;
    frame.r12 = from.r12;
    frame.r13 = from.r13;
    frame.r14 = from.r14;
    frame.r15 = from.r15;
    frame.rdi = from.rdi;
    frame.rsi = from.rsi;
    frame.rbp = from.rbp;
    frame.rbx = from.rbx;
    frame.rdx = from.rdx;
    frame.rcx = from.rcx;
    frame.rsp = from.rsp;
    frame.rip = from.rip;
    frame.rax = from.rax;
    frame.rflags = frame.rflags & !CHANGEABLE_FLAGS | from.rflags & CHANGEABLE_FLAGS;
    rewritten(frame);
    restore_alt_stack(task, &saved.stack, from.rsp);
    Ok(from.rax)
}

/// Reads as much of the extended state as there is: all that this CPU has, or at least the legacy part.
fn read_extended_state(address: u64) -> Result<Vec<u8>> {
    const LEGACY_SIZE: usize = 512;
    let whole = UserSlice::new(address, fpu::signal_size()).read_vec();
    whole.or_else(|_| UserSlice::new(address, LEGACY_SIZE).read_vec())
}

/// Puts the alternate stack back that SS_AUTODISARM or the handler took away; one that makes no sense is ignored, as on Linux.
fn restore_alt_stack(task: &Task, wanted: &UserStack, stack_pointer: u64) {
    let mut alt_stack = task.signals.alt_stack.lock();
    let wanted = UserStack { flags: wanted.flags & !linux::SS_ONSTACK, ..*wanted };
    if let Ok(new) = alt_stack.replaced_by(&wanted, stack_pointer, linux::MINSIGSTKSZ as u64) {
        *alt_stack = new;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_aligned_as_a_call_would_leave_them() {
        for top in 0x7000_0000u64..0x7000_0000 + 200 {
            let Places { frame, extended_state } = places(top, 2700).unwrap();
            assert_eq!(frame % 16, 8);
            assert_eq!(extended_state % 64, 0);
            assert!(extended_state + 2700 <= top);
            assert!(frame + 440 <= extended_state);
            assert!(top - frame <= 2700 + 440 + 64 + 16 + 8);
        }
    }

    #[test]
    fn small_stack_pointers_are_refused() {
        assert_eq!(places(100, 512), Err(Errno::EFAULT));
        assert_eq!(places(900, 512), Err(Errno::EFAULT));
    }
}
