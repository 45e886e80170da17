//! The task that runs: what it may do to itself, and nobody else to it.
//!
//! A [`Current`] stays on the thread of its task. This makes it the proof that `sync::OwnerCell` asks for: a task
//! borrows its own descriptors, root and credentials without counting, because only the task itself replaces them.

use alloc::sync::Arc;
use core::any::Any;
use core::ops::Deref;

use super::credentials::Credentials;
use super::structure::Process;
use super::task::Task;
use crate::arch::{Context, are_debug_registers_used};
use crate::fs::{FdTable, FsContext};
use crate::sched::{self, Extension};
use crate::sync::{Borrowed, OwnerCell};

/// The task that asks. Stays on its own thread.
#[derive(Clone, Copy)]
pub struct Current {
    task: &'static Task,
    not_send: core::marker::PhantomData<*const ()>,
}

impl Current {
    /// A reference that can be kept.
    pub fn arc(self) -> Arc<Task> {
        let any: Option<Arc<dyn Any + Send + Sync>> = match sched::current().extension() {
            Some(extension) => Some(Arc::<dyn Extension>::clone(extension)),
            None => None,
        };
        match any.map(Arc::downcast) {
            Some(Ok(task)) => task,
            _ => unreachable!("the type was checked when this was made"),
        }
    }

    /// The reference, for as long as the thread lives.
    #[inline]
    pub fn task(self) -> &'static Task {
        self.task
    }
}

/// The owner's borrow of what `cell`, one of the current task's, holds.
#[inline(always)]
fn own<T>(cell: &'static OwnerCell<T>) -> Option<Borrowed<'static, T>> {
    // SAFETY:
    // - the cells of a task are borrowed and replaced in this module only, through a `Current`, which is not `Send`
    //   and was made on the task's own thread.
    unsafe { cell.borrow() }
}

/// Replaces what `cell`, one of the current task's, holds.
fn replace<T>(cell: &OwnerCell<T>, new: Option<Arc<T>>) {
    // SAFETY:
    // - as in `own`.
    unsafe { cell.replace(new) }
}

impl Current {
    /// Who it is.
    #[inline(always)]
    pub fn credentials(self) -> Borrowed<'static, Credentials> {
        match own(&self.task.credentials) {
            Some(credentials) => credentials,
            None => self.has_ended(),
        }
    }

    /// Its descriptors.
    ///
    /// # Panics
    /// If the task has come to its end and given them up: it makes no system calls any more.
    #[inline(always)]
    pub fn files(self) -> Borrowed<'static, FdTable> {
        match own(&self.task.files) {
            Some(files) => files,
            None => self.has_ended(),
        }
    }

    /// Root, working directory and umask.
    ///
    /// # Panics
    /// If the task has come to its end and given them up: nothing opens paths from there.
    #[inline(always)]
    pub fn fs(self) -> Borrowed<'static, FsContext> {
        match own(&self.task.fs) {
            Some(fs) => fs,
            None => self.has_ended(),
        }
    }

    #[cold]
    fn has_ended(self) -> ! {
        panic!("task {} has given up its files and credentials", self.tid())
    }

    /// Becomes somebody else.
    pub fn set_credentials(self, new: Credentials) {
        replace(&self.task.credentials, Some(Arc::new(new)));
    }

    /// Gives up descriptors and directories: the task ends.
    pub(super) fn give_up_files(self) {
        replace(&self.task.files, None);
        replace(&self.task.fs, None);
    }

    /// Gives the task a descriptor table of its own, if it shares one (`unshare`, `execve`).
    pub fn unshare_files(self) {
        if let Some(files) = self.task.files.share()
            && Arc::strong_count(&files) > 2
        {
            replace(&self.task.files, Some(Arc::new(files.duplicate())));
        }
    }

    /// Whether another task has the same working directory.
    pub fn shares_fs(self) -> bool {
        self.task.fs.share().is_some_and(|fs| Arc::strong_count(&fs) > 2)
    }

    /// Gives the task a working directory of its own, if it shares one.
    pub fn unshare_fs(self) {
        if let Some(fs) = self.task.fs.share()
            && Arc::strong_count(&fs) > 2
        {
            replace(&self.task.fs, Some(Arc::new(fs.duplicate())));
        }
    }
}

// SAFETY:
// - nothing else in the kernel implements it.
unsafe impl Extension for Task {
    fn switch_to(&self, context: &Context, is_space_current: bool) {
        self.note_switch(context);
        if are_debug_registers_used() {
            self.load_watch();
        }
        if !is_space_current {
            self.process().activate_space();
        }
    }

    fn space_id(&self) -> usize {
        Arc::as_ptr(self.process()).addr()
    }

    fn name(&self) -> [u8; 16] {
        Task::name(self)
    }
}

impl Deref for Current {
    type Target = Task;
    #[inline]
    fn deref(&self) -> &Task {
        self.task
    }
}

/// The task that runs, unless this is a thread of the kernel's own.
#[inline]
pub fn try_current_task() -> Option<Current> {
    let task = sched::current().forever().extension_as::<Task>()?;
    Some(Current { task, not_send: core::marker::PhantomData })
}

/// The task that runs.
///
/// # Panics
/// On a thread of the kernel's own.
#[inline]
pub fn current_task() -> Current {
    match try_current_task() {
        Some(task) => task,
        None => not_a_task(),
    }
}

#[cold]
#[inline(never)]
fn not_a_task() -> ! {
    panic!("a kernel thread is not a task")
}

/// The process that runs.
///
/// # Panics
/// On a thread of the kernel's own.
#[inline]
pub fn current_process() -> &'static Arc<Process> {
    current_task().task().process()
}
