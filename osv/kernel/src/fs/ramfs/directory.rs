//! Directories of a ramfs: entries by name, and in the order of their making for `read_dir`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::HashTable;

use super::{Content, NewInode, NewKind, RamInode, State};
use crate::errno::{Errno, Result};
use crate::fs::clock::now;
use crate::fs::name::{Name, hash_name};
use crate::fs::{DirEntry, FileType, RenameFlags};

/// The cookie before the first entry.
const FIRST_COOKIE: u64 = 3;
/// Bytes that one entry counts in a directory's size, as tmpfs does it.
const ENTRY_SIZE: u64 = 20;
/// Entries taken from the table at once while listing.
const BATCH: usize = 32;

/// The entries of a directory.
#[derive(Default)]
pub struct Entries {
    by_name: HashTable<Entry>,
    by_age: ByAge,
    last_cookie: u64,
}

struct Entry {
    hash: u64,
    name: Name,
    cookie: u64,
    inode: Arc<RamInode>,
}

struct Listed {
    name: Name,
    ino: u64,
    kind: FileType,
}

/// The names in the order of their cookies, which only grow: new ones come at the end, and what is removed leaves a gap
/// until half of the list is gaps.
#[derive(Default)]
struct ByAge {
    names: Vec<(u64, Option<Listed>)>,
    gaps: usize,
}

impl ByAge {
    fn push(&mut self, cookie: u64, listed: Listed) {
        self.names.push((cookie, Some(listed)));
    }

    fn remove(&mut self, cookie: u64) {
        let Ok(index) = self.names.binary_search_by_key(&cookie, |&(other, _)| other) else { return };
        self.names[index].1 = None;
        self.gaps += 1;
        if 2 * self.gaps > self.names.len() {
            self.names.retain(|(_, listed)| listed.is_some());
            self.gaps = 0;
        }
    }

    /// What was entered after `cookie`.
    fn after(&self, cookie: u64) -> impl Iterator<Item = (u64, &Listed)> {
        let first = self.names.partition_point(|&(other, _)| other <= cookie);
        self.names.iter().skip(first).filter_map(|(cookie, listed)| Some((*cookie, listed.as_ref()?)))
    }
}

impl Entries {
    /// `st_size` of the directory.
    pub fn apparent_size(&self) -> u64 {
        (self.by_name.len() as u64 + 2) * ENTRY_SIZE
    }

    fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    fn find(&self, name: &[u8]) -> Option<&Arc<RamInode>> {
        let hash = hash_name(name);
        self.by_name.find(hash, |entry| entry.hash == hash && entry.name.is(name)).map(|entry| &entry.inode)
    }

    fn insert(&mut self, name: &[u8], inode: Arc<RamInode>) -> Result<()> {
        self.by_name.try_reserve(1, |entry| entry.hash).map_err(|_| Errno::ENOSPC)?;
        let (hash, name) = (hash_name(name), Name::new(name));
        self.last_cookie = (self.last_cookie + 1).max(FIRST_COOKIE);
        let cookie = self.last_cookie;
        self.by_age.push(cookie, Listed { name: name.clone(), ino: inode.ino, kind: inode.kind });
        self.by_name.insert_unique(hash, Entry { hash, name, cookie, inode }, |entry| entry.hash);
        Ok(())
    }

    fn remove(&mut self, name: &[u8]) -> Option<Arc<RamInode>> {
        let hash = hash_name(name);
        let found = self.by_name.find_entry(hash, |entry| entry.hash == hash && entry.name.is(name)).ok()?;
        let (entry, _) = found.remove();
        self.by_age.remove(entry.cookie);
        Some(entry.inode)
    }
}

impl State {
    fn entries(&self) -> Result<&Entries> {
        match &self.content {
            Content::Directory(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }

    fn entries_mut(&mut self) -> Result<&mut Entries> {
        match &mut self.content {
            Content::Directory(entries) => Ok(entries),
            _ => Err(Errno::ENOTDIR),
        }
    }
}

impl RamInode {
    fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    /// The inode under `name`.
    pub(super) fn entry(&self, name: &[u8]) -> Result<Arc<RamInode>> {
        self.state.lock().entries()?.find(name).cloned().ok_or(Errno::ENOENT)
    }

    /// Enters `inode` under a free name.
    pub(super) fn enter(&self, name: &[u8], inode: Arc<RamInode>) -> Result<()> {
        let is_directory = inode.is_directory();
        let time = now();
        let mut state = self.state.lock();
        let entries = state.entries_mut()?;
        if entries.find(name).is_some() {
            return Err(Errno::EEXIST);
        }
        entries.insert(name, inode)?;
        state.nlink += u32::from(is_directory);
        (state.mtime, state.ctime) = (time, time);
        Ok(())
    }

    /// Takes the entry `name` out, whatever it is.
    fn take(&self, name: &[u8]) -> Result<Arc<RamInode>> {
        let time = now();
        let mut state = self.state.lock();
        let inode = state.entries_mut()?.remove(name).ok_or(Errno::ENOENT)?;
        state.nlink -= u32::from(inode.is_directory());
        (state.mtime, state.ctime) = (time, time);
        Ok(inode)
    }

    /// `unlink`
    pub(super) fn remove_file(&self, name: &[u8]) -> Result<()> {
        if self.entry(name)?.is_directory() {
            return Err(Errno::EISDIR);
        }
        let inode = self.take(name)?;
        inode.change_links(-1, now());
        if inode.state.lock().nlink != 0 {
            self.shared.give_inode();
        }
        Ok(())
    }

    /// `rmdir`
    pub(super) fn remove_directory(&self, name: &[u8]) -> Result<()> {
        self.entry(name)?.check_empty()?;
        self.take(name)?.change_links(-2, now());
        Ok(())
    }

    fn check_empty(&self) -> Result<()> {
        if self.state.lock().entries()?.is_empty() { Ok(()) } else { Err(Errno::ENOTEMPTY) }
    }

    /// `rename`
    pub(super) fn move_entry(&self, old: &[u8], to: &RamInode, new: &[u8], flags: RenameFlags) -> Result<()> {
        let moved = self.entry(old)?;
        let replaced = match to.entry(new) {
            Ok(inode) => Some(inode),
            Err(Errno::ENOENT) => None,
            Err(error) => return Err(error),
        };
        if flags.contains(RenameFlags::EXCHANGE) {
            let other = replaced.ok_or(Errno::ENOENT)?;
            self.take(old)?;
            to.take(new)?;
            self.enter(old, other.clone())?;
            to.enter(new, moved.clone())?;
            other.change_links(0, now());
            moved.change_links(0, now());
            return Ok(());
        }
        if let Some(victim) = replaced {
            if flags.contains(RenameFlags::NOREPLACE) {
                return Err(Errno::EEXIST);
            }
            to.make_way(new, &victim, moved.is_directory())?;
        }
        self.take(old)?;
        to.enter(new, moved.clone())?;
        moved.change_links(0, now());
        if flags.contains(RenameFlags::WHITEOUT) {
            let whiteout = NewInode { kind: NewKind::CharDevice(0), mode: 0, uid: 0, gid: 0 };
            self.enter(old, self.make(&whiteout)?)?;
        }
        Ok(())
    }

    fn make_way(&self, name: &[u8], victim: &RamInode, for_directory: bool) -> Result<()> {
        match (for_directory, victim.is_directory()) {
            (true, false) => Err(Errno::ENOTDIR),
            (false, true) => Err(Errno::EISDIR),
            (true, true) => self.remove_directory(name),
            (false, false) => self.remove_file(name),
        }
    }

    /// `read_dir`
    pub(super) fn list(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        let mut after = cookie;
        loop {
            let batch = self.batch_after(after)?;
            for (next, Listed { name, ino, kind }) in &batch {
                if !emit(DirEntry { name: name.as_bytes(), ino: *ino, kind: *kind, next: *next }) {
                    return Ok(());
                }
                after = *next;
            }
            if batch.len() < BATCH {
                return Ok(());
            }
        }
    }

    fn batch_after(&self, cookie: u64) -> Result<Vec<(u64, Listed)>> {
        let mut batch = Vec::new();
        batch.try_reserve_exact(BATCH).map_err(|_| Errno::ENOMEM)?;
        let state = self.state.lock();
        let later = state.entries()?.by_age.after(cookie).take(BATCH);
        batch.extend(later.map(|(next, listed)| {
            let Listed { name, ino, kind } = listed;
            (next, Listed { name: name.clone(), ino: *ino, kind: *kind })
        }));
        Ok(batch)
    }
}
