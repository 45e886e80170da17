//! What `fsopen(2)` and `fspick(2)` return: a file system that is being put together, or changed, step by step.
//!
//! Parameters are collected as the list of options that `mount(2)` would get, and looked at when the file system is made:
//! what a type does not know is EINVAL then, not before. Source: Linux' `fs/fsopen.c`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::mount::SuperBlock;
use super::{Caller, File, IoFlags, Mount, MountFlags, PathRef, mounting};
use crate::errno::{Errno, Result};
use crate::mem::user::Dest;
use crate::sched::Mutex;

/// How far it has come.
enum Phase {
    /// Parameters of a file system to make.
    Parameters,
    /// Made, and not mounted yet.
    Made(Arc<SuperBlock>),
    /// Mounted.
    Mounted,
    /// Parameters for the file system that is mounted here.
    Picked(PathRef),
}

struct State {
    phase: Phase,
    source: Option<Vec<u8>>,
    options: Vec<u8>,
    is_read_only: bool,
}

/// The file behind such a descriptor.
pub struct MountBuilder {
    kind: Vec<u8>,
    state: Mutex<State>,
}

impl MountBuilder {
    /// For a new file system of the type `kind`.
    pub fn new(kind: &[u8]) -> Arc<MountBuilder> {
        MountBuilder::in_phase(kind, Phase::Parameters, false)
    }

    /// For the file system whose root is at `place`.
    pub fn pick(place: PathRef) -> Arc<MountBuilder> {
        let is_read_only = place.mount().super_block().is_read_only();
        MountBuilder::in_phase(b"", Phase::Picked(place), is_read_only)
    }

    fn in_phase(kind: &[u8], phase: Phase, is_read_only: bool) -> Arc<MountBuilder> {
        let state = State { phase, source: None, options: Vec::new(), is_read_only };
        Arc::new(MountBuilder { kind: kind.to_vec(), state: Mutex::new(state) })
    }

    /// Sets a parameter; one without a value is a flag.
    pub fn set(&self, key: &[u8], value: Option<&[u8]>) -> Result<()> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Parameters | Phase::Picked(_)) {
            return Err(Errno::EBUSY);
        }
        match (key, value) {
            (b"source", Some(source)) if state.source.is_none() => state.source = Some(source.to_vec()),
            (b"source", _) => return Err(Errno::EINVAL),
            (b"ro", None) => state.is_read_only = true,
            (b"rw", None) => state.is_read_only = false,
            (b"sync" | b"async" | b"dirsync" | b"lazytime" | b"nolazytime" | b"mand" | b"nomand", None) => {}
            _ => {
                // Commas separate options; a value cannot have one.
                if key.contains(&b',') || value.is_some_and(|value| value.contains(&b',')) {
                    return Err(Errno::EINVAL);
                }
                state.options.extend_from_slice(key);
                if let Some(value) = value {
                    state.options.push(b'=');
                    state.options.extend_from_slice(value);
                }
                state.options.push(b',');
            }
        }
        Ok(())
    }

    /// Makes the file system.
    pub fn create(&self, caller: &Caller<'_>) -> Result<()> {
        let mut state = self.state.lock();
        if !matches!(state.phase, Phase::Parameters) {
            return Err(Errno::EBUSY);
        }
        let source = state.source.as_deref().unwrap_or(b"none");
        let block = mounting::make(caller, &self.kind, source, &state.options, !state.is_read_only)?;
        block.set_read_only(state.is_read_only)?;
        state.phase = Phase::Made(block);
        Ok(())
    }

    /// Changes the file system that was picked.
    pub fn reconfigure(&self) -> Result<()> {
        let mut state = self.state.lock();
        let Phase::Picked(place) = &state.phase else { return Err(Errno::EBUSY) };
        mounting::reconfigure(place, state.is_read_only, &state.options)?;
        state.options.clear();
        Ok(())
    }

    /// Makes a mount of the file system that has been made.
    pub fn mount(&self, flags: MountFlags) -> Result<Arc<Mount>> {
        let mut state = self.state.lock();
        let block = match &state.phase {
            Phase::Made(block) => block.clone(),
            Phase::Parameters => return Err(Errno::EINVAL),
            Phase::Mounted | Phase::Picked(_) => return Err(Errno::EBUSY),
        };
        state.phase = Phase::Mounted;
        let root = block.root().clone();
        Ok(Mount::new(block, root, flags))
    }
}

impl File for MountBuilder {
    /// Messages about what went wrong: none are kept.
    fn read(&self, _dst: &mut Dest<'_>, _flags: IoFlags) -> Result<usize> {
        Err(Errno::ENODATA)
    }

    fn link_text(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"anon_inode:[fscontext]");
    }
}
