/* mmap, mprotect, mremap, munmap, madvise, brk: what is mapped, shared, copied, refused. */
#include "check.h"
#include <setjmp.h>

static sigjmp_buf escape;
static void on_fault(int number) { siglongjmp(escape, number); }

/* `readable`, or the signal that touching the byte raised. */
static const char *touch(volatile char *at, int write) {
    static char text[32];
    int number = sigsetjmp(escape, 1);
    if (number) {
        snprintf(text, sizeof text, "signal %d", number);
        return text;
    }
    if (write) *at = 7;
    else (void)*at;
    return write ? "written" : "read";
}

static char *map_at(void *at, size_t size, int protection, int flags) {
    return mmap(at, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
}

#define RW (PROT_READ | PROT_WRITE)
#define SHOW(expression) printf("%s: %s\n", #expression, expression)
#define MAPS(call) printf("%s: %s\n", #call, (void *)(call) == MAP_FAILED ? error_name(errno) : "ok")

static void placement(void) {
    SECTION("placement");
    char *area = map_at(NULL, 16 * PAGE, RW, 0);
    TRUE((uintptr_t)area % PAGE == 0);
    TRUE(area[5] == 0 && area[16 * PAGE - 1] == 0);
    area[PAGE] = 3;
    TRUE(map_at(area + PAGE, PAGE, RW, MAP_FIXED) == area + PAGE);
    TRUE(area[PAGE] == 0);
    MAPS(map_at(area, PAGE, RW, MAP_FIXED_NOREPLACE));
    TRUE(map_at(area, PAGE, RW, 0) != area);
    munmap(area + 4 * PAGE, 2 * PAGE);
    TRUE(map_at(area + 4 * PAGE, 2 * PAGE, RW, MAP_FIXED_NOREPLACE) == area + 4 * PAGE);
    TRUE(map_at(NULL, PAGE, RW, MAP_32BIT) < (char *)0x80000000);
    MAPS(map_at(NULL, 0, RW, 0));
    MAPS(map_at(area + 1, PAGE, RW, MAP_FIXED));
    MAPS(map_at((void *)0x7ffffffff000, PAGE * 2, RW, MAP_FIXED));
    MAPS(map_at((void *)(1ul << 47), PAGE, RW, MAP_FIXED));
    MAPS(map_at(NULL, 1ul << 47, RW, MAP_NORESERVE));
    MAPS(mmap(NULL, PAGE, RW, MAP_ANONYMOUS, -1, 0));
    MAPS(mmap(NULL, PAGE, RW, MAP_PRIVATE, -1, 0));
    MAPS(mmap(NULL, PAGE, RW, MAP_PRIVATE | MAP_ANONYMOUS, -1, 1));
    int fd = MUST(open("/dev/null", O_WRONLY));
    MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
    char *reserved = map_at(NULL, 64ul << 30, PROT_NONE, MAP_NORESERVE);
    TRUE(reserved != MAP_FAILED);
    TRY(mprotect(reserved + (32ul << 30), PAGE, RW));
    SHOW(touch(reserved + (32ul << 30), 1));
    SHOW(touch(reserved + (32ul << 30) + PAGE, 1));
    TRY(munmap(reserved, 64ul << 30));
    SHOW(touch(NULL, 0));
    SHOW(touch((char *)PAGE, 0));
}

static void protection(void) {
    SECTION("protection");
    char *area = map_at(NULL, 8 * PAGE, RW, 0);
    TRY(mprotect(area + PAGE, 1, PROT_READ));
    SHOW(touch(area + 2 * PAGE - 1, 1));
    SHOW(touch(area + 2 * PAGE - 1, 0));
    SHOW(touch(area + 2 * PAGE, 1));
    TRY(mprotect(area + 3 * PAGE, PAGE + 1, PROT_NONE));
    SHOW(touch(area + 3 * PAGE, 0));
    SHOW(touch(area + 5 * PAGE - 1, 0));
    SHOW(touch(area + 5 * PAGE, 0));
    TRY(mprotect(area, 8 * PAGE, RW));
    SHOW(touch(area + 3 * PAGE, 1));
    TRY(mprotect(area + 1, PAGE, RW));
    TRY(mprotect(area, 8 * PAGE, 0x100));
    munmap(area + 4 * PAGE, PAGE);
    TRY(mprotect(area, 8 * PAGE, PROT_READ));
    SHOW(touch(area, 1));
    TRY(munmap(area, 0));
    TRY(munmap(area + 1, PAGE));
    TRY(munmap(area, 8 * PAGE));
    TRY(munmap(area, 8 * PAGE));
    unsigned char code[] = {0xb8, 42, 0, 0, 0, 0xc3};
    char *page = map_at(NULL, PAGE, RW, 0);
    memcpy(page, code, sizeof code);
    TRY(mprotect(page, PAGE, PROT_READ | PROT_EXEC));
    printf("generated code returns %d\n", ((int (*)(void))page)());
}

static int sample(const char *name) {
    int fd = MUST(open(name, O_RDWR | O_CREAT | O_TRUNC, 0600));
    char page[PAGE];
    for (int i = 0; i < 4; i++) {
        memset(page, 'a' + i, PAGE);
        MUST(write(fd, page, PAGE));
    }
    MUST(write(fd, "tail", 4));
    return fd;
}

static void files(void) {
    SECTION("files");
    int fd = sample("mapped");
    char byte = 0;
    struct stat before, after;
    MUST(fstat(fd, &before)), sleep_ms(20);
    MUST(munmap(MUST(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0)), PAGE));
    MUST(fstat(fd, &after));
    TRUE(after.st_atim.tv_sec > before.st_atim.tv_sec || after.st_atim.tv_nsec > before.st_atim.tv_nsec);
    char *shared = mmap(NULL, 5 * PAGE, RW, MAP_SHARED, fd, 0), *private = mmap(NULL, 5 * PAGE, RW, MAP_PRIVATE, fd, 0);
    printf("%c %c %c tail %.4s then %d\n", shared[0], shared[PAGE], private[3 * PAGE], shared + 4 * PAGE, shared[4 * PAGE + 4]);
    shared[1] = 'S', private[2] = 'P';
    MUST(pread(fd, &byte, 1, 1)), printf("read sees the shared write: %c\n", byte);
    MUST(pread(fd, &byte, 1, 2)), printf("but not the private one: %c\n", byte);
    MUST(pwrite(fd, "W", 1, PAGE));
    printf("write is seen: shared %c private %c\n", shared[PAGE], private[PAGE]);
    private[PAGE + 1] = 'x';
    MUST(pwrite(fd, "V", 1, PAGE));
    printf("after its own copy: shared %c private %c\n", shared[PAGE], private[PAGE]);
    char *second = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, PAGE);
    printf("offset %c\n", second[0]);
    TRY(msync(shared, 5 * PAGE, MS_SYNC));
    TRY(msync(shared + 1, PAGE, MS_SYNC));
    TRY(ftruncate(fd, PAGE + 10));
    SHOW(touch(shared + PAGE, 0));
    SHOW(touch(shared + 2 * PAGE, 0));
    SHOW(touch(private + 2 * PAGE, 0));
    TRY(ftruncate(fd, 4 * PAGE));
    SHOW(touch(shared + 2 * PAGE, 0));
    printf("zero after growing: %d %d\n", shared[PAGE + 10], shared[2 * PAGE]);
    close(fd);
    unlink("mapped");
    SHOW(touch(shared, 1));
    fd = MUST(open("read-only", O_RDONLY | O_CREAT, 0600));
    MAPS(mmap(NULL, PAGE, RW, MAP_SHARED, fd, 0));
    MAPS(mmap(NULL, PAGE, RW, MAP_PRIVATE, fd, 0));
    char *reader = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    TRY(mprotect(reader, PAGE, RW));
    MAPS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 17));
    close(fd);
    MAPS(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0));
    fd = MUST(open(".", O_RDONLY));
    MAPS(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, fd, 0));
    int zero = MUST(open("/dev/zero", O_RDWR));
    char *zeros = mmap(NULL, PAGE, RW, MAP_PRIVATE, zero, 0);
    printf("/dev/zero %d %s\n", zeros[9], touch(zeros, 1));
}

static void memfd(void) {
    SECTION("memfd");
    int fd = MUST(memfd_create("memory", MFD_ALLOW_SEALING | MFD_CLOEXEC));
    TRY(ftruncate(fd, 2 * PAGE));
    char *at = mmap(NULL, 2 * PAGE, RW, MAP_SHARED, fd, 0);
    strcpy(at, "shared over fork");
    IN_CHILD("child", strcpy(at + PAGE, "back"));
    printf("%s\n", at + PAGE);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK));
    TRY(ftruncate(fd, PAGE));
    TRY(ftruncate(fd, 3 * PAGE));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    munmap(at, 2 * PAGE);
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL));
    TRY(write(fd, "x", 1));
    TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_GROW));
    VALUE(fcntl(fd, F_GET_SEALS));
}

static void remaps(void) {
    SECTION("mremap");
    char *area = map_at(NULL, 8 * PAGE, RW, 0);
    for (int i = 0; i < 4; i++) area[i * PAGE] = 'a' + i;
    munmap(area + 4 * PAGE, 4 * PAGE);
    TRUE(mremap(area, 4 * PAGE, 6 * PAGE, 0) == area);
    TRUE(area[5 * PAGE] == 0);
    TRUE(mremap(area, 6 * PAGE, 2 * PAGE, 0) == area);
    SHOW(touch(area + 2 * PAGE, 0));
    map_at(area + 2 * PAGE, PAGE, RW, MAP_FIXED);
    MAPS(mremap(area, 2 * PAGE, 4 * PAGE, 0));
    char *moved = mremap(area, 2 * PAGE, 64 * PAGE, MREMAP_MAYMOVE);
    TRUE(moved != area && moved[0] == 'a' && moved[PAGE] == 'b');
    SHOW(touch(area, 0));
    char *target = map_at(NULL, 2 * PAGE, RW, 0);
    TRUE(mremap(moved, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, target) == target);
    TRUE(target[PAGE] == 'b');
    MAPS(mremap(target, 0, PAGE, MREMAP_MAYMOVE));
    MAPS(mremap(target, PAGE, 0, MREMAP_MAYMOVE));
    MAPS(mremap(target + 1, PAGE, PAGE, 0));
    munmap(target, 2 * PAGE);
    MAPS(mremap(target, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    size_t size = 64 << 20;
    char *large = map_at(NULL, size, RW, 0);
    for (size_t at = 0; at < size; at += 1 << 20) large[at] = at >> 20;
    large = mremap(large, size, 2 * size, MREMAP_MAYMOVE);
    int bad = 0;
    for (size_t at = 0; at < size; at += 1 << 20) bad += large[at] != (char)(at >> 20);
    printf("bad after moving 64 MiB: %d\n", bad);
    munmap(large, 2 * size);
}

static void advice(void) {
    SECTION("madvise and the rest");
    char *area = map_at(NULL, 4 * PAGE, RW, 0);
    memset(area, 1, 4 * PAGE);
    TRY(madvise(area + PAGE, PAGE, MADV_DONTNEED));
    printf("%d %d %d\n", area[0], area[PAGE], area[2 * PAGE]);
    TRY(madvise(area, 4 * PAGE, MADV_WILLNEED));
    TRY(madvise(area, 4 * PAGE, MADV_FREE));
    TRY(madvise(area, 4 * PAGE, MADV_NOHUGEPAGE));
    TRY(madvise(area + 1, PAGE, MADV_DONTNEED));
    TRY(madvise(area, PAGE, 9999));
    TRY(madvise(area, PAGE, MADV_DONTFORK));
    munmap(area + PAGE, PAGE);
    TRY(madvise(area, 4 * PAGE, MADV_DONTNEED));
    char *populated = map_at(NULL, 4 * PAGE, RW, MAP_POPULATE);
    unsigned char resident[4] = {0};
    TRY(mincore(populated, 4 * PAGE, resident));
    printf("resident %d%d%d%d\n", resident[0] & 1, resident[1] & 1, resident[2] & 1, resident[3] & 1);
    TRY(mincore(populated + 1, PAGE, resident));
    TRY(mlock(populated, PAGE));
    /* The second joins the area of the first, and is not its end. */
    char *neighbours = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    TRY(mlock(neighbours + 2 * PAGE, PAGE));
    TRY(mlock(neighbours + PAGE, PAGE));
    TRY(mlock(neighbours + PAGE, PAGE));
    TRY(munlock(populated, PAGE));
    TRY(mlock(populated, 4 * PAGE));
    TRY(mlock(populated, PAGE));
    TRY(munlock(populated, 4 * PAGE));
    char *start = sbrk(0);
    TRUE(sbrk(100 * PAGE) == start);
    memset(start, 5, 100 * PAGE);
    TRUE(sbrk(-50 * (long)PAGE) == start + 100 * PAGE);
    SHOW(touch(start + 60 * PAGE, 0));
    TRUE(sbrk(50 * PAGE) == start + 50 * PAGE);
    TRUE(start[60 * PAGE] == 0 && start[10] == 5);
    TRUE(brk((void *)PAGE) == 0 && sbrk(0) != (void *)PAGE);
    char *down = map_at(NULL, 256 * PAGE, PROT_NONE, 0) + 200 * PAGE;
    munmap(down - 200 * PAGE, 256 * PAGE);
    char *stack = map_at(down, 2 * PAGE, RW, MAP_FIXED | MAP_GROWSDOWN);
    printf("grows down: %s\n", touch(stack - 1, 1));
}

static void copying(void) {
    SECTION("fork");
    size_t size = 8 << 20;
    char *area = map_at(NULL, size, RW, 0);
    memset(area, 1, size);
    IN_CHILD("child writes all", memset(area, 2, size); int bad = 0; for (size_t i = 0; i < size; i += 997) bad += area[i] != 2; _exit(bad != 0));
    long sum = 0;
    for (size_t i = 0; i < size; i++) sum += area[i];
    TRUE(sum == (long)size);
    IN_CHILD("grandchildren", for (int i = 0; i < 3; i++) IN_CHILD("g", area[i * PAGE] = 9; _exit(area[PAGE * 7])); _exit(area[0]));
    char *forked = map_at(NULL, PAGE, RW, 0);
    madvise(forked, PAGE, MADV_DONTFORK);
    IN_CHILD("MADV_DONTFORK", _exit(strcmp(touch(forked, 0), "read") ? 3 : 4));
    madvise(area, PAGE, MADV_WIPEONFORK);
    IN_CHILD("MADV_WIPEONFORK", _exit(area[0]));
}

static void proc_maps(void) {
    SECTION("/proc/self/maps");
    char *area = map_at(NULL, 3 * PAGE, PROT_READ, 0), line[512];
    mprotect(area + PAGE, PAGE, RW);
    FILE *maps = fopen("/proc/self/maps", "r");
    int stack = 0, heap = 0, self = 0, mine = 0, ordered = 1;
    unsigned long last = 0;
    while (fgets(line, sizeof line, maps)) {
        unsigned long from, to;
        char permissions[8];
        if (sscanf(line, "%lx-%lx %7s", &from, &to, permissions) != 3) continue;
        ordered &= from >= last && to > from;
        last = to;
        stack += strstr(line, "[stack]") != NULL, heap += strstr(line, "[heap]") != NULL, self += strstr(line, "/mappings") != NULL;
        if (from == (unsigned long)area + PAGE) mine = to == from + PAGE && !strcmp(permissions, "rw-p");
    }
    printf("stack %d heap %d own file %d, split mapping %d, ordered %d\n", stack, heap, self > 1, mine, ordered);
}

int main(void) {
    struct sigaction action = {.sa_handler = on_fault};
    sigaction(SIGSEGV, &action, NULL);
    sigaction(SIGBUS, &action, NULL);
    placement();
    protection();
    files();
    memfd();
    remaps();
    advice();
    copying();
    proc_maps();
    return 0;
}
