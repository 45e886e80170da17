//! Copying, filling and comparing memory: the functions that compiled code calls by name, and whole pages.
//!
//! Sixteen bytes at a time with legacy SSE, unrolled: `rep movsb` costs an emulator as much per byte as this per
//! 16, and a real CPU does about as well with either on the sizes that a kernel copies. Ends are covered by one
//! load that overlaps what is already copied, in place of a loop over single bytes; since blocks are loaded whole
//! before they are stored, `memcpy` is `memmove` without the question for the direction.

use super::layout::PAGE_SIZE;
use core::arch::naked_asm;

/// Fills a page with zeros.
///
/// # Safety
///
/// `page` must be writable for a page and aligned to one.
#[unsafe(naked)]
pub unsafe extern "C" fn zero_page(page: *mut u8) {
    naked_asm!(
        "pxor xmm0, xmm0",
        "lea rax, [rdi + {size}]",
        "2:",
        ".set off, 0",
        ".rept 16",
        "movaps [rdi + off], xmm0",
        ".set off, off + 16",
        ".endr",
        "add rdi, 256",
        "cmp rdi, rax",
        "jne 2b",
        "ret",
        size = const PAGE_SIZE,
    )
}

/// Copies a page.
///
/// # Safety
///
/// `to` must be writable and `from` readable for a page, both aligned to one, and not the same.
#[unsafe(naked)]
pub unsafe extern "C" fn copy_page(to: *mut u8, from: *const u8) {
    naked_asm!(
        "add rdi, {size}",
        "add rsi, {size}",
        "mov rax, -{size}",
        "2:",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movaps xmm\\i, [rsi + rax + 16 * \\i]",
        ".endr",
        ".irp i, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15",
        "movaps [rdi + rax + 16 * \\i], xmm\\i",
        ".endr",
        "add rax, 256",
        "jnz 2b",
        "ret",
        size = const PAGE_SIZE,
    )
}

/// The functions of C that LLVM calls. On the host the C library has them; there these are only tested.
#[cfg(any(feature = "image", test))]
mod builtins {
    use core::arch::naked_asm;

    /// Copies `len` bytes between places that do not overlap.
    #[unsafe(naked)]
    #[cfg_attr(not(test), unsafe(no_mangle))]
    pub(super) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        naked_asm!(
            "mov rax, rdi",
            "cmp rdx, 16",
            "jb {small}",
            "cmp rdx, 32",
            "ja {forward}",
            "movups xmm0, [rsi]",
            "movups xmm1, [rsi + rdx - 16]",
            "movups [rdi], xmm0",
            "movups [rdi + rdx - 16], xmm1",
            "ret",
            small = sym copy_small,
            forward = sym copy_forward,
        )
    }

    /// Copies `len` bytes between places that may overlap.
    #[unsafe(naked)]
    #[cfg_attr(not(test), unsafe(no_mangle))]
    pub(super) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, len: usize) -> *mut u8 {
        naked_asm!(
            "mov rax, rdi",
            "cmp rdx, 16",
            "jb {small}",
            "cmp rdx, 32",
            "ja 2f",
            "movups xmm0, [rsi]",
            "movups xmm1, [rsi + rdx - 16]",
            "movups [rdi], xmm0",
            "movups [rdi + rdx - 16], xmm1",
            "ret",
            "2:",
            "mov rcx, rdi",
            "sub rcx, rsi",
            "cmp rcx, rdx",             // below: the target starts inside the source
            "jae {forward}",
            "jmp {backward}",
            small = sym copy_small,
            forward = sym copy_forward,
            backward = sym copy_backward,
        )
    }

    /// Fewer than 16 bytes (RDX), both ends loaded before either is stored. RAX is kept.
    #[unsafe(naked)]
    unsafe extern "C" fn copy_small() {
        naked_asm!(
            "cmp edx, 8",
            "jb 2f",
            "mov rcx, [rsi]",
            "mov r8, [rsi + rdx - 8]",
            "mov [rdi], rcx",
            "mov [rdi + rdx - 8], r8",
            "ret",
            "2:",
            "cmp edx, 4",
            "jb 3f",
            "mov ecx, [rsi]",
            "mov r8d, [rsi + rdx - 4]",
            "mov [rdi], ecx",
            "mov [rdi + rdx - 4], r8d",
            "ret",
            "3:",
            "test edx, edx",
            "jz 4f",
            "movzx ecx, byte ptr [rsi]",
            "movzx r8d, byte ptr [rsi + rdx - 1]",
            "shr edx",
            "movzx r9d, byte ptr [rsi + rdx]", // the middle of three, else one of the ends again
            "mov [rdi + rdx], r9b",
            "mov [rdi], cl",
            "adc rdx, rdx", // the count again
            "mov [rdi + rdx - 1], r8b",
            "4:",
            "ret",
        )
    }

    /// More than 32 bytes (RDX), upwards. RAX is kept.
    #[unsafe(naked)]
    unsafe extern "C" fn copy_forward() {
        naked_asm!(
            "movups xmm8, [rsi + rdx - 16]",
            "lea r8, [rdi + rdx - 16]",
            "sub rdx, 128",
            "jbe 3f",
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
            "ja 2b",
            "3:",
            "add edx, 64", // 1 to 128 bytes are left: RDX + 64
            "jle 4f",
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
            "add edx, 32", // 1 to 64: RDX + 32
            "jle 5f",
            "movups xmm0, [rsi]",
            "movups xmm1, [rsi + 16]",
            "movups [rdi], xmm0",
            "movups [rdi + 16], xmm1",
            "add rsi, 32",
            "add rdi, 32",
            "sub edx, 32",
            "5:",
            "add edx, 16", // 1 to 32: RDX + 16
            "jle 6f",
            "movups xmm0, [rsi]",
            "movups [rdi], xmm0",
            "6:",
            "movups [r8], xmm8",
            "ret",
        )
    }

    /// More than 32 bytes (RDX), downwards. RAX is kept.
    #[unsafe(naked)]
    unsafe extern "C" fn copy_backward() {
        naked_asm!(
            "movups xmm8, [rsi]",
            "mov r8, rdi",
            "sub rdx, 64",
            "jbe 3f",
            "2:",
            ".irp i, 0, 1, 2, 3",
            "movups xmm\\i, [rsi + rdx + 16 * \\i]",
            ".endr",
            ".irp i, 0, 1, 2, 3",
            "movups [rdi + rdx + 16 * \\i], xmm\\i",
            ".endr",
            "sub rdx, 64",
            "ja 2b",
            "3:",
            "add rdx, 48", // 1 to 64 bytes are left: RDX + 16
            "jle 5f",
            "4:",
            "movups xmm0, [rsi + rdx]",
            "movups [rdi + rdx], xmm0",
            "sub rdx, 16",
            "jg 4b",
            "5:",
            "movups [r8], xmm8",
            "ret",
        )
    }

    /// Fills `len` bytes with `byte`.
    #[unsafe(naked)]
    #[cfg_attr(not(test), unsafe(no_mangle))]
    pub(super) unsafe extern "C" fn memset(to: *mut u8, byte: i32, len: usize) -> *mut u8 {
        naked_asm!(
            "mov rax, rdi",
            "movzx esi, sil",
            "mov rcx, 0x0101010101010101",
            "imul rcx, rsi",
            "cmp rdx, 16",
            "jb 6f",
            "movq xmm0, rcx",
            "punpcklqdq xmm0, xmm0",
            "lea r8, [rdi + rdx - 16]",
            "sub rdx, 128",
            "jbe 3f",
            "2:",
            ".irp i, 0, 1, 2, 3, 4, 5, 6, 7",
            "movups [rdi + 16 * \\i], xmm0",
            ".endr",
            "sub rdi, -128",
            "sub rdx, 128",
            "ja 2b",
            "3:",
            "add edx, 112", // 1 to 128 bytes are left: RDX + 16
            "jle 5f",
            "4:",
            "movups [rdi], xmm0",
            "add rdi, 16",
            "sub edx, 16",
            "jg 4b",
            "5:",
            "movups [r8], xmm0",
            "ret",
            "6:",
            "cmp edx, 8",
            "jb 7f",
            "mov [rdi], rcx",
            "mov [rdi + rdx - 8], rcx",
            "ret",
            "7:",
            "cmp edx, 4",
            "jb 8f",
            "mov [rdi], ecx",
            "mov [rdi + rdx - 4], ecx",
            "ret",
            "8:",
            "test edx, edx",
            "jz 9f",
            "mov [rdi], cl",
            "mov [rdi + rdx - 1], cl",
            "shr edx",
            "mov [rdi + rdx], cl",
            "9:",
            "ret",
        )
    }

    /// Compares `len` bytes: negative, zero or positive, by the first that differ.
    #[unsafe(naked)]
    #[cfg_attr(not(test), unsafe(no_mangle))]
    pub(super) unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
        naked_asm!(
            "xor ecx, ecx",
            "sub rdx, 16",
            "jb 3f",
            "2:",
            "movups xmm0, [rdi + rcx]",
            "movups xmm1, [rsi + rcx]",
            "pcmpeqb xmm0, xmm1",
            "pmovmskb eax, xmm0",
            "xor eax, 0xffff",
            "jnz 5f",
            "add rcx, 16",
            "cmp rcx, rdx",
            "jbe 2b",
            "3:",
            "add rdx, 16",
            "4:",
            "cmp rcx, rdx",
            "je 6f",
            "movzx eax, byte ptr [rdi + rcx]",
            "movzx r8d, byte ptr [rsi + rcx]",
            "inc rcx",
            "sub eax, r8d",
            "jz 4b",
            "ret",
            "5:",
            "bsf eax, eax",
            "add rcx, rax",
            "movzx eax, byte ptr [rdi + rcx]",
            "movzx r8d, byte ptr [rsi + rcx]",
            "sub eax, r8d",
            "ret",
            "6:",
            "xor eax, eax",
            "ret",
        )
    }

    /// Compares `len` bytes for equality only.
    #[unsafe(naked)]
    #[cfg_attr(not(test), unsafe(no_mangle))]
    pub(super) unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, len: usize) -> i32 {
        naked_asm!("jmp {memcmp}", memcmp = sym memcmp)
    }

    /// Length of a C string.
    #[unsafe(naked)]
    #[cfg_attr(not(test), unsafe(no_mangle))]
    pub(super) unsafe extern "C" fn strlen(string: *const u8) -> usize {
        naked_asm!("mov rax, -1", "2:", "inc rax", "cmp byte ptr [rdi + rax], 0", "jne 2b", "ret",)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    /// Lengths around every limit in the code above.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..300).chain([511, 512, 513, 1000, 4095, 4096, 4097])
    }

    fn pattern(len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
    }

    #[test]
    fn copies_every_length() {
        for len in lengths() {
            let from = pattern(len + 32);
            for shift in [0, 1, 15] {
                let mut to = std::vec![0xee; len + 64];
                // SAFETY:
                // - both are long enough.
                let end = unsafe { builtins::memcpy(to.as_mut_ptr().add(shift), from.as_ptr().add(3), len) };
                assert_eq!(end, to[shift..].as_mut_ptr());
                assert_eq!(to[shift..shift + len], from[3..3 + len]);
                assert!(to[..shift].iter().chain(&to[shift + len..]).all(|&byte| byte == 0xee), "{len}");
            }
        }
    }

    #[test]
    fn moves_over_itself_either_way() {
        for len in lengths() {
            for (from, to) in [(0, 0), (0, 1), (1, 0), (0, 7), (16, 3), (0, 17), (100, 0), (0, 100), (0, 130)] {
                let mut memory = pattern(len + 200);
                let mut expected = memory.clone();
                expected.copy_within(from..from + len, to);
                let start = memory.as_mut_ptr();
                // SAFETY:
                // - both lie within the vector.
                unsafe { builtins::memmove(start.add(to), start.add(from), len) };
                assert_eq!(memory, expected, "{len} bytes from {from} to {to}");
            }
        }
    }

    #[test]
    fn fills_every_length() {
        for len in lengths() {
            let mut memory = std::vec![0xee; len + 40];
            // SAFETY:
            // - it is long enough.
            unsafe { builtins::memset(memory.as_mut_ptr().add(5), 0x1a5, len) };
            assert!(memory[5..5 + len].iter().all(|&byte| byte == 0xa5), "{len}");
            assert!(memory[..5].iter().chain(&memory[5 + len..]).all(|&byte| byte == 0xee), "{len}");
        }
    }

    #[test]
    fn compares_as_unsigned_bytes() {
        for len in 0..100 {
            let a = pattern(len);
            for at in 0..len {
                let mut b = a.clone();
                b[at] ^= 0x80;
                // SAFETY:
                // - both have `len` bytes.
                let (order, differ) = unsafe {
                    (builtins::memcmp(a.as_ptr(), b.as_ptr(), len), builtins::bcmp(a.as_ptr(), b.as_ptr(), len))
                };
                assert_eq!(order.signum(), if a[at] < b[at] { -1 } else { 1 });
                assert_ne!(differ, 0);
            }
            // SAFETY:
            // - as above.
            assert_eq!(unsafe { builtins::memcmp(a.as_ptr(), a.clone().as_ptr(), len) }, 0);
        }
    }

    #[test]
    fn measures_strings() {
        // SAFETY:
        // - both end with a NUL.
        unsafe {
            assert_eq!(builtins::strlen(c"".as_ptr().cast()), 0);
            assert_eq!(builtins::strlen(c"four".as_ptr().cast()), 4);
        }
    }

    #[test]
    fn copies_and_zeroes_pages() {
        #[repr(align(4096))]
        struct Page([u8; PAGE_SIZE]);
        let mut from = Page([0; PAGE_SIZE]);
        from.0.copy_from_slice(&pattern(PAGE_SIZE));
        let mut to = Page([0xee; PAGE_SIZE]);
        // SAFETY:
        // - both are pages.
        unsafe { copy_page(to.0.as_mut_ptr(), from.0.as_ptr()) };
        assert!(to.0 == from.0);
        // SAFETY:
        // - it is a page.
        unsafe { zero_page(to.0.as_mut_ptr()) };
        assert!(to.0 == [0; PAGE_SIZE]);
    }
}
