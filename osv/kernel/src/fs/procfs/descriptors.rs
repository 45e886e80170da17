//! `/proc/PID/fd` and `/proc/PID/fdinfo`: open files by their numbers.

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::process::Subject;
use crate::errno::{Errno, Result};
use crate::fs::anonymous;
use crate::fs::generated::{Children, Context, Directory, Entry, Text, Volume, parse_number};
use crate::fs::{FdTable, FileType, Inode, Metadata, OpenFile, OpenFlags, PathRef};
use crate::process::current_task;

fn files(subject: &Subject) -> Result<Arc<FdTable>> {
    subject.task()?.try_files().ok_or(Errno::ENOENT)
}

fn find(subject: &Subject, name: &[u8]) -> Result<(i32, Arc<OpenFile>)> {
    let fd = parse_number(name).and_then(|number| i32::try_from(number).ok()).ok_or(Errno::ENOENT)?;
    let file = files(subject)?.get(fd).map_err(|_| Errno::ENOENT)?;
    Ok((fd, file))
}

fn list(
    subject: &Subject,
    first: u64,
    kind: FileType,
    emit: &mut dyn FnMut(u64, &[u8], FileType) -> bool,
) -> Result<()> {
    let files = files(subject)?;
    let mut next = u32::try_from(first).ok();
    while let Some(fd) = next.and_then(|next| files.next_used(next)) {
        if !emit(u64::from(fd), format!("{fd}").as_bytes(), kind) {
            break;
        }
        next = fd.checked_add(1);
    }
    Ok(())
}

/// The links in `fd`.
pub(super) struct Links;

impl Children<Subject> for Links {
    fn lookup(&self, subject: &Subject, volume: Volume, name: &[u8], ino: u64) -> Result<Arc<dyn Inode>> {
        let (fd, _) = find(subject, name)?;
        Ok(Arc::new(Link { subject: subject.clone(), fd, volume, ino }))
    }

    fn list(&self, subject: &Subject, first: u64, emit: &mut dyn FnMut(u64, &[u8], FileType) -> bool) -> Result<()> {
        list(subject, first, FileType::Symlink, emit)
    }
}

/// A link that leads to an open file, even to one that is in no tree.
struct Link {
    subject: Subject,
    fd: i32,
    volume: Volume,
    ino: u64,
}

impl Link {
    fn file(&self) -> Result<Arc<OpenFile>> {
        files(&self.subject)?.get(self.fd).map_err(|_| Errno::ENOENT)
    }
}

impl Inode for Link {
    fn metadata(&self) -> Result<Metadata> {
        let flags = self.file()?.flags();
        let read = if flags.is_readable() { 0o500 } else { 0 };
        let write = if flags.is_writable() { 0o300 } else { 0 };
        let metadata = Metadata::new(self.volume.device, self.ino, FileType::Symlink, read | write);
        let (uid, gid) = self.subject.owner();
        let time = self.volume.created;
        Ok(Metadata { uid, gid, size: 64, block_size: 1024, atime: time, mtime: time, ctime: time, ..metadata })
    }

    fn kind(&self) -> FileType {
        FileType::Symlink
    }

    fn read_link(&self) -> Result<Vec<u8>> {
        Ok(self.file()?.link_text(&current_task().fs().root()))
    }

    fn follow(&self) -> Option<Result<PathRef>> {
        Some(self.file().and_then(|file| anonymous::place_of(&file)))
    }
}

/// The files in `fdinfo`.
pub(super) struct Infos;

impl Children<Subject> for Infos {
    fn lookup(&self, subject: &Subject, volume: Volume, name: &[u8], ino: u64) -> Result<Arc<dyn Inode>> {
        let (fd, _) = find(subject, name)?;
        let context = Descriptor { subject: subject.clone(), fd };
        static INFO: &[Entry<Descriptor>] = &[Entry::file("info", info).with_mode(0o400)];
        Directory::new(volume, context, ino, INFO, None).lookup(b"info")
    }

    fn list(&self, subject: &Subject, first: u64, emit: &mut dyn FnMut(u64, &[u8], FileType) -> bool) -> Result<()> {
        list(subject, first, FileType::Regular, emit)
    }
}

#[derive(Clone)]
struct Descriptor {
    subject: Subject,
    fd: i32,
}

impl Context for Descriptor {
    fn owner(&self) -> (u32, u32) {
        self.subject.owner()
    }
}

fn info(descriptor: &Descriptor, out: &mut Text) -> Result<()> {
    let (file, closes_on_exec) = files(&descriptor.subject)?.get_with_flag(descriptor.fd).map_err(|_| Errno::ENOENT)?;
    let close_flag = if closes_on_exec { OpenFlags::CLOEXEC } else { OpenFlags::empty() };
    let mount = file.path().map_or(anonymous::MOUNT_ID, |place| place.mount().id());
    let ino = file.metadata().map_or(0, |metadata| metadata.ino);
    write!(out, "pos:\t{}\nflags:\t0{:o}\n", file.position(), (file.flags() | close_flag).bits());
    write!(out, "mnt_id:\t{mount}\nino:\t{ino}\n");
    if let Some(file) = file.file() {
        file.describe(out);
    }
    Ok(())
}
