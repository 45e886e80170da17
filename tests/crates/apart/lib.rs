//! Tests with a VM each, two of which do not end well.

#[cfg(test)]
mod tests {
    #[osv::test(memory = "64M", cpus = 2)]
    fn has_the_vm_that_it_wants() {
        assert!(osv::memory().total < 64 << 20);
        assert_eq!(osv::cpus(), 2);
    }

    #[osv::test(memory = "96M", cpus = 1)]
    fn has_another_vm() -> Result<(), osv::io::Error> {
        assert!(osv::memory().total > 64 << 20);
        assert_eq!(osv::cpus(), 1);
        osv::io::write("/tmp/mine", b"alone").map(drop)
    }

    #[osv::test]
    #[should_panic(expected = "as it should")]
    fn panics() {
        panic!("as it should");
    }

    #[osv::test]
    fn fails() {
        println!("a word before the end");
        assert_eq!(1 + 1, 3);
    }

    #[osv::test(timeout = 3)]
    fn hangs() {
        std::thread::sleep(std::time::Duration::from_secs(1000));
    }

    #[osv::test]
    fn takes_the_vm_along() {
        osv::power_off(9);
    }

    #[test]
    fn runs_on_linux() {
        assert!(!osv::is_osv());
    }
}
