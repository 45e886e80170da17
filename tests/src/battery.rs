//! Test suites of others, run on the host and in the VM by the same script, and what became of each test compared.
//!
//! A suite is a script in `suites/` that takes items (a module, a stressor, a file of tests), runs one after the other,
//! and prints results as lines `@@ ITEM TEST OUTCOME`; the last of an item is `@@ ITEM end OUTCOME`. The host's
//! outcomes are right by definition. What deviates from them has to stand in `suites/deviations` with its reason.
//!
//! - `OSV_SUITES=all`: every item, not only those that CI has time for;
//! - `OSV_SUITES_ONLY=item,item`: these items;
//! - `OSV_SUITES_KEEP=1`: take the host's results of the last run where they are there;
//! - `OSV_TESTS_ARGS="--cpus 4"`: more options for `osv run`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::compile;
use crate::deviations::Deviations;
use crate::vm;

/// What each test came to, by item and test.
pub type Results = BTreeMap<(String, String), String>;

/// The test whose result tells how the item itself ended.
const END: &str = "end";

/// A suite, the items that CI runs of it, and all of them.
pub struct Battery {
    name: String,
    script: Vec<String>,
    chosen: Vec<String>,
    all: Vec<String>,
    options: Vec<String>,
}

impl Battery {
    /// The suite `name`, run by `words` followed by items. An item may say how many seconds it may take: `item:200`.
    pub fn new(name: &str, words: &[&str]) -> Self {
        let mut script: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        if let Some(file) = script.iter_mut().find(|word| Path::new(word).extension().is_some() && !word.contains('/'))
        {
            *file = suites_dir().join(&*file).display().to_string();
        }
        let has_cpus = std::env::var("OSV_TESTS_ARGS").is_ok_and(|more| more.contains("--cpus"));
        let options: &[&str] = if has_cpus { &["--memory", "2G"] } else { &["--memory", "2G", "--cpus", "2"] };
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Battery { name: name.to_owned(), script, chosen: Vec::new(), all: Vec::new(), options }
    }

    /// These items run in CI.
    #[must_use]
    pub fn chosen(mut self, items: &[&str]) -> Self {
        self.chosen = items.iter().map(|&item| item.to_owned()).collect();
        self
    }

    /// These run, too, when everything is asked for.
    #[must_use]
    pub fn all(mut self, items: impl IntoIterator<Item = String>) -> Self {
        self.all = items.into_iter().collect();
        self
    }

    /// Runs the items on the host and in the VM.
    ///
    /// # Panics
    ///
    /// If an outcome deviates and is not listed, or is listed and does not deviate: the message says which.
    pub fn check(self) {
        match self.complaints() {
            Ok(complaints) if complaints.is_empty() => {}
            Ok(complaints) => panic!("{}: {} complaints\n{}", self.name, complaints.len(), complaints.join("\n")),
            Err(error) => panic!("{}: {error:?}", self.name),
        }
    }

    fn complaints(&self) -> Result<Vec<String>> {
        let list = fs::read_to_string(suites_dir().join("deviations")).context("reading the deviations")?;
        let deviations = Deviations::parse(&list, &self.name)?;
        let items = self.items(&deviations);
        fs::create_dir_all(log_dir())?;
        let on_host = self.on_host(&items)?;
        let in_vm = self.in_vm(&items)?;
        let ran: BTreeSet<&str> = items.iter().map(|item| name_of(item)).collect();
        Ok(deviations.judge(&differences(&on_host, &in_vm), &ran))
    }

    /// What is to be run: without what the list says would not leave the VM alive.
    fn items(&self, deviations: &Deviations) -> Vec<String> {
        let only = std::env::var("OSV_SUITES_ONLY").unwrap_or_default();
        let only: BTreeSet<&str> = only.split(',').filter(|item| !item.is_empty()).collect();
        let everything = !only.is_empty() || std::env::var("OSV_SUITES").is_ok_and(|which| which == "all");
        let mut seen = BTreeSet::new();
        let all = if everything { self.all.as_slice() } else { &[] };
        let items = self.chosen.iter().chain(all);
        let items = items.filter(|item| seen.insert(name_of(item)) && !deviations.excludes(name_of(item)));
        items.filter(|item| only.is_empty() || only.contains(name_of(item))).cloned().collect()
    }

    /// The host's results; those of the last run, if these are to be kept and complete.
    fn on_host(&self, items: &[String]) -> Result<Results> {
        let log = log_dir().join(format!("{}.host.log", self.name));
        if std::env::var_os("OSV_SUITES_KEEP").is_some()
            && let Ok(kept) = fs::read_to_string(&log)
        {
            let results = parse(&kept, items);
            if items.iter().all(|item| has_ended(&results, item)) {
                return Ok(results);
            }
        }
        let (program, arguments) = self.script.split_first().context("a script")?;
        let mut command = Command::new(program);
        command.args(arguments).args(items);
        let text = run_and_log(command, &log, items)?;
        let results = parse(&text, items);
        let missing = items.iter().find(|item| !has_ended(&results, item));
        ensure!(missing.is_none(), "{missing:?} did not end on the host: see {}", log.display());
        Ok(results)
    }

    /// The VM's results. An item that takes the VM with it is noted so, and the rest gets another VM.
    fn in_vm(&self, items: &[String]) -> Result<Results> {
        let osv = vm::osv()?;
        let more = std::env::var("OSV_TESTS_ARGS").unwrap_or_default();
        let mut results = Results::new();
        let mut left = items.to_vec();
        for boot in 0.. {
            let Some(next) = left.first() else { break };
            let log = log_dir().join(format!("{}.vm-{boot}.log", self.name));
            let mut command = Command::new(&osv);
            command.args(["run", "--verbose", "--timeout", &seconds(&left).to_string()]);
            command.args(&self.options).args(more.split_whitespace()).arg("--").args(&self.script).args(&left);
            let found = parse(&run_and_log(command, &log, &left)?, &left);
            let victim = left.iter().find(|item| !has_ended(&found, item)).unwrap_or(next).clone();
            let is_complete = left.iter().all(|item| has_ended(&found, item));
            results.extend(found);
            if !is_complete {
                eprintln!("{}: the VM ended during {victim}: see {}", self.name, log.display());
                results.insert((name_of(&victim).to_owned(), END.to_owned()), "the-VM-ended".to_owned());
            }
            left.retain(|item| !has_ended(&results, item));
        }
        Ok(results)
    }
}

/// Where the scripts and the list of deviations are.
pub fn suites_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites")
}

/// Where sources are unpacked and logs written.
pub fn log_dir() -> PathBuf {
    compile::output_dir().join("suites")
}

/// Fetches the sources of the suites that come from source packages, once.
///
/// # Panics
///
/// If that fails: without them there is nothing to test.
pub fn sources() -> PathBuf {
    fetched("fetch.sh", "sources")
}

/// Fetches and builds Linux' own tests of its system calls, once.
///
/// # Panics
///
/// If that fails: without them there is nothing to test.
pub fn selftests() -> PathBuf {
    fetched("fetch-selftests.sh", "linux")
}

fn fetched(script: &str, directory: &str) -> PathBuf {
    let directory = log_dir().join(directory);
    let fetched = Command::new(suites_dir().join(script)).arg(&directory).status();
    assert!(fetched.is_ok_and(|status| status.success()), "{script} failed: the test suites need what it fetches");
    directory
}

/// The item without its time limit.
fn name_of(item: &str) -> &str {
    item.split(':').next().unwrap_or(item)
}

fn has_ended(results: &Results, item: &str) -> bool {
    results.contains_key(&(name_of(item).to_owned(), END.to_owned()))
}

/// More than the items can take together: each has a limit of its own in the scripts, but few of them need it.
fn seconds(items: &[String]) -> u64 {
    let limit = |item: &String| item.split_once(':').and_then(|(_, seconds)| seconds.parse().ok()).unwrap_or(60);
    300 + items.iter().map(limit).sum::<u64>()
}

fn run_and_log(command: Command, log: &Path, items: &[String]) -> Result<String> {
    let done = vm::run_with_timeout(command, Duration::from_secs(seconds(items) + 30))?;
    let stdout = String::from_utf8_lossy(&done.stdout);
    let stderr = String::from_utf8_lossy(&done.stderr);
    fs::write(log, format!("{stdout}\n--- stderr (exit code {:?}):\n{stderr}", done.code))?;
    Ok(stdout.into_owned())
}

/// The results of `items` in what a script printed; a test's own output may have lines that look like one.
fn parse(text: &str, items: &[String]) -> Results {
    let asked: BTreeSet<&str> = items.iter().map(|item| name_of(item)).collect();
    let result = |line: &str| {
        let (item, rest) = line.trim_end().strip_prefix("@@ ")?.split_once(' ')?;
        let (test, outcome) = rest.rsplit_once(' ')?;
        Some(((item.to_owned(), test.to_owned()), outcome.to_owned()))
    };
    text.lines().filter_map(result).filter(|((item, _), _)| asked.contains(item.as_str())).collect()
}

/// Where the two do not agree: item, test, and both outcomes in words.
fn differences(on_host: &Results, in_vm: &Results) -> Results {
    let tests: BTreeSet<&(String, String)> = on_host.keys().chain(in_vm.keys()).collect();
    let outcome = |results: &Results, test| results.get(test).cloned().unwrap_or_else(|| "nothing".to_owned());
    let differing = tests.into_iter().filter(|test| on_host.get(*test) != in_vm.get(*test));
    let describe = |test| format!("on Linux {}, on osv {}", outcome(on_host, test), outcome(in_vm, test));
    differing.map(|test| (test.clone(), describe(test))).collect()
}

#[cfg(test)]
mod tests {
    use super::{differences, parse};

    #[test]
    fn results_stand_in_marked_lines() {
        let text = "noise\n@@ test_os FileTests.test_read ok\n@@ broken\n@@ -160,7 +160,7 @@\n@@ test_os end exit-0\n";
        let results = parse(text, &["test_os:20".to_owned()]);
        assert_eq!(results.len(), 2);
        assert_eq!(results[&("test_os".to_owned(), "FileTests.test_read".to_owned())], "ok");
    }

    #[test]
    fn what_one_side_lacks_differs() {
        let items = ["a".to_owned()];
        let host = parse("@@ a one ok\n@@ a two ok\n@@ a end exit-0\n", &items);
        let vm = parse("@@ a one ok\n@@ a end exit-1\n", &items);
        let found = differences(&host, &vm);
        assert_eq!(found[&("a".to_owned(), "two".to_owned())], "on Linux ok, on osv nothing");
        assert_eq!(found[&("a".to_owned(), "end".to_owned())], "on Linux exit-0, on osv exit-1");
        assert_eq!(found.len(), 2);
    }
}
