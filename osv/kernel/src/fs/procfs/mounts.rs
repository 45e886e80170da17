//! `/proc/PID/mounts` and `mountinfo`: what is mounted where, as the process sees it.

use alloc::sync::Arc;
use alloc::vec::Vec;

use linux_raw_sys::general;

use super::process::Subject;
use crate::errno::Result;
use crate::fs::generated::Text;
use crate::fs::{Mount, MountFlags, PathRef, major, minor};

/// A mount and its place below the process' root.
struct Seen {
    mount: Arc<Mount>,
    path: Vec<u8>,
}

/// All mounts that can be reached from the root of the process.
fn seen(subject: &Subject) -> Result<Vec<Seen>> {
    let root = subject.fs()?.root();
    let mut all = Vec::new();
    for mount in root.mount().tree() {
        let path = match mount.attachment() {
            _ if Arc::ptr_eq(&mount, root.mount()) => Some(b"/".to_vec()),
            Some(place) => path_below(&place, &root),
            None => None,
        };
        if let Some(path) = path {
            all.push(Seen { mount, path });
        }
    }
    Ok(all)
}

fn path_below(place: &PathRef, root: &PathRef) -> Option<Vec<u8>> {
    let (path, is_reachable) = place.absolute_path(root);
    is_reachable.then_some(path)
}

/// Text with blanks, tabs, line feeds and backslashes in octal.
fn escaped(text: &[u8], out: &mut Text) {
    for &byte in text {
        if matches!(byte, b' ' | b'\t' | b'\n' | b'\\' | b'#') {
            write!(out, "\\{byte:03o}");
        } else {
            out.push(&[byte]);
        }
    }
}

fn source(mount: &Mount, out: &mut Text) {
    match mount.super_block().source() {
        b"" => out.push(b"none"),
        source => escaped(source, out),
    }
}

fn access(is_read_only: bool) -> &'static str {
    if is_read_only { "ro" } else { "rw" }
}

/// The options that belong to the mount rather than to the file system.
fn mount_options(flags: MountFlags, out: &mut Text) {
    out.push(access(flags.contains(MountFlags::RDONLY)).as_bytes());
    let names = [
        (MountFlags::NOSUID, ",nosuid"),
        (MountFlags::NODEV, ",nodev"),
        (MountFlags::NOEXEC, ",noexec"),
        (MountFlags::NOATIME, ",noatime"),
        (MountFlags::NODIRATIME, ",nodiratime"),
        (MountFlags::RELATIME, ",relatime"),
        (MountFlags::NOSYMFOLLOW, ",nosymfollow"),
    ];
    for (_, name) in names.into_iter().filter(|&(flag, _)| flags.contains(flag)) {
        out.push(name.as_bytes());
    }
}

fn super_options(mount: &Mount, out: &mut Text) {
    let mut options = Vec::new();
    mount.file_system().show_options(&mut options);
    out.push(&options);
}

/// As fstab(5): device, place, type, options.
pub(super) fn mounts(subject: &Subject, out: &mut Text) -> Result<()> {
    for Seen { mount, path } in seen(subject)? {
        source(&mount, out);
        out.push(b" ");
        escaped(&path, out);
        write!(out, " {} ", mount.file_system().name());
        let mut flags = mount.flags();
        flags.set(MountFlags::RDONLY, mount.check_writable().is_err());
        mount_options(flags, out);
        super_options(&mount, out);
        out.push(b" 0 0\n");
    }
    Ok(())
}

/// How the mount spreads: mounts of one tree are of one group.
fn spread(mount: &Mount, out: &mut Text) {
    let group = mount.root().inode().metadata().map_or(0, |metadata| metadata.dev);
    match mount.propagation() {
        general::MS_SHARED => write!(out, " shared:{group}"),
        general::MS_UNBINDABLE => out.push(b" unbindable"),
        _ => {}
    }
}

/// As nfsstat(8) reads it: file systems here keep no statistics.
pub(super) fn mountstats(subject: &Subject, out: &mut Text) -> Result<()> {
    for Seen { mount, path } in seen(subject)? {
        out.push(b"device ");
        source(&mount, out);
        out.push(b" mounted on ");
        escaped(&path, out);
        write!(out, " with fstype {}", mount.file_system().name());
        out.push(b"\n");
    }
    Ok(())
}

pub(super) fn mountinfo(subject: &Subject, out: &mut Text) -> Result<()> {
    for Seen { mount, path } in seen(subject)? {
        let parent = mount.attachment().map_or(mount.id(), |place| place.mount().id());
        let device = mount.root().inode().metadata().map_or(0, |metadata| metadata.dev);
        write!(out, "{} {parent} {}:{} ", mount.id(), major(device), minor(device));
        escaped(&root_within(&mount), out);
        out.push(b" ");
        escaped(&path, out);
        out.push(b" ");
        mount_options(mount.flags(), out);
        spread(&mount, out);
        write!(out, " - {} ", mount.file_system().name());
        source(&mount, out);
        write!(out, " {}", access(mount.super_block().is_read_only()));
        super_options(&mount, out);
        out.push(b"\n");
    }
    Ok(())
}

/// Which directory of its file system the mount shows.
fn root_within(mount: &Mount) -> Vec<u8> {
    let mut names = Vec::new();
    let mut at = mount.root().clone();
    while let Some(parent) = at.parent() {
        names.push(at.name());
        at = parent;
    }
    let mut path = Vec::new();
    for name in names.iter().rev() {
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
    }
    if path.is_empty() { b"/".to_vec() } else { path }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_are_octal() {
        let mut out = Text::default();
        escaped(b"/a b\\c\n", &mut out);
        assert_eq!(out.into_bytes().unwrap(), b"/a\\040b\\134c\\012");
    }
}
