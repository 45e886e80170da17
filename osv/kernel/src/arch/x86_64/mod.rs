//! x86-64: the only floor with assembly.
//!
//! Programs run in ring 0 beside the kernel, so nothing here changes the privilege level: a system call or interrupt
//! changes the stack and GS and saves registers, and the way back restores them.
//!
//! | file | what |
//! |---|---|
//! | `entry`, `boot` | from the boot loader to Rust; what it says, in one form |
//! | `smp` | the other CPUs |
//! | `layout` | the address space |
//! | `cpu`, `irq`, `features`, `segment`, `power` | single instructions and what the CPU has |
//! | `percpu`, `descriptors` | a CPU's own data, tables and stacks |
//! | `debug` | what debuggers have a CPU watch |
//! | `frame`, `trap`, `syscall`, `gate`, `vector` | the ways into the kernel and back |
//! | `upcalls` | what this floor calls above |
//! | `context`, `fpu` | threads: switching, extended state |
//! | `memory`, `usercopy` | copying, in the kernel and to and from programs |

mod boot;
mod context;
mod cpu;
mod debug;
mod descriptors;
mod entry;
mod features;
pub mod fpu;
mod frame;
mod gate;
pub mod irq;
pub mod layout;
mod memory;
mod msr;
mod percpu;
pub mod power;
mod segment;
#[cfg(feature = "selftest")]
pub mod selftest;
pub mod smp;
mod syscall;
mod trap;
mod upcalls;
mod usercopy;
pub mod vector;

use core::cell::UnsafeCell;

pub use boot::{
    BootError, BootInfo, Handoff, MemoryKind, MemoryMap, MemoryRegion, Module, Physical, parse_linux, parse_multiboot1,
    parse_multiboot2, parse_pvh,
};
pub use context::{Context, fs_base, gs_base, last_frame, set_current, set_fs_base, set_gs_base, switch, work};
pub use cpu::*;
pub use debug::*;
pub use features::{Features, features};
pub use frame::TrapFrame;
pub use gate::gate_entry;
pub use irq::IrqGuard;
pub use memory::{copy_page, zero_page};
pub use percpu::{MAX_CPUS, apic_id, cpu_id, current, set_slot, slot};
pub use syscall::{call_handler, call_observed, enter_program};
pub use upcalls::{
    HandlerTable, SYSCALL_COUNT, SyscallEntry, SyscallHandler, SyscallTable, Upcalls, install, syscall_table,
};
pub use usercopy::{UserInt, add_user, compare_exchange_user, copy_string, copy_user, exchange_user, fixup, zero_user};

/// What the boot loader said, for the whole life of the kernel.
struct BootCell(UnsafeCell<BootInfo>);

// SAFETY:
// - written by the boot CPU in `start`, before there is another thread or CPU; only read later.
unsafe impl Sync for BootCell {}

static BOOT: BootCell = BootCell(UnsafeCell::new(BootInfo::empty()));

/// What the boot loader said.
pub fn boot_info() -> &'static BootInfo {
    // SAFETY:
    // - written before `kernel_main` is called, and never again.
    unsafe { &*BOOT.0.get() }
}

/// What runs on the boot CPU before there are threads.
static BOOT_CONTEXT: Context = Context::boot();

/// The first Rust: brings this CPU up and calls `kernel_main`, which `main.rs` defines.
#[cfg_attr(not(feature = "image"), allow(dead_code))]
extern "C" fn start(protocol: u32, info: u64, entry_tsc: u64) -> ! {
    unsafe extern "Rust" {
        fn kernel_main(boot: &'static BootInfo, problem: Option<BootError>) -> !;
    }
    crate::drivers::serial::init();
    // SAFETY:
    // - the entry code calls this once, before anything else runs.
    let boot = unsafe {
        descriptors::fill_interrupt_table();
        (*percpu::BOOT_AREA.0.get()).prepare(0, 0, &BOOT_CONTEXT);
        (*percpu::BOOT_AREA.0.get()).load();
        features::detect();
        &mut *BOOT.0.get()
    };
    syscall::init();
    let problem = boot::collect(boot, protocol, info, entry_tsc).err();
    // SAFETY:
    // - `main.rs` defines it with this signature.
    unsafe { kernel_main(boot, problem) }
}
