/* The program that the broken ELF files are made of. */
#include <stdio.h>

int main(void) {
    puts("hello");
    return 0;
}
