//! Stands in for the kernel's scheduler: a thread of shuttle's that parks where a kernel thread would block.

#[path = "../../../osv/kernel/src/sched/futex.rs"]
#[allow(dead_code, missing_docs)]
pub mod futex;
#[path = "../../../osv/kernel/src/sched/list.rs"]
#[allow(dead_code, missing_docs)]
mod list;
#[path = "../../../osv/kernel/src/sched/mutex.rs"]
#[allow(dead_code, missing_docs)]
mod mutex;
#[path = "../../../osv/kernel/src/sched/rwlock.rs"]
#[allow(dead_code, missing_docs)]
mod rwlock;
#[path = "../../../osv/kernel/src/sched/wait.rs"]
#[allow(dead_code, missing_docs)]
mod wait;

use std::sync::Arc;

pub use mutex::Mutex;
pub use rwlock::RwLock;
pub use wait::WaitQueue;

use crate::sync::atomic::{AtomicBool, Ordering};

/// What the code under test wants of a thread.
pub struct Thread {
    handle: shuttle::thread::Thread,
    is_blocked: AtomicBool,
    has_signal: AtomicBool,
}

shuttle::thread_local! {
    static CURRENT: Arc<Thread> = Arc::new(Thread {
        handle: shuttle::thread::current(),
        is_blocked: AtomicBool::new(false),
        has_signal: AtomicBool::new(false),
    });
}

/// The thread that asks; its thread-local keeps it alive for as long as it runs.
pub fn current() -> Arc<Thread> {
    CURRENT.with(Arc::clone)
}

/// Parks until somebody takes the announcement to block back.
pub fn schedule() {
    while current().is_blocked.load(Ordering::SeqCst) {
        shuttle::thread::park();
    }
}

impl Thread {
    /// Ends its block, if it has announced one.
    pub fn wake(&self) -> bool {
        let was_blocked = self.is_blocked.swap(false, Ordering::SeqCst);
        if was_blocked {
            self.handle.unpark();
        }
        was_blocked
    }

    /// Tells it of a signal.
    pub fn interrupt(&self) {
        self.has_signal.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether it was told of a signal.
    pub fn has_signal(&self) -> bool {
        self.has_signal.load(Ordering::SeqCst)
    }

    fn prepare_to_block(&self) {
        self.is_blocked.store(true, Ordering::SeqCst);
    }

    fn stay_runnable(&self) {
        self.is_blocked.store(false, Ordering::SeqCst);
    }

    fn alarm(&self, _deadline: Deadline) {}
}

/// A moment that is over, or none: time does not pass here.
#[derive(Clone, Copy)]
pub struct Deadline;

impl Deadline {
    /// A moment that is over.
    pub const PAST: Deadline = Deadline;

    /// Always: what has no end has no deadline.
    pub fn has_passed(self) -> bool {
        true
    }
}

/// A running thread.
pub struct JoinHandle<T> {
    handle: shuttle::thread::JoinHandle<T>,
    thread: Arc<Thread>,
}

impl<T> JoinHandle<T> {
    /// The thread.
    pub fn thread(&self) -> &Thread {
        &self.thread
    }

    /// Waits for its end.
    pub fn join(self) -> std::thread::Result<T> {
        self.handle.join()
    }
}

/// Starts a thread.
pub fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let (sender, receiver) = shuttle::sync::mpsc::channel();
    let handle = shuttle::thread::spawn(move || {
        sender.send(current()).unwrap();
        body()
    });
    JoinHandle { handle, thread: receiver.recv().unwrap() }
}
