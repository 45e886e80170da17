use super::*;
use crate::fs::OFFSET_MAX;
use crate::fs::SetTime;

fn root() -> (Arc<RamFs>, Arc<dyn Inode>) {
    let fs = RamFs::new(Options::default());
    let root = fs.root();
    (fs, root)
}

fn make(directory: &Arc<dyn Inode>, name: &str, kind: NewKind<'_>) -> Arc<dyn Inode> {
    directory.create(name.as_bytes(), &NewInode { kind, mode: 0o644, uid: 0, gid: 0 }).unwrap()
}

fn write(inode: &Arc<dyn Inode>, offset: u64, data: &[u8]) -> Result<usize> {
    inode.write_at(offset, &mut Source::from_slice(data))
}

fn read(inode: &Arc<dyn Inode>, offset: u64, len: usize) -> Vec<u8> {
    let mut buffer = vec![0xaa; len];
    let count = inode.read_at(offset, &mut Dest::from_slice(&mut buffer)).unwrap();
    buffer.truncate(count);
    buffer
}

fn names(directory: &Arc<dyn Inode>) -> Vec<String> {
    let mut names = Vec::new();
    directory
        .read_dir(0, &mut |entry| {
            names.push(String::from_utf8(entry.name.to_vec()).unwrap());
            true
        })
        .unwrap();
    names
}

#[test]
fn what_was_written_is_read() {
    let (_fs, root) = root();
    let file = make(&root, "f", NewKind::Regular);
    let data: Vec<u8> = (0..20_000u32).map(|n| (n * 7) as u8).collect();
    assert_eq!(write(&file, 0, &data), Ok(20_000));
    assert_eq!(read(&file, 0, 30_000), data);
    assert_eq!(read(&file, 4090, 12), data[4090..4102]);
    assert_eq!(read(&file, 20_000, 1), b"");
    assert_eq!(write(&file, 4095, b"xyz"), Ok(3));
    assert_eq!(read(&file, 4094, 5), [data[4094], b'x', b'y', b'z', data[4098]]);
    assert_eq!(file.append(&mut Source::from_slice(b"end")), Ok((3, 20_003)));
    assert_eq!(file.metadata().unwrap().blocks, 40);
}

#[test]
fn holes_are_zero_and_can_be_sought() {
    let (_fs, root) = root();
    let file = make(&root, "f", NewKind::Regular);
    write(&file, 10_000, b"x").unwrap();
    assert_eq!(read(&file, 0, 4), [0; 4]);
    assert_eq!(read(&file, 9_999, 4), [0, b'x']);
    assert_eq!((file.seek_data(0), file.seek_hole(8192)), (Ok(8192), Ok(10_001)));
    assert_eq!((file.seek_data(10_001), file.seek_hole(5)), (Err(Errno::ENXIO), Ok(5)));
    assert_eq!(file.metadata().unwrap().blocks, 8);
    assert_eq!(write(&file, OFFSET_MAX, b"x"), Err(Errno::EFBIG));
    assert_eq!(write(&file, OFFSET_MAX - 1, b"xy"), Ok(1));
    assert_eq!(file.size(), Ok(OFFSET_MAX));
}

#[test]
fn cut_off_bytes_do_not_come_back() {
    let (fs, root) = root();
    let file = make(&root, "f", NewKind::Regular);
    write(&file, 0, &[7; 10_000]).unwrap();
    file.truncate(5_000).unwrap();
    file.truncate(10_000).unwrap();
    assert_eq!(read(&file, 4_999, 3), [7, 0, 0]);
    assert_eq!(read(&file, 8_191, 3), [0; 3]);
    const PUNCH: u32 = general::FALLOC_FL_PUNCH_HOLE | general::FALLOC_FL_KEEP_SIZE;
    file.fallocate(PUNCH, 100, 200).unwrap();
    assert_eq!((read(&file, 99, 2), read(&file, 299, 2)), (vec![7, 0], vec![0, 7]));
    file.fallocate(PUNCH, 0, 1 << 20).unwrap();
    assert_eq!((file.metadata().unwrap().blocks, file.size()), (0, Ok(10_000)));
    file.fallocate(0, 0, 20_000).unwrap();
    assert_eq!((file.metadata().unwrap().blocks, file.size()), (40, Ok(20_000)));
    root.unlink(b"f").unwrap();
    drop(file);
    let statfs = fs.statfs().unwrap();
    assert_eq!((statfs.files - statfs.files_free, fs.shared.pages.load(Ordering::Relaxed)), (1, 0));
}

#[test]
fn limits_are_enospc() {
    let fs = RamFs::new(Options { size: 8192, inodes: 3, ..Options::default() });
    let root = fs.root();
    let file = make(&root, "f", NewKind::Regular);
    assert_eq!(write(&file, 0, &[1; 10_000]), Ok(8192));
    assert_eq!(write(&file, 8192, &[1]), Err(Errno::ENOSPC));
    assert_eq!(write(&file, 0, &[1]), Ok(1));
    make(&root, "g", NewKind::Fifo);
    let new = NewInode { kind: NewKind::Fifo, mode: 0, uid: 0, gid: 0 };
    assert_eq!(root.create(b"h", &new).err(), Some(Errno::ENOSPC));
}

#[test]
fn links_and_names() {
    let (_fs, root) = root();
    let file = make(&root, "a", NewKind::Regular);
    let ino = file.metadata().unwrap().ino;
    root.link(b"b", &file).unwrap();
    assert_eq!(file.metadata().unwrap().nlink, 2);
    assert_eq!(root.link(b"b", &file), Err(Errno::EEXIST));
    root.unlink(b"a").unwrap();
    assert_eq!(root.lookup(b"b").unwrap().metadata().unwrap().ino, ino);
    assert_eq!(root.lookup(b"a").err(), Some(Errno::ENOENT));
    assert_eq!(names(&root), ["b"]);
}

#[test]
fn directories_count_their_links() {
    let (_fs, root) = root();
    let directory = make(&root, "d", NewKind::Directory);
    make(&directory, "e", NewKind::Directory);
    assert_eq!((root.metadata().unwrap().nlink, directory.metadata().unwrap().nlink), (3, 3));
    assert_eq!(root.rmdir(b"d"), Err(Errno::ENOTEMPTY));
    assert_eq!(root.unlink(b"d"), Err(Errno::EISDIR));
    directory.rename(b"e", &root, b"f", RenameFlags::empty()).unwrap();
    assert_eq!((root.metadata().unwrap().nlink, directory.metadata().unwrap().nlink), (4, 2));
    root.rename(b"f", &root, b"d", RenameFlags::empty()).unwrap();
    assert_eq!(names(&root), ["d"]);
    assert_eq!(root.metadata().unwrap().nlink, 3);
}

#[test]
fn renames_replace_and_exchange() {
    let (_fs, root) = root();
    let a = make(&root, "a", NewKind::Regular);
    let b = make(&root, "b", NewKind::Regular);
    root.rename(b"a", &root, b"b", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(root.lookup(b"b").unwrap().metadata().unwrap().ino, a.metadata().unwrap().ino);
    root.rename(b"b", &root, b"a", RenameFlags::WHITEOUT).unwrap();
    assert_eq!(b.metadata().unwrap().nlink, 0);
    assert_eq!(root.lookup(b"b").unwrap().kind(), FileType::CharDevice);
    make(&root, "d", NewKind::Directory);
    assert_eq!(root.rename(b"a", &root, b"d", RenameFlags::empty()), Err(Errno::EISDIR));
    assert_eq!(root.rename(b"d", &root, b"a", RenameFlags::empty()), Err(Errno::ENOTDIR));
}

#[test]
fn listing_goes_on_where_it_stopped() {
    let (_fs, root) = root();
    for n in 0..100 {
        make(&root, &format!("{n}"), NewKind::Regular);
    }
    let mut seen = Vec::new();
    let mut cookie = 0;
    loop {
        let mut room = 7;
        let before = cookie;
        root.read_dir(cookie, &mut |entry| {
            if room == 0 {
                return false;
            }
            room -= 1;
            seen.push(entry.name.to_vec());
            cookie = entry.next;
            true
        })
        .unwrap();
        if cookie == before {
            break;
        }
        root.unlink(seen.last().unwrap()).unwrap();
    }
    assert_eq!(seen.len(), 100);
}

#[test]
fn seals_hold() {
    let (fs, _root) = root();
    let file = fs.new_memfd(0o777, 0).unwrap();
    write(&file, 0, &[1; 5000]).unwrap();
    file.add_seals(general::F_SEAL_GROW | general::F_SEAL_SHRINK).unwrap();
    assert_eq!(write(&file, 4999, &[1]), Ok(1));
    assert_eq!(write(&file, 5000, &[1]), Err(Errno::EPERM));
    assert_eq!((file.truncate(1), file.truncate(6000)), (Err(Errno::EPERM), Err(Errno::EPERM)));
    file.add_seals(general::F_SEAL_WRITE | general::F_SEAL_SEAL).unwrap();
    assert_eq!(write(&file, 0, &[1]), Err(Errno::EPERM));
    assert_eq!(file.add_seals(0), Err(Errno::EPERM));
}

#[test]
fn options_are_read() {
    let options = Options::parse(b"size=10%,mode=755,nr_inodes=1k,uid=7", 1000).unwrap();
    assert_eq!((options.size, options.mode, options.inodes, options.uid), (100, 0o755, 1024, 7));
    assert_eq!(Options::parse(b"", 1000).unwrap().size, 500);
    assert_eq!(Options::parse(b"size=1x", 1000).err(), Some(Errno::EINVAL));
    assert_eq!(Options::parse(b"nonsense", 1000).err(), Some(Errno::EINVAL));
}

#[test]
fn attributes_and_xattrs() {
    let (_fs, root) = root();
    let file = make(&root, "f", NewKind::Regular);
    let time = Timespec { sec: 5, nsec: 6 };
    let change = SetAttributes { mode: Some(0o600), mtime: Some(SetTime::To(time)), ..Default::default() };
    file.set_attributes(&change).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!((metadata.mode, metadata.mtime), (0o600, time));
    file.set_xattr(b"user.a", b"1", XattrFlags::CREATE).unwrap();
    assert_eq!(file.set_xattr(b"user.a", b"2", XattrFlags::CREATE), Err(Errno::EEXIST));
    assert_eq!(file.set_xattr(b"user.b", b"2", XattrFlags::REPLACE), Err(Errno::ENODATA));
    assert_eq!(
        (file.get_xattr(b"user.a").unwrap(), file.list_xattrs().unwrap()),
        (b"1".to_vec(), b"user.a\0".to_vec())
    );
    file.remove_xattr(b"user.a").unwrap();
    assert_eq!(file.get_xattr(b"user.a"), Err(Errno::ENODATA));
}
