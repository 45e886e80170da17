//! Boots VMs through the command `osv`, one at a time, and never longer than allowed.

use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::transcript::Transcript;

/// VMs share few CPUs: two at once would only make the time limits lie.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// What a process did.
pub struct Done {
    /// Its exit code; `None` if it was killed, by the time limit or otherwise.
    pub code: Option<i32>,
    /// What it wrote on stdout.
    pub stdout: Vec<u8>,
    /// What it wrote on stderr.
    pub stderr: Vec<u8>,
}

/// Runs a command without input; after `limit` it is told to end, then killed.
pub fn run_with_timeout(mut command: Command, limit: Duration) -> Result<Done> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let status = wait(&mut child, limit)?;
    let text = |thread: JoinHandle<Vec<u8>>| thread.join().unwrap_or_default();
    Ok(Done { code: status.code(), stdout: text(stdout), stderr: text(stderr) })
}

fn collect(stream: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error counts.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

/// Waits; past the limit the runner gets SIGTERM, so that it can take its hypervisor with it, then SIGKILL.
fn wait(child: &mut Child, limit: Duration) -> Result<ExitStatus> {
    const GRACE: Duration = Duration::from_secs(5);
    let deadline = Instant::now() + limit;
    let mut told = false;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline && !told {
            told = true;
            Command::new("kill").args(["-TERM", "--", &format!("-{}", child.id())]).status()?;
        }
        if Instant::now() > deadline + GRACE {
            Command::new("kill").args(["-KILL", "--", &format!("-{}", child.id())]).status()?;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The command `osv`: `$OSV` if set, else built from this workspace.
pub fn osv() -> Result<PathBuf> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build_osv().map_err(|error| format!("{error:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build_osv() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("OSV") {
        return Ok(path.into());
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build
        .args(["build", "-q", "-p", "osv-runner", "--bin", "osv", "--bin", "cargo-osv"])
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    ensure!(build.status().context("running cargo")?.success(), "{build:?} failed");
    let target = crate::compile::output_dir();
    Ok(target.parent().context("a target directory")?.join("debug/osv"))
}

/// What the commands do on osv.
pub fn run(options: &[String], driver: &[String], seconds: u64) -> Result<Transcript> {
    let osv = osv()?;
    let _guard = ONE_AT_A_TIME.lock();
    let more = std::env::var("OSV_TESTS_ARGS").unwrap_or_default();
    let mut command = Command::new(osv);
    command.arg("run").args(options).args(more.split_whitespace()).arg("--").args(driver);
    let done = run_with_timeout(command, Duration::from_secs(seconds))?;
    let mut transcript = Transcript::parse(&done.stdout);
    let console = String::from_utf8_lossy(&done.stderr);
    transcript.append_rest(&format!("\n[runner's exit code: {:?}; its stderr:]\n{console}", done.code));
    Ok(transcript)
}
