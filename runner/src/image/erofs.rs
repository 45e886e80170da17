//! Writes a [`Tree`] as an EROFS image: uncompressed, so that the kernel maps every file's pages in place.
//!
//! The first block holds the superblock, then come the inodes in slots of 32 bytes, with small directories
//! and symbolic links inside the slots that follow their inode; then the blocks of large directories and
//! files. Regular files always start on a block of their own. Entries are sorted, so the same tree gives the
//! same image.
//!
//! The format: <https://docs.kernel.org/filesystems/erofs.html>.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;

use super::tree::{Attributes, Kind, Node, Source, Tree};

const BLOCK: u64 = 4096;
const BLOCK_BITS: u8 = 12;
const MAGIC: u32 = 0xe0f5_e1e2;
const SUPERBLOCK: usize = 1024;
const FIRST_INODE: u64 = 1152;
const SLOT: u64 = 32;
const INODE_SIZE: u64 = 64;
const DIRENT_SIZE: usize = 12;
const FEATURE_COMPAT_CHECKSUM: u32 = 1;
const LAYOUT_PLAIN: u16 = 0;
const LAYOUT_INLINE: u16 = 2;

/// What lies behind an inode.
enum Body<'a> {
    Directory(Vec<(&'a OsStr, usize)>),
    File(&'a Source),
    Bytes(&'a [u8]),
    Device(u32),
    Nothing,
}

struct Inode<'a> {
    attributes: Attributes,
    body: Body<'a>,
    kind: FileType,
    size: u64,
    links: u32,
    /// Where the inode lies, in bytes from the image's start.
    position: u64,
    /// First block of what is not inline.
    block: u32,
    /// The last, partial block lies behind the inode.
    is_inline: bool,
}

#[derive(Clone, Copy)]
enum FileType {
    File = 1,
    Directory = 2,
    Character = 3,
    Block = 4,
    Fifo = 5,
    Symlink = 7,
}

impl FileType {
    fn mode(self) -> u16 {
        match self {
            Self::Fifo => 0o010_000,
            Self::Character => 0o020_000,
            Self::Directory => 0o040_000,
            Self::Block => 0o060_000,
            Self::File => 0o100_000,
            Self::Symlink => 0o120_000,
        }
    }
}

impl Inode<'_> {
    fn tail(&self) -> u64 {
        if self.is_inline { self.size % BLOCK } else { 0 }
    }

    fn blocks(&self) -> u64 {
        if self.is_inline { self.size / BLOCK } else { self.size.div_ceil(BLOCK) }
    }
}

/// Writes `tree` to `out` and calls `progress` with the bytes that each step has added.
///
/// # Errors
/// When a file cannot be read, has changed its size, or `out` fails.
pub fn write(tree: &Tree, out: &mut dyn Write, mut progress: impl FnMut(u64)) -> io::Result<()> {
    let mut inodes = collect(tree);
    let blocks = place(&mut inodes)?;
    let meta = metadata(&inodes, blocks)?;
    out.write_all(&meta)?;
    progress(meta.len() as u64);
    for inode in inodes.iter().filter(|inode| inode.blocks() > 0) {
        match &inode.body {
            Body::File(source) => copy(source, inode.size, out, &mut progress)?,
            Body::Bytes(bytes) => out.write_all(&padded(bytes.to_vec()))?,
            Body::Directory(entries) => {
                let bytes = directory(entries, &inodes);
                let whole = usize_of(inode.blocks() * BLOCK)?;
                out.write_all(&padded(bytes.into_iter().take(whole).collect()))?;
            }
            Body::Device(_) | Body::Nothing => {}
        }
    }
    Ok(())
}

/// How large the image of `tree` will be.
///
/// # Errors
/// When it would be larger than the format allows.
pub fn size(tree: &Tree) -> io::Result<u64> {
    Ok(u64::from(place(&mut collect(tree))?) * BLOCK)
}

/// All inodes, the root first. Each directory's entries name inodes by their index.
fn collect(tree: &Tree) -> Vec<Inode<'_>> {
    let mut inodes = Vec::new();
    let mut known = HashMap::new();
    add(&tree.root, 0, &mut inodes, &mut known);
    inodes
}

fn add<'a>(
    node: &'a Node,
    parent: usize,
    inodes: &mut Vec<Inode<'a>>,
    known: &mut HashMap<(u64, u64), usize>,
) -> usize {
    let index = inodes.len();
    let (kind, size, body) = match &node.kind {
        Kind::Directory(_) => (FileType::Directory, 0, Body::Nothing),
        Kind::File { source, size, identity } => {
            if let Some(identity) = identity {
                let first = *known.entry(*identity).or_insert(index);
                if first != index {
                    inodes[first].links += 1;
                    return first;
                }
            }
            (FileType::File, *size, Body::File(source))
        }
        Kind::Symlink(target) => (FileType::Symlink, target.len() as u64, Body::Bytes(target.as_bytes())),
        Kind::Device(is_block, major, minor) => {
            let kind = if *is_block { FileType::Block } else { FileType::Character };
            (kind, 0, Body::Device((minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)))
        }
        Kind::Fifo => (FileType::Fifo, 0, Body::Nothing),
    };
    let attributes = node.attributes;
    inodes.push(Inode { attributes, body, kind, size, links: 1, position: 0, block: 0, is_inline: false });
    if let Kind::Directory(children) = &node.kind {
        let mut entries = vec![(OsStr::new("."), index), (OsStr::new(".."), parent)];
        for (name, child) in children {
            entries.push((name, add(child, index, inodes, known)));
        }
        let subdirectories = children.values().filter(|child| matches!(child.kind, Kind::Directory(_))).count();
        entries.sort_by(|a, b| a.0.as_bytes().cmp(b.0.as_bytes()));
        inodes[index].links = u32::try_from(subdirectories).unwrap_or(u32::MAX).saturating_add(2);
        inodes[index].size = directory_size(&entries);
        inodes[index].body = Body::Directory(entries);
    }
    index
}

/// Gives every inode its place and every file its blocks. Returns the number of blocks.
fn place(inodes: &mut [Inode<'_>]) -> io::Result<u32> {
    let mut position = FIRST_INODE;
    for inode in inodes.iter_mut() {
        let may_be_inline = !matches!(inode.body, Body::File(_));
        inode.is_inline = may_be_inline && inode.size > 0 && INODE_SIZE + inode.size % BLOCK <= BLOCK;
        let size = INODE_SIZE + inode.tail();
        if position % BLOCK + size > BLOCK {
            position = position.next_multiple_of(BLOCK);
        }
        inode.position = position;
        position = (position + size).next_multiple_of(SLOT);
    }
    let mut block = position.div_ceil(BLOCK);
    for inode in inodes.iter_mut() {
        if inode.blocks() > 0 {
            inode.block = block_number(block)?;
            block += inode.blocks();
        }
    }
    block_number(block)
}

fn block_number(block: u64) -> io::Result<u32> {
    u32::try_from(block).map_err(|_| io::Error::other("the image would be larger than 16 TiB"))
}

/// The blocks with superblock and inodes.
fn metadata(inodes: &[Inode<'_>], blocks: u32) -> io::Result<Vec<u8>> {
    let end = inodes.last().map_or(FIRST_INODE, |inode| inode.position + INODE_SIZE + inode.tail());
    let mut meta = vec![0; usize_of(end.next_multiple_of(BLOCK))?];
    for (number, inode) in inodes.iter().enumerate() {
        let at = usize_of(inode.position)?;
        let header = encode(inode, u32::try_from(number + 1).unwrap_or(u32::MAX));
        meta[at..at + header.len()].copy_from_slice(&header);
        let tail = match &inode.body {
            Body::Bytes(bytes) => bytes.to_vec(),
            Body::Directory(entries) => directory(entries, inodes),
            _ => continue,
        };
        let tail = &tail[tail.len() - usize_of(inode.tail())?..];
        let at = at + header.len();
        meta[at..at + tail.len()].copy_from_slice(tail);
    }
    let superblock = superblock(inodes, blocks)?;
    meta[SUPERBLOCK..SUPERBLOCK + superblock.len()].copy_from_slice(&superblock);
    let checksum = crc32c(&meta[SUPERBLOCK..usize_of(BLOCK)?]);
    meta[SUPERBLOCK + 4..SUPERBLOCK + 8].copy_from_slice(&checksum.to_le_bytes());
    Ok(meta)
}

fn superblock(inodes: &[Inode<'_>], blocks: u32) -> io::Result<Vec<u8>> {
    let root = inodes.first().map_or(FIRST_INODE, |root| root.position) / SLOT;
    let root = u16::try_from(root).map_err(|_| io::Error::other("the root lies too far behind"))?;
    let mut bytes = Vec::with_capacity(128);
    bytes.extend(MAGIC.to_le_bytes());
    bytes.extend(0_u32.to_le_bytes());
    bytes.extend(FEATURE_COMPAT_CHECKSUM.to_le_bytes());
    bytes.extend([BLOCK_BITS, 0]);
    bytes.extend(root.to_le_bytes());
    bytes.extend((inodes.len() as u64).to_le_bytes());
    bytes.extend([0; 12]); // build time: the same tree shall give the same image
    bytes.extend(blocks.to_le_bytes());
    bytes.resize(128, 0);
    Ok(bytes)
}

fn encode(inode: &Inode<'_>, number: u32) -> [u8; 64] {
    let layout = if inode.is_inline { LAYOUT_INLINE } else { LAYOUT_PLAIN };
    let place = match inode.body {
        Body::Device(device) => device,
        _ => inode.block,
    };
    let attributes = &inode.attributes;
    let mut bytes = [0; 64];
    bytes[0..2].copy_from_slice(&(1 | (layout << 1)).to_le_bytes());
    bytes[4..6].copy_from_slice(&(inode.kind.mode() | attributes.mode).to_le_bytes());
    bytes[8..16].copy_from_slice(&inode.size.to_le_bytes());
    bytes[16..20].copy_from_slice(&place.to_le_bytes());
    bytes[20..24].copy_from_slice(&number.to_le_bytes());
    bytes[24..28].copy_from_slice(&attributes.uid.to_le_bytes());
    bytes[28..32].copy_from_slice(&attributes.gid.to_le_bytes());
    bytes[32..40].copy_from_slice(&attributes.mtime.to_le_bytes());
    bytes[44..48].copy_from_slice(&inode.links.to_le_bytes());
    bytes
}

/// Splits a directory's entries into what fits into a block each.
fn chunks<'a, 'b>(entries: &'b [(&'a OsStr, usize)]) -> impl Iterator<Item = &'b [(&'a OsStr, usize)]> {
    let mut rest = entries;
    std::iter::from_fn(move || {
        let mut used = 0;
        let count = rest.iter().take_while(|(name, _)| {
            used += DIRENT_SIZE + name.len();
            used as u64 <= BLOCK
        });
        let (chunk, others) = rest.split_at(count.count());
        rest = others;
        (!chunk.is_empty()).then_some(chunk)
    })
}

fn directory_size(entries: &[(&OsStr, usize)]) -> u64 {
    let mut size = 0_u64;
    for chunk in chunks(entries) {
        let bytes: usize = chunk.iter().map(|(name, _)| DIRENT_SIZE + name.len()).sum();
        size = size.next_multiple_of(BLOCK) + bytes as u64;
    }
    size
}

/// A directory's bytes: per block the records, then the names.
fn directory(entries: &[(&OsStr, usize)], inodes: &[Inode<'_>]) -> Vec<u8> {
    let mut bytes: Vec<u8> = Vec::new();
    for chunk in chunks(entries) {
        bytes = padded(bytes);
        let mut name_at = chunk.len() * DIRENT_SIZE;
        for &(name, index) in chunk {
            let inode = &inodes[index];
            bytes.extend((inode.position / SLOT).to_le_bytes());
            bytes.extend(u16::try_from(name_at).unwrap_or(u16::MAX).to_le_bytes());
            bytes.extend([inode.kind as u8, 0]);
            name_at += name.len();
        }
        for (name, _) in chunk {
            bytes.extend(name.as_bytes());
        }
    }
    bytes
}

/// Filled up with zeros to whole blocks.
fn padded(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(BLOCK as usize), 0);
    bytes
}

fn copy(source: &Source, size: u64, out: &mut dyn Write, progress: &mut impl FnMut(u64)) -> io::Result<()> {
    let mut reader = source.open(size)?;
    let mut buffer = vec![0; 1 << 20];
    let mut left = size;
    while left > 0 {
        let wanted = buffer.len().min(usize_of(left)?);
        match reader.read(&mut buffer[..wanted]) {
            Ok(0) => return Err(io::Error::other(format!("{source:?} became shorter while it was read"))),
            Ok(count) => {
                out.write_all(&buffer[..count])?;
                left -= count as u64;
                progress(count as u64);
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    let padding = size.next_multiple_of(BLOCK) - size;
    out.write_all(&vec![0; usize_of(padding)?])
}

fn usize_of(number: u64) -> io::Result<usize> {
    usize::try_from(number).map_err(io::Error::other)
}

/// CRC-32C as EROFS has it: started with ones, not inverted in the end.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 })
    };
    bytes.iter().fold(u32::MAX, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn image(tree: &Tree) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(tree, &mut bytes, |_| ()).unwrap();
        assert_eq!(bytes.len() as u64, size(tree).unwrap());
        bytes
    }

    fn sample() -> Tree {
        let mut tree = Tree::default();
        tree.insert(Path::new("/etc/hostname"), Node::file(*b"osv\n", 0o644)).unwrap();
        tree.insert(Path::new("/empty"), Node::file(*b"", 0o600)).unwrap();
        tree.insert(Path::new("/big"), Node::file(vec![7; 3 * 4096 + 5], 0o755)).unwrap();
        let link = Node { attributes: Attributes::root(0o777), kind: Kind::Symlink("/etc/hostname".into()) };
        tree.insert(Path::new("/link"), link).unwrap();
        for number in 0..1000 {
            let path = format!("/many/file number {number}");
            tree.insert(Path::new(&path), Node::file(path.clone().into_bytes(), 0o644)).unwrap();
        }
        tree
    }

    #[test]
    fn another_reader_finds_what_was_written() {
        let bytes = image(&sample());
        let fs = erofs_rs::EroFS::new(erofs_rs::backend::SliceImage::new(&bytes)).unwrap();
        let read = |path: &str| {
            let mut contents = Vec::new();
            fs.open(path).unwrap().read_to_end(&mut contents).unwrap();
            contents
        };
        assert_eq!(read("/etc/hostname"), b"osv\n");
        assert_eq!(read("/empty"), b"");
        assert_eq!(read("/big"), vec![7; 3 * 4096 + 5]);
        assert_eq!(read("/many/file number 999"), b"/many/file number 999");
        assert_eq!(fs.read_dir("/many").unwrap().filter(|entry| entry.is_ok()).count(), 1000);
    }

    #[test]
    fn files_start_on_blocks_of_their_own() {
        let tree = sample();
        let mut inodes = collect(&tree);
        let blocks = place(&mut inodes).unwrap();
        let mut taken = std::collections::HashSet::new();
        for inode in &inodes {
            for block in 0..inode.blocks() {
                assert!(taken.insert(u64::from(inode.block) + block));
            }
            assert!(inode.position % BLOCK + INODE_SIZE + inode.tail() <= BLOCK);
        }
        assert!(taken.iter().all(|&block| block < u64::from(blocks)));
    }

    #[test]
    fn two_names_of_one_file_share_its_inode() {
        let kind = Kind::File { source: Source::Bytes(b"x"[..].into()), size: 1, identity: Some((1, 2)) };
        let node = Node { attributes: Attributes::root(0o644), kind };
        let mut tree = Tree::default();
        tree.insert(Path::new("/a"), node.clone()).unwrap();
        tree.insert(Path::new("/b"), node).unwrap();
        let inodes = collect(&tree);
        assert_eq!(inodes.len(), 2);
        assert_eq!(inodes[1].links, 2);
    }

    #[test]
    fn the_checksum_is_the_known_one() {
        assert_eq!(!crc32c(b"123456789"), 0xe306_9283);
    }
}
