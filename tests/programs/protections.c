/* Links and files of others in directories for all; owners of pipes and sockets; netlink; who is told of messages by a thread. */
#include "check.h"
#include <grp.h>
#include <mqueue.h>
#include <ifaddrs.h>
#include <sys/socket.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <sys/xattr.h>
#define AS(uid, label, ...) IN_CHILD(label, setgroups(0,0); setgid(uid); setuid(uid); __VA_ARGS__)
static volatile int told;

static void on_told(union sigval v) {
    told=v.sival_int;
}

int main(int argc, char**argv) {
    setvbuf(stdout, 0, _IOLBF, 0);
    umask(0);
    chmod(".", 0755);
    mkdir("s", 01777);
    close(open("t", O_CREAT, 0644));
    close(open("s/r", O_CREAT, 0666));
    mkfifo("s/p", 0666);
    symlink("../t", "s/l");
    symlink("../t2", "s/l2");
    lchown("s/l", 1000, 1000);
    lchown("s/l2", 1000, 1000);
    chown("s/r", 1000, 1000);
    chown("s/p", 1000, 1000);
    VALUE(link("t", "hl"));
    AS(1001, "links", VALUE(link("t", "s/hl"));
        VALUE(link("s/p", "s/p2"));
        VALUE(link("s/r", "s/r2"));
        VALUE(link("s/l", "s/l3")));
    AS(1000, "own", VALUE(link("s/p", "s/p2")));
    AS(1001, "sticky", VALUE(open("s/r", O_RDWR|O_CREAT, 0600));
        VALUE(open("s/p", O_RDWR|O_CREAT|O_NONBLOCK, 0600)));
    VALUE(mkdir("/proc/x", 0));
    VALUE(open("/proc/x", O_CREAT|O_RDWR, 0600));
    VALUE(open("/sys/x", O_CREAT|O_RDWR, 0600));
    VALUE(mkdir("/proc/self/x", 0));
    VALUE(symlink("a", "/proc/x"));
    VALUE(unlink("/proc/x"));
    int p[2];
    pipe(p);
    struct stat st;
    VALUE(fchmod(p[0], 0640));
    VALUE(fchown(p[1], 5, 6));
    fstat(p[0], &st);
    printf("%o %d %d\n", st.st_mode, st.st_uid, st.st_gid);
    int s=socket(AF_UNIX, SOCK_STREAM, 0);
    VALUE(fchmod(s, 0640));
    VALUE(fchown(s, 5, 6));
    fstat(s, &st);
    printf("%o %d %d\n", st.st_mode, st.st_uid, st.st_gid);
    VALUE(fsetxattr(p[0], "user.x", "y", 1, 0));
    VALUE(fgetxattr(p[0], "user.x", &st, 1));
    VALUE(futimens(p[0], 0));
    AS(77, "own pipe", pipe(p);
        fstat(p[0], &st);
        printf("%o %d %d\n", st.st_mode, st.st_uid, st.st_gid);
        s=socket(AF_UNIX, SOCK_STREAM, 0);
        fstat(s, &st);
        printf("%o %d %d\n", st.st_mode, st.st_uid, st.st_gid));
    struct sigevent ev={0};
    ev.sigev_notify=SIGEV_THREAD;
    ev.sigev_notify_function=on_told;
    ev.sigev_value.sival_int=42;
    mqd_t q=MUST(mq_open("/qt", O_CREAT|O_RDWR, 0600, 0));
    mq_unlink("/qt");
    VALUE(mq_notify(q, &ev));
    mq_send(q, "x", 1, 0);
    for (int i=0;i<100&&!told;i++) sleep_ms(10);
    printf("%d\n", told);
    VALUE(mq_notify(q, &ev));
    VALUE(mq_notify(q, &ev));
    VALUE(mq_notify(q, 0));
    VALUE(mq_notify(q, &ev));
    int n=socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE);
    VALUE(n>0);
    VALUE(socket(AF_NETLINK, SOCK_STREAM, 0));
    struct sockaddr_nl a={AF_NETLINK};
    VALUE(bind(n, (void*)&a, sizeof a));
    VALUE(bind(n, (void*)&a, 4));
    socklen_t l=sizeof a;
    VALUE(getsockname(n, (void*)&a, &l));
    printf("%d %d %d\n", l, a.nl_family, a.nl_pid != 0);
    struct {struct nlmsghdr h; struct rtgenmsg g;} r={{20, RTM_GETADDR, NLM_F_REQUEST|NLM_F_DUMP, 7}, {AF_UNSPEC}};
    memset(&a, 0, sizeof a);
    a.nl_family=AF_NETLINK;
    VALUE(sendto(n, &r, 20, 0, (void*)&a, sizeof a));
    char b[8192];
    int done=0;
    for (int k=0;k<20&&!done;k++) {
        ssize_t c=recv(n, b, sizeof b, 0);
        if (c<0) {
            printf("%s\n", error_name(errno));
            break;
        }
        for (struct nlmsghdr*h=(void*)b;NLMSG_OK(h, c);h=NLMSG_NEXT(h, c)) {
            if (h->nlmsg_seq!=7) puts("seq");
            if (h->nlmsg_type==NLMSG_DONE) done=1;
        }
    }
    printf("done %d\n", done);
    r.h.nlmsg_type=900;
    r.h.nlmsg_flags=1;
    VALUE(sendto(n, &r, 20, 0, (void*)&a, sizeof a));
    ssize_t c=recv(n, b, sizeof b, 0);
    struct nlmsghdr*h=(void*)b;
    printf("%d %d %d\n", h->nlmsg_type==NLMSG_ERROR, *(int*)NLMSG_DATA(h)<0, (int)h->nlmsg_len==c);
    struct ifaddrs*ia;
    VALUE(getifaddrs(&ia));
    VALUE(recv(n, b, 1, MSG_DONTWAIT));
    VALUE(listen(n, 1));
    VALUE(accept(n, 0, 0));
    int ty;
    l=4;
    VALUE(getsockopt(n, SOL_SOCKET, SO_TYPE, &ty, &l));
    printf("%d\n", ty);
    struct timeval tv={0, 1000};
    VALUE(setsockopt(n, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof tv));
    VALUE(recv(n, b, 1, 0));
    VALUE(syscall(SYS_ustat, 1<<30, b));
    stat("/", &st);
    VALUE(syscall(SYS_ustat, (unsigned)st.st_dev, b));
    VALUE(syscall(SYS_sysfs, 3)>0);
    VALUE(syscall(SYS_sysfs, 1, "proc")>=0);
    VALUE(syscall(SYS_sysfs, 2, syscall(SYS_sysfs, 1, "proc"), b));
    puts(b);
    VALUE(syscall(SYS_sysfs, 2, 1000, b));
    VALUE(syscall(SYS_sysfs, 1, "nope"));
    VALUE(syscall(SYS_sysfs, 9));
}
