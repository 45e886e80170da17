/* Paths: what every call says to missing, long, looping, dotted, slashed and forbidden ones; the flags of the *at calls. */
#include "check.h"
#include <dirent.h>
#include <limits.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <sys/time.h>
#include <utime.h>

#pragma GCC diagnostic ignored "-Wnonnull"
#pragma GCC diagnostic ignored "-Wstringop-overflow"
#pragma GCC diagnostic ignored "-Wformat-truncation"

static int is_tmpfs;
static struct stat st;
static struct statx stx;
static char text[16384], long_name[300], long_path[5000];

static void put(const char *name, const char *content) {
    int fd = MUST(open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644));
    MUST(write(fd, content, strlen(content)));
    close(fd);
}

static long openat2_(int fd, const char *path, uint64_t flags, uint64_t mode, uint64_t resolve) {
    struct open_how how = {flags, mode, resolve};
    long result = syscall(SYS_openat2, fd, path, &how, sizeof how);
    return result > 0 ? (close(result), 1) : result;
}

/* One line for each path: what each call makes of it. Nothing of it may succeed in changing the tree. */
static void every_call(const char *label, const char *path) {
    printf("%s:", label);
#define E(call) printf(" %s", (long)(call) == -1 ? error_name(errno) : "ok")
    E(stat(path, &st)); E(lstat(path, &st)); E(access(path, R_OK)); E(open(path, O_RDONLY)); E(open(path, O_WRONLY));
    E(open(path, O_PATH)); E(open(path, O_PATH | O_NOFOLLOW)); E(open(path, O_RDONLY | O_DIRECTORY)); E(open(path, O_RDONLY | O_NOFOLLOW));
    E(open(path, O_RDWR | O_CREAT | O_EXCL, 0600)); E(open(path, O_RDWR | O_TMPFILE, 0600));
    E(chmod(path, 0755)); E(chown(path, -1, -1)); E(lchown(path, -1, -1)); E(utimes(path, NULL)); E(truncate(path, -1));
    E(readlink(path, text, 100)); E(chdir(path) ? -1 : fchdir(3)); E(mkdir(path, 0)); E(rmdir(path)); E(unlink(path));
    E(symlink("x", path)); E(link(path, "fixed")); E(link("fixed", path)); E(rename(path, "fixed")); E(rename("fixed", path));
    E(mknod(path, S_IFREG, 0)); E(getxattr(path, "user.x", NULL, 0)); E(lgetxattr(path, "user.x", NULL, 0)); E(setxattr(path, "bad", NULL, 0, 0));
    E(statx(AT_FDCWD, path, 0, STATX_ALL, &stx)); E(utimensat(AT_FDCWD, path, NULL, AT_SYMLINK_NOFOLLOW));
    E(execl(path, path, NULL));
    printf("\n");
}

static void everywhere(void) {
    SECTION("every call");
    MUST(mkdir("fixed", 0755)), put("fixed/x", ""), MUST(symlink("self", "self")), put("plain", "1"), MUST(chmod("plain", 0644));
    memset(long_name, 'n', 256), memset(long_path, '/', 4097);
    for (int i = 0; i < 4090; i += 2) long_path[i] = '.';
    int here = MUST(open(".", O_RDONLY));
    MUST(dup2(here, 3));
    const char *paths[] = {"", "missing/", "missing/x", "plain/", "plain/x", "plain/.", "plain/..", "self", "self/x", "self/", "fixed/missing/..", long_name, long_path};
    for (unsigned i = 0; i < sizeof paths / sizeof *paths; i++) {
        snprintf(text, 40, "%s", paths[i]);
        char label[50];
        snprintf(label, sizeof label, "'%s'", text);
        every_call(label, paths[i]);
    }
    every_call("bad pointer", (char *)8);
    unlink("fixed/x");
}

static void lengths(void) {
    SECTION("lengths");
    memset(long_name, 'n', 255), long_name[255] = 0;
    TRY(mkdir(long_name, 0755)), TRY(rmdir(long_name));
    memset(long_path, '/', 5000);
    for (int size = 4094; size <= 4097; size++) {
        long_path[size - 1] = '.', long_path[size] = 0;
        printf("%d: ", size), TRY(stat(long_path, &st));
        long_path[size - 1] = long_path[size] = '/';
    }
    memset(text, 't', 4096), text[4096] = 0;
    TRY(symlink(text, "long"));
    text[4095] = 0;
    TRY(symlink(text, "long"));
    VALUE(readlink("long", long_path, 5000)), TRY(stat("long", &st));
    VALUE(readlink("long", long_path, 0)), VALUE(readlink("long", long_path, -1));
    int here = MUST(open(".", O_RDONLY)), depth = 0;
    MUST(mkdir("deep", 0755)), MUST(chdir("deep"));
    memset(long_name, 'd', 200), long_name[200] = 0;
    for (; depth < 25; depth++) MUST(mkdir(long_name, 0755)), MUST(chdir(long_name));
    VALUE(syscall(SYS_getcwd, text, sizeof text)), VALUE(syscall(SYS_getcwd, text, 100));
    for (; depth > 0; depth--) MUST(chdir("..")), MUST(rmdir(long_name));
    MUST(fchdir(here)), MUST(rmdir("deep"));
}

static void last_parts(void) {
    SECTION("dots, slashes, links at the end");
    MUST(mkdir("dir", 0755)), MUST(symlink("dir", "to_dir")), MUST(symlink("plain", "to_plain")), MUST(symlink("absent", "dangling")), MUST(symlink("absent/", "dangling_slash"));
    TRY(mkdir(".", 0755)), TRY(mkdir("..", 0755)), TRY(mkdir("dir/.", 0755)), TRY(mkdir("new/.", 0755)), TRY(mkdir("/", 0755)), TRY(mkdir("dangling", 0755)), TRY(mkdir("to_dir/", 0755));
    TRY(rmdir("dir/.")), TRY(rmdir("dir/..")), TRY(rmdir("to_dir")), TRY(rmdir("to_dir/")), TRY(unlink("to_dir/")), TRY(unlink("dir/")), TRY(unlink("plain/")), TRY(unlink(".")), TRY(unlink(".."));
    TRY(lstat("to_dir", &st)), printf("link %d\n", S_ISLNK(st.st_mode)), TRY(lstat("to_dir/", &st)), printf("link %d\n", S_ISLNK(st.st_mode));
    TRY(readlink("to_dir/", text, 10)), TRY(open("to_dir/", O_RDONLY | O_NOFOLLOW)), TRY(open("to_dir", O_RDONLY | O_NOFOLLOW | O_DIRECTORY)), TRY(open("to_plain/", O_RDONLY)), TRY(open("to_plain", O_PATH | O_NOFOLLOW | O_DIRECTORY));
    TRY(symlink("x", "new/")), TRY(symlink("x", "dir/")), TRY(symlink("x", ".")), TRY(link("plain", "new/")), TRY(link("plain/", "new")), TRY(link("plain", ".")), TRY(link("plain", "dir/..")), TRY(mknod("new/", S_IFIFO | 0600, 0)), TRY(mknod("..", S_IFIFO, 0)), TRY(mkfifo("dangling", 0600)), TRY(link("plain", "dangling"));
    TRY(open("new/", O_RDWR | O_CREAT, 0600)), TRY(open("dir/", O_RDWR | O_CREAT, 0600)), TRY(open("plain/", O_RDWR | O_CREAT, 0600)), TRY(open("dangling/", O_RDWR | O_CREAT, 0600)), TRY(open("dangling_slash", O_RDWR | O_CREAT, 0600)), TRY(open("dangling", O_RDWR | O_CREAT | O_EXCL, 0600)), TRY(open("dangling", O_RDWR | O_CREAT | O_NOFOLLOW, 0600));
    TRY(open("dir", O_RDONLY | O_CREAT, 0600)), TRY(open("to_dir", O_RDONLY | O_CREAT, 0600)), TRY(open("dir", O_RDONLY | O_CREAT | O_EXCL, 0600)), TRY(open("dir", O_RDONLY | O_CREAT | O_DIRECTORY, 0600)), TRY(open("plain", O_RDONLY | O_CREAT | O_DIRECTORY, 0600)), TRY(open("dir", O_RDONLY | O_TRUNC)), TRY(open(".", O_RDONLY | O_TRUNC));
    TRY(open("plain", O_WRONLY | O_DIRECTORY)), TRY(open("dir", O_WRONLY | O_DIRECTORY)), TRY(open("plain", O_TMPFILE | O_RDWR, 0600)), TRY(open(".", O_TMPFILE | O_RDONLY, 0600)), TRY(open("to_dir", O_TMPFILE | O_RDWR | O_NOFOLLOW, 0600)), TRY(open("missing", O_TMPFILE | O_RDWR, 0600)), TRY(open(".", O_TMPFILE | O_RDWR | O_CREAT, 0600)), TRY(open(".", (O_TMPFILE & ~O_DIRECTORY) | O_RDWR, 0600));
    TRY(rename("plain", "new/")), TRY(rename("plain/", "new")), TRY(rename("dir", "new/")), TRY(rename("new/", "dir")), TRY(rename("dir/.", "x")), TRY(rename("dir", "x/.")), TRY(rename("dir", ".")), TRY(rename("dir", "..")), TRY(rename("/", "x")), TRY(rename("dir", "/")), TRY(rename("dir", "to_dir")), TRY(rename("to_dir", "plain")), MUST(symlink("dir", "to_dir"));
    MUST(unlink("plain")), put("plain", "1");
    TRY(rename("to_dir/", "moved")), TRY(rename("plain", "to_dir/")), TRY(rename("dangling", "dangling2")), TRY(rename("dangling2", "dangling"));
    TRY(linkat(AT_FDCWD, "dangling", AT_FDCWD, "hard", AT_SYMLINK_FOLLOW)), TRY(linkat(AT_FDCWD, "dangling", AT_FDCWD, "hard", 0)), TRY(lstat("hard", &st)), printf("%d %lu\n", S_ISLNK(st.st_mode), (unsigned long)st.st_nlink), TRY(unlink("hard"));
    TRY(open("dangling", O_RDWR | O_CREAT, 0600)), TRY(stat("absent", &st)), TRY(unlink("absent"));
    TRY(chdir("dangling")), TRY(chdir("to_plain")), TRY(truncate("dangling", 1)), TRY(truncate("dir", 1)), TRY(truncate("to_plain", 1));
}

static void at_flags(void) {
    SECTION("flags of the *at calls");
    int dir = MUST(open("dir", O_RDONLY)), plain = MUST(open("plain", O_RDWR)), path = MUST(open("dir", O_PATH)), link_path = MUST(open("to_plain", O_PATH | O_NOFOLLOW));
    int fds[] = {-1, 999, plain, path};
    for (unsigned i = 0; i < 4; i++) {
        int fd = fds[i];
        printf("%u:", i);
        E(openat(fd, "x", O_RDONLY)); E(openat(fd, "", O_RDONLY)); E(fstatat(fd, "x", &st, 0)); E(fstatat(fd, "", &st, AT_EMPTY_PATH)); E(mkdirat(fd, "x/y", 0)); E(unlinkat(fd, "x", 0));
        E(linkat(fd, "x", AT_FDCWD, "y", 0)); E(linkat(fd, "", AT_FDCWD, "/nowhere/y", AT_EMPTY_PATH)); E(symlinkat("x", fd, "x/y")); E(renameat(fd, "x", AT_FDCWD, "y")); E(renameat(AT_FDCWD, "plain", fd, "x/y")); E(readlinkat(fd, "x", text, 9)); E(readlinkat(fd, "", text, 9));
        E(fchmodat(fd, "x", 0600, 0)); E(fchownat(fd, "x", -1, -1, 0)); E(fchownat(fd, "", -1, -1, AT_EMPTY_PATH)); E(faccessat(fd, "x", 0, 0)); E(utimensat(fd, "x", NULL, 0)); E(futimens(fd, NULL)); E(mknodat(fd, "x/y", S_IFIFO, 0)); E(statx(fd, "", AT_EMPTY_PATH, STATX_ALL, &stx)); E(fchdir(fd) ? -1 : fchdir(3)); E(execveat(fd, "", NULL, NULL, AT_EMPTY_PATH)); E(execveat(fd, "x", NULL, NULL, 0));
        E(fchmod(fd, 0755)); E(fchown(fd, -1, -1)); E(ftruncate(fd, -1)); E(fsync(fd)); E(syscall(SYS_fstat, fd, &st)); E(fgetxattr(fd, "user.x", NULL, 0)); E(syscall(SYS_getdents64, fd, text, 1000)); E(lseek(fd, 0, SEEK_CUR)); E(fcntl(fd, F_GETFL)); E(fcntl(fd, F_SETFL, 0)); E(fcntl(fd, F_DUPFD, 0)); E(syscall(SYS_fstatfs, fd, text));
        printf("\n");
    }
    printf("O_PATH of a link: %zd %d", readlinkat(link_path, "", text, 100), (fstat(link_path, &st), S_ISLNK(st.st_mode)));
    E(fchownat(link_path, "", -1, -1, AT_EMPTY_PATH)); E(fstatat(link_path, "", &st, AT_EMPTY_PATH)); E(linkat(link_path, "", AT_FDCWD, "linked", AT_EMPTY_PATH)); E(unlink("linked")); E(fchmodat(link_path, "", 0600, 0)); E(openat(link_path, "x", 0)); printf("\n");
    TRY(fstatat(dir, "x", &st, 0x8000)), TRY(fstatat(dir, ".", &st, AT_NO_AUTOMOUNT)), TRY(syscall(SYS_newfstatat, AT_FDCWD, "", &st, AT_EMPTY_PATH)), TRY(unlinkat(dir, "x", 0x8000)), TRY(unlinkat(AT_FDCWD, "plain", AT_REMOVEDIR)), TRY(linkat(AT_FDCWD, "plain", AT_FDCWD, "y", 0x8000)), TRY(linkat(AT_FDCWD, "", AT_FDCWD, "y", 0));
    TRY(fchownat(dir, "x", -1, -1, 0x8000)), TRY(utimensat(dir, "x", NULL, 0x8000)), TRY(syscall(SYS_faccessat2, AT_FDCWD, "plain", 8, 0)), TRY(syscall(SYS_faccessat2, AT_FDCWD, "plain", 0, 0x8000)), TRY(syscall(SYS_faccessat2, AT_FDCWD, "dangling", 0, AT_SYMLINK_NOFOLLOW)), TRY(syscall(SYS_faccessat2, plain, "", R_OK, AT_EMPTY_PATH));
    TRY(statx(AT_FDCWD, "plain", 0x8000, STATX_ALL, &stx)), TRY(statx(AT_FDCWD, "plain", AT_STATX_FORCE_SYNC | AT_STATX_DONT_SYNC, STATX_ALL, &stx)), TRY(statx(AT_FDCWD, "plain", AT_STATX_DONT_SYNC, 0x80000000, &stx)), TRY(statx(AT_FDCWD, "plain", AT_STATX_FORCE_SYNC, 0, &stx)), TRY(statx(AT_FDCWD, "dangling", 0, 0, &stx)), TRY(statx(AT_FDCWD, "dangling", AT_SYMLINK_NOFOLLOW, STATX_TYPE, &stx));
    TRY(syscall(SYS_renameat2, AT_FDCWD, "plain", AT_FDCWD, "q", 8)), TRY(syscall(SYS_renameat2, AT_FDCWD, "plain", AT_FDCWD, "q", 3)), TRY(syscall(SYS_renameat2, AT_FDCWD, "plain", AT_FDCWD, "q", 6)), TRY(syscall(SYS_renameat2, AT_FDCWD, "plain", AT_FDCWD, "q", 2)), TRY(syscall(SYS_renameat2, AT_FDCWD, "plain", AT_FDCWD, "plain", 1)), TRY(syscall(SYS_renameat2, AT_FDCWD, "dir", AT_FDCWD, "dir/inside", 0)), TRY(mkdir("dir/inside", 0755)), TRY(syscall(SYS_renameat2, AT_FDCWD, "dir", AT_FDCWD, "dir/inside", 2)), TRY(syscall(SYS_renameat2, AT_FDCWD, "dir/inside", AT_FDCWD, "dir", 2)), TRY(rename("dir/inside", "dir")), TRY(rmdir("dir/inside"));
    TRY(utimensat(AT_FDCWD, NULL, NULL, 0)), TRY(syscall(SYS_utimensat, plain, NULL, NULL, 0)), TRY(syscall(SYS_utimensat, plain, NULL, NULL, AT_SYMLINK_NOFOLLOW)), TRY(syscall(SYS_utimensat, path, NULL, NULL, 0)), TRY(syscall(SYS_utimensat, path, "", NULL, AT_EMPTY_PATH));
}

static void openat2s(void) {
    SECTION("openat2");
    MUST(symlink("/dev/null", "absolute")), MUST(symlink("../escape", "upwards"));
    int dir = MUST(open("dir", O_RDONLY)), here = MUST(open(".", O_RDONLY));
    put("dir/f", "x"), MUST(symlink("f", "dir/soft")), MUST(symlink("/f", "dir/rooted")), MUST(symlink("../plain", "dir/up"));
    VALUE(openat2_(here, "dir/f", O_RDONLY, 0, 0)), VALUE(openat2_(here, "dir/f", O_RDONLY, 0600, 0)), VALUE(openat2_(here, "dir/f", O_RDONLY, 0, 0x1000)), VALUE(openat2_(here, "dir/f", 1ull << 40, 0, 0)), VALUE(openat2_(here, "dir/new", O_CREAT | O_RDWR, 010000, 0)), VALUE(openat2_(here, "dir/f", O_PATH | O_RDWR, 0, 0)), VALUE(openat2_(here, "dir/f", O_PATH | O_CREAT, 0, 0)), VALUE(openat2_(here, "dir/f", O_TMPFILE | O_RDONLY, 0, 0));
    VALUE(openat2_(dir, "../plain", O_RDONLY, 0, RESOLVE_BENEATH)), VALUE(openat2_(dir, "f", O_RDONLY, 0, RESOLVE_BENEATH)), VALUE(openat2_(dir, "/f", O_RDONLY, 0, RESOLVE_BENEATH)), VALUE(openat2_(dir, "up", O_RDONLY, 0, RESOLVE_BENEATH)), VALUE(openat2_(dir, "rooted", O_RDONLY, 0, RESOLVE_BENEATH)), VALUE(openat2_(here, "dir/../dir/f", O_RDONLY, 0, RESOLVE_BENEATH)), VALUE(openat2_(here, "dir/..", O_RDONLY, 0, RESOLVE_BENEATH)), VALUE(openat2_(here, "..", O_RDONLY, 0, RESOLVE_BENEATH));
    VALUE(openat2_(dir, "/f", O_RDONLY, 0, RESOLVE_IN_ROOT)), VALUE(openat2_(dir, "../../f", O_RDONLY, 0, RESOLVE_IN_ROOT)), VALUE(openat2_(dir, "rooted", O_RDONLY, 0, RESOLVE_IN_ROOT)), VALUE(openat2_(dir, "up", O_RDONLY, 0, RESOLVE_IN_ROOT)), VALUE(openat2_(dir, "f", O_RDONLY, 0, RESOLVE_IN_ROOT | RESOLVE_BENEATH));
    VALUE(openat2_(dir, "soft", O_RDONLY, 0, RESOLVE_NO_SYMLINKS)), VALUE(openat2_(dir, "soft", O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_SYMLINKS)), VALUE(openat2_(here, "to_dir/f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS)), VALUE(openat2_(here, "dir/f", O_RDONLY, 0, RESOLVE_NO_SYMLINKS));
    VALUE(openat2_(AT_FDCWD, "/proc/self/exe", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS)), VALUE(openat2_(AT_FDCWD, "/proc/self/cwd/plain", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS)), VALUE(openat2_(AT_FDCWD, "/proc/self/status", O_RDONLY, 0, RESOLVE_NO_MAGICLINKS)), VALUE(openat2_(AT_FDCWD, "/proc/self/exe", O_PATH | O_NOFOLLOW, 0, RESOLVE_NO_MAGICLINKS)), VALUE(openat2_(AT_FDCWD, "/proc/self/exe", O_RDONLY, 0, RESOLVE_BENEATH)), VALUE(openat2_(AT_FDCWD, "/proc/self/cwd", O_RDONLY, 0, RESOLVE_IN_ROOT));
    VALUE(openat2_(AT_FDCWD, "/proc/uptime", O_RDONLY, 0, RESOLVE_NO_XDEV)), VALUE(openat2_(AT_FDCWD, "/", O_RDONLY, 0, RESOLVE_NO_XDEV)), VALUE(openat2_(here, "dir/f", O_RDONLY, 0, RESOLVE_NO_XDEV)), VALUE(openat2_(here, "absolute", O_RDONLY, 0, RESOLVE_NO_XDEV)), VALUE(openat2_(here, "absolute", O_RDONLY, 0, RESOLVE_BENEATH));
    VALUE(openat2_(here, "dir/f", O_RDONLY, 0, RESOLVE_CACHED)), VALUE(openat2_(here, "dir/f", O_RDWR | O_TRUNC, 0, RESOLVE_CACHED)), VALUE(openat2_(here, "dir/nothing", O_RDWR | O_CREAT, 0600, RESOLVE_CACHED));
    char how[64] = {0};
    TRY(syscall(SYS_openat2, AT_FDCWD, "plain", how, 0)), TRY(syscall(SYS_openat2, AT_FDCWD, "plain", how, 23)), TRY(syscall(SYS_openat2, AT_FDCWD, "plain", how, 64)), how[40] = 1;
    TRY(syscall(SYS_openat2, AT_FDCWD, "plain", how, 64)), TRY(syscall(SYS_openat2, AT_FDCWD, "plain", 8, 24)), TRY(syscall(SYS_openat2, AT_FDCWD, "plain", how, 5000));
}

static void unreachable(void) {
    SECTION("getcwd, chroot");
    MUST(mkdir("root", 0755)), MUST(mkdir("root/inner", 0755)), put("root/f", "f");
    IN_CHILD("chroot", TRY(chroot("root")); printf("%s\n", getcwd(text, 100) ? text : error_name(errno)); printf("raw %ld\n", (syscall(SYS_getcwd, text, 200))); printf("%.13s\n", text);
             TRY(stat("/f", &st)); TRY(stat("/../f", &st)); TRY(stat("/../../../f", &st)); TRY(stat("root/f", &st)); TRY(chdir("/")); TRY(stat("../f", &st)); printf("%s\n", getcwd(text, 100));
             TRY(stat("/proc", &st)); TRY(chroot("inner")); TRY(stat("../f", &st)); TRY(chdir("..")); printf("raw %ld\n", syscall(SYS_getcwd, text, 200)));
    IN_CHILD("chroot as a stranger", MUST(setresuid(1234, 1234, 1234)); TRY(chroot("root")); TRY(chroot("missing")); TRY(chroot("plain")));
    IN_CHILD("chroot to what is no directory", TRY(chroot("plain")); TRY(chroot("nowhere")); TRY(chroot("")));
}

static void types(void) {
    SECTION("mknod");
    TRY(mknod("n_reg", S_IFREG | 0644, 0)), TRY(mknod("n_zero", 0644, 0)), TRY(mknod("n_fifo", S_IFIFO | 0644, 0)), TRY(mknod("n_sock", S_IFSOCK | 0644, 0)), TRY(mknod("n_chr", S_IFCHR | 0644, makedev(1, 3))), TRY(mknod("n_blk", S_IFBLK | 0644, makedev(99, 7))), TRY(mknod("n_dir", S_IFDIR | 0755, 0)), TRY(mknod("n_lnk", S_IFLNK | 0644, 0)), TRY(mknod("n_bad", 0030000, 0));
    const char *names[] = {"n_reg", "n_zero", "n_fifo", "n_sock", "n_chr", "n_blk"};
    for (int i = 0; i < 6; i++) stat(names[i], &st), printf("%s %o %u:%u %ld\n", names[i], st.st_mode, major(st.st_rdev), minor(st.st_rdev), (long)st.st_size);
    TRY(open("n_sock", O_RDWR)), TRY(open("n_sock", O_PATH)), TRY(truncate("n_chr", 0)), TRY(truncate("n_fifo", 0)), TRY(open("n_fifo", O_WRONLY | O_NONBLOCK)), TRY(open("n_fifo", O_RDONLY | O_NONBLOCK)), TRY(mknod("n_odd", S_IFCHR | 0600, makedev(200, 9)));
    if (!is_tmpfs) TRY(open("n_blk", O_RDONLY)), TRY(open("n_chr", O_RDWR)), TRY(open("n_odd", O_RDWR));
    IN_CHILD("as a stranger", MUST(mkdir("world", 0755)); MUST(chmod("world", 0777)); MUST(chdir("world")); MUST(setresuid(1234, 1234, 1234)); TRY(mknod("a", S_IFREG | 0644, 0)); TRY(mknod("b", S_IFIFO | 0644, 0)); TRY(mknod("c", S_IFSOCK | 0644, 0)); TRY(mknod("d", S_IFCHR | 0644, makedev(1, 3))); TRY(mknod("e", S_IFBLK | 0644, 1)); TRY(mknod("f", S_IFCHR | 0644, 0)));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    umask(022);
    char home[4096];
    MUST(getcwd(home, sizeof home) ? 0 : -1);
    for (is_tmpfs = 0; is_tmpfs < 2; is_tmpfs++) {
        char place[64];
        snprintf(place, sizeof place, is_tmpfs ? "/dev/shm/paths-XXXXXX" : "paths-XXXXXX");
        MUST(mkdtemp(place) ? 0 : -1), MUST(chmod(place, 0755)), MUST(chdir(place));
        printf("=== %s\n", is_tmpfs ? "tmpfs" : "working directory");
        everywhere(), lengths(), last_parts(), at_flags(), openat2s(), unreachable(), types();
        for (int fd = 3; fd < 1024; fd++) close(fd);
        MUST(chdir(home));
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s", place);
        MUST(system(command));
    }
    return 0;
}
