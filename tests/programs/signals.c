/* Signals: siginfo, ucontext, alternate stacks, SA_* flags, masks and queues, job control, default actions. */
#include "check.h"
#include <pthread.h>
#include <setjmp.h>
#include <sys/time.h>
#include <sys/ucontext.h>
#include <sys/resource.h>

static volatile sig_atomic_t count, last_signal, last_code, last_value, last_pid_ok, on_alt_stack;
static void *volatile last_address;
static sigjmp_buf escape;
static char alt_stack[65536];

static void record(int number, siginfo_t *info, void *context) {
    (void)context;
    char local;
    count++;
    last_signal = number;
    last_code = info->si_code;
    last_value = info->si_value.sival_int;
    last_pid_ok = info->si_pid == getpid() && info->si_uid == getuid();
    last_address = info->si_addr;
    on_alt_stack = &local >= alt_stack && &local < alt_stack + sizeof alt_stack;
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *), int flags) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};
    sigemptyset(&action.sa_mask);
    MUST(sigaction(number, &action, NULL));
}

static const char *code_name(int code) {
    switch (code) {
        case SI_USER: return "SI_USER";
        case SI_TKILL: return "SI_TKILL";
        case SI_QUEUE: return "SI_QUEUE";
        case SI_KERNEL: return "SI_KERNEL";
        case SI_TIMER: return "SI_TIMER";
    }
    static char text[16];
    snprintf(text, sizeof text, "%d", code);
    return text;
}

static void senders(void) {
    SECTION("senders");
    handle(SIGUSR1, record, 0);
    kill(getpid(), SIGUSR1);
    printf("kill: signal %d code %s pid and uid %d\n", last_signal, code_name(last_code), last_pid_ok);
    raise(SIGUSR1);
    printf("raise: code %s pid and uid %d count %d\n", code_name(last_code), last_pid_ok, count);
    sigqueue(getpid(), SIGUSR1, (union sigval){.sival_int = 1234});
    printf("sigqueue: code %s value %d\n", code_name(last_code), last_value);
    TRY(kill(getpid(), 0));
    TRY(kill(getpid(), 65));
    TRY(kill(999999, 0));
    TRY(syscall(SYS_tgkill, getpid(), 999999, SIGUSR1));
    TRY(sigaction(SIGKILL, &(struct sigaction){.sa_handler = SIG_IGN}, NULL));
    TRY(sigaction(SIGSTOP, &(struct sigaction){.sa_handler = SIG_IGN}, NULL));
    TRY(sigaction(65, &(struct sigaction){.sa_handler = SIG_IGN}, NULL));
}

static void jump_out(int number, siginfo_t *info, void *context) {
    record(number, info, context);
    siglongjmp(escape, 1);
}

static void skip_instruction(int number, siginfo_t *info, void *context) {
    record(number, info, context);
    ucontext_t *user = context;
    user->uc_mcontext.gregs[REG_RIP] += 2; /* ud2 */
    user->uc_mcontext.gregs[REG_RBX] = 77;
}

#define FAULT(label, statement)                                                                 \
    do {                                                                                        \
        if (!sigsetjmp(escape, 1)) {                                                            \
            statement;                                                                          \
            printf("%s: nothing happened\n", label);                                            \
        } else {                                                                                \
            printf("%s: signal %d code %s", label, last_signal, code_name(last_code));          \
        }                                                                                       \
    } while (0)

static void faults(void) {
    SECTION("faults");
    for (int number = SIGILL; number <= SIGSEGV; number++)
        if (number != SIGKILL && number != SIGUSR1) handle(number, jump_out, 0);
    volatile int zero = 0, one = 1;
    FAULT("null write", *(volatile int *)16 = 1);
    printf(" address %p\n", last_address);
    char *volatile page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    FAULT("write to read-only", *(volatile char *)(page + 5) = 1);
    printf(" offset %ld\n", (long)((char *)last_address - page));
    FAULT("execute data", ((void (*)(void))page)());
    printf(" offset %ld\n", (long)((char *)last_address - page));
    munmap(page, PAGE);
    FAULT("read unmapped", (void)*(volatile char *)page);
    printf(" offset %ld\n", (long)((char *)last_address - page));
    FAULT("non-canonical", *(volatile char *)0x8000000000000000 = 1);
    printf(" address %p\n", last_address);
    FAULT("divide by zero", printf("%d\n", one / zero));
    printf("\n");
    FAULT("illegal instruction", __asm__ volatile("ud2"));
    printf("\n");
    FAULT("breakpoint", __asm__ volatile("int3"));
    printf("\n");
    int fd = memfd_create("short", 0);
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    FAULT("beyond the file's end", page[100] = 1);
    printf(" offset %ld\n", (long)((char *)last_address - page));
    close(fd);
    handle(SIGILL, skip_instruction, 0);
    long rbx = 0;
    __asm__ volatile("ud2" : "=b"(rbx));
    printf("skipped an instruction, rbx %ld\n", rbx);
}

/* Pushes until there is no stack left. */
static void overflow_stack(void) {
    __asm__ volatile("1: pushq $0\n jmp 1b" ::: "memory");
}

static void stacks(void) {
    SECTION("alternate stack");
    stack_t stack = {.ss_sp = alt_stack, .ss_size = sizeof alt_stack}, old;
    TRY(sigaltstack(&stack, NULL));
    TRY(sigaltstack(NULL, &old));
    printf("size %zu flags %d same %d\n", old.ss_size, old.ss_flags, old.ss_sp == (void *)alt_stack);
    handle(SIGUSR1, record, SA_ONSTACK);
    raise(SIGUSR1);
    printf("with SA_ONSTACK: %d\n", on_alt_stack);
    handle(SIGUSR1, record, 0);
    raise(SIGUSR1);
    printf("without: %d\n", on_alt_stack);
    handle(SIGSEGV, jump_out, SA_ONSTACK);
    struct rlimit limit = {1 << 20, 1 << 20};
    setrlimit(RLIMIT_STACK, &limit);
    FAULT("stack overflow", overflow_stack());
    printf(" on alternate stack %d\n", on_alt_stack);
    TRY(sigaltstack(&(stack_t){.ss_sp = alt_stack, .ss_size = 100}, NULL));
    TRY(sigaltstack(&(stack_t){.ss_flags = 0x1234}, NULL));
    TRY(sigaltstack(&(stack_t){.ss_flags = SS_DISABLE}, NULL));
}

static void *poke_later(void *target) {
    sleep_ms(50);
    pthread_kill(*(pthread_t *)target, SIGUSR1);
    sleep_ms(50);
    if (((pthread_t *)target)[1]) MUST(write((int)((pthread_t *)target)[1], "x", 1));
    return NULL;
}

static void interrupted_read(const char *label, int flags) {
    int ends[2];
    char byte;
    pthread_t poker, arguments[2];
    MUST(pipe(ends));
    handle(SIGUSR1, record, flags);
    arguments[0] = pthread_self(), arguments[1] = ends[1];
    pthread_create(&poker, NULL, poke_later, arguments);
    count = 0;
    ssize_t size = read(ends[0], &byte, 1);
    int error = errno;
    pthread_join(poker, NULL);
    printf("%s: read %zd %s, handler ran %d\n", label, size, size < 0 ? error_name(error) : "", count);
    close(ends[0]);
    close(ends[1]);
}

static void restarts(void) {
    SECTION("restarts");
    interrupted_read("SA_RESTART", SA_RESTART);
    interrupted_read("plain", 0);
    pthread_t poker, arguments[2] = {pthread_self(), 0};
    handle(SIGUSR1, record, SA_RESTART);
    pthread_create(&poker, NULL, poke_later, arguments);
    struct timespec second = {5, 0}, left;
    int result = nanosleep(&second, &left);
    printf("nanosleep: %s, most is left %d\n", result ? error_name(errno) : "ok", left.tv_sec == 4);
    pthread_join(poker, NULL);
}

static volatile int depth, deepest;
static void nest(int number, siginfo_t *info, void *context) {
    (void)info, (void)context;
    depth++;
    if (depth > deepest) deepest = depth;
    if (depth < 3 && ++count < 10) raise(number);
    depth--;
}

static void flags(void) {
    SECTION("flags");
    handle(SIGUSR2, nest, 0);
    deepest = 0, count = 0;
    raise(SIGUSR2);
    printf("blocked while handled: deepest %d\n", deepest);
    handle(SIGUSR2, nest, SA_NODEFER);
    deepest = 0, count = 0;
    raise(SIGUSR2);
    printf("SA_NODEFER: deepest %d\n", deepest);
    handle(SIGUSR2, record, SA_RESETHAND);
    raise(SIGUSR2);
    struct sigaction now;
    sigaction(SIGUSR2, NULL, &now);
    printf("SA_RESETHAND: default again %d\n", now.sa_handler == SIG_DFL);
}

static char order[64];
static void note_order(int number, siginfo_t *info, void *context) {
    (void)context;
    snprintf(order + strlen(order), sizeof order - strlen(order), " %d:%d", number - SIGRTMIN, info->si_value.sival_int);
}

static void masks(void) {
    SECTION("masks and queues");
    sigset_t set, old, pending;
    handle(SIGUSR1, record, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigprocmask(SIG_BLOCK, &set, &old);
    count = 0;
    raise(SIGUSR1), raise(SIGUSR1), raise(SIGUSR1);
    sigpending(&pending);
    printf("blocked: ran %d pending %d\n", count, sigismember(&pending, SIGUSR1));
    sigprocmask(SIG_SETMASK, &old, NULL);
    printf("unblocked: ran %d\n", count);
    handle(SIGRTMIN, note_order, 0), handle(SIGRTMIN + 1, note_order, 0);
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN), sigaddset(&set, SIGRTMIN + 1);
    sigprocmask(SIG_BLOCK, &set, &old);
    for (int i = 0; i < 3; i++) {
        sigqueue(getpid(), SIGRTMIN + 1, (union sigval){.sival_int = i});
        sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = i});
    }
    siginfo_t info;
    printf("sigtimedwait: %d", sigtimedwait(&set, &info, &(struct timespec){1, 0}) - SIGRTMIN);
    printf(" value %d\n", info.si_value.sival_int);
    sigprocmask(SIG_SETMASK, &old, NULL);
    int numbers[8], values[8], kinds = sscanf(order, " %d:%d %d:%d", &numbers[0], &values[0], &numbers[1], &values[1]);
    printf("queued deliveries: %d, handlers%s\n", kinds / 2 * 2 + 1, order);
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    sigprocmask(SIG_BLOCK, &set, NULL);
    VALUE(sigtimedwait(&set, NULL, &(struct timespec){0, 10000000}));
    count = 0;
    pthread_t poker, arguments[2] = {pthread_self(), 0};
    pthread_create(&poker, NULL, poke_later, arguments);
    sigemptyset(&set);
    TRY(sigsuspend(&set));
    printf("sigsuspend ran %d\n", count);
    pthread_join(poker, NULL);
    handle(SIGALRM, record, 0);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 20000}}, NULL);
    pause();
    printf("setitimer: signal %d\n", last_signal);
    TRUE(alarm(100) == 0);
    TRUE(alarm(0) >= 99);
    VALUE(sigprocmask(17, &set, NULL));
}

static void quit_with(int number) {
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    signal(number, SIG_DFL);
    sigset_t set;
    sigemptyset(&set);
    sigprocmask(SIG_SETMASK, &set, NULL);
    raise(number);
}

static void defaults(void) {
    SECTION("default actions");
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGKILL, SIGUSR1, SIGSEGV, SIGPIPE, SIGALRM,
                                  SIGTERM, SIGCHLD, SIGCONT, SIGURG, SIGXCPU, SIGWINCH, SIGIO, SIGPWR, SIGSYS, 34, 64};
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char label[32];
        snprintf(label, sizeof label, "signal %d", numbers[i]);
        IN_CHILD(label, quit_with(numbers[i]));
    }
    IN_CHILD("write to a closed pipe", int ends[2]; signal(SIGPIPE, SIG_DFL); MUST(pipe(ends)); close(ends[0]);
             if (write(ends[1], "x", 1)) _exit(3));
    IN_CHILD("the same, ignored", int ends[2]; signal(SIGPIPE, SIG_IGN); MUST(pipe(ends)); close(ends[0]);
             _exit(write(ends[1], "x", 1) == -1 && errno == EPIPE ? 7 : 8));
    IN_CHILD("segmentation fault", signal(SIGSEGV, SIG_DFL); setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); *(volatile int *)8 = 1);
    IN_CHILD("blocked fault", sigset_t set; sigfillset(&set); handle(SIGSEGV, record, 0); sigprocmask(SIG_BLOCK, &set, NULL);
             setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); *(volatile int *)8 = 1);
    IN_CHILD("abort", setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); signal(SIGABRT, SIG_DFL); abort());
}

static void job_control(void) {
    SECTION("stop and continue");
    fflush(stdout);
    pid_t child = MUST(fork());
    int status;
    if (!child) {
        for (;;) pause();
    }
    kill(child, SIGSTOP);
    waitpid(child, &status, WUNTRACED);
    printf("%s\n", ending(status));
    kill(child, SIGCONT);
    waitpid(child, &status, WCONTINUED);
    printf("%s\n", ending(status));
    kill(child, SIGTERM);
    waitpid(child, &status, 0);
    printf("%s\n", ending(status));
    handle(SIGCHLD, record, 0);
    count = 0;
    child = MUST(fork());
    if (!child) _exit(9);
    while (!count) sleep_ms(1);
    printf("SIGCHLD: code %d is CLD_EXITED %d\n", last_code, last_code == CLD_EXITED);
    waitpid(child, &status, 0);
    signal(SIGCHLD, SIG_IGN);
    child = MUST(fork());
    if (!child) _exit(9);
    VALUE(waitpid(child, &status, 0));
    signal(SIGCHLD, SIG_DFL);
    child = MUST(fork());
    if (!child) {
        setpgid(0, 0);
        if (!fork())
            for (;;) pause();
        for (;;) pause();
    }
    setpgid(child, child);
    sleep_ms(50);
    TRY(kill(-child, SIGTERM));
    waitpid(child, &status, 0);
    printf("process group: %s\n", ending(status));
}

static void *block_and_wait(void *out) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    *(int *)out = sigwaitinfo(&set, NULL);
    return NULL;
}

static void in_threads(void) {
    SECTION("threads");
    pthread_t thread;
    sigset_t set;
    int got = 0;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    pthread_create(&thread, NULL, block_and_wait, &got);
    sleep_ms(20);
    kill(getpid(), SIGUSR2);
    pthread_join(thread, NULL);
    printf("the waiting thread took %d\n", got == SIGUSR2);
    IN_CHILD("a thread's fault ends all", setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); signal(SIGSEGV, SIG_DFL);
             pthread_create(&thread, NULL, (void *(*)(void *))16, NULL); pause());
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    senders();
    faults();
    stacks();
    restarts();
    flags();
    masks();
    defaults();
    job_control();
    in_threads();
    return 0;
}
