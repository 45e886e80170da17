//! The wire format of 9P2000.L: requests to bytes, bytes to replies.
//!
//! Sans I/O and pure. A message is `size[4] type[1] tag[2] body`, numbers are little endian, strings have a 16-bit
//! length. A [`Call`] knows how to encode itself; [`Reply::parse`] checks size, type and tag of what came back, and the `take_…`
//! functions decode bodies. Replies are hostile: whatever does not parse is EIO, a count is never more than was asked for.
//! Format: <https://github.com/chaos/diod/blob/master/protocol.md>.

use alloc::vec::Vec;

use crate::errno::{Errno, Result};

/// The tag of a version request.
pub const NO_TAG: u16 = 0xffff;
/// The fid that stands for none.
pub const NO_FID: u32 = u32::MAX;
/// Bytes of `size type tag`.
pub const HEADER_LEN: usize = 7;
/// What precedes the data of a read reply: the header and a count. An error reply is just as long.
pub const READ_REPLY_LEN: usize = HEADER_LEN + 4;
/// What precedes the data of a write request: the header, fid, offset and count.
pub const WRITE_REQUEST_LEN: usize = HEADER_LEN + 16;
/// The protocol that we speak.
pub const VERSION: &[u8] = b"9P2000.L";

const RLERROR: u8 = 7;

/// A request.
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs)]
pub enum Call<'a> {
    Version {
        msize: u32,
    },
    Attach {
        fid: u32,
        name: &'a [u8],
    },
    Walk {
        fid: u32,
        new_fid: u32,
        name: Option<&'a [u8]>,
    },
    GetAttr {
        fid: u32,
        mask: u64,
    },
    SetAttr {
        fid: u32,
        set: &'a SetAttr,
    },
    Open {
        fid: u32,
        flags: u32,
    },
    Create {
        fid: u32,
        name: &'a [u8],
        flags: u32,
        mode: u32,
        gid: u32,
    },
    Symlink {
        dir: u32,
        name: &'a [u8],
        target: &'a [u8],
        gid: u32,
    },
    Mknod {
        dir: u32,
        name: &'a [u8],
        mode: u32,
        major: u32,
        minor: u32,
        gid: u32,
    },
    Mkdir {
        dir: u32,
        name: &'a [u8],
        mode: u32,
        gid: u32,
    },
    Link {
        dir: u32,
        fid: u32,
        name: &'a [u8],
    },
    RenameAt {
        old_dir: u32,
        old: &'a [u8],
        new_dir: u32,
        new: &'a [u8],
    },
    UnlinkAt {
        dir: u32,
        name: &'a [u8],
        flags: u32,
    },
    ReadLink {
        fid: u32,
    },
    ReadDir {
        fid: u32,
        offset: u64,
        count: u32,
    },
    Read {
        fid: u32,
        offset: u64,
        count: u32,
    },
    /// The data follows the encoded bytes.
    Write {
        fid: u32,
        offset: u64,
        count: u32,
    },
    Fsync {
        fid: u32,
        data_only: bool,
    },
    StatFs {
        fid: u32,
    },
    XattrWalk {
        fid: u32,
        new_fid: u32,
        name: &'a [u8],
    },
    XattrCreate {
        fid: u32,
        name: &'a [u8],
        size: u64,
        flags: u32,
    },
    Clunk {
        fid: u32,
    },
}

/// Which attributes to set, and to what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct SetAttr {
    pub valid: u32,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub size: u64,
    pub atime: (u64, u64),
    pub mtime: (u64, u64),
}

/// Bits of [`SetAttr::valid`].
#[allow(missing_docs)]
pub mod set {
    pub const MODE: u32 = 1;
    pub const UID: u32 = 2;
    pub const GID: u32 = 4;
    pub const SIZE: u32 = 8;
    pub const ATIME: u32 = 0x10;
    pub const MTIME: u32 = 0x20;
    pub const CTIME: u32 = 0x40;
    pub const ATIME_TO: u32 = 0x80;
    pub const MTIME_TO: u32 = 0x100;
}

/// The attributes that `stat` shows, for [`Call::GetAttr`].
pub const GET_BASIC: u64 = 0x7ff;

impl Call<'_> {
    const fn kind(&self) -> u8 {
        match self {
            Call::StatFs { .. } => 8,
            Call::Open { .. } => 12,
            Call::Create { .. } => 14,
            Call::Symlink { .. } => 16,
            Call::Mknod { .. } => 18,
            Call::ReadLink { .. } => 22,
            Call::GetAttr { .. } => 24,
            Call::SetAttr { .. } => 26,
            Call::XattrWalk { .. } => 30,
            Call::XattrCreate { .. } => 32,
            Call::ReadDir { .. } => 40,
            Call::Fsync { .. } => 50,
            Call::Link { .. } => 70,
            Call::Mkdir { .. } => 72,
            Call::RenameAt { .. } => 74,
            Call::UnlinkAt { .. } => 76,
            Call::Version { .. } => 100,
            Call::Attach { .. } => 104,
            Call::Walk { .. } => 110,
            Call::Read { .. } => 116,
            Call::Write { .. } => 118,
            Call::Clunk { .. } => 120,
        }
    }

    /// The type of the reply that answers it.
    pub const fn reply_kind(&self) -> u8 {
        self.kind() + 1
    }

    /// The message's bytes, without the data of a write, which its size counts nevertheless. ENAMETOOLONG if a string is
    /// longer than the format can say.
    pub fn encode(&self, tag: u16) -> Result<Vec<u8>> {
        let mut to = Encoder::new()?;
        to.u32(0).u8(self.kind()).u16(tag);
        self.encode_body(&mut to);
        let data_len = if let Call::Write { count, .. } = self { *count as usize } else { 0 };
        to.finish(data_len)
    }

    fn encode_body(&self, to: &mut Encoder) {
        match *self {
            Call::Version { msize } => to.u32(msize).string(VERSION),
            Call::Attach { fid, name } => to.u32(fid).u32(NO_FID).string(b"root").string(name).u32(0),
            Call::Walk { fid, new_fid, name: None } => to.u32(fid).u32(new_fid).u16(0),
            Call::Walk { fid, new_fid, name: Some(name) } => to.u32(fid).u32(new_fid).u16(1).string(name),
            Call::GetAttr { fid, mask } => to.u32(fid).u64(mask),
            Call::SetAttr { fid, set } => {
                to.u32(fid).u32(set.valid).u32(set.mode).u32(set.uid).u32(set.gid).u64(set.size);
                to.u64(set.atime.0).u64(set.atime.1).u64(set.mtime.0).u64(set.mtime.1)
            }
            Call::Open { fid, flags } => to.u32(fid).u32(flags),
            Call::Create { fid, name, flags, mode, gid } => to.u32(fid).string(name).u32(flags).u32(mode).u32(gid),
            Call::Symlink { dir, name, target, gid } => to.u32(dir).string(name).string(target).u32(gid),
            Call::Mknod { dir, name, mode, major, minor, gid } => {
                to.u32(dir).string(name).u32(mode).u32(major).u32(minor).u32(gid)
            }
            Call::Mkdir { dir, name, mode, gid } => to.u32(dir).string(name).u32(mode).u32(gid),
            Call::Link { dir, fid, name } => to.u32(dir).u32(fid).string(name),
            Call::RenameAt { old_dir, old, new_dir, new } => to.u32(old_dir).string(old).u32(new_dir).string(new),
            Call::UnlinkAt { dir, name, flags } => to.u32(dir).string(name).u32(flags),
            Call::ReadDir { fid, offset, count }
            | Call::Read { fid, offset, count }
            | Call::Write { fid, offset, count } => to.u32(fid).u64(offset).u32(count),
            Call::Fsync { fid, data_only } => to.u32(fid).u32(data_only.into()),
            Call::XattrWalk { fid, new_fid, name } => to.u32(fid).u32(new_fid).string(name),
            Call::XattrCreate { fid, name, size, flags } => to.u32(fid).string(name).u64(size).u32(flags),
            Call::ReadLink { fid } | Call::StatFs { fid } | Call::Clunk { fid } => to.u32(fid),
        };
    }
}

/// Appends values to a message.
struct Encoder {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Encoder {
    fn new() -> Result<Self> {
        const USUAL_LEN: usize = 128;
        let mut bytes = Vec::new();
        bytes.try_reserve(USUAL_LEN).map_err(|_| Errno::ENOMEM)?;
        Ok(Self { bytes, is_too_long: false })
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    fn u8(&mut self, value: u8) -> &mut Self {
        self.put(&[value])
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_le_bytes())
    }

    fn string(&mut self, text: &[u8]) -> &mut Self {
        match u16::try_from(text.len()) {
            Ok(len) => self.u16(len).put(text),
            Err(_) => {
                self.is_too_long = true;
                self
            }
        }
    }

    fn finish(mut self, data_len: usize) -> Result<Vec<u8>> {
        let size = u32::try_from(self.bytes.len() + data_len).map_err(|_| Errno::EMSGSIZE)?;
        if self.is_too_long {
            return Err(Errno::ENAMETOOLONG);
        }
        if let Some(start) = self.bytes.first_chunk_mut() {
            *start = size.to_le_bytes();
        }
        Ok(self.bytes)
    }
}

/// What identifies a file on the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qid {
    /// Type bits; 0x80 is a directory.
    pub kind: u8,
    /// Changes with the contents, where the server bothers.
    pub version: u32,
    /// Unique among the files of the server.
    pub path: u64,
}

/// A file's attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attr {
    pub qid: Qid,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u64,
    pub rdev: u64,
    pub size: u64,
    pub block_size: u64,
    pub blocks: u64,
    pub atime: (u64, u64),
    pub mtime: (u64, u64),
    pub ctime: (u64, u64),
}

/// What a file system has and has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Statistics {
    pub kind: u32,
    pub block_size: u32,
    pub blocks: u64,
    pub blocks_free: u64,
    pub blocks_available: u64,
    pub files: u64,
    pub files_free: u64,
    pub id: u64,
    pub name_max: u32,
}

/// An entry of a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Whose entry it is.
    pub qid: Qid,
    /// Where reading goes on after it.
    pub next: u64,
    /// Its type as `d_type`.
    pub kind: u8,
    /// Its name.
    pub name: &'a [u8],
}

/// The body of a reply, to be taken apart from the front.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a>(&'a [u8]);

impl<'a> Reply<'a> {
    /// The body of the reply to `call` with `tag`, or the error that it carries. `bytes` are as many as the device wrote,
    /// or fewer where data went elsewhere.
    pub fn parse(call: &Call<'_>, tag: u16, bytes: &'a [u8]) -> Result<Self> {
        let mut reply = Self(bytes);
        let size = reply.u32()? as usize;
        let (kind, its_tag) = (reply.u8()?, reply.u16()?);
        if size < HEADER_LEN || its_tag != tag {
            return Err(Errno::EIO);
        }
        if kind == RLERROR {
            return Err(Errno::from_raw(reply.u32()?));
        }
        let body_len = (size - HEADER_LEN).min(reply.0.len());
        let body = reply.0.get(..body_len).ok_or(Errno::EIO)?;
        if kind == call.reply_kind() { Ok(Self(body)) } else { Err(Errno::EIO) }
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(len).ok_or(Errno::EIO)?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk().ok_or(Errno::EIO)?;
        self.0 = rest;
        Ok(*bytes)
    }

    /// An 8-bit number.
    pub fn u8(&mut self) -> Result<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// A 16-bit number.
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// A 32-bit number.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A 64-bit number.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string.
    pub fn string(&mut self) -> Result<&'a [u8]> {
        let len = self.u16()?;
        self.bytes(usize::from(len))
    }

    /// The identity of a file.
    pub fn qid(&mut self) -> Result<Qid> {
        Ok(Qid { kind: self.u8()?, version: self.u32()?, path: self.u64()? })
    }

    fn time(&mut self) -> Result<(u64, u64)> {
        Ok((self.u64()?, self.u64()?))
    }

    /// The body of an answer to [`Call::Version`]: the message size to use.
    pub fn take_version(mut self) -> Result<u32> {
        let msize = self.u32()?;
        if self.string()? == VERSION { Ok(msize) } else { Err(Errno::EPROTONOSUPPORT) }
    }

    /// The body of an answer to [`Call::Walk`]: the identity of what was found, or of nothing where no name was given.
    pub fn take_walk(mut self) -> Result<Option<Qid>> {
        match self.u16()? {
            0 => Ok(None),
            1 => self.qid().map(Some),
            _ => Err(Errno::EIO),
        }
    }

    /// The body of an answer to [`Call::GetAttr`].
    pub fn take_attr(mut self) -> Result<Attr> {
        let _valid = self.u64()?;
        Ok(Attr {
            qid: self.qid()?,
            mode: self.u32()?,
            uid: self.u32()?,
            gid: self.u32()?,
            nlink: self.u64()?,
            rdev: self.u64()?,
            size: self.u64()?,
            block_size: self.u64()?,
            blocks: self.u64()?,
            atime: self.time()?,
            mtime: self.time()?,
            ctime: self.time()?,
        })
    }

    /// The body of an answer to [`Call::StatFs`].
    pub fn take_statistics(mut self) -> Result<Statistics> {
        Ok(Statistics {
            kind: self.u32()?,
            block_size: self.u32()?,
            blocks: self.u64()?,
            blocks_free: self.u64()?,
            blocks_available: self.u64()?,
            files: self.u64()?,
            files_free: self.u64()?,
            id: self.u64()?,
            name_max: self.u32()?,
        })
    }

    /// The count of an answer to [`Call::Read`], [`Call::Write`] or [`Call::ReadDir`], at most what was `asked` for.
    pub fn take_count(&mut self, asked: u32) -> Result<u32> {
        let count = self.u32()?;
        if count <= asked { Ok(count) } else { Err(Errno::EIO) }
    }

    /// The next entry of a directory's data; `None` at its end, where a cut entry counts as the end.
    pub fn next_entry(&mut self) -> Option<Entry<'a>> {
        let mut rest = *self;
        let entry =
            Entry { qid: rest.qid().ok()?, next: rest.u64().ok()?, kind: rest.u8().ok()?, name: rest.string().ok()? };
        *self = rest;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(kind: u8, tag: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = u32::try_from(HEADER_LEN + body.len()).unwrap().to_le_bytes().to_vec();
        bytes.push(kind);
        bytes.extend(tag.to_le_bytes());
        bytes.extend(body);
        bytes
    }

    const STAT: Call<'static> = Call::GetAttr { fid: 1, mask: GET_BASIC };

    #[test]
    fn requests_have_the_documented_bytes() {
        let walk = Call::Walk { fid: 1, new_fid: 2, name: Some(b"etc") }.encode(5).unwrap();
        assert_eq!(walk, b"\x16\0\0\0\x6e\x05\0\x01\0\0\0\x02\0\0\0\x01\0\x03\0etc");
        let version = Call::Version { msize: 0x2000 }.encode(NO_TAG).unwrap();
        assert_eq!(version, b"\x15\0\0\0\x64\xff\xff\0\x20\0\0\x08\x009P2000.L");
        let write = Call::Write { fid: 3, offset: 4, count: 100 }.encode(0).unwrap();
        assert_eq!(write.len(), WRITE_REQUEST_LEN);
        assert_eq!(write[..4], 123u32.to_le_bytes());
    }

    #[test]
    fn strings_that_are_too_long_are_refused() {
        let name = vec![b'a'; 70_000];
        assert_eq!(Call::Link { dir: 1, fid: 2, name: &name }.encode(0), Err(Errno::ENAMETOOLONG));
    }

    #[test]
    fn errors_come_through() {
        let bytes = reply(RLERROR, 9, &2u32.to_le_bytes());
        assert_eq!(Reply::parse(&STAT, 9, &bytes).err(), Some(Errno::ENOENT));
        assert_eq!(Reply::parse(&STAT, 8, &bytes).err(), Some(Errno::EIO));
        let strange = reply(RLERROR, 9, &99_999u32.to_le_bytes());
        assert_eq!(Reply::parse(&STAT, 9, &strange).err(), Some(Errno::EIO));
    }

    #[test]
    fn attributes_are_decoded_and_truncations_refused() {
        let mut body = vec![0xff, 7, 0, 0, 0, 0, 0, 0];
        body.extend([0x80, 1, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0]);
        body.extend(0o040755u32.to_le_bytes());
        body.extend(1000u32.to_le_bytes());
        body.extend(100u32.to_le_bytes());
        for value in 1u64..=15 {
            body.extend(value.to_le_bytes());
        }
        let bytes = reply(25, 1, &body);
        let attr = Reply::parse(&STAT, 1, &bytes).unwrap().take_attr().unwrap();
        assert_eq!((attr.qid.path, attr.mode, attr.uid, attr.gid, attr.nlink), (42, 0o040755, 1000, 100, 1));
        assert_eq!((attr.size, attr.atime, attr.ctime), (3, (6, 7), (10, 11)));
        for end in 0..HEADER_LEN + 8 + 13 + 12 + 11 * 8 {
            assert!(Reply::parse(&STAT, 1, &bytes[..end]).and_then(Reply::take_attr).is_err());
        }
    }

    #[test]
    fn a_reply_of_another_type_is_refused() {
        assert_eq!(Reply::parse(&STAT, 1, &reply(111, 1, &[0; 200])).err(), Some(Errno::EIO));
    }

    #[test]
    fn sizes_that_lie_do_no_harm() {
        let mut bytes = reply(117, 1, &[5, 0, 0, 0, 1, 2, 3, 4, 5]);
        let call = Call::Read { fid: 1, offset: 0, count: 5 };
        for size in [0, 6, 7, 10, 11, 12, 16, 17, u32::MAX] {
            bytes[..4].copy_from_slice(&size.to_le_bytes());
            if let Ok(mut reply) = Reply::parse(&call, 1, &bytes)
                && let Ok(count) = reply.take_count(5)
            {
                let _ = reply.bytes(count as usize);
            }
        }
        assert_eq!(Reply(&[6, 0, 0, 0]).take_count(5), Err(Errno::EIO));
    }

    #[test]
    fn directory_data_ends_at_a_cut_entry() {
        let mut data = Vec::new();
        for (number, name) in [(1u64, &b"a"[..]), (2, b"long name")] {
            data.push(0);
            data.extend(0u32.to_le_bytes());
            data.extend(number.to_le_bytes());
            data.extend((number * 10).to_le_bytes());
            data.push(8);
            data.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
            data.extend(name);
        }
        let mut whole = Reply(&data);
        assert_eq!(whole.next_entry().unwrap().name, b"a");
        let second = whole.next_entry().unwrap();
        assert_eq!((second.name, second.next, second.qid.path), (&b"long name"[..], 20, 2));
        assert!(whole.next_entry().is_none());
        let mut cut = Reply(&data[..data.len() - 1]);
        assert!(cut.next_entry().is_some() && cut.next_entry().is_none());
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            if let Ok(reply) = Reply::parse(&STAT, 0, &bytes) {
                let _ = reply.take_attr();
                let _ = reply.take_version();
                let _ = reply.take_walk();
                let _ = reply.take_statistics();
            }
            let mut entries = Reply(&bytes);
            while entries.next_entry().is_some() {}
        }
    }
}
