//! Each test runs thousands of random schedules of the kernel's own waiting code.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use osv_concurrency_tests::errno::Errno;
use osv_concurrency_tests::sched::futex::{self, ANY_BIT, Key};
use osv_concurrency_tests::sched::{Deadline, Mutex, RwLock, WaitQueue, spawn};
use osv_concurrency_tests::sync::atomic;

/// Random schedules per test; each takes well below a millisecond.
const SCHEDULES: usize = 10_000;

fn explore(test: impl Fn() + Send + Sync + 'static) {
    shuttle::check_random(test, SCHEDULES);
}

#[test]
fn no_wake_up_is_lost() {
    explore(|| {
        let shared = Arc::new((WaitQueue::new(), atomic::AtomicBool::new(false)));
        let sleeper = spawn({
            let shared = Arc::clone(&shared);
            move || shared.0.wait_until(|| shared.1.load(Ordering::SeqCst).then_some(()))
        });
        shared.1.store(true, Ordering::Release);
        shared.0.wake_one();
        sleeper.join().unwrap();
    });
}

#[test]
fn a_waiter_that_gives_up_hands_its_wake_up_on() {
    explore(|| {
        let shared = Arc::new((WaitQueue::new(), atomic::AtomicU32::new(0)));
        let take = |shared: &(WaitQueue, atomic::AtomicU32)| {
            let take_one = |tokens: u32| tokens.checked_sub(1);
            shared.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take_one).ok()
        };
        let patient = spawn({
            let shared = Arc::clone(&shared);
            move || {
                shared.0.wait_until(|| take(&shared));
            }
        });
        let hasty = spawn({
            let shared = Arc::clone(&shared);
            move || {
                let _ = shared.0.wait_interruptible(None, || take(&shared));
            }
        });
        hasty.thread().interrupt();
        // Two tokens, so that the patient one gets one whatever the hasty one does.
        for _ in 0..2 {
            shared.1.fetch_add(1, Ordering::SeqCst);
            shared.0.wake_one();
        }
        patient.join().unwrap();
        hasty.join().unwrap();
    });
}

#[test]
fn signals_end_interruptible_waits() {
    explore(|| {
        let sleeper = spawn(|| WaitQueue::new().wait_interruptible(None, || None::<()>));
        sleeper.thread().interrupt();
        assert_eq!(sleeper.join().unwrap(), Err(Errno::ERESTARTSYS));
    });
}

#[test]
fn deadlines_end_waits() {
    explore(|| {
        let outcome = WaitQueue::new().wait_interruptible(Some(Deadline::PAST), || None::<()>);
        assert_eq!(outcome, Err(Errno::ETIMEDOUT));
    });
}

#[test]
fn mutexes_exclude_and_wake() {
    explore(|| {
        let mutex = Arc::new(Mutex::new(0));
        let inside = Arc::new(AtomicUsize::new(0));
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let (mutex, inside) = (Arc::clone(&mutex), Arc::clone(&inside));
                spawn(move || {
                    let mut value = mutex.lock();
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    shuttle::thread::yield_now();
                    *value += 1;
                    inside.fetch_sub(1, Ordering::SeqCst);
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(*mutex.lock(), 3);
    });
}

#[test]
fn readers_share_writers_do_not_and_all_get_their_turn() {
    explore(|| {
        let lock = Arc::new(RwLock::new(0));
        let writers: Vec<_> = (0..2)
            .map(|_| {
                let lock = Arc::clone(&lock);
                spawn(move || {
                    let mut value = lock.write();
                    let before = *value;
                    shuttle::thread::yield_now();
                    *value = before + 1;
                })
            })
            .collect();
        let readers: Vec<_> = (0..2)
            .map(|_| {
                let lock = Arc::clone(&lock);
                spawn(move || {
                    let value = lock.read();
                    let before = *value;
                    shuttle::thread::yield_now();
                    assert_eq!(*value, before);
                })
            })
            .collect();
        writers.into_iter().chain(readers).for_each(|thread| thread.join().unwrap());
        assert_eq!(*lock.read(), 2);
    });
}

/// Keys of their own for each schedule, since the table of futexes is a static.
fn new_keys() -> (Key, Key) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let object = NEXT.fetch_add(1, Ordering::Relaxed) as u64;
    (Key { object, offset: 0 }, Key { object, offset: 4 })
}

#[test]
fn futex_waiters_see_the_change_or_are_woken() {
    explore(|| {
        let (key, _) = new_keys();
        let word = Arc::new(atomic::AtomicU32::new(0));
        let sleeper = spawn({
            let word = Arc::clone(&word);
            move || {
                let outcome = futex::wait(key, 0, ANY_BIT, None, || Ok(word.load(Ordering::SeqCst)));
                assert!(matches!(outcome, Ok(()) | Err(Errno::EAGAIN)));
            }
        });
        word.store(1, Ordering::SeqCst);
        futex::wake(key, 1, ANY_BIT);
        sleeper.join().unwrap();
    });
}

#[test]
fn requeued_waiters_are_woken_where_they_are() {
    explore(|| {
        let (from, to) = new_keys();
        let word = Arc::new(atomic::AtomicU32::new(0));
        let sleepers: Vec<_> = (0..2)
            .map(|_| {
                let word = Arc::clone(&word);
                spawn(move || {
                    let _ = futex::wait(from, 0, ANY_BIT, None, || Ok(word.load(Ordering::SeqCst)));
                })
            })
            .collect();
        word.store(1, Ordering::SeqCst);
        futex::requeue(from, to, 1, usize::MAX, None).unwrap();
        futex::wake(to, usize::MAX, ANY_BIT);
        sleepers.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn futex_wake_ups_and_signals_agree_on_who_ended_the_wait() {
    explore(|| {
        let (key, _) = new_keys();
        let sleeper = spawn(move || futex::wait(key, 0, ANY_BIT, None, || Ok(0)));
        sleeper.thread().interrupt();
        let woken = futex::wake(key, 1, ANY_BIT);
        let expected = if woken == 1 { Ok(()) } else { Err(Errno::ERESTARTSYS) };
        assert_eq!(sleeper.join().unwrap(), expected);
    });
}
