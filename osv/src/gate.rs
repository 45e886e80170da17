//! The way into the kernel: by osv's call gate, or by the `syscall` instruction where there is none.
//!
//! osv hands each program a function in its vDSO, `__vdso_osv_call`, that makes a system call by a call: number and
//! arguments are where the instruction takes them, and since it is a call, the kernel need not bring back what functions may
//! change. Until it is found, and on Linux, the instruction does the same.

use core::ffi::CStr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::machine;

/// What to call, with RAX = number and the arguments in RDI, RSI, RDX, R10, R8, R9; returns in RAX, and changes what functions
/// may change.
pub(crate) static GATE: AtomicPtr<()> = AtomicPtr::new(by_instruction as *const () as *mut ());

/// The gate's name in the vDSO.
const NAME: &CStr = c"__vdso_osv_call";

const PT_DYNAMIC: u32 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;

/// A system call as everywhere.
#[unsafe(naked)]
unsafe extern "C" fn by_instruction() {
    core::arch::naked_asm!("syscall", "ret")
}

/// Has all calls go through the gate, if this is osv. `vdso` is what the auxiliary vector says (AT_SYSINFO_EHDR).
///
/// # Safety
/// `vdso` is null, or where the kernel has put its vDSO.
pub(crate) unsafe fn open(vdso: *const u8) {
    if vdso.is_null() || !machine::is_osv() {
        return;
    }
    // SAFETY: it is osv's vDSO, which is a sound ELF file.
    if let Some(gate) = unsafe { find(vdso) } {
        GATE.store(gate.cast_mut().cast(), Ordering::Relaxed);
    }
}

/// The address of the gate in a vDSO.
///
/// # Safety
/// A sound ELF file is mapped there.
unsafe fn find(vdso: *const u8) -> Option<*const u8> {
    // SAFETY: this is where an ELF file's header has these fields, its program headers have theirs, and so on; each step
    // stays within what the one before found.
    unsafe {
        let headers = vdso.add(vdso.add(32).cast::<u64>().read() as usize);
        let count = usize::from(vdso.add(56).cast::<u16>().read());
        let dynamic = (0..count)
            .map(|index| headers.add(index * 56))
            .find(|header| header.cast::<u32>().read() == PT_DYNAMIC)
            .map(|header| vdso.add(header.add(16).cast::<u64>().read() as usize).cast::<[u64; 2]>())?;
        let table = |wanted: u64| {
            (0..)
                .map(|index| dynamic.add(index).read())
                .take_while(|[tag, _]| *tag != 0)
                .find(|[tag, _]| *tag == wanted)
                .map(|[_, offset]| vdso.add(offset as usize))
        };
        let (hash, strings, symbols) = (table(DT_HASH)?, table(DT_STRTAB)?, table(DT_SYMTAB)?);
        let count = hash.add(4).cast::<u32>().read() as usize;
        (1..count)
            .map(|index| symbols.add(index * 24))
            .find(|symbol| CStr::from_ptr(strings.add(symbol.cast::<u32>().read() as usize).cast()) == NAME)
            .map(|symbol| vdso.add(symbol.add(8).cast::<u64>().read() as usize))
    }
}
