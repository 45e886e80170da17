//! Puts a program into a new address space: segments, interpreter, vDSO, stack.
//!
//! Nothing here touches the caller's memory: the space is built beside the old one, so that whatever goes wrong,
//! `execve` can still fail and the caller goes on. Segments are mapped, not read; only the end of a segment whose
//! last page goes over into zeros, and the first stack, are written. Source: Linux' `fs/binfmt_elf.c`.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::auxvec::*;

use super::credentials::Credentials;
use super::elf::{self, HEADER_SIZE, Header, Image, PROGRAM_HEADER_SIZE, Segment, page_down, page_up};
use super::limits::{Limits, Resource};
use super::signal::frame::max_size as max_signal_frame_size;
use super::stack::{Contents, Layout, Strings};
use super::vdso;
use super::wait::TICKS_PER_SECOND;
use crate::arch::features;
use crate::drivers::random;
use crate::errno::{Errno, Result};
use crate::mem::object::{MappingName, PageSource};
use crate::mem::space::{self, AddressSpace, FilePart, MapFlags, MapRequest, Prot};
use crate::mem::user::Source;

const PAGE: u64 = 4096;

/// How much of the stack is there from the beginning, beyond what lies on it; the rest grows.
const FIRST_STACK_SIZE: u64 = 128 * 1024;

/// Personality bit: the same layout each time.
pub const ADDR_NO_RANDOMIZE: u32 = 0x0004_0000;

/// AT_HWCAP2: programs may use the instructions that read and write FS and GS bases.
const HWCAP2_FSGSBASE: u64 = 2;

/// The bytes of a program.
#[derive(Clone)]
pub struct ProgramFile {
    pages: Arc<dyn PageSource>,
    /// How its mappings are called.
    name: Option<Arc<dyn MappingName>>,
    /// The bytes are in the order of the memory, not of the file.
    is_laid_out: bool,
}

/// A program whose headers have been read.
pub struct Program {
    file: ProgramFile,
    image: Image,
}

/// How a program is started.
pub struct Start<'a> {
    /// The path that was executed.
    pub path: &'a [u8],
    /// Its arguments.
    pub arguments: &'a Strings,
    /// Its environment.
    pub environment: &'a Strings,
    /// Who it will be.
    pub credentials: &'a Credentials,
    /// Whether that is more than who starts it.
    pub is_secure: bool,
    /// Its limits.
    pub limits: &'a Limits,
    /// Its personality.
    pub personality: u32,
}

/// A program in its address space.
pub struct Loaded {
    /// The space.
    pub space: Arc<AddressSpace>,
    /// The first instruction.
    pub entry: u64,
    /// The first stack pointer.
    pub stack_pointer: u64,
    /// Where arguments, environment and auxiliary vector lie.
    pub arguments: (u64, u64),
    /// Environment.
    pub environment: (u64, u64),
    /// Auxiliary vector and its length.
    pub auxiliary: (u64, usize),
}

impl ProgramFile {
    /// A program in a file that is called `name`.
    pub fn new(pages: Arc<dyn PageSource>, name: Arc<dyn MappingName>) -> ProgramFile {
        ProgramFile { pages, name: Some(name), is_laid_out: false }
    }

    /// A program that the boot loader has put into memory as it is to be mapped.
    pub fn laid_out(pages: Arc<dyn PageSource>) -> ProgramFile {
        ProgramFile { pages, name: None, is_laid_out: true }
    }

    /// Reads at `offset`; less than `buffer` holds at the end of the file.
    pub fn read(&self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let size = self.pages.size();
        let wanted = size.saturating_sub(offset).min(buffer.len() as u64) as usize;
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..wanted).filter(|rest| !rest.is_empty()) {
            let at = offset + done as u64;
            let frame = self.pages.page(at / PAGE, false)?;
            done += frame.read((at % PAGE) as usize, rest);
        }
        Ok(done)
    }

    /// Reads exactly that much; `missing` if the file ends before.
    fn read_exact(&self, offset: u64, buffer: &mut [u8], missing: Errno) -> Result<()> {
        if self.read(offset, buffer)? == buffer.len() { Ok(()) } else { Err(missing) }
    }
}

impl Program {
    /// Reads the headers. ENOEXEC if this is no program for this machine.
    pub fn read(file: ProgramFile) -> Result<Program> {
        let mut bytes = [0; HEADER_SIZE];
        file.read_exact(0, &mut bytes, Errno::ENOEXEC)?;
        let header = Header::parse(&bytes)?;
        let mut table = Vec::new();
        table.try_reserve_exact(header.program_headers_size()).map_err(|_| Errno::ENOMEM)?;
        table.resize(header.program_headers_size(), 0);
        file.read_exact(header.program_headers_offset, &mut table, Errno::ENOEXEC)?;
        let mut image = Image::parse(&header, &table)?;
        if file.is_laid_out {
            for segment in &mut image.segments {
                segment.offset = segment.address;
            }
        }
        Ok(Program { file, image })
    }

    /// The name of the interpreter that it asks for.
    pub fn interpreter(&self) -> Result<Option<Vec<u8>>> {
        let Some(name) = self.image.interpreter else { return Ok(None) };
        let mut path = alloc::vec![0; name.len];
        self.file.read_exact(name.offset, &mut path, Errno::EIO)?;
        match path.pop() {
            Some(0) => Ok(Some(path.split(|&byte| byte == 0).next().unwrap_or_default().to_vec())),
            _ => Err(Errno::ENOEXEC),
        }
    }
}

/// Puts `program`, and the interpreter that it asked for, into a new address space, ready to run.
pub fn load(program: &Program, interpreter: Option<&Program>, start: &Start<'_>) -> Result<Loaded> {
    let seed = if start.personality & ADDR_NO_RANDOMIZE != 0 { 0 } else { random::next_u64() | 1 };
    let space = AddressSpace::new(seed, space_limits(start.limits))?;
    let image = &program.image;
    let base = if image.is_relocatable { aligned_base(space.program_base(), image) } else { 0 };
    map_image(&space, program, base)?;
    space.set_program_end(base.wrapping_add(image.high));
    let interpreter_base = match interpreter {
        Some(interpreter) => map_interpreter(&space, interpreter)?,
        None => 0,
    };
    let entry = match interpreter {
        Some(interpreter) => interpreter_base.wrapping_add(interpreter.image.entry),
        None => base.wrapping_add(image.entry),
    };
    if entry >= elf::USER_END {
        return Err(Errno::ENOEXEC);
    }
    let vdso_base = map_vdso(&space)?;
    let auxiliary = auxiliary(image, base, interpreter_base, vdso_base, start);
    let layout = build_stack(&space, image.has_executable_stack, &auxiliary, start, seed)?;
    Ok(Loaded {
        space,
        entry,
        stack_pointer: layout.stack_pointer,
        arguments: layout.arguments,
        environment: layout.environment,
        auxiliary: layout.auxiliary,
    })
}

/// The limits that concern memory.
pub fn space_limits(limits: &Limits) -> space::Limits {
    space::Limits {
        address_space: limits.soft(Resource::AddressSpace),
        data: limits.soft(Resource::Data),
        stack: limits.soft(Resource::Stack),
    }
}

/// What to add to the addresses of a relocatable image so that it lies at `place` or a little below.
fn aligned_base(place: u64, image: &Image) -> u64 {
    (place & !(image.alignment - 1)).wrapping_sub(image.low & !(image.alignment - 1))
}

fn map_interpreter(space: &Arc<AddressSpace>, interpreter: &Program) -> Result<u64> {
    let image = &interpreter.image;
    if !image.is_relocatable {
        map_image(space, interpreter, 0)?;
        return Ok(0);
    }
    let span = image.span().checked_add(image.alignment).ok_or(Errno::ENOMEM)?;
    let place = space.mmap(MapRequest { len: span, prot: Prot::empty(), ..private(0) })?;
    space.munmap(place, span)?;
    let base = aligned_base(place + image.alignment - PAGE, image);
    map_image(space, interpreter, base)?;
    Ok(base)
}

fn map_image(space: &Arc<AddressSpace>, program: &Program, base: u64) -> Result<()> {
    for segment in &program.image.segments {
        map_segment(space, &program.file, segment, base)?;
    }
    Ok(())
}

/// Maps one segment: its file part, zeros behind that in the last page, and empty pages for the rest.
fn map_segment(space: &Arc<AddressSpace>, file: &ProgramFile, segment: &Segment, base: u64) -> Result<()> {
    let address = base.wrapping_add(segment.address);
    let end = address.checked_add(segment.memory_size).filter(|&end| end <= elf::USER_END).ok_or(Errno::ENOMEM)?;
    let start = page_down(address);
    let file_end = address + segment.file_size;
    let mapped_end = if segment.file_size == 0 { start } else { page_up(file_end) };
    let prot = prot(segment);
    if mapped_end > start {
        let part = FilePart::new(Arc::clone(&file.pages), file.name.clone(), page_down(segment.offset));
        space.mmap(MapRequest { len: mapped_end - start, prot, file: Some(part), ..fixed(start) })?;
    }
    if mapped_end > file_end && segment.memory_size > segment.file_size && segment.is_writable {
        zero(space, file_end, (mapped_end - file_end) as usize)?;
    }
    if page_up(end) > mapped_end {
        space.mmap(MapRequest { len: page_up(end) - mapped_end, prot, ..fixed(mapped_end) })?;
    }
    Ok(())
}

fn prot(segment: &Segment) -> Prot {
    let mut prot = Prot::empty();
    prot.set(Prot::READ, segment.is_readable);
    prot.set(Prot::WRITE, segment.is_writable);
    prot.set(Prot::EXEC, segment.is_executable);
    prot
}

/// Maps data page and code of the vDSO; returns where the code is.
fn map_vdso(space: &Arc<AddressSpace>) -> Result<u64> {
    let size = vdso::SIZE as u64;
    let place = space.mmap(MapRequest { len: 2 * size, prot: Prot::empty(), ..private(0) })?;
    let data = FilePart::new(vdso::data_pages(), Some(Arc::new(b"[vvar]")), 0);
    space.mmap(MapRequest { len: size, prot: Prot::READ, file: Some(data), ..fixed(place) })?;
    let code = FilePart::new(vdso::code_pages(), Some(Arc::new(b"[vdso]")), 0);
    space.mmap(MapRequest { len: size, prot: Prot::READ | Prot::EXEC, file: Some(code), ..fixed(place + size) })?;
    Ok(place + size)
}

/// The auxiliary vector, in Linux' order.
fn auxiliary(image: &Image, base: u64, interpreter: u64, vdso: u64, start: &Start<'_>) -> Vec<(u32, u64)> {
    let credentials = start.credentials;
    let headers = match image.program_headers_address {
        0 => 0,
        address => base.wrapping_add(address),
    };
    alloc::vec![
        (AT_SYSINFO_EHDR, vdso),
        (AT_MINSIGSTKSZ, max_signal_frame_size()),
        (AT_HWCAP, u64::from(features().hwcap)),
        (AT_PAGESZ, PAGE),
        (AT_CLKTCK, TICKS_PER_SECOND),
        (AT_PHDR, headers),
        (AT_PHENT, PROGRAM_HEADER_SIZE as u64),
        (AT_PHNUM, u64::from(image.program_header_count)),
        (AT_BASE, interpreter),
        (AT_FLAGS, 0),
        (AT_ENTRY, base.wrapping_add(image.entry)),
        (AT_UID, u64::from(credentials.user.real)),
        (AT_EUID, u64::from(credentials.user.effective)),
        (AT_GID, u64::from(credentials.group.real)),
        (AT_EGID, u64::from(credentials.group.effective)),
        (AT_SECURE, u64::from(start.is_secure)),
        (AT_HWCAP2, if features().fsgsbase { HWCAP2_FSGSBASE } else { 0 }),
    ]
}

/// Maps the stack and writes what the program finds on it.
fn build_stack(
    space: &Arc<AddressSpace>,
    is_executable: bool,
    auxiliary: &[(u32, u64)],
    start: &Start<'_>,
    seed: u64,
) -> Result<Layout> {
    let mut random_bytes = [0; 16];
    random::fill(&mut random_bytes);
    let contents = Contents {
        path: start.path,
        arguments: start.arguments,
        environment: start.environment,
        auxiliary,
        random: random_bytes,
        gap: if seed == 0 { 0 } else { random::next_u64() & 0x1ff0 },
    };
    let top = space.stack_top() & !15;
    let layout = Layout::build(top, &contents);
    let used = page_up(layout.bytes.len() as u64);
    let size = used.saturating_add(FIRST_STACK_SIZE);
    let prot = Prot::READ | Prot::WRITE | if is_executable { Prot::EXEC } else { Prot::empty() };
    let bottom = page_up(top) - size;
    let flags = MapFlags::FIXED | MapFlags::GROWS_DOWN;
    space.mmap(MapRequest { len: size, prot, flags, ..fixed(bottom) })?;
    space.write_remote(layout.stack_pointer, &mut Source::from_slice(&layout.bytes))?;
    Ok(layout)
}

/// Zeros the part of a page behind a segment's bytes from the file.
fn zero(space: &Arc<AddressSpace>, address: u64, len: usize) -> Result<()> {
    const ZEROS: [u8; PAGE as usize] = [0; PAGE as usize];
    let zeros = ZEROS.get(..len).ok_or(Errno::ENOEXEC)?;
    space.write_remote(address, &mut Source::from_slice(zeros)).map_err(|_| Errno::ENOEXEC)?;
    Ok(())
}

/// A private mapping without a file, somewhere.
fn private(addr: u64) -> MapRequest {
    MapRequest { addr, ..MapRequest::anonymous(0, Prot::empty()) }
}

/// A private mapping at this address and nowhere else.
fn fixed(address: u64) -> MapRequest {
    MapRequest { flags: MapFlags::FIXED, ..private(address) }
}
