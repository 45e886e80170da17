//! Mounting in steps: `fsopen(2)`, `fsconfig(2)`, `fsmount(2)`, `fspick(2)`, `open_tree(2)`, `move_mount(2)`,
//! `mount_setattr(2)`.

use alloc::sync::Arc;

use linux_raw_sys::general;
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::mount::check_privilege;
use super::{as_caller, at_place, file, install, known_flags, usable_file};
use crate::errno::{Errno, Result};
use crate::fs::mount_builder::MountBuilder;
use crate::fs::mounting::{self as mounts, Detached};
use crate::fs::{MountFlags, OpenFile, OpenFlags, PathRef, types};
use crate::mem::user::{UserAddr, UserPtr, UserSlice, read_cstr};
use crate::syscall::{Fd, SysResult};

/// Longest key or value of a parameter, its NUL included.
const PARAMETER_MAX: usize = 256;
/// Longest binary value.
const BLOB_MAX: usize = 1 << 20;
/// `OPEN_TREE_CLONE`: a copy instead of the mount itself.
const TREE_CLONE: u32 = 1;
/// `AT_RECURSIVE`: with all that is mounted below.
const RECURSIVE: u32 = 0x8000;
/// Properties that `mount_setattr` and `fsmount` know.
const ATTRIBUTES: u32 = general::MOUNT_ATTR_RDONLY
    | general::MOUNT_ATTR_NOSUID
    | general::MOUNT_ATTR_NODEV
    | general::MOUNT_ATTR_NOEXEC
    | general::MOUNT_ATTR__ATIME
    | general::MOUNT_ATTR_NODIRATIME
    | general::MOUNT_ATTR_NOSYMFOLLOW;

/// Begins to put a file system together. <https://man7.org/linux/man-pages/man2/fsopen.2.html>
pub fn fsopen(kind: UserAddr, flags: u32) -> SysResult {
    as_caller(check_privilege)?;
    known_flags(flags, general::FSOPEN_CLOEXEC)?;
    let kind = read_cstr(kind, PARAMETER_MAX).map_err(|error| match error {
        Errno::ENAMETOOLONG => Errno::EINVAL,
        error => error,
    })?;
    if !types::is_known(&kind) {
        return Err(Errno::ENODEV);
    }
    install_builder(MountBuilder::new(&kind), flags & general::FSOPEN_CLOEXEC != 0)
}

/// Begins to change a file system. <https://man7.org/linux/man-pages/man2/fspick.2.html>
pub fn fspick(directory: Fd, path: UserAddr, flags: u32) -> SysResult {
    as_caller(check_privilege)?;
    let known = general::FSPICK_CLOEXEC
        | general::FSPICK_SYMLINK_NOFOLLOW
        | general::FSPICK_NO_AUTOMOUNT
        | general::FSPICK_EMPTY_PATH;
    known_flags(flags, known)?;
    let at = at_flags(flags & general::FSPICK_SYMLINK_NOFOLLOW != 0, flags & general::FSPICK_EMPTY_PATH != 0);
    let place = at_place(directory, path, at, |_, place| Ok(place.clone()))?;
    mounts::mount_root(&place)?;
    install_builder(MountBuilder::pick(place), flags & general::FSPICK_CLOEXEC != 0)
}

fn install_builder(builder: Arc<MountBuilder>, closes_on_exec: bool) -> SysResult {
    install(OpenFile::anonymous(builder, OpenFlags::RDWR), closes_on_exec)
}

fn at_flags(is_nofollow: bool, is_empty_allowed: bool) -> u32 {
    let nofollow = if is_nofollow { general::AT_SYMLINK_NOFOLLOW } else { 0 };
    nofollow | if is_empty_allowed { general::AT_EMPTY_PATH } else { 0 }
}

/// Sets a parameter, or makes or changes the file system. <https://man7.org/linux/man-pages/man2/fsconfig.2.html>
pub fn fsconfig(fd: Fd, command: u32, key: UserAddr, value: UserAddr, auxiliary: i32) -> SysResult {
    use general::fsconfig_command as c;
    const fn number(command: c) -> u32 {
        command as u32
    }
    const FLAG: u32 = number(c::FSCONFIG_SET_FLAG);
    const STRING: u32 = number(c::FSCONFIG_SET_STRING);
    const BINARY: u32 = number(c::FSCONFIG_SET_BINARY);
    const PATH: u32 = number(c::FSCONFIG_SET_PATH);
    const PATH_EMPTY: u32 = number(c::FSCONFIG_SET_PATH_EMPTY);
    const FD: u32 = number(c::FSCONFIG_SET_FD);
    const CREATE: u32 = number(c::FSCONFIG_CMD_CREATE);
    const RECONFIGURE: u32 = number(c::FSCONFIG_CMD_RECONFIGURE);
    let (has_key, has_value) = (!key.is_null(), !value.is_null());
    let is_sound = fd.0 >= 0
        && match command {
            FLAG => has_key && !has_value && auxiliary == 0,
            STRING => has_key && has_value && auxiliary == 0,
            BINARY => has_key && has_value && usize::try_from(auxiliary).is_ok_and(|len| (1..=BLOB_MAX).contains(&len)),
            PATH | PATH_EMPTY => has_key && has_value && (auxiliary == general::AT_FDCWD || auxiliary >= 0),
            FD => has_key && !has_value && auxiliary >= 0,
            CREATE | RECONFIGURE => !has_key && !has_value && auxiliary == 0,
            _ => return Err(Errno::EOPNOTSUPP),
        };
    if !is_sound {
        return Err(Errno::EINVAL);
    }
    let file = usable_file(fd)?;
    let builder = file.downcast::<MountBuilder>().ok_or(Errno::EINVAL)?;
    let parameter = |text| {
        read_cstr(text, PARAMETER_MAX).map_err(|error| if error == Errno::ENAMETOOLONG { Errno::EINVAL } else { error })
    };
    match command {
        FLAG => builder.set(&parameter(key)?, None)?,
        STRING => builder.set(&parameter(key)?, Some(&parameter(value)?))?,
        CREATE => as_caller(|caller| {
            check_privilege(caller)?;
            builder.create(caller)
        })?,
        RECONFIGURE => as_caller(check_privilege).and_then(|()| builder.reconfigure())?,
        // No type here has parameters of these kinds.
        _ => return parameter(key).and(Err(Errno::EINVAL)),
    }
    Ok(0)
}

/// Makes a mount of what was put together. <https://man7.org/linux/man-pages/man2/fsmount.2.html>
pub fn fsmount(fd: Fd, flags: u32, attributes: u32) -> SysResult {
    as_caller(check_privilege)?;
    known_flags(flags, general::FSMOUNT_CLOEXEC)?;
    let properties = properties(known_flags(attributes, ATTRIBUTES)?)?;
    let file = usable_file(fd)?;
    let mount = file.downcast::<MountBuilder>().ok_or(Errno::EINVAL)?.mount(properties)?;
    install(OpenFile::with_tree(Detached::new(mount)), flags & general::FSMOUNT_CLOEXEC != 0)
}

/// The properties that attributes ask for.
fn properties(attributes: u32) -> Result<MountFlags> {
    const PLAIN: [(u32, MountFlags); 6] = [
        (general::MOUNT_ATTR_RDONLY, MountFlags::RDONLY),
        (general::MOUNT_ATTR_NOSUID, MountFlags::NOSUID),
        (general::MOUNT_ATTR_NODEV, MountFlags::NODEV),
        (general::MOUNT_ATTR_NOEXEC, MountFlags::NOEXEC),
        (general::MOUNT_ATTR_NODIRATIME, MountFlags::NODIRATIME),
        (general::MOUNT_ATTR_NOSYMFOLLOW, MountFlags::NOSYMFOLLOW),
    ];
    let mut flags = match attributes & general::MOUNT_ATTR__ATIME {
        general::MOUNT_ATTR_RELATIME => MountFlags::RELATIME,
        general::MOUNT_ATTR_NOATIME => MountFlags::NOATIME,
        general::MOUNT_ATTR_STRICTATIME => MountFlags::empty(),
        _ => return Err(Errno::EINVAL),
    };
    for (_, flag) in PLAIN.into_iter().filter(|(attribute, _)| attributes & attribute != 0) {
        flags |= flag;
    }
    Ok(flags)
}

/// Opens a mount, or a copy of it that is attached nowhere. <https://man7.org/linux/man-pages/man2/open_tree.2.html>
pub fn open_tree(directory: Fd, path: UserAddr, flags: u32) -> SysResult {
    let known = general::AT_EMPTY_PATH
        | general::AT_NO_AUTOMOUNT
        | RECURSIVE
        | general::AT_SYMLINK_NOFOLLOW
        | TREE_CLONE
        | general::O_CLOEXEC;
    known_flags(flags, known)?;
    let clones = flags & TREE_CLONE != 0;
    if flags & RECURSIVE != 0 && !clones {
        return Err(Errno::EINVAL);
    }
    if clones {
        as_caller(check_privilege)?;
    }
    let at = flags & (general::AT_EMPTY_PATH | general::AT_SYMLINK_NOFOLLOW);
    let place = at_place(directory, path, at, |_, place| Ok(place.clone()))?;
    let file = if clones {
        OpenFile::with_tree(Detached::new(as_caller(|caller| {
            mounts::clone_tree(caller, &place, flags & RECURSIVE != 0)
        })?))
    } else {
        OpenFile::with_place(place, OpenFlags::PATH)
    };
    install(file, flags & general::O_CLOEXEC != 0)
}

/// Attaches or moves a mount. <https://man7.org/linux/man-pages/man2/move_mount.2.html>
pub fn move_mount(from_directory: Fd, from: UserAddr, to_directory: Fd, to: UserAddr, flags: u32) -> SysResult {
    as_caller(check_privilege)?;
    let known = general::MOVE_MOUNT_F_SYMLINKS
        | general::MOVE_MOUNT_F_AUTOMOUNTS
        | general::MOVE_MOUNT_F_EMPTY_PATH
        | general::MOVE_MOUNT_T_SYMLINKS
        | general::MOVE_MOUNT_T_AUTOMOUNTS
        | general::MOVE_MOUNT_T_EMPTY_PATH;
    known_flags(flags, known)?;
    let place = |directory, path, follows, empty| {
        let at = at_flags(flags & follows == 0, flags & empty != 0);
        at_place(directory, path, at, |_, place| Ok(place.clone()))
    };
    let source = place(from_directory, from, general::MOVE_MOUNT_F_SYMLINKS, general::MOVE_MOUNT_F_EMPTY_PATH)?;
    let target = place(to_directory, to, general::MOVE_MOUNT_T_SYMLINKS, general::MOVE_MOUNT_T_EMPTY_PATH)?;
    let is_detached = file(from_directory).is_ok_and(|file| file.holds_tree()) && is_detached(&source);
    as_caller(|caller| mounts::move_mount(caller, &source, &target, is_detached))?;
    Ok(0)
}

fn is_detached(place: &PathRef) -> bool {
    place.mount().attachment().is_none()
}

/// `struct mount_attr`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
struct MountAttributes {
    set: u64,
    clear: u64,
    propagation: u64,
    user_namespace: u64,
}

/// Changes the properties of a mount, or of a whole tree. <https://man7.org/linux/man-pages/man2/mount_setattr.2.html>
pub fn mount_setattr(directory: Fd, path: UserAddr, flags: u32, attributes: UserAddr, size: usize) -> SysResult {
    let known = general::AT_EMPTY_PATH | RECURSIVE | general::AT_SYMLINK_NOFOLLOW | general::AT_NO_AUTOMOUNT;
    known_flags(flags, known)?;
    let wanted = read_attributes(attributes, size)?;
    as_caller(check_privilege)?;
    if (wanted.set, wanted.clear, wanted.propagation) == (0, 0, 0) {
        return Ok(0);
    }
    let change = Change::new(&wanted)?;
    let at = flags & (general::AT_EMPTY_PATH | general::AT_SYMLINK_NOFOLLOW);
    let place = at_place(directory, path, at, |_, place| Ok(place.clone()))?;
    let mount = mounts::mount_root(&place)?;
    let count = if flags & RECURSIVE != 0 { usize::MAX } else { 1 };
    let tree: alloc::vec::Vec<_> = mount.tree().into_iter().take(count).collect();
    let becomes_read_only = change.set.contains(MountFlags::RDONLY);
    if becomes_read_only && tree.iter().any(|mount| mount.has_writers()) {
        return Err(Errno::EBUSY);
    }
    for mount in tree {
        mount.set_flags(mount.flags().difference(change.clear) | change.set);
        if change.propagation != 0 {
            mount.set_propagation(change.propagation);
        }
    }
    Ok(0)
}

/// Reads a `struct mount_attr` of any size: unknown fields have to be 0 (E2BIG).
fn read_attributes(address: UserAddr, size: usize) -> Result<MountAttributes> {
    const KNOWN: usize = size_of::<MountAttributes>();
    if size > 4096 {
        return Err(Errno::E2BIG);
    }
    if size < KNOWN {
        return Err(Errno::EINVAL);
    }
    let bytes = UserSlice::new(address.0, size).read_vec()?;
    if bytes.iter().skip(KNOWN).any(|&byte| byte != 0) {
        return Err(Errno::E2BIG);
    }
    UserPtr::<MountAttributes>::new(address.0).read()
}

/// What `mount_setattr` does to the flags of each mount.
struct Change {
    set: MountFlags,
    clear: MountFlags,
    propagation: u32,
}

impl Change {
    fn new(wanted: &MountAttributes) -> Result<Change> {
        let known = |bits: u64| u32::try_from(bits).ok().filter(|bits| bits & !ATTRIBUTES == 0).ok_or(Errno::EINVAL);
        let (set, clear) = (known(wanted.set)?, known(wanted.clear)?);
        let propagation = u32::try_from(wanted.propagation).map_err(|_| Errno::EINVAL)?;
        let kinds = general::MS_SHARED | general::MS_PRIVATE | general::MS_SLAVE | general::MS_UNBINDABLE;
        if propagation & !kinds != 0 || propagation.count_ones() > 1 {
            return Err(Errno::EINVAL);
        }
        let changes_atime = clear & general::MOUNT_ATTR__ATIME != 0;
        // Access times are one choice of three: it can only be changed as a whole.
        if changes_atime && clear & general::MOUNT_ATTR__ATIME != general::MOUNT_ATTR__ATIME
            || !changes_atime && set & general::MOUNT_ATTR__ATIME != 0
        {
            return Err(Errno::EINVAL);
        }
        let times = MountFlags::NOATIME | MountFlags::RELATIME;
        let mut change = Change { set: properties(set)?, clear: MountFlags::empty(), propagation };
        change.clear = properties(clear & !general::MOUNT_ATTR__ATIME)?.difference(times);
        if changes_atime {
            change.clear |= times;
        } else {
            change.set = change.set.difference(times);
        }
        Ok(change)
    }
}
