//! The vDSO: a shared object of one page that the kernel maps into every program.
//!
//! It answers `clock_gettime`, `gettimeofday`, `time`, `clock_getres` and `getcpu` without a system call, from
//! [`VdsoData`](crate::drivers::clock::VdsoData), the page that lies just below it in every program. What it cannot
//! answer (CPU-time clocks, getcpu) it asks the kernel. The names and the version are those of Linux, see vdso(7);
//! C libraries, Go and Java find them through AT_SYSINFO_EHDR.
//!
//! The whole ELF file is written here as data for the assembler, tables included, so that no linker is
//! needed for it: every address in it is a distance between two labels. All functions are leaves that never touch
//! the stack, so that one entry of unwind information describes them all.
//!
//! `__vdso_osv_call` is osv's own: a system call made by a call, see `arch::gate_entry`.

use alloc::sync::Arc;

use crate::arch::layout::KERNEL_BASE;
use crate::drivers::clock;
use crate::errno::{Errno, Result};
use crate::mem::frame::Frame;
use crate::mem::object::PageSource;
use crate::sync::Once;

/// Bytes of the image, and of the data page below it.
pub const SIZE: usize = 4096;

core::arch::global_asm!(
    r#"
    .pushsection .rodata.osv_vdso, "a", @progbits
    .balign 4096
    .globl osv_vdso_image
osv_vdso_image:
.Lvdso:
    .byte 0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0
    .short 3, 62                        # ET_DYN, EM_X86_64
    .long 1
    .quad .Lvdso_text - .Lvdso
    .quad .Lvdso_headers - .Lvdso
    .quad 0
    .long 0
    .short 64, 56, 3, 64, 0, 0
.Lvdso_headers:
    .long 1, 5                          # PT_LOAD, readable and executable
    .quad 0, 0, 0, .Lvdso_end - .Lvdso, .Lvdso_end - .Lvdso, 4096
    .long 2, 4                          # PT_DYNAMIC
    .quad .Lvdso_dynamic - .Lvdso, .Lvdso_dynamic - .Lvdso, .Lvdso_dynamic - .Lvdso
    .quad .Lvdso_dynamic_end - .Lvdso_dynamic, .Lvdso_dynamic_end - .Lvdso_dynamic, 8
    .long 0x6474e550, 4                 # PT_GNU_EH_FRAME
    .quad .Lvdso_unwind - .Lvdso, .Lvdso_unwind - .Lvdso, .Lvdso_unwind - .Lvdso
    .quad .Lvdso_frames - .Lvdso_unwind, .Lvdso_frames - .Lvdso_unwind, 4

    .balign 8
.Lvdso_hash:                            # one bucket, all symbols in its chain
    .long 1, 7
    .long 1
    .long 0, 2, 3, 4, 5, 6, 0

    .balign 8
.Lvdso_symbols:
    .quad 0, 0, 0
    .macro vdso_symbol name
    .long .Lvdso_name_\name - .Lvdso_strings
    .byte 0x12, 0                       # global function, default visibility
    .short 1                            # in some section, as far as anybody can tell
    .quad .Lvdso_\name - .Lvdso
    .quad .Lvdso_end_of_\name - .Lvdso_\name
    .endm
    vdso_symbol clock_gettime
    vdso_symbol gettimeofday
    vdso_symbol time
    vdso_symbol getcpu
    vdso_symbol clock_getres
    vdso_symbol osv_call

.Lvdso_strings:
    .byte 0
.Lvdso_name_soname:         .asciz "linux-vdso.so.1"
.Lvdso_name_version:        .asciz "LINUX_2.6"
.Lvdso_name_clock_gettime:  .asciz "__vdso_clock_gettime"
.Lvdso_name_gettimeofday:   .asciz "__vdso_gettimeofday"
.Lvdso_name_time:           .asciz "__vdso_time"
.Lvdso_name_getcpu:         .asciz "__vdso_getcpu"
.Lvdso_name_clock_getres:   .asciz "__vdso_clock_getres"
.Lvdso_name_osv_call:       .asciz "__vdso_osv_call"
.Lvdso_strings_end:

    .balign 2
.Lvdso_versions:
    .short 0, 2, 2, 2, 2, 2, 2

    .balign 8
.Lvdso_version_definitions:
    .short 1, 1, 1, 1                   # the file itself: revision, VER_FLG_BASE, index, one name
    .long 0x0deebfa1                    # its name's hash
    .long 20, 28                        # where its name is described, and the next definition
    .long .Lvdso_name_soname - .Lvdso_strings, 0
    .short 1, 0, 2, 1
    .long 0x03ae75f6
    .long 20, 0
    .long .Lvdso_name_version - .Lvdso_strings, 0

    .balign 8
.Lvdso_dynamic:
    .quad 14, .Lvdso_name_soname - .Lvdso_strings                   # DT_SONAME
    .quad 4, .Lvdso_hash - .Lvdso                                   # DT_HASH
    .quad 5, .Lvdso_strings - .Lvdso                                # DT_STRTAB
    .quad 6, .Lvdso_symbols - .Lvdso                                # DT_SYMTAB
    .quad 10, .Lvdso_strings_end - .Lvdso_strings                   # DT_STRSZ
    .quad 11, 24                                                    # DT_SYMENT
    .quad 0x6ffffff0, .Lvdso_versions - .Lvdso                      # DT_VERSYM
    .quad 0x6ffffffc, .Lvdso_version_definitions - .Lvdso           # DT_VERDEF
    .quad 0x6ffffffd, 2                                             # DT_VERDEFNUM
    .quad 0, 0
.Lvdso_dynamic_end:

    .balign 4
.Lvdso_unwind:                          # .eh_frame_hdr with a table of one
    .byte 1, 0x1b, 0x03, 0x3b
    .long .Lvdso_frames - .
    .long 1
    .long .Lvdso_text - .Lvdso_unwind, .Lvdso_frame - .Lvdso_unwind
    .balign 8
.Lvdso_frames:                          # .eh_frame: at every instruction, the return address is at rsp
    .long .Lvdso_frame - .Lvdso_common
.Lvdso_common:
    .long 0
    .byte 1, 'z', 'R', 0, 1, 0x78, 16, 1, 0x1b
    .byte 0x0c, 7, 8, 0x90, 1
    .balign 8, 0
    .long 0
.Lvdso_frame:
    .long .Lvdso_frame_end - .Lvdso_frame_start
.Lvdso_frame_start:
    .long .Lvdso_frame_start - .Lvdso_frames
    .long .Lvdso_text - .
    .long .Lvdso_text_end - .Lvdso_text
    .byte 0
    .balign 8, 0
    .long 0
.Lvdso_frame_end:
    .long 0

    .balign 64
.Lvdso_text:
    # Out: rax = monotonic nanoseconds, r8 = what to add for the time of day. Destroys rdx, r9, r10, flags.
    .macro vdso_read_clock
    lea r10, [rip + .Lvdso - 4096]
70: mov r9d, [r10]
    lfence
    rdtsc
    shl rdx, 32
    or rax, rdx
    sub rax, [r10 + 16]
    mul qword ptr [r10 + 8]
    shrd rax, rdx, 32
    add rax, [r10 + 24]
    mov r8, [r10 + 32]
    and r9d, -2                         # odd while the page changes: never equal
    cmp r9d, [r10]
    jne 70b
    .endm
    # In: rax = nanoseconds. Out: rdx = seconds, rcx = the rest. Destroys rax.
    .macro vdso_split
    mov rcx, rax
    shr rax, 9
    movabs rdx, 0x44b82fa09b5a53        # 2^75 / (10^9 / 2^9), rounded up
    mul rdx
    shr rdx, 11
    imul rax, rdx, 1000000000
    sub rcx, rax
    .endm

.Lvdso_clock_gettime:                   # edi = clock, rsi = timespec
    xor ecx, ecx                        # all ones for the time of day
    cmp edi, 1                          # CLOCK_MONOTONIC is what most ask for
    jne 4f
2:  vdso_read_clock
    and r8, rcx
    add rax, r8
    vdso_split
    mov [rsi], rdx
    mov [rsi + 8], rcx
    xor eax, eax
    ret
4:  cmp edi, 11
    ja 3f
    mov edx, 0x8f3                      # the clocks that are one of the two
    bt edx, edi
    jnc 3f
    mov edx, 0x821                      # CLOCK_REALTIME, its coarse twin, CLOCK_TAI
    bt edx, edi
    sbb rcx, rcx
    jmp 2b
3:  mov eax, 228
    syscall
    ret
.Lvdso_end_of_clock_gettime:

    .balign 16
.Lvdso_gettimeofday:                    # rdi = timeval, rsi = timezone
    test rdi, rdi
    jz 2f
    vdso_read_clock
    add rax, r8
    vdso_split
    mov [rdi], rdx
    mov eax, ecx
    mov ecx, 274877907                  # 2^38 / 1000, rounded up
    imul rax, rcx
    shr rax, 38
    mov [rdi + 8], rax
2:  test rsi, rsi
    jz 3f
    mov qword ptr [rsi], 0
3:  xor eax, eax
    ret
.Lvdso_end_of_gettimeofday:

    .balign 16
.Lvdso_time:                            # rdi = time_t or null
    vdso_read_clock
    add rax, r8
    vdso_split
    test rdi, rdi
    jz 2f
    mov [rdi], rdx
2:  mov rax, rdx
    ret
.Lvdso_end_of_time:

    .balign 16
.Lvdso_getcpu:
    mov eax, 309
    syscall
    ret
.Lvdso_end_of_getcpu:

    .balign 16
.Lvdso_clock_getres:                    # edi = clock, rsi = timespec or null
    cmp edi, 11
    ja 3f
    mov ecx, 0x893                      # those that count nanoseconds
    bt ecx, edi
    jnc 3f
    test rsi, rsi
    jz 2f
    mov qword ptr [rsi], 0
    mov qword ptr [rsi + 8], 1
2:  xor eax, eax
    ret
3:  mov eax, 229
    syscall
    ret
.Lvdso_end_of_clock_getres:

    .balign 16
.Lvdso_osv_call:                        # rax = number; rdi, rsi, rdx, r10, r8, r9; clobbers what functions do
    lea rcx, [rip + 2f]
    jmp [rip + .Lvdso - 4096 + 40]
    syscall                             # where the gate sends whom it does not let through
2:  ret
.Lvdso_end_of_osv_call:
.Lvdso_text_end:
.Lvdso_end:
    .balign 4096
    .purgem vdso_symbol
    .purgem vdso_read_clock
    .purgem vdso_split
    .popsection
"#
);

/// A page of the kernel's image that every program maps.
struct KernelPage(u64);

impl PageSource for KernelPage {
    fn size(&self) -> u64 {
        SIZE as u64
    }

    fn page(&self, _index: u64, _for_write: bool) -> Result<Frame> {
        Frame::from_phys_static(self.0 - KERNEL_BASE).ok_or(Errno::EFAULT)
    }

    fn cached(&self, index: u64) -> Option<Frame> {
        self.page(index, false).ok()
    }
}

/// The code, to be mapped readable and executable.
pub fn code_pages() -> Arc<dyn PageSource> {
    static PAGE: Once<Arc<KernelPage>> = Once::new();
    PAGE.call_once(|| Arc::new(KernelPage(image().as_ptr().addr() as u64))).clone()
}

/// The clock's numbers, to be mapped readable just below the code.
pub fn data_pages() -> Arc<dyn PageSource> {
    static PAGE: Once<Arc<KernelPage>> = Once::new();
    PAGE.call_once(|| Arc::new(KernelPage((&raw const clock::VDSO_DATA).addr() as u64))).clone()
}

/// The image: an ELF file of one page that is also what to map.
pub fn image() -> &'static [u8; SIZE] {
    unsafe extern "C" {
        #[link_name = "osv_vdso_image"]
        static IMAGE: [u8; SIZE];
    }
    // SAFETY:
    // - the assembler has laid out one page of constants behind this name, and nothing writes to it.
    unsafe { &IMAGE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::elf::{HEADER_SIZE, Header, Image};

    fn elf_hash(name: &[u8]) -> u32 {
        name.iter().fold(0, |hash: u32, &byte| {
            let hash = (hash << 4).wrapping_add(u32::from(byte));
            let high = hash & 0xf000_0000;
            (hash ^ high >> 24) & !high
        })
    }

    fn contains(bytes: &[u8]) -> bool {
        image().windows(bytes.len()).any(|window| window == bytes)
    }

    #[test]
    fn it_is_a_loadable_page() {
        let header = Header::parse(image()).unwrap();
        let parsed = Image::parse(&header, &image()[HEADER_SIZE..]).unwrap();
        assert!(header.is_relocatable);
        assert_eq!((parsed.low, parsed.high), (0, SIZE as u64));
        assert_eq!(parsed.segments.len(), 1);
        assert!(parsed.segments[0].is_executable && !parsed.segments[0].is_writable);
    }

    #[test]
    fn hashes_of_version_names_are_right() {
        assert!(contains(&elf_hash(b"LINUX_2.6").to_le_bytes()));
        assert_eq!(elf_hash(b"LINUX_2.6"), 0x3ae75f6);
        assert!(contains(&elf_hash(b"linux-vdso.so.1").to_le_bytes()), "{:#x}", elf_hash(b"linux-vdso.so.1"));
    }
}
