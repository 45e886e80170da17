//! Open file descriptions: what `open` makes and descriptors share.
//!
//! An [`OpenFile`] joins what is acted on (an inode's contents, or a [`File`] of its own kind), the place in the tree
//! that was opened, if any, the position and the status flags. All system calls on descriptors come through here, so
//! that access modes, positions and O_APPEND are treated in one place.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::sync::atomic::{AtomicU32, Ordering};

use super::signal_driven::AsyncOwner;
use super::{
    File, FileType, Inode, IoFlags, Metadata, OFFSET_MAX, OpenFlags, PathRef, SeekFrom, anonymous, locks, mount,
    mounting, text,
};
use crate::errno::{Errno, Result};
use crate::event::inotify::{self, NotifyMask};
use crate::event::{Observer, PollEvents, Pollee, Watch};
use crate::mem::object::PageSource;
use crate::mem::user::{Dest, Source};
use crate::sched::Mutex;
use crate::sync::Once;

/// Flags that F_SETFL can change.
const SETTABLE: OpenFlags = OpenFlags::APPEND
    .union(OpenFlags::NONBLOCK)
    .union(OpenFlags::ASYNC)
    .union(OpenFlags::DIRECT)
    .union(OpenFlags::NOATIME);

/// Flags that act during `open` and are then forgotten.
const CREATION: OpenFlags =
    OpenFlags::CREAT.union(OpenFlags::EXCL).union(OpenFlags::NOCTTY).union(OpenFlags::TRUNC).union(OpenFlags::CLOEXEC);

/// What reads and writes act on.
enum Target {
    /// The contents of an inode.
    Inode(Arc<dyn Inode>),
    /// A file with positions.
    Positioned(Arc<dyn File>),
    /// A file that is read and written in order.
    Stream(Arc<dyn File>),
    /// Nothing: the description stands for a place only (O_PATH).
    Place,
}

/// An open file description.
pub struct OpenFile {
    target: Target,
    path: Option<PathRef>,
    flags: AtomicU32,
    position: Mutex<u64>,
    owner: Once<Arc<AsyncOwner>>,
    has_locks: AtomicU32,
    /// Keeps the file from being run while it may be written.
    _writer: Option<text::Writer>,
    /// Keeps the mount from becoming read-only.
    _mount_writer: Option<mount::Writer>,
    /// A tree of mounts that goes with the description.
    tree: Option<mounting::Detached>,
}

impl OpenFile {
    fn new(target: Target, path: Option<PathRef>, flags: OpenFlags) -> Arc<OpenFile> {
        OpenFile::new_counted(target, path, flags, None, None)
    }

    fn new_counted(
        target: Target,
        path: Option<PathRef>,
        flags: OpenFlags,
        writer: Option<text::Writer>,
        mount_writer: Option<mount::Writer>,
    ) -> Arc<OpenFile> {
        Arc::new(OpenFile {
            target,
            path,
            flags: AtomicU32::new(flags.difference(CREATION).bits()),
            position: Mutex::new(0),
            owner: Once::new(),
            has_locks: AtomicU32::new(0),
            _writer: writer,
            _mount_writer: mount_writer,
            tree: None,
        })
    }

    /// A file that is in no tree: a pipe end, a socket, an eventfd.
    pub fn anonymous(file: Arc<dyn File>, flags: OpenFlags) -> Arc<OpenFile> {
        OpenFile::with_file(file, None, flags)
    }

    /// A file of its own kind, opened at `path`.
    pub fn with_file(file: Arc<dyn File>, path: Option<PathRef>, flags: OpenFlags) -> Arc<OpenFile> {
        let target = if file.is_positioned() { Target::Positioned(file) } else { Target::Stream(file) };
        OpenFile::new(target, path, flags)
    }

    /// The inode at `path`, by its own contents.
    pub fn with_inode(path: PathRef, flags: OpenFlags) -> Arc<OpenFile> {
        let is_counted = flags.is_writable() && path.kind() == FileType::Regular;
        let writer = if is_counted { text::Writer::new(path.inode()) } else { None };
        // Who comes too late for a mount that becomes read-only has been let in before.
        let mount_writer = if is_counted { path.mount().writer().ok() } else { None };
        OpenFile::new_counted(Target::Inode(path.inode().clone()), Some(path), flags, writer, mount_writer)
    }

    /// A memfd at `path`: it may be run by whoever can write it.
    pub fn with_memfd(path: PathRef, flags: OpenFlags) -> Arc<OpenFile> {
        OpenFile::new(Target::Inode(path.inode().clone()), Some(path), flags)
    }

    /// The place `path`, without access to its contents (O_PATH).
    pub fn with_place(path: PathRef, flags: OpenFlags) -> Arc<OpenFile> {
        let kept = OpenFlags::PATH | OpenFlags::DIRECTORY | OpenFlags::NOFOLLOW;
        OpenFile::new(Target::Place, Some(path), flags & kept)
    }

    /// The root of a tree of mounts that is attached nowhere yet (O_PATH); it goes with the description unless it has
    /// been attached by then.
    pub fn with_tree(tree: mounting::Detached) -> Arc<OpenFile> {
        let mut file = OpenFile::with_place(tree.root_path(), OpenFlags::PATH);
        if let Some(file) = Arc::get_mut(&mut file) {
            file.tree = Some(tree);
        }
        file
    }

    /// Whether it holds a tree of mounts that may be attached.
    pub fn holds_tree(&self) -> bool {
        self.tree.is_some()
    }

    /// A number that no other living description has.
    pub fn id(&self) -> usize {
        core::ptr::from_ref(self).addr()
    }

    /// The place that was opened; `None` for anonymous files.
    pub fn path(&self) -> Option<&PathRef> {
        self.path.as_ref()
    }

    /// The inode that was opened; `None` for anonymous files.
    pub fn inode(&self) -> Option<&Arc<dyn Inode>> {
        self.path.as_ref().map(PathRef::inode)
    }

    /// The file that it acts on, if that is not an inode's contents.
    pub fn file(&self) -> Option<&Arc<dyn File>> {
        match &self.target {
            Target::Positioned(file) | Target::Stream(file) => Some(file),
            Target::Inode(_) | Target::Place => None,
        }
    }

    /// The file that it acts on, if that is read and written in order.
    #[inline(always)]
    pub fn stream(&self) -> Option<&dyn File> {
        match &self.target {
            Target::Stream(file) => Some(&**file),
            _ => None,
        }
    }

    /// The file that it acts on, if it is a `T`.
    #[inline(always)]
    pub fn downcast<T: File>(&self) -> Option<&T> {
        let file: &dyn Any = &**self.file()?;
        file.downcast_ref()
    }

    /// Whether it stands for a place only (O_PATH), so that most calls on it are EBADF.
    #[inline]
    pub fn is_place(&self) -> bool {
        matches!(self.target, Target::Place)
    }

    /// Access mode and status flags.
    #[inline(always)]
    pub fn flags(&self) -> OpenFlags {
        OpenFlags::from_bits_retain(self.flags.load(Ordering::Relaxed))
    }

    /// Changes the status flags that can be changed (F_SETFL).
    pub fn set_status(&self, flags: OpenFlags) {
        let mut changed = self.flags().difference(SETTABLE) | (flags & SETTABLE);
        if (changed ^ self.flags()).contains(OpenFlags::ASYNC) {
            changed.set(OpenFlags::ASYNC, self.watch(changed.contains(OpenFlags::ASYNC)));
        }
        self.flags.store(changed.bits(), Ordering::Relaxed);
        if let Some(file) = self.file() {
            file.set_status(changed);
        }
    }

    /// Sets or clears O_NONBLOCK or another single status flag (FIONBIO, FIOASYNC).
    pub fn set_flag(&self, flag: OpenFlags, is_on: bool) {
        let flags = self.flags();
        self.set_status(if is_on { flags | flag } else { flags - flag });
    }

    /// How reads and writes through this description behave.
    #[inline(always)]
    pub fn io_flags(&self) -> IoFlags {
        if self.flags().contains(OpenFlags::NONBLOCK) { IoFlags::NONBLOCK } else { IoFlags::empty() }
    }

    /// Who gets signals of this file.
    pub fn owner(&self) -> &Arc<AsyncOwner> {
        self.owner.call_once(AsyncOwner::new)
    }

    /// Whether O_ASYNC means anything to the file.
    pub fn can_signal(&self) -> bool {
        self.file().is_some_and(|file| file.can_signal() && file.pollee().is_some())
    }

    /// Begins or ends to send signals; whether they are sent now.
    fn watch(&self, is_on: bool) -> bool {
        let Some(pollee) = self.pollee().filter(|_| self.can_signal()) else { return false };
        let observer: Arc<dyn Observer> = self.owner().clone();
        if !is_on {
            pollee.detach(&observer);
            return false;
        }
        let mut interest = PollEvents::POLLPRI;
        interest.set(PollEvents::READABLE, self.flags().is_readable());
        interest.set(PollEvents::WRITABLE, self.flags().is_writable());
        pollee.attach(observer, Watch { interest, is_exclusive: false, owner: self.id() }).is_ok()
    }

    /// Remembers that locks of this description have to be released with it.
    pub(super) fn note_locks(&self) {
        self.has_locks.store(1, Ordering::Relaxed);
    }

    /// EBADF unless it was opened for reading.
    #[inline(always)]
    pub fn check_readable(&self) -> Result<()> {
        if self.flags().is_readable() { Ok(()) } else { Err(Errno::EBADF) }
    }

    /// EBADF unless it was opened for writing.
    #[inline(always)]
    pub fn check_writable(&self) -> Result<()> {
        if self.flags().is_writable() { Ok(()) } else { Err(Errno::EBADF) }
    }

    /// Reads at the position and advances it.
    #[inline]
    pub fn read(&self, dst: &mut Dest<'_>) -> Result<usize> {
        self.read_with(dst, self.io_flags())
    }

    /// As [`OpenFile::read`], with other flags than the description's own.
    pub fn read_with(&self, dst: &mut Dest<'_>, flags: IoFlags) -> Result<usize> {
        self.check_readable()?;
        match &self.target {
            Target::Stream(file) => file.read(dst, flags),
            Target::Inode(inode) => self.noted(
                NotifyMask::ACCESS,
                self.advance(|position| {
                    check_area(position, dst.remaining())?;
                    read_inode(&**inode, position, dst)
                }),
            ),
            Target::Positioned(file) => self.advance(|position| file.read_at(position, dst)),
            Target::Place => Err(Errno::EBADF),
        }
    }

    /// Writes at the position, or at the end with O_APPEND, and advances it.
    #[inline]
    pub fn write(&self, src: &mut Source<'_>) -> Result<usize> {
        self.write_with(src, self.io_flags())
    }

    /// As [`OpenFile::write`], with other flags than the description's own.
    pub fn write_with(&self, src: &mut Source<'_>, flags: IoFlags) -> Result<usize> {
        self.check_writable()?;
        match &self.target {
            Target::Stream(file) => file.write(src, flags),
            Target::Inode(inode) => self.noted(NotifyMask::MODIFY, self.write_inode(&**inode, src)),
            Target::Positioned(file) => self.advance(|position| file.write_at(position, src)),
            Target::Place => Err(Errno::EBADF),
        }
    }

    fn write_inode(&self, inode: &dyn Inode, src: &mut Source<'_>) -> Result<usize> {
        let flags = self.flags();
        let count = if flags.contains(OpenFlags::APPEND) {
            let mut position = self.position.lock();
            let (count, end) = inode.append(src)?;
            *position = end;
            count
        } else {
            self.advance(|position| {
                check_area(position, src.remaining())?;
                inode.write_at(position, src)
            })?
        };
        self.sync_if_asked(inode, flags)?;
        Ok(count)
    }

    fn sync_if_asked(&self, inode: &dyn Inode, flags: OpenFlags) -> Result<()> {
        if flags.intersects(OpenFlags::SYNC) { inode.sync(!flags.contains(OpenFlags::SYNC)) } else { Ok(()) }
    }

    #[inline]
    fn advance(&self, act: impl FnOnce(u64) -> Result<usize>) -> Result<usize> {
        let mut position = self.position.lock();
        let count = act(*position)?;
        *position += count as u64;
        Ok(count)
    }

    /// Reads at `offset`, leaving the position alone (ESPIPE where there are no positions).
    pub fn read_at(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        match &self.target {
            Target::Stream(file) if !file.takes_offsets() => Err(Errno::ESPIPE),
            _ if !self.flags().is_readable() => Err(Errno::EBADF),
            Target::Inode(inode) => {
                check_area(offset, dst.remaining())?;
                self.noted(NotifyMask::ACCESS, read_inode(&**inode, offset, dst))
            }
            Target::Positioned(file) | Target::Stream(file) => file.read_at(offset, dst),
            Target::Place => Err(Errno::EBADF),
        }
    }

    /// Writes at `offset`, leaving the position alone; with O_APPEND at the end, as Linux does it.
    pub fn write_at(&self, offset: u64, src: &mut Source<'_>) -> Result<usize> {
        match &self.target {
            Target::Stream(file) if !file.takes_offsets() => Err(Errno::ESPIPE),
            _ if !self.flags().is_writable() => Err(Errno::EBADF),
            Target::Inode(inode) => {
                check_area(offset, src.remaining())?;
                let flags = self.flags();
                let count = if flags.contains(OpenFlags::APPEND) {
                    inode.append(src)?.0
                } else {
                    inode.write_at(offset, src)?
                };
                self.sync_if_asked(&**inode, flags)?;
                self.noted(NotifyMask::MODIFY, Ok(count))
            }
            Target::Positioned(file) | Target::Stream(file) => file.write_at(offset, src),
            Target::Place => Err(Errno::EBADF),
        }
    }

    /// Writes at the end of a file (RWF_APPEND), whatever the flags; advances the position if `moves` it.
    pub fn append(&self, src: &mut Source<'_>, moves: bool) -> Result<usize> {
        self.check_writable()?;
        let Target::Inode(inode) = &self.target else { return self.write(src) };
        let mut position = self.position.lock();
        let (count, end) = inode.append(src)?;
        if moves {
            *position = end;
        }
        drop(position);
        self.noted(NotifyMask::MODIFY, Ok(count))
    }

    /// Tells those who watch the file of a transfer that moved something; its result.
    #[inline(always)]
    fn noted(&self, what: NotifyMask, result: Result<usize>) -> Result<usize> {
        if inotify::is_active() && result.is_ok_and(|count| count != 0) {
            self.tell_watchers(what);
        }
        result
    }

    fn tell_watchers(&self, what: NotifyMask) {
        if let Some(place) = &self.path {
            inotify::on_file(place, what);
        }
    }

    /// The present position.
    pub fn position(&self) -> u64 {
        *self.position.lock()
    }

    /// Moves the position (`lseek`).
    pub fn seek(&self, from: SeekFrom) -> Result<u64> {
        let mut position = self.position.lock();
        let new = match &self.target {
            Target::Inode(inode) => seek_inode(&**inode, from, *position)?,
            Target::Positioned(file) | Target::Stream(file) => file.seek(from, *position)?,
            Target::Place => return Err(Errno::EBADF),
        };
        *position = new;
        Ok(new)
    }

    /// Whether positions mean anything.
    pub fn has_positions(&self) -> bool {
        matches!(self.target, Target::Inode(_) | Target::Positioned(_))
    }

    /// Whether reads and writes at an offset are possible.
    pub fn takes_offsets(&self) -> bool {
        match &self.target {
            Target::Inode(_) => true,
            Target::Positioned(file) | Target::Stream(file) => file.takes_offsets(),
            Target::Place => false,
        }
    }

    /// Reads a directory from the position on: `emit` gets name, inode number, type and next position of each entry,
    /// until it returns false.
    pub fn read_dir(&self, emit: &mut dyn FnMut(super::DirEntry<'_>) -> bool) -> Result<()> {
        let (Target::Inode(inode), Some(path)) = (&self.target, &self.path) else { return Err(Errno::ENOTDIR) };
        if inode.kind() != FileType::Directory {
            return Err(Errno::ENOTDIR);
        }
        if path.dentry().is_unlinked() {
            return Err(Errno::ENOENT);
        }
        let mut position = self.position.lock();
        super::directory::read_from(path, &mut position, emit)
    }

    /// Device control.
    pub fn ioctl(&self, command: u32, arg: u64) -> Result<u64> {
        match &self.target {
            Target::Positioned(file) | Target::Stream(file) => file.ioctl(command, arg),
            Target::Inode(_) => Err(Errno::ENOTTY),
            Target::Place => Err(Errno::EBADF),
        }
    }

    /// What would not block now.
    #[inline(always)]
    pub fn readiness(&self) -> PollEvents {
        match &self.target {
            Target::Positioned(file) | Target::Stream(file) => file.readiness(),
            Target::Inode(_) => PollEvents::ALWAYS_READY,
            Target::Place => PollEvents::POLLNVAL,
        }
    }

    /// Where to wait for changes of the readiness; `None` if it never changes.
    pub fn pollee(&self) -> Option<&Pollee> {
        self.file().and_then(|file| file.pollee())
    }

    /// The pages that a mapping shows (ENODEV where there are none).
    pub fn mapping(&self) -> Result<Arc<dyn PageSource>> {
        match &self.target {
            Target::Inode(inode) => inode.clone().pages().ok_or(Errno::ENODEV),
            Target::Positioned(file) | Target::Stream(file) => file.mapping(),
            Target::Place => Err(Errno::EBADF),
        }
    }

    /// What `fstat` tells.
    pub fn metadata(&self) -> Result<Metadata> {
        match (&self.path, &self.target) {
            (Some(path), _) => path.inode().metadata(),
            (None, Target::Positioned(file) | Target::Stream(file)) => file.metadata(),
            (None, Target::Inode(inode)) => inode.metadata(),
            (None, Target::Place) => Err(Errno::EBADF),
        }
    }

    /// Writes back what is only in memory; EINVAL for what cannot be synchronised.
    pub fn sync(&self, is_data_only: bool) -> Result<()> {
        match &self.target {
            Target::Inode(inode) => inode.sync(is_data_only),
            Target::Positioned(_) | Target::Stream(_) => Err(Errno::EINVAL),
            Target::Place => Err(Errno::EBADF),
        }
    }

    /// The text of the link in `/proc/self/fd`, as seen from `root`.
    pub fn link_text(&self, root: &PathRef) -> Vec<u8> {
        match (&self.path, self.file()) {
            (Some(path), None) => path.link_text(root),
            (Some(path), Some(_)) if !anonymous::is_made_up(path) => path.link_text(root),
            (_, Some(file)) => {
                let mut text = Vec::new();
                file.link_text(&mut text);
                text
            }
            (None, None) => Vec::new(),
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        if *self.has_locks.get_mut() != 0 {
            locks::release_description(self);
        }
        if let Some(file) = self.file() {
            if let Some(pollee) = file.pollee() {
                pollee.release(self.id());
            }
            file.on_close();
        }
        if inotify::is_active() && !self.is_place() {
            let is_writer = self.flags().is_writable();
            self.tell_watchers(if is_writer { NotifyMask::CLOSE_WRITE } else { NotifyMask::CLOSE_NOWRITE });
            if let Some(place) = self.path.as_ref().filter(|place| place.dentry().is_unlinked()) {
                inotify::on_lost(place.dentry(), 1);
            }
        }
    }
}

/// EINVAL for bytes that no offset can express.
fn check_area(offset: u64, len: usize) -> Result<()> {
    match offset.checked_add(len as u64) {
        Some(end) if end <= OFFSET_MAX => Ok(()),
        _ => Err(Errno::EINVAL),
    }
}

/// A directory cannot be read, not even no bytes of it.
#[inline]
fn read_inode(inode: &dyn Inode, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
    if dst.is_full() && inode.kind() == FileType::Directory {
        return Err(Errno::EISDIR);
    }
    inode.read_at(offset, dst)
}

fn seek_inode(inode: &dyn Inode, from: SeekFrom, current: u64) -> Result<u64> {
    let is_directory = inode.kind() == FileType::Directory;
    let moved = |base, offset| checked_position(base, offset).map_err(|_| Errno::EINVAL);
    match from {
        SeekFrom::Start(offset) => moved(0, offset),
        SeekFrom::Current(offset) => moved(current, offset),
        SeekFrom::End(offset) => moved(inode.size()?, offset),
        SeekFrom::Data(_) | SeekFrom::Hole(_) if is_directory => Err(Errno::EINVAL),
        SeekFrom::Data(offset) => inode.seek_data(u64::try_from(offset).map_err(|_| Errno::ENXIO)?),
        SeekFrom::Hole(offset) => inode.seek_hole(u64::try_from(offset).map_err(|_| Errno::ENXIO)?),
    }
}

/// The position `offset` bytes from `base`: EINVAL if it is negative, EOVERFLOW if no offset can express it.
pub fn checked_position(base: u64, offset: i64) -> Result<u64> {
    match base.checked_add_signed(offset) {
        Some(position) if position <= OFFSET_MAX => Ok(position),
        Some(_) => Err(Errno::EOVERFLOW),
        None => Err(Errno::EINVAL),
    }
}
