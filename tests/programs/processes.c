/* fork, vfork, execve, wait, exit: what is inherited, what is not, what is reported. */
#include "check.h"
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

static const char *self;
extern char **environ;

static void waits(void) {
    SECTION("waits");
    int status;
    VALUE(waitpid(-1, &status, 0));
    VALUE(waitpid(-1, &status, WNOHANG));
    VALUE(waitpid(999999, &status, 0));
    VALUE(waitpid(getpid(), &status, 0x8000));
    pid_t quick = MUST(fork());
    if (!quick) _exit(300);
    VALUE(waitpid(quick, &status, 0) == quick);
    printf("exit status is a byte: %s\n", ending(status));
    int ends[2];
    MUST(pipe(ends));
    pid_t slow = MUST(fork());
    if (!slow) {
        char byte;
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? 11 : 12);
    }
    VALUE(waitpid(slow, &status, WNOHANG));
    close(ends[1]);
    siginfo_t info;
    TRY(waitid(P_PID, slow, &info, WEXITED | WNOWAIT));
    printf("waitid: code %d status %d signal %d pid %d\n", info.si_code, info.si_status, info.si_signo, info.si_pid == slow);
    TRY(waitid(P_PID, slow, &info, WEXITED));
    TRY(waitid(P_PID, slow, &info, WEXITED));
    TRY(waitid(P_ALL, 0, &info, 0));
    struct rusage usage;
    pid_t child = MUST(fork());
    if (!child) {
        for (volatile int i = 0; i < 1000000; i++) {}
        _exit(0);
    }
    VALUE(wait4(child, &status, 0, &usage) == child);
    TRUE(usage.ru_maxrss > 0);
    pid_t children[5];
    for (int i = 0; i < 5; i++)
        if (!(children[i] = MUST(fork()))) _exit(i);
    int sum = 0, reaped = 0;
    while (wait(&status) > 0) sum += WEXITSTATUS(status), reaped++;
    printf("reaped %d, sum %d, then %s\n", reaped, sum, error_name(errno));
}

static void inherited(void) {
    SECTION("inherited");
    static int value = 1;
    int *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int *private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *shared = *private = 1;
    pid_t parent = getpid();
    IN_CHILD("copy on write", value = 2; *shared = 3; *private = 4; _exit(getppid() == parent && getpid() != parent));
    printf("parent sees %d, shared %d, private %d\n", value, *shared, *private);
    int fd = MUST(open("offset", O_RDWR | O_CREAT | O_TRUNC, 0600));
    MUST(write(fd, "0123456789", 10));
    lseek(fd, 0, SEEK_SET);
    IN_CHILD("child reads", char three[3]; _exit(read(fd, three, 3)));
    printf("shared offset %ld\n", (long)lseek(fd, 0, SEEK_CUR));
    IN_CHILD("child closes", close(fd));
    printf("still open %ld\n", (long)lseek(fd, 0, SEEK_END));
    umask(027);
    MUST(setpriority(PRIO_PROCESS, 0, 3));
    IN_CHILD("umask and nice", printf("%o %d\n", umask(0), getpriority(PRIO_PROCESS, 0)));
    umask(022);
    signal(SIGUSR1, SIG_IGN);
    IN_CHILD("ignored signal", raise(SIGUSR1); _exit(5));
    signal(SIGUSR1, SIG_DFL);
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    raise(SIGTERM);
    IN_CHILD("pending signals are not inherited, the mask is", sigset_t pending; sigpending(&pending);
             sigset_t mask; sigprocmask(SIG_BLOCK, NULL, &mask);
             _exit(sigismember(&pending, SIGTERM) * 2 + sigismember(&mask, SIGTERM)));
    int number;
    sigwait(&set, &number);
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void orphans(void) {
    SECTION("orphans");
    int ends[2];
    MUST(pipe(ends));
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    pid_t parent = getpid();
    IN_CHILD("middle", pid_t middle = getpid(); fflush(stdout); if (!fork()) {
        while (getppid() == middle) sleep_ms(1);
        char ok = getppid() == parent;
        MUST(write(ends[1], &ok, 1));
        _exit(33);
    });
    char ok;
    MUST(read(ends[0], &ok, 1));
    int status;
    pid_t orphan = wait(&status);
    printf("reparented %d, reaped by the subreaper %d: %s\n", ok, orphan > 0, ending(status));
    prctl(PR_SET_CHILD_SUBREAPER, 0);
}

static void ignore_it(int number) { (void)number; }

static void *wait_forever(void *unused) {
    pause();
    return unused;
}

static void execs(void) {
    SECTION("exec");
    char *args[] = {"renamed", "--print", "two words", "", NULL}, *env[] = {"A=1", "B=two words", NULL};
    IN_CHILD("arguments and environment", fflush(stdout); execve(self, args, env));
    int kept = MUST(open("/dev/null", O_RDONLY)), closed = MUST(open("/dev/null", O_RDONLY | O_CLOEXEC));
    char kept_text[12], closed_text[12];
    snprintf(kept_text, sizeof kept_text, "%d", kept);
    snprintf(closed_text, sizeof closed_text, "%d", closed);
    IN_CHILD("descriptors", fflush(stdout); execl(self, self, "--open", kept_text, closed_text, NULL));
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, ignore_it);
    IN_CHILD("signal dispositions", fflush(stdout); execl(self, self, "--signals", NULL));
    signal(SIGUSR1, SIG_DFL), signal(SIGUSR2, SIG_DFL);
    TRY(execl("/nonexistent", "x", NULL));
    TRY(execl("/", "x", NULL));
    TRY(execl("/etc/passwd", "x", NULL));
    TRY(execl("/etc/passwd/x", "x", NULL));
    char *volatile bad_path = (char *)8, **volatile bad_args = (char **)8;
    TRY(execve(bad_path, args, env));
    TRY(execve(self, bad_args, env));
    size_t huge = 200000;
    char *word = malloc(huge + 1);
    memset(word, 'a', huge), word[huge] = 0;
    TRY(execl(self, self, word, NULL));
    int script = MUST(open("script", O_WRONLY | O_CREAT | O_TRUNC, 0755));
    dprintf(script, "#! %s --print first\nexit 1\n", self);
    close(script);
    int busy = MUST(open("busy", O_WRONLY | O_CREAT | O_TRUNC, 0755));
    dprintf(busy, "#!/bin/true\n");
    IN_CHILD("a program that is open for writing", execl("./busy", "x", NULL); _exit(errno));
    close(busy);
    IN_CHILD("script", fflush(stdout); execle("./script", "ignored", "second", NULL, env));
    IN_CHILD("exec by a thread's process", fflush(stdout); pthread_t thread;
             pthread_create(&thread, NULL, wait_forever, NULL); sleep_ms(10);
             execle(self, "x", "--print", NULL, env));
    int fd = MUST(open(self, O_RDONLY | O_CLOEXEC));
    IN_CHILD("fexecve", fflush(stdout); fexecve(fd, args, env));
}

static void spawns(void) {
    SECTION("vfork and posix_spawn");
    fflush(stdout);
    volatile int shared = 0;
    pid_t child = vfork();
    if (!child) {
        shared = 5;
        _exit(6);
    }
    int status;
    waitpid(child, &status, 0);
    printf("vfork shares memory: %d, %s\n", shared, ending(status));
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "spawned", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    char *args[] = {"spawned", "--print", "by posix_spawn", NULL}, *env[] = {NULL};
    printf("posix_spawn %d\n", posix_spawn(&child, self, &actions, NULL, args, env));
    waitpid(child, &status, 0);
    char text[256] = "";
    int fd = MUST(open("spawned", O_RDONLY));
    MUST(read(fd, text, sizeof text - 1));
    printf("%s, it printed:\n%s", ending(status), text);
    printf("posix_spawn of nothing: %s\n", error_name(posix_spawn(&child, "/nonexistent", NULL, NULL, args, env)));
    FILE *pipe = popen("echo from a shell; exit 3", "r");
    printf("popen: %s", fgets(text, sizeof text, pipe));
    printf("pclose: %s\n", ending(pclose(pipe)));
    printf("system: %s\n", ending(system("exit 4")));
}

static void groups(void) {
    SECTION("groups, sessions, limits, names");
    IN_CHILD("setsid", MUST(setsid()); _exit(getsid(0) == getpid() && getpgrp() == getpid()));
    IN_CHILD("setpgid", MUST(setpgid(0, 0)); _exit(getpgrp() == getpid()));
    IN_CHILD("a leader cannot setsid", setpgid(0, 0); _exit(setsid() == -1 && errno == EPERM));
    VALUE(setpgid(999999, 0));
    VALUE(getpgid(999999));
    prctl(PR_SET_NAME, "a name that is too long");
    char name[17] = "";
    prctl(PR_GET_NAME, name);
    printf("name <%s>\n", name);
    struct rlimit limit = {64, 64};
    IN_CHILD("RLIMIT_NOFILE", setrlimit(RLIMIT_NOFILE, &limit); int count = 0; while (dup(0) >= 0) count++;
             _exit(errno == EMFILE && count > 0 && count < 64));
    VALUE(getpriority(PRIO_PROCESS, 0));
    int status;
    pid_t child = MUST(fork());
    if (!child) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(0);
    }
    waitpid(child, &status, 0);
    printf("%s\n", ending(status));
}

static void *exit_all(void *unused) {
    (void)unused;
    exit(21);
}

static void *outlive(void *unused) {
    sleep_ms(50);
    printf("last thread\n");
    return unused;
}

static void endings(void) {
    SECTION("endings");
    pthread_t thread;
    IN_CHILD("a thread calls exit", pthread_create(&thread, NULL, exit_all, NULL); for (;;) pause());
    IN_CHILD("the main thread leaves first", pthread_create(&thread, NULL, outlive, NULL); fflush(stdout); pthread_exit(NULL));
    IN_CHILD("SYS_exit of the only thread", fflush(stdout); syscall(SYS_exit, 44));
    IN_CHILD("killed in a system call", alarm(1); for (;;) pause());
    IN_CHILD("loop without calls is killed", alarm(1); for (volatile long i = 0;; i++) {});
}

static void print_all(char **argv) {
    for (int i = 0; argv[i]; i++) {
        const char *word = strstr(argv[i], "/processes") ? "SELF" : argv[i];
        printf("  arg <%s>\n", word);
    }
    for (char **variable = environ; *variable; variable++) printf("  env <%s>\n", *variable);
}

/* A directory of /proc says which process, too, but only where a signal is sent. */
static void proc_directories(void) {
    SECTION("directories of /proc as pidfds");
    int fd = open("/proc/self", O_RDONLY | O_DIRECTORY), below = open("/proc/self/fd", O_RDONLY | O_DIRECTORY);
    TRY(syscall(SYS_pidfd_send_signal, fd, 0, NULL, 0));
    TRY(syscall(SYS_pidfd_send_signal, below, 0, NULL, 0));
    close(fd);
    close(below);
}

int main(int argc, char **argv) {
    setvbuf(stdout, NULL, _IOFBF, 65536);
    if (argc > 1 && !strncmp(argv[1], "--print", 7)) return print_all(argv), 0;
    if (argc > 3 && !strcmp(argv[1], "--open")) {
        printf("  kept %d closed %d\n", fcntl(atoi(argv[2]), F_GETFD) >= 0, fcntl(atoi(argv[3]), F_GETFD) < 0);
        return 0;
    }
    if (argc > 1 && !strcmp(argv[1], "--signals")) {
        struct sigaction one, two;
        sigaction(SIGUSR1, NULL, &one), sigaction(SIGUSR2, NULL, &two);
        printf("  ignored stays %d, handled is default %d\n", one.sa_handler == SIG_IGN, two.sa_handler == SIG_DFL);
        return 0;
    }
    self = realpath("/proc/self/exe", NULL);
    waits();
    inherited();
    orphans();
    execs();
    spawns();
    groups();
    endings();
    proc_directories();
    return 0;
}
