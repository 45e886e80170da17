/* Namespaces of mounts: what one process mounts for itself, and how it goes to another's. Run as root. */
#include "check.h"
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>

static int count_mounts(const char *pid) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%s/mounts", pid);
    FILE *file = fopen(path, "r");
    int count = 0;
    while (file && fgets(line, sizeof line, file)) count += strstr(line, "namespaces_test") != NULL;
    if (file) fclose(file);
    return count;
}

static void name_of(const char *path, char *name) {
    ssize_t length = readlink(path, name, 63);
    name[length > 0 ? length : 0] = 0;
}

/* Runs `body` in a child. */
static void in_child(void (*body)(void)) {
    fflush(stdout);
    pid_t child = MUST(fork());
    if (child == 0) {
        body();
        fflush(stdout);
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0));
    if (status != 0) printf("status %x\n", status);
}

static void go_private(void) {
    MUST(unshare(CLONE_NEWNS));
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
}

static char original[64];

static void mounts_for_itself(void) {
    char name[64];
    MUST(chdir("place"));
    go_private();
    name_of("/proc/self/ns/mnt", name);
    TRUE(strncmp(name, "mnt:[", 5) == 0 && strcmp(name, original) != 0);
    TRY(mount("namespaces_test", ".", "tmpfs", 0, NULL));
    TRY(open("../place/inside", O_CREAT | O_RDWR, 0600));
    VALUE(count_mounts("self"));
    TRY(access("inside", F_OK));
    TRY(access("../place/inside", F_OK));
    TRY(umount("../place"));
    TRY(access("../place/inside", F_OK));
    TRY(mount("namespaces_test", "../place", "tmpfs", 0, NULL));
    VALUE(count_mounts("self"));
}

static int cloned(void *unused) {
    (void)unused;
    MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
    TRY(mount("namespaces_test", "place", "tmpfs", 0, NULL));
    VALUE(count_mounts("self"));
    fflush(stdout);
    _exit(0);
}

static void goes_elsewhere(void) {
    int ready[2], go[2];
    MUST(pipe(ready)), MUST(pipe(go));
    pid_t child = MUST(fork());
    if (child == 0) {
        go_private();
        MUST(mount("namespaces_test", "place", "tmpfs", 0, NULL));
        MUST(mkdir("place/there", 0700));
        write(ready[1], "x", 1);
        read(go[0], ready, 1);
        _exit(0);
    }
    char byte, path[64], cwd[256], target[512], name[64], link[64];
    read(ready[0], &byte, 1);
    MUST((long)getcwd(cwd, sizeof cwd));
    snprintf(target, sizeof target, "%s/place/there", cwd);
    int own = MUST(open("/proc/self/ns/mnt", O_RDONLY));
    snprintf(path, sizeof path, "/proc/%d/ns/mnt", child);
    int other = MUST(open(path, O_RDONLY));
    name_of(path, name);
    snprintf(path, sizeof path, "/proc/self/fd/%d", other);
    name_of(path, link);
    TRUE(strcmp(name, link) == 0);
    struct stat st;
    MUST(fstat(other, &st));
    TRUE(st.st_ino == strtoul(name + 5, NULL, 10));
    VALUE(ioctl(other, NS_GET_NSTYPE));
    snprintf(path, sizeof path, "%d", child);
    VALUE(count_mounts(path));
    VALUE(count_mounts("self"));
    TRY(access(target, F_OK));
    TRY(setns(other, CLONE_NEWUTS));
    TRY(setns(other, CLONE_NEWNS));
    TRY(access(target, F_OK));
    TRUE(strcmp(getcwd(path, sizeof path), "/") == 0);
    write(go[1], "x", 1);
    MUST(wait(NULL));
    TRY(access(target, F_OK));
    TRY(setns(own, 0));
    TRY(access(target, F_OK));
    TRY(setns(other, 0));
    TRY(access(target, F_OK));
    int pidfd = MUST(syscall(SYS_pidfd_open, getppid(), 0));
    TRY(setns(pidfd, 0));
    TRY(setns(pidfd, CLONE_NEWNS | CLONE_FILES));
    TRY(setns(pidfd, CLONE_NEWNS));
    TRY(access(target, F_OK));
}

static void without_rights(void) {
    int own = MUST(open("/proc/self/ns/mnt", O_RDONLY));
    MUST(setuid(65534));
    TRY(unshare(CLONE_NEWNS));
    TRY(setns(own, 0));
}

static int shares_directory(void *unused) {
    (void)unused;
    TRY(setns(open("/proc/self/ns/mnt", O_RDONLY), 0));
    fflush(stdout);
    _exit(0);
}

int main(void) {
    static char stack[1 << 16];
    setvbuf(stdout, NULL, _IOFBF, 1 << 16);
    MUST(mkdir("place", 0777));
    name_of("/proc/self/ns/mnt", original);
    SECTION("unshare");
    in_child(mounts_for_itself);
    VALUE(count_mounts("self"));
    SECTION("clone");
    fflush(stdout);
    VALUE(clone(cloned, stack + sizeof stack, CLONE_NEWNS | CLONE_FS | SIGCHLD, NULL));
    fflush(stdout);
    MUST(clone(cloned, stack + sizeof stack, CLONE_NEWNS | SIGCHLD, NULL));
    MUST(wait(NULL));
    VALUE(count_mounts("self"));
    SECTION("setns");
    in_child(goes_elsewhere);
    int mounts = MUST(open("/proc/self/ns/mnt", O_RDONLY));
    int users = MUST(ioctl(mounts, NS_GET_USERNS));
    unsigned owner = 7;
    VALUE(ioctl(users, NS_GET_NSTYPE));
    TRY(ioctl(users, NS_GET_USERNS)), TRY(ioctl(users, NS_GET_PARENT)), TRY(ioctl(mounts, NS_GET_PARENT));
    TRY(ioctl(users, NS_GET_OWNER_UID, &owner)), TRY(ioctl(mounts, NS_GET_OWNER_UID, &owner));
    VALUE(owner);
    TRY(setns(0, 0));
    TRY(setns(-1, 0));
    TRY(setns(MUST(open("/proc/self/ns/uts", O_RDONLY)), CLONE_NEWUTS));
    TRY(setns(MUST(open("/proc/self/ns/user", O_RDONLY)), 0));
    fflush(stdout);
    MUST(clone(shares_directory, stack + sizeof stack, CLONE_FS | SIGCHLD, NULL));
    MUST(wait(NULL));
    in_child(without_rights);
    TRY(rmdir("place"));
    return 0;
}
