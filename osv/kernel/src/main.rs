//! The kernel's binary: the boot order, from first light to the first program.
//!
//! `arch` calls [`kernel_main`] on a stack of its own, with interrupts off, as soon as there is Rust to call.
#![no_std]
#![no_main]

use osv_kernel::{
    arch::{self, BootError, BootInfo},
    kprintln,
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
    kprintln!("booted in {} cycles", arch::rdtsc() - boot.entry_tsc);
    arch::power::debug_exit(0);
    arch::power::reset()
}

/// Stands in for `mem`'s heap until that exists: gives out a fixed piece of memory and takes nothing back.
struct EarlyHeap;

#[global_allocator]
static EARLY_HEAP: EarlyHeap = EarlyHeap;

static NEXT: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
static mut MEMORY: [u128; 4096] = [0; 4096];

// SAFETY: each call gets a part of `MEMORY` of its own.
unsafe impl core::alloc::GlobalAlloc for EarlyHeap {
    unsafe fn alloc(&self, layout: core::alloc::Layout) -> *mut u8 {
        let size = layout.size().next_multiple_of(64).max(layout.align());
        let at = NEXT.fetch_add(size, core::sync::atomic::Ordering::Relaxed);
        let start = (&raw mut MEMORY) as usize;
        match (start + at).next_multiple_of(layout.align()) {
            aligned if aligned + size <= start + 65536 => aligned as *mut u8,
            _ => core::ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, _: *mut u8, _: core::alloc::Layout) {}
}
