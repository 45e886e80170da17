//! Loads our ELF file as Firecracker and Cloud Hypervisor do, with their own crate `linux-loader`, and has the kernel's
//! parsers read what that leaves in memory: the zero page of Linux' 64-bit protocol, and PVH's start info.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use linux_loader::cmdline::Cmdline;
use linux_loader::configurator::linux::LinuxBootConfigurator;
use linux_loader::configurator::pvh::PvhBootConfigurator;
use linux_loader::configurator::{BootConfigurator, BootParams};
use linux_loader::loader::bootparam::{boot_e820_entry, boot_params};
use linux_loader::loader::elf::PvhBootCapability;
use linux_loader::loader::elf::start_info::{hvm_memmap_table_entry, hvm_modlist_entry, hvm_start_info};
use linux_loader::loader::{BzImage, Elf, KernelLoader, KernelLoaderResult, load_cmdline};
use osv_kernel::arch::{BootInfo, Module, Physical, parse_linux, parse_pvh};
use osv_kernel::cmdline::Options;
use osv_kernel::drivers::virtio::mmio;
use vm_memory::{Address as _, Bytes as _, GuestAddress, GuestMemoryMmap};

const MEMORY: usize = 64 << 20;
/// Firecracker's layout.
const ZERO_PAGE: GuestAddress = GuestAddress(0x7000);
const START_INFO: GuestAddress = GuestAddress(0x6000);
const MEMORY_MAP: GuestAddress = GuestAddress(0x6200);
const MODULES: GuestAddress = GuestAddress(0x6100);
const COMMAND_LINE: GuestAddress = GuestAddress(0x2_0000);
const KERNEL: GuestAddress = GuestAddress(0x10_0000);
const INITRD: Module = Module { start: 0x3f0_0000, end: 0x3f0_5000 };
const RAM: [(u64, u64); 2] = [(0, 0x9_fc00), (0x10_0000, MEMORY as u64 - 0x10_0000)];

/// The guest's memory as the kernel would see it.
struct Snapshot(Vec<u8>);

impl Physical for Snapshot {
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(addr).ok()?;
        self.0.get(start..start.checked_add(len)?)
    }
}

fn snapshot(memory: &GuestMemoryMmap) -> Snapshot {
    let mut bytes = vec![0; MEMORY];
    memory.read_slice(&mut bytes, GuestAddress(0)).expect("all of memory");
    Snapshot(bytes)
}

/// A file of the caller's own: tests run side by side.
fn built(format: &str) -> PathBuf {
    static BUILT: AtomicU32 = AtomicU32::new(0);
    let name = format!("osv-linux-loader-{}-{}.{format}", std::process::id(), BUILT.fetch_add(1, Ordering::Relaxed));
    let file = std::env::temp_dir().join(name);
    let osv = env!("CARGO_BIN_EXE_osv");
    let status = Command::new(osv)
        .args(["build", "--format", format, "-o"])
        .arg(&file)
        .stdout(std::process::Stdio::null())
        .status();
    assert!(status.expect("osv").success());
    file
}

/// A machine with the ELF file and a command line in it, and what the loader found.
fn loaded() -> (GuestMemoryMmap, KernelLoaderResult) {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), MEMORY)]).expect("memory");
    let file = built("elf");
    let found =
        Elf::load(&memory, None, &mut File::open(&file).expect("the kernel"), Some(KERNEL)).expect("an ELF kernel");
    fs::remove_file(file).expect("our own file");
    let mut line =
        Cmdline::try_from("reboot=k panic=1 --verbose -- /bin/sh -c \"echo a b\"", 2048).expect("a command line");
    line.add_virtio_mmio_device(0x1000, GuestAddress(0xd000_1000), 5, None).expect("a device");
    load_cmdline(&memory, COMMAND_LINE, &line).expect("room for it");
    (memory, found)
}

fn checks(info: &BootInfo) {
    let options = Options::parse(info.cmdline()).expect("options that the kernel knows");
    assert!(options.is_verbose);
    assert!(info.cmdline().ends_with(b"/bin/sh -c \"echo a b\""), "{}", info.cmdline().escape_ascii());
    let devices: Vec<_> =
        mmio::from_cmdline(info.cmdline()).map(|place| (place.address, place.len, place.gsi)).collect();
    assert_eq!(devices, [(0xd000_1000, 0x1000, 5)]);
    assert_eq!(info.modules(), [INITRD]);
    assert_eq!(info.memory.usable().map(|r| (r.start, r.end - r.start)).collect::<Vec<_>>(), RAM);
}

#[test]
fn the_64_bit_protocol_as_firecracker_has_it() {
    let (memory, found) = loaded();
    assert_eq!(found.kernel_load, KERNEL.unchecked_add(0x1000));
    let mut page = boot_params::default();
    page.hdr.type_of_loader = 0xff;
    page.hdr.boot_flag = 0xaa55;
    page.hdr.header = u32::from_le_bytes(*b"HdrS");
    page.hdr.cmd_line_ptr = COMMAND_LINE.raw_value() as u32;
    page.hdr.cmdline_size = 2048;
    page.hdr.ramdisk_image = INITRD.start as u32;
    page.hdr.ramdisk_size = (INITRD.end - INITRD.start) as u32;
    for (slot, (addr, size)) in page.e820_table.iter_mut().zip(RAM) {
        *slot = boot_e820_entry { addr, size, r#type: 1 };
    }
    page.e820_entries = RAM.len() as u8;
    LinuxBootConfigurator::write_bootparams(&BootParams::new(&page, ZERO_PAGE), &memory).expect("room for the page");

    let memory = snapshot(&memory);
    let mut info = BootInfo::empty();
    assert_eq!(parse_linux(&memory, ZERO_PAGE.raw_value(), &mut info), Ok(()));
    checks(&info);
    assert_eq!(memory.bytes(KERNEL.raw_value(), 8), Some(&b"OSVHAND1"[..]));
    // The entry is a jump, in 64-bit code.
    assert!(matches!(memory.bytes(found.kernel_load.raw_value(), 1), Some([0xe9 | 0xeb])));
}

#[test]
fn pvh_as_cloud_hypervisor_has_it() {
    let (memory, found) = loaded();
    assert_eq!(found.pvh_boot_cap, PvhBootCapability::PvhEntryPresent(KERNEL.unchecked_add(0x1030)));
    let map = RAM.map(|(addr, size)| hvm_memmap_table_entry { addr, size, type_: 1, reserved: 0 });
    let modules = [hvm_modlist_entry { paddr: INITRD.start, size: INITRD.end - INITRD.start, ..Default::default() }];
    let start = hvm_start_info {
        magic: 0x336e_c578,
        version: 1,
        cmdline_paddr: COMMAND_LINE.raw_value(),
        nr_modules: 1,
        modlist_paddr: MODULES.raw_value(),
        memmap_paddr: MEMORY_MAP.raw_value(),
        memmap_entries: RAM.len() as u32,
        ..Default::default()
    };
    let mut parameters = BootParams::new(&start, START_INFO);
    parameters.set_sections(&map, MEMORY_MAP);
    parameters.set_modules(&modules, MODULES);
    PvhBootConfigurator::write_bootparams(&parameters, &memory).expect("room for the tables");

    let mut info = BootInfo::empty();
    assert_eq!(parse_pvh(&snapshot(&memory), START_INFO.raw_value(), &mut info), Ok(()));
    checks(&info);
}

#[test]
fn the_bzimage_is_one() {
    let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), MEMORY)]).expect("memory");
    let path = built("bzimage");
    let found =
        BzImage::load(&memory, None, &mut File::open(&path).expect("the kernel"), Some(KERNEL)).expect("a bzImage");
    let size = fs::metadata(&path).expect("the kernel").len();
    fs::remove_file(path).expect("our own file");
    let header = found.setup_header.expect("its header");
    assert_eq!(found.kernel_load, KERNEL);
    assert_eq!(u32::from(header.version), 0x20f);
    assert_eq!(u64::from(header.setup_sects) * 512 + 512 + u64::from(header.syssize) * 16, size);
    assert!((size..MEMORY as u64).contains(&u64::from(header.init_size)));
}
