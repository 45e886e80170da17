/* Terminals: ptys, the line discipline, settings, job control, hang-ups; every ioctl and its errors. */
#include "check.h"
#include <asm/termbits.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

extern int posix_openpt(int), grantpt(int), unlockpt(int), ptsname_r(int, char *, size_t);

static int master = -1, slave = -1;

static struct termios get(int fd) {
    struct termios t;
    memset(&t, 0, sizeof t);
    MUST(ioctl(fd, TCGETS, &t));
    return t;
}

static void set(struct termios t) { MUST(ioctl(slave, TCSETS, &t)); }

static void open_pair(void) {
    if (master >= 0) close(master);
    if (slave >= 0) close(slave);
    master = MUST(posix_openpt(O_RDWR | O_NOCTTY));
    MUST(unlockpt(master));
    slave = MUST(ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY));
}

/* Bytes in a form that can be read. */
static void show(const char *label, const char *data, long count) {
    printf("%s:", label);
    if (count < 0) printf(" %s", error_name(errno));
    for (long i = 0; i < count; i++) {
        unsigned char c = data[i];
        if (c >= ' ' && c < 127 && c != '\\') putchar(c);
        else printf("\\%02x", c);
    }
    putchar('\n');
}

/* What comes within `wait_ms`, and then until nothing has come for a while: Linux moves bytes by a work queue. */
static long gather(int fd, char *buffer, size_t size, int wait_ms) {
    size_t count = 0;
    struct pollfd p = {fd, POLLIN, 0};
    while (count < size && poll(&p, 1, count ? 30 : wait_ms) == 1) {
        long got = read(fd, buffer + count, size - count);
        if (got <= 0) return count ? (long)count : got;
        count += got;
    }
    return count;
}

static void type(const char *text, size_t length) { MUST(write(master, text, length)); }
#define TYPE(text) type(text, sizeof text - 1)

static void show_screen(const char *label) {
    char buffer[8192];
    show(label, buffer, gather(master, buffer, sizeof buffer, 200));
}

static void show_input(const char *label, size_t size) {
    char buffer[8192];
    struct pollfd p = {slave, POLLIN, 0};
    if (poll(&p, 1, 100) == 0) printf("%s: nothing\n", label);
    else show(label, buffer, read(slave, buffer, size));
}

/* Types, shows the echo, then what can be read. */
static void both(const char *label, const char *text, size_t length) {
    printf("-- %s\n", label);
    type(text, length);
    show_screen("echo");
    int waiting = -1;
    ioctl(slave, FIONREAD, &waiting);
    printf("FIONREAD: %d\n", waiting);
    show_input("read", 4096);
    ioctl(slave, TCFLSH, TCIOFLUSH);
    char buffer[64];
    show("left", buffer, gather(master, buffer, sizeof buffer, 5));
}
#define BOTH(label, text) both(label, text, sizeof text - 1)

static void with(const char *what, void (*change)(struct termios *), void (*test)(void)) {
    open_pair();
    struct termios t = get(slave);
    change(&t);
    set(t);
    SECTION(what);
    test();
}

static void names(void) {
    SECTION("names");
    int fd = MUST(posix_openpt(O_RDWR | O_NOCTTY));
    int number = -1, value = -1;
    TRY(ioctl(fd, TIOCGPTN, &number));
    TRUE(number >= 0);
    TRY(ioctl(fd, TIOCGPTN, (int *)8));
    char path[64];
    VALUE(ptsname_r(fd, path, sizeof path));
    TRUE(strncmp(path, "/dev/pts/", 9) == 0);
    TRY(ioctl(fd, TIOCGPTLCK, &value));
    VALUE(value);
    TRY(open(path, O_RDWR | O_NOCTTY));
    TRY(ioctl(fd, TIOCGPTPEER, O_RDWR | O_NOCTTY));
    TRY(grantpt(fd));
    TRY(unlockpt(fd));
    ioctl(fd, TIOCGPTLCK, &value);
    VALUE(value);
    int peer = open(path, O_RDWR | O_NOCTTY);
    TRUE(peer >= 0);
    struct stat st;
    MUST(fstat(peer, &st));
    printf("slave: %d, mode %o, mine %d\n", major(st.st_rdev), st.st_mode & S_IFMT, st.st_uid == geteuid());
    TRUE((int)minor(st.st_rdev) == number);
    TRUE((int)st.st_ino == number + 3);
    MUST(fstat(fd, &st));
    printf("master: %d:%d\n", major(st.st_rdev), minor(st.st_rdev));
    struct statfs sfs;
    MUST(statfs(path, &sfs));
    printf("devpts: %lx\n", (long)sfs.f_type);
    TRY(chmod(path, 0620));
    MUST(stat(path, &st));
    printf("mode %o\n", st.st_mode & 07777);
    TRY(ioctl(peer, TIOCGPTN, &number));
    TRY(ioctl(peer, TIOCSPTLCK, &number));
    TRY(ioctl(peer, TIOCGPTPEER, O_RDWR));
    TRY(ioctl(peer, TIOCPKT, &number));
    unsigned device = 0;
    TRY(ioctl(fd, TIOCGDEV, &device));
    TRUE(major(device) == 136);
    VALUE(lseek(peer, 0, SEEK_SET));
    VALUE(lseek(fd, 0, SEEK_SET));
    TRY(pread(peer, path, 1, 0));
    TRY((long)mmap(0, 4096, PROT_READ, MAP_SHARED, peer, 0));
    TRY(unlink(path));
    TRY(mkdir("/dev/pts/new", 0700));
    TRY(open("/dev/pts/new", O_CREAT | O_RDWR, 0600));
    close(fd);
    TRY(open(path, O_RDWR | O_NOCTTY));
    TRY(stat(path, &st));
    close(peer);
}

static void unknown_ioctls(void) {
    SECTION("ioctls that ptys do not know");
    open_pair();
    int value = 0;
    for (int end = 0; end < 2; end++) {
        int fd = end ? master : slave;
        printf("%s\n", end ? "master" : "slave");
        TRY(ioctl(fd, TIOCMGET, &value));
        TRY(ioctl(fd, TIOCMSET, &value));
        TRY(ioctl(fd, TIOCGSERIAL, &value));
        TRY(ioctl(fd, TIOCGICOUNT, &value));
        TRY(ioctl(fd, 0x4b33 /* KDGKBTYPE */, &value));
        TRY(ioctl(fd, 0x5600 /* VT_OPENQRY */, &value));
        TRY(ioctl(fd, TIOCLINUX, &value));
        TRY(ioctl(fd, 0xdeadbeef, &value));
        TRY(ioctl(fd, TCGETS, (void *)8));
        TRY(ioctl(fd, TCSETS, (void *)8));
        TRY(ioctl(fd, TIOCGWINSZ, (void *)8));
        TRY(ioctl(fd, TIOCSWINSZ, (void *)8));
        TRY(ioctl(fd, FIONREAD, (void *)8));
        TRY(ioctl(fd, TCFLSH, 9));
        TRY(ioctl(fd, TCXONC, 9));
        TRY(ioctl(fd, TCSBRK, 0));
        TRY(ioctl(fd, TCSBRK, 1));
        TRY(ioctl(fd, TCSBRKP, 0));
        TRY(ioctl(fd, TIOCSBRK, 0));
        TRY(ioctl(fd, TIOCCBRK, 0));
        value = 77;
        TRY(ioctl(fd, TIOCGETD, &value));
        VALUE(value);
        TRY(ioctl(fd, TIOCSETD, &value));
        value = 0;
        TRY(ioctl(fd, TIOCOUTQ, &value));
        VALUE(value);
        TRY(ioctl(fd, TIOCEXCL, 0));
        TRY(ioctl(fd, TIOCGEXCL, &value));
        VALUE(value);
        TRY(ioctl(fd, TIOCNXCL, 0));
        TRY(ioctl(fd, TIOCGSID, &value));
        TRY(ioctl(fd, TIOCNOTTY, 0));
        TRY(ioctl(fd, TIOCGSOFTCAR, &value));
        VALUE(value);
    }
    TRY(ioctl(slave, TIOCGPGRP, &value));
    value = 99;
    TRY(ioctl(master, TIOCGPGRP, &value));
    VALUE(value);
    value = getpid();
    TRY(ioctl(slave, TIOCSPGRP, &value));
    TRY(ioctl(master, TIOCSPGRP, &value));
    TRY(ioctl(master, TIOCSIG, SIGTERM));
    TRY(ioctl(master, TIOCSIG, 1000));
    TRY(ioctl(master, TIOCSIG, SIGINT));
}

static void print_settings(const char *label, struct termios t) {
    printf("%s: %o %o %o %o line %d:", label, t.c_iflag, t.c_oflag, t.c_cflag, t.c_lflag, t.c_line);
    for (int i = 0; i < 17; i++) printf(" %d", t.c_cc[i]);
    putchar('\n');
}

static void settings(void) {
    SECTION("settings");
    open_pair();
    print_settings("new", get(slave));
    print_settings("by the master", get(master));
    struct termios t = get(slave);
    t.c_lflag = 0xffffffff;
    t.c_iflag = 0xffffffff;
    t.c_oflag = 0xffffffff;
    t.c_cflag = B9600 | CS5 | PARENB;
    t.c_line = 3;
    TRY(ioctl(slave, TCSETSW, &t));
    print_settings("all", get(slave));
    struct termios2 t2;
    TRY(ioctl(slave, TCGETS2, &t2));
    printf("speeds %u %u\n", t2.c_ispeed, t2.c_ospeed);
    t2.c_cflag = CS8 | CREAD | BOTHER;
    t2.c_ispeed = t2.c_ospeed = 12345;
    TRY(ioctl(slave, TCSETS2, &t2));
    TRY(ioctl(slave, TCGETS2, &t2));
    printf("speeds %u %u, control %o\n", t2.c_ispeed, t2.c_ospeed, t2.c_cflag);
    t2.c_cflag = CS8 | CREAD | B1000000;
    TRY(ioctl(slave, TCSETSF2, &t2));
    TRY(ioctl(slave, TCGETS2, &t2));
    printf("speeds %u %u, control %o\n", t2.c_ispeed, t2.c_ospeed, t2.c_cflag);
    struct termio old;
    open_pair();
    TRY(ioctl(slave, TCGETA, &old));
    printf("termio: %o %o %o %o\n", old.c_iflag, old.c_oflag, old.c_cflag, old.c_lflag);
    old.c_lflag &= ~ICANON;
    TRY(ioctl(slave, TCSETAW, &old));
    print_settings("after TCSETAW", get(slave));
    struct winsize w = {1, 2, 3, 4};
    TRY(ioctl(slave, TIOCGWINSZ, &w));
    printf("%d %d %d %d\n", w.ws_row, w.ws_col, w.ws_xpixel, w.ws_ypixel);
    w = (struct winsize){30, 90, 5, 6};
    TRY(ioctl(master, TIOCSWINSZ, &w));
    memset(&w, 0, sizeof w);
    TRY(ioctl(slave, TIOCGWINSZ, &w));
    printf("%d %d %d %d\n", w.ws_row, w.ws_col, w.ws_xpixel, w.ws_ypixel);
}

static void leave(struct termios *t) { (void)t; }

static void editing(void) {
    BOTH("a line", "hello\n");
    BOTH("carriage return", "hello\r");
    BOTH("erase", "helxx\x7f\x7flo\n");
    BOTH("erase a control character", "a\x01\x7f" "b\n");
    BOTH("erase a tab", "ab\tc\x7f\x7f" "d\n");
    BOTH("erase two tabs", "a\t\t\x7f\x7f" "b\n");
    BOTH("erase nothing", "\x7f\x7f" "a\n");
    BOTH("word", "one two_3 ...\x17" "x\n");
    BOTH("words", "one  two  \x17\x17x\n");
    BOTH("kill", "gone\x15kept\n");
    BOTH("literal", "a\x16\x03" "b\x16\x16" "c\x16\n" "d\n");
    BOTH("reprint", "ab\x12" "c\n");
    BOTH("end of file", "abc\x04");
    BOTH("only an end of file", "\x04");
    BOTH("two ends", "a\x04\x04");
    BOTH("two lines", "one\ntwo\n");
    BOTH("no end", "unfinished");
    BOTH("interrupt", "abc\x03" "def\n");
    BOTH("quit", "abc\x1c" "def\n");
    BOTH("suspend", "abc\x1a" "def\n");
    BOTH("stop and start", "a\x13" "b\n\x11" "c\n");
    BOTH("a byte above", "\xe9\xff\n");
    BOTH("UTF-8 without IUTF8", "\xc3\xa9\x7f\n");
    BOTH("zero", "a\0b\n");
    BOTH("bell", "\x07\n");
}

static void partial_reads(void) {
    TYPE("abcdef\n");
    show_input("3 of a line", 3);
    show_input("the rest", 100);
    TYPE("abc\x04" "def\n");
    show_input("as many as before the end", 3);
    show_input("after it", 100);
    TYPE("a\x04\x04z\n");
    show_input("line without newline", 100);
    show_input("end of file", 100);
    show_input("next", 100);
    show_screen("echo");
    char line[6000];
    memset(line, 'x', sizeof line);
    line[5000] = '\n';
    type(line, 5001);
    long echoed = gather(master, line, sizeof line, 200);
    TRUE(echoed >= 4096);
    VALUE(read(slave, line, sizeof line));
}

static void utf8(struct termios *t) { t->c_iflag |= IUTF8; }
static void test_utf8(void) {
    BOTH("erase two bytes", "a\xc3\xa9\x7f" "b\n");
    BOTH("erase three bytes", "\xe2\x82\xac\xe2\x82\xac\x7f\n");
    BOTH("erase a tab after it", "\xc3\xa9\t\x7f\x7f\n");
    BOTH("word", "a \xc3\xa9\xc3\xa9\x17\n");
}

static void no_echo(struct termios *t) { t->c_lflag &= ~ECHO; }
static void echo_newline(struct termios *t) { t->c_lflag = (t->c_lflag & ~ECHO) | ECHONL; }
static void no_echoctl(struct termios *t) { t->c_lflag &= ~ECHOCTL; }
static void no_echoe(struct termios *t) { t->c_lflag &= ~ECHOE; }
static void no_echoke(struct termios *t) { t->c_lflag &= ~ECHOKE; }
static void no_echok(struct termios *t) { t->c_lflag &= ~(ECHOKE | ECHOK); }
static void paper(struct termios *t) { t->c_lflag |= ECHOPRT; }
static void no_iexten(struct termios *t) { t->c_lflag &= ~IEXTEN; }
static void no_isig(struct termios *t) { t->c_lflag &= ~ISIG; }
static void noflsh(struct termios *t) { t->c_lflag |= NOFLSH; }
static void test_echo(void) {
    BOTH("line", "ab\tc\n");
    BOTH("controls", "\x01\x7f\x16\x02\n");
    BOTH("erasures", "abc\x7f\x7f" "d\x7f\x7f" "e\n");
    BOTH("word", "one two\x17three\n");
    BOTH("kill", "one\ttwo\x15three\n");
    BOTH("reprint", "a\x12" "b\n");
    BOTH("interrupt", "a\x03" "b\n");
    BOTH("end", "a\x04");
}

static void igncr(struct termios *t) { t->c_iflag = IGNCR; }
static void inlcr(struct termios *t) { t->c_iflag = INLCR; }
static void istrip(struct termios *t) { t->c_iflag |= ISTRIP; }
static void iuclc(struct termios *t) { t->c_iflag |= IUCLC; }
static void parmrk(struct termios *t) { t->c_iflag |= PARMRK; }
static void ixany(struct termios *t) { t->c_iflag |= IXANY; }
static void no_ixon(struct termios *t) { t->c_iflag &= ~IXON; }
static void test_input(void) {
    BOTH("line breaks", "a\rb\nc\n");
    BOTH("letters", "aBc\xe1\xc1\xff\n");
    BOTH("flow", "a\x13" "b\x11" "c\n");
}

static void eols(struct termios *t) { t->c_cc[VEOL] = ';'; t->c_cc[VEOL2] = '!'; }
static void test_eol(void) {
    BOTH("VEOL", "ab;cd\n");
    BOTH("VEOL2", "ab!cd\n");
}
static void disabled(struct termios *t) { t->c_cc[VINTR] = t->c_cc[VERASE] = t->c_cc[VEOF] = 0; }
static void test_disabled(void) { BOTH("nothing special", "a\x03\x7f\x04\0\n"); }

static void raw_with_echo(struct termios *t) { t->c_lflag &= ~ICANON; }
static void test_raw_echo(void) {
    BOTH("bytes", "a\x7f\x15\x04\x17\x16\n");
    BOTH("line breaks", "a\rb\n");
    BOTH("interrupt", "a\x03" "b");
}

static void raw(struct termios *t) {
    t->c_iflag = t->c_oflag = t->c_lflag = 0;
    t->c_cc[VMIN] = 1;
    t->c_cc[VTIME] = 0;
}
static void test_raw(void) { BOTH("every byte", "a\x03\x13\x11\r\n\x7f\0\xff"); }

static void output(const char *label, unsigned flags) {
    open_pair();
    struct termios t = get(slave);
    t.c_oflag = flags;
    set(t);
    const char text[] = "ab\tc\nd\re\n\rf\b\bg\th\n\t\tI\xe9j";
    VALUE(write(slave, text, sizeof text - 1));
    show_screen(label);
}

static void output_modes(void) {
    SECTION("output modes");
    output("none", 0);
    output("OPOST", OPOST);
    output("ONLCR", OPOST | ONLCR);
    output("OCRNL", OPOST | OCRNL);
    output("ONOCR", OPOST | ONOCR);
    output("ONLRET", OPOST | ONLRET);
    output("ONLRET ONOCR OCRNL", OPOST | ONLRET | ONOCR | OCRNL);
    output("XTABS", OPOST | XTABS);
    output("XTABS ONLCR", OPOST | XTABS | ONLCR);
    output("OLCUC", OPOST | OLCUC);
    output("delays", OPOST | ONLCR | NL1 | CR3 | BS1 | FF1 | VT1 | OFILL);
}

static void timing(int least, int tenths, const char *text, const char *later) {
    open_pair();
    struct termios t = get(slave);
    raw(&t);
    t.c_cc[VMIN] = least;
    t.c_cc[VTIME] = tenths;
    set(t);
    printf("VMIN %d, VTIME %d, \"%s\", \"%s\"\n", least, tenths, text, later);
    if (*text) type(text, strlen(text));
    sleep_ms(20);
    pid_t child = 0;
    if (*later && !(child = MUST(fork()))) {
        sleep_ms(120);
        MUST(write(master, later, strlen(later)));
        _exit(0);
    }
    struct pollfd p = {slave, POLLIN, 0};
    printf("poll: %d\n", poll(&p, 1, 0));
    char buffer[100];
    long long begin = now_ns();
    show("read", buffer, read(slave, buffer, 6));
    long ms = (now_ns() - begin) / 1000000;
    printf("after %s\n", ms < 60 ? "no time" : ms < 1000 ? "a while" : "long");
    if (child) waitpid(child, 0, 0);
}

static void all_timings(void) {
    SECTION("VMIN and VTIME");
    timing(0, 0, "", "");
    timing(0, 0, "abc", "");
    timing(0, 2, "", "");
    timing(0, 3, "", "x");
    timing(0, 2, "abc", "");
    timing(1, 0, "abc", "");
    timing(1, 0, "", "x");
    timing(3, 0, "ab", "c");
    timing(9, 0, "abcdef", "");
    timing(3, 5, "ab", "c");
    timing(3, 2, "a", "");
    timing(3, 3, "", "x");
    open_pair();
    struct termios t = get(slave);
    raw(&t);
    t.c_cc[VMIN] = 3;
    set(t);
    fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK);
    char buffer[10];
    VALUE(read(slave, buffer, 10));
    TYPE("ab");
    sleep_ms(20);
    VALUE(read(slave, buffer, 10));
    t.c_cc[VMIN] = 0;
    set(t);
    VALUE(read(slave, buffer, 10));
    set((open_pair(), get(slave)));
    fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK);
    TYPE("half");
    sleep_ms(20);
    VALUE(read(slave, buffer, 10));
    VALUE(read(slave, buffer, 0));
}

static void switching(void) {
    SECTION("changes with input waiting");
    open_pair();
    TYPE("line\nhalf");
    sleep_ms(20);
    struct termios cooked = get(slave), t = cooked;
    raw(&t);
    set(t);
    show_input("raw", 100);
    TYPE("typed raw");
    sleep_ms(20);
    set(cooked);
    show_input("as a line", 100);
    TYPE("a\x04");
    sleep_ms(20);
    set(t);
    show_input("the mark of an end", 100);
    set(cooked);
    TYPE("flushed\n");
    sleep_ms(20);
    ioctl(slave, TCSETSF, &t);
    show_input("after TCSETSF", 100);
}

static void flow(void) {
    SECTION("flow");
    open_pair();
    char buffer[100];
    TRY(ioctl(slave, TCXONC, TCOOFF));
    struct pollfd p = {slave, POLLOUT, 0};
    printf("poll: %d\n", poll(&p, 1, 0));
    fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK);
    VALUE(write(slave, "abc", 3));
    TYPE("x\x11");
    show_screen("stopped");
    TRY(ioctl(slave, TCXONC, TCOON));
    VALUE(write(slave, "abc", 3));
    show_screen("goes on");
    TRY(ioctl(slave, TCXONC, TCIOFF));
    show_screen("TCIOFF");
    TRY(ioctl(slave, TCXONC, TCION));
    show_screen("TCION");
    TYPE("\x13");
    sleep_ms(20);
    VALUE(write(slave, "abc", 3));
    struct termios t = get(slave);
    t.c_iflag &= ~IXON;
    set(t);
    VALUE(write(slave, "abc", 3));
    show_screen("without IXON");
    TYPE("abc\n");
    sleep_ms(20);
    TRY(ioctl(slave, TCFLSH, TCIFLUSH));
    VALUE(read(slave, buffer, 100));
    VALUE(ioctl(slave, TIOCSTI, "z"));
}

static void poll_of(const char *label) {
    struct pollfd p[2] = {{master, POLLIN | POLLOUT | POLLPRI, 0}, {slave, POLLIN | POLLOUT | POLLPRI, 0}};
    sleep_ms(20);
    poll(p, 2, 0);
    printf("%s: master %x, slave %x\n", label, p[0].revents, p[1].revents);
}

static void hang_ups(void) {
    SECTION("hang-ups");
    char buffer[100];
    int value;
    open_pair();
    poll_of("open");
    TYPE("abc");
    poll_of("half a line");
    TYPE("\n");
    poll_of("a line");
    MUST(write(slave, "last words", 10));
    struct stat st;
    MUST(fstat(slave, &st));
    char path[64];
    MUST(ptsname_r(master, path, sizeof path));
    close(slave);
    slave = -1;
    sleep_ms(20);
    show_screen("after the slave's close");
    VALUE(read(master, buffer, 100));
    poll_of("slave closed");
    VALUE(write(master, "typed into nothing\n", 19));
    TRY(ioctl(master, TIOCGWINSZ, buffer));
    slave = open(path, O_RDWR | O_NOCTTY);
    poll_of("open again");
    show_input("what was typed before", 100);
    show_input("what was typed meanwhile", 100);
    close(master);
    master = -1;
    poll_of("master closed");
    VALUE(read(slave, buffer, 100));
    VALUE(write(slave, "x", 1));
    TRY(ioctl(slave, TCGETS, buffer));
    TRY(ioctl(slave, TIOCGWINSZ, buffer));
    TRY(ioctl(slave, TIOCSPGRP, &value));
    TRY(ioctl(slave, FIONREAD, &value));
    TRY(open(path, O_RDWR));
    TRY(isatty(slave) - 1);
    /* A master that never had a slave. */
    int lonely = MUST(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK));
    VALUE(read(lonely, buffer, 100));
    VALUE(write(lonely, "x", 1));
    sleep_ms(20);
    struct pollfd p = {lonely, POLLIN | POLLOUT, 0};
    poll(&p, 1, 0);
    printf("lonely: %x\n", p.revents);
    close(lonely);
    /* vhangup of the slave by ioctl. */
    open_pair();
    TRY(ioctl(slave, TIOCVHANGUP, 0));
    VALUE(read(slave, buffer, 100));
    poll_of("after TIOCVHANGUP");
    close(slave);
    slave = -1;
    sleep_ms(20);
    VALUE(read(master, buffer, 100));
}

static void packets(void) {
    SECTION("packet mode");
    open_pair();
    int on = 1, value = -1;
    TRY(ioctl(master, TIOCPKT, &on));
    TRY(ioctl(master, TIOCGPKT, &value));
    VALUE(value);
    MUST(write(slave, "abc", 3));
    char buffer[100];
    sleep_ms(20);
    show("data", buffer, read(master, buffer, 100));
    MUST(ioctl(slave, TCFLSH, TCIFLUSH));
    poll_of("flushed");
    show("TCIFLUSH", buffer, read(master, buffer, 100));
    MUST(ioctl(slave, TCFLSH, TCIOFLUSH));
    show("TCIOFLUSH", buffer, read(master, buffer, 100));
    TYPE("\x13");
    sleep_ms(20);
    show("stop", buffer, read(master, buffer, 100));
    TYPE("\x11");
    sleep_ms(20);
    show("start", buffer, read(master, buffer, 100));
    struct termios t = get(slave), old = t;
    t.c_iflag &= ~IXON;
    set(t);
    show("IXON off", buffer, read(master, buffer, 100));
    set(old);
    show("IXON on", buffer, read(master, buffer, 100));
    t = old;
    t.c_lflag |= EXTPROC;
    set(t);
    show("EXTPROC on", buffer, read(master, buffer, 100));
    TYPE("a\x03\x7f\r");
    show_input("untouched", 100);
    set(old);
    show("EXTPROC off", buffer, read(master, buffer, 100));
    TYPE("abc\x03");
    sleep_ms(20);
    show("interrupt", buffer, read(master, buffer, 100));
    sleep_ms(20);
    show("its echo", buffer, read(master, buffer, 100));
    fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
    VALUE(read(master, buffer, 100));
    on = 0;
    TRY(ioctl(master, TIOCPKT, &on));
    MUST(write(slave, "plain", 5));
    show_screen("off");
}

static void much(void) {
    SECTION("much");
    open_pair();
    struct termios t = get(slave);
    raw(&t);
    set(t);
    enum { MUCH = 300000 };
    for (int way = 0; way < 2; way++) {
        int from = way ? master : slave, to = way ? slave : master;
        pid_t child = MUST(fork());
        if (!child) {
            char block[1000];
            for (int sent = 0; sent < MUCH; sent += sizeof block) {
                for (size_t i = 0; i < sizeof block; i++) block[i] = (sent + i) * 7 % 251;
                for (size_t done = 0; done < sizeof block;) done += MUST(write(from, block + done, sizeof block - done));
            }
            _exit(0);
        }
        char buffer[3000];
        long total = 0, wrong = 0;
        while (total < MUCH) {
            long got = MUST(read(to, buffer, sizeof buffer));
            for (long i = 0; i < got; i++) wrong += (unsigned char)buffer[i] != (total + i) * 7 % 251;
            total += got;
        }
        waitpid(child, 0, 0);
        printf("%ld bytes, %ld wrong\n", total, wrong);
    }
    fcntl(slave, F_SETFL, O_RDWR | O_NONBLOCK);
    fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
    char block[4096] = {0};
    while (write(slave, block, sizeof block) > 0) {}
    VALUE(write(slave, block, sizeof block));
    // Linux passes on what was written by another thread, which may be late: it is full if it stays so.
    for (int refusals = 0; refusals < 50; sleep_ms(2)) refusals = write(master, block, sizeof block) > 0 ? 0 : refusals + 1;
    VALUE(write(master, block, sizeof block));
    struct pollfd p = {master, POLLOUT, 0};
    printf("input is full: %d\n", poll(&p, 1, 0));
}

static volatile sig_atomic_t signals[65];
static void count(int signal) { signals[signal]++; }

static void catch(int signal) {
    struct sigaction action = {.sa_handler = count};
    sigaction(signal, &action, 0);
}

static void sessions(void) {
    SECTION("sessions");
    open_pair();
    fflush(stdout);
    int other = MUST(posix_openpt(O_RDWR | O_NOCTTY)), value;
    unlockpt(other);
    pid_t child = MUST(fork());
    if (!child) {
        TRY(open("/dev/tty", O_RDWR) >= 0 ? 0 : 0);
        MUST(setsid());
        TRY(open("/dev/tty", O_RDWR));
        TRY(ioctl(slave, TIOCGPGRP, &value));
        TRY(ioctl(slave, TIOCGSID, &value));
        TRY(ioctl(slave, TIOCSCTTY, 0));
        TRY(ioctl(slave, TIOCSCTTY, 0));
        int second = MUST(ioctl(other, TIOCGPTPEER, O_RDWR));
        TRY(ioctl(second, TIOCSCTTY, 0));
        int own = open("/dev/tty", O_RDWR);
        TRUE(own >= 0);
        struct stat st;
        fstat(own, &st);
        printf("/dev/tty %d:%d\n", major(st.st_rdev), minor(st.st_rdev));
        MUST(ioctl(own, TIOCGPGRP, &value));
        TRUE(value == getpid());
        MUST(ioctl(own, TIOCGSID, &value));
        TRUE(value == getpid());
        MUST(ioctl(master, TIOCGSID, &value));
        TRUE(value == getpid());
        catch(SIGINT);
        catch(SIGQUIT);
        catch(SIGWINCH);
        catch(SIGHUP);
        catch(SIGCONT);
        TYPE("\x03");
        while (!signals[SIGINT]) sleep_ms(1);
        TYPE("\x1c");
        while (!signals[SIGQUIT]) sleep_ms(1);
        MUST(ioctl(master, TIOCSIG, SIGINT));
        while (signals[SIGINT] != 2) sleep_ms(1);
        struct winsize w = {10, 20, 0, 0};
        MUST(ioctl(slave, TIOCSWINSZ, &w));
        MUST(ioctl(slave, TIOCSWINSZ, &w));
        sleep_ms(5);
        printf("SIGWINCH %d\n", signals[SIGWINCH]);
        value = 12345678;
        TRY(ioctl(slave, TIOCSPGRP, &value));
        value = -5;
        TRY(ioctl(slave, TIOCSPGRP, &value));
        value = getppid();
        TRY(ioctl(slave, TIOCSPGRP, &value));
        TRY(ioctl(slave, TIOCSPGRP, (int *)8));

        /* A group in the background. */
        pid_t job = MUST(fork());
        if (!job) {
            setpgid(0, 0);
            char c;
            signal(SIGTTIN, SIG_IGN);
            VALUE(read(slave, &c, 1));
            signal(SIGTTIN, SIG_DFL);
            signal(SIGTTOU, SIG_IGN);
            struct termios t = get(slave);
            TRY(ioctl(slave, TCSETS, &t));
            t.c_lflag |= TOSTOP;
            set(t);
            VALUE(write(slave, "", 0));
            signal(SIGTTOU, SIG_DFL);
            fflush(stdout);
            write(slave, "to be stopped", 13);
            ioctl(slave, TCSETS, &t);
            read(slave, &c, 1);
            printf("got %c\n", c);
            fflush(stdout);
            _exit(4);
        }
        setpgid(job, job);
        int status;
        for (int stops = 0; stops < 3; stops++) {
            MUST(waitpid(job, &status, WUNTRACED));
            printf("job: %s\n", ending(status));
            if (stops == 2) {
                MUST(ioctl(slave, TIOCSPGRP, &job));
                TYPE("x\n");
            } else {
                struct termios t = get(slave);
                t.c_lflag &= ~TOSTOP;
                set(t);
            }
            kill(-job, SIGCONT);
        }
        MUST(waitpid(job, &status, WUNTRACED));
        printf("job: %s\n", ending(status));
        signal(SIGTTOU, SIG_IGN);
        value = getpid();
        TRY(ioctl(slave, TIOCSPGRP, &value));
        signal(SIGTTOU, SIG_DFL);

        /* A child gives the terminal up for itself, then the leader for all. */
        IN_CHILD("child without", {
            TRY(ioctl(slave, TIOCNOTTY, 0));
            TRY(ioctl(slave, TIOCNOTTY, 0));
            TRY(open("/dev/tty", O_RDWR));
            TRY(ioctl(slave, TIOCGPGRP, &value));
            TRY(ioctl(slave, TIOCSCTTY, 0));
        });
        TRY(ioctl(slave, TIOCGPGRP, &value));
        int before = signals[SIGHUP];
        TRY(ioctl(slave, TIOCNOTTY, 0));
        printf("SIGHUP %d\n", signals[SIGHUP] - before);
        TRY(open("/dev/tty", O_RDWR));
        TRY(ioctl(slave, TIOCSCTTY, 0));

        /* The master goes: the leader is told, and the terminal is dead. */
        before = signals[SIGHUP];
        close(master);
        sleep_ms(20);
        printf("SIGHUP %d\n", signals[SIGHUP] - before);
        TRY(open("/dev/tty", O_RDWR));
        char c;
        VALUE(read(own, &c, 1));
        VALUE(write(own, "x", 1));
        fflush(stdout);
        _exit(0);
    }
    close(master);
    master = -1;
    int status;
    MUST(waitpid(child, &status, 0));
    printf("leader: %s\n", ending(status));
    close(other);
}

static void stealing(void) {
    SECTION("other sessions' terminals");
    open_pair();
    char path[64];
    MUST(ptsname_r(master, path, sizeof path));
    int ends[2];
    MUST(pipe(ends));
    fflush(stdout);
    pid_t owner = MUST(fork());
    if (!owner) {
        setsid();
        MUST(open(path, O_RDWR));
        int value;
        TRY(ioctl(slave, TIOCGSID, &value));
        TRUE(value == getpid());
        fflush(stdout);
        write(ends[1], "x", 1);
        pause();
    }
    char c;
    read(ends[0], &c, 1);
    IN_CHILD("thief", {
        setsid();
        TRY(ioctl(slave, TIOCSCTTY, 0));
        open(path, O_RDWR);
        TRY(open("/dev/tty", O_RDWR));
        TRY(ioctl(slave, TIOCSCTTY, 1));
        TRUE(open("/dev/tty", O_RDWR) >= 0);
    });
    kill(owner, SIGKILL);
    waitpid(owner, 0, 0);
}

static void leader_ends(void) {
    SECTION("the end of a leader");
    open_pair();
    int ends[2];
    MUST(pipe(ends));
    fflush(stdout);
    pid_t leader = MUST(fork());
    if (!leader) {
        setsid();
        MUST(ioctl(slave, TIOCSCTTY, 0));
        for (int background = 0; background < 2; background++) {
            pid_t job = MUST(fork());
            if (!job) {
                setpgid(0, 0);
                catch(SIGHUP);
                signal(SIGTTOU, SIG_IGN);
                int own = getpid();
                if (!background) MUST(ioctl(slave, TIOCSPGRP, &own));
                write(ends[1], "r", 1);
                for (int i = 0; i < 100 && !signals[SIGHUP]; i++) sleep_ms(5);
                printf("%s: SIGHUP %d\n", background ? "background" : "foreground", signals[SIGHUP]);
                if (background) sleep_ms(100);
                int value;
                TRY(ioctl(slave, TIOCGPGRP, &value));
                fflush(stdout);
                write(ends[1], "d", 1);
                _exit(0);
            }
            char c;
            read(ends[0], &c, 1);
        }
        _exit(0);
    }
    waitpid(leader, 0, 0);
    char c;
    read(ends[0], &c, 1);
    read(ends[0], &c, 1);
    /* The terminal lives on for others. */
    IN_CHILD("next leader", {
        setsid();
        TRY(ioctl(slave, TIOCSCTTY, 0));
    });
}

static void orphans(void) {
    SECTION("orphans");
    open_pair();
    int ends[2];
    MUST(pipe(ends));
    fflush(stdout);
    pid_t leader = MUST(fork());
    if (!leader) {
        setsid();
        MUST(ioctl(slave, TIOCSCTTY, 0));
        pid_t shell = MUST(fork());
        if (!shell) {
            setpgid(0, 0);
            if (!MUST(fork())) {
                while (getppid() != 1 && kill(getppid(), 0) == 0 && getppid() == shell) sleep_ms(1);
                sleep_ms(50);
                char c;
                VALUE(read(slave, &c, 1));
                struct termios t = get(slave);
                TRY(ioctl(slave, TCSETS, &t));
                fflush(stdout);
                write(ends[1], "d", 1);
                _exit(0);
            }
            sleep_ms(20);
            _exit(0);
        }
        waitpid(shell, 0, 0);
        char c;
        read(ends[0], &c, 1);
        _exit(0);
    }
    waitpid(leader, 0, 0);
}

int main(void) {
    setvbuf(stdout, 0, _IOLBF, 1 << 16);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    if (getsid(0) != getpid() && getpgrp() == getpid()) {
        fflush(stdout);
        pid_t child = MUST(fork());
        if (child) {
            int status;
            waitpid(child, &status, 0);
            return WEXITSTATUS(status);
        }
    }
    setsid();
    signal(SIGHUP, SIG_DFL);
    signal(SIGTTOU, SIG_DFL);
    names();
    unknown_ioctls();
    settings();
    with("editing", leave, editing);
    with("partial reads", leave, partial_reads);
    with("IUTF8", utf8, test_utf8);
    with("without ECHO", no_echo, test_echo);
    with("ECHONL", echo_newline, test_echo);
    with("without ECHOCTL", no_echoctl, test_echo);
    with("without ECHOE", no_echoe, test_echo);
    with("without ECHOKE", no_echoke, test_echo);
    with("without ECHOK", no_echok, test_echo);
    with("ECHOPRT", paper, test_echo);
    with("without IEXTEN", no_iexten, test_echo);
    with("without ISIG", no_isig, test_echo);
    with("NOFLSH", noflsh, test_echo);
    with("IGNCR", igncr, test_input);
    with("INLCR", inlcr, test_input);
    with("ISTRIP", istrip, test_input);
    with("IUCLC", iuclc, test_input);
    with("PARMRK", parmrk, test_input);
    with("IXANY", ixany, test_input);
    with("without IXON", no_ixon, test_input);
    with("VEOL", eols, test_eol);
    with("disabled characters", disabled, test_disabled);
    with("without ICANON", raw_with_echo, test_raw_echo);
    with("raw", raw, test_raw);
    output_modes();
    all_timings();
    switching();
    flow();
    hang_ups();
    packets();
    much();
    sessions();
    stealing();
    leader_ends();
    orphans();
    return 0;
}
