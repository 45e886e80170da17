//! What to give up when memory runs short.
//!
//! Caches register here; when an allocation finds too little, [`shrink`] asks each in turn for clean pages that nobody
//! uses. It may be called from under any lock, so caches only try their locks and never sleep.

use alloc::sync::Weak;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::SpinLock;

/// A cache that can let go of memory.
pub trait Reclaim: Send + Sync {
    /// Gives up to `frames` frames back, and says how many. Never sleeps and never waits for a lock.
    fn reclaim(&self, frames: usize) -> usize;
}

struct Caches {
    list: Vec<Weak<dyn Reclaim>>,
    next: usize,
}

static CACHES: SpinLock<Caches> = SpinLock::new(Caches { list: Vec::new(), next: 0 });
/// Length of the list at which dead entries are swept out.
static SWEEP_AT: AtomicUsize = AtomicUsize::new(64);

/// Lets `cache` take part. If there is no memory to note it, it does not: it only keeps what it has.
pub fn register(cache: Weak<dyn Reclaim>) {
    let mut caches = CACHES.lock();
    if caches.list.len() >= SWEEP_AT.load(Ordering::Relaxed) {
        caches.list.retain(|cache| cache.strong_count() > 0);
        caches.next = 0;
        SWEEP_AT.store((caches.list.len() * 2).max(64), Ordering::Relaxed);
    }
    if caches.list.try_reserve(1).is_ok() {
        caches.list.push(cache);
    }
}

/// Asks caches for `frames` frames, each in its turn, until there are as many or all have been asked.
pub fn shrink(frames: usize) -> usize {
    let Some(mut caches) = CACHES.try_lock() else { return 0 };
    let mut freed = 0;
    for _ in 0..caches.list.len() {
        if freed >= frames {
            break;
        }
        caches.next = (caches.next + 1) % caches.list.len();
        let turn = caches.next;
        let Some(cache) = caches.list[turn].upgrade() else { continue };
        freed += cache.reclaim(frames - freed);
    }
    freed
}
