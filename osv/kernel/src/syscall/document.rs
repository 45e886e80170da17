//! `SYSTEM-CALLS.md`, made from the table.
//!
//! The document is checked by a test, so that it cannot be wrong; `OSV_UPDATE=1 cargo test -p osv-kernel` writes it.

use super::{CALLS, Call, Status};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../SYSTEM-CALLS.md");

const HEAD: &str = "\
# System calls

Every system call of Linux 6.1 on x86-64, and how far osv has it. Made from the kernel's own table
(`osv/kernel/src/syscall/table.rs`) by `OSV_UPDATE=1 cargo test -p osv-kernel`; a test checks that it is current.

- **done**: as on Linux;
- **partly**: what is missing stands behind it;
- **refused**: deliberately not there, with the error that programs get and the reason;
- **absent**: `ENOSYS`, and the kernel's log names it once.

";

fn document() -> String {
    let count = |wanted: fn(Status) -> bool| CALLS.iter().filter(|call| wanted(call.status)).count();
    let mut text = String::from(HEAD);
    text += &format!(
        "{} done, {} partly, {} refused, {} absent.\n\n| number | call | state | |\n|---|---|---|---|\n",
        count(|status| status == Status::Done),
        count(|status| matches!(status, Status::Partly)),
        count(|status| matches!(status, Status::Refused(..))),
        count(|status| status == Status::Absent),
    );
    for call in &CALLS {
        text += &row(call);
    }
    text
}

fn row(call: &Call) -> String {
    let (number, name, note) = (call.number, call.name(), call.note());
    match call.status {
        Status::Done => format!("| {number} | `{name}` | done | |\n"),
        Status::Partly => format!("| {number} | `{name}` | partly | {note} |\n"),
        Status::Refused(errno) => format!("| {number} | `{name}` | refused | `{errno}`: {note} |\n"),
        Status::Absent => format!("| {number} | `{name}` | absent | |\n"),
    }
}

#[test]
fn the_document_is_current() {
    let current = document();
    if std::env::var_os("OSV_UPDATE").is_some() {
        std::fs::write(PATH, &current).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(written == current, "SYSTEM-CALLS.md is stale: run OSV_UPDATE=1 cargo test -p osv-kernel");
}
