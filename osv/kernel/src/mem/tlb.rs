//! Which CPU uses which address space, and how translations are forgotten.
//!
//! A CPU keeps the address space of the last program that ran on it, so that going idle or running a kernel thread costs
//! nothing. Each space knows the CPUs that may have its translations cached; whoever takes a page away interrupts those,
//! all others need not know. One request is under way at a time. The CPU that waits goes on answering requests
//! of others, so two that wait for each other both get on.
//!
//! A CPU that halts says so, and is not interrupted for pages: it forgets everything before it runs a program again. For
//! page tables that are freed it is, since a CPU may walk those even while it halts.
//!
//! Waiting for other CPUs with interrupts off, or under a lock that they may want with interrupts off, is a deadlock:
//! page tables are only taken apart in thread context with no spin lock held.

use core::ptr::null_mut;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU64, Ordering};

use super::space::AddressSpace;
use super::{MAX_CPUS, kernel_map, layout::PAGE_SIZE};
use crate::arch;
use crate::sync::Once;

/// More pages than this, and forgetting everything is cheaper.
const MOST_PAGES: u64 = 32;

/// The space whose tables each CPU has loaded; null for the kernel's own.
static ACTIVE: [AtomicPtr<AddressSpace>; MAX_CPUS] = [const { AtomicPtr::new(null_mut()) }; MAX_CPUS];

/// A CPU that may use the translations of its space at any time.
const RUNNING: u8 = 0;
/// A CPU that uses no translations of the lower half until it calls [`activate`].
const RESTING: u8 = 1;
/// The same, and pages have gone meanwhile.
const STALE: u8 = 2;

/// What each CPU does.
static REST: [AtomicU8; MAX_CPUS] = [const { AtomicU8::new(RUNNING) }; MAX_CPUS];

/// How another CPU is interrupted; until it is set there are no others.
static SEND: Once<fn(usize)> = Once::new();

/// What the CPUs in `pending` are asked to do: forget `start` to `end` of `space`, or leave it if `end` is 0.
struct Request {
    taken: AtomicBool,
    space: AtomicPtr<AddressSpace>,
    start: AtomicU64,
    end: AtomicU64,
    pending: AtomicU64,
}

static REQUEST: Request = Request {
    taken: AtomicBool::new(false),
    space: AtomicPtr::new(null_mut()),
    start: AtomicU64::new(0),
    end: AtomicU64::new(0),
    pending: AtomicU64::new(0),
};

/// Says how to interrupt another CPU, which then calls [`on_interrupt`]. To be called before other CPUs run programs.
pub fn set_ipi(send: fn(usize)) {
    SEND.call_once(|| send);
}

const fn bit(cpu: usize) -> u64 {
    1 << cpu
}

/// Makes `space` the one of this CPU. Interrupts must be off, or this thread the only one that activates spaces here.
#[inline]
pub(super) fn activate(space: &AddressSpace) {
    let cpu = super::cpu();
    let new = core::ptr::from_ref(space).cast_mut();
    if REST[cpu].load(Ordering::Relaxed) != RUNNING {
        end_rest(cpu);
    }
    let old = ACTIVE[cpu].load(Ordering::Relaxed);
    if old == new {
        return;
    }
    // The bit is set before the tables are loaded: whoever changes them later sees it.
    space.cpus().fetch_or(bit(cpu), Ordering::SeqCst);
    load(space.root());
    ACTIVE[cpu].store(new, Ordering::Relaxed);
    leave(old, cpu);
}

/// Says that this CPU is about to halt and will run no program before it calls [`activate`]. Interrupts must be off.
pub fn rest() {
    // What is stale stays so.
    let _ = REST[super::cpu()].compare_exchange(RUNNING, RESTING, Ordering::SeqCst, Ordering::Relaxed);
}

#[cold]
fn end_rest(cpu: usize) {
    // Whoever takes pages away later sees a CPU that runs, and interrupts it.
    if REST[cpu].swap(RUNNING, Ordering::SeqCst) == STALE && !cfg!(test) {
        arch::flush_tlb();
    }
}

/// Tells a CPU that rests that pages have gone; `false` if it does not rest.
fn leave_resting(cpu: usize) -> bool {
    let rest = REST[cpu].compare_exchange(RESTING, STALE, Ordering::SeqCst, Ordering::SeqCst);
    rest != Err(RUNNING)
}

/// Makes the kernel's own tables those of this CPU, with nothing in the lower half.
pub(super) fn activate_kernel() {
    let cpu = super::cpu();
    let old = ACTIVE[cpu].load(Ordering::Relaxed);
    if !old.is_null() {
        load(kernel_map::kernel_root());
        ACTIVE[cpu].store(null_mut(), Ordering::Relaxed);
        leave(old, cpu);
    }
}

fn load(root: u64) {
    #[cfg(not(test))]
    // SAFETY:
    // - the tables map the kernel like all others, and live until every CPU has left them.
    unsafe {
        arch::set_page_table(root)
    };
    #[cfg(test)]
    let _ = root;
}

fn leave(old: *mut AddressSpace, cpu: usize) {
    // SAFETY:
    // - a space waits, when it is dropped, for each CPU whose bit is set to leave it: until the bit is cleared
    //   here it is alive.
    if let Some(old) = unsafe { old.as_ref() } {
        old.cpus().fetch_and(!bit(cpu), Ordering::SeqCst);
    }
}

/// Makes every CPU forget what it knows of the pages from `start` up to `end` of `space`. When this returns, no CPU uses
/// an entry that was taken out before.
#[inline]
pub(super) fn flush(space: &AddressSpace, start: u64, end: u64) {
    let cpu = super::cpu();
    let using = space.cpus().load(Ordering::SeqCst);
    if using & bit(cpu) != 0 {
        flush_here(start, end);
    }
    let others = using & !bit(cpu);
    if others != 0 {
        let running = (0..MAX_CPUS).filter(|&cpu| others & bit(cpu) != 0 && !leave_resting(cpu));
        let running = running.fold(0, |mask, cpu| mask | bit(cpu));
        if running != 0 {
            ask_others(space, start, end, running);
        }
    }
}

/// Like [`flush`], but for page tables that have been taken out and are about to be freed.
pub(super) fn flush_tables(space: &AddressSpace, start: u64, end: u64) {
    let cpu = super::cpu();
    let using = space.cpus().load(Ordering::SeqCst);
    if using & bit(cpu) != 0 {
        flush_here(start, end);
    }
    if using & !bit(cpu) != 0 {
        ask_others(space, start, end, using & !bit(cpu));
    }
}

/// Interrupts these CPUs, the calling one not among them, and returns when they have been: a memory barrier on each.
pub fn visit(cpus: u64) {
    // No space and no pages: nothing is forgotten.
    if cpus != 0 {
        ask(null_mut(), PAGE_SIZE as u64, PAGE_SIZE as u64, cpus);
    }
}

/// Makes every CPU leave `space`, which is about to go.
pub(super) fn evict(space: &AddressSpace) {
    let cpu = super::cpu();
    if core::ptr::eq(ACTIVE[cpu].load(Ordering::Relaxed), space) {
        let _guard = arch::IrqGuard::new();
        activate_kernel();
    }
    let using = space.cpus().load(Ordering::SeqCst);
    if using != 0 {
        ask_others(space, 0, 0, using);
    }
}

#[inline]
fn flush_here(start: u64, end: u64) {
    if cfg!(test) {
        return;
    }
    if (end - start) / PAGE_SIZE as u64 > MOST_PAGES {
        arch::flush_tlb();
        return;
    }
    let mut addr = start;
    while addr < end {
        arch::flush_page(addr);
        addr += PAGE_SIZE as u64;
    }
}

fn ask_others(space: &AddressSpace, start: u64, end: u64, others: u64) {
    ask(core::ptr::from_ref(space).cast_mut(), start, end, others);
}

#[cold]
fn ask(space: *mut AddressSpace, start: u64, end: u64, others: u64) {
    let Some(send) = SEND.get() else { return };
    while REQUEST.taken.swap(true, Ordering::Acquire) {
        on_interrupt();
        core::hint::spin_loop();
    }
    REQUEST.space.store(space, Ordering::Relaxed);
    REQUEST.start.store(start, Ordering::Relaxed);
    REQUEST.end.store(end, Ordering::Relaxed);
    REQUEST.pending.store(others, Ordering::SeqCst);
    for cpu in (0..MAX_CPUS).filter(|&cpu| others & bit(cpu) != 0) {
        send(cpu);
    }
    while REQUEST.pending.load(Ordering::Acquire) != 0 {
        core::hint::spin_loop();
    }
    REQUEST.taken.store(false, Ordering::Release);
}

/// Does what other CPUs have asked this one for. The handler of the interrupt; harmless at any other time.
pub fn on_interrupt() {
    let _guard = arch::IrqGuard::new();
    let cpu = super::cpu();
    if REQUEST.pending.load(Ordering::Acquire) & bit(cpu) == 0 {
        return;
    }
    let space = REQUEST.space.load(Ordering::Relaxed);
    if ACTIVE[cpu].load(Ordering::Relaxed) == space {
        let (start, end) = (REQUEST.start.load(Ordering::Relaxed), REQUEST.end.load(Ordering::Relaxed));
        if end == 0 {
            activate_kernel();
        } else {
            flush_here(start, end);
        }
    }
    REQUEST.pending.fetch_and(!bit(cpu), Ordering::Release);
}
