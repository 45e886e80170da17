//! Memory of another process: for `process_vm_readv`, `/proc/PID/mem`, and the kernel's own look at a program that has
//! just been loaded.

use super::fault::{Access, Fault};
use super::vma::Area;
use super::{AddressSpace, PAGE};
use crate::errno::{Errno, Result};
use crate::mem::frame::Frame;
use crate::mem::paging::{Flags, Found};
use crate::mem::phys::PAGE_SIZE;
use crate::mem::user::{Dest, Source};
use crate::sched::futex::Key;

/// How a page is wanted.
#[derive(Clone, Copy)]
struct Reach {
    access: Access,
    /// For a debugger: whatever rights the area has.
    is_forced: bool,
}

impl AddressSpace {
    /// Reads from `addr` into `dst` until that is full or a page cannot be read: how much. EFAULT if nothing was.
    pub fn read_remote(&self, addr: u64, dst: &mut Dest<'_>) -> Result<usize> {
        self.read_as(Reach { access: Access::Read, is_forced: false }, addr, dst)
    }

    /// Writes `src` to `addr` until that is used up or a page cannot be written: how much. EFAULT if nothing was.
    pub fn write_remote(&self, addr: u64, src: &mut Source<'_>) -> Result<usize> {
        self.write_as(Reach { access: Access::Write, is_forced: false }, addr, src)
    }

    /// As [`AddressSpace::read_remote`], for debuggers: also what the program may not read.
    pub fn peek(&self, addr: u64, dst: &mut Dest<'_>) -> Result<usize> {
        self.read_as(Reach { access: Access::Read, is_forced: true }, addr, dst)
    }

    /// As [`AddressSpace::write_remote`], for debuggers: also private memory that the program may not write.
    pub fn poke(&self, addr: u64, src: &mut Source<'_>) -> Result<usize> {
        self.write_as(Reach { access: Access::Write, is_forced: true }, addr, src)
    }

    fn read_as(&self, reach: Reach, addr: u64, dst: &mut Dest<'_>) -> Result<usize> {
        let before = dst.moved();
        self.each_page(addr, dst.remaining(), reach, |frame, within, len| frame.read_to(within, len, dst))
            .or_else(|errno| if dst.moved() == before { Err(errno) } else { Ok(()) })?;
        Ok(dst.moved() - before)
    }

    fn write_as(&self, reach: Reach, addr: u64, src: &mut Source<'_>) -> Result<usize> {
        let before = src.moved();
        self.each_page(addr, src.remaining(), reach, |frame, within, len| frame.write_from(within, len, src))
            .or_else(|errno| if src.moved() == before { Err(errno) } else { Ok(()) })?;
        Ok(src.moved() - before)
    }

    /// Calls `visit` with the frame of each page of a range, made accessible, and the part of it that is in the range.
    fn each_page(
        &self,
        addr: u64,
        len: usize,
        reach: Reach,
        mut visit: impl FnMut(&Frame, usize, usize) -> Result<usize>,
    ) -> Result<()> {
        let mut at = addr;
        let end = addr.checked_add(len as u64).ok_or(Errno::EFAULT)?;
        while at < end {
            let within = (at % PAGE) as usize;
            let step = (PAGE_SIZE - within).min((end - at) as usize);
            let frame = self.frame_at(at, reach)?;
            if visit(&frame, within, step)? < step {
                return Err(Errno::EFAULT);
            }
            at += step as u64;
        }
        Ok(())
    }

    /// The frame of the page at `addr`, made accessible first.
    fn frame_at(&self, addr: u64, reach: Reach) -> Result<Frame> {
        loop {
            let outcome = match reach.is_forced {
                false => self.handle_fault(addr, reach.access),
                true => self.force_fault(addr, reach.access),
            };
            outcome.map_err(|fault| match fault {
                Fault::OutOfMemory => Errno::ENOMEM,
                _ => Errno::EFAULT,
            })?;
            if let Some(frame) = self.share_frame_at(addr, reach) {
                return Ok(frame);
            }
            // A big page has one owner, so the part that is wanted can only be shared once it is split.
            let _areas = self.areas.write();
            if let Found::Big(slot) = self.tables.find(addr) {
                self.split_big(slot)?;
            }
        }
    }

    /// The frame of the page at `addr`, if it is there, small, and ready to be reached so.
    fn share_frame_at(&self, addr: u64, reach: Reach) -> Option<Frame> {
        // With the areas' lock shared pages stay; they may only be replaced, which `replacing` keeps away.
        let _areas = self.areas.read();
        let _replacing = self.replacing.lock();
        let Found::Page(slot) = self.tables.find(addr) else { return None };
        let entry = slot.get();
        if entry.is_empty() {
            return None;
        }
        // SAFETY:
        // - the entry stands in its table and stays there: both locks are held.
        let frame = unsafe { entry.share_frame() };
        let is_own = || !entry.has(Flags::FILE) && frame.has_owners(2);
        let is_ready = reach.access != Access::Write || entry.has(Flags::WRITE) || reach.is_forced && is_own();
        is_ready.then_some(frame)
    }

    /// What the kernel knows the private futex at `addr` by: its address in this space.
    #[inline]
    pub fn private_futex_key(&self, addr: u64) -> Key {
        Key { object: core::ptr::from_ref(self) as u64, offset: addr }
    }

    /// What the kernel knows the futex at `addr` by, if processes may share it. One in memory that no other process
    /// sees goes by its address in this space; one in a shared mapping by the frame that it lies in, which the mapping
    /// keeps. EFAULT if it cannot be read.
    pub fn futex_key(&self, addr: u64) -> Result<Key> {
        let frame = self.frame_at(addr, Reach { access: Access::Read, is_forced: false })?;
        let is_seen_by_others = self.areas.read().vmas.find(addr).is_some_and(Area::is_shared);
        Ok(if is_seen_by_others {
            Key { object: frame.phys(), offset: addr % PAGE }
        } else {
            self.private_futex_key(addr)
        })
    }
}
