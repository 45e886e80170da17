//! Waiting for several files once: what poll and select have in common.
//!
//! The first look costs no allocation and often suffices. Only a thread that has to wait attaches one observer,
//! shared by all its files, and looks again each time that it rings. Source: poll(2), select(2).

use alloc::sync::Arc;
use core::sync::atomic::{AtomicBool, Ordering};

use super::{Observer, PollEvents, Watch};
use crate::errno::{Errno, Result};
use crate::fs::OpenFile;
use crate::sched::{Deadline, WaitQueue};

/// One file to wait for.
pub struct PollEntry {
    /// The file; an entry without one never becomes ready.
    pub file: Option<Arc<OpenFile>>,
    /// What to wait for, errors and hang-ups being added.
    pub interest: PollEvents,
    /// What came true.
    pub events: PollEvents,
}

impl PollEntry {
    /// An entry of which nothing is known yet.
    pub fn new(file: Option<Arc<OpenFile>>, interest: PollEvents) -> PollEntry {
        PollEntry { file, interest, events: PollEvents::empty() }
    }

    fn update(&mut self) -> bool {
        if let Some(file) = &self.file {
            self.events = file.readiness() & (self.interest | PollEvents::ALWAYS);
        }
        !self.events.is_empty()
    }
}

/// The bell of one waiting thread.
#[derive(Default)]
struct Bell {
    has_rung: AtomicBool,
    queue: WaitQueue,
}

impl Observer for Bell {
    fn on_event(&self, _events: PollEvents) -> bool {
        self.has_rung.store(true, Ordering::SeqCst);
        self.queue.wake_one()
    }
}

/// Attachments of one bell; detaches them when dropped.
struct Attachments<'a> {
    bell: Arc<dyn Observer>,
    entries: &'a mut [PollEntry],
    attached: usize,
}

impl<'a> Attachments<'a> {
    fn attach(bell: Arc<Bell>, entries: &'a mut [PollEntry]) -> Result<Self> {
        let mut attachments = Attachments { bell, entries, attached: 0 };
        for entry in attachments.entries.iter() {
            if let Some(pollee) = entry.file.as_ref().and_then(|file| file.pollee()) {
                let watch = Watch { interest: entry.interest, is_exclusive: false, owner: 0 };
                pollee.attach(attachments.bell.clone(), watch)?;
            }
            attachments.attached += 1;
        }
        Ok(attachments)
    }
}

impl Drop for Attachments<'_> {
    fn drop(&mut self) {
        for entry in &self.entries[..self.attached] {
            if let Some(pollee) = entry.file.as_ref().and_then(|file| file.pollee()) {
                pollee.detach(&self.bell);
            }
        }
    }
}

/// Waits until at least one entry has events, or until `deadline` (`None`: for ever). How many entries have; 0 when the
/// time is over, ERESTARTNOHAND when a signal came first.
pub fn poll_files(entries: &mut [PollEntry], deadline: Option<Deadline>) -> Result<usize> {
    let count = update_all(entries);
    if count > 0 || deadline.is_some_and(Deadline::has_passed) {
        return Ok(count);
    }
    let bell = Arc::new(Bell::default());
    let attachments = Attachments::attach(bell.clone(), entries)?;
    loop {
        let count = update_all(attachments.entries);
        if count > 0 {
            return Ok(count);
        }
        match bell.queue.wait_interruptible(deadline, || bell.has_rung.swap(false, Ordering::SeqCst).then_some(())) {
            Ok(()) => {}
            Err(Errno::ETIMEDOUT) => return Ok(update_all(attachments.entries)),
            Err(_) => return Err(Errno::ERESTARTNOHAND),
        }
    }
}

fn update_all(entries: &mut [PollEntry]) -> usize {
    entries.iter_mut().filter_map(|entry| entry.update().then_some(())).count()
}
