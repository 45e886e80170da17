//! Crates that work on Linux work on osv, unchanged.

use osv as _;

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    #[test]
    fn tokio_runs_tasks_timers_and_processes() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let start = Instant::now();
            let tasks: Vec<_> = (0..50_u64)
                .map(|number| {
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_millis(number % 10)).await;
                        number
                    })
                })
                .collect();
            let mut sum = 0;
            for task in tasks {
                sum += task.await.unwrap();
            }
            assert_eq!(sum, 1225);
            assert!(start.elapsed() >= Duration::from_millis(9));
            let (sender, mut receiver) = tokio::sync::mpsc::channel(4);
            tokio::spawn(async move { sender.send(5).await });
            assert_eq!(receiver.recv().await, Some(5));
            let late = tokio::time::timeout(Duration::from_millis(20), std::future::pending::<()>()).await;
            assert!(late.is_err());
            tokio::fs::write("/tmp/tokio", "written").await.unwrap();
            assert_eq!(tokio::fs::read_to_string("/tmp/tokio").await.unwrap(), "written");
            let output = tokio::process::Command::new("/bin/busybox").args(["echo", "hi"]).output().await.unwrap();
            assert_eq!(output.stdout, b"hi\n");
        });
    }

    #[test]
    fn rayon_uses_all_cpus() {
        use rayon::prelude::*;
        assert_eq!((0..1_000_000_u64).into_par_iter().filter(|number| number % 3 == 0).count(), 333_334);
        let mut numbers: Vec<u32> = (0..100_000).map(|number| number * 7919 % 100_003).collect();
        numbers.par_sort_unstable();
        assert!(numbers.is_sorted());
    }

    #[test]
    fn crossbeam_passes_messages() {
        let (sender, receiver) = crossbeam::channel::bounded(10);
        crossbeam::scope(|scope| {
            scope.spawn(|_| (0..1000_u32).for_each(|number| sender.send(number).unwrap()));
            assert_eq!((0..1000).map(|_| receiver.recv().unwrap()).sum::<u32>(), 499_500);
        })
        .unwrap();
    }

    #[test]
    fn serde_goes_there_and_back() {
        #[derive(serde::Serialize, serde::Deserialize, PartialEq, Debug)]
        struct Point {
            x: i32,
            name: String,
        }
        let point = Point { x: -3, name: "ü".into() };
        let text = serde_json::to_string(&point).unwrap();
        assert_eq!(serde_json::from_str::<Point>(&text).unwrap(), point);
    }

    #[test]
    fn regex_finds() {
        let regex = regex::Regex::new(r"(\w+)@(\w+)\.org").unwrap();
        assert_eq!(&regex.captures("mail me@osv.org").unwrap()[2], "osv");
    }

    #[test]
    fn sqlite_keeps_tables_in_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut db = rusqlite::Connection::open(&path).unwrap();
        db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT)").unwrap();
        let transaction = db.transaction().unwrap();
        for number in 0..1000 {
            transaction.execute("INSERT INTO t VALUES (?1, ?2)", (number, format!("row {number}"))).unwrap();
        }
        transaction.commit().unwrap();
        drop(db);
        let db = rusqlite::Connection::open(&path).unwrap();
        let (count, last): (i64, String) =
            db.query_row("SELECT count(*), max(text) FROM t", [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!((count, last.as_str()), (1000, "row 999"));
    }

    #[test]
    fn tempfile_cleans_up() {
        use std::io::{Read, Seek, Write};
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"gone soon").unwrap();
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text, "gone soon");
        let named = tempfile::NamedTempFile::new().unwrap();
        let path = named.path().to_owned();
        drop(named);
        assert!(!path.exists());
    }
}
