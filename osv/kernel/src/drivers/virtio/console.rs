//! Virtio consoles with several named ports.
//!
//! Each port is a pair of queues; a further pair carries control messages, by which the device announces ports, names them and says
//! whether somebody on the host holds their other end. All ports are set up at boot. Input waits in the buffers that
//! the device filled until somebody reads it: a reader that is slow holds the host back, not the kernel's memory. Output is
//! copied into a few buffers of the port and sent at once; a writer sleeps only when all of them are in flight.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use super::queue::Queue;
use super::{Device, Kind, take};
use crate::drivers::clock;
use crate::drivers::console::Listener;
use crate::drivers::dma::{Data, DmaBuffer, Exchange};
use crate::errno::{Errno, Result};
use crate::sync::{IrqOff, Once, SpinLock};

const FEATURE_MULTIPORT: u64 = 1 << 1;
/// Ports that we use: as many as the runner gives, and some.
const PORTS_MAX: usize = 8;
const QUEUE_SIZE: u16 = 8;
const CONTROL_QUEUE_SIZE: u16 = 32;
const CONTROL_RX: u16 = 2;
const CONTROL_TX: u16 = 3;
const INPUT_LEN: usize = 2048;
const OUTPUT_LEN: usize = 4096;
/// Buffers for each direction of a port.
const BUFFERS: usize = 4;
/// A control message with a name.
const CONTROL_LEN: usize = 128;
/// The id that stands for the whole device.
const NO_PORT: u32 = u32::MAX;
/// How long the device may take to introduce its ports.
const SETUP_NS: u64 = 200_000_000;

/// Types of control messages.
mod event {
    pub const DEVICE_READY: u16 = 0;
    pub const PORT_ADD: u16 = 1;
    pub const PORT_READY: u16 = 3;
    pub const CONSOLE_PORT: u16 = 4;
    pub const PORT_OPEN: u16 = 6;
    pub const PORT_NAME: u16 = 7;
}

type Buffer = Exchange<()>;

/// A control message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Control {
    port: u32,
    event: u16,
    value: u16,
}

impl Control {
    const LEN: usize = 8;

    fn encode(self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..4].copy_from_slice(&self.port.to_le_bytes());
        bytes[4..6].copy_from_slice(&self.event.to_le_bytes());
        bytes[6..].copy_from_slice(&self.value.to_le_bytes());
        bytes
    }

    /// The message at the start of `bytes`, and what follows it.
    fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let ([p0, p1, p2, p3, e0, e1, v0, v1], rest) = bytes.split_first_chunk()?;
        let control = Self {
            port: u32::from_le_bytes([*p0, *p1, *p2, *p3]),
            event: u16::from_le_bytes([*e0, *e1]),
            value: u16::from_le_bytes([*v0, *v1]),
        };
        Some((control, rest))
    }
}

/// What the device has filled and nobody has read.
struct Input {
    queue: Queue<Buffer>,
    filled: VecDeque<(Buffer, usize)>,
    /// Bytes of the first buffer that were read.
    taken: usize,
    is_started: bool,
}

/// What is on its way to the device.
struct Output {
    queue: Queue<Buffer>,
    free: Vec<Buffer>,
}

/// A port.
pub struct Port {
    device: Device,
    index: u16,
    name: Once<Vec<u8>>,
    is_added: AtomicBool,
    /// Somebody on the host holds the other end.
    is_open: AtomicBool,
    input: SpinLock<Input, IrqOff>,
    output: SpinLock<Output, IrqOff>,
    pub(in crate::drivers) listener: Listener,
}

impl Port {
    const fn rx(index: usize) -> u16 {
        if index == 0 { 0 } else { 2 + 2 * index as u16 }
    }

    fn new(device: &mut Device, index: usize) -> Result<Self> {
        let rx = Self::rx(index);
        let input = Input {
            queue: device.new_queue(rx, QUEUE_SIZE)?,
            filled: VecDeque::with_capacity(BUFFERS),
            taken: 0,
            is_started: false,
        };
        let output = Output { queue: device.new_queue(rx + 1, QUEUE_SIZE)?, free: Vec::with_capacity(BUFFERS) };
        Ok(Self {
            device: *device,
            index: index as u16,
            name: Once::new(),
            is_added: AtomicBool::new(false),
            is_open: AtomicBool::new(false),
            input: SpinLock::new(input),
            output: SpinLock::new(output),
            listener: Listener::new(),
        })
    }

    /// The name that the host gave it, if it did.
    pub fn name(&self) -> &[u8] {
        self.name.get().map_or(&[], Vec::as_slice)
    }

    fn rx_queue(&self) -> u16 {
        Self::rx(usize::from(self.index))
    }

    /// Hands the device buffers to fill; once, by the first who wants input.
    fn start_input(&self) -> Result<()> {
        if self.input.lock().is_started {
            return Ok(());
        }
        let mut buffers = Vec::with_capacity(BUFFERS);
        for _ in 0..BUFFERS {
            buffers.push(input_buffer(INPUT_LEN)?);
        }
        let mut input = self.input.lock();
        if core::mem::replace(&mut input.is_started, true) {
            return Ok(());
        }
        for buffer in buffers {
            input.queue.push(buffer).map_err(|(errno, _)| errno)?;
        }
        if input.queue.needs_notify() {
            self.device.notify(self.rx_queue());
        }
        Ok(())
    }

    /// Reads what is there: EAGAIN if nothing is, 0 if nothing will ever come.
    pub fn read(&self, out: &mut [u8]) -> Result<usize> {
        self.start_input()?;
        let is_open = self.is_open.load(Ordering::Acquire);
        let mut input = self.input.lock();
        input.collect();
        let count = input.take(out);
        if input.queue.needs_notify() {
            self.device.notify(self.rx_queue());
        }
        match count {
            0 if input.queue.is_broken() => Err(Errno::EIO),
            0 if is_open && !out.is_empty() => Err(Errno::EAGAIN),
            count => Ok(count),
        }
    }

    /// Whether a read would return something, the end included.
    pub fn can_read(&self) -> bool {
        if self.start_input().is_err() || !self.is_open.load(Ordering::Acquire) {
            return true;
        }
        let mut input = self.input.lock();
        input.collect();
        !input.filled.is_empty() || input.queue.is_broken()
    }

    /// Whether the host's end is closed and everything that came from it was read.
    pub fn is_at_end(&self) -> bool {
        let is_open = self.is_open.load(Ordering::Acquire);
        let mut input = self.input.lock();
        input.collect();
        !is_open && input.filled.is_empty()
    }

    /// Sends as much of `bytes` as there is room for: EAGAIN if there is none.
    pub fn write(&self, bytes: &[u8]) -> Result<usize> {
        let mut output = self.output.lock();
        let mut sent = 0;
        while let Some(chunk) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            output.collect();
            let Some(mut buffer) = output.spare()? else {
                // Whoever is told EAGAIN sleeps until there is room, so the device has to say when that is.
                if sent == 0 && output.queue.enable_interrupt() {
                    continue;
                }
                break;
            };
            let len = buffer.buffer.store(0, chunk.get(..chunk.len().min(OUTPUT_LEN)).unwrap_or_default());
            buffer.request_len = len as u32;
            if let Err((errno, buffer)) = output.queue.push(buffer) {
                output.free.push(buffer);
                return Err(errno);
            }
            sent += len;
        }
        if output.queue.needs_notify() {
            self.device.notify(self.rx_queue() + 1);
        }
        match sent {
            0 if output.queue.is_broken() => Err(Errno::EIO),
            0 if !bytes.is_empty() => Err(Errno::EAGAIN),
            sent => Ok(sent),
        }
    }

    /// Whether a write would send something. If not, an interrupt will tell when it would.
    pub fn can_write(&self) -> bool {
        let mut output = self.output.lock();
        loop {
            output.collect();
            if output.has_room() || output.queue.is_broken() {
                return true;
            }
            if !output.queue.enable_interrupt() {
                return false;
            }
        }
    }

    /// Whether the host has taken everything that was written. If not, an interrupt will tell when it has taken more.
    pub fn is_flushed(&self) -> bool {
        let mut output = self.output.lock();
        loop {
            output.collect();
            if output.queue.free() == output.queue.size() || output.queue.is_broken() {
                return true;
            }
            if !output.queue.enable_interrupt() {
                return false;
            }
        }
    }

    fn set_open(&self, is_open: bool) {
        self.is_open.store(is_open, Ordering::Release);
        self.listener.tell();
    }

    /// Something has happened to one of the queues.
    fn on_interrupt(&self) {
        let mut input = self.input.lock();
        if input.is_started {
            input.collect();
        }
        drop(input);
        self.listener.tell();
    }
}

impl Input {
    /// Takes over what the device has filled, and asks for an interrupt when there is more.
    fn collect(&mut self) {
        loop {
            while let Some((buffer, len)) = self.queue.pop() {
                if len != 0 {
                    self.filled.push_back((buffer, len as usize));
                } else if let Err((_, buffer)) = self.queue.push(buffer) {
                    drop(buffer);
                }
            }
            if !self.queue.enable_interrupt() {
                return;
            }
        }
    }

    /// Copies out what fits, and gives emptied buffers back to the device.
    fn take(&mut self, out: &mut [u8]) -> usize {
        let mut count = 0;
        while let Some((buffer, len)) = self.filled.front() {
            let room = out.get_mut(count..).unwrap_or_default();
            let part = room.len().min(len.saturating_sub(self.taken));
            let copied = buffer.buffer.load(self.taken, room.get_mut(..part).unwrap_or_default());
            count += copied;
            self.taken += copied;
            if self.taken < *len {
                break;
            }
            self.taken = 0;
            if let Some((buffer, _)) = self.filled.pop_front()
                && let Err((_, buffer)) = self.queue.push(buffer)
            {
                drop(buffer);
            }
        }
        count
    }
}

impl Output {
    /// Takes back what the device has read.
    fn collect(&mut self) {
        while let Some((buffer, _)) = self.queue.pop() {
            self.free.push(buffer);
        }
    }

    fn in_flight(&self) -> usize {
        usize::from(self.queue.size() - self.queue.free())
    }

    fn has_room(&self) -> bool {
        self.in_flight() < BUFFERS && self.queue.free() > 0
    }

    /// A buffer to fill: one that came back, or a new one as long as there are few.
    fn spare(&mut self) -> Result<Option<Buffer>> {
        if !self.has_room() {
            return Ok(None);
        }
        match self.free.pop() {
            Some(buffer) => Ok(Some(buffer)),
            None => output_buffer(OUTPUT_LEN).map(Some),
        }
    }
}

fn input_buffer(len: usize) -> Result<Buffer> {
    let buffer = DmaBuffer::new(len)?;
    Ok(Exchange {
        buffer,
        request_len: 0,
        reply_at: 0,
        reply_len: len as u32,
        trailer_len: 0,
        data: Data::None,
        tag: (),
    })
}

fn output_buffer(len: usize) -> Result<Buffer> {
    let buffer = DmaBuffer::new(len)?;
    Ok(Exchange { buffer, request_len: 0, reply_at: 0, reply_len: 0, trailer_len: 0, data: Data::None, tag: () })
}

/// The pair of queues for control messages.
struct ControlQueues {
    rx: Queue<Buffer>,
    tx: Queue<Buffer>,
}

/// A console.
pub struct Console {
    device: Device,
    ports: Vec<Arc<Port>>,
    /// `None` for a console with a single port, which has no name.
    control: Option<SpinLock<ControlQueues, IrqOff>>,
}

impl Console {
    /// Starts the machine's console and waits until its ports have introduced themselves. ENODEV if there is none.
    pub fn open() -> Result<Arc<Self>> {
        let mut device = take(Kind::Console).ok_or(Errno::ENODEV)?;
        device.negotiate(FEATURE_MULTIPORT)?;
        let is_multiport = device.has(FEATURE_MULTIPORT);
        let announced = if is_multiport { u32::from_le_bytes(device.config(4)) as usize } else { 1 };
        let count = announced.clamp(1, PORTS_MAX);
        let mut ports = Vec::with_capacity(count);
        let control = is_multiport.then(|| ControlQueues::new(&mut device)).transpose()?;
        for index in 0..count {
            ports.push(Port::new(&mut device, index)?);
        }
        // The device's registers are known only now that all queues have been made.
        let ports: Vec<_> = ports.into_iter().map(|port| Arc::new(Port { device, ..port })).collect();
        let console = Arc::new(Self { device, ports, control: control.map(SpinLock::new) });
        console.start()?;
        Ok(console)
    }

    /// The ports that exist.
    pub fn ports(&self) -> impl Iterator<Item = &Arc<Port>> {
        self.ports.iter().filter(|port| port.is_added.load(Ordering::Acquire))
    }

    fn start(self: &Arc<Self>) -> Result<()> {
        let mut queues = Vec::new();
        for port in &self.ports {
            let (input, output) = (port.input.lock(), port.output.lock());
            queues.push((port.rx_queue(), input.queue.size(), input.queue.layout()));
            queues.push((port.rx_queue() + 1, output.queue.size(), output.queue.layout()));
        }
        if let Some(control) = &self.control {
            let control = control.lock();
            queues.push((CONTROL_RX, control.rx.size(), control.rx.layout()));
            queues.push((CONTROL_TX, control.tx.size(), control.tx.layout()));
        }
        let handler = Arc::clone(self);
        self.device.start(&queues, Box::new(move || handler.on_interrupt()))?;
        match (&self.control, self.ports.first()) {
            (Some(control), _) => self.introduce(control),
            (None, Some(port)) => {
                port.is_added.store(true, Ordering::Release);
                port.set_open(true);
                Ok(())
            }
            (None, None) => Err(Errno::ENODEV),
        }
    }

    /// Asks the device for its ports, and waits until each has said its name.
    fn introduce(&self, control: &SpinLock<ControlQueues, IrqOff>) -> Result<()> {
        control.lock().offer_buffers(&self.device)?;
        self.send_control(Control { port: NO_PORT, event: event::DEVICE_READY, value: 1 })?;
        let deadline = clock::monotonic_ns() + SETUP_NS;
        loop {
            for port in &self.ports {
                if port.is_added.load(Ordering::Acquire) && !port.listener.was_greeted() {
                    let id = u32::from(port.index);
                    self.send_control(Control { port: id, event: event::PORT_READY, value: 1 })?;
                    self.send_control(Control { port: id, event: event::PORT_OPEN, value: 1 })?;
                }
            }
            self.on_control();
            let mut added = self.ports().peekable();
            let is_complete = added.peek().is_some() && added.all(|port| port.name.is_completed());
            if is_complete || clock::monotonic_ns() > deadline {
                return Ok(());
            }
            core::hint::spin_loop();
        }
    }

    fn send_control(&self, message: Control) -> Result<()> {
        let buffer = output_buffer(Control::LEN)?;
        buffer.buffer.store(0, &message.encode());
        let mut control = self.control.as_ref().ok_or(Errno::ENODEV)?.lock();
        while control.tx.pop().is_some() {}
        let buffer = Exchange { request_len: Control::LEN as u32, ..buffer };
        control.tx.push(buffer).map_err(|(errno, _)| errno)?;
        if control.tx.needs_notify() {
            self.device.notify(CONTROL_TX);
        }
        Ok(())
    }

    /// Takes the device's control messages.
    fn on_control(&self) {
        let Some(control) = &self.control else { return };
        let mut bytes = [0; CONTROL_LEN];
        while let Some(len) = control.lock().receive(&self.device, &mut bytes) {
            if let Some((message, rest)) = Control::decode(bytes.get(..len).unwrap_or_default()) {
                self.handle_control(message, rest);
            }
        }
    }

    fn handle_control(&self, message: Control, rest: &[u8]) {
        let index = usize::try_from(message.port).unwrap_or(usize::MAX);
        let Some(port) = self.ports.get(index) else { return };
        match message.event {
            event::PORT_ADD => port.is_added.store(true, Ordering::Release),
            event::PORT_OPEN => port.set_open(message.value != 0),
            event::CONSOLE_PORT => {
                port.name.call_once(Vec::new);
            }
            event::PORT_NAME => {
                let name = rest.split(|byte| *byte == 0).next().unwrap_or_default();
                port.name.call_once(|| name.to_vec());
            }
            _ => {}
        }
    }

    fn on_interrupt(&self) {
        self.on_control();
        self.ports().for_each(|port| port.on_interrupt());
    }
}

impl ControlQueues {
    fn new(device: &mut Device) -> Result<Self> {
        Ok(Self {
            rx: device.new_queue(CONTROL_RX, CONTROL_QUEUE_SIZE)?,
            tx: device.new_queue(CONTROL_TX, CONTROL_QUEUE_SIZE)?,
        })
    }

    /// Gives the device buffers for its messages.
    fn offer_buffers(&mut self, device: &Device) -> Result<()> {
        for _ in 0..self.rx.size() {
            self.rx.push(input_buffer(CONTROL_LEN)?).map_err(|(errno, _)| errno)?;
        }
        self.rx.enable_interrupt();
        if self.rx.needs_notify() {
            device.notify(CONTROL_RX);
        }
        Ok(())
    }

    /// The next message's bytes; its buffer goes back to the device.
    fn receive(&mut self, device: &Device, bytes: &mut [u8; CONTROL_LEN]) -> Option<usize> {
        loop {
            let Some((buffer, len)) = self.rx.pop() else {
                if self.rx.enable_interrupt() {
                    continue;
                }
                return None;
            };
            let len = (len as usize).min(CONTROL_LEN);
            buffer.buffer.load(0, bytes);
            if self.rx.push(buffer).is_ok() && self.rx.needs_notify() {
                device.notify(CONTROL_RX);
            }
            return Some(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_round_trip() {
        let message = Control { port: 5, event: event::PORT_OPEN, value: 1 };
        let mut bytes = message.encode().to_vec();
        bytes.extend(b"name");
        assert_eq!(Control::decode(&bytes), Some((message, &b"name"[..])));
        assert_eq!(Control::decode(&bytes[..7]), None);
    }

    #[test]
    fn ports_have_their_queues_where_the_specification_says() {
        assert_eq!([0, 1, 2, 7].map(Port::rx), [0, 4, 6, 16]);
    }
}
