//! Runs one VM from its start to its end: starts QEMU, connects the consoles, forwards signals, and tells how
//! the program in the VM has ended.
//!
//! QEMU lives in a process group of its own, so that the terminal's signals reach only us, and dies with us
//! however we die. The guest says `exit N` or `signal N` on the control port once the devices have taken all
//! its output; the word of the debug-exit device counts only if the control port was silent.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, PipeReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::app;
use crate::console::{self, Terminals, port};
use crate::kernel_log::KernelLog;
use crate::outcome::Outcome;
use crate::qemu::{self, Wiring};
use crate::sys::{self, Child, RawTerminal};
use crate::vm::Vm;

/// Signals that the guest's program gets in our place.
const FORWARDED: [i32; 6] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// So many signals in so short a time mean that the guest does not listen.
const IMPATIENCE: (usize, Duration) = (3, Duration::from_secs(2));

/// So long may the kernel of a VM whose time is over show what it does.
const DUMP_TIME: Duration = Duration::from_secs(3);

/// What the kernel writes to the debug-exit device when it crashes.
const CRASH_CODE: i32 = 0x63;

/// What happens to a running VM.
#[derive(Debug)]
pub enum Event {
    /// The guest said a line on the control port.
    Said(String),
    /// The control port is closed.
    Silent,
    /// We got a signal.
    Signal(i32),
    /// The user pressed the escape key thrice.
    Escape,
    /// QEMU ended.
    Ended(io::Result<ExitStatus>),
}

/// Runs `vm` to its end.
///
/// # Errors
/// When QEMU cannot be found or started.
pub fn run(vm: &Vm) -> io::Result<Outcome> {
    let program = qemu::find().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, crate::install::advice()))?;
    check_memory(vm)?;
    let terminals = Terminals::of_this_process();
    let wires = Wires::new(terminals, vm.is_verbose)?;
    let argv = sys::memory_file(c"osv-argv", &strings(vm.argv.iter().map(|word| word.as_os_str())))?;
    let pairs = vm.env.iter().map(|(name, value)| {
        let mut pair = name.clone();
        pair.push("=");
        pair.push(value);
        pair
    });
    let envp = sys::memory_file(c"osv-envp", &strings(pairs))?;
    let wiring = Wiring::Session {
        log: wires.log.theirs.as_raw_fd(),
        ports: &wires.ports.iter().map(|(name, wire)| (*name, wire.theirs.as_raw_fd())).collect::<Vec<_>>(),
        argv: &sys::fd_path(argv.as_raw_fd()),
        envp: &sys::fd_path(envp.as_raw_fd()),
        monitor: wires.monitor.as_ref().map(|wire| wire.theirs.as_raw_fd()),
    };
    let arguments = qemu::arguments(vm, &wiring);
    if vm.is_verbose {
        eprintln!("{}", qemu::quoted(&program, &arguments));
    }
    if let Some(line) = debugger_line(vm) {
        eprintln!("osv: the VM waits for a debugger: {line}");
    }
    let (events, inbox) = mpsc::channel();
    watch_signals(&events)?;
    let (stderr, their_stderr) = io::pipe()?;
    let child = Child::spawn(&program, &arguments, Some(their_stderr.as_fd()))
        .map_err(|e| io::Error::new(e.kind(), format!("cannot start {}: {e}", program.display())))?;
    drop(their_stderr);
    let complaints = collect(stderr);
    let raw = terminals.has_keyboard().then(|| RawTerminal::enter(0)).flatten();
    let newline = if raw.is_some() { "\r\n" } else { "\n" };
    let log = KernelLog::start(wires.log.ours()?, vm.symbols.clone(), newline);
    let mut control = wires.port(port::CONTROL)?;
    listen(control.try_clone()?, events.clone());
    let monitor = wires.monitor.as_ref().map(Wire::ours).transpose()?;
    let drains = connect(&wires, terminals, raw.is_some(), &events)?;
    drop(wires);
    let pid = child.pid();
    wait(child, events);
    send_window_size(&mut control, terminals);
    let end = Session {
        vm,
        control,
        monitor,
        terminals,
        pid,
        inbox,
        verdict: None,
        is_silent: false,
        was_asked: false,
        impatience: Vec::new(),
    }
    .run();
    for drain in drains {
        let _ = drain.join();
    }
    let crash = log.finish();
    drop(raw);
    let complaints = complaints.join().unwrap_or_default();
    Ok(end.judge(crash, &complaints))
}

/// The line that attaches gdb with the symbols of kernel and program, which lies where `--no-aslr` puts it.
fn debugger_line(vm: &Vm) -> Option<String> {
    const PIE_BASE: &str = "0x555555554000";
    let port = vm.gdb_port?;
    let symbols = vm.symbols.as_ref()?.display().to_string();
    let exe = vm.options.iter().find_map(|option| option.to_str()?.strip_prefix("--exe="));
    let program = exe.map_or_else(String::new, |exe| {
        let is_pie = File::open(exe).is_ok_and(|file| sys::is_relocatable(&file));
        let offset = if is_pie { format!(" -o {PIE_BASE}") } else { String::new() };
        format!(" -ex 'add-symbol-file {exe}{offset}'")
    });
    Some(format!("gdb -ex 'set confirm off' {symbols}{program} -ex 'target remote :{port}' -ex 'hbreak kernel_main'"))
}

/// What a kernel that was cut off when it was loaded could not say.
fn check_memory(vm: &Vm) -> io::Result<()> {
    let size = |path: &PathBuf| fs::metadata(path).map(|file| file.len());
    let loaded = app::memory_end(&File::open(&vm.kernel)?).unwrap_or(0);
    let needed = loaded + vm.initrd.as_ref().map(size).transpose()?.unwrap_or(0);
    if vm.memory.bytes() >= needed {
        return Ok(());
    }
    let message = format!(
        "a VM of {} KiB cannot hold the program, which needs {} KiB to start",
        vm.memory.bytes() >> 10,
        needed >> 10
    );
    Err(io::Error::new(io::ErrorKind::OutOfMemory, message))
}

/// How the event loop ended: what the guest or the clock said, and QEMU's own status.
struct End {
    verdict: Option<Outcome>,
    status: io::Result<ExitStatus>,
}

impl End {
    fn judge(self, crash: Option<String>, complaints: &str) -> Outcome {
        if let Some(reason) = crash {
            return Outcome::Crashed(reason);
        }
        if let Some(verdict) = self.verdict {
            return verdict;
        }
        let code = self.status.as_ref().ok().and_then(|status| status.code());
        match code {
            Some(code) if code & 1 == 1 && code >> 1 == CRASH_CODE => Outcome::Crashed("no message".into()),
            Some(code) if code & 1 == 1 && complaints.is_empty() => {
                Outcome::Exited(u8::try_from(code >> 1).unwrap_or(u8::MAX))
            }
            _ if !complaints.is_empty() => Outcome::Crashed(format!("QEMU says: {}", complaints.trim_end())),
            Some(0) => Outcome::Crashed("the VM ended without saying how the program did".into()),
            Some(code) => Outcome::Crashed(format!("QEMU ended with status {code}")),
            None => Outcome::Crashed("QEMU was killed".into()),
        }
    }
}

/// The event loop's state.
struct Session<'a> {
    vm: &'a Vm,
    control: UnixStream,
    monitor: Option<UnixStream>,
    terminals: Terminals,
    pid: u32,
    inbox: Receiver<Event>,
    verdict: Option<Outcome>,
    is_silent: bool,
    was_asked: bool,
    impatience: Vec<Instant>,
}

impl Session<'_> {
    fn run(mut self) -> End {
        let mut deadline = self.vm.timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let event = match deadline {
                None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(end) => self.inbox.recv_timeout(end.saturating_duration_since(Instant::now())),
            };
            match event {
                Ok(Event::Ended(status)) => {
                    self.hear_the_rest();
                    return End { verdict: self.verdict, status };
                }
                Ok(Event::Said(line)) => self.hear(&line),
                Ok(Event::Silent) => self.is_silent = true,
                Ok(Event::Signal(signal)) => self.on_signal(signal),
                Ok(Event::Escape) => self.kill(Outcome::Signaled(libc::SIGKILL)),
                Err(RecvTimeoutError::Timeout) => {
                    self.verdict.get_or_insert(Outcome::TimedOut);
                    deadline = self.ask_what_it_does();
                    if deadline.is_none() {
                        self.kill(Outcome::TimedOut);
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = Err(io::Error::other("lost sight of QEMU"));
                    return End { verdict: self.verdict, status };
                }
            }
        }
    }

    /// Interrupts the guest, so that its kernel shows what everybody does. Until when that takes; `None` if it was
    /// asked before, or there is nobody to ask.
    fn ask_what_it_does(&mut self) -> Option<Instant> {
        const QUESTION: &str = "{\"execute\":\"qmp_capabilities\"}\n{\"execute\":\"inject-nmi\"}\n";
        if self.was_asked {
            return None;
        }
        self.was_asked = true;
        self.monitor.as_mut()?.write_all(QUESTION.as_bytes()).ok()?;
        Some(Instant::now() + DUMP_TIME)
    }

    /// The control port's last lines may be on their way when QEMU is gone already.
    fn hear_the_rest(&mut self) {
        while !self.is_silent {
            match self.inbox.recv_timeout(Duration::from_secs(1)) {
                Ok(Event::Said(line)) => self.hear(&line),
                Ok(Event::Silent) | Err(_) => self.is_silent = true,
                Ok(_) => {}
            }
        }
    }

    fn hear(&mut self, line: &str) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let verdict = match (word, rest.parse::<i32>()) {
            ("exit", Ok(status)) => Outcome::Exited(status.to_le_bytes()[0]),
            ("signal", Ok(signal @ 1..=64)) => Outcome::Signaled(signal),
            ("crash", _) => Outcome::Crashed(rest.to_owned()),
            _ => return,
        };
        if self.verdict != Some(Outcome::TimedOut) {
            self.verdict = Some(verdict);
        }
    }

    fn on_signal(&mut self, signal: i32) {
        if signal == libc::SIGWINCH {
            send_window_size(&mut self.control, self.terminals);
            return;
        }
        let _ = writeln!(self.control, "signal {signal}");
        let (count, span) = IMPATIENCE;
        self.impatience.push(Instant::now());
        self.impatience.retain(|at| at.elapsed() < span);
        if self.impatience.len() >= count {
            self.kill(Outcome::Signaled(signal));
        }
    }

    fn kill(&mut self, verdict: Outcome) {
        self.verdict.get_or_insert(verdict);
        sys::kill(self.pid);
    }
}

/// A pair of connected sockets: our end, and the one that QEMU inherits.
struct Wire {
    ours: UnixStream,
    theirs: UnixStream,
}

impl Wire {
    fn new() -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        sys::make_inheritable(&theirs)?;
        Ok(Self { ours, theirs })
    }

    fn ours(&self) -> io::Result<UnixStream> {
        self.ours.try_clone()
    }
}

/// All sockets of a VM. Dropped after QEMU has started, so that its ends are closed here.
struct Wires {
    log: Wire,
    ports: Vec<(&'static str, Wire)>,
    monitor: Option<Wire>,
}

impl Wires {
    fn new(terminals: Terminals, has_monitor: bool) -> io::Result<Self> {
        let mut ports = vec![(port::CONTROL, Wire::new()?)];
        for (name, _) in terminals.streams() {
            ports.push((name, Wire::new()?));
        }
        if terminals.descriptor().is_some() {
            ports.push((port::TTY, Wire::new()?));
        }
        let monitor = has_monitor.then(Wire::new).transpose()?;
        Ok(Self { log: Wire::new()?, ports, monitor })
    }

    fn port(&self, name: &str) -> io::Result<UnixStream> {
        let found = self.ports.iter().find(|(port, _)| *port == name);
        found.ok_or_else(|| io::Error::other("no such port"))?.1.ours()
    }
}

/// Starts the threads that carry the program's streams; those that write out are to be joined in the end.
fn connect(
    wires: &Wires,
    terminals: Terminals,
    is_raw: bool,
    events: &Sender<Event>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut drains = Vec::new();
    for (name, fd) in terminals.streams() {
        let ours = wires.port(name)?;
        if name == port::STDIN {
            console::feed(fd, ours);
        } else {
            drains.push(console::drain(ours, fd));
        }
    }
    if let Some(fd) = terminals.descriptor() {
        let ours = wires.port(port::TTY)?;
        drains.push(console::drain(ours.try_clone()?, fd));
        if is_raw {
            console::feed_keyboard(ours, events.clone());
        }
    }
    Ok(drains)
}

fn wait(child: Child, events: Sender<Event>) {
    thread::spawn(move || {
        let _ = events.send(Event::Ended(child.wait()));
    });
}

/// Sends each line of the control port as an event, and one at its end.
fn listen(control: UnixStream, events: Sender<Event>) {
    thread::spawn(move || {
        for line in BufReader::new(control).lines() {
            let Ok(line) = line else { break };
            if events.send(Event::Said(line)).is_err() {
                return;
            }
        }
        let _ = events.send(Event::Silent);
    });
}

fn watch_signals(events: &Sender<Event>) -> io::Result<()> {
    let mut signals = FORWARDED.to_vec();
    signals.push(libc::SIGWINCH);
    let mut stream = sys::signal_stream(&signals)?;
    let events = events.clone();
    thread::spawn(move || {
        let mut byte = [0];
        while stream.read_exact(&mut byte).is_ok() {
            if events.send(Event::Signal(i32::from(byte[0]))).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// QEMU's own complaints, without its mere warnings.
fn collect(stderr: PipeReader) -> JoinHandle<String> {
    thread::spawn(move || {
        let lines = BufReader::new(stderr).lines().map_while(Result::ok);
        let mut text = String::new();
        for line in lines.filter(|line| !line.contains("warning:") && !line.contains("terminating on signal")) {
            text += &line;
            text.push('\n');
        }
        text
    })
}

fn send_window_size(control: &mut UnixStream, terminals: Terminals) {
    if let Some((rows, columns)) = terminals.descriptor().and_then(sys::window_size) {
        let _ = writeln!(control, "winsize {rows} {columns}");
    }
}

/// Strings one behind the other, each ended by a NUL.
fn strings(words: impl Iterator<Item = impl AsRef<OsStr>>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in words {
        bytes.extend_from_slice(word.as_ref().as_bytes());
        bytes.push(0);
    }
    bytes
}
