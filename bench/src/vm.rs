//! One run of QEMU: the machine, what it says on its first serial port, and how long it took to say it.
//!
//! A run always ends: the guest stops the machine, or the time-out kills it.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How time is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// QEMU's `-icount shift=0`: a guest nanosecond is an instruction.
    Instructions,
    /// The host's clock.
    Wall,
}

impl fmt::Display for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Clock::Instructions => "instructions",
            Clock::Wall => "wall-clock ns",
        })
    }
}

/// The virtual machine that both guests get.
#[derive(Clone)]
pub struct Machine {
    /// QEMU's machine type.
    pub name: String,
    /// RAM in MiB.
    pub memory_mib: u32,
    /// Virtual CPUs.
    pub cpus: u32,
    /// How time is counted.
    pub clock: Clock,
    /// Whether its root has the programs that some rows run.
    pub has_programs: bool,
}

impl Machine {
    /// How long a run may take.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(if self.has_programs { 1200 } else { 300 })
    }

    /// QEMU with this machine, its first serial port on stdout, and nothing else.
    pub fn qemu(&self) -> Command {
        let mut command = Command::new("qemu-system-x86_64");
        command
            .args(["-M", &self.name, "-accel", "tcg", "-cpu", "max", "-nodefaults", "-display", "none"])
            .args(["-m", &format!("{}M", self.memory_mib), "-smp", &self.cpus.to_string()])
            .args(["-serial", "stdio", "-no-reboot"])
            .args(self.clock_args());
        command
    }

    /// What to add to a QEMU command line to count time this way.
    pub fn clock_args(&self) -> &'static [&'static str] {
        match self.clock {
            Clock::Instructions => &["-icount", "shift=0"],
            Clock::Wall => &[],
        }
    }
}

/// What a guest printed, line by line.
pub struct Output {
    /// Lines, without their ends, each with the time since QEMU was started.
    pub lines: Vec<(Duration, String)>,
}

impl Output {
    /// The value of the line `name value`, and when it was printed.
    pub fn value(&self, name: &str) -> Option<(Duration, &str)> {
        self.lines.iter().find_map(|(at, line)| {
            let (found, value) = line.trim().split_once(' ')?;
            (found == name).then_some((*at, value.trim()))
        })
    }

    /// Whether some line contains `text`.
    pub fn contains(&self, text: &str) -> bool {
        self.lines.iter().any(|(_, line)| line.contains(text))
    }

    /// Everything, as one text.
    pub fn text(&self) -> String {
        self.lines.iter().map(|(_, line)| format!("{line}\n")).collect()
    }
}

/// Kills the child when it goes out of scope, so that no QEMU is left behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // A child that has ended cannot be killed: either way it is gone after `wait`.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs `command` until it ends; fails after `timeout`.
pub fn run(mut command: Command, timeout: Duration) -> Result<Output> {
    let started = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = Running(child.with_context(|| format!("starting {command:?}"))?);
    let (sender, receiver) = mpsc::channel();
    // What a kernel says on the serial line, the runner writes to its stderr.
    read_lines(child.0.stderr.take().context("no stderr")?, started, sender.clone());
    read_lines(child.0.stdout.take().context("no stdout")?, started, sender);
    let mut output = Output { lines: Vec::new() };
    loop {
        match receiver.recv_timeout(timeout.saturating_sub(started.elapsed())) {
            Ok(line) => output.lines.push(line),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(output),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                bail!("no end after {timeout:?} of {command:?}; it said:\n{}", output.text())
            }
        }
    }
}

/// Sends each line with its time, until the stream ends or nobody listens.
fn read_lines(stream: impl Read + Send + 'static, started: Instant, sender: mpsc::Sender<(Duration, String)>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            if sender.send((started.elapsed(), line)).is_err() {
                break;
            }
        }
    });
}

/// What the machine needs before a kernel's first instruction.
pub struct Firmware {
    /// The time-stamp counter at the kernel's entry.
    pub tsc: u64,
    /// Wall time from QEMU's start until the entry's line was printed.
    pub wall: Duration,
}

impl Firmware {
    /// Reads what `programs/entry.S` says, a kernel that does nothing but tell when it was entered. It has to run with
    /// the command line of the kernel that is measured: devices and an initial RAM disk cost the firmware its time.
    pub fn of(output: &Output) -> Result<Firmware> {
        let (wall, tsc) = output.value("entry_tsc").with_context(|| format!("the entry said {:?}", output.text()))?;
        Ok(Firmware { tsc: u64::from_str_radix(tsc, 16)?, wall })
    }
}
