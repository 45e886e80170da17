/* Who may do what: prctl, capabilities, ids and what becomes of them at exec, limits and what they limit, permission checks between
 * processes of different users, scheduling calls and their errors. */
#include "check.h"
#include <grp.h>
#include <linux/capability.h>
#include <linux/kcmp.h>
#include <linux/securebits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#define NOBODY 65534

static void become_nobody(void) {
    MUST(setgroups(0, NULL));
    MUST(setresgid(NOBODY, NOBODY, NOBODY));
    MUST(setresuid(NOBODY, NOBODY, NOBODY));
}

static void prctls(void) {
    SECTION("prctl");
    int value = 77;
    char name[17] = {0};
    VALUE(prctl(PR_SET_PDEATHSIG, 65));
    VALUE(prctl(PR_SET_PDEATHSIG, SIGUSR1));
    VALUE(prctl(PR_GET_PDEATHSIG, &value));
    VALUE(value);
    VALUE(prctl(PR_GET_PDEATHSIG, 8));
    VALUE(prctl(PR_SET_PDEATHSIG, 0));
    VALUE(prctl(PR_GET_DUMPABLE));
    VALUE(prctl(PR_SET_DUMPABLE, 2));
    VALUE(prctl(PR_SET_DUMPABLE, 0));
    VALUE(prctl(PR_GET_DUMPABLE));
    VALUE(prctl(PR_SET_DUMPABLE, 1));
    VALUE(prctl(PR_SET_NAME, "a name that is longer than 15"));
    VALUE(prctl(PR_GET_NAME, name));
    printf("%s\n", name);
    VALUE(prctl(PR_SET_NAME, 8));
    VALUE(prctl(PR_GET_NAME, 8));
    VALUE(prctl(PR_SET_TIMERSLACK, 1000));
    VALUE(prctl(PR_GET_TIMERSLACK));
    VALUE(prctl(PR_SET_TIMERSLACK, 0));
    VALUE(prctl(PR_GET_TIMERSLACK));
    VALUE(prctl(PR_SET_CHILD_SUBREAPER, 1));
    VALUE(prctl(PR_GET_CHILD_SUBREAPER, &value));
    VALUE(value);
    VALUE(prctl(PR_SET_CHILD_SUBREAPER, 0));
    VALUE(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    VALUE(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
    VALUE(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
    VALUE(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    VALUE(prctl(PR_SET_KEEPCAPS, 2));
    VALUE(prctl(PR_SET_KEEPCAPS, 1));
    VALUE(prctl(PR_GET_KEEPCAPS));
    VALUE(prctl(PR_SET_KEEPCAPS, 0));
    VALUE(prctl(PR_GET_SECUREBITS));
    VALUE(prctl(PR_SET_SECUREBITS, 1 << 20));
    VALUE(prctl(PR_CAPBSET_READ, CAP_CHOWN));
    VALUE(prctl(PR_CAPBSET_READ, 99));
    VALUE(prctl(PR_CAPBSET_DROP, 99));
    VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 0, 0));
    VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 99, 0, 0));
    VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
    VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0));
    VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0));
    VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, CAP_CHOWN, 1, 0));
    VALUE(prctl(PR_CAP_AMBIENT, 9, 0, 0, 0));
    VALUE(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    VALUE(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0));
    VALUE(prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0));
    VALUE(prctl(PR_GET_THP_DISABLE, 0, 0, 0, 0));
    VALUE(prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0));
    VALUE(prctl(PR_SET_THP_DISABLE, 0, 0, 1, 0));
    VALUE(prctl(PR_GET_TSC, &value));
    VALUE(value);
    VALUE(prctl(PR_SET_TSC, 9));
    VALUE(prctl(PR_GET_TIMING));
    VALUE(prctl(PR_SET_TIMING, PR_TIMING_TIMESTAMP));
    VALUE(prctl(PR_SET_TIMING, PR_TIMING_STATISTICAL));
    VALUE(prctl(PR_GET_UNALIGN, &value));
    VALUE(prctl(PR_SET_ENDIAN, 0));
    VALUE(prctl(PR_GET_FPEMU, &value));
    VALUE(prctl(PR_SET_FPEXC, 0));
    VALUE(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    VALUE(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 0, 0, 0));
    VALUE(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0));
    VALUE(prctl(PR_MCE_KILL_GET, 0, 0, 0, 0));
    VALUE(prctl(PR_MCE_KILL, PR_MCE_KILL_SET, 9, 0, 0));
    VALUE(prctl(PR_MCE_KILL, PR_MCE_KILL_CLEAR, 1, 0, 0));
    VALUE(prctl(PR_MCE_KILL, 9, 0, 0, 0));
    VALUE(prctl(PR_TASK_PERF_EVENTS_DISABLE));
    VALUE(prctl(PR_SET_MM, PR_SET_MM_BRK, 1, 0, 0));
    VALUE(prctl(PR_SET_MM, 99, 0, 0, 0));
    VALUE(prctl(PR_SET_IO_FLUSHER, 0, 0, 0, 0));
    VALUE(prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0));
    VALUE(prctl(PR_SVE_GET_VL));
    VALUE(prctl(PR_PAC_RESET_KEYS, 0, 0, 0, 0));
    VALUE(prctl(PR_SET_TAGGED_ADDR_CTRL, 0, 0, 0, 0));
    VALUE(prctl(12345, 0, 0, 0, 0));
}

static void *die_with_parent(void *unused) {
    (void)unused;
    prctl(PR_SET_PDEATHSIG, SIGUSR1);
    return NULL;
}

static void print_caps(const char *when) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    MUST(syscall(SYS_capget, &header, data));
    printf("%s: uid %d/%d, effective %x, permitted %x, inheritable %x\n", when, getuid(), geteuid(), data[0].effective & 0xff,
           data[0].permitted & 0xff, data[0].inheritable & 0xff);
}

static long set_caps(uint32_t effective, uint32_t permitted, uint32_t inheritable) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2] = {{effective, permitted, inheritable}, {0, 0, 0}};
    return syscall(SYS_capset, &header, data);
}

static void capabilities(const char *self) {
    SECTION("capabilities");
    struct __user_cap_header_struct header = {0x12345678, 0};
    struct __user_cap_data_struct data[2];
    VALUE(syscall(SYS_capget, &header, NULL));
    TRUE(header.version == _LINUX_CAPABILITY_VERSION_3);
    header.version = 1;
    VALUE(syscall(SYS_capget, &header, data));
    header = (struct __user_cap_header_struct){_LINUX_CAPABILITY_VERSION_3, -1};
    VALUE(syscall(SYS_capget, &header, data));
    header.pid = 1 << 30;
    VALUE(syscall(SYS_capget, &header, data));
    header.pid = getppid();
    VALUE(syscall(SYS_capset, &header, data));
    VALUE(syscall(SYS_capget, 8, data));
    IN_CHILD("setuid drops all", {
        print_caps("root");
        MUST(setresuid(NOBODY, NOBODY, NOBODY));
        print_caps("nobody");
    });
    IN_CHILD("keepcaps keeps the permitted", {
        MUST(prctl(PR_SET_KEEPCAPS, 1));
        MUST(setresuid(NOBODY, NOBODY, NOBODY));
        print_caps("nobody");
        VALUE(set_caps(1 << CAP_CHOWN, 1 << CAP_CHOWN, 0));
        print_caps("nobody");
        VALUE(set_caps(1 << CAP_CHOWN, 3 << CAP_CHOWN, 0));
        VALUE(set_caps(3 << CAP_CHOWN, 1 << CAP_CHOWN, 0));
        VALUE(set_caps(0, 1 << CAP_CHOWN, 1 << CAP_FOWNER));
        VALUE(set_caps(0, 1 << CAP_CHOWN, 1 << CAP_CHOWN));
        VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_CHOWN, 0, 0));
        VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_FOWNER, 0, 0));
        fflush(stdout);
        execl(self, "privileges", "caps", "ambient at exec", NULL);
    });
    IN_CHILD("effective comes and goes with the effective id", {
        MUST(setresuid(0, NOBODY, 0));
        print_caps("effective nobody");
        MUST(setresuid(0, 0, 0));
        print_caps("effective root");
    });
    IN_CHILD("nothing without root at exec", {
        MUST(setresuid(NOBODY, NOBODY, NOBODY));
        fflush(stdout);
        execl(self, "privileges", "caps", "exec", NULL);
    });
    IN_CHILD("root gains all at exec", {
        MUST(set_caps(0, 0, 0));
        print_caps("none");
        fflush(stdout);
        execl(self, "privileges", "caps", "exec", NULL);
    });
    IN_CHILD("SECBIT_NOROOT", {
        MUST(prctl(PR_SET_SECUREBITS, SECBIT_NOROOT));
        fflush(stdout);
        execl(self, "privileges", "caps", "exec", NULL);
    });
    IN_CHILD("SECBIT_NO_SETUID_FIXUP", {
        MUST(prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP | SECBIT_NO_SETUID_FIXUP_LOCKED));
        VALUE(prctl(PR_SET_SECUREBITS, 0));
        MUST(setresuid(NOBODY, NOBODY, NOBODY));
        print_caps("nobody");
    });
    IN_CHILD("bounding set", {
        MUST(prctl(PR_CAPBSET_DROP, CAP_CHOWN));
        VALUE(prctl(PR_CAPBSET_READ, CAP_CHOWN));
        fflush(stdout);
        execl(self, "privileges", "caps", "exec", NULL);
    });
    IN_CHILD("fsuid takes the capabilities on files", {
        setfsuid(NOBODY);
        print_caps("fsuid nobody");
        VALUE(setfsuid(-1));
    });
}

static void ids(void) {
    SECTION("ids");
    IN_CHILD("setreuid", {
        VALUE(setreuid(1, 2));
        VALUE(setreuid(-1, 1));
        VALUE(setreuid(5, -1));
        VALUE(setreuid(2, 1));
        uid_t real;
        uid_t effective;
        uid_t saved;
        getresuid(&real, &effective, &saved);
        printf("%d %d %d\n", real, effective, saved);
        VALUE(setuid(7));
        VALUE(setuid(2));
        getresuid(&real, &effective, &saved);
        printf("%d %d %d\n", real, effective, saved);
    });
    IN_CHILD("setresuid", {
        VALUE(setresuid(1, 2, 3));
        VALUE(setresuid(3, 1, 2));
        VALUE(setresuid(4, -1, -1));
        VALUE(setfsuid(9));
        VALUE(setfsuid(2));
        VALUE(setfsuid(-1));
    });
    IN_CHILD("setgid and groups", {
        gid_t list[3] = {5, 3, 4};
        VALUE(setgroups(3, list));
        VALUE(getgroups(0, NULL));
        VALUE(getgroups(2, list));
        VALUE(getgroups(3, list));
        printf("%d %d %d\n", list[0], list[1], list[2]);
        VALUE(setgroups(65537, list));
        VALUE(setgroups(-1, list));
        VALUE(setgroups(1, (void *)8));
        VALUE(setgid(-1));
        VALUE(setuid(-1));
        become_nobody();
        VALUE(setgroups(0, NULL));
        VALUE(setgid(5));
        VALUE(setregid(5, -1));
        VALUE(setresgid(-1, 5, -1));
        VALUE(setegid(NOBODY));
        VALUE(setuid(0));
    });
    IN_CHILD("a change of ids is no longer dumpable", {
        VALUE(prctl(PR_GET_DUMPABLE));
        MUST(seteuid(NOBODY));
        VALUE(prctl(PR_GET_DUMPABLE));
    });
}

static void on_xfsz(int signal) {
    (void)signal;
    write(1, "SIGXFSZ\n", 8);
}

static long limit(int resource, rlim_t soft, rlim_t hard) {
    struct rlimit wanted = {soft, hard};
    return setrlimit(resource, &wanted);
}

static void limits(void) {
    SECTION("limits");
    VALUE(limit(99, 1, 1));
    VALUE(limit(RLIMIT_NOFILE, 10, 5));
    VALUE(getrlimit(RLIMIT_NOFILE, (void *)8));
    VALUE(prlimit(-1, RLIMIT_NOFILE, NULL, NULL));
    VALUE(prlimit(1 << 30, RLIMIT_NOFILE, NULL, NULL));
    IN_CHILD("RLIMIT_FSIZE", {
        char path[] = "/tmp/privileges-XXXXXX";
        int fd = MUST(mkstemp(path));
        unlink(path);
        MUST(limit(RLIMIT_FSIZE, 1000, 1000));
        signal(SIGXFSZ, SIG_IGN);
        VALUE(write(fd, path, 10));
        VALUE(pwrite(fd, path, 10, 995));
        VALUE(pwrite(fd, path, 10, 1000));
        VALUE(ftruncate(fd, 1001));
        VALUE(ftruncate(fd, 1000));
        signal(SIGXFSZ, on_xfsz);
        VALUE(pwrite(fd, path, 10, 2000));
        signal(SIGXFSZ, SIG_DFL);
        pwrite(fd, path, 10, 2000);
    });
    IN_CHILD("RLIMIT_NOFILE", {
        MUST(limit(RLIMIT_NOFILE, 8, 8));
        int last = 0;
        int fd;
        while ((fd = dup(0)) >= 0) last = fd;
        printf("last %d, %s\n", last, error_name(errno));
        VALUE(dup2(0, 8));
        VALUE(fcntl(0, F_DUPFD, 8));
        become_nobody();
        VALUE(limit(RLIMIT_NOFILE, 9, 9));
    });
    IN_CHILD("RLIMIT_NPROC", {
        MUST(limit(RLIMIT_NPROC, 0, 10));
        pid_t root_child = fork();
        if (!root_child) _exit(0);
        printf("root: %s\n", root_child > 0 ? "ok" : error_name(errno));
        waitpid(root_child, NULL, 0);
        become_nobody();
        VALUE(fork());
    });
    IN_CHILD("RLIMIT_SIGPENDING", {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGRTMIN);
        sigaddset(&set, SIGUSR1);
        sigprocmask(SIG_BLOCK, &set, NULL);
        MUST(setresuid(12345, 12345, 12345));
        MUST(limit(RLIMIT_SIGPENDING, 3, 3));
        union sigval value = {0};
        int count = 0;
        while (count < 10 && sigqueue(getpid(), SIGRTMIN, value) == 0) count++;
        printf("%d queued, then %s\n", count, error_name(errno));
        VALUE(kill(getpid(), SIGUSR1));
        VALUE(kill(getpid(), SIGRTMIN));
    });
    IN_CHILD("RLIMIT_NICE", {
        MUST(limit(RLIMIT_NICE, 25, 25));
        become_nobody();
        VALUE(setpriority(PRIO_PROCESS, 0, -5));
        VALUE(getpriority(PRIO_PROCESS, 0));
        VALUE(setpriority(PRIO_PROCESS, 0, -6));
        VALUE(setpriority(PRIO_PROCESS, 0, 10));
        VALUE(setpriority(PRIO_PROCESS, 0, 5));
    });
    IN_CHILD("RLIMIT_RTPRIO", {
        MUST(limit(RLIMIT_RTPRIO, 10, 10));
        become_nobody();
        struct sched_param ten = {10};
        struct sched_param eleven = {11};
        struct sched_param zero = {0};
        VALUE(sched_setscheduler(0, SCHED_FIFO, &eleven));
        VALUE(sched_setscheduler(0, SCHED_FIFO, &ten));
        VALUE(sched_setscheduler(0, SCHED_OTHER, &zero));
    });
    IN_CHILD("RLIMIT_MEMLOCK", {
        become_nobody();
        MUST(limit(RLIMIT_MEMLOCK, 0, 0));
        VALUE(mlock((void *)((uintptr_t)&errno & ~4095UL), 4096));
    });
}

/* Another user's process. */
static void between_users(void) {
    SECTION("between users");
    int ends[2];
    MUST(pipe(ends));
    pid_t other = MUST(fork());
    if (!other) {
        MUST(setresgid(1000, 1000, 1000));
        MUST(setresuid(1000, 1000, 1000));
        write(ends[1], "x", 1);
        pause();
        _exit(0);
    }
    char byte;
    MUST(read(ends[0], &byte, 1));
    IN_CHILD("from nobody", {
        become_nobody();
        VALUE(kill(other, 0));
        VALUE(kill(other, SIGTERM));
        VALUE(kill(other, SIGCONT));
        VALUE(syscall(SYS_tgkill, other, other, SIGTERM));
        VALUE(sigqueue(other, SIGTERM, (union sigval){0}));
        VALUE(kill(-other, SIGTERM));
        VALUE(kill(1, 0));
        VALUE(setpriority(PRIO_PROCESS, other, 5));
        VALUE(getpriority(PRIO_PROCESS, other));
        struct sched_param zero = {0};
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(0, &one);
        VALUE(sched_setscheduler(other, SCHED_BATCH, &zero));
        VALUE(sched_setparam(other, &zero));
        VALUE(sched_getscheduler(other));
        VALUE(sched_setaffinity(other, sizeof one, &one));
        TRUE(sched_getaffinity(other, sizeof one, &one) == 0);
        VALUE(prlimit(other, RLIMIT_NOFILE, NULL, NULL));
        VALUE(syscall(SYS_kcmp, getpid(), other, KCMP_VM, 0, 0));
        void *head;
        size_t size;
        VALUE(syscall(SYS_get_robust_list, other, &head, &size));
        VALUE(syscall(SYS_ioprio_set, 1, other, 2 << 13 | 4));
        VALUE(syscall(SYS_setpgid, other, 0));
        VALUE(syscall(SYS_getpgid, other) > 0);
        int pidfd = syscall(SYS_pidfd_open, other, 0);
        VALUE(syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0));
        VALUE(syscall(SYS_pidfd_getfd, pidfd, 0, 0));
        VALUE(syscall(SYS_ptrace, 16, other, 0, 0) == -1);
    });
    IN_CHILD("from the same user", {
        MUST(setresgid(1000, 1000, 1000));
        MUST(setresuid(1000, 1000, 1000));
        VALUE(kill(other, 0));
        VALUE(setpriority(PRIO_PROCESS, other, 5));
        VALUE(setpriority(PRIO_PROCESS, other, 0));
        VALUE(prlimit(other, RLIMIT_NOFILE, NULL, NULL));
    });
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
    IN_CHILD("what nobody may not", {
        become_nobody();
        VALUE(sethostname("x", 1));
        VALUE(setdomainname("x", 1));
        VALUE(chroot("/"));
        struct timespec time = {1000000000, 0};
        VALUE(clock_settime(CLOCK_REALTIME, &time));
        VALUE(nice(-1));
        VALUE(syscall(SYS_reboot, 0xfee1dead, 672274793, 0, NULL));
        VALUE(syscall(SYS_syslog, 5, NULL, 0));
        VALUE(prctl(PR_SET_SECUREBITS, 0));
        VALUE(prctl(PR_CAPBSET_DROP, 0));
        VALUE(prctl(PR_SET_MM, PR_SET_MM_BRK, 1, 0, 0));
        VALUE(syscall(SYS_ioprio_set, 1, 0, 1 << 13 | 4));
        VALUE(unshare(CLONE_NEWUTS));
    });
}

static void scheduling(void) {
    SECTION("scheduling");
    struct sched_param zero = {0}, one = {1}, hundred = {100};
    struct timespec interval;
    VALUE(sched_getscheduler(0));
    VALUE(sched_getscheduler(-1));
    VALUE(sched_getscheduler(1 << 30));
    VALUE(sched_setscheduler(0, 99, &zero));
    VALUE(sched_setscheduler(0, SCHED_OTHER, &one));
    VALUE(sched_setscheduler(0, SCHED_FIFO, &zero));
    VALUE(sched_setscheduler(0, SCHED_FIFO, &hundred));
    VALUE(sched_setscheduler(0, SCHED_FIFO, NULL));
    VALUE(sched_setscheduler(0, 6, &zero));
    VALUE(sched_setscheduler(0, SCHED_BATCH, &zero));
    VALUE(sched_getscheduler(0));
    VALUE(sched_setscheduler(0, SCHED_RR | SCHED_RESET_ON_FORK, &one));
    VALUE(sched_getscheduler(0));
    VALUE(sched_getparam(0, &zero));
    VALUE(zero.sched_priority);
    VALUE(sched_setparam(0, &hundred));
    VALUE(sched_rr_get_interval(0, &interval));
    printf("%ld ms\n", interval.tv_nsec / 1000000);
    IN_CHILD("reset on fork", VALUE(sched_getscheduler(0)));
    zero.sched_priority = 0;
    VALUE(sched_setscheduler(0, SCHED_FIFO, &one));
    VALUE(sched_rr_get_interval(0, &interval));
    VALUE(interval.tv_nsec);
    IN_CHILD("inherited by fork", VALUE(sched_getscheduler(0)));
    VALUE(sched_setscheduler(0, SCHED_IDLE, &zero));
    VALUE(sched_setscheduler(0, SCHED_OTHER, &zero));
    VALUE(sched_get_priority_max(SCHED_FIFO));
    VALUE(sched_get_priority_min(SCHED_RR));
    VALUE(sched_get_priority_max(SCHED_OTHER));
    VALUE(sched_get_priority_max(99));
    VALUE(sched_rr_get_interval(-1, &interval));
    struct attr { uint32_t size, policy; uint64_t flags; int32_t nice; uint32_t priority; uint64_t runtime, deadline, period; uint32_t min, max; } attr;
#define SETATTR(...) ({ attr = (struct attr){.size = 48, __VA_ARGS__}; syscall(SYS_sched_setattr, 0, &attr, 0); })
    VALUE(SETATTR(.nice = 5));
    VALUE(getpriority(PRIO_PROCESS, 0));
    VALUE(SETATTR(.nice = 0));
    VALUE(SETATTR(.policy = 6));
    VALUE(SETATTR(.policy = 6, .runtime = 10, .deadline = 5));
    VALUE(SETATTR(.policy = 99));
    VALUE(SETATTR(.flags = 1 << 20));
    VALUE(SETATTR(.policy = SCHED_FIFO));
    VALUE(SETATTR(.size = 47));
    VALUE(attr.size >= 48);
    VALUE(syscall(SYS_sched_setattr, 0, NULL, 0));
    VALUE(syscall(SYS_sched_setattr, 0, &attr, 1));
    VALUE(syscall(SYS_sched_getattr, 0, &attr, 48, 0));
    VALUE(attr.size);
    VALUE(syscall(SYS_sched_getattr, 0, &attr, 47, 0));
    VALUE(syscall(SYS_sched_getattr, 0, &attr, 48, 1));
    VALUE(getpriority(9, 0));
    VALUE(getpriority(PRIO_PROCESS, -1));
    VALUE(setpriority(PRIO_PGRP, 0, 0));
    VALUE(setpriority(PRIO_USER, 54321, 0));
    VALUE(nice(3));
    VALUE(nice(-3));
    cpu_set_t none;
    CPU_ZERO(&none);
    VALUE(sched_setaffinity(0, sizeof none, &none));
    VALUE(sched_setaffinity(1 << 30, sizeof none, &none));
    VALUE(syscall(SYS_sched_getaffinity, 0, 4, &none));
    VALUE(syscall(SYS_ioprio_get, 1, 0));
    VALUE(syscall(SYS_ioprio_set, 1, 0, 2 << 13 | 7));
    VALUE(syscall(SYS_ioprio_get, 1, 0));
    VALUE(syscall(SYS_ioprio_set, 1, 0, 7 << 13));
    VALUE(syscall(SYS_ioprio_set, 9, 0, 0));
    VALUE(syscall(SYS_ioprio_get, 1, 1 << 30));
}

static void others(void) {
    SECTION("others");
    VALUE(syscall(SYS_kcmp, getpid(), getpid(), KCMP_VM, 0, 0));
    VALUE(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 1, 1));
    int copy = dup(1);
    VALUE(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 1, copy));
    VALUE(syscall(SYS_kcmp, getpid(), getpid(), KCMP_FILE, 1, 999));
    VALUE(syscall(SYS_kcmp, getpid(), getpid(), 99, 0, 0));
    VALUE(syscall(SYS_kcmp, getpid(), 1 << 30, KCMP_VM, 0, 0));
    close(copy);
    VALUE(syscall(SYS_reboot, 1, 2, 3, NULL));
    VALUE(syscall(SYS_reboot, 0xfee1dead, 672274793, 0x12345, NULL));
    VALUE(syscall(SYS_syslog, 99, NULL, 0));
    VALUE(syscall(SYS_syslog, 3, NULL, 10));
    VALUE(syscall(SYS_syslog, 3, &copy, -1));
    VALUE(syscall(SYS_syslog, 3, &copy, 0));
    VALUE(syscall(SYS_syslog, 8, NULL, 99));
    TRUE(syscall(SYS_syslog, 10, NULL, 0) > 1000);
    VALUE(personality(0xffffffff));
    VALUE(syscall(SYS_process_mrelease, 99, 0));
    VALUE(syscall(SYS_process_mrelease, 0, 1));
    VALUE(syscall(SYS_unshare, 1));
    VALUE(syscall(SYS_setns, 0, 0));
    VALUE(syscall(SYS_setns, 99, 0));
    VALUE(syscall(SYS_create_module, 0, 0));
    VALUE(syscall(SYS_getpmsg, 0));
    VALUE(syscall(SYS_uselib, "x") == -1);
    VALUE(syscall(SYS__sysctl, 0));
    VALUE(syscall(SYS_set_thread_area, 0));
    VALUE(syscall(SYS_vserver, 0));
    pthread_t thread;
    pthread_create(&thread, NULL, die_with_parent, NULL);
    pthread_join(thread, NULL);
    int signal;
    prctl(PR_GET_PDEATHSIG, &signal);
    VALUE(signal);
}

int main(int argc, char **argv) {
    if (argc > 2) {
        print_caps(argv[2]);
        return 0;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* Containers go without this one. */
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[2];
    MUST(syscall(SYS_capget, &header, data));
    data[0].effective &= ~(1u << CAP_SYS_RESOURCE);
    data[0].permitted &= ~(1u << CAP_SYS_RESOURCE);
    MUST(syscall(SYS_capset, &header, data));
    /* In a child: some of it is for a process that is nobody's first. */
    IN_CHILD("prctls", prctls());
    IN_CHILD("capabilities", capabilities(argv[0]));
    ids();
    limits();
    IN_CHILD("users", between_users());
    IN_CHILD("scheduling", scheduling());
    IN_CHILD("others", others());
    return 0;
}
