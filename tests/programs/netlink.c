/* Netlink sockets to the kernel: requests and answers, but not what a machine has to list. */
#include "check.h"
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>

static int fd;

static void ask(int type, int flags, size_t length, size_t claimed) {
    struct {
        struct nlmsghdr header;
        struct rtgenmsg general;
        char padding[16];
    } request = {.header = {.nlmsg_len = claimed, .nlmsg_type = type, .nlmsg_flags = flags, .nlmsg_seq = 7}, .general = {AF_UNSPEC}};
    VALUE(send(fd, &request, length, 0));
}

/* Skips what is listed. */
static void answer(void) {
    _Alignas(8) char text[32768];
    for (;;) {
        struct pollfd wanted = {.fd = fd, .events = POLLIN};
        if (poll(&wanted, 1, 0) != 1) return (void)puts("no answer");
        struct sockaddr_nl from;
        socklen_t from_len = sizeof from;
        int length = MUST(recvfrom(fd, text, sizeof text, 0, (struct sockaddr *)&from, &from_len));
        for (struct nlmsghdr *h = (void *)text; NLMSG_OK(h, (unsigned)length); h = NLMSG_NEXT(h, length)) {
            if (h->nlmsg_type != NLMSG_DONE && h->nlmsg_type != NLMSG_ERROR) continue;
            printf("type %d flags %x sequence %d from %d of %d: %d\n", h->nlmsg_type, h->nlmsg_flags & NLM_F_MULTI, h->nlmsg_seq, from.nl_pid,
                   from_len, -*(int *)NLMSG_DATA(h));
            return;
        }
    }
}

int main(void) {
    setbuf(stdout, NULL);
    SECTION("opening");
    TRY(socket(AF_NETLINK, SOCK_STREAM, 0));
    TRY(socket(AF_NETLINK, SOCK_RAW, 31));
    TRY(socket(AF_NETLINK, 15, 0));
    int pair[2];
    TRY(socketpair(AF_NETLINK, SOCK_RAW, 0, pair));
    close(MUST(socket(AF_NETLINK, SOCK_DGRAM, NETLINK_ROUTE)));
    fd = MUST(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    int option;
    socklen_t len = sizeof option;
    MUST(getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &option, &len)), printf("domain %d\n", option);
    MUST(getsockopt(fd, SOL_SOCKET, SO_TYPE, &option, &len)), printf("type %d\n", option);

    SECTION("names");
    struct sockaddr_nl name = {.nl_family = AF_NETLINK};
    len = sizeof name;
    MUST(getsockname(fd, (void *)&name, &len)), printf("%d %d %d\n", len, name.nl_family, name.nl_pid);
    TRY(bind(fd, (void *)&name, 4));
    name.nl_family = AF_UNIX;
    TRY(bind(fd, (void *)&name, sizeof name));
    name.nl_family = AF_NETLINK;
    TRY(bind(fd, (void *)&name, sizeof name));
    MUST(getsockname(fd, (void *)&name, &len)), TRUE(name.nl_pid != 0);
    name.nl_pid++;
    TRY(bind(fd, (void *)&name, sizeof name));
    TRY(listen(fd, 1));
    TRY(accept(fd, NULL, NULL));
    TRY(shutdown(fd, SHUT_RDWR));
    name = (struct sockaddr_nl){.nl_family = AF_NETLINK};
    TRY(connect(fd, (void *)&name, sizeof name));

    SECTION("answers");
    answer();
    ask(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, NLMSG_LENGTH(sizeof(struct rtgenmsg)), NLMSG_LENGTH(sizeof(struct rtgenmsg))), answer();
    ask(RTM_GETADDR, NLM_F_REQUEST | NLM_F_DUMP, NLMSG_LENGTH(sizeof(struct rtgenmsg)), NLMSG_LENGTH(sizeof(struct rtgenmsg))), answer();
    ask(NLMSG_NOOP, NLM_F_ACK, NLMSG_LENGTH(0), NLMSG_LENGTH(0)), answer();
    ask(NLMSG_NOOP, NLM_F_REQUEST, NLMSG_LENGTH(0), NLMSG_LENGTH(0)), answer();
    ask(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, NLMSG_LENGTH(0), 500), answer();
    ask(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, NLMSG_LENGTH(0), 3), answer();
    ask(RTM_GETLINK, NLM_F_REQUEST | NLM_F_DUMP, 7, 7), answer();
    TRY(recv(fd, &option, sizeof option, MSG_DONTWAIT));
    return 0;
}
