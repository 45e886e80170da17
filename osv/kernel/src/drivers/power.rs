//! The ends of the machine: switched off, or reset.
//!
//! Each way is tried in turn, the surest first, until one of them works: QEMU's debug-exit device, which also hands an
//! exit code on; ACPI's soft-off state; the reset register of ACPI and the keyboard controller's reset line, which small
//! hypervisors take as the end; a triple fault.

use crate::arch;
use crate::arch::power::{debug_exit, reset};
use crate::drivers::acpi::{self, Register};
use crate::drivers::io::{FirmwareMemory, Mmio, outb, outw};
use crate::drivers::platform;

/// Ends the VM. `code` becomes the exit status of a hypervisor that can tell it.
pub fn power_off(code: u8) -> ! {
    arch::disable_interrupts();
    debug_exit(code);
    acpi_soft_off();
    reboot()
}

/// Resets the machine.
pub fn reboot() -> ! {
    arch::disable_interrupts();
    if let Some((register, value)) = platform().power.reset {
        write(register, value);
    }
    reset()
}

fn acpi_soft_off() {
    const ENABLE: u16 = 1 << 13;
    const SLEEP_ENABLE: u8 = 1 << 5;
    let power = &platform().power;
    let Some(types) = power.dsdt.and_then(|dsdt| acpi::soft_off_types(&FirmwareMemory, dsdt)) else { return };
    for (port, kind) in power.pm1_control.iter().zip(types) {
        if let Some(port) = port {
            outw(*port, u16::from(kind & 7) << 10 | ENABLE);
        }
    }
    if let Some(register) = power.sleep_control {
        write(register, (types[0] & 7) << 2 | SLEEP_ENABLE);
    }
}

fn write(register: Register, value: u8) {
    match register {
        Register::Port(port) => outb(port, value),
        Register::Memory(address) => {
            if let Ok(window) = Mmio::map(address, 1) {
                window.write8(0, value);
            }
        }
    }
}
