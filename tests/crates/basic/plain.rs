//! An integration test that never names osv: it stays a Linux program, of the same package.

#[test]
fn runs_on_the_host() {
    assert!(!std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim().ends_with("-osv"));
}
