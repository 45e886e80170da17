/*
 * The micro-benchmarks of osv: one static program that runs unchanged on osv and on Linux.
 *
 * Each row times whole loops with CLOCK_MONOTONIC, repeats them, takes the median, and subtracts what the loop and the
 * clock itself cost. Under QEMU's `-icount shift=0` with one CPU a guest nanosecond is an instruction, so the numbers
 * are counts; otherwise they are nanoseconds.
 *
 * Output, on stdout: lines `name value`, between `bench-begin` and `bench-end`. `main_tsc` is the time-stamp counter when `main` was
 * entered: under icount it counts from the start of the VM, so the host subtracts what the firmware took.
 * `NAME.turns` is how often the row's operation ran, warm-up included.
 * `clock_tsc_ratio` is CLOCK_MONOTONIC over TSC across the whole run: 1.0 under icount if the kernel's clock is right.
 *
 * usage: micro [--init] [--dir DIR] [ROW…]
 *   --init   the program is a Linux guest's init: mount what it needs, switch the machine off at the end
 *   --dir    where to put files (a directory on ramfs)
 *   ROW      measure these rows only
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "../../tests/programs/gate.h"

#define BATCHES 11
#define PAGE 4096

static const char *dir = "/tmp";
static char file_path[256];
static const char *self_path;
static char **rows;

static void die(const char *what) {
    printf("bench-error %s: %s\n", what, strerror(errno));
    fflush(stdout);
    exit(1);
}

#define MUST(call)                        \
    ({                                    \
        __auto_type result = (call);      \
        if ((long)result == -1) die(#call); \
        result;                           \
    })

static inline uint64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count) {
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

static double clock_cost_ns, loop_cost_ns;

/* What two clock readings with nothing between them, and one turn of an empty loop, cost. */
static void calibrate(void) {
    double clock[101], loop[101];
    for (int i = 0; i < 101; i++) {
        uint64_t start = now_ns();
        clock[i] = (double)(now_ns() - start);
    }
    clock_cost_ns = median(clock, 101);
    for (int i = 0; i < 101; i++) {
        uint64_t start = now_ns();
        for (long turn = 0; turn < 1000; turn++) __asm__ volatile("" : "+r"(turn));
        loop[i] = ((double)(now_ns() - start) - clock_cost_ns) / 1000;
    }
    loop_cost_ns = median(loop, 101);
}

/* Begins, and then ends, what `osv-bench profile` counts. Does nothing. */
#define MARK() __asm__ volatile("xchg %%bx, %%bx" ::: "memory")

static int wanted(const char *name) {
    if (!rows || !*rows) return 1;
    for (char **row = rows; *row; row++)
        if (!strcmp(*row, name)) return 1;
    return 0;
}

/*
 * One row: `SETUP` before each batch and `TEARDOWN` after it are not timed; `BODY` is, `count` times. The first batch
 * warms up and does not count.
 */
#define MEASURE(name, count, SETUP, BODY, TEARDOWN)                                                 \
    do {                                                                                            \
        if (!wanted(name)) break;                                                                   \
        double per_op[BATCHES + 1];                                                                 \
        for (int batch = 0; batch <= BATCHES; batch++) {                                            \
            SETUP;                                                                                  \
            MARK();                                                                                 \
            uint64_t start = now_ns();                                                              \
            for (long turn = 0; turn < (count); turn++) {                                           \
                __asm__ volatile("" : "+r"(turn));                                                  \
                BODY;                                                                               \
            }                                                                                       \
            double elapsed = (double)(now_ns() - start);                                            \
            MARK();                                                                                 \
            TEARDOWN;                                                                               \
            per_op[batch] = (elapsed - clock_cost_ns) / (count)-loop_cost_ns;                       \
        }                                                                                           \
        printf("%s %.1f\n", name, median(per_op + 1, BATCHES));                                     \
        printf("%s.turns %d\n", name, (count) * (BATCHES + 1));                                     \
        fflush(stdout);                                                                             \
    } while (0)

static void calls(void) {
    MEASURE("null_call", 2000, , syscall(SYS_getpid), );
    MEASURE("null_call_gate", 2000, , gate_call(SYS_getpid, 0, 0, 0, 0, 0, 0), );
    struct timespec ts;
    MEASURE("clock_gettime", 2000, , clock_gettime(CLOCK_MONOTONIC, &ts), );
    int null = MUST(open("/dev/null", O_WRONLY));
    MEASURE("write_null", 2000, , MUST(write(null, "x", 1)), );
    MEASURE("write_null_gate", 2000, , MUST(GATE3(write, null, "x", 1)), );
    close(null);
}

static void files(void) {
    static char block[PAGE];
    int fd = MUST(open(file_path, O_RDWR | O_CREAT | O_TRUNC, 0600));
    for (int i = 0; i < 256; i++) MUST(write(fd, block, PAGE));
    struct stat st;
    MEASURE("stat", 1000, , MUST(stat(file_path, &st)), );
    MEASURE("open_close", 1000, , close(MUST(open(file_path, O_RDONLY))), );
    MEASURE("append_4k", 256, MUST(ftruncate(fd, 0)); MUST(lseek(fd, 0, SEEK_SET)), MUST(write(fd, block, PAGE)), );
    MEASURE("pread_4k", 1024, , MUST(pread(fd, block, PAGE, (turn & 255) * PAGE)), );
    close(fd);
    unlink(file_path);
}

static char *map(size_t size) {
    char *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED) die("mmap");
    return at;
}

/* Touch each page of 1 MiB (too small for a huge page), then unmap: the cost of one page of it. */
static void memory(void) {
    enum { TOUCHED = 256 };
    if (wanted("touch_page")) {
        double per_page[BATCHES + 1];
        for (int batch = 0; batch <= BATCHES; batch++) {
            char *at = map(TOUCHED * PAGE);
            MARK();
            uint64_t start = now_ns();
            for (long page = 0; page < TOUCHED; page++) ((volatile char *)at)[page * PAGE] = 1;
            MUST(munmap(at, TOUCHED * PAGE));
            double elapsed = (double)(now_ns() - start);
            MARK();
            per_page[batch] = (elapsed - clock_cost_ns) / TOUCHED - loop_cost_ns;
        }
        printf("touch_page %.1f\ntouch_page.turns %d\n", median(per_page + 1, BATCHES), TOUCHED * (BATCHES + 1));
        fflush(stdout);
    }
    MEASURE("mmap_munmap_64k", 500, , MUST(munmap(map(65536), 65536)), );
}

static int ping[2], pong[2];

static void *pipe_echo(void *unused) {
    char byte;
    while (read(ping[0], &byte, 1) == 1) MUST(write(pong[1], &byte, 1));
    return unused;
}

static void pipe_round_trip(void) {
    if (!wanted("pipe_round_trip")) return;
    pthread_t thread;
    char byte = 'x';
    MUST(pipe(ping));
    MUST(pipe(pong));
    if (pthread_create(&thread, NULL, pipe_echo, NULL)) die("pthread_create");
    MEASURE("pipe_round_trip", 500, , MUST(write(ping[1], &byte, 1)); MUST(read(pong[0], &byte, 1)), );
    close(ping[1]);
    pthread_join(thread, NULL);
    close(ping[0]);
    close(pong[0]);
    close(pong[1]);
}

/* Blocks go through a pipe to a thread that does nothing but read. */
enum { BLOCK = 65536 };
static char sent[BLOCK];

static void *pipe_drain(void *unused) {
    static char received[BLOCK];
    while (read(ping[0], received, BLOCK) > 0) {}
    return unused;
}

static void pipe_throughput(void) {
    if (!wanted("pipe_64k")) return;
    pthread_t thread;
    MUST(pipe(ping));
    if (pthread_create(&thread, NULL, pipe_drain, NULL)) die("pthread_create");
    MEASURE("pipe_64k", 64, , MUST(write(ping[1], sent, BLOCK)), );
    close(ping[1]);
    pthread_join(thread, NULL);
    close(ping[0]);
}

static int ends[2];

static void *unix_echo(void *unused) {
    char byte;
    while (read(ends[1], &byte, 1) == 1) MUST(write(ends[1], &byte, 1));
    return unused;
}

static void unix_round_trip(void) {
    if (!wanted("unix_round_trip")) return;
    pthread_t thread;
    char byte = 'x';
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
    if (pthread_create(&thread, NULL, unix_echo, NULL)) die("pthread_create");
    MEASURE("unix_round_trip", 500, , MUST(write(ends[0], &byte, 1)); MUST(read(ends[0], &byte, 1)), );
    shutdown(ends[0], SHUT_WR);
    pthread_join(thread, NULL);
    close(ends[0]);
    close(ends[1]);
}

/* Two threads hand a turn to and fro: each wakes the other and waits until the turn is its own. */
static volatile int turn_word;

static void futex_pass(int to) {
    __atomic_store_n(&turn_word, to, __ATOMIC_RELEASE);
    syscall(SYS_futex, &turn_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    while (__atomic_load_n(&turn_word, __ATOMIC_ACQUIRE) == to)
        syscall(SYS_futex, &turn_word, FUTEX_WAIT_PRIVATE, to, NULL, NULL, 0);
}

static void *futex_echo(void *unused) {
    for (;;) {
        while (__atomic_load_n(&turn_word, __ATOMIC_ACQUIRE) == 0)
            syscall(SYS_futex, &turn_word, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
        if (turn_word < 0) return unused;
        __atomic_store_n(&turn_word, 0, __ATOMIC_RELEASE);
        syscall(SYS_futex, &turn_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    }
}

static void futex_round_trip(void) {
    if (!wanted("futex_round_trip")) return;
    pthread_t thread;
    turn_word = 0;
    if (pthread_create(&thread, NULL, futex_echo, NULL)) die("pthread_create");
    MEASURE("futex_round_trip", 500, , futex_pass(1), );
    turn_word = -1;
    syscall(SYS_futex, &turn_word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    pthread_join(thread, NULL);
}

static void *nothing(void *unused) { return unused; }

static void threads(void) {
    MEASURE("pthread_create_join", 100, pthread_t thread,
            if (pthread_create(&thread, NULL, nothing, NULL)) die("pthread_create"); pthread_join(thread, NULL), );
}

static void events(void) {
    int event = MUST(eventfd(0, 0)), poller = MUST(epoll_create1(0));
    struct epoll_event interest = {.events = EPOLLIN, .data.fd = event}, ready;
    MUST(epoll_ctl(poller, EPOLL_CTL_ADD, event, &interest));
    uint64_t value = 1;
    MEASURE("eventfd_epoll", 1000, , MUST(write(event, &value, 8)); MUST(epoll_wait(poller, &ready, 1, -1));
            MUST(read(event, &value, 8)), );
    close(event);
    close(poller);
}

static void reap(pid_t child) {
    int status;
    MUST(waitpid(child, &status, 0));
    if (status) {
        printf("bench-error child status %x\n", status);
        exit(1);
    }
}

static pid_t fork_exit(void) {
    pid_t child = MUST(fork());
    if (!child) _exit(0);
    return child;
}

static pid_t fork_exec(void) {
    pid_t child = MUST(fork());
    if (!child) {
        execl(self_path, self_path, "--exit", NULL);
        _exit(127);
    }
    return child;
}

static void processes(void) {
    MEASURE("fork_wait", 20, , reap(fork_exit()), );
    MEASURE("fork_exec_wait", 10, , reap(fork_exec()), );
}

static pid_t start(char *const *command) {
    pid_t child = MUST(fork());
    if (!child) {
        char *environment[] = {"PATH=/usr/bin:/bin", NULL};
        execve(command[0], command + 1, environment);
        _exit(127);
    }
    return child;
}

/* A program takes long enough to be measured once; the first run fetches what it needs into memory. */
static void program(const char *name, char *const *command) {
    if (!rows || !*rows || !wanted(name)) return;
    double elapsed = 0;
    for (int run = 0; run < 2; run++) {
        MARK();
        uint64_t begin = now_ns();
        reap(start(command));
        elapsed = (double)(now_ns() - begin);
        MARK();
    }
    printf("%s %.1f\n%s.turns 2\n", name, elapsed, name);
    fflush(stdout);
}

static void programs(void) {
    char *script = "i=0; while [ $i -lt 1000 ]; do (exit 0); i=$((i+1)); done";
    program("script_1000_forks", (char *[]){"/bin/busybox", "sh", "-c", script, NULL});
    program("compile", (char *[]){"/usr/bin/gcc", "gcc", "-O2", "-c", "/src/micro.i", "-o", "/tmp/micro.o", NULL});
}

int main(int argc, char **argv) {
    uint64_t main_tsc = __rdtsc();
    MARK();
    MARK();
    int init = 0;
    if (argc > 1 && !strcmp(argv[1], "--exit")) return 0;
    self_path = argv[0];
    rows = argv + 1;
    while (*rows && !strncmp(*rows, "--", 2)) {
        if (!strcmp(*rows, "--init")) init = 1;
        if (!strcmp(*rows, "--dir") && rows[1]) dir = *++rows;
        rows++;
    }
    find_gate();
    uint64_t main_ns = now_ns(), begin_tsc = __rdtsc();
    if (init) {
        mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
        int console = open("/dev/console", O_RDWR);
        for (int fd = 0; console >= 0 && fd < 3; fd++) dup2(console, fd);
    }
    mkdir(dir, 0700);
    snprintf(file_path, sizeof file_path, "%s/osv-bench-file", dir);
    printf("bench-begin\nmain_tsc %llu\n", (unsigned long long)main_tsc);
    fflush(stdout);
    calibrate();
    calls();
    files();
    memory();
    pipe_round_trip();
    futex_round_trip();
    threads();
    events();
    processes();
    pipe_throughput();
    unix_round_trip();
    programs();
    uint64_t end_tsc = __rdtsc(), end_ns = now_ns();
    printf("clock_cost %.1f\nloop_cost %.2f\n", clock_cost_ns, loop_cost_ns);
    printf("clock_tsc_ratio %.6f\nbench-end\n", (double)(end_ns - main_ns) / (double)(end_tsc - begin_tsc));
    fflush(stdout);
    if (init) {
        sync();
        reboot(RB_AUTOBOOT);
    }
    return 0;
}
