//! `select(2)`, `pselect6(2)`.

use alloc::vec::Vec;

use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::{deadline_after, read_timeout, with_mask, write_remaining};
use crate::errno::{Errno, Result};
use crate::event::{PollEntry, PollEvents, poll_files};
use crate::fs::FdTable;
use crate::mem::user::UserPtr;
use crate::process::current_task;
use crate::sched::Deadline;
use crate::syscall::SysResult;
use crate::syscall::time::{Timespec, Timeval};

/// The kinds of sets: to read, to write, and exceptional conditions.
const KINDS: usize = 3;
/// Descriptors per word of a set.
const WORD_BITS: usize = u64::BITS as usize;

/// What is waited for on behalf of each kind of set, and what is reported in it.
const INTEREST: [PollEvents; KINDS] = [
    PollEvents::POLLIN.union(PollEvents::POLLRDNORM).union(PollEvents::POLLRDBAND),
    PollEvents::POLLOUT.union(PollEvents::POLLWRNORM).union(PollEvents::POLLWRBAND),
    PollEvents::POLLPRI,
];
const REPORTED: [PollEvents; KINDS] = [
    INTEREST[0].union(PollEvents::POLLHUP).union(PollEvents::POLLERR),
    INTEREST[1].union(PollEvents::POLLERR),
    INTEREST[2],
];

/// The last argument of `pselect6`: where the signal mask lies, and its size.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct MaskArgument {
    mask: u64,
    size: u64,
}

/// Waits for any of three sets of files. <https://man7.org/linux/man-pages/man2/select.2.html>
pub fn select(
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<Timeval>,
) -> SysResult {
    let duration_ns = timeout.non_null().map(|timeout| timeout_of(timeout.read()?)).transpose()?;
    let deadline = duration_ns.map(deadline_after);
    let result = wait(count, [read, write, except], deadline);
    if let (Some(timeout), Some(deadline)) = (timeout.non_null(), deadline) {
        // A time-out that cannot be written back is no error, as on Linux.
        let _ = timeout.write(&Timeval::from_nanos(deadline.remaining_ns()));
    }
    result
}

/// `select` with nanoseconds and another signal mask. <https://man7.org/linux/man-pages/man2/pselect6.2.html>
pub fn pselect6(
    count: i32,
    read: UserPtr<u64>,
    write: UserPtr<u64>,
    except: UserPtr<u64>,
    timeout: UserPtr<Timespec>,
    mask: UserPtr<MaskArgument>,
) -> SysResult {
    let MaskArgument { mask, size } = mask.non_null().map_or(Ok(MaskArgument { mask: 0, size: 0 }), UserPtr::read)?;
    let deadline = read_timeout(timeout)?.map(deadline_after);
    let result = with_mask(UserPtr::new(mask), size as usize, || wait(count, [read, write, except], deadline));
    write_remaining(timeout, deadline, result)
}

/// A `struct timeval` as a duration; the old call takes more than a second's worth of microseconds.
fn timeout_of(time: Timeval) -> Result<u64> {
    let sec = time.sec.checked_add(time.usec / 1_000_000).ok_or(Errno::EINVAL)?;
    Timeval { sec, usec: time.usec % 1_000_000 }.to_nanos()
}

fn wait(count: i32, sets: [UserPtr<u64>; KINDS], deadline: Option<Deadline>) -> SysResult {
    let count = usize::try_from(count).map_err(|_| Errno::EINVAL)?;
    let files = current_task().files();
    let count = count.min(files.size().next_multiple_of(WORD_BITS));
    let words = count.div_ceil(WORD_BITS);
    let asked = read_sets(sets, words)?;
    let (fds, mut entries) = entries_of(&asked, count, &files)?;
    poll_files(&mut entries, deadline)?;
    let (found, ready) = results_of(&asked, &fds, &entries, words)?;
    for (set, words) in sets.iter().zip(&found) {
        if let Some(set) = set.non_null() {
            set.write_slice(words)?;
        }
    }
    Ok(ready as u64)
}

fn read_sets(sets: [UserPtr<u64>; KINDS], words: usize) -> Result<[Vec<u64>; KINDS]> {
    let mut asked = [const { Vec::new() }; KINDS];
    for (words_asked, set) in asked.iter_mut().zip(sets) {
        if let Some(set) = set.non_null() {
            *words_asked = set.read_vec(words)?;
        }
    }
    Ok(asked)
}

fn has(set: &[u64], fd: usize) -> bool {
    set.get(fd / WORD_BITS).is_some_and(|word| word >> (fd % WORD_BITS) & 1 != 0)
}

/// The descriptors in any set and what to wait for. EBADF if one of them is not open.
fn entries_of(asked: &[Vec<u64>; KINDS], count: usize, files: &FdTable) -> Result<(Vec<usize>, Vec<PollEntry>)> {
    let (mut fds, mut entries) = (Vec::new(), Vec::new());
    for fd in (0..count).filter(|&fd| asked.iter().any(|set| has(set, fd))) {
        let mut interest = PollEvents::empty();
        for (set, kind) in asked.iter().zip(INTEREST) {
            interest |= if has(set, fd) { kind } else { PollEvents::empty() };
        }
        fds.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        entries.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        fds.push(fd);
        entries.push(PollEntry::new(Some(files.get(fd as i32)?), interest));
    }
    Ok((fds, entries))
}

/// The sets to give back, and how many bits are set in them.
fn results_of(
    asked: &[Vec<u64>; KINDS],
    fds: &[usize],
    entries: &[PollEntry],
    words: usize,
) -> Result<([Vec<u64>; KINDS], usize)> {
    let mut found = [const { Vec::new() }; KINDS];
    let mut ready = 0;
    for ((set, reported), found) in asked.iter().zip(REPORTED).zip(&mut found) {
        found.try_reserve_exact(words).map_err(|_| Errno::ENOMEM)?;
        found.resize(words, 0u64);
        for (&fd, entry) in fds.iter().zip(entries) {
            if has(set, fd) && entry.events.intersects(reported) {
                found[fd / WORD_BITS] |= 1 << (fd % WORD_BITS);
                ready += 1;
            }
        }
    }
    Ok((found, ready))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_go_in_and_out() {
        let asked = [vec![0b101u64, 1], vec![0b1], vec![]];
        assert!(has(&asked[0], 64) && has(&asked[0], 2) && !has(&asked[0], 1) && !has(&asked[2], 0));
        let entry = |events| PollEntry { file: None, interest: PollEvents::empty(), events };
        let entries =
            [entry(PollEvents::POLLIN | PollEvents::POLLOUT), entry(PollEvents::POLLHUP), entry(PollEvents::empty())];
        let (found, ready) = results_of(&asked, &[0, 2, 64], &entries, 2).unwrap();
        assert_eq!(found, [vec![0b101, 0], vec![1, 0], vec![0, 0]]);
        assert_eq!(ready, 3);
    }

    #[test]
    fn old_time_outs_may_have_many_microseconds() {
        assert_eq!(timeout_of(Timeval { sec: 1, usec: 2_500_000 }), Ok(3_500_000_000));
        assert_eq!(timeout_of(Timeval { sec: -1, usec: 0 }), Err(Errno::EINVAL));
        assert_eq!(timeout_of(Timeval { sec: 1, usec: -5 }), Err(Errno::EINVAL));
    }
}
