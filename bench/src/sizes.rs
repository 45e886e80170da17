//! What a guest takes: the least memory in which hello boots.

use std::fmt;

use anyhow::Result;

use crate::vm::{Clock, Machine, Output};
use crate::{build, linux, osv, rows};

/// What was found; `None` where it could not be measured.
pub struct Sizes {
    linux_memory_mib: Option<u32>,
    osv_memory_mib: Option<u32>,
}

const OSV_MEMORY_MIB: u32 = 16;

/// Boots hello in less and less memory.
pub fn measure(machine: &str) -> Result<Sizes> {
    let hello = build::hello()?;
    let floor = |boot: &dyn Fn(&Machine) -> Result<Output>| smallest(machine, boot);
    Ok(Sizes {
        linux_memory_mib: floor(&|machine| linux::boot(machine, &hello, &[])),
        osv_memory_mib: floor(&|machine| osv::boot(machine, &hello, &[])),
    })
}

/// The smallest number of MiB that boots, found by halving; a failed boot means too little.
fn smallest(machine: &str, boot: &dyn Fn(&Machine) -> Result<Output>) -> Option<u32> {
    let boots = |memory_mib| {
        let machine = Machine { name: machine.to_owned(), memory_mib, cpus: 1, clock: Clock::Wall };
        boot(&machine).is_ok_and(|output| output.contains("hello from the guest"))
    };
    let (mut too_little, mut enough) = (1, 256);
    if !boots(enough) {
        return None;
    }
    while enough - too_little > 1 {
        let middle = too_little.midpoint(enough);
        if boots(middle) { enough = middle } else { too_little = middle }
    }
    Some(enough)
}

impl Sizes {
    /// The sizes for a machine to read.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({ "memory_mib": { "linux": self.linux_memory_mib, "osv": self.osv_memory_mib } })
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [linux, osv] = [self.linux_memory_mib, self.osv_memory_mib];
        let verdict = match osv {
            Some(mib) if mib <= OSV_MEMORY_MIB => "ok",
            Some(_) => "OVER",
            None => "?",
        };
        let [linux, osv] = [linux, osv].map(|mib| rows::grouped(mib.map(f64::from)));
        writeln!(
            f,
            "\n{:38}{linux:>15}{osv:>15}{:>9}{OSV_MEMORY_MIB:>15}  {verdict}",
            "memory that boots hello, MiB", ""
        )
    }
}
