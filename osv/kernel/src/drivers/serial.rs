//! The first serial port, a 16550 at 0x3f8: where the kernel's log goes.
//!
//! Output is polled, so that it works from the first instruction to the last words of a panic. Each call prints
//! its text whole: the lock keeps lines of different CPUs apart, and interrupts stay off while it is held,
//! because handlers log, too. A panic ignores the lock rather than wait for a CPU that was stopped in the middle
//! of a line.

use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};

use crate::arch;
use crate::sync::{IrqOff, SpinLock};

const BASE: u16 = 0x3f8;
const DATA: u16 = BASE;
const INTERRUPT_ENABLE: u16 = BASE + 1;
const FIFO_CONTROL: u16 = BASE + 2;
const LINE_CONTROL: u16 = BASE + 3;
const MODEM_CONTROL: u16 = BASE + 4;
const LINE_STATUS: u16 = BASE + 5;
const SCRATCH: u16 = BASE + 7;

const TRANSMITTER_EMPTY: u8 = 1 << 5;
/// Bytes that fit into the FIFO once it is empty.
const FIFO_SIZE: usize = 16;
/// Looks at the line status before a port that never gets ready is given up.
const PATIENCE: u32 = 5_000_000;

static PRESENT: AtomicBool = AtomicBool::new(false);
static LAST_WORDS: AtomicBool = AtomicBool::new(false);
static PORT: SpinLock<Port, IrqOff> = SpinLock::new(Port);

fn read(port: u16) -> u8 {
    // SAFETY: a UART's registers touch no memory.
    unsafe { arch::inb(port) }
}

fn write(port: u16, value: u8) {
    // SAFETY: a UART's registers touch no memory.
    unsafe { arch::outb(port, value) };
}

/// Looks for the port and sets it to 115200 baud, 8 data bits, no parity. Without one, output goes nowhere.
pub fn init() {
    write(SCRATCH, 0x5a);
    if read(SCRATCH) != 0x5a {
        return;
    }
    write(INTERRUPT_ENABLE, 0);
    write(LINE_CONTROL, 0x80);
    write(DATA, 1);
    write(INTERRUPT_ENABLE, 0);
    write(LINE_CONTROL, 0x03);
    write(FIFO_CONTROL, 0x07);
    write(MODEM_CONTROL, 0x03);
    PRESENT.store(true, Relaxed);
}

/// The port. It never fails: where nobody takes the bytes, they are dropped.
struct Port;

impl Port {
    /// Sends bytes, a FIFO full at a time.
    fn send(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(FIFO_SIZE) {
            if !(0..PATIENCE).any(|_| read(LINE_STATUS) & TRANSMITTER_EMPTY != 0) {
                PRESENT.store(false, Relaxed);
                return;
            }
            for &byte in chunk {
                write(DATA, byte);
            }
        }
    }
}

impl fmt::Write for Port {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.send(text.as_bytes());
        Ok(())
    }
}

/// Runs `act` on the port: alone, except during last words.
fn with_port(act: impl FnOnce(&mut Port)) {
    if !PRESENT.load(Relaxed) {
        return;
    }
    if LAST_WORDS.load(Relaxed) {
        return act(&mut Port);
    }
    act(&mut PORT.lock());
}

/// Prints text in one piece.
pub fn print(text: fmt::Arguments) {
    // The port itself never fails; a failing `Display` is its author's affair.
    with_port(|port| fmt::Write::write_fmt(port, text).unwrap_or(()));
}

/// Sends bytes as they are.
pub fn send(bytes: &[u8]) {
    with_port(|port| port.send(bytes));
}

/// Lets the port interrupt when bytes arrive.
pub fn enable_input() {
    const RECEIVED: u8 = 1;
    /// Data terminal ready, request to send, and the gate of the interrupt.
    const READY: u8 = 0x0b;
    if PRESENT.load(Relaxed) {
        write(MODEM_CONTROL, READY);
        write(INTERRUPT_ENABLE, RECEIVED);
    }
}

/// The next byte that has arrived.
pub fn receive() -> Option<u8> {
    const DATA_READY: u8 = 1;
    (PRESENT.load(Relaxed) && read(LINE_STATUS) & DATA_READY != 0).then(|| read(DATA))
}

/// From now on nobody waits for the lock: whoever holds it may never go on.
pub fn start_last_words() {
    LAST_WORDS.store(true, Relaxed);
}
