//! Lines of a script for `runscript`: options for the environment, then commands.

use alloc::vec::Vec;

use super::{BadOption, Command, Environment, next_option};

/// What one line asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Line {
    /// The environment of its commands.
    pub environment: Environment,
    /// Its commands.
    pub commands: Vec<Command>,
}

/// Reads a line, whose commands have `environment` and what the line adds to it by `--env=K=V` and `--env=K?=V`.
/// `None` for a line that is empty or a comment.
///
/// # Errors
/// An option that is no `--env`.
pub fn parse(line: &[u8], environment: &Environment) -> Result<Option<Line>, BadOption> {
    let mut rest = line.trim_ascii();
    if rest.is_empty() || rest.starts_with(b"#") {
        return Ok(None);
    }
    let mut environment = environment.clone();
    while let Some((word, after)) = next_option(rest) {
        match word.strip_prefix(b"--env=") {
            Some(assignment) => environment.assign(assignment),
            None => return Err(BadOption(word)),
        }
        rest = after;
    }
    let commands = Command::parse_line(rest, &environment);
    Ok(Some(Line { environment, commands }))
}

#[cfg(test)]
mod tests {
    use super::super::End;
    use super::*;

    #[test]
    fn lines_have_an_environment_of_their_own() {
        let mut environment = Environment::default();
        environment.assign(b"SET=old");
        let line =
            parse(b"--env=NEW=1 --env=SET?=no --env=OTHER?=x\\ y run $SET $NEW&\n", &environment).unwrap().unwrap();
        assert_eq!(
            line.commands,
            [Command { words: [&b"run"[..], b"old", b"1"].map(<[u8]>::to_vec).to_vec(), end: End::Background }]
        );
        assert_eq!(line.environment.get(b"OTHER"), Some(&b"x y"[..]));
        assert_eq!(environment.get(b"NEW"), None);
        assert_eq!(parse(b"  # nothing", &environment), Ok(None));
        assert_eq!(parse(b"--cwd=/ x", &environment), Err(BadOption(b"--cwd=/".to_vec())));
    }
}
