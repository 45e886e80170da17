//! The alternate stack for handlers: sigaltstack(2).

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{Errno, Result};

/// `stack_t`, as programs pass it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct UserStack {
    /// Its lowest address.
    pub address: u64,
    /// `SS_*`.
    pub flags: u32,
    /// Nothing.
    pub padding: u32,
    /// Its size in bytes.
    pub size: u64,
}

/// A task's alternate stack; of size 0 if it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AltStack {
    address: u64,
    size: u64,
    is_disarmed_by_use: bool,
}

impl AltStack {
    /// None.
    pub const NONE: AltStack = AltStack { address: 0, size: 0, is_disarmed_by_use: false };

    /// Whether a program with this stack pointer runs on it.
    pub fn is_in_use(&self, stack_pointer: u64) -> bool {
        !self.is_disarmed_by_use && self.contains(stack_pointer)
    }

    /// Whether the address lies in it.
    pub fn contains(&self, stack_pointer: u64) -> bool {
        stack_pointer > self.address && stack_pointer - self.address <= self.size
    }

    /// Where a handler starts that wants to run on it, unless there is none or it is in use.
    pub fn top_for(&self, stack_pointer: u64) -> Option<u64> {
        let is_free = self.size != 0 && !self.is_in_use(stack_pointer);
        is_free.then(|| self.address.wrapping_add(self.size))
    }

    /// What is left of it once a handler runs on it.
    pub fn after_use(self) -> AltStack {
        if self.is_disarmed_by_use { AltStack::NONE } else { self }
    }

    /// What a program is told of it.
    pub fn to_user(&self, stack_pointer: u64) -> UserStack {
        let state = match self.size {
            0 => linux::SS_DISABLE,
            _ if self.is_in_use(stack_pointer) => linux::SS_ONSTACK,
            _ => 0,
        };
        let auto = if self.is_disarmed_by_use { linux::SS_AUTODISARM } else { 0 };
        UserStack { address: self.address, flags: state | auto, padding: 0, size: self.size }
    }

    /// The stack that a program wants, which now has this one and needs at least `min_size` bytes for a frame.
    pub fn replaced_by(&self, wanted: &UserStack, stack_pointer: u64, min_size: u64) -> Result<AltStack> {
        if self.is_in_use(stack_pointer) {
            return Err(Errno::EPERM);
        }
        match wanted.flags & !linux::SS_AUTODISARM {
            linux::SS_DISABLE => Ok(AltStack::NONE),
            0 | linux::SS_ONSTACK if wanted.size < min_size => Err(Errno::ENOMEM),
            0 | linux::SS_ONSTACK => Ok(AltStack {
                address: wanted.address,
                size: wanted.size,
                is_disarmed_by_use: wanted.flags & linux::SS_AUTODISARM != 0,
            }),
            _ => Err(Errno::EINVAL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(flags: u32, size: u64) -> UserStack {
        UserStack { address: 0x1000, flags, padding: 0, size }
    }

    #[test]
    fn rules_of_sigaltstack() {
        let none = AltStack::NONE;
        assert_eq!(none.replaced_by(&wanted(4, 8192), 0, 2048), Err(Errno::EINVAL));
        assert_eq!(none.replaced_by(&wanted(0, 2047), 0, 2048), Err(Errno::ENOMEM));
        let stack = none.replaced_by(&wanted(0, 8192), 0, 2048).unwrap();
        assert_eq!(stack.top_for(0x9000), Some(0x3000));
        assert_eq!(stack.top_for(0x2000), None);
        assert_eq!(stack.to_user(0x2000).flags, linux::SS_ONSTACK);
        assert_eq!(stack.replaced_by(&wanted(0, 8192), 0x2000, 2048), Err(Errno::EPERM));
        assert_eq!(stack.replaced_by(&wanted(linux::SS_DISABLE, 0), 0, 2048), Ok(none));
        assert_eq!(none.to_user(0).flags, linux::SS_DISABLE);
    }

    #[test]
    fn autodisarm_forgets_the_stack() {
        let stack = AltStack::NONE.replaced_by(&wanted(linux::SS_AUTODISARM, 8192), 0, 2048).unwrap();
        assert_eq!(stack.after_use(), AltStack::NONE);
        assert_eq!(stack.top_for(0x2000), Some(0x3000));
    }
}
