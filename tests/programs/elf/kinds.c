/*
 * What a program finds when it starts: compiled as every kind of ELF (non-PIE, PIE, static, static-PIE, against musl).
 * Prints arguments, the auxiliary vector, where things lie, thread-local storage and the order of constructors.
 */
#include "../check.h"
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <sys/auxv.h>

static __thread int tls_zero;
static __thread int tls_value = 42;
static __thread char tls_aligned[64] __attribute__((aligned(64))) = "aligned";
static int constructed;
void _start(void);

__attribute__((constructor(101))) static void first(void) { constructed = constructed * 10 + 1; }
__attribute__((constructor(102))) static void second(void) { constructed = constructed * 10 + 2; }
__attribute__((destructor)) static void last(void) { printf("destructor\n"); }
static void at_exit(void) { printf("atexit\n"); }

static void auxv(const char *argv0) {
    SECTION("auxv");
    VALUE(getauxval(AT_PAGESZ));
    VALUE(getauxval(AT_CLKTCK));
    VALUE(getauxval(AT_SECURE));
    VALUE(getauxval(AT_PHENT));
    VALUE(getauxval(AT_FLAGS));
    TRUE(getauxval(AT_UID) == getuid());
    TRUE(getauxval(AT_EUID) == geteuid());
    TRUE(getauxval(AT_GID) == getgid());
    TRUE(getauxval(AT_EGID) == getegid());
    TRUE(getauxval(AT_ENTRY) == (unsigned long)_start);
    TRUE(getauxval(AT_SYSINFO_EHDR) != 0);
    printf("platform %s\n", (const char *)getauxval(AT_PLATFORM));
    TRUE(!strcmp((const char *)getauxval(AT_EXECFN), argv0));
    const unsigned char *random = (const unsigned char *)getauxval(AT_RANDOM);
    int different = 0;
    for (int i = 1; i < 16; i++) different += random[i] != random[0];
    TRUE(different > 4);
    const ElfW(Phdr) *phdr = (const void *)getauxval(AT_PHDR);
    int loads = 0, tls = 0;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++) {
        loads += phdr[i].p_type == PT_LOAD;
        tls += phdr[i].p_type == PT_TLS;
    }
    TRUE(loads >= 2);
    printf("tls segments %d\n", tls);
}

static const char *region(const void *at) {
    uintptr_t address = (uintptr_t)at;
    if (address < 0x10000) return "page 0";
    if (address >= 0x400000 && address < 0x40000000) return "low";
    // The stack begins in the last 16 GiB, mappings (with them a static PIE, on Linux) begin below these.
    if (address >= 0x7ffbffb00000 && address < 0x800000000000) return "top";
    if (address >= 0x500000000000 && address < 0x7ffbffb00000) return "high";
    return "elsewhere";
}

static void *thread_sees(void *unused) {
    printf("thread tls: %d %d %s aligned %lu\n", tls_zero, tls_value, tls_aligned, (uintptr_t)tls_aligned % 64);
    tls_value = 7;
    return unused;
}

int main(int argc, char **argv) {
    static int initialised = 5, zero[4096];
    int local;
    SECTION("arguments");
    for (int i = 1; i < argc; i++) printf("argv[%d] <%s>\n", i, argv[i]);
    TRUE(argv[argc] == NULL);
    TRUE(getenv("CHECK_ENV") && !strcmp(getenv("CHECK_ENV"), "a value with = and spaces"));
    auxv(argv[0]);
    SECTION("places");
    printf("text %s, data %s, stack %s\n", region((void *)main), region(&initialised), region(&local));
    TRUE((uintptr_t)__builtin_frame_address(0) % 16 == 0);
    int sum = initialised;
    for (int i = 0; i < 4096; i++) sum += zero[i];
    printf("data and bss %d\n", sum);
    long heap = syscall(SYS_brk, 0);
    TRUE(syscall(SYS_brk, heap + 8192) == heap + 8192);
    memset((void *)heap, 1, 8192);
    SECTION("thread-local storage");
    printf("main tls: %d %d %s aligned %lu\n", tls_zero, tls_value, tls_aligned, (uintptr_t)tls_aligned % 64);
    tls_value = 1, tls_zero = 2;
    pthread_t thread;
    pthread_create(&thread, NULL, thread_sees, NULL);
    pthread_join(thread, NULL);
    printf("main tls: %d %d\n", tls_zero, tls_value);
    SECTION("end");
    printf("constructors %d\n", constructed);
    atexit(at_exit);
    return 37;
}
