//! The virtio transport of 9P: carries requests to the server in the hypervisor and replies back.
//!
//! Knows nothing of 9P but that a message has a tag, for which the number of the request's slot serves. Data of reads and writes
//! goes straight between the server and frames of the page cache.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::requests::{Request, Requests};
use super::{Device, Kind, put_back, take};
use crate::drivers::dma::Data;
use crate::errno::{Errno, Result};

/// Room for a request without data: the longest has two paths.
pub const REQUEST_MAX: usize = 12 << 10;
/// Room for a reply without data in frames.
pub const REPLY_MAX: usize = 8 << 10;
const FEATURE_TAG: u64 = 1;

/// A connection to a 9P server.
pub struct Channel(Arc<Requests>);

impl Channel {
    /// Connects to the server whose device has the mount tag `tag`. ENODEV if there is none.
    pub fn open(tag: &[u8]) -> Result<Self> {
        let mut others = Vec::new();
        let found = loop {
            let Some(mut device) = take(Kind::NineP) else { break None };
            match device.negotiate(FEATURE_TAG) {
                Ok(()) if Self::tag(&device) == tag => break Some(device),
                _ => others.push(device),
            }
        };
        others.into_iter().for_each(put_back);
        Requests::start(found.ok_or(Errno::ENODEV)?, REQUEST_MAX + REPLY_MAX).map(Self)
    }

    fn tag(device: &Device) -> Vec<u8> {
        const TAG_MAX: usize = 256;
        let len = usize::from(u16::from_le_bytes(device.config(0)));
        let mut tag = alloc::vec![0; len.min(TAG_MAX)];
        device.read_config(2, &mut tag);
        tag
    }

    /// The most pages of data that one message can carry, even if no two of them are neighbours.
    pub fn pages_max(&self) -> usize {
        self.0.pages_max()
    }

    /// Sends the request that `encode` makes for the tag that it is given, and sleeps until the reply is there. The
    /// reply's start goes to `reply`; with data from the device, what follows the first `reply.len()` bytes goes
    /// to its frames. Returns how many bytes came in all. EIO if the device is broken.
    pub fn call(&self, encode: impl FnOnce(u16) -> Result<Vec<u8>>, reply: &mut [u8], data: Data) -> Result<usize> {
        let reply_len = u32::try_from(reply.len().min(REPLY_MAX)).map_err(|_| Errno::EMSGSIZE)?;
        self.0.call(
            |tag, buffer| {
                let request = encode(tag)?;
                if buffer.store(0, &request) > REQUEST_MAX || request.len() > REQUEST_MAX {
                    return Err(Errno::EMSGSIZE);
                }
                let request_len = request.len() as u32;
                Ok(Request { buffer, request_len, reply_at: REQUEST_MAX, reply_len, trailer_len: 0, data, tag })
            },
            |request, written| {
                let count = written.min(reply_len as usize);
                request.buffer.load(REQUEST_MAX, reply.get_mut(..count).unwrap_or_default());
                Ok(written)
            },
        )
    }
}
