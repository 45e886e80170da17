//! PCI: finding functions, their registers (BARs), capabilities and message-signalled interrupts.
//!
//! Configuration space is read through the ports 0xcf8 and 0xcfc, which nearly all machines have and which need no
//! mapping, else through memory (ECAM) where the firmware says where. Bridges are followed to the buses that the firmware numbered; BARs stay where the firmware put them. Lists of
//! capabilities come from the device and are followed only so far.

use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering};

use crate::drivers::acpi::{self, Ecam};
use crate::drivers::io::{FirmwareMemory, Mmio, inl, outl};
use crate::drivers::irq::Vector;
use crate::drivers::{apic, platform};
use crate::errno::{Errno, Result};
use crate::sync::{IrqOff, Once, SpinLock};

const ADDRESS_PORT: u16 = 0xcf8;
const DATA_PORT: u16 = 0xcfc;
const FUNCTION_SPACE: usize = 4096;
const BUS_SPACE: usize = 256 * FUNCTION_SPACE;
/// The largest number of functions that we look at.
const FUNCTIONS_MAX: usize = 512;

/// Offsets in configuration space.
mod offset {
    pub const ID: u16 = 0x00;
    pub const COMMAND: u16 = 0x04;
    pub const CLASS: u16 = 0x08;
    pub const HEADER: u16 = 0x0c;
    pub const BARS: u16 = 0x10;
    pub const BUSES: u16 = 0x18;
    pub const SUBSYSTEM: u16 = 0x2c;
    pub const CAPABILITIES: u16 = 0x34;
    pub const INTERRUPT: u16 = 0x3c;
}

const COMMAND_MEMORY: u32 = 1 << 1;
const COMMAND_MASTER: u32 = 1 << 2;
const COMMAND_NO_LINE: u32 = 1 << 10;
const STATUS_CAPABILITIES: u32 = 1 << 20;
const CAPABILITY_MSIX: u8 = 0x11;

/// The address of a function: bus, device and function as in a requester id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(u16);

/// A function that answered.
#[derive(Debug, Clone, Copy)]
pub struct Function {
    /// Where it is.
    pub address: Address,
    /// Who made it.
    pub vendor: u16,
    /// What it is.
    pub device: u16,
    space: Space,
}

/// A function's configuration space.
#[derive(Debug, Clone, Copy)]
enum Space {
    Memory(Mmio),
    Ports(Address),
}

/// The address port is shared by all functions.
static PORTS: SpinLock<(), IrqOff> = SpinLock::new(());

impl Space {
    fn read(&self, offset: u16) -> u32 {
        match self {
            Space::Memory(window) => window.read32(usize::from(offset & !3)),
            Space::Ports(address) => {
                let _guard = PORTS.lock();
                outl(ADDRESS_PORT, address.for_ports(offset));
                inl(DATA_PORT)
            }
        }
    }

    fn write(&self, offset: u16, value: u32) {
        match self {
            Space::Memory(window) => window.write32(usize::from(offset & !3), value),
            Space::Ports(address) => {
                let _guard = PORTS.lock();
                outl(ADDRESS_PORT, address.for_ports(offset));
                outl(DATA_PORT, value);
            }
        }
    }
}

impl Address {
    fn new(bus: u8, device: u8, function: u8) -> Self {
        Self(u16::from(bus) << 8 | u16::from(device & 31) << 3 | u16::from(function & 7))
    }

    fn for_ports(self, offset: u16) -> u32 {
        1 << 31 | u32::from(self.0) << 8 | u32::from(offset & 0xfc)
    }
}

/// How to reach the functions of a bus.
#[derive(Clone, Copy)]
enum Bus {
    Memory { window: Mmio, number: u8 },
    Ports { number: u8 },
}

impl Bus {
    fn open(number: u8, ecam: Option<&Ecam>) -> Option<Self> {
        if has_ports() {
            return Some(Bus::Ports { number });
        }
        let ecam = ecam.filter(|e| (e.first_bus..=e.last_bus).contains(&number))?;
        let base = ecam.base.checked_add(u64::from(number) * BUS_SPACE as u64)?;
        Some(Bus::Memory { window: Mmio::map(base, BUS_SPACE).ok()?, number })
    }

    fn function(&self, device: u8, function: u8) -> Option<Function> {
        let (address, space) = match *self {
            Bus::Memory { window, number } => {
                let address = Address::new(number, device, function);
                let start = usize::from(address.0 & 0xff) * FUNCTION_SPACE;
                (address, Space::Memory(window.part(start, FUNCTION_SPACE)?))
            }
            Bus::Ports { number } => {
                let address = Address::new(number, device, function);
                (address, Space::Ports(address))
            }
        };
        let id = space.read(offset::ID);
        let (vendor, device) = (id as u16, (id >> 16) as u16);
        (vendor != 0xffff && vendor != 0).then_some(Function { address, vendor, device, space })
    }
}

/// Whether the address port keeps what is written to it, as far as it has bits.
fn has_ports() -> bool {
    let probe = Address(0).for_ports(0);
    let _guard = PORTS.lock();
    outl(ADDRESS_PORT, probe);
    inl(ADDRESS_PORT) == probe
}

static FUNCTIONS: Once<Vec<Function>> = Once::new();

/// All functions of the machine, found at the first call.
pub fn functions() -> &'static [Function] {
    FUNCTIONS.call_once(|| {
        let platform = platform();
        let dsdt = platform.power.dsdt.filter(|_| platform.hardware_reduced);
        let in_code = dsdt.and_then(|dsdt| acpi::ecam_in_code(&FirmwareMemory, dsdt));
        let ecam = platform.ecam.iter().find(|ecam| ecam.segment == 0).or(in_code.as_ref());
        let mut found = Vec::new();
        scan(0, ecam, &mut found, 0);
        found
    })
}

fn scan(bus: u8, ecam: Option<&Ecam>, found: &mut Vec<Function>, depth: usize) {
    const DEPTH_MAX: usize = 8;
    let bus_number = bus;
    let Some(bus) = Bus::open(bus, ecam) else { return };
    for device in 0..32 {
        let Some(first) = bus.function(device, 0) else { continue };
        let count = if first.is_multifunction() { 8 } else { 1 };
        for function in (0..count).filter_map(|number| bus.function(device, number)) {
            if found.len() >= FUNCTIONS_MAX {
                return;
            }
            if let Some(ecam) = ecam.filter(|_| function.is_in_memory()) {
                function.place_bars(ecam.base);
            }
            found.push(function);
            // A bridge leads to a higher bus, or its numbers are nonsense.
            let behind = function.secondary_bus().filter(|behind| *behind > bus_number && depth < DEPTH_MAX);
            if let Some(behind) = behind {
                scan(behind, ecam, found, depth + 1);
            }
        }
    }
}

impl Function {
    /// Reads a register of its configuration space, 32 bits wide.
    pub fn read32(&self, offset: u16) -> u32 {
        self.space.read(offset)
    }

    fn read16(&self, offset: u16) -> u16 {
        (self.space.read(offset) >> ((offset & 2) * 8)) as u16
    }

    fn read8(&self, offset: u16) -> u8 {
        (self.space.read(offset) >> ((offset & 3) * 8)) as u8
    }

    fn is_multifunction(&self) -> bool {
        self.space.read(offset::HEADER) & 1 << 23 != 0
    }

    fn header_type(&self) -> u8 {
        (self.space.read(offset::HEADER) >> 16) as u8 & 0x7f
    }

    fn secondary_bus(&self) -> Option<u8> {
        const BRIDGE: u8 = 1;
        (self.header_type() == BRIDGE).then(|| (self.space.read(offset::BUSES) >> 8) as u8)
    }

    /// Class, subclass and programming interface.
    pub fn class(&self) -> u32 {
        self.space.read(offset::CLASS) >> 8
    }

    /// The subsystem's id, which tells the type of a transitional virtio device.
    pub fn subsystem(&self) -> u16 {
        self.read16(offset::SUBSYSTEM + 2)
    }

    /// Lets it answer to memory accesses and access memory itself.
    pub fn enable(&self) {
        let command = self.space.read(offset::COMMAND) & 0xffff;
        self.space.write(offset::COMMAND, command | COMMAND_MEMORY | COMMAND_MASTER);
    }

    fn is_in_memory(&self) -> bool {
        matches!(self.space, Space::Memory(_))
    }

    /// Gives memory BARs that nobody has placed an address, below `end`. Only microvm is such a machine: it has PCI by
    /// memory and no firmware that looks at it, and the 256 MiB below its configuration space are for devices.
    fn place_bars(&self, end: u64) {
        const ROOM: u64 = 256 << 20;
        static USED: AtomicU64 = AtomicU64::new(0);
        let mut index = 0;
        while index < 6 && self.header_type() == 0 {
            let at = offset::BARS + 4 * index;
            let old = self.space.read(at);
            let is_wide = old & 6 == 4 && index < 5;
            let is_placed = old & 1 != 0 || old & !15 != 0 || is_wide && self.space.read(at + 4) != 0;
            index += if is_wide { 2 } else { 1 };
            if is_placed {
                continue;
            }
            self.space.write(at, u32::MAX);
            let mask = self.space.read(at) & !15;
            self.space.write(at, old);
            let size = u64::from(mask & mask.wrapping_neg()).max(4096);
            // Addresses go downwards, each at a multiple of its size.
            let place = |used: u64| Some((used + size).next_multiple_of(size)).filter(|used| *used <= ROOM.min(end));
            if mask != 0 && USED.fetch_update(Ordering::Relaxed, Ordering::Relaxed, place).is_ok() {
                self.space.write(at, old | (end - USED.load(Ordering::Relaxed)) as u32);
            }
        }
    }

    /// Keeps it from using its interrupt line.
    fn silence_line(&self) {
        let command = self.space.read(offset::COMMAND) & 0xffff;
        self.space.write(offset::COMMAND, command | COMMAND_NO_LINE);
    }

    /// The input of the interrupt controller that the firmware wired its line to.
    pub fn line(&self) -> Option<u8> {
        let [line, pin, ..] = self.space.read(offset::INTERRUPT).to_le_bytes();
        (pin != 0 && line != 0xff).then_some(line)
    }

    /// Its capabilities: number and offset.
    pub fn capabilities(&self) -> impl Iterator<Item = (u8, u16)> {
        const CAPABILITIES_MAX: usize = 48;
        let has_list = self.space.read(offset::COMMAND) & STATUS_CAPABILITIES != 0;
        let mut next = if has_list { self.read8(offset::CAPABILITIES) } else { 0 };
        let function = *self;
        core::iter::from_fn(move || {
            let at = u16::from(next & !3);
            if at < 0x40 {
                return None;
            }
            next = function.read8(at + 1);
            Some((function.read8(at), at))
        })
        .take(CAPABILITIES_MAX)
    }

    /// The physical address of memory BAR `index`; ENODEV if it is none or was given no address.
    pub fn bar(&self, index: u8) -> Result<u64> {
        if index > 5 {
            return Err(Errno::ENODEV);
        }
        let at = offset::BARS + 4 * u16::from(index);
        let low = self.space.read(at);
        let high = match (low >> 1) & 3 {
            2 if index < 5 => u64::from(self.space.read(at + 4)),
            _ => 0,
        };
        let address = high << 32 | u64::from(low & !15);
        if low & 1 != 0 || address == 0 { Err(Errno::ENODEV) } else { Ok(address) }
    }

    /// A window onto `len` bytes from `offset` of memory BAR `index`.
    pub fn map_bar(&self, index: u8, offset: u32, len: usize) -> Result<Mmio> {
        Mmio::map(self.bar(index)?.checked_add(u64::from(offset)).ok_or(Errno::ENODEV)?, len)
    }

    /// Its table of message-signalled interrupts; ENODEV if it has none.
    pub fn msix(&self) -> Result<Msix> {
        let (_, at) = self.capabilities().find(|(id, _)| *id == CAPABILITY_MSIX).ok_or(Errno::ENODEV)?;
        let entries = (self.read16(at + 2) & 0x7ff) + 1;
        let place = self.space.read(at + 4);
        let window = self.map_bar((place & 7) as u8, place & !7, usize::from(entries) * Msix::ENTRY)?;
        Ok(Msix { function: *self, capability: at, window, entries })
    }
}

/// A function's table of message-signalled interrupts.
#[derive(Debug, Clone, Copy)]
pub struct Msix {
    function: Function,
    capability: u16,
    window: Mmio,
    entries: u16,
}

impl Msix {
    const ENTRY: usize = 16;
    const ENABLE: u32 = 1 << 31;
    const MASK_ALL: u32 = 1 << 30;

    /// How many interrupts the function can tell apart.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Makes entry `index` arrive as `vector`.
    pub fn route(&self, index: u16, vector: Vector) {
        let at = usize::from(index) * Self::ENTRY;
        let (address, data) = apic::message(vector);
        self.window.write32(at + 12, 1);
        self.window.write32(at, address as u32);
        self.window.write32(at + 4, (address >> 32) as u32);
        self.window.write32(at + 8, data);
        self.window.write32(at + 12, 0);
    }

    /// Switches the function from its line to messages.
    pub fn enable(&self) {
        self.function.silence_line();
        let control = self.function.space.read(self.capability);
        self.function.space.write(self.capability, (control | Self::ENABLE) & !Self::MASK_ALL);
    }
}
