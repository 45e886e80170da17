//! What a futex word is, seen from a process: the key under which `sched::futex` knows it.

use super::current_process;
use crate::errno::Result;
use crate::sched::futex::Key;

/// The key of the word at `address` in the current process: by the address space for a private futex, by the mapped
/// object for one that processes share. EFAULT if nothing is mapped there.
#[inline(always)]
pub fn futex_key(address: u64, is_shared: bool) -> Result<Key> {
    if is_shared {
        return shared_futex_key(address);
    }
    current_process().with_space(|space| space.private_futex_key(address))
}

#[inline(never)]
fn shared_futex_key(address: u64) -> Result<Key> {
    current_process().space()?.futex_key(address)
}
