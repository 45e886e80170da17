//! The first instructions: from a boot loader's 32-bit protected mode to Rust.
//!
//! Each boot protocol has an entry of a few lines, which loads ESI with the physical address of its information and
//! EBX with a [`Protocol`] number. The entries stand at fixed places, 16 bytes apart from the image's first byte on
//! (`osv-kernel-build` and the linker scripts repeat them), so that whoever writes a header for a boot loader needs no
//! symbols. Linux' 64-bit protocol enters in long mode on page tables of which little is known: it goes back to where the
//! others start. What follows is shared: page tables that map the first 4 GiB
//! three times over (identity, [`DIRECT_MAP`](super::layout::DIRECT_MAP), kernel), long mode, SSE, a cleared
//! `.bss`, a stack. An application processor comes in real mode and joins where the page tables are there; it has
//! no protocol (EBX = 0) and takes the stack that [`smp`](super::smp) offers it. Nothing is assumed to be zero,
//! so that an image may be loaded without its `.bss`.
//!
//! AT&T syntax, since LLVM's Intel parser does not take the 64-bit symbol arithmetic that the 32-bit code needs.

/// Who started the kernel, and hence what the information pointer points to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Protocol {
    /// Xen's PVH: `hvm_start_info`.
    Pvh = 1,
    /// Linux: the zero page.
    Linux = 2,
    /// Multiboot, version 1.
    Multiboot1 = 3,
    /// Multiboot, version 2.
    Multiboot2 = 4,
}

impl Protocol {
    /// The protocol that the entry code numbered `n`.
    pub const fn from_number(n: u32) -> Option<Self> {
        match n {
            1 => Some(Self::Pvh),
            2 => Some(Self::Linux),
            3 => Some(Self::Multiboot1),
            4 => Some(Self::Multiboot2),
            _ => None,
        }
    }
}

#[cfg(feature = "image")]
core::arch::global_asm!(
    r#"
    .set BASE, 0xffffffff80000000

    .section .note.pvh, "a"
    .balign 4
    .long 4, 8, 18              # "Xen", 8 bytes, XEN_ELFNOTE_PHYS32_ENTRY
    .asciz "Xen"
    .quad pvh_entry - BASE

    .section .handoff, "aw"
    .globl osv_handoff
osv_handoff:
    .ascii "OSVHAND1"
    .fill 7, 8, 0

    .section .boot_bss, "aw", @nobits
    .balign 4096
    .globl boot_pml4
boot_pml4:   .skip 4096
boot_pdpt:   .skip 4096        # the first 512 GiB, for identity and direct map
boot_kpdpt:  .skip 4096        # the last 512 GiB
boot_pds:    .skip 4 * 4096    # 4 GiB in pages of 2 MiB, where the CPU has none of 1 GiB
    .globl boot_stack_bottom
boot_stack_bottom:
    .skip 32768
boot_stack_top:

    .section .boot.entries, "ax"
    .code64
linux_entry_64:                         # RSI = zero page
    jmp leave_long_mode
    .balign 16
    .code32
linux_entry_32:                         # ESI = zero page
    movl ${linux}, %ebx
    jmp boot_common
    .balign 16
multiboot_entry:                        # EAX = magic number, EBX = information
    jmp multiboot
    .balign 16
    .globl pvh_entry
pvh_entry:                              # EBX = hvm_start_info
    movl %ebx, %esi
    movl ${pvh}, %ebx
    jmp boot_common

    .section .boot, "ax"
multiboot:
    movl %ebx, %esi
    movl ${multiboot1}, %ebx
    cmpl $0x36d76289, %eax
    jne boot_common
    movl ${multiboot2}, %ebx
    jmp boot_common

    .code64
leave_long_mode:
    cli
    movq %rsi, %rax                     # out of reach is as good as nowhere
    shrq $32, %rax
    jz 1f
    movl $-1, %esi
1:  movq %cr4, %rax                     # paging cannot be left with PCIDE on
    andq $~0x20000, %rax
    movq %rax, %cr4
    lgdtq boot_gdtr - BASE
    movl $(boot_stack_top - BASE), %esp
    pushq $0x18
    pushq $(2f - BASE)
    lretq
    .code32
2:  movl $0x10, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    movl $0x11, %eax                    # ET, PE
    movl %eax, %cr0
    movl $0xc0000080, %ecx
    rdmsr
    andl $~0x100, %eax                  # EFER: no LME
    wrmsr
    movl ${linux}, %ebx

boot_common:
    cli
    cld
    movl $(boot_stack_top - BASE), %esp
    rdtsc
    pushl %edx
    pushl %eax

    movl $(boot_pml4 - BASE), %edi
    xorl %eax, %eax
    movl $(3 * 1024), %ecx
    rep stosl

    pushl %ebx
    movl $0x80000001, %eax
    cpuid
    popl %ebx
    testl $(1 << 26), %edx              # pages of 1 GiB
    jz 1f
    movl $(boot_pdpt - BASE), %edi      # each entry: present, writable, large, global
    movl $0x183, (%edi)
    movl $0x40000183, 8(%edi)
    movl $0x80000183, 16(%edi)
    movl $0xc0000183, 24(%edi)
    movl $0x183, boot_kpdpt - BASE + 510 * 8
    movl $0x40000183, boot_kpdpt - BASE + 511 * 8
    jmp 3f

1:  movl $(boot_pds - BASE), %edi       # pages of 2 MiB instead
    movl $0x183, %eax
    xorl %edx, %edx
4:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $8, %edi
    addl $0x200000, %eax
    jnc 4b

    movl $(boot_pds - BASE + 3), %eax
    movl $(boot_pdpt - BASE), %edi
    movl $4, %ecx
2:  movl %eax, (%edi)
    addl $8, %edi
    addl $4096, %eax
    loop 2b

    movl $(boot_pds - BASE + 3), boot_kpdpt - BASE + 510 * 8
    movl $(boot_pds - BASE + 4096 + 3), boot_kpdpt - BASE + 511 * 8
3:
    movl $(boot_pdpt - BASE + 3), boot_pml4 - BASE
    movl $(boot_pdpt - BASE + 3), boot_pml4 - BASE + 256 * 8
    movl $(boot_kpdpt - BASE + 3), boot_pml4 - BASE + 511 * 8

    popl %edi
    popl %ebp
    movl $(boot_pml4 - BASE), %eax

    # In: EAX = page tables; ESI, EBX, EDI, EBP are handed on. Application processors come this way, too.
    .globl boot_long_mode
boot_long_mode:
    movl %eax, %cr3
    movl $0x6a0, %eax                   # PAE, PGE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $0xc0000080, %ecx
    rdmsr
    orl $0x901, %eax                    # EFER: SCE, LME, NXE
    wrmsr
    movl $0x80010033, %eax              # PG, WP, NE, ET, MP, PE
    movl %eax, %cr0
    lgdtl boot_gdtr - BASE
    ljmpl $0x08, $(boot_64 - BASE)

    .code64
boot_64:
    movl $0x10, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    xorl %eax, %eax
    movl %eax, %fs
    movl %eax, %gs
    movabsq $boot_high, %rax
    jmpq *%rax

boot_high:
    testl %ebx, %ebx
    jz ap_high
    leaq boot_stack_top(%rip), %rsp
    leaq __bss_start(%rip), %rax
    leaq __bss_end(%rip), %rcx
    pxor %xmm0, %xmm0
3:  cmpq %rcx, %rax
    jae 4f
    movaps %xmm0, (%rax)
    movaps %xmm0, 16(%rax)
    movaps %xmm0, 32(%rax)
    movaps %xmm0, 48(%rax)
    movaps %xmm0, 64(%rax)
    movaps %xmm0, 80(%rax)
    movaps %xmm0, 96(%rax)
    movaps %xmm0, 112(%rax)
    addq $128, %rax
    jmp 3b
4:
    shlq $32, %rbp
    movl %edi, %edx
    orq %rbp, %rdx                      # time stamp
    movl %esi, %esi                     # information
    movl %ebx, %edi                     # protocol
    xorl %ebp, %ebp
    call {start}
    ud2

ap_high:
    xorl %eax, %eax                     # take the stack, if it is still offered
    xchgq %rax, {ap_offer} + {ap_stack}(%rip)
    testq %rax, %rax
    jz 6f
    movq {ap_offer} + {ap_page_table}(%rip), %rcx
    movq %rcx, %cr3
    movq %rax, %rsp
    xorl %ebp, %ebp
    call {ap_start}
6:  cli
    hlt
    jmp 6b

    # Copied to a page below 1 MiB: where an application processor starts, in real mode.
    .code16
    .globl ap_trampoline
ap_trampoline:
    cli
    cld
    lgdtl %cs:(boot_gdtr_copy - ap_trampoline)
    movl $0x11, %eax                    # ET, PE
    movl %eax, %cr0
    ljmpl $0x18, $(ap_32 - BASE)
boot_gdtr_copy:
    .word 4 * 8 - 1
    .long boot_gdt - BASE
    .globl ap_trampoline_end
ap_trampoline_end:

    .code32
ap_32:
    movl $0x10, %eax
    movl %eax, %ss
    movl %eax, %ds
    movl %eax, %es
    xorl %ebx, %ebx
    movl $(boot_pml4 - BASE), %eax
    jmp boot_long_mode

    .code64
    .balign 8
boot_gdt:
    .quad 0
    .quad 0x00af9b000000ffff            # 0x08: 64-bit code
    .quad 0x00cf93000000ffff            # 0x10: data
    .quad 0x00cf9b000000ffff            # 0x18: 32-bit code
boot_gdtr:
    .word . - boot_gdt - 1
    .quad boot_gdt - BASE               # 64-bit code reads all of it
    .text
"#,
    pvh = const Protocol::Pvh as u32,
    linux = const Protocol::Linux as u32,
    multiboot1 = const Protocol::Multiboot1 as u32,
    multiboot2 = const Protocol::Multiboot2 as u32,
    start = sym super::start,
    ap_start = sym super::smp::ap_start,
    ap_offer = sym super::smp::OFFER,
    ap_stack = const core::mem::offset_of!(super::smp::Offer, stack),
    ap_page_table = const core::mem::offset_of!(super::smp::Offer, page_table),
    options(att_syntax)
);
