//! The list of what deviates from Linux, and the judgement over a run by it.
//!
//! A paragraph is a reason (lines that begin with `#`) and the tests that it explains: `SUITE ITEM TEST`, where `*` in the
//! test's name stands for anything. A mark before the suite says more: `!` that the item is not run at all, `?` that it
//! depends on the time or the machine whether the test deviates. A test that deviates and is not listed fails the
//! run, and so does one that is listed without a mark and does not deviate.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

use crate::battery::Results;

/// What the list says of one suite.
#[derive(Debug)]
pub struct Deviations {
    suite: String,
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    mark: Mark,
    item: String,
    test: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mark {
    Deviates,
    MayDeviate,
    NotRun,
}

impl Deviations {
    /// Reads the list for `suite`.
    pub fn parse(text: &str, suite: &str) -> Result<Self> {
        let mut entries = Vec::new();
        let mut has_reason = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                has_reason = !line.is_empty();
                continue;
            }
            ensure!(has_reason, "line {}: no reason stands above it", number + 1);
            let (of, entry) = Entry::parse(line).with_context(|| format!("line {}: {line}", number + 1))?;
            if of == suite {
                entries.push(entry);
            }
        }
        Ok(Deviations { suite: suite.to_owned(), entries })
    }

    /// Whether this item shall not be run.
    pub fn excludes(&self, item: &str) -> bool {
        self.entries.iter().any(|entry| entry.mark == Mark::NotRun && entry.item == item)
    }

    /// What is to be said against a run of the items `ran`, whose results differed so.
    pub fn judge(&self, differences: &Results, ran: &BTreeSet<&str>) -> Vec<String> {
        let unlisted =
            differences.iter().filter(|((item, test), _)| !self.entries.iter().any(|e| e.covers(item, test)));
        let mut complaints: Vec<String> =
            unlisted.map(|((item, test), how)| format!("deviates: {} {item} {test}: {how}", self.suite)).collect();
        let stale = |entry: &&Entry| {
            entry.mark == Mark::Deviates
                && ran.contains(entry.item.as_str())
                && !differences.keys().any(|(item, test)| entry.covers(item, test))
        };
        let stale = self.entries.iter().filter(stale);
        complaints.extend(
            stale.map(|entry| format!("listed, but does not deviate: {} {} {}", self.suite, entry.item, entry.test)),
        );
        complaints
    }
}

impl Entry {
    /// An entry with its suite.
    fn parse(line: &str) -> Result<(String, Entry)> {
        let (mark, rest) = match line.as_bytes().first() {
            Some(b'!') => (Mark::NotRun, &line[1..]),
            Some(b'?') => (Mark::MayDeviate, &line[1..]),
            _ => (Mark::Deviates, line),
        };
        let words: Vec<&str> = rest.split_whitespace().collect();
        let (suite, item, test) = match (mark, words.as_slice()) {
            (Mark::NotRun, [suite, item]) => (suite, item, "*"),
            (Mark::Deviates | Mark::MayDeviate, [suite, item, test]) => (suite, item, *test),
            _ => bail!("not of the form `SUITE ITEM TEST` or `!SUITE ITEM`"),
        };
        Ok(((*suite).to_owned(), Entry { mark, item: (*item).to_owned(), test: test.to_owned() }))
    }

    fn covers(&self, item: &str, test: &str) -> bool {
        self.item == item && matches(&self.test, test)
    }
}

/// Whether `name` is of the form of `pattern`, in which `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((start, rest)) => name
            .strip_prefix(start)
            .is_some_and(|left| (0..=left.len()).any(|at| left.is_char_boundary(at) && matches(rest, &left[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "# No network.\npy test_os Sendfile.*\n?py test_os Slow.test\n\n# Ring 0.\n!py test_cli\n";

    fn difference(item: &str, test: &str) -> Results {
        Results::from([((item.to_owned(), test.to_owned()), "on Linux ok, on osv error".to_owned())])
    }

    #[test]
    fn listed_deviations_pass() {
        let list = Deviations::parse(LIST, "py").unwrap();
        let ran = BTreeSet::from(["test_os"]);
        assert!(list.judge(&difference("test_os", "Sendfile.test_one"), &ran).is_empty());
        assert!(list.excludes("test_cli") && !list.excludes("test_os"));
    }

    #[test]
    fn unlisted_and_stale_ones_fail() {
        let list = Deviations::parse(LIST, "py").unwrap();
        let ran = BTreeSet::from(["test_os"]);
        let complaints = list.judge(&difference("test_os", "Other.test"), &ran);
        assert_eq!(complaints.len(), 2, "{complaints:?}");
        assert!(complaints[0].starts_with("deviates:") && complaints[1].starts_with("listed,"));
        assert!(list.judge(&Results::new(), &BTreeSet::from(["test_io"])).is_empty());
    }

    #[test]
    fn each_entry_needs_a_reason() {
        assert!(Deviations::parse("py test_os a\n", "py").is_err());
        assert!(Deviations::parse("# Reason.\n\npy test_os a\n", "py").is_err());
        assert!(Deviations::parse("# Reason.\npy test_os\n", "py").is_err());
    }
}
