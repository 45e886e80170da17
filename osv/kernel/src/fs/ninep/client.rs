//! A session with a 9P server: the calls as functions, and the fids.
//!
//! A [`Fid`] names a file at the server; dropping it gives it back. That must not sleep, so dropped fids are noted, and the
//! next call tells the server of some of them first.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use super::codec::{Attr, Call, NO_FID, NO_TAG, Qid, READ_REPLY_LEN, Reply, SetAttr, Statistics, WRITE_REQUEST_LEN};
use crate::drivers::dma::{Data, FrameData};
use crate::drivers::virtio::ninep::{Channel, REPLY_MAX};
use crate::errno::{Errno, Result};
use crate::mem::Frame;
use crate::mem::phys::PAGE_SIZE;
use crate::sync::SpinLock;

/// The message size that we propose.
const MSIZE: u32 = 1 << 20;
/// The least that a server may make of it.
const MSIZE_MIN: u32 = 4096;
/// What a message carries beside the data of a read or write, rounded up.
const OVERHEAD: u32 = 64;
/// Replies without data: the longest has attributes.
const SMALL_REPLY: usize = 192;
/// Fids that may wait to be given back.
const RETIRED_MAX: usize = 1024;
/// How many of them go along with a call.
const RETIRED_PER_CALL: usize = 2;

/// A session.
pub struct Client {
    channel: Channel,
    /// Bytes of data in a message.
    payload_max: u32,
    fids: SpinLock<Fids>,
}

/// Numbers of fids.
struct Fids {
    /// Known at neither side.
    free: Vec<u32>,
    /// Known at the server, but not used any more.
    retired: Vec<u32>,
    next: u32,
}

/// A file at the server.
pub struct Fid {
    client: Arc<Client>,
    number: u32,
}

impl Drop for Fid {
    fn drop(&mut self) {
        // Memory may be short and the lock taken by whoever ran out of it: then the server keeps the fid.
        if let Some(mut fids) = self.client.fids.try_lock()
            && fids.retired.len() < RETIRED_MAX
        {
            fids.retired.push(self.number);
        }
    }
}

impl Client {
    /// Starts a session with the server of mount tag `tag` and attaches to the tree `name`: the root's fid and identity.
    pub fn connect(tag: &[u8], name: &[u8]) -> Result<(Fid, Qid)> {
        let channel = Channel::open(tag)?;
        let mut reply = [0; SMALL_REPLY];
        let version = Call::Version { msize: MSIZE };
        channel.call(|_| version.encode(NO_TAG), &mut reply, Data::None)?;
        let msize = Reply::parse(&version, NO_TAG, &reply)?.take_version()?.min(MSIZE);
        if msize < MSIZE_MIN {
            return Err(Errno::EPROTO);
        }
        let pages_max = u32::try_from(channel.pages_max() * PAGE_SIZE).unwrap_or(u32::MAX);
        let fids = Fids { free: Vec::new(), retired: Vec::with_capacity(RETIRED_MAX), next: 0 };
        let payload_max = (msize - OVERHEAD).min(pages_max);
        let client = Arc::new(Client { channel, payload_max, fids: SpinLock::new(fids) });
        let fid = client.new_number();
        let qid = client.call(&Call::Attach { fid, name }, |mut reply| reply.qid())?;
        Ok((Fid { client, number: fid }, qid))
    }

    fn new_number(&self) -> u32 {
        let mut fids = self.fids.lock();
        fids.free.pop().unwrap_or_else(|| {
            let number = fids.next;
            // The server refuses numbers that are in use, should four billion ever be.
            fids.next = if number == NO_FID - 1 { 0 } else { number + 1 };
            number
        })
    }

    fn free_number(&self, number: u32) {
        self.fids.lock().free.push(number);
    }

    /// Tells the server of some fids that were dropped.
    fn clunk_retired(&self) {
        for _ in 0..RETIRED_PER_CALL {
            let Some(fid) = self.fids.lock().retired.pop() else { return };
            // Whatever the server says, the fid is gone.
            let _ = self.exchange(&Call::Clunk { fid }, SMALL_REPLY, |_| Ok(()));
            self.free_number(fid);
        }
    }

    fn call<T>(&self, call: &Call<'_>, decode: impl FnOnce(Reply<'_>) -> Result<T>) -> Result<T> {
        self.clunk_retired();
        self.exchange(call, SMALL_REPLY, decode)
    }

    /// A call whose reply has up to `reply_max` bytes.
    fn exchange<T>(&self, call: &Call<'_>, reply_max: usize, decode: impl FnOnce(Reply<'_>) -> Result<T>) -> Result<T> {
        let mut small = [0; SMALL_REPLY];
        let mut large = if reply_max > SMALL_REPLY { vec![0; reply_max.min(REPLY_MAX)] } else { Vec::new() };
        let reply = if large.is_empty() { &mut small[..] } else { &mut large[..] };
        let mut tag = 0;
        let encode = |slot| {
            tag = slot;
            call.encode(slot)
        };
        let len = self.channel.call(encode, reply, Data::None)?;
        let reply = reply.get(..len).unwrap_or(reply);
        decode(Reply::parse(call, tag, reply)?)
    }
}

impl Fid {
    /// Its number.
    fn number(&self) -> u32 {
        self.number
    }

    /// Another fid of the same session for what `name` in this directory is, or for the same file without a name.
    fn walk(&self, name: Option<&[u8]>) -> Result<(Fid, Option<Qid>)> {
        let new_fid = self.client.new_number();
        let walked = self.client.call(&Call::Walk { fid: self.number, new_fid, name }, |reply| reply.take_walk());
        match walked {
            Ok(qid) if qid.is_some() == name.is_some() => {
                Ok((Fid { client: Arc::clone(&self.client), number: new_fid }, qid))
            }
            other => {
                self.client.free_number(new_fid);
                Err(other.err().unwrap_or(Errno::ENOENT))
            }
        }
    }

    /// The entry `name` of this directory.
    pub fn lookup(&self, name: &[u8]) -> Result<(Fid, Qid)> {
        let (fid, qid) = self.walk(Some(name))?;
        Ok((fid, qid.ok_or(Errno::EIO)?))
    }

    /// Another fid of the same file, opened.
    pub fn open(&self, flags: u32) -> Result<Fid> {
        let (fid, _) = self.walk(None)?;
        fid.client.call(&Call::Open { fid: fid.number, flags }, |_| Ok(()))?;
        Ok(fid)
    }

    /// Makes a regular file in this directory; its fid, opened.
    pub fn create(&self, name: &[u8], flags: u32, mode: u32, gid: u32) -> Result<Fid> {
        let (fid, _) = self.walk(None)?;
        fid.client.call(&Call::Create { fid: fid.number, name, flags, mode, gid }, |_| Ok(()))?;
        Ok(fid)
    }

    /// Makes a symlink in this directory.
    pub fn symlink(&self, name: &[u8], target: &[u8], gid: u32) -> Result<()> {
        self.simple(&Call::Symlink { dir: self.number, name, target, gid })
    }

    /// Makes a device node, FIFO or socket in this directory.
    pub fn mknod(&self, name: &[u8], mode: u32, major: u32, minor: u32, gid: u32) -> Result<()> {
        self.simple(&Call::Mknod { dir: self.number, name, mode, major, minor, gid })
    }

    /// Makes a directory in this directory.
    pub fn mkdir(&self, name: &[u8], mode: u32, gid: u32) -> Result<()> {
        self.simple(&Call::Mkdir { dir: self.number, name, mode, gid })
    }

    /// Enters `target` as `name` in this directory.
    pub fn link(&self, target: &Fid, name: &[u8]) -> Result<()> {
        self.simple(&Call::Link { dir: self.number, fid: target.number(), name })
    }

    /// Moves the entry `old` of this directory to `new` of another.
    pub fn rename(&self, old: &[u8], new_dir: &Fid, new: &[u8]) -> Result<()> {
        self.simple(&Call::RenameAt { old_dir: self.number, old, new_dir: new_dir.number(), new })
    }

    /// Removes the entry `name` of this directory.
    pub fn unlink(&self, name: &[u8], is_directory: bool) -> Result<()> {
        let flags = if is_directory { linux_raw_sys::general::AT_REMOVEDIR } else { 0 };
        self.simple(&Call::UnlinkAt { dir: self.number, name, flags })
    }

    fn simple(&self, call: &Call<'_>) -> Result<()> {
        self.client.call(call, |_| Ok(()))
    }

    /// The file's attributes.
    pub fn attributes(&self) -> Result<Attr> {
        self.client.call(&Call::GetAttr { fid: self.number, mask: super::codec::GET_BASIC }, |reply| reply.take_attr())
    }

    /// Changes attributes.
    pub fn set_attributes(&self, set: &SetAttr) -> Result<()> {
        self.simple(&Call::SetAttr { fid: self.number, set })
    }

    /// The target of a symlink.
    pub fn read_link(&self) -> Result<Vec<u8>> {
        let call = Call::ReadLink { fid: self.number };
        self.client.exchange(&call, REPLY_MAX, |mut reply| reply.string().map(<[u8]>::to_vec))
    }

    /// Calls `decode` with entries of the directory that this fid has open, from `offset` on; nothing at its end.
    pub fn read_dir<T>(&self, offset: u64, decode: impl FnOnce(Reply<'_>) -> Result<T>) -> Result<T> {
        let count = (REPLY_MAX - READ_REPLY_LEN) as u32;
        let call = Call::ReadDir { fid: self.number, offset, count };
        self.client.exchange(&call, REPLY_MAX, |mut reply| {
            reply.take_count(count)?;
            decode(reply)
        })
    }

    /// The most pages that [`Fid::read_pages`] and [`Fid::write_pages`] take at a time.
    pub fn pages_max(&self) -> usize {
        self.client.payload_max as usize / PAGE_SIZE
    }

    /// Reads from `offset` on into `frames`, as many as fit into a message; how many bytes.
    pub fn read_pages(&self, offset: u64, frames: &[Frame]) -> Result<usize> {
        let frames = frames.get(..frames.len().min(self.pages_max())).unwrap_or_default();
        let count = u32::try_from(frames.len() * PAGE_SIZE).map_err(|_| Errno::EINVAL)?;
        let data = Data::FromDevice(FrameData::new(clone_all(frames)?, count as usize));
        let call = Call::Read { fid: self.number, offset, count };
        let (mut reply, mut tag) = ([0; READ_REPLY_LEN], 0);
        let encode = |slot| {
            tag = slot;
            call.encode(slot)
        };
        let len = self.client.channel.call(encode, &mut reply, data)?;
        let got = Reply::parse(&call, tag, &reply)?.take_count(count)? as usize;
        // A count of more than was written would show what the frames held before.
        if got <= len.saturating_sub(READ_REPLY_LEN) { Ok(got) } else { Err(Errno::EIO) }
    }

    /// Reads up to `count` bytes from `offset` on, as many as fit into a reply.
    pub fn read(&self, offset: u64, count: usize) -> Result<Vec<u8>> {
        let count = count.min(REPLY_MAX - READ_REPLY_LEN) as u32;
        let call = Call::Read { fid: self.number, offset, count };
        self.client.exchange(&call, REPLY_MAX, |mut reply| {
            let got = reply.take_count(count)?;
            reply.bytes(got as usize).map(<[u8]>::to_vec)
        })
    }

    /// Writes the first `len` bytes of `frames` at `offset`; how many were written.
    pub fn write_pages(&self, offset: u64, frames: &[Frame], len: usize) -> Result<usize> {
        let len = len.min(self.pages_max() * PAGE_SIZE).min(frames.len() * PAGE_SIZE);
        let frames = frames.get(..len.div_ceil(PAGE_SIZE)).unwrap_or_default();
        let count = u32::try_from(len).map_err(|_| Errno::EINVAL)?;
        let data = Data::ToDevice(FrameData::new(clone_all(frames)?, len));
        let call = Call::Write { fid: self.number, offset, count };
        let (mut reply, mut tag) = ([0; READ_REPLY_LEN], 0);
        let encode = |slot| {
            tag = slot;
            call.encode(slot)
        };
        self.client.channel.call(encode, &mut reply, data)?;
        Ok(Reply::parse(&call, tag, &reply)?.take_count(count)? as usize)
    }

    /// Writes what is only in the server's memory to its storage.
    pub fn sync(&self, data_only: bool) -> Result<()> {
        self.simple(&Call::Fsync { fid: self.number, data_only })
    }

    /// What the file system that the file is on has and has left.
    pub fn statistics(&self) -> Result<Statistics> {
        self.client.call(&Call::StatFs { fid: self.number }, |reply| reply.take_statistics())
    }

    /// The value of extended attribute `name`, or the list of names if `name` is empty.
    pub fn xattr(&self, name: &[u8]) -> Result<Vec<u8>> {
        const VALUE_MAX: u64 = 64 << 10;
        let new_fid = self.client.new_number();
        let call = Call::XattrWalk { fid: self.number, new_fid, name };
        let size = self.client.call(&call, |mut reply| reply.u64());
        let size = size.inspect_err(|_| self.client.free_number(new_fid))?;
        let fid = Fid { client: Arc::clone(&self.client), number: new_fid };
        if size > VALUE_MAX {
            return Err(Errno::E2BIG);
        }
        let mut value = Vec::new();
        while (value.len() as u64) < size {
            let part = fid.read(value.len() as u64, size as usize - value.len())?;
            if part.is_empty() {
                break;
            }
            value.extend_from_slice(&part);
        }
        Ok(value)
    }

    /// Sets extended attribute `name`; removes it where `value` is empty and `flags` say nothing else.
    pub fn set_xattr(&self, name: &[u8], value: &[u8], flags: u32) -> Result<()> {
        let (fid, _) = self.walk(None)?;
        self.client.call(&Call::XattrCreate { fid: fid.number, name, size: value.len() as u64, flags }, |_| Ok(()))?;
        let mut done = 0;
        for chunk in value.chunks(PAGE_SIZE) {
            let frame = Frame::alloc_zeroed()?;
            frame.write(0, chunk);
            done += fid.write_pages(done as u64, &[frame], chunk.len())?;
        }
        // The attribute is set when the fid is given back, and only that says whether it worked.
        let number = fid.number;
        core::mem::forget(fid);
        let result = self.client.exchange(&Call::Clunk { fid: number }, SMALL_REPLY, |_| Ok(()));
        self.client.free_number(number);
        result
    }
}

fn clone_all(frames: &[Frame]) -> Result<Vec<Frame>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(frames.len()).map_err(|_| Errno::ENOMEM)?;
    copy.extend(frames.iter().cloned());
    Ok(copy)
}

const _: () = assert!(WRITE_REQUEST_LEN < OVERHEAD as usize);
