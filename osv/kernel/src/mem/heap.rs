//! The kernel's heap: what `alloc` and its collections live on.
//!
//! Up to 2 KiB an object comes from its size class: a free list for each CPU, refilled in batches from slabs, which are
//! single frames cut into objects. A slab's free list and its place among the slabs of its class are kept in the word of its
//! frame, so objects have no headers and a slab is all objects. Above 2 KiB an object is whole frames, with what the buddy
//! allocator's power of two has too much given back at once. The size comes back with `dealloc`, so nothing is looked up.
//!
//! The rule for callers: a failed allocation of a small thing panics, as everywhere in Rust, and the reserve that
//! programs cannot touch makes that improbable; whatever a *program* can make large (buffers, tables, anything
//! whose length it chooses) is allocated with `try_reserve` and becomes ENOMEM.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::null_mut;

use super::frame::pool::{self, Purpose};
use super::phys::{PAGE_SHIFT, PAGE_SIZE, to_virt};
use crate::sync::{IrqOff, SpinLock};

/// The sizes of objects; each is a multiple of 16, and of every power of two that it is asked to be aligned to.
const SIZES: [u16; CLASSES] = [16, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 1344, 2048];
const CLASSES: usize = 14;
/// The largest size that comes from a class.
const LARGEST: usize = 2048;

/// The class for each size in steps of 16 bytes.
static CLASS_OF: [u8; LARGEST / 16 + 1] = {
    let mut table = [0; LARGEST / 16 + 1];
    let (mut step, mut class) = (0, 0);
    while step <= LARGEST / 16 {
        if step * 16 > SIZES[class] as usize {
            class += 1;
        }
        table[step] = class as u8;
        step += 1;
    }
    table
};

/// The class whose objects serve `layout`; `None` if it takes whole frames.
#[inline(always)]
fn class_for(layout: Layout) -> Option<usize> {
    if layout.size() > LARGEST || layout.align() > LARGEST {
        return None;
    }
    let mut class = CLASS_OF[layout.size().max(1).div_ceil(16)] as usize;
    // Objects lie at multiples of their size in an aligned frame; the alignment is a power of two, and 16 fits all.
    while layout.align() > 16 && usize::from(SIZES[class]) & (layout.align() - 1) != 0 {
        class += 1;
    }
    Some(class)
}

/// Objects that move between a CPU's list and the slabs at once: 2 KiB of them, but 2 to 32.
static BATCH: [u8; CLASSES] = {
    let mut table = [0; CLASSES];
    let mut class = 0;
    while class < CLASSES {
        let by_bytes = 2048 / SIZES[class];
        table[class] = if by_bytes < 2 {
            2
        } else if by_bytes > 32 {
            32
        } else {
            by_bytes as u8
        };
        class += 1;
    }
    table
};

#[inline]
fn batch(class: usize) -> usize {
    usize::from(BATCH[class])
}

/// A list of free objects, linked through their first word.
#[derive(Clone, Copy)]
struct FreeList {
    head: *mut u8,
    count: usize,
}

impl FreeList {
    const EMPTY: FreeList = FreeList { head: null_mut(), count: 0 };

    /// Puts an object on the list.
    ///
    /// # Safety
    /// - `object` is free, at least 8 bytes, aligned to them, and on no list.
    #[inline]
    unsafe fn push(&mut self, object: *mut u8) {
        // SAFETY:
        // - the object is free, so its first word is the list's to use.
        unsafe { object.cast::<*mut u8>().write(self.head) };
        self.head = object;
        self.count += 1;
    }

    #[inline]
    fn pop(&mut self) -> Option<*mut u8> {
        let object = self.head;
        if object.is_null() {
            return None;
        }
        // SAFETY:
        // - objects on the list are free and carry the link to the next one.
        self.head = unsafe { object.cast::<*mut u8>().read() };
        self.count -= 1;
        Some(object)
    }
}

/// The lists of one CPU.
#[repr(align(64))]
struct Lists([FreeList; CLASSES]);

// SAFETY:
// - free objects belong to whoever has the list, on whatever CPU.
unsafe impl Send for Lists {}

/// The word of a slab's frame: its free objects, and the next slab of its class that has some. Objects that were never
/// handed out are on no list: they begin with the one numbered `used`.
#[derive(Clone, Copy)]
struct Slab {
    /// Number of the first object that was given back, or [`Slab::NONE`]; its own first two bytes say which is next.
    first: u16,
    free: u16,
    used: u16,
    next: u32,
}

impl Slab {
    const NONE: u16 = 0x1ff;

    fn load(frame: u32) -> Slab {
        let word = pool::word(frame).load(core::sync::atomic::Ordering::Relaxed);
        let field = |shift: u32| (word >> shift & 0x1ff) as u16;
        Slab { next: (word & 0xfff_ffff) as u32, first: field(28), free: field(37), used: field(46) }
    }

    fn store(self, frame: u32) {
        let fields = u64::from(self.first) << 28 | u64::from(self.free) << 37 | u64::from(self.used) << 46;
        let word = u64::from(self.next) | fields;
        pool::word(frame).store(word, core::sync::atomic::Ordering::Relaxed);
    }
}

/// The slabs of one class that have free objects: a list of frames, 0 at its end.
struct Class {
    partial: u32,
    /// Slabs on the list that are wholly free.
    empty: usize,
}

static LISTS: [SpinLock<Lists, IrqOff>; super::MAX_CPUS] =
    [const { SpinLock::new(Lists([FreeList::EMPTY; CLASSES])) }; super::MAX_CPUS];
static SLABS: [SpinLock<Class, IrqOff>; CLASSES] = [const { SpinLock::new(Class { partial: 0, empty: 0 }) }; CLASSES];

/// Frames that slabs and larger objects occupy.
static FRAMES: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);

/// Frames that the heap occupies.
pub(super) fn frames() -> usize {
    FRAMES.load(core::sync::atomic::Ordering::Relaxed)
}

fn count_frames(change: isize) {
    FRAMES.fetch_add(change as usize, core::sync::atomic::Ordering::Relaxed);
}

fn objects_per_slab(class: usize) -> u16 {
    PAGE_SIZE as u16 / SIZES[class]
}

fn object_at(frame: u32, number: u16, class: usize) -> *mut u8 {
    to_virt(u64::from(frame) << PAGE_SHIFT).wrapping_add(usize::from(number) * usize::from(SIZES[class]))
}

impl Class {
    /// Moves up to `most` objects from the first slab that has some to `list`.
    fn take_batch(&mut self, class: usize, most: usize, list: &mut FreeList) {
        let frame = self.partial;
        if frame == 0 {
            return;
        }
        let mut slab = Slab::load(frame);
        if slab.free == objects_per_slab(class) {
            self.empty -= 1;
        }
        let count = most.min(usize::from(slab.free));
        for _ in 0..count {
            let is_new = slab.first == Slab::NONE;
            let object = object_at(frame, if is_new { slab.used } else { slab.first }, class);
            if is_new {
                slab.used += 1;
            } else {
                // SAFETY:
                // - an object that was given back carries the number of the next one.
                slab.first = unsafe { object.cast::<u16>().read() };
            }
            // SAFETY:
            // - the object is free, and on no list any more.
            unsafe { list.push(object) };
        }
        slab.free -= count as u16;
        if slab.free == 0 {
            self.partial = slab.next;
        }
        slab.store(frame);
    }

    /// Puts an object back into its slab.
    ///
    /// # Safety
    /// - `object` is a free object of this class, on no list.
    unsafe fn put(&mut self, object: *mut u8, class: usize) {
        let offset = object as usize - to_virt(0) as usize;
        let frame = (offset >> PAGE_SHIFT) as u32;
        let mut slab = Slab::load(frame);
        // SAFETY:
        // - the object is free, so its first bytes are the slab's to use.
        unsafe { object.cast::<u16>().write(slab.first) };
        slab.first = ((offset % PAGE_SIZE) / usize::from(SIZES[class])) as u16;
        slab.free += 1;
        if slab.free == 1 {
            slab.next = self.partial;
            self.partial = frame;
        }
        if slab.free == objects_per_slab(class) {
            self.empty += 1;
        }
        slab.store(frame);
    }

    /// Makes a frame a slab.
    fn add_slab(&mut self, frame: u32, class: usize) {
        Slab { first: Slab::NONE, free: objects_per_slab(class), used: 0, next: self.partial }.store(frame);
        self.partial = frame;
        self.empty += 1;
    }

    /// Gives wholly free slabs back, but for `keep` of them.
    fn release_empty(&mut self, class: usize, keep: usize) -> usize {
        let (mut previous, mut frame, mut released) = (0, self.partial, 0);
        while frame != 0 && self.empty > keep {
            let slab = Slab::load(frame);
            if slab.free == objects_per_slab(class) {
                if previous == 0 {
                    self.partial = slab.next;
                } else {
                    Slab { next: slab.next, ..Slab::load(previous) }.store(previous);
                }
                self.empty -= 1;
                released += 1;
                pool::word(frame).store(0, core::sync::atomic::Ordering::Relaxed);
                pool::free_block(frame, 0);
            } else {
                previous = frame;
            }
            frame = slab.next;
        }
        count_frames(-(released as isize));
        released
    }
}

/// Wholly free slabs that a class keeps for itself.
const KEEP_EMPTY: usize = 4;

/// An object of `class`, from this CPU's list.
#[inline(always)]
fn take(class: usize) -> *mut u8 {
    if let Some(object) = LISTS[super::cpu()].lock().0[class].pop() {
        return object;
    }
    refill(class)
}

/// Puts an object on this CPU's list.
///
/// # Safety
/// - `object` is an object of `class` that nobody uses any more.
#[inline(always)]
unsafe fn give(object: *mut u8, class: usize) {
    let mut lists = LISTS[super::cpu()].lock();
    let list = &mut lists.0[class];
    // SAFETY:
    // - the object is free, and on no list.
    unsafe { list.push(object) };
    if list.count > 2 * batch(class) {
        drain(list, class, batch(class));
    }
}

/// Fills this CPU's list of a class, and takes an object from it.
#[cold]
#[inline(never)]
fn refill(class: usize) -> *mut u8 {
    loop {
        {
            let mut lists = LISTS[super::cpu()].lock();
            let list = &mut lists.0[class];
            SLABS[class].lock().take_batch(class, batch(class), list);
            if let Some(object) = list.pop() {
                return object;
            }
        }
        let Some(frame) = pool::alloc(Purpose::Kernel) else { return null_mut() };
        count_frames(1);
        SLABS[class].lock().add_slab(frame, class);
    }
}

#[cold]
#[inline(never)]
fn drain(list: &mut FreeList, class: usize, keep: usize) {
    let mut slabs = SLABS[class].lock();
    while list.count > keep {
        let Some(object) = list.pop() else { break };
        // SAFETY:
        // - it was on the CPU's list of this class, and is on none now.
        unsafe { slabs.put(object, class) };
    }
    if slabs.empty > 2 * KEEP_EMPTY {
        slabs.release_empty(class, KEEP_EMPTY);
    }
}

/// Gives back all frames that hold no object. The lists of other CPUs are emptied, too.
pub(super) fn shrink() -> usize {
    let mut released = 0;
    for (class, slabs) in SLABS.iter().enumerate() {
        for lists in &LISTS {
            let Some(mut lists) = lists.try_lock() else { continue };
            drain(&mut lists.0[class], class, 0);
        }
        if let Some(mut slabs) = slabs.try_lock() {
            released += slabs.release_empty(class, 0);
        }
    }
    released
}

/// The kernel's allocator.
pub struct Heap;

// SAFETY:
// - objects come from lists of free memory and are on none while they are allocated;
// - classes and whole frames are as large and as aligned as the layout asks.
//
// Both stay functions: hundreds of places allocate and free.
unsafe impl GlobalAlloc for Heap {
    #[inline(never)]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class_for(layout) {
            Some(class) => take(class),
            None => alloc_frames(layout),
        }
    }

    #[inline(never)]
    unsafe fn dealloc(&self, object: *mut u8, layout: Layout) {
        match class_for(layout) {
            // SAFETY:
            // - the caller gives up the object, which came from this class.
            Some(class) => unsafe { give(object, class) },
            None => free_frames(object, layout),
        }
    }

    unsafe fn realloc(&self, object: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY:
        // - the caller vouches for size and alignment.
        let new_layout = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        if fills_the_same(layout, new_layout) {
            return object;
        }
        // SAFETY:
        // - the new object is as large as both copies need; the old one is the caller's to give up.
        unsafe {
            let new = self.alloc(new_layout);
            if !new.is_null() {
                core::ptr::copy_nonoverlapping(object, new, layout.size().min(new_size));
                self.dealloc(object, layout);
            }
            new
        }
    }
}

/// Whether an object of one layout is as good for the other.
fn fills_the_same(old: Layout, new: Layout) -> bool {
    match (class_for(old), class_for(new)) {
        (Some(old), Some(new)) => old == new,
        (None, None) => frame_count(old) == frame_count(new),
        _ => false,
    }
}

fn frame_count(layout: Layout) -> usize {
    layout.size().div_ceil(PAGE_SIZE)
}

/// Frames of the largest object that may come from the reserve.
const MOST_FROM_RESERVE: usize = 16;

/// Whole frames, in one run.
fn alloc_frames(layout: Layout) -> *mut u8 {
    let count = frame_count(layout);
    let order = count.max(layout.align() / PAGE_SIZE).next_power_of_two().trailing_zeros() as usize;
    // What is large is as long as a program wanted: it is asked for fallibly, and not at the expense of the reserve.
    let purpose = if count > MOST_FROM_RESERVE { Purpose::Program } else { Purpose::Kernel };
    let block = if order == 0 { pool::alloc(purpose) } else { pool::alloc_block(order, purpose) };
    let Some(block) = block else { return null_mut() };
    if count < 1 << order {
        pool::free_range(block + count as u32, block + (1 << order));
    }
    count_frames(count as isize);
    to_virt(u64::from(block) << PAGE_SHIFT)
}

fn free_frames(object: *mut u8, layout: Layout) {
    let first = ((object as usize - to_virt(0) as usize) >> PAGE_SHIFT) as u32;
    let count = frame_count(layout);
    count_frames(-(count as isize));
    match count {
        1 => pool::free(first),
        _ => pool::free_range(first, first + count as u32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn classes_fit() {
        for size in 0..=LARGEST {
            for shift in 0..=11 {
                let layout = Layout::from_size_align(size, 1 << shift).unwrap();
                let class = class_for(layout).unwrap();
                assert!(SIZES[class] as usize >= size && (SIZES[class] as usize).is_multiple_of(layout.align()));
            }
        }
    }

    #[test]
    fn slabs_are_given_back() {
        let layout = Layout::from_size_align(1344, 16).unwrap();
        // SAFETY: every object is freed once, with its layout.
        unsafe {
            let objects: Vec<_> = (0..1000).map(|_| Heap.alloc(layout)).collect();
            assert!(objects.iter().all(|object| !object.is_null()));
            for object in objects {
                Heap.dealloc(object, layout);
            }
        }
        assert!(SLABS[12].lock().empty <= 2 * KEEP_EMPTY + 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        #[test]
        fn objects_do_not_overlap(steps in prop::collection::vec((1usize..40_000, 0u32..8, any::<bool>()), 1..300)) {
            let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
            let check = |(object, layout, mark): (*mut u8, Layout, u8)| {
                // SAFETY: the object is allocated with this layout.
                let bytes = unsafe { core::slice::from_raw_parts(object, layout.size()) };
                assert!(bytes.iter().all(|&byte| byte == mark));
            };
            for (number, (size, shift, take)) in steps.into_iter().enumerate() {
                if take || held.is_empty() {
                    let layout = Layout::from_size_align(size >> shift | 1, 1 << shift).unwrap();
                    // SAFETY: the size is not 0.
                    let object = unsafe { Heap.alloc(layout) };
                    prop_assert!(!object.is_null() && (object as usize).is_multiple_of(layout.align()));
                    // SAFETY: it is that large.
                    unsafe { object.write_bytes(number as u8, layout.size()) };
                    held.push((object, layout, number as u8));
                } else {
                    let entry = held.swap_remove(size % held.len());
                    check(entry);
                    // SAFETY: it is allocated and freed once.
                    unsafe { Heap.dealloc(entry.0, entry.1) };
                }
            }
            for entry in held {
                check(entry);
                // SAFETY: as above.
                unsafe { Heap.dealloc(entry.0, entry.1) };
            }
        }
    }
}
