//! The console: the runner's terminal or the serial port as a [`Tty`], and the first program's streams.
//!
//! The terminal is called as on Linux, `/dev/hvc0` behind a virtio console and `/dev/ttyS0` behind the serial port, and
//! `/dev/console` leads to it, too. What is typed is fed to the line discipline by a thread; output goes to the port at
//! once, or when the port's interrupt says that there is room. Lines from the runner's control port change the window's
//! size and send signals.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use super::tty::{self, FarSide, Termios, Tty, WindowSize};
use super::{
    Caller, FdTable, File, FileType, MAX_FDS, OpenFile, OpenFlags, PathRef, ResolveFlags, Start, Stream, devfs, device,
    devpts, make_device,
};
use crate::drivers::console::{self, Port};
use crate::errno::{Errno, Result};
use crate::process::session;
use crate::process::signal::Signal;
use crate::sched::{self, CpuMask, NewThread, WaitQueue};
use crate::sync::Once;

/// Major number of `/dev/tty`, `/dev/console` and `/dev/ptmx`.
const ALTERNATES: u32 = 5;
const CONTROLLING: u64 = make_device(ALTERNATES, 0);
const CONSOLE: u64 = make_device(ALTERNATES, 1);
/// Bytes that go to the port at once.
const CHUNK: usize = 1024;
/// The group of the first program.
const FIRST_GROUP: u32 = 1;
/// Longest line of the control port.
const MAX_LINE: usize = 128;

/// A terminal's driver: its name in `/proc/tty/drivers`, of its nodes, and the numbers of the one that there can be.
struct Driver {
    name: &'static str,
    node: &'static str,
    major: u32,
    minor: u32,
}

const VIRTIO: Driver = Driver { name: "hvc", node: "hvc", major: 229, minor: 0 };
const SERIAL: Driver = Driver { name: "serial", node: "ttyS", major: 4, minor: 64 };

impl Driver {
    const fn device(&self) -> u64 {
        make_device(self.major, self.minor)
    }
}

struct Console {
    port: Port,
    tty: Arc<Tty>,
    side: Arc<PortSide>,
    driver: &'static Driver,
}

static INSTANCE: Once<Console> = Once::new();

/// Makes a terminal of the port that is one, if there is, and listens to the runner. Needs the ports. With `is_serial` the
/// terminal is the serial port in any case.
pub fn init(is_serial: bool) -> Result<()> {
    device::register(FileType::CharDevice, ALTERNATES, open_alternate);
    if let Some((port, driver)) = terminal_port(is_serial) {
        let side = Arc::new(PortSide::new(port.clone()));
        let tty = Tty::new(driver.device(), Termios::default(), Box::new(Arc::clone(&side)));
        let instance = INSTANCE.call_once(|| Console { port: port.clone(), tty, side, driver });
        port.on_change(|| instance.tty.port_changed());
        device::register(FileType::CharDevice, driver.major, open_terminal);
        devfs::add_character_device(format!("{}0", driver.node).as_bytes(), driver.device(), 0o600);
        start_thread("console", read_terminal)?;
    }
    if console::port(console::CONTROL).is_some() {
        start_thread("control", read_control)?;
    }
    Ok(())
}

/// The port that is the terminal, and what drives it.
fn terminal_port(is_serial: bool) -> Option<(Port, &'static Driver)> {
    if is_serial {
        return Some((console::serial_port().clone(), &SERIAL));
    }
    let virtio = console::port(console::TTY).map(|port| (port.clone(), &VIRTIO));
    virtio.or_else(|| console::unnamed_port().map(|port| (port.clone(), &SERIAL)))
}

/// The console's driver, if it is a terminal: the names of driver and nodes, and the numbers.
pub fn driver() -> Option<(&'static str, &'static str, u32, u32)> {
    let Driver { name, node, major, minor } = INSTANCE.get()?.driver;
    Some((name, node, *major, *minor))
}

/// Sleeps until the port has taken all output.
pub fn flush() {
    if let Some(Console { port, tty, side, .. }) = INSTANCE.get() {
        side.pump(tty);
        side.pumped.wait_until(|| side.is_done(tty).then_some(()));
        port.flush();
    }
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
    let path = match driver() {
        Some((_, node, ..)) => format!("/dev/{node}0"),
        None => "/dev/console".into(),
    };
    caller.open(Start::Current, path.as_bytes(), flags, 0, ResolveFlags::empty())
}

fn open_alternate(number: u64, place: &PathRef, flags: OpenFlags) -> Result<Arc<dyn File>> {
    match number {
        CONTROLLING => tty::controlling()?.open(flags | OpenFlags::NOCTTY, false),
        CONSOLE => terminal().ok_or(Errno::ENODEV)?.open(flags, true),
        devpts::PTMX => devpts::open_ptmx(place),
        _ => Err(Errno::ENXIO),
    }
}

fn open_terminal(number: u64, _place: &PathRef, flags: OpenFlags) -> Result<Arc<dyn File>> {
    terminal().filter(|tty| tty.device() == number).ok_or(Errno::ENXIO)?.open(flags, false)
}

extern "C" fn read_terminal(_: usize) -> ! {
    if let Some(Console { port, tty, .. }) = INSTANCE.get() {
        read_all(port, |bytes| {
            tty.accept(bytes);
            port.waiters().wait_until(|| tty.has_room().then_some(()));
        });
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
struct PortSide {
    port: Port,
    /// Somebody moves output to the port.
    is_busy: AtomicBool,
    /// Whoever moves output is to look once more.
    is_wanted: AtomicBool,
    /// Tells that somebody has moved output.
    pumped: WaitQueue,
}

impl PortSide {
    const fn new(port: Port) -> PortSide {
        let (is_busy, is_wanted) = (AtomicBool::new(false), AtomicBool::new(false));
        PortSide { port, is_busy, is_wanted, pumped: WaitQueue::new() }
    }

    /// Whether the port has all output, and nobody holds some of it on its way there.
    fn is_done(&self, tty: &Tty) -> bool {
        !self.is_busy.load(Ordering::SeqCst) && !tty.has_output()
    }

    /// Moves output to the port until that has no room. What is done in an interrupt handler meanwhile is done by whom it
    /// has interrupted.
    fn pump(&self, tty: &Tty) {
        self.is_wanted.store(true, Ordering::SeqCst);
        while self.is_wanted.load(Ordering::SeqCst) && !self.is_busy.swap(true, Ordering::SeqCst) {
            self.is_wanted.store(false, Ordering::SeqCst);
            let mut chunk = [0; CHUNK];
            while self.move_chunk(tty, &mut chunk) {}
            self.is_busy.store(false, Ordering::SeqCst);
            self.pumped.wake_all();
        }
    }

    /// Moves some output. False when there is none left, or no room.
    fn move_chunk(&self, tty: &Tty, chunk: &mut [u8]) -> bool {
        let count = tty.take_output(chunk);
        let bytes = chunk.get(..count).unwrap_or_default();
        let sent = match self.port.write(bytes) {
            Ok(sent) => sent,
            Err(Errno::EAGAIN) => 0,
            // Nobody will ever take it.
            Err(_) => count,
        };
        tty.untake_output(bytes.get(sent..).unwrap_or_default());
        if sent != 0 {
            tty.output_taken();
        }
        sent != 0 && sent == count
    }
}

impl FarSide for Arc<PortSide> {
    fn on_output(&self, tty: &Tty) {
        self.pump(tty);
    }

    fn on_room(&self) {
        self.port.waiters().wake_all();
    }

    fn drain(&self, tty: &Tty) -> Result<()> {
        self.pump(tty);
        self.pumped.wait_interruptible(None, || self.is_done(tty).then_some(()))?;
        self.port.flush();
        Ok(())
    }
}
