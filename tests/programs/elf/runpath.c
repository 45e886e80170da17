/* Linked against libgreet.so, which lies where only DT_RUNPATH (or DT_RPATH) says. */
#include <stdio.h>

int greet(const char *whom);

int main(void) {
    greet("runpath");
    printf("calls %d\n", greet("again"));
    return 0;
}
