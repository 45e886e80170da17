/*
 * Stress: many threads, processes, signals and mappings at once, with sums that only come out right if nothing was lost, torn
 * or mixed up. Static, so that it runs in the smallest VM.
 *
 * usage: stress MODE [ROUNDS]      prints `MODE ok`, or what was wrong
 */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/time.h>

static const char *self;
static int wrong;

#define WRONG(...) (printf(__VA_ARGS__), printf("\n"), wrong = 1)
#define EXPECT(have, want)                                                                        \
    do {                                                                                          \
        long have_value = (long)(have), want_value = (long)(want);                                \
        if (have_value != want_value) WRONG("%s is %ld instead of %ld", #have, have_value, want_value); \
    } while (0)

static unsigned long random_state = 88172645463325252;
static unsigned long next_random(unsigned long *state) {
    *state ^= *state << 13, *state ^= *state >> 7, *state ^= *state << 17;
    return *state;
}

static void create(pthread_t *thread, void *(*body)(void *), void *argument) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 << 10);
    int error = pthread_create(thread, &attributes, body, argument);
    if (error) WRONG("pthread_create: %s", error_name(error)), fflush(stdout), _exit(1);
}

/* 200 threads alive at once, each adding under a lock and waiting for all others. */
enum { MANY = 200 };
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_barrier_t barrier;
static long total;

static void *add_and_meet(void *number) {
    for (int i = 0; i < 50; i++) {
        pthread_mutex_lock(&mutex);
        total += (long)number;
        if (i % 10 == 0) sched_yield();
        pthread_mutex_unlock(&mutex);
    }
    pthread_barrier_wait(&barrier);
    return number;
}

static void threads(int rounds) {
    static pthread_t threads[MANY];
    for (int round = 0; round < rounds; round++) {
        total = 0;
        pthread_barrier_init(&barrier, NULL, MANY);
        for (long i = 0; i < MANY; i++) create(&threads[i], add_and_meet, (void *)i);
        for (long i = 0; i < MANY; i++) {
            void *result;
            pthread_join(threads[i], &result);
            EXPECT((long)result, i);
        }
        EXPECT(total, 50L * MANY * (MANY - 1) / 2);
    }
}

/* Threads that come and go as fast as they can be made. */
static void *touch_stack(void *number) {
    volatile char frame[8192];
    memset((void *)frame, (long)number & 127, sizeof frame);
    return (void *)(long)frame[4000];
}

static void churn(int rounds) {
    for (int round = 0; round < rounds * 100; round++) {
        pthread_t some[4];
        for (long i = 0; i < 4; i++) create(&some[i], touch_stack, (void *)(round + i));
        for (long i = 0; i < 4; i++) {
            void *result;
            pthread_join(some[i], &result);
            EXPECT((long)result, (round + i) & 127);
        }
    }
}

/* 200 processes alive at once, each with its own copy of memory, that report through one pipe. */
static void processes(int rounds) {
    static long pages[64 * PAGE / sizeof(long)];
    for (int round = 0; round < rounds; round++) {
        int go[2], back[2];
        MUST(pipe(go)), MUST(pipe(back));
        for (unsigned i = 0; i < sizeof pages / sizeof *pages; i++) pages[i] = i;
        for (long child = 0; child < MANY; child++) {
            if (MUST(fork())) continue;
            char byte;
            close(go[1]);
            MUST(read(go[0], &byte, 1));
            long sum = 0;
            for (unsigned i = 0; i < sizeof pages / sizeof *pages; i += 64) pages[i] += child;
            for (unsigned i = 0; i < sizeof pages / sizeof *pages; i++) sum += pages[i];
            MUST(write(back[1], &sum, sizeof sum));
            _exit(child & 127);
        }
        close(go[0]), close(go[1]), close(back[1]);
        long got = 0, sum, count = sizeof pages / sizeof *pages, base = count * (count - 1) / 2, answers = 0;
        while (read(back[0], &sum, sizeof sum) == sizeof sum) got += sum - base, answers++;
        close(back[0]);
        EXPECT(answers, MANY);
        EXPECT(got, count / 64 * (MANY * (MANY - 1L) / 2));
        long statuses = 0, want = 0;
        int status;
        for (long child = 0; child < MANY; child++) {
            MUST(wait(&status));
            statuses += WEXITSTATUS(status), want += child & 127;
        }
        EXPECT(statuses, want);
        EXPECT(wait(&status), -1);
    }
}

/* fork + exec + wait in a loop, several parents at once. */
static void exec_loop(int rounds) {
    for (int parent = 0; parent < 4; parent++) {
        if (MUST(fork())) continue;
        for (int i = 0; i < rounds * 10; i++) {
            int status;
            char code[16];
            snprintf(code, sizeof code, "%d", i & 63);
            pid_t child = i & 1 ? vfork() : fork();
            if (!child) {
                execl(self, self, "exit", code, NULL);
                _exit(126);
            }
            MUST(waitpid(child, &status, 0));
            if (!WIFEXITED(status) || WEXITSTATUS(status) != (i & 63)) _exit(1);
        }
        _exit(0);
    }
    int status;
    while (wait(&status) > 0) EXPECT(status, 0);
}

/* Threads that signal each other without end while they allocate, lock and sleep. */
static volatile long received;
static volatile int finished;
static pthread_t victims[8];
static void on_signal(int number) {
    (void)number;
    __atomic_add_fetch(&received, 1, __ATOMIC_RELAXED);
}

static void *be_signalled(void *unused) {
    unsigned long state = 77 + (long)unused;
    while (!finished) {
        size_t size = next_random(&state) % 20000 + 1;
        char *block = malloc(size);
        memset(block, size & 127, size);
        if (block[size - 1] != (char)(size & 127)) WRONG("memory changed");
        free(block);
        int ends[2];
        if (next_random(&state) % 8 == 0 && !pipe(ends)) {
            char byte = 5;
            while (write(ends[1], &byte, 1) < 0 && errno == EINTR) {}
            while (read(ends[0], &byte, 1) < 0 && errno == EINTR) {}
            if (byte != 5) WRONG("pipe changed a byte");
            close(ends[0]), close(ends[1]);
        }
    }
    return NULL;
}

static void signals(int rounds) {
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGUSR1, &action, NULL), sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 2000}, {0, 2000}}, NULL);
    for (long i = 0; i < 8; i++) create(&victims[i], be_signalled, (void *)i);
    for (int i = 0; i < rounds * 500; i++) {
        EXPECT(pthread_kill(victims[i & 7], SIGUSR1), 0);
        if (i % 50 == 0) sched_yield();
    }
    finished = 1;
    for (int i = 0; i < 8; i++) pthread_join(victims[i], NULL);
    setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, NULL);
    if (received == 0) WRONG("no signal arrived");
    pid_t child = MUST(fork());
    if (!child) {
        sigset_t set;
        sigemptyset(&set), sigaddset(&set, SIGRTMIN);
        sigprocmask(SIG_BLOCK, &set, NULL);
        pid_t parent = getppid();
        for (long i = 0; i < 200; i++)
            while (sigqueue(parent, SIGRTMIN, (union sigval){.sival_ptr = (void *)i}) && errno == EAGAIN) sched_yield();
        _exit(0);
    }
    long next = 0;
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGRTMIN);
    while (next < 200) {
        siginfo_t info;
        if (sigwaitinfo(&set, &info) < 0) continue;
        EXPECT((long)info.si_value.sival_ptr, next);
        next++;
    }
    waitpid(child, NULL, 0);
}

/* Threads that map, touch, protect, move and unmap at random, each checking its own pages. */
static void *storm(void *seed) {
    enum { SLOTS = 16 };
    unsigned long state = 99991 * ((long)seed + 1);
    struct { char *at; size_t pages; char mark; } slots[SLOTS] = {0};
    for (int i = 0; i < 300; i++) {
        unsigned slot = next_random(&state) % SLOTS;
        if (!slots[slot].at) {
            slots[slot].pages = next_random(&state) % 32 + 1;
            slots[slot].at = mmap(NULL, slots[slot].pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (slots[slot].at == MAP_FAILED) return (void *)1L;
            slots[slot].mark = i;
            for (size_t page = 0; page < slots[slot].pages; page++) {
                if (slots[slot].at[page * PAGE + 7]) return (void *)2L;
                slots[slot].at[page * PAGE + 7] = slots[slot].mark;
            }
            continue;
        }
        for (size_t page = 0; page < slots[slot].pages; page++)
            if (slots[slot].at[page * PAGE + 7] != slots[slot].mark) return (void *)3L;
        size_t size = slots[slot].pages * PAGE;
        switch (next_random(&state) % 4) {
            case 0:
                if (mprotect(slots[slot].at, size, PROT_READ) || mprotect(slots[slot].at, size, PROT_READ | PROT_WRITE)) return (void *)4L;
                break;
            case 1: {
                char *moved = mremap(slots[slot].at, size, size, MREMAP_MAYMOVE);
                if (moved == MAP_FAILED) return (void *)5L;
                slots[slot].at = moved;
                break;
            }
            case 2:
                if (madvise(slots[slot].at, size, MADV_DONTNEED) || slots[slot].at[7]) return (void *)6L;
                slots[slot].mark = 0;
                break;
            default:
                if (munmap(slots[slot].at, size)) return (void *)7L;
                slots[slot].at = NULL;
        }
    }
    for (int slot = 0; slot < SLOTS; slot++)
        if (slots[slot].at) munmap(slots[slot].at, slots[slot].pages * PAGE);
    return NULL;
}

static void mappings(int rounds) {
    for (int round = 0; round < rounds; round++) {
        pthread_t some[8];
        for (long i = 0; i < 8; i++) create(&some[i], storm, (void *)(round * 8 + i));
        for (int i = 0; i < 8; i++) {
            void *result;
            pthread_join(some[i], &result);
            EXPECT((long)result, 0);
        }
        IN_CHILD("child", pthread_t one; create(&one, storm, (void *)1L); void *result; pthread_join(one, &result); _exit(result != NULL));
    }
}

/* A ring of processes passes numbered messages through pipes; threads beside them do the same over eventfds. */
static void rings(int rounds) {
    enum { RING = 16 };
    int ends[RING][2];
    for (int i = 0; i < RING; i++) MUST(pipe(ends[i]));
    for (int i = 1; i < RING; i++) {
        if (MUST(fork())) continue;
        long value;
        for (int j = 0; j < RING; j++) {
            if (j != i - 1) close(ends[j][0]);
            if (j != i) close(ends[j][1]);
        }
        while (read(ends[i - 1][0], &value, sizeof value) == sizeof value) {
            value++;
            if (write(ends[i][1], &value, sizeof value) != sizeof value) _exit(1);
        }
        _exit(0);
    }
    for (int j = 0; j < RING; j++) {
        if (j != RING - 1) close(ends[j][0]);
        if (j != 0) close(ends[j][1]);
    }
    for (long i = 0; i < rounds * 100L; i++) {
        long value = i * 1000;
        MUST(write(ends[0][1], &value, sizeof value));
        MUST(read(ends[RING - 1][0], &value, sizeof value));
        EXPECT(value, i * 1000 + RING - 1);
    }
    close(ends[0][1]);
    int status;
    while (wait(&status) > 0) EXPECT(status, 0);
}

/* Threads that write, read, rename and delete files of their own in one directory. */
static void *use_files(void *number) {
    char name[64], other[64], block[3000], check[3000];
    snprintf(name, sizeof name, "f%ld", (long)number);
    snprintf(other, sizeof other, "g%ld", (long)number);
    for (int i = 0; i < 50; i++) {
        memset(block, 'a' + (i + (long)number) % 26, sizeof block);
        int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (fd < 0) return (void *)1L;
        for (int part = 0; part < 5; part++)
            if (write(fd, block, sizeof block) != sizeof block) return (void *)2L;
        if (rename(name, other)) return (void *)3L;
        for (int part = 0; part < 5; part++) {
            if (pread(fd, check, sizeof check, part * sizeof check) != sizeof check) return (void *)4L;
            if (memcmp(block, check, sizeof block)) return (void *)5L;
        }
        close(fd);
        if (unlink(other)) return (void *)6L;
    }
    return NULL;
}

static void files(int rounds) {
    for (int round = 0; round < rounds; round++) {
        pthread_t some[8];
        for (long i = 0; i < 8; i++) create(&some[i], use_files, (void *)i);
        for (int i = 0; i < 8; i++) {
            void *result;
            pthread_join(some[i], &result);
            EXPECT((long)result, 0);
        }
    }
}

/* Children with threads are killed at random moments. */
static void kills(int rounds) {
    for (int round = 0; round < rounds * 10; round++) {
        fflush(stdout);
        pid_t child = MUST(fork());
        if (!child) {
            for (long i = 0; i < 4; i++) create(&victims[i], i & 1 ? be_signalled : storm, (void *)i);
            for (;;) {
                if (!fork()) _exit(0);
                wait(NULL);
            }
        }
        struct timespec moment = {0, next_random(&random_state) % 20000000};
        nanosleep(&moment, NULL);
        kill(child, SIGKILL);
        int status;
        MUST(waitpid(child, &status, 0));
        EXPECT(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, 1);
    }
}

int main(int argc, char **argv) {
    static const struct { const char *name; void (*run)(int); } modes[] = {
        {"threads", threads}, {"churn", churn}, {"processes", processes}, {"exec", exec_loop}, {"signals", signals},
        {"mappings", mappings}, {"rings", rings}, {"files", files}, {"kills", kills},
    };
    if (argc > 2 && !strcmp(argv[1], "exit")) return atoi(argv[2]);
    int rounds = argc > 2 ? atoi(argv[2]) : 1;
    self = argv[0];
    sigset_t set;
    sigemptyset(&set), sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (argc < 2 || strcmp(argv[1], modes[i].name)) continue;
        modes[i].run(rounds);
        if (!wrong) printf("%s ok\n", modes[i].name);
        return wrong;
    }
    printf("usage: stress MODE [ROUNDS]\n");
    return 2;
}
