use super::*;
use crate::fs::ramfs::{Options, RamFs};
use crate::fs::{FileType, NewInode, NewKind, RenameFlags};
use crate::mem::user::{Dest, Source};

type Node = Arc<dyn Inode>;

fn make(directory: &Node, name: &str, kind: NewKind<'_>) -> Node {
    directory.create(name.as_bytes(), &NewInode { kind, mode: 0o755, uid: 3, gid: 4 }).unwrap()
}

fn file(directory: &Node, name: &str, text: &str) -> Node {
    let file = make(directory, name, NewKind::Regular);
    file.write_at(0, &mut Source::from_slice(text.as_bytes())).unwrap();
    file
}

fn read(inode: &Node) -> String {
    let mut buffer = vec![0; 100];
    let count = inode.read_at(0, &mut Dest::from_slice(&mut buffer)).unwrap();
    String::from_utf8(buffer[..count].to_vec()).unwrap()
}

fn names(directory: &Node) -> Vec<String> {
    let mut names = Vec::new();
    directory
        .read_dir(0, &mut |entry| {
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            true
        })
        .unwrap();
    names.sort();
    names
}

/// lower: a = "lower a", d/x, d/y, e/
fn layers() -> (Node, Node, Node) {
    let (lower, upper) = (RamFs::new(Options::default()).root(), RamFs::new(Options::default()).root());
    file(&lower, "a", "lower a");
    let directory = make(&lower, "d", NewKind::Directory);
    file(&directory, "x", "x");
    file(&directory, "y", "y");
    make(&lower, "e", NewKind::Directory);
    let overlay = OverlayFs::new(lower.clone(), upper.clone());
    (lower, upper, overlay.root())
}

#[test]
fn writes_copy_up_and_leave_the_lower_file() {
    let (lower, upper, root) = layers();
    let a = root.lookup(b"a").unwrap();
    let ino = a.metadata().unwrap().ino;
    assert_eq!(read(&a), "lower a");
    a.write_at(0, &mut Source::from_slice(b"UPPER")).unwrap();
    assert_eq!((read(&a), read(&lower.lookup(b"a").unwrap())), ("UPPER a".into(), "lower a".into()));
    assert_eq!(read(&upper.lookup(b"a").unwrap()), "UPPER a");
    let again = root.lookup(b"a").unwrap();
    assert!(Arc::ptr_eq(&a, &again));
    let metadata = again.metadata().unwrap();
    assert_eq!((metadata.ino, metadata.uid, metadata.mode), (ino, 3, 0o755));
    drop((a, again));
    assert_eq!(root.lookup(b"a").unwrap().metadata().unwrap().ino, ino);
    assert_eq!(root.lookup(b"a").unwrap().list_xattrs().unwrap(), b"");
}

#[test]
fn deep_files_bring_their_directories_up() {
    let (_, upper, root) = layers();
    let x = root.lookup(b"d").unwrap().lookup(b"x").unwrap();
    x.truncate(0).unwrap();
    assert_eq!(read(&upper.lookup(b"d").unwrap().lookup(b"x").unwrap()), "");
    assert_eq!(names(&root.lookup(b"d").unwrap()), ["x", "y"]);
}

#[test]
fn removed_names_stay_away() {
    let (_, upper, root) = layers();
    let a = root.lookup(b"a").unwrap();
    root.unlink(b"a").unwrap();
    assert_eq!(root.lookup(b"a").err(), Some(Errno::ENOENT));
    assert_eq!(names(&root), ["d", "e"]);
    assert_eq!(upper.lookup(b"a").unwrap().kind(), FileType::CharDevice);
    assert_eq!((read(&a), a.metadata().unwrap().nlink), ("lower a".into(), 0));
    a.write_at(0, &mut Source::from_slice(b"still")).unwrap();
    assert_eq!(read(&a), "still a");
    file(&root, "a", "new");
    assert_eq!(read(&root.lookup(b"a").unwrap()), "new");
    assert_eq!(root.unlink(b"nothing"), Err(Errno::ENOENT));
}

#[test]
fn directories_hide_and_merge() {
    let (_, _, root) = layers();
    let directory = root.lookup(b"d").unwrap();
    assert_eq!(root.rmdir(b"d"), Err(Errno::ENOTEMPTY));
    file(&directory, "z", "z");
    assert_eq!(names(&directory), ["x", "y", "z"]);
    for name in [b"x", b"y", b"z"] {
        directory.unlink(name).unwrap();
    }
    root.rmdir(b"d").unwrap();
    assert_eq!(names(&root), ["a", "e"]);
    let fresh = make(&root, "d", NewKind::Directory);
    assert_eq!(names(&fresh), [""; 0]);
    drop((directory, fresh));
    assert_eq!(names(&root.lookup(b"d").unwrap()), [""; 0]);
}

#[test]
fn renames_move_between_layers() {
    let (_, _, root) = layers();
    root.rename(b"a", &root.lookup(b"d").unwrap(), b"x", RenameFlags::empty()).unwrap();
    assert_eq!(names(&root), ["d", "e"]);
    let directory = root.lookup(b"d").unwrap();
    assert_eq!(read(&directory.lookup(b"x").unwrap()), "lower a");
    assert_eq!(root.rename(b"d", &root, b"f", RenameFlags::empty()), Err(Errno::EXDEV));
    make(&root, "new", NewKind::Directory);
    file(&root.lookup(b"new").unwrap(), "n", "n");
    root.rename(b"new", &root, b"e", RenameFlags::empty()).unwrap();
    assert_eq!((names(&root), names(&root.lookup(b"e").unwrap())), (vec!["d".into(), "e".into()], vec!["n".into()]));
    root.rename(b"e", &root, b"g", RenameFlags::empty()).unwrap();
    assert_eq!(names(&root), ["d", "g"]);
    file(&root, "h", "h");
    root.rename(b"h", &directory, b"y", RenameFlags::EXCHANGE).unwrap();
    assert_eq!((read(&root.lookup(b"h").unwrap()), read(&directory.lookup(b"y").unwrap())), ("y".into(), "h".into()));
}

#[test]
fn links_share_one_copy() {
    let (_, _, root) = layers();
    let a = root.lookup(b"a").unwrap();
    root.link(b"b", &a).unwrap();
    a.write_at(0, &mut Source::from_slice(b"L")).unwrap();
    let b = root.lookup(b"b").unwrap();
    assert!(Arc::ptr_eq(&a, &b));
    assert_eq!((read(&b), b.metadata().unwrap().nlink), ("Lower a".into(), 2));
    root.unlink(b"a").unwrap();
    assert_eq!((read(&b), b.metadata().unwrap().nlink), ("Lower a".into(), 1));
}

#[test]
fn listing_survives_removal() {
    let (_, _, root) = layers();
    let directory = root.lookup(b"d").unwrap();
    let mut first = None;
    directory
        .read_dir(0, &mut |entry| {
            first.get_or_insert((entry.name.to_vec(), entry.next));
            false
        })
        .unwrap();
    let (name, cookie) = first.unwrap();
    directory.unlink(&name).unwrap();
    let mut rest = Vec::new();
    directory
        .read_dir(cookie, &mut |entry| {
            rest.push(entry.name.to_vec());
            true
        })
        .unwrap();
    assert_eq!(rest.len(), 1);
    assert_ne!(rest[0], name);
}

#[test]
fn without_an_upper_tree_nothing_changes() {
    let (lower, _, _) = layers();
    let overlay = OverlayFs::build(lower, None);
    let root = overlay.root();
    assert!(overlay.is_read_only());
    let new = NewInode { kind: NewKind::Regular, mode: 0, uid: 0, gid: 0 };
    assert_eq!(root.create(b"n", &new).err(), Some(Errno::EROFS));
    assert_eq!(root.unlink(b"a"), Err(Errno::EROFS));
    assert_eq!(root.lookup(b"a").unwrap().truncate(0), Err(Errno::EROFS));
}
