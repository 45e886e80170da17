//! Clocks and sleeping.

mod clock;
mod sleep;
mod types;
mod wall;

pub use clock::{clock_getres, clock_gettime, clock_settime};
pub use sleep::{clock_nanosleep, nanosleep};
pub use types::{Timespec, Timeval};
pub use wall::{adjtimex, clock_adjtime, gettimeofday, settimeofday, time};
