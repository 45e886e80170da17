//! The rows of the table: what osv may cost at most, what a guest's output said, and how both are printed.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, bail};

use crate::vm::{Clock, Firmware, Output};

/// Name of a row to what was measured.
pub type Measured = BTreeMap<String, f64>;

/// What a row may cost on osv, in instructions.
enum Budget {
    AtMost(f64),
    /// This share of what Linux needs.
    OfLinux(f64),
}

struct Row {
    name: &'static str,
    title: &'static str,
    budget: Budget,
}

const fn row(name: &'static str, title: &'static str, at_most: f64) -> Row {
    Row { name, title, budget: Budget::AtMost(at_most) }
}

const fn share(name: &'static str, title: &'static str, of_linux: f64) -> Row {
    Row { name, title, budget: Budget::OfLinux(of_linux) }
}

const BOOT: &str = "entry_to_main";

/// The table of the foundation issue.
const ROWS: &[Row] = &[
    row(BOOT, "kernel entry to main", 5_000_000.0),
    row("null_call", "null call (getpid by syscall)", 90.0),
    row("null_call_gate", "null call by the call gate", 65.0),
    row("clock_gettime", "clock_gettime (vDSO)", 45.0),
    row("write_null", "write 1 byte to /dev/null", 200.0),
    row("write_null_gate", "write 1 byte to /dev/null by the call gate", 160.0),
    row("stat", "stat of a ramfs file", 850.0),
    row("open_close", "open + close", 1_400.0),
    row("append_4k", "4 KiB write, append to ramfs", 2_500.0),
    row("pread_4k", "4 KiB pread from ramfs", 2_000.0),
    row("touch_page", "first touch of an anonymous page", 2_000.0),
    row("mmap_munmap_64k", "mmap + munmap of 64 KiB, untouched", 2_300.0),
    row("pipe_round_trip", "pipe round trip between two threads", 2_600.0),
    row("futex_round_trip", "futex wake + wait round trip", 1_400.0),
    row("pthread_create_join", "pthread create + join", 30_000.0),
    row("eventfd_epoll", "eventfd write + epoll_wait + read", 1_300.0),
    share("fork_wait", "fork + wait", 0.5),
    share("fork_exec_wait", "fork + exec + wait", 0.5),
    share("pipe_64k", "64 KiB through a pipe", 1.0),
    share("unix_round_trip", "AF_UNIX round trip between two threads", 1.0),
];

/// What needs programs in the guest's root.
const PROGRAM_ROWS: &[Row] =
    &[share("script_1000_forks", "shell script of 1,000 forks", 1.0), share("compile", "gcc -O2 -c of one file", 1.0)];

/// The names of the rows that run programs.
pub fn programs() -> Vec<String> {
    PROGRAM_ROWS.iter().map(|row| row.name.to_owned()).collect()
}

/// What one configuration of the machine gave.
pub struct Report {
    /// How time was counted.
    pub clock: Clock,
    /// Virtual CPUs.
    pub cpus: u32,
    /// What Linux needed; empty if it was not run.
    pub linux: Measured,
    /// What osv needed; empty if it was not run.
    pub osv: Measured,
    /// Rows that were asked for; all if empty.
    pub selected: Vec<String>,
}

/// Reads the program's lines, and how long it took from the kernel's entry to `main`.
pub fn parse(output: &Output, firmware: &Firmware, clock: Clock) -> Result<Measured> {
    if !output.contains("bench-end") || output.contains("bench-error") {
        bail!("the program did not come to its end:\n{}", output.text());
    }
    let mut measured = Measured::new();
    for (_, line) in &output.lines {
        if let Some((name, value)) = line.trim().split_once(' ')
            && let Ok(value) = value.trim().parse::<f64>()
        {
            measured.insert(name.to_owned(), value);
        }
    }
    let (at, tsc) = output.value("main_tsc").context("no main_tsc")?;
    let boot = match clock {
        Clock::Instructions => tsc.parse::<u64>()?.saturating_sub(firmware.tsc) as f64,
        Clock::Wall => at.saturating_sub(firmware.wall).as_nanos() as f64,
    };
    measured.insert(BOOT.to_owned(), boot);
    Ok(measured)
}

impl Report {
    fn rows(&self) -> impl Iterator<Item = &'static Row> {
        let is_selected = |row: &&Row| self.selected.iter().any(|name| name == row.name);
        let all = ROWS.iter().filter(move |row| self.selected.is_empty() || is_selected(row));
        all.chain(PROGRAM_ROWS.iter().filter(is_selected))
    }

    /// The most that osv may need; budgets are instructions, so wall time is compared with Linux only.
    fn budget(&self, row: &Row) -> Option<f64> {
        match (&row.budget, self.clock) {
            (Budget::AtMost(most), Clock::Instructions) => Some(*most),
            (Budget::AtMost(_), Clock::Wall) => self.linux.get(row.name).copied(),
            (Budget::OfLinux(share), _) => self.linux.get(row.name).map(|linux| linux * share),
        }
    }

    /// Whether osv kept to the budget; `None` where one of both is unknown.
    fn keeps(&self, row: &Row) -> Option<bool> {
        Some(*self.osv.get(row.name)? <= self.budget(row)?)
    }

    /// How many rows are over their budget or were not measured.
    pub fn misses(&self) -> usize {
        self.rows().filter(|row| self.keeps(row) != Some(true)).count()
    }

    /// The rows for a machine to read.
    pub fn to_json(&self) -> serde_json::Value {
        let rows = self.rows().map(|row| {
            let number = |measured: &Measured| measured.get(row.name).copied();
            let value = serde_json::json!({
                "linux": number(&self.linux),
                "osv": number(&self.osv),
                "budget": self.budget(row),
                "ok": self.keeps(row),
            });
            (row.name.to_owned(), value)
        });
        let rows: serde_json::Map<_, _> = rows.collect();
        serde_json::json!({ "unit": self.clock.to_string(), "cpus": self.cpus, "rows": rows })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n{}, {} CPU(s)", self.clock, self.cpus)?;
        writeln!(f, "{:38}{:>15}{:>15}{:>9}{:>15}", "", "Linux", "osv", "ratio", "at most")?;
        for row in self.rows() {
            let [linux, osv] = [&self.linux, &self.osv].map(|measured| measured.get(row.name).copied());
            let ratio = linux.zip(osv).filter(|&(linux, _)| linux > 0.0).map(|(linux, osv)| osv / linux);
            let ratio = ratio.map_or_else(|| "-".into(), |ratio| format!("{ratio:.3}"));
            let verdict = verdict(self.keeps(row));
            let [linux, osv, most] = [linux, osv, self.budget(row)].map(grouped);
            writeln!(f, "{:38}{linux:>15}{osv:>15}{ratio:>9}{most:>15}  {verdict}", row.title)?;
        }
        for (name, measured) in [("Linux", &self.linux), ("osv", &self.osv)] {
            if let Some(ratio) = measured.get("clock_tsc_ratio")
                && self.clock == Clock::Instructions
                && (ratio - 1.0).abs() > 0.001
            {
                writeln!(f, "warning: {name}'s clock runs at {ratio} of the time-stamp counter")?;
            }
        }
        Ok(())
    }
}

/// How a comparison with the budget is shown.
pub fn verdict(keeps: Option<bool>) -> &'static str {
    match keeps {
        Some(true) => "ok",
        Some(false) => "OVER",
        None => "?",
    }
}

/// A number with its thousands grouped, or `-`.
pub fn grouped(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".into();
    };
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if value < 0.0 { format!("-{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_grouped() {
        assert_eq!(grouped(Some(1_450_000_000.4)), "1,450,000,000");
        assert_eq!(grouped(Some(323.0)), "323");
        assert_eq!(grouped(Some(-1234.0)), "-1,234");
        assert_eq!(grouped(None), "-");
    }

    #[test]
    fn a_missing_row_is_a_miss() {
        let measured = |value| Measured::from([("null_call".to_owned(), value)]);
        let mut report = Report {
            clock: Clock::Instructions,
            cpus: 1,
            linux: measured(323.0),
            osv: measured(90.0),
            selected: vec!["null_call".into()],
        };
        assert_eq!(report.misses(), 0);
        report.osv = measured(91.0);
        assert_eq!(report.misses(), 1);
        report.osv = Measured::new();
        assert_eq!(report.misses(), 1);
    }
}
