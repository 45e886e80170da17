/* The lives of processes and threads, in the corners: clone3's arguments, wait's options, pidfds, signals between them, timers of
 * all kinds, what exec leaves, and calls that are stopped and go on. */
#include "check.h"
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/timex.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif

static long clone3(struct clone_args *args, size_t size) {
    return syscall(SYS_clone3, args, size);
}

#define CLONE3(...)                                                     \
    ({                                                                  \
        struct clone_args args = {__VA_ARGS__};                         \
        long child = clone3(&args, sizeof args);                        \
        if (child == 0) _exit(7);                                       \
        if (child > 0) waitpid(child, NULL, __WALL);                    \
        child > 0 ? 1 : child;                                          \
    })

static void clones(void) {
    SECTION("clone3");
    VALUE(CLONE3(.exit_signal = SIGCHLD));
    VALUE(CLONE3(.exit_signal = 0));
    VALUE(CLONE3(.exit_signal = 65));
    VALUE(CLONE3(.exit_signal = 256));
    VALUE(CLONE3(.flags = 0x11));
    VALUE(CLONE3(.flags = 1ull << 40));
    VALUE(CLONE3(.flags = CLONE_DETACHED));
    VALUE(CLONE3(.flags = CLONE_THREAD));
    VALUE(CLONE3(.flags = CLONE_SIGHAND));
    VALUE(CLONE3(.flags = CLONE_SIGHAND | CLONE_VM | CLONE_CLEAR_SIGHAND));
    VALUE(CLONE3(.flags = CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD));
    VALUE(CLONE3(.flags = CLONE_PARENT, .exit_signal = SIGCHLD));
    VALUE(CLONE3(.stack = 4096));
    VALUE(CLONE3(.stack_size = 4096));
    VALUE(CLONE3(.set_tid = 8));
    VALUE(CLONE3(.set_tid = 8, .set_tid_size = 1));
    pid_t wanted[2] = {getpid(), 0};
    VALUE(CLONE3(.set_tid = (uintptr_t)wanted, .set_tid_size = 1, .exit_signal = SIGCHLD));
    wanted[0] = 0;
    VALUE(CLONE3(.set_tid = (uintptr_t)wanted, .set_tid_size = 1, .exit_signal = SIGCHLD));
    wanted[0] = 31999;
    VALUE(CLONE3(.set_tid = (uintptr_t)wanted, .set_tid_size = 1, .exit_signal = SIGCHLD));
    VALUE(CLONE3(.set_tid_size = 33, .set_tid = 8));
    VALUE(CLONE3(.flags = CLONE_PIDFD, .pidfd = 8, .exit_signal = SIGCHLD));
    VALUE(CLONE3(.flags = CLONE_FS | CLONE_NEWNS));
    struct clone_args args = {.exit_signal = SIGCHLD};
    VALUE(clone3(&args, 63));
    VALUE(clone3(&args, 5000));
    VALUE(clone3((void *)8, sizeof args));
    char large[120] = {0};
    large[119] = 1;
    VALUE(clone3((void *)large, sizeof large));
    VALUE(syscall(SYS_clone, CLONE_PIDFD | CLONE_PARENT_SETTID | SIGCHLD, 0, 0, 0, 0));
    VALUE(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0));
    VALUE(syscall(SYS_clone, CLONE_SETTLS | SIGCHLD, 0, 0, 0, 0xffff000000000000));
}

static void waits(void) {
    SECTION("wait");
    siginfo_t info;
    struct rusage usage;
    VALUE(waitpid(-1, NULL, 0));
    VALUE(waitpid(-1, NULL, 0x1000));
    VALUE(waitid(P_ALL, 0, &info, 0));
    VALUE(waitid(P_ALL, 0, &info, WEXITED | 0x10000));
    VALUE(waitid(9, 0, &info, WEXITED));
    VALUE(waitid(P_PID, 0, &info, WEXITED));
    VALUE(waitid(P_PID, -1, &info, WEXITED));
    VALUE(waitid(P_PIDFD, 99, &info, WEXITED));
    VALUE(waitid(P_PIDFD, 0, &info, WEXITED));
    VALUE(syscall(SYS_wait4, -2147483648, NULL, 0, NULL));
    pid_t child = MUST(fork());
    if (!child) {
        /* A group that its parent can let go on: an orphaned one does not stop. */
        setpgid(0, 0);
        raise(SIGSTOP);
        for (;;) pause();
    }
    int status;
    VALUE(waitpid(child, &status, WNOHANG));
    VALUE(waitpid(child, &status, WUNTRACED) == child);
    printf("%s\n", ending(status));
    VALUE(waitpid(child, &status, WUNTRACED | WNOHANG));
    kill(child, SIGCONT);
    VALUE(waitid(P_PID, child, &info, WCONTINUED | WNOWAIT));
    printf("%d %d\n", info.si_code, info.si_status);
    VALUE(waitid(P_PID, child, &info, WCONTINUED));
    kill(child, SIGTSTP);
    VALUE(waitid(P_PID, child, &info, WSTOPPED));
    printf("%d %d\n", info.si_code, info.si_status);
    kill(child, SIGTERM);
    VALUE(waitpid(child, &status, WNOHANG));
    kill(child, SIGCONT);
    VALUE(waitid(P_PID, child, &info, WEXITED | WNOWAIT));
    printf("%d %d %d\n", info.si_signo, info.si_code, info.si_status);
    memset(&info, 1, sizeof info);
    VALUE(syscall(SYS_waitid, P_PID, child, &info, WEXITED, &usage));
    VALUE(info.si_pid == child);
    VALUE(waitid(P_PID, child, &info, WEXITED));
    /* No news: zeros. */
    child = MUST(fork());
    if (!child) for (;;) pause();
    memset(&info, 1, sizeof info);
    VALUE(waitid(P_PID, child, &info, WEXITED | WNOHANG));
    VALUE(info.si_signo | info.si_pid);
    VALUE(waitpid(child, NULL, __WCLONE));
    VALUE(waitpid(child, NULL, __WALL | WNOHANG));
    VALUE(waitpid(-getpgrp(), NULL, WNOHANG));
    kill(child, SIGKILL);
    VALUE(wait4(child, &status, __WALL, &usage) == child);
    /* A child of another exit signal is a clone. */
    signal(SIGUSR2, SIG_IGN);
    child = syscall(SYS_clone, SIGUSR2, 0, 0, 0, 0);
    if (!child) _exit(5);
    sleep_ms(50);
    VALUE(waitpid(child, NULL, WNOHANG));
    VALUE(waitpid(child, &status, __WCLONE) == child);
    printf("%s\n", ending(status));
}

static void *wait_for_none(void *child) {
    VALUE(waitpid((pid_t)(long)child, NULL, WNOHANG | __WNOTHREAD));
    VALUE(waitpid((pid_t)(long)child, NULL, WNOHANG));
    return NULL;
}

static void pidfds(void) {
    SECTION("pidfd");
    VALUE(syscall(SYS_pidfd_open, 0, 0));
    VALUE(syscall(SYS_pidfd_open, -1, 0));
    VALUE(syscall(SYS_pidfd_open, 1 << 30, 0));
    VALUE(syscall(SYS_pidfd_open, getpid(), 1));
    pid_t child = MUST(fork());
    if (!child) for (;;) pause();
    pthread_t thread;
    pthread_create(&thread, NULL, wait_for_none, (void *)(long)child);
    pthread_join(thread, NULL);
    int fd = MUST(syscall(SYS_pidfd_open, child, O_NONBLOCK));
    TRUE(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    struct pollfd poll_fd = {fd, POLLIN, 0};
    VALUE(poll(&poll_fd, 1, 0));
    siginfo_t info = {0};
    VALUE(waitid(P_PIDFD, fd, &info, WEXITED));
    VALUE(waitid(P_PIDFD, fd, &info, WEXITED | WNOHANG));
    VALUE(syscall(SYS_pidfd_send_signal, fd, 65, NULL, 0));
    VALUE(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    VALUE(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 1 << 10));
    VALUE(syscall(SYS_pidfd_send_signal, 0, 0, NULL, 0));
    VALUE(syscall(SYS_pidfd_send_signal, fd, 0, (void *)8, 0));
    info.si_signo = SIGUSR1;
    VALUE(syscall(SYS_pidfd_send_signal, fd, SIGUSR2, &info, 0));
    info.si_code = SI_USER;
    VALUE(syscall(SYS_pidfd_send_signal, fd, SIGUSR1, &info, 0));
    VALUE(syscall(SYS_pidfd_getfd, fd, 99, 0));
    VALUE(syscall(SYS_pidfd_getfd, fd, 1, 1));
    VALUE(syscall(SYS_pidfd_getfd, fd, 1, 0) > 0);
    VALUE(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
    VALUE(poll(&poll_fd, 1, 5000));
    VALUE(poll_fd.revents);
    VALUE(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    VALUE(waitid(P_PIDFD, fd, &info, WEXITED));
    VALUE(info.si_status);
    VALUE(syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0));
    VALUE(waitid(P_PIDFD, fd, &info, WEXITED));
    VALUE(read(fd, &info, 1));
}

static volatile sig_atomic_t count;

static void on_signal(int signal) {
    (void)signal;
    count++;
}

/* What a call that sleeps says after its process was stopped and went on, and after a handler with and without SA_RESTART. */
#define SLEEPING(label, call)                                                                   \
    do {                                                                                        \
        fflush(stdout);                                                                         \
        pid_t sleeper = MUST(fork());                                                           \
        if (!sleeper) {                                                                         \
            errno = 0;                                                                          \
            long result = (long)(call);                                                         \
            printf("%s: %s\n", label, result == -1 ? error_name(errno) : "ok");                 \
            fflush(stdout);                                                                     \
            _exit(0);                                                                           \
        }                                                                                       \
        sleep_ms(60);                                                                           \
        kill(sleeper, SIGSTOP);                                                                 \
        waitpid(sleeper, NULL, WUNTRACED);                                                      \
        kill(sleeper, SIGCONT);                                                                 \
        sleep_ms(20);                                                                           \
        kill(sleeper, SIGUSR1);                                                                 \
        waitpid(sleeper, NULL, 0);                                                              \
    } while (0)

static uint32_t futex_word;

static void sleepers(void) {
    SECTION("stopped and continued");
    struct timespec brief = {0, 200000000}, left;
    struct pollfd none = {-1, 0, 0};
    sigset_t empty, usr1;
    sigemptyset(&empty);
    sigemptyset(&usr1);
    sigaddset(&usr1, SIGUSR2);
    int ends[2];
    MUST(pipe(ends));
    char byte;
    for (int restart = 0; restart < 2; restart++) {
        struct sigaction action = {.sa_handler = on_signal, .sa_flags = restart ? SA_RESTART : 0};
        sigaction(SIGUSR1, &action, NULL);
        printf("%s\n", restart ? "with SA_RESTART" : "without SA_RESTART");
        SLEEPING("nanosleep", nanosleep(&brief, &left));
        SLEEPING("clock_nanosleep", (errno = clock_nanosleep(CLOCK_MONOTONIC, 0, &brief, NULL)) ? -1 : 0);
        SLEEPING("poll", poll(&none, 1, 200));
        SLEEPING("ppoll", ppoll(&none, 1, &brief, &empty));
        SLEEPING("select", select(0, NULL, NULL, NULL, &(struct timeval){0, 200000}));
        SLEEPING("futex", syscall(SYS_futex, &futex_word, 0, 0, &brief, NULL, 0));
        SLEEPING("sigtimedwait", sigtimedwait(&usr1, NULL, &brief));
        SLEEPING("pause", (alarm(1), pause()));
    }
    /* After a stop without a handler these go on. */
    SECTION("stopped, continued, woken");
    fflush(stdout);
    pid_t reader = MUST(fork());
    if (!reader) {
        long result = read(ends[0], &byte, 1);
        printf("read: %ld\n", result);
        result = syscall(SYS_futex, &futex_word, 0, 0, &brief, NULL, 0);
        printf("futex: %s\n", result == -1 ? error_name(errno) : "ok");
        printf("poll: %d\n", poll(&none, 1, 200));
        printf("nanosleep: %d\n", nanosleep(&brief, &left));
        fflush(stdout);
        _exit(0);
    }
    for (int i = 0; i < 8; i++) {
        sleep_ms(50);
        kill(reader, SIGSTOP);
        sleep_ms(10);
        kill(reader, SIGCONT);
        if (i == 0) MUST(write(ends[1], "x", 1));
    }
    waitpid(reader, NULL, 0);
}

static volatile int thread_notified;
static volatile pid_t handler_tid;

static void on_timer(int signal, siginfo_t *info, void *context) {
    (void)signal;
    (void)context;
    handler_tid = (pid_t)syscall(SYS_gettid);
    if (info->si_code == SI_TIMER) count++;
}

static void notify_function(union sigval value) {
    thread_notified = value.sival_int;
}

static void timers(void) {
    SECTION("timers");
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    struct itimerspec brief = {{0, 0}, {0, 20000000}}, often = {{0, 1000000}, {0, 1000000}}, never = {{0, 0}, {0, 0}}, left;
    timer_t timer;
    struct sigaction action = {.sa_sigaction = on_timer, .sa_flags = SA_SIGINFO};
    sigaction(SIGRTMIN, &action, NULL);
    int id;
    VALUE(syscall(SYS_timer_create, 99, &event, &id));
    event.sigev_signo = 99;
    VALUE(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
    event.sigev_signo = SIGRTMIN;
    event.sigev_notify = 77;
    VALUE(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, &id));
    event.sigev_notify = SIGEV_SIGNAL;
    VALUE(syscall(SYS_timer_create, CLOCK_MONOTONIC, &event, 8));
    VALUE(syscall(SYS_timer_create, CLOCK_MONOTONIC_RAW, &event, &id));
    VALUE(syscall(SYS_timer_create, CLOCK_MONOTONIC_COARSE, &event, &id));
    VALUE(syscall(SYS_timer_settime, 999, 0, &brief, NULL));
    VALUE(syscall(SYS_timer_gettime, 999, &left));
    VALUE(syscall(SYS_timer_getoverrun, 999));
    VALUE(syscall(SYS_timer_delete, 999));
    count = 0;
    static const clockid_t clocks[] = {CLOCK_REALTIME, CLOCK_MONOTONIC, CLOCK_BOOTTIME, CLOCK_TAI};
    for (int i = 0; i < 4; i++) {
        MUST(timer_create(clocks[i], &event, &timer));
        MUST(timer_settime(timer, 0, &brief, NULL));
        sleep_ms(60);
        printf("clock %d: %d\n", clocks[i], (int)count);
        MUST(timer_settime(timer, TIMER_ABSTIME, &brief, NULL));
        sleep_ms(20);
        printf("long ago: %d\n", (int)count);
        struct itimerspec bad = {{0, 0}, {0, 1000000000}};
        VALUE(timer_settime(timer, 0, &bad, NULL));
        VALUE(timer_settime(timer, 0, NULL, NULL));
        VALUE(timer_delete(timer));
    }
    /* Overruns are counted, not queued. */
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
    MUST(timer_settime(timer, 0, &often, NULL));
    sleep_ms(100);
    siginfo_t info;
    VALUE(sigtimedwait(&set, &info, &(struct timespec){0, 0}) == SIGRTMIN);
    TRUE(timer_getoverrun(timer) >= 50 && info.si_overrun >= 50);
    MUST(timer_settime(timer, 0, &never, &left));
    TRUE(left.it_interval.tv_nsec == 1000000);
    while (sigtimedwait(&set, &info, &(struct timespec){0, 0}) > 0) {}
    timer_delete(timer);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
    /* By a thread, and for one. */
    event.sigev_notify = SIGEV_THREAD;
    event.sigev_notify_function = notify_function;
    event.sigev_value.sival_int = 42;
    MUST(timer_create(CLOCK_MONOTONIC, &event, &timer));
    MUST(timer_settime(timer, 0, &brief, NULL));
    for (int i = 0; i < 100 && !thread_notified; i++) sleep_ms(20);
    VALUE(thread_notified);
    timer_delete(timer);
    struct sigevent for_thread = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGRTMIN};
    for_thread._sigev_un._tid = (pid_t)syscall(SYS_gettid);
    MUST(timer_create(CLOCK_MONOTONIC, &for_thread, &timer));
    MUST(timer_settime(timer, 0, &brief, NULL));
    sleep_ms(60);
    TRUE(handler_tid == (pid_t)syscall(SYS_gettid));
    timer_delete(timer);
    for_thread._sigev_un._tid = 1 << 29;
    VALUE(timer_create(CLOCK_MONOTONIC, &for_thread, &timer));
    struct sigevent none = {.sigev_notify = SIGEV_NONE};
    MUST(timer_create(CLOCK_MONOTONIC, &none, &timer));
    MUST(timer_settime(timer, 0, &brief, NULL));
    sleep_ms(40);
    MUST(timer_gettime(timer, &left));
    TRUE(left.it_value.tv_sec == 0 && left.it_value.tv_nsec == 0);
    timer_delete(timer);
    MUST(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer));
    timer_delete(timer);
    IN_CHILD("not inherited", VALUE(timer_delete(timer)));
}

static void clocks(void) {
    SECTION("setting the clock");
    struct timex state = {0};
    TRUE(adjtimex(&state) >= 0);
    TRUE(state.tick == 10000 && state.tolerance == 500 << 16);
    state.modes = ADJ_TICK;
    state.tick = 8999;
    VALUE(adjtimex(&state));
    state.tick = 11001;
    VALUE(adjtimex(&state));
    VALUE(adjtimex((void *)8));
    state.modes = ADJ_SETOFFSET;
    state.time.tv_usec = 1000000;
    VALUE(adjtimex(&state));
    state.modes = 0x8000;
    VALUE(adjtimex(&state));
    state.modes = 0;
    VALUE(clock_adjtime(CLOCK_MONOTONIC, &state));
    VALUE(clock_adjtime(99, &state));
    struct timespec bad = {-1, 0}, now;
    VALUE(clock_settime(CLOCK_REALTIME, &bad));
    VALUE(clock_settime(CLOCK_MONOTONIC, &bad));
    VALUE(clock_settime(99, &bad));
    VALUE(clock_getres(CLOCK_REALTIME, NULL));
    VALUE(clock_gettime(CLOCK_REALTIME, &now));
    VALUE(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &now, NULL));
    VALUE(clock_nanosleep(CLOCK_MONOTONIC_COARSE, 0, &now, NULL));
    VALUE(clock_nanosleep(CLOCK_MONOTONIC_RAW, 0, &now, NULL));
    VALUE(clock_nanosleep(99, 0, &now, NULL));
    VALUE(clock_nanosleep(CLOCK_MONOTONIC, 0, &bad, NULL));
    struct timespec brief = {0, 10000000};
    VALUE(clock_nanosleep(CLOCK_BOOTTIME, 0, &brief, NULL));
    VALUE(clock_nanosleep(CLOCK_TAI, 0, &brief, NULL));
    VALUE(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &brief, NULL));
    struct itimerval wrong = {{0, 0}, {0, 1000000}};
    VALUE(setitimer(ITIMER_REAL, &wrong, NULL));
    VALUE(setitimer(9, &(struct itimerval){0}, NULL));
    VALUE(getitimer(9, &wrong));
    VALUE(setitimer(ITIMER_REAL, (void *)8, NULL));
    VALUE(alarm(100));
    VALUE(alarm(0) >= 99);
    struct timezone zone = {16 * 60, 0};
    VALUE(syscall(SYS_settimeofday, NULL, &zone));
}

static void signal_calls(void) {
    SECTION("signal calls");
    sigset_t set;
    sigemptyset(&set);
    VALUE(syscall(SYS_rt_sigaction, 0, NULL, NULL, 8));
    VALUE(syscall(SYS_rt_sigaction, 65, NULL, NULL, 8));
    VALUE(syscall(SYS_rt_sigaction, SIGKILL, NULL, NULL, 8));
    VALUE(syscall(SYS_rt_sigaction, SIGUSR1, NULL, NULL, 4));
    VALUE(syscall(SYS_rt_sigaction, SIGUSR1, 8, NULL, 8));
    VALUE(syscall(SYS_rt_sigaction, SIGUSR1, NULL, 8, 8));
    VALUE(syscall(SYS_rt_sigprocmask, 9, &set, NULL, 8));
    VALUE(syscall(SYS_rt_sigprocmask, 9, NULL, NULL, 8));
    VALUE(syscall(SYS_rt_sigprocmask, 0, &set, NULL, 16));
    VALUE(syscall(SYS_rt_sigpending, &set, 9));
    VALUE(syscall(SYS_rt_sigpending, 8, 8));
    VALUE(syscall(SYS_rt_sigtimedwait, &set, NULL, &(struct timespec){0, 0}, 8));
    VALUE(syscall(SYS_rt_sigtimedwait, &set, NULL, &(struct timespec){0, -1}, 8));
    VALUE(syscall(SYS_rt_sigtimedwait, &set, NULL, &(struct timespec){0, 0}, 4));
    VALUE(syscall(SYS_kill, 1 << 30, 0));
    VALUE(syscall(SYS_kill, getpid(), 65));
    VALUE(syscall(SYS_kill, -(1 << 30), 0));
    VALUE(syscall(SYS_tkill, 0, 0));
    VALUE(syscall(SYS_tkill, -1, 0));
    VALUE(syscall(SYS_tgkill, getpid(), 1 << 30, 0));
    VALUE(syscall(SYS_tgkill, 0, getpid(), 0));
    VALUE(syscall(SYS_tgkill, getpid() + 1, getpid(), 0));
    siginfo_t info = {.si_code = SI_QUEUE};
    VALUE(syscall(SYS_rt_sigqueueinfo, getpid(), 0, &info));
    VALUE(syscall(SYS_rt_sigqueueinfo, getpid(), 65, &info));
    VALUE(syscall(SYS_rt_sigqueueinfo, getpid(), 0, 8));
    VALUE(syscall(SYS_rt_tgsigqueueinfo, getpid(), getpid(), 0, &info));
    VALUE(syscall(SYS_rt_tgsigqueueinfo, -1, getpid(), 0, &info));
    VALUE(syscall(SYS_sigaltstack, &(stack_t){.ss_size = 100}, NULL));
    VALUE(syscall(SYS_sigaltstack, &(stack_t){.ss_flags = 77, .ss_size = 100000}, NULL));
    VALUE(syscall(SYS_sigaltstack, 8, NULL));
    VALUE(syscall(SYS_signalfd4, -1, &set, 4, 0));
    VALUE(syscall(SYS_signalfd4, 0, &set, 8, 0));
    VALUE(syscall(SYS_signalfd4, 99, &set, 8, 0));
    VALUE(syscall(SYS_signalfd4, -1, &set, 8, 77));
    VALUE(syscall(SYS_restart_syscall));
    IN_CHILD("no restorer", {
        struct { void (*handler)(int); unsigned long flags; void *restorer; unsigned long mask; } action = {on_signal, 0, 0, 0};
        syscall(SYS_rt_sigaction, SIGUSR1, &action, NULL, 8);
        raise(SIGUSR1);
    });
    IN_CHILD("a handler that is nowhere", {
        signal(SIGUSR1, (void *)0x10);
        raise(SIGUSR1);
    });
    IN_CHILD("a stack that is nowhere", {
        signal(SIGSEGV, on_signal);
        __asm__ volatile("mov $0x10, %%rsp\n movl $0, 0\n" : : : "memory");
    });
    IN_CHILD("SIGKILL in a mask", {
        sigfillset(&set);
        sigprocmask(SIG_SETMASK, &set, NULL);
        kill(getpid(), SIGKILL);
        pause();
    });
}

static void *never_ends(void *unused) {
    (void)unused;
    for (;;) pause();
    return NULL;
}

static void *run_again(void *self) {
    sleep_ms(20);
    execl(self, "lifecycle", "after exec", NULL);
    return NULL;
}

static void execs(const char *self) {
    SECTION("exec");
    char *arguments[] = {"x", NULL};
    VALUE(execve("", arguments, NULL));
    VALUE(execve("/", arguments, NULL));
    VALUE(execve("/nowhere", arguments, NULL));
    VALUE(execve("/etc/passwd", arguments, NULL));
    VALUE(execve("/etc/passwd/x", arguments, NULL));
    VALUE(execve((char *)8, arguments, NULL));
    VALUE(execve(self, (char **)8, NULL));
    VALUE(execve(self, arguments, (char **)8));
    VALUE(execve(self, (char *[]){(char *)8, NULL}, NULL));
    VALUE(syscall(SYS_execveat, AT_FDCWD, "", arguments, NULL, 0x40000000));
    VALUE(syscall(SYS_execveat, 99, "x", arguments, NULL, 0));
    VALUE(syscall(SYS_execveat, 99, "", arguments, NULL, AT_EMPTY_PATH));
    VALUE(syscall(SYS_execveat, 0, "x", arguments, NULL, 0));
    static char huge[140000];
    memset(huge, 'x', sizeof huge - 1);
    VALUE(execve(self, (char *[]){"x", huge, NULL}, NULL));
    IN_CHILD("exec from a thread", {
        pthread_t threads[2];
        pthread_create(&threads[0], NULL, never_ends, NULL);
        pthread_create(&threads[1], NULL, run_again, (void *)self);
        for (;;) pause();
    });
    IN_CHILD("what is kept", {
        signal(SIGUSR1, SIG_IGN);
        signal(SIGUSR2, on_signal);
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGHUP);
        sigprocmask(SIG_BLOCK, &set, NULL);
        raise(SIGHUP);
        alarm(1000);
        nice(5);
        fflush(stdout);
        execl(self, "lifecycle", "kept", NULL);
    });
}

static int after_exec(const char *what) {
    printf("%s: tid is pid %d\n", what, (pid_t)syscall(SYS_gettid) == getpid());
    struct sigaction usr1, usr2;
    sigaction(SIGUSR1, NULL, &usr1);
    sigaction(SIGUSR2, NULL, &usr2);
    sigset_t blocked, pending;
    sigprocmask(SIG_BLOCK, NULL, &blocked);
    sigpending(&pending);
    printf("ignored %d, default %d, blocked %d, pending %d, alarm %d, nice %d\n", usr1.sa_handler == SIG_IGN, usr2.sa_handler == SIG_DFL,
           sigismember(&blocked, SIGHUP), sigismember(&pending, SIGHUP), alarm(0) > 900, getpriority(PRIO_PROCESS, 0));
    char name[17] = {0};
    FILE *comm = fopen("/proc/self/comm", "r");
    if (comm && fgets(name, sizeof name, comm)) printf("%s", name);
    return 0;
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc > 1) return after_exec(argv[1]);
    /* In a child: some of it is for a process that is nobody's first. */
    IN_CHILD("clones", clones());
    IN_CHILD("waits", waits());
    IN_CHILD("pidfds", pidfds());
    IN_CHILD("sleepers", sleepers());
    IN_CHILD("timers", timers());
    IN_CHILD("clocks", clocks());
    IN_CHILD("signals", signal_calls());
    IN_CHILD("execs", execs("/proc/self/exe"));
    return 0;
}
