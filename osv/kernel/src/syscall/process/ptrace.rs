//! `ptrace(2)`: what tracers ask for.

use alloc::vec::Vec;

use linux_raw_sys::general;
use linux_raw_sys::ptrace as linux;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::errno::{Errno, Result};
use crate::mem::user::{Dest, Source, USER_END, UserPtr, UserSlice};
use crate::process::signal::SignalInfo;
use crate::process::signal::info::USER_SIZE;
use crate::process::signal::set::SignalSet;
use crate::process::trace::{self, Attach, Found, REGISTER_COUNT, Resume, SyscallInfo};
use crate::syscall::SysResult;

/// Bytes of `struct user`, of its registers, and where its debug registers are.
const USER_STRUCT_SIZE: u64 = 928;
const REGISTERS_SIZE: u64 = 8 * REGISTER_COUNT as u64;
const DEBUG_REGISTERS: u64 = 848;
const DEBUG_REGISTERS_END: u64 = 912;
/// Bytes of `struct user_fpregs_struct`.
const FP_REGISTERS_SIZE: usize = 512;
/// The most signals that one call tells of.
const MOST_SIGNALS: usize = 64;
const ARCHITECTURE: u32 = 0xc000_003e;

/// <https://man7.org/linux/man-pages/man2/ptrace.2.html>
pub fn ptrace(request: u64, pid: i32, address: u64, data: u64) -> SysResult {
    let request = u32::try_from(request).map_err(|_| Errno::EIO)?;
    if request == linux::PTRACE_TRACEME {
        trace::attach_to_parent()?;
        return Ok(0);
    }
    let tid = u32::try_from(pid).map_err(|_| Errno::ESRCH)?;
    match request {
        linux::PTRACE_ATTACH => trace::attach(tid, Attach::Stop)?,
        linux::PTRACE_SEIZE => seize(tid, address, data)?,
        _ => return ask(&trace::find(tid)?, request, address, data),
    }
    Ok(0)
}

fn seize(tid: u32, address: u64, options: u64) -> Result<()> {
    let options = u32::try_from(options).map_err(|_| Errno::EIO)?;
    if address != 0 || trace::check_options(options).is_err() {
        return Err(Errno::EIO);
    }
    trace::attach(tid, Attach::Seize(options))
}

/// What is asked of a tracee.
fn ask(tracee: &Found, request: u32, address: u64, data: u64) -> SysResult {
    match request {
        linux::PTRACE_INTERRUPT => trace::interrupt(tracee)?,
        linux::PTRACE_KILL => trace::kill(tracee),
        _ => {
            tracee.check_stopped()?;
            return ask_stopped(tracee, request, address, data);
        }
    }
    Ok(0)
}

fn ask_stopped(tracee: &Found, request: u32, address: u64, data: u64) -> SysResult {
    if let Some(how) = resume(request, data) {
        tracee.resume(how)?;
        return Ok(0);
    }
    match request {
        linux::PTRACE_DETACH => trace::detach(tracee, data as u32)?,
        linux::PTRACE_LISTEN => trace::listen(tracee)?,
        linux::PTRACE_PEEKTEXT | linux::PTRACE_PEEKDATA => UserPtr::new(data).write(&peek(tracee, address)?)?,
        linux::PTRACE_POKETEXT | linux::PTRACE_POKEDATA => poke(tracee, address, data)?,
        linux::PTRACE_PEEKUSR => UserPtr::new(data).write(&peek_user(tracee, address)?)?,
        linux::PTRACE_POKEUSR => poke_user(tracee, address, data)?,
        linux::PTRACE_GETREGS => UserPtr::<u64>::new(data).write_slice(&tracee.read(|registers| registers.words())?)?,
        linux::PTRACE_SETREGS => set_registers(tracee, &UserPtr::<u64>::new(data).read_vec(REGISTER_COUNT)?)?,
        linux::PTRACE_GETFPREGS => {
            let image = tracee.extended_state()?;
            UserSlice::new(data, FP_REGISTERS_SIZE).write_all(image.get(..FP_REGISTERS_SIZE).ok_or(Errno::EIO)?)?;
        }
        linux::PTRACE_SETFPREGS => tracee.set_extended_state(&UserSlice::new(data, FP_REGISTERS_SIZE).read_vec()?)?,
        linux::PTRACE_GETREGSET => get_register_set(tracee, address, data)?,
        linux::PTRACE_SETREGSET => set_register_set(tracee, address, data)?,
        linux::PTRACE_SETOPTIONS | linux::PTRACE_OLDSETOPTIONS => {
            tracee.set_options(u32::try_from(data).map_err(|_| Errno::EINVAL)?)?;
        }
        linux::PTRACE_GETEVENTMSG => UserPtr::new(data).write(&tracee.event_message()?)?,
        linux::PTRACE_GETSIGINFO => UserPtr::<u8>::new(data).write_slice(&tracee.signal_info()?.to_user())?,
        linux::PTRACE_SETSIGINFO => {
            let bytes: [u8; USER_SIZE] = UserPtr::new(data).read()?;
            tracee.set_signal_info(SignalInfo::from_user(&bytes))?;
        }
        linux::PTRACE_PEEKSIGINFO => return peek_signals(tracee, address, data),
        linux::PTRACE_GETSIGMASK | linux::PTRACE_SETSIGMASK if address != 8 => return Err(Errno::EINVAL),
        linux::PTRACE_GETSIGMASK => UserPtr::new(data).write(&tracee.blocked().0)?,
        linux::PTRACE_SETSIGMASK => tracee.set_blocked(SignalSet(UserPtr::new(data).read()?))?,
        linux::PTRACE_GET_SYSCALL_INFO => return syscall_info(tracee, address, data),
        linux::PTRACE_GET_RSEQ_CONFIGURATION => return rseq_configuration(tracee, address, data),
        linux::PTRACE_SECCOMP_GET_FILTER => return seccomp_filter(tracee, address, data),
        linux::PTRACE_ARCH_PRCTL => arch_prctl(tracee, data, address)?,
        _ => return Err(Errno::EIO),
    }
    Ok(0)
}

/// How the tracee goes on, if it is to.
fn resume(request: u32, data: u64) -> Option<Resume> {
    let signal = u32::try_from(data).unwrap_or(u32::MAX);
    let (to_call, emulates, steps) = match request {
        linux::PTRACE_CONT => (false, false, false),
        linux::PTRACE_SYSCALL => (true, false, false),
        linux::PTRACE_SINGLESTEP => (false, false, true),
        linux::PTRACE_SYSEMU => (false, true, false),
        linux::PTRACE_SYSEMU_SINGLESTEP => (false, true, true),
        _ => return None,
    };
    Some(Resume { to_call, emulates, steps, signal })
}

fn peek(tracee: &Found, address: u64) -> Result<u64> {
    let mut word = [0; 8];
    let space = tracee.task().process().space()?;
    match space.peek(address, &mut Dest::from_slice(&mut word)) {
        Ok(8) => Ok(u64::from_le_bytes(word)),
        _ => Err(Errno::EIO),
    }
}

fn poke(tracee: &Found, address: u64, word: u64) -> Result<()> {
    let space = tracee.task().process().space()?;
    match space.poke(address, &mut Source::from_slice(&word.to_le_bytes())) {
        Ok(8) => Ok(()),
        _ => Err(Errno::EIO),
    }
}

/// What stands at `offset` of `struct user`.
enum Place {
    Register(usize),
    Debug(usize),
    Other,
}

fn place_at(offset: u64) -> Result<Place> {
    if !offset.is_multiple_of(8) || offset >= USER_STRUCT_SIZE {
        return Err(Errno::EIO);
    }
    Ok(match offset {
        0..REGISTERS_SIZE => Place::Register((offset / 8) as usize),
        DEBUG_REGISTERS..DEBUG_REGISTERS_END => Place::Debug(((offset - DEBUG_REGISTERS) / 8) as usize),
        _ => Place::Other,
    })
}

fn peek_user(tracee: &Found, offset: u64) -> Result<u64> {
    match place_at(offset)? {
        Place::Register(index) => {
            let words = tracee.read(|registers| registers.words())?;
            words.get(index).copied().ok_or(Errno::EIO)
        }
        Place::Debug(number) => tracee.debug_register(number),
        Place::Other => Ok(0),
    }
}

fn poke_user(tracee: &Found, offset: u64, value: u64) -> Result<()> {
    match place_at(offset)? {
        Place::Register(index) => tracee.change(|registers| registers.set_word(index, value)),
        Place::Debug(number) => tracee.set_debug_register(number, value),
        Place::Other => Err(Errno::EIO),
    }
}

/// Sets the first of the registers, up to the first that cannot be.
fn set_registers(tracee: &Found, words: &[u64]) -> Result<()> {
    tracee.change(|registers| words.iter().enumerate().try_for_each(|(index, &word)| registers.set_word(index, word)))
}

/// `struct iovec`.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Piece {
    base: u64,
    len: u64,
}

/// The bytes of a set of registers, `NT_*`.
fn register_set(tracee: &Found, kind: u64) -> Result<Vec<u8>> {
    match u32::try_from(kind) {
        Ok(general_notes::NT_PRSTATUS) => Ok(tracee.read(|registers| registers.words())?.as_bytes().to_vec()),
        Ok(general_notes::NT_PRFPREG) => {
            let mut image = tracee.extended_state()?;
            image.truncate(FP_REGISTERS_SIZE);
            Ok(image)
        }
        Ok(general_notes::NT_X86_XSTATE) => tracee.extended_state(),
        _ => Err(Errno::EINVAL),
    }
}

/// Kinds of notes, which name sets of registers.
mod general_notes {
    pub(super) const NT_PRSTATUS: u32 = 1;
    pub(super) const NT_PRFPREG: u32 = 2;
    pub(super) const NT_X86_XSTATE: u32 = 0x202;
}

/// The piece of the tracer's memory for a set of registers; EINVAL unless it is made of words.
fn piece_at(data: u64) -> Result<Piece> {
    let piece: Piece = UserPtr::new(data).read()?;
    if piece.len.is_multiple_of(8) { Ok(piece) } else { Err(Errno::EINVAL) }
}

fn get_register_set(tracee: &Found, kind: u64, data: u64) -> Result<()> {
    let piece: Piece = UserPtr::new(data).read()?;
    let set = register_set(tracee, kind)?;
    let piece = Piece { len: piece_at(data)?.len.min(set.len() as u64), ..piece };
    UserPtr::<u8>::new(piece.base).write_slice(set.get(..piece.len as usize).unwrap_or_default())?;
    UserPtr::new(data).write(&piece)
}

fn set_register_set(tracee: &Found, kind: u64, data: u64) -> Result<()> {
    let whole = register_set(tracee, kind)?.len() as u64;
    let piece = piece_at(data)?;
    let piece = Piece { len: piece.len.min(whole), ..piece };
    let bytes = UserSlice::new(piece.base, piece.len as usize).read_vec()?;
    match kind as u32 {
        general_notes::NT_PRSTATUS => {
            let words: Vec<u64> =
                bytes.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes)).collect();
            set_registers(tracee, &words)?;
        }
        // As on Linux, all of it or nothing.
        _ if piece.len < whole => return Err(Errno::EFAULT),
        _ => tracee.set_extended_state(&bytes)?,
    }
    UserPtr::new(data).write(&piece)
}

/// `struct ptrace_peeksiginfo_args`.
#[derive(Clone, Copy, FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct PeekSignals {
    first: u64,
    flags: u32,
    count: i32,
}

fn peek_signals(tracee: &Found, address: u64, data: u64) -> SysResult {
    let wanted: PeekSignals = UserPtr::new(address).read()?;
    if wanted.flags & !linux::PTRACE_PEEKSIGINFO_SHARED != 0 {
        return Err(Errno::EINVAL);
    }
    let mut left = usize::try_from(wanted.count).map_err(|_| Errno::EINVAL)?;
    let Ok(first) = usize::try_from(wanted.first) else { return Ok(0) };
    let is_shared = wanted.flags & linux::PTRACE_PEEKSIGINFO_SHARED != 0;
    let mut told = 0;
    while left > 0 {
        let pending = tracee.pending(is_shared, first.saturating_add(told), left.min(MOST_SIGNALS))?;
        for info in &pending {
            let place = UserPtr::<u8>::new(data.saturating_add((told * USER_SIZE) as u64));
            if let Err(errno) = place.write_slice(&info.to_user()) {
                return if told == 0 { Err(errno) } else { Ok(told as u64) };
            }
            told += 1;
        }
        left -= pending.len();
        if pending.len() < MOST_SIGNALS {
            break;
        }
    }
    Ok(told as u64)
}

/// Writes as much of `words` as there is room for, and returns how much there is.
fn give(words: &[u64], whole: usize, size: u64, data: u64) -> SysResult {
    let bytes = words.as_bytes();
    let len = whole.min(usize::try_from(size).unwrap_or(usize::MAX));
    UserPtr::<u8>::new(data).write_slice(bytes.get(..len).unwrap_or_default())?;
    Ok(whole as u64)
}

/// `struct ptrace_syscall_info`, as far as it is used.
fn syscall_info(tracee: &Found, size: u64, data: u64) -> SysResult {
    let (info, instruction_pointer, stack_pointer) = tracee.syscall_info()?;
    let mut words = [0; 11];
    let (operation, len) = match info {
        SyscallInfo::None => (linux::PTRACE_SYSCALL_INFO_NONE, 24),
        SyscallInfo::Entry(..) => (linux::PTRACE_SYSCALL_INFO_ENTRY, 80),
        SyscallInfo::Exit(_) => (linux::PTRACE_SYSCALL_INFO_EXIT, 33),
        SyscallInfo::Seccomp(..) => (linux::PTRACE_SYSCALL_INFO_SECCOMP, 84),
    };
    let head = [u64::from(operation) | u64::from(ARCHITECTURE) << 32, instruction_pointer, stack_pointer];
    let tail: Vec<u64> = match info {
        SyscallInfo::None => Vec::new(),
        SyscallInfo::Exit(rax) => alloc::vec![rax as u64, u64::from((-4095..0).contains(&rax))],
        SyscallInfo::Entry(number, arguments) => [&[number][..], &arguments].concat(),
        SyscallInfo::Seccomp(number, arguments, said) => [&[number][..], &arguments, &[u64::from(said)]].concat(),
    };
    words.iter_mut().zip(head.into_iter().chain(tail)).for_each(|(place, word)| *place = word);
    give(&words, len, size, data)
}

/// `struct ptrace_rseq_configuration`.
fn rseq_configuration(tracee: &Found, size: u64, data: u64) -> SysResult {
    let (address, signature) = tracee.task().rseq_registration();
    let len = if address == 0 { 0 } else { crate::process::rseq::SIZE };
    give(&[address, u64::from(len) | u64::from(signature) << 32, 0], 24, size, data)
}

/// The instructions of the filter `index`, the oldest being 0, for whoever may see them.
fn seccomp_filter(tracee: &Found, index: u64, data: u64) -> SysResult {
    let own = crate::process::current_task();
    if !own.credentials().is_capable(general::CAP_SYS_ADMIN) || own.seccomp().number() != 0 {
        return Err(Errno::EACCES);
    }
    let filters = tracee.task().seccomp();
    let instructions = filters.instructions(usize::try_from(index).map_err(|_| Errno::ENOENT)?)?;
    if data != 0 {
        UserPtr::new(data).write_slice(instructions)?;
    }
    Ok(instructions.len() as u64)
}

fn arch_prctl(tracee: &Found, code: u64, address: u64) -> Result<()> {
    const SET_GS: u64 = 0x1001;
    const SET_FS: u64 = 0x1002;
    const GET_FS: u64 = 0x1003;
    const GET_GS: u64 = 0x1004;
    /// Places of the bases in `struct user_regs_struct`.
    const FS: usize = 21;
    const GS: usize = 22;
    match code {
        SET_FS | SET_GS if address >= USER_END => Err(Errno::EPERM),
        SET_FS => tracee.change(|registers| registers.set_word(FS, address)),
        SET_GS => tracee.change(|registers| registers.set_word(GS, address)),
        GET_FS => UserPtr::new(address).write(&peek_user(tracee, 8 * FS as u64)?),
        GET_GS => UserPtr::new(address).write(&peek_user(tracee, 8 * GS as u64)?),
        _ => Err(Errno::EINVAL),
    }
}
