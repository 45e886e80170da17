//! The ways to whoever started the VM: named ports of a virtio console, or the serial port where there is none.
//!
//! A [`Port`] never waits by itself: reads and writes say EAGAIN, and whoever wants to wait sleeps on
//! [`Port::waiters`] until [`Port::can_read`] or [`Port::can_write`]. Floors above that have listeners of their own are told
//! by [`Port::on_change`]. Contract with the runner: `org.osv.stdin`, `.stdout`, `.stderr` carry the first program's
//! streams, `.tty` a terminal, `.control` lines (`exit N`, `signal N`, `crash TEXT` to the host; `winsize ROWS COLS`,
//! `signal N` from it). Without a virtio console there is one port, the serial one, without a name.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::drivers::irq::{self, LineMode};
use crate::drivers::virtio::console as virtio;
use crate::drivers::{platform, serial};
use crate::errno::{Errno, Result};
use crate::sched::WaitQueue;
use crate::sync::{IrqOff, Once, SpinLock};

/// The name of the port for standard input.
pub const STDIN: &[u8] = b"org.osv.stdin";
/// The name of the port for standard output.
pub const STDOUT: &[u8] = b"org.osv.stdout";
/// The name of the port for standard error.
pub const STDERR: &[u8] = b"org.osv.stderr";
/// The name of the terminal's port.
pub const TTY: &[u8] = b"org.osv.tty";
/// The name of the port for lines between kernel and runner.
pub const CONTROL: &[u8] = b"org.osv.control";

/// Who wants to hear of a port's changes.
pub(in crate::drivers) struct Listener {
    waiters: WaitQueue,
    callback: Once<Box<dyn Fn() + Send + Sync>>,
    was_greeted: AtomicBool,
}

impl Listener {
    pub(in crate::drivers) const fn new() -> Self {
        Self { waiters: WaitQueue::new(), callback: Once::new(), was_greeted: AtomicBool::new(false) }
    }

    /// Something has changed. May be called from interrupt handlers.
    pub(in crate::drivers) fn tell(&self) {
        self.waiters.wake_all();
        if let Some(callback) = self.callback.get() {
            callback();
        }
    }

    /// Whether this was asked before: each port is greeted once.
    pub(in crate::drivers) fn was_greeted(&self) -> bool {
        self.was_greeted.swap(true, Ordering::Relaxed)
    }
}

/// A way to the host.
#[derive(Clone)]
pub struct Port(Backend);

#[derive(Clone)]
enum Backend {
    Virtio(Arc<virtio::Port>),
    Serial(&'static SerialPort),
}

impl Port {
    /// Its name; empty for the serial port.
    pub fn name(&self) -> &[u8] {
        match &self.0 {
            Backend::Virtio(port) => port.name(),
            Backend::Serial(_) => b"",
        }
    }

    /// Reads what is there: EAGAIN if nothing is, 0 at the end, when the host has closed its side.
    pub fn read(&self, out: &mut [u8]) -> Result<usize> {
        match &self.0 {
            Backend::Virtio(port) => port.read(out),
            Backend::Serial(port) => port.read(out),
        }
    }

    /// Sends what there is room for: EAGAIN if there is none.
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        match &self.0 {
            Backend::Virtio(port) => port.write(bytes),
            Backend::Serial(_) => {
                serial::send(bytes);
                Ok(bytes.len())
            }
        }
    }

    /// Sends all of `bytes`, sleeping for room.
    pub fn write_all(&self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match self.write(bytes) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(Errno::EAGAIN) => self.waiters().wait_until(|| self.can_write().then_some(())),
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    /// Whether a read would return something, the end included.
    pub fn can_read(&self) -> bool {
        match &self.0 {
            Backend::Virtio(port) => port.can_read(),
            Backend::Serial(port) => port.can_read(),
        }
    }

    /// Whether a write would send something.
    pub fn can_write(&self) -> bool {
        match &self.0 {
            Backend::Virtio(port) => port.can_write(),
            Backend::Serial(_) => true,
        }
    }

    /// Whether the host has closed its side and everything that came from it was read.
    pub fn is_eof(&self) -> bool {
        match &self.0 {
            Backend::Virtio(port) => port.is_at_end(),
            Backend::Serial(_) => false,
        }
    }

    /// Sleeps until the host has taken everything that was written.
    pub fn flush(&self) {
        if let Backend::Virtio(port) = &self.0 {
            self.waiters().wait_until(|| port.is_flushed().then_some(()));
        }
    }

    /// Where to wait for a change of what can be read or written.
    pub fn waiters(&self) -> &WaitQueue {
        &self.listener().waiters
    }

    /// Has `callback` called whenever what can be read or written may have changed, perhaps by an interrupt handler. Only
    /// the first callback counts.
    pub fn on_change(&self, callback: impl Fn() + Send + Sync + 'static) {
        self.listener().callback.call_once(|| Box::new(callback));
    }

    fn listener(&self) -> &Listener {
        match &self.0 {
            Backend::Virtio(port) => &port.listener,
            Backend::Serial(port) => &port.listener,
        }
    }
}

static PORTS: Once<Vec<Port>> = Once::new();

/// Starts the virtio console, or the serial port's input where there is none. Needs threads, and the virtio devices found.
pub fn init() {
    PORTS.call_once(|| match virtio::Console::open() {
        Ok(console) if console.ports().next().is_some() => {
            console.ports().map(|port| Port(Backend::Virtio(Arc::clone(port)))).collect()
        }
        _ => {
            // Without an interrupt there is output at least.
            let _ = SERIAL.start();
            alloc::vec![Port(Backend::Serial(&SERIAL))]
        }
    });
}

/// All ports.
pub fn ports() -> &'static [Port] {
    PORTS.get().map_or(&[], Vec::as_slice)
}

/// The port with this name.
pub fn port(name: &[u8]) -> Option<&'static Port> {
    ports().iter().find(|port| port.name() == name)
}

/// The port without a name: the serial one, or a console with a single port.
pub fn unnamed_port() -> Option<&'static Port> {
    port(b"")
}

/// The serial port, which takes input from now on, whatever other ports there are.
pub fn serial_port() -> &'static Port {
    static PORT: Port = Port(Backend::Serial(&SERIAL));
    if !ports().iter().any(|port| matches!(port.0, Backend::Serial(_))) {
        // Without an interrupt there is output at least.
        let _ = SERIAL.start();
    }
    &PORT
}

/// The serial port's input, taken by interrupts.
struct SerialPort {
    received: SpinLock<VecDeque<u8>, IrqOff>,
    listener: Listener,
}

static SERIAL: SerialPort = SerialPort { received: SpinLock::new(VecDeque::new()), listener: Listener::new() };

impl SerialPort {
    const ISA_IRQ: u8 = 4;
    /// Bytes that wait for a reader; what comes when there are so many is lost, as on the wire.
    const RECEIVED_MAX: usize = 4096;

    fn start(&'static self) -> Result<()> {
        self.received.lock().try_reserve(Self::RECEIVED_MAX).map_err(|_| Errno::ENOMEM)?;
        let wiring = platform().isa_irq(Self::ISA_IRQ);
        let mode = LineMode { is_level: wiring.is_level, is_active_low: wiring.is_active_low };
        irq::register_line(wiring.gsi, mode, || self.on_interrupt())?;
        serial::enable_input();
        Ok(())
    }

    fn on_interrupt(&self) {
        let mut received = self.received.lock();
        while let Some(byte) = serial::receive() {
            if received.len() < Self::RECEIVED_MAX {
                received.push_back(byte);
            }
        }
        drop(received);
        self.listener.tell();
    }

    fn read(&self, out: &mut [u8]) -> Result<usize> {
        let mut received = self.received.lock();
        let count = out.len().min(received.len());
        for (slot, byte) in out.iter_mut().zip(received.drain(..count)) {
            *slot = byte;
        }
        if count == 0 && !out.is_empty() { Err(Errno::EAGAIN) } else { Ok(count) }
    }

    fn can_read(&self) -> bool {
        !self.received.lock().is_empty()
    }
}
