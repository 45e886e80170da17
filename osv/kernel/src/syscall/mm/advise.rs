//! `madvise(2)`.

use super::{Errno, SysResult, general, space};
use crate::errno::Result;
use crate::mem::space::{AddressSpace, Advice};
use crate::process::current_task;

/// Says how a range will be used. <https://man7.org/linux/man-pages/man2/madvise.2.html>
pub fn madvise(addr: u64, len: u64, advice: u32) -> SysResult {
    if matches!(advice, general::MADV_HWPOISON | general::MADV_SOFT_OFFLINE) {
        // Nothing here breaks memory on purpose, whoever asks.
        let is_privileged = current_task().credentials().is_capable(general::CAP_SYS_ADMIN);
        return Err(if is_privileged { Errno::EINVAL } else { Errno::EPERM });
    }
    apply(&*space()?, addr, len, advice).map(|()| 0)
}

/// Follows `advice` in any address space.
pub(super) fn apply(space: &AddressSpace, addr: u64, len: u64, advice: u32) -> Result<()> {
    space.madvise(addr, len, decode(advice)?)
}

fn decode(advice: u32) -> Result<Advice> {
    Ok(match advice {
        general::MADV_NORMAL
        | general::MADV_RANDOM
        | general::MADV_SEQUENTIAL
        | general::MADV_MERGEABLE
        | general::MADV_UNMERGEABLE
        | general::MADV_COLLAPSE => Advice::Hint,
        general::MADV_COLD | general::MADV_PAGEOUT => Advice::Cold,
        general::MADV_WILLNEED => Advice::WillNeed,
        general::MADV_DONTNEED => Advice::DontNeed,
        general::MADV_DONTNEED_LOCKED => Advice::DontNeedLocked,
        general::MADV_REMOVE => Advice::Remove,
        general::MADV_FREE => Advice::Free,
        general::MADV_DONTFORK => Advice::DontFork(true),
        general::MADV_DOFORK => Advice::DontFork(false),
        general::MADV_WIPEONFORK => Advice::WipeOnFork(true),
        general::MADV_KEEPONFORK => Advice::WipeOnFork(false),
        general::MADV_HUGEPAGE => Advice::Big(true),
        general::MADV_NOHUGEPAGE => Advice::Big(false),
        general::MADV_DONTDUMP => Advice::DontDump(true),
        general::MADV_DODUMP => Advice::DontDump(false),
        general::MADV_POPULATE_READ => Advice::PopulateRead,
        general::MADV_POPULATE_WRITE => Advice::PopulateWrite,
        _ => return Err(Errno::EINVAL),
    })
}
