//! Clocks and sleeping.

mod adjust;
mod clock;
mod sleep;
mod types;
mod wall;

pub use adjust::{adjtimex, clock_adjtime};
pub use clock::{clock_getres, clock_gettime, clock_settime};
pub use sleep::{clock_nanosleep, nanosleep};
pub use types::{Timespec, Timeval};
pub use wall::{gettimeofday, settimeofday, time};
