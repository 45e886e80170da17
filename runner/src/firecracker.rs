//! Firecracker in place of QEMU: its configuration, and the few requests of its API that start a VM.
//!
//! It has no PCI and no fw_cfg: devices are named on the command line and in ACPI, arguments and environment stand on the
//! command line, the root is a disk or an initrd. The guest's console is its own stdin and stdout. It has no way to tell
//! how a program ended, so the kernel says it in its log's last line, which is taken out here.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::outcome::Outcome;
use crate::vm::Vm;

/// The program's name; `OSV_FIRECRACKER` names another one.
const PROGRAM: &str = "firecracker";
/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the kernel's last line starts with.
const LAST_LINE: &str = "osv: the program ended: ";
/// The longest command line that it passes on.
const LINE_MAX: usize = 2047;

/// Where it is, if it is.
pub fn find() -> Option<PathBuf> {
    let name = std::env::var_os("OSV_FIRECRACKER").unwrap_or_else(|| PROGRAM.into());
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|file| file.is_file());
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
    std::env::split_paths(&path).map(|dir| dir.join(&name)).find(|file| file.is_file())
}

/// A request of the API, which is a part of the configuration, too.
struct Part {
    /// Its key in the configuration.
    key: &'static str,
    path: &'static str,
    body: String,
    /// Whether the configuration has a list of such.
    is_listed: bool,
}

/// The command line: options, then the program as the kernel reads it.
fn command_line(vm: &Vm) -> String {
    // What Firecracker appends for itself goes before the two dashes.
    let mut line = format!("reboot=k panic=1 {} --", vm.command_line().to_string_lossy());
    for word in &vm.argv {
        let _ = write!(line, " {}", crate::vm::quoted(word));
    }
    line
}

fn parts(vm: &Vm) -> Result<Vec<Part>, String> {
    let line = command_line(vm);
    if line.len() > LINE_MAX {
        return Err(format!("the command line has {} bytes, and Firecracker passes on at most {LINE_MAX}", line.len()));
    }
    let initrd = vm.initrd.as_ref().map(|path| format!(", \"initrd_path\": {}", json(path.as_os_str())));
    let part = |key, path, body| Part { key, path, body, is_listed: false };
    let mut parts = vec![
        part(
            "boot-source",
            "/boot-source",
            format!(
                "{{\"kernel_image_path\": {}, \"boot_args\": {}{}}}",
                json(vm.kernel.as_os_str()),
                json(OsStr::new(&line)),
                initrd.unwrap_or_default()
            ),
        ),
        part(
            "machine-config",
            "/machine-config",
            format!("{{\"vcpu_count\": {}, \"mem_size_mib\": {}}}", vm.cpus, vm.memory.bytes().div_ceil(1 << 20)),
        ),
        part("entropy", "/entropy", "{}".to_owned()),
    ];
    if vm.disks.len() > 1 {
        return Err("one disk is what this command gives to Firecracker".into());
    }
    for disk in &vm.disks {
        parts.push(Part {
            key: "drives",
            path: "/drives/root",
            body: format!(
                "{{\"drive_id\": \"root\", \"path_on_host\": {}, \"is_root_device\": false, \"is_read_only\": true}}",
                json(disk.as_os_str())
            ),
            is_listed: true,
        });
    }
    Ok(parts)
}

/// The configuration for `firecracker --no-api --config-file`.
///
/// # Errors
/// What Firecracker cannot do.
pub fn configuration(vm: &Vm) -> Result<String, String> {
    let mut text = String::from("{\n");
    let mut has_drives = false;
    for part in parts(vm)? {
        has_drives |= part.is_listed;
        let (open, close) = if part.is_listed { ("[", "]") } else { ("", "") };
        let _ = writeln!(text, "  \"{}\": {open}{}{close},", part.key, part.body);
    }
    if !has_drives {
        text += "  \"drives\": [],\n";
    }
    text.truncate(text.len() - 2);
    Ok(text + "\n}\n")
}

/// A string of JSON.
fn json(text: &OsStr) -> String {
    let mut quoted = String::from("\"");
    for c in text.to_string_lossy().chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(quoted, "\\u{:04x}", u32::from(c));
            }
            c => quoted.push(c),
        }
    }
    quoted + "\""
}

/// Runs `vm` to its end.
///
/// # Errors
/// When Firecracker is not there, or refuses a request.
pub fn run(vm: &Vm) -> Result<Outcome, String> {
    let parts = parts(vm)?;
    let program = find().ok_or("firecracker is not on this machine: get it from https://github.com/firecracker-microvm/firecracker/releases, or see its configuration by --dry-run")?;
    let socket = std::env::temp_dir().join(format!("osv-firecracker-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&socket);
    let child = Command::new(&program)
        .arg("--api-sock")
        .arg(&socket)
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| format!("cannot start {}: {e}", program.display()))?;
    let mut running = Running { child, socket };
    for part in &parts {
        running.put(part.path, &part.body)?;
    }
    running.put("/actions", "{\"action_type\": \"InstanceStart\"}")?;
    let said = running.child.stdout.take().map(show).unwrap_or_default();
    let status = running.child.wait().map_err(|e| e.to_string())?;
    Ok(said.unwrap_or_else(|| Outcome::Crashed(format!("the VM ended without saying how ({status})"))))
}

/// Shows what the VM prints, and returns what its last line says.
fn show(output: impl Read) -> Option<Outcome> {
    let mut said = None;
    let mut stdout = io::stdout().lock();
    let mut lines = BufReader::new(output);
    let mut line = Vec::new();
    while lines.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        match outcome(&line) {
            Some(outcome) => said = Some(outcome),
            None => {
                let _ = stdout.write_all(&line).and_then(|()| stdout.flush());
            }
        }
        line.clear();
    }
    said
}

fn outcome(line: &[u8]) -> Option<Outcome> {
    let text = std::str::from_utf8(line).ok()?.trim_end().strip_prefix(LAST_LINE)?;
    match text.split_once(' ')? {
        ("exit", code) => code.parse().ok().map(Outcome::Exited),
        ("signal", signal) => signal.parse().ok().map(Outcome::Signaled),
        _ => None,
    }
}

/// A started Firecracker, which goes with us.
struct Running {
    child: Child,
    socket: PathBuf,
}

impl Running {
    fn put(&mut self, path: &str, body: &str) -> Result<(), String> {
        let failed = |e: io::Error| format!("Firecracker does not answer: {e}");
        let mut stream = self.connect().map_err(failed)?;
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).map_err(failed)?;
        let (code, text) = read_reply(&mut BufReader::new(stream)).map_err(failed)?;
        if (200..300).contains(&code) { Ok(()) } else { Err(format!("Firecracker refuses {path}: {text}")) }
    }

    fn connect(&mut self) -> io::Result<UnixStream> {
        let begin = Instant::now();
        loop {
            match UnixStream::connect(&self.socket) {
                Ok(stream) => return Ok(stream),
                Err(e) if begin.elapsed() > PATIENCE || self.child.try_wait()?.is_some() => return Err(e),
                Err(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(Path::new(&self.socket));
    }
}

/// The status and the body of an answer.
fn read_reply(reader: &mut impl io::BufRead) -> io::Result<(u16, String)> {
    const BODY_MAX: u64 = 1 << 16;
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
    let code = code.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "no HTTP"))?;
    let mut len = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line)? == 0 || line.trim_end().is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            len = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = String::new();
    reader.take(len.min(BODY_MAX)).read_to_string(&mut body)?;
    Ok((code, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_json() {
        let mut vm = Vm::new(PathBuf::from("/k\"1"));
        vm.option("--rootfs", "erofs:disk");
        vm.argv = vec!["/bin/sh".into(), "-c".into(), "echo $A \"b\"".into()];
        vm.cpus = 2;
        vm.disks.push(PathBuf::from("/root.erofs"));
        let text = configuration(&vm).unwrap();
        assert_eq!(
            text,
            "{\n  \"boot-source\": {\"kernel_image_path\": \"/k\\\"1\", \"boot_args\": \"reboot=k panic=1 --rootfs=erofs:disk -- \
             /bin/sh -c \\\"echo \\\\$A \\\\\\\"b\\\\\\\"\\\"\"},\n  \"machine-config\": {\"vcpu_count\": 2, \
             \"mem_size_mib\": 512},\n  \"entropy\": {},\n  \"drives\": [{\"drive_id\": \"root\", \"path_on_host\": \
             \"/root.erofs\", \"is_root_device\": false, \"is_read_only\": true}]\n}\n"
        );
        vm.argv.push("x".repeat(3000).into());
        assert!(configuration(&vm).is_err());
    }

    #[test]
    fn answers_are_read() {
        let mut ok = &b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"[..];
        assert_eq!(read_reply(&mut ok).unwrap(), (204, String::new()));
        let mut bad = &b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nno!rest"[..];
        assert_eq!(read_reply(&mut bad).unwrap(), (400, "no!".to_owned()));
        assert!(read_reply(&mut &b"rubbish"[..]).is_err());
    }

    #[test]
    fn the_last_line_tells_how_it_ended() {
        assert_eq!(outcome(b"osv: the program ended: exit 7\r\n"), Some(Outcome::Exited(7)));
        assert_eq!(outcome(b"osv: the program ended: signal 11\n"), Some(Outcome::Signaled(11)));
        assert_eq!(outcome(b"hello\n"), None);
    }
}
