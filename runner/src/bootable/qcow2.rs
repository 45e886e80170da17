//! QEMU's own disk format, written from a raw image: clusters of zeros take no room. Version 2, nothing compressed.

const CLUSTER: usize = 1 << 16;
const CLUSTER_BITS: u32 = 16;
/// The bit in a table's entry that says that nobody else refers to the cluster.
const COPIED: u64 = 1 << 63;
const TABLE_ENTRIES: usize = CLUSTER / 8;
const COUNTS_PER_CLUSTER: usize = CLUSTER / 2;

/// The image of the disk `raw`.
pub fn write(raw: &[u8]) -> Vec<u8> {
    let clusters: Vec<&[u8]> = raw.chunks(CLUSTER).collect();
    let tables = clusters.len().div_ceil(TABLE_ENTRIES).max(1);
    let used = clusters.iter().filter(|cluster| !is_zero(cluster)).count();
    // Header, table of tables, table of counts, the counts, the tables, the data.
    let fixed = 3 + tables + used;
    let counts = (fixed + fixed.div_ceil(COUNTS_PER_CLUSTER) + 1).div_ceil(COUNTS_PER_CLUSTER);
    let first_count = 3;
    let first_table = first_count + counts;
    let first_data = first_table + tables;
    let total = first_data + used;

    let mut file = vec![0; first_data * CLUSTER];
    let at = |cluster: usize| (cluster * CLUSTER) as u64;
    file[..4].copy_from_slice(b"QFI\xfb");
    put32(&mut file, 4, 2);
    put32(&mut file, 20, CLUSTER_BITS);
    put64(&mut file, 24, raw.len().next_multiple_of(512) as u64);
    put32(&mut file, 36, tables as u32);
    put64(&mut file, 40, at(1));
    put64(&mut file, 48, at(2));
    put32(&mut file, 56, 1);
    for index in 0..tables {
        put64(&mut file, CLUSTER + 8 * index, at(first_table + index) | COPIED);
    }
    for index in 0..counts {
        put64(&mut file, 2 * CLUSTER + 8 * index, at(first_count + index));
    }
    for index in 0..total {
        let place = first_count * CLUSTER + 2 * index;
        file[place..place + 2].copy_from_slice(&1u16.to_be_bytes());
    }
    let mut next = first_data;
    for (index, cluster) in clusters.iter().enumerate() {
        if !is_zero(cluster) {
            put64(&mut file, first_table * CLUSTER + 8 * index, at(next) | COPIED);
            file.extend_from_slice(cluster);
            file.resize(file.len().next_multiple_of(CLUSTER), 0);
            next += 1;
        }
    }
    file
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

fn put32(file: &mut [u8], at: usize, value: u32) {
    file[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

fn put64(file: &mut [u8], at: usize, value: u64) {
    file[at..at + 8].copy_from_slice(&value.to_be_bytes());
}
