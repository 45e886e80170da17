//! Every fuzz target, on a fixed number of inputs that are random, and that are good but for a few bytes: what CI can run
//! on stable in seconds. The seeds are built here, so that damage goes deep into each parser.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Changes of single bytes, and a length to cut to.
type Damage = (Vec<(Index, u8)>, Option<Index>);

fn damage() -> impl Strategy<Value = Damage> {
    (vec((any::<Index>(), any::<u8>()), 0..6), proptest::option::weighted(0.2, any::<Index>()))
}

fn damaged(seed: &[u8], (changes, cut): &Damage) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for (at, value) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *value;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

/// Runs a target on random bytes, and on each seed with damage.
macro_rules! smoke {
    ($name:ident, $seeds:expr) => {
        mod $name {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

                #[test]
                fn takes_random_bytes(bytes in vec(any::<u8>(), 0..600)) {
                    osv_fuzz::$name(&bytes);
                }

                #[test]
                fn takes_damaged_seeds(damage in damage()) {
                    for seed in $seeds {
                        osv_fuzz::$name(&damaged(&seed, &damage));
                    }
                }
            }

            #[test]
            fn takes_every_seed_cut_anywhere() {
                for seed in $seeds {
                    (0..=seed.len()).for_each(|length| osv_fuzz::$name(&seed[..length]));
                }
            }
        }
    };
}

smoke!(elf, [program(2), program(3)]);
smoke!(script, [b"#! /usr/bin/env -S sh -e \nexit 1\n".to_vec(), b"#!/bin/sh".to_vec()]);
smoke!(
    cmdline,
    [b"--quiet --rootfs=9p:root --env=A=1 --mount-fs=9p,tag,/path,ro --cwd='/a b' prog \"x y\" z".to_vec()]
);
smoke!(boot_info, [pvh(), zero_page(), multiboot1(), multiboot2()]);
smoke!(acpi, [acpi_tables()]);
smoke!(erofs, [directory_block(), vec![1; 200]]);
smoke!(ninep, (0..6).map(ninep_reply));

/// Memory of `size` bytes with the address 8 at its start, and numbers of 32 bits at given places.
fn memory(size: usize, numbers: &[(usize, u32)]) -> Vec<u8> {
    let mut bytes = vec![0; size];
    bytes[0] = 8;
    for &(at, number) in numbers {
        bytes[8 + at..8 + at + 4].copy_from_slice(&number.to_le_bytes());
    }
    bytes
}

/// Linux' zero page with a command line, a RAM disk, and two entries in its memory map.
fn zero_page() -> Vec<u8> {
    let magic = u32::from_le_bytes(*b"HdrS");
    let map = [(0x1e8, 2), (0x2d8, 0x9000), (0x2e0, 1), (0x2e4, 0x10_0000), (0x2ec, 0x10_0000), (0x2f4, 1)];
    let head = [(0x202, magic), (0x218, 0x50_0000), (0x21c, 0x1000), (0x228, 8), (0x1c0, 0x3436_4c45), (0x1c4, 16)];
    memory(4200, &[&head[..], &map].concat())
}

/// Multiboot's first table with a command line, a module and one entry in its memory map.
fn multiboot1() -> Vec<u8> {
    let head = [(0, 0x4c), (16, 8), (20, 1), (24, 120), (44, 24), (48, 140), (64, 8)];
    memory(200, &[&head[..], &[(112, 0x50_0000), (116, 0x51_0000), (132, 20), (140, 0x10_0000), (148, 1)]].concat())
}

/// A list of multiboot's tags: command line, module, memory map, ACPI's root.
fn multiboot2() -> Vec<u8> {
    let tags = [(0, 160), (8, 1), (12, 11), (24, 3), (28, 17), (32, 0x50_0000), (36, 0x51_0000), (48, 6), (52, 40)];
    let rest = [(56, 24), (64, 0), (72, 0x10_0000), (80, 1), (88, 15), (92, 44), (136, 0), (140, 8)];
    memory(200, &[&tags[..], &rest].concat())
}

/// A small ELF file with an interpreter and two segments.
fn program(kind: u16) -> Vec<u8> {
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    for half in [kind, 62] {
        file.extend(half.to_le_bytes());
    }
    file.extend(1u32.to_le_bytes());
    for word in [0x401000u64, 64, 0] {
        file.extend(word.to_le_bytes());
    }
    file.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 4, 0, 0, 0] {
        file.extend(half.to_le_bytes());
    }
    segment(&mut file, 3, 4, 288, 0x400120, 28, 1);
    segment(&mut file, 1, 5, 0, 0x400000, 0x1000, 0x1000);
    segment(&mut file, 1, 6, 0x1008, 0x402008, 0x2000, 0x1000);
    segment(&mut file, 0x6474_e551, 6, 0, 0, 0, 16);
    file.extend(b"/lib64/ld-linux-x86-64.so.2\0");
    file
}

fn segment(file: &mut Vec<u8>, kind: u32, flags: u32, offset: u64, address: u64, size: u64, alignment: u64) {
    file.extend(kind.to_le_bytes());
    file.extend(flags.to_le_bytes());
    for word in [offset, address, address, size, size + 100, alignment] {
        file.extend(word.to_le_bytes());
    }
}

/// `hvm_start_info` at 64 with a command line, a module and four regions; two overlap.
fn pvh() -> Vec<u8> {
    let mut memory = vec![0; 64];
    memory[0] = 64;
    for half in [0x336e_c578u32, 1, 0, 1] {
        memory.extend(half.to_le_bytes());
    }
    for word in [160u64, 320, 0, 200] {
        memory.extend(word.to_le_bytes());
    }
    memory.extend(4u32.to_le_bytes());
    memory.resize(160, 0);
    for word in [0x10_0000u64, 0x1000, 0, 0] {
        memory.extend(word.to_le_bytes());
    }
    memory.resize(200, 0);
    for (start, size, kind) in
        [(0u64, 0x9_fc00u64, 1u32), (0x10_0000, 0x700_0000, 1), (0x600_0000, 0x10_0000, 2), (0xfff_0000, 0, 1)]
    {
        memory.extend(start.to_le_bytes());
        memory.extend(size.to_le_bytes());
        memory.extend(kind.to_le_bytes());
        memory.extend([0; 4]);
    }
    memory.resize(320, 0);
    memory.extend(b"--quiet program\0");
    memory
}

/// RSDP at 16, RSDT with one MADT of three entries.
fn acpi_tables() -> Vec<u8> {
    let mut memory = vec![16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    memory.extend(b"RSD PTR \0OSV   \0");
    memory.extend(64u32.to_le_bytes());
    fix_checksum(&mut memory[16..36], 8);
    memory.resize(64, 0);
    let madt = [
        &0xfee0_0000u32.to_le_bytes()[..],
        &1u32.to_le_bytes(),
        &[0, 8, 0, 0, 1, 0, 0, 0],
        &[1, 12, 1, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0],
        &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
    ];
    let rsdt = table(*b"RSDT", &104u32.to_le_bytes());
    memory.extend(rsdt);
    memory.resize(104, 0);
    memory.extend(table(*b"APIC", &madt.concat()));
    memory
}

fn table(signature: [u8; 4], body: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    table.extend(u32::try_from(36 + body.len()).unwrap_or(0).to_le_bytes());
    table.resize(36, 0);
    table.extend(body);
    fix_checksum(&mut table, 9);
    table
}

fn fix_checksum(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0u8, |sum, &byte| sum.wrapping_sub(byte));
}

/// Three entries and their names.
fn directory_block() -> Vec<u8> {
    let mut block = Vec::new();
    for (number, name_at) in [(36u64, 36u16), (40, 37), (44, 39)] {
        block.extend(number.to_le_bytes());
        block.extend(name_at.to_le_bytes());
        block.extend([2, 0]);
    }
    block.extend(b"...file");
    block
}

/// A good reply to the call that this choice stands for.
fn ninep_reply(choice: u8) -> Vec<u8> {
    let qid = [0u8; 13];
    let (kind, body) = match choice {
        0 => (101, [&4096u32.to_le_bytes()[..], &[8, 0], b"9P2000.L"].concat()),
        1 => (111, [&[1, 0][..], &qid].concat()),
        2 => (25, [&[0xff; 8][..], &qid, &[1; 132]].concat()),
        3 => (9, vec![7; 60]),
        4 => (23, [&[4, 0][..], b"name"].concat()),
        _ => (41, [&24u32.to_le_bytes()[..], &qid, &[1; 8], &[4], &[2, 0], b"ab"].concat()),
    };
    let mut reply = vec![choice];
    reply.extend(u32::try_from(7 + body.len()).unwrap_or(0).to_le_bytes());
    reply.push(kind);
    reply.extend([1, 0]);
    reply.extend(body);
    reply
}
