//! Test suites of others, each on the host and in the VM: Linux' own tests of its system calls, glibc's and CPython's own,
//! bash's, busybox', perl's, and stress-ng's stressors. `.ci/run suites` runs what CI has time for;
//! [`osv_tests::battery`] says how to run everything.

use std::fs;
use std::path::Path;
use std::process::Command;

use osv_tests::battery::{Battery, log_dir, selftests, sources, suites_dir};

#[test]
#[ignore = "minutes: `.ci/run suites`"]
fn glibc() {
    let is_everything = ["OSV_SUITES", "OSV_SUITES_ONLY"].iter().any(|name| std::env::var_os(name).is_some());
    let directory = log_dir().join("glibc");
    let mut build = Command::new(suites_dir().join("glibc-build.sh"));
    build.arg(&directory).args(GLIBC.iter().filter(|_| !is_everything));
    assert!(build.status().is_ok_and(|status| status.success()), "building glibc's tests failed");
    let programs = directory.join("bin");
    let folders = names(&programs).into_iter().flat_map(|top| {
        let deeper = ["", "/pthread", "/unix/sysv/linux", "/unix/sysv/linux/x86_64"];
        deeper.map(|folder| format!("{top}{folder}"))
    });
    let all = folders.flat_map(|folder| {
        let files = names(&programs.join(&folder)).into_iter();
        files.map(move |name| format!("{folder}/{name}"))
    });
    let all: Vec<String> = all.filter(|name| programs.join(name).is_file()).collect();
    let path = directory.display().to_string();
    Battery::new("glibc", &["/bin/bash", "glibc.sh", &path]).chosen(GLIBC).all(all).check();
}

#[test]
#[ignore = "minutes: `.ci/run suites`"]
fn cpython() {
    let battery = Battery::new("cpython", &["/usr/bin/python3", "cpython.py"]);
    battery.chosen(CPYTHON).all(CPYTHON_MORE.iter().map(|&item| item.to_owned())).check();
}

#[test]
#[ignore = "minutes: `.ci/run suites`"]
fn stress_ng() {
    let listed = Command::new("stress-ng").arg("--stressors").output().expect("stress-ng");
    let all = String::from_utf8_lossy(&listed.stdout);
    let all = all.split_whitespace().map(str::to_owned);
    Battery::new("stress-ng", &["/bin/bash", "stress.sh"]).chosen(STRESSORS).all(all).check();
}

#[test]
#[ignore = "minutes: `.ci/run suites`"]
fn bash() {
    let directory = sources().join("bash/tests");
    let all = names(&directory).into_iter().filter_map(|name| name.strip_prefix("run-").map(str::to_owned));
    let all = all.filter(|name| !["all", "minimal", "gprof"].contains(&name.as_str()));
    let directory = directory.display().to_string();
    Battery::new("bash", &["/bin/bash", "bash.sh", &directory]).chosen(BASH).all(all).check();
}

#[test]
#[ignore = "minutes: `.ci/run suites`"]
fn busybox() {
    let directory = sources().join("busybox/testsuite");
    let all = names(&directory).into_iter().filter_map(|name| {
        let is_directory = directory.join(&name).is_dir();
        name.strip_suffix(".tests").map(str::to_owned).or_else(|| is_directory.then_some(name))
    });
    let path = directory.display().to_string();
    Battery::new("busybox", &["/bin/bash", "busybox.sh", &path]).chosen(BUSYBOX).all(all).check();
}

#[test]
#[ignore = "minutes: `.ci/run suites`"]
fn builds() {
    let directory = sources().display().to_string();
    let battery = Battery::new("builds", &["/bin/bash", "build.sh", &directory]);
    battery.chosen(&["hello", "lua", "sqlite", "archives", "repository", "crate"]).check();
}

#[test]
#[ignore = "minutes: `.ci/run suites`"]
fn programs() {
    let more = ["binutils", "git", "passwd", "perl-base", "procps", "util-linux"].map(str::to_owned);
    let battery = Battery::new("programs", &["/bin/bash", "programs.sh"]);
    battery.chosen(&["bzip2", "diffutils", "findutils", "grep", "gzip", "sed", "tar"]).all(more).check();
}

#[test]
#[ignore = "minutes: `.ci/run suites`"]
fn perl() {
    let directory = sources().join("perl/t");
    let folders = ["base", "cmd", "comp", "io", "re", "op", "mro", "uni", "class"];
    let all = folders.iter().flat_map(|folder| {
        let files = names(&directory.join(folder)).into_iter().filter(|name| name.ends_with(".t"));
        files.map(move |name| format!("{folder}/{name}"))
    });
    let path = directory.display().to_string();
    Battery::new("perl", &["/bin/bash", "perl.sh", &path]).chosen(PERL).all(all).check();
}

#[test]
#[ignore = "minutes: `.ci/run suites`"]
fn linux_selftests() {
    let directory = selftests().display().to_string();
    let battery = Battery::new("selftests", &["/bin/bash", "selftests.sh", &directory]);
    battery.chosen(SELFTESTS).all(MORE_SELFTESTS.iter().map(|&item| item.to_owned())).check();
}

/// The names in a directory, in order; none if it is not there.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

const GLIBC: &[&str] = &[
    "io/tst-copy_file_range",
    "io/tst-faccessat",
    "io/tst-fcntl",
    "io/tst-fts",
    "io/tst-futimesat",
    "io/tst-getcwd",
    "io/tst-lockf",
    "io/tst-open-tmpfile",
    "io/tst-posix_fallocate",
    "io/tst-ttyname_r",
    "misc/tst-mremap2",
    "misc/tst-preadvwritev2",
    "misc/tst-pselect",
    "dirent/tst-seekdir",
    "login/tst-grantpt",
    "login/tst-utmp",
    "nptl/tst-cancel4_1",
    "nptl/tst-cancel4_2",
    "nptl/tst-cancel7",
    "nptl/tst-cancel17",
    "nptl/tst-cond22",
    "nptl/tst-exec4",
    "nptl/tst-minstack-cancel",
    "nptl/tst-mutex8",
    "nptl/tst-mutexpi1",
    "nptl/tst-mutexpi4",
    "nptl/tst-mutexpi8",
    "nptl/tst-mutexpi10",
    "nptl/tst-mutexpp1",
    "nptl/tst-mutexpp10",
    "nptl/tst-pthread-attr-affinity",
    "nptl/tst-pthread-getattr",
    "nptl/tst-robustpi1",
    "nptl/tst-robustpi7",
    "nptl/tst-rwlock8",
    "nptl/tst-sched1",
    "nptl/tst-setgroups",
    "nptl/tst-setuid1",
    "nptl/tst-stack3",
    "nptl/tst-thread-setspecific",
    "posix/test-vfork",
    "posix/tst-cpuset",
    "posix/tst-exec",
    "posix/tst-execveat",
    "posix/tst-execvp3",
    "posix/tst-fexecve",
    "posix/tst-fork",
    "posix/tst-mmap",
    "posix/tst-posix_fadvise",
    "posix/tst-posix_spawn-setsid",
    "posix/tst-sched_rr_get_interval",
    "posix/tst-spawn",
    "posix/tst-spawn6",
    "posix/tst-sysconf",
    "posix/tst-truncate",
    "posix/tst-wait4",
    "posix/tst-waitid",
    "rt/tst-aio",
    "rt/tst-aio2",
    "rt/tst-aio4",
    "rt/tst-aio7",
    "rt/tst-aio8",
    "rt/tst-bz28213",
    "rt/tst-mqueue1",
    "rt/tst-mqueue6",
    "rt/tst-mqueue9",
    "rt/tst-timer2",
    "rt/tst-timer3",
    "setjmp/tst-setjmp-fp",
    "setjmp/tst-sigsetjmp",
    "signal/tst-minsigstksz-3",
    "signal/tst-sigaction",
    "signal/tst-sigset2",
    "signal/tst-sigsimple",
    "socket/tst-cmsghdr",
    "stdlib/tst-atexit",
    "stdlib/tst-makecontext3",
    "stdlib/tst-setcontext9",
    "stdlib/tst-swapcontext1",
    "sysdeps/pthread/tst-abstime",
    "sysdeps/pthread/tst-atfork1",
    "sysdeps/pthread/tst-barrier4",
    "sysdeps/pthread/tst-basic7",
    "sysdeps/pthread/tst-cancel10",
    "sysdeps/pthread/tst-cancel12",
    "sysdeps/pthread/tst-cancel18",
    "sysdeps/pthread/tst-cancel26",
    "sysdeps/pthread/tst-cancel30",
    "sysdeps/pthread/tst-cancelx18",
    "sysdeps/pthread/tst-cleanup3",
    "sysdeps/pthread/tst-cnd-timedwait",
    "sysdeps/pthread/tst-cond2",
    "sysdeps/pthread/tst-cond12",
    "sysdeps/pthread/tst-cond13",
    "sysdeps/pthread/tst-cond20",
    "sysdeps/pthread/tst-exec2",
    "sysdeps/pthread/tst-flock2",
    "sysdeps/pthread/tst-fork3",
    "sysdeps/pthread/tst-join14",
    "sysdeps/pthread/tst-kill6",
    "sysdeps/pthread/tst-mtx-timedlock",
    "sysdeps/pthread/tst-mutex4",
    "sysdeps/pthread/tst-mutex7robust",
    "sysdeps/pthread/tst-once3",
    "sysdeps/pthread/tst-pt-popen1",
    "sysdeps/pthread/tst-pt-vfork1",
    "sysdeps/pthread/tst-pthread-exit-signal",
    "sysdeps/pthread/tst-pthread_kill-exited",
    "sysdeps/pthread/tst-raise1",
    "sysdeps/pthread/tst-robust1",
    "sysdeps/pthread/tst-robust7",
    "sysdeps/pthread/tst-rwlock12",
    "sysdeps/pthread/tst-rwlock14",
    "sysdeps/pthread/tst-sem4",
    "sysdeps/pthread/tst-sem14",
    "sysdeps/pthread/tst-setuid3",
    "sysdeps/pthread/tst-signal1",
    "sysdeps/pthread/tst-signal5",
    "sysdeps/pthread/tst-stack1",
    "sysdeps/pthread/tst-tsd5",
    "sysdeps/pthread/tst-vfork1x",
    "sysdeps/unix/sysv/linux/tst-affinity",
    "sysdeps/unix/sysv/linux/tst-clone2",
    "sysdeps/unix/sysv/linux/tst-clone3",
    "sysdeps/unix/sysv/linux/tst-fallocate",
    "sysdeps/unix/sysv/linux/tst-getcwd-smallbuff",
    "sysdeps/unix/sysv/linux/tst-getdents64",
    "sysdeps/unix/sysv/linux/tst-gettid-kill",
    "sysdeps/unix/sysv/linux/tst-linux-mremap1",
    "sysdeps/unix/sysv/linux/tst-memfd_create",
    "sysdeps/unix/sysv/linux/tst-mlock2",
    "sysdeps/unix/sysv/linux/tst-mount",
    "sysdeps/unix/sysv/linux/tst-o_path-locks",
    "sysdeps/unix/sysv/linux/tst-ofdlocks",
    "sysdeps/unix/sysv/linux/tst-pidfd",
    "sysdeps/unix/sysv/linux/tst-process_madvise",
    "sysdeps/unix/sysv/linux/tst-process_mrelease",
    "sysdeps/unix/sysv/linux/tst-scm_rights",
    "sysdeps/unix/sysv/linux/tst-sysvmsg-linux",
    "sysdeps/unix/sysv/linux/tst-sysvsem-linux",
    "sysdeps/unix/sysv/linux/tst-sysvshm-linux",
    "sysdeps/unix/sysv/linux/tst-tgkill",
    "time/tst-cpuclock1",
];

const CPYTHON: &[&str] = &[
    "test_os",
    "test_posix",
    "test_mmap",
    "test_tempfile",
    "test_fcntl",
    "test_pty",
    "test_select",
    "test_epoll",
    "test_resource",
    "test_glob",
    "test_eintr:200",
    "test_fork1",
    "test_wait3",
    "test_wait4",
    "test_popen",
    "test_largefile",
    "test_fileio",
    "test_threading:200",
    "test_threadsignals",
    "test_openpty",
    "test_ioctl",
    "test_asyncio.test_base_events",
    "test_asyncio.test_context",
    "test_asyncio.test_futures",
    "test_asyncio.test_futures2",
    "test_asyncio.test_locks",
    "test_asyncio.test_pep492",
    "test_asyncio.test_protocols",
    "test_asyncio.test_queues",
    "test_asyncio.test_runners",
    "test_asyncio.test_selector_events",
    "test_asyncio.test_subprocess",
    "test_asyncio.test_taskgroups",
    "test_asyncio.test_tasks",
    "test_asyncio.test_threads",
    "test_asyncio.test_timeouts",
    "test_asyncio.test_transports",
    "test_asyncio.test_unix_events",
];

const CPYTHON_MORE: &[&str] = &[
    "test_file",
    "test_pathlib",
    "test_posixpath",
    "test_queue",
    "test_shutil",
    "test_thread",
    "test_time",
    "test_subprocess:300",
    "test_signal:200",
    "test_io:300",
    "test_selectors",
    "test_faulthandler:200",
    "test_gc",
    "test_poll",
    "test_dbm_dumb",
    "test_threading_local",
    "test_memoryio",
    "test_bufio",
    "test_tty",
    "test_pipes",
    "test_stat",
    "test_fileinput",
    "test_filecmp",
    "test_genericpath",
    "test_getpass",
    "test_pwd",
    "test_grp",
    "test_crypt",
    "test_syslog",
    "test_locale",
    "test_platform",
    "test_sched",
    "test_sys",
    "test_site",
    "test_runpy",
    "test_cmd_line",
    "test_cmd_line_script",
    "test_py_compile",
    "test_compileall:200",
    "test_import",
    "test_struct",
    "test_array",
    "test_mailbox",
    "test_tarfile:200",
    "test_gzip",
    "test_bz2",
    "test_lzma",
    "test_zlib",
    "test_dbm",
    "test_dbm_gnu",
    "test_dbm_ndbm",
    "test_shelve",
    "test_pickle",
    "test_linecache",
    "test_logging",
    "test_unicode_file",
    "test_unicode_file_functions",
    "test_venv",
    "test_webbrowser",
    "test_contextlib",
    "test_atexit",
    "test_audit",
    "test_code",
    "test_embed:200",
    "test_exceptions",
    "test_datetime",
    "test_random",
    "test_secrets",
    "test_hashlib",
    "test_uuid",
    "test_memoryview",
    "test_fractions",
    "test_sendfile",
    "test_socket:300",
    "test_multiprocessing_fork:400",
    "test_multiprocessing_spawn:400",
    "test_concurrent_futures:400",
    "test_ctypes",
    "test_zipfile:200",
    "test_sqlite3:200",
    "test_socketserver",
];

const STRESSORS: &[&str] = &[
    "chdir",
    "clone",
    "close",
    "context",
    "dup",
    "epoll",
    "eventfd",
    "exec",
    "fault",
    "fork",
    "fpunch",
    "futex",
    "getdent",
    "link",
    "lockf",
    "mlock",
    "mmapfork",
    "mprotect",
    "mremap",
    "msg",
    "nanosleep",
    "pipe",
    "poll",
    "pthread",
    "ptrace",
    "pty",
    "rename",
    "resources",
    "sem",
    "shm",
    "sigq",
    "signal",
    "sock",
    "sockfd",
    "splice",
    "timer",
    "vfork",
    "vm-splice",
    "zombie",
];

const BASH: &[&str] = &[
    "array", "arith", "braces", "case", "comsub", "cond", "coproc", "errors", "extglob", "func", "getopts", "heredoc",
    "history", "lastpipe", "mapfile", "posix2", "procsub", "quote", "redir", "set-e", "tilde", "trap", "type",
];

const BUSYBOX: &[&str] = &[
    "ash", "awk", "cp", "cpio", "cut", "date", "diff", "du", "find", "gunzip", "gzip", "head", "ls", "md5sum", "mkdir",
    "mount", "mv", "od", "patch", "pidof", "printf", "readlink", "rm", "sed", "sort", "sum", "tail", "tar", "touch",
    "tr", "uniq", "unzip", "wc", "xargs", "xxd",
];

const PERL: &[&str] = &[
    "io/argv.t",
    "io/dup.t",
    "io/fs.t",
    "io/inplace.t",
    "io/open.t",
    "io/pipe.t",
    "io/print.t",
    "io/read.t",
    "io/sem.t",
    "io/shm.t",
    "io/socketpair.t",
    "io/tell.t",
    "op/alarm.t",
    "op/chdir.t",
    "op/die_exit.t",
    "op/exec.t",
    "op/fork.t",
    "op/getpid.t",
    "op/getppid.t",
    "op/glob.t",
    "op/kill0.t",
    "op/magic.t",
    "op/readline.t",
    "op/sleep.t",
    "op/stat.t",
    "op/time.t",
    "re/regexp.t",
];

const SELFTESTS: &[&str] = &[
    "capabilities/test_execve",
    "clone3/clone3_clear_sighand",
    "core/close_range_test",
    "exec/null-argv",
    "exec/recursion-depth",
    "futex/functional/futex_requeue_pi",
    "futex/functional/futex_requeue_pi_mismatched_ops",
    "futex/functional/futex_requeue_pi_signal_restart",
    "futex/functional/futex_wait",
    "futex/functional/futex_wait_private_mapped_file",
    "futex/functional/futex_wait_uninitialized_heap",
    "futex/functional/futex_wait_wouldblock",
    "futex/functional/futex_waitv",
    "ipc/msgque",
    "kcmp/kcmp_test",
    "membarrier/membarrier_test_multi_thread",
    "membarrier/membarrier_test_single_thread",
    "memfd/memfd_test",
    "openat2/openat2_test",
    "pidfd/pidfd_getfd_test",
    "pidfd/pidfd_open_test",
    "pidfd/pidfd_wait",
    "proc/fd-001-lookup",
    "proc/fd-002-posix-eq",
    "proc/proc-pid-vm",
    "proc/proc-self-wchan",
    "proc/proc-tid0",
    "proc/proc-uptime-001",
    "proc/proc-uptime-002",
    "proc/self",
    "proc/thread-self",
    "ptrace/get_syscall_info",
    "ptrace/peeksiginfo",
    "rseq/basic_test",
    "seccomp/seccomp_bpf:120",
    "sigaltstack/sas",
    "splice/default_file_splice_read.sh",
    "timers/posix_timers",
    "tmpfs/bug-link-o-tmpfile",
    "vDSO/vdso_test_abi",
    "vDSO/vdso_test_correctness",
];

const MORE_SELFTESTS: &[&str] = &[
    "clone3/clone3",
    "exec/non-regular",
    "futex/functional/futex_requeue",
    "futex/functional/futex_wait_timeout",
    "pidfd/pidfd_poll_test",
    "sync/sync_test",
    "timers/nanosleep",
];
