//! Restartable sequences, rseq(2): a word of the program's memory says on which CPU a task runs, and a piece of code that
//! must not be interrupted half-way starts again if it was.
//!
//! A task that runs again has [`WORK`] set if it runs on another CPU than before, or if it was interrupted in its program
//! and not in a system call, in which no sequence can be under way. On its way back to the program [`resume`] does the rest;
//! a handler's frame is pushed only after [`resume`], so that the handler returns to where the sequence is given up. All that
//! lies in the program's memory, and what makes no sense there is answered by SIGSEGV. Rules and layout: Linux 6.1.

use core::sync::atomic::Ordering;

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::signal::info::SignalInfo;
use super::signal::send;
use super::signal::set::Signal;
use super::task::Task;
use crate::arch::{self, TrapFrame, work};
use crate::errno::{Errno, Result};
use crate::mem::user::{USER_END, UserAddr, UserPtr};
use crate::sched;

/// A bit of a thread's work: what it has registered is to be brought up to date.
pub const WORK: u32 = work::FIRST_FREE << 1;

/// Bytes of `struct rseq`, and what its address must be a multiple of.
pub const SIZE: u32 = 32;

/// "On no CPU", in `cpu_id` of a structure that is not registered.
const UNINITIALIZED: u32 = u32::MAX;

/// Offsets in `struct rseq`.
const CPU_ID_START: u64 = 0;
const SEQUENCE: u64 = 8;
const FLAGS: u64 = 16;

/// `struct rseq_cs`: a sequence.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Sequence {
    version: u32,
    flags: u32,
    start: u64,
    length: u64,
    abort: u64,
}

impl Sequence {
    fn contains(&self, address: u64) -> bool {
        address.wrapping_sub(self.start) < self.length
    }

    /// EINVAL for one that Linux would not take.
    fn check(&self) -> Result<()> {
        let end = self.start.checked_add(self.length).ok_or(Errno::EINVAL)?;
        let is_sound = self.version == 0
            && self.start < USER_END
            && end < USER_END
            && self.abort < USER_END
            && self.abort.wrapping_sub(self.start) >= self.length;
        if is_sound { Ok(()) } else { Err(Errno::EINVAL) }
    }
}

impl Task {
    /// Registers the structure at `address` for the task, the current one. Errors are those of Linux.
    pub fn register_rseq(&self, address: u64, size: u32, signature: u32) -> Result<()> {
        let registered = self.rseq.load(Ordering::Relaxed);
        if registered != 0 {
            self.check_rseq(address, size, signature)?;
            return Err(Errno::EBUSY);
        }
        if !address.is_multiple_of(u64::from(SIZE)) || size != SIZE {
            return Err(Errno::EINVAL);
        }
        UserAddr(address).check(SIZE as usize)?;
        self.rseq_signature.store(signature, Ordering::Relaxed);
        self.rseq_cpu.store(UNINITIALIZED, Ordering::Relaxed);
        self.rseq.store(address, Ordering::Relaxed);
        sched::current().context.work.fetch_or(WORK, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the registration back.
    pub fn unregister_rseq(&self, address: u64, size: u32, signature: u32) -> Result<()> {
        if self.rseq.load(Ordering::Relaxed) == 0 {
            return Err(Errno::EINVAL);
        }
        self.check_rseq(address, size, signature)?;
        UserPtr::<u64>::new(address + CPU_ID_START).write(&(u64::from(UNINITIALIZED) << 32))?;
        self.forget_rseq();
        Ok(())
    }

    fn check_rseq(&self, address: u64, size: u32, signature: u32) -> Result<()> {
        if self.rseq.load(Ordering::Relaxed) != address || size != SIZE {
            return Err(Errno::EINVAL);
        }
        if self.rseq_signature.load(Ordering::Relaxed) == signature { Ok(()) } else { Err(Errno::EPERM) }
    }

    /// Where it has registered the structure, or 0, and with which signature.
    pub fn rseq_registration(&self) -> (u64, u32) {
        let address = self.rseq.load(Ordering::Relaxed);
        (address, if address == 0 { 0 } else { self.rseq_signature.load(Ordering::Relaxed) })
    }

    /// The program's memory is another one now.
    pub(super) fn forget_rseq(&self) {
        self.rseq.store(0, Ordering::Relaxed);
    }

    /// A new task in a copy of its parent's memory has registered what its parent has.
    pub(super) fn inherit_rseq(&self, parent: &Task) {
        self.rseq_signature.store(parent.rseq_signature.load(Ordering::Relaxed), Ordering::Relaxed);
        self.rseq_cpu.store(UNINITIALIZED, Ordering::Relaxed);
        self.rseq.store(parent.rseq.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// The task is about to run again, in a system call or not. Interrupts are off.
    #[inline]
    pub(super) fn note_switch(&self, context: &arch::Context) {
        if self.rseq.load(Ordering::Relaxed) == 0 {
            return;
        }
        let has_moved = self.rseq_cpu.load(Ordering::Relaxed) != arch::cpu_id() as u32;
        if has_moved || !context.is_in_call() {
            context.work.fetch_or(WORK, Ordering::Relaxed);
        }
    }
}

/// The current task is about to go on in its program: writes the CPU's number, and gives up the sequence that was interrupted.
pub fn resume(frame: &mut TrapFrame) {
    sched::current().context.work.fetch_and(!WORK, Ordering::Relaxed);
    let task = super::current_task();
    let address = task.rseq.load(Ordering::Relaxed);
    if address != 0 && update(&task, address, frame).is_err() {
        send::force(Signal::SIGSEGV, SignalInfo::from_kernel(Signal::SIGSEGV));
    }
}

fn update(task: &Task, address: u64, frame: &mut TrapFrame) -> Result<()> {
    let sequence = UserPtr::<u64>::new(address + SEQUENCE).read()?;
    if sequence != 0 {
        leave_sequence(task, address, sequence, frame)?;
    }
    let cpu = arch::cpu_id() as u32;
    if task.rseq_cpu.load(Ordering::Relaxed) != cpu {
        UserPtr::<u64>::new(address + CPU_ID_START).write(&(u64::from(cpu) << 32 | u64::from(cpu)))?;
        task.rseq_cpu.store(cpu, Ordering::Relaxed);
    }
    Ok(())
}

/// A sequence is announced. If the program is in it, it goes on where it is given up.
fn leave_sequence(task: &Task, address: u64, at: u64, frame: &mut TrapFrame) -> Result<()> {
    let sequence = UserPtr::<Sequence>::new(at).read()?;
    sequence.check()?;
    let signature = UserPtr::<u32>::new(sequence.abort.wrapping_sub(4)).read()?;
    if signature != task.rseq_signature.load(Ordering::Relaxed) {
        return Err(Errno::EINVAL);
    }
    let is_inside = sequence.contains(frame.rip);
    if is_inside && (sequence.flags != 0 || UserPtr::<u32>::new(address + FLAGS).read()? != 0) {
        return Err(Errno::EINVAL);
    }
    UserPtr::<u64>::new(address + SEQUENCE).write(&0)?;
    if is_inside {
        frame.rip = sequence.abort;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_are_checked() {
        let sound = Sequence { version: 0, flags: 0, start: 0x1000, length: 0x10, abort: 0x2000 };
        assert_eq!(sound.check(), Ok(()));
        assert!(sound.contains(0x1000) && sound.contains(0x100f) && !sound.contains(0x1010) && !sound.contains(0xfff));
        assert_eq!(Sequence { version: 1, ..sound }.check(), Err(Errno::EINVAL));
        assert_eq!(Sequence { abort: 0x1008, ..sound }.check(), Err(Errno::EINVAL));
        assert_eq!(Sequence { start: u64::MAX, ..sound }.check(), Err(Errno::EINVAL));
        assert_eq!(Sequence { abort: USER_END, ..sound }.check(), Err(Errno::EINVAL));
    }
}
