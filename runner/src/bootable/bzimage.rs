//! Linux' bzImage: what GRUB's `linux`, QEMU's `-kernel`, kexec and every other loader of Linux take. The kernel is packed;
//! the stub in front of it (`osv/stub`) unpacks it and says how.

use super::{Payload, handoff, narrow, put_u32};
use lzma_rust2::{LzmaOptions, LzmaWriter};
use osv_kernel_build::{IMAGE_START, flatten};
use std::io::Write as _;

/// Where in the stub's image the two parts are.
const SETUP_SIZE: usize = 0x400;
const STUB_START: usize = 0x1000;
/// Where the stub expects its parameters.
const PARAMETERS: usize = 0x240;
/// Page tables and stack of the stub.
const SCRATCH: u64 = 0x2_0000;
/// Where the stub is loaded.
const LOADED_AT: u64 = 0x10_0000;

/// Fields of the setup header.
mod field {
    pub const SETUP_SECTORS: usize = 0x1f1;
    pub const SYSTEM_SIZE: usize = 0x1f4;
    pub const JUMP: usize = 0x201;
    pub const PAYLOAD_OFFSET: usize = 0x248;
    pub const PAYLOAD_LENGTH: usize = 0x24c;
    pub const INIT_SIZE: usize = 0x260;
}

/// The file's bytes, with the stub from the ELF file `stub`.
///
/// # Errors
/// If it is too large, or the stub is none.
pub fn write(payload: &Payload, stub: &[u8]) -> Result<Vec<u8>, String> {
    let stub = flatten(stub, 0)?.image;
    let mut file = stub.get(..SETUP_SIZE).ok_or("the stub has no setup")?.to_vec();
    let mut system = stub.get(STUB_START..).ok_or("the stub has no entry")?.to_vec();
    // The page can be found in the file, and sectors stay sectors.
    system.resize(system.len().next_multiple_of(16), 0);
    let handoff_at = system.len();
    system.extend_from_slice(&payload.memory[..handoff::USED]);
    let packed_at = system.len();
    let packed = pack(payload)?;
    system.extend_from_slice(&packed);
    system.resize(system.len().next_multiple_of(16), 0);

    let target = payload.memory_end.next_multiple_of(4096);
    let scratch = (target + system.len() as u64).next_multiple_of(4096);
    let parameters = [
        target,
        system.len() as u64,
        scratch,
        packed_at as u64,
        packed.len() as u64,
        payload.kernel().len() as u64,
        IMAGE_START,
        handoff_at as u64,
        handoff::USED as u64,
        payload.code_len() as u64,
    ];
    for (index, value) in parameters.into_iter().enumerate() {
        put_u32(&mut system, PARAMETERS + 4 * index, narrow(value)?);
    }
    file[field::SETUP_SECTORS] = (SETUP_SIZE / 512 - 1) as u8;
    put_u32(&mut file, field::SYSTEM_SIZE, narrow(system.len() as u64 / 16)?);
    debug_assert!(file[field::JUMP] >= 0x62, "the header reaches to init_size");
    put_u32(&mut file, field::PAYLOAD_OFFSET, narrow(packed_at as u64)?);
    put_u32(&mut file, field::PAYLOAD_LENGTH, narrow(packed.len() as u64)?);
    put_u32(&mut file, field::INIT_SIZE, narrow(scratch + SCRATCH - LOADED_AT)?);
    file.extend(system);
    Ok(file)
}

/// The kernel, and what lies behind it, as LZMA without a header.
fn pack(payload: &Payload) -> Result<Vec<u8>, String> {
    let mut bytes = payload.kernel().to_vec();
    let code = payload.code_len().min(bytes.len());
    osv_stub::make_absolute(&mut bytes[..code]);
    let dictionary = u32::try_from(bytes.len()).unwrap_or(u32::MAX).clamp(1 << 16, 64 << 20);
    let options =
        LzmaOptions { dict_size: dictionary, lc: 3, lp: 0, pb: 0, nice_len: 273, ..LzmaOptions::with_preset(9) };
    let mut writer = LzmaWriter::new_no_header(Vec::new(), &options, false).map_err(|e| e.to_string())?;
    writer.write_all(&bytes).map_err(|e| e.to_string())?;
    writer.finish().map_err(|e| e.to_string())
}
