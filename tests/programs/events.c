/* Pipes, poll, select, epoll, eventfd, timerfd, signalfd, inotify: readiness, blocking, limits, errors. */
#include "check.h"
#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <sys/uio.h>

static void pipes(void) {
    SECTION("pipes");
    int ends[2];
    char block[PAGE] = {0}, byte;
    TRY(pipe2(ends, O_NONBLOCK | O_CLOEXEC));
    VALUE(read(ends[0], &byte, 1));
    VALUE(write(ends[1], "abc", 3));
    int waiting;
    ioctl(ends[0], FIONREAD, &waiting);
    printf("FIONREAD %d\n", waiting);
    VALUE(read(ends[0], block, 2));
    VALUE(read(ends[0], block, 5));
    long total = 0;
    while (write(ends[1], block, PAGE) == (ssize_t)PAGE) total += PAGE;
    printf("capacity %ld then %s\n", total, error_name(errno));
    VALUE(fcntl(ends[1], F_GETPIPE_SZ));
    VALUE(write(ends[1], block, 1));
    VALUE(read(ends[0], block, PAGE));
    VALUE(write(ends[1], block, PAGE));
    VALUE(fcntl(ends[1], F_SETPIPE_SZ, 1 << 20));
    VALUE(write(ends[1], block, PAGE));
    VALUE(lseek(ends[0], 0, SEEK_SET));
    VALUE(pread(ends[0], block, 1, 0));
    VALUE(write(ends[0], "x", 1));
    VALUE(read(ends[1], block, 1));
    VALUE(write(ends[1], block, 0));
    close(ends[1]);
    long left = 0, got;
    while ((got = read(ends[0], block, PAGE)) > 0) left += got;
    printf("left %ld then %ld\n", left, got);
    close(ends[0]);
    MUST(pipe(ends));
    close(ends[0]);
    signal(SIGPIPE, SIG_IGN);
    VALUE(write(ends[1], "x", 1));
    close(ends[1]);
    MUST(pipe(ends));
    struct iovec parts[3] = {{"one ", 4}, {"", 0}, {"two", 3}};
    VALUE(writev(ends[1], parts, 3));
    char first[3] = "", second[8] = "";
    struct iovec into[2] = {{first, 2}, {second, 7}};
    VALUE(readv(ends[0], into, 2));
    printf("<%s> <%s>\n", first, second);
    int minus_one = -1;
    __asm__("" : "+r"(minus_one));
    VALUE(writev(ends[1], parts, minus_one));
    struct stat st;
    fstat(ends[0], &st);
    TRUE(S_ISFIFO(st.st_mode));
    close(ends[0]), close(ends[1]);
    TRY(mkfifo("fifo", 0600));
    VALUE(open("fifo", O_WRONLY | O_NONBLOCK));
    int reader = MUST(open("fifo", O_RDONLY | O_NONBLOCK)), writer = MUST(open("fifo", O_WRONLY));
    MUST(write(writer, "through a fifo", 14));
    memset(block, 0, sizeof block);
    VALUE(read(reader, block, 100));
    printf("%s\n", block);
    close(writer);
    VALUE(read(reader, block, 100));
}

static const char *revents(short events) {
    static char text[64];
    snprintf(text, sizeof text, "%s%s%s%s%s", events & POLLIN ? "IN " : "", events & POLLOUT ? "OUT " : "",
             events & POLLERR ? "ERR " : "", events & POLLHUP ? "HUP " : "", events & POLLNVAL ? "NVAL " : "");
    return text;
}

static void *write_later(void *fd) {
    sleep_ms(30);
    MUST(write((int)(long)fd, "12345678", 8));
    return NULL;
}

static void polls(void) {
    SECTION("poll and select");
    int ends[2], file = MUST(open("file", O_RDWR | O_CREAT, 0600));
    MUST(pipe(ends));
    struct pollfd set[5] = {{ends[0], POLLIN, 0}, {ends[1], POLLOUT, 0}, {file, POLLIN | POLLOUT, 0}, {-1, POLLIN, 0}, {999, POLLIN, 0}};
    VALUE(poll(set, 5, 0));
    for (int i = 0; i < 5; i++) printf("%d: %s\n", i, revents(set[i].revents));
    long long begin = now_ns();
    VALUE(poll(set, 1, 30));
    TRUE(now_ns() - begin >= 30000000);
    pthread_t thread;
    pthread_create(&thread, NULL, write_later, (void *)(long)ends[1]);
    VALUE(poll(set, 1, 5000));
    pthread_join(thread, NULL);
    printf("%s\n", revents(set[0].revents));
    fd_set readable, writable;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_SET(ends[0], &readable), FD_SET(ends[1], &writable), FD_SET(file, &readable);
    struct timeval wait = {1, 0};
    VALUE(select(20, &readable, &writable, NULL, &wait));
    printf("%d %d %d\n", !!FD_ISSET(ends[0], &readable), !!FD_ISSET(ends[1], &writable), !!FD_ISSET(file, &readable));
    VALUE(select(-1, NULL, NULL, NULL, &wait));
    close(ends[1]);
    set[0].revents = 0;
    VALUE(poll(set, 1, 0));
    printf("writer closed: %s\n", revents(set[0].revents));
    MUST(pipe(ends));
    close(ends[0]);
    struct pollfd out = {ends[1], POLLOUT, 0};
    VALUE(poll(&out, 1, 0));
    printf("reader closed: %s\n", revents(out.revents));
    sigset_t none;
    sigemptyset(&none);
    VALUE(ppoll(NULL, 0, &(struct timespec){0, 1000000}, &none));
    VALUE(ppoll(NULL, 0, &(struct timespec){0, -1}, &none));
}

static const char *epoll_names(unsigned events) {
    static char text[64];
    snprintf(text, sizeof text, "%s%s%s%s%s", events & EPOLLIN ? "IN " : "", events & EPOLLOUT ? "OUT " : "",
             events & EPOLLERR ? "ERR " : "", events & EPOLLHUP ? "HUP " : "", events & EPOLLRDHUP ? "RDHUP " : "");
    return text;
}

static int control(int poller, int operation, int fd, unsigned events) {
    struct epoll_event event = {.events = events, .data.u64 = 0x1122334455667788 + fd};
    return epoll_ctl(poller, operation, fd, &event);
}

static void show_ready(int poller, int timeout) {
    struct epoll_event ready[4];
    int count = epoll_wait(poller, ready, 4, timeout);
    printf("ready %d", count);
    for (int i = 0; i < count; i++) printf(" [%s%d]", epoll_names(ready[i].events), (ready[i].data.u64 >> 32) == 0x11223344);
    printf("\n");
}

static void epolls(void) {
    SECTION("epoll");
    int ends[2], poller = MUST(epoll_create1(EPOLL_CLOEXEC));
    char bytes[16];
    MUST(pipe(ends));
    TRY(control(poller, EPOLL_CTL_ADD, ends[0], EPOLLIN));
    TRY(control(poller, EPOLL_CTL_ADD, ends[0], EPOLLIN));
    TRY(control(poller, EPOLL_CTL_MOD, ends[1], EPOLLIN));
    TRY(control(poller, EPOLL_CTL_DEL, ends[1], EPOLLIN));
    TRY(control(poller, EPOLL_CTL_ADD, poller, EPOLLIN));
    TRY(control(poller, EPOLL_CTL_ADD, 999, EPOLLIN));
    TRY(control(poller, 77, ends[1], EPOLLIN));
    TRY(control(poller, EPOLL_CTL_ADD, MUST(open("file", O_RDWR | O_CREAT, 0600)), EPOLLIN));
    TRY(epoll_create(0));
    show_ready(poller, 0);
    MUST(write(ends[1], "ab", 2));
    show_ready(poller, 0);
    show_ready(poller, 0);
    TRY(control(poller, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET));
    show_ready(poller, 0);
    show_ready(poller, 0);
    MUST(read(ends[0], bytes, 1));
    show_ready(poller, 0);
    MUST(write(ends[1], "c", 1));
    show_ready(poller, 0);
    TRY(control(poller, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT));
    show_ready(poller, 0);
    show_ready(poller, 0);
    MUST(write(ends[1], "d", 1));
    show_ready(poller, 0);
    TRY(control(poller, EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT));
    show_ready(poller, 0);
    TRY(control(poller, EPOLL_CTL_MOD, ends[0], EPOLLIN));
    TRY(control(poller, EPOLL_CTL_ADD, ends[1], EPOLLOUT));
    show_ready(poller, 0);
    int outer = MUST(epoll_create1(0));
    TRY(control(outer, EPOLL_CTL_ADD, poller, EPOLLIN));
    show_ready(outer, 0);
    TRY(control(poller, EPOLL_CTL_ADD, outer, EPOLLIN));
    MUST(read(ends[0], bytes, 16));
    TRY(control(poller, EPOLL_CTL_DEL, ends[1], 0));
    show_ready(outer, 0);
    pthread_t thread;
    pthread_create(&thread, NULL, write_later, (void *)(long)ends[1]);
    show_ready(poller, 5000);
    pthread_join(thread, NULL);
    close(ends[1]);
    show_ready(poller, 0);
    int copy = dup(ends[0]);
    close(ends[0]);
    show_ready(poller, 0);
    close(copy);
    show_ready(poller, 0);
    struct epoll_event ready;
    VALUE(epoll_wait(poller, &ready, 0, 0));
    VALUE(epoll_wait(poller, &ready, 1, 20));
    VALUE(epoll_wait(1, &ready, 1, 0));
    VALUE(epoll_wait(999, &ready, 1, 0));
}

static void eventfds(void) {
    SECTION("eventfd");
    int fd = MUST(eventfd(3, EFD_NONBLOCK | EFD_CLOEXEC));
    uint64_t value;
    VALUE(read(fd, &value, 8)), printf("%lu\n", value);
    VALUE(read(fd, &value, 8));
    value = 5;
    VALUE(write(fd, &value, 8)), VALUE(write(fd, &value, 8));
    VALUE(read(fd, &value, 8)), printf("%lu\n", value);
    value = UINT64_MAX - 1;
    VALUE(write(fd, &value, 8));
    value = 1;
    VALUE(write(fd, &value, 8));
    value = UINT64_MAX;
    VALUE(write(fd, &value, 8));
    VALUE(read(fd, &value, 4));
    VALUE(write(fd, &value, 7));
    close(fd);
    fd = MUST(eventfd(2, EFD_SEMAPHORE | EFD_NONBLOCK));
    VALUE(read(fd, &value, 8)), printf("%lu\n", value);
    VALUE(read(fd, &value, 8)), printf("%lu\n", value);
    VALUE(read(fd, &value, 8));
    VALUE(eventfd(0, 0x1000));
    fd = MUST(eventfd(0, 0));
    pthread_t thread;
    pthread_create(&thread, NULL, write_later, (void *)(long)fd);
    VALUE(read(fd, &value, 8)), printf("%lx\n", value);
    pthread_join(thread, NULL);
}

static void timerfds(void) {
    SECTION("timerfd");
    int fd = MUST(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    uint64_t ticks = 0;
    struct itimerspec once = {{0, 0}, {0, 300000000}}, now;
    VALUE(read(fd, &ticks, 8));
    TRY(timerfd_settime(fd, 0, &once, NULL));
    TRY(timerfd_gettime(fd, &now));
    TRUE(now.it_value.tv_nsec > 0 && now.it_value.tv_nsec <= 300000000);
    VALUE(read(fd, &ticks, 8));
    struct pollfd set = {fd, POLLIN, 0};
    VALUE(poll(&set, 1, 5000));
    VALUE(read(fd, &ticks, 8)), printf("%lu\n", ticks);
    TRY(timerfd_settime(fd, 0, &(struct itimerspec){{0, 5000000}, {0, 5000000}}, NULL));
    sleep_ms(60);
    VALUE(read(fd, &ticks, 8));
    TRUE(ticks >= 10 && ticks < 1000);
    TRY(timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {0, 0}}, &now));
    TRUE(now.it_interval.tv_nsec == 5000000);
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    TRY(timerfd_settime(fd, TFD_TIMER_ABSTIME, &(struct itimerspec){{0, 0}, {0, 1}}, NULL));
    VALUE(poll(&set, 1, 1000));
    TRY(timerfd_settime(fd, 0, &(struct itimerspec){{0, 0}, {0, 1000000000}}, NULL));
    TRY(timerfd_create(99, 0));
    VALUE(write(fd, &ticks, 8));
    TRY(timerfd_create(CLOCK_REALTIME, 0));
    TRY(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC));
}

static void signalfds(void) {
    SECTION("signalfd");
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1), sigaddset(&set, SIGRTMIN);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = MUST(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
    struct signalfd_siginfo info[4];
    VALUE(read(fd, info, sizeof info));
    kill(getpid(), SIGUSR1);
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 77});
    sigqueue(getpid(), SIGRTMIN, (union sigval){.sival_int = 78});
    struct pollfd poller = {fd, POLLIN, 0};
    VALUE(poll(&poller, 1, 0));
    long size = read(fd, info, sizeof info);
    printf("%ld infos:", size / (long)sizeof *info);
    for (long i = 0; i < size / (long)sizeof *info; i++) printf(" %d/%d/%d", info[i].ssi_signo, info[i].ssi_int, info[i].ssi_pid == (unsigned)getpid());
    printf("\n");
    VALUE(read(fd, info, 10));
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

static void inotifies(void) {
    SECTION("inotify");
    MUST(mkdir("watched", 0700));
    int fd = MUST(inotify_init1(IN_NONBLOCK | IN_CLOEXEC));
    TRUE(inotify_add_watch(fd, "watched", IN_CREATE | IN_DELETE | IN_MODIFY | IN_MOVED_FROM | IN_MOVED_TO | IN_CLOSE_WRITE) == 1);
    TRY(inotify_add_watch(fd, "nothing", IN_CREATE));
    int file = MUST(open("watched/a", O_WRONLY | O_CREAT, 0600));
    MUST(write(file, "x", 1));
    close(file);
    rename("watched/a", "watched/b");
    unlink("watched/b");
    char buffer[4096] __attribute__((aligned(8)));
    ssize_t size = read(fd, buffer, sizeof buffer);
    for (char *at = buffer; at < buffer + size;) {
        struct inotify_event *event = (void *)at;
        printf("mask %x name %s\n", event->mask, event->len ? event->name : "");
        at += sizeof *event + event->len;
    }
    VALUE(read(fd, buffer, sizeof buffer));
    TRY(inotify_rm_watch(fd, 1));
    TRY(inotify_rm_watch(fd, 55));
}

int main(void) {
    pipes();
    polls();
    epolls();
    eventfds();
    timerfds();
    signalfds();
    inotifies();
    return 0;
}
