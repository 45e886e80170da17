//! Reads a tar archive into a [`Tree`]. The contents stay in the archive until the image is written.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use ::tar::{Archive, EntryType};

use super::tree::{Attributes, Kind, Node, Source, Tree};

/// The tree in the archive at `path`.
///
/// # Errors
/// When the archive cannot be read, is compressed, or has a path that leads out of it.
pub fn read(path: &Path) -> io::Result<Tree> {
    let file = File::open(path)?;
    let contents = Arc::new(file.try_clone()?);
    let mut archive = Archive::new(file);
    let mut tree = Tree::default();
    let entries = archive.entries_with_seek()?;
    for (number, entry) in entries.enumerate() {
        let entry = entry.map_err(|e| {
            io::Error::other(format!(
                "{} is no tar archive, or a compressed one: unpack it first ({e})",
                path.display()
            ))
        })?;
        let header = entry.header();
        let [low, high, ..] = header.mode()?.to_le_bytes();
        let attributes = Attributes {
            mode: u16::from_le_bytes([low, high]) & 0o7777,
            uid: u32::try_from(header.uid()?).unwrap_or(0),
            gid: u32::try_from(header.gid()?).unwrap_or(0),
            mtime: header.mtime()?,
        };
        let name = entry.path()?.into_owned();
        let link = || entry.link_name()?.ok_or_else(|| io::Error::other(format!("{} leads nowhere", name.display())));
        let numbers = || io::Result::Ok((header.device_major()?.unwrap_or(0), header.device_minor()?.unwrap_or(0)));
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous => Kind::File {
                source: Source::Part(Arc::clone(&contents), entry.raw_file_position()),
                size: entry.size(),
                identity: Some((u64::MAX, number as u64)),
            },
            EntryType::Directory => Kind::Directory(Default::default()),
            EntryType::Symlink => Kind::Symlink(link()?.into_owned().into_os_string()),
            EntryType::Link => {
                let first = tree.get(&link()?).cloned();
                let first = first.ok_or_else(|| io::Error::other(format!("{} links to nothing", name.display())))?;
                tree.insert(&name, first)?;
                continue;
            }
            EntryType::Char => numbers().map(|(major, minor)| Kind::Device(false, major, minor))?,
            EntryType::Block => numbers().map(|(major, minor)| Kind::Device(true, major, minor))?,
            EntryType::Fifo => Kind::Fifo,
            _ => continue,
        };
        tree.insert(&name, Node { attributes, kind })?;
    }
    Ok(tree)
}
