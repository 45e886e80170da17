/* What the debuggers' tests debug: a function to break in, a variable to watch, threads, children, a signal. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile int counter;

__attribute__((noinline)) int fibonacci(int n) {
    counter++;
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

__attribute__((noinline)) void in_thread(long number) {
    counter += (int)number;
}

static void *thread(void *number) {
    in_thread((long)number);
    return NULL;
}

__attribute__((noinline)) void in_child(void) {
    counter = 100;
}

static void on_signal(int number) {
    counter = number;
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    if (!strcmp(what, "threads")) {
        for (long i = 1; i <= 3; i++) {
            pthread_t id;
            pthread_create(&id, NULL, thread, (void *)i);
            pthread_join(id, NULL);
        }
        printf("counter %d\n", counter);
    } else if (!strcmp(what, "fork")) {
        pid_t pid = fork();
        if (!pid) {
            in_child();
            _exit(counter & 7);
        }
        int status;
        waitpid(pid, &status, 0);
        printf("child %d\n", WEXITSTATUS(status));
    } else if (!strcmp(what, "signal")) {
        signal(SIGUSR1, on_signal);
        raise(SIGUSR1);
        printf("signal %d\n", counter);
    } else if (!strcmp(what, "crash")) {
        *(volatile int *)8 = 1;
    } else if (!strcmp(what, "wait")) {
        while (!counter) usleep(1000);
        printf("let go\n");
    } else {
        printf("fibonacci %d\n", fibonacci(5));
    }
    return 0;
}
