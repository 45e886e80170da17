//! Debuggers that run in the VM: strace, gdb and ltrace at a program of ours, compared with what they say on Linux.

use std::path::Path;

use osv_tests::compile::gcc;
use osv_tests::{Case, Suite};

/// gdb with commands, one per line; the program's own output goes to a file, since the two are not ordered.
fn gdb(name: &str, program: &Path, argument: &str, commands: &[&str]) -> Case {
    let start = [&format!("file {}", program.display()), "set confirm off", "set style enabled off"];
    let run = format!("run {argument} >/tmp/debuggee.out");
    let commands = commands.iter().map(|&command| if command == "run" { run.as_str() } else { command });
    let options: Vec<String> = start.into_iter().chain(commands).map(|command| format!("-ex '{command}'")).collect();
    let line = format!(
        "timeout -k 2 60 gdb -nx -q -batch {} 2>/dev/null; echo end $?; cat /tmp/debuggee.out",
        options.join(" ")
    );
    Case::shell(name, &line).seconds(90).normalise(without_numbers)
}

/// Leaves out what gdb says of threads and processes as they come and go, at no fixed place, and addresses and ids.
fn without_numbers(text: &str) -> String {
    let is_kept = |line: &&str| !line.starts_with('[') && !line.starts_with("Using host lib");
    text.lines().filter(is_kept).map(|line| without_addresses(line) + "\n").collect()
}

fn without_addresses(line: &str) -> String {
    let word = |word: &str| word.split_once("0x").map_or(word.to_owned(), |(before, _)| format!("{before}ADDRESS"));
    line.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

fn add_gdb_cases(suite: &mut Suite, program: &Path) {
    let cases: &[(&str, &str, &[&str])] = &[
        ("break", "", &["break fibonacci", "run", "bt", "next", "step", "bt 2", "delete", "finish", "continue"]),
        ("condition", "", &["break fibonacci if n == 1", "run", "bt -1", "up", "info locals", "p n", "kill"]),
        (
            "watch",
            "",
            &["break main", "run", "watch counter", "continue", "continue", "p counter", "delete", "continue"],
        ),
        ("hbreak", "", &["break main", "run", "hbreak fibonacci", "continue", "continue", "info args", "kill"]),
        (
            "call",
            "",
            &["break fibonacci", "run", "delete", "call fibonacci(6)", "p counter = 40", "continue", "p $_exitcode"],
        ),
        (
            "registers",
            "",
            &["break main", "run", "p $cs", "p $rip == (long)main", "p $xmm0.uint128 = 77", "p $xmm0.uint128"],
        ),
        ("syscalls", "", &["catch syscall write", "run", "p $rax", "continue", "p $rax", "delete", "continue"]),
        ("threads", "threads", &["break in_thread", "run", "bt 1", "continue", "p number", "delete", "continue"]),
        (
            "child",
            "fork",
            &["set follow-fork-mode child", "break in_child", "run", "bt", "watch counter", "continue", "continue"],
        ),
        (
            "both",
            "fork",
            &[
                "set detach-on-fork off",
                "set schedule-multiple on",
                "break in_child",
                "run",
                "bt",
                "kill inferiors 1 2",
            ],
        ),
        (
            "signal",
            "signal",
            &["handle SIGUSR1 stop print", "run", "p $_siginfo.si_signo", "stepi", "bt 1", "continue"],
        ),
        ("crash", "crash", &["run", "bt", "p $_siginfo._sifields._sigfault.si_addr", "kill"]),
    ];
    for (name, argument, commands) in cases {
        suite.add(gdb(&format!("gdb-{name}"), program, argument, commands));
    }
}

/// A file per process: in one for all, a call is in one line or in two, as the processes come to run.
const STRACE: &str = "rm -f /tmp/strace.out.*; strace -ff -o /tmp/strace.out -e trace=execve,write,exit_group -e signal=none \
    sh -c 'echo begin; /bin/true; (exit 3); echo $?'; echo end $?; cat /tmp/strace.out.* | \
    sed 's/0x[0-9a-f]*/P/g; s/[0-9]* vars/vars/' | sort";

const STRACE_ATTACHED: &str =
    "(sleep 0.5; echo out; exit 3) & strace -q -e trace=write,exit_group -e signal=none -p $! 2>&1";

const ATTACHED: &str = "$D wait & P=$!; sleep 0.3; \
    timeout -k 2 60 gdb -nx -q -batch -ex 'bt -1' -ex 'p counter' -ex 'p counter=1' -ex detach -p $P 2>/dev/null | grep '^.[0-9] ='; \
    wait $P; echo end $?";

const LTRACE: &str = "ltrace -e strcmp+printf $D fork 2>&1 >/dev/null | grep -v SIGCHLD";

#[test]
fn debuggers() {
    let flags = ["-g", "-O0", "-pthread"];
    let program = gcc("debuggee.c", "debuggee", &flags).unwrap_or_else(|error| panic!("{error:#}"));
    let mut suite = Suite::new("debuggers", &["--cpus", "2", "--memory", "512M"]);
    let path = program.display().to_string();
    for (name, line) in
        [("strace", STRACE), ("strace-attached", STRACE_ATTACHED), ("gdb-attached", ATTACHED), ("ltrace", LTRACE)]
    {
        suite.add(Case::shell(name, line).env("D", &path).seconds(90));
    }
    add_gdb_cases(&mut suite, &program);
    suite.check();
}
