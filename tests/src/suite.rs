//! Cases, and the suite that runs them in both worlds.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::compile;
use crate::host;
use crate::transcript::{Outcome, Transcript};
use crate::vm;

/// Takes out of an output what may differ between host and VM.
pub type Normalise = fn(&str) -> String;

/// One command, whose output and end have to be the same in both worlds.
#[derive(Clone)]
pub struct Case {
    pub(crate) name: String,
    words: Vec<String>,
    env: Vec<String>,
    stdin: Option<PathBuf>,
    seconds: u32,
    normalise: Vec<Normalise>,
    expected: Option<Outcome>,
}

impl Case {
    /// A command by its words; the first is looked up in PATH.
    pub fn new(name: &str, words: &[&str]) -> Self {
        assert!(!name.contains(char::is_whitespace), "{name:?}: a name is one word");
        Case {
            name: name.to_owned(),
            words: words.iter().map(|&word| word.to_owned()).collect(),
            env: Vec::new(),
            stdin: None,
            seconds: 60,
            normalise: Vec::new(),
            expected: None,
        }
    }

    /// A line for `/bin/sh`.
    pub fn shell(name: &str, line: &str) -> Self {
        Case::new(name, &["/bin/sh", "-c", line])
    }

    /// A program that was built for the test.
    pub fn program(name: &str, program: &Path, args: &[&str]) -> Self {
        let mut case = Case::new(name, &[]);
        case.words.push(program.display().to_string());
        case.words.extend(args.iter().map(|&arg| arg.to_owned()));
        case
    }

    /// Stdin from this file instead of `/dev/null`.
    #[must_use]
    pub fn stdin(mut self, file: &Path) -> Self {
        self.stdin = Some(file.to_owned());
        self
    }

    /// One more environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push(format!("{name}={value}"));
        self
    }

    /// How long it may take (60 s if not said).
    #[must_use]
    pub fn seconds(mut self, seconds: u32) -> Self {
        self.seconds = seconds;
        self
    }

    /// Applies this to both outputs before they are compared; say in the suite why.
    #[must_use]
    pub fn normalise(mut self, normalise: Normalise) -> Self {
        self.normalise.push(normalise);
        self
    }

    /// What has to come, where the host cannot tell.
    #[must_use]
    pub fn expect(mut self, output: &str, exit_code: i32) -> Self {
        self.expected = Some(Outcome { output: output.into(), end: format!("exit {exit_code}") });
        self
    }

    fn comparable(&self, outcome: &Outcome) -> Outcome {
        let output = self.normalise.iter().fold(outcome.output.clone(), |text, normalise| normalise(&text));
        Outcome { output, end: outcome.end.clone() }
    }

    fn script(&self) -> String {
        let escape = |word: &str| word.replace('\\', "\\\\").replace('\n', "\\n");
        let mut script = format!("case {} {}\n", self.name, self.seconds);
        for variable in &self.env {
            let _ = writeln!(script, "env {}", escape(variable));
        }
        if let Some(stdin) = &self.stdin {
            let _ = writeln!(script, "stdin {}", stdin.display());
        }
        for word in &self.words {
            let _ = writeln!(script, "arg {}", escape(word));
        }
        script + "run\n"
    }
}

/// After so many boots in a row that finished no case, the rest is not tried.
const FRUITLESS_MAX: usize = 3;

/// Cases that share boots of one kind of VM.
pub struct Suite {
    name: String,
    options: Vec<String>,
    cases: Vec<Case>,
}

impl Suite {
    /// A suite whose VM is started with these further options of `osv run`.
    pub fn new(name: &str, options: &[&str]) -> Self {
        let options = options.iter().map(|&option| option.to_owned()).collect();
        Suite { name: name.to_owned(), options, cases: Vec::new() }
    }

    /// Adds a case.
    pub fn add(&mut self, case: Case) {
        let fresh = self.cases.iter().all(|other| other.name != case.name);
        assert!(fresh, "two cases are named {}", case.name);
        self.cases.push(case);
    }

    /// Runs all cases in both worlds.
    ///
    /// # Panics
    ///
    /// If an outcome differs from what it has to be: the message shows how.
    pub fn check(self) {
        match self.failures() {
            Ok((failures, _)) if failures.is_empty() => {}
            Ok((failures, total)) => {
                panic!("{}: {} of {total} failed\n{}", self.name, failures.len(), failures.join("\n"))
            }
            Err(error) => panic!("{}: {error:?}", self.name),
        }
    }

    fn failures(&self) -> Result<(Vec<String>, usize)> {
        let wanted = std::env::var("OSV_TESTS_ONLY").unwrap_or_default();
        let cases: Vec<&Case> = self.cases.iter().filter(|case| case.name.contains(&wanted)).collect();
        let expected = self.run_on_host(&cases)?;
        let found = if std::env::var("OSV_TESTS_AGAINST").is_ok_and(|world| world == "host") {
            self.run_on_host(&cases)?
        } else {
            self.run_in_vm(&cases)?
        };
        let failures = cases.iter().filter_map(|case| {
            let wanted = case.expected.as_ref().or_else(|| expected.outcome(&case.name));
            compare(case, wanted, found.outcome(&case.name))
        });
        Ok((failures.collect(), cases.len()))
    }

    fn run_on_host(&self, cases: &[&Case]) -> Result<Transcript> {
        let cases: Vec<&Case> = cases.iter().filter(|case| case.expected.is_none()).copied().collect();
        host::run(&self.driver_command(&cases)?, total_seconds(&cases))
    }

    /// Boots VMs until each case has run or taken a VM with it.
    fn run_in_vm(&self, cases: &[&Case]) -> Result<Transcript> {
        let one_each = std::env::var_os("OSV_TESTS_EACH").is_some();
        let mut transcript = Transcript::default();
        let mut left: Vec<&Case> = cases.to_vec();
        let mut fruitless = 0;
        while !left.is_empty() {
            let batch = if one_each { left[..1].to_vec() } else { left.clone() };
            let mut boot = vm::run(&self.options, &self.driver_command(&batch)?, total_seconds(&batch))?;
            let stuck = batch.iter().find(|case| boot.outcome(&case.name).is_none());
            fruitless = if boot.is_empty() { fruitless + 1 } else { 0 };
            anyhow::ensure!(fruitless < FRUITLESS_MAX, "no case ran in {fruitless} boots: {}", boot.last_words());
            if let Some(case) = stuck {
                boot.record_death(&case.name);
            }
            left.retain(|case| boot.outcome(&case.name).is_none());
            transcript.merge(boot);
        }
        Ok(transcript)
    }

    /// The driver with a script of these cases, as words.
    fn driver_command(&self, cases: &[&Case]) -> Result<Vec<String>> {
        let driver = compile::gcc("driver.c", "driver", &["-static"])?;
        let script = compile::output_dir().join(format!("{}.script", self.name));
        let text: String = cases.iter().map(|case| case.script()).collect();
        fs::write(&script, text).with_context(|| format!("writing {}", script.display()))?;
        let scratch = format!("/tmp/osv-tests-{}", self.name);
        Ok(vec![driver.display().to_string(), script.display().to_string(), scratch])
    }
}

fn total_seconds(cases: &[&Case]) -> u64 {
    const MOST: u64 = 900;
    cases.iter().map(|case| u64::from(case.seconds)).sum::<u64>().min(MOST) + 30
}

/// A description of the difference, if there is one.
fn compare(case: &Case, expected: Option<&Outcome>, found: Option<&Outcome>) -> Option<String> {
    let (Some(expected), Some(found)) = (expected, found) else {
        let world = if expected.is_none() { "host" } else { "VM" };
        return Some(format!("--- {}: no outcome in the {world}", case.name));
    };
    let [expected, found] = [expected, found].map(|outcome| case.comparable(outcome));
    (expected != found).then(|| format!("--- {}: {}", case.name, difference(&expected, &found)))
}

/// How two outcomes differ: their ends, and the first lines that are not the same.
fn difference(expected: &Outcome, found: &Outcome) -> String {
    const SHOWN: usize = 12;
    let mut text = format!("on Linux {}, on osv {}\n", expected.end, found.end);
    let (wanted, got): (Vec<_>, Vec<_>) = (expected.output.lines().collect(), found.output.lines().collect());
    let same = wanted.iter().zip(&got).take_while(|(a, b)| a == b).count();
    if same == wanted.len().max(got.len()) {
        return text;
    }
    let _ = writeln!(text, "  after {same} equal lines:");
    for (sign, lines) in [("linux", &wanted), ("osv  ", &got)] {
        for line in lines.iter().skip(same).take(SHOWN) {
            let _ = writeln!(text, "  {sign} | {line}");
        }
    }
    text
}
