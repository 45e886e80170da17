/* What the kernel counts and keeps current for a thread: restartable sequences, barriers, time in program and kernel, faults,
 * context switches, limits and timers on CPU time. */
#include "check.h"
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stddef.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>

struct rseq_area {
    volatile uint32_t cpu_id_start, cpu_id;
    volatile uint64_t sequence;
    volatile uint32_t flags, padding[3];
} __attribute__((aligned(32)));

#define SIGNATURE 0x53053053
static struct rseq_area own;
static volatile int aborted;

static long rseq(void *area, unsigned size, int flags, unsigned signature) {
    return syscall(SYS_rseq, area, size, flags, signature);
}

/* Spins inside a sequence until it is aborted; counts how often that was. */
static void spin_until_aborted(struct rseq_area *area) {
    __asm__ volatile(
        ".pushsection .data\n"
        ".balign 32\n"
        "7: .long 0, 0\n.quad 1f, 2f - 1f, 4f\n"
        ".popsection\n"
        "leaq 7b(%%rip), %%rax\n"
        "movq %%rax, 8(%0)\n"
        "1: jmp 1b\n"
        "2:\n"
        "jmp 5f\n"
        ".long 0x53053053\n"
        "4: addl $1, %1\n"
        "5:\n"
        : : "r"(area), "m"(aborted) : "rax", "memory");
}

static void on_alarm(int signal) {
    (void)signal;
}

static void interrupt_soon(void) {
    struct itimerval soon = {{0, 0}, {0, 20000}};
    setitimer(ITIMER_REAL, &soon, NULL);
}

static volatile int stop_busy;

static void *be_busy(void *unused) {
    (void)unused;
    while (!stop_busy) {}
    return NULL;
}

static void *sequences(void *unused) {
    (void)unused;
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    extern const ptrdiff_t __rseq_offset;
    extern const unsigned __rseq_size;
    printf("glibc uses it: %s\n", __rseq_size ? "yes" : "no");
    struct rseq_area *area = (void *)((char *)__builtin_thread_pointer() + __rseq_offset);
    VALUE(rseq(area, 32, 0, SIGNATURE));
    VALUE(rseq(area, 32, 0, SIGNATURE + 1));
    VALUE(rseq(&own, 32, 0, SIGNATURE));
    VALUE(rseq(&own, 32, 1, SIGNATURE));
    VALUE(rseq(area, 16, 1, SIGNATURE));
    VALUE(rseq(area, 32, 1, SIGNATURE + 1));
    VALUE(rseq(area, 32, 2, SIGNATURE));
    VALUE(rseq(area, 32, 1, SIGNATURE));
    printf("cpu after that: %d\n", (int)area->cpu_id);
    VALUE(rseq(area, 32, 1, SIGNATURE));
    VALUE(rseq((char *)&own + 8, 32, 0, SIGNATURE));
    VALUE(rseq((void *)0xffffffff00000000, 32, 0, SIGNATURE));
    VALUE(rseq(&own, 32, 0, SIGNATURE));
    TRUE(own.cpu_id == own.cpu_id_start && own.cpu_id < 1024);
    for (int cpu = 0; cpu < 2; cpu++) {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(cpu, &one);
        if (sched_setaffinity(0, sizeof one, &one) == 0 && (int)own.cpu_id != cpu) printf("cpu %d is told as %d\n", cpu, own.cpu_id);
    }
    /* A signal aborts: the sequence would never end. */
    for (int i = 0; i < 3; i++) {
        interrupt_soon();
        spin_until_aborted(&own);
    }
    VALUE(aborted);
    TRUE(own.sequence == 0);
    /* So does being preempted: on one CPU two threads that are always busy take turns. */
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    sched_setaffinity(0, sizeof one, &one);
    pthread_t busy;
    pthread_create(&busy, NULL, be_busy, NULL);
    spin_until_aborted(&own);
    stop_busy = 1;
    pthread_join(busy, NULL);
    VALUE(aborted);
    IN_CHILD("inherited by fork", {
        VALUE(rseq(&own, 32, 0, SIGNATURE));
        interrupt_soon();
        spin_until_aborted(&own);
        VALUE(aborted);
    });
    static const struct { uint32_t version, flags; uint64_t start, length, abort; } wrong = {1, 0, 0x1000, 16, 0x2000};
    IN_CHILD("a sequence that makes no sense", {
        own.sequence = (uint64_t)&wrong;
        interrupt_soon();
        for (;;) {}
    });
    IN_CHILD("a sequence that is not there", {
        own.sequence = 0x10;
        interrupt_soon();
        for (;;) {}
    });
    VALUE(rseq(&own, 32, 1, SIGNATURE));
    return NULL;
}

static long membarrier(int command, unsigned flags, int cpu) {
    return syscall(SYS_membarrier, command, flags, cpu);
}

static void barriers(void) {
    SECTION("membarrier");
    TRUE((membarrier(0, 0, 0) & 0x1ff) == 0x1ff);
    VALUE(membarrier(0, 1, 0));
    VALUE(membarrier(MEMBARRIER_CMD_GLOBAL, 0, 0));
    VALUE(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    VALUE(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0));
    VALUE(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0));
    VALUE(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    VALUE(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    VALUE(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_SYNC_CORE, 0, 0));
    VALUE(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 0, 0));
    VALUE(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED_RSEQ, 0, 0));
    VALUE(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED_RSEQ, 1, 0));
    VALUE(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED, 1, 0));
    VALUE(membarrier(1 << 20, 0, 0));
}

static double seconds(struct timeval time) {
    return time.tv_sec + time.tv_usec / 1e6;
}

static void burn_user(double wanted) {
    struct timespec now;
    do {
        for (volatile int i = 0; i < 100000; i++) {}
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    } while (now.tv_sec + now.tv_nsec / 1e9 < wanted);
}

static void *burn_in_thread(void *unused) {
    (void)unused;
    burn_user(0.3);
    struct rusage thread;
    getrusage(RUSAGE_THREAD, &thread);
    TRUE(seconds(thread.ru_utime) > 0.2);
    return NULL;
}

static void times_of_program_and_kernel(void) {
    SECTION("times");
    struct rusage before, after;
    struct tms tms_before, tms_after;
    times(&tms_before);
    getrusage(RUSAGE_SELF, &before);
    pthread_t thread;
    pthread_create(&thread, NULL, burn_in_thread, NULL);
    pthread_join(thread, NULL);
    getrusage(RUSAGE_SELF, &after);
    TRUE(seconds(after.ru_utime) - seconds(before.ru_utime) > 0.2);
    TRUE(seconds(after.ru_stime) - seconds(before.ru_stime) < 0.15);
    /* Mostly in the kernel. */
    static char block[1 << 20];
    int zero = MUST(open("/dev/zero", O_RDONLY));
    struct timespec start, now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    getrusage(RUSAGE_SELF, &before);
    do {
        for (int i = 0; i < 20; i++) MUST(read(zero, block, sizeof block));
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    } while ((now.tv_sec - start.tv_sec) + (now.tv_nsec - start.tv_nsec) / 1e9 < 0.3);
    getrusage(RUSAGE_SELF, &after);
    TRUE(seconds(after.ru_stime) - seconds(before.ru_stime) > 0.15);
    times(&tms_after);
    TRUE(tms_after.tms_utime > tms_before.tms_utime && tms_after.tms_stime > tms_before.tms_stime);
    TRUE(tms_after.tms_cutime == tms_before.tms_cutime);
    IN_CHILD("child", burn_user(0.2));
    times(&tms_after);
    TRUE(tms_after.tms_cutime > tms_before.tms_cutime);
    getrusage(RUSAGE_CHILDREN, &after);
    TRUE(seconds(after.ru_utime) >= 0.1);
    TRUE(after.ru_maxrss > 100 && after.ru_minflt > 10);
    VALUE(getrusage(2, &after));
    VALUE(getrusage(RUSAGE_SELF, (void *)8));

    SECTION("faults and switches");
    getrusage(RUSAGE_THREAD, &before);
    volatile char *pages = MUST(mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    madvise((void *)pages, 64 * PAGE, MADV_NOHUGEPAGE);
    for (int i = 0; i < 64; i++) pages[i * PAGE] = 1;
    sleep_ms(20);
    sleep_ms(20);
    getrusage(RUSAGE_THREAD, &after);
    TRUE(after.ru_minflt - before.ru_minflt >= 64);
    TRUE(after.ru_nvcsw - before.ru_nvcsw >= 2);
}

static void clocks_of_others(void) {
    SECTION("clocks of others");
    int ends[2];
    MUST(pipe(ends));
    pid_t child = MUST(fork());
    if (!child) {
        burn_user(0.2);
        write(ends[1], "x", 1);
        pause();
    }
    char byte;
    MUST(read(ends[0], &byte, 1));
    clockid_t clock;
    struct timespec now;
    VALUE(clock_getcpuclockid(child, &clock));
    TRY(clock_gettime(clock, &now));
    TRUE(now.tv_sec > 0 || now.tv_nsec >= 200000000);
    TRUE(now.tv_sec == 0);
    TRY(clock_settime(clock, &now));
    TRY(clock_getres(clock, &now));
    /* Another process' thread has no clock for us. */
    TRY(clock_gettime((~child << 3) | 6, &now));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    TRY(clock_gettime(clock, &now));
    VALUE(clock_getcpuclockid(child, &clock));
    VALUE(clock_getcpuclockid(1 << 30, &clock));
}

static volatile sig_atomic_t xcpu, vtalrm, prof;

static void count(int signal) {
    if (signal == SIGXCPU) xcpu++;
    if (signal == SIGVTALRM) vtalrm++;
    if (signal == SIGPROF) prof++;
}

static void limits_and_timers(void) {
    SECTION("CPU limit");
    IN_CHILD("soft limit", {
        struct rlimit limit = {1, 3};
        setrlimit(RLIMIT_CPU, &limit);
        for (;;) {}
    });
    IN_CHILD("hard limit", {
        struct rlimit limit = {1, 2};
        signal(SIGXCPU, count);
        setrlimit(RLIMIT_CPU, &limit);
        while (!xcpu) {}
        write(1, "SIGXCPU\n", 8);
        for (;;) {}
    });
    SECTION("timers on CPU time");
    signal(SIGVTALRM, count);
    signal(SIGPROF, count);
    struct itimerval often = {{0, 50000}, {0, 50000}}, never = {{0, 0}, {0, 0}}, left;
    VALUE(setitimer(ITIMER_VIRTUAL, &often, NULL));
    VALUE(setitimer(ITIMER_PROF, &often, NULL));
    sleep_ms(200);
    TRUE(vtalrm == 0 && prof == 0);
    long long until = now_ns() + 10000000000LL;
    while ((vtalrm < 3 || prof < 3) && now_ns() < until) for (volatile int i = 0; i < 100000; i++) {}
    TRUE(vtalrm >= 3 && prof >= 3);
    VALUE(getitimer(ITIMER_PROF, &left));
    TRUE(left.it_interval.tv_usec == 50000 && left.it_value.tv_usec <= 60000);
    setitimer(ITIMER_VIRTUAL, &never, NULL);
    setitimer(ITIMER_PROF, &never, NULL);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    SECTION("rseq");
    /* The alarm is for the thread that has the sequences. */
    sigset_t alarm;
    sigemptyset(&alarm);
    sigaddset(&alarm, SIGALRM);
    sigprocmask(SIG_BLOCK, &alarm, NULL);
    pthread_t thread;
    pthread_create(&thread, NULL, sequences, NULL);
    pthread_join(thread, NULL);
    sigprocmask(SIG_UNBLOCK, &alarm, NULL);
    VALUE(sched_getcpu() >= 0);
    barriers();
    times_of_program_and_kernel();
    clocks_of_others();
    limits_and_timers();
    return 0;
}
