//! What the system is called: the names that `uname(2)` and `/proc/sys/kernel` tell.
//!
//! Programs look at the release to learn what the kernel can do, so it names the Linux whose interface this is; the
//! version says what it really is. Host and domain name are one for the whole machine and can be set.

use crate::errno::{Errno, Result};
use crate::sync::SpinLock;

/// Name of the system.
pub const SYSTEM: &str = "Linux";
/// Release: the Linux whose system calls these are.
pub const RELEASE: &str = "6.1.0-osv";
/// Version.
pub const VERSION: &str = concat!("#1 SMP PREEMPT_DYNAMIC osv ", env!("CARGO_PKG_VERSION"));
/// Hardware.
pub const MACHINE: &str = "x86_64";

/// Longest host or domain name.
pub const MAX_LEN: usize = 64;

/// A name that can be changed.
pub struct Name(SpinLock<Stored>);

#[derive(Clone, Copy)]
struct Stored {
    bytes: [u8; MAX_LEN],
    len: usize,
}

impl Name {
    const fn new(name: &[u8]) -> Name {
        let mut bytes = [0; MAX_LEN];
        let mut len = 0;
        while len < name.len() && len < MAX_LEN {
            bytes[len] = name[len];
            len += 1;
        }
        Name(SpinLock::new(Stored { bytes, len }))
    }

    /// Hands the name to `read`.
    pub fn with<T>(&self, read: impl FnOnce(&[u8]) -> T) -> T {
        let Stored { bytes, len } = *self.0.lock();
        read(bytes.get(..len).unwrap_or_default())
    }

    /// Changes it. EINVAL if it is too long.
    pub fn set(&self, name: &[u8]) -> Result<()> {
        let mut bytes = [0; MAX_LEN];
        bytes.get_mut(..name.len()).ok_or(Errno::EINVAL)?.copy_from_slice(name);
        *self.0.lock() = Stored { bytes, len: name.len() };
        Ok(())
    }
}

/// The host's name.
pub static HOST: Name = Name::new(b"osv");
/// The NIS domain's name.
pub static DOMAIN: Name = Name::new(b"(none)");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_can_be_changed_up_to_their_limit() {
        let name = Name::new(b"first");
        name.with(|text| assert_eq!(text, b"first"));
        name.set(&[b'x'; MAX_LEN]).unwrap();
        name.with(|text| assert_eq!(text.len(), MAX_LEN));
        assert_eq!(name.set(&[b'x'; MAX_LEN + 1]), Err(Errno::EINVAL));
    }
}
