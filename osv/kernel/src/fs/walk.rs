//! The path walk: from a string to a place in the tree, as path_resolution(7) tells it.
//!
//! A [`Walker`] goes component by component through the dentry cache, checks search permission, crosses mounts,
//! follows up to 40 symlinks and heeds the `RESOLVE_*` flags of `openat2`. It ends either at the last component
//! ([`Walker::resolve`]) or before it ([`Walker::resolve_parent`], for calls that create, remove or rename). A cached
//! walk neither allocates nor sleeps.

use alloc::vec::Vec;

use linux_raw_sys::general;

use super::dentry::Dentry;
use super::name::{Name, split_first};
use super::{Access, FileType, FsContext, MountFlags, NAME_MAX, PathRef, Subject};
use crate::errno::{Errno, Result};

/// Symlinks that one walk follows before it gives up (ELOOP).
const MAX_LINKS: u32 = 40;

bitflags::bitflags! {
    /// Restrictions of a walk: the `resolve` field of `openat2`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct ResolveFlags: u64 {
        /// Do not cross mounts (EXDEV).
        const NO_XDEV = general::RESOLVE_NO_XDEV as u64;
        /// Do not follow magic links (ELOOP).
        const NO_MAGICLINKS = general::RESOLVE_NO_MAGICLINKS as u64;
        /// Do not follow any symlink (ELOOP).
        const NO_SYMLINKS = general::RESOLVE_NO_SYMLINKS as u64;
        /// Do not leave the tree below the start (EXDEV).
        const BENEATH = general::RESOLVE_BENEATH as u64;
        /// Take the start for the root.
        const IN_ROOT = general::RESOLVE_IN_ROOT as u64;
        /// Only what needs no I/O (EAGAIN).
        const CACHED = general::RESOLVE_CACHED as u64;
    }
}

/// Where relative paths start.
#[derive(Clone, Copy)]
pub enum Start<'a> {
    /// The working directory.
    Current,
    /// A directory that was opened before.
    At(&'a PathRef),
}

/// The last component of a path, not looked up yet.
#[derive(Debug)]
pub struct Last {
    /// What it is.
    pub kind: LastKind,
    /// Whether slashes follow it, so that only a directory will do.
    pub has_trailing_slash: bool,
}

/// What the last component is.
#[derive(Debug)]
pub enum LastKind {
    /// A name and its hash.
    Normal(Name, u64),
    /// The path is nothing but slashes.
    Root,
    /// `.`
    Dot,
    /// `..`
    DotDot,
}

/// A walk under way.
pub struct Walker<'a> {
    context: &'a FsContext,
    subject: &'a Subject<'a>,
    start: Start<'a>,
    flags: ResolveFlags,
    scope: Option<PathRef>,
    links: u32,
}

enum Target {
    Text(Vec<u8>),
    Place(PathRef),
}

impl<'a> Walker<'a> {
    /// A walk for `subject` in the world of `context`.
    #[inline]
    pub fn new(context: &'a FsContext, subject: &'a Subject<'a>, start: Start<'a>) -> Walker<'a> {
        Walker { context, subject, start, flags: ResolveFlags::empty(), scope: None, links: 0 }
    }

    /// Adds the restrictions of `openat2`.
    #[inline(always)]
    pub fn restrict(mut self, flags: ResolveFlags) -> Walker<'a> {
        self.flags = flags;
        if flags.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
            self.scope = Some(self.start_place());
        }
        self
    }

    /// The place that `path` names; `follows_last` says whether a symlink at the end is followed.
    #[inline]
    pub fn resolve(mut self, path: &[u8], follows_last: bool) -> Result<PathRef> {
        let from = self.begin(path)?;
        self.run(from, path, follows_last, None)
    }

    /// The directory of the last component of `path`, and that component.
    pub fn resolve_parent(&mut self, path: &[u8]) -> Result<(PathRef, Last)> {
        let from = self.begin(path)?;
        self.run_to_parent(from, path)
    }

    /// The place that the symlink `link` in `directory` leads to, or the parent of where it leads and the last component.
    pub fn follow_to_parent(&mut self, directory: PathRef, link: &PathRef) -> Result<Follow> {
        self.check_follow(&directory, link.dentry())?;
        match self.target(link)? {
            Target::Place(place) => Ok(Follow::Place(place)),
            Target::Text(text) => {
                let from = if text.first() == Some(&b'/') { self.jump_to_top(&directory)? } else { directory };
                let (parent, last) = self.run_to_parent(from, &text)?;
                Ok(Follow::Parent(parent, last))
            }
        }
    }

    fn start_place(&self) -> PathRef {
        match self.start {
            Start::Current => self.context.current(),
            Start::At(place) => place.clone(),
        }
    }

    #[inline(always)]
    fn begin(&self, path: &[u8]) -> Result<PathRef> {
        match path.first() {
            None => Err(Errno::ENOENT),
            Some(b'/') => self.top(),
            Some(_) => Ok(self.start_place()),
        }
    }

    /// Where absolute paths start.
    #[inline(always)]
    fn top(&self) -> Result<PathRef> {
        if self.flags.contains(ResolveFlags::BENEATH) {
            return Err(Errno::EXDEV);
        }
        Ok(match &self.scope {
            Some(scope) => scope.clone(),
            None => self.context.root(),
        })
    }

    /// Where an absolute symlink in the directory `at` leads first.
    fn jump_to_top(&self, at: &PathRef) -> Result<PathRef> {
        let top = self.top()?;
        if self.flags.contains(ResolveFlags::NO_XDEV) && top.mount().id() != at.mount().id() {
            return Err(Errno::EXDEV);
        }
        Ok(top)
    }

    fn run_to_parent(&mut self, at: PathRef, path: &[u8]) -> Result<(PathRef, Last)> {
        let mut last = Last { kind: LastKind::Root, has_trailing_slash: true };
        let parent = self.run(at, path, true, Some(&mut last))?;
        Ok((parent, last))
    }

    /// Walks `path` from `at`: to its end, or to the directory of its last component, which is put into `last`.
    fn run(
        &mut self,
        mut at: PathRef,
        path: &[u8],
        follows_last: bool,
        mut last: Option<&mut Last>,
    ) -> Result<PathRef> {
        let mut storage;
        let mut rest = without_slashes(path);
        while !rest.is_empty() {
            self.check_search(&at)?;
            let (len, hash) = split_first(rest);
            let Some((name, tail)) = rest.split_at_checked(len) else { return Err(Errno::ENOENT) };
            let next = without_slashes(tail);
            if next.is_empty()
                && let Some(last) = last.take()
            {
                *last = last_component(name, hash, tail);
                return Ok(at);
            }
            match name {
                b"." => {}
                b".." => at = self.up(at)?,
                _ if len > NAME_MAX => return Err(Errno::ENAMETOOLONG),
                _ => {
                    let child = at.dentry().child(name, hash)?;
                    match child.kind() {
                        None => return Err(Errno::ENOENT),
                        Some(FileType::Symlink) if follows_last || !tail.is_empty() => {
                            if tail.is_empty() {
                                self.check_follow(&at, &child)?;
                            }
                            match self.target(&PathRef::new(at.mount().clone(), child))? {
                                Target::Place(place) => at = place,
                                Target::Text(mut text) => {
                                    if text.first() == Some(&b'/') {
                                        at = self.jump_to_top(&at)?;
                                    }
                                    text.extend_from_slice(tail);
                                    storage = text;
                                    rest = without_slashes(&storage);
                                    continue;
                                }
                            }
                        }
                        Some(_) => at = self.cross(at.moved_to(child))?,
                    }
                }
            }
            if !tail.is_empty() && !at.is_directory() {
                return Err(Errno::ENOTDIR);
            }
            rest = next;
        }
        Ok(at)
    }

    #[inline]
    fn check_search(&self, at: &PathRef) -> Result<()> {
        if !at.is_directory() {
            return Err(Errno::ENOTDIR);
        }
        if self.subject.searches_everywhere() {
            return Ok(());
        }
        self.subject.check(FileType::Directory, at.inode().permissions()?, Access::EXECUTE)
    }

    fn check_follow(&self, directory: &PathRef, link: &Dentry) -> Result<()> {
        self.subject.check_follow(directory.inode().permissions()?, link.inode().permissions()?.uid)
    }

    /// `..`
    fn up(&self, at: PathRef) -> Result<PathRef> {
        let above = at.above(|place| match &self.scope {
            Some(scope) => place == scope,
            None => self.context.is_root(place),
        });
        match above {
            Some(above) if self.flags.contains(ResolveFlags::NO_XDEV) && above.mount().id() != at.mount().id() => {
                Err(Errno::EXDEV)
            }
            Some(above) => Ok(above),
            None if self.flags.contains(ResolveFlags::BENEATH) => Err(Errno::EXDEV),
            None => Ok(at),
        }
    }

    /// The place that shows at `place`.
    #[inline]
    fn cross(&self, place: PathRef) -> Result<PathRef> {
        if !place.dentry().is_mount_point() {
            return Ok(place);
        }
        let mount = place.mount().id();
        let place = place.on_top();
        if self.flags.contains(ResolveFlags::NO_XDEV) && place.mount().id() != mount {
            return Err(Errno::EXDEV);
        }
        Ok(place)
    }

    /// Where a symlink leads.
    fn target(&mut self, link: &PathRef) -> Result<Target> {
        self.links += 1;
        let is_forbidden = link.mount().flags().contains(MountFlags::NOSYMFOLLOW);
        if is_forbidden || self.links > MAX_LINKS || self.flags.contains(ResolveFlags::NO_SYMLINKS) {
            return Err(Errno::ELOOP);
        }
        if let Some(place) = link.inode().follow() {
            if self.flags.contains(ResolveFlags::NO_MAGICLINKS) {
                return Err(Errno::ELOOP);
            }
            if self.flags.intersects(ResolveFlags::BENEATH | ResolveFlags::IN_ROOT) {
                return Err(Errno::EXDEV);
            }
            return place.map(Target::Place);
        }
        let text = link.inode().read_link()?;
        if text.is_empty() { Err(Errno::ENOENT) } else { Ok(Target::Text(text)) }
    }
}

/// What [`Walker::follow_to_parent`] finds.
pub enum Follow {
    /// The link was a magic one and leads here.
    Place(PathRef),
    /// The directory of the target's last component, and that component.
    Parent(PathRef, Last),
}

#[inline(always)]
fn without_slashes(mut path: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] = path {
        path = rest;
    }
    path
}

fn last_component(name: &[u8], hash: u64, tail: &[u8]) -> Last {
    let kind = match name {
        b"." => LastKind::Dot,
        b".." => LastKind::DotDot,
        _ => LastKind::Normal(Name::new(name), hash),
    };
    Last { kind, has_trailing_slash: !tail.is_empty() }
}
