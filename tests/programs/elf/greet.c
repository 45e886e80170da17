/* A shared library of the program's own, found through DT_RUNPATH, DT_RPATH or dlopen. */
#include <stdio.h>

static __thread int calls;

__attribute__((constructor)) static void loaded(void) { puts("greet: constructor"); }
__attribute__((destructor)) static void unloaded(void) { puts("greet: destructor"); }

int greet(const char *whom) {
    printf("hello, %s\n", whom);
    return ++calls;
}
