//! A user's library.
//!
//! ```
//! assert_eq!(basic::double(2), 4);
//! assert!(std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().ends_with("-osv"));
//! ```

use osv as _;

/// Twice as much.
pub fn double(number: u32) -> u32 {
    number * 2
}

#[cfg(test)]
mod tests {
    #[test]
    fn doubles() {
        assert_eq!(super::double(21), 42);
    }

    #[test]
    fn runs_on_osv() {
        assert!(std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().ends_with("-osv"));
    }

    #[test]
    #[should_panic(expected = "as it should")]
    fn panics() {
        panic!("as it should");
    }

    #[test]
    fn reads_its_fixture() {
        assert_eq!(std::fs::read_to_string("fixture.txt").unwrap(), "a fixture\n");
    }
}
