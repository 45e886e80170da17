//! Timers of tokio, unchanged: tasks that sleep on all CPUs of the VM, and a ticker beside them.

use std::time::{Duration, Instant};

use tokio::time::{interval, sleep};

#[osv::main(cpus = 2)]
#[tokio::main]
async fn main() {
    let start = Instant::now();
    let sleepers: Vec<_> = (1..=5_u64)
        .map(|number| {
            tokio::spawn(async move {
                sleep(Duration::from_millis(50 * (6 - number))).await;
                number
            })
        })
        .collect();
    let mut ticker = interval(Duration::from_millis(50));
    for _ in 0..3 {
        ticker.tick().await;
    }
    let mut sum = 0;
    for sleeper in sleepers {
        sum += sleeper.await.unwrap_or(0);
    }
    println!("{sum} after {} ms, where one after the other would take 750", start.elapsed().as_millis());
}
