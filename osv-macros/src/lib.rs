//! `#[osv::main]` and `#[osv::test]`.
