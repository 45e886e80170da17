/* Memory of other processes, locking, policies, limits, advice: what the calls on memory promise beyond mapping it. */
#include "check.h"
#include <sys/resource.h>
#include <sys/uio.h>
#include <linux/mempolicy.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#define MAPS(call) report(#call, (call) == MAP_FAILED ? -1 : 0)

static char *pages(int count, int prot) {
    return MUST(mmap(NULL, count * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
}

static void become_nobody(void) {
    MUST(setgid(65534));
    MUST(setuid(65534));
}

static void other_processes(void) {
    SECTION("process_vm_readv, process_vm_writev");
    char *area = pages(4, PROT_READ | PROT_WRITE);
    munmap(area + 2 * PAGE, PAGE);
    strcpy(area, "from the parent");
    fflush(stdout);
    pid_t child = fork();
    if (!child) pause();
    strcpy(area, "here");
    char buffer[64] = "", second[64] = "";
    struct iovec local = {buffer, 16}, remote = {area, 16};
    VALUE(process_vm_readv(child, &local, 1, &remote, 1, 0));
    puts(buffer);
    strcpy(buffer, "written from outside");
    local.iov_len = remote.iov_len = 21;
    VALUE(process_vm_writev(child, &local, 1, &remote, 1, 0));
    struct iovec parts[3] = {{buffer, 3}, {NULL, 0}, {second, 30}}, far[2] = {{area, 8}, {area + 8, 13}};
    memset(buffer, 0, sizeof buffer);
    VALUE(process_vm_readv(child, parts, 3, far, 2, 0));
    printf("%s|%s\n", buffer, second);
    struct iovec hole[2] = {{area + 2 * PAGE - 10, 20}, {area, 5}}, large = {buffer, 40};
    VALUE(process_vm_readv(child, &large, 1, hole, 2, 0));
    hole[0].iov_base = area + 2 * PAGE;
    VALUE(process_vm_readv(child, &large, 1, hole, 2, 0));
    VALUE(process_vm_readv(child, &large, 1, far, 2, 1));
    VALUE(process_vm_readv(child, &large, 1025, far, 2, 0));
    VALUE(process_vm_readv(child, NULL, 0, far, 2, 0));
    VALUE(process_vm_readv(child, &large, 1, NULL, 0, 0));
    VALUE(process_vm_readv(child, (void *)1, 1, far, 2, 0));
    VALUE(process_vm_readv(child, &large, 1, (void *)1, 1, 0));
    VALUE(process_vm_readv(0x3fffffff, &large, 1, far, 2, 0));
    struct iovec bad = {buffer, -1};
    VALUE(process_vm_readv(child, &bad, 1, far, 2, 0));
    IN_CHILD("nobody", become_nobody(); VALUE(process_vm_readv(child, &large, 1, far, 2, 0)));
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/mem", child);
    int fd = MUST(open(path, O_RDWR));
    memset(buffer, 0, sizeof buffer);
    VALUE(pread(fd, buffer, 21, (off_t)area));
    puts(buffer);
    VALUE(pwrite(fd, "again", 5, (off_t)area));
    VALUE(lseek(fd, (off_t)area, SEEK_SET) == (off_t)area);
    VALUE(read(fd, buffer, 7));
    puts(buffer);
    VALUE(pread(fd, buffer, 1, (off_t)(area + 2 * PAGE)));
    VALUE(pread(fd, buffer, 1, 0));
    close(fd);
    IN_CHILD("nobody", become_nobody(); TRY(open(path, O_RDONLY)));
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    VALUE(process_vm_readv(child, &large, 1, far, 2, 0));
    munmap(area, 4 * PAGE);

    SECTION("process_madvise");
    area = pages(4, PROT_READ | PROT_WRITE);
    int pidfd = MUST(syscall(SYS_pidfd_open, getpid(), 0));
    struct iovec range[2] = {{area, PAGE}, {area + PAGE, PAGE}};
    VALUE(syscall(440, pidfd, range, 2, MADV_COLD, 0));
    VALUE(syscall(440, pidfd, range, 2, MADV_WILLNEED, 0));
    VALUE(syscall(440, pidfd, range, 2, MADV_COLD, 1));
    VALUE(syscall(440, pidfd, range, 2, 77, 0));
    VALUE(syscall(440, 1000, range, 2, MADV_COLD, 0));
    VALUE(syscall(440, pidfd, range, 1025, MADV_COLD, 0));
    VALUE(syscall(440, pidfd, (void *)1, 1, MADV_COLD, 0));
    close(pidfd);
    munmap(area, 4 * PAGE);
}

static long status_field(const char *name) {
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name))) value = atol(line + strlen(name) + 1);
    fclose(file);
    return value;
}

static int resident(char *area, int count) {
    unsigned char vector[64];
    int sum = 0;
    if (mincore(area, count * PAGE, vector)) return -1;
    for (int i = 0; i < count; i++) sum += vector[i] & 1;
    return sum;
}

static void locking(void) {
    SECTION("mlock");
    char *area = pages(8, PROT_READ | PROT_WRITE);
    long before = status_field("VmLck:");
    TRY(mlock(area + 100, 5000));
    VALUE(resident(area, 8));
    VALUE(status_field("VmLck:") - before);
    TRY(munlock(area, PAGE));
    VALUE(status_field("VmLck:") - before);
    TRY(munlock(area, 8 * PAGE));
    TRY(mlock2(area + 4 * PAGE, 2 * PAGE, MLOCK_ONFAULT));
    VALUE(resident(area + 4 * PAGE, 2));
    VALUE(status_field("VmLck:") - before);
    TRY(mlock2(area, PAGE, 2));
    TRY(mlock(area, 0));
    TRY(mlock((void *)-PAGE, PAGE));
    TRY(mlock((void *)-1, 100));
    munmap(area + 7 * PAGE, PAGE);
    TRY(mlock(area + 6 * PAGE, 2 * PAGE));
    TRY(munlock(area + 6 * PAGE, 2 * PAGE));
    TRY(madvise(area + 4 * PAGE, PAGE, MADV_DONTNEED));
    TRY(madvise(area + 4 * PAGE, PAGE, MADV_DONTNEED_LOCKED));
    TRY(madvise(area + 4 * PAGE, PAGE, MADV_COLD));
    IN_CHILD("locks are not inherited", VALUE(status_field("VmLck:")));
    munlockall();
    char *guard = pages(1, PROT_NONE);
    TRY(mlock(guard, PAGE));
    munlockall();
    TRY(mlockall(0));
    TRY(mlockall(MCL_ONFAULT));
    TRY(mlockall(99));
    IN_CHILD("mlockall", TRY(mlockall(MCL_CURRENT | MCL_FUTURE)); char *more = pages(4, PROT_READ | PROT_WRITE); VALUE(resident(more, 4));
             TRY(munlockall()); more = pages(4, PROT_READ | PROT_WRITE); VALUE(resident(more, 4)); VALUE(status_field("VmLck:"));
             TRY(mlockall(MCL_FUTURE | MCL_ONFAULT)); more = pages(4, PROT_READ | PROT_WRITE); VALUE(resident(more, 4)); VALUE(status_field("VmLck:")));

    SECTION("RLIMIT_MEMLOCK");
    struct rlimit limit = {4 * PAGE, 4 * PAGE}, none = {0, 0};
    IN_CHILD("nobody", setrlimit(RLIMIT_MEMLOCK, &limit); become_nobody(); char *more = pages(16, PROT_READ | PROT_WRITE); TRY(mlock(more, 4 * PAGE));
             TRY(mlock(more + 2 * PAGE, 2 * PAGE)); TRY(mlock(more + 4 * PAGE, 1)); TRY(munlock(more, PAGE)); TRY(mlock(more + 4 * PAGE, 1));
             TRY(mlockall(MCL_CURRENT)); TRY(mlockall(MCL_FUTURE)); MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)); TRY(munlockall());
             MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0));
             MAPS(mmap(NULL, 5 * PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0)); more = pages(16, PROT_READ | PROT_WRITE); munlockall();
             TRY(mlock(more, 4 * PAGE)); munmap(more + 4 * PAGE, 8 * PAGE); MAPS(mremap(more, 4 * PAGE, 5 * PAGE, MREMAP_MAYMOVE)));
    IN_CHILD("nothing allowed", setrlimit(RLIMIT_MEMLOCK, &none); become_nobody(); TRY(mlock(area, PAGE)); TRY(munlock(area, PAGE)); TRY(mlockall(MCL_FUTURE));
             MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0)));
    munmap(area, 8 * PAGE);
}

static void limits(void) {
    SECTION("RLIMIT_DATA and RLIMIT_AS");
    struct rlimit data = {64 << 20, RLIM_INFINITY}, small = {2 << 20, RLIM_INFINITY};
    IN_CHILD("data", MUST(setrlimit(RLIMIT_DATA, &data)); MAPS(mmap(NULL, 128 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
             MAPS(mmap(NULL, 128 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)); MAPS(mmap(NULL, 128 << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
             char *area = mmap(NULL, 128 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); TRY(mprotect(area, 128 << 20, PROT_READ | PROT_WRITE));
             TRY(mprotect(area, 1 << 20, PROT_READ | PROT_WRITE)); TRUE(sbrk(100 << 20) == (void *)-1); TRUE(sbrk(1 << 20) != (void *)-1));
    IN_CHILD("address space", char *area = mmap(NULL, 1 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); MUST(setrlimit(RLIMIT_AS, &small));
             MAPS(mmap(NULL, 4 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)); MAPS(mremap(area, 1 << 20, 8 << 20, MREMAP_MAYMOVE)); TRUE(sbrk(4 << 20) == (void *)-1));
}

static void policies(void) {
    SECTION("memory policies");
    unsigned long one = 1, two = 2, none = 0, mask[20] = {0}, wide[20] = {1};
    int mode = -1;
    TRY(syscall(SYS_get_mempolicy, &mode, mask, 1024, 0, 0));
    printf("mode %d mask %lx\n", mode, mask[0]);
    TRY(syscall(SYS_get_mempolicy, NULL, mask, 1024, 0, MPOL_F_MEMS_ALLOWED));
    printf("mask %lx\n", mask[0]);
    TRY(syscall(SYS_get_mempolicy, NULL, mask, 1024, 0, MPOL_F_MEMS_ALLOWED | MPOL_F_NODE));
    TRY(syscall(SYS_get_mempolicy, &mode, mask, 0, 0, 0));
    TRY(syscall(SYS_get_mempolicy, &mode, NULL, 0, PAGE, 0));
    TRY(syscall(SYS_get_mempolicy, &mode, NULL, 0, PAGE, MPOL_F_ADDR));
    TRY(syscall(SYS_get_mempolicy, &mode, NULL, 0, 0, 99));
    TRY(syscall(SYS_get_mempolicy, &mode, NULL, 0, 0, MPOL_F_NODE));
    char *area = pages(8, PROT_READ | PROT_WRITE);
    TRY(syscall(SYS_get_mempolicy, &mode, NULL, 0, area, MPOL_F_ADDR | MPOL_F_NODE));
    printf("node %d\n", mode);
    TRY(syscall(SYS_set_mempolicy, MPOL_BIND, &one, 64));
    TRY(syscall(SYS_get_mempolicy, &mode, mask, 64, 0, 0));
    printf("mode %d mask %lx\n", mode, mask[0]);
    IN_CHILD("inherited", syscall(SYS_get_mempolicy, &mode, NULL, 0, 0, 0); printf("mode %d\n", mode));
    TRY(syscall(SYS_set_mempolicy, MPOL_BIND, &two, 64));
    TRY(syscall(SYS_set_mempolicy, MPOL_BIND, &none, 64));
    TRY(syscall(SYS_set_mempolicy, MPOL_BIND, NULL, 0));
    TRY(syscall(SYS_set_mempolicy, MPOL_BIND, (void *)1, 64));
    TRY(syscall(SYS_set_mempolicy, MPOL_DEFAULT, &one, 64));
    TRY(syscall(SYS_set_mempolicy, MPOL_PREFERRED, NULL, 0));
    TRY(syscall(SYS_set_mempolicy, MPOL_LOCAL, &one, 64));
    TRY(syscall(SYS_set_mempolicy, 77, &one, 64));
    TRY(syscall(SYS_set_mempolicy, MPOL_INTERLEAVE | MPOL_F_STATIC_NODES, wide, 1024));
    TRY(syscall(SYS_set_mempolicy, MPOL_INTERLEAVE | MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES, wide, 1024));
    TRY(syscall(SYS_get_mempolicy, &mode, NULL, 0, 0, MPOL_F_NODE));
    printf("next %d\n", mode);
    TRY(syscall(SYS_set_mempolicy, MPOL_DEFAULT, NULL, 0));
    TRY(syscall(SYS_mbind, area, 4 * PAGE, MPOL_BIND, &one, 64, 0));
    TRY(syscall(SYS_get_mempolicy, &mode, mask, 64, area + PAGE, MPOL_F_ADDR));
    printf("mode %d mask %lx\n", mode, mask[0]);
    TRY(syscall(SYS_get_mempolicy, &mode, NULL, 0, area + 5 * PAGE, MPOL_F_ADDR));
    printf("mode %d\n", mode);
    TRY(syscall(SYS_set_mempolicy_home_node, area, 4 * PAGE, 0, 0));
    TRY(syscall(SYS_set_mempolicy_home_node, area, 4 * PAGE, 1000, 0));
    TRY(syscall(SYS_set_mempolicy_home_node, area + 5 * PAGE, PAGE, 0, 0));
    TRY(syscall(SYS_set_mempolicy_home_node, area, PAGE, 0, 1));
    TRY(syscall(SYS_set_mempolicy_home_node, area + 1, PAGE, 0, 0));
    TRY(syscall(SYS_mbind, area + 1, PAGE, MPOL_BIND, &one, 64, 0));
    TRY(syscall(SYS_mbind, area, PAGE, MPOL_BIND, &one, 64, 8));
    TRY(syscall(SYS_mbind, area, 0, MPOL_BIND, &one, 64, 0));
    TRY(syscall(SYS_mbind, area, PAGE, MPOL_BIND, &two, 64, 0));
    TRY(syscall(SYS_mbind, area, PAGE, MPOL_BIND, &one, 64, MPOL_MF_STRICT | MPOL_MF_MOVE));
    munmap(area + 2 * PAGE, PAGE);
    TRY(syscall(SYS_mbind, area, 4 * PAGE, MPOL_BIND, &one, 64, 0));
    TRY(syscall(SYS_mbind, area, 4 * PAGE, MPOL_DEFAULT, NULL, 0, 0));
    TRY(syscall(SYS_mbind, area + 2 * PAGE, PAGE, MPOL_DEFAULT, NULL, 0, 0));
    VALUE(syscall(SYS_migrate_pages, 0, 64, &one, &one));
    VALUE(syscall(SYS_migrate_pages, 0, 64, &one, (void *)1));
    VALUE(syscall(SYS_migrate_pages, 0x3fffffff, 64, &one, &one));
    area[0] = 1;
    void *where[3] = {area, area + PAGE, area + 2 * PAGE};
    int nodes[3] = {0, 0, 0}, status[3] = {9, 9, 9};
    VALUE(syscall(SYS_move_pages, 0, 3, where, NULL, status, 0));
    printf("%d %d %d\n", status[0], status[1], status[2]);
    VALUE(syscall(SYS_move_pages, 0, 1, where, nodes, status, 2));
    printf("%d\n", status[0]);
    nodes[0] = 7;
    VALUE(syscall(SYS_move_pages, 0, 1, where, nodes, status, 2));
    VALUE(syscall(SYS_move_pages, 0, 1, where, nodes, status, 1));
    VALUE(syscall(SYS_move_pages, 0x3fffffff, 1, where, NULL, status, 2));
    munmap(area, 8 * PAGE);
}

static void advice(void) {
    SECTION("madvise");
    char *area = pages(8, PROT_READ | PROT_WRITE);
    memset(area, 'x', 8 * PAGE);
    TRY(madvise(area, PAGE, MADV_WIPEONFORK));
    TRY(madvise(area + PAGE, PAGE, MADV_DONTFORK));
    IN_CHILD("wiped", printf("%d %c\n", area[0], area[2 * PAGE]));
    IN_CHILD("not there", area[PAGE] = 1);
    TRY(madvise(area, 2 * PAGE, MADV_KEEPONFORK));
    TRY(madvise(area, 2 * PAGE, MADV_DOFORK));
    IN_CHILD("there again", printf("%c %c\n", area[0], area[PAGE]));
    TRY(madvise(area, 2 * PAGE, MADV_DONTNEED));
    printf("%d %c\n", area[0], area[2 * PAGE]);
    TRY(madvise(area + 2 * PAGE, PAGE, MADV_FREE));
    area[2 * PAGE] = 'y';
    printf("%c\n", area[2 * PAGE]);
    TRY(madvise(area + 2 * PAGE, PAGE, MADV_COLD));
    TRY(madvise(area + 2 * PAGE, PAGE, MADV_PAGEOUT));
    TRY(madvise(area + 1, PAGE, MADV_NORMAL));
    TRY(madvise(area, -1, MADV_NORMAL));
    TRY(madvise(area, PAGE, 12345));
    TRY(madvise(area, 0, MADV_NORMAL));
    TRY(madvise(area, 0, 12345));
    TRY(madvise(area, PAGE, MADV_REMOVE));
    char *fresh = pages(4, PROT_READ | PROT_WRITE);
    TRY(madvise(fresh, 2 * PAGE, MADV_POPULATE_READ));
    TRY(madvise(fresh + 2 * PAGE, 2 * PAGE, MADV_POPULATE_WRITE));
    VALUE(resident(fresh, 4));
    mprotect(fresh, PAGE, PROT_NONE);
    TRY(madvise(fresh, PAGE, MADV_POPULATE_READ));
    mprotect(fresh, PAGE, PROT_READ);
    TRY(madvise(fresh, PAGE, MADV_POPULATE_WRITE));
    munmap(fresh + PAGE, PAGE);
    TRY(madvise(fresh, 3 * PAGE, MADV_POPULATE_READ));
    TRY(madvise(fresh, 3 * PAGE, MADV_DONTNEED));
    TRY(madvise(fresh, 3 * PAGE, MADV_WILLNEED));
    int fd = MUST(memfd_create("advice", 0));
    MUST(ftruncate(fd, 4 * PAGE));
    char *shared = MUST(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    memset(shared, 's', 4 * PAGE);
    TRY(madvise(shared + PAGE, PAGE, MADV_REMOVE));
    printf("%c %d %c\n", shared[0], shared[PAGE], shared[2 * PAGE]);
    TRY(madvise(shared, PAGE, MADV_DONTNEED));
    printf("%c\n", shared[0]);
    TRY(madvise(shared, PAGE, MADV_WIPEONFORK));
    TRY(madvise(shared, PAGE, MADV_FREE));
    TRY(madvise(shared, 4 * PAGE, MADV_POPULATE_WRITE));
    MUST(ftruncate(fd, PAGE));
    TRY(madvise(shared, 4 * PAGE, MADV_POPULATE_READ));

    SECTION("remap_file_pages");
    MUST(ftruncate(fd, 4 * PAGE));
    for (int i = 0; i < 4; i++) shared[i * PAGE] = 'a' + i;
    TRY(remap_file_pages(shared, PAGE, 0, 3, 0));
    TRY(remap_file_pages(shared + PAGE, 2 * PAGE, 0, 0, 0));
    printf("%c %c %c %c\n", shared[0], shared[PAGE], shared[2 * PAGE], shared[3 * PAGE]);
    TRY(remap_file_pages(shared, PAGE, PROT_READ, 0, 0));
    TRY(remap_file_pages(area, PAGE, 0, 0, 0));
    TRY(remap_file_pages(shared, 100, 0, 0, 0));
    TRY(remap_file_pages(shared + 3 * PAGE, 2 * PAGE, 0, 0, 0));
    munmap(shared, 4 * PAGE);
    munmap(area, 8 * PAGE);
    close(fd);
}

static void sync_and_mincore(void) {
    SECTION("msync and mincore");
    int fd = MUST(memfd_create("sync", 0));
    MUST(ftruncate(fd, 4 * PAGE));
    char *area = MUST(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    area[0] = 'm';
    TRY(msync(area, PAGE, MS_SYNC));
    TRY(msync(area, PAGE, MS_ASYNC));
    TRY(msync(area, PAGE, MS_INVALIDATE));
    TRY(msync(area, PAGE, 0));
    TRY(msync(area, 0, MS_SYNC));
    TRY(msync(area, PAGE, MS_SYNC | MS_ASYNC));
    TRY(msync(area, PAGE, 8));
    TRY(msync(area + 1, PAGE, MS_SYNC));
    TRY(msync(area, -PAGE, MS_SYNC));
    munmap(area + PAGE, PAGE);
    TRY(msync(area, 3 * PAGE, MS_SYNC));
    TRY(msync(area, 3 * PAGE, MS_ASYNC));
    TRY(msync(area + PAGE, PAGE, MS_ASYNC));
    mlock(area, PAGE);
    TRY(msync(area, PAGE, MS_INVALIDATE));
    munlock(area, PAGE);
    unsigned char vector[8];
    TRY(mincore(area, PAGE, vector));
    TRY(mincore(area, 3 * PAGE, vector));
    TRY(mincore(area + 1, PAGE, vector));
    TRY(mincore(area, PAGE, (void *)1));
    TRY(mincore(area, 0, NULL));
    TRY(mincore((void *)-PAGE, PAGE, vector));
    char buffer[4];
    pread(fd, buffer, 1, 0);
    printf("%c\n", buffer[0]);
    pwrite(fd, "w", 1, 0);
    printf("%c\n", area[0]);
    munmap(area, 4 * PAGE);
    close(fd);
}

static void page_map(void) {
    SECTION("pagemap, numa_maps, smaps");
    char *area = pages(4, PROT_READ | PROT_WRITE);
    madvise(area, 4 * PAGE, MADV_NOHUGEPAGE);
    area[0] = 1, (void)*(volatile char *)(area + 2 * PAGE);
    int fd = MUST(open("/proc/self/pagemap", O_RDONLY));
    uint64_t entries[4];
    VALUE(pread(fd, entries, sizeof entries, (off_t)((uintptr_t)area / PAGE * 8)));
    for (int i = 0; i < 4; i++) printf("%d%d ", (int)(entries[i] >> 63), (int)(entries[i] >> 61 & 1));
    puts("");
    VALUE(pread(fd, entries, 7, 0));
    VALUE(pread(fd, entries, 8, 4));
    VALUE(pread(fd, entries, 8, 1LL << 50));
    close(fd);
    char line[512], start[32];
    snprintf(start, sizeof start, "%08lx ", (long)area);
    syscall(SYS_mbind, area, 4 * PAGE, MPOL_BIND, &(unsigned long){1}, 64, 0);
    FILE *file = fopen("/proc/self/numa_maps", "r");
    while (fgets(line, sizeof line, file))
        if (!strncmp(line, start, strlen(start))) line[strlen(start) + 21] = 0, printf("numa_maps: %s\n", line + strlen(start));
    fclose(file);
    munmap(area, 4 * PAGE);
}

static void protection_keys(void) {
    SECTION("what is not there");
    TRY(syscall(SYS_pkey_free, 7));
    TRY(syscall(SYS_pkey_alloc, 1, 0));
    char *area = pages(1, PROT_READ);
    TRY(syscall(SYS_pkey_mprotect, area, PAGE, PROT_READ, -1));
    TRY(syscall(SYS_pkey_mprotect, area, PAGE, PROT_READ, 99));
    munmap(area, PAGE);
}

int main(void) {
    setbuf(stdout, NULL);
    other_processes();
    locking();
    limits();
    policies();
    advice();
    sync_and_mincore();
    page_map();
    protection_keys();
    return 0;
}
