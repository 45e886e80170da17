//! What is in memory from 1 MiB on when a kernel starts: hand-off page, kernel, a program, its files.

use super::{HANDOFF, handoff};
use osv_kernel_build::{IMAGE_START, flatten};

/// Memory from the hand-off page on.
#[derive(Debug)]
pub struct Payload {
    /// The bytes, without zeros at the end.
    pub memory: Vec<u8>,
    /// The first physical address behind all that it uses at the start.
    pub memory_end: u64,
    /// Bytes of `memory` that are hand-off page and kernel.
    pub kernel_len: usize,
}

impl Payload {
    /// From the kernel's ELF file, or that of a program which carries the kernel.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn of_elf(file: &[u8]) -> Result<Self, String> {
        let flat = flatten(file, HANDOFF)?;
        let mut payload = Self { memory: flat.image, memory_end: flat.memory_end, kernel_len: 0 };
        if handoff::find(payload.memory.get(..handoff::PAGE).unwrap_or_default()) != Some(0) {
            return Err("there is no kernel of osv in it".into());
        }
        payload.kernel_len = payload.kernel_len();
        payload.move_config()?;
        Ok(payload)
    }

    /// The kernel's length: in a program's file the page tells, with the zeroed memory, which is no code.
    fn kernel_len(&self) -> usize {
        let told = super::get_u64(&self.memory, 8).and_then(|len| usize::try_from(len).ok()).filter(|&len| len != 0);
        told.unwrap_or(usize::MAX).min(self.memory.len())
    }

    /// Puts the configuration that lies behind the kernel into the hand-off page.
    fn move_config(&mut self) -> Result<(), String> {
        let Some((start, end)) = handoff::config_range(&self.memory) else { return Ok(()) };
        let place = |at: u64| at.checked_sub(HANDOFF).and_then(|at| usize::try_from(at).ok());
        let text = place(start).zip(place(end)).and_then(|(from, to)| self.memory.get(from..to));
        let text = String::from_utf8_lossy(text.unwrap_or_default()).into_owned();
        handoff::set_config(&mut self.memory, text.trim_end_matches('\0'))
    }

    /// The kernel's command line, where the boot loader gives none.
    ///
    /// # Errors
    /// If it is too long.
    pub fn set_command_line(&mut self, line: &str) -> Result<(), String> {
        let config = handoff::config(&self.memory).unwrap_or_default();
        handoff::set_config(&mut self.memory, &handoff::with_command_line(&config, line)?)
    }

    /// Adds the image that is the root.
    pub fn add_bundle(&mut self, image: &[u8]) {
        let start = self.memory_end.next_multiple_of(4096);
        let at = usize::try_from(start - HANDOFF).expect("it fits in memory");
        self.memory.resize(at, 0);
        self.memory.extend_from_slice(image);
        self.memory_end = start + image.len() as u64;
        handoff::set_bundle(&mut self.memory, start, self.memory_end);
    }

    /// Everything behind the hand-off page.
    pub fn kernel(&self) -> &[u8] {
        self.memory.get(handoff::PAGE..).unwrap_or_default()
    }

    /// How much of [`Self::kernel`] is the kernel's.
    pub fn code_len(&self) -> usize {
        self.kernel_len.saturating_sub((IMAGE_START - HANDOFF) as usize)
    }
}
