use super::*;

struct Terminal {
    discipline: Discipline,
    screen: Vec<u8>,
}

impl Terminal {
    fn new() -> Terminal {
        Terminal { discipline: Discipline::new(Termios::default()), screen: Vec::new() }
    }

    fn kind(&mut self, text: &[u8]) -> Vec<Typed> {
        let mut signals = Vec::new();
        for &byte in text {
            if self.discipline.has_room() {
                signals.extend(self.discipline.receive(byte));
            }
            self.screen.extend(core::iter::from_fn(|| self.discipline.take_echo()));
        }
        signals
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut buffer = vec![0; len];
        let count = self.discipline.read(&mut buffer);
        buffer.truncate(count);
        buffer
    }

    fn change(&mut self, change: impl FnOnce(&mut Termios)) {
        let mut termios = *self.discipline.termios();
        change(&mut termios);
        self.discipline.set_termios(termios);
    }
}

#[test]
fn lines_are_edited_before_they_are_read() {
    let mut tty = Terminal::new();
    tty.kind(b"helo\x7fxo");
    assert!(!tty.discipline.has_input(1));
    tty.kind(b"\r");
    assert_eq!(tty.read(100), b"helxo\n");
    assert_eq!(tty.screen, b"helo\x08 \x08xo\r\n");
    tty.kind(b"one two\x17three\n");
    assert_eq!(tty.read(4), b"one ");
    assert_eq!(tty.read(100), b"three\n");
    tty.kind(b"gone\x15kept\n");
    assert_eq!(tty.read(100), b"kept\n");
}

#[test]
fn whole_characters_are_erased() {
    let mut tty = Terminal::new();
    tty.change(|termios| termios.input |= general::IUTF8);
    tty.kind("aä€\x7f\x7fb\n".as_bytes());
    assert_eq!(tty.read(100), b"ab\n");
    assert_eq!(tty.screen, "aä€\x08 \x08\x08 \x08b\r\n".as_bytes());
}

#[test]
fn erasing_is_shown_as_the_modes_say() {
    let mut tty = Terminal::new();
    tty.kind(b"a\tb\x01\x7f\x7f\x7f\x7f");
    assert_eq!(tty.screen, b"a\tb^A\x08 \x08\x08 \x08\x08 \x08\x08\x08\x08\x08\x08\x08\x08\x08 \x08");
    let mut paper = Terminal::new();
    paper.change(|termios| termios.local |= general::ECHOPRT);
    paper.kind(b"abc\x7f\x7fd\n");
    assert_eq!(paper.screen, b"abc\\cb/d\r\n");
    let mut plain = Terminal::new();
    plain.change(|termios| termios.local &= !(general::ECHOE | general::ECHOKE));
    plain.kind(b"ab\x7f\x15");
    assert_eq!(plain.screen, b"ab^?^U\r\n");
    assert_eq!(plain.read(10), b"");
}

#[test]
fn an_end_of_file_ends_a_line_or_the_input() {
    let mut tty = Terminal::new();
    tty.kind(b"abc\x04\x04");
    assert_eq!((tty.read(10), tty.discipline.has_input(1)), (b"abc".to_vec(), true));
    assert_eq!((tty.read(10), tty.discipline.has_input(1)), (vec![], false));
    tty.kind(b"abc\x04");
    assert_eq!((tty.read(3), tty.discipline.has_input(1)), (b"abc".to_vec(), false));
    tty.kind(b"a\x04\x04");
    assert_eq!(tty.discipline.readable(), 1);
    tty.change(|termios| termios.local = 0);
    assert_eq!(tty.read(10), b"a\0\0");
}

#[test]
fn signals_flush_what_was_typed() {
    let mut tty = Terminal::new();
    assert_eq!(tty.kind(b"abc\x03"), [Typed::Interrupt]);
    assert_eq!(tty.screen, b"abc^C");
    assert_eq!(tty.kind(b"\x1c\x1a"), [Typed::Quit, Typed::Suspend]);
    tty.kind(b"d\n");
    assert_eq!(tty.read(10), b"d\n");
    tty.change(|termios| termios.local |= general::NOFLSH);
    tty.kind(b"kept\x03\n");
    assert_eq!(tty.read(10), b"kept\n");
    tty.change(|termios| termios.local &= !general::ISIG);
    assert_eq!(tty.kind(b"\x03\n"), []);
    assert_eq!(tty.read(10), b"\x03\n");
}

#[test]
fn raw_mode_hands_out_every_byte() {
    let mut tty = Terminal::new();
    tty.kind(b"half");
    tty.change(|termios| {
        termios.local = 0;
        termios.input = 0;
    });
    tty.kind(b"\r\x03\x7f");
    assert!(tty.discipline.has_input(7) && !tty.discipline.has_input(8));
    assert_eq!(tty.read(3), b"hal");
    assert_eq!(tty.read(100), b"f\r\x03\x7f");
    assert_eq!(tty.screen, b"half");
}

#[test]
fn what_was_typed_raw_is_a_line_afterwards() {
    let mut tty = Terminal::new();
    tty.change(|termios| termios.local &= !general::ICANON);
    tty.kind(b"abc");
    tty.change(|termios| termios.local |= general::ICANON);
    assert!(tty.discipline.has_input(1));
    assert_eq!(tty.read(10), b"abc");
}

#[test]
fn literal_and_control_characters_are_shown() {
    let mut tty = Terminal::new();
    tty.kind(b"\x16\x03\x01\n");
    assert_eq!(tty.read(10), b"\x03\x01\n");
    assert_eq!(tty.screen, b"^\x08^C^A\r\n");
    tty.screen.clear();
    tty.kind(b"ab\x12c\n");
    assert_eq!(tty.screen, b"ab^R\r\nabc\r\n");
}

#[test]
fn too_much_input_is_dropped() {
    let mut tty = Terminal::new();
    tty.kind(&[b'x'; 10_000]);
    tty.kind(b"\n");
    assert!(!tty.discipline.has_room());
    assert_eq!(tty.read(10_000).len(), CAPACITY);
    tty.change(|termios| termios.local = 0);
    tty.kind(&[b'x'; 10_000]);
    assert_eq!(tty.read(10_000).len(), CAPACITY - 1);
}

#[test]
fn output_stops_and_goes_on() {
    let mut tty = Terminal::new();
    tty.kind(b"\x13");
    assert!(tty.discipline.is_stopped());
    tty.kind(b"a");
    assert!(tty.discipline.is_stopped());
    tty.kind(b"\x11");
    assert!(!tty.discipline.is_stopped());
    tty.discipline.hold(true);
    tty.kind(b"\x11");
    assert!(tty.discipline.is_stopped());
    tty.discipline.hold(false);
    assert!(!tty.discipline.is_stopped());
}

#[test]
fn extproc_leaves_all_to_the_far_side() {
    let mut tty = Terminal::new();
    tty.change(|termios| termios.local |= general::EXTPROC);
    assert_eq!(tty.kind(b"a\x03\r"), []);
    assert_eq!((tty.read(10), tty.screen), (b"a\x03\r".to_vec(), vec![]));
}
