/* POSIX message queues: order, waiting, notification, limits, and the same as files. */
#include "check.h"
#include <mqueue.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/mount.h>
#include <sys/time.h>

#define NAME "/osv-test-queue"

static void attributes(mqd_t queue) {
    struct mq_attr attr;
    MUST(mq_getattr(queue, &attr));
    printf("flags %lx maxmsg %ld msgsize %ld curmsgs %ld\n", attr.mq_flags, attr.mq_maxmsg, attr.mq_msgsize, attr.mq_curmsgs);
}

static void receive(mqd_t queue) {
    char text[8192];
    unsigned priority = 99;
    long length = mq_receive(queue, text, sizeof text, &priority);
    if (length < 0) puts(error_name(errno));
    else printf("%u '%.*s'\n", priority, (int)length, text);
}

static mqd_t queue;
static volatile int signals, last_code, last_value, last_pid;

static void on_signal(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    signals++;
    last_code = info->si_code, last_value = info->si_value.sival_int, last_pid = info->si_pid;
}

static void opening(void) {
    SECTION("opening");
    mq_unlink(NAME);
    TRY(mq_unlink(NAME));
    TRY(mq_open(NAME, O_RDWR));
    TRY(mq_open("/a/b", O_RDWR | O_CREAT, 0600, NULL));
    TRY(mq_open("/", O_RDWR | O_CREAT, 0600, NULL));
    TRY(syscall(SYS_mq_open, "", O_RDWR | O_CREAT, 0600, NULL));
    TRY(syscall(SYS_mq_open, "..", O_RDWR | O_CREAT, 0600, NULL));
    TRY(syscall(SYS_mq_open, (void *)1, O_RDWR | O_CREAT, 0600, NULL));
    char name[300];
    memset(name, 'x', sizeof name), name[0] = '/', name[257] = 0;
    TRY(mq_open(name, O_RDWR | O_CREAT, 0600, NULL));
    struct mq_attr bad[] = {{.mq_maxmsg = 0, .mq_msgsize = 1}, {.mq_maxmsg = 1, .mq_msgsize = 0}, {.mq_maxmsg = -1, .mq_msgsize = 1},
                            {.mq_maxmsg = 1, .mq_msgsize = 1L << 40}};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) TRY(mq_open(NAME, O_RDWR | O_CREAT, 0600, &bad[i]));
    struct mq_attr attr = {.mq_maxmsg = 4, .mq_msgsize = 16};
    umask(022);
    queue = MUST(mq_open(NAME, O_RDWR | O_CREAT | O_EXCL, 0666, &attr));
    TRY(mq_open(NAME, O_RDWR | O_CREAT | O_EXCL, 0600, &attr));
    attributes(queue);
    struct stat st;
    MUST(fstat(queue, &st));
    printf("mode %o size %ld nlink %ld\n", st.st_mode, (long)st.st_size, (long)st.st_nlink);
    mqd_t other = MUST(mq_open(NAME, O_RDONLY | O_CREAT, 0, &bad[0]));
    TRY(mq_send(other, "x", 1, 0));
    attributes(other);
    mq_close(other);
    other = MUST(mq_open(NAME, O_WRONLY));
    receive(other);
    mq_close(other);
    TRY(mq_close(other));
    TRY(mq_send(1, "x", 1, 0));
    IN_CHILD("nobody", MUST(setuid(65534)); TRY(mq_open(NAME, O_RDWR)); TRY(mq_open(NAME, O_RDONLY)); TRY(mq_unlink(NAME));
             struct mq_attr large = {.mq_maxmsg = 11, .mq_msgsize = 1}; TRY(mq_open("/nobodys", O_RDWR | O_CREAT, 0600, &large));
             large.mq_maxmsg = 1, large.mq_msgsize = 8193; TRY(mq_open("/nobodys", O_RDWR | O_CREAT, 0600, &large));
             struct rlimit limit = {20000, 20000}; setrlimit(RLIMIT_MSGQUEUE, &limit); large.mq_maxmsg = 2, large.mq_msgsize = 8192;
             TRY(mq_open("/nobodys", O_RDWR | O_CREAT, 0600, &large)); TRY(mq_open("/nobodys2", O_RDWR | O_CREAT, 0600, &large));
             TRY(mq_unlink("/nobodys")));
}

static void messages(void) {
    SECTION("messages");
    TRY(mq_send(queue, "12345678901234567", 17, 0));
    TRY(mq_send(queue, "x", 1, 32768));
    TRY(syscall(SYS_mq_timedsend, queue, (void *)1, 1, 0, NULL));
    char small[16];
    TRY(mq_receive(queue, small, 15, NULL));
    TRY(mq_send(queue, "low", 3, 1));
    TRY(mq_send(queue, "high", 4, 32767));
    TRY(mq_send(queue, "low two", 7, 1));
    TRY(mq_send(queue, "", 0, 5));
    attributes(queue);
    struct timespec past = {1, 0}, bad = {0, 1000000000}, soon;
    TRY(mq_timedsend(queue, "x", 1, 0, &past));
    TRY(mq_timedsend(queue, "x", 1, 0, &bad));
    clock_gettime(CLOCK_REALTIME, &soon);
    soon.tv_nsec += 30000000;
    if (soon.tv_nsec >= 1000000000) soon.tv_nsec -= 1000000000, soon.tv_sec++;
    long long start = now_ns();
    TRY(mq_timedsend(queue, "x", 1, 0, &soon));
    TRUE(now_ns() - start >= 20000000);
    struct pollfd ready = {queue, POLLIN | POLLOUT, 0};
    poll(&ready, 1, 0), printf("poll %x\n", ready.revents);
    for (int i = 0; i < 3; i++) receive(queue);
    poll(&ready, 1, 0), printf("poll %x\n", ready.revents);
    receive(queue);
    poll(&ready, 1, 0), printf("poll %x\n", ready.revents);
    TRY(mq_timedreceive(queue, small, 16, NULL, &past));
    struct mq_attr attr = {.mq_flags = O_NONBLOCK, .mq_maxmsg = 77}, old;
    TRY(mq_setattr(queue, &attr, &old));
    attributes(queue);
    printf("%x\n", fcntl(queue, F_GETFL) & (O_NONBLOCK | O_ACCMODE));
    receive(queue);
    for (int i = 0; i < 5; i++) TRY(mq_send(queue, "full", 4, 0));
    for (int i = 0; i < 4; i++) receive(queue);
    attr.mq_flags = O_APPEND;
    TRY(mq_setattr(queue, &attr, &old));
    attr.mq_flags = 0;
    TRY(mq_setattr(queue, &attr, &old));
    printf("%lx\n", old.mq_flags);
}

static void notification(void) {
    SECTION("notification");
    struct sigaction action = {.sa_sigaction = on_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
    sigaction(SIGUSR1, &action, NULL);
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1, .sigev_value.sival_int = 42};
    struct sigevent none = {.sigev_notify = SIGEV_NONE}, bad = {.sigev_notify = 99}, bad_signal = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = 65};
    TRY(mq_notify(queue, &bad));
    TRY(mq_notify(queue, &bad_signal));
    bad_signal.sigev_signo = 0;
    TRY(mq_notify(queue, &bad_signal));
    TRY(mq_notify(queue, NULL));
    TRY(mq_notify(1, &event));
    TRY(mq_notify(queue, &event));
    TRY(mq_notify(queue, &event));
    IN_CHILD("another process", TRY(mq_notify(queue, &none)); TRY(mq_notify(queue, NULL)));
    TRY(mq_send(queue, "one", 3, 0));
    printf("signals %d code %d value %d own %d\n", signals, last_code, last_value, last_pid == getpid());
    TRY(mq_notify(queue, &event));
    TRY(mq_send(queue, "two", 3, 0));
    printf("signals %d\n", signals);
    receive(queue), receive(queue);
    char text[100] = "";
    int count = pread(queue, text, sizeof text, 0);
    TRUE(count > 0 && strstr(text, "QSIZE:0 ") && strstr(text, "SIGNO:10 "));
    IN_CHILD("a child sends", TRY(mq_send(queue, "three", 5, 0)));
    printf("signals %d own %d\n", signals, last_pid == getpid());
    receive(queue);
    TRY(mq_notify(queue, &none));
    TRY(mq_notify(queue, NULL));
    TRY(mq_notify(queue, NULL));
    IN_CHILD("a process that ends", mqd_t own = mq_open(NAME, O_RDWR); TRY(mq_notify(own, &none)));
    TRY(mq_notify(queue, &none));
    TRY(mq_notify(queue, NULL));
    pid_t child = fork();
    if (!child) {
        char buffer[16];
        _exit(mq_receive(queue, buffer, 16, NULL) == 4 ? 0 : 1);
    }
    TRY(mq_notify(queue, &event));
    sleep_ms(50);
    signals = 0;
    TRY(mq_send(queue, "wait", 4, 0));
    int status;
    waitpid(child, &status, 0);
    printf("%s, signals %d\n", ending(status), signals);
    TRY(mq_notify(queue, NULL));
}

static void *send_many(void *argument) {
    char text[16];
    for (int i = 0; i < 500; i++) {
        snprintf(text, sizeof text, "%d", i);
        if (mq_send(queue, text, strlen(text), (long)argument)) return (void *)1;
    }
    return NULL;
}

static sem_t told;

static void on_message(union sigval value) {
    printf("told by a thread: %d\n", value.sival_int);
    sem_post(&told);
}

/* libc's thread is told through a netlink socket. */
static void by_a_thread(void) {
    SECTION("notification by a thread");
    MUST(sem_init(&told, 0, 0));
    struct sigevent event = {.sigev_notify = SIGEV_THREAD, .sigev_notify_function = on_message};
    for (int i = 0; i < 3; i++) {
        event.sigev_value.sival_int = i;
        TRY(mq_notify(queue, &event));
        TRY(mq_notify(queue, &event));
        MUST(mq_send(queue, "x", 1, 0));
        MUST(sem_wait(&told));
        receive(queue);
    }
    TRY(mq_notify(queue, &event));
    TRY(mq_notify(queue, NULL));
    char cookie[32] = "a cookie";
    int socket_fd = MUST(socket(AF_NETLINK, SOCK_RAW, 0)), local = MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    event.sigev_value.sival_ptr = cookie;
    event.sigev_signo = local;
    TRY(syscall(SYS_mq_notify, queue, &event));
    event.sigev_signo = 0;
    TRY(syscall(SYS_mq_notify, queue, &event));
    event.sigev_signo = 999;
    TRY(syscall(SYS_mq_notify, queue, &event));
    event.sigev_signo = socket_fd;
    TRY(syscall(SYS_mq_notify, queue, &event));
    char status[100] = "";
    MUST(pread(queue, status, sizeof status - 1, 0));
    *strstr(status, "NOTIFY_PID") = 0;
    puts(status);
    struct pollfd wanted = {.fd = socket_fd, .events = POLLIN};
    VALUE(poll(&wanted, 1, 0));
    MUST(mq_send(queue, "x", 1, 0));
    VALUE(poll(&wanted, 1, 0));
    VALUE(recv(socket_fd, cookie, sizeof cookie, 0));
    printf("%s, %d\n", cookie, cookie[31]);
    receive(queue);
    TRY(syscall(SYS_mq_notify, queue, &event));
    TRY(mq_notify(queue, NULL));
    VALUE(recv(socket_fd, cookie, sizeof cookie, 0));
    printf("%s, %d\n", cookie, cookie[31]);
    event.sigev_value.sival_ptr = (void *)8;
    TRY(syscall(SYS_mq_notify, queue, &event));
    close(socket_fd), close(local);
}

static void traffic(void) {
    SECTION("traffic");
    fflush(stdout);
    pid_t children[2];
    for (int i = 0; i < 2; i++) {
        children[i] = fork();
        if (children[i]) continue;
        char text[16];
        long sum = 0;
        for (int j = 0; j < 1000; j++) {
            long length = mq_receive(queue, text, 16, NULL);
            if (length < 0) _exit(99);
            text[length] = 0, sum += atoi(text);
        }
        _exit(sum % 50);
    }
    pthread_t threads[4];
    for (long i = 0; i < 4; i++) pthread_create(&threads[i], NULL, send_many, (void *)i);
    void *result;
    for (int i = 0; i < 4; i++) pthread_join(threads[i], &result), printf("%p ", result);
    int total = 0, status;
    for (int i = 0; i < 2; i++) waitpid(children[i], &status, 0), total += WEXITSTATUS(status);
    printf("\n%d\n", total % 50);
    attributes(queue);
}

static void nothing(int signal) { (void)signal; }

static void ending_it(void) {
    SECTION("interruption and removal");
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGALRM, &action, NULL);
    struct itimerval timer = {{0, 0}, {0, 30000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    receive(queue);
    TRY(mq_unlink(NAME));
    TRY(mq_open(NAME, O_RDWR));
    TRY(mq_send(queue, "still", 5, 0));
    receive(queue);
    struct stat st;
    MUST(fstat(queue, &st));
    printf("nlink %ld\n", (long)st.st_nlink);
    TRY(mq_close(queue));
}

static void as_files(void) {
    SECTION("as files");
    char directory[] = "/tmp/mqueue-XXXXXX", path[64];
    MUST((long)(mkdtemp(directory) ? 0 : -1));
    TRY(mount("none", directory, "mqueue", 0, NULL));
    snprintf(path, sizeof path, "%s%s", directory, NAME);
    int fd = MUST(open(path, O_RDWR | O_CREAT, 0600));
    attributes(fd);
    TRY(mq_send(fd, "by file", 7, 3));
    char text[100] = "";
    TRUE(read(fd, text, sizeof text) > 0 && !strncmp(text, "QSIZE:7 ", 8));
    TRY(write(fd, "x", 1));
    queue = MUST(mq_open(NAME, O_RDONLY));
    receive(queue);
    TRY(mkdir(strcat(path, "-directory"), 0700));
    snprintf(path, sizeof path, "%s%s", directory, NAME);
    TRY(unlink(path));
    TRY(mq_open(NAME, O_RDONLY));
    close(fd), mq_close(queue);
    TRY(umount(directory));
    rmdir(directory);
}

int main(void) {
    setbuf(stdout, NULL);
    opening();
    messages();
    notification();
    by_a_thread();
    traffic();
    ending_it();
    as_files();
    return 0;
}
