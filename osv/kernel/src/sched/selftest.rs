//! Tests of the scheduler on the machine itself, with kernel threads on all of its CPUs: the feature `selftest` runs
//! them on the boot thread when the kernel's command line has the word `sched`.
//!
//! Each test ends by itself or not at all: a wake-up that is lost shows as a VM that does not end.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::{
    CpuMask, Deadline, Mutex, NewThread, Thread, WaitQueue, exit_thread, online_cpus, relax, spawn, yield_now,
};
use crate::drivers::clock;
use crate::errno::Errno;
use crate::kprintln;

const MILLISECOND_NS: u64 = 1_000_000;

/// A thread's work, and where it reports its end.
struct Job {
    work: fn(usize),
    number: usize,
    finished: Arc<Finished>,
}

/// Counts the threads that have ended.
struct Finished {
    count: AtomicUsize,
    queue: WaitQueue,
}

extern "C" fn run_job(job: usize) -> ! {
    // SAFETY:
    // - `start` made it from an `Arc` that it gave away, to this thread alone.
    let job = unsafe { Arc::from_raw(job as *const Job) };
    (job.work)(job.number);
    job.finished.count.fetch_add(1, Ordering::SeqCst);
    job.finished.queue.wake_all();
    drop(job);
    exit_thread()
}

fn start(work: fn(usize), number: usize, finished: &Arc<Finished>, affinity: CpuMask) -> Arc<Thread> {
    let job = Arc::new(Job { work, number, finished: Arc::clone(finished) });
    let argument = Arc::into_raw(job) as usize;
    spawn(NewThread { name: "selftest", entry: run_job, argument, extension: None, affinity, nice: 0 })
        .expect("memory for a thread of the self-test")
}

/// Runs `work` on `count` threads, and returns when all have ended.
fn run_all_on(count: usize, work: fn(usize)) {
    let finished = Arc::new(Finished { count: AtomicUsize::new(0), queue: WaitQueue::new() });
    for number in 0..count {
        start(work, number, &finished, CpuMask::ALL);
    }
    wait_for(&finished, count);
}

fn wait_for(finished: &Finished, count: usize) {
    finished.queue.wait_until(|| (finished.count.load(Ordering::SeqCst) == count).then_some(()));
}

/// Runs all tests.
pub fn run_all() {
    let cpus = online_cpus().iter().count();
    kprintln!("selftest: scheduler on {cpus} CPUs");
    let tests: [(&str, fn()); 7] = [
        ("ping-pong", ping_pong),
        ("a storm on mutexes", mutex_storm),
        ("thousands of threads", thousands),
        ("deadlines", deadlines),
        ("sleepers that are interrupted", interruptions),
        ("affinity", affinity),
        ("wandering", wandering),
    ];
    for (name, test) in tests {
        let begin_ns = clock::monotonic_ns();
        test();
        kprintln!("selftest: {name}: ok ({} ms)", (clock::monotonic_ns() - begin_ns) / MILLISECOND_NS);
    }
    kprintln!("selftest: the scheduler is good");
}

/// Pairs of threads hand a turn to and fro.
fn ping_pong() {
    const PAIRS: usize = 8;
    const TURNS: usize = 2000;
    static WORDS: [AtomicUsize; PAIRS] = [const { AtomicUsize::new(0) }; PAIRS];
    static QUEUES: [WaitQueue; 2 * PAIRS] = [const { WaitQueue::new() }; 2 * PAIRS];
    run_all_on(2 * PAIRS, |number| {
        let (word, side) = (&WORDS[number / 2], number % 2);
        for turn in 0..TURNS {
            let mine = 2 * turn + side;
            QUEUES[number].wait_until(|| (word.load(Ordering::SeqCst) == mine).then_some(()));
            word.store(mine + 1, Ordering::SeqCst);
            QUEUES[number ^ 1].wake_one();
        }
    });
    assert!(WORDS.iter().all(|word| word.load(Ordering::SeqCst) == 2 * TURNS), "all turns were taken");
}

/// Many threads add to few counters under mutexes, and let others run while they hold them.
fn mutex_storm() {
    const THREADS: usize = 32;
    const ROUNDS: u64 = 500;
    static COUNTERS: [Mutex<u64>; 3] = [const { Mutex::new(0) }; 3];
    run_all_on(THREADS, |number| {
        for round in 0..ROUNDS as usize {
            let mut counter = COUNTERS[(number + round) % 3].lock();
            let before = *counter;
            if round % 16 == 0 {
                yield_now();
            }
            *counter = before + 1;
        }
    });
    let total: u64 = COUNTERS.iter().map(|counter| *counter.lock()).sum();
    assert_eq!(total, THREADS as u64 * ROUNDS);
}

/// Threads that only come and go, more than may live at once.
fn thousands() {
    static SUM: AtomicU64 = AtomicU64::new(0);
    for _ in 0..40 {
        run_all_on(100, |number| {
            SUM.fetch_add(number as u64, Ordering::Relaxed);
        });
    }
    assert_eq!(SUM.load(Ordering::Relaxed), 40 * 99 * 100 / 2);
}

/// Sleeps end when they should: never early, and all of them.
fn deadlines() {
    run_all_on(50, |number| {
        for round in 1..6 {
            let deadline = Deadline::after((1 + (number * round % 7) as u64) * MILLISECOND_NS);
            let outcome = WaitQueue::new().wait_interruptible(Some(deadline), || None::<()>);
            assert_eq!(outcome, Err(Errno::ETIMEDOUT));
            assert!(deadline.has_passed(), "a sleep ended early");
        }
    });
}

/// Sleepers without deadline end when they are interrupted.
fn interruptions() {
    let finished = Arc::new(Finished { count: AtomicUsize::new(0), queue: WaitQueue::new() });
    let sleep = |_| {
        let outcome = WaitQueue::new().wait_interruptible(None, || None::<()>);
        assert_eq!(outcome, Err(Errno::ERESTARTSYS));
    };
    let sleepers: Vec<_> = (0..64).map(|number| start(sleep, number, &finished, CpuMask::ALL)).collect();
    sleepers.iter().for_each(|sleeper| sleeper.interrupt());
    wait_for(&finished, sleepers.len());
}

/// Threads that are bound to a CPU run there and nowhere else.
fn affinity() {
    let finished = Arc::new(Finished { count: AtomicUsize::new(0), queue: WaitQueue::new() });
    let stay = |cpu_id: usize| {
        for _ in 0..50 {
            assert_eq!(crate::arch::cpu_id(), cpu_id, "a bound thread runs on another CPU");
            yield_now();
        }
    };
    let mut count = 0;
    for cpu_id in online_cpus().iter() {
        for _ in 0..4 {
            start(stay, cpu_id, &finished, CpuMask::only(cpu_id));
            count += 1;
        }
    }
    wait_for(&finished, count);
}

/// Threads bind themselves to one CPU after the other.
fn wandering() {
    run_all_on(8, |number| {
        let cpus: Vec<usize> = online_cpus().iter().collect();
        for step in 0..40 {
            let cpu_id = cpus[(number + step) % cpus.len()];
            super::current().set_affinity(CpuMask::only(cpu_id));
            relax();
            assert_eq!(crate::arch::cpu_id(), cpu_id, "a thread that moved is still where it was");
        }
    });
}
