/* Who may do what: path search, the sticky bit, owners and modes, set-id bits, set-group-id directories, capabilities. */
#include "check.h"
#include <dirent.h>
#include <grp.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <utime.h>

#define OWNER 1001
#define MEMBER 1002
#define STRANGER 1003
#define GROUP 2000

static struct stat st;

static void put(const char *name, mode_t mode, uid_t uid, gid_t gid) {
    int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0600));
    MUST(write(fd, "content", 7)), close(fd);
    MUST(chown(name, uid, gid)), MUST(chmod(name, mode));
}

static void become(uid_t uid) {
    gid_t groups[] = {GROUP};
    MUST(setgroups(uid == MEMBER || uid == OWNER, groups)), MUST(setresgid(uid, uid, uid)), MUST(setresuid(uid, uid, uid));
}

static void look(const char *name) {
    if (lstat(name, &st)) printf("%s %s\n", name, error_name(errno));
    else printf("%s %o %d:%d %ld\n", name, st.st_mode, st.st_uid, st.st_gid, S_ISDIR(st.st_mode) ? 0 : (long)st.st_size);
}

static void directory(const char *name, mode_t mode, uid_t uid, gid_t gid) { MUST(mkdir(name, 0700)), MUST(chown(name, uid, gid)), MUST(chmod(name, mode)); }

static void modes(void) {
    SECTION("modes");
    static const uid_t who[] = {0, OWNER, MEMBER, STRANGER};
    static const mode_t all[] = {0000, 0111, 0222, 0333, 0444, 0555, 0666, 0777, 0700, 0070, 0007, 0077, 0707, 0770};
    for (unsigned m = 0; m < sizeof all / sizeof *all; m++) put("f", all[m], OWNER, GROUP), unlink("keep");
    for (unsigned m = 0; m < sizeof all / sizeof *all; m++) {
        char name[32];
        snprintf(name, sizeof name, "f%03o", all[m]), put(name, all[m], OWNER, GROUP);
        snprintf(name, sizeof name, "d%03o", all[m]), directory(name, 0700, OWNER, GROUP);
        snprintf(name, sizeof name, "d%03o/x", all[m]), put(name, 0666, OWNER, GROUP);
        snprintf(name, sizeof name, "d%03o", all[m]), chmod(name, all[m]);
    }
    for (int w = 0; w < 4; w++) {
        printf("as %d\n", who[w]), fflush(stdout);
        if (fork()) { wait(NULL); continue; }
        become(who[w]);
        for (unsigned m = 0; m < sizeof all / sizeof *all; m++) {
            char f[32], d[32], x[40], n[40];
            snprintf(f, sizeof f, "f%03o", all[m]), snprintf(d, sizeof d, "d%03o", all[m]), snprintf(x, sizeof x, "d%03o/x", all[m]), snprintf(n, sizeof n, "d%03o/n%d", all[m], w);
            printf("%03o:", all[m]);
#define E(call) printf(" %s", (long)(call) == -1 ? error_name(errno) : "ok")
            E(access(f, R_OK)); E(access(f, W_OK)); E(access(f, X_OK)); E(open(f, O_RDONLY)); E(open(f, O_WRONLY)); E(open(f, O_RDWR)); E(open(f, O_RDONLY | O_TRUNC)); E(truncate(f, 3)); E(open(f, O_PATH)); E(stat(f, &st)); E(chmod(f, all[m])); E(chown(f, -1, GROUP)); E(chown(f, OWNER, -1)); E(chown(f, STRANGER, -1)); E(utimes(f, NULL)); E(utimes(f, (struct timeval[2]){{1, 0}, {2, 0}})); E(utimensat(AT_FDCWD, f, (struct timespec[2]){{0, UTIME_NOW}, {0, UTIME_OMIT}}, 0)); E(utimensat(AT_FDCWD, f, (struct timespec[2]){{0, UTIME_OMIT}, {0, UTIME_OMIT}}, 0)); E(open(f, O_RDONLY | O_NOATIME)); E(getxattr(f, "user.x", NULL, 0)); E(setxattr(f, "user.y", "1", 1, 0)); E(execl(f, f, NULL));
            printf(" /");
            E(access(d, X_OK)); E(open(d, O_RDONLY)); E(open(d, O_PATH)); E(stat(x, &st)); E(open(x, O_RDONLY)); E(chdir(d) ? -1 : chdir("..")); E(open(n, O_RDWR | O_CREAT, 0600)); E(mkdir(n, 0700)); E(rename(x, n)); E(rename(n, x)); E(link(x, n)); E(unlink(n)); E(symlink("t", n)); E(unlink(n)); E(rmdir(d)); E(open(d, O_TMPFILE | O_RDWR, 0600)); E(mknod(n, S_IFIFO | 0600, 0)); E(unlink(n));
            printf("\n");
        }
        fflush(stdout), _exit(0);
    }
}

static void sticky(void) {
    SECTION("sticky directories");
    directory("tmp", 01777, 0, 0), directory("mine", 01777, OWNER, GROUP);
    const char *dirs[] = {"tmp", "mine"};
    for (int i = 0; i < 2; i++) {
        char name[40];
        for (int k = 0; k < 7; k++) snprintf(name, sizeof name, "%s/f%d", dirs[i], k), put(name, 0666, k == 6 ? STRANGER : OWNER, GROUP);
        snprintf(name, sizeof name, "%s/d", dirs[i]), directory(name, 0777, OWNER, GROUP);
        if (fflush(stdout), !fork()) {
            become(STRANGER), MUST(chdir(dirs[i]));
            TRY(unlink("f0")), TRY(rename("f0", "g")), TRY(rename("f6", "f1")), TRY(rmdir("d")), TRY(rename("d", "e")), TRY(open("new", O_RDWR | O_CREAT, 0666)), TRY(rename("new", "f1")), TRY(rename("new", "newer")), TRY(unlink("newer")), TRY(unlink("f6")), TRY(open("f0", O_RDWR)), TRY(open("f0", O_RDWR | O_CREAT, 0600)), TRY(syscall(SYS_renameat2, AT_FDCWD, "f0", AT_FDCWD, "f1", 2)), TRY(link("f0", "hard")), TRY(chmod("f0", 0600)), TRY(utimes("f0", NULL));
            fflush(stdout), _exit(0);
        }
        wait(NULL);
        if (!fork()) {
            become(OWNER), MUST(chdir(dirs[i]));
            TRY(unlink("f0")), TRY(rename("f1", "g")), TRY(rmdir("d")), TRY(open("a", O_RDWR | O_CREAT, 0666)), TRY(chmod("f2", 01666)), TRY(chmod(".", 01700));
            fflush(stdout), _exit(0);
        }
        wait(NULL);
        if (!fork()) {
            become(MEMBER), MUST(chdir("/")), MUST(fchdir(open(".", O_PATH)));
            fflush(stdout), _exit(0);
        }
        wait(NULL);
    }
    directory("plain", 0777, 0, 0), put("plain/f", 0600, OWNER, GROUP), directory("plain/d", 0700, OWNER, GROUP);
    IN_CHILD("without the sticky bit", become(STRANGER); TRY(rename("plain/f", "plain/g")); TRY(unlink("plain/g")); TRY(rename("plain/d", "plain/e")); TRY(mkdir("plain/x", 0700)); TRY(rename("plain/e", "plain/x/e")); TRY(rmdir("plain/e")));
}

static void set_id(void) {
    SECTION("set-id bits");
    static const mode_t kinds[] = {04755, 02755, 06755, 02745, 02644, 06644, 04711, 07777};
    for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        for (int how = 0; how < 10; how++) {
            put("s", kinds[i], OWNER, GROUP);
            for (int who = 0; who < 3; who++) {
                if (fflush(stdout), !fork()) {
                    int fd = open("s", O_RDWR), source = open("/proc/self/exe", O_RDONLY);
                    if (who) become(who == 1 ? OWNER : MEMBER);
                    errno = 0;
                    long result = how == 0 ? write(fd, "x", 1) : how == 1 ? ftruncate(fd, 2) : how == 2 ? chown("s", -1, -1) : how == 3 ? chown("s", -1, GROUP) : how == 4 ? chmod("s", kinds[i]) : how == 5 ? fallocate(fd, 0, 0, 100) : how == 6 ? sendfile(fd, source, NULL, 3) : how == 7 ? truncate("s", 0) : how == 8 ? write(fd, "x", 0) : pwrite(fd, "x", 1, 3);
                    stat("s", &st);
                    printf("%o/%d/%d: %s %o\n", kinds[i], how, who, result < 0 ? error_name(errno) : "ok", st.st_mode & 07777), fflush(stdout);
                    _exit(0);
                }
                wait(NULL), chown("s", OWNER, GROUP), chmod("s", kinds[i]);
            }
        }
    }
    put("s", 06755, OWNER, GROUP);
    TRY(chown("s", STRANGER, -1)), look("s"), TRY(chmod("s", 06755)), TRY(chown("s", -1, -1)), look("s");
    IN_CHILD("chmod of a file of another group", become(OWNER); int fd = open("own", O_RDWR | O_CREAT, 0600); (void)fd; TRY(chmod("own", 02755)); look("own"));
    put("other", 0755, OWNER, STRANGER);
    IN_CHILD("chmod of a file of a foreign group", become(OWNER); TRY(chmod("other", 06755)); look("other"); TRY(chown("other", -1, GROUP)); look("other"); TRY(chown("other", -1, STRANGER)); TRY(chown("other", -1, OWNER)); look("other"));
    directory("sd", 06777, OWNER, STRANGER);
    IN_CHILD("chmod of a directory", become(OWNER); TRY(chmod("sd", 06777)); look("sd"); TRY(chown("sd", -1, -1)); look("sd"));
    TRY(chmod("sd", 06777)), TRY(chown("sd", MEMBER, GROUP)), look("sd");
}

static void groups(void) {
    SECTION("set-group-id directories");
    umask(0);
    directory("sg", 02777, OWNER, GROUP), directory("sx", 02777, OWNER, STRANGER);
    const char *dirs[] = {"sg", "sx"};
    for (int i = 0; i < 2; i++)
        for (int w = 0; w < 3; w++) {
            if (fflush(stdout), !fork()) {
                MUST(chdir(dirs[i])), become(w == 0 ? 0 : w == 1 ? MEMBER : STRANGER);
                char f[20], d[20], l[20], p[20], t[20];
                snprintf(f, 20, "f%d", w), snprintf(d, 20, "d%d", w), snprintf(l, 20, "l%d", w), snprintf(p, 20, "p%d", w), snprintf(t, 20, "t%d", w);
                close(MUST(open(f, O_RDWR | O_CREAT, 06777))), MUST(mkdir(d, 01755)), MUST(symlink("x", l)), MUST(mkfifo(p, 02755)), close(MUST(open(t, O_RDWR | O_CREAT, 02666)));
                look(f), look(d), look(l), look(p), look(t);
                int fd = MUST(open(".", O_TMPFILE | O_RDWR, 02755));
                fstat(fd, &st), printf("unnamed %o %d\n", st.st_mode, st.st_gid == st.st_uid);
                fflush(stdout), _exit(0);
            }
            wait(NULL);
        }
    umask(0777), close(MUST(open("u", O_RDWR | O_CREAT, 07777))), look("u"), MUST(mkdir("ud", 07777)), look("ud"), MUST(symlink("t", "us")), look("us"), MUST(mkfifo("uf", 0777)), look("uf");
    printf("%o\n", umask(07777)), printf("%o\n", umask(022));
}

static void capabilities(void) {
    SECTION("fsuid, real ids");
    put("private", 0600, OWNER, GROUP), put("readable", 0644, OWNER, GROUP);
    IN_CHILD("fsuid", setfsuid(STRANGER); TRY(open("private", O_RDONLY)); TRY(open("readable", O_RDONLY)); TRY(open("made", O_RDWR | O_CREAT, 0600)); TRY(chown("readable", 0, 0)); TRY(access("private", R_OK)); setfsuid(0); TRY(open("private", O_RDONLY)));
    IN_CHILD("access with real ids", MUST(setresuid(STRANGER, 0, 0)); TRY(access("private", R_OK)); TRY(faccessat(AT_FDCWD, "private", R_OK, AT_EACCESS)); TRY(open("private", O_RDONLY)));
    IN_CHILD("access with effective ids", MUST(setresgid(0, STRANGER, 0)); MUST(setresuid(0, STRANGER, 0)); TRY(access("private", R_OK)); TRY(syscall(SYS_faccessat2, AT_FDCWD, "private", R_OK, AT_EACCESS)); TRY(access("private", X_OK)));
    IN_CHILD("descriptors keep rights", int fd = open("private", O_RDWR); become(STRANGER); TRY(write(fd, "x", 1)); TRY(ftruncate(fd, 0)); TRY(fchmod(fd, 0666)); TRY(fchown(fd, -1, -1)); TRY(futimens(fd, NULL)); char name[40]; snprintf(name, 40, "/proc/self/fd/%d", fd); TRY(open(name, O_RDWR)); TRY(fcntl(fd, F_SETFL, O_NOATIME)); TRY(fcntl(fd, F_SETFL, O_APPEND)));
    IN_CHILD("a removed right to search", MUST(mkdir("w", 0755)); MUST(chmod("w", 0700)); MUST(chdir("w")); become(STRANGER); TRY(open("x", O_RDONLY)); TRY(open(".", O_RDONLY)); TRY(stat(".", &st)); TRY(stat("..", &st)); TRY(chdir(".")); char t[4096]; printf("%s\n", getcwd(t, 4096) ? "a path" : error_name(errno)));
    symlink("private", "ln"), lchown("ln", STRANGER, STRANGER);
    IN_CHILD("links", become(STRANGER); TRY(lchown("ln", -1, -1)); TRY(lchown("ln", -1, GROUP)); TRY(readlink("ln", (char[9]){0}, 9)); TRY(utimensat(AT_FDCWD, "ln", NULL, AT_SYMLINK_NOFOLLOW)); TRY(fchmodat(AT_FDCWD, "ln", 0600, AT_SYMLINK_NOFOLLOW)); TRY(chmod("ln", 0777)));
    directory("lib", 0755, OWNER, GROUP), put("lib/x", 0644, OWNER, GROUP);
    IN_CHILD("rename of a directory that one may not write", become(MEMBER); TRY(rename("lib", "lib2")); TRY(rename("lib/x", "lib/y")));
    directory("holder", 0777, OWNER, GROUP), directory("holder/foreign", 0755, OWNER, GROUP), directory("holder/own", 0777, STRANGER, STRANGER);
    IN_CHILD("moving a directory needs writing to it", become(STRANGER); TRY(rename("holder/foreign", "holder/own/f")); TRY(rename("holder/foreign", "holder/g")); TRY(rename("holder/own", "holder/h")));
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    umask(022);
    char home[4096];
    MUST(getcwd(home, sizeof home) ? 0 : -1);
    for (int round = 0; round < 2; round++) {
        char place[64];
        snprintf(place, sizeof place, round ? "/dev/shm/rights-XXXXXX" : "rights-XXXXXX");
        MUST(mkdtemp(place) ? 0 : -1), MUST(chmod(place, 0777)), MUST(chdir(place));
        printf("=== %s\n", round ? "tmpfs" : "working directory");
        modes(), sticky(), set_id(), groups(), capabilities();
        MUST(chdir(home));
        char command[128];
        snprintf(command, sizeof command, "rm -rf %s", place);
        MUST(system(command));
    }
    return 0;
}
