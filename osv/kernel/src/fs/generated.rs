//! Generated files: what procfs and sysfs are made of.
//!
//! A directory is a constant table of [`Entry`]s; a file is a function that writes its text, a link a function that
//! writes its target. All entries of a directory share a context of type `C`: nothing for machine-wide files, the
//! process for those in `/proc/PID`. Children that are not known beforehand (processes, descriptors) come from a
//! [`Children`] beside the table. Nothing is stored: inodes are made when they are looked up, and their numbers are
//! hashes of their paths.
//!
//! The text is made when a file is read from its beginning and stays the same until that happens again, so that a
//! reader in small steps sees one consistent moment, and one that rewinds (`top`) sees a new one. Linux does the same.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;
use core::fmt;

use super::{
    DirEntry, File, FileType, Inode, Metadata, NewInode, NewKind, OFFSET_MAX, OpenFlags, PathRef, SeekFrom,
    SetAttributes, Timespec,
};
use crate::drivers::clock;
use crate::errno::{Errno, Result};
use crate::mem::user::{Dest, Source};
use crate::sched::Mutex;

/// Longest text that a write into a generated file may have.
const MAX_WRITE: usize = 4096;
/// Cookies of table entries begin here; those below belong to the VFS.
const FIRST_COOKIE: u64 = 3;
/// Cookies of dynamic children begin here.
const FIRST_DYNAMIC_COOKIE: u64 = 1 << 16;

/// Text in the making. Use it with `write!`, which cannot fail here: a lack of memory is remembered and ends the read.
#[derive(Default)]
pub struct Text {
    bytes: Vec<u8>,
    is_truncated: bool,
}

impl Text {
    /// Appends bytes as they are.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.bytes.try_reserve(bytes.len()).is_ok() {
            self.bytes.extend_from_slice(bytes);
        } else {
            self.is_truncated = true;
        }
    }

    /// Appends formatted text: what `write!` calls.
    pub fn write_fmt(&mut self, arguments: fmt::Arguments<'_>) {
        // The writer below never fails.
        let _ = fmt::Write::write_fmt(&mut Appender(self), arguments);
    }

    /// Appends blanks until the line that began at `line_start` is `width` bytes long.
    pub fn pad_to(&mut self, line_start: usize, width: usize) {
        while self.len() < line_start + width && !self.is_truncated {
            self.push(b" ");
        }
    }

    /// Bytes so far.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The bytes; ENOMEM if there was no room for all of them.
    pub fn into_bytes(self) -> Result<Vec<u8>> {
        if self.is_truncated { Err(Errno::ENOMEM) } else { Ok(self.bytes) }
    }
}

struct Appender<'a>(&'a mut Text);

impl fmt::Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push(text.as_bytes());
        Ok(())
    }
}

/// What all files below one directory know; cheap to clone.
pub trait Context: Clone + Send + Sync + 'static {
    /// User and group that own the entries.
    fn owner(&self) -> (u32, u32) {
        (0, 0)
    }
}

impl Context for () {}

/// Writes a file's text or a link's target.
pub type Generate<C> = fn(&C, &mut Text) -> Result<()>;
/// Takes what was written into a file.
pub type Accept<C> = fn(&C, &[u8]) -> Result<()>;

/// One entry of a directory.
pub struct Entry<C: Context> {
    name: &'static str,
    mode: u16,
    node: Node<C>,
}

enum Node<C: Context> {
    File { read: Generate<C>, write: Option<Accept<C>> },
    Link { target: Generate<C>, follow: Option<fn(&C) -> Result<PathRef>> },
    Directory { entries: &'static [Entry<C>], children: Option<&'static dyn Children<C>> },
    Other(fn(&C, Volume, u64) -> Result<Arc<dyn Inode>>, FileType),
}

impl<C: Context> Entry<C> {
    /// A file that can be read.
    pub const fn file(name: &'static str, read: Generate<C>) -> Self {
        Entry { name, mode: 0o444, node: Node::File { read, write: None } }
    }

    /// A file that can be read and written.
    pub const fn writable(name: &'static str, read: Generate<C>, write: Accept<C>) -> Self {
        Entry { name, mode: 0o644, node: Node::File { read, write: Some(write) } }
    }

    /// A symbolic link by its text.
    pub const fn link(name: &'static str, target: Generate<C>) -> Self {
        Entry { name, mode: 0o777, node: Node::Link { target, follow: None } }
    }

    /// A link that leads to a place whatever its text says.
    pub const fn magic_link(name: &'static str, target: Generate<C>, follow: fn(&C) -> Result<PathRef>) -> Self {
        Entry { name, mode: 0o777, node: Node::Link { target, follow: Some(follow) } }
    }

    /// A directory with the same context.
    pub const fn directory(name: &'static str, entries: &'static [Entry<C>]) -> Self {
        Entry { name, mode: 0o555, node: Node::Directory { entries, children: None } }
    }

    /// A directory with children that come and go.
    pub const fn dynamic_directory(
        name: &'static str,
        entries: &'static [Entry<C>],
        children: &'static dyn Children<C>,
    ) -> Self {
        Entry { name, mode: 0o555, node: Node::Directory { entries, children: Some(children) } }
    }

    /// An inode of another kind or with another context: made from this context, for the inode number given.
    pub const fn other(
        name: &'static str,
        kind: FileType,
        make: fn(&C, Volume, u64) -> Result<Arc<dyn Inode>>,
    ) -> Self {
        Entry { name, mode: 0o555, node: Node::Other(make, kind) }
    }

    /// The same with other permissions.
    pub const fn with_mode(mut self, mode: u16) -> Self {
        self.mode = mode;
        self
    }

    fn kind(&self) -> FileType {
        match self.node {
            Node::File { .. } => FileType::Regular,
            Node::Link { .. } => FileType::Symlink,
            Node::Directory { .. } => FileType::Directory,
            Node::Other(_, kind) => kind,
        }
    }

    fn make(&'static self, volume: Volume, context: &C, parent_ino: u64) -> Result<Arc<dyn Inode>> {
        let ino = child_ino(parent_ino, self.name.as_bytes());
        let node = GeneratedNode { entry: self, volume, context: context.clone(), ino };
        Ok(match &self.node {
            Node::File { .. } => Arc::new(GeneratedFile(node)),
            Node::Link { .. } => Arc::new(GeneratedLink(node)),
            Node::Directory { entries, children } => Arc::new(Directory {
                entries,
                children: *children,
                mode: self.mode,
                volume,
                context: node.context,
                ino,
            }),
            Node::Other(make, _) => make(context, volume, ino)?,
        })
    }
}

/// Children of a directory that are not in its table, each with a number that orders them.
pub trait Children<C: Context>: Sync {
    /// The child `name` (ENOENT). `ino` is the inode number to use.
    fn lookup(&self, context: &C, volume: Volume, name: &[u8], ino: u64) -> Result<Arc<dyn Inode>>;

    /// Hands on number, name and type of the children from number `first` on, in order, until `emit` returns false.
    fn list(&self, context: &C, first: u64, emit: &mut dyn FnMut(u64, &[u8], FileType) -> bool) -> Result<()>;
}

/// What all inodes of one generated file system share.
#[derive(Clone, Copy, Debug)]
pub struct Volume {
    /// `st_dev`.
    pub device: u64,
    /// When it was made: all times of its files.
    pub created: Timespec,
    /// Names that are not there can never be: to make one is ENOENT, as in procfs.
    pub knows_all: bool,
}

impl Volume {
    /// A new file system instance.
    pub fn new() -> Volume {
        Volume {
            device: super::new_device_number(),
            created: Timespec::from_nanos(clock::realtime_ns()),
            knows_all: false,
        }
    }

    /// A new instance of procfs.
    pub fn of_processes() -> Volume {
        Volume { knows_all: true, ..Volume::new() }
    }

    fn metadata(&self, ino: u64, kind: FileType, mode: u16, owner: (u32, u32)) -> Metadata {
        let metadata = Metadata::new(self.device, ino, kind, mode);
        let time = self.created;
        Metadata { uid: owner.0, gid: owner.1, atime: time, mtime: time, ctime: time, block_size: 1024, ..metadata }
    }
}

impl Default for Volume {
    fn default() -> Self {
        Volume::new()
    }
}

/// The inode number of an entry `name` in the directory `parent`: a hash (FNV-1a) in the range where Linux' procfs
/// numbers its inodes too.
pub fn child_ino(parent: u64, name: &[u8]) -> u64 {
    let seed = 0xcbf2_9ce4_8422_2325 ^ parent.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let hash = name.iter().fold(seed, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    (hash >> 32 ^ hash) & 0xffff_ffff | 0x1_0000_0000
}

/// A generated directory.
pub struct Directory<C: Context> {
    entries: &'static [Entry<C>],
    children: Option<&'static dyn Children<C>>,
    mode: u16,
    volume: Volume,
    context: C,
    ino: u64,
}

impl<C: Context> Directory<C> {
    /// A directory of its own: a root, or one with a context that its parent does not have.
    pub fn new(
        volume: Volume,
        context: C,
        ino: u64,
        entries: &'static [Entry<C>],
        children: Option<&'static dyn Children<C>>,
    ) -> Arc<Self> {
        Arc::new(Directory { entries, children, mode: 0o555, volume, context, ino })
    }

    /// The context of the directory that `inode` is, if it is one with just these entries.
    pub fn context_of<'a>(inode: &'a dyn Inode, entries: &'static [Entry<C>]) -> Option<&'a C> {
        let inode: &dyn Any = inode;
        let directory = inode.downcast_ref::<Directory<C>>()?;
        core::ptr::eq(directory.entries, entries).then_some(&directory.context)
    }

    fn list_table(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> bool {
        let first = cookie.saturating_sub(FIRST_COOKIE) as usize;
        self.entries.iter().enumerate().skip(first).all(|(index, entry)| {
            let name = entry.name.as_bytes();
            let next = FIRST_COOKIE + index as u64 + 1;
            emit(DirEntry { name, ino: child_ino(self.ino, name), kind: entry.kind(), next })
        })
    }
}

impl<C: Context> Inode for Directory<C> {
    fn metadata(&self) -> Result<Metadata> {
        let metadata = self.volume.metadata(self.ino, FileType::Directory, self.mode, self.context.owner());
        let directories = self.entries.iter().filter(|entry| entry.kind() == FileType::Directory).count();
        Ok(Metadata { nlink: 2 + directories as u32, ..metadata })
    }

    fn kind(&self) -> FileType {
        FileType::Directory
    }

    fn set_attributes(&self, _change: &SetAttributes) -> Result<()> {
        Err(Errno::EPERM)
    }

    fn lookup(&self, name: &[u8]) -> Result<Arc<dyn Inode>> {
        if let Some(entry) = self.entries.iter().find(|entry| entry.name.as_bytes() == name) {
            return entry.make(self.volume, &self.context, self.ino);
        }
        let children = self.children.ok_or(Errno::ENOENT)?;
        children.lookup(&self.context, self.volume, name, child_ino(self.ino, name))
    }

    fn create(&self, _name: &[u8], new: &NewInode<'_>) -> Result<Arc<dyn Inode>> {
        Err(match new.kind {
            _ if self.volume.knows_all => Errno::ENOENT,
            NewKind::Regular => Errno::EACCES,
            _ => Errno::EPERM,
        })
    }

    fn is_cacheable(&self) -> bool {
        false
    }

    fn read_dir(&self, cookie: u64, emit: &mut dyn FnMut(DirEntry<'_>) -> bool) -> Result<()> {
        if cookie < FIRST_DYNAMIC_COOKIE && !self.list_table(cookie, emit) {
            return Ok(());
        }
        let Some(children) = self.children else { return Ok(()) };
        let first = cookie.saturating_sub(FIRST_DYNAMIC_COOKIE);
        children.list(&self.context, first, &mut |number, name, kind| {
            let next = FIRST_DYNAMIC_COOKIE + number + 1;
            emit(DirEntry { name, ino: child_ino(self.ino, name), kind, next })
        })
    }
}

/// An entry of a table as an inode.
struct GeneratedNode<C: Context> {
    entry: &'static Entry<C>,
    volume: Volume,
    context: C,
    ino: u64,
}

impl<C: Context> GeneratedNode<C> {
    fn metadata(&self) -> Metadata {
        self.volume.metadata(self.ino, self.entry.kind(), self.entry.mode, self.context.owner())
    }
}

struct GeneratedFile<C: Context>(GeneratedNode<C>);

impl<C: Context> Inode for GeneratedFile<C> {
    fn metadata(&self) -> Result<Metadata> {
        Ok(self.0.metadata())
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn truncate(&self, _len: u64) -> Result<()> {
        Ok(())
    }

    fn open(self: Arc<Self>, flags: OpenFlags) -> Result<Option<Arc<dyn File>>> {
        let Node::File { read, write } = self.0.entry.node else { return Err(Errno::EINVAL) };
        if flags.is_writable() && write.is_none() {
            return Err(Errno::EACCES);
        }
        let context = self.0.context.clone();
        Ok(Some(Arc::new(OpenGenerated { read, write, context, snapshot: Mutex::new(None) })))
    }
}

struct GeneratedLink<C: Context>(GeneratedNode<C>);

impl<C: Context> Inode for GeneratedLink<C> {
    fn metadata(&self) -> Result<Metadata> {
        Ok(self.0.metadata())
    }

    fn kind(&self) -> FileType {
        FileType::Symlink
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        let Node::Link { target, .. } = self.0.entry.node else { return Err(Errno::EINVAL) };
        generate(target, &self.0.context)
    }

    fn follow(&self) -> Option<Result<PathRef>> {
        match self.0.entry.node {
            Node::Link { follow: Some(follow), .. } => Some(follow(&self.0.context)),
            _ => None,
        }
    }
}

/// A generated file that is open: its text of one moment.
struct OpenGenerated<C: Context> {
    read: Generate<C>,
    write: Option<Accept<C>>,
    context: C,
    snapshot: Mutex<Option<Vec<u8>>>,
}

impl<C: Context> File for OpenGenerated<C> {
    fn is_positioned(&self) -> bool {
        true
    }

    fn read_at(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        let mut snapshot = self.snapshot.lock();
        if offset == 0 {
            *snapshot = None;
        }
        let text = match &mut *snapshot {
            Some(text) => text,
            none => none.insert(generate(self.read, &self.context)?),
        };
        match usize::try_from(offset).ok().and_then(|offset| text.get(offset..)) {
            Some(rest) if !rest.is_empty() => dst.push(rest),
            _ => Ok(0),
        }
    }

    fn write_at(&self, _offset: u64, src: &mut Source<'_>) -> Result<usize> {
        let accept = self.write.ok_or(Errno::EINVAL)?;
        let count = src.remaining();
        if count > MAX_WRITE {
            return Err(Errno::EINVAL);
        }
        let mut bytes = Vec::new();
        bytes.try_reserve_exact(count).map_err(|_| Errno::ENOMEM)?;
        bytes.resize(count, 0);
        src.pull_exact(&mut bytes)?;
        accept(&self.context, &bytes)?;
        Ok(count)
    }

    fn seek(&self, from: SeekFrom, current: u64) -> Result<u64> {
        let (base, delta) = match from {
            SeekFrom::Start(delta) => (0, delta),
            SeekFrom::Current(delta) => (current, delta),
            _ => return Err(Errno::EINVAL),
        };
        base.checked_add_signed(delta).filter(|&position| position <= OFFSET_MAX).ok_or(Errno::EINVAL)
    }
}

fn generate<C: Context>(generate: Generate<C>, context: &C) -> Result<Vec<u8>> {
    let mut text = Text::default();
    generate(context, &mut text)?;
    text.into_bytes()
}

/// The decimal number that `text` is: no sign, no leading zero, as names of processes and descriptors are.
pub fn parse_number(text: &[u8]) -> Option<u32> {
    let is_canonical = text == b"0" || (!text.is_empty() && text[0] != b'0');
    let digits = text.iter().map(|&byte| byte.is_ascii_digit().then(|| u32::from(byte - b'0')));
    let mut digits = is_canonical.then_some(digits)?;
    digits.try_fold(0u32, |number, digit| number.checked_mul(10)?.checked_add(digit?))
}

/// The number in what a program wrote into a file: decimal, with blanks and a newline around it.
pub fn parse_written(text: &[u8]) -> Result<i64> {
    let text = core::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    text.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\0').parse().map_err(|_| Errno::EINVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    static ENTRIES: [Entry<()>; 3] = [
        Entry::file("version", |_, out| {
            writeln!(out, "one {}", 1);
            Ok(())
        }),
        Entry::link("self", |_, out| {
            out.push(b"42");
            Ok(())
        }),
        Entry::directory("empty", &[]),
    ];

    struct Evens;

    impl Children<()> for Evens {
        fn lookup(&self, _: &(), volume: Volume, name: &[u8], ino: u64) -> Result<Arc<dyn Inode>> {
            match parse_number(name) {
                Some(number) if number % 2 == 0 => Ok(Directory::new(volume, (), ino, &[], None)),
                _ => Err(Errno::ENOENT),
            }
        }

        fn list(&self, _: &(), first: u64, emit: &mut dyn FnMut(u64, &[u8], FileType) -> bool) -> Result<()> {
            for number in [2u64, 4, 10].into_iter().filter(|&number| number >= first) {
                if !emit(number, number.to_string().as_bytes(), FileType::Directory) {
                    break;
                }
            }
            Ok(())
        }
    }

    fn root() -> Arc<Directory<()>> {
        let volume = Volume { device: 7, created: Timespec::default(), knows_all: false };
        Directory::new(volume, (), 1, &ENTRIES, Some(&Evens))
    }

    fn read(file: &dyn File, offset: u64, max: usize) -> Vec<u8> {
        let mut buffer = vec![0; max];
        let count = file.read_at(offset, &mut Dest::from_slice(&mut buffer)).unwrap();
        buffer.truncate(count);
        buffer
    }

    #[test]
    fn files_are_made_when_they_are_read() {
        let file = root().lookup(b"version").unwrap().open(OpenFlags::empty()).unwrap().unwrap();
        assert_eq!(read(&*file, 0, 100), b"one 1\n");
        assert_eq!(read(&*file, 4, 1), b"1");
        assert_eq!(read(&*file, 6, 10), b"");
        assert_eq!(file.seek(SeekFrom::Start(3), 0), Ok(3));
        assert_eq!(file.seek(SeekFrom::Current(-4), 3), Err(Errno::EINVAL));
    }

    #[test]
    fn what_cannot_be_written_cannot_be_opened_for_it() {
        let inode = root().lookup(b"version").unwrap();
        assert_eq!(inode.open(OpenFlags::RDWR).err(), Some(Errno::EACCES));
    }

    #[test]
    fn links_have_targets() {
        assert_eq!(root().lookup(b"self").unwrap().read_link().unwrap(), b"42");
    }

    #[test]
    fn directories_list_their_table_and_then_their_children_from_any_cookie() {
        let root = root();
        let mut all = Vec::new();
        root.read_dir(0, &mut |entry| {
            all.push((entry.name.to_vec(), entry.next, entry.ino));
            true
        })
        .unwrap();
        let names: Vec<_> = all.iter().map(|(name, ..)| &name[..]).collect();
        assert_eq!(names, [&b"version"[..], b"self", b"empty", b"2", b"4", b"10"]);
        for index in 0..all.len() - 1 {
            let mut next = None;
            root.read_dir(all[index].1, &mut |entry| {
                next = Some(entry.name.to_vec());
                false
            })
            .unwrap();
            assert_eq!(next.as_ref(), Some(&all[index + 1].0));
        }
        assert_eq!(root.lookup(b"4").unwrap().metadata().unwrap().ino, all[4].2);
        assert_eq!(root.lookup(b"5").err(), Some(Errno::ENOENT));
    }

    #[test]
    fn numbers_are_canonical() {
        assert_eq!(
            [b"0" as &[u8], b"42", b"042", b"", b"4a", b"99999999999"].map(parse_number),
            [Some(0), Some(42), None, None, None, None]
        );
        assert_eq!([parse_written(b" -17\n"), parse_written(b"x")], [Ok(-17), Err(Errno::EINVAL)]);
    }
}
