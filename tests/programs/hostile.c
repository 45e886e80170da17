/*
 * System calls with arguments that no honest program passes: bad pointers in every position, bad descriptors, huge sizes,
 * numbers that no call has. The kernel answers with the errno that Linux gives, and lives.
 */
#include "check.h"
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/utsname.h>

static long call(long number, long a, long b, long c, long d, long e, long f) {
    return syscall(number, a, b, c, d, e, f);
}

int main(void);

static const long bad[] = {8, 0x400000000000, 0x7ffffffff000, 0x800000000000, -4096, -1};

#define BAD_POINTER(name, ...)                                                     \
    do {                                                                           \
        printf("%s:", #name);                                                      \
        for (int i = 0; i < 6; i++) {                                              \
            long P = bad[i];                                                       \
            (void)P;                                                               \
            long result = call(SYS_##name, __VA_ARGS__);                           \
            printf(" %s", result == -1 ? error_name(errno) : result ? "value" : "ok"); \
        }                                                                          \
        printf("\n");                                                              \
    } while (0)

static void pointers(void) {
    SECTION("bad pointers");
    int ends[2], file = MUST(open("file", O_RDWR | O_CREAT, 0600)), poller = MUST(epoll_create1(0));
    MUST(pipe(ends));
    MUST(write(ends[1], "some bytes", 10));
    MUST(write(file, "content", 7));
    BAD_POINTER(read, ends[0], P, 5, 0, 0, 0);
    BAD_POINTER(write, ends[1], P, 5, 0, 0, 0);
    BAD_POINTER(pread64, file, P, 5, 0, 0, 0);
    BAD_POINTER(pwrite64, file, P, 5, 0, 0, 0);
    BAD_POINTER(readv, ends[0], P, 1, 0, 0, 0);
    BAD_POINTER(writev, ends[1], P, 1, 0, 0, 0);
    BAD_POINTER(open, P, O_RDONLY, 0, 0, 0, 0);
    BAD_POINTER(openat, AT_FDCWD, P, O_RDONLY, 0, 0, 0);
    BAD_POINTER(stat, P, P, 0, 0, 0, 0);
    BAD_POINTER(fstat, file, P, 0, 0, 0, 0);
    BAD_POINTER(newfstatat, AT_FDCWD, P, (long)&ends, 0, 0, 0);
    BAD_POINTER(statx, AT_FDCWD, P, 0, 0x7ff, P, 0);
    BAD_POINTER(pipe2, P, 0, 0, 0, 0, 0);
    BAD_POINTER(poll, P, 1, 0, 0, 0, 0);
    BAD_POINTER(select, 5, P, 0, 0, 0, 0);
    BAD_POINTER(getcwd, P, 100, 0, 0, 0, 0);
    BAD_POINTER(readlink, (long)"/proc/self/exe", P, 10, 0, 0, 0);
    BAD_POINTER(getdents64, MUST(open(".", O_RDONLY)), P, 1000, 0, 0, 0);
    BAD_POINTER(rt_sigaction, SIGUSR1, P, 0, 8, 0, 0);
    BAD_POINTER(rt_sigaction, SIGUSR1, 0, P, 8, 0, 0);
    BAD_POINTER(rt_sigprocmask, SIG_BLOCK, P, 0, 8, 0, 0);
    BAD_POINTER(rt_sigpending, P, 8, 0, 0, 0, 0);
    BAD_POINTER(rt_sigtimedwait, P, 0, 0, 8, 0, 0);
    BAD_POINTER(sigaltstack, P, 0, 0, 0, 0, 0);
    BAD_POINTER(sigaltstack, 0, P, 0, 0, 0, 0);
    BAD_POINTER(clock_gettime, CLOCK_MONOTONIC, P, 0, 0, 0, 0);
    BAD_POINTER(clock_getres, CLOCK_MONOTONIC, P, 0, 0, 0, 0);
    BAD_POINTER(nanosleep, P, 0, 0, 0, 0, 0);
    BAD_POINTER(gettimeofday, P, 0, 0, 0, 0, 0);
    BAD_POINTER(getitimer, ITIMER_REAL, P, 0, 0, 0, 0);
    BAD_POINTER(uname, P, 0, 0, 0, 0, 0);
    BAD_POINTER(sysinfo, P, 0, 0, 0, 0, 0);
    BAD_POINTER(getrlimit, RLIMIT_NOFILE, P, 0, 0, 0, 0);
    BAD_POINTER(prlimit64, 0, RLIMIT_NOFILE, P, 0, 0, 0);
    BAD_POINTER(getrusage, RUSAGE_SELF, P, 0, 0, 0, 0);
    BAD_POINTER(epoll_ctl, poller, EPOLL_CTL_ADD, ends[0], P, 0, 0);
    BAD_POINTER(futex, P, FUTEX_WAIT, 0, 0, 0, 0);
    BAD_POINTER(getrandom, P, 16, 0, 0, 0, 0);
    BAD_POINTER(statfs, (long)".", P, 0, 0, 0, 0);
    BAD_POINTER(ioctl, ends[0], FIONREAD, P, 0, 0, 0);
    BAD_POINTER(execve, P, 0, 0, 0, 0, 0);
    BAD_POINTER(sched_getaffinity, 0, 128, P, 0, 0, 0);
    BAD_POINTER(mkdir, P, 0700, 0, 0, 0, 0);
    BAD_POINTER(rename, P, (long)"x", 0, 0, 0, 0);
    BAD_POINTER(symlink, P, (long)"x", 0, 0, 0, 0);
    BAD_POINTER(memfd_create, P, 0, 0, 0, 0, 0);
    BAD_POINTER(timerfd_settime, 0, 0, P, 0, 0, 0);
    BAD_POINTER(clone3, P, 88, 0, 0, 0, 0);
    char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 'a', 2 * PAGE);
    mprotect(pages + PAGE, PAGE, PROT_NONE);
    TRY(open(pages + PAGE - 10, O_RDONLY));
    lseek(file, 0, SEEK_SET);
    VALUE(read(file, pages + PAGE - 3, 7));
    VALUE(write(ends[1], pages + PAGE - 3, 7));
    VALUE(write(file, pages + PAGE - 3, 7));
    mprotect(pages, PAGE, PROT_READ);
    VALUE(pread(file, pages, 3, 0));
    VALUE(pread(file, (void *)main, 3, 0));
}

static void descriptors(void) {
    SECTION("bad descriptors");
    static const struct { const char *name; long number; } calls[] = {
#define C(name) {#name, SYS_##name}
        C(read), C(write), C(close), C(fstat), C(lseek), C(ioctl), C(pread64), C(pwrite64), C(readv), C(writev), C(dup),
        C(fcntl), C(fsync), C(ftruncate), C(getdents64), C(fchdir), C(fchmod), C(fchown), C(fstatfs), 
        C(timerfd_gettime), C(fallocate), C(syncfs),
    };
    int path = MUST(open("file", O_PATH));
    for (unsigned i = 0; i < sizeof calls / sizeof *calls; i++) {
        long fds[] = {-1, 1023, 0x7fffffff, -100};
        printf("%s:", calls[i].name);
        for (int j = 0; j < 4; j++) {
            long result = call(calls[i].number, fds[j], 0, 0, 0, 0, 0);
            printf(" %s", result == -1 ? error_name(errno) : "ok");
        }
        printf("\n");
    }
    TRY(call(SYS_read, path, (long)&path, 4, 0, 0, 0));
}

static void sizes(void) {
    SECTION("sizes and flags");
    int file = MUST(open("file", O_RDWR)), null = MUST(open("/dev/null", O_RDWR));
    char byte;
    VALUE(call(SYS_read, file, (long)&byte, -1, 0, 0, 0));
    VALUE(call(SYS_write, null, (long)&byte, -1, 0, 0, 0));
    VALUE(call(SYS_readv, file, (long)&byte, 2000, 0, 0, 0));
    struct iovec huge[2] = {{&byte, (size_t)-1}, {&byte, 1}};
    VALUE(readv(file, huge, 2));
    VALUE(call(SYS_poll, 0, 0x7fffffff, 0, 0, 0, 0));
    VALUE(call(SYS_getrandom, (long)&byte, 1, 0x80, 0, 0, 0));
    VALUE(call(SYS_open, (long)"file", 0x3, 0, 0, 0, 0) > 0);
    VALUE(call(SYS_mmap, 0, -1, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    VALUE(call(SYS_mmap, -4096, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    VALUE(call(SYS_mmap, 0, 4096, PROT_READ, MAP_PRIVATE, file, -4096));
    VALUE(call(SYS_munmap, 0, -1, 0, 0, 0, 0));
    VALUE(call(SYS_munmap, 0x7fffffff0000, 0x7fffffff0000, 0, 0, 0, 0));
    VALUE(call(SYS_mprotect, -4096, 8192, 0, 0, 0, 0));
    VALUE(call(SYS_rt_sigaction, SIGUSR1, 0, 0, 7, 0, 0));
    VALUE(call(SYS_rt_sigprocmask, 9, (long)&huge, 0, 8, 0, 0));
    VALUE(call(SYS_clone, 0x100 | 0x10000, 0, 0, 0, 0, 0));
    VALUE(call(SYS_clone3, (long)huge, 8, 0, 0, 0, 0));
    VALUE(call(SYS_arch_prctl, 0x9999, 0, 0, 0, 0, 0));
    VALUE(call(SYS_arch_prctl, 0x1002, -1, 0, 0, 0, 0));
    VALUE(call(SYS_set_tid_address, -1, 0, 0, 0, 0, 0) > 0);
    VALUE(call(SYS_set_robust_list, -1, 5, 0, 0, 0, 0));
    VALUE(call(SYS_epoll_wait, 0, 0, -1, 0, 0, 0));
    VALUE(call(SYS_dup2, 0, 0x7fffffff, 0, 0, 0, 0));
    VALUE(call(SYS_fcntl, 0, F_DUPFD, 0x7fffffff, 0, 0, 0));
    VALUE(call(SYS_prlimit64, 0, 99, 0, 0, 0, 0));
    VALUE(call(SYS_kill, 0x80000000, 0, 0, 0, 0, 0));
    VALUE(call(SYS_tgkill, 0, 0, 0, 0, 0, 0));
    VALUE(call(SYS_wait4, 0x80000000, 0, 0, 0, 0, 0));
}

static void unknown(void) {
    SECTION("unknown calls");
    long numbers[] = {400, 423, 511, 548, 600, 1000, 4096, 0x7fffffff, -1, -2, 1L << 32, 1L << 62};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        long result = call(numbers[i], -1, -1, -1, -1, -1, -1);
        printf("%ld: %s\n", numbers[i], result == -1 ? error_name(errno) : "ok");
    }
}

/* Where the program's own state is hostile: a bad stack, flags, thread pointer when a signal or fault comes. */
static void on_signal(int number) { (void)number; }

static void states(void) {
    SECTION("bad states");
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    IN_CHILD("signal on an unmapped stack", signal(SIGALRM, on_signal); setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 20000}}, NULL);
             __asm__ volatile("movq $64, %%rsp\n 1: pause\n jmp 1b" ::: "memory"));
    IN_CHILD("fault on an unmapped stack", __asm__ volatile("movq $64, %%rsp\n pushq $1" ::: "memory"));
    IN_CHILD("jump to nowhere", __asm__ volatile("movabsq $0x123456789000, %%rax\n jmp *%%rax" ::: "rax", "memory"));
    IN_CHILD("jump to a non-canonical address", __asm__ volatile("movabsq $0x8000000000000000, %%rax\n jmp *%%rax" ::: "rax", "memory"));
    IN_CHILD("system call with the direction flag", __asm__ volatile("std\n movl $39, %%eax\n syscall\n cld" ::: "rax", "rcx", "r11", "memory"));
    IN_CHILD("system call on an unmapped stack", __asm__ volatile("movq %%rsp, %%rbx\n movq $64, %%rsp\n movl $39, %%eax\n syscall\n movq %%rbx, %%rsp" ::: "rax", "rbx", "rcx", "r11", "memory"));
    IN_CHILD("sigreturn from nothing", __asm__ volatile("movl $15, %%eax\n syscall" ::: "rax", "rcx", "r11", "memory"));
    IN_CHILD("alignment check flag", __asm__ volatile("pushfq\n orl $0x40000, (%%rsp)\n popfq\n movl $39, %%eax\n syscall\n pushfq\n andl $~0x40000, (%%rsp)\n popfq" ::: "rax", "rcx", "r11", "memory", "cc"));
    IN_CHILD("single step", signal(SIGTRAP, SIG_DFL); __asm__ volatile("pushfq\n orl $0x100, (%%rsp)\n popfq\n nop\n nop" ::: "memory", "cc"));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    pointers();
    descriptors();
    sizes();
    unknown();
    states();
    return 0;
}
