//! Memory: the calls on mappings.

mod advise;
mod brk;
mod lock;
mod map;
mod policy;
mod protect;
mod remap;
mod remote;
mod sync;

pub use advise::madvise;
pub use brk::brk;
pub use lock::{mlock, mlock2, mlockall, munlock, munlockall};
pub use map::{mmap, munmap};
pub use policy::{get_mempolicy, mbind, migrate_pages, move_pages, set_mempolicy, set_mempolicy_home_node};
pub use protect::{mprotect, pkey_alloc, pkey_free, pkey_mprotect};
pub use remap::{mremap, remap_file_pages};
pub use remote::{process_madvise, process_vm_readv, process_vm_writev};
pub use sync::{mincore, msync};

use alloc::sync::Arc;

use linux_raw_sys::general;

use super::{Fd, SysResult};
use crate::errno::{Errno, Result};
use crate::mem::space::{AddressSpace, Prot};
use crate::process::current_process;

/// The caller's address space.
#[inline(always)]
fn space() -> Result<Arc<AddressSpace>> {
    current_process().space()
}

/// `PROT_*`; bits that mean nothing are ignored, as on Linux.
fn prot(bits: u64) -> Prot {
    Prot::from_bits_truncate((bits & 7) as u8)
}
