/* File-system calls: flags, errors, links, renames, holes, directories, times, locks, descriptors. */
#include "check.h"
#include <dirent.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <utime.h>

static struct stat st;
static char text[8192];

static void put(const char *name, const char *content) {
    int fd = MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    MUST(write(fd, content, strlen(content)));
    close(fd);
}

static const char *get(const char *name) {
    int fd = open(name, O_RDONLY);
    if (fd < 0) return error_name(errno);
    ssize_t size = read(fd, text, sizeof text - 1);
    text[size < 0 ? 0 : size] = 0;
    close(fd);
    return text;
}

static void opening(void) {
    SECTION("open");
    TRY(open("missing", O_RDONLY));
    TRY(open("missing/x", O_RDONLY | O_CREAT, 0600));
    TRY(open("", O_RDONLY));
    put("file", "0123456789");
    TRY(open("file", O_RDONLY | O_CREAT | O_EXCL, 0600));
    TRY(open("file/x", O_RDONLY));
    TRY(open("file/", O_RDONLY));
    TRY(open("file", O_RDONLY | O_DIRECTORY));
    TRY(open(".", O_WRONLY));
    TRY(open(".", O_RDWR | O_CREAT, 0600));
    TRY(open("file", O_RDONLY | O_TRUNC));
    put("file", "0123456789");
    memset(text, 'n', 256), text[256] = 0;
    TRY(open(text, O_RDONLY | O_CREAT, 0600));
    text[255] = 0;
    TRY(open(text, O_RDONLY | O_CREAT, 0600));
    memset(text, 'p', 5000), text[5000] = 0;
    TRY(open(text, O_RDONLY));
    TRY(symlink("loop", "loop"));
    TRY(open("loop", O_RDONLY));
    TRY(symlink("file", "link"));
    TRY(open("link", O_RDONLY | O_NOFOLLOW));
    TRY(open("link", O_RDONLY | O_CREAT | O_EXCL, 0600));
    TRY(open("/proc/self/exe", O_WRONLY));
    int path = MUST(open("file", O_PATH));
    TRY(read(path, text, 1));
    TRY(fstat(path, &st));
    int fd = MUST(open("file", O_RDONLY));
    TRY(write(fd, "x", 1));
    fd = MUST(open("file", O_WRONLY));
    TRY(read(fd, text, 1));
    fd = MUST(open("file", O_RDWR | O_APPEND));
    MUST(lseek(fd, 0, SEEK_SET));
    MUST(write(fd, "ab", 2));
    MUST(pwrite(fd, "cd", 2, 0));
    printf("append: %s\n", get("file"));
    VALUE(lseek(fd, 0, SEEK_CUR));
    int anonymous = open(".", O_TMPFILE | O_RDWR, 0600);
    printf("O_TMPFILE: %s\n", anonymous < 0 ? error_name(errno) : "ok");
    VALUE(fcntl(anonymous, F_GETFL));
    umask(077);
    close(MUST(open("masked", O_RDWR | O_CREAT, 0666)));
    umask(022);
    stat("masked", &st);
    printf("mode %o\n", st.st_mode);
    TRY(openat(999, "file", O_RDONLY));
    TRY(openat(fd, "file", O_RDONLY));
    TRY(openat(999, "/dev/null", O_RDONLY));
    TRY(open("made", O_RDWR | O_CREAT | O_DIRECTORY, 0600));
}

static void positions(void) {
    SECTION("read, write, seek");
    int fd = MUST(open("data", O_RDWR | O_CREAT | O_TRUNC, 0600));
    VALUE(write(fd, "hello world", 11));
    VALUE(lseek(fd, -5, SEEK_END));
    VALUE(read(fd, text, 100));
    VALUE(read(fd, text, 100));
    VALUE(lseek(fd, -1, SEEK_SET));
    VALUE(lseek(fd, 0, 99));
    VALUE(lseek(fd, 1 << 20, SEEK_SET));
    VALUE(write(fd, "end", 3));
    fstat(fd, &st);
    printf("size %ld\n", (long)st.st_size);
    TRUE(st.st_blocks * 512 < 1 << 20);
    VALUE(pread(fd, text, 10, 5000));
    printf("hole reads %d\n", text[0] | text[9]);
    VALUE(pread(fd, text, 10, (1 << 20) + 1));
    VALUE(pread(fd, text, 10, 1 << 21));
    VALUE(pread(fd, text, 10, -1));
    VALUE(ftruncate(fd, 5));
    VALUE(ftruncate(fd, 20));
    VALUE(pread(fd, text, 100, 0));
    printf("%.5s %d\n", text, memcmp(text + 5, "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 15));
    VALUE(ftruncate(fd, -1));
    VALUE(truncate("missing", 0));
    VALUE(truncate(".", 0));
    struct iovec parts[2] = {{"AB", 2}, {"CD", 2}};
    VALUE(pwritev(fd, parts, 2, 1));
    VALUE(pread(fd, text, 6, 0));
    printf("%.6s\n", text);
    VALUE(fallocate(fd, 0, 0, 10000));
    fstat(fd, &st);
    printf("size %ld\n", (long)st.st_size);
    VALUE(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100000));
    VALUE(fsync(fd)), VALUE(fdatasync(fd)), VALUE(sync_file_range(fd, 0, 0, 0));
    VALUE(posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
    int out = MUST(open("copy", O_RDWR | O_CREAT | O_TRUNC, 0600));
    off_t from = 0;
    VALUE(sendfile(out, fd, &from, 10000));
    lseek(fd, 0, SEEK_SET);
    VALUE(copy_file_range(fd, NULL, out, NULL, 100, 0));
    fstat(out, &st);
    printf("copied %ld\n", (long)st.st_size);
    IN_CHILD("RLIMIT_FSIZE", signal(SIGXFSZ, SIG_IGN); setrlimit(RLIMIT_FSIZE, &(struct rlimit){100, 100});
             VALUE(pwrite(out, "x", 1, 99)); VALUE(pwrite(out, "x", 1, 100)));
    int null = open("/dev/null", O_RDWR), zero = open("/dev/zero", O_RDWR), full = open("/dev/full", O_RDWR), random = open("/dev/urandom", O_RDONLY);
    VALUE(read(null, text, 10)), VALUE(write(null, text, 10)), VALUE(read(zero, text, 10)), VALUE(write(full, text, 10));
    VALUE(read(random, text, 10)), VALUE(lseek(null, 5, SEEK_SET));
    fstat(null, &st);
    printf("null %u:%u mode %o\n", major(st.st_rdev), minor(st.st_rdev), st.st_mode);
}

static void links(void) {
    SECTION("links and renames");
    put("one", "1");
    put("two", "2");
    TRY(link("one", "hard"));
    stat("one", &st);
    ino_t inode = st.st_ino;
    printf("links %lu\n", (unsigned long)st.st_nlink);
    stat("hard", &st);
    TRUE(st.st_ino == inode);
    TRY(link("one", "two"));
    TRY(link("missing", "x"));
    TRY(link(".", "x"));
    TRY(unlink("one"));
    printf("hard: %s\n", get("hard"));
    TRY(rename("hard", "two"));
    printf("two: %s, hard: %s\n", get("two"), access("hard", F_OK) ? error_name(errno) : "there");
    stat("two", &st);
    TRUE(st.st_ino == inode);
    TRY(mkdir("dir", 0755)), TRY(mkdir("dir/sub", 0755)), TRY(mkdir("empty", 0755));
    TRY(rename("dir", "dir/sub/inside"));
    TRY(rename("two", "dir")), TRY(rename("dir", "two")), TRY(rename("empty", "dir"));
    TRY(rename("dir/sub", "empty"));
    TRY(rename("missing", "x")), TRY(rename("two", "two"));
    TRY(rename(".", "x")), TRY(rename("dir/..", "x"));
    TRY(syscall(SYS_renameat2, AT_FDCWD, "two", AT_FDCWD, "file", 1));
    TRY(syscall(SYS_renameat2, AT_FDCWD, "two", AT_FDCWD, "dir", 2));
    stat("two", &st), printf("two is a directory: %d\n", S_ISDIR(st.st_mode));
    TRY(syscall(SYS_renameat2, AT_FDCWD, "two", AT_FDCWD, "dir", 3));
    TRY(syscall(SYS_renameat2, AT_FDCWD, "two", AT_FDCWD, "dir", 2));
    TRY(symlink("two", "soft")), TRY(symlink("nowhere", "dangling")), TRY(symlink("x", "soft")), TRY(symlink("", "none"));
    ssize_t size = readlink("soft", text, sizeof text);
    printf("readlink %.*s\n", (int)size, text), VALUE(readlink("soft", text, 2)), VALUE(readlink("two", text, 10));
    lstat("soft", &st), printf("symlink mode %o size %ld\n", st.st_mode, (long)st.st_size);
    TRY(stat("dangling", &st)), TRY(lstat("dangling", &st));
    printf("created through a dangling link: "), put("dangling", "n"), printf("%s\n", get("nowhere"));
    TRY(linkat(AT_FDCWD, "soft", AT_FDCWD, "soft2", 0));
    lstat("soft2", &st), printf("link to the link itself: %d\n", S_ISLNK(st.st_mode));
    int fd = MUST(open("gone", O_RDWR | O_CREAT, 0600));
    MUST(write(fd, "still here", 10));
    TRY(unlink("gone"));
    printf("unlinked: %zd bytes, links ", pread(fd, text, 100, 0)), fstat(fd, &st), printf("%lu\n", (unsigned long)st.st_nlink);
    snprintf(text, sizeof text, "/proc/self/fd/%d", fd);
    TRY(linkat(AT_FDCWD, "/proc/self/fd/99", AT_FDCWD, "x", AT_SYMLINK_FOLLOW));
    char chain[16], next[16];
    for (int i = 0; i < 41; i++) snprintf(chain, 16, "c%d", i), snprintf(next, 16, "c%d", i + 1), symlink(next, chain);
    put("c41", "end");
    TRY(open("c1", O_RDONLY)), TRY(open("c0", O_RDONLY));
}

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void list(const char *path) {
    char *names[2000];
    int count = 0;
    DIR *dir = opendir(path);
    if (!dir) return (void)printf("%s: %s\n", path, error_name(errno));
    for (struct dirent *entry; (entry = readdir(dir)) && count < 2000;) {
        names[count] = malloc(300);
        snprintf(names[count++], 300, "%s/%d", entry->d_name, entry->d_type);
    }
    closedir(dir);
    qsort(names, count, sizeof *names, by_name);
    printf("%s: %d:", path, count);
    for (int i = 0; i < count && i < 12; i++) printf(" %s", names[i]);
    printf("\n");
}

static void directories(void) {
    SECTION("directories");
    TRY(mkdir("d", 0755)), TRY(mkdir("d", 0755)), TRY(mkdir("d/", 0755)), TRY(mkdir("missing/d", 0755)), TRY(mkdir("file/d", 0755));
    TRY(mkdir("d/e/", 0700)), TRY(rmdir("d")), TRY(rmdir("file")), TRY(rmdir("missing")), TRY(rmdir("."));
    TRY(rmdir("d/e/..")), TRY(unlink("d")), TRY(rmdir("d/e")), TRY(rmdir("/"));
    stat("d", &st);
    printf("directory links %lu mode %o\n", (unsigned long)st.st_nlink, st.st_mode);
    mkdir("d/sub", 0755), put("d/file", "x"), symlink("x", "d/link"), mkfifo("d/fifo", 0600);
    list("d"), list("d/sub"), list("file"), list("missing");
    for (int i = 0; i < 1000; i++) {
        char name[32];
        snprintf(name, sizeof name, "d/sub/entry-%04d", i);
        put(name, "");
    }
    list("d/sub");
    DIR *dir = opendir("d/sub");
    int seen = 0, removed = 0;
    for (struct dirent *entry; (entry = readdir(dir)); seen++)
        if (entry->d_name[0] != '.') removed += !unlinkat(dirfd(dir), entry->d_name, 0);
    rewinddir(dir);
    int after = 0;
    while (readdir(dir)) after++;
    printf("seen %d removed %d then %d\n", seen, removed, after);
    closedir(dir);
    char before[4096];
    MUST(getcwd(before, sizeof before) ? 0 : -1);
    TRY(chdir("d/sub")), TRY(chdir("../file")), TRY(chdir("missing"));
    printf("inside %s\n", strrchr(getcwd(text, sizeof text), '/'));
    TRY(rmdir("../sub"));
    printf("removed cwd: %s\n", getcwd(text, sizeof text) ? text : error_name(errno));
    TRY(open("x", O_RDWR | O_CREAT, 0600));
    TRY(chdir(before));
    printf("short buffer: %s\n", getcwd(text, 2) ? "fits" : error_name(errno));
    int fd = MUST(open("d", O_RDONLY | O_DIRECTORY));
    TRY(fchdir(fd)), TRY(access("file", R_OK)), TRY(chdir(before)), TRY(mkdirat(fd, "at", 0755)), TRY(unlinkat(fd, "at", AT_REMOVEDIR));
    TRY(unlinkat(fd, "file", AT_REMOVEDIR)), TRY(unlinkat(fd, "file", 0x1000)), TRY(faccessat(fd, "file", W_OK, 0));
    TRY(read(fd, text, 10)), TRY(getdents64(fd, text, 10));
    printf("d/./../d/file: %s, d//file: %s\n", get("d/./../d/file"), get("d//file"));
    TRY(open("/../../dev/null", O_RDONLY));
}

static void attributes(void) {
    SECTION("attributes");
    put("attr", "12345");
    TRY(chmod("attr", 0640)), TRY(stat("attr", &st));
    printf("mode %o size %ld uid %d gid %d blksize %ld\n", st.st_mode, (long)st.st_size, st.st_uid == getuid(), st.st_gid == getgid(), (long)st.st_blksize);
    TRY(chmod("attr", 04755)), stat("attr", &st), printf("mode %o\n", st.st_mode);
    TRY(chown("attr", 1000, 1001)), stat("attr", &st), printf("owner %d:%d mode %o\n", st.st_uid, st.st_gid, st.st_mode);
    TRY(chown("attr", -1, -1)), stat("attr", &st), printf("owner %d:%d\n", st.st_uid, st.st_gid);
    struct timespec times[2] = {{1000000000, 5}, {1200000000, 123456789}};
    TRY(utimensat(AT_FDCWD, "attr", times, 0)), stat("attr", &st);
    printf("atime %ld.%ld mtime %ld.%ld\n", st.st_atim.tv_sec, st.st_atim.tv_nsec, st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    times[0].tv_nsec = UTIME_OMIT, times[1].tv_nsec = UTIME_NOW;
    TRY(utimensat(AT_FDCWD, "attr", times, 0)), stat("attr", &st);
    printf("atime %ld, mtime is new %d\n", st.st_atim.tv_sec, st.st_mtim.tv_sec > 1200000000);
    times[0].tv_nsec = 2000000000;
    TRY(utimensat(AT_FDCWD, "attr", times, 0)), TRY(utimensat(AT_FDCWD, "missing", NULL, 0));
    mkdir("timed", 0755);
    times[0] = times[1] = (struct timespec){1000000000, 0};
    utimensat(AT_FDCWD, "timed", times, 0);
    put("timed/x", "");
    stat("timed", &st), printf("a new entry changes the directory's mtime: %d\n", st.st_mtim.tv_sec > 1000000000);
    struct statx stx;
    TRY(statx(AT_FDCWD, "attr", 0, STATX_BASIC_STATS, &stx));
    printf("statx size %llu mode %o mask %d\n", stx.stx_size, stx.stx_mode, (stx.stx_mask & STATX_BASIC_STATS) == STATX_BASIC_STATS);
    int fd = MUST(open("attr", O_RDWR));
    TRY(statx(fd, "", AT_EMPTY_PATH, STATX_SIZE, &stx)), TRY(fstatat(fd, "", &st, AT_EMPTY_PATH)), TRY(fstatat(fd, "", &st, 0));
    TRY(fchmod(fd, 0600)), TRY(fchown(fd, 0, 0)), TRY(futimens(fd, NULL));
    TRY(access("attr", F_OK)), TRY(access("attr", 077)), TRY(access("missing", F_OK)), TRY(access("file", X_OK));
    struct statfs fs;
    TRY(statfs(".", &fs)), TRY(statfs("missing", &fs)), TRY(fstatfs(fd, &fs));
    printf("name length %ld\n", (long)fs.f_namelen);
    int size = -1;
    VALUE(getxattr("missing", "user.x", text, 10)), VALUE(ioctl(fd, FIONREAD, &size)), VALUE(ioctl(fd, TCGETS, text)), VALUE(ioctl(fd, 0x1234, 0));
    IN_CHILD("as a stranger", MUST(setresuid(1234, 1234, 1234)); TRY(open("attr", O_RDONLY)); TRY(chmod("attr", 0777));
             TRY(unlink("attr")); TRY(access("attr", R_OK)); TRY(open("new", O_CREAT | O_RDWR, 0600)); TRY(kill(1, 0)));
}

static void descriptors(void) {
    SECTION("descriptors");
    int fd = MUST(open("file", O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    VALUE(fcntl(fd, F_GETFD)), VALUE(fcntl(fd, F_SETFD, 0)), VALUE(fcntl(fd, F_GETFD));
    int copy = fcntl(fd, F_DUPFD, 100);
    printf("F_DUPFD %d\n", copy), VALUE(fcntl(fd, F_DUPFD_CLOEXEC, 200)), VALUE(fcntl(200, F_GETFD));
    VALUE(dup2(fd, 150)), VALUE(dup2(fd, fd) == fd), VALUE(dup3(fd, fd, 0)), VALUE(dup2(999, 5)), VALUE(dup2(fd, -1)), VALUE(dup3(fd, 151, O_CLOEXEC));
    VALUE(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND)), VALUE(fcntl(fd, F_SETFL, O_APPEND)), VALUE(fcntl(copy, F_GETFL) & O_APPEND);
    VALUE(fcntl(999, F_GETFL)), VALUE(fcntl(fd, 9999, 0)), VALUE(close(copy)), VALUE(close(copy)), VALUE(close(-1));
    VALUE(syscall(SYS_close_range, 150, 300, 0)), VALUE(fcntl(151, F_GETFD));
    int lowest = dup(fd);
    close(lowest);
    TRUE(dup(fd) == lowest);
    int other = MUST(open("file", O_RDWR));
    VALUE(flock(fd, LOCK_EX)), VALUE(flock(other, LOCK_EX | LOCK_NB)), VALUE(flock(fd, LOCK_UN)), VALUE(flock(other, LOCK_SH | LOCK_NB));
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 10};
    VALUE(fcntl(fd, F_SETLK, &lock));
    IN_CHILD("another process's lock", VALUE(fcntl(fd, F_SETLK, &lock)); lock.l_start = 15; lock.l_len = 100; VALUE(fcntl(fd, F_GETLK, &lock));
             printf("held by the parent %d, %ld+%ld\n", lock.l_pid == getppid(), (long)lock.l_start, (long)lock.l_len));
    close(other);
    IN_CHILD("closing any descriptor drops them", lock.l_start = 10; lock.l_len = 10; VALUE(fcntl(fd, F_SETLK, &lock)));
}

static void proc(void) {
    SECTION("/proc and /dev");
    ssize_t size = readlink("/proc/self/exe", text, sizeof text - 1);
    text[size > 0 ? size : 0] = 0;
    printf("exe %s\n", strrchr(text, '/') ? strrchr(text, '/') : "?");
    char cwd[4096];
    size = readlink("/proc/self/cwd", text, sizeof text - 1), text[size > 0 ? size : 0] = 0;
    TRUE(getcwd(cwd, sizeof cwd) && !strcmp(cwd, text));
    int fd = MUST(open("file", O_RDWR));
    char name[64];
    snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    size = readlink(name, text, sizeof text - 1), text[size > 0 ? size : 0] = 0;
    printf("fd %s\n", strrchr(text, '/') ? strrchr(text, '/') : "?");
    TRUE(open(name, O_RDONLY) >= 0);
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    TRUE(access(name, F_OK) == 0);
    printf("comm %s", get("/proc/self/comm"));
    size = strlen(get("/proc/self/cmdline")), printf("cmdline %s\n", size ? strrchr(text, '/') : "?");
    TRUE(strstr(get("/proc/self/status"), "VmRSS:") != NULL), TRUE(strstr(get("/proc/self/status"), "Threads:\t1\n") != NULL);
    TRUE(strstr(get("/proc/meminfo"), "MemTotal:") != NULL), TRUE(strstr(get("/proc/cpuinfo"), "processor\t: 0") != NULL);
    TRUE(atoi(get("/proc/self/stat")) == getpid()), TRUE(strlen(get("/proc/version")) > 5), TRUE(atof(get("/proc/uptime")) > 0);
    TRUE(strlen(get("/proc/mounts")) > 5), TRUE(strlen(get("/proc/self/mountinfo")) > 5), TRUE(strlen(get("/proc/loadavg")) > 5);
    printf("missing: %s\n", get("/proc/nothing")), printf("missing: %s\n", get("/proc/999999/stat"));
    TRUE(strlen(get("/proc/sys/kernel/random/uuid")) == 37);
    TRUE(atoi(get("/proc/sys/kernel/pid_max")) > 100), TRUE(strlen(get("/sys/devices/system/cpu/online")) > 0);
}

int main(void) {
    opening();
    positions();
    links();
    directories();
    attributes();
    descriptors();
    proc();
    return 0;
}
