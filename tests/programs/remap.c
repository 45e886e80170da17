/* mremap, mprotect and seals of memfds in their corners. */
#include "check.h"
#define MAPS(call) report(#call, (call) == MAP_FAILED ? -1 : 0)
static char *pages(int count, int prot) { return MUST(mmap(NULL, count * PAGE, prot, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)); }
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif
int main(void) {
    setbuf(stdout, NULL);
    char *room = pages(64, PROT_NONE); munmap(room, 64 * PAGE);
    char *a = MUST(mmap(room, 8 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
    for (int i = 0; i < 8; i++) a[i * PAGE] = 'a' + i;
    SECTION("errors");
    MAPS(mremap(a + 1, PAGE, PAGE, MREMAP_MAYMOVE));
    MAPS(mremap(a, PAGE, PAGE, 8));
    MAPS(mremap(a, PAGE, PAGE, MREMAP_FIXED, room + 20 * PAGE));
    MAPS(mremap(a, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 20 * PAGE + 1));
    MAPS(mremap(a, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a));
    MAPS(mremap(a, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, a + PAGE));
    MAPS(mremap(a, PAGE, 0, MREMAP_MAYMOVE));
    MAPS(mremap(a, 0, PAGE, MREMAP_MAYMOVE));
    MAPS(mremap(room + 40 * PAGE, PAGE, 2 * PAGE, MREMAP_MAYMOVE));
    MAPS(mremap(room + 40 * PAGE, PAGE, PAGE, 0));
    MAPS(mremap(a, 16 * PAGE, 17 * PAGE, MREMAP_MAYMOVE));
    MAPS(mremap(a, PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP));
    MAPS(mremap(a, PAGE, PAGE, MREMAP_DONTUNMAP));
    MAPS(mremap(a, PAGE, -1UL & ~(PAGE - 1), MREMAP_MAYMOVE));
    MAPS(mremap(a, PAGE, 1UL << 46, MREMAP_MAYMOVE));
    MAPS(mremap(a, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)(1UL << 47)));
    SECTION("in place");
    TRUE(mremap(a, 8 * PAGE, 8 * PAGE, 0) == a);
    TRUE(mremap(a, PAGE + 1, 2 * PAGE, 0) == a);
    MAPS(mremap(a, 4 * PAGE, 5 * PAGE, 0));
    TRUE(mremap(a, 8 * PAGE, 10 * PAGE, 0) == a);
    printf("%c %d\n", a[7 * PAGE], a[9 * PAGE]);
    TRUE(mremap(a, 10 * PAGE, 8 * PAGE, 0) == a);
    SECTION("moving");
    char *b = mremap(a + 2 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 20 * PAGE);
    TRUE(b == room + 20 * PAGE);
    printf("%c %c\n", b[0], b[PAGE]);
    IN_CHILD("gone", a[2 * PAGE] = 1);
    b = mremap(b, 2 * PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, room + 30 * PAGE);
    printf("%c\n", b[0]);
    IN_CHILD("shrunk", b[PAGE] = 1);
    IN_CHILD("old gone", room[21 * PAGE] = 1);
    b = mremap(b, PAGE, 4 * PAGE, MREMAP_MAYMOVE);
    printf("%c %d\n", b[0], b[3 * PAGE]);
    SECTION("MREMAP_DONTUNMAP");
    char *c = mremap(a + 4 * PAGE, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    TRUE(c != MAP_FAILED && c != a + 4 * PAGE);
    printf("%c %c %d %d\n", c[0], c[PAGE], a[4 * PAGE], a[5 * PAGE]);
    c = mremap(a + 6 * PAGE, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP | MREMAP_FIXED, room + 50 * PAGE);
    TRUE(c == room + 50 * PAGE);
    printf("%c %d\n", c[0], a[6 * PAGE]);
    SECTION("shared");
    int fd = MUST(memfd_create("x", 0)); MUST(ftruncate(fd, 4 * PAGE));
    char *s = MUST(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
    for (int i = 0; i < 4; i++) s[i * PAGE] = '0' + i;
    char *t = mremap(s + PAGE, 0, 2 * PAGE, MREMAP_MAYMOVE);
    TRUE(t != MAP_FAILED);
    printf("%c %c\n", t[0], t[PAGE]);
    t[0] = 'T'; printf("%c\n", s[PAGE]);
    MAPS(mremap(s, 0, PAGE, 0));
    char *u = mremap(s, 4 * PAGE, 4 * PAGE, MREMAP_MAYMOVE | MREMAP_DONTUNMAP);
    TRUE(u != MAP_FAILED);
    if (u != MAP_FAILED) printf("%c %c\n", u[0], s[0]);
    u = mremap(s, 4 * PAGE, 8 * PAGE, MREMAP_MAYMOVE);
    printf("%c\n", u[PAGE]);
    IN_CHILD("past the end", u[5 * PAGE] = 1);
    SECTION("protection and locks move along");
    char *p = pages(2, PROT_READ); mlock(p, PAGE);
    p = mremap(p, PAGE, 3 * PAGE, MREMAP_MAYMOVE);
    unsigned char v[3]; mincore(p, 3 * PAGE, v); printf("%d%d%d\n", v[0] & 1, v[1] & 1, v[2] & 1);
    IN_CHILD("still read-only", p[0] = 1);
    SECTION("mprotect");
    char *m = pages(4, PROT_READ | PROT_WRITE);
    TRY(mprotect(m + 1, PAGE, PROT_READ)); TRY(mprotect(m, 0, PROT_READ)); TRY(mprotect(m, PAGE, 0x100)); TRY(mprotect(m, -1, PROT_READ));
    TRY(mprotect(m, PAGE, PROT_READ | PROT_GROWSDOWN)); TRY(mprotect(m, PAGE, PROT_READ | PROT_GROWSDOWN | PROT_GROWSUP));
    munmap(m + PAGE, PAGE); TRY(mprotect(m, 4 * PAGE, PROT_READ)); IN_CHILD("first part was changed", m[0] = 1); IN_CHILD("second was not", m[2 * PAGE] = 1);
    int ro = MUST(open("/proc/self/exe", O_RDONLY));
    char *f = MUST(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, ro, 0));
    TRY(mprotect(f, PAGE, PROT_READ | PROT_WRITE)); TRY(mprotect(f, PAGE, PROT_NONE));
    f = MUST(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, ro, 0)); TRY(mprotect(f, PAGE, PROT_READ | PROT_WRITE)); f[0] = 1;
    TRY(munmap(m, 0)); TRY(munmap(m + 1, PAGE)); TRY(munmap(m, -PAGE)); TRY(munmap(room, 64 * PAGE)); TRY(munmap(room, 64 * PAGE));
    SECTION("memfd seals");
    int sealed = MUST(memfd_create("s", MFD_ALLOW_SEALING)); MUST(ftruncate(sealed, PAGE));
    char *w = MUST(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, sealed, 0));
    TRY(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE));
    TRY(fcntl(sealed, F_ADD_SEALS, F_SEAL_FUTURE_WRITE));
    w[0] = 'w'; TRY(write(sealed, "x", 1));
    MAPS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, sealed, 0));
    char *r = MUST(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, sealed, 0)); TRY(mprotect(r, PAGE, PROT_READ | PROT_WRITE)); printf("%c\n", r[0]);
    MAPS(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, sealed, 0));
    munmap(w, PAGE); TRY(fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE)); VALUE(fcntl(sealed, F_GET_SEALS));
    TRY(fcntl(sealed, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_GROW | F_SEAL_SHRINK)); TRY(fcntl(sealed, F_ADD_SEALS, F_SEAL_GROW)); TRY(ftruncate(sealed, 0)); TRY(ftruncate(sealed, 2 * PAGE));
    VALUE(fcntl(fd, F_GET_SEALS)); TRY(fcntl(ro, F_GET_SEALS)); TRY(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE));
    return 0;
}
