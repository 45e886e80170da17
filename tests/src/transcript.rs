//! Reads what the driver wrote: the output of each command between its markers.

use std::collections::HashMap;

/// What a command printed and how it ended (`exit 0`, `signal 11`, `timeout`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Stdout and stderr, as they came.
    pub output: String,
    /// How it ended.
    pub end: String,
}

/// What came out of one or more runs of the driver.
#[derive(Default)]
pub struct Transcript {
    outcomes: HashMap<String, Outcome>,
    /// What followed the last finished command: the last words of a world that died.
    rest: String,
}

impl Transcript {
    /// Takes a driver's output apart.
    pub fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
        let mut transcript = Transcript::default();
        let mut rest = text.as_str();
        while let Some((name, body)) = rest.split_once("\n\x01begin ").and_then(|(_, found)| found.split_once('\n')) {
            let end_marker = format!("\n\x01end {name} ");
            let Some((output, after)) = body.split_once(&end_marker) else { break };
            let (end, after) = after.split_once('\n').unwrap_or((after, ""));
            let outcome = Outcome { output: output.to_owned(), end: end.to_owned() };
            transcript.outcomes.insert(name.to_owned(), outcome);
            rest = after;
        }
        transcript.rest = rest.to_owned();
        transcript
    }

    /// What the named command did.
    pub fn outcome(&self, name: &str) -> Option<&Outcome> {
        self.outcomes.get(name)
    }

    /// Says that the world ended while this command ran.
    pub fn record_death(&mut self, name: &str) {
        let outcome = Outcome { output: std::mem::take(&mut self.rest), end: "the VM ended".to_owned() };
        self.outcomes.insert(name.to_owned(), outcome);
    }

    /// Whether no command came to its end.
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty()
    }

    /// What was printed after the last command's end.
    pub fn last_words(&self) -> &str {
        &self.rest
    }

    /// Adds the lines that the VM's own console said.
    pub fn append_rest(&mut self, text: &str) {
        self.rest.push_str(text);
    }

    /// Takes over another run's outcomes.
    pub fn merge(&mut self, other: Transcript) {
        self.outcomes.extend(other.outcomes);
    }
}

#[cfg(test)]
mod tests {
    use super::Transcript;

    #[test]
    fn outputs_stand_between_markers() {
        let text = b"boot\n\n\x01begin a\nhello\n\n\x01end a exit 3\n\n\x01begin b\n\n\x01end b signal 9\n\n\x01done\n";
        let transcript = Transcript::parse(text);
        let a = transcript.outcome("a").expect("a ran");
        assert_eq!((a.output.as_str(), a.end.as_str()), ("hello\n", "exit 3"));
        let b = transcript.outcome("b").expect("b ran");
        assert_eq!((b.output.as_str(), b.end.as_str()), ("", "signal 9"));
    }

    #[test]
    fn a_death_leaves_last_words() {
        let mut transcript = Transcript::parse(b"\n\x01begin a\npanic!\n");
        assert!(transcript.outcome("a").is_none());
        transcript.record_death("a");
        assert!(transcript.outcome("a").is_some_and(|outcome| outcome.output.contains("panic!")));
    }
}
