//! Memory policies: `mbind(2)`, `set_mempolicy(2)`, `get_mempolicy(2)`, `migrate_pages(2)`, `move_pages(2)`,
//! `set_mempolicy_home_node(2)`. There is one node, so a policy changes nothing; it is checked, kept and shown.

use linux_raw_sys::{general, mempolicy};

use super::{Errno, SysResult, remote, space};
use crate::errno::Result;
use crate::mem::layout::{PAGE_SIZE, USER_END};
use crate::mem::phys::page_up;
use crate::mem::space::{PageState, Policy};
use crate::mem::user::UserPtr;
use crate::process::current_task;

const PAGE: u64 = PAGE_SIZE as u64;
/// Node numbers are below this; those above the one that exists are known to be empty.
const MAX_NODES: u64 = 1024;
/// The node that exists, as a mask.
const NODES: u64 = 1;

const DEFAULT: u32 = mempolicy::MPOL_DEFAULT as u32;
const PREFERRED: u32 = mempolicy::MPOL_PREFERRED as u32;
const BIND: u32 = mempolicy::MPOL_BIND as u32;
const INTERLEAVE: u32 = mempolicy::MPOL_INTERLEAVE as u32;
const LOCAL: u32 = mempolicy::MPOL_LOCAL as u32;
const PREFERRED_MANY: u32 = mempolicy::MPOL_PREFERRED_MANY as u32;
const STATIC: u32 = mempolicy::MPOL_F_STATIC_NODES;
const RELATIVE: u32 = mempolicy::MPOL_F_RELATIVE_NODES;
const BALANCING: u32 = mempolicy::MPOL_F_NUMA_BALANCING;

/// A mask of nodes as a program gives it: the lowest word, and whether any node is in it.
struct NodeMask {
    low: u64,
    is_empty: bool,
}

/// Reads `max_node - 1` bits at `mask`. EINVAL for nodes that can never be.
fn read_nodes(mask: UserPtr<u64>, max_node: u64) -> Result<NodeMask> {
    let bits = max_node.wrapping_sub(1);
    if bits == 0 || mask.is_null() {
        return Ok(NodeMask { low: 0, is_empty: true });
    }
    if bits > PAGE * 8 {
        return Err(Errno::EINVAL);
    }
    let mut words = mask.read_vec(bits.div_ceil(64) as usize)?;
    if let Some(last) = words.last_mut().filter(|_| !bits.is_multiple_of(64)) {
        *last &= (1 << (bits % 64)) - 1;
    }
    if words.iter().skip((MAX_NODES / 64) as usize).any(|&word| word != 0) {
        return Err(Errno::EINVAL);
    }
    Ok(NodeMask { low: words.first().copied().unwrap_or(0), is_empty: words.iter().all(|&word| word == 0) })
}

/// The policy that `mode` and `nodes` ask for; the default policy is none.
fn parse(mode: u32, nodes: &NodeMask) -> Result<Option<Policy>> {
    let flags = mode & (STATIC | RELATIVE | BALANCING);
    let mode = mode & !flags;
    let is_fixed = flags & (STATIC | RELATIVE) != 0;
    if mode > PREFERRED_MANY || flags & STATIC != 0 && flags & RELATIVE != 0 || flags & BALANCING != 0 && mode != BIND {
        return Err(Errno::EINVAL);
    }
    let policy = |mode| Ok(Some(Policy { mode, flags, nodes: nodes.low }));
    match mode {
        DEFAULT if nodes.is_empty => Ok(None),
        DEFAULT => Err(Errno::EINVAL),
        PREFERRED | LOCAL if nodes.is_empty && is_fixed => Err(Errno::EINVAL),
        PREFERRED | LOCAL if nodes.is_empty => policy(LOCAL),
        LOCAL => Err(Errno::EINVAL),
        // Relative numbers are folded into the nodes that there are.
        _ if nodes.is_empty || nodes.low & NODES == 0 && flags & RELATIVE == 0 => Err(Errno::EINVAL),
        mode => policy(mode),
    }
}

/// <https://man7.org/linux/man-pages/man2/set_mempolicy.2.html>
pub fn set_mempolicy(mode: u32, mask: UserPtr<u64>, max_node: u64) -> SysResult {
    let policy = parse(mode, &read_nodes(mask, max_node)?)?;
    current_task().set_memory_policy(policy);
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/mbind.2.html>
pub fn mbind(addr: u64, len: u64, mode: u32, mask: UserPtr<u64>, max_node: u64, flags: u32) -> SysResult {
    let nodes = read_nodes(mask, max_node)?;
    let moves_all = flags & mempolicy::MPOL_MF_MOVE_ALL != 0;
    if flags & !mempolicy::MPOL_MF_VALID != 0 {
        return Err(Errno::EINVAL);
    }
    if moves_all && !current_task().credentials().is_capable(general::CAP_SYS_NICE) {
        return Err(Errno::EPERM);
    }
    let end = range(addr, len)?;
    if end == addr {
        return Ok(0);
    }
    let policy = parse(mode, &nodes)?;
    space()?.set_policy(addr, end, policy).map(|()| 0)
}

/// The end of a range of whole pages (EINVAL).
fn range(addr: u64, len: u64) -> Result<u64> {
    let end = page_up(len).and_then(|len| addr.checked_add(len)).ok_or(Errno::EINVAL)?;
    if addr.is_multiple_of(PAGE) { Ok(end.min(USER_END.max(addr))) } else { Err(Errno::EINVAL) }
}

/// <https://man7.org/linux/man-pages/man2/get_mempolicy.2.html>
pub fn get_mempolicy(mode: UserPtr<u32>, mask: UserPtr<u64>, max_node: u64, addr: u64, flags: u32) -> SysResult {
    let (of_node, of_addr) = (flags & mempolicy::MPOL_F_NODE != 0, flags & mempolicy::MPOL_F_ADDR != 0);
    let of_all = flags & mempolicy::MPOL_F_MEMS_ALLOWED != 0;
    let known = mempolicy::MPOL_F_NODE | mempolicy::MPOL_F_ADDR | mempolicy::MPOL_F_MEMS_ALLOWED;
    if flags & !known != 0 || of_all && (of_node || of_addr) || !mask.is_null() && max_node < NODES {
        return Err(Errno::EINVAL);
    }
    let (shown, nodes) = if of_all {
        (0, NODES)
    } else {
        if !of_addr && addr != 0 {
            return Err(Errno::EINVAL);
        }
        let policy = if of_addr { space()?.policy_at(addr)? } else { current_task().memory_policy() };
        let shown = match (of_node, of_addr) {
            (false, _) => policy.map_or(DEFAULT, |policy| policy.mode | policy.flags),
            // Every page is on the one node; finding out brings it in.
            (true, true) => space()?.touch(addr).map(|()| 0)?,
            (true, false) if policy.is_some_and(|policy| policy.mode == INTERLEAVE) => 0,
            (true, false) => return Err(Errno::EINVAL),
        };
        (
            shown,
            policy.map_or(0, |policy| policy.nodes & if policy.flags & (STATIC | RELATIVE) == 0 { NODES } else { !0 }),
        )
    };
    if let Some(mode) = mode.non_null() {
        mode.write(&shown)?;
    }
    if let Some(mask) = mask.non_null() {
        write_nodes(mask, max_node, nodes)?;
    }
    Ok(0)
}

/// Writes whole words for `max_node - 1` bits, the lowest of them being `nodes`.
fn write_nodes(mask: UserPtr<u64>, max_node: u64, nodes: u64) -> Result<()> {
    let words = max_node.wrapping_sub(1).div_ceil(64).min(PAGE / 8) as usize;
    for word in 0..words {
        mask.at(word).write(&if word == 0 { nodes } else { 0 })?;
    }
    Ok(())
}

/// <https://man7.org/linux/man-pages/man2/migrate_pages.2.html>
pub fn migrate_pages(pid: i32, max_node: u64, old: UserPtr<u64>, new: UserPtr<u64>) -> SysResult {
    read_nodes(old, max_node)?;
    let new = read_nodes(new, max_node)?;
    target(pid)?;
    let is_foreign = new.low & !NODES != 0 || new.low == 0 && !new.is_empty;
    if is_foreign && !current_task().credentials().is_capable(general::CAP_SYS_NICE) {
        return Err(Errno::EPERM);
    }
    // No page is anywhere else: none is left behind.
    if new.low & NODES == 0 { Err(Errno::EINVAL) } else { Ok(0) }
}

fn target(pid: i32) -> Result<alloc::sync::Arc<crate::mem::space::AddressSpace>> {
    if pid == 0 { space() } else { remote::space_of(pid) }
}

/// Moves pages to the nodes at `nodes`, which have to be the one that there is, or says where they are.
/// <https://man7.org/linux/man-pages/man2/move_pages.2.html>
pub fn move_pages(
    pid: i32,
    count: u64,
    pages: UserPtr<u64>,
    nodes: UserPtr<i32>,
    status: UserPtr<i32>,
    flags: u32,
) -> SysResult {
    if flags & !(mempolicy::MPOL_MF_MOVE | mempolicy::MPOL_MF_MOVE_ALL) != 0 {
        return Err(Errno::EINVAL);
    }
    let is_privileged = current_task().credentials().is_capable(general::CAP_SYS_NICE);
    if flags & mempolicy::MPOL_MF_MOVE_ALL != 0 && !is_privileged {
        return Err(Errno::EPERM);
    }
    let space = target(pid)?;
    for index in 0..usize::try_from(count).map_err(|_| Errno::EFAULT)? {
        let addr: u64 = pages.at(index).read()?;
        if !nodes.is_null() && nodes.at(index).read()? != 0 {
            return Err(Errno::ENODEV);
        }
        let state = match space.page_state(addr) {
            PageState::Present => 0,
            PageState::Absent => Errno::ENOENT.to_rax() as i32,
            PageState::Unmapped | PageState::Zero => Errno::EFAULT.to_rax() as i32,
        };
        status.at(index).write(&state)?;
        crate::sched::relax();
        if crate::sched::current().has_signal() && index % 512 == 511 {
            return Err(Errno::EINTR);
        }
    }
    Ok(0)
}

/// <https://man7.org/linux/man-pages/man2/set_mempolicy_home_node.2.html>
pub fn set_mempolicy_home_node(addr: u64, len: u64, node: u64, flags: u64) -> SysResult {
    let end = range(addr, len)?;
    if flags != 0 || node != 0 {
        return Err(Errno::EINVAL);
    }
    if end == addr {
        return Ok(0);
    }
    let modes = space()?.policies(addr, end);
    if modes.iter().any(|policy| !matches!(policy.mode, BIND | PREFERRED_MANY)) {
        return Err(Errno::EOPNOTSUPP);
    }
    if modes.is_empty() { Err(Errno::ENOENT) } else { Ok(0) }
}
