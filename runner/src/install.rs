//! What to do where QEMU is missing: install it through the system's package manager when that is allowed, or
//! say the line that does it.
//!
//! Allowed means: `osv --install`, `OSV_INSTALL=1`, or a root user in a CI (`CI=true`).

use std::path::PathBuf;

use crate::sys;

/// A package manager: its program, the line that installs QEMU for x86-64 guests.
struct Manager {
    program: &'static str,
    install: &'static [&'static str],
    prepare: &'static [&'static str],
}

const MANAGERS: [Manager; 6] = [
    Manager {
        program: "apt-get",
        prepare: &["apt-get", "update"],
        install: &["apt-get", "install", "-y", "--no-install-recommends", "qemu-system-x86"],
    },
    Manager { program: "dnf", prepare: &[], install: &["dnf", "install", "-y", "qemu-system-x86-core"] },
    Manager { program: "pacman", prepare: &[], install: &["pacman", "-S", "--noconfirm", "qemu-system-x86"] },
    Manager { program: "zypper", prepare: &[], install: &["zypper", "install", "-y", "qemu-x86"] },
    Manager { program: "apk", prepare: &[], install: &["apk", "add", "qemu-system-x86_64"] },
    Manager { program: "brew", prepare: &[], install: &["brew", "install", "qemu"] },
];

/// May QEMU be installed without asking?
pub fn is_allowed() -> bool {
    sys::is_set("OSV_INSTALL") || (sys::var("CI").as_deref() == Some("true") && sys::is_root())
}

/// One sentence that says how QEMU comes onto this machine.
pub fn advice() -> String {
    match manager() {
        Some(manager) => format!(
            "QEMU is not installed: run `{}{}` (or let osv do it: OSV_INSTALL=1)",
            if sys::is_root() || manager.program == "brew" { "" } else { "sudo " },
            manager.install.join(" ")
        ),
        None => format!("QEMU is not installed: install a package that has {}", crate::qemu::PROGRAM),
    }
}

/// Installs QEMU if it is missing and that is allowed.
///
/// # Errors
/// The advice, if QEMU is missing still.
pub fn ensure_qemu(is_asked: bool) -> Result<(), String> {
    if crate::qemu::find().is_some() {
        return Ok(());
    }
    if let Some(manager) = manager()
        && (is_asked || is_allowed())
    {
        eprintln!("osv: installing QEMU by {}", manager.program);
        if !manager.prepare.is_empty() {
            run(manager.prepare, manager);
        }
        run(manager.install, manager);
    }
    crate::qemu::find().map(drop).ok_or_else(advice)
}

fn manager() -> Option<&'static Manager> {
    MANAGERS.iter().find(|manager| in_path(manager.program).is_some())
}

fn run(line: &[&str], manager: &Manager) {
    let needs_sudo = !sys::is_root() && manager.program != "brew";
    let words = ["sudo"].iter().filter(|_| needs_sudo).chain(line).copied().collect::<Vec<_>>();
    let (Some(program), arguments) = (in_path(words[0]), words[1..].iter().map(Into::into).collect::<Vec<_>>()) else {
        eprintln!("osv: there is no `{}` to install with", words[0]);
        return;
    };
    let status = sys::Child::spawn(&program, &arguments, None).and_then(|child| child.wait());
    if !status.is_ok_and(|status| status.success()) {
        eprintln!("osv: `{}` failed", words.join(" "));
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
