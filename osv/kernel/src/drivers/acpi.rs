//! The ACPI tables, as far as a kernel without a power manager needs them: which CPUs and interrupt controllers there
//! are (MADT), where the timers are (HPET, FADT), where PCI's configuration space lies (MCFG), and how the machine is
//! switched off and reset (FADT, DSDT).
//!
//! The parsers are pure: they read memory through [`Physical`] and return a [`Platform`]. Tables come from the
//! hypervisor and are taken as hostile: each length is bounded, each checksum checked, a broken table counts as absent.
//! The byte code of the DSDT is not interpreted. The two things in it that matter are found by their bytes: `\_S5`, when the
//! machine is switched off, and the virtio devices of machines without PCI. The crate `acpi` was
//! weighed: it maps each table through a handler of twenty functions and brings an AML machine, for what is 200 lines here.

use alloc::vec::Vec;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned};

use crate::arch::Physical;

/// No table that we read is larger than this.
const TABLE_MAX: usize = 1 << 20;
/// At most so many entries of a kind are taken from a table.
const ENTRIES_MAX: usize = 1024;
/// Where the local APIC lies when no table says otherwise.
const LOCAL_APIC_DEFAULT: u64 = 0xfee0_0000;

/// What the tables say about the machine.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Physical address of the local APICs' registers.
    pub local_apic: u64,
    /// APIC ids of the CPUs that are enabled, in the order of the table.
    pub cpus: Vec<u32>,
    /// The I/O APICs.
    pub io_apics: Vec<IoApic>,
    /// ISA interrupts that are wired otherwise than one to one.
    pub overrides: Vec<IsaOverride>,
    /// Physical address of the HPET.
    pub hpet: Option<u64>,
    /// The power management timer.
    pub pm_timer: Option<PmTimer>,
    /// PCI configuration space in memory.
    pub ecam: Vec<Ecam>,
    /// How to switch off and reset.
    pub power: Power,
    /// There are no legacy devices to be assumed (PIC, PIT, CMOS …).
    pub hardware_reduced: bool,
}

/// An I/O APIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoApic {
    /// Physical address of its registers.
    pub address: u64,
    /// Global number of its first input.
    pub gsi_base: u32,
}

/// An ISA interrupt that arrives on another input, or with another polarity or trigger, than the standard says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsaOverride {
    /// The ISA interrupt.
    pub irq: u8,
    /// The global input that it arrives on.
    pub gsi: u32,
    /// Active low instead of high.
    pub is_active_low: bool,
    /// Level triggered instead of edge.
    pub is_level: bool,
}

/// The ACPI power management timer: a port that counts at 3.579545 MHz.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PmTimer {
    /// Its port.
    pub port: u16,
    /// It has 32 bits instead of 24.
    pub is_32_bit: bool,
}

/// A window onto PCI configuration space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ecam {
    /// Physical address of bus 0 (not of `first_bus`).
    pub base: u64,
    /// PCI segment.
    pub segment: u16,
    /// First bus.
    pub first_bus: u8,
    /// Last bus.
    pub last_bus: u8,
}

/// A register anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Register {
    /// In memory.
    Memory(u64),
    /// A port.
    Port(u16),
}

/// How the machine is switched off and reset.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Power {
    /// PM1a and PM1b control ports.
    pub pm1_control: [Option<u16>; 2],
    /// Sleep control register of machines without PM1.
    pub sleep_control: Option<Register>,
    /// Reset register and the value to write.
    pub reset: Option<(Register, u8)>,
    /// Physical address of the DSDT.
    pub dsdt: Option<u64>,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Rsdp {
    signature: [u8; 8],
    checksum: u8,
    oem: [u8; 6],
    revision: u8,
    rsdt: U32,
    length: U32,
    xsdt: U64,
    extended_checksum: u8,
    reserved: [u8; 3],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    signature: [u8; 4],
    length: U32,
    revision: u8,
    checksum: u8,
    oem: [u8; 6],
    oem_table: [u8; 8],
    oem_revision: U32,
    creator: U32,
    creator_revision: U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct GenericAddress {
    space: u8,
    bits: u8,
    bit_offset: u8,
    access: u8,
    address: U64,
}

impl GenericAddress {
    const MEMORY: u8 = 0;
    const PORT: u8 = 1;

    fn register(&self) -> Option<Register> {
        let address = self.address.get();
        match self.space {
            _ if address == 0 => None,
            Self::MEMORY => Some(Register::Memory(address)),
            Self::PORT => u16::try_from(address).ok().map(Register::Port),
            _ => None,
        }
    }
}

const HEADER_LEN: usize = size_of::<Header>();

fn is_checksum_good(bytes: &[u8]) -> bool {
    bytes.iter().fold(0u8, |sum, b| sum.wrapping_add(*b)) == 0
}

/// A field at `offset` of a table, if the table is so long.
fn field<T: FromBytes + KnownLayout + Immutable + Unaligned>(table: &[u8], offset: usize) -> Option<&T> {
    T::ref_from_prefix(table.get(offset..)?).ok().map(|(value, _)| value)
}

fn u32_at(table: &[u8], offset: usize) -> Option<u32> {
    field::<U32>(table, offset).map(|v| v.get())
}

/// The table at `phys`, with a length within bounds; its checksum is not looked at.
fn table_unchecked<P: Physical>(memory: &P, phys: u64) -> Option<&[u8]> {
    let header = Header::ref_from_bytes(memory.bytes(phys, HEADER_LEN)?).ok()?;
    let length = header.length.get() as usize;
    (HEADER_LEN..=TABLE_MAX).contains(&length).then(|| memory.bytes(phys, length))?
}

/// The root pointer that `bytes` start with, if it is one.
fn rsdp_in(bytes: &[u8]) -> Option<&Rsdp> {
    let (rsdp, _) = Rsdp::ref_from_prefix(bytes).ok()?;
    (&rsdp.signature == b"RSD PTR " && is_checksum_good(bytes.get(..20)?)).then_some(rsdp)
}

/// Looks for the root pointer where a BIOS puts it: the first KiB of the extended BIOS data area, and the BIOS area.
pub fn find_rsdp<P: Physical>(memory: &P) -> Option<u64> {
    const EBDA_SEGMENT: u64 = 0x40e;
    let ebda = memory.bytes(EBDA_SEGMENT, 2).and_then(|b| field::<U16>(b, 0)).map_or(0, |s| u64::from(s.get()) << 4);
    let search = |start: u64, len: usize| {
        let area = memory.bytes(start, len)?;
        let is_root = |at: &usize| area.get(*at..).is_some_and(|bytes| rsdp_in(bytes).is_some());
        (0..len).step_by(16).find(is_root).map(|at| start + at as u64)
    };
    let in_ebda = (0x8_0000..0xa_0000).contains(&ebda).then(|| search(ebda, 1024)).flatten();
    in_ebda.or_else(|| search(0xe_0000, 0x2_0000))
}

impl Platform {
    /// The machine as it is when there are no tables: one CPU, and APICs where every PC has them.
    pub fn without_tables() -> Self {
        Self {
            local_apic: LOCAL_APIC_DEFAULT,
            io_apics: alloc::vec![IoApic { address: 0xfec0_0000, gsi_base: 0 }],
            ..Self::default()
        }
    }

    /// Reads the tables that the root pointer at `rsdp` leads to.
    pub fn read<P: Physical>(memory: &P, rsdp: u64) -> Option<Self> {
        let root = rsdp_in(memory.bytes(rsdp, size_of::<Rsdp>())?)?;
        let (phys, width) = match (root.revision >= 2, root.xsdt.get()) {
            (true, xsdt) if xsdt != 0 => (xsdt, 8),
            _ => (u64::from(root.rsdt.get()), 4),
        };
        let entries = table_unchecked(memory, phys).filter(|t| is_checksum_good(t))?.get(HEADER_LEN..)?;
        let mut platform = Self { local_apic: LOCAL_APIC_DEFAULT, ..Self::default() };
        for entry in entries.chunks_exact(width).take(ENTRIES_MAX) {
            let phys = entry.iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            if let Some(table) = table_unchecked(memory, phys) {
                platform.take(table);
            }
        }
        Some(platform)
    }

    fn take(&mut self, table: &[u8]) {
        let reader: fn(&mut Self, &[u8]) -> Option<()> = match table.get(..4) {
            Some(b"APIC") => Self::take_madt,
            Some(b"FACP") => Self::take_fadt,
            Some(b"HPET") => Self::take_hpet,
            Some(b"MCFG") => Self::take_mcfg,
            _ => return,
        };
        if is_checksum_good(table) {
            // A table that ends early has been read as far as it goes.
            let _ = reader(self, table);
        }
    }

    fn take_madt(&mut self, table: &[u8]) -> Option<()> {
        self.local_apic = u64::from(u32_at(table, 36)?);
        let mut rest = table.get(44..)?;
        while let [kind, length, ..] = *rest {
            let entry = rest.get(..usize::from(length)).filter(|e| e.len() >= 2)?;
            self.take_madt_entry(kind, entry);
            rest = rest.get(usize::from(length)..)?;
        }
        Some(())
    }

    fn take_madt_entry(&mut self, kind: u8, entry: &[u8]) -> Option<()> {
        const ENABLED: u32 = 1;
        match kind {
            0 => {
                let id = u32::from(*entry.get(3)?);
                self.add_cpu(id, u32_at(entry, 4)? & ENABLED != 0);
            }
            1 if self.io_apics.len() < ENTRIES_MAX => {
                self.io_apics.push(IoApic { address: u64::from(u32_at(entry, 4)?), gsi_base: u32_at(entry, 8)? })
            }
            2 if self.overrides.len() < ENTRIES_MAX => {
                let flags = field::<U16>(entry, 8)?.get();
                self.overrides.push(IsaOverride {
                    irq: *entry.get(3)?,
                    gsi: u32_at(entry, 4)?,
                    is_active_low: flags & 3 == 3,
                    is_level: (flags >> 2) & 3 == 3,
                });
            }
            5 => self.local_apic = field::<U64>(entry, 4)?.get(),
            9 => self.add_cpu(u32_at(entry, 4)?, u32_at(entry, 8)? & ENABLED != 0),
            _ => {}
        }
        Some(())
    }

    fn add_cpu(&mut self, apic_id: u32, is_enabled: bool) {
        if is_enabled && self.cpus.len() < ENTRIES_MAX && !self.cpus.contains(&apic_id) {
            self.cpus.push(apic_id);
        }
    }

    fn take_fadt(&mut self, table: &[u8]) -> Option<()> {
        const RESET_SUPPORTED: u32 = 1 << 10;
        const TIMER_32_BIT: u32 = 1 << 8;
        const HARDWARE_REDUCED: u32 = 1 << 20;
        let port = |offset| u32_at(table, offset).and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0);
        let register = |offset| field::<GenericAddress>(table, offset)?.register();
        self.power.dsdt = Some(u64::from(u32_at(table, 40)?)).filter(|d| *d != 0);
        self.power.pm1_control = [port(64), port(68)];
        let flags = u32_at(table, 112)?;
        self.hardware_reduced = flags & HARDWARE_REDUCED != 0;
        self.pm_timer = port(76)
            .filter(|_| !self.hardware_reduced)
            .map(|port| PmTimer { port, is_32_bit: flags & TIMER_32_BIT != 0 });
        if flags & RESET_SUPPORTED != 0 {
            self.power.reset = register(116).zip(table.get(128).copied());
        }
        if let Some(dsdt) = field::<U64>(table, 140).map(|d| d.get()).filter(|d| *d != 0) {
            self.power.dsdt = Some(dsdt);
        }
        self.power.sleep_control = register(244);
        Some(())
    }

    fn take_hpet(&mut self, table: &[u8]) -> Option<()> {
        if let Some(Register::Memory(address)) = field::<GenericAddress>(table, 40)?.register() {
            self.hpet = Some(address);
        }
        Some(())
    }

    fn take_mcfg(&mut self, table: &[u8]) -> Option<()> {
        for entry in table.get(44..)?.chunks_exact(16).take(ENTRIES_MAX) {
            self.ecam.push(Ecam {
                base: field::<U64>(entry, 0)?.get(),
                segment: field::<U16>(entry, 8)?.get(),
                first_bus: *entry.get(10)?,
                last_bus: *entry.get(11)?,
            });
        }
        Some(())
    }

    /// The input of the I/O APICs that ISA interrupt `irq` arrives on.
    pub fn isa_irq(&self, irq: u8) -> IsaOverride {
        let plain = IsaOverride { irq, gsi: u32::from(irq), is_active_low: false, is_level: false };
        self.overrides.iter().find(|o| o.irq == irq).copied().unwrap_or(plain)
    }
}

/// The sleep types that switch the machine off, one for each PM1 control register, from the DSDT's `\_S5` package.
pub fn soft_off_types<P: Physical>(memory: &P, dsdt: u64) -> Option<[u8; 2]> {
    let code = table_unchecked(memory, dsdt).filter(|t| is_checksum_good(t))?;
    code.windows(4).enumerate().filter(|(_, w)| w == b"_S5_").find_map(|(at, _)| sleep_package(code, at))
}

/// Decodes `Name (_S5, Package { a, b, … })` whose name stands at `at`.
fn sleep_package(code: &[u8], at: usize) -> Option<[u8; 2]> {
    const NAME_OP: u8 = 0x08;
    const PACKAGE_OP: u8 = 0x12;
    let is_named = matches!(code.get(..at)?, [.., NAME_OP] | [.., NAME_OP, b'\\']);
    let [PACKAGE_OP, lead, rest @ ..] = code.get(at + 4..)? else { return None };
    // The package's length takes one to four bytes, then comes the number of elements.
    let elements = rest.get(usize::from(lead >> 6) + 1..).filter(|_| is_named)?;
    let (first, rest) = small_integer(elements)?;
    let second = small_integer(rest).map_or(first, |(value, _)| value);
    Some([first, second])
}

/// An integer of the byte code whose value fits a byte, and what follows it.
fn small_integer(code: &[u8]) -> Option<(u8, &[u8])> {
    match code {
        [value @ (0 | 1), rest @ ..] => Some((*value, rest)),
        [0x0a, value, rest @ ..] => Some((*value, rest)),
        [0x0b, value, 0, rest @ ..] => Some((*value, rest)),
        [0x0c, value, 0, 0, 0, rest @ ..] => Some((*value, rest)),
        _ => None,
    }
}

/// Where PCI's configuration space is, as the byte code of a machine without the table MCFG says: `Method (_CBA) { Return
/// (address) }`. All buses are in it.
pub fn ecam_in_code<P: Physical>(memory: &P, dsdt: u64) -> Option<Ecam> {
    const NAME: &[u8; 4] = b"_CBA";
    let code = table_unchecked(memory, dsdt).filter(|t| is_checksum_good(t))?;
    let at = code.windows(NAME.len()).position(|bytes| bytes == NAME)? + NAME.len();
    let base = match *code.get(at..)? {
        [_, 0xa4, 0x0c, b0, b1, b2, b3, ..] => u64::from(u32::from_le_bytes([b0, b1, b2, b3])),
        [_, 0xa4, 0x0e, ..] => field::<U64>(code, at + 3)?.get(),
        _ => return None,
    };
    Some(Ecam { base, segment: 0, first_bus: 0, last_bus: u8::MAX })
}

/// A virtio device in memory, as the byte code of a machine without PCI describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtioPlace {
    /// Physical address of its registers.
    pub address: u64,
    /// Bytes of registers.
    pub len: usize,
    /// Its input of the interrupt controllers.
    pub gsi: u32,
}

/// The virtio devices in the DSDT: after each name of that kind of device comes its buffer of resources, with a range of
/// memory and an interrupt in it.
pub fn virtio_places<P: Physical>(memory: &P, dsdt: u64) -> Vec<VirtioPlace> {
    const NAME: &[u8; 8] = b"LNRO0005";
    /// Where the resources end at last.
    const REACH: usize = 96;
    let Some(code) = table_unchecked(memory, dsdt).filter(|t| is_checksum_good(t)) else { return Vec::new() };
    let named = code.windows(NAME.len()).enumerate().filter(|(_, bytes)| bytes == NAME);
    let places = named.filter_map(|(at, _)| {
        let rest = code.get(at + NAME.len()..)?;
        virtio_resources(rest.get(..rest.len().min(REACH))?)
    });
    places.take(ENTRIES_MAX).collect()
}

/// The first range of memory in a buffer of resources, and the first interrupt after it.
fn virtio_resources(bytes: &[u8]) -> Option<VirtioPlace> {
    const MEMORY: [u8; 3] = [0x86, 9, 0];
    const INTERRUPT: [u8; 3] = [0x89, 6, 0];
    let find = |from: usize, tag: [u8; 3]| bytes.get(from..)?.windows(3).position(|w| w == tag).map(|at| from + at);
    let memory = find(0, MEMORY)?;
    let interrupt = find(memory + 12, INTERRUPT)?;
    Some(VirtioPlace {
        address: u64::from(u32_at(bytes, memory + 4)?),
        len: u32_at(bytes, memory + 8)? as usize,
        gsi: u32_at(bytes, interrupt + 5)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Memory that starts at physical 0x1000.
    struct Image(Vec<u8>);

    impl Physical for Image {
        fn bytes(&self, phys: u64, len: usize) -> Option<&[u8]> {
            let start = usize::try_from(phys.checked_sub(0x1000)?).ok()?;
            self.0.get(start..start.checked_add(len)?)
        }
    }

    fn fix_checksum(bytes: &mut [u8], at: usize) {
        bytes[at] = 0;
        bytes[at] = bytes.iter().fold(0u8, |s, b| s.wrapping_add(*b)).wrapping_neg();
    }

    fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        bytes[..4].copy_from_slice(signature);
        bytes.extend_from_slice(body);
        let length = u32::try_from(bytes.len()).unwrap();
        bytes[4..8].copy_from_slice(&length.to_le_bytes());
        fix_checksum(&mut bytes, 9);
        bytes
    }

    fn image(tables: &[Vec<u8>]) -> Image {
        let mut rsdp = vec![0u8; 36];
        rsdp[..8].copy_from_slice(b"RSD PTR ");
        let mut bodies = Vec::new();
        let mut pointers = Vec::new();
        let start = 0x1000 + 36 + HEADER_LEN + 4 * tables.len();
        for t in tables {
            pointers.extend_from_slice(&u32::try_from(start + bodies.len()).unwrap().to_le_bytes());
            bodies.extend_from_slice(t);
        }
        rsdp[16..20].copy_from_slice(&0x1024u32.to_le_bytes());
        fix_checksum(&mut rsdp[..20], 8);
        rsdp.extend(table(b"RSDT", &pointers));
        rsdp.extend(bodies);
        Image(rsdp)
    }

    fn madt() -> Vec<u8> {
        let mut body = vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
        body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
        body.extend([0, 8, 1, 7, 0, 0, 0, 0]);
        body.extend([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]);
        body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
        body.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0f, 0]);
        table(b"APIC", &body)
    }

    #[test]
    fn madt_lists_enabled_cpus_and_overrides() {
        let image = image(&[madt()]);
        let platform = Platform::read(&image, 0x1000).unwrap();
        assert_eq!(platform.cpus, [0, 256]);
        assert_eq!(platform.io_apics, [IoApic { address: 0xfec0_0000, gsi_base: 0 }]);
        let sci = platform.isa_irq(9);
        assert!(sci.is_active_low && sci.is_level && sci.gsi == 9);
        assert!(!platform.isa_irq(4).is_level);
    }

    #[test]
    fn fadt_gives_power_and_timer() {
        let mut body = vec![0u8; 276 - HEADER_LEN];
        let mut put = |at: usize, bytes: &[u8]| body[at - HEADER_LEN..][..bytes.len()].copy_from_slice(bytes);
        put(40, &0x8000u32.to_le_bytes());
        put(64, &0x604u32.to_le_bytes());
        put(76, &0x608u32.to_le_bytes());
        put(112, &(1u32 << 10 | 1 << 8).to_le_bytes());
        put(116, &[1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0]);
        put(128, &[0x0f]);
        let platform = Platform::read(&image(&[table(b"FACP", &body)]), 0x1000).unwrap();
        assert_eq!(platform.power.pm1_control, [Some(0x604), None]);
        assert_eq!(platform.power.reset, Some((Register::Port(0xcf9), 0x0f)));
        assert_eq!(platform.pm_timer, Some(PmTimer { port: 0x608, is_32_bit: true }));
        assert_eq!(platform.power.dsdt, Some(0x8000));
    }

    #[test]
    fn soft_off_is_found_in_byte_code() {
        let mut code = b"junk_S5_\x08_S5_\x12\x06\x04".to_vec();
        code.extend([0x0a, 5, 1, 0, 0]);
        let image = image(&[table(b"DSDT", &code)]);
        let dsdt = 0x1000 + 36 + HEADER_LEN as u64 + 4;
        assert_eq!(soft_off_types(&image, dsdt), Some([5, 1]));
    }

    #[test]
    fn virtio_devices_are_found_in_byte_code() {
        let mut code = b"..LNRO0005\0junk".to_vec();
        code.extend([0x86, 9, 0, 1, 0, 0x0e, 0xb0, 0xfe, 0, 2, 0, 0, 0x89, 6, 0, 1, 1, 23, 0, 0, 0, 0x79]);
        code.extend(b"LNRO0005\x86\x09\x00");
        let image = image(&[table(b"DSDT", &code)]);
        let dsdt = 0x1000 + 36 + HEADER_LEN as u64 + 4;
        let place = VirtioPlace { address: 0xfeb0_0e00, len: 512, gsi: 23 };
        assert_eq!(virtio_places(&image, dsdt), [place]);
    }

    #[test]
    fn pci_is_found_in_byte_code() {
        let code = b"..\x14\x0b_CBA\x00\xa4\x0c\x00\x00\x00\xe0";
        let dsdt = 0x1000 + 36 + HEADER_LEN as u64 + 4;
        let found = ecam_in_code(&image(&[table(b"DSDT", code)]), dsdt).unwrap();
        assert_eq!((found.base, found.last_bus), (0xe000_0000, 255));
        for end in 0..code.len() {
            assert!(ecam_in_code(&image(&[table(b"DSDT", &code[..end])]), dsdt).is_none());
        }
    }

    #[test]
    fn every_truncation_and_flip_is_survived() {
        let good = image(&[madt()]);
        for end in 0..good.0.len() {
            let _ = Platform::read(&Image(good.0[..end].to_vec()), 0x1000);
        }
        for at in 0..good.0.len() {
            for flip in [0xff, 1, 0x80] {
                let mut bytes = good.0.clone();
                bytes[at] ^= flip;
                let _ = Platform::read(&Image(bytes), 0x1000);
                let _ = soft_off_types(&Image(good.0.clone()), 0x1000 + at as u64);
            }
        }
    }

    #[test]
    fn the_root_pointer_is_found_in_the_bios_area() {
        let mut low = vec![0; 0x10_0000 - 0x1000];
        let at = 0xf_5b40 - 0x1000;
        let tables = image(&[madt()]);
        low[at..at + tables.0.len()].copy_from_slice(&tables.0);
        assert_eq!(find_rsdp(&Image(low)), Some(0xf_5b40));
        assert_eq!(find_rsdp(&Image(vec![0; 0x10_0000])), None);
    }

    #[test]
    fn a_bad_checksum_is_an_absent_table() {
        let mut broken = madt();
        broken[9] ^= 1;
        assert!(Platform::read(&image(&[broken]), 0x1000).unwrap().cpus.is_empty());
    }
}
