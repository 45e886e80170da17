//! What an address space is asked about places of memory: the policies that programs have set, and which pages are there.

use alloc::vec::Vec;

use super::fault::{Access, Fault};
use super::{AddressSpace, PAGE};
use crate::errno::{Errno, Result};
use crate::mem::kernel_map;
use crate::mem::paging::{Entry, Found};

/// A memory policy as `mbind` sets it. There is one node: it is kept to be shown again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// `MPOL_*`.
    pub mode: u32,
    /// `MPOL_F_*`.
    pub flags: u32,
    /// The nodes.
    pub nodes: u64,
}

/// Whether a page is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageState {
    /// Nothing is mapped.
    Unmapped,
    /// It will come when it is touched.
    Absent,
    /// The common page of zeros.
    Zero,
    /// It is there.
    Present,
}

impl AddressSpace {
    /// Sets the policy of a range. EFAULT if nothing is mapped, or there is a hole and the policy is not the default.
    pub fn set_policy(&self, start: u64, end: u64, policy: Option<Policy>) -> Result<()> {
        let mut areas = self.areas.write();
        let mut next = start;
        for area in areas.vmas.overlapping(start, end) {
            if area.start > next && policy.is_some() {
                return Err(Errno::EFAULT);
            }
            next = area.end;
        }
        if next == start || next < end && policy.is_some() {
            return Err(Errno::EFAULT);
        }
        areas.vmas.change(start, end, |area| area.policy = policy)
    }

    /// The policy at `addr` (EFAULT if nothing is mapped).
    pub fn policy_at(&self, addr: u64) -> Result<Option<Policy>> {
        self.areas.read().vmas.find(addr).map(|area| area.policy).ok_or(Errno::EFAULT)
    }

    /// The policies in a range that are not the default.
    pub fn policies(&self, start: u64, end: u64) -> Vec<Policy> {
        self.areas.read().vmas.overlapping(start, end).filter_map(|area| area.policy).collect()
    }

    /// Has the page at `addr` there, to be read (EFAULT).
    pub fn touch(&self, addr: u64) -> Result<()> {
        self.handle_fault(addr, Access::Read).map_err(|fault| match fault {
            Fault::OutOfMemory => Errno::ENOMEM,
            _ => Errno::EFAULT,
        })
    }

    /// Whether the page at `addr` is there.
    pub fn page_state(&self, addr: u64) -> PageState {
        let areas = self.areas.read();
        match areas.vmas.find(addr) {
            Some(_) => self.state_in(addr).0,
            None => PageState::Unmapped,
        }
    }

    /// Whether the page at `addr`, which is mapped, is there, and the entry that says so.
    pub(super) fn state_in(&self, addr: u64) -> (PageState, Entry) {
        let entry = match self.tables.find(addr & !(PAGE - 1)) {
            Found::Big(slot) | Found::Page(slot) => slot.get(),
            Found::Hole(_) => Entry::EMPTY,
        };
        let state = match entry {
            entry if entry.is_empty() => PageState::Absent,
            entry if entry.phys() == kernel_map::zero_page() => PageState::Zero,
            _ => PageState::Present,
        };
        (state, entry)
    }
}
