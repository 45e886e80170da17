//! `/proc/tty`: the drivers of terminals, from whose numbers `ps` makes names, and the line disciplines. Source: proc(5).

use crate::errno::Result;
use crate::fs::console;
use crate::fs::generated::{Entry, Text};

pub(super) static TERMINALS: &[Entry<()>] = &[
    Entry::directory("driver", &[]).with_mode(0o500),
    Entry::file("drivers", drivers),
    Entry::directory("ldisc", &[]),
    Entry::file("ldiscs", |_, out| {
        out.push(b"n_tty       0\n");
        Ok(())
    }),
];

/// Name, name of the nodes, major number, minor numbers, type.
fn drivers(_: &(), out: &mut Text) -> Result<()> {
    out.push(b"/dev/tty             /dev/tty        5       0 system:/dev/tty\n");
    out.push(b"/dev/console         /dev/console    5       1 system:console\n");
    out.push(b"/dev/ptmx            /dev/ptmx       5       2 system\n");
    if let Some((name, node, major, minor)) = console::driver() {
        let (kind, last) = if node == "ttyS" { ("serial", minor + 3) } else { ("system", minor + 7) };
        writeln!(out, "{name:<20} /dev/{node:<8} {major:3} {minor}-{last} {kind}");
    }
    out.push(b"pty_slave            /dev/pts      136 0-1048575 pty:slave\n");
    out.push(b"pty_master           /dev/ptm      128 0-1048575 pty:master\n");
    Ok(())
}
