//! Programs that need a terminal, used as a user uses them: `osv run` at a pty, keys typed, what appears looked at.

use anyhow::{Result, ensure};
use osv_tests::{Terminal, osv};

/// Prompt of the shells here, which no other output has.
const PROMPT: &str = "osv> ";

/// `osv run` of `program` on so many CPUs.
fn start(cpus: u32, program: &[&str]) -> Result<Terminal> {
    let mut command = vec![osv()?.display().to_string()];
    let cpus = cpus.to_string();
    let options = ["run", "--timeout", "170", "--cpus", &cpus, "--env", "PS1=osv> ", "--env", "HISTFILE="];
    command.extend(options.iter().chain(&["--"]).chain(program).map(|&word| word.to_owned()));
    Terminal::start(&command)
}

fn shell(cpus: u32) -> Result<Terminal> {
    let mut terminal = start(cpus, &["bash", "--noprofile", "--norc", "--noediting", "-i"])?;
    terminal.expect(PROMPT)?;
    Ok(terminal)
}

/// Has a shell run a line, to its next prompt.
fn run(terminal: &mut Terminal, line: &str, answer: &str) -> Result<()> {
    terminal.line(line, answer)?;
    terminal.expect(PROMPT)
}

#[test]
fn a_shell_controls_its_jobs() -> Result<()> {
    for cpus in [1, 2, 4] {
        let mut terminal = shell(cpus)?;
        ensure!(!terminal.reads_lines()?, "the host's terminal is raw while the VM runs");
        control_jobs(&mut terminal)?;
        terminal.send("exit 7\r")?;
        ensure!(terminal.end()? == Some(7), "with {cpus} CPUs:\n{}", terminal.screen());
        ensure!(terminal.reads_lines()?, "the host's terminal is as before");
    }
    Ok(())
}

fn control_jobs(terminal: &mut Terminal) -> Result<()> {
    run(terminal, "tty", "/dev/hvc0\r\n")?;
    run(terminal, "stty size", "24 80\r\n")?;
    run(terminal, "sleep 1000 &", "[1] ")?;
    run(terminal, "jobs", "[1]+  Running                 sleep 1000 &\r\n")?;
    run(terminal, "kill %1; wait %1; echo status $?", "status 143\r\n")?;
    // What the job answers shows that the shell has put it into the foreground.
    terminal.line("cat", "")?;
    terminal.line("first", "first\r\n")?;
    terminal.send("\x1a")?;
    terminal.expect("[1]+  Stopped                 cat\r\n")?;
    terminal.expect(PROMPT)?;
    terminal.line("fg", "cat\r\n")?;
    terminal.line("second", "second\r\n")?;
    terminal.send("\x1a")?;
    terminal.expect("[1]+  Stopped                 cat\r\n")?;
    terminal.expect(PROMPT)?;
    // In the background it wants to read, and is stopped again.
    terminal.line("bg; wait", "[1]+ cat &\r\n")?;
    terminal.expect("Stopped                 cat\r\n")?;
    terminal.expect(PROMPT)?;
    terminal.line("fg", "cat\r\n")?;
    terminal.line("third", "third\r\n")?;
    terminal.send("\x04")?;
    terminal.expect(PROMPT)?;
    terminal.line("cat | cat | tr a-z A-Z", "")?;
    terminal.send("a line\r\x04")?;
    terminal.expect("A LINE\r\n")?;
    terminal.expect(PROMPT)?;
    terminal.line("cat | cat", "")?;
    terminal.line("twice", "twice\r\n")?;
    terminal.send("\x03")?;
    terminal.expect(PROMPT)?;
    run(terminal, "echo status $?", "status 130\r\n")?;
    terminal.line("sh -c 'echo now; exec sleep 1000'", "now\r\n")?;
    terminal.send("\x1c")?;
    terminal.expect("Quit")?;
    terminal.expect(PROMPT)?;
    run(terminal, "echo status $?", "status 131\r\n")?;
    terminal.resize(33, 111)?;
    run(terminal, "until [ \"$(stty size)\" != '24 80' ]; do :; done; stty size", "33 111\r\n")
}

#[test]
fn keys_reach_the_program_and_its_end_the_runner() -> Result<()> {
    let mut terminal = start(2, &["python3", "-c", SIGNALS])?;
    terminal.expect("ready")?;
    for (key, name) in [("\x03", "SIGINT"), ("\x1c", "SIGQUIT"), ("\x1a", "SIGTSTP")] {
        terminal.send(key)?;
        terminal.expect(&format!("got {name}\r\n"))?;
    }
    terminal.resize(10, 20)?;
    terminal.expect("got SIGWINCH 20x10\r\n")?;
    terminal.send("half a line\x7f\x7f\x7f\x7fthing\r")?;
    terminal.expect("read 'half a thing'\r\n")?;
    terminal.send("\x04")?;
    terminal.expect("read ''\r\n")?;
    ensure!(terminal.end()? == Some(5));
    Ok(())
}

/// Says which signals arrive, then what is typed.
const SIGNALS: &str = r#"
import os, signal, sys, time
def tell(number, frame):
    size = os.get_terminal_size() if number == signal.SIGWINCH else None
    names.append(signal.Signals(number).name + (f' {size.columns}x{size.lines}' if size else ''))
names = []
for s in (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGWINCH): signal.signal(s, tell)
assert os.get_terminal_size() == (80, 24) and os.ttyname(0) == os.ttyname(1) == os.ttyname(2)
print('ready', flush=True)
for _ in range(4):
    while not names: time.sleep(.01)
    print('got', names.pop(0), flush=True)
for _ in range(2): print('read', repr(sys.stdin.readline().rstrip()), flush=True)
sys.exit(5)
"#;

#[test]
fn an_editor_and_a_pager_draw() -> Result<()> {
    let mut terminal = shell(2)?;
    terminal.line("busybox vi /tmp/text", "- /tmp/text 1/1 100%")?;
    terminal.send("iwritten in vi")?;
    terminal.expect("written in vi")?;
    terminal.send("\x1b")?;
    terminal.expect("- /tmp/text [Modified]")?;
    terminal.send(":wq\r")?;
    terminal.expect("1L, 14C")?;
    terminal.expect(PROMPT)?;
    run(&mut terminal, "cat /tmp/text", "written in vi\r\n")?;
    terminal.line("seq 1000 | less", "\r\n23\r\n")?;
    terminal.send(" ")?;
    terminal.expect("46\r\n")?;
    terminal.send("/77[7]\r")?;
    terminal.expect("777")?;
    terminal.send("q")?;
    terminal.expect(PROMPT)?;
    terminal.line("top -d 0.5", "load average:")?;
    terminal.expect(" PID USER")?;
    terminal.expect(" bash")?;
    terminal.send("q")?;
    terminal.expect(PROMPT)?;
    run(&mut terminal, "echo all $((40 + 2))", "all 42\r\n")?;
    terminal.send("exit\r")?;
    ensure!(terminal.end()? == Some(0));
    Ok(())
}

/// Shells below others, each with a prompt of its own.
const UPPER: &str = "bash --rcfile /tmp/upper --noediting -i";
const LOWER: &str = "bash --rcfile /tmp/lower --noediting -i";

#[test]
fn terminals_in_the_terminal() -> Result<()> {
    let mut terminal = shell(2)?;
    run(&mut terminal, "script -q -c 'tty; stty size' /dev/null", "/dev/pts/0\r\n24 80\r\n")?;
    run(&mut terminal, "python3 -c 'import pty; pty.spawn([\"tty\"])'", "/dev/pts/0\r\n")?;
    run(&mut terminal, "echo \"PS1='up> '\" > /tmp/upper; echo \"PS1='low> '\" > /tmp/lower", "")?;
    if has("tmux") {
        terminal.line(&format!("tmux -f /dev/null new '{UPPER}' \\; set -g default-command '{LOWER}'"), "up> ")?;
        terminal.send("tty; echo upper $((1 + 1))\r")?;
        terminal.expect("upper 2")?;
        terminal.send("\x02\"")?;
        terminal.expect("low> ")?;
        terminal.send("tty; echo lower $((2 + 2))\r")?;
        terminal.expect("lower 4")?;
        terminal.send("exit\r")?;
        terminal.expect("up> ")?;
        terminal.send("exit\r")?;
        terminal.expect("[exited]")?;
        terminal.expect(PROMPT)?;
    }
    if has("screen") {
        terminal.line(&format!("screen {UPPER}"), "up> ")?;
        terminal.send("tty; echo in $((3 + 3))\r")?;
        terminal.expect("in 6")?;
        terminal.send("exit\r")?;
        terminal.expect("[screen is terminating]")?;
        terminal.expect(PROMPT)?;
    }
    run(&mut terminal, "echo /dev/pts/*", "/dev/pts/ptmx\r\n")?;
    terminal.send("exit\r")?;
    ensure!(terminal.end()? == Some(0));
    Ok(())
}

fn has(program: &str) -> bool {
    ["/usr/bin", "/bin"].iter().any(|directory| std::path::Path::new(directory).join(program).exists())
}
