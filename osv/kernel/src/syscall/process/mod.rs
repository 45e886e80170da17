//! Processes, their ids, limits and scheduling, and what the system says of itself.

mod capabilities;
mod clone;
mod compare;
mod credentials;
mod exec;
mod exit;
mod ids;
mod limits;
mod machine;
mod pidfd;
mod prctl;
mod priority;
mod ptrace;
mod rseq;
mod scheduling;
mod seccomp;
mod system;
mod usage;
mod wait;

pub use capabilities::{capget, capset};
pub use clone::{clone, clone3, fork, setns, unshare, vfork};
pub use compare::{ioprio_get, ioprio_set, kcmp, process_mrelease};
pub use credentials::{
    getegid, geteuid, getgid, getgroups, getresgid, getresuid, getuid, setfsgid, setfsuid, setgid, setgroups, setregid,
    setresgid, setresuid, setreuid, setuid,
};
pub use exec::{execve, execveat};
pub use exit::{exit, exit_group, get_robust_list, set_robust_list, set_tid_address};
pub use ids::{getpgid, getpgrp, getpid, getppid, getsid, gettid, setpgid, setsid};
pub use limits::{getrlimit, prlimit64, setrlimit};
pub use machine::{ioperm, iopl, reboot, syslog};
pub use pidfd::{pidfd_getfd, pidfd_open, pidfd_send_signal};
pub use prctl::{arch_prctl, prctl};
pub use priority::{getpriority, setpriority};
pub use ptrace::ptrace;
pub use rseq::{membarrier, rseq};
pub use scheduling::{
    getcpu, sched_get_priority_max, sched_get_priority_min, sched_getaffinity, sched_getattr, sched_getparam,
    sched_getscheduler, sched_rr_get_interval, sched_setaffinity, sched_setattr, sched_setparam, sched_setscheduler,
};
pub use seccomp::{FILTERED, seccomp};
pub use system::{getrandom, personality, setdomainname, sethostname, sysinfo, uname, vhangup};
pub use usage::{getrusage, times};
pub use wait::{wait4, waitid};
