//! Address spaces: what a process has mapped, and the page tables that make it so.
//!
//! [`AddressSpace`] is shared by the threads of a process. Mapping only records an area; pages come when they are
//! touched (`fault`). The areas are under a sleeping lock: faults share it, whatever changes areas or takes
//! pages away has it alone. So entries of page tables that are empty are filled by racing faults (the first wins), those
//! that are populated are replaced under `replacing`, and entries and tables disappear only under the exclusive lock.
//!
//! Where things go is as on Linux: the stack at the top, mappings below it from the top down, position-independent programs
//! at two thirds of the lower half, the heap behind the program, each moved by a random number of pages.

mod advise;
mod brk;
mod change;
mod fault;
mod fork;
mod gather;
mod map;
mod policy;
mod remap;
mod remote;
mod report;
pub mod vma;

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::layout::{PAGE_SIZE, USER_END};
use super::mappers::Mappers;
use super::paging::{Entry, Flags, PageTables};
use super::tlb;
use crate::errno::{Errno, Result};
use crate::sched::RwLock;
use crate::sync::SpinLock;
use vma::Vmas;

pub use advise::{Advice, Residency};
pub use fault::{Access, Fault};
pub use map::{ALWAYS_OVERCOMMITS, MapFlags, MapRequest};
pub use policy::{PageState, Policy};
pub use remap::{RemapFlags, RemapRequest};
pub use report::{AreaInfo, PageInfo, Usage};
pub use vma::{AREA_LIMIT, AreaFlags, FilePart, Prot};

const PAGE: u64 = PAGE_SIZE as u64;

/// The limits of setrlimit(2) that concern memory, in bytes; `u64::MAX` for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// RLIMIT_AS: all areas together.
    pub address_space: u64,
    /// RLIMIT_DATA: the heap, and all other private memory that may be written.
    pub data: u64,
    /// RLIMIT_STACK: how far the stack grows.
    pub stack: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { address_space: u64::MAX, data: u64::MAX, stack: 8 << 20 }
    }
}

/// What the lock of an address space guards.
struct Areas {
    vmas: Vmas,
    /// Where the heap starts, and where it ends now (not rounded).
    brk_start: u64,
    brk_end: u64,
    /// Mappings are placed below this.
    mmap_top: u64,
    /// `mlockall(MCL_FUTURE)`: how new areas are locked.
    future: AreaFlags,
}

/// What a process has mapped.
pub struct AddressSpace {
    tables: PageTables,
    areas: RwLock<Areas>,
    /// Held while a populated entry is read for its frame or replaced by a fault.
    replacing: SpinLock<()>,
    /// CPUs that may have translations cached: a bit each.
    cpus: AtomicU64,
    /// Big pages that are mapped.
    big_pages: AtomicUsize,
    anonymous_pages: AtomicUsize,
    file_pages: AtomicUsize,
    peak_pages: AtomicUsize,
    limits: [AtomicU64; 3],
    /// The random numbers of the layout.
    seed: u64,
}

/// A random number of pages below `pages`, different for each `what`.
fn random_pages(seed: u64, what: u64, pages: u64) -> u64 {
    // SplitMix64: every bit of the seed and of `what` changes every bit of the result.
    let mut bits = seed.wrapping_add((what + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    if seed == 0 { 0 } else { ((bits ^ bits >> 31) & (pages - 1)) * PAGE }
}

/// How far the stack, mappings, programs and the heap are moved at random, in pages: Linux' numbers.
const STACK_RANDOM: u64 = 1 << 22;
const MMAP_RANDOM: u64 = 1 << 28;
const BRK_RANDOM: u64 = 1 << 13;

impl AddressSpace {
    /// An empty space. `seed` makes its layout random; 0 gives the same layout each time (ADDR_NO_RANDOMIZE).
    pub fn new(seed: u64, limits: Limits) -> Result<Arc<AddressSpace>> {
        let space = AddressSpace {
            tables: PageTables::new()?,
            areas: RwLock::new(Areas {
                vmas: Vmas::new(),
                brk_start: 0,
                brk_end: 0,
                mmap_top: mmap_top(seed, limits.stack),
                future: AreaFlags::empty(),
            }),
            replacing: SpinLock::new(()),
            cpus: AtomicU64::new(0),
            big_pages: AtomicUsize::new(0),
            anonymous_pages: AtomicUsize::new(0),
            file_pages: AtomicUsize::new(0),
            peak_pages: AtomicUsize::new(0),
            limits: [limits.address_space, limits.data, limits.stack].map(AtomicU64::new),
            seed,
        };
        Ok(Arc::new(space))
    }

    /// Loads the space on this CPU, unless it is loaded already. To be called with interrupts off.
    #[inline]
    pub fn activate(&self) {
        tlb::activate(self);
    }

    /// Loads the kernel's own tables on this CPU, with nothing in the lower half. To be called with interrupts off.
    pub fn activate_kernel() {
        tlb::activate_kernel();
    }

    /// Where the stack of the first thread ends.
    pub fn stack_top(&self) -> u64 {
        USER_END - random_pages(self.seed, 0, STACK_RANDOM)
    }

    /// Where a position-independent program is loaded.
    pub fn program_base(&self) -> u64 {
        ((USER_END / 3 * 2) & !(PAGE - 1)) + random_pages(self.seed, 2, MMAP_RANDOM)
    }

    /// Changes the limits of the process.
    pub fn set_limits(&self, limits: Limits) {
        for (slot, value) in self.limits.iter().zip([limits.address_space, limits.data, limits.stack]) {
            slot.store(value, Ordering::Relaxed);
        }
    }

    /// The limits of the process.
    pub fn limits(&self) -> Limits {
        let [address_space, data, stack] = [0, 1, 2].map(|number: usize| self.limits[number].load(Ordering::Relaxed));
        Limits { address_space, data, stack }
    }

    /// The CPUs whose current program uses it, or used it last.
    pub fn running_cpus(&self) -> u64 {
        self.cpus.load(Ordering::SeqCst)
    }

    pub(super) fn cpus(&self) -> &AtomicU64 {
        &self.cpus
    }

    pub(super) fn root(&self) -> u64 {
        self.tables.root()
    }

    /// Counts a page in or out of the process' resident memory.
    #[inline]
    fn count_page(&self, entry: Entry, change: isize) {
        if !entry.has(Flags::COUNTED) {
            return;
        }
        let counter = if entry.has(Flags::FILE) { &self.file_pages } else { &self.anonymous_pages };
        counter.fetch_add(change as usize, Ordering::Relaxed);
    }

    /// ENOMEM if `more` bytes of memory of the process' own, with `prot` and `flags`, would be too many.
    fn check_data_limit(&self, areas: &Areas, more: u64, prot: Prot, flags: AreaFlags) -> Result<()> {
        let limit = self.limits[1].load(Ordering::Relaxed);
        if limit == u64::MAX || !is_data(prot, flags) {
            return Ok(());
        }
        let data: u64 = areas.vmas.iter().filter(|area| is_data(area.prot, area.flags)).map(vma::Area::bytes).sum();
        if data.saturating_add(more) > limit { Err(Errno::ENOMEM) } else { Ok(()) }
    }

    /// ENOMEM if `more` bytes of areas would be too many.
    fn check_limit(&self, areas: &Areas, more: u64) -> Result<()> {
        match areas.vmas.total().checked_add(more) {
            Some(total) if total <= self.limits[0].load(Ordering::Relaxed) => Ok(()),
            _ => Err(Errno::ENOMEM),
        }
    }

    /// Whether an area shows `object` shared and may be written.
    pub(super) fn writes_to(&self, object: &Mappers) -> bool {
        self.areas
            .read()
            .vmas
            .iter()
            .any(|area| area.is_shared() && !area.flags.contains(AreaFlags::NEVER_WRITE) && area.shows(object))
    }

    /// Takes pages of `object` out, from `first` up to `end`: it has been cut off there.
    pub(super) fn unmap_object(&self, object: &Mappers, first: u64, end: u64) {
        let areas = self.areas.write();
        for area in areas.vmas.iter() {
            let Some(file) = &area.file else { continue };
            if !area.shows(object) {
                continue;
            }
            let from = first.saturating_mul(PAGE).max(file.offset) - file.offset;
            let to = end.saturating_mul(PAGE).max(file.offset) - file.offset;
            if from < area.bytes() && from < to {
                self.unmap_pages(area.start + from, area.start + to.min(area.bytes()));
            }
        }
    }
}

/// Whether an area counts as data: private, writable, no stack.
fn is_data(prot: Prot, flags: AreaFlags) -> bool {
    prot.contains(Prot::WRITE) && !flags.intersects(AreaFlags::SHARED | AreaFlags::GROWS_DOWN)
}

/// Where mappings start: below the largest stack and the random part of its place.
fn mmap_top(seed: u64, stack_limit: u64) -> u64 {
    const GUARD: u64 = 256 * PAGE;
    let gap = stack_limit.saturating_add(GUARD + STACK_RANDOM * PAGE).clamp(128 << 20, USER_END / 6 * 5);
    (USER_END - gap - random_pages(seed, 1, MMAP_RANDOM)) & !(PAGE - 1)
}

impl Drop for AddressSpace {
    fn drop(&mut self) {
        tlb::evict(self);
        self.free_all_pages();
    }
}

#[cfg(test)]
mod tests;
