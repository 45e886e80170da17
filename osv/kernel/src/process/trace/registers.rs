//! A tracee's registers as its tracer sees them: `struct user_regs_struct`, and what of it may be set.
//!
//! Programs share the kernel's ring, so nothing of what a tracer writes may reach the CPU that the program could not have got
//! there without the kernel's help: flags are masked as `rt_sigreturn` masks them, segments are checked as on Linux and
//! change nothing, bases stay in the lower half. An RIP that is no address of a program is caught on the way back
//! to it, an RSP where the tracee takes its registers over.

use alloc::vec::Vec;

use crate::arch::{RFLAGS_TF, TrapFrame};
use crate::errno::{Errno, Result};
use crate::mem::user::USER_END;
use crate::process::signal::frame::{CHANGEABLE_FLAGS, USER_CS, USER_SS};

/// Words of `struct user_regs_struct`.
pub const REGISTER_COUNT: usize = 27;

/// A copy of all that a program has in registers.
pub struct Registers {
    pub(super) frame: TrapFrame,
    pub(super) fs_base: u64,
    pub(super) gs_base: u64,
    /// The image of XSAVE; empty if there was no memory for it.
    pub extended: Vec<u8>,
}

impl Registers {
    /// Where the program goes on.
    pub fn frame(&self) -> &TrapFrame {
        &self.frame
    }

    /// The words of `struct user_regs_struct`.
    pub fn words(&self) -> [u64; REGISTER_COUNT] {
        let f = &self.frame;
        let (cs, ss) = (u64::from(USER_CS), u64::from(USER_SS));
        [
            f.r15,
            f.r14,
            f.r13,
            f.r12,
            f.rbp,
            f.rbx,
            f.r11,
            f.r10,
            f.r9,
            f.r8,
            f.rax,
            f.rcx,
            f.rdx,
            f.rsi,
            f.rdi,
            f.orig_rax,
            f.rip,
            cs,
            f.rflags,
            f.rsp,
            ss,
            self.fs_base,
            self.gs_base,
            0,
            0,
            0,
            0,
        ]
    }

    /// Sets the word `index` of `struct user_regs_struct`. EIO for what it cannot be.
    pub fn set_word(&mut self, index: usize, value: u64) -> Result<()> {
        let f = &mut self.frame;
        let place = match index {
            0 => &mut f.r15,
            1 => &mut f.r14,
            2 => &mut f.r13,
            3 => &mut f.r12,
            4 => &mut f.rbp,
            5 => &mut f.rbx,
            6 => &mut f.r11,
            7 => &mut f.r10,
            8 => &mut f.r9,
            9 => &mut f.r8,
            10 => &mut f.rax,
            11 => &mut f.rcx,
            12 => &mut f.rdx,
            13 => &mut f.rsi,
            14 => &mut f.rdi,
            15 => &mut f.orig_rax,
            16 => &mut f.rip,
            18 => {
                f.rflags = f.rflags & !CHANGEABLE_FLAGS | value & CHANGEABLE_FLAGS;
                return Ok(());
            }
            19 => &mut f.rsp,
            21 if value < USER_END => &mut self.fs_base,
            22 if value < USER_END => &mut self.gs_base,
            17 | 20 => return check_selector(value, false),
            23..=26 => return check_selector(value, true),
            _ => return Err(Errno::EIO),
        };
        *place = value;
        Ok(())
    }
}

/// EIO for a selector that is none of ring 3.
fn check_selector(value: u64, may_be_null: bool) -> Result<()> {
    let selector = value as u16;
    let is_valid = if selector == 0 { may_be_null } else { selector & 3 == 3 };
    if is_valid { Ok(()) } else { Err(Errno::EIO) }
}

/// Takes the flag that makes a program trap after each instruction out, or puts it in.
pub(super) fn set_step(frame: &mut TrapFrame, is_stepping: bool) {
    frame.rflags = if is_stepping { frame.rflags | RFLAGS_TF } else { frame.rflags & !RFLAGS_TF };
}

/// Whether the program's stack pointer is one.
pub(super) fn has_stack(frame: &TrapFrame) -> bool {
    frame.rsp <= USER_END
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registers() -> Registers {
        Registers { frame: TrapFrame::new(0x1000, 0x2000), fs_base: 0, gs_base: 0, extended: Vec::new() }
    }

    #[test]
    fn words_come_back_as_they_were_set() {
        let mut registers = registers();
        for index in (0..17).chain([19]) {
            registers.set_word(index, 1000 + index as u64).unwrap();
        }
        let words = registers.words();
        for index in (0..17).chain([19]) {
            assert_eq!(words[index], 1000 + index as u64);
        }
        assert_eq!((words[17], words[20]), (0x33, 0x2b));
        assert_eq!(registers.frame.rip, 1016);
        assert_eq!(registers.frame.rsp, 1019);
    }

    #[test]
    fn what_would_hurt_the_kernel_is_refused_or_masked() {
        let mut registers = registers();
        let before = registers.frame.rflags;
        registers.set_word(18, u64::MAX).unwrap();
        assert_eq!(registers.frame.rflags, before | CHANGEABLE_FLAGS);
        registers.set_word(18, 0).unwrap();
        assert_eq!(registers.frame.rflags, before & !CHANGEABLE_FLAGS);
        let cs = registers.frame.cs;
        assert_eq!(registers.set_word(17, 8), Err(Errno::EIO));
        assert_eq!(registers.set_word(17, 0x23), Ok(()));
        assert_eq!(registers.frame.cs, cs);
        assert_eq!(registers.set_word(20, 0), Err(Errno::EIO));
        assert_eq!(registers.set_word(23, 0), Ok(()));
        assert_eq!(registers.set_word(21, 0xffff_8000_0000_0000), Err(Errno::EIO));
        assert_eq!(registers.set_word(27, 0), Err(Errno::EIO));
    }
}
