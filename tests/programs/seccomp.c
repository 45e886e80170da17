/* Filters of system calls: strict mode, what the checker refuses, every verdict, threads, fork and exec, and what is told of it. */
#include "check.h"
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/utsname.h>

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define UNLESS(number, skip) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, skip)
#define SAY(verdict) BPF_STMT(BPF_RET | BPF_K, verdict)

static long seccomp(unsigned operation, unsigned flags, void *arguments) {
    return syscall(SYS_seccomp, operation, flags, arguments);
}

static long install(struct sock_filter *filter, int count, unsigned flags) {
    struct sock_fprog program = {(unsigned short)count, filter};
    return seccomp(SECCOMP_SET_MODE_FILTER, flags, &program);
}

#define INSTALL(flags, ...)                                             \
    ({                                                                  \
        struct sock_filter filter[] = {__VA_ARGS__};                    \
        install(filter, sizeof filter / sizeof *filter, flags);         \
    })

/* A filter that says `verdict` to getppid and allows all else. */
static long say_to_getppid(unsigned verdict) {
    return INSTALL(0, LOAD(nr), UNLESS(__NR_getppid, 1), SAY(verdict), SAY(SECCOMP_RET_ALLOW));
}

static void print_status(void) {
    FILE *file = fopen("/proc/thread-self/status", "r");
    char line[256];
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, "Seccomp", 7) || !strncmp(line, "NoNewPrivs", 10)) printf("%s", line);
    fclose(file);
}

static void strict(void) {
    SECTION("strict");
    IN_CHILD("read, write and exit", {
        MUST(seccomp(SECCOMP_SET_MODE_STRICT, 0, NULL));
        syscall(SYS_write, 1, "still there\n", 12);
        syscall(SYS_exit, 3);
    });
    IN_CHILD("another call", {
        MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
        syscall(SYS_getpid);
        syscall(SYS_write, 1, "not reached\n", 12);
    });
    IN_CHILD("exit_group", {
        MUST(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
        syscall(SYS_exit_group, 0);
    });
    VALUE(seccomp(SECCOMP_SET_MODE_STRICT, 1, NULL));
    VALUE(seccomp(SECCOMP_SET_MODE_STRICT, 0, &errno));
    VALUE(seccomp(99, 0, NULL));
    VALUE(prctl(PR_SET_SECCOMP, 9, 0));
    VALUE(prctl(PR_GET_SECCOMP));
}

static void checker(void) {
    SECTION("what is refused");
    VALUE(install(NULL, 1, 0));
    VALUE(seccomp(SECCOMP_SET_MODE_FILTER, 0, NULL));
    VALUE(seccomp(SECCOMP_SET_MODE_FILTER, 1 << 20, NULL));
    VALUE(INSTALL(0, SAY(SECCOMP_RET_ALLOW)) == 0);
    VALUE(install((struct sock_filter[]){SAY(0)}, 0, 0));
    VALUE(install((struct sock_filter[]){SAY(0)}, 4097, 0));
    VALUE(INSTALL(0, LOAD(nr)));
    VALUE(INSTALL(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 64), SAY(0)));
    VALUE(INSTALL(0, BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 3), SAY(0)));
    VALUE(INSTALL(0, BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0), SAY(0)));
    VALUE(INSTALL(0, BPF_STMT(BPF_LD | BPF_W | BPF_IND, 0), SAY(0)));
    VALUE(INSTALL(0, BPF_STMT(BPF_LD | BPF_MEM, 0), SAY(0)));
    VALUE(INSTALL(0, BPF_STMT(BPF_ST, 16), SAY(0)));
    VALUE(INSTALL(0, BPF_STMT(BPF_ALU | BPF_DIV | BPF_K, 0), SAY(0)));
    VALUE(INSTALL(0, BPF_STMT(BPF_ALU | BPF_MOD | BPF_K, 2), SAY(0)));
    VALUE(INSTALL(0, BPF_STMT(BPF_ALU | BPF_LSH | BPF_K, 32), SAY(0)));
    VALUE(INSTALL(0, BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0), SAY(0)));
    VALUE(INSTALL(0, BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 5, 3, 0), SAY(0)));
    VALUE(INSTALL(0, BPF_STMT(0xffff, 0), SAY(0)));
    unsigned action = SECCOMP_RET_KILL_PROCESS;
    VALUE(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action));
    action = SECCOMP_RET_ERRNO;
    VALUE(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action));
    action = 0x12340000;
    VALUE(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, &action));
    VALUE(seccomp(SECCOMP_GET_ACTION_AVAIL, 1, &action));
    VALUE(seccomp(SECCOMP_GET_ACTION_AVAIL, 0, NULL));
    IN_CHILD("without privileges", {
        MUST(setresuid(1000, 1000, 1000));
        VALUE(say_to_getppid(SECCOMP_RET_ERRNO | EPERM));
        VALUE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        VALUE(say_to_getppid(SECCOMP_RET_ERRNO | EPERM));
        VALUE(getppid());
    });
    IN_CHILD("a nonsense of 32768 instructions", {
        static struct sock_filter many[4096];
        for (int i = 0; i < 4096; i++) many[i] = (struct sock_filter)SAY(SECCOMP_RET_ALLOW);
        int count = 0;
        while (install(many, 4096, 0) == 0) count++;
        printf("%s: %s\n", count ? "some" : "none", error_name(errno));
    });
}

static siginfo_t seen;
static ucontext_t seen_context;

static void on_sigsys(int signal, siginfo_t *info, void *context) {
    (void)signal;
    seen = *info;
    seen_context = *(ucontext_t *)context;
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RAX] = 77;
}

static void verdicts(void) {
    SECTION("verdicts");
    IN_CHILD("errno", {
        MUST(say_to_getppid(SECCOMP_RET_ERRNO | ENODATA));
        VALUE(syscall(SYS_getppid));
        MUST(say_to_getppid(SECCOMP_RET_ERRNO | EXDEV));
        VALUE(syscall(SYS_getppid));
        MUST(say_to_getppid(SECCOMP_RET_ALLOW));
        VALUE(syscall(SYS_getppid));
        print_status();
        VALUE(prctl(PR_GET_SECCOMP));
        VALUE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT));
    });
    IN_CHILD("errno beyond the last", {
        MUST(say_to_getppid(SECCOMP_RET_ERRNO | 0xffff));
        long result;
        __asm__ volatile("syscall" : "=a"(result) : "0"(SYS_getppid) : "rcx", "r11", "memory");
        VALUE(result);
    });
    IN_CHILD("errno 0", {
        MUST(say_to_getppid(SECCOMP_RET_ERRNO));
        VALUE(syscall(SYS_getppid));
    });
    IN_CHILD("log", {
        MUST(say_to_getppid(SECCOMP_RET_LOG));
        TRUE(syscall(SYS_getppid) > 0 || getpid() == 1);
    });
    IN_CHILD("trap", {
        struct sigaction action = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
        sigaction(SIGSYS, &action, NULL);
        MUST(say_to_getppid(SECCOMP_RET_TRAP | 123));
        VALUE(syscall(SYS_getppid));
        VALUE(seen.si_signo);
        VALUE(seen.si_code);
        VALUE(seen.si_errno);
        VALUE(seen.si_syscall);
        TRUE(seen.si_arch == AUDIT_ARCH_X86_64);
        TRUE(seen.si_call_addr == (void *)seen_context.uc_mcontext.gregs[REG_RIP]);
        VALUE(seen_context.uc_mcontext.gregs[REG_RAX]);
    });
    IN_CHILD("trap, blocked", {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, SIGSYS);
        sigprocmask(SIG_BLOCK, &set, NULL);
        MUST(say_to_getppid(SECCOMP_RET_TRAP));
        syscall(SYS_getppid);
    });
    IN_CHILD("kill the process", {
        MUST(say_to_getppid(SECCOMP_RET_KILL_PROCESS));
        syscall(SYS_getppid);
    });
    IN_CHILD("kill the thread", {
        MUST(say_to_getppid(SECCOMP_RET_KILL_THREAD));
        syscall(SYS_getppid);
    });
    IN_CHILD("an unknown verdict", {
        MUST(say_to_getppid(0x12340000));
        syscall(SYS_getppid);
    });
    IN_CHILD("trace without a tracer", {
        MUST(say_to_getppid(SECCOMP_RET_TRACE));
        VALUE(syscall(SYS_getppid));
    });
    IN_CHILD("notify without a listener", {
        MUST(say_to_getppid(SECCOMP_RET_USER_NOTIF));
        VALUE(syscall(SYS_getppid));
    });
    IN_CHILD("arguments", {
        MUST(INSTALL(0, LOAD(nr), UNLESS(__NR_dup, 5), BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 16), UNLESS(7, 3),
                     BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 20), UNLESS(1, 1), SAY(SECCOMP_RET_ERRNO | EDOM), SAY(SECCOMP_RET_ALLOW)));
        VALUE(syscall(SYS_dup, 7));
        VALUE(syscall(SYS_dup, 0x100000007));
    });
    IN_CHILD("fork and clone keep their registers", {
        MUST(say_to_getppid(SECCOMP_RET_ERRNO | ENODATA));
        pid_t child = fork();
        if (!child) {
            VALUE(syscall(SYS_getppid));
            fflush(stdout);
            _exit(4);
        }
        int status;
        waitpid(child, &status, 0);
        printf("child: %s\n", ending(status));
    });
    IN_CHILD("exec keeps it", {
        MUST(INSTALL(0, LOAD(nr), UNLESS(__NR_uname, 1), SAY(SECCOMP_RET_ERRNO | ENODATA), SAY(SECCOMP_RET_ALLOW)));
        execl("/proc/self/exe", "seccomp", "after", NULL);
    });
}

static pthread_barrier_t barrier;

static void *wait_for_filter(void *has_own) {
    if (has_own) MUST(say_to_getppid(SECCOMP_RET_ALLOW));
    pthread_barrier_wait(&barrier);
    pthread_barrier_wait(&barrier);
    return (void *)(syscall(SYS_getppid) == -1 ? (long)errno : 0);
}

static void *ask(void *unused) {
    (void)unused;
    syscall(SYS_getppid);
    return NULL;
}

static void threads(void) {
    SECTION("threads");
    IN_CHILD("all at once", {
        pthread_t thread;
        void *result;
        pthread_barrier_init(&barrier, NULL, 2);
        pthread_create(&thread, NULL, wait_for_filter, NULL);
        pthread_barrier_wait(&barrier);
        VALUE(INSTALL(SECCOMP_FILTER_FLAG_TSYNC, LOAD(nr), UNLESS(__NR_getppid, 1), SAY(SECCOMP_RET_ERRNO | ENODATA), SAY(SECCOMP_RET_ALLOW)));
        pthread_barrier_wait(&barrier);
        pthread_join(thread, &result);
        printf("the other thread: %s\n", error_name((long)result));
    });
    IN_CHILD("one that has its own", {
        pthread_t thread;
        pthread_barrier_init(&barrier, NULL, 2);
        pthread_create(&thread, NULL, wait_for_filter, (void *)1);
        pthread_barrier_wait(&barrier);
        TRUE(INSTALL(SECCOMP_FILTER_FLAG_TSYNC, SAY(SECCOMP_RET_ALLOW)) > 0);
        VALUE(INSTALL(SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_TSYNC_ESRCH, SAY(SECCOMP_RET_ALLOW)));
        pthread_barrier_wait(&barrier);
        pthread_join(thread, NULL);
    });
    IN_CHILD("only the thread is killed", {
        pthread_t thread;
        MUST(say_to_getppid(SECCOMP_RET_KILL_THREAD));
        pthread_create(&thread, NULL, ask, NULL);
        sleep_ms(100);
        printf("the first goes on\n");
    });
    IN_CHILD("the process is killed", {
        pthread_t thread;
        MUST(say_to_getppid(SECCOMP_RET_KILL_PROCESS));
        pthread_create(&thread, NULL, ask, NULL);
        sleep_ms(5000);
        printf("not reached\n");
    });
}

int main(int argc, char **argv) {
    if (argc > 1) {
        struct utsname names;
        printf("%s: ", argv[1]);
        VALUE(uname(&names));
        return 0;
    }
    strict();
    print_status();
    IN_CHILD("checker", checker());
    verdicts();
    threads();
    return 0;
}
