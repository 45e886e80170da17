//! What a futex word is, seen from a process: the key under which `sched::futex` knows it.

use super::current_process;
use crate::errno::Result;
use crate::sched::futex::Key;

/// The key of the word at `address` in the current process: by the address space for a private futex, by the mapped
/// object for one that processes share. EFAULT if nothing is mapped there.
pub fn futex_key(address: u64, is_shared: bool) -> Result<Key> {
    current_process().space()?.futex_key(address, is_shared)
}
