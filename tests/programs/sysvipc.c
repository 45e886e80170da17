/* System V shared memory, semaphores and message queues: who gets what, who waits, what is refused. */
#include "check.h"
#include <pthread.h>
#include <sys/ipc.h>
#include <sys/msg.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/time.h>
#include <linux/capability.h>

#define KEY 0x05761234

union semun {
    int val;
    struct semid_ds *buf;
    unsigned short *array;
    struct seminfo *info;
};

static const char *ipc_error(void) {
    if (errno == EIDRM) return "EIDRM";
    if (errno == ENOMSG) return "ENOMSG";
    return error_name(errno);
}

#define IPC(call)                                                         \
    do {                                                                  \
        long ipc_result = (long)(call);                                   \
        printf("%s: %s\n", #call, ipc_result == -1 ? ipc_error() : "ok"); \
    } while (0)
#define IPC_VALUE(call)                                            \
    do {                                                           \
        long ipc_result = (long)(call);                            \
        if (ipc_result == -1) printf("%s: %s\n", #call, ipc_error()); \
        else printf("%s: %ld\n", #call, ipc_result);                \
    } while (0)

static void become_nobody(void) {
    MUST(setgid(65534));
    MUST(setuid(65534));
}

static void show_segment(int id) {
    struct shmid_ds ds;
    MUST(shmctl(id, IPC_STAT, &ds));
    printf("key %x mode %o size %zu nattch %lu own %d lpid %s atime %d dtime %d\n", ds.shm_perm.__key, ds.shm_perm.mode,
           ds.shm_segsz, ds.shm_nattch, ds.shm_cpid == getpid(),
           ds.shm_lpid == 0 ? "none" : ds.shm_lpid == getpid() ? "self" : "other", ds.shm_atime != 0, ds.shm_dtime != 0);
}

static void segments(void) {
    SECTION("shm: ids");
    IPC(shmget(KEY, PAGE, 0600));
    IPC(shmget(KEY, 0, IPC_CREAT | 0600));
    IPC(shmget(KEY, (size_t)-1, IPC_CREAT | 0600));
    IPC(shmget(KEY, PAGE, IPC_CREAT | SHM_HUGETLB | 0600));
    int id = MUST(shmget(KEY, 5000, IPC_CREAT | IPC_EXCL | 0640));
    TRUE(shmget(KEY, 5000, 0) == id);
    TRUE(shmget(KEY, 0, 0) == id);
    IPC(shmget(KEY, 5001, 0));
    IPC(shmget(KEY, 5000, IPC_CREAT | IPC_EXCL));
    show_segment(id);
    struct shmid_ds ds;
    IPC(shmctl(-1, IPC_STAT, &ds));
    IPC(shmctl(id ^ (1 << 20), IPC_STAT, &ds));
    IPC(shmctl(id, IPC_STAT, (void *)1));
    IPC(shmctl(id, 99, &ds));

    SECTION("shm: attach");
    IPC(shmat(-1, NULL, 0));
    IPC(shmat(id, (void *)1, 0));
    IPC(shmat(id, NULL, SHM_REMAP));
    char *at = shmat(id, NULL, 0);
    TRUE(at != (void *)-1);
    strcpy(at, "hello");
    char *read_only = shmat(id, NULL, SHM_RDONLY);
    TRUE(!strcmp(read_only, "hello"));
    TRUE(at[4097] == 0 && at[8191] == 0);
    show_segment(id);
    TRY(mprotect(read_only, PAGE, PROT_READ | PROT_WRITE));
    IN_CHILD("write to a read-only segment", read_only[0] = 1);
    IPC(shmat(id, at, 0));
    TRUE(shmat(id, at + 100, SHM_RND | SHM_REMAP) == at);
    TRUE(!strcmp(at, "hello"));
    char *place = mmap(NULL, 8 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    munmap(place, 8 * PAGE);
    TRUE(shmat(id, place + PAGE, 0) == place + PAGE);
    show_segment(id);
    IPC(shmdt(place));
    IPC(shmdt(place + 2 * PAGE));
    IPC(shmdt(place + PAGE + 1));
    IPC(shmdt(place + PAGE));
    IPC(shmdt(place + PAGE));
    char *maps_line = NULL;
    size_t size = 0;
    FILE *maps = fopen("/proc/self/maps", "r");
    int lines = 0;
    while (getline(&maps_line, &size, maps) > 0)
        if (strstr(maps_line, "/SYSV05761234 (deleted)")) printf("%.5s%.7s\n", strchr(maps_line, ' '), strstr(maps_line, " 00:01 ")), lines++;
    fclose(maps);
    printf("%d lines in maps\n", lines);
    struct timeval before, after;
    gettimeofday(&before, NULL);
    IN_CHILD("a child has them too", show_segment(id); shmdt(read_only); show_segment(id); at[0] = 'j');
    gettimeofday(&after, NULL);
    puts(at);
    show_segment(id);
    pid_t pid = fork();
    if (!pid) {
        execl("/bin/true", "true", NULL);
        _exit(1);
    }
    waitpid(pid, NULL, 0);
    show_segment(id);
    /* A part that is unmapped leaves the rest attached. */
    munmap(at, PAGE);
    show_segment(id);
    IPC(shmdt(at));
    show_segment(id);
    IPC(shmdt(at));

    SECTION("shm: removal");
    at = read_only;
    IPC(shmctl(id, IPC_RMID, NULL));
    show_segment(id);
    IPC(shmget(KEY, 0, 0));
    int second = MUST(shmget(KEY, 100, IPC_CREAT | 0600));
    TRUE(second != id);
    TRUE(!strcmp(at, "jello"));
    char *again = shmat(id, NULL, 0);
    TRUE(again != (void *)-1 && !strcmp(again, "jello"));
    IPC(shmdt(again));
    show_segment(id);
    IPC(shmctl(id, IPC_RMID, NULL));
    IPC(shmdt(at));
    IPC(shmctl(id, IPC_STAT, &ds));
    IPC(shmat(id, NULL, 0));

    SECTION("shm: rights");
    IPC(shmctl(second, SHM_LOCK, NULL));
    show_segment(second);
    IPC(shmctl(second, SHM_UNLOCK, NULL));
    ds.shm_perm.uid = 1000, ds.shm_perm.gid = 1000, ds.shm_perm.mode = 07644;
    IPC(shmctl(second, IPC_SET, &ds));
    IPC(shmctl(second, IPC_SET, (void *)1));
    show_segment(second);
    IN_CHILD("nobody", become_nobody(); IPC(shmget(KEY, 0, 0)); IPC(shmget(KEY, 0, 0400)); IPC(shmget(KEY, 0, 0600));
             IPC(shmat(second, NULL, 0)); IPC(shmat(second, NULL, SHM_RDONLY)); IPC(shmat(second, NULL, SHM_RDONLY | SHM_EXEC));
             IPC(shmctl(second, IPC_STAT, &ds)); IPC(shmctl(second, IPC_SET, &ds)); IPC(shmctl(second, IPC_RMID, NULL));
             IPC(shmctl(second, SHM_LOCK, NULL)));
    IN_CHILD("the owner", MUST(setgid(1000)); MUST(setuid(1000)); IPC(shmat(second, NULL, 0)); ds.shm_perm.mode = 0;
             IPC(shmctl(second, IPC_SET, &ds)); IPC(shmctl(second, IPC_STAT, &ds)); IPC(shmat(second, NULL, 0)));
    TRUE(shmctl(second, IPC_STAT, &ds) == 0 && ds.shm_perm.uid == 1000 && ds.shm_perm.cuid == 0);
    struct shm_info info;
    struct shminfo limits;
    TRUE(shmctl(0, SHM_INFO, (void *)&info) >= 0 && info.used_ids >= 1 && info.shm_tot >= 1);
    TRUE(shmctl(0, IPC_INFO, (void *)&limits) >= 0 && limits.shmmin == 1 && limits.shmmni == 4096);
    int found = 0, highest = shmctl(0, SHM_INFO, (void *)&info);
    for (int place = 0; place <= highest; place++)
        if (shmctl(place, SHM_STAT, &ds) == second) found++;
    for (int place = 0; place <= highest; place++)
        if (shmctl(place, SHM_STAT_ANY, &ds) == second) found++;
    printf("found %d times\n", found);
    IPC(shmctl(30000, SHM_STAT, &ds));
    IPC(shmctl(second, IPC_RMID, NULL));
    IPC(shmctl(second, IPC_RMID, NULL));

    SECTION("shm: private, large and sparse");
    int large = MUST(shmget(IPC_PRIVATE, 1UL << 30, 0600));
    char *big = shmat(large, NULL, 0);
    big[(1UL << 30) - 1] = 7;
    IPC(shmctl(large, IPC_RMID, NULL));
    IN_CHILD("shares it", big[5] = 6);
    TRUE(big[5] == 6 && big[(1UL << 30) - 1] == 7);
    IPC(shmdt(big));
}

static int values(int id, int count) {
    unsigned short all[8];
    MUST(semctl(id, 0, GETALL, (union semun){.array = all}));
    for (int i = 0; i < count; i++) printf("%d ", all[i]);
    puts("");
    return 0;
}

static int op(int id, int number, int change, int flags) {
    struct sembuf one = {number, change, flags};
    return semop(id, &one, 1);
}

static void nothing(int signal) { (void)signal; }

static void wait_for_waiters(int id, int number, int command, int count) {
    for (int i = 0; i < 1000 && semctl(id, number, command) != count; i++) sleep_ms(2);
}

struct job { int id; struct sembuf ops[3]; int count; int result; };
static void *operate(void *argument) {
    struct job *job = argument;
    job->result = semop(job->id, job->ops, job->count) ? errno : 0;
    return NULL;
}

static void semaphores(void) {
    SECTION("sem: ids");
    IPC(semget(KEY, 1, 0));
    IPC(semget(KEY, 0, IPC_CREAT | 0600));
    IPC(semget(KEY, -1, IPC_CREAT | 0600));
    IPC(semget(KEY, 32001, IPC_CREAT | 0600));
    int id = MUST(semget(KEY, 3, IPC_CREAT | IPC_EXCL | 0640));
    TRUE(semget(KEY, 3, 0) == id && semget(KEY, 0, 0) == id);
    IPC(semget(KEY, 4, 0));
    IPC(semget(KEY, 3, IPC_CREAT | IPC_EXCL));
    struct semid_ds ds;
    IPC(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}));
    printf("nsems %lu mode %o otime %d ctime %d\n", ds.sem_nsems, ds.sem_perm.mode, ds.sem_otime != 0, ds.sem_ctime != 0);
    IPC(semctl(id, 0, 99));
    IPC(semctl(-1, 0, GETVAL));
    IPC(semctl(id, 3, GETVAL));
    IPC(semctl(id, -1, GETVAL));
    IPC(semctl(id, 0, SETVAL, (union semun){.val = -1}));
    IPC(semctl(id, 0, SETVAL, (union semun){.val = 32768}));
    IPC(semctl(id, 0, SETVAL, (union semun){.val = 32767}));
    unsigned short set[3] = {1, 2, 40000};
    IPC(semctl(id, 0, SETALL, (union semun){.array = set}));
    set[2] = 3;
    IPC(semctl(id, 0, SETALL, (union semun){.array = set}));
    IPC(semctl(id, 0, SETALL, (union semun){.array = (void *)1}));
    values(id, 3);

    SECTION("sem: operations");
    struct sembuf none[1] = {{0, 0, 0}};
    IPC(semop(id, none, 0));
    IPC(semop(-1, none, 1));
    IPC(semop(id, (void *)1, 1));
    IPC(semop(id, none, 501));
    IPC(op(id, 3, 1, 0));
    IPC(op(id, 0, 32767, 0));
    IPC(op(id, 0, -2, IPC_NOWAIT));
    IPC(op(id, 0, 0, IPC_NOWAIT));
    struct sembuf both[2] = {{1, -2, 0}, {2, -4, IPC_NOWAIT}};
    IPC(semop(id, both, 2));
    values(id, 3);
    both[1].sem_op = -3;
    IPC(semop(id, both, 2));
    values(id, 3);
    TRUE(semctl(id, 1, GETPID) == getpid());
    struct sembuf in_turn[3] = {{0, -1, 0}, {0, 0, 0}, {0, 4, 0}};
    IPC(semop(id, in_turn, 3));
    values(id, 3);
    struct timespec timeout = {0, 30000000}, bad = {0, 1000000000};
    both[0] = (struct sembuf){1, -1, 0};
    long long start = now_ns();
    IPC(semtimedop(id, both, 1, &timeout));
    TRUE(now_ns() - start >= 30000000);
    IPC(semtimedop(id, both, 1, &bad));
    IPC(semtimedop(id, both, 1, (void *)1));

    SECTION("sem: waiting");
    pthread_t threads[3];
    struct job jobs[3] = {{id, {{1, -1, 0}}, 1, -1}, {id, {{1, -2, 0}, {2, 0, 0}}, 2, -1}, {id, {{0, 0, 0}}, 1, -1}};
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, operate, &jobs[i]);
    wait_for_waiters(id, 1, GETNCNT, 2);
    wait_for_waiters(id, 0, GETZCNT, 1);
    VALUE(semctl(id, 1, GETNCNT));
    VALUE(semctl(id, 1, GETZCNT));
    VALUE(semctl(id, 0, GETZCNT));
    IPC(op(id, 1, 1, 0));
    pthread_join(threads[0], NULL);
    VALUE(semctl(id, 1, GETNCNT));
    /* Zero only for a moment: who waits for it must not miss it. */
    IPC(op(id, 0, -4, 0));
    IPC(op(id, 0, 4, 0));
    pthread_join(threads[2], NULL);
    IPC(op(id, 1, 2, 0));
    pthread_join(threads[1], NULL);
    printf("%d %d %d\n", jobs[0].result, jobs[1].result, jobs[2].result);
    values(id, 3);
    jobs[0] = (struct job){id, {{1, -1, 0}}, 1, -1};
    pthread_create(&threads[0], NULL, operate, &jobs[0]);
    wait_for_waiters(id, 1, GETNCNT, 1);
    IPC(semctl(id, 1, SETVAL, (union semun){.val = 1}));
    pthread_join(threads[0], NULL);
    printf("%d\n", jobs[0].result);
    signal(SIGALRM, nothing);
    struct itimerval timer = {{0, 0}, {0, 30000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    IPC(op(id, 1, -1, 0));

    SECTION("sem: undo");
    IN_CHILD("takes and ends", IPC(op(id, 0, -3, SEM_UNDO)); IPC(op(id, 1, 5, SEM_UNDO)); values(id, 3));
    values(id, 3);
    IN_CHILD("undoes by itself", IPC(op(id, 0, -3, SEM_UNDO)); IPC(op(id, 0, 2, SEM_UNDO)));
    values(id, 3);
    IN_CHILD("never below zero", IPC(op(id, 2, 9, SEM_UNDO)); IPC(op(id, 2, -5, 0)));
    values(id, 3);
    IN_CHILD("set since", IPC(op(id, 0, -1, SEM_UNDO)); IPC(semctl(id, 0, SETVAL, (union semun){.val = 9})));
    values(id, 3);
    IN_CHILD("is not inherited", IPC(op(id, 0, -1, SEM_UNDO)); IN_CHILD("grandchild", (void)0); values(id, 3));
    values(id, 3);
    IN_CHILD("survives exec", IPC(op(id, 0, -4, SEM_UNDO)); fflush(stdout); execl("/bin/true", "true", NULL));
    values(id, 3);
    IN_CHILD("is shared by threads", jobs[0] = ((struct job){id, {{0, -2, SEM_UNDO}}, 1, -1});
             pthread_create(&threads[0], NULL, operate, &jobs[0]); pthread_join(threads[0], NULL); values(id, 3));
    values(id, 3);
    IN_CHILD("is a process' own", VALUE(syscall(SYS_kcmp, getpid(), getpid(), 6)); IPC(op(id, 0, 1, SEM_UNDO));
             TRUE(syscall(SYS_kcmp, getpid(), getppid(), 6) > 0));
    IN_CHILD("too much", for (int i = 0; i < 2; i++) { semctl(id, 0, SETVAL, (union semun){.val = 0}); }
             IPC(op(id, 1, 32767, SEM_UNDO)); IPC(op(id, 1, -32767, 0)); IPC(op(id, 1, 2, SEM_UNDO)));

    SECTION("sem: rights and removal");
    IPC(semctl(id, 0, IPC_STAT, (union semun){.buf = &ds}));
    ds.sem_perm.mode = 0604;
    IPC(semctl(id, 0, IPC_SET, (union semun){.buf = &ds}));
    IN_CHILD("nobody", become_nobody(); IPC(semctl(id, 0, GETVAL)); IPC(semctl(id, 0, SETVAL, (union semun){.val = 1}));
             IPC(op(id, 0, 1, 0)); IPC(op(id, 2, 0, IPC_NOWAIT)); IPC(semctl(id, 0, IPC_RMID));
             IPC(semctl(id, 0, IPC_SET, (union semun){.buf = &ds})); IPC(semget(KEY, 0, 0600)); IPC(semget(KEY, 0, 0400)));
    struct seminfo info;
    TRUE(semctl(0, 0, IPC_INFO, (union semun){.info = &info}) >= 0);
    printf("%d %d %d %d %d %d %d %d %d %d\n", info.semmap, info.semmni, info.semmns, info.semmnu, info.semmsl, info.semopm,
           info.semume, info.semusz, info.semvmx, info.semaem);
    int highest = semctl(0, 0, SEM_INFO, (union semun){.info = &info}), found = 0;
    TRUE(info.semusz >= 1 && info.semaem >= 3);
    for (int place = 0; place <= highest; place++)
        found += semctl(place, 0, SEM_STAT, (union semun){.buf = &ds}) == id;
    for (int place = 0; place <= highest; place++)
        found += semctl(place, 0, SEM_STAT_ANY, (union semun){.buf = &ds}) == id;
    printf("found %d times\n", found);
    semctl(id, 1, SETVAL, (union semun){.val = 0});
    jobs[0] = (struct job){id, {{1, -1, 0}}, 1, -1};
    pthread_create(&threads[0], NULL, operate, &jobs[0]);
    wait_for_waiters(id, 1, GETNCNT, 1);
    IPC(semctl(id, 0, IPC_RMID));
    pthread_join(threads[0], NULL);
    errno = jobs[0].result;
    printf("waiter: %s\n", ipc_error());
    IPC(semctl(id, 0, IPC_RMID));
    IPC(op(id, 0, 1, 0));
}

struct message { long type; char text[64]; };

static long take(int id, long type, size_t size, int flags) {
    struct message message = {0};
    long length = msgrcv(id, &message, size, type, flags);
    if (length >= 0) printf("got %ld '%.*s' ", message.type, (int)length, message.text);
    return length;
}

static int put(int id, long type, const char *text, int flags) {
    struct message message = {.type = type};
    strcpy(message.text, text);
    return msgsnd(id, &message, strlen(text), flags);
}

static void show_queue(int id) {
    struct msqid_ds ds;
    MUST(msgctl(id, IPC_STAT, &ds));
    printf("%lu messages, %lu of %lu bytes, lspid %s lrpid %s mode %o\n", ds.msg_qnum, ds.__msg_cbytes, ds.msg_qbytes,
           ds.msg_lspid == getpid() ? "self" : ds.msg_lspid ? "other" : "none",
           ds.msg_lrpid == getpid() ? "self" : ds.msg_lrpid ? "other" : "none", ds.msg_perm.mode);
}

static int queue;
static void *receive(void *argument) {
    struct message message;
    long length = msgrcv(queue, &message, 64, (long)argument, 0);
    return (void *)(length < 0 ? -(long)errno : message.type);
}
static void *send_when_possible(void *argument) {
    (void)argument;
    return (void *)(long)(put(queue, 1, "late", 0) ? errno : 0);
}

static void queues(void) {
    SECTION("msg: ids");
    IPC(msgget(KEY, 0));
    int id = queue = MUST(msgget(KEY, IPC_CREAT | IPC_EXCL | 0640));
    TRUE(msgget(KEY, 0) == id);
    IPC(msgget(KEY, IPC_CREAT | IPC_EXCL));
    show_queue(id);

    SECTION("msg: types");
    IPC(put(id, 0, "x", 0));
    IPC(put(id, -1, "x", 0));
    IPC(put(-1, 1, "x", 0));
    IPC(msgsnd(id, (void *)1, 1, 0));
    IPC(msgsnd(id, (void *)1, 8193, 0));
    IPC(msgsnd(id, &id, -1, 0));
    IPC(msgrcv(id, (void *)1, -1, 0, IPC_NOWAIT));
    IPC_VALUE(take(id, 0, 10, IPC_NOWAIT));
    for (int i = 0; i < 6; i++) IPC(put(id, (long[]){5, 2, 7, 2, 1, 9}[i], (char *[]){"five", "two", "seven", "zwei", "one", ""}[i], 0));
    show_queue(id);
    IPC_VALUE(take(id, 2, 1, 0));
    IPC_VALUE(take(id, 2, 2, MSG_NOERROR));
    IPC_VALUE(take(id, 3, 10, IPC_NOWAIT));
    IPC_VALUE(take(id, -2, 10, 0));
    IPC_VALUE(take(id, -6, 10, 0));
    IPC_VALUE(take(id, 5, 10, MSG_EXCEPT));
    IPC_VALUE(take(id, 0, 10, MSG_COPY | IPC_NOWAIT));
    IPC_VALUE(take(id, 1, 10, MSG_COPY | IPC_NOWAIT));
    IPC_VALUE(take(id, 2, 10, MSG_COPY | IPC_NOWAIT));
    IPC_VALUE(take(id, 0, 2, MSG_COPY | IPC_NOWAIT));
    IPC_VALUE(take(id, 0, 2, MSG_COPY | IPC_NOWAIT | MSG_NOERROR));
    IPC_VALUE(take(id, 0, 10, MSG_COPY));
    IPC_VALUE(take(id, 0, 10, MSG_COPY | MSG_EXCEPT | IPC_NOWAIT));
    IPC_VALUE(take(id, (-9223372036854775807L - 1), 10, 0));
    IPC_VALUE(take(id, 0, 0, 0));
    show_queue(id);
    IPC(put(id, 3, "lost", 0));
    IPC(msgrcv(id, (void *)1, 10, 0, 0));

    SECTION("msg: waiting");
    pthread_t threads[2];
    void *result;
    pthread_create(&threads[0], NULL, receive, (void *)4L);
    sleep_ms(30);
    pthread_create(&threads[1], NULL, receive, (void *)-9L);
    sleep_ms(30);
    put(id, 4, "four", 0), put(id, 8, "eight", 0);
    pthread_join(threads[0], &result), printf("%ld ", (long)result);
    pthread_join(threads[1], &result), printf("%ld\n", (long)result);
    while (take(id, 0, 64, IPC_NOWAIT) >= 0) puts("left over");
    struct msqid_ds ds;
    MUST(msgctl(id, IPC_STAT, &ds));
    ds.msg_qbytes = 10;
    IPC(msgctl(id, IPC_SET, &ds));
    IPC(put(id, 1, "1234567", 0));
    IPC(put(id, 1, "4444", IPC_NOWAIT));
    pthread_create(&threads[0], NULL, send_when_possible, NULL);
    sleep_ms(30);
    show_queue(id);
    IPC_VALUE(take(id, 0, 64, 0));
    pthread_join(threads[0], &result), printf("%ld\n", (long)result);
    IPC_VALUE(take(id, 0, 64, 0));
    signal(SIGALRM, nothing);
    struct itimerval timer = {{0, 0}, {0, 30000}};
    setitimer(ITIMER_REAL, &timer, NULL);
    IPC_VALUE(take(id, 0, 64, 0));
    struct sigaction restarts = {.sa_handler = nothing, .sa_flags = SA_RESTART};
    sigaction(SIGALRM, &restarts, NULL);
    setitimer(ITIMER_REAL, &timer, NULL);
    IPC_VALUE(take(id, 0, 64, 0));

    SECTION("msg: rights and removal");
    ds.msg_qbytes = 16384, ds.msg_perm.mode = 0640;
    ds.msg_perm.uid = 1000;
    IPC(msgctl(id, IPC_SET, &ds));
    IN_CHILD("nobody", become_nobody(); IPC(put(id, 1, "x", IPC_NOWAIT)); IPC(take(id, 0, 1, IPC_NOWAIT)); IPC(msgctl(id, IPC_STAT, &ds));
             IPC(msgctl(id, IPC_SET, &ds)); IPC(msgctl(id, IPC_RMID, NULL)));
    IN_CHILD("the owner", MUST(setuid(1000)); ds.msg_qbytes = 16385; IPC(msgctl(id, IPC_SET, &ds)); ds.msg_qbytes = 100; IPC(msgctl(id, IPC_SET, &ds)));
    struct msginfo info;
    TRUE(msgctl(0, IPC_INFO, (void *)&info) >= 0);
    printf("%d %d %d %d %d %d %d %d\n", info.msgpool, info.msgmap, info.msgmax, info.msgmnb, info.msgmni, info.msgssz, info.msgtql, info.msgseg);
    int highest = msgctl(0, MSG_INFO, (void *)&info), found = 0;
    for (int place = 0; place <= highest; place++) found += msgctl(place, MSG_STAT, &ds) == id;
    for (int place = 0; place <= highest; place++) found += msgctl(place, MSG_STAT_ANY, &ds) == id;
    printf("found %d times\n", found);
    pthread_create(&threads[0], NULL, receive, (void *)0L);
    sleep_ms(30);
    IPC(msgctl(id, IPC_RMID, NULL));
    pthread_join(threads[0], &result);
    errno = -(long)result;
    printf("waiter: %s\n", ipc_error());
    IPC(put(id, 1, "x", 0));
}

static void set_next_id(const char *name, int id) {
    char text[16], path[64];
    snprintf(path, sizeof path, "/proc/sys/kernel/%s_next_id", name);
    int fd = open(path, O_RDWR);
    ssize_t length = snprintf(text, sizeof text, "%d", id);
    printf("%s %d: %s", name, id, write(fd, text, length) == length ? "ok" : error_name(errno));
    length = pread(fd, text, sizeof text - 1, 0);
    printf(", %.*s", (int)length, text);
    close(fd);
}

/* What checkpoints are restored by: the id that the next object gets. */
static void chosen_ids(void) {
    SECTION("chosen ids");
    const int id = 777 << 15 | 5000;
    set_next_id("msg", id), VALUE(msgget(IPC_PRIVATE, 0600));
    set_next_id("msg", id), VALUE(msgget(IPC_PRIVATE, 0600));
    set_next_id("sem", id), VALUE(semget(IPC_PRIVATE, 1, 0600));
    set_next_id("shm", id), VALUE(shmget(IPC_PRIVATE, PAGE, 0600));
    set_next_id("shm", -5);
    IPC(msgctl(id, IPC_RMID, NULL));
    IPC(msgctl(id + 1, IPC_RMID, NULL));
    IPC(semctl(id, 0, IPC_RMID));
    IPC(shmctl(id, IPC_RMID, NULL));
}

/* A queue, a set and a segment between two processes, many times. */
static void traffic(void) {
    SECTION("traffic");
    int requests = MUST(msgget(IPC_PRIVATE, 0600)), set = MUST(semget(IPC_PRIVATE, 2, 0600));
    int segment = MUST(shmget(IPC_PRIVATE, PAGE, 0600));
    long *sum = shmat(segment, NULL, 0);
    enum { CHILDREN = 4, ROUNDS = 500 };
    fflush(stdout);
    op(set, 0, 1, 0);
    for (int child = 0; child < CHILDREN; child++) {
        if (fork()) continue;
        struct message message;
        for (int i = 0; i < ROUNDS; i++) {
            if (msgrcv(requests, &message, 64, child % 2 ? -2 : 1, 0) < 0) _exit(1);
            if (op(set, 0, -1, SEM_UNDO)) _exit(2);
            *sum += atoi(message.text);
            if (op(set, 0, 1, SEM_UNDO)) _exit(3);
        }
        op(set, 1, 1, 0);
        _exit(0);
    }
    for (int i = 0; i < CHILDREN * ROUNDS; i++) put(requests, 1, "3", 0);
    IPC(op(set, 1, -CHILDREN, 0));
    int status, bad = 0;
    while (wait(&status) > 0) bad |= status;
    printf("sum %ld, bad %d\n", *sum, bad);
    show_queue(requests);
    shmctl(segment, IPC_RMID, NULL), msgctl(requests, IPC_RMID, NULL), semctl(set, 0, IPC_RMID);
}

int main(void) {
    setbuf(stdout, NULL);
    segments();
    semaphores();
    queues();
    chosen_ids();
    traffic();
    return 0;
}
