//! Reads the headers of an ELF program: a pure function over bytes that a stranger wrote.
//!
//! [`Header::parse`] looks at the first 64 bytes, [`Image::parse`] at the program headers. Both only ever
//! compare and copy: nothing in a file can make them panic, loop or allocate more than the 64 KiB of program
//! headers that Linux allows. What comes out is checked: every segment lies in the lower half, does not
//! wrap, and its file offset and address are congruent, so the loader can map without looking again.
//!
//! Where Linux finds a broken segment only after the point of no return and kills the program, this says
//! ENOEXEC before it: the caller keeps running. Source: elf(5), Linux' `fs/binfmt_elf.c`.

use alloc::vec::Vec;

use linux_raw_sys::elf::{PT_GNU_STACK, PT_INTERP, PT_LOAD, PT_PHDR};
use zerocopy::{FromBytes, Immutable, KnownLayout};

use crate::errno::{Errno, Result};

/// Size of a page: segments are mapped in these.
const PAGE: u64 = 4096;

/// The end of the lower half that programs may use (one guard page below 2^47).
pub const USER_END: u64 = 0x7fff_ffff_f000;

/// Program headers larger than this are refused, as on Linux.
const MAX_PROGRAM_HEADERS_SIZE: usize = 65536;

/// The longest interpreter name, with its final NUL.
const MAX_INTERPRETER_LEN: u64 = 4096;

const ET_EXEC: u16 = 2;
const ET_DYN: u16 = 3;
const EM_X86_64: u16 = 62;
const PF_X: u32 = 1;
const PF_W: u32 = 2;
const PF_R: u32 = 4;

/// Bytes of the file header.
pub const HEADER_SIZE: usize = size_of::<FileHeader>();

/// Bytes of one program header.
pub const PROGRAM_HEADER_SIZE: usize = size_of::<ProgramHeader>();

#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct FileHeader {
    identity: [u8; 16],
    kind: u16,
    machine: u16,
    version: u32,
    entry: u64,
    program_headers_offset: u64,
    section_headers_offset: u64,
    flags: u32,
    header_size: u16,
    program_header_size: u16,
    program_header_count: u16,
    section_header_size: u16,
    section_header_count: u16,
    section_names: u16,
}

#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct ProgramHeader {
    kind: u32,
    flags: u32,
    offset: u64,
    address: u64,
    physical_address: u64,
    file_size: u64,
    memory_size: u64,
    alignment: u64,
}

/// What the file header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether the program may lie anywhere (ET_DYN).
    pub is_relocatable: bool,
    /// Where it starts, before relocation.
    pub entry: u64,
    /// Where in the file its program headers are.
    pub program_headers_offset: u64,
    /// How many they are.
    pub program_header_count: u16,
}

impl Header {
    /// Reads the first bytes of a file.
    pub fn parse(bytes: &[u8]) -> Result<Header> {
        let (header, _) = FileHeader::read_from_prefix(bytes).map_err(|_| Errno::ENOEXEC)?;
        let is_for_us = header.identity.starts_with(b"\x7fELF\x02\x01") && header.machine == EM_X86_64;
        let is_relocatable = match header.kind {
            ET_EXEC => false,
            ET_DYN => true,
            _ => return Err(Errno::ENOEXEC),
        };
        let count = usize::from(header.program_header_count);
        let size = count * PROGRAM_HEADER_SIZE;
        if !is_for_us
            || usize::from(header.program_header_size) != PROGRAM_HEADER_SIZE
            || size == 0
            || size > MAX_PROGRAM_HEADERS_SIZE
        {
            return Err(Errno::ENOEXEC);
        }
        Ok(Header {
            is_relocatable,
            entry: header.entry,
            program_headers_offset: header.program_headers_offset,
            program_header_count: header.program_header_count,
        })
    }

    /// Bytes of all program headers.
    pub fn program_headers_size(&self) -> usize {
        usize::from(self.program_header_count) * PROGRAM_HEADER_SIZE
    }
}

/// One piece of the program to map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Where its bytes are in the file.
    pub offset: u64,
    /// Where they go, before relocation; congruent to `offset` in a page.
    pub address: u64,
    /// How many come from the file.
    pub file_size: u64,
    /// How many there are, zeros behind the file's.
    pub memory_size: u64,
    /// Whether the program may read it.
    pub is_readable: bool,
    /// Whether the program may write it.
    pub is_writable: bool,
    /// Whether the program may run it.
    pub is_executable: bool,
}

/// The interpreter's name in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterpreterName {
    /// Where it is in the file.
    pub offset: u64,
    /// Its length with the final NUL: 2 to 4096.
    pub len: usize,
}

/// What the program headers say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// Whether the program may lie anywhere.
    pub is_relocatable: bool,
    /// Where it starts, before relocation.
    pub entry: u64,
    /// What to map; at least one.
    pub segments: Vec<Segment>,
    /// Address of the program headers in memory (AT_PHDR), before relocation; 0 if they are not in memory.
    pub program_headers_address: u64,
    /// How many program headers there are (AT_PHNUM).
    pub program_header_count: u16,
    /// The interpreter, if the file names one.
    pub interpreter: Option<InterpreterName>,
    /// Whether the file asks for an executable stack.
    pub has_executable_stack: bool,
    /// Lowest address, a multiple of the page size.
    pub low: u64,
    /// Address behind the highest, a multiple of the page size.
    pub high: u64,
    /// The largest alignment that a segment wants, at least a page.
    pub alignment: u64,
}

impl Image {
    /// Reads the program headers in `bytes`, which are what `header` says where to find.
    pub fn parse(header: &Header, bytes: &[u8]) -> Result<Image> {
        let mut image = Image {
            is_relocatable: header.is_relocatable,
            entry: header.entry,
            segments: Vec::new(),
            program_headers_address: 0,
            program_header_count: header.program_header_count,
            interpreter: None,
            has_executable_stack: false,
            low: u64::MAX,
            high: 0,
            alignment: PAGE,
        };
        let bytes = bytes.get(..header.program_headers_size()).ok_or(Errno::ENOEXEC)?;
        let mut declared_address = None;
        for chunk in bytes.chunks_exact(PROGRAM_HEADER_SIZE) {
            let entry = ProgramHeader::read_from_bytes(chunk).map_err(|_| Errno::ENOEXEC)?;
            match entry.kind {
                PT_LOAD => image.add_segment(header, &entry)?,
                PT_INTERP if image.interpreter.is_none() => image.interpreter = Some(interpreter_name(&entry)?),
                PT_GNU_STACK => image.has_executable_stack = entry.flags & PF_X != 0,
                PT_PHDR => declared_address = Some(entry.address),
                _ => {}
            }
        }
        if image.segments.is_empty() {
            return Err(Errno::ENOEXEC);
        }
        if image.program_headers_address == 0 {
            image.program_headers_address = declared_address.unwrap_or(0);
        }
        Ok(image)
    }

    /// Bytes of address space from the lowest to the highest segment, in whole pages.
    pub fn span(&self) -> u64 {
        self.high - self.low
    }

    fn add_segment(&mut self, header: &Header, entry: &ProgramHeader) -> Result<()> {
        if entry.memory_size == 0 {
            return Ok(());
        }
        let segment = Segment {
            offset: entry.offset,
            address: entry.address,
            file_size: entry.file_size,
            memory_size: entry.memory_size,
            is_readable: entry.flags & PF_R != 0,
            is_writable: entry.flags & PF_W != 0,
            is_executable: entry.flags & PF_X != 0,
        };
        segment.check()?;
        let end = page_up(segment.address + segment.memory_size);
        self.low = self.low.min(page_down(segment.address));
        self.high = self.high.max(end);
        if entry.alignment.is_power_of_two() && entry.alignment <= USER_END / 2 {
            self.alignment = self.alignment.max(entry.alignment);
        }
        let headers = header.program_headers_offset;
        if headers >= segment.offset && headers - segment.offset < segment.file_size {
            self.program_headers_address = segment.address.wrapping_add(headers - segment.offset);
        }
        self.segments.push(segment);
        Ok(())
    }
}

impl Segment {
    fn check(&self) -> Result<()> {
        let end = self.address.checked_add(self.memory_size).ok_or(Errno::ENOEXEC)?;
        let file_end = self.offset.checked_add(self.file_size).ok_or(Errno::ENOEXEC)?;
        let is_sound = self.file_size <= self.memory_size
            && end <= USER_END
            && file_end <= i64::MAX as u64 - PAGE
            && self.offset % PAGE == self.address % PAGE;
        if is_sound { Ok(()) } else { Err(Errno::ENOEXEC) }
    }
}

fn interpreter_name(entry: &ProgramHeader) -> Result<InterpreterName> {
    if !(2..=MAX_INTERPRETER_LEN).contains(&entry.file_size) {
        return Err(Errno::ENOEXEC);
    }
    Ok(InterpreterName { offset: entry.offset, len: entry.file_size as usize })
}

/// `address` rounded down to a page.
pub const fn page_down(address: u64) -> u64 {
    address & !(PAGE - 1)
}

/// `address` rounded up to a page; only for addresses in the lower half.
pub const fn page_up(address: u64) -> u64 {
    page_down(address + PAGE - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PH: usize = PROGRAM_HEADER_SIZE;

    fn header_bytes(kind: u16, count: u16) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&EM_X86_64.to_le_bytes());
        bytes.extend_from_slice(&1u32.to_le_bytes());
        bytes.extend_from_slice(&0x1040u64.to_le_bytes());
        bytes.extend_from_slice(&64u64.to_le_bytes());
        bytes.extend_from_slice(&0u64.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        for value in [64, PH as u16, count, 64, 0, 0] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    fn program_header(kind: u32, flags: u32, offset: u64, address: u64, file_size: u64, memory_size: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&kind.to_le_bytes());
        bytes.extend_from_slice(&flags.to_le_bytes());
        for value in [offset, address, address, file_size, memory_size, PAGE] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    fn parse(entries: &[Vec<u8>]) -> Result<Image> {
        let header = Header::parse(&header_bytes(ET_DYN, entries.len() as u16))?;
        Image::parse(&header, &entries.concat())
    }

    #[test]
    fn a_pie_is_understood() {
        let image = parse(&[
            program_header(PT_PHDR, PF_R, 64, 64, 112, 112),
            program_header(PT_INTERP, PF_R, 0x300, 0x300, 28, 28),
            program_header(PT_LOAD, PF_R, 0, 0, 0x700, 0x700),
            program_header(PT_LOAD, PF_R | PF_X, 0x1000, 0x1000, 0x200, 0x200),
            program_header(PT_LOAD, PF_R | PF_W, 0x2df0, 0x3df0, 0x220, 0x9000),
            program_header(PT_GNU_STACK, PF_R | PF_W, 0, 0, 0, 0),
        ])
        .unwrap();
        assert_eq!(image.program_headers_address, 64);
        assert_eq!(image.interpreter, Some(InterpreterName { offset: 0x300, len: 28 }));
        assert_eq!((image.low, image.high), (0, 0xd000));
        assert!(!image.has_executable_stack);
        assert_eq!(image.segments.len(), 3);
        assert!(image.segments[1].is_executable && !image.segments[1].is_writable);
    }

    #[test]
    fn strangers_are_refused() {
        let good = header_bytes(ET_EXEC, 1);
        assert!(Header::parse(&good).is_ok());
        for len in 0..good.len() {
            assert_eq!(Header::parse(&good[..len]), Err(Errno::ENOEXEC));
        }
        for (at, value) in [(0, 0), (4, 1), (5, 2), (16, 1), (16, 4), (18, 3), (54, 32), (56, 0)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(Header::parse(&bad), Err(Errno::ENOEXEC), "byte {at}");
        }
        let mut huge = good.clone();
        huge[56..58].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(Header::parse(&huge), Err(Errno::ENOEXEC));
    }

    #[test]
    fn broken_segments_are_refused() {
        let broken = [
            program_header(PT_LOAD, PF_R, 0, 0, 2, 1),
            program_header(PT_LOAD, PF_R, 0, u64::MAX, 2, 2),
            program_header(PT_LOAD, PF_R, 0, USER_END - 4096, 0, 4097),
            program_header(PT_LOAD, PF_R, 0xffff_8000_0000_0000, 0xffff_8000_0000_0000, 1, 1),
            program_header(PT_LOAD, PF_R, u64::MAX - 1, 0x1ffe, 2, 2),
            program_header(PT_LOAD, PF_R, 1, 0x1000, 1, 1),
            program_header(PT_INTERP, PF_R, 0, 0, 1, 1),
            program_header(PT_INTERP, PF_R, 0, 0, 5000, 5000),
            program_header(PT_PHDR, PF_R, 0, 0, 0, 0),
        ];
        for entry in broken {
            assert_eq!(parse(&[entry]), Err(Errno::ENOEXEC));
        }
    }

    #[test]
    fn truncated_program_headers_are_refused() {
        let header = Header::parse(&header_bytes(ET_DYN, 2)).unwrap();
        let one = program_header(PT_LOAD, PF_R, 0, 0, 1, 1);
        assert_eq!(Image::parse(&header, &one), Err(Errno::ENOEXEC));
        assert_eq!(Image::parse(&header, &[]), Err(Errno::ENOEXEC));
    }

    #[test]
    fn no_bytes_panic() {
        let mut state = 0x1234_5678_9abc_def0u64;
        let mut bytes = [header_bytes(ET_DYN, 3), alloc::vec![0; 3 * PH]].concat();
        for _ in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let at = (state >> 33) as usize % bytes.len();
            if at >= 4 {
                bytes[at] = (state >> 24) as u8;
            }
            bytes[64..68].copy_from_slice(&PT_LOAD.to_le_bytes());
            if let Ok(header) = Header::parse(&bytes) {
                let _ = Image::parse(&header, &bytes[64..]);
            } else {
                bytes[..64].copy_from_slice(&header_bytes(ET_DYN, 3));
            }
        }
    }
}
