//! Threads on all CPUs of the VM, and a channel between them: `std` needs no other kernel than this one.

use std::sync::mpsc;
use std::thread;

#[osv::main(cpus = 2, memory = "128M")]
fn main() {
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let (sender, receiver) = mpsc::channel();
    for worker in 0..cpus {
        let sender = sender.clone();
        thread::spawn(move || sender.send((worker, sum_of_squares(worker, cpus))));
    }
    drop(sender);
    let total: u64 = receiver.iter().map(|(_, part)| part).sum();
    println!("{cpus} threads: {total}");
}

/// The squares of every `step`th number below a million.
fn sum_of_squares(first: usize, step: usize) -> u64 {
    (first as u64..1_000_000).step_by(step).map(|number| number * number).sum()
}
