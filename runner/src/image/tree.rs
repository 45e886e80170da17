//! A tree of files that is to become an image.
//!
//! Contents stay where they are until the image is written: a file of 200 MB costs its path here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Symbolic links that are followed on one path before it counts as a loop, as in Linux.
const LINKS_MAX: usize = 40;

/// Owner, permissions and time of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change, in seconds since 1970.
    pub mtime: u64,
}

impl Attributes {
    /// Owned by root, with these permissions.
    pub fn root(mode: u16) -> Self {
        Self { mode, uid: 0, gid: 0, mtime: 0 }
    }

    fn of(metadata: &Metadata) -> Self {
        let [low, high, ..] = metadata.mode().to_le_bytes();
        Self {
            mode: u16::from_le_bytes([low, high]) & 0o7777,
            uid: metadata.uid(),
            gid: metadata.gid(),
            mtime: u64::try_from(metadata.mtime()).unwrap_or(0),
        }
    }
}

/// Where a file's bytes come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file of the host.
    Path(PathBuf),
    /// Bytes in memory.
    Bytes(Arc<[u8]>),
    /// A part of a file, which starts at this offset.
    Part(Arc<File>, u64),
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory with its entries.
    Directory(BTreeMap<OsString, Node>),
    /// A regular file.
    File {
        /// Where its bytes are.
        source: Source,
        /// How many there are.
        size: u64,
        /// Files with the same identity are one file with several names.
        identity: Option<(u64, u64)>,
    },
    /// A symbolic link.
    Symlink(OsString),
    /// A device: is it a block device, major and minor number.
    Device(bool, u32, u32),
    /// A named pipe.
    Fifo,
}

/// A file, directory or something else with a name.
#[derive(Clone, Debug)]
pub struct Node {
    /// Owner, permissions, time.
    pub attributes: Attributes,
    /// What it is.
    pub kind: Kind,
}

impl Node {
    fn directory() -> Self {
        Self { attributes: Attributes::root(0o755), kind: Kind::Directory(BTreeMap::new()) }
    }

    /// A file with `contents`.
    pub fn file(contents: impl Into<Arc<[u8]>>, mode: u16) -> Self {
        let contents = contents.into();
        let size = contents.len() as u64;
        let kind = Kind::File { source: Source::Bytes(contents), size, identity: None };
        Self { attributes: Attributes::root(mode), kind }
    }

    /// What the host has at `path`, a symbolic link not followed; a directory without its entries.
    ///
    /// # Errors
    /// When the host cannot say, or for a socket.
    pub fn of_host(path: &Path) -> io::Result<Self> {
        let metadata = fs::symlink_metadata(path)?;
        let file_type = metadata.file_type();
        let (major, minor) = (libc::major(metadata.rdev()), libc::minor(metadata.rdev()));
        let kind = if file_type.is_dir() {
            Kind::Directory(BTreeMap::new())
        } else if file_type.is_file() {
            let identity = (metadata.nlink() > 1).then_some((metadata.dev(), metadata.ino()));
            Kind::File { source: Source::Path(path.to_owned()), size: metadata.len(), identity }
        } else if file_type.is_symlink() {
            Kind::Symlink(fs::read_link(path)?.into_os_string())
        } else if file_type.is_char_device() || file_type.is_block_device() {
            Kind::Device(file_type.is_block_device(), major, minor)
        } else if file_type.is_fifo() {
            Kind::Fifo
        } else {
            return Err(io::Error::other("a socket cannot go into an image"));
        };
        Ok(Self { attributes: Attributes::of(&metadata), kind })
    }
}

impl Source {
    /// Opens the bytes from `0` to `size`.
    ///
    /// # Errors
    /// When the host's file cannot be opened any more.
    pub fn open(&self, size: u64) -> io::Result<Box<dyn Read + '_>> {
        Ok(match self {
            Self::Path(path) => Box::new(
                File::open(path)
                    .map_err(|e| io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display())))?
                    .take(size),
            ),
            Self::Bytes(bytes) => Box::new(&bytes[..]),
            Self::Part(file, offset) => Box::new(Part { file, offset: *offset }.take(size)),
        })
    }
}

struct Part<'a> {
    file: &'a File,
    offset: u64,
}

impl Read for Part<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.offset)?;
        self.offset += count as u64;
        Ok(count)
    }
}

/// The whole tree.
#[derive(Clone, Debug)]
pub struct Tree {
    /// The root directory.
    pub root: Node,
}

impl Default for Tree {
    fn default() -> Self {
        Self { root: Node::directory() }
    }
}

impl Tree {
    /// Puts `node` at `path`, makes the directories above it, and replaces what was there. A directory on a
    /// directory changes its attributes only.
    ///
    /// # Errors
    /// When something on the way is no directory, or the path has `..`.
    pub fn insert(&mut self, path: &Path, node: Node) -> io::Result<()> {
        let names = names(path)?;
        let Some((last, parents)) = names.split_last() else {
            self.root.attributes = node.attributes;
            return Ok(());
        };
        let mut entries = entries(&mut self.root, path)?;
        for name in parents {
            let parent = entries.entry(name.into()).or_insert_with(Node::directory);
            entries = self::entries(parent, path)?;
        }
        match entries.entry(last.into()) {
            Entry::Vacant(vacant) => drop(vacant.insert(node)),
            Entry::Occupied(mut occupied) => {
                let old = occupied.get_mut();
                if matches!((&old.kind, &node.kind), (Kind::Directory(_), Kind::Directory(_))) {
                    old.attributes = node.attributes;
                } else {
                    *old = node;
                }
            }
        }
        Ok(())
    }

    /// What is at `path`, symbolic links not followed.
    pub fn get(&self, path: &Path) -> Option<&Node> {
        names(path).ok()?.into_iter().try_fold(&self.root, |node, name| match &node.kind {
            Kind::Directory(entries) => entries.get(name),
            _ => None,
        })
    }

    /// Adds the host's file at `path` at the same place, with the symbolic links that lead to it; a
    /// directory with all that is in it. Returns the path without links.
    ///
    /// # Errors
    /// When the host does not have it.
    pub fn add_host(&mut self, path: &Path) -> io::Result<PathBuf> {
        let mut done = PathBuf::from("/");
        let mut to_do: Vec<OsString> =
            path.components().rev().map(|component| component.as_os_str().to_owned()).collect();
        let mut links = 0;
        while let Some(name) = to_do.pop() {
            match name.as_encoded_bytes() {
                b"/" => done = PathBuf::from("/"),
                b"." => {}
                b".." => drop(done.pop()),
                _ => {
                    let next = done.join(&name);
                    let node = Node::of_host(&next)?;
                    let target = match &node.kind {
                        Kind::Symlink(target) => Some(PathBuf::from(target)),
                        _ => None,
                    };
                    self.insert(&next, node)?;
                    match target {
                        Some(target) if links < LINKS_MAX => {
                            links += 1;
                            to_do.extend(target.components().rev().map(|part| part.as_os_str().to_owned()));
                        }
                        Some(_) => return Err(io::Error::other(format!("{} leads in circles", path.display()))),
                        None => done = next,
                    }
                }
            }
        }
        if done.is_dir() {
            self.add_host_entries(&done, &done)?;
        }
        Ok(done)
    }

    /// Adds the host's file or directory `host`, with all that is in it, at `guest`.
    ///
    /// # Errors
    /// When the host does not have it.
    pub fn add_host_at(&mut self, host: &Path, guest: &Path) -> io::Result<()> {
        let host = host.canonicalize()?;
        self.insert(guest, Node::of_host(&host)?)?;
        if host.is_dir() {
            self.add_host_entries(&host, guest)?;
        }
        Ok(())
    }

    fn add_host_entries(&mut self, host: &Path, guest: &Path) -> io::Result<()> {
        for entry in fs::read_dir(host)? {
            let name = entry?.file_name();
            let (host, guest) = (host.join(&name), guest.join(&name));
            let node = match Node::of_host(&host) {
                Ok(node) => node,
                Err(_) if host.symlink_metadata().is_ok_and(|file| file.file_type().is_socket()) => continue,
                Err(e) => return Err(io::Error::new(e.kind(), format!("{}: {e}", host.display()))),
            };
            let is_directory = matches!(node.kind, Kind::Directory(_));
            self.insert(&guest, node)?;
            if is_directory {
                self.add_host_entries(&host, &guest)?;
            }
        }
        Ok(())
    }
}

fn entries<'a>(node: &'a mut Node, path: &Path) -> io::Result<&'a mut BTreeMap<OsString, Node>> {
    match &mut node.kind {
        Kind::Directory(entries) => Ok(entries),
        _ => Err(io::Error::other(format!("the way to {} leads over something that is no directory", path.display()))),
    }
}

fn names(path: &Path) -> io::Result<Vec<&OsStr>> {
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push(name),
            Component::RootDir | Component::CurDir => {}
            _ => return Err(io::Error::other(format!("`{}` leads out of the image", path.display()))),
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_are_made_and_paths_stay_inside() {
        let mut tree = Tree::default();
        tree.insert(Path::new("/a/b/c"), Node::file(*b"x", 0o644)).unwrap();
        assert!(matches!(tree.get(Path::new("a/b")).unwrap().kind, Kind::Directory(_)));
        assert!(tree.insert(Path::new("/a/../../b"), Node::file(*b"x", 0o644)).is_err());
        assert!(tree.insert(Path::new("/a/b/c/d"), Node::file(*b"x", 0o644)).is_err());
    }

    #[test]
    fn links_on_the_way_come_along() {
        let dir = std::env::temp_dir().join(format!("osv-tree-{}", std::process::id()));
        fs::create_dir_all(dir.join("real")).unwrap();
        fs::write(dir.join("real/file"), "x").unwrap();
        std::os::unix::fs::symlink("real", dir.join("link")).unwrap();
        let mut tree = Tree::default();
        let found = tree.add_host(&dir.join("link/file"));
        fs::remove_dir_all(&dir).unwrap();
        assert!(found.unwrap().ends_with("real/file"));
        assert!(matches!(tree.get(&dir.join("link")).unwrap().kind, Kind::Symlink(_)));
        assert!(matches!(tree.get(&dir.join("real/file")).unwrap().kind, Kind::File { .. }));
    }
}
