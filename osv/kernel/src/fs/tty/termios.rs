//! The settings of a terminal, as tcgetattr(3) and tcsetattr(3) exchange them.

use linux_raw_sys::general;
use zerocopy::{FromBytes, Immutable, IntoBytes};

/// Number of control characters in Linux' `struct termios`.
const CONTROLS: usize = 19;

/// `struct termios` of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Termios {
    /// `IXON`, `ICRNL` …
    pub input: u32,
    /// `OPOST`, `ONLCR` …
    pub output: u32,
    /// `CS8`, `CREAD`, speeds …
    pub control: u32,
    /// `ICANON`, `ECHO`, `ISIG` …
    pub local: u32,
    /// The line discipline; always N_TTY.
    pub line: u8,
    /// What interrupts, erases, ends a line …
    pub characters: [u8; CONTROLS],
}

/// `struct termios2`: with speeds as numbers.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Termios2 {
    /// Everything else.
    pub settings: Termios,
    /// Bits per second in.
    pub input_speed: u32,
    /// Bits per second out.
    pub output_speed: u32,
}

/// `struct winsize`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
#[allow(missing_docs)]
pub struct WindowSize {
    pub rows: u16,
    pub columns: u16,
    pub width: u16,
    pub height: u16,
}

impl Default for Termios {
    /// What Linux gives a new terminal: line editing, echo, signals, 38,400 bits per second.
    fn default() -> Termios {
        let mut characters = [0; CONTROLS];
        let defaults = [
            (general::VINTR, 3),
            (general::VQUIT, 28),
            (general::VERASE, 127),
            (general::VKILL, 21),
            (general::VEOF, 4),
            (general::VMIN, 1),
            (general::VSTART, 17),
            (general::VSTOP, 19),
            (general::VSUSP, 26),
            (general::VREPRINT, 18),
            (general::VDISCARD, 15),
            (general::VWERASE, 23),
            (general::VLNEXT, 22),
        ];
        for (index, character) in defaults {
            if let Some(place) = characters.get_mut(index as usize) {
                *place = character;
            }
        }
        Termios {
            input: general::ICRNL | general::IXON,
            output: general::OPOST | general::ONLCR,
            control: general::B38400 | general::CS8 | general::CREAD | general::HUPCL,
            local: general::ISIG
                | general::ICANON
                | general::ECHO
                | general::ECHOE
                | general::ECHOK
                | general::ECHOCTL
                | general::ECHOKE
                | general::IEXTEN,
            line: 0,
            characters,
        }
    }
}

impl Termios {
    /// The control character with index `which` (`VINTR` …).
    #[inline]
    pub fn character(&self, which: u32) -> u8 {
        self.characters.get(which as usize).copied().unwrap_or(0)
    }

    /// Whether `byte` is the control character `which`, and that one is in use.
    #[inline]
    pub fn is_character(&self, byte: u8, which: u32) -> bool {
        let character = self.character(which);
        character != 0 && character == byte
    }

    /// Whether all of `flags` are set in the local modes.
    #[inline]
    pub const fn is_local(&self, flags: u32) -> bool {
        self.local & flags == flags
    }

    /// Whether input is handed out line by line.
    pub const fn is_canonical(&self) -> bool {
        self.is_local(general::ICANON)
    }
}
