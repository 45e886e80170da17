//! Stand-in for `mem::space` until it lands.
#![allow(missing_docs, dead_code, unused_variables)]
use crate::errno::Result;
use crate::mem::object::PageSource;
pub use crate::mem::user::UserAddr;
use crate::sched::futex::Key;
use alloc::sync::Arc;
bitflags::bitflags! {
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct Prot: u8 { const READ = 1; const WRITE = 2; const EXEC = 4; }
    #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
    pub struct MapFlags: u32 { const PRIVATE = 2; const FIXED = 0x10; }
}
pub struct Limits {
    pub address_space: u64,
    pub data: u64,
    pub stack: u64,
}
pub struct FilePart {
    pub source: Arc<dyn PageSource>,
    pub offset: u64,
}
pub struct MapRequest {
    pub address: u64,
    pub len: u64,
    pub prot: Prot,
    pub flags: MapFlags,
    pub file: Option<FilePart>,
    pub is_stack: bool,
}
pub struct AddressSpace;
impl AddressSpace {
    pub fn new(seed: u64, limits: Limits) -> Result<Arc<AddressSpace>> {
        Ok(Arc::new(AddressSpace))
    }
    pub fn activate(&self) {}
    pub fn activate_kernel() {}
    pub fn fork(&self) -> Result<Arc<AddressSpace>> {
        Ok(Arc::new(AddressSpace))
    }
    pub fn stack_top(&self) -> u64 {
        0
    }
    pub fn program_base(&self) -> u64 {
        0
    }
    pub fn set_limits(&self, limits: Limits) {}
    pub fn map(&self, request: &MapRequest) -> Result<u64> {
        Ok(0)
    }
    pub fn unmap(&self, address: u64, len: u64) -> Result<()> {
        Ok(())
    }
    pub fn write(&self, address: u64, bytes: &[u8]) -> Result<()> {
        Ok(())
    }
    pub fn write_zeros(&self, address: u64, len: usize) -> Result<()> {
        Ok(())
    }
    pub fn set_brk_start(&self, address: u64) -> Result<()> {
        Ok(())
    }
    pub fn fault_counts(&self) -> (u64, u64) {
        (0, 0)
    }
    pub fn max_resident_pages(&self) -> u64 {
        0
    }
    pub fn shared_futex_key(&self, address: UserAddr) -> Result<Key> {
        Ok(Key { object: 0, offset: address.0 })
    }
    pub fn private_futex_key(&self, address: UserAddr) -> Key {
        Key { object: 0, offset: address.0 }
    }
}
