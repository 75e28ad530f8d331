//! Checks of the database file.
//!
//! SQLite trusts what it reads as far as a page makes sense. What does not is met when the page is read, and that may
//! be months later; so a store is looked through when it is opened, as far as that can be done in some seconds. A
//! backup reads all of it.

use rusqlite::Connection;

use super::failure::Failure;

/// Looks through the pages of a database: all of them, or of a large one those without which nothing works.
pub(super) fn quickly(connection: &Connection) -> Result<(), Failure> {
    let pages: i64 = connection.query_row("PRAGMA page_count", [], |row| row.get(0))?;
    let page_size: i64 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
    if pages.saturating_mul(page_size) <= LARGE {
        return verdict(connection, "PRAGMA quick_check(1)");
    }
    for table in NEEDED {
        let known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1";
        if connection.prepare(known)?.exists([table])? {
            verdict(connection, &format!("PRAGMA quick_check({table})"))?;
        }
    }
    Ok(())
}

/// Looks through everything, indexes against their tables too.
pub(super) fn thoroughly(connection: &Connection) -> Result<(), Failure> {
    verdict(connection, "PRAGMA integrity_check(1)")
}

fn verdict(connection: &Connection, pragma: &str) -> Result<(), Failure> {
    let said: String = connection.query_row(pragma, [], |row| row.get(0))?;
    if said == "ok" { Ok(()) } else { Err(Failure::corrupt("database file")) }
}

/// What the sender cannot start without, and what it has still to do. None of it grows with the history.
const NEEDED: [&str; 5] = ["records", "ring", "data_keys", "routes", "delivery_live"];

/// 512 MiB are looked through in about a second, if the disk gives them as fast.
const LARGE: i64 = 512 << 20;
