//! Extended state of programs: x87, SSE, AVX, AVX-512, in the format of XSAVE (or of FXSAVE on a CPU without it).
//!
//! The kernel uses only the lower halves of the vector registers, which entries save in frames; all else is still
//! the program's while the kernel runs. `ExtendedState` is where it is kept while the thread does not run. Signal
//! handlers find it in memory in the form that Linux gives it: [`save_for_signal`] and [`load_from_signal`]; what
//! a program hands back there is checked, so that loading it cannot fault.

use alloc::alloc::{Layout, alloc_zeroed, dealloc};
use alloc::vec::Vec;
use core::arch::asm;
use core::ptr::NonNull;
use core::slice;

use super::features::features;
use super::{TrapFrame, percpu};
use crate::errno::{Errno, Result};

const CONTROL_WORD: usize = 0;
const MXCSR: usize = 24;
const XMM: usize = 160;
const XMM_END: usize = XMM + 256;
/// Bytes of the legacy area that software may use: Linux describes the rest of the frame there.
const SOFTWARE: usize = 464;
const LEGACY_SIZE: usize = 512;
const XSTATE_BV: usize = 512;
const HEADER_END: usize = 576;

const SSE: u64 = 1 << 1;
const DEFAULT_CONTROL_WORD: u16 = 0x37f;
const DEFAULT_MXCSR: u32 = 0x1f80;

/// "This frame holds more than FXSAVE's": Linux' FP_XSTATE_MAGIC1.
const MAGIC_1: u32 = 0x4650_5853;
/// Stands after the extended state: FP_XSTATE_MAGIC2.
const MAGIC_2: u32 = 0x4650_5845;

/// A program's extended state in memory.
pub(super) struct ExtendedState {
    area: NonNull<u8>,
}

impl ExtendedState {
    fn layout() -> Layout {
        Layout::from_size_align(features().xsave_size, 64).unwrap_or(Layout::new::<[u8; 4096]>())
    }

    /// What a program starts with.
    ///
    /// # Errors
    /// ENOMEM.
    pub(super) fn new() -> Result<Self> {
        // SAFETY:
        // - the size is not zero.
        let area = unsafe { alloc_zeroed(Self::layout()) };
        let mut state = ExtendedState { area: NonNull::new(area).ok_or(Errno::ENOMEM)? };
        state.reset();
        Ok(state)
    }

    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY:
        // - the area has this size, and is this value's alone.
        unsafe { slice::from_raw_parts_mut(self.area.as_ptr(), features().xsave_size) }
    }

    /// Back to what a program starts with.
    pub(super) fn reset(&mut self) {
        let bytes = self.bytes();
        bytes.fill(0);
        put(bytes, CONTROL_WORD, &DEFAULT_CONTROL_WORD.to_le_bytes());
        put(bytes, MXCSR, &DEFAULT_MXCSR.to_le_bytes());
    }

    /// Saves this CPU's registers. The xmm registers are those of `frame`, if there is one; without, what is
    /// saved for them is of no importance, because they are in a frame.
    #[inline]
    pub(super) fn save(&mut self, frame: Option<&TrapFrame>) {
        let features = features();
        // SAFETY:
        // - the area is aligned to 64 and has room for all that is enabled;
        // - XSAVEOPT's optimisations only look at what XRSTOR did with the same area, and `load` always follows a
        //   change of it.
        unsafe {
            let (low, high) = (features.xcr0 as u32, (features.xcr0 >> 32) as u32);
            let area = self.area.as_ptr();
            if features.xsaveopt && frame.is_none() {
                asm!("xsaveopt64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack, preserves_flags));
            } else if features.xsave {
                asm!("xsave64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack, preserves_flags));
            } else {
                asm!("fxsave64 [{}]", in(reg) area, options(nostack, preserves_flags));
            }
        }
        if let Some(frame) = frame {
            self.put_xmm(frame);
        }
    }

    /// Loads this CPU's registers, and those of `frame`.
    #[inline]
    pub(super) fn load(&mut self, frame: Option<&mut TrapFrame>) {
        let features = features();
        // SAFETY:
        // - the area came from XSAVE, `reset`, or was checked by `take`.
        unsafe {
            let (low, high) = (features.xcr0 as u32, (features.xcr0 >> 32) as u32);
            let area = self.area.as_ptr();
            if features.xsave {
                asm!("xrstor64 [{}]", in(reg) area, in("eax") low, in("edx") high, options(nostack, preserves_flags));
            } else {
                asm!("fxrstor64 [{}]", in(reg) area, options(nostack, preserves_flags));
            }
        }
        if let Some(frame) = frame {
            self.get_xmm(frame);
        }
    }

    fn put_xmm(&mut self, frame: &TrapFrame) {
        let bytes = self.bytes();
        for (to, from) in bytes[XMM..XMM_END].chunks_exact_mut(16).zip(frame.xmm) {
            to.copy_from_slice(&from.to_le_bytes());
        }
        if features().xsave {
            let present = get_u64(bytes, XSTATE_BV) | SSE;
            put(bytes, XSTATE_BV, &present.to_le_bytes());
        }
    }

    fn get_xmm(&mut self, frame: &mut TrapFrame) {
        let bytes = self.bytes();
        let present = !features().xsave || get_u64(bytes, XSTATE_BV) & SSE != 0;
        for (to, from) in frame.xmm.iter_mut().zip(bytes[XMM..XMM_END].chunks_exact(16)) {
            *to = if present { u128::from_le_bytes(from.try_into().unwrap_or([0; 16])) } else { 0 };
        }
    }

    /// Takes over what a program left on its stack, with all that could make the CPU fault taken out.
    fn take(&mut self, from: &[u8]) -> Result<()> {
        self.take_image(from, features().xsave && is_extended(from))
    }

    /// Takes over an image, with all that could make the CPU fault taken out: the legacy area, and if it is `full` what XSAVE
    /// writes behind it.
    fn take_image(&mut self, from: &[u8], full: bool) -> Result<()> {
        let features = features();
        let legacy = from.get(..LEGACY_SIZE).ok_or(Errno::EFAULT)?;
        self.reset();
        let bytes = self.bytes();
        if full {
            let from = from.get(..bytes.len()).ok_or(Errno::EFAULT)?;
            bytes.copy_from_slice(from);
            if bytes[XSTATE_BV + 8..HEADER_END].iter().any(|&byte| byte != 0) {
                self.reset();
                return Err(Errno::EINVAL);
            }
            let present = get_u64(bytes, XSTATE_BV) & features.xcr0;
            put(bytes, XSTATE_BV, &present.to_le_bytes());
        } else {
            bytes[..LEGACY_SIZE].copy_from_slice(legacy);
            if features.xsave {
                put(bytes, XSTATE_BV, &0b11_u64.to_le_bytes());
            }
        }
        let mxcsr = get_u32(bytes, MXCSR) & features.mxcsr_mask;
        put(bytes, MXCSR, &mxcsr.to_le_bytes());
        Ok(())
    }

    /// Writes the state as Linux puts it into a signal frame.
    fn give(&mut self, to: &mut [u8]) {
        let features = features();
        let from = self.bytes();
        let size = from.len();
        to[..size].copy_from_slice(from);
        to[SOFTWARE..LEGACY_SIZE].fill(0);
        if features.xsave {
            put(to, SOFTWARE, &MAGIC_1.to_le_bytes());
            put(to, SOFTWARE + 4, &(size as u32 + 4).to_le_bytes());
            put(to, SOFTWARE + 8, &features.xcr0.to_le_bytes());
            put(to, SOFTWARE + 16, &(size as u32).to_le_bytes());
            put(to, size, &MAGIC_2.to_le_bytes());
        }
    }
}

impl Drop for ExtendedState {
    fn drop(&mut self) {
        // SAFETY:
        // - `new` allocated it with the same layout.
        unsafe { dealloc(self.area.as_ptr(), Self::layout()) };
    }
}

/// Whether a signal frame's state goes on after the legacy area, by Linux' two magic numbers.
fn is_extended(state: &[u8]) -> bool {
    let size = features().xsave_size;
    state.len() >= size + 4
        && get_u32(state, SOFTWARE) == MAGIC_1
        && get_u32(state, SOFTWARE + 16) as usize == size
        && get_u32(state, size) == MAGIC_2
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

fn get_u32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn get_u64(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Bytes that extended state takes in a signal frame; its address must be a multiple of 64.
pub fn signal_size() -> usize {
    features().xsave_size + if features().xsave { 4 } else { 0 }
}

/// Writes the current program's extended state, xmm registers from `frame`, as Linux puts it into a signal frame,
/// and resets it to what a handler starts with. `to` has [`signal_size`] bytes.
pub fn save_for_signal(frame: &mut TrapFrame, to: &mut [u8]) {
    assert!(to.len() >= signal_size(), "a buffer of signal_size() bytes");
    current().with_extended(frame, |state| {
        state.give(to);
        state.reset();
    });
}

/// Loads the current program's extended state, xmm registers into `frame`, from what a signal handler left.
/// `None` resets it, as Linux does for a frame without any.
///
/// # Errors
/// EINVAL or EFAULT if it cannot be loaded; then the state is as a program starts with.
pub fn load_from_signal(frame: &mut TrapFrame, from: Option<&[u8]>) -> Result<()> {
    current()
        .with_extended(frame, |state| match from {
            Some(from) => state.take(from),
            None => {
                state.reset();
                Ok(())
            }
        })
        .unwrap_or(Ok(()))
}

/// Resets the current program's extended state and the xmm registers of `frame`: for execve.
pub fn reset(frame: &mut TrapFrame) {
    current().with_extended(frame, ExtendedState::reset);
}

/// The current program's extended state, xmm registers from `frame`, as debuggers see it (NT_X86_XSTATE). Its first 512
/// bytes are `struct user_fpregs_struct`.
///
/// # Errors
/// ENOMEM.
pub fn save_for_debugger(frame: &mut TrapFrame) -> Result<Vec<u8>> {
    let size = features().xsave_size;
    let mut image = Vec::new();
    image.try_reserve_exact(size).map_err(|_| Errno::ENOMEM)?;
    current().with_extended(frame, |state| image.extend_from_slice(state.bytes()));
    image.resize(size, 0);
    image[SOFTWARE..LEGACY_SIZE].fill(0);
    put(&mut image, SOFTWARE, &features().xcr0.to_le_bytes());
    Ok(image)
}

/// Loads the current program's extended state, xmm registers into `frame`, from an image that [`save_for_debugger`] made and
/// [`check_image`] has passed since.
pub fn load_from_debugger(frame: &mut TrapFrame, image: &[u8]) {
    current().with_extended(frame, |state| state.take_image(image, features().xsave));
}

/// EINVAL for an image, or its first 512 bytes, that a debugger may not set.
pub fn check_image(image: &[u8]) -> Result<()> {
    let features = features();
    let is_sound = get_u32(image, MXCSR) & !features.mxcsr_mask == 0
        && get_u64(image, XSTATE_BV) & !features.xcr0 == 0
        && image.get(XSTATE_BV + 8..HEADER_END).is_none_or(|rest| rest.iter().all(|&byte| byte == 0));
    if is_sound { Ok(()) } else { Err(Errno::EINVAL) }
}

/// Makes an image, whose first 512 bytes a debugger has set, one in which they count.
pub fn use_legacy_area(image: &mut [u8]) {
    if image.len() > XSTATE_BV {
        let present = get_u64(image, XSTATE_BV) | 0b11;
        put(image, XSTATE_BV, &present.to_le_bytes());
    }
}

fn current() -> &'static super::Context {
    // SAFETY:
    // - in the kernel on a CPU that is up there is a current context, which lives while it is current.
    unsafe { &*percpu::current() }
}
