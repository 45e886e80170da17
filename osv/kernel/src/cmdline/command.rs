//! Commands: words that are a program and its arguments, and how each is to be waited for.
//!
//! Words are separated by blanks, which double quotes hold together; backslashes escape as in C, `$NAME` and `${NAME}`
//! stand for a variable's value. A command ends with `;`, `&`, `&!`, with a `!` at the end of a word or by itself, or
//! with the line.

use alloc::vec::Vec;
use core::iter::Peekable;
use core::slice::Iter;

use super::Environment;

/// What becomes of a command once it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// `;` or the end of the line: the next one waits for it.
    Wait,
    /// `!`: the next one waits for it, and what it leaves running is ended.
    WaitAndKill,
    /// `&`: it is waited for at the end.
    Background,
    /// `&!`: at the end it is asked to end.
    Service,
}

/// A program, its arguments, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The program's name and its arguments; never empty.
    pub words: Vec<Vec<u8>>,
    /// How it is waited for.
    pub end: End,
}

impl Command {
    /// The commands of a line, with the variables of `environment`.
    pub fn parse_line(line: &[u8], environment: &Environment) -> Vec<Command> {
        let mut parser =
            Parser { bytes: line.iter().peekable(), environment, commands: Vec::new(), words: Vec::new(), word: None };
        parser.run();
        parser.commands
    }
}

struct Parser<'a> {
    bytes: Peekable<Iter<'a, u8>>,
    environment: &'a Environment,
    commands: Vec<Command>,
    words: Vec<Vec<u8>>,
    word: Option<Vec<u8>>,
}

impl Parser<'_> {
    fn run(&mut self) {
        let mut is_quoted = false;
        while let Some(&byte) = self.bytes.next() {
            match byte {
                b'"' => {
                    is_quoted = !is_quoted;
                    self.push(&[]);
                }
                b'\\' => self.escape(),
                b'$' => self.variable(),
                _ if is_quoted => self.push(&[byte]),
                b';' => self.end_command(End::Wait),
                b'&' => {
                    let is_service = self.bytes.next_if_eq(&&b'!').is_some();
                    self.end_command(if is_service { End::Service } else { End::Background });
                }
                b'!' if self.is_at_boundary() => self.end_command(End::WaitAndKill),
                _ if byte.is_ascii_whitespace() => self.end_word(),
                _ => self.push(&[byte]),
            }
        }
        self.end_command(End::Wait);
    }

    fn push(&mut self, bytes: &[u8]) {
        self.word.get_or_insert_default().extend_from_slice(bytes);
    }

    fn end_word(&mut self) {
        self.words.extend(self.word.take());
    }

    fn end_command(&mut self, end: End) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(Command { words: core::mem::take(&mut self.words), end });
        }
    }

    /// Whether nothing more of a word follows.
    fn is_at_boundary(&mut self) -> bool {
        self.bytes.peek().is_none_or(|&&byte| byte.is_ascii_whitespace() || matches!(byte, b';' | b'&'))
    }

    /// The byte that an escape sequence stands for, as in C; the backslash has been read.
    fn escape(&mut self) {
        let Some(&byte) = self.bytes.next() else { return self.push(&[]) };
        let byte = match byte {
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'x' => self.number(16, 2, 0),
            b'0'..=b'7' => self.number(8, 2, byte - b'0'),
            other => other,
        };
        self.push(&[byte]);
    }

    /// Up to `most` more digits of base `radix` behind `value`.
    fn number(&mut self, radix: u32, most: usize, mut value: u8) -> u8 {
        for _ in 0..most {
            let Some(digit) = self.bytes.peek().and_then(|&&byte| char::from(byte).to_digit(radix)) else { break };
            value = value.wrapping_mul(radix as u8).wrapping_add(digit as u8);
            self.bytes.next();
        }
        value
    }

    /// A variable's value; the dollar sign has been read. One that is not set leaves nothing, not even a word.
    fn variable(&mut self) {
        let has_braces = self.bytes.next_if_eq(&&b'{').is_some();
        let mut name = Vec::new();
        while let Some(&byte) = self.bytes.next_if(|byte| byte.is_ascii_alphanumeric() || **byte == b'_') {
            name.push(byte);
        }
        if has_braces {
            self.bytes.next_if_eq(&&b'}');
        } else if name.is_empty() {
            return self.push(b"$");
        }
        let environment = self.environment;
        if let Some(value) = environment.get(&name) {
            self.push(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Vec<(Vec<String>, End)> {
        let mut environment = Environment::default();
        environment.assign(b"NAME=a value");
        let commands = Command::parse_line(line.as_bytes(), &environment);
        let text = |word: &Vec<u8>| String::from_utf8(word.clone()).unwrap();
        commands.iter().map(|command| (command.words.iter().map(text).collect(), command.end)).collect()
    }

    fn words(line: &str) -> Vec<String> {
        parse(line).pop().map(|(words, _)| words).unwrap_or_default()
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(words(r#"a "b c"d "" \x41\102\n\"e"#), ["a", "b cd", "", "AB\n\"e"]);
        assert_eq!(words(r#""never closed  "#), ["never closed  "]);
        assert_eq!(words("\\"), [""]);
        assert_eq!(words(r#""a;b&c!" a\;b \$NAME"#), ["a;b&c!", "a;b", "$NAME"]);
    }

    #[test]
    fn variables() {
        assert_eq!(
            words("$NAME ${NAME}s \"$NAME\" $NONE x$NONE $ 5$"),
            ["a value", "a values", "a value", "x", "$", "5$"]
        );
        assert_eq!(words("a ${NAME"), ["a", "a value"]);
    }

    #[test]
    fn commands_end_in_four_ways() {
        let line = parse("one 1; two&three &! four ! five! six a!b !;;");
        let ends: Vec<_> = line.iter().map(|(words, end)| (words[0].as_str(), *end)).collect();
        let expected = [
            ("one", End::Wait),
            ("two", End::Background),
            ("three", End::Service),
            ("four", End::WaitAndKill),
            ("five", End::WaitAndKill),
            ("six", End::WaitAndKill),
        ];
        assert_eq!(ends, expected);
        assert_eq!(line[5].0, ["six", "a!b"]);
        assert!(parse(" ;; & ! &! ").is_empty());
    }
}
