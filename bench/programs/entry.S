/*
 * The shortest PVH kernel: says on the serial port what the time-stamp counter was when the firmware handed over, and
 * stops the machine. Under `-icount shift=0` that is the number of instructions that the firmware and the loader took,
 * which the benchmark subtracts from what a kernel needed until `main`.
 */
        .code32
        .section .note.Xen, "a", @note
        .align 4
        .long 4, 4, 18                  /* name size, value size, XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long _start

        .text
        .globl _start
_start:
        rdtsc
        movl %edx, %esi
        movl %eax, %edi
        movl $prefix, %ebx
1:      movb (%ebx), %al
        testb %al, %al
        jz 2f
        call put
        incl %ebx
        jmp 1b
2:      movl %esi, %ebx
        call put_hex
        movl %edi, %ebx
        call put_hex
        movb $'\n', %al
        call put
        lidt empty_idt                  /* a triple fault ends the VM: QEMU runs with -no-reboot */
        int3

put_hex:                                /* ebx, as eight digits */
        movl $8, %ecx
3:      roll $4, %ebx
        movl %ebx, %eax
        andl $15, %eax
        movb digits(%eax), %al
        call put
        decl %ecx
        jnz 3b
        ret

put:                                    /* al, once the transmitter is empty */
        movb %al, %ah
        movw $0x3fd, %dx
4:      inb %dx, %al
        testb $0x20, %al
        jz 4b
        movb %ah, %al
        movw $0x3f8, %dx
        outb %al, %dx
        ret

prefix: .asciz "\nentry_tsc "
digits: .ascii "0123456789abcdef"
        .align 8
empty_idt:
        .fill 6, 1, 0
