//! The allocator: lists of free blocks, a power of two each, cut from memory that the kernel gives; what is larger gets
//! memory of its own and gives it back.

use core::alloc::{GlobalAlloc, Layout};
use core::hint;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::call::{call, number};

const PAGE: usize = 4096;
/// The smallest block, as a power of two.
const SMALLEST: u32 = 4;
/// The largest block that comes from a list.
const LARGEST: u32 = 15;
const CLASSES: usize = (LARGEST - SMALLEST + 1) as usize;
/// What the lists ask the kernel for at once.
const CHUNK: usize = 64 << 10;

/// The heap of the program.
pub struct Heap {
    is_locked: AtomicBool,
    lists: core::cell::UnsafeCell<[*mut Block; CLASSES]>,
}

/// A free block.
struct Block {
    next: *mut Block,
}

// SAFETY: the lists are touched under the lock only.
unsafe impl Sync for Heap {}

impl Heap {
    pub const fn new() -> Self {
        Self { is_locked: AtomicBool::new(false), lists: core::cell::UnsafeCell::new([ptr::null_mut(); CLASSES]) }
    }

    fn with_lists<T>(&self, act: impl FnOnce(&mut [*mut Block; CLASSES]) -> T) -> T {
        while self.is_locked.swap(true, Ordering::Acquire) {
            hint::spin_loop();
        }
        // SAFETY: whoever has set the flag has the lists alone.
        let result = act(unsafe { &mut *self.lists.get() });
        self.is_locked.store(false, Ordering::Release);
        result
    }

    fn allocate(&self, class: usize) -> *mut u8 {
        self.with_lists(|lists| {
            if lists[class].is_null() {
                lists[class] = refill(1 << (class as u32 + SMALLEST));
            }
            let block = lists[class];
            if !block.is_null() {
                // SAFETY: a block in the list is free memory that begins with the pointer to the next.
                lists[class] = unsafe { (*block).next };
            }
            block.cast()
        })
    }

    fn free(&self, class: usize, block: *mut u8) {
        let block = block.cast::<Block>();
        self.with_lists(|lists| {
            // SAFETY: the block is free, at least 16 bytes large and aligned to its size.
            unsafe { block.write(Block { next: lists[class] }) };
            lists[class] = block;
        });
    }
}

/// Cuts new memory into blocks of `size`, chained one to the next. Null if there is no memory.
fn refill(size: usize) -> *mut Block {
    let chunk = map(CHUNK);
    let mut list = ptr::null_mut();
    if chunk.is_null() {
        return list;
    }
    for index in (0..CHUNK / size).rev() {
        // SAFETY: the chunk holds so many blocks, which nobody uses yet.
        unsafe {
            let block = chunk.add(index * size).cast::<Block>();
            block.write(Block { next: list });
            list = block;
        }
    }
    list
}

/// The list for a layout, if there is one.
fn class_of(layout: Layout) -> Option<usize> {
    let size = layout.size().max(layout.align()).max(1 << SMALLEST).checked_next_power_of_two()?;
    (size <= 1 << LARGEST && layout.align() <= PAGE).then(|| (size.trailing_zeros() - SMALLEST) as usize)
}

fn map(len: usize) -> *mut u8 {
    const READ_WRITE: usize = 3;
    const PRIVATE_ANONYMOUS: usize = 0x22;
    // SAFETY: new memory, at a place that the kernel chooses.
    let result = unsafe { call(number::MMAP, [0, len, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0]) };
    result.map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut)
}

fn unmap(start: usize, len: usize) {
    if len != 0 {
        // SAFETY: the memory was mapped here and is not used any more.
        let _ = unsafe { call(number::MUNMAP, [start, len, 0, 0, 0, 0]) };
    }
}

/// Memory of its own for a layout, which may want to be aligned to more than a page.
fn map_aligned(layout: Layout) -> *mut u8 {
    let len = layout.size().next_multiple_of(PAGE);
    if layout.align() <= PAGE {
        return map(len);
    }
    let start = map(len + layout.align());
    if start.is_null() {
        return start;
    }
    let skipped = start.addr().next_multiple_of(layout.align()) - start.addr();
    unmap(start.addr(), skipped);
    unmap(start.addr() + skipped + len, layout.align() - skipped);
    start.wrapping_add(skipped)
}

// SAFETY:
// - a block belongs to one owner until it is freed: it is taken from its list under the lock;
// - blocks are as large as the layout says and aligned, since a block of a list is aligned to its size up to a page.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class_of(layout) {
            Some(class) => self.allocate(class),
            None => map_aligned(layout),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match class_of(layout) {
            Some(class) => self.free(class, block),
            None => unmap(block.addr(), layout.size().next_multiple_of(PAGE)),
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        const MAY_MOVE: usize = 1;
        // SAFETY: the caller promises that the size does not overflow when it is rounded up to the alignment.
        let wanted = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        let (old, new) = (class_of(layout), class_of(wanted));
        if old.is_some() && old == new {
            return block;
        }
        if old.is_none() && new.is_none() && layout.align() <= PAGE {
            let (from, to) = (layout.size().next_multiple_of(PAGE), size.next_multiple_of(PAGE));
            // SAFETY: the block is a mapping of its own.
            let moved = unsafe { call(number::MREMAP, [block.expose_provenance(), from, to, MAY_MOVE, 0, 0]) };
            return moved.map_or(ptr::null_mut(), ptr::with_exposed_provenance_mut);
        }
        // SAFETY: both blocks hold the smaller of the two sizes, and the old one is the caller's to give.
        unsafe {
            let other = self.alloc(wanted);
            if !other.is_null() {
                ptr::copy_nonoverlapping(block, other, layout.size().min(size));
                self.dealloc(block, layout);
            }
            other
        }
    }
}
