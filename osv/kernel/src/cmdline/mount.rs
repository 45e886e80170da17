//! `--mount-fs=TYPE,DEVICE,PATH[,ro|rw]`.

use alloc::vec::Vec;

/// A file system that the command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct MountOption {
    /// The file system's name, such as `9p`.
    pub kind: Vec<u8>,
    /// What it is on, such as a 9p tag.
    pub device: Vec<u8>,
    /// Where it goes.
    pub path: Vec<u8>,
    /// Whether programs may change what is on the device; otherwise their writes stay in memory.
    pub is_writable: bool,
}

impl MountOption {
    /// Reads the option's value.
    pub(super) fn parse(value: &[u8]) -> Option<MountOption> {
        let mut fields = value.splitn(4, |&byte| byte == b',');
        let (kind, device, path) = (fields.next()?, fields.next()?, fields.next()?);
        let is_writable = match fields.next() {
            None | Some(b"ro") => false,
            Some(b"rw") => true,
            Some(_) => return None,
        };
        path.starts_with(b"/").then(|| MountOption {
            kind: kind.to_vec(),
            device: device.to_vec(),
            path: path.to_vec(),
            is_writable,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Options;

    #[test]
    fn mounts() {
        let options = Options::parse(b"--mount-fs=9p,work,/home/u,rw --mount-fs=tmpfs,none,/t").unwrap();
        assert_eq!(options.mounts.len(), 2);
        assert!(options.mounts[0].is_writable && !options.mounts[1].is_writable);
        assert_eq!(options.mounts[0].path, b"/home/u");
        assert!(Options::parse(b"--mount-fs=9p,work").is_err());
        assert!(Options::parse(b"--mount-fs=9p,work,relative").is_err());
    }
}
