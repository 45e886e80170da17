//! What a task leaves locked at its end: robust futexes, get_robust_list(2).
//!
//! The list lies in the program's memory, which may hold anything: it is followed for at most [`MAX_ENTRIES`] steps, and
//! every read may fail, which ends the walk.

use core::sync::atomic::Ordering;

use linux_raw_sys::general as linux;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::task::Task;
use crate::errno::Result;
use crate::mem::user::UserPtr;
use crate::sched::futex;

/// Longer lists are cut off, as on Linux.
const MAX_ENTRIES: usize = 2048;

/// `struct robust_list_head`.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ListHead {
    first: u64,
    futex_offset: u64,
    pending: u64,
}

/// Bytes of `struct robust_list_head`.
pub const HEAD_SIZE: usize = size_of::<ListHead>();

/// The lowest bit of an entry's address says that its futex is a priority-inheriting one.
const IS_PI: u64 = 1;

/// Marks all futexes that the task holds as left behind, and wakes a waiter of each.
pub(super) fn release(task: &Task) {
    let head = task.robust_list.swap(0, Ordering::Relaxed);
    if head != 0 {
        // A list that cannot be read ends where it does.
        let _ = walk(task.tid(), head);
    }
}

fn walk(tid: u32, head_address: u64) -> Result<()> {
    let head = UserPtr::<ListHead>::new(head_address).read()?;
    let futex_of = |entry: u64| (entry & !IS_PI).wrapping_add(head.futex_offset);
    let mut entry = head.first;
    for _ in 0..MAX_ENTRIES {
        if entry & !IS_PI == head_address {
            break;
        }
        let next = UserPtr::<u64>::new(entry & !IS_PI).read();
        if entry & !IS_PI != head.pending & !IS_PI {
            leave_behind(tid, futex_of(entry), entry & IS_PI != 0, false)?;
        }
        entry = next?;
    }
    if head.pending & !IS_PI != 0 {
        leave_behind(tid, futex_of(head.pending), head.pending & IS_PI != 0, true)?;
    }
    Ok(())
}

/// One futex: if the task owns it, its owner has died.
fn leave_behind(tid: u32, address: u64, is_pi: bool, is_pending: bool) -> Result<()> {
    let word = UserPtr::<u32>::new(address);
    let mut value = word.read()?;
    if is_pending && !is_pi && value == 0 {
        wake_one(address);
        return Ok(());
    }
    while value & linux::FUTEX_TID_MASK == tid {
        let left = value & linux::FUTEX_WAITERS | linux::FUTEX_OWNER_DIED;
        let seen = word.compare_exchange(value, left)?;
        if seen == value {
            if !is_pi && value & linux::FUTEX_WAITERS != 0 {
                wake_one(address);
            }
            return Ok(());
        }
        value = seen;
    }
    Ok(())
}

/// Wakes one waiter of the futex at `address`, private or shared.
pub(super) fn wake_one(address: u64) {
    for is_shared in [false, true] {
        if let Ok(key) = super::futex_key(address, is_shared) {
            futex::wake(key, 1, futex::ANY_BIT);
        }
    }
}
