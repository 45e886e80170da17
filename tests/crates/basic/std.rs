//! std without net, as a program uses it.

use osv as _;
use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex, OnceLock, RwLock, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

const SHELL: &str = "/bin/busybox";

fn scratch(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("std-{name}-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

#[test]
fn files_are_written_and_read() {
    let path = scratch("files").join("file");
    let mut file = fs::File::create_new(&path).unwrap();
    writeln!(file, "one\ntwo").unwrap();
    file.seek(SeekFrom::Start(4)).unwrap();
    file.write_all(b"TWO").unwrap();
    file.set_len(6).unwrap();
    drop(file);
    assert_eq!(fs::read_to_string(&path).unwrap(), "one\nTW");
    assert!(fs::File::create_new(&path).is_err());
    let mut append = fs::OpenOptions::new().append(true).open(&path).unwrap();
    append.write_all(b"!").unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 7);
    fs::remove_file(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn directories_links_and_names() {
    let dir = scratch("dirs");
    fs::create_dir_all(dir.join("a/b/c")).unwrap();
    fs::write(dir.join("a/file"), "x").unwrap();
    std::os::unix::fs::symlink("file", dir.join("a/link")).unwrap();
    fs::hard_link(dir.join("a/file"), dir.join("a/hard")).unwrap();
    fs::rename(dir.join("a/b"), dir.join("a/d")).unwrap();
    let mut names: Vec<_> = fs::read_dir(dir.join("a")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["d", "file", "hard", "link"]);
    assert_eq!(fs::read_link(dir.join("a/link")).unwrap().as_os_str(), "file");
    assert_eq!(fs::canonicalize(dir.join("a/d/../link")).unwrap(), fs::canonicalize(dir.join("a/file")).unwrap());
    assert_eq!(fs::copy(dir.join("a/link"), dir.join("copy")).unwrap(), 1);
    fs::remove_dir_all(&dir).unwrap();
    assert!(!dir.exists());
}

#[test]
fn threads_share_and_wait() {
    let counter = Arc::new(Mutex::new(0));
    let barrier = Arc::new(Barrier::new(8));
    let workers: Vec<_> = (0..8)
        .map(|_| {
            let (counter, barrier) = (Arc::clone(&counter), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                for _ in 0..1000 {
                    *counter.lock().unwrap() += 1;
                }
            })
        })
        .collect();
    for worker in workers {
        worker.join().unwrap();
    }
    assert_eq!(*counter.lock().unwrap(), 8000);
}

#[test]
fn channels_and_condition_variables() {
    let (sender, receiver) = mpsc::sync_channel(2);
    let producer = thread::spawn(move || (0..100).for_each(|number| sender.send(number).unwrap()));
    assert_eq!(receiver.iter().sum::<i32>(), 4950);
    producer.join().unwrap();
    let pair = Arc::new((Mutex::new(false), Condvar::new()));
    let other = Arc::clone(&pair);
    thread::spawn(move || {
        *other.0.lock().unwrap() = true;
        other.1.notify_all();
    });
    let guard = pair.1.wait_while(pair.0.lock().unwrap(), |is_ready| !*is_ready).unwrap();
    assert!(*guard);
}

#[test]
fn locals_scopes_and_once() {
    thread_local!(static COUNT: AtomicUsize = const { AtomicUsize::new(0) });
    static ONCE: OnceLock<usize> = OnceLock::new();
    let table = RwLock::new(HashMap::new());
    thread::scope(|scope| {
        for number in 0..4 {
            let table = &table;
            scope.spawn(move || {
                COUNT.with(|count| assert_eq!(count.fetch_add(1, Ordering::Relaxed), 0));
                table.write().unwrap().insert(number, *ONCE.get_or_init(|| 7));
            });
        }
    });
    assert_eq!(table.read().unwrap().values().sum::<usize>(), 28);
}

#[test]
fn a_panic_stays_in_its_thread() {
    assert!(thread::spawn(|| panic!("in a thread")).join().is_err());
    assert!(std::panic::catch_unwind(|| panic!("caught")).is_err());
}

#[test]
fn time_goes_by() {
    let start = Instant::now();
    thread::sleep(Duration::from_millis(30));
    let slept = start.elapsed();
    assert!(slept >= Duration::from_millis(30) && slept < Duration::from_secs(5), "{slept:?}");
    assert!(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap() > Duration::from_secs(1_700_000_000));
    let (_sender, receiver) = mpsc::channel::<()>();
    assert!(receiver.recv_timeout(Duration::from_millis(5)).is_err());
    thread::park_timeout(Duration::from_millis(5));
}

#[test]
fn the_environment_is_ours() {
    assert_eq!(std::env::var("FROM_OUTSIDE").unwrap(), "a b=c");
    assert!(std::env::current_exe().unwrap().is_absolute());
    std::env::set_current_dir("/").unwrap();
    assert_eq!(std::env::current_dir().unwrap(), std::path::Path::new("/"));
    std::env::set_current_dir(env!("CARGO_MANIFEST_DIR")).unwrap();
    assert!(thread::available_parallelism().unwrap().get() >= 1);
}

#[test]
fn commands_run_and_tell_how_they_ended() {
    let output = Command::new(SHELL).args(["sh", "-c", "echo out; echo err >&2; exit 3"]).output().unwrap();
    assert_eq!((output.stdout.as_slice(), output.stderr.as_slice()), (&b"out\n"[..], &b"err\n"[..]));
    assert_eq!(output.status.code(), Some(3));
    let status = Command::new(SHELL).args(["sh", "-c", "kill -9 $$"]).status().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
    assert_eq!(Command::new("/no/such/program").spawn().unwrap_err().kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn commands_have_pipes_directories_and_environments() {
    let mut child = Command::new(SHELL)
        .args(["sh", "-c", "pwd; echo $NAME; cat"])
        .current_dir("/tmp")
        .env_clear()
        .env("NAME", "value")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"through the pipe\n").unwrap();
    let lines: Vec<_> = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
    assert_eq!(lines, ["/tmp", "value", "through the pipe"]);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_command_can_fork_first() {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new(SHELL);
    command.arg("true");
    // SAFETY: the closure does nothing that must not be done between fork and exec.
    unsafe { command.pre_exec(|| Ok(())) };
    assert!(command.status().unwrap().success());
    let mut sleeper = Command::new(SHELL).args(["sleep", "60"]).spawn().unwrap();
    assert!(sleeper.try_wait().unwrap().is_none());
    sleeper.kill().unwrap();
    assert!(!sleeper.wait().unwrap().success());
}

#[test]
fn pipes_and_random_numbers() {
    let (mut reader, mut writer) = std::io::pipe().unwrap();
    let sent = thread::spawn(move || writer.write_all(&vec![5; 200_000]));
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    sent.join().unwrap().unwrap();
    assert_eq!(bytes.len(), 200_000);
    let hash = || std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 1);
    assert_ne!(thread::spawn(hash).join().unwrap(), thread::spawn(hash).join().unwrap());
}
