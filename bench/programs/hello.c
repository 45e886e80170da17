/* The smallest thing that shows a VM works: used to find how little memory boots it. */
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

int main(int argc, char **argv) {
    puts("hello from the guest");
    fflush(stdout);
    if (argc > 1 && !strcmp(argv[1], "--init")) reboot(RB_AUTOBOOT);
    return 0;
}
