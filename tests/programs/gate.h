/*
 * System calls by a call: what osv's vDSO has for it, or, where there is none, a function around the instruction that
 * looks the same to its callers.
 */
#ifndef GATE_H
#define GATE_H

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

/* RAX = number, arguments as for the instruction. Changes what functions may change. */
extern void call_by_instruction(void);
__asm__(".text\n.type call_by_instruction, @function\ncall_by_instruction:\nsyscall\nret\n");

static void (*gate)(void) = call_by_instruction;

/* The address of a function of the vDSO, or null. */
static inline void *vdso_function(const char *name) {
    const char *base = (const char *)getauxval(AT_SYSINFO_EHDR);
    if (!base) return NULL;
    const Elf64_Ehdr *file = (const void *)base;
    const Elf64_Phdr *segments = (const void *)(base + file->e_phoff);
    const Elf64_Dyn *dynamic = NULL;
    for (int i = 0; i < file->e_phnum; i++)
        if (segments[i].p_type == PT_DYNAMIC) dynamic = (const void *)(base + segments[i].p_vaddr);
    const Elf64_Sym *symbols = NULL;
    const Elf64_Word *hash = NULL;
    const char *strings = NULL;
    for (; dynamic && dynamic->d_tag; dynamic++) {
        if (dynamic->d_tag == DT_SYMTAB) symbols = (const void *)(base + dynamic->d_un.d_ptr);
        if (dynamic->d_tag == DT_STRTAB) strings = base + dynamic->d_un.d_ptr;
        if (dynamic->d_tag == DT_HASH) hash = (const void *)(base + dynamic->d_un.d_ptr);
    }
    for (Elf64_Word i = 1; symbols && strings && hash && i < hash[1]; i++)
        if (!strcmp(strings + symbols[i].st_name, name)) return (void *)(base + symbols[i].st_value);
    return NULL;
}

/* Finds the gate. On osv there must be one. */
static inline void find_gate(void) {
    struct utsname names;
    if (uname(&names)) exit(100);
    void *found = vdso_function("__vdso_osv_call");
    if (!found != !strstr(names.release, "-osv")) {
        printf("the gate is at %p on %s\n", found, names.release);
        exit(100);
    }
    if (found) gate = (void (*)(void))found;
}

/* The result, or the error's negated number. */
static inline long raw_call(void (*entry)(void), long number, long a, long b, long c, long d, long e, long f) {
    long result = number;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("sub $128, %%rsp\ncall *%[entry]\nadd $128, %%rsp" /* the red zone */
                     : "+a"(result), "+D"(a), "+S"(b), "+d"(c), "+r"(r10), "+r"(r8), "+r"(r9)
                     : [entry] "b"(entry)
                     : "rcx", "r11", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return result;
}

/* As syscall(), through the gate. */
static inline long gate_call(long number, long a, long b, long c, long d, long e, long f) {
    long result = raw_call(gate, number, a, b, c, d, e, f);
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

#define GATE0(name) gate_call(SYS_##name, 0, 0, 0, 0, 0, 0)
#define GATE1(name, a) gate_call(SYS_##name, (long)(a), 0, 0, 0, 0, 0)
#define GATE2(name, a, b) gate_call(SYS_##name, (long)(a), (long)(b), 0, 0, 0, 0)
#define GATE3(name, a, b, c) gate_call(SYS_##name, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define GATE4(name, a, b, c, d) gate_call(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define GATE6(name, a, b, c, d, e, f) \
    gate_call(SYS_##name, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

#endif
