//! Unmodified programs of the host: busybox, coreutils, Lua and Python, each command compared with what it prints on
//! Linux. The guest's root is the host's file system, so both see the same files.
//!
//! What must differ is taken out of both outputs, and nothing else:
//! - `df`: the sizes of two different machines' file systems ([`first_line`]);
//! - `stat`: device and inode numbers, which 9p maps, the change and birth times, block counts ([`without_identity`]);
//! - `ls -la`'s first line: blocks of directories depend on the file system ([`without_total`]).

use std::path::{Path, PathBuf};

use osv_tests::{Case, Suite, fixture};

/// Runs lines of shell in the fixture's directory.
fn add_lines(suite: &mut Suite, lines: &[(&str, &str)]) {
    let tree = fixture::tree();
    for (name, line) in lines {
        suite.add(Case::shell(name, &format!("cd {} && {line}", tree.display())));
    }
}

#[test]
fn busybox() {
    let mut suite = Suite::new("busybox", &[]);
    let tree = fixture::tree();
    for (name, line) in BUSYBOX {
        // busybox's own shell, which runs its applets: nothing else is on the way.
        let line = format!("cd {} && {line}", tree.display());
        suite.add(Case::new(name, &["/bin/busybox", "sh", "-c", &line]));
    }
    suite.check();
}

const BUSYBOX: &[(&str, &str)] = &[
    ("awk", "busybox awk -F, 'NR > 1 { sum += $2 * $3 } END { print sum, NR }' table.csv"),
    ("basename", "busybox basename /a/b/c.txt .txt; busybox dirname /a/b/c.txt"),
    ("cat", "busybox cat -n words.txt zero link"),
    ("cmp", "busybox cmp words.txt sub/hard && echo same; busybox cmp words.txt table.csv"),
    ("cp-mv-rm", "d=/tmp/osv-cp; mkdir $d; cp -r sub $d; mv $d/sub $d/moved; ls -R $d/moved; rm -r $d; ls $d"),
    ("cut", "busybox cut -d, -f1,3 table.csv"),
    ("date", "busybox date -u -d @1000000000"),
    ("dd", "busybox dd if=sub/large.bin bs=1000 skip=5 count=7 2>/dev/null | busybox md5sum"),
    ("diff", "busybox diff words.txt numbers.txt | busybox head -n 20"),
    ("du", "busybox du -a -b sub 2>/dev/null | busybox sort -k2 | busybox tail -n 3; busybox wc -c sub/large.bin"),
    ("echo-printf", "busybox echo -e 'a\\tb'; busybox printf '%05d|%-6s|%x\\n' 42 hi 255"),
    ("env", "busybox env -i A=1 B='two words' busybox env"),
    ("expr", "busybox expr 6 \\* 7; busybox expr length hello; busybox seq 3 4 15"),
    ("find", "busybox find . -name '*.txt' -o -type l | busybox sort"),
    ("grep", "busybox grep -n -E 'an|er' words.txt; busybox grep -c apple words.txt"),
    ("gzip", "busybox gzip -c sub/large.bin | busybox gunzip | busybox md5sum"),
    ("head-tail", "busybox head -n 2 words.txt; busybox tail -c 12 words.txt"),
    ("hexdump", "busybox hexdump -C words.txt | busybox head -n 3; busybox od -An -tx1 sub/deep/deeper/two"),
    ("id", "busybox id; busybox whoami; busybox tty"),
    ("ln", "d=$(mktemp -d) && cd $d && echo x > a && ln a b && ln -s a c && ls && readlink c && cat b c"),
    ("ls", "busybox ls; busybox ls -1 -F sub"),
    ("md5sum", "busybox md5sum sub/large.bin words.txt; busybox sha256sum sub/large.bin; busybox sha1sum words.txt"),
    ("mkdir", "cd /tmp && busybox mkdir -p osv-bb/a/b && busybox rmdir osv-bb/a/b && ls osv-bb && rm -r osv-bb"),
    ("paste", "busybox paste -d: words.txt words.txt | busybox rev | busybox nl"),
    ("pipes", "busybox yes | busybox head -n 50000 | busybox wc -l; false | true; echo $?"),
    ("sed", "busybox sed -n -e 's/a/A/gp' -e '$=' words.txt"),
    (
        "sh",
        "f() { for i in 1 2 3; do echo $((i * $1)); done; }; f 7 | while read x; do echo got $x; done; trap 'echo bye' EXIT",
    ),
    ("signals", "busybox sh -c 'kill -TERM $$'; echo $?; (sleep 100 & kill $!; wait $!; echo $?)"),
    ("sort", "busybox sort -n numbers.txt | busybox md5sum; busybox sort -u words.txt"),
    ("stat", "busybox stat -c '%n %s %a %F %h' words.txt sub link dangling script.sh"),
    ("tar", "busybox tar cf - sub | busybox tar tf - | busybox sort; busybox tar cf - words.txt | busybox tar xOf -"),
    (
        "tee-xargs",
        "busybox sort words.txt | busybox tee /tmp/osv-tee | busybox xargs -n 2 echo; busybox wc /tmp/osv-tee",
    ),
    ("test", "[ -d sub ] && [ ! -e nothing ] && [ -x script.sh ] && [ -L link ] && echo yes"),
    ("time", "busybox sleep 0.05; busybox timeout 1 busybox sleep 20; echo $?"),
    (
        "touch",
        "cd /tmp && busybox touch -d @1000000000 osv-touched && busybox stat -c %Y osv-touched && rm osv-touched",
    ),
    ("tr-fold", "busybox tr a-z A-Z < words.txt | busybox fold -w 3 | busybox uniq -c | busybox head -n 9"),
    ("uname", "busybox uname -m; busybox uname -s"),
    ("vi-ed", "printf '1,3p\\nq\\n' | busybox ed words.txt"),
    ("which", "busybox which sh busybox; busybox nproc > /dev/null && echo ok"),
];

#[test]
fn coreutils() {
    let mut suite = Suite::new("coreutils", &[]);
    add_lines(&mut suite, COREUTILS);
    let line = |line: &str| format!("cd {} && {line}", fixture::tree().display());
    suite.add(Case::shell("ls-la", &line("ls -la . sub sub/deep")).normalise(without_total));
    suite.add(Case::shell("ls-la-root", "ls -d /usr /etc /bin/sh /proc /sys /dev /tmp"));
    suite.add(Case::shell("stat", &line("stat words.txt sub link script.sh")).normalise(without_identity));
    suite.add(Case::shell("df", "df -k / /tmp").normalise(first_line));
    suite.add(Case::shell("df-works", "df -k / | wc -l; df --output=target /proc"));
    suite.check();
}

const COREUTILS: &[(&str, &str)] = &[
    ("true", "true; echo $?; /bin/true; /bin/false; echo $?"),
    ("cat", "cat words.txt zero link sub/.hidden; cat nothing"),
    ("cat-large", "cat sub/large.bin sub/large.bin | wc -c"),
    ("find", "find . | sort; find . -type f -size +1k; find . -perm 755 -type f; find . -newermt 2001-01-01 | wc -l"),
    ("find-usr", "find /usr/lib/python3.11/json /usr/share/zoneinfo/Europe | sort | md5sum"),
    ("tree", "tree -a --noreport .; tree -d"),
    ("sort", "sort words.txt; sort -rn numbers.txt | head -n 5; sort -t, -k2 -n table.csv; sort -R words.txt | wc -l"),
    ("sort-large", "seq 1 30000 | awk '{ print $1 * 7919 % 30011 }' | sort -n | md5sum"),
    ("md5sum", "md5sum words.txt sub/large.bin /usr/bin/python3.11; sha256sum sub/large.bin; b2sum words.txt"),
    ("ls", "ls; ls -R; ls -1 --sort=size; ls -ld link; ls nothing"),
    ("cp", "d=$(mktemp -d); cp -a . $d/copy && (cd $d/copy && find . | sort && md5sum sub/large.bin); rm -rf $d"),
    (
        "mv",
        "cd /tmp && echo x > osv-a && mv osv-a osv-b && cat osv-b && mkdir osv-d && mv osv-b osv-d && ls osv-d; rm -r osv-d",
    ),
    (
        "overlay",
        "cp words.txt /tmp/osv-o && echo more >> /tmp/osv-o && tail -n 2 /tmp/osv-o && rm /tmp/osv-o && ls /tmp/osv-o",
    ),
    (
        "chmod",
        "cd /tmp && touch osv-c && chmod 641 osv-c && stat -c %a osv-c && chmod u+s osv-c && stat -c %A osv-c; rm osv-c",
    ),
    (
        "ln",
        "cd /tmp && echo 1 > osv-l && ln osv-l osv-m && ln -s osv-l osv-n && stat -c '%h %F' osv-l osv-n && rm osv-[lmn]",
    ),
    (
        "dd",
        "dd if=/dev/zero bs=64k count=100 2>/dev/null | md5sum; dd if=/dev/urandom bs=1 count=9 2>/dev/null | wc -c",
    ),
    ("head-tail", "head -n 3 words.txt; tail -n 2 words.txt; tail -c +20 words.txt"),
    ("cut-paste", "cut -d, -f2 table.csv | paste -sd+; join words.txt words.txt 2>/dev/null | head -n 2"),
    ("tr-wc", "tr -d aeiou < words.txt | wc; nl words.txt | tac"),
    (
        "od",
        "od -c words.txt | head -n 4; base64 words.txt; split -n 3 words.txt /tmp/osv-x && cat /tmp/osv-x?? && rm /tmp/osv-x??",
    ),
    ("date", "date -u -d @1234567890; date -r words.txt; TZ=Europe/Berlin date -d @1234567890"),
    ("env", "env -i X=1 env; printenv HOME LANG; id -u; pwd; readlink -f link"),
    ("test", "test -f words.txt && test -s words.txt && test ! -s zero && test words.txt -ef sub/hard && echo ok"),
    ("timeout", "timeout 0.3 sleep 10; echo $?; timeout -s KILL 0.3 sleep 10; echo $?; sleep 0.01 && echo slept"),
    ("pipes", "yes | head -n 100000 | wc -l; seq 1000 | xargs -n 50 echo | wc -l; seq 5 | tee /dev/stderr | tac"),
    ("nohup", "nice -n 5 nice; (trap 'echo caught; exit 3' TERM; kill -TERM $$; sleep 1) ; echo $?"),
    (
        "mktemp",
        "f=$(mktemp) && test -f $f && stat -c %a $f && rm $f; mkfifo /tmp/osv-f && (echo hi > /tmp/osv-f &) && cat /tmp/osv-f; rm /tmp/osv-f",
    ),
    ("grep", "grep -rn apple . | sort; grep -c . numbers.txt; grep -q nothing words.txt; echo $?"),
    (
        "sed",
        "sed -e '2d' -e 's/\\(.\\)\\(.\\)/\\2\\1/' words.txt; cp words.txt /tmp/osv-s; sed -i s/a/b/ /tmp/osv-s; cat /tmp/osv-s",
    ),
    (
        "tar",
        "tar cf /tmp/osv-t.tar . && tar tf /tmp/osv-t.tar | sort && mkdir /tmp/osv-t && tar xf /tmp/osv-t.tar -C /tmp/osv-t && diff -r . /tmp/osv-t; rm -r /tmp/osv-t*",
    ),
    ("gzip", "gzip -c sub/large.bin | gzip -dc | cmp - sub/large.bin && echo same"),
    (
        "bash",
        "bash -c 'a=(1 2 3); for i in ${a[@]}; do ((s+=i)); done; echo $s; echo {a..e}; cat <<< here; [[ abc =~ b ]] && echo match'",
    ),
    ("bash-jobs", "bash -c 'sleep 0.1 & sleep 0.2 & wait; echo done; (exit 7); echo $?; diff <(echo a) <(echo b)'"),
    ("sha-parallel", "for i in 1 2 3 4; do sha256sum sub/large.bin & done | sort; wait"),
];

fn first_line(text: &str) -> String {
    text.lines().take(1).map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

fn without_total(text: &str) -> String {
    text.lines().filter(|line| !line.starts_with("total ")).map(without_directory_size).collect()
}

/// The size of a directory is the file system's own business.
fn without_directory_size(line: &str) -> String {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    if line.starts_with('d') && words.len() > 5 {
        words[4] = "-";
    }
    words.join(" ") + "\n"
}

fn without_identity(text: &str) -> String {
    let kept = |line: &&str| !["Device:", "Change:", " Birth:"].iter().any(|word| line.starts_with(word));
    text.lines().filter(kept).map(|line| without_blocks(line) + "\n").collect()
}

/// Directories' sizes and all blocks belong to the file system: only the kind and a file's size are compared.
fn without_blocks(line: &str) -> String {
    let Some((sizes, kind)) = line.split_once("IO Block:") else { return line.to_owned() };
    let kind = kind.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim();
    let size = sizes.split_whitespace().nth(1).filter(|_| kind != "directory").unwrap_or("-");
    format!("Size: {size} {kind}")
}

#[test]
fn lua() {
    let mut suite = Suite::new("lua", &[]);
    suite.add(Case::new("version", &["lua5.3", "-v"]));
    suite.add(Case::new("expression", &["lua5.3", "-e", "print(2^53, 7 // 2, 1e15, #arg, math.pi)"]));
    suite.add(Case::program("script", Path::new("lua5.3"), &[&source("program.lua"), "a", "b c"]));
    suite.add(Case::new("error", &["lua5.3", "-e", "error('no')"]));
    suite.add(Case::new("stdin", &["lua5.3", "-"]).stdin(Path::new(&source("program.lua"))));
    suite.check();
}

#[test]
fn python() {
    let mut suite = Suite::new("python", &["--memory", "768M", "--cpus", "2"]);
    let python = |name: &str, args: &[&str]| Case::program(name, Path::new("/usr/bin/python3"), args).seconds(180);
    suite.add(python("version", &["--version"]));
    suite.add(python("one", &["-c", "print(1)"]));
    suite.add(python("program", &[&source("program.py")]));
    for part in ["threads", "subprocess", "mmap", "sqlite3", "json", "files", "asyncio", "multiprocessing", "signals"] {
        suite.add(python(part, &[&source("program.py"), part]));
    }
    suite.add(python("exception", &["-c", "def f(): raise ValueError('x')\nf()"]));
    suite.add(python("exit-code", &["-c", "import sys; sys.exit(77)"]));
    suite.add(python("stdin", &["-"]).stdin(Path::new(&source("program.py"))));
    suite.check();
}

fn source(name: &str) -> String {
    let path: PathBuf = osv_tests::compile::source(name);
    path.display().to_string()
}
