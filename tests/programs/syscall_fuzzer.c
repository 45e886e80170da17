/*
 * A system-call fuzzer: several processes, half of them without privileges, make random calls with random and half-valid
 * arguments (fuzzed_calls.h knows the kinds), each from a seed, by the instruction and by the gate. Whatever they do to themselves, the machine must stay
 * whole: after each round all of them die at a SIGKILL, a few ordinary things still work, and the memory is back.
 *
 * It must be process 1 of a machine of its own: it kills everything else, and root may do anything to the files.
 *
 * usage: syscall_fuzzer SEED ROUNDS [SECONDS [WORKERS]]       prints `survived`, or what is broken
 *        syscall_fuzzer --trace SEED CALLS                    one worker, each call said on stderr before it is made
 */
#include "check.h"
#include <dirent.h>
#include <linux/random.h>
#include <linux/sockios.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/mount.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <termios.h>
#include <sys/un.h>
#include "fuzzed_calls.h"
#include "gate.h"

enum { MAX_WORKERS = 16, NOBODY = 1000, ARENA_PAGES = 16, CALL_COUNT = sizeof CALLS / sizeof CALLS[0] };

/* What a worker tells its parent: how far it is. */
struct progress {
    volatile unsigned long calls;
    volatile long call;
};
static struct progress *progress;

static unsigned long state;

static unsigned long random_word(void) {
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return state * 0x2545f4914f6cdd1d;
}

static unsigned long below(unsigned long limit) { return (random_word() >> 20) % limit; }
static int one_in(unsigned long times) { return below(times) == 0; }

#define PICK(array) (array)[below(sizeof(array) / sizeof(array)[0])]

static const char *const PATHS[] = {
    "a", "b", "c", "dir", "dir/a", "dir/../a", "link", "loop", "fifo", "socket", ".", "..", "/", "", "missing/x", "mnt", "mnt/a",
    "/proc/self/maps", "/proc/self/fd", "/proc/self/mem", "/proc/self/exe", "/proc/self/status", "/proc/self/task",
    "/proc/self/environ", "/proc/meminfo", "/proc/stat", "/proc/self/smaps", "/proc/self/mountinfo", "/proc/sys/kernel/hostname",
    "/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/ptmx", "/dev/pts/0", "/dev/tty", "/dev/shm/x", "/dev/fd/3",
    "/sys/devices/system/cpu/online", "/tmp", "tmpfs", "proc", "sysfs", "overlay", "devpts", "mqueue", "lowerdir=dir,upperdir=mnt,workdir=mnt",
};

static char *arena, *read_only;

/* Where a program's pointers point: into memory, to its end, to read-only memory, nowhere, into the kernel. */
static unsigned long pointer(void) {
    unsigned long size = ARENA_PAGES * PAGE;
    switch (below(16)) {
        case 0: return 0;
        case 1: return (unsigned long)arena + size - below(64);
        case 2: return (unsigned long)read_only + below(PAGE);
        case 3: return 0xffffffff80000000 + below(1 << 20);
        case 4: return one_in(2) ? 0x8000000000000000 : 0x7fffffffffff - below(PAGE);
        case 5: return random_word();
        default: return (unsigned long)arena + (below(size - 512) & ~7UL);
    }
}

static unsigned long page(void) {
    unsigned long play = 0x10000000;
    if (one_in(12)) return pointer();
    return one_in(8) ? 0 : play + below(64) * PAGE;
}

static unsigned long small(void) {
    static const unsigned long edges[] = {-1UL, -2UL, 0x7fffffff, 0x80000000, 0xffffffff, 0x7fffffffffffffff, 1UL << 63, PAGE, PAGE - 1, PAGE + 1};
    if (one_in(10)) return PICK(edges);
    return one_in(3) ? below(4) : one_in(2) ? below(40) : below(1100);
}

static unsigned long size(void) {
    if (one_in(12)) return small();
    return one_in(2) ? below(256) : below(4) * PAGE + below(PAGE);
}

static unsigned long flags(void) {
    unsigned long one = 1UL << below(one_in(8) ? 64 : 32);
    return one_in(3) ? 0 : one_in(2) ? one : one | 1UL << below(24) | below(16);
}

/* Never process 1, whose death or limits would end the experiment. */
static unsigned long process(void) {
    switch (below(6)) {
        case 0: return 0;
        case 1: return -(unsigned long)getpid();
        case 2: return 0x7fffff00 + below(1000);
        case 3: return (unsigned long)getpid() + below(4);
        default: return getpid();
    }
}

static unsigned long descriptor(void) {
    if (one_in(20)) return small();
    return one_in(16) ? (unsigned long)AT_FDCWD : 3 + below(37);
}

static unsigned long pieces(void) {
    struct iovec *vector = (struct iovec *)(arena + (below(ARENA_PAGES * PAGE - 2048) & ~7UL));
    for (int i = 0; i < 8; i++) vector[i] = (struct iovec){(void *)pointer(), size()};
    return (unsigned long)vector;
}

static unsigned long short_time(void) {
    struct timespec *time = (struct timespec *)(arena + (below(ARENA_PAGES * PAGE - 64) & ~7UL));
    *time = (struct timespec){0, below(2000000)};
    return one_in(8) ? pointer() : (unsigned long)time;
}

static unsigned long argument(char kind) {
    if (one_in(24)) return one_in(2) ? random_word() : pointer();
    switch (kind) {
        case 'f': return descriptor();
        case 'p': return pointer();
        case 'n': return one_in(2) ? 0 : pointer();
        case 'P': return one_in(16) ? pointer() : (unsigned long)PICK(PATHS);
        case 'v': return one_in(8) ? pointer() : pieces();
        case 't': return short_time();
        case 'a': return page();
        case 'z': return size();
        case 'o': return one_in(4) ? small() : below(1 << 16);
        case 'g': return flags();
        case 'd': return process();
        case 's': return below(66);
        case 'm': return below(010000);
        case 'c': return one_in(8) ? random_word() & 0xffffffff : PICK(COMMANDS);
        default: return small();
    }
}

/* Structures are words that mean something: numbers, descriptors, addresses, flags. */
static void fill_arena(void) {
    unsigned long *words = (unsigned long *)arena;
    for (unsigned long i = 0; i < 256; i++) {
        unsigned long at = below(ARENA_PAGES * PAGE / 8);
        words[at] = argument("fpPziigdoa"[below(10)]);
        if (one_in(4)) words[at] = descriptor() | small() << 32;
        if (one_in(32)) strcpy((char *)&words[at & ~15UL], PICK(PATHS));
    }
}

static void limit(void) {
    static const struct { int which; rlim_t most; } limits[] = {
        {RLIMIT_AS, 96 << 20}, {RLIMIT_FSIZE, 256 << 10}, {RLIMIT_NOFILE, 40}, {RLIMIT_NPROC, 64}, {RLIMIT_MEMLOCK, 1 << 20},
        {RLIMIT_MSGQUEUE, 64 << 10}, {RLIMIT_SIGPENDING, 64}, {RLIMIT_CORE, 0},
    };
    for (unsigned i = 0; i < sizeof limits / sizeof *limits; i++) {
        struct rlimit value = {limits[i].most, limits[i].most};
        setrlimit(limits[i].which, &value);
    }
}

/* One of each kind of descriptor, from 3 on. */
static void open_everything(void) {
    int ends[2];
    close_range(0, ~0U, 0);
    for (int i = 0; i < 3; i++) open("/dev/null", O_RDWR);
    open("a", O_RDWR | O_CREAT, 0644), open(".", O_RDONLY | O_DIRECTORY), open("/proc/self", O_PATH);
    pipe(ends), pipe2(ends, O_NONBLOCK), socketpair(AF_UNIX, SOCK_STREAM, 0, ends), socketpair(AF_UNIX, SOCK_DGRAM, 0, ends);
    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), socket(AF_UNIX, SOCK_STREAM, 0);
    epoll_create1(0), eventfd(1, EFD_NONBLOCK), timerfd_create(CLOCK_MONOTONIC, 0), inotify_init1(IN_NONBLOCK);
    sigset_t all;
    sigfillset(&all);
    signalfd(-1, &all, SFD_NONBLOCK);
    memfd_create("memory", MFD_ALLOW_SEALING), open("/dev/zero", O_RDWR), open("/dev/ptmx", O_RDWR | O_NOCTTY);
    open("fifo", O_RDWR | O_NONBLOCK), open("/proc/self/mem", O_RDWR), open("/proc/self/status", O_RDONLY), syscall(SYS_pidfd_open, getpid(), 0);
}

static void furnish(void) {
    mkdir("dir", 0777), mkdir("mnt", 0777), symlink("a", "link"), symlink("loop", "loop"), mkfifo("fifo", 0666);
    int file = open("b", O_RDWR | O_CREAT, 0666);
    if (file >= 0) ftruncate(file, 20000), close(file);
}

static void ignore(int signal) { (void)signal; }

static void prepare(unsigned long seed, int worker) {
    state = (seed + 1) * 0x9e3779b97f4a7c15 + (unsigned)worker * 0xbf58476d1ce4e5b9 + 1;
    for (int i = 0; i < 8; i++) random_word();
    setsid();
    arena = mmap(NULL, (ARENA_PAGES + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(arena + ARENA_PAGES * PAGE, PAGE, PROT_NONE);
    read_only = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    furnish();
    if (worker % 2) setgid(NOBODY), setuid(NOBODY);
    limit();
    open_everything();
    for (int signal = 1; signal <= SIGRTMAX; signal++) sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = ignore}, NULL);
    struct itimerval often = {{0, 20000}, {0, 20000}};
    setitimer(ITIMER_REAL, &often, NULL);
}

static int is_rare(long call) {
    return call == SYS_exit || call == SYS_exit_group || call == SYS_pause || call == SYS_vfork || call == SYS_execve || call == SYS_execveat ||
           call == SYS_rt_sigreturn || call == SYS_kill || call == SYS_seccomp || call == SYS_chroot || call == SYS_close_range;
}

static long next_call(void) {
    for (;;) {
        long call = (long)below(CALL_COUNT);
        if (CALLS[call] && (!is_rare(call) || one_in(20))) return call;
    }
}

static void fuzz(struct progress *mine, unsigned long calls, int trace) {
    pid_t self = getpid();
    for (unsigned long i = 0; i < calls; i++) {
        if (i % 16 == 0) fill_arena();
        long call = next_call();
        unsigned long arguments[6] = {0};
        for (int j = 0; CALLS[call][j]; j++) arguments[j] = argument(CALLS[call][j]);
        mine->call = call;
        if (trace) {
            dprintf(trace, "%lu: %ld(%#lx, %#lx, %#lx, %#lx, %#lx, %#lx)\n", i, call, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
        }
        void (*entry)(void) = one_in(2) ? gate : call_by_instruction;
        raw_call(entry, call, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
        if (getpid() != self) {
            /* A child: a few calls of its own, but no family. */
            self = getpid();
            calls = i + 16 < calls ? i + 16 : calls;
            random_word();
        }
        if (call == SYS_setrlimit || call == SYS_prlimit64) limit();
        mine->calls++;
    }
    _exit(0);
}

static pid_t start_worker(const char *directory, unsigned long seed, int worker) {
    pid_t child = fork();
    if (child) return child;
    if (chdir(directory)) _exit(1);
    prepare(seed, worker);
    fuzz(&progress[worker], ~0UL, 0);
    _exit(0);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void broken(const char *what) {
    printf("broken: %s\n", what);
    fflush(stdout);
    _exit(1);
}

/* Everything else dies, and is reaped. */
static void kill_all(void) {
    double begin = now();
    for (;;) {
        kill(-1, SIGKILL);
        pid_t child;
        while ((child = waitpid(-1, NULL, WNOHANG | __WALL)) > 0) continue;
        if (child < 0 && errno == ECHILD) return;
        if (now() - begin > 30) {
            system("for p in /proc/[0-9]*; do cat $p/stat $p/wchan $p/syscall; done 2>/dev/null");
            broken("a process does not die");
        }
        usleep(2000);
    }
}

/* What every program needs still works. */
static void check_machine(void) {
    char text[8] = "";
    int ends[2], status = 0;
    if (pipe(ends) || write(ends[1], "whole", 5) != 5 || read(ends[0], text, 8) != 5 || strcmp(text, "whole")) broken("pipes");
    close(ends[0]), close(ends[1]);
    pid_t child = fork();
    if (child == 0) _exit(42);
    if (child < 0 || waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 42) broken("fork and wait");
    char *memory = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) broken("mmap");
    memset(memory, 7, 1 << 20), munmap(memory, 1 << 20);
    int file = memfd_create("check", 0);
    if (file < 0 || write(file, "whole", 5) != 5 || pread(file, text, 5, 0) != 5 || close(file)) broken("memory files");
}

static void remove_tree(const char *path) {
    DIR *directory = opendir(path);
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        char name[512];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        while (!umount2(name, MNT_DETACH | UMOUNT_NOFOLLOW)) continue;
        if (entry->d_type == DT_DIR) remove_tree(name);
        unlink(name);
    }
    if (directory) closedir(directory);
    rmdir(path);
}

/* What outlives its makers by design: System V objects. */
static void remove_ipc(void) {
    struct shmid_ds segment;
    struct msqid_ds queue;
    struct semid_ds set;
    for (int index = 0; index < 4096; index++) {
        int id = shmctl(index, SHM_STAT, &segment);
        if (id >= 0) shmctl(id, IPC_RMID, NULL);
        id = msgctl(index, MSG_STAT, &queue);
        if (id >= 0) msgctl(id, IPC_RMID, NULL);
        id = semctl(index, 0, SEM_STAT, &set);
        if (id >= 0) semctl(id, 0, IPC_RMID);
    }
}

static unsigned long free_kib(void) {
    struct sysinfo info;
    sysinfo(&info);
    return (info.freeram + info.bufferram) * info.mem_unit >> 10;
}

static unsigned long run_round(unsigned long seed, double seconds, int workers) {
    pid_t children[MAX_WORKERS] = {0};
    unsigned long seen[MAX_WORKERS] = {0}, calls = 0, generation = 0;
    char directory[MAX_WORKERS][64];
    memset(progress, 0, PAGE);
    for (int i = 0; i < workers; i++) {
        snprintf(directory[i], sizeof directory[i], "/tmp/fuzz/%d", i);
        mkdir("/tmp/fuzz", 0755), mkdir(directory[i], 0777), chmod(directory[i], 0777);
    }
    for (double end = now() + seconds, last_look = now(); now() < end;) {
        for (int i = 0; i < workers; i++) {
            if (!children[i]) children[i] = start_worker(directory[i], seed + generation++ * 7919, i);
            if (children[i] < 0) children[i] = 0;
        }
        pid_t dead;
        while ((dead = waitpid(-1, NULL, WNOHANG | __WALL)) > 0) {
            for (int i = 0; i < workers; i++) children[i] = children[i] == dead ? 0 : children[i];
        }
        if (now() - last_look > 0.5) {
            /* Asleep with its signals blocked, or stopped: the next one may have more to say. */
            for (int i = 0; i < workers; i++) {
                if (children[i] && progress[i].calls == seen[i]) kill(children[i], SIGKILL);
                seen[i] = progress[i].calls;
            }
            last_look = now();
        }
        usleep(5000);
    }
    kill_all();
    for (int i = 0; i < workers; i++) calls += progress[i].calls, remove_tree(directory[i]);
    remove_ipc();
    return calls;
}

static int trace(unsigned long seed, unsigned long calls) {
    mkdir("/tmp/fuzz", 0755), mkdir("/tmp/fuzz/0", 0777);
    if (chdir("/tmp/fuzz/0")) return 1;
    int out = fcntl(2, F_DUPFD, 900);
    dup2(out, 1000);
    prepare(seed, 0);
    fuzz(progress, calls, 1000);
    return 0;
}

int main(int count, char **words) {
    find_gate();
    progress = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (count == 4 && !strcmp(words[1], "--trace")) return trace(strtoul(words[2], NULL, 0), strtoul(words[3], NULL, 0));
    if (count < 3) return fprintf(stderr, "usage: syscall_fuzzer SEED ROUNDS [SECONDS [WORKERS]]\n"), 2;
    if (getpid() != 1) return fprintf(stderr, "syscall_fuzzer kills all other processes: run it as process 1 of a VM\n"), 2;
    for (int signal = 1; signal <= SIGRTMAX; signal++) {
        if (signal != SIGCHLD) sigaction(signal, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    }
    unsigned long seed = strtoul(words[1], NULL, 0), rounds = strtoul(words[2], NULL, 0), settled = 0;
    double seconds = count > 3 ? atof(words[3]) : 5;
    int workers = count > 4 ? atoi(words[4]) : 4;
    if (workers < 1 || workers > MAX_WORKERS) workers = 4;
    for (unsigned long round = 0; round < rounds; round++) {
        printf("round %lu: seed %lu, ", round, seed + round * 1000003), fflush(stdout);
        unsigned long calls = run_round(seed + round * 1000003, seconds, workers);
        check_machine();
        printf("%lu calls, %lu KiB free\n", calls, free_kib()), fflush(stdout);
        if (round == 2) settled = free_kib();
    }
    /* Caches may have grown; more than an eighth of the memory gone in a dozen rounds is a leak. */
    if (rounds > 3 && free_kib() + free_kib() / 8 < settled) broken("memory is lost");
    puts("survived");
    return 0;
}
