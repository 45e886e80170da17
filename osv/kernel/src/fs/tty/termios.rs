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
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Termios2 {
    /// Everything else.
    pub settings: Termios,
    /// Bits per second in.
    pub input_speed: u32,
    /// Bits per second out.
    pub output_speed: u32,
}

/// Speeds by the number in `c_cflag`, B0 to B38400; those beyond are in [`FAST_SPEEDS`].
const SPEEDS: [u32; 16] = [0, 50, 75, 110, 134, 150, 200, 300, 600, 1200, 1800, 2400, 4800, 9600, 19200, 38400];
/// Speeds from B57600 to B4000000.
const FAST_SPEEDS: [u32; 15] = [
    57_600, 115_200, 230_400, 460_800, 500_000, 576_000, 921_600, 1_000_000, 1_152_000, 1_500_000, 2_000_000,
    2_500_000, 3_000_000, 3_500_000, 4_000_000,
];

/// The speed behind a number; `None` for BOTHER and what nobody has defined.
fn speed_of(number: u32) -> Option<u32> {
    let index = (number & general::CBAUD & !general::BOTHER) as usize;
    match number & general::BOTHER {
        0 => SPEEDS.get(index).copied(),
        _ => FAST_SPEEDS.get(index.wrapping_sub(1)).copied(),
    }
}

impl Termios2 {
    /// These settings with the speeds that their control modes name; those of `old` where they name none.
    pub fn with_named_speeds(settings: Termios, old: &Termios2) -> Termios2 {
        let output_speed = speed_of(settings.control).unwrap_or(old.output_speed);
        let input = settings.control >> general::IBSHIFT & general::CBAUD;
        let input_speed = if input == 0 { output_speed } else { speed_of(input).unwrap_or(old.input_speed) };
        Termios2 { settings, input_speed, output_speed }
    }

    /// These settings with the speeds that they name, or with their own numbers where they say so (BOTHER).
    pub fn normalised(self) -> Termios2 {
        Termios2::with_named_speeds(self.settings, &self)
    }
}

impl Default for Termios2 {
    fn default() -> Termios2 {
        Termios2 { settings: Termios::default(), input_speed: 38400, output_speed: 38400 }
    }
}

/// `struct termio`, with which System V set a terminal.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable)]
#[repr(C)]
pub struct Termio {
    input: u16,
    output: u16,
    control: u16,
    local: u16,
    line: u8,
    characters: [u8; 8],
    padding: u8,
}

impl From<Termios> for Termio {
    fn from(termios: Termios) -> Termio {
        let mut characters = [0; 8];
        characters.iter_mut().zip(termios.characters).for_each(|(to, from)| *to = from);
        let low = |modes: u32| (modes & 0xffff) as u16;
        Termio {
            input: low(termios.input),
            output: low(termios.output),
            control: low(termios.control),
            local: low(termios.local),
            line: termios.line,
            characters,
            padding: 0,
        }
    }
}

impl Termio {
    /// `termios`, changed in what this can express.
    pub fn applied_to(&self, mut termios: Termios) -> Termios {
        let merge = |modes: &mut u32, new: u16| *modes = *modes & 0xffff_0000 | u32::from(new);
        merge(&mut termios.input, self.input);
        merge(&mut termios.output, self.output);
        merge(&mut termios.control, self.control);
        merge(&mut termios.local, self.local);
        termios.line = self.line;
        termios.characters.iter_mut().zip(self.characters).for_each(|(to, from)| *to = from);
        termios
    }
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
    /// No bits at all.
    pub const NONE: Termios = Termios { input: 0, output: 0, control: 0, local: 0, line: 0, characters: [0; CONTROLS] };

    /// What Linux gives a new pty: nothing hangs up when it is closed.
    pub fn of_pty() -> Termios {
        let termios = Termios::default();
        Termios { control: termios.control & !general::HUPCL, ..termios }
    }

    /// These settings, but those of `old` where `locked` has bits.
    pub fn with_locked(mut self, locked: &Termios, old: &Termios) -> Termios {
        let keep = |new: &mut u32, locked: u32, old: u32| *new = *new & !locked | old & locked;
        keep(&mut self.input, locked.input, old.input);
        keep(&mut self.output, locked.output, old.output);
        keep(&mut self.control, locked.control, old.control);
        keep(&mut self.local, locked.local, old.local);
        for ((new, locked), old) in self.characters.iter_mut().zip(locked.characters).zip(old.characters) {
            if locked != 0 {
                *new = old;
            }
        }
        self
    }

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

    /// Whether all of `flags` are set in the input modes.
    #[inline]
    pub const fn is_input(&self, flags: u32) -> bool {
        self.input & flags == flags
    }

    /// Whether `byte` goes on with a character that another byte began (IUTF8).
    #[inline]
    pub const fn is_continuation(&self, byte: u8) -> bool {
        self.is_input(general::IUTF8) && byte & 0xc0 == 0x80
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
