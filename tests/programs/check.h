/* What the test programs share: each prints what it sees, in words that are the same on every correct kernel. */
#ifndef CHECK_H
#define CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096UL

/* The name of an error: the same in every libc. */
static inline const char *error_name(int error) {
    static char number[16];
#define NAME(e) case e: return #e;
    switch (error) {
        case 0: return "ok";
        NAME(EPERM) NAME(ENOENT) NAME(ESRCH) NAME(EINTR) NAME(EIO) NAME(ENXIO) NAME(E2BIG) NAME(ENOEXEC) NAME(EBADF)
        NAME(ECHILD) NAME(EAGAIN) NAME(ENOMEM) NAME(EACCES) NAME(EFAULT) NAME(EBUSY) NAME(EEXIST) NAME(EXDEV)
        NAME(ENODEV) NAME(ENOTDIR) NAME(EISDIR) NAME(EINVAL) NAME(ENFILE) NAME(EMFILE) NAME(ENOTTY) NAME(ETXTBSY)
        NAME(EFBIG) NAME(ENOSPC) NAME(ESPIPE) NAME(EROFS) NAME(EMLINK) NAME(EPIPE) NAME(EDOM) NAME(ERANGE)
        NAME(EDEADLK) NAME(ENAMETOOLONG) NAME(ENOLCK) NAME(ENOSYS) NAME(ENOTEMPTY) NAME(ELOOP) NAME(ENODATA)
        NAME(EOVERFLOW) NAME(EOPNOTSUPP) NAME(ETIMEDOUT) NAME(ECANCELED) NAME(EOWNERDEAD) NAME(ENOTRECOVERABLE)
        NAME(ELIBBAD) NAME(ENOTSOCK) NAME(EALREADY) NAME(ESTALE) NAME(EXFULL) NAME(ENOTBLK) NAME(EBADFD)
        NAME(EDESTADDRREQ) NAME(EMSGSIZE) NAME(EPROTOTYPE) NAME(ENOPROTOOPT) NAME(EPROTONOSUPPORT)
        NAME(ESOCKTNOSUPPORT) NAME(EPFNOSUPPORT) NAME(EAFNOSUPPORT) NAME(EADDRINUSE) NAME(EADDRNOTAVAIL)
        NAME(ENETDOWN) NAME(ENETUNREACH) NAME(ECONNABORTED) NAME(ECONNRESET) NAME(ENOBUFS) NAME(EISCONN)
        NAME(ENOTCONN) NAME(ESHUTDOWN) NAME(ETOOMANYREFS) NAME(ECONNREFUSED) NAME(EINPROGRESS) NAME(EUSERS)
    }
#undef NAME
    snprintf(number, sizeof number, "errno %d", error);
    return number;
}

/* `label: ok` or `label: ENOENT`, for a call that returns -1 on failure. */
static inline void report(const char *label, long result) {
    printf("%s: %s\n", label, result == -1 ? error_name(errno) : "ok");
}

/* `label: 3` or `label: ENOENT`. */
static inline void report_value(const char *label, long result) {
    if (result == -1) printf("%s: %s\n", label, error_name(errno));
    else printf("%s: %ld\n", label, result);
}

#define TRY(call) report(#call, (long)(call))
#define VALUE(call) report_value(#call, (long)(call))
#define TRUE(condition) printf("%s: %s\n", #condition, (condition) ? "yes" : "no")
#define SECTION(name) printf("== %s\n", name)

/* For what the test cannot go on without. */
#define MUST(call)                                                                       \
    ({                                                                                   \
        __auto_type must_result = (call);                                                \
        if ((long)must_result == -1) {                                                   \
            printf("%s:%d: %s: %s\n", __FILE_NAME__, __LINE__, #call, error_name(errno)); \
            fflush(stdout);                                                              \
            _exit(100);                                                                  \
        }                                                                                \
        must_result;                                                                     \
    })

static inline long long now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000000000LL + ts.tv_nsec;
}

static inline void sleep_ms(long ms) {
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) && errno == EINTR) {}
}

/* How a child ended, in words. */
static inline const char *ending(int status) {
    static char text[64];
    if (WIFEXITED(status)) snprintf(text, sizeof text, "exit %d", WEXITSTATUS(status));
    else if (WIFSIGNALED(status)) snprintf(text, sizeof text, "signal %d", WTERMSIG(status));
    else if (WIFSTOPPED(status)) snprintf(text, sizeof text, "stopped %d", WSTOPSIG(status));
    else if (WIFCONTINUED(status)) snprintf(text, sizeof text, "continued");
    else snprintf(text, sizeof text, "status %x", status);
    return text;
}

/* Runs a block in a child and says how it ended. The child's unwritten output must not be written twice. */
#define IN_CHILD(label, ...)                                     \
    do {                                                         \
        fflush(stdout);                                          \
        pid_t child_pid = MUST(fork());                          \
        if (!child_pid) {                                        \
            __VA_ARGS__;                                         \
            fflush(stdout);                                      \
            _exit(0);                                            \
        }                                                        \
        int child_status;                                        \
        MUST(waitpid(child_pid, &child_status, 0));              \
        printf("%s: %s\n", label, ending(child_status));         \
    } while (0)

#endif
