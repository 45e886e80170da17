//! SQLite on the file system in memory: the database is a file, with a journal beside it, as anywhere.

use rusqlite::Connection;

#[osv::main]
fn main() -> rusqlite::Result<()> {
    let mut database = Connection::open("/tmp/fruit.db")?;
    database.execute("CREATE TABLE fruit (name TEXT PRIMARY KEY, count INTEGER)", ())?;
    let transaction = database.transaction()?;
    for (name, count) in [("pear", 3), ("apple", 5), ("fig", 12)] {
        transaction.execute("INSERT INTO fruit VALUES (?1, ?2)", (name, count))?;
    }
    transaction.commit()?;
    let mut query = database.prepare("SELECT name, count FROM fruit ORDER BY count DESC")?;
    let rows = query.query_map((), |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    for row in rows {
        let (name, count) = row?;
        println!("{count:3} {name}");
    }
    Ok(())
}
