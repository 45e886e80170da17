//! Copying up: an inode of the lower tree gets its place in the upper one.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::inode::OverlayInode;
use super::{Key, ORIGIN};
use crate::errno::{Errno, Result};
use crate::fs::{FileType, Inode, Metadata, NewInode, NewKind, SetAttributes, SetTime, XattrFlags};
use crate::mem::user::{Dest, Source};

/// Bytes that are copied at once.
const CHUNK: usize = 64 * 1024;

impl OverlayInode {
    /// The inode in the upper tree, copied there with all its contents if need be. EROFS if there is no upper tree.
    #[inline]
    pub(super) fn copy_up(&self) -> Result<Arc<dyn Inode>> {
        match self.upper() {
            Some(upper) => Ok(upper),
            None => self.copy_up_to(u64::MAX),
        }
    }

    /// As [`OverlayInode::copy_up`], but of a file's contents only the first `len` bytes.
    pub(super) fn copy_up_to(&self, len: u64) -> Result<Arc<dyn Inode>> {
        let upper_root = self.shared.upper_root.as_ref().ok_or(Errno::EROFS)?;
        let _copying = self.copying.lock();
        if let Some(upper) = self.upper() {
            return Ok(upper);
        }
        let lower = self.lower().ok_or(Errno::EIO)?;
        let metadata = lower.metadata()?;
        let place = self.state.lock().place.clone();
        let parent = match &place {
            Some((parent, _)) => parent.copy_up()?,
            None => upper_root.clone(),
        };
        let name = place.as_ref().map(|(_, name)| name.as_bytes());
        let upper = self.make_copy(&lower, &metadata, &parent, name, len)?;
        self.enter_upper(upper.clone())?;
        Ok(upper)
    }

    fn make_copy(
        &self,
        lower: &Arc<dyn Inode>,
        metadata: &Metadata,
        parent: &Arc<dyn Inode>,
        name: Option<&[u8]>,
        len: u64,
    ) -> Result<Arc<dyn Inode>> {
        let new = |kind| NewInode { kind, mode: metadata.mode, uid: metadata.uid, gid: metadata.gid };
        let target;
        let kind = match metadata.kind {
            FileType::Regular => NewKind::Regular,
            FileType::Directory => NewKind::Directory,
            FileType::Symlink => {
                target = lower.read_link()?;
                NewKind::Symlink(&target)
            }
            FileType::CharDevice => NewKind::CharDevice(metadata.rdev),
            FileType::BlockDevice => NewKind::BlockDevice(metadata.rdev),
            FileType::Fifo => NewKind::Fifo,
            FileType::Socket => NewKind::Socket,
        };
        if metadata.kind != FileType::Regular {
            let upper = parent.create(name.ok_or(Errno::ESTALE)?, &new(kind))?;
            self.copy_attributes(lower, metadata, &upper)?;
            return Ok(upper);
        }
        // The name comes last, so that nobody finds half a file.
        let upper = parent.create_unnamed(&new(kind))?;
        copy_contents(lower, &upper, metadata.size.min(len))?;
        self.copy_attributes(lower, metadata, &upper)?;
        match name.map(|name| parent.link(name, &upper)) {
            // A whiteout: the file was removed meanwhile.
            Some(Err(Errno::EEXIST)) | None => {}
            Some(result) => result?,
        }
        Ok(upper)
    }

    fn copy_attributes(&self, lower: &Arc<dyn Inode>, metadata: &Metadata, upper: &Arc<dyn Inode>) -> Result<()> {
        let names = lower.list_xattrs().unwrap_or_default();
        for name in names.split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
            if let Ok(value) = lower.get_xattr(name) {
                upper.set_xattr(name, &value, XattrFlags::empty())?;
            }
        }
        upper.set_xattr(ORIGIN, &self.ino.to_le_bytes(), XattrFlags::empty())?;
        let times = SetAttributes {
            atime: Some(SetTime::To(metadata.atime)),
            mtime: Some(SetTime::To(metadata.mtime)),
            ..SetAttributes::default()
        };
        upper.set_attributes(&times)
    }

    fn enter_upper(&self, upper: Arc<dyn Inode>) -> Result<()> {
        let key = Key::Upper(upper.metadata()?.ino);
        {
            let mut state = self.state.lock();
            state.upper = Some(upper);
            if self.kind != FileType::Directory {
                state.lower = None;
            }
        }
        self.myself()?.enter(key);
        Ok(())
    }
}

fn copy_contents(from: &Arc<dyn Inode>, to: &Arc<dyn Inode>, len: u64) -> Result<()> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(CHUNK).map_err(|_| Errno::ENOMEM)?;
    buffer.resize(CHUNK, 0);
    let mut done = 0;
    while done < len {
        let want = usize::try_from(len - done).unwrap_or(CHUNK).min(CHUNK);
        let read = from.read_at(done, &mut Dest::from_slice(buffer.get_mut(..want).unwrap_or_default()))?;
        if read == 0 {
            break;
        }
        let data = buffer.get(..read).unwrap_or_default();
        if to.write_at(done, &mut Source::from_slice(data))? != read {
            return Err(Errno::ENOSPC);
        }
        done += read as u64;
        crate::sched::relax();
    }
    Ok(())
}
