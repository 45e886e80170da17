/* Locks of all kinds, who holds and who waits for them; owners and signals of descriptors; leases and notes; flags of descriptors. */
#include "check.h"
#include <pthread.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <poll.h>

static struct stat st;
static char text[256];

static struct flock range(int type, off_t start, off_t len) { return (struct flock){.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len}; }

static long lock(int fd, int command, int type, off_t start, off_t len) {
    struct flock l = range(type, start, len);
    return fcntl(fd, command, &l);
}

static void show(int fd, int command, int type, off_t start, off_t len) {
    struct flock l = range(type, start, len);
    if (fcntl(fd, command, &l)) return (void)printf("%s\n", error_name(errno));
    if (l.l_type == F_UNLCK) printf("free\n");
    else printf("%s %ld+%ld pid %s\n", l.l_type == F_RDLCK ? "shared" : "exclusive", (long)l.l_start, (long)l.l_len, l.l_pid == getppid() ? "parent" : l.l_pid == -1 ? "-1" : l.l_pid == getpid() ? "self" : "other");
}

static void *locker(void *arg) {
    int fd = *(int *)arg;
    printf("another thread: %s\n", lock(fd, F_SETLK, F_WRLCK, 0, 10) ? error_name(errno) : "ok");
    return NULL;
}

static void ranges(void) {
    SECTION("ranges of processes");
    int fd = MUST(open("r", O_RDWR | O_CREAT, 0600)), reader = MUST(open("r", O_RDONLY)), writer = MUST(open("r", O_WRONLY)), path = MUST(open("r", O_PATH)), dir = MUST(open(".", O_RDONLY)), pipes[2], sockets[2];
    MUST(pipe(pipes)), MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets)), MUST(ftruncate(fd, 1000));
    VALUE(lock(reader, F_SETLK, F_RDLCK, 0, 5)), VALUE(lock(reader, F_SETLK, F_WRLCK, 0, 5)), VALUE(lock(writer, F_SETLK, F_RDLCK, 0, 5)), VALUE(lock(writer, F_SETLK, F_WRLCK, 0, 5)), VALUE(lock(path, F_SETLK, F_WRLCK, 0, 5)), VALUE(lock(dir, F_SETLK, F_RDLCK, 0, 5)), VALUE(lock(dir, F_SETLK, F_WRLCK, 0, 5)), VALUE(lock(pipes[0], F_SETLK, F_RDLCK, 0, 5)), VALUE(lock(sockets[0], F_SETLK, F_WRLCK, 0, 5)), VALUE(lock(999, F_SETLK, F_RDLCK, 0, 5));
    VALUE(lock(fd, F_SETLK, 7, 0, 5)), VALUE(lock(fd, F_SETLK, F_WRLCK, -1, 5)), VALUE(lock(fd, F_SETLK, F_WRLCK, 5, -5)), VALUE(lock(fd, F_SETLK, F_WRLCK, 4, -5)), VALUE(lock(fd, F_SETLK, F_WRLCK, 0x7fffffffffffffff, 2)), VALUE(lock(fd, F_SETLK, F_WRLCK, 0x7fffffffffffffff, 1)), VALUE(fcntl(fd, F_SETLK, 8)), VALUE(fcntl(fd, F_GETLK, 8)), VALUE(lock(fd, F_GETLK, F_UNLCK, 0, 1)), VALUE(lock(fd, F_GETLK, 9, 0, 1));
    struct flock end = {.l_type = F_WRLCK, .l_whence = SEEK_END, .l_start = -10, .l_len = 5}, odd = {.l_type = F_WRLCK, .l_whence = 9}, at = {.l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = 100, .l_len = -50};
    lseek(fd, 50, SEEK_SET);
    VALUE(fcntl(fd, F_SETLK, &end)), VALUE(fcntl(fd, F_SETLK, &odd)), VALUE(fcntl(fd, F_SETLK, &at)), VALUE(lock(fd, F_SETLK, F_UNLCK, 0, 10)), VALUE(lock(fd, F_SETLK, F_RDLCK, 200, 100)), VALUE(lock(fd, F_SETLK, F_WRLCK, 250, 10)), VALUE(lock(fd, F_SETLK, F_UNLCK, 255, 1));
    IN_CHILD("seen by a child", for (int i = 0; i < 320; i += 50) show(fd, F_GETLK, F_RDLCK, i, 50); show(fd, F_GETLK, F_WRLCK, 200, 10); show(fd, F_GETLK, F_WRLCK, 255, 1); show(fd, F_GETLK, F_WRLCK, 980, 0); VALUE(lock(fd, F_SETLK, F_RDLCK, 200, 10)); VALUE(lock(fd, F_SETLK, F_WRLCK, 200, 10)); VALUE(lock(fd, F_SETLK, F_UNLCK, 0, 0)));
    pthread_t thread;
    pthread_create(&thread, NULL, locker, &fd), pthread_join(thread, NULL);
    VALUE(close(dup(fd)));
    IN_CHILD("closing a duplicate drops all", show(fd, F_GETLK, F_WRLCK, 0, 0));
    VALUE(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    MUST(close(MUST(open("r", O_PATH))));
    IN_CHILD("closing what is only a place drops none", show(fd, F_GETLK, F_WRLCK, 0, 0));
    fflush(stdout);
    int ready[2];
    MUST(pipe(ready));
    if (!fork()) { MUST(write(ready[1], "x", 1)); long r = lock(fd, F_SETLKW, F_WRLCK, 0, 5); printf("waited: %s\n", r ? error_name(errno) : "ok"), fflush(stdout), _exit(0); }
    MUST(read(ready[0], text, 1)), sleep_ms(50), printf("unlocking\n"), fflush(stdout), lock(fd, F_SETLK, F_UNLCK, 0, 0), wait(NULL);
    VALUE(lock(fd, F_SETLK, F_WRLCK, 0, 0));
    IN_CHILD("interrupted", signal(SIGALRM, (void (*)(int))locker); struct sigaction sa = {.sa_handler = (void (*)(int))strlen}; (void)sa; signal(SIGALRM, SIG_DFL); alarm(1); lock(fd, F_SETLKW, F_WRLCK, 0, 5));
    VALUE(lock(fd, F_SETLK, F_UNLCK, 0, 0));
    close(fd), close(reader), close(writer);
}

static void nothing(int number) { (void)number; }

static void deadlocks(void) {
    SECTION("deadlocks");
    int fd = MUST(open("d", O_RDWR | O_CREAT, 0600)), go[2], back[2];
    MUST(pipe(go)), MUST(pipe(back));
    VALUE(lock(fd, F_SETLK, F_WRLCK, 0, 1));
    if (fflush(stdout), !fork()) {
        MUST(lock(fd, F_SETLK, F_WRLCK, 10, 1)), MUST(write(back[1], "x", 1));
        long r = lock(fd, F_SETLKW, F_WRLCK, 0, 1);
        _exit(r ? errno : 0);
    }
    MUST(read(back[0], text, 1)), sleep_ms(100);
    VALUE(lock(fd, F_SETLKW, F_WRLCK, 10, 1));
    VALUE(lock(fd, F_SETLK, F_UNLCK, 0, 1));
    int status;
    wait(&status), printf("the other: %s\n", ending(status));
    VALUE(lock(fd, F_SETLK, F_RDLCK, 0, 1));
    if (fflush(stdout), !fork()) {
        MUST(lock(fd, F_SETLK, F_RDLCK, 0, 1)), MUST(write(back[1], "x", 1));
        long r = lock(fd, F_SETLKW, F_WRLCK, 0, 1);
        _exit(r ? errno : 0);
    }
    MUST(read(back[0], text, 1)), sleep_ms(100);
    VALUE(lock(fd, F_SETLKW, F_WRLCK, 0, 1)), VALUE(lock(fd, F_SETLK, F_UNLCK, 0, 1));
    wait(&status), printf("the other: %s\n", ending(status));
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGALRM, &action, NULL);
    int holder = MUST(open("d", O_RDWR));
    VALUE(lock(holder, F_OFD_SETLK, F_WRLCK, 0, 0)), alarm(1), VALUE(lock(fd, F_SETLKW, F_WRLCK, 0, 1)), VALUE(lock(holder, F_OFD_SETLK, F_UNLCK, 0, 0));
    VALUE(flock(holder, LOCK_EX)), alarm(1), VALUE(flock(fd, LOCK_SH)), VALUE(flock(holder, LOCK_UN));
}

static void descriptions(void) {
    SECTION("ranges of descriptions");
    int a = MUST(open("o", O_RDWR | O_CREAT, 0600)), b = MUST(open("o", O_RDWR)), copy = dup(a);
    VALUE(lock(a, F_OFD_SETLK, F_WRLCK, 0, 10)), VALUE(lock(copy, F_OFD_SETLK, F_WRLCK, 5, 10)), VALUE(lock(b, F_OFD_SETLK, F_RDLCK, 5, 1)), show(b, F_OFD_GETLK, F_RDLCK, 5, 1), show(b, F_GETLK, F_RDLCK, 5, 1), show(a, F_OFD_GETLK, F_WRLCK, 0, 0), VALUE(lock(a, F_SETLK, F_WRLCK, 0, 1));
    struct flock bad = range(F_WRLCK, 0, 1);
    bad.l_pid = 1;
    VALUE(fcntl(a, F_OFD_SETLK, &bad)), VALUE(fcntl(a, F_OFD_GETLK, &bad)), VALUE(close(copy));
    IN_CHILD("inherited", VALUE(lock(a, F_OFD_SETLK, F_WRLCK, 0, 5)); VALUE(lock(b, F_OFD_SETLK, F_WRLCK, 0, 5)); show(b, F_GETLK, F_WRLCK, 0, 5); VALUE(close(a)));
    VALUE(lock(b, F_OFD_SETLK, F_WRLCK, 0, 5)), VALUE(close(a)), VALUE(lock(b, F_OFD_SETLK, F_WRLCK, 0, 5)), close(b);
}

static void wholes(void) {
    SECTION("flock");
    int a = MUST(open("f", O_RDONLY | O_CREAT, 0600)), b = MUST(open("f", O_WRONLY)), path = MUST(open("f", O_PATH)), dir = MUST(open(".", O_RDONLY)), pipes[2], event = eventfd(0, 0), sockets[2];
    MUST(pipe(pipes)), MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    VALUE(flock(a, LOCK_SH)), VALUE(flock(b, LOCK_SH)), VALUE(flock(b, LOCK_EX | LOCK_NB)), VALUE(flock(a, LOCK_UN)), VALUE(flock(b, LOCK_EX | LOCK_NB)), VALUE(flock(a, LOCK_SH | LOCK_NB)), VALUE(lock(a, F_SETLK, F_RDLCK, 0, 1)), VALUE(flock(a, LOCK_UN)), VALUE(flock(b, LOCK_UN)), VALUE(flock(b, LOCK_UN));
    VALUE(flock(path, LOCK_SH)), VALUE(flock(dir, LOCK_EX)), VALUE(flock(pipes[0], LOCK_EX)), VALUE(flock(event, LOCK_SH)), VALUE(flock(sockets[0], LOCK_SH)), VALUE(flock(999, LOCK_SH)), VALUE(flock(a, 0)), VALUE(flock(a, 99)), VALUE(flock(999, 99)), VALUE(flock(a, LOCK_SH | LOCK_EX)), VALUE(flock(a, LOCK_NB)), VALUE(flock(a, LOCK_UN | LOCK_NB)), VALUE(flock(a, 32 | LOCK_SH));
    VALUE(flock(a, LOCK_EX));
    IN_CHILD("child shares it", VALUE(flock(a, LOCK_EX | LOCK_NB)); VALUE(flock(b, LOCK_SH | LOCK_NB)); VALUE(flock(a, LOCK_UN)));
    VALUE(flock(b, LOCK_EX | LOCK_NB));
}

static volatile int got, got_fd, got_code, got_band;

static void on_io(int number, siginfo_t *info, void *context) { (void)context, got = number, got_fd = info->si_fd, got_code = info->si_code, got_band = info->si_band; }

static void owners(void) {
    SECTION("owners, signals");
    int sockets[2], pipes[2], fd = MUST(open("s", O_RDWR | O_CREAT, 0600)), path = MUST(open("s", O_PATH));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets)), MUST(pipe(pipes));
    struct sigaction action = {.sa_sigaction = on_io, .sa_flags = SA_SIGINFO};
    sigaction(SIGIO, &action, NULL), sigaction(SIGUSR1, &action, NULL), sigaction(SIGRTMIN, &action, NULL);
    VALUE(fcntl(fd, F_GETOWN)), VALUE(fcntl(fd, F_SETOWN, getpid())), VALUE(fcntl(fd, F_GETOWN) == getpid()), VALUE(fcntl(fd, F_SETOWN, -getpgrp())), VALUE(fcntl(fd, F_SETOWN, 0)), VALUE(fcntl(fd, F_GETOWN)), VALUE(fcntl(fd, F_SETOWN, 99999999)), VALUE(fcntl(fd, F_SETOWN, -99999999)), VALUE(fcntl(fd, F_SETOWN, 0x80000000)), VALUE(fcntl(path, F_GETOWN)), VALUE(fcntl(999, F_GETOWN));
    struct f_owner_ex ex = {F_OWNER_TID, getpid()};
    VALUE(fcntl(fd, F_SETOWN_EX, &ex)), ex.type = 9, VALUE(fcntl(fd, F_GETOWN_EX, &ex)), printf("%d %d\n", ex.type, ex.pid == getpid()), ex.type = 9, VALUE(fcntl(fd, F_SETOWN_EX, &ex)), ex = (struct f_owner_ex){F_OWNER_PID, 99999999}, VALUE(fcntl(fd, F_SETOWN_EX, &ex)), ex = (struct f_owner_ex){F_OWNER_PGRP, getpgrp()}, VALUE(fcntl(fd, F_SETOWN_EX, &ex)), VALUE(fcntl(fd, F_GETOWN_EX, &ex)), printf("%d %d\n", ex.type, ex.pid == getpgrp()), VALUE(fcntl(fd, F_SETOWN_EX, 8)), VALUE(fcntl(fd, F_GETOWN_EX, 8));
    VALUE(fcntl(fd, F_SETSIG, SIGUSR1)), VALUE(fcntl(fd, F_GETSIG)), VALUE(fcntl(fd, F_SETSIG, 65)), VALUE(fcntl(fd, F_SETSIG, -1)), VALUE(fcntl(fd, F_SETSIG, 0));
    VALUE(fcntl(fd, F_SETFL, O_ASYNC)), VALUE(fcntl(fd, F_GETFL) & O_ASYNC);
    int kinds[] = {sockets[0], pipes[0]}, peers[] = {sockets[1], pipes[1]};
    for (int i = 0; i < 2; i++) {
        fcntl(kinds[i], F_SETOWN, getpid()), VALUE(fcntl(kinds[i], F_SETFL, O_ASYNC)), VALUE(fcntl(kinds[i], F_GETFL) & O_ASYNC);
        got = 0, MUST(write(peers[i], "x", 1)), sleep_ms(20), printf("SIGIO %d code %d\n", got == SIGIO, got_code);
        fcntl(kinds[i], F_SETSIG, SIGRTMIN), got = 0, MUST(write(peers[i], "x", 1)), sleep_ms(20), printf("SIGRTMIN %d fd %d code %d band %d\n", got == SIGRTMIN, got_fd == kinds[i], got_code, got_band & (POLLIN | POLLOUT | POLLERR | POLLHUP));
        fcntl(kinds[i], F_SETSIG, SIGUSR1), got = 0, MUST(write(peers[i], "x", 1)), sleep_ms(20), printf("SIGUSR1 %d fd %d code %d\n", got == SIGUSR1, got_fd == kinds[i], got_code);
        fcntl(kinds[i], F_SETFL, 0), got = 0, MUST(write(peers[i], "x", 1)), sleep_ms(20), printf("off %d\n", got);
        fcntl(kinds[i], F_SETFL, O_ASYNC), got = 0, close(peers[i]), sleep_ms(20), printf("closed %d\n", got);
    }
}

static void rest(void) {
    SECTION("leases, notes, the rest of fcntl");
    int fd = MUST(open("x", O_RDWR | O_CREAT, 0600)), path = MUST(open("x", O_PATH)), pipes[2], dir = MUST(open(".", O_RDONLY));
    MUST(pipe(pipes));
    VALUE(fcntl(fd, F_GETLEASE)), VALUE(fcntl(path, F_GETLEASE)), VALUE(fcntl(fd, 77)), VALUE(fcntl(path, 77)), VALUE(fcntl(999, 77)), VALUE(fcntl(path, F_SETFL, 0)), VALUE(fcntl(path, F_SETFD, FD_CLOEXEC)), VALUE(fcntl(path, F_GETFD)), VALUE(fcntl(path, F_GETLK, &(struct flock){0}));
    VALUE(fcntl(fd, F_GETPIPE_SZ)), VALUE(fcntl(fd, F_SETPIPE_SZ, 4096)), VALUE(fcntl(pipes[0], F_GETPIPE_SZ)), VALUE(fcntl(pipes[0], F_SETPIPE_SZ, 1)), VALUE(fcntl(pipes[1], F_GETPIPE_SZ)), VALUE(fcntl(pipes[1], F_SETPIPE_SZ, 5000)), VALUE(fcntl(pipes[0], F_SETPIPE_SZ, 100000)), VALUE(fcntl(pipes[0], F_SETPIPE_SZ, 1 << 20)), VALUE(fcntl(pipes[0], F_SETPIPE_SZ, 0)), VALUE(fcntl(pipes[0], F_SETPIPE_SZ, -1)), VALUE(fcntl(pipes[0], F_SETPIPE_SZ, 65536));
    memset(text, 'p', sizeof text);
    for (int i = 0; i < 40; i++) MUST(write(pipes[1], text, 256));
    VALUE(fcntl(pipes[0], F_SETPIPE_SZ, 4096)), VALUE(fcntl(pipes[0], F_SETPIPE_SZ, 16384));
    IN_CHILD("more than a stranger may", MUST(setresuid(1234, 1234, 1234)); VALUE(fcntl(pipes[0], F_SETPIPE_SZ, 1 << 21)); VALUE(fcntl(pipes[0], F_SETPIPE_SZ, 1 << 20)));
    VALUE(fcntl(fd, F_GET_SEALS)), VALUE(fcntl(fd, F_ADD_SEALS, 1)), VALUE(fcntl(pipes[0], F_GET_SEALS)), VALUE(fcntl(fd, F_DUPFD, -1)), VALUE(fcntl(fd, F_DUPFD, 1 << 30)), VALUE(fcntl(path, F_DUPFD, 900)), VALUE(fcntl(path, F_DUPFD_CLOEXEC, 901)), VALUE(fcntl(901, F_GETFD));
    VALUE(fcntl(fd, F_SETFL, O_RDONLY | O_CREAT | O_TRUNC | O_NONBLOCK)), VALUE((fcntl(fd, F_GETFL) & ~O_LARGEFILE)), VALUE(fcntl(path, F_GETFL) & O_PATH), VALUE(fcntl(dir, F_GETFL) & O_DIRECTORY), VALUE(fcntl(dir, F_SETFL, O_DIRECT) == 0 || errno == EINVAL);
    IN_CHILD("at the limit", setrlimit(RLIMIT_NOFILE, &(struct rlimit){60, 60}); VALUE(fcntl(fd, F_DUPFD, 60)); VALUE(fcntl(fd, F_DUPFD, 59)); VALUE(fcntl(fd, F_DUPFD, 59)); VALUE(dup2(fd, 60)); VALUE(dup2(fd, 59)); VALUE(dup3(fd, 60, 0)); while (dup(fd) >= 0) {} VALUE(dup(fd)); VALUE(open("x", O_RDONLY)); VALUE(pipe(pipes)); VALUE(eventfd(0, 0)); VALUE(socket(AF_UNIX, SOCK_STREAM, 0)); VALUE(close(59)); VALUE(pipe(pipes)); VALUE(socketpair(AF_UNIX, SOCK_STREAM, 0, pipes)); VALUE(open("new", O_CREAT | O_RDWR, 0600)); VALUE(stat("new", &st)));
    VALUE(syscall(SYS_close_range, 10, 5, 0)), VALUE(syscall(SYS_close_range, 500, 600, 8)), VALUE(syscall(SYS_close_range, 500, -1, 4)), VALUE(fcntl(900, F_GETFD)), VALUE(syscall(SYS_close_range, 500, ~0U, 2)), VALUE(fcntl(900, F_GETFD)), VALUE(dup3(fd, fd, 0)), VALUE(dup3(fd, 70, O_NONBLOCK)), VALUE(dup3(999, 999, 0)), VALUE(dup2(999, 999));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    ranges(), deadlocks(), descriptions(), wholes(), owners(), rest();
    return 0;
}
