//! Descriptors of processes: pidfd_open(2). Readable when the process has ended.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::structure::Process;
use crate::errno::{Errno, Result};
use crate::event::{PollEvents, Pollee};
use crate::fs::{File, IoFlags, OpenFile};
use crate::mem::user::{Dest, Source};

/// What such a descriptor stands for.
pub struct PidFd {
    process: Arc<Process>,
}

impl PidFd {
    /// A descriptor's file for `process`.
    pub fn new(process: &Arc<Process>) -> Arc<PidFd> {
        Arc::new(PidFd { process: Arc::clone(process) })
    }

    /// The process.
    pub fn process(&self) -> &Arc<Process> {
        &self.process
    }

    /// The process that an open file stands for; EBADF if it stands for none.
    pub fn process_of(file: &OpenFile) -> Result<Arc<Process>> {
        file.downcast::<PidFd>().map(|pidfd| Arc::clone(&pidfd.process)).ok_or(Errno::EBADF)
    }
}

impl File for PidFd {
    fn read(&self, _dst: &mut Dest<'_>, _flags: IoFlags) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    fn write(&self, _src: &mut Source<'_>, _flags: IoFlags) -> Result<usize> {
        Err(Errno::EINVAL)
    }

    fn readiness(&self) -> PollEvents {
        if self.process.has_ended() { PollEvents::READABLE } else { PollEvents::empty() }
    }

    fn pollee(&self) -> Option<&Pollee> {
        Some(self.process.exit_events())
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"anon_inode:[pidfd]");
    }
}
