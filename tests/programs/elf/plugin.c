/* Loads libraries while it runs: its own by path and libm by name; asks for what is not there. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv) {
    if (argc < 2) return 2;
    void *own = dlopen(argv[1], RTLD_NOW);
    if (!own) return printf("%s\n", dlerror()), 1;
    int (*greet)(const char *) = (int (*)(const char *))dlsym(own, "greet");
    printf("calls %d\n", greet("plugin"));
    printf("no symbol: %s\n", dlsym(own, "missing") ? "found" : "none");
    void *math = dlopen("libm.so.6", RTLD_LAZY);
    double (*root)(double) = (double (*)(double))dlsym(math, "sqrt");
    printf("sqrt %.6f\n", root(2));
    dlclose(own);
    dlopen("/no/such/library.so", RTLD_NOW);
    printf("error: %s\n", dlerror());
    puts("end");
    return 0;
}
