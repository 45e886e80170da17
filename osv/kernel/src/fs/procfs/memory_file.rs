//! `/proc/PID/mem`: the memory of a process as a file whose positions are addresses. It is a debugger's way in: what the
//! program may not read or write itself counts for nothing, but for writes that others would see.

use alloc::sync::Arc;

use super::process::Subject;
use crate::errno::{Errno, Result};
use crate::fs::generated::{Context, Volume};
use crate::fs::{File, FileType, Inode, Metadata, OpenFlags, SeekFrom};
use crate::mem::space::AddressSpace;
use crate::mem::user::{Dest, Source};
use crate::process::current_task;

pub(super) fn make(subject: &Subject, volume: Volume, ino: u64) -> Result<Arc<dyn Inode>> {
    Ok(Arc::new(MemoryFile { subject: subject.clone(), volume, ino }))
}

struct MemoryFile {
    subject: Subject,
    volume: Volume,
    ino: u64,
}

impl Inode for MemoryFile {
    fn metadata(&self) -> Result<Metadata> {
        let (uid, gid) = self.subject.owner();
        Ok(Metadata { uid, gid, ..Metadata::new(self.volume.device, self.ino, FileType::Regular, 0o600) })
    }

    fn kind(&self) -> FileType {
        FileType::Regular
    }

    fn open(self: Arc<Self>, _flags: OpenFlags) -> Result<Option<Arc<dyn File>>> {
        if !current_task().may_access(&*self.subject.task()?) {
            return Err(Errno::EACCES);
        }
        let space = self.subject.space().ok_or(Errno::ESRCH)?;
        Ok(Some(Arc::new(OpenMemory(space))))
    }
}

struct OpenMemory(Arc<AddressSpace>);

impl File for OpenMemory {
    fn is_positioned(&self) -> bool {
        true
    }

    fn read_at(&self, offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        self.0.peek(offset, dst).map_err(|_| Errno::EIO)
    }

    fn write_at(&self, offset: u64, src: &mut Source<'_>) -> Result<usize> {
        self.0.poke(offset, src).map_err(|_| Errno::EIO)
    }

    fn seek(&self, from: SeekFrom, current: u64) -> Result<u64> {
        match from {
            SeekFrom::Start(offset) => Ok(offset as u64),
            SeekFrom::Current(delta) => Ok(current.wrapping_add_signed(delta)),
            _ => Err(Errno::EINVAL),
        }
    }
}
