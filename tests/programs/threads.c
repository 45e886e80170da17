/* Threads and futexes: the raw futex calls, pthread's locks over them, cancellation, affinity, robust and shared mutexes. */
#include "check.h"
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static volatile uint32_t word, other;

static long futex(volatile uint32_t *at, int operation, uint32_t value, const struct timespec *timeout, volatile uint32_t *second, uint32_t third) {
    return syscall(SYS_futex, at, operation, value, timeout, second, third);
}

static void *wait_on_word(void *bits) {
    long result = bits ? futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 1, NULL, NULL, (uint32_t)(long)bits) : futex(&word, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
    return (void *)(result ? (long)errno : 0);
}

static void start_waiters(pthread_t *threads, int count, long bits) {
    word = 1;
    for (int i = 0; i < count; i++) pthread_create(&threads[i], NULL, wait_on_word, (void *)bits);
    sleep_ms(100);
}

static long join_all(pthread_t *threads, int count) {
    long sum = 0;
    for (int i = 0; i < count; i++) {
        void *result;
        pthread_join(threads[i], &result);
        sum += (long)result;
    }
    return sum;
}

static void futexes(void) {
    SECTION("futex");
    struct timespec brief = {0, 20000000}, bad = {0, 2000000000};
    pthread_t threads[8];
    word = 5;
    VALUE(futex(&word, FUTEX_WAIT_PRIVATE, 4, NULL, NULL, 0));
    long long begin = now_ns();
    VALUE(futex(&word, FUTEX_WAIT_PRIVATE, 5, &brief, NULL, 0));
    TRUE(now_ns() - begin >= 20000000);
    VALUE(futex(&word, FUTEX_WAIT_PRIVATE, 5, &bad, NULL, 0));
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0));
    VALUE(futex((uint32_t *)((char *)&word + 1), FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0));
    VALUE(futex((uint32_t *)16, FUTEX_WAIT_PRIVATE, 5, NULL, NULL, 0));
    VALUE(futex(&word, 99, 5, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 5, &brief, NULL, 0));
    struct timespec past = {1, 0};
    VALUE(futex(&word, FUTEX_WAIT_BITSET_PRIVATE, 5, &past, NULL, 1));
    VALUE(futex(&word, FUTEX_WAIT_BITSET_PRIVATE | FUTEX_CLOCK_REALTIME, 5, &past, NULL, 1));
    start_waiters(threads, 5, 0);
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 2, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0));
    VALUE(join_all(threads, 5));
    start_waiters(threads, 3, 2);
    VALUE(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 1));
    VALUE(futex(&word, FUTEX_WAKE_BITSET_PRIVATE, 100, NULL, NULL, 6));
    VALUE(join_all(threads, 3));
    start_waiters(threads, 6, 0);
    VALUE(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)100, &other, 7));
    VALUE(futex(&word, FUTEX_CMP_REQUEUE_PRIVATE, 1, (void *)3, &other, 1));
    VALUE(futex(&other, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0));
    VALUE(futex(&word, FUTEX_WAKE_PRIVATE, 100, NULL, NULL, 0));
    VALUE(join_all(threads, 6));
    start_waiters(threads, 2, 0);
    other = 10;
    VALUE(futex(&other, FUTEX_WAKE_OP_PRIVATE, 1, (void *)100, &word, FUTEX_OP(FUTEX_OP_ADD, 4, FUTEX_OP_CMP_EQ, 1)));
    printf("word %u\n", word);
    VALUE(join_all(threads, 2));
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t condition = PTHREAD_COND_INITIALIZER;
static long counter;

static void *count_up(void *unused) {
    for (int i = 0; i < 5000; i++) {
        pthread_mutex_lock(&mutex);
        counter++;
        pthread_mutex_unlock(&mutex);
    }
    return unused;
}

static void *wait_for_turn(void *turn) {
    pthread_mutex_lock(&mutex);
    while (counter != (long)turn) pthread_cond_wait(&condition, &mutex);
    counter++;
    pthread_cond_broadcast(&condition);
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static pthread_barrier_t barrier;
static pthread_rwlock_t lock = PTHREAD_RWLOCK_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static sem_t semaphore;
static int ran_once, serial;
static void run_once(void) { ran_once++; }

static void *meet(void *unused) {
    pthread_once(&once, run_once);
    for (int i = 0; i < 20; i++)
        if (pthread_barrier_wait(&barrier) == PTHREAD_BARRIER_SERIAL_THREAD) __atomic_add_fetch(&serial, 1, __ATOMIC_RELAXED);
    pthread_rwlock_wrlock(&lock);
    counter++;
    pthread_rwlock_unlock(&lock);
    sem_post(&semaphore);
    return unused;
}

static void locks(void) {
    SECTION("locks");
    pthread_t threads[10];
    for (int i = 0; i < 10; i++) pthread_create(&threads[i], NULL, count_up, NULL);
    join_all(threads, 10);
    printf("counted %ld\n", counter);
    counter = 0;
    for (long i = 9; i >= 0; i--) pthread_create(&threads[i], NULL, wait_for_turn, (void *)i);
    join_all(threads, 10);
    printf("turns %ld\n", counter);
    pthread_barrier_init(&barrier, NULL, 10);
    sem_init(&semaphore, 0, 0);
    for (int i = 0; i < 10; i++) pthread_create(&threads[i], NULL, meet, NULL);
    for (int i = 0; i < 10; i++) sem_wait(&semaphore);
    join_all(threads, 10);
    printf("serial %d once %d counter %ld\n", serial, ran_once, counter);
    struct timespec soon;
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 20000000, soon.tv_sec += soon.tv_nsec / 1000000000, soon.tv_nsec %= 1000000000;
    pthread_mutex_lock(&mutex);
    printf("timed wait: %s\n", error_name(pthread_cond_timedwait(&condition, &mutex, &soon)));
    printf("timed lock: %s\n", error_name(pthread_mutex_timedlock(&mutex, &soon)));
    printf("sem_timedwait: %s\n", sem_timedwait(&semaphore, &soon) ? error_name(errno) : "ok");
    pthread_mutex_unlock(&mutex);
    pthread_mutexattr_t attributes;
    pthread_mutex_t recursive, checked;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&recursive, &attributes);
    pthread_mutex_lock(&recursive);
    printf("recursive: %s\n", error_name(pthread_mutex_lock(&recursive)));
    pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_ERRORCHECK);
    pthread_mutex_init(&checked, &attributes);
    pthread_mutex_lock(&checked);
    printf("checked: %s\n", error_name(pthread_mutex_lock(&checked)));
    struct { pthread_mutex_t mutex; pthread_mutex_t robust; long count; } *shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
    pthread_mutex_init(&shared->mutex, &attributes);
    pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(&shared->robust, &attributes);
    pid_t children[4];
    for (int i = 0; i < 4; i++)
        if (!(children[i] = fork())) {
            for (int j = 0; j < 1000; j++) pthread_mutex_lock(&shared->mutex), shared->count++, pthread_mutex_unlock(&shared->mutex);
            _exit(0);
        }
    for (int i = 0; i < 4; i++) waitpid(children[i], NULL, 0);
    printf("processes counted %ld\n", shared->count);
    IN_CHILD("dies with a robust mutex", pthread_mutex_lock(&shared->robust));
    printf("robust: %s, ", error_name(pthread_mutex_lock(&shared->robust)));
    printf("consistent: %s, ", error_name(pthread_mutex_consistent(&shared->robust)));
    printf("unlock: %s\n", error_name(pthread_mutex_unlock(&shared->robust)));
}

static void cleaned(void *unused) { (void)unused; printf("cleanup\n"); }
static void *cancel_me(void *unused) {
    pthread_cleanup_push(cleaned, NULL);
    for (;;) pause();
    pthread_cleanup_pop(0);
    return unused;
}
static pthread_key_t key;
static void key_gone(void *value) { printf("key %ld destroyed\n", (long)value); }
static void *set_key(void *unused) {
    pthread_setspecific(key, (void *)17);
    pthread_exit((void *)23);
    return unused;
}
static void *big_stack(void *size) {
    volatile char *frame = __builtin_alloca((size_t)size - 65536);
    for (size_t at = 0; at < (size_t)size - 65536; at += PAGE) frame[at] = 1;
    return (void *)(long)(syscall(SYS_gettid) != getpid());
}
static volatile int spinning;
static void *spin(void *unused) {
    while (spinning) {}
    return unused;
}

static void lives(void) {
    SECTION("lives");
    pthread_t thread, many[100];
    void *result;
    pthread_create(&thread, NULL, cancel_me, NULL);
    sleep_ms(20);
    pthread_cancel(thread);
    pthread_join(thread, &result);
    TRUE(result == PTHREAD_CANCELED);
    pthread_key_create(&key, key_gone);
    pthread_create(&thread, NULL, set_key, NULL);
    pthread_join(thread, &result);
    printf("exit value %ld\n", (long)result);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    size_t size = 16 << 20;
    pthread_attr_setstacksize(&attributes, size);
    pthread_create(&thread, &attributes, big_stack, (void *)size);
    pthread_join(thread, &result);
    printf("big stack %ld\n", (long)result);
    counter = 0;
    for (int i = 0; i < 100; i++) pthread_create(&many[i], NULL, count_up, NULL);
    join_all(many, 100);
    TRUE(counter == 100 * 5000);
    spinning = 1;
    for (int i = 0; i < 4; i++) pthread_create(&many[i], NULL, spin, NULL);
    sleep_ms(50);
    spinning = 0;
    join_all(many, 4);
    printf("the main thread ran beside four that never call the kernel\n");
    cpu_set_t set;
    TRY(sched_getaffinity(0, sizeof set, &set));
    TRUE(CPU_COUNT(&set) == (int)sysconf(_SC_NPROCESSORS_ONLN));
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    TRY(sched_setaffinity(0, sizeof set, &set));
    TRUE(sched_getcpu() == 0);
    CPU_ZERO(&set);
    TRY(sched_setaffinity(0, sizeof set, &set));
    TRY(sched_setaffinity(999999, sizeof set, &set));
    pthread_setname_np(pthread_self(), "renamed");
    char name[32];
    pthread_getname_np(pthread_self(), name, sizeof name);
    printf("name %s\n", name);
    VALUE(sched_getscheduler(0)), VALUE(sched_get_priority_max(SCHED_FIFO)), VALUE(sched_yield());
    VALUE(prctl(9999, 0, 0, 0, 0));
    TRUE(syscall(SYS_gettid) == getpid());
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    futexes();
    locks();
    lives();
    return 0;
}
