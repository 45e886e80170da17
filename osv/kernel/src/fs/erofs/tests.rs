//! Images made by the reference tool `mkfs.erofs`, where the machine has it, and damaged ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use super::*;
use crate::fs::DirEntry;
use crate::mem::Frame;
use crate::mem::page_cache::PageStore;
use crate::mem::user::Dest;

/// An image in the test's memory, read like a disk.
struct Bytes(Vec<u8>);

impl PageStore for Bytes {
    fn read_pages(&self, first: u64, frames: &[Frame]) -> Result<usize> {
        for (index, frame) in (first as usize..).zip(frames) {
            frame.zero(0, 4096);
            frame.write(0, self.0.get(index * 4096..).unwrap_or_default());
        }
        Ok(frames.len())
    }
}

fn mount(bytes: Vec<u8>) -> Result<Arc<ErofsFs>> {
    let len = bytes.len() as u64;
    ErofsFs::mount(Image::on_disk(Arc::new(Bytes(bytes)), len))
}

/// The image of a directory, or nothing on a machine without the tool.
fn image_of(directory: &Path, options: &[&str]) -> Option<Vec<u8>> {
    let file = directory.with_extension("erofs");
    let made = Command::new("mkfs.erofs").args(options).arg(&file).arg(directory).output().ok()?;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(std::fs::read(file).unwrap())
}

fn sample(name: &str) -> std::path::PathBuf {
    let root = std::env::temp_dir().join(format!("osv-erofs-{}-{name}", std::process::id())).join("tree");
    let _ = std::fs::remove_dir_all(&root);
    std::fs::create_dir_all(root.join("many")).unwrap();
    for number in 0..700 {
        std::fs::write(root.join("many").join(format!("file{number}")), format!("contents {number}")).unwrap();
    }
    for len in [0usize, 1, 100, 4095, 4096, 4097, 12_000, 100_000] {
        let data: Vec<u8> = (0..len).map(|at| (at * 7 + at / 4096) as u8).collect();
        std::fs::write(root.join(format!("len{len}")), data).unwrap();
    }
    std::os::unix::fs::symlink("many/file1", root.join("short")).unwrap();
    std::os::unix::fs::symlink("x".repeat(3000), root.join("long")).unwrap();
    std::fs::hard_link(root.join("len100"), root.join("linked")).unwrap();
    root
}

fn names(inode: &Arc<dyn Inode>, at_a_time: usize) -> BTreeMap<String, FileType> {
    let mut found = BTreeMap::new();
    let mut cookie = 0;
    loop {
        let (mut count, start) = (0, cookie);
        let mut emit = |entry: DirEntry<'_>| {
            if count == at_a_time {
                return false;
            }
            count += 1;
            assert!(entry.next > cookie && entry.next >= 3);
            cookie = entry.next;
            assert!(found.insert(String::from_utf8(entry.name.to_vec()).unwrap(), entry.kind).is_none());
            true
        };
        inode.read_dir(start, &mut emit).unwrap();
        if count == 0 {
            return found;
        }
    }
}

fn contents(inode: &Arc<dyn Inode>) -> Vec<u8> {
    let mut bytes = vec![0xee; inode.size().unwrap() as usize + 100];
    let count = inode.read_at(0, &mut Dest::from_slice(&mut bytes)).unwrap();
    bytes.truncate(count);
    bytes
}

#[test]
fn what_mkfs_wrote_is_read() {
    let tree = sample("read");
    for options in
        [&["-x-1"][..], &["-Eforce-inode-compact", "-x-1"], &["-Eforce-inode-extended"], &["-Enoinline_data"]]
    {
        let Some(image) = image_of(&tree, options) else { return };
        let fs = mount(image).unwrap();
        let root = fs.root();
        let top = names(&root, 3);
        assert_eq!(top.len(), 12);
        assert_eq!(
            (top["many"], top["short"], top["len0"]),
            (FileType::Directory, FileType::Symlink, FileType::Regular)
        );
        for entry in std::fs::read_dir(&tree).unwrap().map(|entry| entry.unwrap()) {
            let inode = root.lookup(entry.file_name().as_encoded_bytes()).unwrap();
            if entry.file_type().unwrap().is_file() {
                assert_eq!(contents(&inode), std::fs::read(entry.path()).unwrap(), "{entry:?}");
            }
        }
        let many = root.lookup(b"many").unwrap();
        assert_eq!(names(&many, 100).len(), 700);
        for number in 0..700 {
            let inode = many.lookup(format!("file{number}").as_bytes()).unwrap();
            assert_eq!(contents(&inode), format!("contents {number}").as_bytes());
        }
        assert_eq!(many.lookup(b"file700").err(), Some(Errno::ENOENT));
        assert_eq!(many.lookup(b"a").err(), Some(Errno::ENOENT));
        assert_eq!(many.lookup(b"z").err(), Some(Errno::ENOENT));
        assert_eq!(root.lookup(b"short").unwrap().read_link().unwrap(), b"many/file1");
        assert_eq!(root.lookup(b"long").unwrap().read_link().unwrap(), vec![b'x'; 3000]);
        assert!(Arc::ptr_eq(&root.lookup(b"len100").unwrap(), &root.lookup(b"linked").unwrap()));
        assert_eq!(root.lookup(b"linked").unwrap().metadata().unwrap().nlink, 2);
    }
}

#[test]
fn pages_of_files_are_pages_of_the_image() {
    let tree = sample("pages");
    let Some(image) = image_of(&tree, &["-Enoinline_data"]) else { return };
    let fs = mount(image).unwrap();
    let pages = fs.root().lookup(b"len100000").unwrap().pages().unwrap();
    let first = pages.page(3, false).unwrap();
    assert_eq!(pages.cached(3), Some(first));
    assert_eq!(pages.page(25, false).err(), Some(Errno::EFAULT));
    assert_eq!(pages.page(0, true).err(), Some(Errno::EROFS));
}

#[test]
fn damaged_images_do_no_harm() {
    let tree = sample("damage");
    let Some(image) = image_of(&tree, &[]) else { return };
    // A cheap generator of the same damage each time.
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    };
    for _ in 0..300 {
        let mut image = image.clone();
        for _ in 0..random() % 40 {
            let at = if random() % 2 == 0 { 1024 + random() % 8192 } else { random() % image.len() };
            image[at] = random() as u8;
        }
        image.truncate(image.len() - random() % 3 * 4096);
        let Ok(fs) = mount(image) else { continue };
        visit(&fs.root(), 0);
    }
}

/// Does everything with an inode that does not change it.
fn visit(inode: &Arc<dyn Inode>, depth: usize) {
    let _ = inode.metadata();
    let _ = inode.list_xattrs();
    let _ = inode.get_xattr(b"user.x");
    let _ = inode.read_link();
    let mut bytes = [0; 10_000];
    for offset in [0, 4000, u64::MAX - 5000] {
        let _ = inode.read_at(offset, &mut Dest::from_slice(&mut bytes));
    }
    if let Some(pages) = Arc::clone(inode).pages() {
        for index in [0, 1, u64::MAX / 4096, u64::MAX] {
            let _ = (pages.cached(index), pages.page(index, false));
        }
    }
    let mut children = Vec::new();
    let _ = inode.read_dir(0, &mut |entry| {
        children.push(entry.name.to_vec());
        children.len() < 50
    });
    let _ = inode.read_dir(u64::MAX / 2, &mut |_| true);
    for name in children.iter().filter(|_| depth < 3) {
        if let Ok(child) = inode.lookup(name) {
            visit(&child, depth + 1);
        }
    }
}
