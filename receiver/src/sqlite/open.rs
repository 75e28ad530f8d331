//! Opening the file: readable by its owner only, a write-ahead log, at the schema that this version knows.

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io,
    path::Path,
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::DatabaseError;

/// Opens the database at `path`, and makes it if there is none. Blocks.
pub(super) fn open(path: &Path) -> Result<Connection, DatabaseError> {
    // One at a time: two processes that begin together must not both turn on the log or make the tables.
    let mut beside = OsString::from(path);
    beside.push(".lock");
    let lock = open_private(Path::new(&beside))?;
    lock.lock()?;
    open_private(path)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_handler(Some(wait_for_others))?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(DatabaseError::NoLog);
    }
    // FULL: a commit is on disk before it is acknowledged. What is deleted is overwritten: payloads lie here.
    connection
        .execute_batch("PRAGMA synchronous = FULL; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;")?;
    let step = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: u32 = step.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: u32 = step.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    match found {
        SCHEMA_VERSION => {}
        0 if tables == 0 => {
            step.execute_batch(include_str!("schema.sql"))?;
            step.pragma_update(None, "application_id", APPLICATION_ID)?;
            step.pragma_update(None, "user_version", SCHEMA_VERSION)?;
        }
        _ => return Err(DatabaseError::Foreign),
    }
    let application: u32 = step.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    if application != APPLICATION_ID {
        return Err(DatabaseError::Foreign);
    }
    step.commit()?;
    Ok(connection)
}

/// Opens or creates a file that only its owner may use; an existing one is made so.
/// SQLite gives the log and its index the mode of the database.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        options.mode(0o600);
        let file = options.open(path)?;
        if file.metadata()?.permissions().mode() & 0o077 != 0 {
            file.set_permissions(PermissionsExt::from_mode(0o600))?;
        }
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}

/// SQLite's own handler sleeps for up to a tenth of a second, in which a busy process writes again and again.
#[expect(clippy::disallowed_methods, reason = "nothing tells when another process is done")]
fn wait_for_others(tries: i32) -> bool {
    std::thread::sleep(Duration::from_millis(1));
    tries < PATIENCE
}

/// Says whose file it is (`wxrc` in ASCII), in the header where `file` looks for it.
const APPLICATION_ID: u32 = 0x7778_7263;

const SCHEMA_VERSION: u32 = 1;

/// How often a write looks whether those of other processes are done: about five seconds together.
const PATIENCE: i32 = 5_000;
