/* inotify: which events come in which order, their names, cookies and limits. */
#include "check.h"
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/xattr.h>
static int in;

static void show(const char*l) {
    char b[8192] __attribute__((aligned(8)));
    ssize_t n=read(in, b, sizeof b);
    printf("%s:", l);
    if (n<0) {
        printf(" %s\n", error_name(errno));
        return;
    }
    for (char*p=b;p<b+n;) {
        struct inotify_event*e=(void*)p;
        printf(" [%d %x %s %s]", e->wd, e->mask, e->cookie?"c":"-", e->len?e->name:"");
        p+=sizeof*e+e->len;
    }
    puts("");
}

int main() {
    setvbuf(stdout, 0, _IOLBF, 0);
    in=MUST(inotify_init1(IN_NONBLOCK));
    int w;
    VALUE(inotify_init1(3));
    VALUE(inotify_add_watch(in, "nope", IN_ALL_EVENTS));
    VALUE(inotify_add_watch(in, ".", 0));
    VALUE(inotify_add_watch(in, ".", IN_ISDIR));
    VALUE(inotify_add_watch(in, ".", IN_MASK_ADD|IN_MASK_CREATE|IN_OPEN));
    VALUE(inotify_add_watch(0, ".", IN_OPEN));
    VALUE(inotify_add_watch(99, ".", IN_OPEN));
    VALUE(inotify_add_watch(in, (void*)8, IN_OPEN));
    VALUE(inotify_rm_watch(in, 5));
    VALUE(inotify_rm_watch(0, 5));
    VALUE(inotify_rm_watch(99, 5));
    MUST(mkdir("d", 0755));
    close(MUST(open("d/f", O_CREAT|O_RDWR, 0644)));
    VALUE(inotify_add_watch(in, "d/f", IN_ONLYDIR|IN_OPEN));
    VALUE(inotify_add_watch(in, "d", IN_ALL_EVENTS));
    VALUE(inotify_add_watch(in, "d", IN_MASK_CREATE|IN_OPEN));
    int f=open("d/f", O_RDWR);
    show("open");
    char c[10];
    write(f, "abc", 3);
    show("write");
    write(f, "abc", 3);
    write(f, "abc", 3);
    show("2 writes");
    lseek(f, 0, 0);
    read(f, c, 3);
    show("read");
    read(f, c, 3);
    read(f, c, 0);
    show("read0");
    fchmod(f, 0600);
    show("fchmod");
    fchown(f, 0, 0);
    show("fchown");
    ftruncate(f, 1);
    show("ftruncate");
    fallocate(f, 0, 0, 100);
    show("fallocate");
    fsetxattr(f, "user.x", "y", 1, 0);
    show("setxattr");
    fremovexattr(f, "user.x");
    show("rmxattr");
    futimens(f, 0);
    show("utimens");
    close(f);
    show("close");
    link("d/f", "d/g");
    show("link");
    rename("d/g", "d/h");
    show("rename");
    rename("d/h", "d/f");
    show("rename same inode");
    unlink("d/h");
    show("unlink");
    mkdir("d/s", 0700);
    show("mkdir");
    symlink("x", "d/l");
    show("symlink");
    mknod("d/n", S_IFIFO|0600, 0);
    show("mknod");
    rename("d/s", "t");
    show("move out");
    rename("t", "d/s");
    show("move in");
    rmdir("d/s");
    show("rmdir");
    access("d/f", R_OK);
    struct stat st;
    stat("d/f", &st);
    readlink("d/l", c, 9);
    show("stat,readlink");
    close(open("d", O_RDONLY));
    show("opendir");
    chmod("d", 0700);
    show("chmod d");
    truncate("d/f", 0);
    show("truncate");
    utimensat(AT_FDCWD, "d/f", (struct timespec[2]){{1, 0}, {0, UTIME_OMIT}}, 0);
    show("atime only");
    utimensat(AT_FDCWD, "d/f", (struct timespec[2]){{0, UTIME_OMIT}, {0, UTIME_OMIT}}, 0);
    show("omit both");
    renameat2(-100, "d/f", -100, "d/l", RENAME_EXCHANGE);
    show("exchange");
    renameat2(-100, "d/f", -100, "d/l", RENAME_EXCHANGE);
    show("exchange");
    rename("d", "e");
    show("move self");
    rename("e", "d");
    show("move self back");
    int w2=inotify_add_watch(in, "d/f", IN_ALL_EVENTS);
    printf("%d\n", w2);
    close(open("d/f", O_WRONLY));
    show("both");
    f=open("d/f", O_RDONLY);
    unlink("d/f");
    show("unlink open");
    fchmod(f, 0700);
    show("fchmod unlinked");
    close(f);
    show("close unlinked");
    VALUE(inotify_rm_watch(in, w2));
    show("rm gone");
    VALUE(inotify_add_watch(in, "d", IN_ALL_EVENTS|IN_EXCL_UNLINK));
    f=open("d/u", O_CREAT|O_RDWR, 0600);
    unlink("d/u");
    show("x created");
    write(f, "x", 1);
    show("x write");
    close(f);
    show("x close");
    VALUE(inotify_add_watch(in, "d", IN_OPEN|IN_ONESHOT));
    close(open("d/z", O_CREAT|O_RDWR, 0600));
    show("oneshot");
    close(open("d/z", O_RDWR));
    show("oneshot2");
    VALUE(inotify_add_watch(in, "d", IN_OPEN));
    VALUE(inotify_add_watch(in, "d", IN_CLOSE|IN_MASK_ADD));
    close(open("d/z", O_RDWR));
    show("mask add");
    VALUE(inotify_add_watch(in, "d/l", IN_OPEN|IN_DONT_FOLLOW));
    VALUE(inotify_add_watch(in, "d/l", IN_OPEN));
    unlink("d/n");
    unlink("d/z");
    unlink("d/l");
    show("unlinks");
    rmdir("d");
    show("rmdir self");
    mkdir("a", 0700);
    mkdir("b", 0700);
    int wa=inotify_add_watch(in, "a", IN_MOVE|IN_MOVE_SELF|IN_DELETE), wb=inotify_add_watch(in, "b", IN_MOVE|IN_DELETE);
    close(open("a/x", O_CREAT, 0600));
    close(open("b/y", O_CREAT, 0600));
    int wx=inotify_add_watch(in, "a/x", IN_ALL_EVENTS), wy=inotify_add_watch(in, "b/y", IN_ALL_EVENTS);
    rename("a/x", "b/y");
    show("replace");
    VALUE(inotify_rm_watch(in, wa));
    show("ignored");
    int n;
    ioctl(in, FIONREAD, &n);
    printf("%d\n", n);
    rename("b", "a/b");
    ioctl(in, FIONREAD, &n);
    printf("%d\n", n);
    show("b moved");
    VALUE(read(in, c, 4));
    chmod("a/b/y", 0600);
    VALUE(read(in, c, 4));
    VALUE(write(in, c, 4));
    VALUE(lseek(in, 0, 0));
    show("still");
    wa=inotify_add_watch(in, "a", IN_CREATE);
    close(open("a/longernamehere", O_CREAT, 0600));
    char sb[40];
    VALUE(read(in, sb, 20));
    VALUE(read(in, sb, 40));
    FILE*fp;
    close(in);
    in=MUST(inotify_init1(IN_NONBLOCK));
    inotify_add_watch(in, "a", IN_ALL_EVENTS);
    int q;
    fp=fopen("/proc/sys/fs/inotify/max_queued_events", "r");
    fscanf(fp, "%d", &q);
    printf("%d\n", q);
    for (int i=0;i<q;i++) {
        chmod("a", 0700);
        close(open("a", O_RDONLY));
    }
    long cnt=0, ov=0;
    int last=0;
    static char bb[65536];
    ssize_t r;
    while ((r=read(in, bb, sizeof bb))>0) for(char*p=bb;p<bb+r;) {
        struct inotify_event*e=(void*)p;
        cnt++;
        last=e->mask;
        if (e->mask&IN_Q_OVERFLOW) {
            ov++;
            printf("ov wd %d\n", e->wd);
        }
        p+=sizeof*e+e->len;
    }
    printf("%ld %ld %x\n", cnt, ov, last);
    mkdir("m", 0700);
    if (!mount("t", "m", "tmpfs", 0, 0)) {
        int w=inotify_add_watch(in, "m", IN_ALL_EVENTS);
        close(open("m/k", O_CREAT, 0600));
        show("tmpfs");
        umount("m");
        show("umount");
    }
    close(in);
    fp=fopen("/proc/sys/fs/inotify/max_user_instances", "r");
    int lim;
    fscanf(fp, "%d", &lim);
    printf("instances %d\n", lim);
    int k;
    for (k=0;k<lim+10;k++) if(inotify_init()<0) break;
    printf("%d %s\n", k>=lim-20&&k<=lim, error_name(errno));
    for (int i=3;i<1000;i++) close(i);
    for (int i=3;i<1000;i++) close(i);
    in=inotify_init();
    IN_CHILD("perm", chmod("m", 0);
        setuid(1000);
        VALUE(inotify_add_watch(in, "m", IN_OPEN)));
}
