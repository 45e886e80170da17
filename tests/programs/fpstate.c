/*
 * Floating-point and vector registers survive preemption, system calls, faults and signal handlers, in many threads at once;
 * each thread keeps a pattern of its own in every register that the CPU has (x87, MXCSR, SSE, AVX) and checks it
 * while timers interrupt and handlers overwrite. Prints only what does not depend on the CPU.
 */
#include "check.h"
#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <sys/time.h>

enum { THREADS = 8, ROUNDS = 300, SPIN = 4000 };

static volatile long handled;
static int has_avx;

/* Overwrites every vector register and the control words: none of it may be seen by the interrupted thread. */
__attribute__((target("avx"))) static void clobber_avx(void) {
    __asm__ volatile("vpcmpeqd %%xmm0, %%xmm0, %%xmm0\n vinsertf128 $1, %%xmm0, %%ymm0, %%ymm0\n"
        "vmovaps %%ymm0, %%ymm1\n vmovaps %%ymm0, %%ymm2\n vmovaps %%ymm0, %%ymm3\n vmovaps %%ymm0, %%ymm7\n"
        "vmovaps %%ymm0, %%ymm8\n vmovaps %%ymm0, %%ymm12\n vmovaps %%ymm0, %%ymm15\n" ::: "memory",
        "xmm0", "xmm1", "xmm2", "xmm3", "xmm7", "xmm8", "xmm12", "xmm15");
}

static void handler(int number) {
    (void)number;
    handled++;
    unsigned mxcsr = 0x1f80 | 0x6000, one = 1;
    unsigned short control = 0x0c7f;
    __asm__ volatile("ldmxcsr %0\n fninit\n fldcw %1\n fildl %2\n fildl %2" :: "m"(mxcsr), "m"(control), "m"(one));
    if (has_avx) clobber_avx();
    else __asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n movaps %%xmm0, %%xmm7\n movaps %%xmm0, %%xmm15" ::: "xmm0", "xmm7", "xmm15");
}

/* Loads a pattern, spins (and calls the kernel now and then), reads it back: 0 if all is as it was. */
__attribute__((target("avx"))) static int avx_round(long seed, long spin, int call) {
    unsigned long before[4], after[16][4];
    for (int i = 0; i < 4; i++) before[i] = (unsigned long)seed * 0x9e3779b97f4a7c15 + i;
    __asm__ volatile(
        "vmovups (%[from]), %%ymm0\n vmovups (%[from]), %%ymm1\n vmovups (%[from]), %%ymm7\n"
        "vmovups (%[from]), %%ymm8\n vmovups (%[from]), %%ymm15\n"
        "1: pause\n subq $1, %[spin]\n jnz 1b\n"
        "testl %[call], %[call]\n jz 2f\n movl $24, %%eax\n syscall\n 2:\n" /* sched_yield */
        "vmovups %%ymm0, (%[to])\n vmovups %%ymm1, 32(%[to])\n vmovups %%ymm7, 64(%[to])\n"
        "vmovups %%ymm8, 96(%[to])\n vmovups %%ymm15, 128(%[to])\n vzeroupper"
        : [spin] "+r"(spin)
        : [from] "r"(before), [to] "r"(after), [call] "r"(call)
        : "rax", "rcx", "r11", "memory", "cc", "xmm0", "xmm1", "xmm7", "xmm8", "xmm15");
    int bad = 0;
    for (int i = 0; i < 5; i++) bad |= memcmp(before, after[i], 32) != 0;
    return bad;
}

static int sse_round(long seed, long spin, int call) {
    unsigned long before[2], after[4][2];
    for (int i = 0; i < 2; i++) before[i] = (unsigned long)seed * 0x9e3779b97f4a7c15 + i;
    __asm__ volatile(
        "movups (%[from]), %%xmm0\n movups (%[from]), %%xmm6\n movups (%[from]), %%xmm9\n movups (%[from]), %%xmm15\n"
        "1: pause\n subq $1, %[spin]\n jnz 1b\n"
        "testl %[call], %[call]\n jz 2f\n movl $24, %%eax\n syscall\n 2:\n"
        "movups %%xmm0, (%[to])\n movups %%xmm6, 16(%[to])\n movups %%xmm9, 32(%[to])\n movups %%xmm15, 48(%[to])\n"
        : [spin] "+r"(spin)
        : [from] "r"(before), [to] "r"(after), [call] "r"(call)
        : "rax", "rcx", "r11", "memory", "cc", "xmm0", "xmm6", "xmm9", "xmm15");
    int bad = 0;
    for (int i = 0; i < 4; i++) bad |= memcmp(before, after[i], 16) != 0;
    return bad;
}

/* The x87 stack, its control word and MXCSR's rounding mode. */
static int x87_round(long seed, long spin) {
    unsigned short control = 0x037f | (seed & 3) << 10, control_after;
    unsigned mxcsr = 0x1f80 | (seed & 3) << 13, mxcsr_after, saved_mxcsr;
    long value = seed * 12345678901, value_after;
    __asm__ volatile("stmxcsr %0" : "=m"(saved_mxcsr));
    __asm__ volatile("fninit\n fldcw %[control]\n ldmxcsr %[mxcsr]\n fildq %[value]\n"
        "1: pause\n subq $1, %[spin]\n jnz 1b\n"
        "fistpq %[value_after]\n fnstcw %[control_after]\n stmxcsr %[mxcsr_after]\n fninit\n"
        : [spin] "+r"(spin), [value_after] "=m"(value_after), [control_after] "=m"(control_after), [mxcsr_after] "=m"(mxcsr_after)
        : [control] "m"(control), [mxcsr] "m"(mxcsr), [value] "m"(value) : "cc");
    __asm__ volatile("ldmxcsr %0" :: "m"(saved_mxcsr));
    return value != value_after || control != control_after || mxcsr != mxcsr_after;
}

static void *keep_registers(void *argument) {
    long seed = (long)argument, bad = 0;
    for (int round = 0; round < ROUNDS; round++) {
        bad += sse_round(seed * ROUNDS + round, SPIN, round & 1);
        bad += x87_round(seed + round, SPIN);
        if (has_avx) bad += avx_round(seed * ROUNDS + round, SPIN, round & 1);
    }
    return (void *)bad;
}

static long run_threads(void) {
    pthread_t threads[THREADS];
    long bad = 0;
    for (long i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, keep_registers, (void *)(i + 1));
    for (int i = 0; i < THREADS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        bad += (long)result;
    }
    return bad;
}

/* A fault handler must not change the registers of the instruction that is tried again. */
static char *guarded;
static void unprotect(int number) {
    handler(number);
    mprotect(guarded, PAGE, PROT_READ | PROT_WRITE);
}

static int fault_keeps_xmm(void) {
    double result[2] = {0, 0}, want[2] = {1.5, -2.25};
    guarded = mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    signal(SIGSEGV, unprotect);
    __asm__ volatile("movups (%0), %%xmm5\n movups %%xmm5, (%1)\n movups (%1), %%xmm5\n movups %%xmm5, (%2)"
        :: "r"(want), "r"(guarded), "r"(result) : "xmm5", "memory");
    return memcmp(want, result, sizeof want);
}

/* A handler may change the saved registers: the interrupted code sees it. */
static void double_xmm(int number, siginfo_t *info, void *context) {
    (void)number, (void)info;
    ucontext_t *user = context;
    double *value = (double *)&user->uc_mcontext.fpregs->_xmm[3];
    *value *= 2;
    user->uc_mcontext.gregs[REG_RIP] += 2;
}

int main(void) {
    has_avx = __builtin_cpu_supports("avx");
    printf("without signals: %ld\n", run_threads());
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval often = {{0, 1000}, {0, 1000}};
    setitimer(ITIMER_REAL, &often, NULL);
    printf("with signals: %ld\n", run_threads());
    setitimer(ITIMER_REAL, &(struct itimerval){0}, NULL);
    TRUE(handled > 10);
    printf("fault: %d\n", fault_keeps_xmm());
    struct sigaction change = {.sa_sigaction = double_xmm, .sa_flags = SA_SIGINFO};
    sigaction(SIGILL, &change, NULL);
    double value = 10.5;
    __asm__ volatile("movsd %0, %%xmm3\n ud2\n movsd %%xmm3, %0" : "+m"(value) :: "xmm3");
    printf("changed by the handler: %.1f\n", value);
    IN_CHILD("fork keeps the rounding mode", _MM_SET_ROUNDING_MODE(_MM_ROUND_UP);
             IN_CHILD("child", _exit(_MM_GET_ROUNDING_MODE() == _MM_ROUND_UP ? 4 : 5)));
    return 0;
}
