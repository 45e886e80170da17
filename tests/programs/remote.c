/* Another process' memory, and where memory comes from: process_vm_readv and its like, process_madvise, memory policies. */
#include "check.h"
#include <grp.h>
#include <sys/prctl.h>
#include <sys/uio.h>

static long vm_read(pid_t pid, struct iovec *local, unsigned long locals, struct iovec *remote, unsigned long remotes, unsigned long flags) {
    return syscall(SYS_process_vm_readv, pid, local, locals, remote, remotes, flags);
}

static long vm_write(pid_t pid, struct iovec *local, unsigned long locals, struct iovec *remote, unsigned long remotes) {
    return syscall(SYS_process_vm_writev, pid, local, locals, remote, remotes, 0UL);
}

static void between_processes(void) {
    SECTION("process_vm_readv");
    int ends[2], back[2];
    MUST(pipe(ends));
    MUST(pipe(back));
    char *memory = MUST(mmap(NULL, 64 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    munmap(memory + 32 * PAGE, PAGE);
    mprotect(memory + 40 * PAGE, PAGE, PROT_READ);
    pid_t child = MUST(fork());
    char byte;
    if (!child) {
        memset(memory, 'c', 32 * PAGE);
        strcpy(memory, "the child's");
        MUST(write(ends[1], "x", 1));
        MUST(read(back[0], &byte, 1));
        printf("child has: %s\n", memory);
        fflush(stdout);
        _exit(0);
    }
    MUST(read(ends[0], &byte, 1));
    static char buffer[32 * PAGE], second[PAGE];
    struct iovec local[2] = {{buffer, 12}, {second, sizeof second}}, remote[2] = {{memory, 12}, {memory + PAGE, 10}};
    VALUE(vm_read(child, local, 1, remote, 1, 0));
    printf("%s\n", buffer);
    VALUE(vm_read(child, local, 2, remote, 2, 0));
    printf("%.10s\n", second);
    local[0].iov_len = sizeof buffer;
    remote[0].iov_len = sizeof buffer;
    VALUE(vm_read(child, local, 1, remote, 1, 0));
    remote[0] = (struct iovec){memory + 31 * PAGE, 3 * PAGE};
    VALUE(vm_read(child, local, 1, remote, 1, 0));
    remote[0] = (struct iovec){memory + 32 * PAGE, PAGE};
    VALUE(vm_read(child, local, 1, remote, 1, 0));
    remote[0] = (struct iovec){memory, 12};
    VALUE(vm_read(child, local, 0, remote, 1, 0));
    VALUE(vm_read(child, local, 1, remote, 0, 0));
    VALUE(vm_read(child, local, 1, remote, 1, 1));
    VALUE(vm_read(child, local, 1025, remote, 1, 0));
    VALUE(vm_read(child, local, 1, remote, 1025, 0));
    VALUE(vm_read(child, (void *)8, 1, remote, 1, 0));
    VALUE(vm_read(child, local, 1, (void *)8, 1, 0));
    VALUE(vm_read(1 << 30, local, 1, remote, 1, 0));
    VALUE(vm_read(-1, local, 1, remote, 1, 0));
    strcpy(buffer, "the parent's");
    local[0].iov_len = 13;
    remote[0].iov_len = 13;
    VALUE(vm_write(child, local, 1, remote, 1));
    remote[0] = (struct iovec){memory + 40 * PAGE, 13};
    VALUE(vm_write(child, local, 1, remote, 1));
    VALUE(vm_read(getpid(), local, 1, (struct iovec[]){{"own memory", 11}}, 1, 0));
    printf("%s\n", buffer);
    IN_CHILD("from another user", {
        MUST(setresgid(65534, 65534, 65534));
        MUST(setresuid(65534, 65534, 65534));
        remote[0] = (struct iovec){memory, 12};
        VALUE(vm_read(child, local, 1, remote, 1, 0));
    });
    SECTION("process_madvise");
    int fd = MUST(syscall(SYS_pidfd_open, child, 0));
    remote[0] = (struct iovec){memory, PAGE};
    VALUE(syscall(SYS_process_madvise, fd, remote, 1, MADV_COLD, 0));
    VALUE(syscall(SYS_process_madvise, fd, remote, 1, MADV_DONTNEED, 0));
    VALUE(syscall(SYS_process_madvise, fd, remote, 1, MADV_COLD, 1));
    VALUE(syscall(SYS_process_madvise, 99, remote, 1, MADV_COLD, 0));
    VALUE(syscall(SYS_process_madvise, 0, remote, 1, MADV_COLD, 0));
    MUST(write(back[1], "x", 1));
    waitpid(child, NULL, 0);
}

int main(void) {
    setvbuf(stdout, NULL, _IOLBF, 0);
    IN_CHILD("between processes", between_processes());
    return 0;
}
