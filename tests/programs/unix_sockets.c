/* AF_UNIX: names, states, messages, descriptors and credentials in them, options, ends; other families are refused. */
#include "check.h"
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <linux/sockios.h>

static struct stat st;
static char text[1 << 18];

static socklen_t name(struct sockaddr_un *address, const char *path) {
    memset(address, 0, sizeof *address), address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, strlen(path + 1) + 1);
    return offsetof(struct sockaddr_un, sun_path) + (path[0] ? strlen(path) + 1 : strlen(path + 1) + 1);
}

static long bind_to(int fd, const char *path) { struct sockaddr_un a; socklen_t l = name(&a, path); return bind(fd, (void *)&a, l); }
static long connect_to(int fd, const char *path) { struct sockaddr_un a; socklen_t l = name(&a, path); return connect(fd, (void *)&a, l); }
static long send_to(int fd, const char *path, const char *what) { struct sockaddr_un a; socklen_t l = name(&a, path); return sendto(fd, what, strlen(what), MSG_DONTWAIT, (void *)&a, l); }

static void show_name(const char *label, int fd, int (*get)(int, struct sockaddr *, socklen_t *)) {
    struct sockaddr_un a;
    socklen_t length = sizeof a;
    memset(&a, 0, sizeof a);
    if (get(fd, (void *)&a, &length)) return (void)printf("%s: %s\n", label, error_name(errno));
    printf("%s: family %d length %d %s%.20s\n", label, a.sun_family, length, length > 2 && !a.sun_path[0] ? "@" : "", length > 2 ? a.sun_path + !a.sun_path[0] : "");
}

static int make(int type) { return MUST(socket(AF_UNIX, type, 0)); }
static int nonblocking(int fd) { fcntl(fd, F_SETFL, O_NONBLOCK); return fd; }

static void making(void) {
    SECTION("socket");
    VALUE(socket(AF_UNIX, SOCK_STREAM, 0) >= 0), VALUE(socket(AF_UNIX, SOCK_STREAM, 1) >= 0), VALUE(socket(AF_UNIX, SOCK_STREAM, 2)), VALUE(socket(AF_UNIX, 99, 0)), VALUE(socket(AF_UNIX, SOCK_RAW, 0) >= 0), VALUE(socket(AF_UNIX, SOCK_RDM, 0)), VALUE(socket(AF_UNIX, SOCK_STREAM | 0x100, 0)), VALUE(socket(99, SOCK_STREAM, 0)), VALUE(socket(-1, SOCK_STREAM, 0)), VALUE(socket(AF_AX25, SOCK_STREAM, 0)), VALUE(socket(AF_UNSPEC, SOCK_STREAM, 0));
    int pair[2];
    VALUE(socketpair(AF_UNIX, SOCK_STREAM, 5, pair)), VALUE(socketpair(AF_UNIX, SOCK_STREAM, 0, (int *)8)), VALUE(socketpair(99, SOCK_STREAM, 0, pair)), VALUE(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)), VALUE(fcntl(pair[0], F_GETFD)), VALUE(fcntl(pair[1], F_GETFL) & O_NONBLOCK), VALUE(lseek(pair[0], 0, SEEK_SET)), fstat(pair[0], &st), printf("%o\n", st.st_mode), VALUE(mmap(NULL, 4096, PROT_READ, MAP_SHARED, pair[0], 0) == MAP_FAILED ? -1 : 0);
    int file = MUST(open("/dev/null", O_RDWR));
    VALUE(bind(file, (void *)text, 5)), VALUE(listen(file, 5)), VALUE(accept(file, NULL, NULL)), VALUE(connect(file, (void *)text, 5)), VALUE(send(file, text, 1, 0)), VALUE(recv(file, text, 1, 0)), VALUE(shutdown(file, 0)), VALUE(getsockopt(file, SOL_SOCKET, SO_TYPE, text, (socklen_t *)text)), VALUE(getsockname(file, (void *)text, (socklen_t *)text)), VALUE(bind(999, (void *)text, 5)), VALUE(listen(999, 5)), VALUE(send(999, text, 1, 0)), VALUE(recvmsg(999, NULL, 0)), VALUE(shutdown(999, 9));
}

static void names(void) {
    SECTION("names");
    int a = make(SOCK_STREAM), b = make(SOCK_STREAM), c = make(SOCK_DGRAM);
    struct sockaddr_un bad = {.sun_family = AF_INET};
    show_name("unbound", a, getsockname), show_name("no peer", a, getpeername);
    VALUE(bind(a, (void *)&bad, sizeof bad)), VALUE(bind(a, (void *)&bad, 1)), VALUE(bind(a, (void *)&bad, 200)), VALUE(bind(a, (void *)&bad, -1)), VALUE(bind(a, (void *)8, sizeof bad)), VALUE(bind_to(a, "missing/x")), VALUE(bind_to(a, "sock")), VALUE(bind_to(a, "sock2")), VALUE(bind_to(b, "sock")), show_name("bound", a, getsockname), stat("sock", &st), printf("%o\n", st.st_mode);
    VALUE(bind_to(b, "\0hidden")), VALUE(bind_to(c, "\0hidden")), show_name("abstract", b, getsockname), bad.sun_family = AF_UNIX, VALUE(bind(make(SOCK_STREAM), (void *)&bad, 2)), VALUE(bind(c, (void *)&bad, 2)), show_name("same name, other type", c, getsockname);
    int d = make(SOCK_DGRAM);
    VALUE(bind(d, (void *)&bad, 2));
    struct sockaddr_un automatic;
    socklen_t length = sizeof automatic;
    getsockname(d, (void *)&automatic, &length), printf("automatic: length %d, %d\n", length, automatic.sun_path[0] == 0);
    VALUE(connect_to(d, "sock")), VALUE(connect_to(d, "nothing")), VALUE(connect_to(d, "\0nothing")), VALUE(connect_to(d, "/dev/null")), VALUE(connect_to(d, "/")), VALUE(connect_to(d, "\0hidden"));
    VALUE(listen(d, 5)), VALUE(accept(d, NULL, NULL)), VALUE(accept(a, NULL, NULL)), VALUE(connect_to(make(SOCK_STREAM), "sock")), VALUE(listen(make(SOCK_STREAM), 5)), VALUE(listen(a, 0)), VALUE(connect_to(a, "sock")), VALUE(listen(a, -1)), unlink("sock"), VALUE(connect_to(make(SOCK_STREAM), "sock")), VALUE(bind_to(make(SOCK_STREAM), "sock"));
    length = 3, VALUE(getsockname(a, (void *)text, &length)), printf("%d\n", length), length = -1, VALUE(getsockname(a, (void *)text, &length)), VALUE(getsockname(a, (void *)text, (void *)8)), length = 50, VALUE(getsockname(a, (void *)8, &length));
    IN_CHILD("as a stranger", int s = make(SOCK_STREAM); MUST(bind_to(s, "guarded")); MUST(listen(s, 5)); MUST(chmod("guarded", 0600)); MUST(setresuid(1234, 1234, 1234)); VALUE(connect_to(make(SOCK_STREAM), "guarded")); VALUE(bind_to(make(SOCK_STREAM), "new")));
}

static void streams(void) {
    SECTION("streams");
    int listener = make(SOCK_STREAM), client = make(SOCK_STREAM);
    MUST(bind_to(listener, "\0stream")), MUST(listen(listener, 1));
    VALUE(connect_to(client, "\0stream")), VALUE(connect_to(client, "\0stream")), show_name("peer", client, getpeername), VALUE(send(client, "early", 5, 0)), VALUE(accept4(listener, NULL, NULL, 0x1)), VALUE(accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) >= 0);
    nonblocking(listener), VALUE(accept(listener, NULL, NULL)), VALUE(recv(listener, text, 5, 0)), VALUE(send(listener, text, 5, 0)), VALUE(shutdown(make(SOCK_STREAM), SHUT_RD)), VALUE(shutdown(listener, 5));
    int waiting[5];
    for (int i = 0; i < 5; i++) waiting[i] = nonblocking(make(SOCK_STREAM)), VALUE(connect_to(waiting[i], "\0stream"));
    struct pollfd p = {listener, POLLIN | POLLOUT, 0};
    VALUE(poll(&p, 1, 0)), printf("%x\n", p.revents), p.fd = waiting[4], VALUE(poll(&p, 1, 0)), printf("%x\n", p.revents), p.fd = make(SOCK_STREAM), VALUE(poll(&p, 1, 0)), printf("%x\n", p.revents);
    close(listener), VALUE(recv(waiting[0], text, 5, 0)), VALUE(send(waiting[0], text, 5, MSG_NOSIGNAL)), VALUE(recv(waiting[0], text, 5, 0)), VALUE(connect_to(waiting[4], "\0stream"));
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    VALUE(send(pair[0], "abcdef", 6, 0)), VALUE(recv(pair[1], text, 3, MSG_PEEK)), VALUE(recv(pair[1], text, 4, 0)), VALUE(recv(pair[1], text, 4, MSG_TRUNC)), VALUE(recv(pair[1], text, 4, MSG_DONTWAIT)), VALUE(send(pair[0], text, 0, 0)), VALUE(recv(pair[1], text, 4, MSG_DONTWAIT)), VALUE(recv(pair[1], text, 1, MSG_OOB)), VALUE(send(pair[0], text, 5, 0x100000 | MSG_DONTROUTE)), VALUE(recv(pair[1], text, 0, MSG_DONTWAIT)), VALUE(recv(pair[1], text, 10, MSG_DONTWAIT)), VALUE(send_to(pair[0], "\0stream", "x")), VALUE(send(pair[0], (void *)8, 5, 0)), VALUE(recv(pair[1], (void *)8, 0, MSG_DONTWAIT));
    int inq;
    MUST(send(pair[0], "12345", 5, 0)), VALUE(ioctl(pair[1], SIOCINQ, &inq)), printf("%d\n", inq), VALUE(ioctl(pair[0], SIOCINQ, &inq)), printf("%d\n", inq), VALUE(ioctl(pair[0], SIOCOUTQ, &inq)), printf("%d\n", inq > 0), VALUE(ioctl(pair[0], FIONREAD, 8)), VALUE(recv(pair[1], text, 5, MSG_WAITALL));
    fflush(stdout);
    if (!fork()) { sleep_ms(30), MUST(write(pair[0], "123", 3)), sleep_ms(30), MUST(write(pair[0], "456789", 6)), _exit(0); }
    VALUE(recv(pair[1], text, 8, MSG_WAITALL)), wait(NULL), VALUE(recv(pair[1], text, 8, MSG_DONTWAIT | MSG_WAITALL));
    p = (struct pollfd){pair[0], POLLIN | POLLOUT | POLLRDHUP | POLLPRI, 0};
    VALUE(poll(&p, 1, 0)), printf("%x\n", p.revents), VALUE(shutdown(pair[1], SHUT_WR)), VALUE(poll(&p, 1, 0)), printf("%x\n", p.revents), VALUE(recv(pair[0], text, 5, 0)), VALUE(send(pair[1], text, 5, MSG_NOSIGNAL)), VALUE(send(pair[0], text, 5, 0)), VALUE(recv(pair[1], text, 9, 0)), VALUE(shutdown(pair[1], SHUT_RD)), VALUE(send(pair[0], text, 5, MSG_NOSIGNAL)), VALUE(recv(pair[1], text, 5, 0)), VALUE(poll(&p, 1, 0)), printf("%x\n", p.revents), VALUE(shutdown(pair[1], SHUT_RDWR)), close(pair[1]), VALUE(poll(&p, 1, 0)), printf("%x\n", p.revents);
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)), MUST(write(pair[0], "unread", 6)), close(pair[1]), VALUE(recv(pair[0], text, 5, 0)), VALUE(recv(pair[0], text, 5, 0)), VALUE(send(pair[0], text, 5, MSG_NOSIGNAL));
    IN_CHILD("SIGPIPE", signal(SIGPIPE, SIG_DFL); write(pair[0], text, 1));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)), MUST(write(pair[1], "left", 4)), close(pair[1]), VALUE(recv(pair[0], text, 2, 0)), VALUE(recv(pair[0], text, 5, 0)), VALUE(recv(pair[0], text, 5, 0));
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)), nonblocking(pair[0]);
    long total = 0, sent;
    while ((sent = send(pair[0], text, sizeof text, 0)) > 0) total += sent;
    printf("full: %s, more than 100 KB %d\n", error_name(errno), total > 100000), p = (struct pollfd){pair[0], POLLOUT, 0}, VALUE(poll(&p, 1, 0));
    while ((sent = recv(pair[1], text, sizeof text, MSG_DONTWAIT)) > 0) total -= sent;
    printf("left %ld\n", total), VALUE(poll(&p, 1, 0));
}

static void packets(void) {
    SECTION("datagrams, packets");
    int a = make(SOCK_DGRAM), b = make(SOCK_DGRAM), pair[2];
    MUST(bind_to(a, "\0a")), MUST(bind_to(b, "\0b"));
    VALUE(send(a, "x", 1, 0)), VALUE(send_to(a, "\0b", "hello")), VALUE(send_to(a, "\0none", "x")), VALUE(send_to(a, "nowhere", "x")), VALUE(recv(b, text, 3, MSG_PEEK)), VALUE(recv(b, text, 3, MSG_TRUNC | MSG_PEEK));
    struct iovec iov = {text, 3};
    struct sockaddr_un from = {0};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_name = &from, .msg_namelen = sizeof from};
    VALUE(recvmsg(b, &m, 0)), printf("flags %x name %d @%s\n", m.msg_flags, m.msg_namelen, from.sun_path + 1), VALUE(recv(b, text, 3, MSG_DONTWAIT)), VALUE(send_to(a, "\0b", "")), VALUE(recv(b, text, 3, MSG_DONTWAIT));
    VALUE(connect_to(a, "\0b")), VALUE(send(a, "1", 1, 0)), VALUE(connect_to(b, "\0a")), VALUE(recv(b, text, 9, MSG_DONTWAIT)), VALUE(connect_to(b, "\0b")), VALUE(send_to(a, "\0b", "x")), VALUE(recv(b, text, 9, MSG_DONTWAIT)), VALUE(send(a, text, sizeof text, MSG_DONTWAIT)), VALUE(send(a, text, 1 << 17, MSG_DONTWAIT) > 0 || errno == EMSGSIZE);
    struct sockaddr none = {AF_UNSPEC, {0}};
    VALUE(connect(a, &none, sizeof none)), VALUE(send(a, "x", 1, 0)), show_name("disconnected", a, getpeername), close(b), VALUE(connect_to(a, "\0b")), MUST(bind_to(b = make(SOCK_DGRAM), "\0b")), VALUE(connect_to(a, "\0b")), close(b), VALUE(send(a, "x", 1, 0)), VALUE(send(a, "x", 1, 0)), VALUE(recv(a, text, 1, MSG_DONTWAIT));
    for (int type = SOCK_DGRAM; type <= SOCK_SEQPACKET; type += SOCK_SEQPACKET - SOCK_DGRAM) {
        MUST(socketpair(AF_UNIX, type, 0, pair));
        VALUE(send(pair[0], "one", 3, 0)), VALUE(send(pair[0], "", 0, 0)), VALUE(send(pair[0], "three", 5, MSG_EOR)), VALUE(recv(pair[1], text, 2, MSG_DONTWAIT)), VALUE(recv(pair[1], text, 2, MSG_DONTWAIT)), m.msg_namelen = sizeof from, iov.iov_len = 10, VALUE(recvmsg(pair[1], &m, MSG_DONTWAIT)), printf("%x %d\n", m.msg_flags, m.msg_namelen), VALUE(recv(pair[1], text, 2, MSG_DONTWAIT));
        VALUE(send(pair[0], "12345678", 8, 0)), VALUE(ioctl(pair[1], SIOCINQ, text)), printf("%d\n", *(int *)text), VALUE(read(pair[1], text, 4)), VALUE(recv(pair[1], text, 4, MSG_DONTWAIT)), VALUE(shutdown(pair[1], SHUT_RD)), VALUE(send(pair[0], "x", 1, MSG_NOSIGNAL)), VALUE(recv(pair[1], text, 4, MSG_DONTWAIT)), VALUE(shutdown(pair[0], SHUT_WR)), VALUE(send(pair[0], "x", 1, MSG_NOSIGNAL));
        MUST(socketpair(AF_UNIX, type, 0, pair)), MUST(send(pair[1], "left", 4, 0)), close(pair[1]), VALUE(recv(pair[0], text, 9, MSG_DONTWAIT)), VALUE(recv(pair[0], text, 9, MSG_DONTWAIT)), VALUE(send(pair[0], "x", 1, MSG_NOSIGNAL));
        struct pollfd p = {pair[0], POLLIN | POLLOUT | POLLRDHUP, 0};
        VALUE(poll(&p, 1, 0)), printf("%x\n", p.revents);
    }
    int listener = make(SOCK_SEQPACKET), client = make(SOCK_SEQPACKET);
    MUST(bind_to(listener, "\0seq")), MUST(listen(listener, 5)), VALUE(connect_to(make(SOCK_STREAM), "\0seq")), VALUE(connect_to(client, "\0seq")), VALUE(send(make(SOCK_SEQPACKET), "x", 1, 0)), VALUE(recv(make(SOCK_SEQPACKET), text, 1, 0));
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    struct mmsghdr many[3] = {0};
    struct iovec parts[3] = {{"a", 1}, {"bb", 2}, {"ccc", 3}};
    for (int i = 0; i < 3; i++) many[i].msg_hdr.msg_iov = &parts[i], many[i].msg_hdr.msg_iovlen = 1;
    VALUE(sendmmsg(pair[0], many, 3, 0)), printf("%d %d\n", many[0].msg_len, many[2].msg_len);
    for (int i = 0; i < 3; i++) parts[i] = (struct iovec){text + 10 * i, 10};
    VALUE(recvmmsg(pair[1], many, 2, MSG_DONTWAIT, NULL)), printf("%d %d\n", many[0].msg_len, many[1].msg_len), VALUE(recvmmsg(pair[1], many, 3, MSG_DONTWAIT, NULL)), VALUE(recvmmsg(pair[1], many, 3, MSG_DONTWAIT, NULL)), VALUE(recvmmsg(pair[1], many, 1, 0, &(struct timespec){0, -1})), VALUE(sendmmsg(pair[0], (void *)8, 1, 0)), VALUE(sendmmsg(999, many, 1, 0));
}

static long send_fds(int fd, const int *fds, int count, const char *what) {
    char control[CMSG_SPACE(300 * sizeof(int))];
    struct iovec iov = {(void *)what, strlen(what)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = CMSG_SPACE(count * sizeof(int))};
    memset(control, 0, sizeof control);
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_RIGHTS, c->cmsg_len = CMSG_LEN(count * sizeof(int)), memcpy(CMSG_DATA(c), fds, count * sizeof(int));
    return sendmsg(fd, &m, MSG_DONTWAIT);
}

/* Says what came, and returns the first descriptor in it. */
static int receive(int fd, size_t room, size_t size, int flags) {
    char control[4096];
    struct iovec iov = {text, size};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room};
    long result = recvmsg(fd, &m, flags | MSG_DONTWAIT);
    int first = -1;
    if (result < 0) return printf("%s\n", error_name(errno)), -1;
    printf("%ld flags %x control %zu", result, m.msg_flags & ~MSG_CMSG_CLOEXEC, (size_t)m.msg_controllen);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
        if (c->cmsg_type == SCM_RIGHTS) {
            int count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            printf(" %d descriptors", count), first = count ? *(int *)CMSG_DATA(c) : -1;
        } else if (c->cmsg_type == SCM_CREDENTIALS) {
            struct ucred *u = (void *)CMSG_DATA(c);
            printf(" from %s %d:%d", u->pid == getpid() ? "self" : u->pid == 0 ? "nobody" : "other", u->uid, u->gid);
        } else printf(" type %d", c->cmsg_type);
    }
    printf("\n");
    return first;
}

static int open_count(void) { int count = 0; for (int i = 0; i < 1024; i++) count += fcntl(i, F_GETFD) >= 0; return count; }

static void passing(void) {
    SECTION("descriptors in messages");
    int pair[2], pipes[2], many[300];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair)), MUST(pipe(pipes));
    VALUE(send_fds(pair[0], pipes, 2, "ab"));
    int fd = receive(pair[1], 1000, 10, 0);
    VALUE(fcntl(fd, F_GETFD)), VALUE(write(fd + 1, "through", 7)), VALUE(read(pipes[0], text, 10)), close(fd), close(fd + 1);
    VALUE(send_fds(pair[0], pipes, 1, "c")), fd = receive(pair[1], 1000, 10, MSG_CMSG_CLOEXEC), VALUE(fcntl(fd, F_GETFD)), close(fd);
    for (int i = 0; i < 300; i++) many[i] = pipes[0];
    VALUE(send_fds(pair[0], many, 253, "d")), VALUE(send_fds(pair[0], many, 254, "d")), VALUE(send_fds(pair[0], (int[]){999}, 1, "d")), VALUE(send_fds(pair[0], (int[]){-1}, 1, "d"));
    int before = open_count();
    receive(pair[1], CMSG_SPACE(3 * sizeof(int)), 10, 0), printf("new %d\n", open_count() - before);
    for (int i = pair[1] + 3; i < 600; i++) close(i);
    VALUE(send_fds(pair[0], pipes, 1, "e")), VALUE(recv(pair[1], text, 5, 0)), VALUE(send_fds(pair[0], pipes, 1, "f")), receive(pair[1], 10, 5, 0), VALUE(send_fds(pair[0], pipes, 1, "g")), receive(pair[1], 0, 5, 0), VALUE(send_fds(pair[0], pipes, 2, "h")), fd = receive(pair[1], CMSG_LEN(sizeof(int)), 5, 0), close(fd);
    VALUE(send_fds(pair[0], pipes, 1, "xy")), VALUE(send(pair[0], "z", 1, 0)), fd = receive(pair[1], 1000, 1, 0), close(fd), receive(pair[1], 1000, 10, 0), receive(pair[1], 1000, 10, 0), VALUE(send(pair[0], "0", 1, 0)), VALUE(send_fds(pair[0], pipes, 1, "12")), VALUE(send_fds(pair[0], pipes, 1, "3")), receive(pair[1], 1000, 10, 0), close(receive(pair[1], 1000, 10, 0)), close(receive(pair[1], 1000, 10, 0));
    VALUE(send_fds(pair[0], pipes, 1, "peeked")), fd = receive(pair[1], 1000, 10, MSG_PEEK), close(fd), fd = receive(pair[1], 1000, 10, 0), close(fd);
    struct msghdr m = {.msg_control = text, .msg_controllen = 8};
    VALUE(sendmsg(pair[0], &m, 0)), *(struct cmsghdr *)text = (struct cmsghdr){.cmsg_len = 4, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}, m.msg_controllen = 16, VALUE(sendmsg(pair[0], &m, 0)), *(struct cmsghdr *)text = (struct cmsghdr){.cmsg_len = 20, .cmsg_level = SOL_SOCKET, .cmsg_type = 99}, m.msg_controllen = 24, VALUE(sendmsg(pair[0], &m, 0)), *(struct cmsghdr *)text = (struct cmsghdr){.cmsg_len = 20, .cmsg_level = 77, .cmsg_type = 99}, m.msg_controllen = 24, VALUE(sendmsg(pair[0], &m, 0)), m.msg_control = (void *)8, VALUE(sendmsg(pair[0], &m, 0));
    SECTION("sockets in their own messages");
    for (int i = 0; i < 2000; i++) {
        int cycle[2];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, cycle)) { printf("%d: %s\n", i, error_name(errno)); break; }
        if (send_fds(cycle[0], cycle, 2, "x") < 0 || send_fds(cycle[1], cycle, 2, "y") < 0) { printf("%d: %s\n", i, error_name(errno)); break; }
        close(cycle[0]), close(cycle[1]);
    }
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    int held[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, held)), VALUE(send_fds(pair[0], &held[1], 1, "x")), VALUE(write(held[0], "kept", 4)), close(held[1]), fd = receive(pair[1], 1000, 10, 0), VALUE(read(fd, text, 10));
    IN_CHILD("too many in flight", setrlimit(RLIMIT_NOFILE, &(struct rlimit){50, 50}); MUST(setresuid(1234, 1234, 1234)); int p2[2]; MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, p2)); int sent = 0; long r; while ((r = send_fds(p2[0], (int[]){0, 1, 2, 0, 1, 2, 0, 1, 2, 0}, 10, "x")) > 0 && sent < 200) sent++; printf("%d %s\n", sent, error_name(errno)));
}

static void credentials(void) {
    SECTION("credentials");
    int pair[2], on = 1;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    struct ucred u;
    socklen_t length = sizeof u;
    VALUE(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &u, &length)), printf("%d %d:%d %d\n", u.pid == getpid(), u.uid, u.gid, length), length = 5, VALUE(getsockopt(pair[0], SOL_SOCKET, SO_PEERCRED, &u, &length)), printf("%d\n", length), length = sizeof u, VALUE(getsockopt(make(SOCK_STREAM), SOL_SOCKET, SO_PEERCRED, &u, &length)), printf("%d %d:%d\n", u.pid, u.uid, u.gid);
    VALUE(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &on, sizeof on)), VALUE(send(pair[0], "b", 1, 0)), receive(pair[1], 1000, 10, 0), VALUE(send_fds(pair[0], (int[]){0}, 1, "c")), close(receive(pair[1], 1000, 10, 0));
    char control[CMSG_SPACE(sizeof u)];
    struct iovec iov = {"d", 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
    struct cmsghdr *c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET, c->cmsg_type = SCM_CREDENTIALS, c->cmsg_len = CMSG_LEN(sizeof u), *(struct ucred *)CMSG_DATA(c) = (struct ucred){getpid(), 77, 78}, VALUE(sendmsg(pair[0], &m, 0)), receive(pair[1], 1000, 10, 0), *(struct ucred *)CMSG_DATA(c) = (struct ucred){999999, 0, 0}, VALUE(sendmsg(pair[0], &m, 0)), c->cmsg_len = CMSG_LEN(4), VALUE(sendmsg(pair[0], &m, 0)), c->cmsg_len = CMSG_LEN(sizeof u);
    IN_CHILD("forged by a stranger", MUST(setresgid(1234, 1234, 1234)); MUST(setresuid(1234, 1234, 1234)); *(struct ucred *)CMSG_DATA(c) = (struct ucred){getpid(), 0, 0}; VALUE(sendmsg(pair[0], &m, 0)); *(struct ucred *)CMSG_DATA(c) = (struct ucred){getppid(), 1234, 1234}; VALUE(sendmsg(pair[0], &m, 0)); *(struct ucred *)CMSG_DATA(c) = (struct ucred){getpid(), 1234, 1234}; VALUE(sendmsg(pair[0], &m, 0)));
    receive(pair[1], 1000, 10, 0);
}

static void options(void) {
    SECTION("options");
    int pair[2], zero = 0, one = 1, value;
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    static const struct { const char *label; int number; } all[] = {{"DEBUG", 1}, {"REUSEADDR", 2}, {"TYPE", 3}, {"ERROR", 4}, {"DONTROUTE", 5}, {"BROADCAST", 6}, {"KEEPALIVE", 9}, {"OOBINLINE", 10}, {"NO_CHECK", 11}, {"PRIORITY", 12}, {"PASSCRED", 16}, {"RCVLOWAT", 18}, {"SNDLOWAT", 19}, {"ACCEPTCONN", 30}, {"PROTOCOL", 38}, {"DOMAIN", 39}, {"nothing", 200}};
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        socklen_t length = sizeof value;
        value = -7;
        long got = getsockopt(pair[0], SOL_SOCKET, all[i].number, &value, &length);
        printf("%s:", all[i].label);
        if (got) printf(" %s", error_name(errno)); else printf(" %d (%d)", value, length);
        printf(" set %s", setsockopt(pair[0], SOL_SOCKET, all[i].number, &one, sizeof one) ? error_name(errno) : "ok"), printf(" reset %s", setsockopt(pair[0], SOL_SOCKET, all[i].number, &zero, sizeof zero) ? error_name(errno) : "ok");
        length = sizeof value, got = getsockopt(pair[0], SOL_SOCKET, all[i].number, &value, &length), printf(" now %d\n", got ? -1 : value);
    }
    socklen_t length = 4;
    VALUE(setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, &one, 2)), VALUE(setsockopt(pair[0], SOL_SOCKET, SO_KEEPALIVE, (void *)8, 4)), VALUE(setsockopt(pair[0], 6, 1, &one, 4)), VALUE(getsockopt(pair[0], 6, 1, &value, &length)), VALUE(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, (void *)8, &length)), VALUE(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &value, (void *)8)), length = -1, VALUE(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &value, &length)), length = 2, VALUE(getsockopt(pair[0], SOL_SOCKET, SO_TYPE, &value, &length)), printf("%d\n", length);
    value = 10000, VALUE(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, 4)), length = 4, VALUE(getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, &length)), printf("%d\n", value), value = 1, VALUE(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, 4)), length = 4, getsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &value, &length), printf("%d\n", value), value = 5000, VALUE(setsockopt(pair[0], SOL_SOCKET, SO_RCVBUF, &value, 4)), length = 4, getsockopt(pair[0], SOL_SOCKET, SO_RCVBUF, &value, &length), printf("%d\n", value);
    struct timeval time = {0, 50000}, odd = {0, 2000000};
    VALUE(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time)), VALUE(recv(pair[0], text, 1, 0)), VALUE(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &odd, sizeof odd)), VALUE(setsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, 4)), length = sizeof time, time.tv_usec = 0, VALUE(getsockopt(pair[0], SOL_SOCKET, SO_RCVTIMEO, &time, &length)), printf("%ld %d %d\n", time.tv_sec, (int)(time.tv_usec / 10000), length);
    struct linger linger = {1, 5};
    VALUE(setsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, sizeof linger)), length = sizeof linger, VALUE(getsockopt(pair[0], SOL_SOCKET, SO_LINGER, &linger, &length)), printf("%d %d\n", linger.l_onoff, linger.l_linger);
    int listener = make(SOCK_STREAM);
    MUST(bind_to(listener, "\0opt")), MUST(listen(listener, 3)), length = 4, VALUE(getsockopt(listener, SOL_SOCKET, SO_ACCEPTCONN, &value, &length)), printf("%d\n", value), setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){0, 50000}, sizeof time), VALUE(accept(listener, NULL, NULL));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN);
    making(), names(), streams(), packets(), passing(), credentials(), options();
    return 0;
}
