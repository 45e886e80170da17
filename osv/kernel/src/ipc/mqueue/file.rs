//! A queue that is open. Reading it as a file tells of its state.

use alloc::sync::Arc;

use super::{Notice, Queue};
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::fs::{File, FileType, Inode, Metadata, OpenFlags, SeekFrom, SetAttributes};
use crate::mem::user::{Dest, Source};

/// `st_size` of every queue: as long as the text that describes one can be.
const TEXT_SIZE: u64 = 80;

/// The file behind a descriptor of a queue.
pub struct OpenQueue(Arc<Queue>);

impl OpenQueue {
    /// What is open.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.0
    }
}

impl File for OpenQueue {
    fn is_positioned(&self) -> bool {
        true
    }

    fn read_at(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        let text = {
            let state = self.0.state.lock();
            let listener = state.listener.as_ref().filter(|listener| listener.is_alive());
            let (kind, signal) = match listener.map(|listener| &listener.notice) {
                Some(Notice::Signal(signal, _)) => (0, signal.map_or(0, |signal| signal.number())),
                Some(Notice::Silently) => (1, 0),
                Some(Notice::Message(..)) => (2, 0),
                None => (0, 0),
            };
            let pid = listener.map_or(0, |listener| listener.pid());
            alloc::format!("QSIZE:{:<10} NOTIFY:{kind:<5} SIGNO:{signal:<5} NOTIFY_PID:{pid:<6}\n", state.bytes)
        };
        match usize::try_from(offset).ok().and_then(|offset| text.as_bytes().get(offset..)) {
            Some(rest) if !rest.is_empty() => dst.push(rest),
            _ => Ok(0),
        }
    }

    fn write_at(&self, _offset: u64, _src: &mut Source<'_>) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    fn seek(&self, from: SeekFrom, current: u64) -> Result<u64> {
        let (base, delta) = match from {
            SeekFrom::Start(delta) => (0, delta),
            SeekFrom::Current(delta) => (current, delta),
            SeekFrom::End(delta) => (TEXT_SIZE, delta),
            _ => return Err(Errno::EINVAL),
        };
        base.checked_add_signed(delta).filter(|&at| at <= crate::fs::OFFSET_MAX).ok_or(Errno::EINVAL)
    }

    fn readiness(&self) -> PollEvents {
        let count = self.0.len() as u64;
        let mut events = PollEvents::empty();
        events.set(PollEvents::READABLE, count > 0);
        events.set(PollEvents::WRITABLE, count < self.0.capacity().messages);
        events
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(&self.0.pollee)
    }

    fn on_close(&self) {
        self.0.stop_listening();
    }
}

impl Inode for Queue {
    fn metadata(&self) -> Result<Metadata> {
        let state = self.state.lock();
        let metadata = Metadata::new(self.device, self.ino, FileType::Regular, state.mode);
        let (uid, gid, nlink) = (state.uid, state.gid, state.nlink);
        let (atime, mtime, ctime) = (state.atime, state.mtime, state.ctime);
        Ok(Metadata { uid, gid, nlink, atime, mtime, ctime, size: TEXT_SIZE, ..metadata })
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn set_attributes(&self, change: &SetAttributes) -> Result<()> {
        Queue::set_attributes(self, change);
        Ok(())
    }

    fn truncate(&self, _len: u64) -> Result<()> {
        Ok(())
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Option<Arc<dyn File>>> {
        Ok(Some(Arc::new(OpenQueue(self))))
    }
}
