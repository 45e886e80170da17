//! Test suites of others, each on the host and in the VM: CPython's own, bash's, busybox', perl's, and stress-ng's
//! stressors. `.ci/run suites` runs what CI has time for; [`osv_tests::battery`] says how to run everything.

use std::fs;
use std::path::Path;
use std::process::Command;

use osv_tests::battery::{Battery, sources};

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

/// The names in a directory, in order; none if it is not there.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    names
}

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
    "test_asyncio:400",
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
