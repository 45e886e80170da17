//! The start of a bzImage, in the file's order: the boot sector with Linux' setup header, the real-mode setup, and what
//! is loaded at 1 MiB.
//!
//! The three ways in are those of Linux' boot protocol. From real mode the setup asks the BIOS for its memory map, makes a
//! zero page and goes to protected mode. The 32-bit entry makes page tables and goes to long mode. The 64-bit entry, 0x200
//! further, is where all meet: the stub moves itself with the packed kernel out of the way, behind the place of the unpacked
//! one, unpacks it, puts the hand-off page in front of it and enters it by the 64-bit protocol. It runs wherever it lies;
//! all that needs relocation is the compiler's table of `memcpy` and its kin. The runner (`osv build --format bzimage`) fills in the header and [`Parameters`].
#![no_std]
#![no_main]
#![allow(unsafe_code)]

use core::arch::{asm, global_asm};
use core::slice;

/// What the runner fills in, at offset 0x240 of what is loaded at 1 MiB; its offsets are part of the assembly.
#[repr(C)]
pub struct Parameters {
    /// Where stub and packed kernel move to.
    target: u32,
    /// Bytes that move: from the 32-bit entry to the end of the packed kernel, in multiples of 16.
    size: u32,
    /// Where the stub's page tables and stack are, behind all that.
    scratch: u32,
    /// Where the packed kernel starts, from the 32-bit entry on.
    packed_at: u32,
    /// Its length.
    packed_len: u32,
    /// The length of the unpacked kernel.
    unpacked_len: u32,
    /// Where the kernel goes to.
    kernel: u32,
    /// Where the hand-off page starts, from the 32-bit entry on, and its length. It goes in front of the kernel.
    handoff_at: u32,
    handoff_len: u32,
    /// Bytes of the kernel in which the targets of calls are absolute.
    code_len: u32,
}

global_asm!(
    r#"
    .section .setup, "ax"
    .code16
    .org 0x1f1
setup_sects:        .byte 0
root_flags:         .word 1
syssize:            .long 0
ram_size:           .word 0
vid_mode:           .word 0xffff
root_dev:           .word 0
boot_flag:          .word 0xaa55
    jmp setup                           # at 0x200; its distance is the header's end
magic:              .ascii "HdrS"
protocol:           .word 0x020f
realmode_swtch:     .long 0
start_sys_seg:      .word 0x1000
kernel_version:     .word version - 0x200
type_of_loader:     .byte 0
loadflags:          .byte 1             # LOADED_HIGH
setup_move_size:    .word 0x8000
code32_start:       .long 0x100000
ramdisk_image:      .long 0
ramdisk_size:       .long 0
bootsect_kludge:    .long 0
heap_end_ptr:       .word 0
ext_loader_ver:     .byte 0
ext_loader_type:    .byte 0
cmd_line_ptr:       .long 0
initrd_addr_max:    .long 0x7fffffff
kernel_alignment:   .long 0x1000
relocatable_kernel: .byte 0
min_alignment:      .byte 12
xloadflags:         .word 1             # a 64-bit entry
cmdline_size:       .long 8191
hardware_subarch:   .long 0
hardware_data:      .quad 0
payload_offset:     .long 0
payload_length:     .long 0
setup_data:         .quad 0
pref_address:       .quad 0x100000
init_size:          .long 0
handover_offset:    .long 0
kernel_info_offset: .long 0
header_end:

    .set ZERO_PAGE, 0x400               # behind the setup's two sectors
    .set STACK, 0x1800

setup:
    cld
    movw %ds, %ax
    movw %ax, %es
    movw %ax, %ss
    movl $STACK, %esp
    pushw %ax
    pushw $1f
    lretw                               # CS = DS
1:  movw $ZERO_PAGE, %di
    xorl %eax, %eax
    movw $1024, %cx
    rep stosl
    movw $setup_sects, %si              # the header is part of the zero page
    movw $(ZERO_PAGE + 0x1f1), %di
    movw $(header_end - setup_sects), %cx
    rep movsb

    movw $(ZERO_PAGE + 0x2d0), %di      # the memory map
    xorl %ebx, %ebx
2:  movl $0xe820, %eax
    movl $0x534d4150, %edx
    movl $20, %ecx
    int $0x15
    jc 3f
    cmpl $0x534d4150, %eax
    jne 3f
    addw $20, %di
    incb ZERO_PAGE + 0x1e8
    cmpb $128, ZERO_PAGE + 0x1e8
    jae 3f
    testl %ebx, %ebx
    jnz 2b
3:  movw $0x2401, %ax                   # address line 20: by the BIOS, and by port 0x92
    int $0x15
    cli
    inb $0x92, %al
    orb $2, %al
    andb $0xfe, %al
    outb %al, $0x92

    xorl %ebx, %ebx
    movw %ds, %bx
    shll $4, %ebx
    leal ZERO_PAGE(%ebx), %esi
    movl code32_start, %edi
    leal setup_gdt(%ebx), %eax
    movl %eax, setup_gdtr + 2
    lgdtl setup_gdtr
    leal protected(%ebx), %eax
    movl %eax, far_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl *far_pointer

    .code32
protected:
    movl $0x18, %eax
    movl %eax, %ds
    movl %eax, %es
    movl %eax, %fs
    movl %eax, %gs
    movl %eax, %ss
    leal STACK(%ebx), %esp
    xorl %ebx, %ebx
    jmp *%edi

    .balign 8
setup_gdt:
    .quad 0, 0
    .quad 0x00cf9b000000ffff            # 0x10: code
    .quad 0x00cf93000000ffff            # 0x18: data
setup_gdtr:
    .word . - setup_gdt - 1
    .long 0
far_pointer:
    .long 0
    .word 0x10

    .section .entry, "ax"
    .code32
entry_32:                               # ESI = zero page
    cli
    cld
    leal 0x1e8(%esi), %esp              # room for one address: the zero page's field `scratch`
    call 1f
1:  popl %ebp
    subl $(1b - entry_32), %ebp
    movl scratch - entry_32(%ebp), %edi
    leal 0x20000(%edi), %esp

    pushl %edi                          # six page tables: 4 GiB in pages of 2 MiB
    xorl %eax, %eax
    movl $(2 * 1024), %ecx
    rep stosl
    movl $0x83, %eax
    xorl %edx, %edx
2:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $8, %edi
    addl $0x200000, %eax
    jnc 2b
    popl %edi
    leal 0x1003(%edi), %eax
    movl %eax, (%edi)
    leal 0x1000(%edi), %edx
    leal 0x2003(%edi), %eax
    movl $4, %ecx
3:  movl %eax, (%edx)
    addl $8, %edx
    addl $0x1000, %eax
    loop 3b

    leal entry_gdt - entry_32(%ebp), %eax
    movl %eax, entry_gdtr - entry_32 + 2(%ebp)
    lgdtl entry_gdtr - entry_32(%ebp)
    movl %edi, %cr3
    movl $0x620, %eax                   # PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x100, %eax                    # EFER: LME
    wrmsr
    leal entry_64 - entry_32(%ebp), %eax
    pushl $0x10
    pushl %eax
    movl $0x80000011, %eax              # PG, ET, PE
    movl %eax, %cr0
    lretl

    .balign 8
entry_gdt:
    .quad 0, 0
    .quad 0x00af9b000000ffff            # 0x10: 64-bit code
    .quad 0x00cf93000000ffff            # 0x18: data
entry_gdtr:
    .word . - entry_gdt - 1
    .long 0

    .org 0x200
    .code64
entry_64:                               # RSI = zero page
    cli
    cld
    jmp 4f

    .org 0x240
target:             .long 0
size:               .long 0
scratch:            .long 0
                    .fill 7, 4, 0

4:  leaq entry_32(%rip), %rax
    movl target(%rip), %edi
    movl size(%rip), %ecx
    movl scratch(%rip), %ebx
    leaq 0x20000(%rbx), %rsp
    pushq %rsi
    cmpq %rdi, %rax
    jae 5f
    leaq -8(%rax, %rcx), %rsi           # backwards, since the ranges may overlap
    leaq -8(%rdi, %rcx), %rdi
    shrl $3, %ecx
    std
    rep movsq
    cld
    movl target(%rip), %eax
    leaq 5f - entry_32(%rax), %rdx
    jmpq *%rdx
5:  movq %cr0, %rax                     # SSE, as far as a 64-bit loader has not
    andl $~4, %eax
    orl $2, %eax
    movq %rax, %cr0
    movq %cr4, %rax
    orl $0x600, %eax
    movq %rax, %cr4
    leaq entry_32(%rip), %rdi
    leaq got(%rip), %rdx                # addresses of memcpy and its kin, as linked
    leaq got_end(%rip), %rcx
    leaq -0x1000(%rdi), %rax
6:  cmpq %rcx, %rdx
    jae 7f
    addq %rax, (%rdx)
    addq $8, %rdx
    jmp 6b
7:  leaq target(%rip), %rsi
    xorl %ebp, %ebp
    movq %rsp, %rbx
    andq $-16, %rsp
    call {start}
    movq (%rbx), %rsi
    jmpq *%rax
"#,
    concat!("    .section .setup\nversion:\n    .asciz \"osv ", env!("CARGO_PKG_VERSION"), "\""),
    start = sym start,
    options(att_syntax)
);

/// Unpacks the kernel and returns its 64-bit entry.
extern "C" fn start(base: *const u8, parameters: &Parameters) -> u64 {
    let here = |at: u32, len: u32| {
        // SAFETY:
        // - the runner has put `len` bytes there, and they were moved with the code that runs.
        unsafe { slice::from_raw_parts(base.wrapping_add(at as usize), len as usize) }
    };
    let kernel = u64::from(parameters.kernel);
    // SAFETY:
    // - the boot protocol keeps `init_size` bytes from 1 MiB on free for the kernel; the stub lies behind its end.
    let out = unsafe { slice::from_raw_parts_mut(kernel as *mut u8, parameters.unpacked_len as usize) };
    if osv_stub::unpack(here(parameters.packed_at, parameters.packed_len), out).is_err() {
        die(b"osv: the packed kernel is broken\r\n");
    }
    osv_stub::make_relative(out.get_mut(..parameters.code_len as usize).unwrap_or_default());
    let handoff = here(parameters.handoff_at, parameters.handoff_len);
    // SAFETY:
    // - the page in front of the kernel is the hand-off page's.
    let page = unsafe { slice::from_raw_parts_mut((kernel - 4096) as *mut u8, 4096) };
    page.fill(0);
    if let Some(start) = page.get_mut(..handoff.len()) {
        start.copy_from_slice(handoff);
    }
    kernel
}

/// Says why on the serial line and halts.
fn die(why: &[u8]) -> ! {
    for &byte in why {
        // SAFETY:
        // - the port is the serial line's or nobody's.
        unsafe { asm!("out dx, al", in("dx") 0x3f8_u16, in("al") byte) };
    }
    loop {
        // SAFETY:
        // - halting with interrupts off is the end.
        unsafe { asm!("cli", "hlt") };
    }
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    die(b"osv: the packed kernel is broken\r\n")
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    // SAFETY:
    // - the caller owns both ranges.
    unsafe { asm!("rep movsb", inout("rdi") to => _, inout("rsi") from => _, inout("rcx") len => _) };
    to
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
    // SAFETY:
    // - the caller owns the range.
    unsafe { asm!("rep stosb", inout("rdi") to => _, in("al") byte as u8, inout("rcx") len => _) };
    to
}

/// # Safety
/// As C's.
#[unsafe(no_mangle)]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
    if to.cast_const() <= from || len == 0 {
        // SAFETY:
        // - the caller owns both ranges; forwards, each byte is read before it is written over.
        return unsafe { memcpy(to, from, len) };
    }
    let (last_to, last_from) = (to.wrapping_add(len - 1), from.wrapping_add(len - 1));
    // SAFETY:
    // - the caller owns both ranges; backwards, each byte is read before it is written over.
    unsafe {
        asm!("std", "rep movsb", "cld", inout("rdi") last_to => _, inout("rsi") last_from => _, inout("rcx") len => _)
    };
    to
}
