/* Errors and limits of epoll, eventfd, timerfd, signalfd, select, and of reading directories. */
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
#include <sys/socket.h>
#include <sys/resource.h>
#include <dirent.h>

static int ctl(int e, int op, int fd, unsigned ev) {
    struct epoll_event x={ev, {.fd=fd}};
    return epoll_ctl(e, op, fd, &x);
}

static void nesting(void) {
    SECTION("nesting");
    int e[8];
    for (int i=0;i<8;i++) e[i]=MUST(epoll_create1(0));
    for (int i=0;i<7;i++) {
        char l[32];
        sprintf(l, "chain %d", i);
        report(l, ctl(e[i], EPOLL_CTL_ADD, e[i+1], EPOLLIN));
    }
    report("loop", ctl(e[3], EPOLL_CTL_ADD, e[0], EPOLLIN));
    report("self", ctl(e[0], EPOLL_CTL_ADD, e[0], EPOLLIN));
    for (int i=0;i<8;i++) close(e[i]);
    for (int i=0;i<8;i++) e[i]=MUST(epoll_create1(0));
    for (int i=6;i>=0;i--) {
        char l[32];
        sprintf(l, "rchain %d", i);
        report(l, ctl(e[i], EPOLL_CTL_ADD, e[i+1], EPOLLIN));
    }
    for (int i=0;i<8;i++) close(e[i]);
    int p[2];
    MUST(pipe(p));
    for (int i=0;i<8;i++) e[i]=MUST(epoll_create1(0));
    report("pipe in e0", ctl(e[0], EPOLL_CTL_ADD, p[0], EPOLLIN));
    for (int i=0;i<7;i++) {
        char l[32];
        sprintf(l, "wrap %d", i);
        report(l, ctl(e[i+1], EPOLL_CTL_ADD, e[i], EPOLLIN));
    }
    struct epoll_event out[4];
    MUST(write(p[1], "x", 1));
    for (int i=0;i<6;i++) {
        char l[32];
        sprintf(l, "wait %d", i);
        report_value(l, epoll_wait(e[i], out, 4, 0));
    }
    for (int i=0;i<6;i++) {
        struct pollfd pf={e[i], POLLIN, 0};
        char l[32];
        sprintf(l, "poll %d", i);
        report_value(l, poll(&pf, 1, 0));
    }
    char b;
    read(p[0], &b, 1);
    for (int i=0;i<6;i++) {
        struct pollfd pf={e[i], POLLIN, 0};
        char l[32];
        sprintf(l, "poll empty %d", i);
        report_value(l, poll(&pf, 1, 0));
    }
    report("two loop a", (close(e[6]), close(e[7]), e[6]=epoll_create1(0), e[7]=epoll_create1(0), ctl(e[6], EPOLL_CTL_ADD, e[7], EPOLLIN)));
    report("two loop b", ctl(e[7], EPOLL_CTL_ADD, e[6], EPOLLIN));
    report("exclusive epoll", ctl(e[0], EPOLL_CTL_ADD, e[7], EPOLLIN|EPOLLEXCLUSIVE));
    report("exclusive pipe", ctl(e[7], EPOLL_CTL_ADD, p[1], EPOLLIN|EPOLLEXCLUSIVE));
    report("exclusive mod", ctl(e[7], EPOLL_CTL_MOD, p[1], EPOLLIN|EPOLLEXCLUSIVE));
    report("exclusive mod plain", ctl(e[7], EPOLL_CTL_MOD, p[1], EPOLLIN));
    report("exclusive oneshot", ctl(e[7], EPOLL_CTL_ADD, p[0], EPOLLIN|EPOLLEXCLUSIVE|EPOLLONESHOT));
    report("exclusive et", ctl(e[7], EPOLL_CTL_ADD, p[0], EPOLLIN|EPOLLEXCLUSIVE|EPOLLET));
    report("mod absent", ctl(e[5], EPOLL_CTL_MOD, p[0], EPOLLIN));
    report("del absent", ctl(e[5], EPOLL_CTL_DEL, p[0], EPOLLIN));
    report("add twice", (ctl(e[5], EPOLL_CTL_ADD, p[0], EPOLLIN), ctl(e[5], EPOLL_CTL_ADD, p[0], EPOLLIN)));
    report("bad op", ctl(e[5], 9, p[0], EPOLLIN));
    report("null event", epoll_ctl(e[5], EPOLL_CTL_MOD, p[0], NULL));
    report("null event del", epoll_ctl(e[5], EPOLL_CTL_DEL, p[0], NULL));
    report("bad ptr", epoll_ctl(e[5], EPOLL_CTL_ADD, p[0], (void*)8));
    report("file", ctl(e[5], EPOLL_CTL_ADD, MUST(open("f", O_CREAT|O_RDWR, 0600)), EPOLLIN));
    report("dir", ctl(e[5], EPOLL_CTL_ADD, MUST(open(".", O_RDONLY)), EPOLLIN));
    report("devnull", ctl(e[5], EPOLL_CTL_ADD, MUST(open("/dev/null", O_RDONLY)), EPOLLIN));
    report("opath", ctl(e[5], EPOLL_CTL_ADD, MUST(open("/dev/null", O_PATH)), EPOLLIN));
    report("not epoll", ctl(p[0], EPOLL_CTL_ADD, p[1], EPOLLIN));
    report("bad fd", ctl(e[5], EPOLL_CTL_ADD, 777, EPOLLIN));
    report("bad epfd", ctl(777, EPOLL_CTL_ADD, p[0], EPOLLIN));
    VALUE(epoll_wait(p[0], out, 1, 0));
    VALUE(epoll_wait(777, out, 1, 0));
    VALUE(epoll_wait(e[0], out, 0, 0));
    VALUE(epoll_wait(e[0], out, -1, 0));
    VALUE(epoll_wait(e[0], out, 0x7fffffff, 0));
    VALUE(epoll_wait(e[0], (void*)8, 1, 0));
    MUST(write(p[1], "x", 1));
    VALUE(epoll_wait(e[0], (void*)8, 1, 0));
    VALUE(epoll_create(0));
    VALUE(epoll_create(-1));
    VALUE(epoll_create1(1));
    VALUE(syscall(SYS_epoll_pwait, e[0], out, 4, 0, &b, 3));
    struct timespec ts={0, 1000000000};
    VALUE(syscall(SYS_epoll_pwait2, e[0], out, 4, &ts, NULL, 8));
    ts.tv_nsec=-1;
    VALUE(syscall(SYS_epoll_pwait2, e[0], out, 4, &ts, NULL, 8));
    VALUE(syscall(SYS_epoll_pwait2, e[0], out, 4, (void*)8, NULL, 8));
    VALUE(read(e[0], &b, 1));
    VALUE(write(e[0], &b, 1));
    VALUE(lseek(e[0], 0, SEEK_SET));
    VALUE(ftruncate(e[0], 3));
}

static void closeall(int f) {
    for (int i=f;i<2100;i++)close(i);
}

static void evfd(void) {
    SECTION("eventfd");
    int e=MUST(eventfd(5, EFD_NONBLOCK));
    uint64_t v;
    VALUE(eventfd(0, 1234));
    VALUE(read(e, &v, 7));
    VALUE(read(e, &v, 9));
    VALUE(read(e, &v, 8));
    v=~0ull;
    VALUE(write(e, &v, 8));
    v=~0ull-1;
    VALUE(write(e, &v, 8));
    v=1;
    VALUE(write(e, &v, 8));
    VALUE(write(e, &v, 4));
    v=0;
    VALUE(write(e, &v, 8));
    struct pollfd p={e, POLLIN|POLLOUT, 0};
    poll(&p, 1, 0);
    printf("%x\n", p.revents);
    VALUE(read(e, (void*)8, 8));
    VALUE(read(e, &v, 8));
    VALUE(pread(e, &v, 8, 0));
    VALUE(pwrite(e, &v, 8, 0));
    VALUE(lseek(e, 0, SEEK_SET));
    VALUE(lseek(e, 7, SEEK_CUR));
    VALUE(fsync(e));
    VALUE(ftruncate(e, 0));
    VALUE(fallocate(e, 0, 0, 10));
    struct stat st;
    fstat(e, &st);
    printf("%o %ld\n", st.st_mode, (long)st.st_size);
    VALUE(ioctl(e, FIONREAD, &v));
    VALUE(fchmod(e, 0777));
    fstat(e, &st);
    printf("%o\n", st.st_mode);
    VALUE(fchown(e, 1, 1));
    int s=MUST(eventfd(3, EFD_SEMAPHORE));
    VALUE(read(s, &v, 8));
    printf("%ld\n", (long)v);
    char buf[256];
    sprintf(buf, "/proc/self/fdinfo/%d", s);
    FILE*f=fopen(buf, "r");
    while (fgets(buf, 256, f)) if(!strstr(buf, "mnt_id")&&!strstr(buf, "ino:")&&!strstr(buf, "eventfd-id")) fputs(buf, stdout);
    sprintf(buf, "/proc/self/fd/%d", s);
    char l[100]={0};
    readlink(buf, l, 99);
    puts(l);
    VALUE(open(buf, O_RDWR));
}

static void tfd(void) {
    SECTION("timerfd");
    struct itimerspec it={{0, 0}, {0, 1000000}}, old;
    uint64_t v;
    for (int c=-1;c<13;c++) {
        char l[20];
        sprintf(l, "clock %d", c);
        int f=timerfd_create(c, 0);
        report(l, f);
        if (f>=0)close(f);
    }
    VALUE(timerfd_create(1, 3));
    int t=MUST(timerfd_create(CLOCK_REALTIME, TFD_NONBLOCK));
    VALUE(read(t, &v, 8));
    VALUE(read(t, &v, 4));
    VALUE(timerfd_settime(t, 8, &it, 0));
    VALUE(timerfd_settime(t, 2, &it, 0));
    VALUE(timerfd_settime(t, 0, &it, &old));
    sleep_ms(10);
    VALUE(read(t, &v, 8));
    VALUE(write(t, &v, 8));
    it.it_value.tv_nsec=1000000000;
    VALUE(timerfd_settime(t, 0, &it, 0));
    it.it_value.tv_nsec=-1;
    VALUE(timerfd_settime(t, 0, &it, 0));
    VALUE(timerfd_settime(t, 0, 0, 0));
    VALUE(timerfd_settime(0, 0, &old, 0));
    VALUE(timerfd_settime(888, 0, &old, 0));
    VALUE(timerfd_gettime(t, 0));
    VALUE(timerfd_gettime(1, &old));
    VALUE(timerfd_gettime(t, &old));
    it.it_value.tv_sec=-1;
    it.it_value.tv_nsec=0;
    VALUE(timerfd_settime(t, 0, &it, 0));
    it.it_value.tv_sec=1;
    it.it_value.tv_nsec=0;
    it.it_interval.tv_sec=1000;
    VALUE(timerfd_settime(t, TFD_TIMER_ABSTIME, &it, 0));
    VALUE(read(t, &v, 8));
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    it.it_value=now;
    it.it_value.tv_sec+=1000;
    it.it_interval.tv_sec=0;
    VALUE(timerfd_settime(t, TFD_TIMER_ABSTIME|TFD_TIMER_CANCEL_ON_SET, &it, 0));
    VALUE(clock_settime(CLOCK_REALTIME, &now));
    VALUE(read(t, &v, 8));
    VALUE(read(t, &v, 8));
    VALUE(timerfd_settime(t, TFD_TIMER_ABSTIME|TFD_TIMER_CANCEL_ON_SET, &it, 0));
    VALUE(clock_settime(CLOCK_REALTIME, &now));
    struct pollfd p={t, POLLIN, 0};
    VALUE(poll(&p, 1, 0));
    VALUE(timerfd_settime(t, TFD_TIMER_ABSTIME|TFD_TIMER_CANCEL_ON_SET, &it, 0));
    VALUE(poll(&p, 1, 0));
    char buf[256];
    sprintf(buf, "/proc/self/fdinfo/%d", t);
    FILE*f=fopen(buf, "r");
    while (fgets(buf, 256, f)) if(!strstr(buf, "mnt_id")&&!strstr(buf, "ino:")&&!strstr(buf, "it_value")) fputs(buf, stdout);
    int a=timerfd_create(CLOCK_BOOTTIME_ALARM, 0);
    it=(struct itimerspec) {
        {
            0
        }
        , {
            0, 1000000
        }
    }
    ;
    VALUE(timerfd_settime(a, 0, &it, 0));
    VALUE(read(a, &v, 8));
    IN_CHILD("no caps", setuid(1000);
        VALUE(timerfd_create(CLOCK_BOOTTIME_ALARM, 0));
        VALUE(timerfd_create(CLOCK_REALTIME, 0)));
}

static void sfd(void) {
    SECTION("signalfd");
    sigset_t m;
    sigemptyset(&m);
    sigaddset(&m, SIGUSR1);
    sigaddset(&m, SIGKILL);
    sigaddset(&m, SIGRTMIN+1);
    sigprocmask(SIG_BLOCK, &m, 0);
    VALUE(signalfd(-1, &m, 3));
    VALUE(signalfd(1, &m, 0));
    VALUE(signalfd(888, &m, 0));
    VALUE(syscall(SYS_signalfd4, -1, &m, 4, 0));
    VALUE(syscall(SYS_signalfd4, -1, (void*)8, 8, 0));
    int s=MUST(signalfd(-1, &m, SFD_NONBLOCK));
    struct signalfd_siginfo i[3];
    VALUE(read(s, i, sizeof i));
    VALUE(read(s, i, 127));
    union sigval sv={.sival_int=77};
    sigqueue(getpid(), SIGRTMIN+1, sv);
    kill(getpid(), SIGUSR1);
    raise(SIGRTMIN+1);
    VALUE(read(s, i, sizeof i));
    for (int k=0;k<3;k++) printf("%d %d %d %d %d\n", i[k].ssi_signo, i[k].ssi_code, i[k].ssi_int, i[k].ssi_pid==getpid(), i[k].ssi_uid);
    VALUE(write(s, i, 128));
    VALUE(signalfd(s, &m, 0));
    char buf[256];
    sprintf(buf, "/proc/self/fdinfo/%d", s);
    FILE*f=fopen(buf, "r");
    while (fgets(buf, 256, f)) if(!strstr(buf, "mnt_id")&&!strstr(buf, "ino:")&&!strstr(buf, "eventfd-id")) fputs(buf, stdout);
    VALUE(fcntl(s, F_GETFL));
}

static void selects(void) {
    SECTION("select");
    fd_set r;
    FD_ZERO(&r);
    FD_SET(500, &r);
    struct timeval tv={0, 0};
    VALUE(select(501, &r, 0, 0, &tv));
    VALUE(select(1, (void*)8, 0, 0, &tv));
    tv.tv_usec=-1;
    VALUE(select(0, 0, 0, 0, &tv));
    tv.tv_usec=1000000;
    VALUE(select(0, 0, 0, 0, &tv));
    tv.tv_sec=-1;
    tv.tv_usec=0;
    VALUE(select(0, 0, 0, 0, &tv));
    struct timespec ts={0, 1000000000};
    VALUE(pselect(0, 0, 0, 0, &ts, 0));
    ts.tv_nsec=0;
    VALUE(ppoll(0, 0, &ts, 0));
    ts.tv_sec=-1;
    VALUE(ppoll(0, 0, &ts, 0));
    VALUE(ppoll((void*)8, 1, 0, 0));
    ts.tv_sec=0;
    VALUE(syscall(SYS_ppoll, 0, 0, &ts, &r, 3));
    struct rlimit rl;
    getrlimit(RLIMIT_NOFILE, &rl);
    VALUE(poll((void*)&rl, rl.rlim_cur+1, 0));
    VALUE(poll(0, 1, 0));
    FD_ZERO(&r);
    FD_SET(100, &r);
    tv=(struct timeval) {
        0, 0
    }
    ;
}
struct ld64{uint64_t ino;int64_t off;unsigned short len;unsigned char type;char name[];};

static void dents(void) {
    SECTION("getdents");
    mkdir("d", 0755);
    close(open("d/a", O_CREAT, 0600));
    symlink("x", "d/b");
    mkfifo("d/c", 0600);
    int d=open("d", O_RDONLY);
    char buf[1024];
    VALUE(syscall(SYS_getdents64, d, buf, 1));
    VALUE(syscall(SYS_getdents64, d, buf, 23));
    VALUE(syscall(SYS_getdents64, d, buf, 24));
    VALUE(syscall(SYS_getdents64, d, (void*)8, 1024));
    VALUE(syscall(SYS_getdents, d, buf, 1));
    VALUE(syscall(SYS_getdents, d, (void*)8, 1024));
    VALUE(syscall(SYS_getdents64, 999, buf, 1024));
    VALUE(syscall(SYS_getdents64, open("f", O_RDONLY|O_CREAT, 0600), buf, 1024));
    VALUE(syscall(SYS_getdents64, open("d", O_PATH), buf, 1024));
    lseek(d, 0, SEEK_SET);
    long n=syscall(SYS_getdents64, d, buf, 1024);
    int cnt=0;
    for (long o=0;o<n;) {
        struct ld64*x=(void*)(buf+o);
        cnt++;
        o+=x->len;
    }
    printf("%d %ld\n", cnt, n);
    VALUE(syscall(SYS_getdents64, d, buf, 1024));
    rmdir("d2");
    mkdir("d2", 0700);
    int g=open("d2", O_RDONLY);
    rmdir("d2");
    VALUE(syscall(SYS_getdents64, g, buf, 1024));
    VALUE(syscall(SYS_getdents, g, buf, 1024));
    VALUE(openat(g, "x", O_CREAT|O_RDWR, 0600));
    VALUE(mkdirat(g, "x", 0600));
    VALUE(fchdir(g));
    struct stat st;
    fstat(g, &st);
    printf("%d\n", (int)st.st_nlink);
    char cwd[100];
    VALUE(syscall(SYS_getcwd, cwd, 100));
    VALUE(chdir(".."));
}

int main() {
    setvbuf(stdout, 0, _IOLBF, 0);
    nesting();
    closeall(3);
    evfd();
    tfd();
    sfd();
    selects();
    dents();
}
