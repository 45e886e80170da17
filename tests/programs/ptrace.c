/* Tracing: every kind of stop and how a tracee goes on from it, registers and memory, hostile registers, who may trace whom. */
#include "check.h"
#include <dirent.h>
#include <elf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>

#define TRACE(request, pid, address, data) syscall(SYS_ptrace, request, pid, (long)(address), (long)(data))

static volatile long watched;
static volatile int handled;

/* A stop in words: signal, event, and whether it is a group stop. */
static const char *stop_text(int status) {
    static char text[80];
    if (!WIFSTOPPED(status)) return ending(status);
    snprintf(text, sizeof text, "stop %d%s event %d", WSTOPSIG(status) & 0x7f, status >> 8 & 0x80 ? "|80" : "", status >> 16);
    return text;
}

static int wait_stop(pid_t pid, const char *label) {
    int status = 0;
    pid_t got = waitpid(pid, &status, __WALL);
    if (got == -1) printf("%s: %s\n", label, error_name(errno));
    else printf("%s: %s\n", label, stop_text(status));
    return status;
}

static struct user_regs_struct registers_of(pid_t pid) {
    struct user_regs_struct registers;
    MUST(TRACE(PTRACE_GETREGS, pid, 0, &registers));
    return registers;
}

static siginfo_t info_of(pid_t pid) {
    siginfo_t info;
    memset(&info, 0, sizeof info);
    MUST(TRACE(PTRACE_GETSIGINFO, pid, 0, &info));
    return info;
}

#define CHILD(...)                      \
    ({                                  \
        fflush(stdout);                 \
        pid_t child = MUST(fork());     \
        if (!child) {                   \
            __VA_ARGS__;                \
            fflush(stdout);             \
            _exit(0);                   \
        }                               \
        child;                          \
    })

/* A child that asks to be traced and stops. */
#define TRACEE(...)                                 \
    ({                                              \
        pid_t tracee = CHILD({                      \
            MUST(TRACE(PTRACE_TRACEME, 0, 0, 0));   \
            raise(SIGSTOP);                         \
            __VA_ARGS__;                            \
        });                                         \
        wait_stop(tracee, "first stop");            \
        tracee;                                     \
    })

static void finish(pid_t pid) {
    kill(pid, SIGKILL);
    int status;
    while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status)) {}
}

static void on_signal(int number) {
    handled = number;
}

static void refusals(void) {
    SECTION("refusals");
    VALUE(TRACE(PTRACE_ATTACH, getpid(), 0, 0));
    VALUE(TRACE(PTRACE_ATTACH, 999999, 0, 0));
    VALUE(TRACE(PTRACE_ATTACH, -1, 0, 0));
    VALUE(TRACE(PTRACE_CONT, getppid(), 0, 0));
    VALUE(TRACE(0x7777, 1, 0, 0));
    pid_t child = CHILD(pause());
    VALUE(TRACE(PTRACE_SEIZE, child, 1, 0));
    VALUE(TRACE(PTRACE_SEIZE, child, 0, 1L << 40));
    VALUE(TRACE(PTRACE_SEIZE, child, 0, 1 << 9));
    VALUE(TRACE(PTRACE_CONT, child, 0, 0));
    VALUE(TRACE(PTRACE_SEIZE, child, 0, 0));
    VALUE(TRACE(PTRACE_SEIZE, child, 0, 0));
    VALUE(TRACE(PTRACE_ATTACH, child, 0, 0));
    VALUE(TRACE(PTRACE_CONT, child, 0, 0));
    VALUE(TRACE(PTRACE_GETREGS, child, 0, 0));
    VALUE(TRACE(PTRACE_DETACH, child, 0, 0));
    VALUE(TRACE(PTRACE_INTERRUPT, child, 0, 0));
    wait_stop(child, "interrupted");
    VALUE(TRACE(PTRACE_GETREGS, child, 0, 0));
    VALUE(TRACE(PTRACE_CONT, child, 0, 65));
    VALUE(TRACE(PTRACE_SETOPTIONS, child, 0, 1 << 9));
    VALUE(TRACE(0x7777, child, 0, 0));
    VALUE(TRACE(PTRACE_LISTEN, child, 0, 0));
    finish(child);
    child = TRACEE();
    VALUE(TRACE(PTRACE_INTERRUPT, child, 0, 0));
    VALUE(TRACE(PTRACE_LISTEN, child, 0, 0));
    finish(child);
    IN_CHILD("twice", VALUE(TRACE(PTRACE_TRACEME, 0, 0, 0)); VALUE(TRACE(PTRACE_TRACEME, 0, 0, 0)));
}

static void signals(void) {
    SECTION("signals");
    signal(SIGUSR1, on_signal);
    pid_t child = TRACEE({
        raise(SIGUSR1);
        printf("handled %d\n", handled);
        raise(SIGUSR1);
        raise(SIGURG);
        raise(SIGUSR2);
    });
    siginfo_t info = info_of(child);
    printf("info: %d %d %d\n", info.si_signo, info.si_code, info.si_pid == child);
    VALUE(TRACE(PTRACE_CONT, child, 0, 0));
    wait_stop(child, "a handler's");
    VALUE(TRACE(PTRACE_CONT, child, 0, SIGUSR1));
    wait_stop(child, "a suppressed one");
    VALUE(TRACE(PTRACE_CONT, child, 0, 0));
    wait_stop(child, "one that is ignored");
    VALUE(TRACE(PTRACE_CONT, child, 0, SIGURG));
    wait_stop(child, "one that kills");
    info = info_of(child);
    info.si_value.sival_int = 7;
    VALUE(TRACE(PTRACE_SETSIGINFO, child, 0, &info));
    VALUE(TRACE(PTRACE_CONT, child, 0, SIGTERM));
    wait_stop(child, "another one");

    SECTION("masks and queues");
    child = TRACEE({
        sigset_t set;
        sigfillset(&set);
        sigprocmask(SIG_BLOCK, &set, NULL);
        for (int i = 0; i < 3; i++) sigqueue(getpid(), SIGRTMIN + i, (union sigval){.sival_int = i});
        raise(SIGRTMAX);
        raise(SIGSTOP);
    });
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "all blocked");
    unsigned long mask = 0;
    VALUE(TRACE(PTRACE_GETSIGMASK, child, 4, &mask));
    VALUE(TRACE(PTRACE_GETSIGMASK, child, 8, &mask));
    printf("mask: %lx\n", mask);
    siginfo_t pending[8];
    struct __ptrace_peeksiginfo_args args = {0, PTRACE_PEEKSIGINFO_SHARED, 8};
    VALUE(TRACE(PTRACE_PEEKSIGINFO, child, &args, pending));
    printf("second: %d %d\n", pending[1].si_signo - SIGRTMIN, pending[1].si_value.sival_int);
    args.off = 1, args.nr = 1;
    VALUE(TRACE(PTRACE_PEEKSIGINFO, child, &args, pending));
    args.off = 9;
    VALUE(TRACE(PTRACE_PEEKSIGINFO, child, &args, pending));
    args = (struct __ptrace_peeksiginfo_args){0, 0, 8};
    VALUE(TRACE(PTRACE_PEEKSIGINFO, child, &args, pending));
    args.flags = 2;
    VALUE(TRACE(PTRACE_PEEKSIGINFO, child, &args, pending));
    args = (struct __ptrace_peeksiginfo_args){0, 0, -1};
    VALUE(TRACE(PTRACE_PEEKSIGINFO, child, &args, pending));
    mask = ~(1UL << (SIGRTMAX - 1));
    VALUE(TRACE(PTRACE_SETSIGMASK, child, 8, &mask));
    VALUE(TRACE(PTRACE_GETSIGMASK, child, 8, &mask));
    printf("mask: %lx\n", mask);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "unblocked");
    finish(child);
}

static void calls(void) {
    SECTION("system calls");
    pid_t child = TRACEE({
        syscall(SYS_getppid, 1, 2, 3, 4, 5, 6);
        printf("skipped: %ld\n", syscall(SYS_getuid));
        printf("changed: %d\n", syscall(SYS_getpriority, 0, 0) == getpid());
        syscall(100000);
        syscall(SYS_close, -1);
        _exit(3);
    });
    VALUE(TRACE(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESYSGOOD));
    struct __ptrace_syscall_info info;
    memset(&info, 0, sizeof info);
    VALUE(TRACE(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info));
    printf("none: %d %x\n", info.op, info.arch);
    for (int i = 0;; i++) {
        TRACE(PTRACE_SYSCALL, child, 0, 0);
        int status = wait_stop(child, "call");
        if (!WIFSTOPPED(status)) break;
        struct user_regs_struct registers = registers_of(child);
        memset(&info, 0, sizeof info);
        long size = TRACE(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info);
        unsigned long message = 99;
        TRACE(PTRACE_GETEVENTMSG, child, 0, &message);
        printf("%ld op %d message %lu, ip %d, sp %d; ", size, info.op, message, info.instruction_pointer == registers.rip,
               info.stack_pointer == registers.rsp);
        printf("rcx %d, r11 %d, code %d\n", registers.rcx == registers.rip, registers.r11 == registers.eflags,
               info_of(child).si_code);
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY) {
            printf("entry %ld, rax %lld, arguments %d\n", (long)info.entry.nr, registers.rax, info.entry.args[5] == 6);
            if (info.entry.nr == SYS_getuid) TRACE(PTRACE_POKEUSER, child, offsetof(struct user, regs.orig_rax), -1);
            if (info.entry.nr == SYS_getpriority) {
                registers.orig_rax = SYS_getpid;
                TRACE(PTRACE_SETREGS, child, 0, &registers);
            }
        } else if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
            printf("exit %d, error %d\n", info.exit.rval == (long)registers.rax, info.exit.is_error);
            if (registers.orig_rax == ~0ULL) TRACE(PTRACE_POKEUSER, child, offsetof(struct user, regs.rax), 4711);
        }
    }
    SECTION("emulation");
    child = TRACEE({
        printf("emulated: %ld\n", syscall(SYS_getuid));
        fflush(stdout);
    });
    TRACE(PTRACE_SYSEMU, child, 0, 0);
    wait_stop(child, "begin");
    VALUE(TRACE(PTRACE_POKEUSER, child, offsetof(struct user, regs.rax), 77));
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "end");
}

static void interrupted_calls(void) {
    SECTION("interrupted calls");
    int ends[2];
    MUST(pipe(ends));
    pid_t child = CHILD({
        char byte;
        printf("read %zd\n", read(ends[0], &byte, 1));
        struct timespec time = {0, 200000000};
        printf("slept %d\n", nanosleep(&time, NULL));
    });
    sleep_ms(100);
    VALUE(TRACE(PTRACE_SEIZE, child, 0, PTRACE_O_TRACESYSGOOD));
    for (int i = 0; i < 3; i++) {
        VALUE(TRACE(PTRACE_INTERRUPT, child, 0, 0));
        wait_stop(child, "in read");
        struct user_regs_struct registers = registers_of(child);
        printf("rax %lld orig %lld\n", registers.rax, registers.orig_rax);
        TRACE(PTRACE_CONT, child, 0, 0);
        sleep_ms(20);
    }
    MUST(write(ends[1], "x", 1));
    sleep_ms(50);
    VALUE(TRACE(PTRACE_INTERRUPT, child, 0, 0));
    wait_stop(child, "in nanosleep");
    struct user_regs_struct registers = registers_of(child);
    printf("rax %lld orig is nanosleep %d\n", registers.rax,
           registers.orig_rax == SYS_clock_nanosleep || registers.orig_rax == SYS_nanosleep);
    VALUE(TRACE(PTRACE_DETACH, child, 0, 0));
    wait_stop(child, "end");
    close(ends[0]), close(ends[1]);
}

static void stops(int is_seized) {
    SECTION(is_seized ? "group stops of a seized tracee" : "group stops of an attached tracee");
    pid_t child = CHILD(for (;;) pause());
    if (is_seized) VALUE(TRACE(PTRACE_SEIZE, child, 0, 0));
    else {
        VALUE(TRACE(PTRACE_ATTACH, child, 0, 0));
        wait_stop(child, "attached");
        VALUE(TRACE(PTRACE_CONT, child, 0, 0));
    }
    kill(child, SIGTSTP);
    wait_stop(child, "signal");
    siginfo_t info = info_of(child);
    printf("code %d\n", info.si_code);
    VALUE(TRACE(PTRACE_CONT, child, 0, SIGSTOP));
    wait_stop(child, "group stop");
    if (TRACE(PTRACE_GETSIGINFO, child, 0, &info) == -1) printf("no info: %s\n", error_name(errno));
    else printf("info %d %x\n", info.si_signo, info.si_code);
    VALUE(TRACE(PTRACE_LISTEN, child, 0, 0));
    struct user_regs_struct registers;
    VALUE(TRACE(PTRACE_GETREGS, child, 0, &registers));
    kill(child, SIGCONT);
    if (is_seized) {
        wait_stop(child, "continued");
        VALUE(TRACE(PTRACE_CONT, child, 0, 0));
    } else VALUE(TRACE(PTRACE_CONT, child, 0, 0));
    wait_stop(child, "SIGCONT itself");
    VALUE(TRACE(PTRACE_CONT, child, 0, SIGCONT));
    int status;
    VALUE(waitpid(child, &status, WNOHANG | __WALL));
    kill(child, SIGSTOP);
    wait_stop(child, "signal");
    VALUE(TRACE(PTRACE_DETACH, child, 0, SIGSTOP));
    VALUE(waitpid(child, &status, WUNTRACED) == child);
    printf("untraced: %s\n", ending(status));
    VALUE(TRACE(is_seized ? PTRACE_SEIZE : PTRACE_ATTACH, child, 0, 0));
    wait_stop(child, "attached while stopped");
    finish(child);
}

static void info_by_waitid(void) {
    SECTION("waitid and SIGCHLD");
    sigset_t set, old;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigprocmask(SIG_BLOCK, &set, &old);
    pid_t child = CHILD({
        MUST(TRACE(PTRACE_TRACEME, 0, 0, 0));
        raise(SIGUSR2);
    });
    siginfo_t info;
    printf("SIGCHLD %d\n", sigwaitinfo(&set, &info));
    printf("code %d status %d pid %d\n", info.si_code, info.si_status, info.si_pid == child);
    VALUE(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    printf("code %d status %d\n", info.si_code, info.si_status);
    VALUE(waitid(P_PID, child, &info, WEXITED));
    VALUE(waitid(P_PID, child, &info, WEXITED | WNOHANG));
    printf("pid %d\n", info.si_pid);
    VALUE(TRACE(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACEEXIT));
    TRACE(PTRACE_CONT, child, 0, 0);
    VALUE(waitid(P_PID, child, &info, WEXITED));
    printf("code %d status %x\n", info.si_code, info.si_status);
    unsigned long message;
    VALUE(TRACE(PTRACE_GETEVENTMSG, child, 0, &message));
    printf("message %lx\n", message);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "end");
    sigprocmask(SIG_SETMASK, &old, NULL);
}

static void memory(void) {
    SECTION("memory");
    static const char text[] = "a text that nobody writes";
    char *page = MUST(mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    strcpy(page, "hidden");
    MUST(mprotect(page, PAGE, PROT_NONE));
    char *shared = MUST(mmap(NULL, PAGE, PROT_READ, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t child = TRACEE(printf("text: %s\n", *(const char *volatile *)&(const char *){text}));
    long word;
    VALUE(TRACE(PTRACE_PEEKDATA, child, text, &word));
    printf("%.8s\n", (char *)&word);
    VALUE(TRACE(PTRACE_PEEKDATA, child, page, &word));
    printf("%.6s\n", (char *)&word);
    VALUE(TRACE(PTRACE_PEEKDATA, child, 0, &word));
    VALUE(TRACE(PTRACE_PEEKDATA, child, 0xffffffff80000000, &word));
    VALUE(TRACE(PTRACE_PEEKDATA, child, page + 2 * PAGE - 4, &word));
    VALUE(TRACE(PTRACE_PEEKDATA, child, text, 8));
    VALUE(TRACE(PTRACE_POKEDATA, child, text, *(long *)"A TEXT T"));
    VALUE(TRACE(PTRACE_POKEDATA, child, shared, 1));
    VALUE(TRACE(PTRACE_POKETEXT, child, 0xffffffff80000000, 1));
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", child);
    int fd = MUST(open(path, O_RDWR));
    VALUE(pwrite(fd, "wrote", 5, (off_t)(uintptr_t)(text + 7)));
    VALUE(pwrite(fd, "x", 1, (off_t)(uintptr_t)shared));
    VALUE(pread(fd, &word, 6, (off_t)(uintptr_t)page));
    close(fd);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "end");
    printf("own text: %s\n", text);
    munmap(page, 2 * PAGE), munmap(shared, PAGE);
}

__attribute__((noinline, noclone)) static int called(int n) {
    asm volatile("");
    return n + 1;
}

static void breakpoints(void) {
    SECTION("breakpoints");
    pid_t child = TRACEE({
        printf("returned %d\n", called(41));
        asm volatile("int3");
        printf("after int3\n");
    });
    long original;
    TRACE(PTRACE_PEEKTEXT, child, called, &original);
    VALUE(TRACE(PTRACE_POKETEXT, child, called, (original & ~0xffL) | 0xcc));
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "breakpoint");
    struct user_regs_struct registers = registers_of(child);
    siginfo_t info = info_of(child);
    printf("rip %lld, code %x, orig_rax %lld, rdi %lld, cs %llx ss %llx\n", registers.rip - (long)called, info.si_code,
           registers.orig_rax, registers.rdi, registers.cs, registers.ss);
    TRACE(PTRACE_POKETEXT, child, called, original);
    registers.rip--, registers.rdi = 99;
    VALUE(TRACE(PTRACE_SETREGS, child, 0, &registers));
    VALUE(TRACE(PTRACE_SINGLESTEP, child, 0, 0));
    wait_stop(child, "step");
    info = info_of(child);
    registers = registers_of(child);
    printf("moved %d, code %d, flags %llx, address %d\n", registers.rip != (unsigned long)called, info.si_code,
           registers.eflags & 0x100, info.si_addr == (void *)registers.rip);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "own int3");
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "end");
}

static void steps(void) {
    SECTION("steps");
    pid_t child = TRACEE({
        long result;
        unsigned long flags;
        asm volatile("mov $110, %%eax\nsyscall\nnop\nnop\nint3\n" : "=a"(result) : : "rcx", "r11", "memory");
        asm volatile("int3\npushf\npop %0" : "=r"(flags));
        raise(SIGUSR1);
        printf("handled %d\n", handled);
    });
    unsigned char code[16];
    int count = 0, syscalls = 0, traces = 0;
    for (;; count++) {
        TRACE(PTRACE_SINGLESTEP, child, 0, 0);
        int status;
        MUST(waitpid(child, &status, __WALL));
        if (!WIFSTOPPED(status) || WSTOPSIG(status) != SIGTRAP) break;
        siginfo_t info = info_of(child);
        struct user_regs_struct registers = registers_of(child);
        long word = 0, before = 0;
        TRACE(PTRACE_PEEKTEXT, child, registers.rip, &word);
        TRACE(PTRACE_PEEKTEXT, child, registers.rip - 2, &before);
        memcpy(code, &word, 8);
        if (info.si_code == 2) traces++;
        if ((before & 0xffff) == 0x050f && registers.orig_rax == 110) {
            syscalls++;
            printf("after syscall: code %d rax %d\n", info.si_code, registers.rax == (unsigned long)getpid());
        }
        if (info.si_code == 0x80) break;
    }
    printf("steps %d, all by TF %d, calls %d\n", count > 3, traces > 3, syscalls);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "second int3");
    TRACE(PTRACE_SINGLESTEP, child, 0, 0);
    wait_stop(child, "pushf");
    printf("flags in the frame: %llx\n", registers_of(child).eflags & 0x100);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "SIGUSR1");
    TRACE(PTRACE_SINGLESTEP, child, 0, SIGUSR1);
    wait_stop(child, "in the handler");
    printf("at its begin %d, code %d\n", registers_of(child).rip == (unsigned long)on_signal, info_of(child).si_code);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "end");
}

#define DEBUG_REGISTER(n) offsetof(struct user, u_debugreg[n])

static void watchpoints(void) {
    SECTION("watchpoints");
    pid_t child = TRACEE({
        watched = 5;
        int fd = MUST(open("/dev/zero", O_RDONLY));
        MUST(read(fd, (void *)&watched, 8));
        watched = 6;
        long value = watched;
        called((int)value);
        asm volatile("int3\nmovq $7, %0" : "=m"(watched));
    });
    long dr6, dr7;
    VALUE(TRACE(PTRACE_PEEKUSER, child, DEBUG_REGISTER(7), &dr7));
    printf("dr7 %lx\n", dr7);
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(0), 0xffffffff80000000));
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(4), 0));
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(5), 0));
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(0), &watched));
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(7), 2 << 16 | 1));
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(7), 0x90000 | 1));
    for (int i = 0; i < 2; i++) {
        TRACE(PTRACE_CONT, child, 0, 0);
        wait_stop(child, "watched");
        VALUE(TRACE(PTRACE_PEEKUSER, child, DEBUG_REGISTER(6), &dr6));
        long value;
        TRACE(PTRACE_PEEKDATA, child, &watched, &value);
        printf("dr6 %lx, code %d, value %ld\n", dr6 & 0xf, info_of(child).si_code, value);
        VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(6), 0));
    }
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(7), 0));
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(1), called));
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(7), 1 << 2));
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "executed");
    printf("before it %d\n", registers_of(child).rip == (unsigned long)called);
    VALUE(TRACE(PTRACE_POKEUSER, child, DEBUG_REGISTER(7), 0x90000 | 1));
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "int3");
    TRACE(PTRACE_SINGLESTEP, child, 0, 0);
    wait_stop(child, "a step that writes");
    TRACE(PTRACE_PEEKUSER, child, DEBUG_REGISTER(6), &dr6);
    printf("dr6 %lx\n", dr6 & 0x400f);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "end");
}

static void register_sets(void) {
    SECTION("register sets");
    pid_t child = TRACEE({
        register double value asm("xmm3") = 1.5;
        asm volatile("int3" : "+x"(value));
        printf("xmm3 %.1f\n", value);
    });
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "int3");
    struct user_fpregs_struct fp;
    VALUE(TRACE(PTRACE_GETFPREGS, child, 0, &fp));
    double value;
    memcpy(&value, &fp.xmm_space[12], 8);
    printf("xmm3 %.1f, mxcsr %x, cwd %x\n", value, fp.mxcsr, fp.cwd);
    value = 2.5;
    memcpy(&fp.xmm_space[12], &value, 8);
    VALUE(TRACE(PTRACE_SETFPREGS, child, 0, &fp));
    fp.mxcsr = ~0u;
    VALUE(TRACE(PTRACE_SETFPREGS, child, 0, &fp));
    static unsigned char buffer[16384] __attribute__((aligned(64)));
    struct iovec piece = {buffer, sizeof buffer};
    VALUE(TRACE(PTRACE_GETREGSET, child, NT_PRSTATUS, &piece));
    printf("%zu\n", piece.iov_len);
    VALUE(TRACE(PTRACE_SETREGSET, child, NT_PRSTATUS, &piece));
    piece.iov_len = 4;
    VALUE(TRACE(PTRACE_GETREGSET, child, NT_PRSTATUS, &piece));
    piece.iov_len = 16;
    VALUE(TRACE(PTRACE_GETREGSET, child, NT_PRSTATUS, &piece));
    VALUE(TRACE(PTRACE_GETREGSET, child, 0x999, &piece));
    piece.iov_len = sizeof buffer;
    VALUE(TRACE(PTRACE_GETREGSET, child, NT_PRFPREG, &piece));
    printf("%zu\n", piece.iov_len);
    piece.iov_len = sizeof buffer;
    VALUE(TRACE(PTRACE_GETREGSET, child, NT_X86_XSTATE, &piece));
    unsigned long features;
    memcpy(&features, buffer + 464, 8);
    memcpy(&value, buffer + 160 + 48, 8);
    printf("features %d, xmm3 %.1f\n", (features & 3) == 3, value);
    VALUE(TRACE(PTRACE_SETREGSET, child, NT_X86_XSTATE, &piece));
    piece.iov_len = 512;
    VALUE(TRACE(PTRACE_SETREGSET, child, NT_X86_XSTATE, &piece));
    buffer[512 + 8] = 1;
    piece.iov_len = 16384;
    VALUE(TRACE(PTRACE_SETREGSET, child, NT_X86_XSTATE, &piece) == -1);
    long base, own;
    VALUE(TRACE(PTRACE_ARCH_PRCTL, child, &base, 0x1003));
    asm("rdfsbase %0" : "=r"(own));
    printf("fs %d\n", base == own);
    VALUE(TRACE(PTRACE_ARCH_PRCTL, child, 1L << 47, 0x1002));
    VALUE(TRACE(PTRACE_ARCH_PRCTL, child, 0, 0x9999));
    VALUE(TRACE(PTRACE_PEEKUSER, child, 3, &base));
    VALUE(TRACE(PTRACE_PEEKUSER, child, sizeof(struct user), &base));
    VALUE(TRACE(PTRACE_PEEKUSER, child, 904, &base));
    VALUE(TRACE(PTRACE_PEEKUSER, child, 216, &base));
    VALUE(TRACE(PTRACE_POKEUSER, child, 216, base));
    struct __ptrace_rseq_configuration rseq;
    VALUE(TRACE(PTRACE_GET_RSEQ_CONFIGURATION, child, sizeof rseq, &rseq));
    printf("rseq %x %x\n", rseq.rseq_abi_size, rseq.signature);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "end");
}

/* Sets one register to `value` and lets the tracee go on: it may die, and nothing else may. */
static void hostile(const char *name, size_t offset, unsigned long value) {
    pid_t child = CHILD({
        MUST(TRACE(PTRACE_TRACEME, 0, 0, 0));
        asm volatile("int3\npush %%rax\npop %%rax\n" ::: "memory");
    });
    int status;
    MUST(waitpid(child, &status, 0));
    long set = TRACE(PTRACE_POKEUSER, child, offset, value);
    printf("%s %lx: %s", name, value, set ? error_name(errno) : "set");
    TRACE(PTRACE_CONT, child, 0, 0);
    for (int i = 0; i < 3; i++) {
        MUST(waitpid(child, &status, 0));
        printf(", %s", stop_text(status));
        if (!WIFSTOPPED(status)) break;
        TRACE(PTRACE_CONT, child, 0, i ? WSTOPSIG(status) : 0);
    }
    printf("\n");
    finish(child);
}

static void hostile_registers(void) {
    SECTION("hostile registers");
#define REGISTER(name) #name, offsetof(struct user, regs.name)
    hostile(REGISTER(rip), 0xffffffff80100000);
    hostile(REGISTER(rip), 0x800000000000);
    hostile(REGISTER(rip), 0xffff800000000000);
    hostile(REGISTER(rip), 0);
    hostile(REGISTER(cs), 0);
    hostile(REGISTER(cs), 8);
    hostile(REGISTER(cs), 0x10);
    hostile(REGISTER(ss), 0);
    hostile(REGISTER(ss), 0x18);
    hostile(REGISTER(ds), 1);
    hostile(REGISTER(fs_base), 0xffff800000000000);
    hostile(REGISTER(gs_base), 0x800000000000);
    hostile(REGISTER(eflags), 0x3202);
    hostile(REGISTER(eflags), 0x2);
    hostile(REGISTER(eflags), 0x1a0202);
    pid_t child = TRACEE();
    for (unsigned long value = 1; value; value <<= 1) {
        TRACE(PTRACE_POKEUSER, child, offsetof(struct user, regs.rsp), value << 1 | value);
        TRACE(PTRACE_POKEUSER, child, offsetof(struct user, regs.rbp), ~value);
    }
    TRACE(PTRACE_POKEUSER, child, offsetof(struct user, regs.rsp), 0xffffffff80200000);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "a stack in the kernel");
    TRACE(PTRACE_CONT, child, 0, SIGSEGV);
    wait_stop(child, "end");
}

static void *thread_body(void *unused) {
    (void)unused;
    return NULL;
}

static int clone_body(void *unused) {
    (void)unused;
    return 4;
}

static void events(int is_seized) {
    SECTION(is_seized ? "events of a seized tracee" : "events");
    long options = PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC |
                   PTRACE_O_TRACEVFORKDONE | PTRACE_O_TRACEEXIT;
    int ends[2];
    MUST(pipe(ends));
    pid_t child = CHILD({
        char byte;
        MUST(read(ends[0], &byte, 1));
        pid_t pid = fork();
        if (!pid) _exit(1);
        waitpid(pid, NULL, 0);
        pid = vfork();
        if (!pid) _exit(2);
        waitpid(pid, NULL, 0);
        static char stack[65536];
        pid = clone(clone_body, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
        waitpid(pid, NULL, 0);
        pthread_t thread;
        pthread_create(&thread, NULL, thread_body, NULL);
        pthread_join(thread, NULL);
        pid = fork();
        if (!pid) execl("/bin/sh", "sh", "-c", "exit 7", NULL);
        waitpid(pid, NULL, 0);
        _exit(9);
    });
    if (is_seized) VALUE(TRACE(PTRACE_SEIZE, child, 0, options));
    else {
        VALUE(TRACE(PTRACE_ATTACH, child, 0, 0));
        wait_stop(child, "attached");
        VALUE(TRACE(PTRACE_SETOPTIONS, child, 0, options));
        TRACE(PTRACE_CONT, child, 0, 0);
    }
    MUST(write(ends[1], "x", 1));
    /* Stops of several tasks come in any order: each counts for itself. */
    static char lines[64][64];
    int count = 0;
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid == -1) break;
        unsigned long message = 0;
        int event = WIFSTOPPED(status) ? status >> 16 : 0;
        if (event) TRACE(PTRACE_GETEVENTMSG, pid, 0, &message);
        int is_pid = event && event != PTRACE_EVENT_EXIT && event != PTRACE_EVENT_STOP;
        if (count < 64)
            snprintf(lines[count++], 64, "%s: %s, %s%lx", pid == child ? "first" : "other", stop_text(status),
                     is_pid ? "a number " : "", is_pid ? message > 1 : message);
        int signal = !event && WIFSTOPPED(status) && WSTOPSIG(status) != SIGSTOP ? WSTOPSIG(status) : 0;
        if (WIFSTOPPED(status)) TRACE(PTRACE_CONT, pid, 0, signal);
    }
    for (int i = 0; i < count; i++)
        for (int j = i + 1; j < count; j++)
            if (strcmp(lines[j], lines[i]) < 0) {
                char line[64];
                memcpy(line, lines[i], 64), memcpy(lines[i], lines[j], 64), memcpy(lines[j], line, 64);
            }
    for (int i = 0; i < count; i++) printf("%s\n", lines[i]);
    close(ends[0]), close(ends[1]);
}

static void exec_without_options(void) {
    SECTION("exec");
    pid_t child = TRACEE(execl("/bin/sh", "sh", "-c", "exit 5", NULL));
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "the new program");
    printf("code %d\n", info_of(child).si_code);
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "end");
}

static void print_state(pid_t pid) {
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file)) {
        int tracer;
        if (!strncmp(line, "State", 5)) printf("%s", line);
        if (sscanf(line, "TracerPid: %d", &tracer) == 1) printf("traced by me: %d, by nobody: %d\n", tracer == getpid(), !tracer);
    }
    if (file) fclose(file);
}

static void ends(void) {
    SECTION("/proc");
    pid_t child = TRACEE(pause());
    print_state(child);
    VALUE(TRACE(PTRACE_DETACH, child, 0, 0));
    sleep_ms(50);
    print_state(child);
    finish(child);

    SECTION("the tracer ends");
    for (int kills = 0; kills < 2; kills++) {
        child = CHILD({
            sleep_ms(400);
            _exit(6);
        });
        IN_CHILD("tracer", {
            VALUE(TRACE(PTRACE_SEIZE, child, 0, kills ? PTRACE_O_EXITKILL : 0));
            VALUE(TRACE(PTRACE_INTERRUPT, child, 0, 0));
            VALUE(waitpid(child, NULL, __WALL) == child);
        });
        wait_stop(child, "tracee");
    }

    SECTION("somebody else traces");
    int ends[2];
    MUST(pipe(ends));
    child = CHILD({
        char byte;
        (void)!read(ends[0], &byte, 1);
        _exit(8);
    });
    pid_t tracer = CHILD({
        VALUE(TRACE(PTRACE_SEIZE, child, 0, 0));
        MUST(write(ends[1], "x", 1));
        wait_stop(child, "seen by the tracer");
    });
    wait_stop(tracer, "tracer");
    wait_stop(child, "seen by the parent");
    close(ends[0]), close(ends[1]);

    SECTION("SIGKILL and PTRACE_KILL");
    child = TRACEE(pause());
    kill(child, SIGKILL);
    wait_stop(child, "killed in a stop");
    child = TRACEE(pause());
    VALUE(TRACE(PTRACE_KILL, child, 0, 0));
    wait_stop(child, "killed by its tracer");
}

static void seccomp(void) {
    SECTION("seccomp");
    pid_t child = TRACEE({
        struct sock_filter filter[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_getuid, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE | 42),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog program = {4, filter};
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program));
        for (int i = 0; i < 3; i++) printf("getuid: %ld\n", syscall(SYS_getuid));
    });
    VALUE(TRACE(PTRACE_SETOPTIONS, child, 0, PTRACE_O_TRACESECCOMP));
    for (int i = 0; i < 2; i++) {
        TRACE(PTRACE_CONT, child, 0, 0);
        wait_stop(child, "filtered");
        unsigned long message;
        VALUE(TRACE(PTRACE_GETEVENTMSG, child, 0, &message));
        struct __ptrace_syscall_info info;
        VALUE(TRACE(PTRACE_GET_SYSCALL_INFO, child, sizeof info, &info));
        printf("message %lu, op %d, call %ld, says %d\n", message, info.op, (long)info.seccomp.nr, info.seccomp.ret_data);
        if (i) {
            TRACE(PTRACE_POKEUSER, child, offsetof(struct user, regs.orig_rax), -1);
            TRACE(PTRACE_POKEUSER, child, offsetof(struct user, regs.rax), 5);
        }
    }
    VALUE(TRACE(PTRACE_SETOPTIONS, child, 0, 0));
    TRACE(PTRACE_CONT, child, 0, 0);
    wait_stop(child, "end");
}

static void rights(void) {
    SECTION("rights");
    pid_t child = CHILD(pause());
    IN_CHILD("another user", {
        MUST(setresgid(1000, 1000, 1000));
        MUST(setresuid(1000, 1000, 1000));
        VALUE(TRACE(PTRACE_ATTACH, child, 0, 0));
        pid_t own = CHILD(pause());
        VALUE(TRACE(PTRACE_SEIZE, own, 0, 0));
        finish(own);
        int ends[2];
        MUST(pipe(ends));
        own = CHILD({
            prctl(PR_SET_DUMPABLE, 0);
            (void)!write(ends[1], "x", 1);
            pause();
        });
        char byte;
        (void)!read(ends[0], &byte, 1);
        VALUE(TRACE(PTRACE_SEIZE, own, 0, 0));
        finish(own);
    });
    finish(child);
}

static void *sleeper(void *unused) {
    for (;;) pause();
    return unused;
}

static void *exiting(void *unused) {
    pthread_exit(unused);
}

/* The thread of a process that is not its first. */
static pid_t other_thread(pid_t pid) {
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *directory = opendir(path);
    pid_t found = 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        if (atoi(entry->d_name) > 0 && atoi(entry->d_name) != pid) found = atoi(entry->d_name);
    closedir(directory);
    return found;
}

static void threads(void) {
    SECTION("threads");
    int ends[2];
    MUST(pipe(ends));
    pid_t child = CHILD({
        pthread_t thread;
        pthread_create(&thread, NULL, sleeper, NULL);
        pthread_create(&thread, NULL, exiting, NULL);
        pthread_join(thread, NULL);
        (void)!write(ends[1], "x", 1);
        pause();
    });
    char byte;
    MUST(read(ends[0], &byte, 1));
    pid_t thread = other_thread(child);
    VALUE(TRACE(PTRACE_SEIZE, thread, 0, 0));
    VALUE(TRACE(PTRACE_SEIZE, child, 0, PTRACE_O_TRACEEXIT));
    VALUE(TRACE(PTRACE_INTERRUPT, thread, 0, 0));
    wait_stop(thread, "one thread");
    int status;
    VALUE(waitpid(child, &status, WNOHANG | __WALL));
    kill(child, SIGSTOP);
    wait_stop(child, "the signal");
    TRACE(PTRACE_CONT, thread, 0, 0);
    TRACE(PTRACE_CONT, child, 0, SIGSTOP);
    wait_stop(child, "the group stop");
    wait_stop(thread, "the group stop of the other");
    kill(child, SIGKILL);
    wait_stop(thread, "its end");
    wait_stop(child, "the end");
    close(ends[0]), close(ends[1]);
}

int main(void) {
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    alarm(100);
    refusals();
    signals();
    calls();
    interrupted_calls();
    stops(0);
    stops(1);
    info_by_waitid();
    memory();
    breakpoints();
    steps();
    watchpoints();
    register_sets();
    hostile_registers();
    events(0);
    events(1);
    exec_without_options();
    ends();
    seccomp();
    rights();
    threads();
    return 0;
}
