//! Runtimes of other languages and servers, as Debian packages them, compared with what they print on Linux: each has its
//! own idea of threads, signals, memory and processes. The servers listen at sockets of the file system.

use std::path::{Path, PathBuf};
use std::process::Command;

use osv_tests::{Case, Suite, compile};

/// More than the slowest needs on a busy machine.
const SECONDS: u32 = 240;

#[test]
#[ignore = "minutes: `.ci/run runtimes`"]
fn runtimes() {
    let mut suite = Suite::new("runtimes", &["--memory", "2G", "--cpus", "2"]);
    let mut add = |name: &str, words: &[&str]| suite.add(Case::new(name, words).seconds(SECONDS));
    add("go", &[&built("go.go", "go", &["go", "build", "-o"])]);
    add("java", &["java", "-cp", &java_classes(), "Threads"]);
    add("mono", &["mono", &built("mono.cs", "mono.exe", &["mcs", "-out:"])]);
    add("node", &["node", &file("node.js")]);
    add("ruby", &["ruby", &file("ruby.rb")]);
    add("php", &["php", &file("php.php")]);
    add("erlang", &["erl", "-noshell", "-eval", ERLANG]);
    add("ffmpeg", &["sh", "-c", FFMPEG]);
    for server in ["redis.sh", "nginx.sh", "mariadb.sh"] {
        add(server, &["bash", &file(server)]);
    }
    suite.check();
}

const ERLANG: &str = "Self = self(), Pids = [spawn(fun() -> Self ! N * N end) || N <- lists:seq(1, 1000)], \
    io:format(\"~p ~p~n\", [length(Pids), lists:sum([receive N -> N end || _ <- Pids])]), \
    io:format(\"~p~n\", [os:cmd(\"echo child\")]), halt(3).";

/// Encodes with threads into a file, and decodes that.
const FFMPEG: &str = "f=$(mktemp --suffix=.mkv) && \
    ffmpeg -v error -f lavfi -i testsrc=duration=2:size=160x120:rate=10 -c:v mpeg4 -threads 4 -y $f && \
    ffmpeg -v error -i $f -f framemd5 - | grep -c ^0 && rm $f";

fn file(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("runtimes").join(name).display().to_string()
}

/// Where what is compiled here goes.
fn output(name: &str) -> PathBuf {
    let directory = compile::output_dir().join("runtimes");
    std::fs::create_dir_all(&directory).expect("a directory for what is compiled");
    directory.join(name)
}

/// Compiles a source by `words`, the last of which says where to; where to.
fn built(source: &str, name: &str, words: &[&str]) -> String {
    let to = output(name).display().to_string();
    let (last, words) = words.split_last().expect("a compiler");
    let to_words = if last.ends_with(':') { vec![format!("{last}{to}")] } else { vec![(*last).to_owned(), to.clone()] };
    compiles(words, &to_words, source);
    to
}

fn java_classes() -> String {
    let directory = output("classes").display().to_string();
    compiles(&["javac", "-d"], std::slice::from_ref(&directory), "Threads.java");
    directory
}

fn compiles(words: &[&str], more: &[String], source: &str) {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).args(more).arg(file(source)).env("GO111MODULE", "off");
    assert!(command.status().is_ok_and(|status| status.success()), "{command:?}");
}
