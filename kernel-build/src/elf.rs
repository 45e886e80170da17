//! Flattens an ELF file: the bytes as they lie in physical memory, and the PVH entry.
//!
//! The file comes from our own linker; a broken one still ends in an error, not in a panic.

const PT_LOAD: u32 = 1;
const PT_NOTE: u32 = 4;
const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;

/// More than any kernel has; guards against a header that would make us fill the disk with zeros.
const IMAGE_MAX: u64 = 1 << 30;

/// What [`flatten`] finds.
#[derive(Debug)]
pub struct Flat {
    /// The bytes from the asked address on, without the zeros at the end.
    pub image: Vec<u8>,
    /// The first physical address behind all segments, their zeroed memory included.
    pub memory_end: u64,
    /// The physical address at which PVH enters; 0 without a note.
    pub pvh_entry: u64,
}

struct Segment {
    kind: u32,
    offset: u64,
    physical: u64,
    file_size: u64,
    memory_size: u64,
}

/// Lays the loadable segments of `file` from the physical address `start` on one behind the other.
///
/// # Errors
/// What is wrong with the file.
pub fn flatten(file: &[u8], start: u64) -> Result<Flat, String> {
    if file.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Err("no 64-bit little-endian ELF file".into());
    }
    let mut flat = Flat { image: Vec::new(), memory_end: start, pvh_entry: 0 };
    for segment in segments(file)? {
        let bytes = slice(file, segment.offset, segment.file_size)?;
        match segment.kind {
            PT_LOAD if segment.physical >= start => place(&mut flat, &segment, bytes, start)?,
            PT_NOTE => flat.pvh_entry = pvh_entry(bytes).unwrap_or(flat.pvh_entry),
            _ => {}
        }
    }
    if flat.image.is_empty() {
        return Err(format!("nothing is linked at {start:#x}"));
    }
    Ok(flat)
}

fn segments(file: &[u8]) -> Result<Vec<Segment>, String> {
    let table = u64_at(file, 0x20)?;
    let size = u64::from(u16_at(file, 0x36)?);
    let count = u64::from(u16_at(file, 0x38)?);
    (0..count)
        .map(|index| {
            let header = slice(file, table.saturating_add(index * size), 56)?;
            Ok(Segment {
                kind: u32_at(header, 0)?,
                offset: u64_at(header, 8)?,
                physical: u64_at(header, 24)?,
                file_size: u64_at(header, 32)?,
                memory_size: u64_at(header, 40)?,
            })
        })
        .collect()
}

fn place(flat: &mut Flat, segment: &Segment, bytes: &[u8], start: u64) -> Result<(), String> {
    let from = segment.physical - start;
    let end = from.saturating_add(segment.memory_size.max(segment.file_size));
    if end > IMAGE_MAX {
        return Err(format!("a segment at {:#x} is out of reach", segment.physical));
    }
    flat.memory_end = flat.memory_end.max(start + end);
    if !bytes.is_empty() {
        let from = usize::try_from(from).map_err(|e| e.to_string())?;
        let needed = flat.image.len().max(from + bytes.len());
        flat.image.resize(needed, 0);
        flat.image[from..from + bytes.len()].copy_from_slice(bytes);
    }
    Ok(())
}

/// The entry address in a series of ELF notes, if the note `Xen` 18 is among them.
fn pvh_entry(mut notes: &[u8]) -> Option<u64> {
    while notes.len() >= 12 {
        let name_size = usize::try_from(u32_at(notes, 0).ok()?).ok()?.next_multiple_of(4);
        let data_size = usize::try_from(u32_at(notes, 4).ok()?).ok()?;
        let kind = u32_at(notes, 8).ok()?;
        let name = notes.get(12..12 + name_size)?;
        let data = notes.get(12 + name_size..12 + name_size + data_size)?;
        if name == b"Xen\0" && kind == XEN_ELFNOTE_PHYS32_ENTRY {
            return Some(if data_size >= 8 { u64_at(data, 0).ok()? } else { u64::from(u32_at(data, 0).ok()?) });
        }
        notes = notes.get(12 + name_size + data_size.next_multiple_of(4)..)?;
    }
    None
}

fn slice(file: &[u8], offset: u64, size: u64) -> Result<&[u8], String> {
    let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
    range
        .and_then(|(offset, size)| file.get(offset..offset.checked_add(size)?))
        .ok_or_else(|| "it is cut off".to_owned())
}

fn array<const N: usize>(bytes: &[u8], offset: usize) -> Result<[u8; N], String> {
    bytes.get(offset..offset + N).and_then(|bytes| bytes.try_into().ok()).ok_or_else(|| "it is cut off".to_owned())
}

fn u16_at(bytes: &[u8], offset: usize) -> Result<u16, String> {
    Ok(u16::from_le_bytes(array(bytes, offset)?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Result<u32, String> {
    Ok(u32::from_le_bytes(array(bytes, offset)?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Result<u64, String> {
    Ok(u64::from_le_bytes(array(bytes, offset)?))
}
