//! Listing a directory of an overlay: the names of both layers, merged.
//!
//! The layers' own cookies cannot tell where a reader of the merged list is, so each name gets a cookie when it is
//! first listed and keeps it as long as it is there. A reader that starts anew sees what is new; one that goes on,
//! while files are removed or copied up under it, misses and repeats nothing.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::directory::is_whiteout;
use super::inode::{OverlayInode, upper_number};
use crate::errno::{Errno, Result};
use crate::fs::name::Name;
use crate::fs::{DirEntry, FileType, Inode};
use crate::sorting::sort_by;

/// The cookie before the first entry.
const BEFORE_FIRST: u64 = 2;

/// The names of a directory that was listed.
#[derive(Default)]
pub(super) struct Listing {
    /// In the order of their cookies.
    entries: Vec<Entry>,
    last_cookie: u64,
}

struct Entry {
    cookie: u64,
    shown: Shown,
}

/// A name that shows, and what shows under it.
struct Shown {
    name: Name,
    ino: u64,
    kind: FileType,
}

/// What a layer has under a name.
struct Found {
    name: Name,
    is_upper: bool,
    /// Inode number and type; `None` for a whiteout.
    what: Option<(u64, FileType)>,
}

impl Listing {
    /// Makes the list say what `shown`, in the order of the names, says.
    fn update(&mut self, shown: Vec<Shown>) {
        let mut known = core::mem::take(&mut self.entries);
        sort_by(&mut known, |a, b| a.shown.name.as_bytes() < b.shown.name.as_bytes());
        let mut known = known.into_iter().peekable();
        for shown in shown {
            let name = shown.name.as_bytes();
            while known.next_if(|entry| entry.shown.name.as_bytes() < name).is_some() {}
            let cookie = match known.next_if(|entry| entry.shown.name.as_bytes() == name) {
                Some(entry) => entry.cookie,
                None => {
                    self.last_cookie = self.last_cookie.max(BEFORE_FIRST) + 1;
                    self.last_cookie
                }
            };
            self.entries.push(Entry { cookie, shown });
        }
        sort_by(&mut self.entries, |a, b| a.cookie < b.cookie);
    }
}

impl OverlayInode {
    /// `read_dir`
    pub(super) fn list(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        if self.kind != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        let mut listing = self.listing.lock();
        if cookie == 0 {
            listing.update(self.merged()?);
        }
        let first = listing.entries.partition_point(|entry| entry.cookie <= cookie);
        for Entry { cookie, shown: Shown { name, ino, kind } } in listing.entries.iter().skip(first) {
            if !emit(DirEntry { name: name.as_bytes(), ino: *ino, kind: *kind, next: *cookie }) {
                break;
            }
        }
        Ok(())
    }

    /// Whether any name shows.
    pub(super) fn has_entries(&self) -> Result<bool> {
        Ok(!self.merged()?.is_empty())
    }

    /// What shows of both layers, in the order of the names.
    fn merged(&self) -> Result<Vec<Shown>> {
        let mut found = Vec::new();
        if let Some(lower) = self.lower() {
            lower.read_dir(0, &mut |entry| {
                let what = Some((entry.ino, entry.kind));
                found.push(Found { name: Name::new(entry.name), is_upper: false, what });
                true
            })?;
        }
        if let Some(upper) = self.upper() {
            upper.read_dir(0, &mut |entry| {
                let what = shown_of(&upper, &entry);
                found.push(Found { name: Name::new(entry.name), is_upper: true, what });
                true
            })?;
        }
        sort_by(&mut found, |a, b| (a.name.as_bytes(), b.is_upper) < (b.name.as_bytes(), a.is_upper));
        // Where both layers have a name, the upper one comes first and says what shows.
        found.dedup_by(|later, first| later.name.as_bytes() == first.name.as_bytes());
        let shown = |Found { name, what, .. }| what.map(|(ino, kind)| Shown { name, ino, kind });
        Ok(found.into_iter().filter_map(shown).collect())
    }
}

/// What an entry of the upper directory shows; `None` for a whiteout.
fn shown_of(upper: &Arc<dyn Inode>, entry: &DirEntry<'_>) -> Option<(u64, FileType)> {
    let inode = upper.lookup(entry.name).ok()?;
    if is_whiteout(&inode) {
        return None;
    }
    Some((upper_number(&inode).unwrap_or(entry.ino), entry.kind))
}
