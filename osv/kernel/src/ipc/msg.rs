//! Message queues: msgget(2), msgsnd(2), msgrcv(2), msgctl(2).
//!
//! A queue is a list of messages with types, in the order in which they came. Receivers wait in a list: a message goes
//! straight to the one of them that has waited longest and wants its type. Senders wait for room, and look again when
//! there is more.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Header, Object, Permissions, Table, access, current_pid, current_tid, limits, now};
use crate::errno::{Errno, Result};
use crate::process::Credentials;
use crate::sched::WaitQueue;
use crate::sync::SpinLock;

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its type, above 0.
    pub kind: i64,
    /// What it says.
    pub text: Vec<u8>,
}

/// Which message a receiver wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The first.
    Any,
    /// The first of this type.
    Kind(i64),
    /// The first of another type (MSG_EXCEPT).
    Except(i64),
    /// The first of the lowest type that is not above this one.
    UpTo(i64),
    /// The one with this index (MSG_COPY).
    Index(i64),
}

/// What a receiver asks for.
#[derive(Clone, Copy, Debug)]
pub struct Receive {
    /// Which message.
    pub choice: Choice,
    /// The most bytes that it takes.
    pub size: usize,
    /// A longer message is cut (MSG_NOERROR) instead of refused (E2BIG).
    pub cuts: bool,
    /// The message stays in the queue (MSG_COPY).
    pub copies: bool,
    /// It waits if there is none (else ENOMSG).
    pub is_patient: bool,
}

/// A receiver that waits.
struct Receiver {
    wanted: Receive,
    /// The thread: what Linux shows as the last receiver, if it had to wait.
    tid: u32,
    /// EAGAIN to look again.
    outcome: SpinLock<Option<Result<Message>>>,
    queue: WaitQueue,
}

impl Receiver {
    fn finish(&self, outcome: Result<Message>) {
        *self.outcome.lock() = Some(outcome);
        self.queue.wake_all();
    }
}

/// A queue.
pub struct Queue {
    header: Header,
    state: SpinLock<State>,
    senders: WaitQueue,
}

struct State {
    messages: VecDeque<Message>,
    /// Who waits, the longest waiting first. None of them wants any of the messages.
    receivers: Vec<Arc<Receiver>>,
    record: Record,
}

/// What a queue holds, and who has used it when.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record {
    /// When a message was last sent, in seconds.
    pub sent_at: i64,
    /// When one was last received.
    pub received_at: i64,
    /// When the queue was made or changed.
    pub changed_at: i64,
    /// Bytes of all messages.
    pub bytes: u64,
    /// How many messages there are.
    pub messages: u64,
    /// The most bytes of all messages.
    pub max_bytes: u64,
    /// The process that sent last.
    pub last_sender: u32,
    /// The process that received last.
    pub last_receiver: u32,
}

static QUEUES: Table<Queue> = Table::new();

/// The family's table.
pub fn table() -> &'static Table<Queue> {
    &QUEUES
}

/// Messages in all queues, and their bytes.
pub fn totals() -> (u64, u64) {
    let records = QUEUES.all();
    records
        .iter()
        .map(|queue| queue.record())
        .fold((0, 0), |(messages, bytes), record| (messages + record.messages, bytes + record.bytes))
}

/// `msgget`: the id of the queue with `key`, made if need be.
pub fn get(key: i32, wanted: u32, credentials: &Credentials) -> Result<i32> {
    let make = || Ok(Queue::new(key, wanted, credentials));
    QUEUES.get(key, wanted, limits::MSG_IDS.get(), credentials, make, |_| Ok(()))
}

/// `msgsnd`: puts a message into the queue `id`, waiting for room if `is_patient`. The errors are msgsnd(2)'s.
pub fn send(id: i32, message: Message, is_patient: bool, credentials: &Credentials) -> Result<()> {
    let queue = QUEUES.find(id)?;
    let mut message = Some(message);
    let mut attempt = || match queue.try_send(&mut message, credentials) {
        Err(Errno::EAGAIN) if is_patient => None,
        outcome => Some(outcome),
    };
    queue.senders.wait_interruptible(None, &mut attempt).map_err(restart)?
}

/// `msgrcv`: takes a message out of the queue `id`, waiting for one if asked to. The errors are msgrcv(2)'s.
pub fn receive(id: i32, wanted: Receive, credentials: &Credentials) -> Result<Message> {
    let queue = QUEUES.find(id)?;
    let mut message = if wanted.copies { queue.copy(wanted, credentials) } else { queue.take(wanted, credentials) }?;
    message.text.truncate(wanted.size);
    Ok(message)
}

/// A wait goes on after a signal unless a handler ran.
fn restart(errno: Errno) -> Errno {
    if errno == Errno::ERESTARTSYS { Errno::ERESTARTNOHAND } else { errno }
}

impl Queue {
    fn new(key: i32, mode: u32, credentials: &Credentials) -> Arc<Queue> {
        let record = Record { changed_at: now(), max_bytes: limits::MSG_BYTES.get(), ..Record::default() };
        Arc::new(Queue {
            header: Header::new(Permissions::new(key, mode, credentials)),
            state: SpinLock::new(State { messages: VecDeque::new(), receivers: Vec::new(), record }),
            senders: WaitQueue::new(),
        })
    }

    /// What it holds, and who has used it when.
    pub fn record(&self) -> Record {
        self.state.lock().record
    }

    /// EACCES for whom it does not admit, EIDRM if it is gone.
    fn check(&self, credentials: &Credentials, wanted: u32) -> Result<()> {
        self.header.check(credentials, wanted)?;
        if self.header.is_removed() { Err(Errno::EIDRM) } else { Ok(()) }
    }

    /// Takes `message` if there is room (EAGAIN), or hands it to who waits for it.
    fn try_send(&self, message: &mut Option<Message>, credentials: &Credentials) -> Result<()> {
        self.check(credentials, access::WRITE)?;
        let mut state = self.state.lock();
        let size = message.as_ref().map_or(0, |message| message.text.len() as u64);
        let Record { bytes, messages, max_bytes, .. } = state.record;
        if bytes + size > max_bytes || messages + 1 > max_bytes {
            return Err(Errno::EAGAIN);
        }
        state.messages.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let Some(message) = message.take() else { return Ok(()) };
        (state.record.sent_at, state.record.last_sender) = (now(), current_pid());
        if let Some(message) = state.hand_over(message) {
            state.record.bytes += size;
            state.record.messages += 1;
            state.messages.push_back(message);
        }
        Ok(())
    }

    /// A copy of the message that is wanted (ENOMSG), which has to be short enough.
    fn copy(&self, wanted: Receive, credentials: &Credentials) -> Result<Message> {
        // The memory is got before the lock is taken.
        let mut text = Vec::new();
        text.try_reserve_exact(wanted.size.min(limits::MSG_MAX.get() as usize)).map_err(|_| Errno::ENOMEM)?;
        self.check(credentials, access::READ)?;
        let state = self.state.lock();
        let index = find(&state.messages, wanted.choice).ok_or(Errno::ENOMSG)?;
        let found = state.messages.get(index).ok_or(Errno::ENOMSG)?;
        if found.text.len() > wanted.size.min(text.capacity()) {
            // Copies are never cut.
            return Err(if wanted.cuts { Errno::EINVAL } else { Errno::E2BIG });
        }
        text.extend_from_slice(&found.text);
        Ok(Message { kind: found.kind, text })
    }

    /// The message that is wanted, waiting for it if asked to.
    fn take(&self, wanted: Receive, credentials: &Credentials) -> Result<Message> {
        loop {
            match self.try_take(wanted, credentials) {
                Err(Errno::ENOMSG) if wanted.is_patient => {}
                outcome => return outcome,
            }
            let receiver = Arc::new(Receiver {
                wanted,
                tid: current_tid(),
                outcome: SpinLock::new(None),
                queue: WaitQueue::new(),
            });
            match self.wait(&receiver) {
                Err(Errno::EAGAIN) => {}
                outcome => return outcome,
            }
        }
    }

    /// Waits for a message that the receiver wants; EAGAIN if it is to look itself.
    fn wait(&self, receiver: &Arc<Receiver>) -> Result<Message> {
        {
            let mut state = self.state.lock();
            if self.header.is_removed() || find(&state.messages, receiver.wanted.choice).is_some() {
                return Err(Errno::EAGAIN);
            }
            state.receivers.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
            state.receivers.push(Arc::clone(receiver));
        }
        let waited = receiver.queue.wait_interruptible(None, || receiver.outcome.lock().take());
        waited.unwrap_or_else(|errno| {
            self.state.lock().receivers.retain(|other| !Arc::ptr_eq(other, receiver));
            // What arrived in the last moment has arrived.
            let outcome = receiver.outcome.lock().take();
            outcome.unwrap_or(Err(restart(errno)))
        })
    }

    /// The message that is wanted (ENOMSG, E2BIG), taken out of the queue.
    fn try_take(&self, wanted: Receive, credentials: &Credentials) -> Result<Message> {
        self.check(credentials, access::READ)?;
        let message = {
            let mut state = self.state.lock();
            let index = find(&state.messages, wanted.choice).ok_or(Errno::ENOMSG)?;
            if state.messages.get(index).is_some_and(|found| !wanted.fits(found)) {
                return Err(Errno::E2BIG);
            }
            let message = state.messages.remove(index).ok_or(Errno::ENOMSG)?;
            let record = &mut state.record;
            record.bytes -= message.text.len() as u64;
            record.messages -= 1;
            (record.received_at, record.last_receiver) = (now(), current_pid());
            message
        };
        self.senders.wake_all();
        Ok(message)
    }

    /// `IPC_SET`; `max_bytes` beyond the limit has been allowed.
    pub fn set(&self, uid: u32, gid: u32, mode: u32, max_bytes: u64) -> Result<()> {
        self.header.set(uid, gid, mode)?;
        {
            let mut state = self.state.lock();
            state.record.max_bytes = max_bytes;
            state.record.changed_at = now();
        }
        // Some may be refused now, others may have found room.
        self.tell_all();
        Ok(())
    }

    /// `IPC_RMID`: it is gone with its messages, and who waits is told (EIDRM).
    pub fn remove(&self) {
        if QUEUES.remove(self) {
            self.tell_all();
            let messages = core::mem::take(&mut self.state.lock().messages);
            drop(messages);
        }
    }

    /// Lets all who wait look again.
    fn tell_all(&self) {
        self.senders.wake_all();
        let receivers = core::mem::take(&mut self.state.lock().receivers);
        receivers.iter().for_each(|receiver| receiver.finish(Err(Errno::EAGAIN)));
    }
}

impl Receive {
    fn fits(&self, message: &Message) -> bool {
        self.cuts || message.text.len() <= self.size
    }
}

impl State {
    /// Gives `message` to the first who waits for its type, and returns it if nobody does. Who takes less than it is told so.
    fn hand_over(&mut self, message: Message) -> Option<Message> {
        let mut index = 0;
        while let Some(receiver) = self.receivers.get(index) {
            if !receiver.wanted.choice.admits(message.kind) {
                index += 1;
                continue;
            }
            let receiver = self.receivers.remove(index);
            if receiver.wanted.fits(&message) {
                (self.record.received_at, self.record.last_receiver) = (now(), receiver.tid);
                receiver.finish(Ok(message));
                return None;
            }
            receiver.finish(Err(Errno::E2BIG));
        }
        Some(message)
    }
}

impl Choice {
    /// Whether a message of this type would do, were it the only one.
    fn admits(self, kind: i64) -> bool {
        match self {
            Choice::Any => true,
            Choice::Kind(wanted) => kind == wanted,
            Choice::Except(unwanted) => kind != unwanted,
            Choice::UpTo(most) => kind <= most,
            Choice::Index(_) => false,
        }
    }
}

impl Object for Queue {
    fn header(&self) -> &Header {
        &self.header
    }
}

/// The index of the message that `choice` means.
fn find(messages: &VecDeque<Message>, choice: Choice) -> Option<usize> {
    let kinds = || messages.iter().map(|message| message.kind);
    match choice {
        Choice::Any => (!messages.is_empty()).then_some(0),
        Choice::Kind(kind) => kinds().position(|other| other == kind),
        Choice::Except(kind) => kinds().position(|other| other != kind),
        Choice::UpTo(most) => {
            let lowest = kinds().filter(|&kind| kind <= most).min()?;
            kinds().position(|kind| kind == lowest)
        }
        Choice::Index(index) => usize::try_from(index).ok().filter(|&index| index < messages.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(kinds: &[i64]) -> VecDeque<Message> {
        kinds.iter().map(|&kind| Message { kind, text: alloc::vec![kind as u8; kind as usize] }).collect()
    }

    #[test]
    fn messages_are_chosen_by_type() {
        let queue = messages(&[5, 2, 2, 1, 9]);
        let cases = [
            (Choice::Any, Some(0)),
            (Choice::Kind(2), Some(1)),
            (Choice::Kind(3), None),
            (Choice::Except(5), Some(1)),
            (Choice::UpTo(4), Some(3)),
            (Choice::UpTo(0), None),
            (Choice::Index(4), Some(4)),
            (Choice::Index(5), None),
            (Choice::Index(-1), None),
        ];
        for (choice, expected) in cases {
            assert_eq!(find(&queue, choice), expected, "{choice:?}");
        }
        assert_eq!(find(&messages(&[3]), Choice::Except(3)), None);
        assert_eq!(find(&messages(&[]), Choice::Any), None);
    }

    #[test]
    fn long_messages_are_refused_or_cut() {
        let root = Credentials::root();
        let id = get(3001, 0o1600, &root).unwrap();
        send(id, Message { kind: 4, text: b"four".to_vec() }, false, &root).unwrap();
        let wanted = Receive { choice: Choice::Any, size: 2, cuts: false, copies: false, is_patient: false };
        assert_eq!(receive(id, wanted, &root), Err(Errno::E2BIG));
        let copy = Receive { copies: true, choice: Choice::Index(0), ..wanted };
        assert_eq!(receive(id, copy, &root), Err(Errno::E2BIG));
        assert_eq!(receive(id, Receive { cuts: true, ..copy }, &root), Err(Errno::EINVAL));
        assert_eq!(receive(id, Receive { size: 4, ..copy }, &root).unwrap().text, b"four");
        assert_eq!(receive(id, Receive { cuts: true, ..wanted }, &root), Ok(Message { kind: 4, text: b"fo".to_vec() }));
        assert_eq!(receive(id, wanted, &root), Err(Errno::ENOMSG));
        QUEUES.find(id).unwrap().remove();
        assert_eq!(receive(id, wanted, &root), Err(Errno::EINVAL));
    }

    #[test]
    fn a_full_queue_refuses() {
        let root = Credentials::root();
        let id = get(3002, 0o1600, &root).unwrap();
        let queue = QUEUES.find(id).unwrap();
        queue.set(0, 0, 0o600, 10).unwrap();
        let message = |size| Message { kind: 1, text: alloc::vec![0; size] };
        assert_eq!(send(id, message(11), false, &root), Err(Errno::EAGAIN));
        assert_eq!(send(id, message(10), false, &root), Ok(()));
        assert_eq!(send(id, message(0), false, &root), Ok(()));
        assert_eq!((queue.record().bytes, queue.record().messages), (10, 2));
        queue.remove();
    }
}
