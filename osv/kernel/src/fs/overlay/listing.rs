//! Listing a directory of an overlay: the names of both layers, merged.
//!
//! The layers' own cookies cannot tell where a reader of the merged list is, so each name gets a cookie when it is
//! first listed and keeps it as long as it is there. A reader that starts anew sees what is new; one that goes on,
//! while files are removed or copied up under it, misses and repeats nothing.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::directory::is_whiteout;
use super::inode::{OverlayInode, upper_number};
use crate::errno::{Errno, Result};
use crate::fs::name::Name;
use crate::fs::{DirEntry, FileType, Inode};

/// The cookie before the first entry.
const BEFORE_FIRST: u64 = 2;

/// The names of a directory that was listed.
#[derive(Default)]
pub(super) struct Listing {
    by_cookie: BTreeMap<u64, Listed>,
    by_name: BTreeMap<Vec<u8>, u64>,
    last_cookie: u64,
}

struct Listed {
    name: Name,
    ino: u64,
    kind: FileType,
}

/// What shows under a name: inode number and type.
type Shown = BTreeMap<Vec<u8>, (u64, FileType)>;

impl Listing {
    /// Makes the list say what `shown` says.
    fn update(&mut self, shown: Shown) {
        let Listing { by_cookie, by_name, last_cookie } = self;
        by_name.retain(|name, cookie| {
            let stays = shown.contains_key(name);
            if !stays {
                by_cookie.remove(cookie);
            }
            stays
        });
        for (name, (ino, kind)) in shown {
            let listed = Listed { name: Name::new(&name), ino, kind };
            let cookie = *by_name.entry(name).or_insert_with(|| {
                *last_cookie = (*last_cookie).max(BEFORE_FIRST) + 1;
                *last_cookie
            });
            by_cookie.insert(cookie, listed);
        }
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
        for (&next, Listed { name, ino, kind }) in listing.by_cookie.range(cookie + 1..) {
            if !emit(DirEntry { name: name.as_bytes(), ino: *ino, kind: *kind, next }) {
                break;
            }
        }
        Ok(())
    }

    /// Whether any name shows.
    pub(super) fn has_entries(&self) -> Result<bool> {
        Ok(!self.merged()?.is_empty())
    }

    fn merged(&self) -> Result<Shown> {
        let mut shown = Shown::new();
        if let Some(lower) = self.lower() {
            lower.read_dir(0, &mut |entry| {
                shown.insert(entry.name.to_vec(), (entry.ino, entry.kind));
                true
            })?;
        }
        if let Some(upper) = self.upper() {
            upper.read_dir(0, &mut |entry| {
                match shown_of(&upper, &entry) {
                    Some(what) => shown.insert(entry.name.to_vec(), what),
                    None => shown.remove(entry.name),
                };
                true
            })?;
        }
        Ok(shown)
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
