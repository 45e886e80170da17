//! `futex(2)`: threads sleep on words of memory and wake each other.
//!
//! Wait, wake, requeue and wake-op, by address space or shared between processes, locks that inherit priority, and waits for
//! several words at once.
//! <https://man7.org/linux/man-pages/man2/futex.2.html>

use alloc::boxed::Box;
use alloc::vec::Vec;

use linux_raw_sys::general;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::SysResult;
use super::time::Timespec;
use crate::errno::{Errno, Result};
use crate::event::Clock;
use crate::mem::user::UserPtr;
use crate::process::pi::{self, Word};
use crate::process::{current_task, futex_key};
use crate::sched::Deadline;
use crate::sched::futex::{self, ANY_BIT, Awaited, Key};
use crate::warn_once;

/// The system call. `value2` is the address of a time-out or a number, as the operation wants it.
pub fn futex(
    word: UserPtr<u32>,
    operation: u32,
    value: u32,
    value2: u64,
    word2: UserPtr<u32>,
    value3: u32,
) -> SysResult {
    let is_shared = operation & general::FUTEX_PRIVATE_FLAG == 0;
    let is_realtime = operation & general::FUTEX_CLOCK_REALTIME != 0;
    let command = operation & !(general::FUTEX_PRIVATE_FLAG | general::FUTEX_CLOCK_REALTIME);
    let may_be_realtime =
        matches!(command, general::FUTEX_WAIT_BITSET | general::FUTEX_WAIT_REQUEUE_PI | general::FUTEX_LOCK_PI2);
    if is_realtime && !may_be_realtime {
        return Err(Errno::ENOSYS);
    }
    match command {
        general::FUTEX_WAIT | general::FUTEX_WAIT_BITSET => {
            let is_bitset = command == general::FUTEX_WAIT_BITSET;
            let deadline = UserPtr::<Timespec>::new(value2).non_null();
            let deadline = match deadline {
                None => None,
                Some(timeout) if is_bitset => Some(absolute(timeout, is_realtime)?),
                Some(timeout) => Some(relative(timeout)?),
            };
            wait(word, is_shared, value, if is_bitset { value3 } else { ANY_BIT }, deadline)
        }
        general::FUTEX_WAKE | general::FUTEX_WAKE_BITSET => {
            wake(word, is_shared, value, if command == general::FUTEX_WAKE { ANY_BIT } else { value3 })
        }
        general::FUTEX_REQUEUE => requeue(word, word2, is_shared, value, value2, None),
        general::FUTEX_CMP_REQUEUE => requeue(word, word2, is_shared, value, value2, Some(value3)),
        general::FUTEX_LOCK_PI | general::FUTEX_LOCK_PI2 => {
            let is_realtime = is_realtime || command == general::FUTEX_LOCK_PI;
            let deadline = UserPtr::<Timespec>::new(value2).non_null();
            let deadline = deadline.map(|timeout| absolute(timeout, is_realtime)).transpose()?;
            pi::lock(pi_word(word, is_shared)?, deadline, false).map(|()| 0)
        }
        general::FUTEX_TRYLOCK_PI => pi::lock(pi_word(word, is_shared)?, None, true).map(|()| 0),
        general::FUTEX_UNLOCK_PI => pi::unlock(pi_word(word, is_shared)?).map(|()| 0),
        general::FUTEX_WAIT_REQUEUE_PI => {
            let deadline = UserPtr::<Timespec>::new(value2).non_null();
            let deadline = deadline.map(|timeout| absolute(timeout, is_realtime)).transpose()?;
            let (condition, lock) = pi_words(word, word2, is_shared)?;
            pi::wait_for_condition(condition, value, lock, deadline).map(|()| 0)
        }
        general::FUTEX_CMP_REQUEUE_PI => {
            // The number of those that are woken is one: there is one lock.
            if value != 1 || (value2 as i32) < 0 {
                return Err(Errno::EINVAL);
            }
            let (condition, lock) = pi_words(word, word2, is_shared)?;
            pi::requeue(condition, value3, lock, value2 as u32 as usize).map(|moved| moved as u64)
        }
        general::FUTEX_WAKE_OP => wake_op(word, word2, is_shared, value, value2, value3),
        _ => {
            warn_once!("futex operation {command} is not there (ENOSYS)");
            Err(Errno::ENOSYS)
        }
    }
}

/// What the kernel knows the word by. EINVAL unless it is aligned, EFAULT outside of programs' memory.
#[inline(always)]
fn key(word: UserPtr<u32>, is_shared: bool) -> Result<Key> {
    if !word.addr().0.is_multiple_of(4) {
        return Err(Errno::EINVAL);
    }
    word.addr().check(4)?;
    futex_key(word.addr().0, is_shared)
}

/// The word of a lock that inherits priority. It is written: EFAULT if it cannot be.
fn pi_word(word: UserPtr<u32>, is_shared: bool) -> Result<Word> {
    Ok(Word { at: word, key: key(word, is_shared)? })
}

/// The words of a condition and of its lock, which are two.
fn pi_words(condition: UserPtr<u32>, lock: UserPtr<u32>, is_shared: bool) -> Result<(Word, Word)> {
    let words = (pi_word(condition, is_shared)?, pi_word(lock, is_shared)?);
    if words.0.key == words.1.key { Err(Errno::EINVAL) } else { Ok(words) }
}

#[inline(always)]
fn wait(word: UserPtr<u32>, is_shared: bool, expected: u32, bits: u32, deadline: Option<Deadline>) -> SysResult {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = key(word, is_shared)?;
    match futex::wait(key, expected, bits, deadline, || word.read()) {
        // A relative time-out would start anew: the wait goes on to the moment that it meant.
        Err(Errno::ERESTARTSYS) if deadline.is_some() => {
            Err(current_task().restart_with(Box::new(move || wait(word, is_shared, expected, bits, deadline))))
        }
        outcome => outcome.map(|()| 0),
    }
}

/// `struct futex_waitv`.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct WaitV {
    expected: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// Waits for any of several words; returns which was woken. <https://docs.kernel.org/userspace-api/futex2.html>
pub fn futex_waitv(
    waiters: UserPtr<WaitV>,
    count: u32,
    flags: u32,
    timeout: UserPtr<Timespec>,
    clock: u32,
) -> SysResult {
    const MOST: u32 = 128;
    const SIZE_32: u32 = 2;
    if flags != 0 || count == 0 || count > MOST || waiters.is_null() {
        return Err(Errno::EINVAL);
    }
    let deadline = match timeout.non_null() {
        None => None,
        Some(_) if !matches!(clock, general::CLOCK_MONOTONIC | general::CLOCK_REALTIME) => return Err(Errno::EINVAL),
        Some(timeout) => Some(absolute(timeout, clock == general::CLOCK_REALTIME)?),
    };
    let given = waiters.read_vec(count as usize)?;
    if given.iter().any(|one| one.flags & !general::FUTEX_PRIVATE_FLAG != SIZE_32 || one.reserved != 0) {
        return Err(Errno::EINVAL);
    }
    let words: Vec<UserPtr<u32>> = given.iter().map(|one| UserPtr::new(one.address)).collect();
    let reads: Vec<_> = words.iter().map(|&word| move || word.read()).collect();
    let mut awaited = Vec::with_capacity(given.len());
    for ((one, &word), read) in given.iter().zip(&words).zip(&reads) {
        let key = key(word, one.flags & general::FUTEX_PRIVATE_FLAG == 0)?;
        awaited.push(Awaited { key, expected: one.expected as u32, read });
    }
    futex::wait_for_any(&awaited, deadline).map(|index| index as u64)
}

#[inline(always)]
fn wake(word: UserPtr<u32>, is_shared: bool, most: u32, bits: u32) -> SysResult {
    if bits == 0 {
        return Err(Errno::EINVAL);
    }
    let key = key(word, is_shared)?;
    let woken = futex::wake(key, at_least_one(most), bits);
    check_plain(key, woken)?;
    Ok(woken as u64)
}

/// EINVAL if nobody was found because those who wait at `key` wait for a lock that inherits priority.
#[inline(always)]
fn check_plain(key: Key, found: usize) -> Result<()> {
    if found == 0 && pi::has_waiters(key) { Err(Errno::EINVAL) } else { Ok(()) }
}

/// Linux wakes one thread even if it is asked for none.
fn at_least_one(most: u32) -> usize {
    most.max(1) as usize
}

fn requeue(
    from: UserPtr<u32>,
    to: UserPtr<u32>,
    is_shared: bool,
    most_woken: u32,
    most_moved: u64,
    expected: Option<u32>,
) -> SysResult {
    let most_moved = most_moved as u32;
    if (most_woken as i32) < 0 || (most_moved as i32) < 0 {
        return Err(Errno::EINVAL);
    }
    let read = || from.read();
    let word = expected.map(|expected| (expected, &read as &dyn Fn() -> Result<u32>));
    let keys = (key(from, is_shared)?, key(to, is_shared)?);
    let (woken, moved) = futex::requeue(keys.0, keys.1, most_woken as usize, most_moved as usize, word)?;
    check_plain(keys.0, woken + moved)?;
    Ok(if expected.is_some() { woken + moved } else { woken } as u64)
}

/// Changes the second word, wakes waiters of the first, and of the second too if its old value compares as asked.
fn wake_op(word: UserPtr<u32>, word2: UserPtr<u32>, is_shared: bool, most: u32, most2: u64, encoded: u32) -> SysResult {
    let (key1, key2) = (key(word, is_shared)?, key(word2, is_shared)?);
    let operation = WakeOp::decode(encoded)?;
    let old = word2.fetch_update(|value| operation.apply(value))?;
    let mut woken = futex::wake(key1, at_least_one(most), ANY_BIT);
    if operation.compares(old) {
        woken += futex::wake(key2, at_least_one(most2 as u32), ANY_BIT);
    }
    check_plain(key1, woken)?;
    Ok(woken as u64)
}

/// What FUTEX_WAKE_OP does to a word: an operation, a comparison, and their arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct WakeOp {
    operation: u32,
    comparison: u32,
    argument: u32,
    compared: i32,
}

impl WakeOp {
    fn decode(encoded: u32) -> Result<WakeOp> {
        let signed_12 = |value: u32| ((value << 20) as i32) >> 20;
        let argument = signed_12(encoded >> 12) as u32;
        let operation = encoded >> 28 & 7;
        let comparison = encoded >> 24 & 15;
        if operation > general::FUTEX_OP_XOR || comparison > general::FUTEX_OP_CMP_GE {
            return Err(Errno::ENOSYS);
        }
        let is_shift = encoded >> 28 & general::FUTEX_OP_OPARG_SHIFT != 0;
        let argument = if is_shift { 1u32.wrapping_shl(argument) } else { argument };
        Ok(WakeOp { operation, comparison, argument, compared: signed_12(encoded) })
    }

    fn apply(self, value: u32) -> u32 {
        match self.operation {
            general::FUTEX_OP_SET => self.argument,
            general::FUTEX_OP_ADD => value.wrapping_add(self.argument),
            general::FUTEX_OP_OR => value | self.argument,
            general::FUTEX_OP_ANDN => value & !self.argument,
            _ => value ^ self.argument,
        }
    }

    fn compares(self, old: u32) -> bool {
        let old = old as i32;
        match self.comparison {
            general::FUTEX_OP_CMP_EQ => old == self.compared,
            general::FUTEX_OP_CMP_NE => old != self.compared,
            general::FUTEX_OP_CMP_LT => old < self.compared,
            general::FUTEX_OP_CMP_LE => old <= self.compared,
            general::FUTEX_OP_CMP_GT => old > self.compared,
            _ => old >= self.compared,
        }
    }
}

/// The end of a wait that may last as long as `timeout` says.
#[inline(never)]
fn relative(timeout: UserPtr<Timespec>) -> Result<Deadline> {
    Ok(Deadline::after(timeout.read()?.to_nanos()?))
}

/// The moment that `timeout` names.
#[inline(never)]
fn absolute(timeout: UserPtr<Timespec>, is_realtime: bool) -> Result<Deadline> {
    let clock = if is_realtime { general::CLOCK_REALTIME } else { general::CLOCK_MONOTONIC };
    Clock::from_id(clock as i32)?.deadline(timeout.read()?.to_nanos()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wake_ops_are_decoded() {
        // FUTEX_OP(FUTEX_OP_ADD, -1, FUTEX_OP_CMP_GT, -3)
        let operation = WakeOp::decode(1 << 28 | 4 << 24 | 0xfff << 12 | 0xffd).unwrap();
        assert_eq!(operation.apply(5), 4);
        assert!(operation.compares(0) && !operation.compares(-3i32 as u32));
        // FUTEX_OP(FUTEX_OP_OR | FUTEX_OP_OPARG_SHIFT, 4, FUTEX_OP_CMP_EQ, 0)
        let operation = WakeOp::decode((2 | 8) << 28 | 4 << 12).unwrap();
        assert_eq!(operation.apply(1), 17);
        assert!(operation.compares(0));
        assert_eq!(WakeOp::decode(5 << 28), Err(Errno::ENOSYS));
        assert_eq!(WakeOp::decode(6 << 24), Err(Errno::ENOSYS));
    }
}
