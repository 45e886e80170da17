//! brk(2): the heap behind the program.

use alloc::sync::Arc;

use super::vma::{Area, AreaFlags, Prot};
use super::{AddressSpace, Areas, BRK_RANDOM, PAGE, random_pages};
use crate::errno::{Errno, Result};
use crate::mem::frame::pool;
use crate::mem::layout::USER_END;
use crate::mem::phys::page_up;

impl AddressSpace {
    /// Says where the program's data ends: the heap starts there, or a random number of pages further.
    pub fn set_program_end(&self, end: u64) {
        let start =
            page_up(end).unwrap_or(USER_END).saturating_add(random_pages(self.seed, 3, BRK_RANDOM)).min(USER_END);
        let mut areas = self.areas.write();
        (areas.brk_start, areas.brk_end) = (start, start);
    }

    /// Moves the end of the heap to `new_end` if it can be, and returns where it is then.
    pub fn brk(self: &Arc<Self>, new_end: u64) -> u64 {
        let mut areas = self.areas.write();
        if new_end >= areas.brk_start && self.move_brk(&mut areas, new_end).is_ok() {
            areas.brk_end = new_end;
        }
        areas.brk_end
    }

    fn move_brk(&self, areas: &mut Areas, new_end: u64) -> Result<()> {
        let old = page_up(areas.brk_end).ok_or(Errno::ENOMEM)?;
        let new = page_up(new_end).filter(|&end| end <= USER_END).ok_or(Errno::ENOMEM)?;
        if new < old {
            return self.unmap_areas(areas, new, old);
        }
        if new == old {
            return Ok(());
        }
        if new_end - areas.brk_start > self.limits().data || (new - old) / PAGE > pool::total() as u64 {
            return Err(Errno::ENOMEM);
        }
        self.check_limit(areas, new - old)?;
        self.check_data_limit(areas, new - old, Prot::READ | Prot::WRITE, AreaFlags::empty())?;
        // A page is left free before what comes next, as on Linux.
        if areas.vmas.overlapping(old, new + PAGE).next().is_some() {
            return Err(Errno::ENOMEM);
        }
        areas.vmas.insert(Area::new(old, new, Prot::READ | Prot::WRITE, areas.future, None))
    }
}
