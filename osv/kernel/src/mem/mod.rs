//! Memory: frames, the heap, page tables, address spaces, the page cache, and programs' memory.
//!
//! From the bottom up:
//! - [`phys`] reaches RAM through the direct map; `buddy` and [`frame`] share it out; [`heap`] and [`stack`] serve the
//!   kernel itself; [`kernel_map`] is the upper half of every address space.
//! - [`paging`] knows page tables; [`object`] says what can be mapped, [`page_cache`] is how most of it is kept.
//! - [`user`] is the only way to a program's memory.
//!
//! `unsafe` is at home here; what the floors above see is safe to call with any argument.

mod buddy;
pub mod frame;
pub mod heap;
pub mod kernel_map;
pub mod layout;
pub mod mappers;
pub mod object;
pub mod page_cache;
pub mod paging;
pub mod phys;
pub mod reclaim;
pub mod space;
pub mod stack;
pub mod tlb;
pub mod user;

pub use frame::pool::set_low_handler;
pub use frame::{BigFrame, Frame};
pub use kernel_map::{map_firmware, map_mmio};
pub use page_cache::PageCache;
pub use stack::KernelStack;

use crate::arch::BootInfo;
use crate::errno::Result;

/// The most CPUs that have caches of their own.
const MAX_CPUS: usize = 64;

/// The number of the CPU that runs this.
#[inline(always)]
fn cpu() -> usize {
    crate::arch::cpu_id()
}

/// Takes over all memory: the kernel's own page tables, the frame allocator, the heap. The first thing at boot.
///
/// # Errors
/// ENOMEM if RAM is too small for that.
pub fn init(boot: &BootInfo) -> Result<()> {
    kernel_map::init(boot)
}

/// How much memory there is and what it is used for, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stats {
    /// All RAM that the kernel manages.
    pub total: u64,
    /// RAM that nobody uses.
    pub free: u64,
    /// RAM that programs could still get: free, without the kernel's reserve.
    pub available: u64,
    /// Pages of files.
    pub cached: u64,
    /// The kernel's heap.
    pub heap: u64,
}

/// How much memory there is right now.
pub fn stats() -> Stats {
    let page = phys::PAGE_SIZE as u64;
    let (total, free) = frame::pool::counts();
    Stats {
        total: total as u64 * page,
        free: free as u64 * page,
        available: frame::pool::available_to_programs() as u64 * page,
        cached: page_cache::cached_frames() as u64 * page,
        heap: heap::frames() as u64 * page,
    }
}
