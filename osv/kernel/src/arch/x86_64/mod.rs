//! x86-64: the only floor with assembly.
//!
//! Programs run in ring 0 beside the kernel, so nothing here changes the privilege level: a system call or interrupt
//! changes the stack and GS and saves registers, and the way back restores them. See each file for its part.

mod boot;
mod cpu;
mod entry;
pub mod irq;
pub mod layout;
mod memory;
pub mod power;

pub use boot::{BootError, BootInfo, Handoff, MemoryKind, MemoryMap, MemoryRegion, Module, Physical, parse_pvh};
pub use cpu::*;
pub use irq::IrqGuard;
pub use memory::{copy_page, zero_page};

/// What the boot loader said, for the whole life of the kernel.
struct BootCell(core::cell::UnsafeCell<BootInfo>);

// SAFETY: written by the boot CPU in `start`, before there is another thread or CPU; only read later.
unsafe impl Sync for BootCell {}

static BOOT: BootCell = BootCell(core::cell::UnsafeCell::new(BootInfo::empty()));

/// The first Rust: brings this CPU up and calls `kernel_main`, which `main.rs` defines.
#[cfg_attr(not(feature = "image"), allow(dead_code))]
extern "C" fn start(protocol: u32, info: u64, entry_tsc: u64) -> ! {
    unsafe extern "Rust" {
        fn kernel_main(boot: &'static BootInfo, problem: Option<BootError>) -> !;
    }
    crate::drivers::serial::init();
    // SAFETY: the entry code calls this once, before anything else runs.
    let boot = unsafe { &mut *BOOT.0.get() };
    let problem = boot::collect(boot, protocol, info, entry_tsc).err();
    // SAFETY: `main.rs` defines it with this signature.
    unsafe { kernel_main(boot, problem) }
}
