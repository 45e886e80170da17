/*
 * Runs a list of commands, one after the other, and writes what each printed between markers, so that one boot of a VM
 * can hold many checks. The same driver runs the same list on the host; the two outputs are then compared.
 *
 * usage: driver SCRIPT SCRATCH
 *
 * The script has one block for each command; `\n` and `\\` are escaped in arguments:
 *
 *     case NAME SECONDS
 *     env NAME=VALUE
 *     stdin FILE
 *     arg WORD
 *     run
 *
 * Each command starts in the emptied directory SCRATCH with stdin from /dev/null (or FILE), stdout and stderr on one pipe, and an
 * environment of PATH, HOME, LANG, TZ and what the block says. After SECONDS its process group is killed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORDS 256

struct command {
    char name[128], input[8192];
    int seconds, args, vars;
    char *arg[WORDS], *env[WORDS];
};

static const char *scratch;

static void fail(const char *what) {
    dprintf(1, "\n\001driver %s: %s\n", what, strerror(errno));
    _exit(99);
}

static int delete_entry(const char *path, const struct stat *st, int kind, struct FTW *at) {
    (void)st;
    (void)kind;
    if (at->level > 0) remove(path);
    return 0;
}

static void empty_scratch(void) {
    mkdir(scratch, 0755);
    nftw(scratch, delete_entry, 16, FTW_DEPTH | FTW_PHYS);
    if (chdir(scratch)) fail(scratch);
}

static long now_ms(void) {
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void child(struct command *command, int output) {
    setpgid(0, 0);
    signal(SIGPIPE, SIG_DFL);
    int input = open(*command->input ? command->input : "/dev/null", O_RDONLY);
    if (input < 0) fail(command->input);
    if (dup2(input, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0) fail("dup2");
    closefrom(3);
    command->env[command->vars] = NULL;
    command->arg[command->args] = NULL;
    environ = command->env;
    execvp(command->arg[0], command->arg);
    dprintf(2, "driver: %s: %s\n", command->arg[0], strerror(errno));
    _exit(127);
}

static void write_all(const char *data, size_t size) {
    while (size) {
        ssize_t written = write(1, data, size);
        if (written < 0 && errno == EINTR) continue;
        if (written <= 0) _exit(98);
        data += written;
        size -= written;
    }
}

/* Copies until the pipe has no writer left; false when the time is over. */
static int copy_output(int from, long deadline) {
    static char buffer[65536];
    for (;;) {
        struct pollfd ready = {.fd = from, .events = POLLIN};
        long left = deadline - now_ms();
        if (left <= 0) return 0;
        int count = poll(&ready, 1, left);
        if (count < 0 && errno != EINTR) fail("poll");
        if (count <= 0) continue;
        ssize_t size = read(from, buffer, sizeof buffer);
        if (size < 0) fail("read");
        if (size == 0) return 1;
        write_all(buffer, size);
    }
}

static void run(struct command *command) {
    int ends[2], status;
    empty_scratch();
    dprintf(1, "\n\001begin %s\n", command->name);
    if (pipe2(ends, O_CLOEXEC)) fail("pipe2");
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (!pid) child(command, ends[1]);
    close(ends[1]);
    int in_time = copy_output(ends[0], now_ms() + command->seconds * 1000L);
    if (!in_time) kill(-pid, SIGKILL);
    close(ends[0]);
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) fail("waitpid");
    if (!in_time)
        dprintf(1, "\n\001end %s timeout\n", command->name);
    else if (WIFSIGNALED(status))
        dprintf(1, "\n\001end %s signal %d\n", command->name, WTERMSIG(status));
    else
        dprintf(1, "\n\001end %s exit %d\n", command->name, WEXITSTATUS(status));
}

static char *unescaped(const char *text) {
    char *copy = strdup(text), *to = copy;
    for (const char *from = copy; *from; from++) {
        if (*from == '\\' && from[1]) from++, *to++ = *from == 'n' ? '\n' : *from;
        else *to++ = *from;
    }
    *to = 0;
    return copy;
}

static void reset(struct command *command) {
    static const char *const base[] = {"PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME=/tmp", "LANG=C", "TZ=UTC"};
    memset(command, 0, sizeof *command);
    for (unsigned i = 0; i < sizeof base / sizeof *base; i++) command->env[command->vars++] = strdup(base[i]);
}

int main(int argc, char **argv) {
    static struct command command;
    char line[8192];
    if (argc < 3) return 2;
    scratch = argv[2];
    signal(SIGPIPE, SIG_IGN);
    umask(022);
    FILE *script = fopen(argv[1], "re");
    if (!script) fail(argv[1]);
    while (fgets(line, sizeof line, script)) {
        line[strcspn(line, "\n")] = 0;
        if (!strncmp(line, "case ", 5)) {
            reset(&command);
            if (sscanf(line, "case %127s %d", command.name, &command.seconds) != 2) fail("case");
        } else if (!strncmp(line, "arg ", 4) && command.args < WORDS - 1) {
            command.arg[command.args++] = unescaped(line + 4);
        } else if (!strncmp(line, "env ", 4) && command.vars < WORDS - 1) {
            command.env[command.vars++] = unescaped(line + 4);
        } else if (!strncmp(line, "stdin ", 6)) {
            snprintf(command.input, sizeof command.input, "%s", line + 6);
        } else if (!strcmp(line, "run")) {
            run(&command);
        }
    }
    dprintf(1, "\n\001done\n");
    return 0;
}
