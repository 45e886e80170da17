//! Access to a program's memory that survives a bad address.
//!
//! An instruction that may touch a program's memory stands in a table with an address to go on at. The page-fault
//! handler of the floors above first tries to make the page present, as for the program's own accesses; only if
//! it cannot, it asks [`fixup`] where the interrupted code wants to go on. The copy goes on byte by byte from
//! where the last whole block was done, so that it reports exactly how far it came.
//!
//! No function here checks that an address is the program's: that is the caller's part (`mem::user`).

use core::arch::{asm, naked_asm};

/// A line of the table: three offsets, each relative to its own place.
#[repr(C)]
struct Fixup {
    start: i32,
    end: i32,
    landing: i32,
}

/// Where code goes on that faulted at `rip` for good; `None` if it did not expect to.
pub fn fixup(rip: u64) -> Option<u64> {
    table().iter().find(|line| target(&line.start) <= rip && rip < target(&line.end)).map(|line| target(&line.landing))
}

/// The address that an offset means.
fn target(offset: &i32) -> u64 {
    (&raw const *offset as u64).wrapping_add_signed(i64::from(*offset))
}

#[cfg(feature = "image")]
fn table() -> &'static [Fixup] {
    unsafe extern "C" {
        static __fixups_start: Fixup;
        static __fixups_end: Fixup;
    }
    let (start, end) = (&raw const __fixups_start, &raw const __fixups_end);
    // SAFETY:
    // - the linker script puts the table's lines, and nothing else, between the two.
    unsafe { core::slice::from_raw_parts(start, (end as usize - start as usize) / size_of::<Fixup>()) }
}

#[cfg(not(feature = "image"))]
fn table() -> &'static [Fixup] {
    &[]
}

/// Assembly: instructions from `$start` to `$end` that fault for good go on at `$landing`.
macro_rules! fixup_line {
    ($start:literal, $end:literal, $landing:literal) => {
        concat!(
            ".pushsection .fixups, \"a\"\n.balign 4\n.long ",
            $start,
            " - ., ",
            $end,
            " - ., ",
            $landing,
            " - .\n.popsection"
        )
    };
}

/// Copies `len` bytes; returns how many could not be copied.
///
/// # Safety
/// - Where `to` and `from` are addresses of the kernel's, they are valid for `len` bytes; the program's may be
///   anything in the lower half.
/// - The two do not overlap.
#[unsafe(naked)]
pub unsafe extern "C" fn copy_user(to: *mut u8, from: *const u8, len: usize) -> usize {
    naked_asm!(
        "lea rax, [rsi + rdx]", // where the source ends
        "20:",
        "cmp rdx, 16",
        "jb 6f",
        "movups xmm8, [rsi + rdx - 16]",
        "lea r8, [rdi + rdx - 16]",
        "sub rdx, 128",
        "jb 3f",
        "2:",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
        "movups xmm\\i, [rsi + 16 * \\i]",
        ".endr",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
        "movups [rdi + 16 * \\i], xmm\\i",
        ".endr",
        "sub rsi, -128",
        "sub rdi, -128",
        "sub rdx, 128",
        "jae 2b",
        "3:",
        "add edx, 64", // 0 to 127 bytes are left: RDX + 64
        "jl 4f",
        ".irp i, 0, 1, 2, 3",
        "movups xmm\\i, [rsi + 16 * \\i]",
        ".endr",
        ".irp i, 0, 1, 2, 3",
        "movups [rdi + 16 * \\i], xmm\\i",
        ".endr",
        "add rsi, 64",
        "add rdi, 64",
        "sub edx, 64",
        "4:",
        "add edx, 48", // 0 to 63: RDX + 16
        "jl 5f",
        "41:",
        "movups xmm0, [rsi]",
        "movups [rdi], xmm0",
        "add rsi, 16",
        "add rdi, 16",
        "sub edx, 16",
        "jge 41b",
        "5:",
        "movups [r8], xmm8",
        "xor eax, eax",
        "ret",
        "6:",
        "cmp edx, 8",
        "jb 7f",
        "mov rcx, [rsi]",
        "mov r8, [rsi + rdx - 8]",
        "mov [rdi], rcx",
        "mov [rdi + rdx - 8], r8",
        "xor eax, eax",
        "ret",
        "7:",
        "cmp edx, 4",
        "jb 8f",
        "mov ecx, [rsi]",
        "mov r8d, [rsi + rdx - 4]",
        "mov [rdi], ecx",
        "mov [rdi + rdx - 4], r8d",
        "xor eax, eax",
        "ret",
        "8:", // at most 3 bytes, or what is left after a fault
        "cmp rsi, rax",
        "je 9f",
        "movzx ecx, byte ptr [rsi]",
        "mov [rdi], cl",
        "inc rsi",
        "inc rdi",
        "jmp 8b",
        "9:",
        "sub rax, rsi",
        "ret",
        fixup_line!("20b", "8b", "8b"),
        fixup_line!("8b", "9b", "9b"),
    )
}

/// Fills `len` bytes with zeros; returns how many could not be.
///
/// # Safety
/// - `to` is the program's: anything in the lower half.
#[unsafe(naked)]
pub unsafe extern "C" fn zero_user(to: *mut u8, len: usize) -> usize {
    naked_asm!(
        "lea rax, [rdi + rsi]", // where it ends
        "20:",
        "pxor xmm0, xmm0",
        "sub rsi, 64",
        "jb 3f",
        "2:",
        "movups [rdi], xmm0",
        "movups [rdi + 16], xmm0",
        "movups [rdi + 32], xmm0",
        "movups [rdi + 48], xmm0",
        "add rdi, 64",
        "sub rsi, 64",
        "jae 2b",
        "3:",
        "add esi, 48", // 0 to 63 bytes are left: RSI + 16
        "jl 5f",
        "4:",
        "movups [rdi], xmm0",
        "add rdi, 16",
        "sub esi, 16",
        "jge 4b",
        "5:",
        "cmp rdi, rax",
        "je 6f",
        "mov byte ptr [rdi], 0",
        "inc rdi",
        "jmp 5b",
        "6:",
        "sub rax, rdi",
        "ret",
        fixup_line!("20b", "5b", "5b"),
        fixup_line!("5b", "6b", "6b"),
    )
}

/// Copies a string up to and including its NUL, at most `len` bytes. Returns its length without the NUL; `len` if
/// there was none among these bytes; `None` if a byte before it could not be read.
///
/// # Safety
/// - `to` is valid for `len` bytes; `from` may be anything in the lower half.
pub unsafe fn copy_string(to: *mut u8, from: *const u8, len: usize) -> Option<usize> {
    let copied: usize;
    let fault: u32;
    // SAFETY:
    // - the caller vouches for `to`; a fault at `from` ends the loop.
    unsafe {
        asm!(
            "xor {fault:e}, {fault:e}",
            "xor {i:e}, {i:e}",
            "pxor {zero}, {zero}",
            // Sixteen bytes at a time, as long as they fit and can be read.
            "7:",
            "lea {word}, [{i} + 16]",
            "cmp {word}, {len}",
            "ja 2f",
            "8:",
            "movdqu {chunk}, [{from} + {i}]",
            "9:",
            "movdqu [{to} + {i}], {chunk}",
            "pcmpeqb {chunk}, {zero}",
            "pmovmskb {word:e}, {chunk}",
            "test {word:e}, {word:e}",
            "jnz 20f",
            "add {i}, 16",
            "jmp 7b",
            "20:",
            "bsf {word:e}, {word:e}",
            "add {i}, {word}",
            "jmp 5f",
            // Byte by byte.
            "2:",
            "cmp {i}, {len}",
            "je 5f",
            "3:",
            "movzx {word:e}, byte ptr [{from} + {i}]",
            "4:",
            "mov [{to} + {i}], {word:l}",
            "test {word:e}, {word:e}",
            "jz 5f",
            "inc {i}",
            "jmp 2b",
            "6:",
            "inc {fault:e}",
            "5:",
            fixup_line!("3b", "4b", "6b"),
            fixup_line!("8b", "9b", "2b"),
            fault = out(reg) fault,
            i = out(reg) copied,
            len = in(reg) len,
            from = in(reg) from,
            to = in(reg) to,
            word = out(reg) _,
            chunk = out(xmm_reg) _,
            zero = out(xmm_reg) _,
            options(nostack),
        );
    }
    (fault == 0).then_some(copied)
}

/// An integer that one instruction can move to or from a program.
pub trait UserInt: Copy {
    /// Reads one; `None` if the address is bad.
    ///
    /// # Safety
    /// - `from` is in the lower half.
    unsafe fn read_user(from: *const Self) -> Option<Self>;

    /// Writes one; whether it could.
    ///
    /// # Safety
    /// - `to` is in the lower half.
    unsafe fn write_user(self, to: *mut Self) -> bool;
}

macro_rules! user_int {
    ($type:ty, $class:ident, $modifier:literal) => {
        impl UserInt for $type {
            #[inline]
            unsafe fn read_user(from: *const Self) -> Option<Self> {
                let value: $type;
                let fault: u32;
                // SAFETY:
                // - a fault at `from` goes on behind the load.
                unsafe {
                    asm!(
                        "xor {fault:e}, {fault:e}",
                        "2:",
                        concat!("mov {value", $modifier, "}, [{from}]"),
                        "3:",
                        ".pushsection .text.fixups, \"ax\"",
                        "4:",
                        "mov {fault:e}, 1",
                        "jmp 3b",
                        ".popsection",
                        fixup_line!("2b", "3b", "4b"),
                        fault = out(reg) fault,
                        value = out($class) value,
                        from = in(reg) from,
                        options(nostack),
                    );
                }
                (fault == 0).then_some(value)
            }

            #[inline]
            unsafe fn write_user(self, to: *mut Self) -> bool {
                let fault: u32;
                // SAFETY:
                // - a fault at `to` goes on behind the store.
                unsafe {
                    asm!(
                        "xor {fault:e}, {fault:e}",
                        "2:",
                        concat!("mov [{to}], {value", $modifier, "}"),
                        "3:",
                        ".pushsection .text.fixups, \"ax\"",
                        "4:",
                        "mov {fault:e}, 1",
                        "jmp 3b",
                        ".popsection",
                        fixup_line!("2b", "3b", "4b"),
                        fault = out(reg) fault,
                        value = in($class) self,
                        to = in(reg) to,
                        options(nostack),
                    );
                }
                fault == 0
            }
        }
    };
}

user_int!(u8, reg_byte, "");
user_int!(u16, reg, ":x");
user_int!(u32, reg, ":e");
user_int!(u64, reg, ":r");

/// Compares a word of the program's with `old` and exchanges it for `new` if equal. What it was before; `None` if
/// the address is bad.
///
/// # Safety
/// - `word` is in the lower half, and aligned.
#[inline]
pub unsafe fn compare_exchange_user(word: *mut u32, old: u32, new: u32) -> Option<u32> {
    let seen: u32;
    let fault: u32;
    // SAFETY:
    // - a fault at `word` goes on behind the exchange.
    unsafe {
        asm!(
            "xor {fault:e}, {fault:e}",
            "2:",
            "lock cmpxchg [{word}], {new:e}",
            "3:",
            ".pushsection .text.fixups, \"ax\"",
            "4:",
            "mov {fault:e}, 1",
            "jmp 3b",
            ".popsection",
            fixup_line!("2b", "3b", "4b"),
            fault = out(reg) fault,
            inout("eax") old => seen,
            new = in(reg) new,
            word = in(reg) word,
            options(nostack),
        );
    }
    (fault == 0).then_some(seen)
}

macro_rules! user_exchange {
    ($(#[$attribute:meta])* $name:ident, $instruction:literal) => {
        $(#[$attribute])*
        ///
        /// # Safety
        /// - `word` is in the lower half, and aligned.
        #[inline]
        pub unsafe fn $name(word: *mut u32, value: u32) -> Option<u32> {
            let seen: u32;
            let fault: u32;
            // SAFETY:
            // - a fault at `word` goes on behind the exchange.
            unsafe {
                asm!(
                    "xor {fault:e}, {fault:e}",
                    "2:",
                    concat!($instruction, " [{word}], {value:e}"),
                    "3:",
                    ".pushsection .text.fixups, \"ax\"",
                    "4:",
                    "mov {fault:e}, 1",
                    "jmp 3b",
                    ".popsection",
                    fixup_line!("2b", "3b", "4b"),
                    fault = out(reg) fault,
                    value = inout(reg) value => seen,
                    word = in(reg) word,
                    options(nostack),
                );
            }
            (fault == 0).then_some(seen)
        }
    };
}

user_exchange! {
    /// Exchanges a word of the program's. What it was before; `None` if the address is bad.
    exchange_user, "xchg"
}
user_exchange! {
    /// Adds to a word of the program's. What it was before; `None` if the address is bad.
    add_user, "lock xadd"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{vec, vec::Vec};

    #[test]
    fn copies_every_length() {
        let from: Vec<u8> = (0..700).map(|i| i as u8).collect();
        for len in 0..600 {
            for shift in 0..3 {
                let mut to = vec![0xee; 700];
                // SAFETY:
                // - both have 700 bytes.
                let left = unsafe { copy_user(to.as_mut_ptr().add(shift), from.as_ptr().add(1), len) };
                assert_eq!(left, 0);
                assert_eq!(to[shift..shift + len], from[1..1 + len]);
                assert!(to[..shift].iter().chain(&to[shift + len..]).all(|&byte| byte == 0xee), "{len}");
            }
        }
    }

    #[test]
    fn zeroes_every_length() {
        for len in 0..300 {
            let mut to = vec![0xee; 310];
            // SAFETY:
            // - it has 310 bytes.
            assert_eq!(unsafe { zero_user(to.as_mut_ptr().add(5), len) }, 0);
            assert!(to[5..5 + len].iter().all(|&byte| byte == 0));
            assert!(to[..5].iter().chain(&to[5 + len..]).all(|&byte| byte == 0xee), "{len}");
        }
    }

    #[test]
    fn copies_strings() {
        let mut to = [1; 8];
        // SAFETY:
        // - all are long enough.
        unsafe {
            assert_eq!(copy_string(to.as_mut_ptr(), b"abc\0d".as_ptr(), 8), Some(3));
            assert_eq!(&to[..5], b"abc\0\x01");
            assert_eq!(copy_string(to.as_mut_ptr(), b"abcdefgh".as_ptr(), 8), Some(8));
            assert_eq!(copy_string(to.as_mut_ptr(), b"abcdefgh".as_ptr(), 0), Some(0));
        }
        let mut long = [1; 64];
        let text = [b'x'; 64];
        for len in 0..text.len() {
            let mut ended = text;
            ended[len] = 0;
            // SAFETY:
            // - both are 64 bytes long.
            assert_eq!(unsafe { copy_string(long.as_mut_ptr(), ended.as_ptr(), 64) }, Some(len));
            assert_eq!(long[..=len], ended[..=len]);
        }
        // SAFETY:
        // - both are 64 bytes long.
        unsafe {
            assert_eq!(copy_string(long.as_mut_ptr(), text.as_ptr(), 64), Some(64));
        }
    }

    #[test]
    fn moves_integers() {
        let mut word = 7_u32;
        // SAFETY:
        // - the addresses are valid.
        unsafe {
            assert_eq!(u32::read_user(&raw const word), Some(7));
            assert_eq!(u8::read_user((&raw const word).cast()), Some(7));
            assert!(9_u32.write_user(&raw mut word));
            assert_eq!(compare_exchange_user(&raw mut word, 8, 1), Some(9));
            assert_eq!(compare_exchange_user(&raw mut word, 9, 1), Some(9));
            assert_eq!(add_user(&raw mut word, 5), Some(1));
            assert_eq!(exchange_user(&raw mut word, 2), Some(6));
        }
        assert_eq!(word, 2);
    }
}
