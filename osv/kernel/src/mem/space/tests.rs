//! Address spaces on the host: page tables are filled in fake RAM, and `read_remote` and `write_remote` are the program.

use super::*;
use crate::mem::PageCache;
use crate::mem::frame::Frame;
use crate::mem::object::PageSource;
use crate::mem::paging::TABLE_BYTES;
use crate::mem::user::{Dest, Source};
use proptest::prelude::*;

const RW: Prot = Prot::READ.union(Prot::WRITE);

fn space() -> Arc<AddressSpace> {
    AddressSpace::new(0, Limits::default()).unwrap()
}

fn poke(space: &AddressSpace, addr: u64, data: &[u8]) -> Result<usize> {
    space.write_remote(addr, &mut Source::from_slice(data))
}

fn peek(space: &AddressSpace, addr: u64) -> Result<u8> {
    let mut byte = [0xee];
    space.read_remote(addr, &mut Dest::from_slice(&mut byte)).map(|_| byte[0])
}

fn map(space: &Arc<AddressSpace>, addr: u64, len: u64, prot: Prot, flags: MapFlags) -> Result<u64> {
    space.mmap(MapRequest { addr, flags, ..MapRequest::anonymous(len, prot) })
}

/// A file whose page `n` is filled with `n`.
struct TestFile {
    pages: PageCache,
    size: AtomicU64,
}

impl TestFile {
    fn new(size: u64) -> Arc<TestFile> {
        let file = TestFile { pages: PageCache::new(), size: AtomicU64::new(size) };
        for index in 0..size.div_ceil(PAGE) {
            let frame = Frame::alloc_uninit().unwrap();
            frame.write(0, &[index as u8; PAGE_SIZE]);
            file.pages.insert(index, frame);
        }
        Arc::new(file)
    }
}

impl PageSource for TestFile {
    fn size(&self) -> u64 {
        self.size.load(Ordering::Relaxed)
    }
    fn page(&self, index: u64, _for_write: bool) -> Result<Frame> {
        self.pages.get_or_zeroed(index)
    }
    fn cached(&self, index: u64) -> Option<Frame> {
        self.pages.get(index)
    }
    fn mappers(&self) -> Option<&Mappers> {
        Some(self.pages.mappers())
    }
}

fn map_file(space: &Arc<AddressSpace>, file: &Arc<TestFile>, len: u64, prot: Prot, flags: MapFlags) -> u64 {
    let part = FilePart::new(file.clone(), Some(Arc::new(b"/file")), 0);
    space.mmap(MapRequest { flags, file: Some(part), ..MapRequest::anonymous(len, prot) }).unwrap()
}

#[test]
fn memory_is_zero_until_written() {
    let space = space();
    let at = map(&space, 0, 3 * PAGE, RW, MapFlags::empty()).unwrap();
    assert_eq!(peek(&space, at + 5), Ok(0));
    assert_eq!(space.resident_usage().anonymous, 0, "reads see the common page of zeros");
    poke(&space, at + PAGE - 1, b"ab").unwrap();
    assert_eq!((peek(&space, at + PAGE - 1), peek(&space, at + PAGE)), (Ok(b'a'), Ok(b'b')));
    assert_eq!(space.resident_usage().anonymous, 2 * PAGE);
    space.madvise(at, PAGE, Advice::DontNeed).unwrap();
    assert_eq!(peek(&space, at + PAGE - 1), Ok(0));
    space.munmap(at, 3 * PAGE).unwrap();
    assert_eq!(space.resident_usage().anonymous, 0);
    assert_eq!(space.handle_fault(at, Access::Read), Err(Fault::NotMapped));
    assert_eq!(space.handle_fault(u64::MAX - 5, Access::Read), Err(Fault::NotMapped));
}

#[test]
fn the_errors_of_mmap() {
    let space = space();
    let fixed = MapFlags::FIXED;
    assert_eq!(map(&space, 0, 0, RW, MapFlags::empty()), Err(Errno::EINVAL));
    assert_eq!(map(&space, 0, u64::MAX, RW, MapFlags::empty()), Err(Errno::ENOMEM));
    assert_eq!(map(&space, 0, PAGE, RW, fixed), Err(Errno::EPERM));
    assert_eq!(map(&space, 0x10_0001, PAGE, RW, fixed), Err(Errno::EINVAL));
    assert_eq!(map(&space, USER_END, PAGE, RW, fixed), Err(Errno::ENOMEM));
    assert_eq!(map(&space, 0x10_0000, PAGE, RW, fixed), Ok(0x10_0000));
    assert_eq!(map(&space, 0x10_0000, PAGE, RW, MapFlags::FIXED_NO_REPLACE), Err(Errno::EEXIST));
    assert_eq!(map(&space, 0, 1 << 40, RW, MapFlags::empty()), Err(Errno::ENOMEM), "never there at once");
    assert!(map(&space, 0, 1 << 40, Prot::empty(), MapFlags::empty()).is_ok());
    assert!(map(&space, 0, PAGE, RW, MapFlags::BELOW_2G).unwrap() < 1 << 31);
    assert_eq!(space.munmap(1, PAGE), Err(Errno::EINVAL));
    assert_eq!(space.munmap(0, 0), Err(Errno::EINVAL));
}

#[test]
fn protection_is_kept() {
    let space = space();
    let at = map(&space, 0, 4 * PAGE, RW, MapFlags::empty()).unwrap();
    poke(&space, at, b"x").unwrap();
    space.mprotect(at, 1, Prot::READ, false).unwrap();
    assert_eq!(space.handle_fault(at, Access::Write), Err(Fault::Forbidden));
    assert_eq!(space.handle_fault(at + PAGE, Access::Execute), Err(Fault::Forbidden));
    space.mprotect(at, PAGE, Prot::empty(), false).unwrap();
    assert_eq!(space.handle_fault(at, Access::Read), Err(Fault::Forbidden));
    space.mprotect(at, PAGE, RW, false).unwrap();
    assert_eq!(peek(&space, at), Ok(b'x'), "contents survive PROT_NONE");
    poke(&space, at, b"y").unwrap();
    assert_eq!(space.mprotect(at, 5 * PAGE, RW, false), Err(Errno::ENOMEM));
    assert_eq!(space.mprotect(at + 1, PAGE, RW, false), Err(Errno::EINVAL));
    assert_eq!(space.vmas(false).unwrap().len(), 1, "what is alike joins again");
}

#[test]
fn a_fork_shares_until_one_side_writes() {
    let parent = space();
    let at = map(&parent, 0, 2 * PAGE, RW, MapFlags::empty()).unwrap();
    let shared = map(&parent, 0, PAGE, RW, MapFlags::SHARED).unwrap();
    poke(&parent, at, b"ab").unwrap();
    poke(&parent, shared, b"s").unwrap();
    let child = parent.fork().unwrap();
    assert_eq!((peek(&child, at), peek(&child, shared)), (Ok(b'a'), Ok(b's')));
    poke(&child, at, b"c").unwrap();
    poke(&child, shared, b"t").unwrap();
    assert_eq!((peek(&parent, at), peek(&parent, shared)), (Ok(b'a'), Ok(b't')));
    poke(&parent, at, b"p").unwrap();
    assert_eq!((peek(&child, at), peek(&child, at + 1)), (Ok(b'c'), Ok(b'b')));
    assert_eq!(child.resident_usage().anonymous, PAGE);
    parent.madvise(at, PAGE, Advice::WipeOnFork(true)).unwrap();
    parent.madvise(at + PAGE, PAGE, Advice::DontFork(true)).unwrap();
    let other = parent.fork().unwrap();
    assert_eq!(peek(&other, at), Ok(0));
    assert_eq!(peek(&other, at + PAGE), Err(Errno::EFAULT));
}

#[test]
fn files_are_mapped_and_cut_off() {
    let space = space();
    let file = TestFile::new(5 * PAGE + 10);
    let private = map_file(&space, &file, 8 * PAGE, RW, MapFlags::empty());
    let shared = map_file(&space, &file, 8 * PAGE, RW, MapFlags::SHARED);
    assert_eq!(peek(&space, private + 4 * PAGE), Ok(4));
    assert_eq!(space.resident_usage().file, 6 * PAGE, "cached neighbours come along");
    poke(&space, private + 4 * PAGE, b"mine").unwrap();
    poke(&space, shared + 4 * PAGE + 1, b"all").unwrap();
    let mut bytes = [0; 4];
    file.pages.get(4).unwrap().read(0, &mut bytes);
    assert_eq!(&bytes, b"\x04all");
    assert_eq!(peek(&space, private + 4 * PAGE), Ok(b'm'));
    assert_eq!(space.handle_fault(shared + 6 * PAGE, Access::Read), Err(Fault::NoData));
    file.size.store(2 * PAGE, Ordering::Relaxed);
    file.pages.truncate(2 * PAGE);
    assert_eq!(space.handle_fault(private + 4 * PAGE, Access::Read), Err(Fault::NoData));
    assert_eq!(space.handle_fault(shared + 2 * PAGE, Access::Read), Err(Fault::NoData));
    assert_eq!(peek(&space, shared + PAGE), Ok(1));
    assert_eq!(space.resident_usage().anonymous, 0);
    let names = space.vmas(true).unwrap();
    assert!(names.iter().all(|area| area.name == b"/file" && area.offset == 0));
}

#[test]
fn a_stack_grows_to_its_limit() {
    let space = space();
    let top = space.stack_top();
    let flags = MapFlags::FIXED | MapFlags::GROWS_DOWN | MapFlags::STACK;
    map(&space, top - 4 * PAGE, 4 * PAGE, RW, flags).unwrap();
    poke(&space, top - 100 * PAGE, b"deep").unwrap();
    assert_eq!(space.vmas(false).unwrap()[0].name, b"[stack]");
    assert_eq!(space.handle_fault(top - (8 << 20) - PAGE, Access::Write), Err(Fault::NotMapped));
    map(&space, top - 1024 * PAGE, PAGE, RW, MapFlags::FIXED).unwrap();
    assert_eq!(space.handle_fault(top - 900 * PAGE, Access::Write), Err(Fault::NotMapped), "the gap stays");
    assert_eq!(space.handle_fault(top - 700 * PAGE, Access::Write), Ok(()));
}

#[test]
fn the_heap_moves() {
    let space = space();
    space.set_program_end(0x40_1234);
    let start = space.brk(0);
    assert_eq!(start, 0x40_2000);
    assert_eq!(space.brk(start + 5000), start + 5000);
    poke(&space, start + 4999, b"h").unwrap();
    assert_eq!(space.vmas(false).unwrap()[0].name, b"[heap]");
    assert_eq!(space.brk(start + 10), start + 10);
    assert_eq!(peek(&space, start + 4999), Err(Errno::EFAULT));
    map(&space, start + 16 * PAGE, PAGE, RW, MapFlags::FIXED).unwrap();
    assert_eq!(space.brk(start + 16 * PAGE), start + 10, "it may not run into what follows");
    assert_eq!(space.brk(u64::MAX), start + 10);
}

#[test]
fn mappings_are_moved_and_resized() {
    let space = space();
    let at = map(&space, 0x7000_0000, 4 * PAGE, RW, MapFlags::FIXED).unwrap();
    poke(&space, at + 3 * PAGE, b"z").unwrap();
    let request = |addr, old_len, new_len, flags, new_addr| RemapRequest { addr, old_len, new_len, flags, new_addr };
    let none = RemapFlags::empty();
    assert_eq!(space.mremap(request(at, 4 * PAGE, 8 * PAGE, none, 0)), Ok(at));
    map(&space, at + 8 * PAGE, PAGE, Prot::READ, MapFlags::FIXED).unwrap();
    assert_eq!(space.mremap(request(at, 8 * PAGE, 9 * PAGE, none, 0)), Err(Errno::ENOMEM));
    let moved = space.mremap(request(at, 8 * PAGE, 9 * PAGE, RemapFlags::MAY_MOVE, 0)).unwrap();
    assert_ne!(moved, at);
    assert_eq!(peek(&space, moved + 3 * PAGE), Ok(b'z'));
    assert_eq!(peek(&space, at), Err(Errno::EFAULT));
    let both = RemapFlags::MAY_MOVE | RemapFlags::FIXED;
    assert_eq!(space.mremap(request(moved, 9 * PAGE, 9 * PAGE, both, moved + PAGE)), Err(Errno::EINVAL));
    assert_eq!(space.mremap(request(moved, 9 * PAGE, 4 * PAGE, both, at)), Ok(at));
    assert_eq!(peek(&space, at + 3 * PAGE), Ok(b'z'));
    assert_eq!(space.mremap(request(at, 4 * PAGE, PAGE, none, 0)), Ok(at));
    assert_eq!(space.mremap(request(at + PAGE, PAGE, PAGE, none, 0)), Err(Errno::EFAULT));
    assert_eq!(space.mremap(request(at, 0, PAGE, RemapFlags::MAY_MOVE, 0)), Err(Errno::EINVAL));
}

#[test]
fn memory_in_order_comes_in_big_pages() {
    let space = space();
    let at = map(&space, 0, 3 * TABLE_BYTES, RW, MapFlags::empty()).unwrap();
    assert_eq!(at % TABLE_BYTES, 0);
    poke(&space, at, b"1").unwrap();
    assert_eq!(space.resident_usage().anonymous, TABLE_BYTES);
    space.handle_fault(at + TABLE_BYTES, Access::Write).unwrap();
    space.munmap(at + TABLE_BYTES + PAGE, PAGE).unwrap();
    assert_eq!(space.resident_usage().anonymous, 2 * TABLE_BYTES - PAGE);
    assert_eq!((peek(&space, at), peek(&space, at + TABLE_BYTES)), (Ok(b'1'), Ok(0)));
    space.handle_fault(at + 2 * TABLE_BYTES + PAGE, Access::Write).unwrap();
    assert_eq!(space.resident_usage().anonymous, 2 * TABLE_BYTES, "touched here and there it stays small");
}

#[test]
fn residency_is_told() {
    let space = space();
    let at = map(&space, 0, 3 * PAGE, RW, MapFlags::empty()).unwrap();
    poke(&space, at + PAGE, b"1").unwrap();
    assert_eq!(space.mincore(at, 3 * PAGE), Ok(vec![0, 1, 0]));
    assert_eq!(space.mincore(at, 4 * PAGE), Err(Errno::ENOMEM));
    assert_eq!(space.msync(at, 3 * PAGE), Ok(()));
    assert_eq!(space.madvise(at, 4 * PAGE, Advice::WillNeed), Err(Errno::ENOMEM));
    space.mlock(at + 1, PAGE, true, false).unwrap();
    assert_eq!(space.locked_bytes(), 2 * PAGE);
    assert_eq!(space.mincore(at, 3 * PAGE), Ok(vec![1, 1, 0]));
    assert_eq!(space.madvise(at, PAGE, Advice::DontNeed), Err(Errno::EINVAL));
}

#[test]
fn limits_hold() {
    let space = space();
    space.set_limits(Limits { address_space: 10 * PAGE, ..Limits::default() });
    assert!(map(&space, 0, 10 * PAGE, RW, MapFlags::empty()).is_ok());
    assert_eq!(map(&space, 0, PAGE, RW, MapFlags::empty()), Err(Errno::ENOMEM));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Parent and child against two plain arrays, with 16 pages each.
    #[test]
    fn copies_stay_apart(steps in prop::collection::vec((0u8..5, 0u64..16, 1u64..6, any::<u8>()), 1..120)) {
        let base = 0x7000_0000;
        let mut spaces = vec![(space(), vec![None::<u8>; 16])];
        for (what, page, count, value) in steps {
            let which = value as usize % spaces.len();
            let (space, model) = &mut spaces[which];
            let end = (page + count).min(16);
            let (addr, len) = (base + page * PAGE, (end - page) * PAGE);
            let pages = page as usize..end as usize;
            match what {
                0 => {
                    map(space, addr, len, RW, MapFlags::FIXED).unwrap();
                    model[pages].fill(Some(0));
                }
                1 => {
                    space.munmap(addr, len).unwrap();
                    model[pages].fill(None);
                }
                2 | 3 => {
                    let expected = if model[page as usize].is_some() { Ok(1) } else { Err(Errno::EFAULT) };
                    prop_assert_eq!(poke(space, addr, &[value]), expected);
                    if let Some(byte) = &mut model[page as usize] {
                        *byte = value;
                    }
                }
                _ if spaces.len() < 4 => {
                    let copy = (spaces[which].0.fork().unwrap(), spaces[which].1.clone());
                    spaces.push(copy);
                }
                _ => {
                    spaces.swap_remove(which);
                }
            }
            for (space, model) in &spaces {
                for (page, expected) in model.iter().enumerate() {
                    prop_assert_eq!(peek(space, base + page as u64 * PAGE), expected.ok_or(Errno::EFAULT));
                }
            }
            if spaces.is_empty() {
                spaces.push((self::space(), vec![None; 16]));
            }
        }
    }
}
