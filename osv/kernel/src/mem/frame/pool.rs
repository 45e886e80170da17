//! Where frames come from: magazines for each CPU, the buddy allocator behind them, and RAM not yet looked at.
//!
//! At boot the usable RAM is only noted. It enters the buddy allocator in sections of 32 MiB as it is needed, each
//! with the words for its frames taken from its own memory, so that a large machine boots as fast as a small one.
//! The words of all frames form one array at [`WORDS`]; parts of it that belong to no RAM are never read, except for
//! the rest of a section with holes, which stays zero: a hole is never a free buddy.

use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::mem::buddy::{Buddy, MAX_ORDER, Words};
use crate::mem::{heap, reclaim};
use crate::sync::{IrqOff, Once, SpinLock};

/// Who asks, and hence how far memory may run down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Purpose {
    /// The kernel itself: to the last frame.
    Kernel,
    /// A program or file data: the reserve is left.
    Program,
    /// Only nice to have: a good part of all memory is left.
    Luxury,
}

/// Frames that a section of RAM has, as the buddy allocator needs it.
pub const SECTION_FRAMES: u32 = 1 << MAX_ORDER;

/// Areas of usable RAM that can be noted.
const MAX_AREAS: usize = 64;

/// Frames that a magazine holds, and how many move at once.
const MAGAZINE_FRAMES: usize = 64;
const BATCH: usize = MAGAZINE_FRAMES / 2;

/// A half-open range of frame numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Area {
    /// The first frame.
    pub start: u32,
    /// The first frame after it.
    pub end: u32,
}

/// The words of all frames as an array in memory.
pub struct WordArray;

impl Words for WordArray {
    #[inline]
    fn get(&self, frame: u32) -> u64 {
        word(frame).load(Ordering::Relaxed)
    }
    #[inline]
    fn set(&mut self, frame: u32, value: u64) {
        word(frame).store(value, Ordering::Relaxed);
    }
}

#[cfg(not(test))]
fn words_base() -> *mut u8 {
    crate::mem::layout::WORDS as *mut u8
}

#[cfg(test)]
fn words_base() -> *mut u8 {
    crate::mem::phys::fake::words()
}

/// The word of an allocated frame: its reference count.
#[inline(always)]
pub fn word(frame: u32) -> &'static AtomicU64 {
    // SAFETY:
    // - callers name frames of RAM, whose words were mapped and zeroed before the frame was first handed out;
    // - words are only ever accessed atomically.
    unsafe { &*words_base().cast::<AtomicU64>().add(frame as usize) }
}

struct Pool {
    buddy: Buddy<WordArray>,
    /// Usable RAM that has not entered `buddy` yet, in no order.
    pending: [Area; MAX_AREAS],
    areas: usize,
}

#[repr(align(64))]
struct Magazine {
    count: usize,
    frames: [u32; MAGAZINE_FRAMES],
}

static POOL: SpinLock<Pool, IrqOff> =
    SpinLock::new(Pool { buddy: Buddy::new(WordArray), pending: [Area { start: 0, end: 0 }; MAX_AREAS], areas: 0 });

static MAGAZINES: [SpinLock<Magazine, IrqOff>; crate::mem::MAX_CPUS] =
    [const { SpinLock::new(Magazine { count: 0, frames: [0; MAGAZINE_FRAMES] }) }; crate::mem::MAX_CPUS];

/// All frames that were ever noted.
static TOTAL: AtomicUsize = AtomicUsize::new(0);
/// Frames that are not in use: in `buddy`, or pending. Magazines count as used.
static FREE: AtomicUsize = AtomicUsize::new(0);
/// Frames that programs must leave.
static RESERVE: AtomicUsize = AtomicUsize::new(0);
/// Frames that move between a magazine and the pool at once; fewer where memory is small.
static BATCH_NOW: AtomicUsize = AtomicUsize::new(BATCH);

/// Notes usable RAM; areas beyond the 64th are left unused, and `false` says so.
pub fn add_area(area: Area) -> bool {
    let mut pool = POOL.lock();
    if area.start >= area.end {
        return true;
    }
    if pool.areas == MAX_AREAS {
        return false;
    }
    let slot = pool.areas;
    pool.pending[slot] = area;
    pool.areas += 1;
    let frames = (area.end - area.start) as usize;
    FREE.fetch_add(frames, Ordering::Relaxed);
    let total = TOTAL.fetch_add(frames, Ordering::Relaxed) + frames;
    RESERVE.store((total / 64).clamp(32, 4096), Ordering::Relaxed);
    BATCH_NOW.store((total / 512).clamp(4, BATCH), Ordering::Relaxed);
    true
}

/// All frames, and how many of them are free (magazines included).
pub fn counts() -> (usize, usize) {
    ensure_fake_ram();
    let cached: usize = MAGAZINES.iter().map(|magazine| magazine.lock().count).sum();
    (TOTAL.load(Ordering::Relaxed), FREE.load(Ordering::Relaxed) + cached)
}

/// All frames.
pub fn total() -> usize {
    ensure_fake_ram();
    TOTAL.load(Ordering::Relaxed)
}

/// Frames that may still be given to programs, roughly.
pub fn available_to_programs() -> usize {
    FREE.load(Ordering::Relaxed).saturating_sub(RESERVE.load(Ordering::Relaxed))
}

/// Takes a frame. Its word is stale: the caller sets it.
#[inline]
pub fn alloc(purpose: Purpose) -> Option<u32> {
    let mut magazine = MAGAZINES[crate::mem::cpu()].lock();
    if magazine.count > 0 {
        magazine.count -= 1;
        let top = magazine.count;
        return Some(magazine.frames[top]);
    }
    drop(magazine);
    refill(purpose)
}

/// Gives a frame back.
#[inline]
pub fn free(frame: u32) {
    word(frame).store(0, Ordering::Relaxed);
    let mut magazine = MAGAZINES[crate::mem::cpu()].lock();
    if magazine.count == MAGAZINE_FRAMES {
        drain(&mut magazine);
    }
    let top = magazine.count;
    magazine.frames[top] = frame;
    magazine.count = top + 1;
}

/// Gives several frames back.
pub fn free_many(frames: &[u32]) {
    let mut magazine = MAGAZINES[crate::mem::cpu()].lock();
    for &frame in frames {
        word(frame).store(0, Ordering::Relaxed);
        if magazine.count == MAGAZINE_FRAMES {
            drain(&mut magazine);
        }
        let top = magazine.count;
        magazine.frames[top] = frame;
        magazine.count = top + 1;
    }
}

/// Moves a batch of frames from the pool into this CPU's magazine and returns one more.
#[cold]
#[inline(never)]
fn refill(purpose: Purpose) -> Option<u32> {
    ensure_fake_ram();
    let first = alloc_block(0, purpose)?;
    let batch = BATCH_NOW.load(Ordering::Relaxed);
    if FREE.load(Ordering::Relaxed) < RESERVE.load(Ordering::Relaxed) + batch {
        return Some(first);
    }
    let mut magazine = MAGAZINES[crate::mem::cpu()].lock();
    let mut pool = POOL.lock();
    let mut moved = 0;
    while moved < batch && magazine.count < MAGAZINE_FRAMES {
        let Some(frame) = pool.buddy.alloc(0) else { break };
        let top = magazine.count;
        magazine.frames[top] = frame;
        magazine.count = top + 1;
        moved += 1;
    }
    FREE.fetch_sub(moved, Ordering::Relaxed);
    Some(first)
}

#[cold]
#[inline(never)]
fn drain(magazine: &mut Magazine) {
    let mut pool = POOL.lock();
    let keep = MAGAZINE_FRAMES - BATCH;
    for &frame in &magazine.frames[keep..] {
        pool.buddy.free(frame, 0);
    }
    magazine.count = keep;
    FREE.fetch_add(BATCH, Ordering::Relaxed);
}

/// Gives the frames of all magazines back to the pool, where they can join again.
pub fn drain_all() {
    for magazine in &MAGAZINES {
        let mut magazine = magazine.lock();
        let mut pool = POOL.lock();
        for &frame in &magazine.frames[..magazine.count] {
            pool.buddy.free(frame, 0);
        }
        FREE.fetch_add(magazine.count, Ordering::Relaxed);
        magazine.count = 0;
    }
}

/// Frames that have to stay free when `purpose` takes some.
fn floor(purpose: Purpose) -> usize {
    match purpose {
        Purpose::Kernel => 0,
        Purpose::Program => RESERVE.load(Ordering::Relaxed),
        Purpose::Luxury => TOTAL.load(Ordering::Relaxed) / 4 + 8192,
    }
}

/// What is called when the kernel has begun to live on its reserve.
static ON_LOW: Once<fn()> = Once::new();

/// Has `handler` called whenever the kernel takes from the lower half of its reserve, by whoever makes it do so. It
/// runs anywhere, with locks held and interrupts off: it may note something, no more.
pub fn set_low_handler(handler: fn()) {
    ON_LOW.call_once(|| handler);
}

/// The kernel takes memory that programs may no longer have: caches are asked for theirs, and if that was not enough,
/// whoever runs is told.
#[cold]
fn relieve(frames: usize) {
    let reserve = RESERVE.load(Ordering::Relaxed);
    reclaim::shrink(frames + reserve - FREE.load(Ordering::Relaxed).min(reserve));
    if FREE.load(Ordering::Relaxed) < reserve / 2
        && let Some(handler) = ON_LOW.get()
    {
        handler();
    }
}

/// Takes a block of `2^order` frames; its words are 0.
pub fn alloc_block(order: usize, purpose: Purpose) -> Option<u32> {
    ensure_fake_ram();
    if purpose == Purpose::Kernel && FREE.load(Ordering::Relaxed) < RESERVE.load(Ordering::Relaxed) {
        relieve(1 << order);
    }
    if let Some(block) = try_alloc_block(order, purpose) {
        return Some(block);
    }
    if purpose == Purpose::Luxury {
        return None;
    }
    drain_all();
    reclaim::shrink((1 << order) + BATCH);
    if let Some(block) = try_alloc_block(order, purpose) {
        return Some(block);
    }
    heap::shrink();
    try_alloc_block(order, purpose)
}

fn try_alloc_block(order: usize, purpose: Purpose) -> Option<u32> {
    let frames = 1 << order;
    if FREE.load(Ordering::Relaxed) < frames + floor(purpose) {
        return None;
    }
    let mut pool = POOL.lock();
    loop {
        if let Some(block) = pool.buddy.alloc(order) {
            FREE.fetch_sub(frames, Ordering::Relaxed);
            return Some(block);
        }
        if !pool.grow() {
            return None;
        }
    }
}

/// Gives back a block of `2^order` frames.
pub fn free_block(block: u32, order: usize) {
    POOL.lock().buddy.free(block, order);
    FREE.fetch_add(1 << order, Ordering::Relaxed);
}

/// Gives back the frames from `start` up to `end`, of a block that was taken whole.
pub fn free_range(start: u32, end: u32) {
    POOL.lock().buddy.free_range(start, end);
    FREE.fetch_add((end - start) as usize, Ordering::Relaxed);
}

/// The RAM of host tests enters by itself; a kernel's is noted at boot.
#[inline(always)]
fn ensure_fake_ram() {
    #[cfg(test)]
    {
        static FAKE: std::sync::Once = std::sync::Once::new();
        FAKE.call_once(|| assert!(add_area(Area { start: 1, end: crate::mem::phys::fake::FRAMES })));
    }
}

impl Pool {
    /// Lets one more section enter the buddy allocator; `false` when there is none.
    fn grow(&mut self) -> bool {
        let Some(last) = self.areas.checked_sub(1) else { return false };
        let section = Area::section_of(self.pending[last].start);
        let mut parts = [Area::default(); MAX_AREAS];
        let mut count = 0;
        for index in (0..self.areas).rev() {
            let part = self.pending[index].intersection(section);
            if part.len() > 0 {
                self.cut(index, part);
                parts[count] = part;
                count += 1;
            }
        }
        let parts = &mut parts[..count];
        let before: usize = parts.iter().map(Area::len).sum();
        let after = if map_words(section, parts) {
            for part in &*parts {
                self.buddy.free_range(part.start, part.end);
            }
            parts.iter().map(Area::len).sum()
        } else {
            0
        };
        FREE.fetch_sub(before - after, Ordering::Relaxed);
        true
    }

    /// Takes `part`, which lies at an end of the pending area `index`, out of it.
    fn cut(&mut self, index: usize, part: Area) {
        let area = &mut self.pending[index];
        if part.start == area.start {
            area.start = part.end;
        } else {
            area.end = part.start;
        }
        if area.len() == 0 {
            self.areas -= 1;
            self.pending[index] = self.pending[self.areas];
        }
    }
}

impl Area {
    /// The section that contains `frame`.
    fn section_of(frame: u32) -> Area {
        let start = frame / SECTION_FRAMES * SECTION_FRAMES;
        Area { start, end: start + SECTION_FRAMES }
    }

    fn intersection(self, other: Area) -> Area {
        Area { start: self.start.max(other.start), end: self.end.min(other.end) }
    }

    fn len(&self) -> usize {
        self.end.saturating_sub(self.start) as usize
    }
}

/// Makes the words of `section`, of which `parts` are RAM, readable and zero, with memory from the largest part.
/// `false` if the parts are too small to be worth it.
#[cfg(not(test))]
fn map_words(section: Area, parts: &mut [Area]) -> bool {
    use crate::mem::kernel_map;
    use crate::mem::phys::{PAGE_SHIFT, PAGE_SIZE, zero_frames};

    /// Frames whose words lie in one page.
    const FRAMES_PER_PAGE: u32 = (PAGE_SIZE / size_of::<u64>()) as u32;
    /// Pages of words and page tables that a section may need at most.
    const MOST: usize = (SECTION_FRAMES / FRAMES_PER_PAGE) as usize + 3;

    let Some(largest) = (0..parts.len()).max_by_key(|&index| parts[index].len()) else { return false };
    if parts[largest].len() <= MOST {
        return false;
    }
    let take = |parts: &mut [Area]| {
        let phys = u64::from(parts[largest].start) << PAGE_SHIFT;
        parts[largest].start += 1;
        // SAFETY:
        // - the frame is usable RAM that nobody has been given yet.
        unsafe { zero_frames(phys, PAGE_SIZE) };
        phys
    };
    let is_ram: [bool; (SECTION_FRAMES / FRAMES_PER_PAGE) as usize] = core::array::from_fn(|page| {
        let start = section.start + page as u32 * FRAMES_PER_PAGE;
        let covered = Area { start, end: start + FRAMES_PER_PAGE };
        parts.iter().any(|part| part.intersection(covered).len() > 0)
    });
    for (page, is_ram) in is_ram.into_iter().enumerate() {
        let addr = word_addr(section.start) + (page * PAGE_SIZE) as u64;
        if is_ram {
            let phys = take(parts);
            kernel_map::map_early(addr, phys, true, &mut || take(parts));
        } else {
            kernel_map::map_early(addr, kernel_map::zero_page(), false, &mut || take(parts));
        }
    }
    true
}

#[cfg(not(test))]
fn word_addr(frame: u32) -> u64 {
    crate::mem::layout::WORDS + u64::from(frame) * size_of::<u64>() as u64
}

/// The words of host tests are there from the beginning.
#[cfg(test)]
fn map_words(_section: Area, _parts: &mut [Area]) -> bool {
    true
}
