//! Carries the guest's consoles: bytes between the host's descriptors and the sockets that QEMU serves.
//!
//! Each stream is one thread that copies until the end of file. Output is complete when QEMU has exited and
//! the threads have been joined: what the guest's device has taken is then in the socket, and the socket is
//! read to its end. Input ends by shutting our writing half down, which the guest sees as end of file.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::mem::ManuallyDrop;
use std::net::Shutdown;
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::session::Event;

const BUFFER_SIZE: usize = 64 << 10;

/// Ctrl-], thrice within a second, ends the VM even if the guest does not listen any more.
const ESCAPE: u8 = 0x1d;

/// Names of the guest's ports (the contract with the kernel).
pub mod port {
    /// The program's standard input.
    pub const STDIN: &str = "org.osv.stdin";
    /// The program's standard output.
    pub const STDOUT: &str = "org.osv.stdout";
    /// The program's standard error.
    pub const STDERR: &str = "org.osv.stderr";
    /// The terminal, where any of the three is one.
    pub const TTY: &str = "org.osv.tty";
    /// Lines between runner and kernel: exit, signals, window size.
    pub const CONTROL: &str = "org.osv.control";
}

/// One of the host's standard descriptors, borrowed for the life of the process.
fn standard(fd: RawFd) -> ManuallyDrop<File> {
    crate::sys::borrowed_file(fd)
}

/// Which of the host's descriptors are terminals, and so which ports the guest gets.
#[derive(Clone, Copy, Debug)]
pub struct Terminals {
    is_terminal: [bool; 3],
}

impl Terminals {
    /// Looks at the three standard descriptors.
    pub fn of_this_process() -> Self {
        Self { is_terminal: [io::stdin().is_terminal(), io::stdout().is_terminal(), io::stderr().is_terminal()] }
    }

    /// The descriptor of the terminal: the one for output if there is one.
    pub fn descriptor(self) -> Option<RawFd> {
        [1, 2, 0].into_iter().find(|&fd| self.is_terminal[fd as usize])
    }

    /// Is standard input a terminal?
    pub fn has_keyboard(self) -> bool {
        self.is_terminal[0]
    }

    /// The ports for the streams that are no terminal, with the host's descriptor of each.
    pub fn streams(self) -> impl Iterator<Item = (&'static str, RawFd)> {
        [(port::STDIN, 0), (port::STDOUT, 1), (port::STDERR, 2)]
            .into_iter()
            .filter(move |&(_, fd)| !self.is_terminal[fd as usize])
    }
}

/// Copies the host's descriptor `fd` to the guest until its end, then tells the guest of the end.
pub fn feed(fd: RawFd, to_guest: UnixStream) {
    thread::spawn(move || {
        let mut buffer = vec![0; BUFFER_SIZE];
        loop {
            match standard(fd).read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
                Ok(n) => {
                    if (&to_guest).write_all(&buffer[..n]).is_err() {
                        break;
                    }
                }
            }
        }
        let _ = to_guest.shutdown(Shutdown::Write);
        // The socket stays open: closing it would cut off what the guest has not read yet.
        loop {
            thread::park();
        }
    });
}

/// Copies the keyboard to the guest, and looks for the escape on the way.
pub fn feed_keyboard(to_guest: UnixStream, events: Sender<Event>) {
    thread::spawn(move || {
        let mut buffer = [0; 256];
        let mut escapes: Vec<Instant> = Vec::new();
        while let Ok(n @ 1..) = standard(0).read(&mut buffer) {
            for &byte in &buffer[..n] {
                if byte == ESCAPE {
                    escapes.push(Instant::now());
                } else {
                    escapes.clear();
                }
            }
            escapes.retain(|pressed| pressed.elapsed() < Duration::from_secs(1));
            if escapes.len() >= 3 {
                let _ = events.send(Event::Escape);
            }
            if (&to_guest).write_all(&buffer[..n]).is_err() {
                return;
            }
        }
    });
}

/// Copies what the guest writes to the host's descriptor `fd`, to the end. If the host's side is closed, the
/// guest's becomes so too.
pub fn drain(from_guest: UnixStream, fd: RawFd) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = vec![0; BUFFER_SIZE];
        loop {
            match (&from_guest).read(&mut buffer) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => return,
                Ok(n) => {
                    if standard(fd).write_all(&buffer[..n]).is_err() {
                        let _ = from_guest.shutdown(Shutdown::Both);
                        return;
                    }
                }
            }
        }
    })
}
