/*
 * Calls a function that its library no longer has: it was there when the program was linked (compiled with
 * -DWITH_FUNCTION as a library), and is gone from the library that the loader finds. Bound lazily, the program runs until the call
 * is made (`lazy call`) and dies there; without the call nobody notices.
 */
#include <stdio.h>

#ifdef LIBRARY
int present(void) { return 1; }
#ifdef WITH_FUNCTION
void withdrawn(void) {}
#endif
#else
int present(void);
void withdrawn(void);

int main(int argc, char **argv) {
    (void)argv;
    printf("before %d\n", present());
    fflush(stdout);
    if (argc > 1) withdrawn();
    puts("after");
    return 0;
}
#endif
