//! Virtio devices: finding them, agreeing on features, and the way to their queues.
//!
//! [`Device`] is what a driver gets: the same for PCI and MMIO. The order of things is the specification's: reset, agree on
//! features ([`Device::negotiate`]), make queues, say where they are and who hears their interrupts
//! ([`Device::start`]). One interrupt serves all queues of a device; drivers that want one per queue ask for it by
//! the number of handlers that they give.

pub mod balloon;
pub mod blk;
pub mod console;
pub mod mmio;
pub mod ninep;
pub mod pci;
pub mod queue;
pub mod requests;
pub mod rng;

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::drivers::acpi;
use crate::drivers::io::FirmwareMemory;
use crate::drivers::irq::{self, LineMode};
use crate::errno::{Errno, Result};
use crate::sync::SpinLock;

use mmio::MmioTransport;
use pci::PciTransport;
use queue::{Layout, Message, Queue};

/// Types of devices by their numbers in the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum Kind {
    /// A network card.
    Net = 1,
    /// A disk.
    Block = 2,
    /// A console with ports.
    Console = 3,
    /// A source of entropy.
    Entropy = 4,
    /// A balloon that takes memory back.
    Balloon = 5,
    /// A 9P server.
    NineP = 9,
}

/// Features that are no device's own.
pub mod feature {
    /// Ring indices tell when to notify and to interrupt.
    pub const EVENT_INDEX: u64 = 1 << 29;
    /// The device follows version 1 of the specification.
    pub const VERSION_1: u64 = 1 << 32;
    /// The device's memory accesses go through an IOMMU or are otherwise special.
    pub const ACCESS_PLATFORM: u64 = 1 << 33;
}

mod status {
    pub const ACKNOWLEDGE: u8 = 1;
    pub const DRIVER: u8 = 2;
    pub const DRIVER_OK: u8 = 4;
    pub const FEATURES_OK: u8 = 8;
    pub const FAILED: u8 = 128;
}

/// How a device's registers are reached.
#[derive(Debug, Clone, Copy)]
enum Transport {
    Pci(PciTransport),
    Mmio(MmioTransport),
}

/// Calls the same method of whichever transport it is.
macro_rules! on_transport {
    ($self:expr, $transport:ident => $call:expr) => {
        match &$self.transport {
            Transport::Pci($transport) => $call,
            Transport::Mmio($transport) => $call,
        }
    };
}

/// A virtio device.
#[derive(Debug, Clone, Copy)]
pub struct Device {
    transport: Transport,
    kind: u16,
    features: u64,
}

/// A handler of a device's interrupts.
pub type Handler = Box<dyn Fn() + Send + Sync>;

impl Device {
    /// What it is.
    pub fn is_kind(&self, kind: Kind) -> bool {
        self.kind == kind as u16
    }

    /// The features that both sides agreed on.
    pub fn has(&self, feature: u64) -> bool {
        self.features & feature != 0
    }

    /// Resets the device and agrees on those of the `wanted` features that it offers, plus those of the rings.
    pub fn negotiate(&mut self, wanted: u64) -> Result<()> {
        const RESET_TRIES: usize = 100_000;
        self.set_status(0);
        if !(0..RESET_TRIES).any(|_| self.status() == 0) {
            return Err(Errno::EIO);
        }
        self.set_status(status::ACKNOWLEDGE | status::DRIVER);
        let offered = on_transport!(self, t => t.device_features());
        let rings = feature::EVENT_INDEX | feature::VERSION_1 | feature::ACCESS_PLATFORM;
        self.features = offered & (wanted | rings);
        on_transport!(self, t => t.set_driver_features(self.features));
        if self.has(feature::VERSION_1) {
            self.set_status(status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
            if self.status() & status::FEATURES_OK == 0 {
                return Err(self.fail(Errno::ENODEV));
            }
        }
        Ok(())
    }

    /// Tells the device that its driver has given up.
    fn fail(&self, errno: Errno) -> Errno {
        self.set_status(self.status() | status::FAILED);
        errno
    }

    fn status(&self) -> u8 {
        on_transport!(self, t => t.status())
    }

    fn set_status(&self, status: u8) {
        on_transport!(self, t => t.set_status(status));
    }

    /// Makes queue `index` with at most `wanted` descriptors.
    pub fn new_queue<M: Message>(&mut self, index: u16, wanted: u16) -> Result<Queue<M>> {
        let device_max = match &mut self.transport {
            Transport::Pci(transport) => transport.queue_size_max(index),
            Transport::Mmio(transport) => transport.queue_size_max(index),
        };
        Queue::new(device_max, wanted, self.has(feature::EVENT_INDEX))
    }

    /// Tells the device where its queues are (index, size and layout of each), has `handler` called at its
    /// interrupts, and lets it go.
    pub fn start(&self, queues: &[(u16, u16, Layout)], handler: Handler) -> Result<()> {
        let set_up = match &self.transport {
            Transport::Pci(transport) => transport.connect_interrupt(handler),
            Transport::Mmio(transport) => transport.connect_interrupt(handler),
        };
        set_up.map_err(|errno| self.fail(errno))?;
        for (index, size, layout) in queues {
            on_transport!(self, t => t.enable_queue(*index, *size, layout)).map_err(|errno| self.fail(errno))?;
        }
        self.set_status(self.status() | status::DRIVER_OK);
        Ok(())
    }

    /// Tells the device that queue `index` has something new.
    #[inline]
    pub fn notify(&self, index: u16) {
        on_transport!(self, t => t.notify(index));
    }

    /// Reads the device's configuration from `offset` on, until a reading is consistent.
    pub fn read_config(&self, offset: usize, out: &mut [u8]) {
        const TRIES: usize = 100;
        for _ in 0..TRIES {
            let before = on_transport!(self, t => t.config_generation());
            for (at, byte) in (offset..).zip(out.iter_mut()) {
                *byte = on_transport!(self, t => t.read_config8(at));
            }
            if before == on_transport!(self, t => t.config_generation()) {
                return;
            }
        }
    }

    /// Writes a number of 32 bits of the device's configuration.
    pub fn write_config32(&self, offset: usize, value: u32) {
        on_transport!(self, t => t.write_config32(offset, value));
    }

    /// A little-endian number of the device's configuration.
    pub fn config<const N: usize>(&self, offset: usize) -> [u8; N] {
        let mut bytes = [0; N];
        self.read_config(offset, &mut bytes);
        bytes
    }
}

/// Connects `handler` with an input of the interrupt controller, as `mode` says.
fn connect_line(gsi: u32, mode: LineMode, is_ours: impl Fn() -> bool + Sync + 'static, handler: Handler) -> Result<()> {
    irq::register_line(gsi, mode, move || {
        if is_ours() {
            handler();
        }
    })
}

/// Devices that nobody has taken yet.
static FREE: SpinLock<Vec<Device>> = SpinLock::new(Vec::new());

/// Finds all devices: on PCI, and in memory where the kernel's command line or ACPI say so.
pub fn find_all(cmdline: &[u8]) {
    let on_pci = crate::drivers::pci::functions().iter().filter_map(PciTransport::probe);
    let found = on_pci.map(|(transport, kind)| (Transport::Pci(transport), kind));
    let platform = crate::drivers::platform();
    let dsdt = platform.power.dsdt.filter(|_| platform.hardware_reduced);
    let in_tables = dsdt.map(|dsdt| acpi::virtio_places(&FirmwareMemory, dsdt)).unwrap_or_default();
    let mut places: Vec<_> = mmio::from_cmdline(cmdline).collect();
    for place in in_tables {
        // Firecracker tells of each device in both ways.
        if !places.iter().any(|other| other.address == place.address) {
            places.push(place);
        }
    }
    let in_memory = places.into_iter().filter_map(MmioTransport::probe);
    let found = found.chain(in_memory.map(|(transport, kind)| (Transport::Mmio(transport), kind)));
    let devices: Vec<Device> = found.map(|(transport, kind)| Device { transport, kind, features: 0 }).collect();
    FREE.lock().extend(devices);
}

/// Takes the first free device of a kind.
pub fn take(kind: Kind) -> Option<Device> {
    let mut free = FREE.lock();
    let index = free.iter().position(|device| device.is_kind(kind))?;
    Some(free.remove(index))
}

/// Gives back a device that turned out to be another than was looked for.
fn put_back(device: Device) {
    FREE.lock().push(device);
}
