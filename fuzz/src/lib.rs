//! What the kernel reads from strangers, each as a function of bytes that must return whatever they are: program files,
//! scripts, the command line, what the boot loader and the firmware left in memory, a 9P server's replies,
//! the structures of a root image.
//!
//! `fuzz/run elf` lets libFuzzer choose the bytes, with the stable compiler. `cargo run -p osv-fuzz --bin elf FILE…`
//! replays files, such as a crash that was found, and `tests/smoke.rs` tries a fixed number of random and of slightly
//! damaged inputs in every CI run.

use osv_kernel::arch::{BootInfo, Physical, parse_linux, parse_multiboot1, parse_multiboot2, parse_pvh};
use osv_kernel::cmdline::{self, Command, Options};
use osv_kernel::drivers::acpi::{self, Platform};
use osv_kernel::fs::erofs::format::{self, DirBlock, Inode, Superblock};
use osv_kernel::fs::ninep::codec::{Call, Reply};
use osv_kernel::process::elf::{Header, Image};
use osv_kernel::process::script::{self, Script};

/// The body of a fuzz target: libFuzzer's entry under `cargo fuzz`, a `main` that replays files otherwise.
#[macro_export]
macro_rules! target {
    ($function:path) => {
        #[cfg(fuzzing)]
        libfuzzer_sys::fuzz_target!(|bytes: &[u8]| $function(bytes));

        #[cfg(not(fuzzing))]
        fn main() -> std::io::Result<()> {
            std::env::args_os().skip(1).try_for_each(|file| std::fs::read(file).map(|bytes| $function(&bytes)))
        }
    };
}

/// A program file: its header, and its program headers wherever the file says that they are.
///
/// # Panics
///
/// If what was accepted breaks a promise that the loader relies on.
pub fn elf(bytes: &[u8]) {
    let Ok(header) = Header::parse(bytes) else { return };
    let start = usize::try_from(header.program_headers_offset).unwrap_or(usize::MAX);
    let Ok(image) = Image::parse(&header, bytes.get(start..).unwrap_or(&[])) else { return };
    assert!(image.low < image.high && image.span() <= 1 << 47);
    assert!(image.low.is_multiple_of(4096) && image.high.is_multiple_of(4096));
    assert!(image.alignment.is_power_of_two() && image.alignment >= 4096);
    for segment in &image.segments {
        assert!(segment.file_size <= segment.memory_size);
        assert!(segment.address >= image.low && segment.address - image.low <= image.span() - segment.memory_size);
        assert_eq!(segment.address % 4096, segment.offset % 4096);
        assert!(segment.offset.checked_add(segment.file_size).is_some());
    }
    if let Some(name) = image.interpreter {
        assert!((2..=4096).contains(&name.len) && name.offset.checked_add(name.len as u64).is_some());
    }
}

/// The first bytes of a file that may be a script.
///
/// # Panics
///
/// If the interpreter's name is empty or contains what ends it.
pub fn script(bytes: &[u8]) {
    if let Some(Ok(Script { interpreter, .. })) = script::parse(bytes) {
        assert!(!interpreter.is_empty() && !interpreter.iter().any(|byte| b" \t\n\0".contains(byte)));
    }
}

/// The kernel's command line.
///
/// # Panics
///
/// If a command has no name.
pub fn cmdline(bytes: &[u8]) {
    // Any answer is right, as long as there is one.
    if let Ok(options) = Options::parse(bytes) {
        let commands = Command::parse_line(&options.line, &options.environment);
        assert!(commands.iter().all(|command| !command.words.is_empty()), "a command has a name");
        let _ = cmdline::script::parse(&options.line, &options.environment);
    }
}

/// What a boot loader left in memory, by each protocol; the first eight bytes say where.
///
/// # Panics
///
/// If the memory map that results is not in order.
pub fn boot_info(bytes: &[u8]) {
    let Some((addr, _)) = bytes.split_first_chunk() else { return };
    let addr = u64::from_le_bytes(*addr);
    for parse in [parse_pvh, parse_linux, parse_multiboot1, parse_multiboot2] {
        let mut info = BootInfo::empty();
        if parse(&Memory(bytes), addr, &mut info).is_ok() {
            let regions = info.memory.regions();
            assert!(regions.iter().all(|region| region.start < region.end));
            assert!(regions.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
        assert!(info.modules().iter().all(|module| module.start < module.end));
    }
}

/// The firmware's tables, with the root pointer at the address that the first eight bytes name.
pub fn acpi(bytes: &[u8]) {
    let memory = Memory(bytes);
    let Some((addr, _)) = bytes.split_first_chunk() else { return };
    // Any answer is right, as long as there is one.
    let _ = acpi::find_rsdp(&memory);
    let _ = Platform::read(&memory, u64::from_le_bytes(*addr));
    let _ = acpi::soft_off_types(&memory, u64::from_le_bytes(*addr));
}

/// A 9P server's reply to each kind of call; the first byte chooses the call.
///
/// # Panics
///
/// If a count is larger than what was asked for.
pub fn ninep(bytes: &[u8]) {
    const ASKED: u32 = 4096;
    let Some((choice, reply)) = bytes.split_first() else { return };
    let parse = |call: &Call<'_>| Reply::parse(call, 1, reply).ok();
    let _ = match choice % 6 {
        0 => parse(&Call::Version { msize: ASKED }).map(|reply| reply.take_version().is_ok()),
        1 => parse(&Call::Walk { fid: 0, new_fid: 1, name: Some(b"x") }).map(|reply| reply.take_walk().is_ok()),
        2 => parse(&Call::GetAttr { fid: 0, mask: 0 }).map(|reply| reply.take_attr().is_ok()),
        3 => parse(&Call::StatFs { fid: 0 }).map(|reply| reply.take_statistics().is_ok()),
        4 => parse(&Call::ReadLink { fid: 0 }).map(|mut reply| reply.string().is_ok()),
        _ => parse(&Call::ReadDir { fid: 0, offset: 0, count: ASKED }).map(read_directory),
    };

    fn read_directory(mut reply: Reply<'_>) -> bool {
        let count = reply.take_count(ASKED);
        assert!(count.is_ok_and(|count| count <= ASKED) || count.is_err());
        std::iter::from_fn(|| reply.next_entry()).count() > 0
    }
}

/// A piece of an EROFS image, as each structure that can stand in one.
///
/// # Panics
///
/// If a directory has an entry that its block does not hold.
pub fn erofs(bytes: &[u8]) {
    if let Some(superblock) = Superblock::parse(bytes) {
        let _ = superblock.inode_at(superblock.root);
        let _ = superblock.inode_at(u64::MAX);
    }
    if let Some(inode) = Inode::parse(bytes) {
        assert!(inode.len.checked_add(inode.xattr_len).is_some());
    }
    if let Some(block) = DirBlock::parse(bytes) {
        assert!(block.count() * 12 <= bytes.len() && block.entry(block.count()).is_none());
        for entry in (0..block.count()).filter_map(|index| block.entry(index)) {
            let _ = block.find(entry.name);
        }
    }
    if let Some((_, mut own)) = format::split_xattrs(bytes) {
        while let Some((_, rest)) = format::take_xattr(own) {
            assert!(rest.len() < own.len());
            own = rest;
        }
    }
}

/// Physical memory that holds the input from address 0.
struct Memory<'a>(&'a [u8]);

impl Physical for Memory<'_> {
    fn bytes(&self, addr: u64, len: usize) -> Option<&[u8]> {
        let start = usize::try_from(addr).ok()?;
        self.0.get(start..start.checked_add(len)?)
    }
}
