//! Tools that look at the system through /proc and /sys, compared with what they print on Linux. Where two machines
//! must differ, in sizes and times, only the form is compared.

use osv_tests::{Case, Suite};

const TOOLS: &[(&str, &str)] = &[
    (
        "ps",
        "sleep 50 & ps -o tty=,stat=,nlwp=,ni=,comm=,args= -p $!; ps -o ppid= -p $! | tr -d ' ' | grep -cx $$; kill $!",
    ),
    ("ps-headings", "ps aux | head -n 1; ps -ef | head -n 1; ps -eLf | head -n 1"),
    ("pgrep", "sleep 51 & pgrep -P $$ -x sleep | grep -cx $!; pgrep -P $$ -a sleep | cut -d' ' -f2-; kill $!"),
    ("pidof", "cp /bin/sleep /tmp/osv-sleeper; /tmp/osv-sleeper 52 & pidof osv-sleeper | grep -cx $!; kill $!"),
    ("free", "free | awk '{ print $1, NF }'"),
    ("uptime", "uptime | sed 's/[0-9][0-9:.]*/N/g; s/up.*load/load/'"),
    ("vmstat", "vmstat | head -n 2; vmstat | awk 'END { print NF }'"),
    ("mount", "mount -t proc | grep -c '^proc on /proc type proc (rw,'; mount -t devpts | cut -d' ' -f1-5 | sort -u"),
    ("lscpu", "lscpu | grep -E '^(Architecture|Byte Order|NUMA node.s.)' | tr -s ' '"),
    (
        "nproc",
        "test $(nproc) = $(grep -c ^processor /proc/cpuinfo) && test $(nproc) = $(getconf _NPROCESSORS_ONLN); echo $?",
    ),
    ("lsof", "sleep 53 3</etc/passwd & lsof -p $! -a -d 3 -F tn | tail -n +3; kill $!"),
    ("top", "top -b -n 1 | sed -n '1s/.*load/load/; s/[0-9][0-9.]*/N/g; 7p'"),
    (
        "terminals",
        "head -n 3 /proc/tty/drivers; grep pty_ /proc/tty/drivers; ls /proc/tty; cat /proc/sys/kernel/pty/reserve",
    ),
];

#[test]
fn tools() {
    let mut suite = Suite::new("tools", &["--cpus", "2"]);
    for (name, line) in TOOLS {
        suite.add(Case::shell(name, line));
    }
    suite.check();
}
