//! Descriptor tables: from small numbers to open file descriptions.
//!
//! A lookup is an index under a spin lock and a reference count; the lowest free number is found in a bitmap, from the
//! first word that can have one. The limit on numbers (RLIMIT_NOFILE) is the caller's, since it belongs to the process.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{OpenFile, locks};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;

/// Numbers that no limit exceeds (`/proc/sys/fs/nr_open`).
pub const MAX_FDS: usize = 1024 * 1024;

/// The descriptors of a process, shared by CLONE_FILES.
pub struct FdTable {
    table: SpinLock<Table>,
}

#[derive(Default)]
struct Table {
    slots: Vec<Option<Arc<OpenFile>>>,
    used: Vec<u64>,
    close_on_exec: Vec<u64>,
    /// No word of `used` before this one has a free bit.
    first_free_word: usize,
}

impl Default for FdTable {
    fn default() -> Self {
        FdTable::new()
    }
}

impl FdTable {
    /// An empty table.
    pub fn new() -> FdTable {
        FdTable { table: SpinLock::new(Table::default()) }
    }

    /// A number that no other living table has: the owner of POSIX locks.
    pub fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// The description behind `fd` (EBADF).
    #[inline(always)]
    pub fn get(&self, fd: i32) -> Result<Arc<OpenFile>> {
        let table = self.table.lock();
        match table.slots.get(fd as u32 as usize) {
            Some(Some(file)) => Ok(file.clone()),
            _ => Err(Errno::EBADF),
        }
    }

    /// As [`FdTable::get`], with the flag FD_CLOEXEC.
    pub fn get_with_flag(&self, fd: i32) -> Result<(Arc<OpenFile>, bool)> {
        let table = self.table.lock();
        let index = fd as u32 as usize;
        match table.slots.get(index) {
            Some(Some(file)) => Ok((file.clone(), test(&table.close_on_exec, index))),
            _ => Err(Errno::EBADF),
        }
    }

    /// Gives `file` the lowest free number from `first` on and below `limit` (EMFILE).
    pub fn install_from(&self, file: Arc<OpenFile>, first: usize, closes_on_exec: bool, limit: u64) -> Result<i32> {
        let mut table = self.table.lock();
        let fd = table.lowest_free(first);
        if fd as u64 >= limit || fd >= MAX_FDS {
            return Err(Errno::EMFILE);
        }
        table.grow_to(fd)?;
        table.put(fd, file, closes_on_exec);
        Ok(fd as i32)
    }

    /// Gives `file` the lowest free number below `limit` (EMFILE).
    #[inline]
    pub fn install(&self, file: Arc<OpenFile>, closes_on_exec: bool, limit: u64) -> Result<i32> {
        self.install_from(file, 0, closes_on_exec, limit)
    }

    /// Gives `file` the number `fd`, closing what has it now (EBADF if `fd` is not below `limit`).
    pub fn install_at(&self, file: Arc<OpenFile>, fd: i32, closes_on_exec: bool, limit: u64) -> Result<()> {
        let index = usize::try_from(fd).map_err(|_| Errno::EBADF)?;
        if index as u64 >= limit || index >= MAX_FDS {
            return Err(Errno::EBADF);
        }
        let replaced = {
            let mut table = self.table.lock();
            table.grow_to(index)?;
            let replaced = table.take(index);
            table.put(index, file, closes_on_exec);
            replaced
        };
        if let Some(replaced) = replaced {
            locks::release_posix(self, &replaced);
        }
        Ok(())
    }

    /// Takes `fd` out of the table (EBADF).
    pub fn close(&self, fd: i32) -> Result<()> {
        let file = self.table.lock().take(fd as u32 as usize).ok_or(Errno::EBADF)?;
        locks::release_posix(self, &file);
        Ok(())
    }

    /// Closes all numbers from `first` to `last`.
    pub fn close_range(&self, first: u32, last: u32) {
        self.close_each(|table| table.first_used(first as usize, last as usize));
    }

    /// Closes everything: the process ends.
    pub fn close_all(&self) {
        self.close_range(0, u32::MAX);
    }

    /// Closes what has FD_CLOEXEC: a program is about to start.
    pub fn close_on_exec(&self) {
        self.close_each(|table| first_set(&table.close_on_exec, 0));
    }

    fn close_each(&self, mut next: impl FnMut(&Table) -> Option<usize>) {
        loop {
            let file = {
                let mut table = self.table.lock();
                let Some(index) = next(&table) else { return };
                table.take(index)
            };
            if let Some(file) = file {
                locks::release_posix(self, &file);
            }
        }
    }

    /// Sets or clears FD_CLOEXEC (EBADF).
    pub fn set_close_on_exec(&self, fd: i32, is_on: bool) -> Result<()> {
        let mut table = self.table.lock();
        let index = fd as u32 as usize;
        if !matches!(table.slots.get(index), Some(Some(_))) {
            return Err(Errno::EBADF);
        }
        assign(&mut table.close_on_exec, index, is_on);
        Ok(())
    }

    /// Sets FD_CLOEXEC on all numbers from `first` to `last` (CLOSE_RANGE_CLOEXEC).
    pub fn set_close_on_exec_range(&self, first: u32, last: u32) {
        let mut table = self.table.lock();
        let mut at = first as usize;
        while let Some(index) = table.first_used(at, last as usize) {
            assign(&mut table.close_on_exec, index, true);
            at = index + 1;
        }
    }

    /// A copy with the same descriptions and flags: for fork.
    pub fn duplicate(&self) -> FdTable {
        let table = self.table.lock();
        FdTable {
            table: SpinLock::new(Table {
                slots: table.slots.clone(),
                used: table.used.clone(),
                close_on_exec: table.close_on_exec.clone(),
                first_free_word: table.first_free_word,
            }),
        }
    }

    /// The lowest number from `fd` on that is in use: for `/proc/self/fd`.
    pub fn next_used(&self, fd: u32) -> Option<u32> {
        self.table.lock().first_used(fd as usize, usize::MAX).map(|index| index as u32)
    }

    /// One more than the highest number that ever was in use at once (`FDSize` of `/proc/self/status`).
    pub fn size(&self) -> usize {
        self.table.lock().slots.len()
    }
}

impl Drop for FdTable {
    fn drop(&mut self) {
        self.close_all();
    }
}

impl Table {
    fn lowest_free(&mut self, first: usize) -> usize {
        let mut word = (first / 64).max(self.first_free_word);
        while let Some(&bits) = self.used.get(word) {
            let ignored = if word == first / 64 { (1u64 << (first % 64)) - 1 } else { 0 };
            let taken = bits | ignored;
            if taken != u64::MAX {
                return word * 64 + taken.trailing_ones() as usize;
            }
            word += 1;
            if bits == u64::MAX && word - 1 == self.first_free_word {
                self.first_free_word = word;
            }
        }
        first.max(word * 64)
    }

    fn first_used(&self, first: usize, last: usize) -> Option<usize> {
        first_set(&self.used, first).filter(|&index| index <= last)
    }

    fn grow_to(&mut self, index: usize) -> Result<()> {
        if index < self.slots.len() {
            return Ok(());
        }
        let len = (index + 1).next_multiple_of(64).max(self.slots.len() * 2).min(MAX_FDS);
        let words = len / 64;
        self.slots.try_reserve_exact(len - self.slots.len()).map_err(|_| Errno::ENOMEM)?;
        self.used.try_reserve_exact(words - self.used.len()).map_err(|_| Errno::ENOMEM)?;
        self.close_on_exec.try_reserve_exact(words - self.close_on_exec.len()).map_err(|_| Errno::ENOMEM)?;
        self.slots.resize(len, None);
        self.used.resize(words, 0);
        self.close_on_exec.resize(words, 0);
        Ok(())
    }

    #[inline(always)]
    fn put(&mut self, index: usize, file: Arc<OpenFile>, closes_on_exec: bool) {
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(file);
            assign(&mut self.used, index, true);
            assign(&mut self.close_on_exec, index, closes_on_exec);
        }
    }

    #[inline(always)]
    fn take(&mut self, index: usize) -> Option<Arc<OpenFile>> {
        let file = self.slots.get_mut(index)?.take()?;
        assign(&mut self.used, index, false);
        assign(&mut self.close_on_exec, index, false);
        self.first_free_word = self.first_free_word.min(index / 64);
        Some(file)
    }
}

fn test(bits: &[u64], index: usize) -> bool {
    bits.get(index / 64).is_some_and(|word| word >> (index % 64) & 1 != 0)
}

fn assign(bits: &mut [u64], index: usize, is_on: bool) {
    if let Some(word) = bits.get_mut(index / 64) {
        let bit = 1 << (index % 64);
        *word = if is_on { *word | bit } else { *word & !bit };
    }
}

fn first_set(bits: &[u64], first: usize) -> Option<usize> {
    let mut mask = u64::MAX << (first % 64);
    for (index, &word) in bits.iter().enumerate().skip(first / 64) {
        if word & mask != 0 {
            return Some(index * 64 + (word & mask).trailing_zeros() as usize);
        }
        mask = u64::MAX;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::{File, OpenFlags};
    use super::*;

    struct Nothing;
    impl File for Nothing {}

    fn file() -> Arc<OpenFile> {
        OpenFile::anonymous(Arc::new(Nothing), OpenFlags::RDWR)
    }

    #[test]
    fn the_lowest_free_number_is_given() {
        let table = FdTable::new();
        for expected in 0..200 {
            assert_eq!(table.install(file(), false, 1024), Ok(expected));
        }
        for fd in [150, 3, 70] {
            table.close(fd).unwrap();
        }
        assert_eq!(table.install_from(file(), 10, false, 1024), Ok(70));
        assert_eq!(table.install(file(), false, 1024), Ok(3));
        assert_eq!(table.install(file(), false, 1024), Ok(150));
        assert_eq!(table.install(file(), false, 1024), Ok(200));
        assert_eq!(table.install_from(file(), 500, false, 1024), Ok(500));
    }

    #[test]
    fn limits_hold() {
        let table = FdTable::new();
        assert_eq!(table.install(file(), false, 0), Err(Errno::EMFILE));
        assert_eq!(table.install_at(file(), 8, false, 8), Err(Errno::EBADF));
        assert_eq!(table.install_at(file(), -1, false, 8), Err(Errno::EBADF));
        assert_eq!(table.get(-1).err(), Some(Errno::EBADF));
        assert_eq!(table.close(0), Err(Errno::EBADF));
    }

    #[test]
    fn exec_closes_what_is_marked() {
        let table = FdTable::new();
        table.install_at(file(), 1, true, 1024).unwrap();
        table.install_at(file(), 130, true, 1024).unwrap();
        table.install_at(file(), 2, false, 1024).unwrap();
        let copy = table.duplicate();
        table.close_on_exec();
        assert_eq!((table.next_used(0), table.next_used(3)), (Some(2), None));
        assert_eq!(copy.next_used(3), Some(130));
        copy.close_range(2, 130);
        assert_eq!((copy.next_used(0), copy.next_used(2)), (Some(1), None));
    }
}
