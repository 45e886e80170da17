//! Numbers of the model-specific registers that this floor uses.

pub(super) const STAR: u32 = 0xc000_0081;
pub(super) const LSTAR: u32 = 0xc000_0082;
pub(super) const SFMASK: u32 = 0xc000_0084;
pub(super) const FS_BASE: u32 = 0xc000_0100;
pub(super) const GS_BASE: u32 = 0xc000_0101;
pub(super) const KERNEL_GS_BASE: u32 = 0xc000_0102;
pub(super) const TSC_AUX: u32 = 0xc000_0103;
