//! `/proc/sysvipc`: the System V objects that there are, a line each. What `ipcs` reads.

use crate::errno::Result;
use crate::fs::generated::{Entry, Text};
use crate::ipc::{Object, Permissions, msg, sem, shm};

pub(super) static ENTRIES: &[Entry<()>] =
    &[Entry::file("msg", queues), Entry::file("sem", sets), Entry::file("shm", segments)];

/// Key, id and mode: how every line begins.
fn heading(object: &impl Object, out: &mut Text) -> Permissions {
    let permissions = object.header().permissions();
    write!(out, "{:10} {:10}  {:4o} ", permissions.key, object.header().id(), permissions.mode);
    permissions
}

fn owners(permissions: &Permissions, out: &mut Text) {
    let Permissions { uid, gid, creator_uid, creator_gid, .. } = permissions;
    write!(out, "{uid:5} {gid:5} {creator_uid:5} {creator_gid:5} ");
}

fn segments(_: &(), out: &mut Text) -> Result<()> {
    out.push(b"       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid");
    out.push(b"      atime      dtime      ctime                   rss                  swap\n");
    for segment in shm::table().all() {
        let permissions = heading(&*segment, out);
        let record = segment.record();
        write!(out, "{:21} {:5} {:5}  {:5} ", segment.bytes(), record.creator, record.last, record.areas);
        owners(&permissions, out);
        write!(out, "{:10} {:10} {:10} ", record.attached_at, record.detached_at, record.changed_at);
        writeln!(out, "{:21} {:21}", segment.resident(), 0);
    }
    Ok(())
}

fn sets(_: &(), out: &mut Text) -> Result<()> {
    out.push(b"       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n");
    for set in sem::table().all() {
        let permissions = heading(&*set, out);
        write!(out, "{:10} ", set.len());
        owners(&permissions, out);
        let (operated_at, changed_at) = set.times();
        writeln!(out, "{operated_at:10} {changed_at:10}");
    }
    Ok(())
}

fn queues(_: &(), out: &mut Text) -> Result<()> {
    out.push(b"       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid");
    out.push(b"      stime      rtime      ctime\n");
    for queue in msg::table().all() {
        let permissions = heading(&*queue, out);
        let record = queue.record();
        write!(out, " {:10} {:10} ", record.bytes, record.messages);
        write!(out, "{:5} {:5} ", record.last_sender, record.last_receiver);
        owners(&permissions, out);
        writeln!(out, "{:10} {:10} {:10}", record.sent_at, record.received_at, record.changed_at);
    }
    Ok(())
}
