//! Opening the files: one process at a time, readable by their owner only, at the schema that this program knows.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::check;
use super::failure::Failure;
use crate::store::StoreError;

/// That this process has the store to itself.
#[derive(Debug)]
pub(super) struct Lock(File);

/// It ends with the file, so a killed process leaves none. It is given back all the same: whatever process is being started
/// elsewhere at this moment has the file, too, until it is another program.
impl Drop for Lock {
    fn drop(&mut self) {
        // What can fail here fails for a file that is closed anyway.
        let _ = self.0.unlock();
    }
}

/// Takes the store for this process.
pub(super) fn lock(path: &Path) -> Result<Lock, StoreError> {
    let file = open_private(&beside(path, ".lock")).map_err(unavailable)?;
    match file.try_lock() {
        Ok(()) => Ok(Lock(file)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.display().to_string() }),
        Err(TryLockError::Error(error)) => Err(unavailable(error)),
    }
}

/// The connection that writes. It creates the database or brings its schema up to date.
pub(super) fn writer(path: &Path) -> Result<Connection, Failure> {
    open_private(path).map_err(|error| Failure::Store(unavailable(error)))?;
    tighten_log(path).map_err(|error| Failure::Store(unavailable(error)))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(WRITER_PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let version = schema_version(&connection)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(Failure::Store(StoreError::Unavailable(
            "this file system cannot keep a write-ahead log".into(),
        )));
    }
    // FULL: a commit is on disk before it is acknowledged. Checkpoints are the writer's own business. No mapping: the
    // pages of a long backlog that somebody walked over once would be ours for as long as memory lasts.
    connection.execute_batch(
        "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0;
         PRAGMA cache_size = -32768; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;",
    )?;
    check::quickly(&connection)?;
    migrate(&mut connection, version)?;
    // Only now: a new index over a large table is sorted on disk, not in memory.
    connection.execute_batch("PRAGMA temp_store = MEMORY;")?;
    Ok(connection)
}

/// A connection that reads.
pub(super) fn reader(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(READER_PATIENCE)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection
        .execute_batch("PRAGMA cache_size = -4096; PRAGMA mmap_size = 0; PRAGMA cell_size_check = ON;")?;
    Ok(connection)
}

/// The path of a file that belongs to the database.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Makes a new file that only its owner may use.
pub(super) fn create_private(path: &Path) -> io::Result<()> {
    open_private(path).map(|_| ())
}

/// Opens or creates a file that only its owner may use; an existing one is made so.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = options.open(path)?;
    tighten(&file)?;
    Ok(file)
}

/// SQLite gives the write-ahead log and its index the mode of the database when it makes them; those that an
/// unfinished process has left keep the mode that they have.
fn tighten_log(path: &Path) -> io::Result<()> {
    for suffix in ["-wal", "-shm"] {
        match File::open(beside(path, suffix)) {
            Ok(file) => tighten(&file)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(unix)]
fn tighten(file: &File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(PermissionsExt::from_mode(0o600))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn tighten(_: &File) -> io::Result<()> {
    Ok(())
}

/// The version of the schema; 0 if the database is empty.
pub(super) fn schema_version(connection: &Connection) -> Result<u32, Failure> {
    let found: u32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let known = u32::try_from(SCHEMA.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(Failure::Store(StoreError::NewerSchema { found, known }));
    }
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    if found == 0 && tables > 0 {
        return Err(Failure::corrupt("database file: it belongs to another program"));
    }
    Ok(found)
}

/// Where the store went, if it was moved. The mark is in the database, so that every copy of it has it.
pub(super) fn moved_to(connection: &Connection) -> Result<Option<String>, Failure> {
    let known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'moved'";
    if !connection.prepare(known)?.exists([])? {
        return Ok(None);
    }
    Ok(connection.query_row("SELECT destination FROM moved", [], |row| row.get(0)).optional()?)
}

/// Each step is one transaction together with the version that it leads to.
fn migrate(connection: &mut Connection, from: u32) -> Result<(), Failure> {
    for (version, sql) in (1_u32..).zip(SCHEMA) {
        if version > from {
            let step = connection.transaction()?;
            step.execute_batch(sql)?;
            step.pragma_update(None, "user_version", version)?;
            step.commit()?;
        }
    }
    Ok(())
}

fn unavailable(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Unavailable(Box::new(error)),
    }
}

/// The schema's steps, oldest first; the first leads to version 1.
const SCHEMA: [&str; 4] = [
    include_str!("schema/0001_init.sql"),
    include_str!("schema/0002_delivery.sql"),
    include_str!("schema/0003_retention.sql"),
    include_str!("schema/0004_audit.sql"),
];

/// The newest schema.
pub(super) const KNOWN: u32 = 4;

/// More than the statements that this backend has, so that none is ever prepared twice.
const STATEMENTS: usize = 64;

/// How long the writer waits for readers at a checkpoint. Nobody else writes.
const WRITER_PATIENCE: Duration = Duration::from_millis(100);

/// How long a reader waits while the log is being recovered or reset.
const READER_PATIENCE: Duration = Duration::from_secs(5);
