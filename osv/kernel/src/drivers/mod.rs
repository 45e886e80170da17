//! Device drivers.

pub mod acpi;
pub mod apic;
pub mod clock;
pub mod console;
mod cpuid;
pub mod dma;
pub mod fw_cfg;
pub mod io;
pub mod irq;
pub mod mptable;
pub mod partitions;
pub mod pci;
pub mod power;
pub mod pvpanic;
pub mod random;
pub mod serial;
pub mod virtio;

use crate::arch::BootInfo;
use crate::errno::Result;
use crate::sched;
use crate::sync::Once;

use acpi::Platform;
use io::FirmwareMemory;

static PLATFORM: Once<Platform> = Once::new();

/// What the firmware's tables say about the machine.
pub fn platform() -> &'static Platform {
    PLATFORM.call_once(Platform::without_tables)
}

/// Reads the firmware's tables and starts interrupt controllers and clock on the boot CPU. Needs the heap; interrupts are
/// off. The other CPUs call [`apic::init_this_cpu`].
pub fn init(boot: &BootInfo) -> Result<()> {
    let rsdp = boot.rsdp.filter(|rsdp| *rsdp != 0).or_else(|| acpi::find_rsdp(&FirmwareMemory));
    let platform = PLATFORM.call_once(|| {
        let by_acpi = rsdp.and_then(|rsdp| Platform::read(&FirmwareMemory, rsdp));
        by_acpi.or_else(|| mptable::read(&FirmwareMemory)).unwrap_or_else(Platform::without_tables)
    });
    irq::set_handler(irq::TIMER, &sched::on_timer_interrupt);
    irq::set_handler(irq::RESCHEDULE, &sched::on_reschedule_interrupt);
    apic::init(platform)?;
    clock::init(platform, boot.entry_tsc);
    random::init(boot.seed());
    Ok(())
}

/// Finds the machine's devices and starts those that the kernel itself needs. Needs threads and interrupts.
///
/// `cmdline` is the kernel's command line, which may name devices.
pub fn init_devices(cmdline: &[u8]) {
    virtio::find_all(cmdline);
    // Without such a device the CPU's own random numbers have to do.
    let _ = virtio::rng::request_seed();
    virtio::balloon::init();
    pvpanic::init();
    console::init();
}
