/*
 * Executes each file named on the command line in a child, and prints what execve answered or how the program ended.
 * The broken, truncated and foreign files that it is given must not hurt the kernel.
 */
#include "check.h"
#include <sys/resource.h>

int main(int argc, char **argv) {
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    for (int i = 1; i < argc; i++) {
        const char *name = strrchr(argv[i], '/');
        name = name ? name + 1 : argv[i];
        fflush(stdout);
        pid_t pid = MUST(fork());
        if (!pid) {
            alarm(20);
            int null = open("/dev/null", O_WRONLY);
            int output = fcntl(1, F_DUPFD_CLOEXEC, 10);
            dup2(null, 1), dup2(null, 2);
            execl(argv[i], name, (char *)NULL);
            dprintf(output, "%s: execve: %s\n", name, error_name(errno));
            _exit(200);
        }
        int status;
        MUST(waitpid(pid, &status, 0));
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 200) printf("%s: %s\n", name, ending(status));
    }
    return 0;
}
