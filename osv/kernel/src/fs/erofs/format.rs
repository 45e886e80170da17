//! The layout of EROFS images: superblock, inodes, directory blocks, extended attributes.
//!
//! Pure parsers over bytes that a stranger may have made: they return `None` for what cannot be, and never read outside of
//! what they were given. Format: <https://docs.kernel.org/filesystems/erofs.html>.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

/// Bytes of a block: the only size that can be mapped by pages.
pub const BLOCK: u64 = 4096;
/// Where the superblock is.
pub const SUPERBLOCK_AT: u64 = 1024;
/// Bytes of a superblock.
pub const SUPERBLOCK_LEN: usize = 128;
/// The most bytes that an inode has without its extended attributes.
pub const INODE_LEN_MAX: usize = 64;
/// Inodes lie at multiples of this.
pub const SLOT: u64 = 32;
/// Magic number, also of `statfs`.
pub const MAGIC: u32 = 0xe0f5_e1e2;

const BLOCK_BITS: u8 = 12;
const DIRENT_LEN: usize = 12;
/// Features that change nothing for uncompressed files: paddings and tables of compressed ones, chunks, devices, prefixes.
const KNOWN_FEATURES: u32 = 0x7f;
/// What precedes extended attributes.
const XATTR_HEADER_LEN: usize = 12;

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawSuperblock {
    magic: U32,
    checksum: U32,
    feature_compat: U32,
    block_bits: u8,
    extra_slots: u8,
    root: U16,
    inodes: U64,
    build_time: U64,
    build_time_ns: U32,
    blocks: U32,
    meta_block: U32,
    xattr_block: U32,
    uuid: [u8; 16],
    volume: [u8; 16],
    feature_incompat: U32,
    compression: U16,
    extra_devices: U16,
    device_slots: U16,
    directory_block_bits: u8,
    rest: [u8; 37],
}

/// What the superblock says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Superblock {
    /// The root's number.
    pub root: u64,
    /// How many inodes there are.
    pub inodes: u64,
    /// How many blocks there are.
    pub blocks: u64,
    /// Seconds since 1970 and nanoseconds at which the image was made: the time of files without one of their own.
    pub build_time: (u64, u32),
    /// Byte at which inode 0 would be.
    meta_at: u64,
    /// Byte at which shared extended attributes start.
    pub shared_xattrs_at: u64,
}

impl Superblock {
    /// Reads it; `None` if it is none or uses what we do not know.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (raw, _) = RawSuperblock::ref_from_prefix(bytes).ok()?;
        let is_ours = raw.magic.get() == MAGIC
            && raw.block_bits == BLOCK_BITS
            && raw.directory_block_bits == 0
            && raw.feature_incompat.get() & !KNOWN_FEATURES == 0;
        is_ours.then(|| Self {
            root: u64::from(raw.root.get()),
            inodes: raw.inodes.get(),
            blocks: u64::from(raw.blocks.get()),
            build_time: (raw.build_time.get(), raw.build_time_ns.get()),
            meta_at: u64::from(raw.meta_block.get()) * BLOCK,
            shared_xattrs_at: u64::from(raw.xattr_block.get()) * BLOCK,
        })
    }

    /// The byte at which inode `nid` is.
    pub fn inode_at(&self, nid: u64) -> Option<u64> {
        nid.checked_mul(SLOT)?.checked_add(self.meta_at)
    }
}

/// How an inode's data is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// In consecutive blocks.
    Plain,
    /// In consecutive blocks, but for the last part, which follows the inode.
    Inline,
    /// Compressed or in chunks.
    Unsupported,
}

/// An inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Inode {
    pub storage: Storage,
    pub mode: u32,
    pub nlink: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    /// Modification time, if it has one of its own.
    pub mtime: Option<(u64, u32)>,
    /// First block, or device number.
    pub block_or_device: u32,
    /// Bytes of the inode itself.
    pub len: u64,
    /// Bytes of extended attributes after it.
    pub xattr_len: u64,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawCompact {
    format: U16,
    xattr_count: U16,
    mode: U16,
    nlink: U16,
    size: U32,
    reserved: U32,
    block_or_device: U32,
    ino: U32,
    uid: U16,
    gid: U16,
    reserved2: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawExtended {
    format: U16,
    xattr_count: U16,
    mode: U16,
    reserved: U16,
    size: U64,
    block_or_device: U32,
    ino: U32,
    uid: U32,
    gid: U32,
    mtime: U64,
    mtime_ns: U32,
    nlink: U32,
    reserved2: [u8; 16],
}

impl Inode {
    /// Reads the inode that `bytes` start with.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let format = U16::ref_from_prefix(bytes).ok()?.0.get();
        let storage = match (format >> 1) & 7 {
            0 => Storage::Plain,
            2 => Storage::Inline,
            _ => Storage::Unsupported,
        };
        if format & 1 == 0 {
            let (raw, _) = RawCompact::ref_from_prefix(bytes).ok()?;
            return Some(Self {
                storage,
                mode: u32::from(raw.mode.get()),
                nlink: u32::from(raw.nlink.get()),
                uid: u32::from(raw.uid.get()),
                gid: u32::from(raw.gid.get()),
                size: u64::from(raw.size.get()),
                mtime: None,
                block_or_device: raw.block_or_device.get(),
                len: size_of::<RawCompact>() as u64,
                xattr_len: xattr_len(raw.xattr_count.get()),
            });
        }
        let (raw, _) = RawExtended::ref_from_prefix(bytes).ok()?;
        Some(Self {
            storage,
            mode: u32::from(raw.mode.get()),
            nlink: raw.nlink.get(),
            uid: raw.uid.get(),
            gid: raw.gid.get(),
            size: raw.size.get(),
            mtime: Some((raw.mtime.get(), raw.mtime_ns.get())),
            block_or_device: raw.block_or_device.get(),
            len: size_of::<RawExtended>() as u64,
            xattr_len: xattr_len(raw.xattr_count.get()),
        })
    }
}

fn xattr_len(count: u16) -> u64 {
    match count {
        0 => 0,
        count => XATTR_HEADER_LEN as u64 + 4 * (u64::from(count) - 1),
    }
}

/// An entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The inode's number.
    pub nid: u64,
    /// EROFS' number of the type, which is that of ext4.
    pub kind: u8,
    /// The name.
    pub name: &'a [u8],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    nid: U64,
    name_at: U16,
    kind: u8,
    reserved: u8,
}

/// A block of a directory: entries in the order of their names, then the names.
#[derive(Debug, Clone, Copy)]
pub struct DirBlock<'a> {
    bytes: &'a [u8],
    count: usize,
}

impl<'a> DirBlock<'a> {
    /// The block with these bytes, the last of a directory perhaps shorter than others.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let names_at = usize::from(RawEntry::ref_from_prefix(bytes).ok()?.0.name_at.get());
        let count = names_at / DIRENT_LEN;
        (count != 0 && names_at <= bytes.len()).then_some(Self { bytes, count })
    }

    /// How many entries it has.
    pub fn count(&self) -> usize {
        self.count
    }

    fn raw(&self, index: usize) -> Option<&'a RawEntry> {
        let at = index.checked_mul(DIRENT_LEN).filter(|_| index < self.count)?;
        Some(RawEntry::ref_from_prefix(self.bytes.get(at..)?).ok()?.0)
    }

    /// Entry `index`.
    pub fn entry(&self, index: usize) -> Option<Entry<'a>> {
        let raw = self.raw(index)?;
        let start = usize::from(raw.name_at.get());
        let name = match self.raw(index + 1) {
            Some(next) => self.bytes.get(start..usize::from(next.name_at.get()))?,
            // The last name ends with the block or with NUL.
            None => self.bytes.get(start..)?.split(|byte| *byte == 0).next()?,
        };
        Some(Entry { nid: raw.nid.get(), kind: raw.kind, name })
    }

    /// The entry called `name`, found by halving.
    pub fn find(&self, name: &[u8]) -> Option<Entry<'a>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let entry = self.entry(middle)?;
            match entry.name.cmp(name) {
                core::cmp::Ordering::Equal => return Some(entry),
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }
}

/// An extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Xattr<'a> {
    /// What its name starts with.
    pub prefix: &'static [u8],
    /// The rest of its name.
    pub suffix: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
}

impl Xattr<'_> {
    /// Whether it is called `name`.
    pub fn is_named(&self, name: &[u8]) -> bool {
        name.strip_prefix(self.prefix) == Some(self.suffix)
    }
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawXattr {
    name_len: u8,
    prefix: u8,
    value_len: U16,
}

/// Splits the extended attributes after an inode: the numbers of shared ones, and the bytes of its own.
pub fn split_xattrs(bytes: &[u8]) -> Option<(&[U32], &[u8])> {
    let count = usize::from(*bytes.get(4)?);
    let (shared, own) = bytes.get(XATTR_HEADER_LEN..)?.split_at_checked(count * 4)?;
    Some((<[U32]>::ref_from_bytes(shared).ok()?, own))
}

/// The attribute that `bytes` start with (`None` if its prefix is not known), and what follows.
pub fn take_xattr(bytes: &[u8]) -> Option<(Option<Xattr<'_>>, &[u8])> {
    let (raw, rest) = RawXattr::ref_from_prefix(bytes).ok()?;
    let (suffix, rest) = rest.split_at_checked(usize::from(raw.name_len))?;
    let (value, _) = rest.split_at_checked(usize::from(raw.value_len.get()))?;
    let len = (size_of::<RawXattr>() + suffix.len() + value.len()).next_multiple_of(4);
    let prefix: Option<&[u8]> = match raw.prefix {
        1 => Some(b"user."),
        2 => Some(b"system.posix_acl_access"),
        3 => Some(b"system.posix_acl_default"),
        4 => Some(b"trusted."),
        6 => Some(b"security."),
        _ => None,
    };
    let attribute = prefix.map(|prefix| Xattr { prefix, suffix, value });
    Some((attribute, bytes.get(len..).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(entries: &[(u64, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut name_at = entries.len() * DIRENT_LEN;
        for (nid, name) in entries {
            bytes.extend(nid.to_le_bytes());
            bytes.extend((name_at as u16).to_le_bytes());
            bytes.extend([1, 0]);
            name_at += name.len();
        }
        entries.iter().for_each(|(_, name)| bytes.extend(name.as_bytes()));
        bytes
    }

    #[test]
    fn names_are_found_by_halving() {
        let entries = [(1, "."), (2, ".."), (3, "a"), (4, "aa"), (5, "b"), (6, "zebra")];
        let mut bytes = block(&entries);
        for padding in [0, 1, 50] {
            bytes.resize(bytes.len() + padding, 0);
            let block = DirBlock::parse(&bytes).unwrap();
            assert_eq!(block.count(), 6);
            for (nid, name) in entries {
                assert_eq!(block.find(name.as_bytes()).unwrap().nid, nid);
            }
            assert!(block.find(b"").is_none() && block.find(b"aaa").is_none() && block.find(b"zz").is_none());
        }
    }

    #[test]
    fn attributes_are_taken_one_by_one() {
        let bytes = b"\x03\x01\x02\x00abcXY\0\0\0\x00\x09\x01\x00Z\0\0\0\x02\x06\x00\x00hi\0\0";
        let (first, rest) = take_xattr(bytes).unwrap();
        assert!(first.unwrap().is_named(b"user.abc") && first.unwrap().value == b"XY");
        let (second, rest) = take_xattr(rest).unwrap();
        assert!(second.is_none());
        let (third, rest) = take_xattr(rest).unwrap();
        assert!(third.unwrap().is_named(b"security.hi") && rest.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            Superblock::parse(&bytes);
            Inode::parse(&bytes);
            if let Some(block) = DirBlock::parse(&bytes) {
                (0..block.count()).for_each(|index| { block.entry(index); });
                block.find(b"name");
            }
            if let Some((_, own)) = split_xattrs(&bytes) {
                let mut rest = own;
                while let Some((_, next)) = take_xattr(rest) {
                    rest = next;
                }
            }
        }
    }
}
