/* Clocks, sleeps and timers: that each clock exists, moves, agrees with its fellows, and that nothing wakes too early. */
#include "check.h"
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/timex.h>

static long long read_ns(clockid_t clock) {
    struct timespec ts = {0, 0};
    if (clock_gettime(clock, &ts)) return -1;
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static void all(void) {
    SECTION("clock ids");
    for (clockid_t clock = 0; clock < 13; clock++) {
        struct timespec ts;
        if (clock == CLOCK_REALTIME_ALARM || clock == CLOCK_BOOTTIME_ALARM) continue; /* as the machine's RTC allows */
        int has = clock_gettime(clock, &ts);
        int error = errno, resolution = clock_getres(clock, &ts);
        printf("clock %d: %s, resolution %s\n", clock, has ? error_name(error) : "ok", resolution ? error_name(errno) : "ok");
    }
    for (clockid_t clock = 0; clock < 8; clock++) {
        long long last = read_ns(clock), backwards = 0;
        for (int i = 0; i < 2000; i++) {
            long long now = read_ns(clock);
            backwards += now < last;
            last = now;
        }
        printf("clock %d: backwards %lld\n", clock, backwards);
    }
    TRY(clock_settime(CLOCK_MONOTONIC, &(struct timespec){1, 0}));
}

static void agreement(void) {
    SECTION("agreement");
    struct timespec by_call, by_vdso;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &by_call);
    clock_gettime(CLOCK_MONOTONIC, &by_vdso);
    long long apart = (by_vdso.tv_sec - by_call.tv_sec) * 1000000000LL + by_vdso.tv_nsec - by_call.tv_nsec;
    TRUE(apart >= 0 && apart < 500000000);
    long long real = read_ns(CLOCK_REALTIME);
    TRUE(real / 1000000000 > 1700000000 && real / 1000000000 < 4000000000);
    time_t seconds = time(NULL);
    struct timeval tv;
    gettimeofday(&tv, NULL);
    TRUE(labs((long)(seconds - real / 1000000000)) <= 1 && labs((long)(tv.tv_sec - seconds)) <= 1);
    TRUE(llabs(read_ns(CLOCK_REALTIME_COARSE) - read_ns(CLOCK_REALTIME)) < 500000000);
    TRUE(llabs(read_ns(CLOCK_TAI) - read_ns(CLOCK_REALTIME)) < 60000000000);
    TRUE(read_ns(CLOCK_BOOTTIME) >= read_ns(CLOCK_MONOTONIC) - 500000000);
    /* Ratios of clocks over a sleep: all real-time clocks run at the same speed. */
    long long mono = read_ns(CLOCK_MONOTONIC), raw = read_ns(CLOCK_MONOTONIC_RAW), wall = read_ns(CLOCK_REALTIME);
    sleep_ms(300);
    mono = read_ns(CLOCK_MONOTONIC) - mono, raw = read_ns(CLOCK_MONOTONIC_RAW) - raw, wall = read_ns(CLOCK_REALTIME) - wall;
    TRUE(mono >= 300000000 && llabs(raw - mono) < 50000000 && llabs(wall - mono) < 50000000);
}

static void sleeps(void) {
    SECTION("sleeps");
    long sizes[] = {1, 1000, 100000, 1000000, 10000000, 100000000};
    for (int i = 0; i < 6; i++) {
        long long begin = now_ns();
        struct timespec ts = {0, sizes[i]};
        int result = nanosleep(&ts, NULL);
        long long took = now_ns() - begin;
        printf("%ld ns: %s, not early %d, in time %d\n", sizes[i], result ? error_name(errno) : "ok", took >= sizes[i], took < sizes[i] + 2000000000LL);
    }
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += 20000000, at.tv_sec += at.tv_nsec / 1000000000, at.tv_nsec %= 1000000000;
    printf("absolute: %s, ", error_name(clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL)));
    TRUE(now_ns() >= at.tv_sec * 1000000000LL + at.tv_nsec);
    printf("in the past: %s\n", error_name(clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &(struct timespec){5, 0}, NULL)));
    TRY(nanosleep(&(struct timespec){0, 1000000000}, NULL));
    TRY(nanosleep(&(struct timespec){-1, 0}, NULL));
    printf("thread clock: %s\n", error_name(clock_nanosleep(CLOCK_THREAD_CPUTIME_ID, 0, &(struct timespec){0, 1}, NULL)));
    printf("unknown clock: %s\n", error_name(clock_nanosleep(77, 0, &(struct timespec){0, 1}, NULL)));
}

static void cpu_time(void) {
    SECTION("CPU time");
    long long before = read_ns(CLOCK_PROCESS_CPUTIME_ID), mine = read_ns(CLOCK_THREAD_CPUTIME_ID), begin = now_ns();
    while (now_ns() - begin < 100000000) {}
    long long used = read_ns(CLOCK_PROCESS_CPUTIME_ID) - before, used_here = read_ns(CLOCK_THREAD_CPUTIME_ID) - mine;
    TRUE(used > 1000000 && used_here > 1000000);
    before = read_ns(CLOCK_PROCESS_CPUTIME_ID);
    sleep_ms(200);
    TRUE(read_ns(CLOCK_PROCESS_CPUTIME_ID) - before < 150000000);
    struct rusage usage;
    TRY(getrusage(RUSAGE_SELF, &usage));
    TRUE(usage.ru_utime.tv_sec * 1000000 + usage.ru_utime.tv_usec + usage.ru_stime.tv_sec * 1000000 + usage.ru_stime.tv_usec > 1000);
    TRY(getrusage(RUSAGE_CHILDREN, &usage)), TRY(getrusage(RUSAGE_THREAD, &usage)), TRY(getrusage(55, &usage));
    struct tms ticks;
    TRUE(times(&ticks) != -1);
    clockid_t clock;
    TRUE(clock_getcpuclockid(0, &clock) == 0 && read_ns(clock) > 0);
}

static volatile int fired;
static void on_timer(int number) { (void)number; fired++; }

static void timers(void) {
    SECTION("timers");
    timer_t timer;
    signal(SIGRTMIN, on_timer);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGRTMIN};
    TRY(timer_create(CLOCK_MONOTONIC, &event, &timer));
    TRY(timer_settime(timer, 0, &(struct itimerspec){{0, 5000000}, {0, 5000000}}, NULL));
    for (int i = 0; i < 200 && fired < 3; i++) sleep_ms(10);
    TRUE(fired >= 3);
    struct itimerspec left;
    TRY(timer_gettime(timer, &left));
    TRUE(left.it_interval.tv_nsec == 5000000);
    TRUE(timer_getoverrun(timer) >= 0);
    TRY(timer_delete(timer));
    TRY(timer_delete(timer));
    /* Intervals count while the signal waits; those after it, which nobody wants, do not. */
    timer_t unwanted;
    sigset_t blocked;
    struct sigevent told = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGCONT};
    struct itimerspec short_time = {.it_value.tv_nsec = 1, .it_interval.tv_nsec = 10000};
    sigemptyset(&blocked), sigaddset(&blocked, SIGCONT), sigprocmask(SIG_BLOCK, &blocked, NULL);
    MUST(timer_create(CLOCK_MONOTONIC, &told, &unwanted)), MUST(timer_settime(unwanted, 0, &short_time, NULL));
    sleep_ms(50), sigprocmask(SIG_UNBLOCK, &blocked, NULL);
    int counted = timer_getoverrun(unwanted);
    sleep_ms(50);
    TRUE(counted > 1000);
    TRUE(timer_getoverrun(unwanted) == counted);
    MUST(timer_delete(unwanted));
    TRY(timer_create(99, &event, &timer));
    struct itimerval now;
    for (int which = ITIMER_REAL; which <= ITIMER_PROF; which++) {
        MUST(setitimer(which, &(struct itimerval){{10, 0}, {0, 0}}, NULL));
        MUST(setitimer(which, &(struct itimerval){0}, &now));
        printf("timer %d that is not set remembers %ld s\n", which, (long)now.it_interval.tv_sec);
    }
    TRY(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {100, 0}}, NULL));
    TRY(getitimer(ITIMER_REAL, &now));
    TRUE(now.it_value.tv_sec >= 98 && now.it_value.tv_sec <= 100);
    TRY(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 0}}, &now));
    TRY(setitimer(7, &now, NULL));
    TRY(setitimer(ITIMER_REAL, &(struct itimerval){{0, 0}, {0, 1000000}}, NULL));
}

int main(void) {
    all();
    agreement();
    sleeps();
    cpu_time();
    timers();
    return 0;
}
