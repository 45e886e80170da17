/* Futexes that inherit priority, by the raw calls and below pthread's locks; robust ones; several words at once; and what
 * real-time priorities do to the order in which threads run. */
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#ifndef FUTEX_LOCK_PI2
#define FUTEX_LOCK_PI2 13
#endif
#ifndef SYS_futex_waitv
#define SYS_futex_waitv 449
#endif

static volatile uint32_t word, second, turn;

static long futex(volatile uint32_t *at, int operation, uint32_t value, const void *timeout, volatile uint32_t *other, uint32_t third) {
    return syscall(SYS_futex, at, operation, value, timeout, other, third);
}

static uint32_t own_id(void) {
    return (uint32_t)syscall(SYS_gettid);
}

static struct timespec in_ms(int clock, long ms) {
    struct timespec time;
    clock_gettime(clock, &time);
    long long ns = time.tv_sec * 1000000000LL + time.tv_nsec + ms * 1000000LL;
    return (struct timespec){ns / 1000000000, ns % 1000000000};
}

static void *hold_for_a_while(void *unused) {
    (void)unused;
    MUST(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    turn = 1;
    sleep_ms(100);
    futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    return NULL;
}

static void *hold_for_ever(void *unused) {
    (void)unused;
    MUST(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    turn = 1;
    sleep_ms(100);
    return NULL;
}

static void start(pthread_t *thread, void *(*function)(void *)) {
    turn = 0;
    pthread_create(thread, NULL, function, NULL);
    while (!turn) sleep_ms(1);
}

static void lock_and_unlock(void) {
    SECTION("lock and unlock");
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    TRUE(word == own_id());
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(word);
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    TRUE(word == own_id());
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    word = 0x3fffff00;
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    word = 0;
    VALUE(futex((void *)((char *)&word + 1), FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(futex((void *)0x1000, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE | FUTEX_CLOCK_REALTIME, 0, NULL, NULL, 0));

    pthread_t thread;
    start(&thread, hold_for_a_while);
    VALUE(futex(&word, FUTEX_TRYLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    TRUE((word & FUTEX_TID_MASK) == own_id());
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(word);
    pthread_join(thread, NULL);

    start(&thread, hold_for_a_while);
    struct timespec soon = in_ms(CLOCK_REALTIME, 20), bad = {0, 1000000000}, monotonic = in_ms(CLOCK_MONOTONIC, 20);
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, &soon, NULL, 0));
    VALUE(futex(&word, FUTEX_LOCK_PI2 | FUTEX_PRIVATE_FLAG, 0, &monotonic, NULL, 0));
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, &bad, NULL, 0));
    TRUE((word & FUTEX_WAITERS) != 0);
    pthread_join(thread, NULL);
    VALUE(word);

    /* The owner ends without unlocking: the lock goes to who waits, and says so. */
    start(&thread, hold_for_ever);
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    TRUE((word & FUTEX_TID_MASK) == own_id());
    TRUE((word & FUTEX_OWNER_DIED) != 0);
    pthread_join(thread, NULL);
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(word);
    /* Without anybody who waits, the word names somebody who is gone. */
    start(&thread, hold_for_ever);
    pthread_join(thread, NULL);
    VALUE(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    word = 0;
}

static void *second_then_first(void *unused) {
    (void)unused;
    MUST(futex(&second, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    turn = 1;
    long result = futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    if (result == 0) futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    futex(&second, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    return NULL;
}

static void deadlock(void) {
    SECTION("deadlock");
    pthread_t thread;
    MUST(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    start(&thread, second_then_first);
    sleep_ms(50);
    VALUE(futex(&second, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    pthread_join(thread, NULL);
    VALUE(word | second);
}

static volatile uint32_t condition;
static volatile int arrived, through;

static void *wait_for_condition(void *unused) {
    (void)unused;
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    long result = futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, NULL, &word, 0);
    if (result == 0) {
        if ((word & FUTEX_TID_MASK) != own_id()) printf("woken without the lock\n");
        __atomic_add_fetch(&through, 1, __ATOMIC_SEQ_CST);
        futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    }
    return NULL;
}

static void conditions(void) {
    SECTION("conditions");
    struct timespec soon = in_ms(CLOCK_MONOTONIC, 20);
    condition = 7;
    VALUE(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 8, NULL, &word, 0));
    VALUE(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, NULL, &condition, 0));
    VALUE(futex(&condition, FUTEX_WAIT_REQUEUE_PI_PRIVATE, 7, &soon, &word, 0));
    VALUE(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 2, (void *)1, &word, 7));
    VALUE(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &word, 8));
    VALUE(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &word, 7));
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, wait_for_condition, NULL);
    while (arrived < 4) sleep_ms(1);
    sleep_ms(50);
    MUST(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    VALUE(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)2, &word, 7));
    sleep_ms(20);
    VALUE(through);
    VALUE(futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    while (through < 3) sleep_ms(1);
    VALUE(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)100, &word, 7));
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    VALUE(through);
    VALUE(word);
}

static void *wait_plainly(void *unused) {
    (void)unused;
    __atomic_add_fetch(&arrived, 1, __ATOMIC_SEQ_CST);
    futex(&condition, FUTEX_WAIT_PRIVATE, 7, NULL, NULL, 0);
    return NULL;
}

/* Who waits for a lock is not woken like others, and the other way round. */
static void mismatches(void) {
    SECTION("mismatches");
    pthread_t thread;
    arrived = 0;
    pthread_create(&thread, NULL, wait_plainly, NULL);
    while (!arrived) sleep_ms(1);
    sleep_ms(50);
    VALUE(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, (void *)1, &word, 7));
    VALUE(futex(&condition, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    pthread_join(thread, NULL);
    arrived = through = 0;
    pthread_create(&thread, NULL, wait_for_condition, NULL);
    while (!arrived) sleep_ms(1);
    sleep_ms(50);
    VALUE(futex(&condition, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    VALUE(futex(&condition, FUTEX_REQUEUE_PRIVATE, 1, (void *)1, &second, 0));
    VALUE(futex(&condition, FUTEX_CMP_REQUEUE_PI_PRIVATE, 1, NULL, &word, 7));
    pthread_join(thread, NULL);
    VALUE(through);
}

/* pthread's locks. */
static pthread_mutex_t mutex;
static volatile long long counter;

static void make_mutex(int robust, int shared) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setprotocol(&attributes, PTHREAD_PRIO_INHERIT);
    if (robust) pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    if (shared) pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    printf("mutex: %s\n", error_name(pthread_mutex_init(&mutex, &attributes)));
}

static void *count_up(void *unused) {
    (void)unused;
    for (int i = 0; i < 20000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        if (i % 64 == 0) sched_yield();
        pthread_mutex_unlock(&mutex);
    }
    return NULL;
}

static void *lock_and_die(void *unused) {
    (void)unused;
    pthread_mutex_lock(&mutex);
    return NULL;
}

static void pthread_locks(void) {
    SECTION("pthread");
    make_mutex(0, 0);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, count_up, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    VALUE(counter);
    pthread_mutex_lock(&mutex);
    printf("again: %s\n", error_name(pthread_mutex_trylock(&mutex)));
    pthread_mutex_unlock(&mutex);
    make_mutex(1, 0);
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[0], NULL, lock_and_die, NULL);
        pthread_join(threads[0], NULL);
        printf("left behind: %s\n", error_name(pthread_mutex_lock(&mutex)));
        if (i == 0) pthread_mutex_consistent(&mutex);
        pthread_mutex_unlock(&mutex);
    }
    printf("not made consistent: %s\n", error_name(pthread_mutex_lock(&mutex)));
}

static void between_processes(void) {
    SECTION("between processes");
    volatile uint32_t *shared = MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    pid_t child = MUST(fork());
    if (!child) {
        MUST(futex(shared, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
        shared[1] = 1;
        sleep_ms(100);
        _exit(0);
    }
    while (!shared[1]) sleep_ms(1);
    VALUE(futex(shared, FUTEX_LOCK_PI, 0, NULL, NULL, 0));
    TRUE((shared[0] & FUTEX_TID_MASK) == own_id() && (shared[0] & FUTEX_OWNER_DIED));
    VALUE(futex(shared, FUTEX_UNLOCK_PI, 0, NULL, NULL, 0));
    waitpid(child, NULL, 0);
}

struct waitv {
    uint64_t expected, address;
    uint32_t flags, reserved;
};

static volatile uint32_t many[3];

static void *wake_the_second(void *unused) {
    (void)unused;
    sleep_ms(50);
    many[1] = 1;
    futex(&many[1], FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
    return NULL;
}

static void several_words(void) {
    SECTION("several words");
    struct waitv waiters[3];
    for (int i = 0; i < 3; i++) waiters[i] = (struct waitv){0, (uint64_t)&many[i], 2 | FUTEX_PRIVATE_FLAG, 0};
    struct timespec soon = in_ms(CLOCK_MONOTONIC, 20), bad = {0, -1};
#define WAITV(count, flags, timeout, clock) syscall(SYS_futex_waitv, waiters, count, flags, timeout, clock)
    VALUE(WAITV(0, 0, NULL, 0));
    VALUE(WAITV(129, 0, NULL, 0));
    VALUE(WAITV(3, 1, NULL, 0));
    VALUE(WAITV(3, 0, &soon, CLOCK_BOOTTIME));
    VALUE(WAITV(3, 0, &bad, CLOCK_MONOTONIC));
    VALUE(WAITV(3, 0, &soon, CLOCK_MONOTONIC));
    many[2] = 5;
    VALUE(WAITV(3, 0, NULL, 0));
    many[2] = 0;
    waiters[2].flags = FUTEX_PRIVATE_FLAG;
    VALUE(WAITV(3, 0, NULL, 0));
    waiters[2].flags = 2;
    waiters[2].reserved = 1;
    VALUE(WAITV(3, 0, NULL, 0));
    waiters[2].reserved = 0;
    waiters[2].address = 0x1000;
    VALUE(WAITV(3, 0, NULL, 0));
    waiters[2].address = (uint64_t)&many[2];
    pthread_t thread;
    pthread_create(&thread, NULL, wake_the_second, NULL);
    VALUE(WAITV(3, 0, NULL, 0));
    pthread_join(thread, NULL);
}

/* Real-time threads: one CPU, so that the order is the kernel's choice. */
static void be_real_time(int policy, int priority) {
    struct sched_param parameter = {priority};
    MUST(sched_setscheduler(0, policy, &parameter));
}

static char order[16];
static volatile int at;
static pthread_barrier_t ready;

static void *run_with_priority(void *priority) {
    be_real_time(SCHED_FIFO, (int)(long)priority);
    pthread_barrier_wait(&ready);
    /* All wait for the lock that the first thread has, then run in the order of their priority. */
    MUST(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    order[at++] = (char)('0' + (long)priority / 10);
    futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    return NULL;
}

static volatile int low_has_lock, middle_runs, high_done, stop_middle;

static void *low(void *unused) {
    (void)unused;
    be_real_time(SCHED_FIFO, 10);
    MUST(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    low_has_lock = 1;
    while (!middle_runs) sched_yield();
    for (volatile int i = 0; i < 1000000; i++) {}
    futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    return NULL;
}

static void *middle(void *unused) {
    (void)unused;
    be_real_time(SCHED_FIFO, 20);
    while (!stop_middle) middle_runs = 1;
    return NULL;
}

static void *high(void *unused) {
    (void)unused;
    be_real_time(SCHED_FIFO, 30);
    pthread_t thread;
    pthread_create(&thread, NULL, middle, NULL);
    sleep_ms(50);
    MUST(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    high_done = 1;
    futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    stop_middle = 1;
    pthread_join(thread, NULL);
    return NULL;
}

static void priorities(void) {
    SECTION("priorities");
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    MUST(sched_setaffinity(0, sizeof one, &one));
    be_real_time(SCHED_FIFO, 90);
    pthread_t threads[4];
    static const long priorities[4] = {20, 40, 10, 30};
    pthread_barrier_init(&ready, NULL, 5);
    MUST(futex(&word, FUTEX_LOCK_PI_PRIVATE, 0, NULL, NULL, 0));
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, run_with_priority, (void *)priorities[i]);
    pthread_barrier_wait(&ready);
    sleep_ms(50);
    futex(&word, FUTEX_UNLOCK_PI_PRIVATE, 0, NULL, NULL, 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    printf("order: %s\n", order);
    /* The one in the middle spins for ever; the low one gets the CPU because the high one waits for it. */
    word = 0;
    pthread_create(&threads[0], NULL, low, NULL);
    while (!low_has_lock) sleep_ms(1);
    pthread_create(&threads[1], NULL, high, NULL);
    pthread_join(threads[1], NULL);
    pthread_join(threads[0], NULL);
    VALUE(high_done);
}

static volatile long turns[2];
static volatile int stop_turns;

static void *take_turns(void *which) {
    while (!stop_turns) turns[(long)which]++;
    return NULL;
}

static void round_robin(void) {
    SECTION("round robin");
    be_real_time(SCHED_RR, 10);
    pthread_t threads[2];
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    for (long i = 0; i < 2; i++) pthread_create(&threads[i], &attributes, take_turns, (void *)i);
    be_real_time(SCHED_RR, 20);
    sleep_ms(600);
    stop_turns = 1;
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    TRUE(turns[0] > 0 && turns[1] > 0);
    struct sched_param normal = {0};
    MUST(sched_setscheduler(0, SCHED_OTHER, &normal));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    lock_and_unlock();
    deadlock();
    conditions();
    mismatches();
    pthread_locks();
    between_processes();
    several_words();
    priorities();
    round_robin();
    return 0;
}
