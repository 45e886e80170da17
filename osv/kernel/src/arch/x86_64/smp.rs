//! Starting the other CPUs.
//!
//! They are started one by one: the boot CPU makes an `Offer` (a stack, page tables, the CPU's own area), sends
//! INIT and STARTUP, and waits until the CPU is up; that takes microseconds, for no delay of the old manuals is
//! kept that no hypervisor needs. A CPU that does not come up in time loses its offer, so that it cannot take the
//! next one's.

use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU64, Ordering};

use super::percpu::CpuArea;
use super::{cpu, features, layout, percpu, syscall, upcalls};
use crate::errno::{Errno, Result};

/// What a CPU that comes up finds. Assembly knows `stack` and `page_table`.
#[repr(C)]
pub(super) struct Offer {
    /// Top of its stack; whoever swaps it for 0 has the offer.
    pub(super) stack: AtomicU64,
    pub(super) page_table: AtomicU64,
    area: AtomicPtr<CpuArea>,
    is_up: AtomicBool,
}

pub(super) static OFFER: Offer = Offer {
    stack: AtomicU64::new(0),
    page_table: AtomicU64::new(0),
    area: AtomicPtr::new(ptr::null_mut()),
    is_up: AtomicBool::new(false),
};

/// Cycles between two STARTUPs, and how many of them are sent.
const PATIENCE_CYCLES: u64 = 200_000_000;
const ATTEMPTS: u32 = 10;

/// How the local APIC's driver reaches another CPU.
pub trait StartUp {
    /// Sends INIT to the CPU with this APIC number.
    fn send_init(&self, apic_id: u32);
    /// Has it start in real mode at page `page` of memory.
    fn send_startup(&self, apic_id: u32, page: u8);
}

/// Starts CPU number `cpu_id`, which the local APIC knows as `apic_id`. It runs the upcall `ap_main` on the stack
/// that ends at `stack_top`, which is its for good, with the page tables of this CPU. `trampoline` is a free page
/// below 1 MiB. Only one CPU may start others.
///
/// # Errors
/// EINVAL for a number that is too large, ENOMEM, and ENODEV if the CPU did not come up.
pub fn start_cpu(cpu_id: usize, apic_id: u32, stack_top: u64, trampoline: u64, via: &impl StartUp) -> Result<()> {
    if cpu_id >= percpu::MAX_CPUS {
        return Err(Errno::EINVAL);
    }
    let page = u8::try_from(trampoline / layout::PAGE_SIZE as u64).map_err(|_| Errno::EINVAL)?;
    let area = CpuArea::allocate(cpu_id, apic_id, &super::BOOT_CONTEXT)?;
    copy_trampoline(trampoline);
    OFFER.is_up.store(false, Ordering::Relaxed);
    OFFER.area.store(area, Ordering::Relaxed);
    OFFER.page_table.store(cpu::page_table(), Ordering::Relaxed);
    OFFER.stack.store(stack_top, Ordering::SeqCst);
    via.send_init(apic_id);
    for _ in 0..ATTEMPTS {
        via.send_startup(apic_id, page);
        if is_up_in_time() {
            return Ok(());
        }
    }
    if OFFER.stack.swap(0, Ordering::SeqCst) != 0 {
        return Err(Errno::ENODEV);
    }
    while !is_up_in_time() {}
    Ok(())
}

fn is_up_in_time() -> bool {
    let start = cpu::rdtsc();
    while cpu::rdtsc().wrapping_sub(start) < PATIENCE_CYCLES {
        if OFFER.is_up.load(Ordering::Acquire) {
            return true;
        }
        cpu::pause();
    }
    false
}

/// Puts the first instructions where a CPU in real mode can reach them.
#[cfg(feature = "image")]
fn copy_trampoline(page: u64) {
    unsafe extern "C" {
        static ap_trampoline: u8;
        static ap_trampoline_end: u8;
    }
    let len = &raw const ap_trampoline_end as usize - &raw const ap_trampoline as usize;
    // SAFETY:
    // - the caller gives a free page of RAM, which the direct map has; the code is far smaller.
    unsafe { ptr::copy_nonoverlapping(&raw const ap_trampoline, (layout::DIRECT_MAP + page) as *mut u8, len) };
}

#[cfg(not(feature = "image"))]
fn copy_trampoline(_: u64) {}

/// The first Rust on another CPU.
#[cfg_attr(not(feature = "image"), allow(dead_code))]
pub(super) extern "C" fn ap_start() -> ! {
    // SAFETY:
    // - the offer is this CPU's until it says that it is up, and the area lives for ever.
    unsafe { (*OFFER.area.load(Ordering::Acquire)).load() };
    features::enable(features::features(), percpu::cpu_id());
    syscall::init();
    OFFER.is_up.store(true, Ordering::Release);
    (upcalls::get().ap_main)(percpu::cpu_id())
}
