//! `osv build` from programs, directories and archives, read back by a reader that is not ours.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use erofs_rs::EroFS;
use erofs_rs::backend::SliceImage;

/// A directory of this test's own, removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("osv-images-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    fn build(&self, arguments: &[&str]) -> Vec<u8> {
        let image = self.0.join("image.erofs");
        let output = Command::new(env!("CARGO_BIN_EXE_osv"))
            .arg("build")
            .arg("-o")
            .arg(&image)
            .args(arguments)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        fs::read(&image).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn read(image: &[u8], path: &str) -> Vec<u8> {
    let image = EroFS::new(SliceImage::new(image)).unwrap();
    let mut contents = Vec::new();
    image.open(path).unwrap().read_to_end(&mut contents).unwrap();
    contents
}

#[test]
fn a_program_comes_with_its_libraries() {
    let scratch = Scratch::new("program");
    let image = scratch.build(&["/bin/ls"]);
    let program = fs::canonicalize("/bin/ls").unwrap();
    assert_eq!(read(&image, program.to_str().unwrap()), fs::read(&program).unwrap());
    let libc = osv_runner::image::closure::of(&program).unwrap();
    let libc = libc.iter().find(|path| path.ends_with("libc.so.6")).unwrap().canonicalize().unwrap();
    assert_eq!(read(&image, libc.to_str().unwrap()), fs::read(&libc).unwrap());
}

#[test]
fn files_go_where_they_are_told() {
    let scratch = Scratch::new("files");
    fs::create_dir_all(scratch.0.join("data/deep")).unwrap();
    fs::write(scratch.0.join("data/deep/file"), "contents").unwrap();
    let image = scratch.build(&["--file", &format!("{}:/opt/data", scratch.0.join("data").display())]);
    assert_eq!(read(&image, "/opt/data/deep/file"), b"contents");
}

#[test]
fn a_directory_and_its_archive_give_the_same_files() {
    let scratch = Scratch::new("archive");
    let root = scratch.0.join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/motd"), "welcome\n").unwrap();
    fs::hard_link(root.join("etc/motd"), root.join("etc/issue")).unwrap();
    fs::write(root.join("large"), vec![3; 100_000]).unwrap();
    let archive = scratch.0.join("root.tar");
    let tar = Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&archive).arg(".").status().unwrap();
    assert!(tar.success());
    for source in [&root, &archive] {
        let image = scratch.build(&["--rootfs", source.to_str().unwrap()]);
        assert_eq!(read(&image, "/etc/motd"), b"welcome\n");
        assert_eq!(read(&image, "/etc/issue"), b"welcome\n");
        assert_eq!(read(&image, "/large"), vec![3; 100_000]);
    }
}

#[test]
fn what_cannot_be_built_is_said() {
    let fail = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_osv")).arg("build").args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(125));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(fail(&[]).contains("there is nothing to put into an image"));
    assert!(fail(&["--file", "/no/such/file"]).contains("cannot add /no/such/file"));
    assert!(fail(&["--rootfs", "/etc/passwd"]).contains("is no tar archive"));
    assert!(!Path::new("root.erofs").exists());
}
