/*
 * System calls by a call instead of the instruction: osv's vDSO offers that. On Linux the same checks run with the
 * instruction, which is what the two are compared by.
 *
 * usage: gate [SEED]
 */
#include "check.h"
#include "gate.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <ucontext.h>

static void results(void) {
    SECTION("results");
    TRUE(GATE0(getpid) == getpid());
    TRUE(GATE0(gettid) == syscall(SYS_gettid));
    TRUE(gate_call(SYS_getpid | 1L << 32, 0, 0, 0, 0, 0, 0) == getpid());
    VALUE(gate_call(400, 0, 0, 0, 0, 0, 0));
    VALUE(gate_call(510, 0, 0, 0, 0, 0, 0));
    VALUE(gate_call(511, 0, 0, 0, 0, 0, 0));
    VALUE(gate_call(512, 0, 0, 0, 0, 0, 0));
    VALUE(gate_call(-1, 0, 0, 0, 0, 0, 0));
    VALUE(gate_call(1L << 40, 99, 0, 0, 0, 0, 0)); /* read(99) */
    VALUE(GATE3(read, 99, 0, 0));
    int ends[2];
    TRY(GATE2(pipe2, ends, 0));
    VALUE(GATE3(write, ends[1], "hello", 5));
    VALUE(GATE3(write, ends[1], 8, 5));
    char text[8] = "";
    VALUE(GATE3(read, ends[0], text, 8));
    printf("%s\n", text);
    char *pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(pages + PAGE, PAGE);
    VALUE(GATE3(write, ends[1], pages + PAGE - 3, 8));
    struct iovec pieces[2] = {{"ab", 2}, {"cdef", 4}};
    VALUE(GATE3(writev, ends[1], pieces, 2));
    TRUE((GATE6(mmap, 0, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) & (PAGE - 1)) == 0);
    VALUE(GATE6(mmap, 0, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    TRY(GATE1(close, ends[0]));
    TRY(GATE1(close, ends[1]));
}

/* Calls through the gate with known values in all that a function preserves; how many it did not. */
static long spoilt_by_call(long number, long a, long b) {
    static uint32_t control[2], control_after[2];
    control[0] = 0x5f80; /* MXCSR: round up */
    control[1] = 0x0f7f; /* x87: truncate */
    long spoilt;
    __asm__ volatile(
        "push %%rbp\npush %%rbx\n"
        "sub $136, %%rsp\n"
        "stmxcsr 128(%%rsp)\nfnstcw 132(%%rsp)\n"
        "ldmxcsr %[control]\nfldcw 4+%[control]\n"
        "mov $0x1111, %%ebp\nmov $0x4444, %%r12d\nmov $0x5555, %%r13d\nmov $0x7777, %%r15d\n"
        "mov %%rsp, %%rbx\n"
        "call *%[gate]\n"
        "xor %%ecx, %%ecx\n"
        "cmp %%rsp, %%rbx\nsetne %%cl\n"
        "mov %%rbx, %%rsp\n"
        "xor $0x1111, %%rbp\nxor $0x4444, %%r12\nxor $0x5555, %%r13\nxor $0x7777, %%r15\n"
        "or %%rbp, %%rcx\nor %%r12, %%rcx\nor %%r13, %%rcx\nor %%r15, %%rcx\n"
        "stmxcsr %[after]\nfnstcw 4+%[after]\n"
        "ldmxcsr 128(%%rsp)\nfldcw 132(%%rsp)\n"
        "pushfq\npop %%rax\n"
        "and $0x400, %%eax\nor %%rax, %%rcx\n"
        "add $136, %%rsp\n"
        "pop %%rbx\npop %%rbp\n"
        : "=c"(spoilt), "+a"(number), "+D"(a), "+S"(b), [after] "=m"(control_after)
        : [gate] "r"((void *)gate), [control] "m"(control)
        : "rdx", "r8", "r9", "r10", "r11", "r12", "r13", "r15", "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4",
          "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
    return spoilt | (control[0] ^ control_after[0]) | ((control[1] ^ control_after[1]) & 0xffff);
}

static volatile int handled;
static volatile long handler_saw;

static void count(int signal, siginfo_t *info, void *context) {
    (void)signal, (void)info;
    const greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    /* The return address of the gate's function lies where RSP points, and RIP is at its `ret`. */
    handler_saw = *(unsigned char *)registers[REG_RIP] == 0xc3 ? registers[REG_RAX] : 12345;
    handled++;
}

static void handle(int signal, int flags) {
    struct sigaction action = {.sa_sigaction = count, .sa_flags = SA_SIGINFO | flags};
    sigaction(signal, &action, NULL);
}

static void tick_every(long microseconds) {
    struct itimerval timer = {{0, microseconds}, {0, microseconds}};
    setitimer(ITIMER_REAL, &timer, NULL);
}

static void registers(void) {
    SECTION("registers");
    struct timespec nap = {0, 3000000};
    VALUE(spoilt_by_call(SYS_getpid, 0, 0));
    VALUE(spoilt_by_call(SYS_nanosleep, (long)&nap, 0));
    VALUE(spoilt_by_call(SYS_write, -1, 0));
    VALUE(spoilt_by_call(600, 0, 0));
    VALUE(spoilt_by_call(SYS_sched_yield, 0, 0));
    handle(SIGALRM, SA_RESTART);
    tick_every(200);
    long spoilt = 0;
    long long end = now_ns() + 300000000;
    nap.tv_nsec = 100000;
    while (now_ns() < end) {
        for (int i = 0; i < 100; i++) spoilt |= spoilt_by_call(SYS_getppid, 0, 0);
        spoilt |= spoilt_by_call(SYS_nanosleep, (long)&nap, 0);
        spoilt |= spoilt_by_call(SYS_kill, getpid(), SIGALRM);
    }
    tick_every(0);
    printf("spoilt under fire: %ld\n", spoilt);
    TRUE(handled > 20);
}

static void *poke_main(void *tid) {
    sleep_ms(60);
    syscall(SYS_tgkill, getpid(), *(int *)tid, SIGUSR1);
    sleep_ms(60);
    return NULL;
}

static pthread_t poke(void) {
    static int tid;
    tid = (int)syscall(SYS_gettid);
    pthread_t thread;
    pthread_create(&thread, NULL, poke_main, &tid);
    return thread;
}

static void *write_late(void *fd) {
    sleep_ms(160);
    MUST(write(*(int *)fd, "late", 4));
    return NULL;
}

static void signals(void) {
    SECTION("signals");
    int ends[2];
    MUST(pipe(ends));
    char text[8];
    handled = 0;
    handle(SIGUSR1, 0);
    pthread_t poker = poke();
    VALUE(GATE3(read, ends[0], text, 8));
    pthread_join(poker, NULL);
    VALUE(handled);
    VALUE(-handler_saw);

    handle(SIGUSR1, SA_RESTART);
    pthread_t writer;
    pthread_create(&writer, NULL, write_late, &ends[1]);
    poker = poke();
    VALUE(GATE3(read, ends[0], text, 8));
    pthread_join(poker, NULL);
    pthread_join(writer, NULL);
    VALUE(handled);

    struct timespec nap = {0, 150000000}, left = {0, 0};
    poker = poke();
    VALUE(GATE2(nanosleep, &nap, &left));
    TRUE(left.tv_nsec > 0);
    pthread_join(poker, NULL);

    /* Stopped and continued: a sleep goes on by restart_syscall. */
    pid_t child = fork();
    if (!child) {
        long long start = now_ns();
        long result = GATE2(nanosleep, &nap, NULL);
        _exit(result == 0 && now_ns() - start >= 150000000 ? 0 : 1);
    }
    sleep_ms(30);
    kill(child, SIGSTOP);
    sleep_ms(30);
    kill(child, SIGCONT);
    int status;
    waitpid(child, &status, 0);
    printf("stopped sleeper: %s\n", ending(status));

    /* pause, sigsuspend, and a fault inside of a call's buffer. */
    poker = poke();
    VALUE(GATE0(pause));
    pthread_join(poker, NULL);
    sigset_t usr1, none;
    sigemptyset(&none);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR1);
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    handled = 0;
    VALUE(GATE2(kill, getpid(), SIGUSR1));
    VALUE(handled);
    VALUE(GATE2(rt_sigsuspend, &none, 8));
    VALUE(handled);
    VALUE(GATE4(rt_sigprocmask, SIG_UNBLOCK, &usr1, NULL, 8));

    int epoll = MUST(epoll_create1(0));
    struct epoll_event event;
    poker = poke();
    VALUE(GATE4(epoll_wait, epoll, &event, 1, -1));
    pthread_join(poker, NULL);
    close(epoll);
    close(ends[0]);
    close(ends[1]);
}

static int futex_word;

static void *wake_main(void *unused) {
    (void)unused;
    for (int i = 0; i < 200; i++) {
        while (__atomic_load_n(&futex_word, __ATOMIC_SEQ_CST) != 1)
            GATE4(futex, &futex_word, FUTEX_WAIT_PRIVATE, 0, NULL);
        __atomic_store_n(&futex_word, 0, __ATOMIC_SEQ_CST);
        GATE3(futex, &futex_word, FUTEX_WAKE_PRIVATE, 1);
    }
    return NULL;
}

static void *yield_main(void *sum) {
    long mine = 0;
    for (int i = 0; i < 3000; i++) {
        mine += GATE0(gettid) == syscall(SYS_gettid);
        if (i % 16 == 0) GATE0(sched_yield);
    }
    __atomic_add_fetch((long *)sum, mine, __ATOMIC_SEQ_CST);
    return NULL;
}

static void threads(void) {
    SECTION("threads");
    pthread_t other;
    pthread_create(&other, NULL, wake_main, NULL);
    for (int i = 0; i < 200; i++) {
        __atomic_store_n(&futex_word, 1, __ATOMIC_SEQ_CST);
        GATE3(futex, &futex_word, FUTEX_WAKE_PRIVATE, 1);
        while (__atomic_load_n(&futex_word, __ATOMIC_SEQ_CST) != 0)
            GATE4(futex, &futex_word, FUTEX_WAIT_PRIVATE, 1, NULL);
    }
    pthread_join(other, NULL);
    long sum = 0;
    pthread_t all[6];
    for (int i = 0; i < 6; i++) pthread_create(&all[i], NULL, yield_main, &sum);
    for (int i = 0; i < 6; i++) pthread_join(all[i], NULL);
    VALUE(sum);
}

static char clone_stack[16384] __attribute__((aligned(16)));

/* A thread by clone(2) through the gate itself: the child goes on with an empty stack, so it must not return. */
static long clone_through_gate(void) {
    static volatile int shared;
    void **top = (void **)(clone_stack + sizeof clone_stack - 64);
    long result = SYS_clone;
    register long r10 __asm__("r10") = 0;
    register long r8 __asm__("r8") = 0;
    /* With the instruction, as with the gate, the child's stack must hold the address to return to. */
    __asm__ volatile(
        "lea 1f(%%rip), %%rcx\nmov %%rcx, (%%rsi)\n"
        "call *%[gate]\n"
        "1: test %%rax, %%rax\n"
        "jnz 2f\n"
        "movl $77, %[shared]\n"
        "mov $60, %%eax\nxor %%edi, %%edi\nsyscall\n"
        "2:\n"
        : "+a"(result), [shared] "+m"(shared)
        : "D"((long)(CLONE_VM | CLONE_VFORK | SIGCHLD)), "S"(top), "d"(0L), "r"(r10), "r"(r8), [gate] "b"((void *)gate)
        : "rcx", "r11", "r9", "memory", "cc");
    if (result > 0) waitpid((pid_t)result, NULL, 0);
    return result > 0 ? shared : result;
}

static void processes(void) {
    SECTION("processes");
    fflush(stdout);
    long child = GATE0(fork);
    if (!child) _exit(GATE0(getpid) == getpid() ? 7 : 8);
    int status;
    waitpid((pid_t)child, &status, 0);
    printf("fork: %s\n", ending(status));
    VALUE(clone_through_gate());
    child = fork();
    if (!child) {
        char *arguments[] = {"/bin/sh", "-c", "exit 5", NULL};
        char *environment[] = {NULL};
        GATE3(execve, "/nowhere", arguments, environment);
        if (errno == ENOENT) GATE3(execve, "/bin/sh", arguments, environment);
        _exit(9);
    }
    waitpid((pid_t)child, &status, 0);
    printf("execve: %s\n", ending(status));
    child = fork();
    if (!child) GATE1(exit_group, 6);
    waitpid((pid_t)child, &status, 0);
    printf("exit: %s\n", ending(status));
    child = fork();
    if (!child) GATE2(kill, GATE0(getpid), SIGKILL);
    waitpid((pid_t)child, &status, 0);
    printf("kill: %s\n", ending(status));
    stack_t stack = {0};
    VALUE(GATE2(sigaltstack, NULL, &stack));
    TRUE(stack.ss_flags == SS_DISABLE);
}

/* Where a signal's handler returns: rt_sigreturn through the gate, by a jump, since the call finds its frame by RSP. */
extern void *gate_address;
void *gate_address __attribute__((visibility("hidden")));
extern void return_through_gate(void);
__asm__(
    ".text\n.type return_through_gate, @function\nreturn_through_gate:\n"
    "mov $15, %eax\njmp *gate_address(%rip)\n");

struct kernel_action {
    void (*handler)(int, siginfo_t *, void *);
    unsigned long flags;
    void (*restorer)(void);
    unsigned long mask;
};

static void handler_return(void) {
    SECTION("rt_sigreturn");
    gate_address = (void *)gate;
    struct kernel_action action = {count, 0x04000000 | SA_SIGINFO, return_through_gate, 0};
    handled = 0;
    VALUE(syscall(SYS_rt_sigaction, SIGUSR2, &action, NULL, 8));
    for (int i = 0; i < 3; i++) GATE2(kill, getpid(), SIGUSR2);
    VALUE(handled);
}

static void sigsys(int signal, siginfo_t *info, void *context) {
    (void)signal;
    const greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    handled += info->si_syscall == SYS_getppid && info->si_call_addr == (void *)registers[REG_RIP];
}

static void filters(void) {
    SECTION("seccomp");
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getuid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EXDEV),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getgid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof *program, program};
    IN_CHILD("filtered", {
        struct sigaction action = {.sa_sigaction = sigsys, .sa_flags = SA_SIGINFO};
        sigaction(SIGSYS, &action, NULL);
        handled = 0;
        TRUE(GATE0(getuid) >= 0);
        MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
        VALUE(GATE0(getuid));
        GATE0(getppid);
        VALUE(handled);
        TRUE(GATE0(getpid) == getpid());
        VALUE(spoilt_by_call(SYS_getpid, 0, 0));
        fflush(stdout);
        GATE0(getgid);
    });
    IN_CHILD("strict", {
        MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
        GATE3(write, 1, "still writes\n", 13);
        GATE0(getpid);
    });
}

static volatile long steps;

static void step(int signal) {
    (void)signal;
    steps++;
}

/* A program that single-steps itself through calls. */
static void stepping(void) {
    SECTION("stepping");
    signal(SIGTRAP, step);
    long pid = getpid(), wrong = 0;
    for (int i = 0; i < 20; i++) {
        __asm__ volatile("pushfq\norl $0x100, (%%rsp)\npopfq" ::: "cc", "memory");
        long got = raw_call(gate, SYS_getpid, 0, 0, 0, 0, 0, 0);
        long cut = raw_call(gate, SYS_read, -1, 0, 0, 0, 0, 0);
        __asm__ volatile("pushfq\nandl $~0x100, (%%rsp)\npopfq" ::: "cc", "memory");
        wrong += got != pid || cut != -EBADF;
    }
    VALUE(wrong);
    TRUE(steps > 20 * 10);
    signal(SIGTRAP, SIG_DFL);
}

static uint64_t seed;

static uint64_t random_word(void) {
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    switch (seed % 5) {
        case 0: return seed;
        case 1: return seed % 600;
        case 2: return (uint64_t)gate + seed % 64;
        case 3: return 0xffff800000000000u + (seed >> 20);
        default: return (uint64_t)&seed + (seed >> 8) % 64;
    }
}

/* What a wild jump into the gate's function may do is end the process, or nothing; never more. */
static void jump(void) {
    struct { uint64_t r[9]; } values;
    for (int i = 0; i < 9; i++) values.r[i] = random_word();
    /* Calls without consequences for others. */
    static const int harmless[] = {SYS_getpid, SYS_read, SYS_lseek, SYS_fstat, SYS_sched_yield, SYS_getcwd, 400, 1000};
    values.r[0] = harmless[values.r[0] % 8];
    uint64_t offset = random_word() % 16;
    uint64_t flags = 0x202 | (random_word() & 0x44cd5); /* CF PF AF ZF SF DF OF NT AC */
    if (random_word() % 4 == 0) flags |= 0x100;
    uint64_t stack = random_word() % 3 ? (uint64_t)(clone_stack + 8192) : random_word();
    __asm__ volatile(
        "mov %[values], %%rbx\nmov %[target], %%r12\nmov %[flags], %%r13\nmov %[stack], %%r14\n"
        "mov (%%rbx), %%rax\nmov 8(%%rbx), %%rdi\nmov 16(%%rbx), %%rsi\nmov 24(%%rbx), %%rdx\n"
        "mov 32(%%rbx), %%r10\nmov 40(%%rbx), %%r8\nmov 48(%%rbx), %%r9\nmov 56(%%rbx), %%rcx\n"
        "mov 64(%%rbx), %%r11\n"
        "push %%r13\npopfq\n"
        "mov %%r14, %%rsp\n"
        "jmp *%%r12\n"
        :
        : [values] "r"(&values), [target] "r"((uint64_t)gate + offset), [flags] "r"(flags), [stack] "r"(stack)
        : "memory");
    __builtin_unreachable();
}

static void wild_jumps(void) {
    SECTION("wild jumps");
    fflush(stdout);
    for (int i = 0; i < 300; i++) {
        random_word();
        pid_t child = MUST(fork());
        if (!child) {
            static char alternate[32768];
            stack_t stack = {.ss_sp = alternate, .ss_size = sizeof alternate};
            sigaltstack(&stack, NULL);
            alarm(1);
            jump();
        }
        int status;
        MUST(waitpid(child, &status, 0));
        if (!WIFSIGNALED(status) && !WIFEXITED(status)) printf("round %d: %s\n", i, ending(status));
    }
    printf("all of them ended\n");
    TRUE(GATE0(getpid) == getpid());
}

int main(int count_, char **arguments) {
    find_gate();
    seed = count_ > 1 ? strtoull(arguments[1], NULL, 0) | 1 : 20240607;
    setvbuf(stdout, NULL, _IOLBF, 0);
    results();
    registers();
    signals();
    threads();
    processes();
    handler_return();
    filters();
    stepping();
    wild_jumps();
    return 0;
}
