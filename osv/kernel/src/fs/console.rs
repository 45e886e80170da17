//! The console: the runner's terminal or the serial port as a [`Tty`], and the first program's streams.
//!
//! What is typed is fed to the line discipline by a thread, so that echo may wait and nothing is done in interrupt
//! handlers. Lines from the runner's control port change the window's size and send signals.

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::tty::{self, Transport, Tty, WindowSize};
use super::{
    Caller, FdTable, File, FileType, MAX_FDS, OpenFile, OpenFlags, PathRef, ResolveFlags, Start, Stream, device,
    make_device,
};
use crate::drivers::console::{self, Port};
use crate::errno::{Errno, Result};
use crate::process::session;
use crate::process::signal::Signal;
use crate::sched::{self, CpuMask, NewThread};
use crate::sync::Once;

/// Major number of terminals with a line.
const TERMINALS: u32 = 4;
/// Major number of `/dev/tty` and `/dev/console`.
const ALTERNATES: u32 = 5;
const CONTROLLING: u64 = make_device(ALTERNATES, 0);
const CONSOLE: u64 = make_device(ALTERNATES, 1);
/// The group of the first program.
const FIRST_GROUP: u32 = 1;
/// Longest line of the control port.
const MAX_LINE: usize = 128;

struct Console {
    port: Port,
    tty: Arc<Tty>,
}

static INSTANCE: Once<Console> = Once::new();

/// Makes a terminal of the port that is one, if there is, and listens to the runner. Needs the ports. With `is_serial` the
/// terminal is the serial port in any case.
pub fn init(is_serial: bool) -> Result<()> {
    device::register(FileType::CharDevice, ALTERNATES, open_terminal);
    device::register(FileType::CharDevice, TERMINALS, open_terminal);
    let port = if is_serial { Some(console::serial_port()) } else { console::port(console::TTY) };
    if let Some(port) = port.or(console::unnamed_port()) {
        let tty = Tty::new(CONSOLE, Box::new(PortTransport(port.clone())));
        let instance = INSTANCE.call_once(|| Console { port: port.clone(), tty });
        port.on_change(|| instance.tty.writable());
        start_thread("console", read_terminal)?;
    }
    if console::port(console::CONTROL).is_some() {
        start_thread("control", read_control)?;
    }
    Ok(())
}

fn start_thread(name: &'static str, entry: extern "C" fn(usize) -> !) -> Result<()> {
    sched::spawn(NewThread { name, entry, argument: 0, extension: None, affinity: CpuMask::ALL, nice: 0 }).map(drop)
}

/// The terminal of the console, if it is one.
pub fn terminal() -> Option<Arc<Tty>> {
    INSTANCE.get().map(|console| console.tty.clone())
}

/// Descriptors 0, 1 and 2 of the first program: the runner's ports where they are, else the terminal. With `is_serial` it
/// is the terminal in any case.
pub fn standard_streams(caller: &Caller<'_>, is_serial: bool) -> Result<FdTable> {
    let files = FdTable::new();
    for name in [console::STDIN, console::STDOUT, console::STDERR] {
        let file = match console::port(name).filter(|_| !is_serial) {
            Some(port) => OpenFile::anonymous(Stream::new(port.clone()), OpenFlags::RDWR),
            None => open_console(caller)?,
        };
        files.install(file, false, MAX_FDS as u64)?;
    }
    Ok(files)
}

/// The console by its name, so that programs find out what it is called.
fn open_console(caller: &Caller<'_>) -> Result<Arc<OpenFile>> {
    let flags = OpenFlags::RDWR | OpenFlags::NOCTTY;
    caller.open(Start::Current, b"/dev/console", flags, 0, ResolveFlags::empty())
}

fn open_terminal(number: u64, _place: &PathRef, flags: OpenFlags) -> Result<Arc<dyn File>> {
    let tty = match number {
        CONTROLLING => tty::controlling()?,
        _ => terminal().ok_or(Errno::ENXIO)?,
    };
    if number != CONTROLLING && !flags.contains(OpenFlags::NOCTTY) {
        tty.opened();
    }
    Ok(tty)
}

extern "C" fn read_terminal(_: usize) -> ! {
    if let Some(Console { port, tty }) = INSTANCE.get() {
        read_all(port, |bytes| tty.receive(bytes));
        tty.hang_up();
    }
    sched::exit_thread()
}

extern "C" fn read_control(_: usize) -> ! {
    if let Some(port) = console::port(console::CONTROL) {
        let mut line = [0; MAX_LINE];
        let mut len = 0;
        read_all(port, |bytes| {
            for &byte in bytes {
                if byte == b'\n' {
                    obey(line.get(..len).unwrap_or_default());
                    len = 0;
                } else if let Some(place) = line.get_mut(len) {
                    *place = byte;
                    len += 1;
                }
            }
        });
    }
    sched::exit_thread()
}

/// Hands on what comes from `port`, until the host closes its side.
fn read_all(port: &Port, mut hand_on: impl FnMut(&[u8])) {
    let mut buffer = [0; 256];
    loop {
        port.waiters().wait_until(|| port.can_read().then_some(()));
        match port.read(&mut buffer) {
            Ok(0) => return,
            Ok(count) => hand_on(buffer.get(..count).unwrap_or_default()),
            Err(Errno::EAGAIN) => {}
            Err(_) => return,
        }
    }
}

/// Does what a line from the runner says; what makes no sense is ignored.
fn obey(line: &[u8]) {
    let mut words = line.split(|&byte| byte == b' ');
    let command = words.next().unwrap_or_default();
    let mut number = || core::str::from_utf8(words.next()?).ok()?.parse::<u16>().ok();
    match (command, number(), number()) {
        (b"winsize", Some(rows), Some(columns)) => {
            if let Some(tty) = terminal() {
                tty.set_window_size(WindowSize { rows, columns, width: 0, height: 0 });
            }
        }
        (b"signal", Some(signal), None) => {
            if let Some(signal) = Signal::new(u32::from(signal)) {
                // ESRCH: the first program's group has ended already.
                let _ = session::signal_group(FIRST_GROUP, signal);
            }
        }
        _ => {}
    }
}

/// A port as the far side of a terminal.
struct PortTransport(Port);

impl Transport for PortTransport {
    fn send(&self, bytes: &[u8]) -> Result<usize> {
        self.0.write(bytes)
    }

    fn can_send(&self) -> bool {
        self.0.can_write()
    }

    fn wait_for_room(&self) -> Result<()> {
        self.0.waiters().wait_interruptible(None, || self.0.can_write().then_some(()))
    }

    fn drain(&self) {
        self.0.flush();
    }
}
