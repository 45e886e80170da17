/* What calls on processes, their ids, scheduling and limits refuse, errno for errno. */
#include "check.h"
#include <sched.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <sys/sysinfo.h>
#include <sys/personality.h>
#include <sys/reboot.h>
#include <sys/swap.h>
#include <sys/klog.h>
#include <sys/timex.h>
#include <sys/quota.h>
#include <sys/fsuid.h>
#include <sys/uio.h>
#include <sys/syscall.h>
#include <linux/sched.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <sys/pidfd.h>
#define AS(uid, label, ...) IN_CHILD(label, setgroups(0,0); setgid(uid); setuid(uid); __VA_ARGS__)
int membarrier_probe(void);

static void nop(int s) {
}

static void clones(void) {
    SECTION("clone/wait");
    int st;
    siginfo_t si;
    struct rusage ru;
    VALUE(wait(&st));
    VALUE(waitpid(-1, &st, 0));
    VALUE(waitpid(999999, &st, WNOHANG));
    VALUE(waitpid(-1, &st, 0x1000));
    VALUE(waitpid(-999999, &st, 0));
    VALUE(waitpid(0x80000000, &st, 0));
    VALUE(waitid(P_ALL, 0, &si, 0));
    VALUE(waitid(P_ALL, 0, &si, WNOHANG));
    VALUE(waitid(P_ALL, 0, &si, WEXITED|0x100));
    VALUE(waitid(99, 0, &si, WEXITED));
    VALUE(waitid(P_PID, 0, &si, WEXITED));
    VALUE(waitid(P_PID, -1, &si, WEXITED));
    VALUE(waitid(P_PGID, -1, &si, WEXITED));
    VALUE(waitid(P_PIDFD, 99, &si, WEXITED));
    VALUE(waitid(P_PIDFD, -1, &si, WEXITED));
    VALUE(waitid(P_PIDFD, 0, &si, WEXITED));
    VALUE(waitid(P_PGID, 0, &si, WEXITED));
    pid_t p=fork();
    if (!p) {
        pause();
        _exit(0);
    }
    VALUE(waitpid(p, &st, WNOHANG));
    VALUE(waitid(P_PID, p, &si, WEXITED|WNOHANG));
    printf("%d\n", si.si_pid);
    kill(p, SIGSTOP);
    VALUE(waitid(P_PID, p, &si, WSTOPPED));
    printf("%d %d %d\n", si.si_code, si.si_status, si.si_signo);
    kill(p, SIGCONT);
    VALUE(waitid(P_PID, p, &si, WCONTINUED|WNOWAIT));
    printf("%d %d\n", si.si_code, si.si_status);
    VALUE(waitid(P_PID, p, &si, WCONTINUED));
    kill(p, SIGTERM);
    VALUE(waitid(P_PID, p, &si, WEXITED|WNOWAIT));
    printf("%d %d\n", si.si_code, si.si_status);
    VALUE(wait4(p, &st, 0, (void*)-1));
    VALUE(waitpid(p, &st, 0));
    p=fork();
    if (!p) _exit(300);
    VALUE(waitpid(p, (void*)-1, 0));
    VALUE(waitpid(p, &st, 0));
    signal(SIGCHLD, SIG_IGN);
    p=fork();
    if (!p) _exit(3);
    VALUE(waitpid(p, &st, 0));
    signal(SIGCHLD, SIG_DFL);
    VALUE(syscall(SYS_clone, CLONE_THREAD, 0, 0, 0, 0));
    VALUE(syscall(SYS_clone, CLONE_SIGHAND, 0, 0, 0, 0));
    VALUE(syscall(SYS_clone, CLONE_NEWNS|CLONE_FS, 0, 0, 0, 0));
    VALUE(syscall(SYS_clone, CLONE_PIDFD|CLONE_PARENT_SETTID, 0, 0, 0, 0));
    VALUE(syscall(SYS_clone, CLONE_PIDFD|CLONE_DETACHED, 0, &st, 0, 0));
    struct clone_args ca={0};
    VALUE(syscall(SYS_clone3, &ca, 8));
    VALUE(syscall(SYS_clone3, &ca, 100000));
    VALUE(syscall(SYS_clone3, (void*)-1, sizeof ca));
    ca.exit_signal=65;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.exit_signal=0x100;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.exit_signal=SIGCHLD;
    ca.stack=0x1000;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.stack=0;
    ca.stack_size=0x1000;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.stack_size=0;
    ca.flags=CLONE_DETACHED;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.flags=CLONE_SIGHAND|CLONE_CLEAR_SIGHAND;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.flags=CSIGNAL;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.flags=1ull<<40;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.flags=0;
    ca.set_tid=(uint64_t)-1;
    ca.set_tid_size=1;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.set_tid_size=33;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    ca.set_tid=0;
    ca.set_tid_size=1;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    pid_t want=1;
    ca.set_tid=(uint64_t)&want;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    want=0;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    want=1<<30;
    VALUE(syscall(SYS_clone3, &ca, sizeof ca));
    want=30000;
    fflush(stdout);
    int r=syscall(SYS_clone3, &ca, sizeof ca);
    if (!r) _exit(getpid()==30000?7:8);
    printf("set_tid %d\n", r);
    if (r>0) {
        waitpid(r, &st, 0);
        puts(ending(st));
    }
    AS(1000, "settid", want=30001;
        VALUE(syscall(SYS_clone3, &ca, sizeof ca)));
    VALUE(unshare(0x80000000));
    VALUE(unshare(CLONE_FILES|CLONE_FS|CLONE_SYSVSEM));
    VALUE(unshare(CLONE_VM));
    VALUE(setns(99, 0));
    VALUE(setns(0, 0));
    VALUE(setns(-1, 0));
    SECTION("pidfd");
    VALUE(pidfd_open(-1, 0));
    VALUE(pidfd_open(999999, 0));
    VALUE(pidfd_open(getpid(), 1));
    VALUE(pidfd_open(0, 0));
    int pf=pidfd_open(getpid(), 0);
    VALUE(fcntl(pf, F_GETFD));
    VALUE(pidfd_send_signal(pf, 0, 0, 16));
    VALUE(pidfd_send_signal(99, 0, 0, 0));
    VALUE(pidfd_send_signal(0, 0, 0, 0));
    VALUE(pidfd_send_signal(pf, 99, 0, 0));
    memset(&si, 0, sizeof si);
    si.si_signo=SIGUSR2;
    VALUE(pidfd_send_signal(pf, SIGUSR1, &si, 0));
    VALUE(pidfd_getfd(pf, 0, 1));
    VALUE(pidfd_getfd(pf, 99, 0));
    VALUE(pidfd_getfd(99, 0, 0));
    VALUE(pidfd_getfd(0, 0, 0));
    VALUE(pidfd_open(getpid(), O_NONBLOCK)>0);
    p=fork();
    if (!p) {
        sleep_ms(50);
        _exit(0);
    }
    pf=pidfd_open(p, O_NONBLOCK);
    VALUE(waitid(P_PIDFD, pf, &si, WEXITED));
    struct pollfd pfd={pf, POLLIN, 0};
    VALUE(poll(&pfd, 1, 1000));
    VALUE(waitid(P_PIDFD, pf, &si, WEXITED));
    VALUE(pidfd_send_signal(pf, 0, 0, 0));
    VALUE(pidfd_getfd(pf, 0, 0));
    AS(1000, "pidfdgetfd", int q=pidfd_open(getppid(), 0);
        VALUE(pidfd_getfd(q, 0, 0));
        VALUE(pidfd_send_signal(q, SIGKILL, 0, 0)));
}

static void ids(void) {
    SECTION("ids");
    VALUE(setpgid(-1, 0));
    VALUE(setpgid(0, -1));
    VALUE(setpgid(999999, 0));
    VALUE(setpgid(0, 999999));
    VALUE(setpgid(1, 1));
    VALUE(getpgid(-1));
    VALUE(getpgid(999999));
    VALUE(getsid(-1));
    VALUE(getsid(999999));
    IN_CHILD("sid", VALUE(setsid()>0);
        VALUE(setsid());
        VALUE(setpgid(0, 0)));
    IN_CHILD("ids", uid_t a, b, c;
        VALUE(setresuid(1, 2, 3));
        VALUE(getresuid(&a, &b, &c));
        printf("%d %d %d\n", a, b, c);
        VALUE(setuid(5));
        VALUE(seteuid(3));
        VALUE(setreuid(3, -1));
        VALUE(setreuid(-1, 1));
        VALUE(setresuid(0, -1, -1));
        VALUE(setfsuid(-1));
        VALUE(setfsuid(7));
        VALUE(setfsuid(-1));
        VALUE(setgid(4));
        VALUE(setgroups(0, 0));
        VALUE(setregid(4, 4));
        VALUE(setresgid(4, 4, 4));
        VALUE(setfsgid(1));
        VALUE(getresuid((void*)-1, &b, &c)));
    gid_t g[70000]={0};
    VALUE(setgroups(65537, g));
    VALUE(setgroups(1, (void*)-1));
    VALUE(getgroups(-1, g));
    g[0]=5;
    g[1]=3;
    IN_CHILD("groups", VALUE(setgroups(2, g));
        VALUE(getgroups(0, 0));
        VALUE(getgroups(1, g));
        VALUE(getgroups(2, g));
        printf("%d %d\n", g[0], g[1]);
        VALUE(getgroups(2, (void*)-1)));
    IN_CHILD("setuid root", setuid(0);
        setresuid(1000, 1000, 0);
        VALUE(setuid(0));
        VALUE(setuid(1000));
        VALUE(setuid(0));
        uid_t a, b, c;
        getresuid(&a, &b, &c);
        printf("%d %d %d\n", a, b, c));
    VALUE(setuid(-1));
    VALUE(setresuid(-1, -1, -1));
    VALUE(setreuid(-1, -1));
    SECTION("cap");
    struct __user_cap_header_struct h={0, 0};
    struct __user_cap_data_struct d[2];
    VALUE(syscall(SYS_capget, &h, NULL));
    printf("%x\n", h.version);
    h.version=_LINUX_CAPABILITY_VERSION_3;
    VALUE(syscall(SYS_capget, &h, d));
    h.pid=-1;
    VALUE(syscall(SYS_capget, &h, d));
    h.pid=999999;
    VALUE(syscall(SYS_capget, &h, d));
    h.pid=1;
    VALUE(syscall(SYS_capset, &h, d));
    h.pid=0;
    h.version=1;
    VALUE(syscall(SYS_capset, &h, d));
    h.version=_LINUX_CAPABILITY_VERSION_3;
    VALUE(syscall(SYS_capset, (void*)-1, d));
    VALUE(syscall(SYS_capset, &h, (void*)-1));
    VALUE(syscall(SYS_capget, &h, (void*)-1));
    IN_CHILD("capset", d[0].effective=1;
        d[0].permitted=1;
        d[1].permitted=d[1].effective=0;
        VALUE(syscall(SYS_capset, &h, d));
        d[0].permitted=3;
        VALUE(syscall(SYS_capset, &h, d));
        d[0].permitted=0;
        VALUE(syscall(SYS_capset, &h, d));
        d[0].effective=0;
        d[0].inheritable=2;
        VALUE(syscall(SYS_capset, &h, d));
        VALUE(setuid(1)));
}

static void sched(void) {
    SECTION("sched");
    struct sched_param sp={0};
    struct timespec ts;
    cpu_set_t cs;
    CPU_ZERO(&cs);
    VALUE(sched_getscheduler(-1));
    VALUE(sched_getscheduler(999999));
    VALUE(sched_setscheduler(0, 99, &sp));
    VALUE(sched_setscheduler(-1, 0, &sp));
    VALUE(sched_setscheduler(999999, 0, &sp));
    VALUE(sched_setscheduler(0, 0, (void*)-1));
    VALUE(sched_setscheduler(0, 0, NULL));
    sp.sched_priority=1;
    VALUE(sched_setscheduler(0, 0, &sp));
    sp.sched_priority=0;
    VALUE(sched_setscheduler(0, SCHED_FIFO, &sp));
    sp.sched_priority=100;
    VALUE(sched_setscheduler(0, SCHED_RR, &sp));
    sp.sched_priority=-1;
    VALUE(sched_setscheduler(0, SCHED_RR, &sp));
    IN_CHILD("rr", sp.sched_priority=5;
        VALUE(sched_setscheduler(0, SCHED_RR, &sp));
        VALUE(sched_getscheduler(0));
        VALUE(sched_getparam(0, &sp));
        printf("%d\n", sp.sched_priority);
        VALUE(sched_rr_get_interval(0, &ts));
        printf("%ld %ld\n", ts.tv_sec, ts.tv_nsec);
        sp.sched_priority=50;
        VALUE(sched_setparam(0, &sp));
        sp.sched_priority=100;
        VALUE(sched_setparam(0, &sp));
        sp.sched_priority=7;
        VALUE(sched_setscheduler(0, SCHED_FIFO|SCHED_RESET_ON_FORK, &sp));
        VALUE(sched_getscheduler(0));
        VALUE(sched_rr_get_interval(0, &ts));
        printf("%ld %ld\n", ts.tv_sec, ts.tv_nsec);
        if (!fork()){ printf("child %d\n", sched_getscheduler(0));
        exit(0);
        } wait(0);
        );
    AS(1000, "u", sp.sched_priority=1;
        VALUE(sched_setscheduler(0, SCHED_FIFO, &sp));
        sp.sched_priority=0;
        VALUE(sched_setscheduler(0, SCHED_BATCH, &sp));
        VALUE(sched_setscheduler(0, SCHED_IDLE, &sp));
        VALUE(sched_setscheduler(0, 0, &sp));
        VALUE(sched_setscheduler(getppid(), 0, &sp));
        VALUE(sched_setaffinity(getppid(), sizeof cs, &cs)));
    VALUE(sched_getparam(0, NULL));
    VALUE(sched_getparam(-1, &sp));
    VALUE(sched_setparam(0, NULL));
    VALUE(sched_rr_get_interval(-1, &ts));
    VALUE(sched_rr_get_interval(999999, &ts));
    VALUE(sched_rr_get_interval(0, (void*)-1));
    for (int i=-1;i<7;i++) printf("%d %d\n", sched_get_priority_max(i), sched_get_priority_min(i));
    VALUE(sched_setaffinity(0, sizeof cs, &cs));
    VALUE(syscall(SYS_sched_setaffinity, 0, 8, (void*)-1));
    VALUE(syscall(SYS_sched_getaffinity, 0, 8, (void*)-1));
    VALUE(syscall(SYS_sched_getaffinity, 0, 0, &cs));
    VALUE(syscall(SYS_sched_getaffinity, 0, 7, &cs));
    VALUE(syscall(SYS_sched_getaffinity, 999999, 8, &cs));
    VALUE(syscall(SYS_sched_setaffinity, 999999, 8, &cs));
    struct {uint32_t size, policy;uint64_t flags;int32_t nice;uint32_t prio;uint64_t rt, dl, pe; uint32_t umin, umax; } sa={0};
    VALUE(syscall(SYS_sched_getattr, 0, &sa, 48, 0));
    VALUE(syscall(SYS_sched_getattr, 0, &sa, 48, 1));
    VALUE(syscall(SYS_sched_getattr, 0, &sa, 47, 0));
    VALUE(syscall(SYS_sched_getattr, -1, &sa, 48, 0));
    VALUE(syscall(SYS_sched_getattr, 999999, &sa, 48, 0));
    VALUE(syscall(SYS_sched_getattr, 0, NULL, 48, 0));
    VALUE(syscall(SYS_sched_setattr, 0, &sa, 1));
    VALUE(syscall(SYS_sched_setattr, 0, NULL, 0));
    VALUE(syscall(SYS_sched_setattr, 999999, &sa, 0));
    sa.size=48;
    sa.policy=77;
    VALUE(syscall(SYS_sched_setattr, 0, &sa, 0));
    sa.policy=0;
    sa.flags=0x1000;
    VALUE(syscall(SYS_sched_setattr, 0, &sa, 0));
    sa.flags=0;
    sa.nice=3;
    IN_CHILD("sattr", VALUE(syscall(SYS_sched_setattr, 0, &sa, 0));
        VALUE(getpriority(0, 0)));
    sa.size=10;
    VALUE(syscall(SYS_sched_setattr, 0, &sa, 0));
    printf("%d\n", sa.size);
    VALUE(getpriority(9, 0));
    VALUE(getpriority(PRIO_PROCESS, -1));
    VALUE(getpriority(PRIO_PROCESS, 999999));
    VALUE(setpriority(9, 0, 0));
    VALUE(setpriority(PRIO_PROCESS, 999999, 0));
    IN_CHILD("prio", VALUE(setpriority(PRIO_PROCESS, 0, 100));
        VALUE(getpriority(0, 0));
        VALUE(setpriority(PRIO_PROCESS, 0, -100));
        VALUE(getpriority(0, 0));
        VALUE(nice(5));
        VALUE(nice(50));
        VALUE(setpriority(PRIO_PGRP, 0, 3)));
    setpriority(PRIO_PGRP, 0, 0);
    AS(1000, "nice", VALUE(setpriority(0, 0, -1));
        VALUE(nice(-1));
        VALUE(setpriority(0, getppid(), 5));
        VALUE(setpriority(0, 1, 5)));
    VALUE(syscall(SYS_ioprio_get, 9, 0));
    VALUE(syscall(SYS_ioprio_get, 1, 0));
    VALUE(syscall(SYS_ioprio_set, 1, 0, (2<<13)|3));
    VALUE(syscall(SYS_ioprio_get, 1, 0));
    VALUE(syscall(SYS_ioprio_set, 1, 0, 0));
    VALUE(syscall(SYS_ioprio_set, 1, 0, 3));
    VALUE(syscall(SYS_getcpu, (void*)-1, 0, 0));
    VALUE(membarrier_probe());
}
int membarrier_probe(void) {
    return syscall(SYS_membarrier, 0, 1, 0);
}

static void limits(void) {
    SECTION("rlimit");
    struct rlimit r;
    for (int i=0;i<17;i++) {
        char l[20];
        sprintf(l, "get %d", i);
        report(l, getrlimit(i, &r));
    }
    VALUE(getrlimit(0, (void*)-1));
    r.rlim_cur=10;
    r.rlim_max=5;
    VALUE(setrlimit(RLIMIT_NOFILE, &r));
    r.rlim_cur=r.rlim_max=1<<30;
    VALUE(setrlimit(RLIMIT_NOFILE, &r));
    VALUE(prlimit(999999, 0, 0, &r));
    VALUE(prlimit(0, 99, 0, &r));
    VALUE(prlimit(0, 0, (void*)-1, 0));
    AS(1000, "lim", VALUE(prlimit(getppid(), RLIMIT_NOFILE, 0, &r));
        getrlimit(RLIMIT_NOFILE, &r);
        r.rlim_max++;
        VALUE(setrlimit(RLIMIT_NOFILE, &r)));
    struct rusage ru;
    VALUE(getrusage(9, &ru));
    VALUE(getrusage(RUSAGE_CHILDREN, (void*)-1));
    VALUE(getrusage(RUSAGE_THREAD, &ru));
    VALUE(getrusage(-2, &ru));
    struct tms t;
    VALUE(syscall(SYS_times, (void*)-1));
    struct sysinfo s;
    VALUE(sysinfo((void*)-1));
    struct utsname u;
    VALUE(uname((void*)-1));
    VALUE(personality(-1));
    VALUE(personality(0xffffffff));
    for (int i=1;i<=71;i++) {
        if (i==PR_SET_SECCOMP||i==22||i==57||i==58) continue;
        char l[20];
        sprintf(l, "prctl %d", i);
        fflush(stdout);
        int pp=fork();
        if (!pp) {
            report(l, prctl(i, -1L, -1L, -1L, -1L));
            exit(0);
        }
        int st;
        waitpid(pp, &st, 0);
        if (st) printf("%s %s\n", l, ending(st));
    }
    VALUE(prctl(PR_SET_PDEATHSIG, 65));
    VALUE(prctl(PR_SET_DUMPABLE, 2));
    VALUE(prctl(PR_SET_NAME, (void*)-1));
    VALUE(prctl(PR_SET_TIMERSLACK, 0));
    VALUE(prctl(PR_GET_TIMERSLACK));
    VALUE(prctl(PR_CAPBSET_READ, 99));
    VALUE(prctl(PR_CAPBSET_DROP, 99));
    VALUE(prctl(PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0));
    VALUE(prctl(PR_SET_NO_NEW_PRIVS, 1, 1, 0, 0));
    VALUE(prctl(PR_GET_NO_NEW_PRIVS, 1, 0, 0, 0));
    VALUE(prctl(PR_SET_SECUREBITS, 1<<20));
    VALUE(prctl(PR_CAP_AMBIENT, 9, 0, 0, 0));
    VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, 99, 0, 0));
    VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, 1, 0, 0));
    VALUE(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 1, 0, 0));
    VALUE(prctl(PR_SET_THP_DISABLE, 0, 1, 0, 0));
    VALUE(prctl(PR_GET_THP_DISABLE, 1, 0, 0, 0));
    VALUE(prctl(PR_MCE_KILL, 9, 0, 0, 0));
    VALUE(prctl(PR_SET_TSC, 9));
    VALUE(prctl(PR_SET_CHILD_SUBREAPER, 1));
    int v;
    VALUE(prctl(PR_GET_CHILD_SUBREAPER, &v));
    printf("%d\n", v);
    prctl(PR_SET_CHILD_SUBREAPER, 0);
    VALUE(prctl(PR_SET_MM, PR_SET_MM_BRK, 0, 0, 0)==0);
    VALUE(prctl(PR_TASK_PERF_EVENTS_DISABLE));
}

int main() {
    setvbuf(stdout, 0, _IOLBF, 0);
    clones();
    ids();
    sched();
    limits();
}
