//! `/dev`: a ramfs that starts out with the nodes that every Linux system has, and the memory devices among them.
//!
//! There is one instance, however often `devtmpfs` is mounted. Nodes are ordinary ones, so that programs may add,
//! rename and remove them; what they lead to is found by number (`device`).

use alloc::sync::Arc;

use super::ramfs::{Options, RamFs};
use super::{
    File, FileSystem, FileType, Inode, IoFlags, NewInode, NewKind, OpenFlags, PathRef, SeekFrom, StatFs, device,
    make_device, minor,
};
use crate::drivers::random;
use crate::errno::{Errno, Result};
use crate::kprintln;
use crate::mem::object::PageSource;
use crate::mem::user::{Dest, Source};
use crate::sync::Once;

/// Major number of the memory devices.
const MEMORY: u32 = 1;
const NULL: u32 = 3;
const ZERO: u32 = 5;
const FULL: u32 = 7;
const RANDOM: u32 = 8;
const URANDOM: u32 = 9;
const KERNEL_LOG: u32 = 11;

/// Character devices: name, major and minor number, mode.
const NODES: [(&[u8], u32, u32, u16); 9] = [
    (b"null", MEMORY, NULL, 0o666),
    (b"zero", MEMORY, ZERO, 0o666),
    (b"full", MEMORY, FULL, 0o666),
    (b"random", MEMORY, RANDOM, 0o666),
    (b"urandom", MEMORY, URANDOM, 0o666),
    (b"kmsg", MEMORY, KERNEL_LOG, 0o644),
    (b"tty", 5, 0, 0o666),
    (b"console", 5, 1, 0o600),
    (b"ptmx", 5, 2, 0o666),
];

/// Symlinks: name and target.
const LINKS: [(&[u8], &[u8]); 4] = [
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
];

/// Directories, for other file systems to be mounted on.
const DIRECTORIES: [&[u8]; 2] = [b"shm", b"pts"];

/// The file system of devices.
pub struct DevFs(Arc<RamFs>);

impl FileSystem for DevFs {
    fn root(&self) -> Arc<dyn Inode> {
        self.0.root()
    }

    fn statfs(&self) -> Result<StatFs> {
        self.0.statfs()
    }

    fn name(&self) -> &'static str {
        "devtmpfs"
    }

    fn show_options(&self, out: &mut alloc::vec::Vec<u8>) {
        self.0.show_options(out);
    }
}

/// The one instance.
pub fn instance() -> Arc<DevFs> {
    static INSTANCE: Once<Arc<DevFs>> = Once::new();
    INSTANCE
        .call_once(|| {
            device::register(FileType::CharDevice, MEMORY, open_memory);
            let ram = RamFs::new(Options { mode: 0o755, ..Options::default() });
            populate(&ram.root());
            Arc::new(DevFs(ram))
        })
        .clone()
}

fn populate(root: &Arc<dyn Inode>) {
    let add = |name: &[u8], kind, mode| {
        // A new ramfs without limits has room for them.
        let _ = root.create(name, &NewInode { kind, mode, uid: 0, gid: 0 });
    };
    for (name, major, minor, mode) in NODES {
        add(name, NewKind::CharDevice(make_device(major, minor)), mode);
    }
    for (name, target) in LINKS {
        add(name, NewKind::Symlink(target), 0o777);
    }
    for name in DIRECTORIES {
        add(name, NewKind::Directory, 0o755);
    }
}

/// Adds a character device that was found, unless there is one of that name.
pub fn add_character_device(name: &[u8], number: u64, mode: u16) {
    let new = NewInode { kind: NewKind::CharDevice(number), mode, uid: 0, gid: 0 };
    // EEXIST: whoever was first keeps it.
    let _ = instance().root().create(name, &new);
}

fn open_memory(device: u64, _place: &PathRef, _flags: OpenFlags) -> Result<Arc<dyn File>> {
    Ok(match minor(device) {
        NULL => Arc::new(Null),
        ZERO => Arc::new(Zero),
        FULL => Arc::new(Full),
        RANDOM | URANDOM => Arc::new(Random),
        KERNEL_LOG => Arc::new(KernelLog),
        _ => return Err(Errno::ENXIO),
    })
}

/// `/dev/null`: empty, and swallows all.
struct Null;

impl File for Null {
    fn takes_offsets(&self) -> bool {
        true
    }

    fn read(&self, _dst: &mut Dest<'_>, _flags: IoFlags) -> Result<usize> {
        Ok(0)
    }

    #[inline]
    fn write(&self, src: &mut Source<'_>, _flags: IoFlags) -> Result<usize> {
        Ok(src.remaining())
    }

    fn read_at(&self, _offset: u64, _dst: &mut Dest<'_>) -> Result<usize> {
        Ok(0)
    }

    fn write_at(&self, _offset: u64, src: &mut Source<'_>) -> Result<usize> {
        Ok(src.remaining())
    }

    fn seek(&self, _from: SeekFrom, _current: u64) -> Result<u64> {
        Ok(0)
    }
}

/// `/dev/kmsg`: what is written is a line of the kernel's log. What was logged is to be read by `syslog` only.
struct KernelLog;

impl KernelLog {
    /// Longer lines are cut, as on Linux.
    const LINE_MAX: usize = 1024;
}

impl File for KernelLog {
    fn read(&self, _dst: &mut Dest<'_>, _flags: IoFlags) -> Result<usize> {
        Err(Errno::EAGAIN)
    }

    fn write(&self, src: &mut Source<'_>, _flags: IoFlags) -> Result<usize> {
        let count = src.remaining();
        let mut buffer = [0; KernelLog::LINE_MAX];
        let len = src.pull(&mut buffer)?;
        let line = buffer.get(..len).unwrap_or_default().trim_ascii_end();
        // The priority that Linux' loggers put in front.
        let text = match line.iter().position(|&byte| byte == b'>') {
            Some(end) if line.starts_with(b"<") => line.get(end + 1..).unwrap_or_default(),
            _ => line,
        };
        kprintln!("{}", Printable(text));
        Ok(count)
    }
}

/// Text with what is not printable escaped.
struct Printable<'a>(&'a [u8]);

impl core::fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for char in chunk.valid().chars() {
                match char {
                    '\t' => f.write_str(" ")?,
                    _ if char.is_control() => write!(f, "{}", char.escape_default())?,
                    _ => core::fmt::Write::write_char(f, char)?,
                }
            }
            write!(f, "{}", chunk.invalid().escape_ascii())?;
        }
        Ok(())
    }
}

/// `/dev/zero`: zeros without end.
struct Zero;

impl File for Zero {
    fn takes_offsets(&self) -> bool {
        true
    }

    fn read(&self, dst: &mut Dest<'_>, _flags: IoFlags) -> Result<usize> {
        dst.push_zeros(dst.remaining())
    }

    fn write(&self, src: &mut Source<'_>, _flags: IoFlags) -> Result<usize> {
        Ok(src.remaining())
    }

    fn read_at(&self, _offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        dst.push_zeros(dst.remaining())
    }

    fn write_at(&self, _offset: u64, src: &mut Source<'_>) -> Result<usize> {
        Ok(src.remaining())
    }

    fn seek(&self, _from: SeekFrom, _current: u64) -> Result<u64> {
        Ok(0)
    }

    fn mapping(&self) -> Result<Arc<dyn PageSource>> {
        Ok(Arc::new(Zeros))
    }
}

/// What a mapping of `/dev/zero` shows.
struct Zeros;

impl PageSource for Zeros {
    fn size(&self) -> u64 {
        super::OFFSET_MAX
    }

    fn is_zero(&self) -> bool {
        true
    }
}

/// `/dev/full`: zeros, and no room.
struct Full;

impl File for Full {
    fn takes_offsets(&self) -> bool {
        true
    }

    fn read(&self, dst: &mut Dest<'_>, _flags: IoFlags) -> Result<usize> {
        dst.push_zeros(dst.remaining())
    }

    fn write(&self, src: &mut Source<'_>, _flags: IoFlags) -> Result<usize> {
        if src.remaining() == 0 { Ok(0) } else { Err(Errno::ENOSPC) }
    }

    fn read_at(&self, _offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        dst.push_zeros(dst.remaining())
    }

    fn write_at(&self, _offset: u64, src: &mut Source<'_>) -> Result<usize> {
        self.write(src, IoFlags::empty())
    }

    fn seek(&self, _from: SeekFrom, _current: u64) -> Result<u64> {
        Ok(0)
    }
}

/// `/dev/random` and `/dev/urandom`, which are the same once the kernel runs.
struct Random;

impl File for Random {
    fn takes_offsets(&self) -> bool {
        true
    }

    fn read(&self, dst: &mut Dest<'_>, _flags: IoFlags) -> Result<usize> {
        let before = dst.moved();
        let mut chunk = [0; 256];
        while !dst.is_full() {
            let len = chunk.len().min(dst.remaining());
            let part = chunk.get_mut(..len).unwrap_or_default();
            random::fill(part);
            match dst.push(part) {
                Ok(moved) if moved == len => crate::sched::relax(),
                Err(error) if dst.moved() == before => return Err(error),
                _ => break,
            }
        }
        Ok(dst.moved() - before)
    }

    /// What is written stirs the pool.
    fn write(&self, src: &mut Source<'_>, _flags: IoFlags) -> Result<usize> {
        let mut chunk = [0; 256];
        let moved = src.pull(&mut chunk)?;
        random::add_entropy(chunk.get(..moved).unwrap_or_default());
        Ok(moved)
    }

    fn read_at(&self, _offset: u64, dst: &mut Dest<'_>) -> Result<usize> {
        self.read(dst, IoFlags::empty())
    }

    fn write_at(&self, _offset: u64, src: &mut Source<'_>) -> Result<usize> {
        self.write(src, IoFlags::empty())
    }

    fn seek(&self, _from: SeekFrom, _current: u64) -> Result<u64> {
        Ok(0)
    }
}
