//! The kernel's binary: the boot order, from first light to the first program.
//!
//! `arch` calls [`kernel_main`] on a stack of its own, with interrupts off, as soon as there is Rust to call.
#![no_std]
#![no_main]

use osv_kernel::{
    arch::{self, BootError, BootInfo},
    kprintln,
    mem::{self, heap::Heap},
};

/// Where the kernel starts.
#[unsafe(no_mangle)]
fn kernel_main(boot: &'static BootInfo, problem: Option<BootError>) -> ! {
    if let Some(problem) = problem {
        panic!("cannot boot: {problem:?}");
    }
    kprintln!("osv {}: {}", env!("CARGO_PKG_VERSION"), boot.cmdline().escape_ascii());
    for region in boot.memory.regions() {
        kprintln!("  {:#014x}..{:#014x} {:?}", region.start, region.end, region.kind);
    }
    if let Err(errno) = mem::init(boot) {
        panic!("too little memory to start ({errno})");
    }
    kprintln!("{:?}", mem::stats());
    kprintln!("booted in {} cycles", arch::rdtsc() - boot.entry_tsc);
    arch::power::debug_exit(0);
    arch::power::reset()
}

#[global_allocator]
static HEAP: Heap = Heap;
