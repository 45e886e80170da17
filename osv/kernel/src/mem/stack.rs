//! Kernel stacks, one for each thread.
//!
//! A stack lies in a slot of its own in the `STACKS` area: pages that stay unmapped, so that an overflow faults instead of
//! eating its neighbour, then the stack. Making one means filling page tables, so stacks that are not used any more are
//! kept for the next thread; their pages stay mapped for good, so that no CPU ever has to forget a translation.

use super::frame::Frame;
use super::kernel_map;
use super::layout::{PAGE_SIZE, STACKS, TOP_ENTRY_BYTES};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;

/// Bytes of a stack.
pub const STACK_BYTES: usize = 6 * PAGE_SIZE;
/// Bytes from one stack to the next; what the stack does not use of it is its guard.
const SLOT_BYTES: usize = 8 * PAGE_SIZE;
const SLOTS: u32 = (TOP_ENTRY_BYTES / SLOT_BYTES as u64) as u32;

struct Slots {
    /// Unused stacks: the last one; each says in its lowest word which is next (a slot's number plus 1, 0 for none).
    free: u32,
    /// Slots that were ever used.
    used: u32,
}

static SLOTS_LOCK: SpinLock<Slots> = SpinLock::new(Slots { free: 0, used: 0 });

/// A mapped kernel stack; goes back to the unused ones when dropped.
#[derive(Debug)]
pub struct KernelStack {
    slot: u32,
}

fn bottom_of(slot: u32) -> u64 {
    STACKS + u64::from(slot) * SLOT_BYTES as u64 + (SLOT_BYTES - STACK_BYTES) as u64
}

impl KernelStack {
    /// A stack that nobody uses; ENOMEM without memory for it. What is on it is old.
    pub fn new() -> Result<KernelStack> {
        let mut slots = SLOTS_LOCK.lock();
        if slots.free != 0 {
            let slot = slots.free - 1;
            // SAFETY:
            // - an unused stack is mapped and keeps the link in its lowest word.
            slots.free = unsafe { (bottom_of(slot) as *const u32).read() };
            return Ok(KernelStack { slot });
        }
        if slots.used == SLOTS {
            return Err(Errno::ENOMEM);
        }
        let slot = slots.used;
        map(slot)?;
        slots.used += 1;
        Ok(KernelStack { slot })
    }

    /// The address past its highest byte: where a stack pointer starts.
    pub fn top(&self) -> u64 {
        bottom_of(self.slot) + STACK_BYTES as u64
    }

    /// Its lowest address.
    pub fn bottom(&self) -> u64 {
        bottom_of(self.slot)
    }
}

/// Maps the pages of a slot; those of an earlier attempt that ran out of memory are already there.
fn map(slot: u32) -> Result<()> {
    for page in 0..STACK_BYTES / PAGE_SIZE {
        let addr = bottom_of(slot) + (page * PAGE_SIZE) as u64;
        if !kernel_map::is_mapped(addr) {
            // Programs ask for threads: a stack is not for the reserve.
            kernel_map::map_page(addr, Frame::alloc_uninit()?)?;
        }
    }
    Ok(())
}

/// Whether `addr` is in a guard: an access there is a stack overflow.
pub fn is_guard(addr: u64) -> bool {
    let area = STACKS..STACKS + TOP_ENTRY_BYTES;
    area.contains(&addr) && (addr - STACKS) % (SLOT_BYTES as u64) < (SLOT_BYTES - STACK_BYTES) as u64
}

impl Drop for KernelStack {
    fn drop(&mut self) {
        let mut slots = SLOTS_LOCK.lock();
        // SAFETY:
        // - the stack is mapped, and its owner is done with it.
        unsafe { (bottom_of(self.slot) as *mut u32).write(slots.free) };
        slots.free = self.slot + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_lie_below_stacks() {
        assert!(is_guard(STACKS));
        assert!(is_guard(bottom_of(3) - 1) && !is_guard(bottom_of(3)));
        assert!(is_guard(bottom_of(3) + STACK_BYTES as u64));
        assert!(!is_guard(STACKS - 1));
    }
}
