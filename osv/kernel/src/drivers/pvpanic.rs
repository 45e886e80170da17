//! pvpanic: tells the hypervisor that the kernel has crashed, so that the host can note it, dump memory or start anew.
//!
//! QEMU has it on the ISA bus, at a port that fw_cfg names, and on PCI. It is looked for at boot, because a kernel that
//! crashes should look for nothing any more.

use crate::drivers::fw_cfg::FwCfg;
use crate::drivers::io::{Mmio, inb, outb};
use crate::drivers::pci;
use crate::sync::Once;

const PANICKED: u8 = 1;
const PCI_ID: (u16, u16) = (0x1b36, 0x0011);

/// Where the byte goes.
#[derive(Debug)]
enum Place {
    Port(u16),
    Window(Mmio),
}

static PLACE: Once<Place> = Once::new();

/// Looks for the device.
pub fn init() {
    if let Some(place) = on_pci().or_else(on_isa).filter(Place::takes_panics) {
        PLACE.call_once(|| place);
    }
}

fn on_pci() -> Option<Place> {
    let function = pci::functions().iter().find(|function| (function.vendor, function.device) == PCI_ID)?;
    function.enable();
    function.map_bar(0, 0, 2).ok().map(Place::Window)
}

fn on_isa() -> Option<Place> {
    let port = FwCfg::find()?.file(b"etc/pvpanic-port").ok()?;
    port.first_chunk().map(|port| Place::Port(u16::from_le_bytes(*port)))
}

impl Place {
    /// Reading tells which events the device takes.
    fn takes_panics(&self) -> bool {
        let events = match self {
            Self::Port(port) => inb(*port),
            Self::Window(window) => window.read8(0),
        };
        events & PANICKED != 0
    }
}

/// Tells of a crash; returns where nobody listens.
pub fn report() {
    match PLACE.get() {
        Some(Place::Port(port)) => outb(*port, PANICKED),
        Some(Place::Window(window)) => window.write8(0, PANICKED),
        None => {}
    }
}
