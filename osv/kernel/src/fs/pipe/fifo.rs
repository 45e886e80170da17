//! FIFOs: pipes that have a name in some file system.
//!
//! The inode of a FIFO holds no data; the pipe exists while somebody has it open and is found by device and inode
//! number, so that every file system gets FIFOs for nothing, read-only ones too. Source: fifo(7).

use alloc::sync::{Arc, Weak};
use core::sync::atomic::{AtomicU32, Ordering};

use super::{OpenFlags, Pipe, PipeEnd};
use crate::errno::{Errno, Result};
use crate::sched::Mutex;
use crate::sorted_map::SortedMap;

/// Device and inode number of a FIFO.
pub(super) type Key = (u64, u64);

fn open_fifos() -> &'static Mutex<SortedMap<Key, Weak<Pipe>>> {
    static FIFOS: Mutex<SortedMap<Key, Weak<Pipe>>> = Mutex::new(SortedMap::new());
    &FIFOS
}

/// Opens the FIFO whose inode is `ino` on `device`. Waits for the other side to come, unless it is there, both sides
/// are asked for, or NONBLOCK is given (ENXIO for a writer without reader). A pipe that is opened again by its number
/// never waits.
pub fn open_fifo(device: u64, ino: u64, flags: OpenFlags) -> Result<Arc<PipeEnd>> {
    let pipe = find_or_create((device, ino))?;
    let is_patient = !flags.contains(OpenFlags::NONBLOCK);
    match (flags.is_readable(), flags.is_writable()) {
        (false, false) => Err(Errno::EINVAL),
        _ if device == super::pipe_device() => Ok(Arc::new(connect(pipe, flags))),
        (true, true) => Ok(Arc::new(connect(pipe, flags))),
        (true, false) => open_reader(pipe, flags, is_patient),
        (false, true) => open_writer(pipe, flags, is_patient),
    }
}

fn find_or_create(key: Key) -> Result<Arc<Pipe>> {
    let mut fifos = open_fifos().lock();
    if let Some(pipe) = fifos.get(&key).and_then(Weak::upgrade) {
        return Ok(pipe);
    }
    let pipe = Pipe::new(key)?;
    pipe.is_reachable.store(true, Ordering::Relaxed);
    fifos.insert(key, Arc::downgrade(&pipe));
    Ok(pipe)
}

/// Makes `pipe` one that can be found.
pub(super) fn enter(pipe: &Arc<Pipe>) {
    if !pipe.is_reachable.swap(true, Ordering::Relaxed) {
        open_fifos().lock().insert(pipe.fifo, Arc::downgrade(pipe));
    }
}

/// Makes the end and wakes those who waited for it.
fn connect(pipe: Arc<Pipe>, flags: OpenFlags) -> PipeEnd {
    let end = PipeEnd::new(pipe, flags);
    end.pipe.open_queue.wake_all();
    end
}

fn open_reader(pipe: Arc<Pipe>, flags: OpenFlags, is_patient: bool) -> Result<Arc<PipeEnd>> {
    let write_opens = pipe.write_opens.load(Ordering::SeqCst);
    let mut end = connect(pipe, flags);
    if !end.pipe.has_writers() {
        if is_patient {
            wait_for_partner(&end, &end.pipe.write_opens, write_opens)?;
        } else {
            end.write_opens_seen = Some(write_opens);
        }
    }
    Ok(Arc::new(end))
}

fn open_writer(pipe: Arc<Pipe>, flags: OpenFlags, is_patient: bool) -> Result<Arc<PipeEnd>> {
    if !is_patient && !pipe.has_readers() {
        return Err(Errno::ENXIO);
    }
    let read_opens = pipe.read_opens.load(Ordering::SeqCst);
    let end = connect(pipe, flags);
    if !end.pipe.has_readers() {
        wait_for_partner(&end, &end.pipe.read_opens, read_opens)?;
    }
    Ok(Arc::new(end))
}

/// Waits until `opens` is no longer what it was: the other side came, even if it has gone again.
fn wait_for_partner(end: &PipeEnd, opens: &AtomicU32, before: u32) -> Result<()> {
    end.pipe.open_queue.wait_interruptible(None, || (opens.load(Ordering::SeqCst) != before).then_some(()))
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if !*self.is_reachable.get_mut() {
            return;
        }
        let mut fifos = open_fifos().lock();
        if fifos.get(&self.fifo).is_some_and(|pipe| pipe.strong_count() == 0) {
            fifos.remove(&self.fifo);
        }
    }
}
