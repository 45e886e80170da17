//! A terminal with a hand on the keyboard: a command that runs at a pty, as a user would run it.
//!
//! The test types and says what has to appear. What a VM prints arrives whenever it does, so nothing here waits for a
//! while and looks then: each step ends when its text is there, or fails when the time is up.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStringExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
use rustix::termios::{self, LocalModes, Winsize};

/// How long a text may take to appear; a machine that builds something else is slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// A command at a terminal of its own.
pub struct Terminal {
    master: File,
    /// Kept open, so that what the command printed last can be read when it has ended.
    slave: File,
    child: Child,
    output: Receiver<Vec<u8>>,
    /// What has appeared and was not looked for yet.
    unseen: String,
    /// All that has appeared.
    seen: String,
}

impl Terminal {
    /// Starts `command` at a terminal of 24 rows and 80 columns.
    pub fn start(command: &[String]) -> Result<Terminal> {
        let master = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?);
        unlockpt(&master)?;
        let path = std::ffi::OsString::from_vec(ptsname(&master, Vec::new())?.into_bytes());
        let slave = OpenOptions::new().read(true).write(true).open(&path).context("opening the slave")?;
        set_size(&slave, 24, 80)?;
        let stream = || slave.try_clone().map(Stdio::from);
        // A session of its own, which the terminal controls.
        let child = Command::new("setsid")
            .arg("--ctty")
            .args(command)
            .env("TERM", "xterm")
            .stdin(stream()?)
            .stdout(stream()?)
            .stderr(stream()?)
            .spawn()
            .context("starting setsid")?;
        let output = collect(master.try_clone()?);
        Ok(Terminal { master, slave, child, output, unseen: String::new(), seen: String::new() })
    }

    /// Types `text`.
    pub fn send(&mut self, text: &str) -> Result<()> {
        self.master.write_all(text.as_bytes()).context("typing")
    }

    /// Waits until `text` appears behind what was waited for before.
    pub fn expect(&mut self, text: &str) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.unseen.find(text) {
                self.unseen.drain(..at + text.len());
                return Ok(());
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) if Instant::now() < deadline => self.note(&bytes),
                _ => bail!("{text:?} does not appear; this does:\n{}", self.seen),
            }
        }
    }

    /// Types a line and waits for its echo, and for what it makes appear.
    pub fn line(&mut self, line: &str, answer: &str) -> Result<()> {
        self.send(&format!("{line}\r"))?;
        self.expect(&format!("{line}\r\n"))?;
        self.expect(answer).with_context(|| format!("after {line:?}"))
    }

    /// Gives the window another size.
    pub fn resize(&self, rows: u16, columns: u16) -> Result<()> {
        set_size(&self.master, rows, columns)
    }

    /// Whether the terminal hands out lines, not keys: whoever runs at it may have changed that.
    pub fn reads_lines(&self) -> Result<bool> {
        Ok(termios::tcgetattr(&self.slave)?.local_modes.contains(LocalModes::ICANON))
    }

    /// Waits until the command has ended; its exit code.
    pub fn end(&mut self) -> Result<Option<i32>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.code());
            }
            if Instant::now() > deadline {
                bail!("the command does not end; this appeared:\n{}", self.seen);
            }
            // Whoever does not read its output keeps it from ending.
            if let Ok(bytes) = self.output.recv_timeout(Duration::from_millis(10)) {
                self.note(&bytes);
            }
        }
    }

    /// All that has appeared so far.
    pub fn screen(&self) -> &str {
        &self.seen
    }

    fn note(&mut self, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes);
        self.unseen.push_str(&text);
        self.seen.push_str(&text);
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // The runner takes its hypervisor with it. Both fail for what has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn set_size(terminal: &File, rows: u16, columns: u16) -> Result<()> {
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(termios::tcsetwinsize(terminal, size)?)
}

/// Reads all that appears, on a thread that ends with the terminal.
fn collect(mut master: File) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = master.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
