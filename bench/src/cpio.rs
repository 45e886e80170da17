//! Writes cpio archives in the `newc` format, which Linux takes as an initramfs.
//!
//! See <https://docs.kernel.org/driver-api/early-userspace/buffer-format.html>.

/// An archive in the making.
#[derive(Default)]
pub struct Archive {
    bytes: Vec<u8>,
}

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

impl Archive {
    /// Adds a directory.
    pub fn directory(&mut self, path: &str, permissions: u32) {
        self.entry(path, DIRECTORY | permissions, &[], (0, 0));
    }

    /// Adds the directories that `path` lies in; those that are there already stay as they are.
    pub fn directories_above(&mut self, path: &str) {
        for (end, _) in path.match_indices('/') {
            self.directory(&path[..end], 0o755);
        }
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, REGULAR | permissions, content, (0, 0));
    }

    /// Adds a character device with its major and minor number.
    pub fn character_device(&mut self, path: &str, permissions: u32, device: (u32, u32)) {
        self.entry(path, CHARACTER_DEVICE | permissions, &[], device);
    }

    /// The archive's bytes.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8], (major, minor): (u32, u32)) {
        const LINKS: usize = 1;
        let [name_len, size] = [path.len() + 1, content.len()];
        let [mode, major, minor] = [mode, major, minor].map(|field| field as usize);
        // inode, mode, uid, gid, links, mtime, size, device (2), node's device (2), length of the name, checksum
        let fields = [0, mode, 0, 0, LINKS, 0, size, 0, 0, major, minor, name_len, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::Archive;

    #[test]
    fn entries_are_aligned_and_end_with_a_trailer() {
        let mut archive = Archive::default();
        archive.directory("dev", 0o755);
        archive.file("init", 0o755, b"hello");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(&bytes[..14], b"07070100000000");
        // header (110) and "dev\0" (4), padded to 116
        assert_eq!(&bytes[110..116], b"dev\0\0\0");
        assert_eq!(&bytes[116..122], b"070701");
        assert!(bytes.windows(10).any(|window| window == b"TRAILER!!!"));
    }
}
