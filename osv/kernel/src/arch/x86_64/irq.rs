//! The interrupt flag of this CPU.

use core::marker::PhantomData;

/// Interrupts stay off on this CPU while the guard lives; it restores what it found, so guards nest.
///
/// Does nothing in host tests, where the program may not touch the flag.
#[must_use = "interrupts are restored when the guard is dropped"]
pub struct IrqGuard {
    #[cfg_attr(test, expect(dead_code))]
    was_enabled: bool,
    /// The flag belongs to a CPU: the guard may not move to another thread.
    not_send: PhantomData<*const ()>,
}

impl IrqGuard {
    /// Turns interrupts off.
    #[inline(always)]
    #[expect(clippy::new_without_default, reason = "taking a guard is an action")]
    pub fn new() -> IrqGuard {
        IrqGuard { was_enabled: disable(), not_send: PhantomData }
    }
}

impl Drop for IrqGuard {
    #[inline(always)]
    fn drop(&mut self) {
        #[cfg(not(test))]
        if self.was_enabled {
            x86_64::instructions::interrupts::enable();
        }
    }
}

/// Turns interrupts off and tells whether they were on.
#[inline(always)]
fn disable() -> bool {
    #[cfg(test)]
    return false;
    #[cfg(not(test))]
    {
        let was_enabled = x86_64::instructions::interrupts::are_enabled();
        x86_64::instructions::interrupts::disable();
        was_enabled
    }
}
