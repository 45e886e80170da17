/* Contents of files: offsets, holes, allocation, truncation, limits, appending, direct I/O, copies inside the kernel, per-call flags. */
#include "check.h"
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/eventfd.h>
#include <sys/epoll.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

static struct stat st;
static char text[1 << 17];
static int is_tmpfs;

#define P 4096L

static void size_of(const char *label, int fd) {
    fstat(fd, &st);
    printf("%s: size %ld blocks %ld\n", label, (long)st.st_size, is_tmpfs ? (long)st.st_blocks : -1L);
}

static void holes_of(int fd) {
    printf("data");
    for (off_t at = 0;;) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0) { printf(" %s\n", error_name(errno)); break; }
        at = lseek(fd, data, SEEK_HOLE);
        printf(" %ld-%ld", (long)data, (long)at);
    }
}

static int nonzero(int fd, off_t from, off_t len) {
    memset(text, 7, len);
    ssize_t size = pread(fd, text, len, from);
    int count = 0;
    for (ssize_t i = 0; i < size; i++) count += text[i] != 0;
    return count;
}

static int fresh(const char *name, int flags) {
    unlink(name);
    return MUST(open(name, O_CREAT | O_EXCL | flags, 0644));
}

static void fill(int fd, off_t from, off_t len) {
    memset(text, 'x', sizeof text);
    MUST(pwrite(fd, text, len, from));
}

static void offsets(void) {
    SECTION("offsets");
    int fd = fresh("o", O_RDWR), dir = MUST(open(".", O_RDONLY)), reader = MUST(open("o", O_RDONLY)), writer = MUST(open("o", O_WRONLY)), path = MUST(open("o", O_PATH)), pipes[2];
    MUST(pipe(pipes));
    off_t far = 0x7fffffffffffffff;
    if (is_tmpfs) VALUE(lseek(fd, far, SEEK_SET) > 0), VALUE(lseek(fd, 1, SEEK_CUR));
    VALUE(lseek(fd, -1, SEEK_SET)), VALUE(lseek(fd, 1L << 43, SEEK_SET)), VALUE(lseek(fd, -1, SEEK_CUR)), VALUE(lseek(fd, -1, SEEK_END)), VALUE(lseek(fd, 0, 5)), VALUE(lseek(fd, 0, -1)), VALUE(lseek(999, 0, 0)), VALUE(lseek(path, 0, 0)), VALUE(lseek(pipes[0], 0, SEEK_CUR)), VALUE(lseek(pipes[0], 0, 9));
    VALUE(pwrite(fd, "x", 1, far)), VALUE(pwrite(fd, "x", 1, -1)), VALUE(pwrite(fd, "x", 0, far)), VALUE(pwrite(fd, "x", 0, -1)), VALUE(pread(fd, text, 1, far)), VALUE(pread(fd, text, 0, far)), VALUE(pread(fd, text, 1, -1)), VALUE(pread(fd, text, 5, far - 2));
    VALUE(lseek(fd, 0, SEEK_DATA)), VALUE(lseek(fd, 0, SEEK_HOLE)), VALUE(lseek(fd, -1, SEEK_DATA)), VALUE(lseek(fd, -1, SEEK_HOLE)), VALUE(lseek(pipes[0], 0, SEEK_DATA));
    VALUE(ftruncate(fd, far) == 0 || errno == EFBIG), VALUE(ftruncate(fd, 0)), VALUE(ftruncate(fd, -1)), VALUE(ftruncate(reader, 5)), VALUE(ftruncate(writer, 5)), VALUE(ftruncate(dir, 5)), VALUE(ftruncate(pipes[1], 5)), VALUE(ftruncate(path, 5)), VALUE(ftruncate(999, 5)), VALUE(ftruncate(999, -5)), VALUE(truncate("o", -1)), VALUE(truncate("/dev/null", 0)), VALUE(truncate("/proc/self/status", 0));
    VALUE(read(writer, text, 1)), VALUE(write(reader, text, 1)), VALUE(pread(writer, text, 1, 0)), VALUE(pwrite(reader, text, 1, 0)), VALUE(read(dir, text, 1)), VALUE(pread(dir, text, 1, 0)), VALUE(read(path, text, 1)), VALUE(write(path, text, 1)), VALUE(pread(pipes[0], text, 1, 0)), VALUE(pwrite(pipes[1], text, 1, 0)), VALUE(pread(pipes[1], text, 1, 0)), VALUE(pread(999, text, 1, -1)), VALUE(readv(fd, NULL, 0)), VALUE(readv(fd, NULL, 1)), VALUE(readv(fd, NULL, -1)), VALUE(writev(fd, (struct iovec[]){{text, -1}}, 1)), VALUE(readv(fd, (struct iovec[1025]){{text, 1}}, 1024)), VALUE(readv(fd, (struct iovec[1025]){{text, 1}}, 1025));
    VALUE(writev(fd, (struct iovec[]){{(void *)8, 5}}, 1)), VALUE(writev(fd, (struct iovec[]){{"ab", 2}, {(void *)8, 5}}, 2)), VALUE(writev(fd, (struct iovec[]){{(void *)8, 0}, {"ab", 2}}, 2)), VALUE(read(fd, (void *)8, 0)), VALUE(read(dir, (void *)8, 0)), VALUE(write(fd, (void *)8, 0)), VALUE(read(writer, text, 0)), VALUE(write(reader, text, 0)), VALUE(pread(fd, (void *)8, 4, 0)), VALUE(lseek(dir, 0, SEEK_CUR)), VALUE(lseek(dir, -1, SEEK_SET)), VALUE(lseek(dir, -5, SEEK_CUR));
    VALUE(ioctl(fd, FIOQSIZE, &(loff_t){0})), VALUE(ioctl(fd, FIGETBSZ, &(int){0})), VALUE(ioctl(fd, FICLONE, fd)), VALUE(ioctl(fd, FIONREAD, 8)), VALUE(ioctl(999, FIONREAD, text)), VALUE(ioctl(path, FIONREAD, text)), VALUE(ioctl(dir, FIONBIO, &(int){1})), VALUE(fcntl(dir, F_GETFL) & O_NONBLOCK), VALUE(ioctl(fd, 0xdead, text));
}

static void holes(void) {
    SECTION("holes");
    int fd = fresh("h", O_RDWR);
    fill(fd, 16 * P, P), fill(fd, 32 * P + 100, 50), MUST(ftruncate(fd, 64 * P));
    holes_of(fd), size_of("sparse", fd);
    for (long at = 0; at < 70 * P; at += 8 * P) printf(" %ld", lseek(fd, at, SEEK_DATA) < 0 ? -errno : lseek(fd, 0, SEEK_CUR)), printf("/%ld", lseek(fd, at, SEEK_HOLE) < 0 ? -errno : lseek(fd, 0, SEEK_CUR));
    printf("\n");
    char *map = mmap(NULL, 64 * P, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    map[48 * P] = 1;
    if (is_tmpfs) holes_of(fd);
    VALUE(ftruncate(fd, 32 * P + 120)), VALUE(ftruncate(fd, 40 * P)), VALUE(nonzero(fd, 32 * P, 8 * P)), holes_of(fd);
    VALUE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 16 * P + 10, 2 * P)), VALUE(nonzero(fd, 16 * P, 4 * P)), holes_of(fd);
    fill(fd, 0, 8 * P);
    VALUE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, P + 1, 3 * P - 2)), VALUE(nonzero(fd, 0, 8 * P)), holes_of(fd), size_of("punched", fd), VALUE(map[2 * P]), VALUE(map[5 * P]);
    VALUE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 39 * P, 100 * P)), size_of("past the end", fd);
    VALUE(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, P)), VALUE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 0)), VALUE(fallocate(fd, 0, -1, 5)), VALUE(fallocate(fd, 0, 5, -1)), VALUE(fallocate(fd, 0, 0, 0)), VALUE(fallocate(fd, 0, 0x7fffffffffffffff, 1)), VALUE(fallocate(fd, 0x4000, 0, P)), VALUE(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, 0, P)), VALUE(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE, 0, P));
    if (is_tmpfs) VALUE(fallocate(fd, FALLOC_FL_ZERO_RANGE, 0, P)), VALUE(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, P)), VALUE(fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, P)), VALUE(fallocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, P));
    int reader = MUST(open("h", O_RDONLY)), dir = MUST(open(".", O_RDONLY)), pipes[2], path = MUST(open("h", O_PATH)), null = MUST(open("/dev/null", O_RDWR)), event = eventfd(0, 0), sockets[2];
    MUST(pipe(pipes)), MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    VALUE(fallocate(reader, 0, 0, P)), VALUE(fallocate(dir, 0, 0, P)), VALUE(fallocate(pipes[1], 0, 0, P)), VALUE(fallocate(pipes[0], 0, 0, P)), VALUE(fallocate(path, 0, 0, P)), VALUE(fallocate(999, 0, 0, P)), VALUE(fallocate(null, 0, 0, P)), VALUE(fallocate(event, 0, 0, P)), VALUE(fallocate(sockets[0], 0, 0, P)), VALUE(fallocate(reader, 0, -1, P)), VALUE(fallocate(999, 0, -1, P));
    VALUE(fallocate(fd, FALLOC_FL_KEEP_SIZE, 100 * P, P)), size_of("kept", fd), VALUE(fallocate(fd, 0, 100 * P, P + 1)), size_of("grown", fd), VALUE(nonzero(fd, 64 * P, 30 * P));
    VALUE(ftruncate(fd, 0)), size_of("empty", fd);
}

static void limits(void) {
    SECTION("RLIMIT_FSIZE");
    int fd = fresh("l", O_RDWR), source = fresh("ls", O_RDWR), append = MUST(open("l", O_WRONLY | O_APPEND)), pipes[2];
    fill(source, 0, 100), MUST(pipe(pipes)), MUST(write(pipes[1], text, 100));
    IN_CHILD("ignored", signal(SIGXFSZ, SIG_IGN); setrlimit(RLIMIT_FSIZE, &(struct rlimit){10, 10}); VALUE(pwrite(fd, text, 20, 0)); VALUE(pwrite(fd, text, 1, 10)); VALUE(pwrite(fd, text, 0, 10)); VALUE(pwrite(fd, text, 1, 9)); VALUE(ftruncate(fd, 11)); VALUE(ftruncate(fd, 10)); VALUE(truncate("l", 11)); VALUE(fallocate(fd, 0, 0, 11)); VALUE(ftruncate(fd, 5));
             VALUE(write(append, text, 20)); VALUE(write(append, text, 1)); VALUE(sendfile(append, source, NULL, 10)); VALUE(lseek(fd, 5, SEEK_SET)); VALUE(sendfile(fd, source, &(off_t){0}, 10)); VALUE(sendfile(fd, source, &(off_t){0}, 10)); VALUE(copy_file_range(source, &(off_t){0}, fd, &(off_t){0}, 100, 0)); VALUE(copy_file_range(source, &(off_t){0}, fd, &(off_t){10}, 100, 0)); VALUE(splice(pipes[0], NULL, fd, &(off_t){5}, 50, 0)); VALUE(splice(pipes[0], NULL, fd, &(off_t){10}, 50, 0)); struct iovec iov = {text, 30}; VALUE(pwritev2(fd, &iov, 1, 3, 0)); VALUE(pwritev2(fd, &iov, 1, -1, RWF_APPEND)); VALUE(write(pipes[1], text, 50)));
    size_of("after", fd);
    IN_CHILD("signalled", setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); setrlimit(RLIMIT_FSIZE, &(struct rlimit){10, 10}); VALUE(pwrite(fd, text, 20, 5)); VALUE(pwrite(fd, text, 20, 10)); printf("not reached\n"));
    IN_CHILD("ftruncate", setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0}); setrlimit(RLIMIT_FSIZE, &(struct rlimit){10, 10}); VALUE(ftruncate(fd, 20)); printf("not reached\n"));
}

static void appending(void) {
    SECTION("O_APPEND, O_DIRECT, O_SYNC");
    int a = fresh("a", O_RDWR | O_APPEND), b = MUST(open("a", O_WRONLY | O_APPEND));
    VALUE(write(a, "one", 3)), VALUE(write(b, "two", 3)), VALUE(lseek(a, 0, SEEK_CUR)), VALUE(lseek(b, 0, SEEK_CUR)), VALUE(lseek(a, 0, SEEK_SET)), VALUE(read(a, text, 4)), VALUE(write(a, "3", 1)), VALUE(lseek(a, 0, SEEK_CUR)), VALUE(pwrite(a, "four", 4, 0)), VALUE(lseek(a, 0, SEEK_CUR));
    VALUE(pread(a, text, 100, 0)), printf("%.11s\n", text);
    VALUE(fcntl(a, F_SETFL, 0)), VALUE(pwrite(a, "ONE", 3, 0)), VALUE(fcntl(b, F_GETFL) & O_APPEND), VALUE(pread(a, text, 100, 0)), printf("%.11s\n", text);
    struct iovec out = {"end", 3}, in = {text, 100};
    VALUE(pwritev2(a, &out, 1, 0, RWF_APPEND)), VALUE(pread(a, text, 100, 0)), printf("%.14s\n", text), VALUE(lseek(a, 0, SEEK_CUR)), VALUE(pwritev2(a, &out, 1, -1, RWF_APPEND)), VALUE(lseek(a, 0, SEEK_CUR));
    VALUE(pwritev2(a, &out, 1, 2, 0)), VALUE(preadv2(a, &in, 1, 0, 0)), VALUE(preadv2(a, &in, 1, -1, 0)), VALUE(preadv2(a, &in, 1, -2, 0)), VALUE(preadv2(a, &in, 1, 0, RWF_HIPRI)), VALUE(preadv2(a, &in, 1, 0, RWF_APPEND)), VALUE(preadv2(a, &in, 1, 0, 0x8000)), VALUE(pwritev2(a, &out, 1, 0, RWF_DSYNC)), VALUE(pwritev2(a, &out, 1, 0, RWF_SYNC)), VALUE(preadv2(a, &in, 1, 0, RWF_SYNC)), VALUE(preadv2(b, &in, 1, 0, 0)), VALUE(preadv2(999, &in, 1, 0, 0x8000)), VALUE(preadv2(a, (void *)8, 1, 0, 0));
    int pipes[2], event = eventfd(3, 0);
    MUST(pipe(pipes));
    VALUE(preadv2(pipes[0], &in, 1, 0, 0)), VALUE(preadv2(pipes[0], &in, 1, -1, RWF_NOWAIT)), VALUE(pwritev2(pipes[1], &out, 1, -1, RWF_NOWAIT)), VALUE(preadv2(pipes[0], &in, 1, -1, RWF_NOWAIT)), VALUE(pwritev2(pipes[1], &out, 1, -1, RWF_APPEND)), VALUE(preadv2(pipes[0], &in, 1, -1, RWF_HIPRI)), VALUE(preadv2(event, &in, 1, 0, 0)), VALUE(pwritev2(pipes[1], &out, 1, -1, RWF_DSYNC));
    int direct = open("a", O_RDWR | O_DIRECT);
    VALUE(direct >= 0), VALUE(fcntl(direct, F_GETFL) & O_DIRECT);
    char *aligned = mmap(NULL, 2 * P, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    VALUE(pwrite(direct, aligned, P, 0)), VALUE(pwrite(direct, aligned, 2 * P, P)), VALUE(pread(direct, aligned, P, 0)), VALUE(pread(direct, aligned, P, 3 * P)), VALUE(pread(direct, aligned, P, 100 * P));
    int sync = MUST(open("a", O_RDWR | O_SYNC)), dsync = MUST(open("a", O_RDWR | O_DSYNC));
    printf("%o %o\n", fcntl(sync, F_GETFL) & (O_SYNC | O_DSYNC), fcntl(dsync, F_GETFL) & (O_SYNC | O_DSYNC)), VALUE(write(sync, "x", 1)), VALUE(write(dsync, "x", 1)), VALUE(fcntl(sync, F_SETFL, 0)), printf("%o\n", fcntl(sync, F_GETFL) & O_SYNC);
    int odd = MUST(open("a", 3));
    VALUE(read(odd, text, 1)), VALUE(write(odd, text, 1)), VALUE(fcntl(odd, F_GETFL) & 3), VALUE(ioctl(odd, FIGETBSZ, text)), VALUE(fstat(odd, &st));
}

static void copies(void) {
    SECTION("sendfile, copy_file_range, splice");
    int from = fresh("from", O_RDWR), to = fresh("to", O_RDWR), append = MUST(open("to", O_WRONLY | O_APPEND)), reader = MUST(open("from", O_RDONLY)), writer = MUST(open("from", O_WRONLY)), dir = MUST(open(".", O_RDONLY)), path = MUST(open("from", O_PATH)), pipes[2], sockets[2], event = eventfd(1, 0), zero = MUST(open("/dev/zero", O_RDWR)), poller = MUST(epoll_create1(0));
    fill(from, 0, 100000), MUST(pipe(pipes)), MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets));
    int kinds[] = {reader, writer, dir, path, pipes[0], pipes[1], sockets[0], event, zero, poller, to, 999};
    const char *names[] = {"reader", "writer", "dir", "path", "pipe r", "pipe w", "socket", "event", "zero", "epoll", "file", "none"};
    for (int i = 0; i < 12; i++) {
        fcntl(pipes[0], F_SETFL, O_NONBLOCK), fcntl(pipes[1], F_SETFL, O_NONBLOCK), fcntl(sockets[0], F_SETFL, O_NONBLOCK), fcntl(sockets[1], F_SETFL, O_NONBLOCK), fcntl(event, F_SETFL, O_NONBLOCK);
        while (read(pipes[0], text, sizeof text) > 0 || read(sockets[1], text, sizeof text) > 0 || read(event, text, 8) > 0) {}
        MUST(write(pipes[1], "abcdefgh", 8)), MUST(write(sockets[1], "abcd", 4));
        int fd = kinds[i];
        printf("%s:", names[i]);
#define V(call) ({ long v = (call); if (v == -1) printf(" %s", error_name(errno)); else printf(" %ld", v); })
        V(sendfile(to, fd, NULL, 3)); V(sendfile(to, fd, &(off_t){0}, 3)); V(sendfile(fd, from, &(off_t){0}, 8)); V(sendfile(pipes[1], fd, NULL, 5));
        V(copy_file_range(fd, NULL, to, NULL, 4, 0)); V(copy_file_range(from, &(off_t){0}, fd, NULL, 4, 0)); V(splice(fd, NULL, pipes[1], NULL, 4, SPLICE_F_NONBLOCK)); V(splice(pipes[0], NULL, fd, NULL, 4, SPLICE_F_NONBLOCK)); V(splice(fd, &(off_t){0}, pipes[1], NULL, 4, SPLICE_F_NONBLOCK)); V(splice(pipes[0], NULL, fd, &(off_t){0}, 4, SPLICE_F_NONBLOCK)); V(splice(fd, NULL, to, NULL, 4, 0)); V(tee(fd, pipes[1], 3, SPLICE_F_NONBLOCK)); V(tee(pipes[0], fd, 3, SPLICE_F_NONBLOCK)); V(vmsplice(fd, (struct iovec[]){{text, 3}}, 1, SPLICE_F_NONBLOCK)); V(readahead(fd, 0, 100)); V(posix_fadvise(fd, 0, 0, POSIX_FADV_WILLNEED)); V(sync_file_range(fd, 0, 0, 0)); V(fsync(fd)); V(fdatasync(fd)); V(syncfs(fd));
        printf("\n"), lseek(reader, 0, SEEK_SET);
    }
    while (read(pipes[0], text, sizeof text) > 0) {}
    VALUE(sendfile(append, from, &(off_t){0}, 10)), VALUE(sendfile(to, from, &(off_t){-1}, 10)), VALUE(sendfile(to, from, &(off_t){99990}, 100)), VALUE(sendfile(to, from, &(off_t){200000}, 100)), VALUE(sendfile(to, from, (void *)8, 100)), VALUE(sendfile(to, from, &(off_t){0}, 0)), VALUE(sendfile(to, from, NULL, -1) > 0 || errno == EINVAL), VALUE(sendfile(from, from, &(off_t){0}, 10));
    VALUE(copy_file_range(from, &(off_t){0}, from, &(off_t){10}, 100, 0)), VALUE(copy_file_range(from, &(off_t){0}, from, &(off_t){1000}, 100, 0)), VALUE(copy_file_range(from, &(off_t){0}, to, &(off_t){0}, 100, 1)), VALUE(copy_file_range(from, &(off_t){0}, append, NULL, 100, 0)), VALUE(copy_file_range(from, &(off_t){200000}, to, NULL, 100, 0)), VALUE(copy_file_range(from, &(off_t){-1}, to, NULL, 100, 0)), VALUE(copy_file_range(from, &(off_t){0}, to, &(off_t){0x7fffffffffffffff}, 100, 0)), VALUE(copy_file_range(from, &(off_t){0}, to, NULL, 0, 0));
    VALUE(splice(from, &(off_t){0}, pipes[1], NULL, 10, 0x100)), VALUE(splice(from, &(off_t){0}, pipes[1], &(off_t){0}, 10, 0)), VALUE(splice(from, &(off_t){-5}, pipes[1], NULL, 10, 0)), VALUE(splice(from, &(off_t){0}, pipes[1], NULL, 0, 0)), VALUE(splice(999, NULL, 999, NULL, 0, 0)), VALUE(splice(pipes[0], NULL, pipes[1], NULL, 10, 0)), VALUE(tee(pipes[0], pipes[1], 10, 0)), VALUE(splice(pipes[0], NULL, append, NULL, 10, SPLICE_F_NONBLOCK)), VALUE(splice(from, (void *)8, pipes[1], NULL, 10, 0)), VALUE(tee(999, 999, 0, 0)), VALUE(vmsplice(999, NULL, 0, 0)), VALUE(vmsplice(pipes[1], NULL, 0, 0)), VALUE(vmsplice(pipes[1], NULL, 1, 0)), VALUE(vmsplice(pipes[1], NULL, 2000, 0)), VALUE(vmsplice(pipes[1], (struct iovec[]){{(void *)8, 5}}, 1, 0)), VALUE(vmsplice(pipes[1], (struct iovec[]){{text, 5}}, 1, 0x40));
    VALUE(posix_fadvise(from, 0, 0, 9)), VALUE(posix_fadvise(from, 0, -1, 0)), VALUE(posix_fadvise(pipes[0], 0, 0, 9)), VALUE(posix_fadvise(from, -1, 0, POSIX_FADV_DONTNEED)), VALUE(sync_file_range(from, -1, 0, 0)), VALUE(sync_file_range(from, 0, -1, 0)), VALUE(sync_file_range(from, 0, 0, 8)), VALUE(sync_file_range(from, 0x7fffffffffffffff, 5, 0)), VALUE(readahead(writer, 0, 10)), VALUE(readahead(from, -1, 10));
}

static void systems(void) {
    SECTION("statfs");
    static const char *const places[] = {"/dev/shm", "/proc", "/sys", "/dev/null", "/proc/self/fd", "/proc/sys/kernel"};
    struct statfs fs;
    for (int i = 0; i < 6; i++) {
        if (statfs(places[i], &fs)) { printf("%s %s\n", places[i], error_name(errno)); continue; }
        printf("%s type %lx block %ld name %ld frag %ld\n", places[i], (long)fs.f_type, (long)fs.f_bsize, (long)fs.f_namelen, (long)fs.f_frsize);
    }
    int pipes[2], sock = socket(AF_UNIX, SOCK_STREAM, 0), event = eventfd(0, 0), memory = MUST(memfd_create("m", 0));
    MUST(pipe(pipes));
    int fds[] = {pipes[0], sock, event, memory};
    for (int i = 0; i < 4; i++) VALUE(fstatfs(fds[i], &fs)), printf("type %lx block %ld name %ld\n", (long)fs.f_type, (long)fs.f_bsize, (long)fs.f_namelen);
    VALUE(fstatfs(999, &fs)), VALUE(statfs("", &fs)), VALUE(fstatfs(memory, (void *)8));
    for (int i = 0; i < 3; i++) MUST(fstat(fds[i], &st)), printf("%o %lu size %ld block %ld\n", st.st_mode, (unsigned long)st.st_nlink, (long)st.st_size, (long)st.st_blksize);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    signal(SIGPIPE, SIG_IGN), umask(022);
    char home[4096];
    MUST(getcwd(home, sizeof home) ? 0 : -1);
    for (is_tmpfs = 0; is_tmpfs < 2; is_tmpfs++) {
        char place[64];
        snprintf(place, sizeof place, is_tmpfs ? "/dev/shm/contents-XXXXXX" : "contents-XXXXXX");
        MUST(mkdtemp(place) ? 0 : -1), MUST(chdir(place));
        printf("=== %s\n", is_tmpfs ? "tmpfs" : "working directory");
        offsets(), holes(), limits(), appending(), copies();
        for (int fd = 3; fd < 1024; fd++) close(fd);
        MUST(chdir(home));
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s", place);
        MUST(system(command));
    }
    systems();
    return 0;
}
