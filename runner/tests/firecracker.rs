//! Firecracker as the command drives it: a script that speaks its API stands in for it, since it runs on no machine
//! without KVM.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::{fs, path::PathBuf};

const FAKE: &str = r#"#!/usr/bin/python3
import json, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[sys.argv.index('--api-sock') + 1])
server.listen()
while True:
    stream = server.accept()[0].makefile('rwb')
    path = stream.readline().split()[1].decode()
    length = 0
    while (line := stream.readline().strip()):
        if line.lower().startswith(b'content-length:'):
            length = int(line.split(b':')[1])
    body = json.loads(stream.read(length))
    if path == '/machine-config' and body['vcpu_count'] == 3:
        stream.write(b'HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nodd CPUs!')
        stream.flush()
        continue
    stream.write(b'HTTP/1.1 204 \r\n\r\n')
    stream.flush()
    if path == '/boot-source':
        print(body['boot_args'], end='\r\n')
    if path == '/drives/root':
        print(open(body['path_on_host'], 'rb').read(2048)[1024:1028].hex(), body['is_read_only'], end='\r\n')
    if path == '/actions':
        print('osv: the program ended: exit 7', end='\r\n', flush=True)
        sys.exit(0)
"#;

fn directory() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("osv-firecracker-test-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory");
    let fake = directory.join("firecracker");
    fs::write(&fake, FAKE).expect("the script");
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).expect("its permissions");
    directory
}

#[test]
fn drives_the_api_and_shows_the_configuration() {
    let directory = directory();
    let run = |more: &[&str]| {
        let mut osv = Command::new(env!("CARGO_BIN_EXE_osv"));
        osv.env("OSV_CACHE", directory.join("cache")).env("OSV_FIRECRACKER", directory.join("firecracker"));
        osv.args(["run", "--hypervisor", "firecracker", "--env", "A=b c"]).args(more).args(["--", "/bin/echo", "x y"]);
        let output = osv.output().expect("osv");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (text(&output.stdout), text(&output.stderr), output.status.code())
    };
    let (output, errors, code) = run(&["--cpus", "2"]);
    assert_eq!(code, Some(7), "{output}{errors}");
    assert!(output.contains("--env=A=b\\ c -- /bin/echo \"x y\"\r\n"), "{output}");
    assert!(output.contains("e2e1f5e0 True\r\n") && !output.contains("the program ended"), "{output}");
    let (_, errors, code) = run(&["--cpus", "3"]);
    assert_eq!(code, Some(125));
    assert!(errors.contains("refuses /machine-config: odd CPUs!"), "{errors}");
    let (output, _, code) = run(&["--dry-run"]);
    assert_eq!(code, Some(0));
    let json = Command::new("python3").args(["-c", "import json,sys; json.loads(sys.argv[1])", &output]).status();
    assert!(json.expect("python3").success(), "{output}");
    fs::remove_dir_all(directory).expect("our own directory");
}
