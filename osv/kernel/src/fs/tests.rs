//! Path walks, permissions, mounts and descriptions, on a ramfs.

use std::sync::Arc;

use super::mounting::Unmount;
use super::ramfs::{Options, RamFs};
use super::*;
use crate::errno::{Errno, Result};
use crate::mem::user::{Dest, Source};

struct World {
    context: FsContext,
}

const USER: Subject<'static> = Subject { uid: 1000, gid: 1000, groups: &[], capabilities: 0 };
const HERE: Start<'static> = Start::Current;

impl World {
    fn new() -> World {
        let root = Mount::of(RamFs::new(Options { mode: 0o755, ..Options::default() }), b"ram", MountFlags::empty());
        let world = World { context: FsContext::new(root.root_path()) };
        world.context.set_umask(0);
        world
    }

    fn root(&self) -> Caller<'_> {
        Caller::new(&self.context, &Subject::ROOT)
    }

    fn user(&self) -> Caller<'_> {
        Caller::new(&self.context, &USER)
    }

    fn directory(&self, path: &str) -> PathRef {
        self.root().create(HERE, path.as_bytes(), NewKind::Directory, 0o755).unwrap()
    }

    fn file(&self, path: &str) -> PathRef {
        self.root().create(HERE, path.as_bytes(), NewKind::Regular, 0o644).unwrap()
    }

    fn symlink(&self, path: &str, target: &str) {
        self.root().create(HERE, path.as_bytes(), NewKind::Symlink(target.as_bytes()), 0o777).unwrap();
    }

    fn find(&self, path: &str) -> Result<PathRef> {
        self.root().resolve(HERE, path.as_bytes(), true)
    }

    fn open(&self, path: &str, flags: OpenFlags) -> Result<Arc<OpenFile>> {
        self.root().open(HERE, path.as_bytes(), flags, 0o644, ResolveFlags::empty())
    }

    fn path_of(&self, place: &PathRef) -> String {
        String::from_utf8(place.absolute_path(&self.context.root()).0).unwrap()
    }
}

#[test]
fn components_are_walked() {
    let world = World::new();
    world.directory("/a");
    world.directory("/a/b");
    world.file("/a/b/file");
    for path in ["/a/b/file", "a/b/file", "//a///b/./file", "/a/b/../b/file", "/../../a/b/file", "/a/../a/b/file"] {
        assert_eq!(world.path_of(&world.find(path).unwrap()), "/a/b/file", "{path}");
    }
    for path in ["/a/b/", "/a/b/.", "a/b/file/../../b", "/a/b/////"] {
        let found = world.find(path);
        match path {
            "a/b/file/../../b" => assert_eq!(found.err(), Some(Errno::ENOTDIR)),
            _ => assert_eq!(world.path_of(&found.unwrap()), "/a/b", "{path}"),
        }
    }
    assert_eq!(world.find("").err(), Some(Errno::ENOENT));
    assert_eq!(world.find("/a/x/file").err(), Some(Errno::ENOENT));
    assert_eq!(world.find("/a/b/file/").err(), Some(Errno::ENOTDIR));
    assert_eq!(world.find(&"n".repeat(256)).err(), Some(Errno::ENAMETOOLONG));
    world.file(&"n".repeat(255));
    assert!(world.find(&"n".repeat(255)).is_ok());
}

#[test]
fn symlinks_are_followed() {
    let world = World::new();
    world.directory("/d");
    world.file("/d/f");
    world.symlink("/abs", "/d/f");
    world.symlink("/d/rel", "f");
    world.symlink("/d/up", "../abs");
    world.symlink("/dir", "d/");
    world.symlink("/loop", "loop");
    world.symlink("/none", "nothing");
    for path in ["/abs", "/d/rel", "/d/up", "/dir/f", "/dir/rel"] {
        assert_eq!(world.path_of(&world.find(path).unwrap()), "/d/f", "{path}");
    }
    assert_eq!(world.path_of(&world.find("/dir/").unwrap()), "/d");
    assert_eq!(world.find("/loop").err(), Some(Errno::ELOOP));
    assert_eq!(world.find("/none").err(), Some(Errno::ENOENT));
    assert_eq!(world.find("/abs/").err(), Some(Errno::ENOTDIR));
    let unfollowed = world.root().resolve(HERE, b"/abs", false).unwrap();
    assert_eq!(unfollowed.kind(), FileType::Symlink);
    assert!(world.root().resolve(HERE, b"/dir/", false).unwrap().is_directory());
    for n in 0..41 {
        world.symlink(&format!("/l{n}"), &format!("l{}", n + 1));
    }
    world.file("/l41");
    assert_eq!((world.find("/l0").err(), world.find("/l1").is_ok()), (Some(Errno::ELOOP), true));
}

#[test]
fn openat2_limits_hold() {
    let world = World::new();
    let d = world.directory("/d");
    world.file("/d/f");
    world.file("/f");
    world.symlink("/d/abs", "/f");
    world.symlink("/d/rel", "f");
    let resolve = |path: &str, limits| {
        let found = world.root().resolve_within(Start::At(&d), path.as_bytes(), true, limits);
        found.map(|place| world.path_of(&place))
    };
    assert_eq!(resolve("../f", ResolveFlags::BENEATH), Err(Errno::EXDEV));
    assert_eq!(resolve("/f", ResolveFlags::BENEATH), Err(Errno::EXDEV));
    assert_eq!(resolve("abs", ResolveFlags::BENEATH), Err(Errno::EXDEV));
    assert_eq!(resolve("rel", ResolveFlags::BENEATH), Ok("/d/f".into()));
    assert_eq!(resolve("../../f", ResolveFlags::IN_ROOT), Ok("/d/f".into()));
    assert_eq!(resolve("abs", ResolveFlags::IN_ROOT), Ok("/d/f".into()));
    assert_eq!(resolve("rel", ResolveFlags::NO_SYMLINKS), Err(Errno::ELOOP));
}

#[test]
fn users_need_permissions() {
    let world = World::new();
    world.directory("/secret");
    world.file("/secret/f");
    let secret = world.find("/secret").unwrap();
    world.root().change_mode(&secret, 0o700).unwrap();
    assert_eq!(world.user().resolve(HERE, b"/secret/f", true).err(), Some(Errno::EACCES));
    assert_eq!(world.user().create(HERE, b"/mine", NewKind::Directory, 0o755).err(), Some(Errno::EACCES));
    world.root().create(HERE, b"/tmp", NewKind::Directory, 0o1777).unwrap();
    world.file("/tmp/roots");
    assert_eq!(world.user().unlink(HERE, b"/tmp/roots"), Err(Errno::EPERM));
    let mine = world.user().create(HERE, b"/tmp/mine", NewKind::Regular, 0o600).unwrap();
    assert_eq!(mine.inode().metadata().unwrap().uid, 1000);
    assert_eq!(world.user().change_owner(&mine, Some(0), None), Err(Errno::EPERM));
    assert_eq!(world.user().change_mode(&secret, 0o777), Err(Errno::EPERM));
    world.user().unlink(HERE, b"/tmp/mine").unwrap();
    let read_only = world.user().open(HERE, b"/tmp/roots", OpenFlags::WRONLY, 0, ResolveFlags::empty());
    assert_eq!(read_only.err(), Some(Errno::EACCES));
}

#[test]
fn creating_has_its_errors() {
    let world = World::new();
    world.directory("/d");
    world.symlink("/link", "/target");
    let make = |path: &str, kind| world.root().create(HERE, path.as_bytes(), kind, 0o755).err();
    assert_eq!(make("/", NewKind::Directory), Some(Errno::EEXIST));
    assert_eq!(make("/d/.", NewKind::Directory), Some(Errno::EEXIST));
    assert_eq!(make("/d/..", NewKind::Directory), Some(Errno::EEXIST));
    assert_eq!(make("/d", NewKind::Regular), Some(Errno::EEXIST));
    assert_eq!(make("/link", NewKind::Directory), Some(Errno::EEXIST));
    assert_eq!(make("/new/", NewKind::Regular), Some(Errno::ENOENT));
    assert_eq!(make("/x/y", NewKind::Directory), Some(Errno::ENOENT));
    assert_eq!(make("/new/", NewKind::Directory), None);
    assert_eq!(world.open("/link", OpenFlags::CREAT | OpenFlags::EXCL).err(), Some(Errno::EEXIST));
    assert_eq!(world.open("/link", OpenFlags::CREAT | OpenFlags::NOFOLLOW).err(), Some(Errno::ELOOP));
    world.open("/link", OpenFlags::CREAT | OpenFlags::WRONLY).unwrap();
    assert_eq!(world.path_of(&world.find("/link").unwrap()), "/target");
    assert_eq!(world.open("/d", OpenFlags::WRONLY).err(), Some(Errno::EISDIR));
    assert_eq!(world.open("/d", OpenFlags::CREAT).err(), Some(Errno::EISDIR));
    assert_eq!(world.open("/target", OpenFlags::DIRECTORY).err(), Some(Errno::ENOTDIR));
}

#[test]
fn removing_has_its_errors() {
    let world = World::new();
    world.directory("/d");
    world.file("/d/f");
    let root = world.root();
    assert_eq!(root.unlink(HERE, b"/d"), Err(Errno::EISDIR));
    assert_eq!(root.unlink(HERE, b"/d/f/"), Err(Errno::ENOTDIR));
    assert_eq!(root.unlink(HERE, b"/d/none"), Err(Errno::ENOENT));
    assert_eq!(root.rmdir(HERE, b"/d"), Err(Errno::ENOTEMPTY));
    assert_eq!(root.rmdir(HERE, b"/d/f"), Err(Errno::ENOTDIR));
    assert_eq!(root.rmdir(HERE, b"/d/."), Err(Errno::EINVAL));
    assert_eq!(root.rmdir(HERE, b"/d/.."), Err(Errno::ENOTEMPTY));
    assert_eq!(root.rmdir(HERE, b"/"), Err(Errno::EBUSY));
    let here = world.find("/d").unwrap();
    root.unlink(HERE, b"/d/f").unwrap();
    root.rmdir(HERE, b"/d").unwrap();
    world.context.set_current(here);
    assert_eq!(root.create(HERE, b"x", NewKind::Regular, 0).err(), Some(Errno::ENOENT));
    assert_eq!(world.path_of(&world.find("..").unwrap()), "/");
}

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let world = World::new();
    let file = world.open("/f", OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    file.write(&mut Source::from_slice(b"data")).unwrap();
    world.root().unlink(HERE, b"/f").unwrap();
    assert_eq!(world.find("/f").err(), Some(Errno::ENOENT));
    let mut buffer = [0; 8];
    assert_eq!(file.read_at(0, &mut Dest::from_slice(&mut buffer)), Ok(4));
    assert_eq!(file.metadata().unwrap().nlink, 0);
    assert_eq!(file.link_text(&world.context.root()), b"/f (deleted)");
}

#[test]
fn renames_follow_open_files_and_refuse_loops() {
    let world = World::new();
    world.directory("/a");
    world.directory("/a/b");
    let file = world.open("/a/b/f", OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    let rename = |old: &str, new: &str, flags| world.root().rename(HERE, old.as_bytes(), HERE, new.as_bytes(), flags);
    let none = RenameFlags::empty();
    rename("/a", "/z", none).unwrap();
    assert_eq!(file.link_text(&world.context.root()), b"/z/b/f");
    assert_eq!(rename("/z", "/z/b/c", none), Err(Errno::EINVAL));
    assert_eq!(rename("/z/b", "/z", none), Err(Errno::ENOTEMPTY));
    assert_eq!(rename("/z/b/f", "/z", none), Err(Errno::ENOTEMPTY));
    assert_eq!(rename("/z", "/z/b/f/", none), Err(Errno::EINVAL));
    assert_eq!(rename("/z/.", "/y", none), Err(Errno::EBUSY));
    assert_eq!(rename("/none", "/y", none), Err(Errno::ENOENT));
    world.file("/g");
    assert_eq!(rename("/g", "/z/b/f", RenameFlags::NOREPLACE), Err(Errno::EEXIST));
    rename("/g", "/z/b/f", RenameFlags::EXCHANGE).unwrap();
    assert_eq!(file.link_text(&world.context.root()), b"/g");
    rename("/z/b/f", "/g", none).unwrap();
    assert_eq!(file.link_text(&world.context.root()), b"/g (deleted)");
    assert_eq!(world.find("/z/b/f").err(), Some(Errno::ENOENT));
}

#[test]
fn links_count_and_stay_in_their_file_system() {
    let world = World::new();
    let file = world.file("/f");
    world.root().link(&file, HERE, b"/g").unwrap();
    assert_eq!(world.find("/g").unwrap().inode().metadata().unwrap().nlink, 2);
    assert_eq!(world.root().link(&file, HERE, b"/g"), Err(Errno::EEXIST));
    let directory = world.directory("/d");
    assert_eq!(world.root().link(&directory, HERE, b"/e"), Err(Errno::EPERM));
    let other = Mount::of(RamFs::new(Options::default()), b"other", MountFlags::empty());
    mounting::attach(&world.root(), &other, &directory).unwrap();
    assert_eq!(world.root().link(&file, HERE, b"/d/h"), Err(Errno::EXDEV));
    let unnamed = world.open("/", OpenFlags::TMPFILE | OpenFlags::RDWR).unwrap();
    world.root().link(unnamed.path().unwrap(), HERE, b"/named").unwrap();
    assert_eq!(world.find("/named").unwrap().inode().metadata().unwrap().nlink, 1);
}

#[test]
fn mounts_are_crossed_both_ways() {
    let world = World::new();
    let place = world.directory("/mnt");
    world.file("/mnt/hidden");
    let mount = Mount::of(RamFs::new(Options::default()), b"tmp", MountFlags::empty());
    mounting::attach(&world.root(), &mount, &place).unwrap();
    assert_eq!(world.find("/mnt/hidden").err(), Some(Errno::ENOENT));
    world.file("/mnt/seen");
    let seen = world.find("/mnt/seen").unwrap();
    assert_eq!(world.path_of(&seen), "/mnt/seen");
    assert_eq!(world.path_of(&world.find("/mnt/..").unwrap()), "/");
    assert_eq!(world.root().rmdir(HERE, b"/mnt"), Err(Errno::EBUSY));
    world.directory("/bound");
    mounting::bind(&world.root(), &world.find("/mnt").unwrap(), &world.find("/bound").unwrap(), false).unwrap();
    assert!(world.find("/bound/seen").is_ok());
    mount.set_flags(MountFlags::RDONLY);
    assert_eq!(world.root().unlink(HERE, b"/mnt/seen"), Err(Errno::EROFS));
    assert_eq!(world.open("/mnt/seen", OpenFlags::WRONLY).err(), Some(Errno::EROFS));
    assert!(world.open("/bound/seen", OpenFlags::WRONLY).is_ok());
    assert_eq!(
        mounting::unmount(&world.context.namespace(), world.find("/mnt").unwrap(), Unmount::Unused),
        Err(Errno::EBUSY)
    );
    drop((seen, mount));
    mounting::unmount(&world.context.namespace(), world.find("/mnt").unwrap(), Unmount::Unused).unwrap();
    assert!(world.find("/mnt/hidden").is_ok());
    assert_eq!(
        mounting::unmount(&world.context.namespace(), world.find("/mnt").unwrap(), Unmount::Unused),
        Err(Errno::EINVAL)
    );
}

#[test]
fn descriptions_keep_positions_and_modes() {
    let world = World::new();
    let file = world.open("/f", OpenFlags::CREAT | OpenFlags::RDWR).unwrap();
    assert_eq!(file.write(&mut Source::from_slice(b"0123456789")), Ok(10));
    assert_eq!((file.position(), file.seek(SeekFrom::Start(4))), (10, Ok(4)));
    let mut buffer = [0; 3];
    assert_eq!(file.read(&mut Dest::from_slice(&mut buffer)), Ok(3));
    assert_eq!((&buffer, file.position()), (b"456", 7));
    assert_eq!(file.seek(SeekFrom::Current(-8)), Err(Errno::EINVAL));
    assert_eq!(file.seek(SeekFrom::End(2)), Ok(12));
    let append = world.open("/f", OpenFlags::WRONLY | OpenFlags::APPEND).unwrap();
    append.write(&mut Source::from_slice(b"ab")).unwrap();
    assert_eq!((append.position(), append.metadata().unwrap().size), (12, 12));
    assert_eq!(append.read(&mut Dest::from_slice(&mut buffer)), Err(Errno::EBADF));
    let read_only = world.open("/f", OpenFlags::empty()).unwrap();
    assert_eq!(read_only.write(&mut Source::from_slice(b"x")), Err(Errno::EBADF));
    world.open("/f", OpenFlags::WRONLY | OpenFlags::TRUNC).unwrap();
    assert_eq!(read_only.metadata().unwrap().size, 0);
    let place = world.open("/f", OpenFlags::PATH).unwrap();
    assert_eq!(place.read(&mut Dest::from_slice(&mut buffer)), Err(Errno::EBADF));
    assert!(place.metadata().is_ok());
}

#[test]
fn directories_begin_with_their_dots() {
    let world = World::new();
    let directory = world.directory("/d");
    world.file("/d/a");
    world.file("/d/b");
    let file = world.open("/d", OpenFlags::DIRECTORY).unwrap();
    let mut seen = Vec::new();
    for _ in 0..6 {
        let mut is_first = true;
        file.read_dir(&mut |entry| {
            if is_first {
                seen.push((String::from_utf8(entry.name.to_vec()).unwrap(), entry.ino));
            }
            core::mem::take(&mut is_first)
        })
        .unwrap();
    }
    let names: Vec<_> = seen.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, [".", "..", "a", "b"]);
    assert_eq!(seen[0].1, directory.inode().metadata().unwrap().ino);
    assert_eq!(seen[1].1, world.find("/").unwrap().inode().metadata().unwrap().ino);
}

#[test]
fn the_cache_forgets_and_finds_again() {
    let world = World::new();
    world.directory("/many");
    for n in 0..20_000 {
        let _ = world.find(&format!("/many/none{n}"));
    }
    world.file("/many/none7");
    assert!(world.find("/many/none7").is_ok());
}

#[test]
fn set_ids_are_dropped() {
    let world = World::new();
    let file = world.file("/f");
    world.root().change_owner(&file, Some(1000), Some(1000)).unwrap();
    world.root().change_mode(&file, 0o6755).unwrap();
    world.user().drop_set_id(&file).unwrap();
    assert_eq!(file.inode().metadata().unwrap().mode, 0o755);
    world.root().change_mode(&file, 0o6755).unwrap();
    world.root().change_owner(&file, Some(0), None).unwrap();
    assert_eq!(file.inode().metadata().unwrap().mode, 0o755);
}
