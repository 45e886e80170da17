/* Mounting in all its ways: binds, properties, limits, overlays, moves, the calls that do it in steps, and what is refused. */
#include "check.h"
#include <dirent.h>
#include <linux/mount.h>
#include <sched.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

int mount(const char *, const char *, const char *, unsigned long, const void *);
int umount2(const char *, int);
#define MS_RDONLY 1
#define MS_NOSUID 2
#define MS_NODEV 4
#define MS_NOEXEC 8
#define MS_REMOUNT 32
#define MS_NOSYMFOLLOW 256
#define MS_NOATIME 1024
#define MS_BIND 4096
#define MS_MOVE 8192
#define MS_REC 16384
#define MS_UNBINDABLE (1 << 17)
#define MS_PRIVATE (1 << 18)
#define MS_SLAVE (1 << 19)
#define MS_SHARED (1 << 20)
#define MS_STRICTATIME (1 << 24)
#define MNT_FORCE 1
#define MNT_DETACH 2
#define MNT_EXPIRE 4
#define UMOUNT_NOFOLLOW 8

static struct stat st;
static char text[65536];

static void put(const char *name, const char *content) {
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (fd < 0) return (void)printf("%s: %s\n", name, error_name(errno));
    MUST(write(fd, content, strlen(content))), close(fd);
}

static const char *get(const char *name) {
    int fd = open(name, O_RDONLY);
    if (fd < 0) return error_name(errno);
    ssize_t size = read(fd, text, sizeof text - 1);
    text[size < 0 ? 0 : size] = 0, close(fd);
    return text;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void list(const char *path) {
    char *names[100];
    int count = 0;
    DIR *dir = opendir(path);
    if (!dir) return (void)printf("%s: %s\n", path, error_name(errno));
    for (struct dirent *entry; (entry = readdir(dir)) && count < 100;) if (entry->d_name[0] != '.') names[count++] = strdup(entry->d_name);
    closedir(dir), qsort(names, count, sizeof *names, by_name);
    printf("%s:", path);
    for (int i = 0; i < count; i++) printf(" %s", names[i]);
    printf("\n");
}

/* The lines of mountinfo that end in one of our places, sorted: properties, type, options. */
static void shown(const char *place) {
    FILE *file = fopen("/proc/self/mountinfo", "r");
    char line[1024], root[256], point[256], options[256], rest[512], *lines[10];
    int count = 0;
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%*d %*d %*s %255s %255s %255s %511[^\n]", root, point, options, rest) != 4) continue;
        size_t length = strlen(point), want = strlen(place);
        if (length < want || strcmp(point + length - want, place) || point[length - want - 1] != '/') continue;
        char *dash = strstr(rest, "- ");
        char kind[64] = "", source[64] = "", more[300] = "";
        sscanf(dash + 2, "%63s %63s %299s", kind, source, more);
        if (count < 10) MUST(asprintf(&lines[count++], "%s: %s %s %s %.2s%s", place, options, kind, !strcmp(kind, "tmpfs") ? source : "-", more, strstr(more, "size=4096k") ? " size=4096k" : ""));
    }
    fclose(file), qsort(lines, count, sizeof *lines, by_name);
    for (int i = 0; i < count; i++) puts(lines[i]);
}

static void kinds(void) {
    SECTION("what can be mounted");
    MUST(mkdir("a", 0755)), MUST(mkdir("b", 0755)), put("file", "f"), put("file2", "f2"), MUST(symlink("a", "link"));
    TRY(mount("none", "a", "nothing", 0, NULL)), TRY(mount("none", "a", NULL, 0, NULL)), TRY(mount("none", "missing", "tmpfs", 0, NULL)), TRY(mount("none", "file", "tmpfs", 0, NULL)), TRY(mount("none", "file/x", "tmpfs", 0, NULL)), TRY(mount(NULL, "a", "tmpfs", 0, "what=5")), TRY(mount(NULL, "a", "tmpfs", 0, "size=x")), TRY(mount(NULL, "", "tmpfs", 0, NULL)), TRY(mount((void *)8, "a", "tmpfs", 0, NULL)), TRY(mount("x", (void *)8, "tmpfs", 0, NULL)), TRY(mount("x", "a", (void *)8, 0, NULL)), TRY(mount("x", "a", "tmpfs", 0, (void *)8));
    TRY(umount2("a", 0)), TRY(umount2("missing", 0)), TRY(umount2("file", 0)), TRY(umount2("a", 0x100)), TRY(umount2("a", MNT_EXPIRE | MNT_DETACH)), TRY(umount2("a", MNT_EXPIRE)), TRY(umount2("", 0));
    TRY(mount("src", "a", "tmpfs", 0, "size=4m,mode=700,uid=7,gid=8")), shown("a");
    stat("a", &st), printf("%o %d:%d\n", st.st_mode, st.st_uid, st.st_gid), put("a/x", "x");
    TRY(mount("other", "a", "tmpfs", MS_RDONLY, NULL)), list("a"), put("a/y", "y"), TRY(mkdir("a/d", 0755)), TRY(umount2("a", 0)), list("a");
    TRY(umount2("link", UMOUNT_NOFOLLOW)), TRY(umount2("link", 0)), list("a"), TRY(umount2("a", 0));
    TRY(mount("p", "a", "proc", 0, NULL)), printf("%d\n", access("a/self/status", R_OK)), TRY(umount2("a", 0)), TRY(mount("p", "a", "sysfs", 0, NULL)), printf("%d\n", access("a/kernel", R_OK)), TRY(umount2("a", 0));
    IN_CHILD("as a stranger", MUST(setresuid(1234, 1234, 1234)); TRY(mount("x", "a", "tmpfs", 0, NULL)); TRY(umount2("a", 0)); TRY(mount("x", "missing", "tmpfs", 0, NULL)); TRY(umount2("missing", 0)); TRY(syscall(SYS_pivot_root, "a", "b")); TRY(syscall(SYS_fsopen, "tmpfs", 0)); TRY(syscall(SYS_open_tree, AT_FDCWD, ".", 1)); TRY(syscall(SYS_open_tree, AT_FDCWD, ".", 0)); TRY(syscall(SYS_move_mount, -1, "", -1, "", 0)); TRY(syscall(SYS_fspick, AT_FDCWD, "/", 0)));
}

static void users(void) {
    SECTION("in use");
    MUST(mount("t", "a", "tmpfs", 0, NULL)), put("a/f", "f");
    int fd = MUST(open("a/f", O_RDONLY));
    TRY(umount2("a", 0)), TRY(umount2("a", MNT_EXPIRE)), close(fd);
    MUST(mkdir("a/m", 0755)), MUST(mount("u", "a/m", "tmpfs", 0, NULL));
    TRY(umount2("a", 0)), TRY(umount2("a/m", 0)), TRY(rmdir("a/m")), TRY(mkdir("a/m", 0755));
    TRY(umount2("a", MNT_EXPIRE)), TRY(umount2("a", MNT_EXPIRE)), TRY(umount2("a", 0));
    MUST(mount("t", "a", "tmpfs", 0, NULL)), TRY(umount2("a", MNT_EXPIRE)), stat("a/f", &st), TRY(umount2("a", MNT_EXPIRE)), put("a/f", "lazy"), fd = MUST(open("a/f", O_RDWR));
    TRY(umount2("a", MNT_DETACH)), list("a"), VALUE(pread(fd, text, 4, 0)), VALUE(pwrite(fd, "LAZY", 4, 0)), close(fd);
    IN_CHILD("a working directory in a lazily unmounted tree", MUST(mount("t", "a", "tmpfs", 0, NULL)); MUST(mkdir("a/d", 0755)); MUST(chdir("a/d")); TRY(umount2("../../a", MNT_DETACH)); put("here", "1"); list("."); printf("%ld %.13s\n", syscall(SYS_getcwd, text, 100) > 0 ? 1L : 0L, text););
    MUST(mount("t", "a", "tmpfs", 0, NULL)), MUST(mkdir("a/d", 0755)), MUST(mount("t", "a/d", "tmpfs", 0, NULL)), put("a/d/f", ""), TRY(rmdir("a/d")), TRY(rename("a/d", "a/e")), TRY(unlink("a/d")), TRY(rename("a/d/f", "a/f")), TRY(link("a/d/f", "a/f")), MUST(mkdir("a/e", 0755)), TRY(rename("a/e", "a/d")), TRY(umount2("a", MNT_DETACH)), list("a");
}

static void properties(void) {
    SECTION("properties");
    MUST(mount("t", "a", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, NULL)), shown("a"), put("a/s", "#!/bin/true\n"), MUST(chmod("a/s", 0755)), MUST(mknod("a/null", S_IFCHR | 0666, makedev(1, 3)));
    IN_CHILD("noexec, nodev", TRY(access("a/s", X_OK)); TRY(open("a/null", O_RDWR)); TRY(open("a/null", O_PATH)); TRY(execl("a/s", "a/s", NULL)));
    int fd = MUST(open("a/s", O_RDONLY));
    TRY(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0)), TRY(mprotect(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0), 4096, PROT_READ | PROT_EXEC)), close(fd);
    fd = MUST(open("a/s", O_WRONLY));
    TRY(mount(NULL, "a", NULL, MS_REMOUNT | MS_RDONLY, NULL)), TRY(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL)), close(fd), TRY(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL)), shown("a");
    TRY(open("a/s", O_RDWR)), TRY(open("a/new", O_RDWR | O_CREAT, 0600)), TRY(open("a/s", O_RDONLY | O_CREAT, 0600)), TRY(unlink("a/s")), TRY(unlink("a/missing")), TRY(mkdir("a/s", 0755)), TRY(mkdir("a/n", 0755)), TRY(rmdir("a/n")), TRY(chmod("a/s", 0600)), TRY(chown("a/s", 1, 1)), TRY(utimensat(AT_FDCWD, "a/s", NULL, 0)), TRY(truncate("a/s", 0)), TRY(rename("a/s", "a/t")), TRY(rename("a/missing", "a/t")), TRY(link("a/s", "a/t")), TRY(symlink("x", "a/s")), TRY(symlink("x", "a/t")), TRY(mknod("a/t", S_IFIFO, 0)), TRY(setxattr("a/s", "user.x", "1", 1, 0)), TRY(access("a/s", W_OK)), TRY(access("a/null", W_OK)), TRY(open("a", O_TMPFILE | O_RDWR, 0600)), TRY(removexattr("a/s", "user.x"));
    TRY(mount(NULL, "a", NULL, MS_REMOUNT | MS_RDONLY | MS_STRICTATIME, NULL)), shown("a"), TRY(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND, NULL)), shown("a"), TRY(open("a/s", O_RDWR)), TRY(mount(NULL, "a", NULL, MS_REMOUNT, "size=4m")), shown("a"), TRY(open("a/s", O_RDWR)), TRY(mount(NULL, "a", NULL, MS_REMOUNT, "bad")), TRY(mount(NULL, "b", NULL, MS_REMOUNT, NULL)), TRY(mount(NULL, "a/s", NULL, MS_REMOUNT, NULL));
    TRY(umount2("a", 0)), MUST(mount("t", "a", "tmpfs", MS_NOSYMFOLLOW, NULL)), symlink("x", "a/l"), put("a/x", "x"), printf("%s\n", get("a/l")), TRY(readlink("a/l", text, 5)), TRY(lstat("a/l", &st)), TRY(open("a/l", O_RDWR | O_CREAT, 0600)), TRY(umount2("a", 0));
}

static void limits(void) {
    SECTION("limits of tmpfs");
    MUST(mount("t", "a", "tmpfs", 0, "size=64k,nr_inodes=5"));
    int fd = MUST(open("a/f", O_RDWR | O_CREAT, 0600));
    memset(text, 'x', sizeof text);
    VALUE(write(fd, text, 60000)), VALUE(write(fd, text, 60000)), VALUE(write(fd, text, 1)), VALUE(fallocate(fd, 0, 0, 100000)), VALUE(ftruncate(fd, 1000000)), VALUE(pwrite(fd, text, 1, 900000));
    struct statfs fs;
    MUST(statfs("a", &fs)), printf("%ld %ld %ld %ld\n", (long)fs.f_blocks, (long)fs.f_bfree, (long)fs.f_files, (long)fs.f_ffree);
    VALUE(fallocate(fd, 3, 0, 32768)), MUST(statfs("a", &fs)), printf("%ld\n", (long)fs.f_bfree), VALUE(ftruncate(fd, 0)), MUST(statfs("a", &fs)), printf("%ld\n", (long)fs.f_bfree);
    char *map = (MUST(ftruncate(fd, 100000)), mmap(NULL, 100000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    IN_CHILD("a mapping without room", for (int i = 0; i < 100000; i += 4096) map[i] = 1);
    munmap(map, 100000), VALUE(ftruncate(fd, 0));
    for (int i = 0; i < 6; i++) snprintf(text, 20, "a/n%d", i), report("create", mknod(text, S_IFREG | 0600, 0));
    TRY(mkdir("a/d", 0755)), TRY(symlink("x", "a/s")), TRY(link("a/f", "a/h")), TRY(unlink("a/n0")), TRY(mkdir("a/d", 0755)), TRY(open("a", O_TMPFILE | O_RDWR, 0600)), MUST(statfs("a", &fs)), printf("%ld %ld\n", (long)fs.f_files, (long)fs.f_ffree);
    VALUE(write(fd, text, 50000)), TRY(mount(NULL, "a", NULL, MS_REMOUNT, "size=16k")), TRY(mount(NULL, "a", NULL, MS_REMOUNT, "nr_inodes=2")), TRY(mount(NULL, "a", NULL, MS_REMOUNT, "size=128k")), VALUE(write(fd, text, 60000)), close(fd), TRY(umount2("a", 0));
}

static void binds(void) {
    SECTION("binds, moves, spreading");
    MUST(mount("t", "a", "tmpfs", 0, NULL)), MUST(mkdir("a/d", 0755)), put("a/d/f", "bound"), MUST(mkdir("a/d/m", 0755)), MUST(mount("u", "a/d/m", "tmpfs", 0, NULL)), put("a/d/m/deep", "deep");
    TRY(mount("a/d", "b", NULL, MS_BIND, NULL)), list("b"), list("b/m"), shown("b"), stat("a/d/f", &st);
    ino_t inode = st.st_ino;
    stat("b/f", &st), printf("%d\n", st.st_ino == inode), put("b/f", "through"), printf("%s\n", get("a/d/f")), TRY(rename("b/f", "a/f")), TRY(link("b/f", "a/f")), TRY(umount2("b", 0)), TRY(mount("a/d", "b", NULL, MS_BIND | MS_REC, NULL)), list("b/m"), TRY(umount2("b", 0)), TRY(umount2("b", MNT_DETACH)), list("b");
    TRY(mount("file", "file2", NULL, MS_BIND, NULL)), printf("%s\n", get("file2")), TRY(unlink("file2")), TRY(rename("file2", "file3")), TRY(umount2("file2", 0)), TRY(mount("file", "b", NULL, MS_BIND, NULL)), TRY(mount("a", "file", NULL, MS_BIND, NULL)), TRY(mount("missing", "b", NULL, MS_BIND, NULL)), TRY(mount("", "b", NULL, MS_BIND, NULL)), TRY(mount(NULL, "b", NULL, MS_BIND, NULL));
    TRY(mount("a", "b", NULL, MS_BIND | MS_RDONLY, NULL)), TRY(access("b", W_OK)), TRY(mount(NULL, "b", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL)), TRY(access("b", W_OK)), TRY(access("a", W_OK)), put("b/no", ""), TRY(umount2("b", 0));
    TRY(mount("a", "b", NULL, MS_MOVE, NULL)), list("a"), list("b"), TRY(mount("b", "b/d", NULL, MS_MOVE, NULL)), TRY(mount("b/d", "a", NULL, MS_MOVE, NULL)), TRY(mount("b", "file", NULL, MS_MOVE, NULL)), TRY(mount("missing", "a", NULL, MS_MOVE, NULL)), TRY(mount("b", "a", NULL, MS_MOVE, NULL)), list("a/d"), list("a/d/m");
    TRY(mount(NULL, "a", NULL, MS_PRIVATE, NULL)), TRY(mount(NULL, "b", NULL, MS_PRIVATE, NULL)), TRY(mount(NULL, "a", NULL, MS_PRIVATE | MS_SHARED, NULL)), TRY(mount(NULL, "a", NULL, MS_PRIVATE | MS_RDONLY, NULL)), TRY(mount(NULL, "a", NULL, MS_SLAVE | MS_REC, NULL)), TRY(mount(NULL, "a", NULL, MS_UNBINDABLE, NULL)), TRY(mount("a", "b", NULL, MS_BIND, NULL)), TRY(mount("a/d", "b", NULL, MS_BIND, NULL)), TRY(mount(NULL, "a", NULL, MS_PRIVATE, NULL)), TRY(umount2("a/d/m", 0)), TRY(umount2("a", 0));
    while (!umount2("b", MNT_DETACH)) {}
}

static void overlays(void) {
    SECTION("overlays");
    MUST(mount("t", "a", "tmpfs", 0, NULL));
    for (int i = 0; i < 5; i++) MUST(mkdir((const char *[]){"a/low", "a/low2", "a/up", "a/work", "a/all"}[i], 0755));
    put("a/low/l", "low"), put("a/low/both", "low"), put("a/low/gone", "x"), MUST(mkdir("a/low/dir", 0755)), put("a/low/dir/in", "in"), put("a/low/dir/in2", "in2"), put("a/low2/second", "2"), put("a/low2/l", "hidden"), put("a/up/both", "up"), MUST(symlink("l", "a/low/sym"));
    TRY(mount("o", "a/all", "overlay", 0, "lowerdir=a/low,upperdir=a/up")), TRY(mount("o", "a/all", "overlay", 0, "upperdir=a/up,workdir=a/work")), TRY(mount("o", "a/all", "overlay", 0, "lowerdir=a/missing,upperdir=a/up,workdir=a/work")), TRY(mount("o", "a/all", "overlay", 0, "lowerdir=a/low,nonsense"));
    TRY(mount("o", "a/all", "overlay", 0, "lowerdir=a/low:a/low2,upperdir=a/up,workdir=a/work")), list("a/all"), printf("%s\n", get("a/all/l")), printf("%s\n", get("a/all/both")), printf("%s\n", get("a/all/second"));
    put("a/all/l", "changed"), printf("%s %s\n", get("a/low/l"), ""), printf("%s\n", get("a/up/l")), TRY(unlink("a/all/gone")), TRY(lstat("a/up/gone", &st)), printf("whiteout %d %d\n", S_ISCHR(st.st_mode), st.st_rdev == 0), list("a/all"), put("a/all/gone", "again"), printf("%s\n", get("a/all/gone"));
    TRY(rename("a/all/dir", "a/all/moved")), TRY(unlink("a/all/dir/in")), list("a/all/dir"), TRY(rmdir("a/all/dir")), TRY(unlink("a/all/dir/in2")), TRY(rmdir("a/all/dir")), TRY(mkdir("a/all/dir", 0700)), list("a/all/dir"), VALUE(getxattr("a/up/dir", "trusted.overlay.opaque", text, 10)), TRY(chmod("a/all/second", 0600)), stat("a/low2/second", &st), printf("%o\n", st.st_mode), stat("a/up/second", &st), printf("%o\n", st.st_mode), TRY(link("a/all/second", "a/all/third")), TRY(rename("a/all/second", "a/all/l")), printf("%s\n", get("a/all/l")), TRY(umount2("a/all", 0)), list("a/up");
    TRY(mount("o", "a/all", "overlay", MS_RDONLY, "lowerdir=a/low:a/low2")), list("a/all"), put("a/all/x", "x"), TRY(unlink("a/all/l")), TRY(umount2("a/all", 0)), TRY(umount2("a", 0));
}

static void steps(void) {
    SECTION("mounting in steps");
    TRY(syscall(SYS_fsopen, "nothing", 0)), TRY(syscall(SYS_fsopen, "tmpfs", 8)), TRY(syscall(SYS_fsopen, 8, 0));
    int context = MUST(syscall(SYS_fsopen, "tmpfs", 1)), plain = MUST(open("file", O_RDONLY));
#define CONFIG(fd, command, key, value, aux) syscall(SYS_fsconfig, fd, command, key, value, aux)
    TRY(fcntl(context, F_GETFD)), TRY(CONFIG(context, 1, "source", "src", 0)), TRY(CONFIG(context, 1, "source", "src", 0)), TRY(CONFIG(context, 1, "size", "4m", 0)), TRY(CONFIG(context, 1, "mode", "0711", 0)), TRY(CONFIG(context, 0, "ro", NULL, 0)), TRY(CONFIG(context, 0, "rw", NULL, 0)), TRY(CONFIG(context, 0, NULL, NULL, 0)), TRY(CONFIG(context, 0, "rw", "x", 0)), TRY(CONFIG(context, 0, "rw", NULL, 1)), TRY(CONFIG(context, 1, "x", NULL, 0)), TRY(CONFIG(context, 2, "x", "y", 0)), TRY(CONFIG(context, 3, "x", "y", -1)), TRY(CONFIG(context, 5, "x", NULL, -1)), TRY(CONFIG(context, 6, "x", NULL, 0)), TRY(CONFIG(context, 100, NULL, NULL, 0)), TRY(CONFIG(-1, 6, NULL, NULL, 0)), TRY(CONFIG(999, 6, NULL, NULL, 0)), TRY(CONFIG(plain, 6, NULL, NULL, 0));
    TRY(syscall(SYS_fsmount, context, 0, 0)), TRY(CONFIG(context, 7, NULL, NULL, 0)), TRY(CONFIG(context, 6, NULL, NULL, 0)), TRY(CONFIG(context, 6, NULL, NULL, 0)), TRY(CONFIG(context, 1, "size", "8m", 0)), TRY(syscall(SYS_fsmount, context, 8, 0)), TRY(syscall(SYS_fsmount, context, 0, 0x800)), TRY(syscall(SYS_fsmount, plain, 0, 0)), TRY(syscall(SYS_fsmount, 999, 0, 0));
    int tree = MUST(syscall(SYS_fsmount, context, 1, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME));
    TRY(syscall(SYS_fsmount, context, 0, 0)), VALUE(fcntl(tree, F_GETFL) & O_PATH), close(MUST(openat(tree, "inside", O_RDWR | O_CREAT, 0600)));
#define MOVE(from, from_path, to, flags) syscall(SYS_move_mount, from, from_path, AT_FDCWD, to, flags)
    TRY(MOVE(tree, "", "a", 0)), TRY(MOVE(tree, "", "a", 0x1000)), TRY(MOVE(tree, "", "file", MOVE_MOUNT_F_EMPTY_PATH)), TRY(MOVE(tree, "", "missing", MOVE_MOUNT_F_EMPTY_PATH)), TRY(MOVE(tree, "", "a", MOVE_MOUNT_F_EMPTY_PATH)), shown("a"), list("a"), stat("a", &st), printf("%o\n", st.st_mode), close(tree), close(context);
    TRY(MOVE(AT_FDCWD, "a", "b", 0)), list("b"), list("a"), TRY(MOVE(AT_FDCWD, "a", "b", 0)), TRY(MOVE(AT_FDCWD, "b", "b", 0));
    TRY(syscall(SYS_open_tree, AT_FDCWD, "b", 0x8000)), TRY(syscall(SYS_open_tree, AT_FDCWD, "b", 0x10)), TRY(syscall(SYS_open_tree, AT_FDCWD, "missing", 1)), tree = MUST(syscall(SYS_open_tree, AT_FDCWD, "b", 1 | 0x8000 | O_CLOEXEC));
    TRY(MOVE(tree, "", "a", MOVE_MOUNT_F_EMPTY_PATH)), list("a"), TRY(umount2("a", 0)), close(tree), TRY(umount2("a", 0)), tree = MUST(syscall(SYS_open_tree, AT_FDCWD, "b", 0)), TRY(faccessat(tree, "inside", R_OK, 0)), TRY(read(tree, text, 1)), close(tree), tree = MUST(syscall(SYS_open_tree, AT_FDCWD, "b", 1)), close(tree), TRY(umount2("b", MNT_EXPIRE));
    TRY(syscall(SYS_fspick, AT_FDCWD, "a", 0)), TRY(syscall(SYS_fspick, AT_FDCWD, "b", 0x100)), TRY(syscall(SYS_fspick, AT_FDCWD, "missing", 0)), context = MUST(syscall(SYS_fspick, AT_FDCWD, "b", 1)), TRY(CONFIG(context, 6, NULL, NULL, 0)), TRY(CONFIG(context, 0, "ro", NULL, 0)), TRY(CONFIG(context, 7, NULL, NULL, 0)), TRY(access("b", W_OK)), close(context), TRY(mount(NULL, "b", NULL, MS_REMOUNT, NULL)), TRY(access("b", W_OK));
    struct mount_attr attr = {.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC};
#define ATTR(path, flags, size) syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attr, size)
    TRY(ATTR("b", 0, sizeof attr)), shown("b"), TRY(access("b", W_OK)), attr = (struct mount_attr){.attr_clr = MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME, .attr_set = MOUNT_ATTR_STRICTATIME}, TRY(ATTR("b", 0x8000, sizeof attr)), shown("b"), TRY(ATTR("a", 0, sizeof attr)), TRY(ATTR("missing", 0, sizeof attr)), TRY(ATTR("b", 0x4, sizeof attr)), TRY(ATTR("b", 0, 8)), TRY(ATTR("b", 0, 5000)), attr = (struct mount_attr){.attr_set = 1 << 10}, TRY(ATTR("b", 0, sizeof attr)), attr = (struct mount_attr){.attr_set = MOUNT_ATTR_NOATIME}, TRY(ATTR("b", 0, sizeof attr)), attr = (struct mount_attr){.propagation = 3}, TRY(ATTR("b", 0, sizeof attr)), attr = (struct mount_attr){.propagation = MS_PRIVATE}, TRY(ATTR("b", 0, sizeof attr)), attr = (struct mount_attr){0}, TRY(ATTR("b", 0, sizeof attr)), TRY(umount2("b", 0));
}

static void pivots(void) {
    SECTION("pivot_root");
    MUST(mkdir("r", 0755)), TRY(syscall(SYS_pivot_root, "r", "r")), TRY(syscall(SYS_pivot_root, "missing", "r")), TRY(syscall(SYS_pivot_root, "file", "r"));
    MUST(mount("t", "r", "tmpfs", 0, NULL)), MUST(mkdir("r/old", 0755)), put("r/new_root", "yes");
    TRY(syscall(SYS_pivot_root, "r", "a")), TRY(syscall(SYS_pivot_root, "r/old", "r/old")), TRY(syscall(SYS_pivot_root, "r", "r/missing"));
    int cwd = MUST(open(".", O_RDONLY));
    MUST(chdir("/"));
    MUST(fchdir(cwd)), TRY(syscall(SYS_pivot_root, "r", "r/old")), printf("%s\n", get("/new_root")), printf("%d %d\n", access("/old/proc/self/stat", R_OK), access("/old/dev/null", R_OK)), TRY(chdir("/")), list("/");
    TRY(syscall(SYS_pivot_root, "/old", "/old")), MUST(fchdir(cwd)), printf("%d\n", access("file", R_OK));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    /* A namespace of its own where there are any, so that the machine stays as it is. */
    if (unshare(CLONE_NEWNS) == 0) MUST(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    MUST(mkdir("place", 0755)), MUST(mount("base", "place", "tmpfs", 0, NULL)), MUST(chdir("place"));
    kinds(), users(), properties(), limits(), binds(), overlays(), steps(), pivots();
    return 0;
}
