//! A copy of the store, taken while it is in use or not.
//!
//! **Of the files, not through the sender.** The copy is one read transaction of a second process: SQLite lets readers
//! of other processes in beside the one that writes, and what they see is one moment. So a backup needs no token, works
//! when the sender does not run or will not start, and no request can make the sender write files. While it lasts the
//! write-ahead log cannot be emptied, so it grows by what is written meanwhile.
//!
//! **`VACUUM INTO`, not a copy of pages.** It reads every table, so it fails where one is damaged, and does not hand the
//! damage on; it writes indexes anew; the copy has no free pages, so nothing in it that was removed before.
//!
//! Guarantees that the file appears under its name when it is whole, on disk and checked, or not at all; that nothing is
//! overwritten; that only its owner can read it.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension};

use super::failure::Failure;
use super::{check, open};
use crate::store::StoreError;

/// What a copy holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BackupContents {
    /// Its size in bytes.
    pub bytes: u64,
    /// Consumers.
    pub consumers: u64,
    /// Endpoints.
    pub endpoints: u64,
    /// Events.
    pub events: u64,
    /// Events whose content is kept.
    pub contents: u64,
    /// Deliveries that are not over.
    pub live: u64,
    /// How often the signing keys had been changed, if there are any.
    pub ring_version: Option<u64>,
    /// The key-encryption keys that it needs. They are not in it.
    pub key_encryption_keys: Vec<String>,
}

/// Why there is no backup, or why a file is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// There is no store to copy.
    #[error("there is no store {}", path.display())]
    NoStore {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file of that name is there.
    #[error("{} exists; it is not overwritten", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The store or the copy is damaged, or is none.
    #[error("{}", path.display())]
    Store {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: StoreError,
    },
}

impl BackupError {
    /// A stable code for logs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoStore { .. } => "backup.no_store",
            Self::Exists { .. } => "backup.exists",
            Self::File { .. } => "backup.file",
            Self::Store { source, .. } => source.code(),
        }
    }

    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        |source| Self::File { path, source }
    }

    pub(super) fn store<E: Into<Failure>>(path: &Path) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        |failure| Self::Store { path, source: StoreError::from(failure.into()) }
    }
}

/// Copies the store at `store` to the new file `to`. Blocks.
///
/// # Errors
/// [`BackupError`]; then there is no such file.
pub fn back_up(store: &Path, to: &Path) -> Result<BackupContents, BackupError> {
    if !store.exists() {
        return Err(BackupError::NoStore { path: store.to_owned() });
    }
    if to.exists() {
        return Err(BackupError::Exists { path: to.to_owned() });
    }
    let folder = folder_of(to);
    // Readable by its owner only, from the first byte on; removed if anything goes wrong.
    let mut unfinished = tempfile::Builder::new();
    let unfinished =
        unfinished.prefix(".waxseal-backup-").tempfile_in(folder).map_err(BackupError::file(to))?;
    copy(store, unfinished.path())?;
    let contents = inspect(unfinished.path())?;
    unfinished.as_file().sync_all().map_err(BackupError::file(to))?;
    unfinished.persist_noclobber(to).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => BackupError::Exists { path: to.to_owned() },
        _ => BackupError::File { path: to.to_owned(), source: error.error },
    })?;
    sync_folder(folder).map_err(BackupError::file(folder))?;
    Ok(contents)
}

/// Looks through a copy, all of it, and says what it holds. Blocks.
///
/// # Errors
/// If it is damaged, or not a copy of a store that this program knows.
pub fn inspect(copy: &Path) -> Result<BackupContents, BackupError> {
    let connection = open_copy(copy).map_err(BackupError::store(copy))?;
    let contents = look_through(&connection).map_err(BackupError::store(copy))?;
    let bytes = copy.metadata().map_err(BackupError::file(copy))?.len();
    Ok(BackupContents { bytes, ..contents })
}

fn copy(store: &Path, to: &Path) -> Result<(), BackupError> {
    let connection = open::reader(store).map_err(BackupError::store(store))?;
    let known: Result<_, Failure> = open::schema_version(&connection);
    known.map_err(BackupError::store(store))?;
    let to = to.to_str().ok_or_else(|| BackupError::File {
        path: to.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "the path is not UTF-8"),
    })?;
    // What fails here is nearly always the disk of the copy, or damage in the store.
    connection.execute("VACUUM INTO ?1", [to]).map(|_| ()).map_err(BackupError::store(store))
}

fn open_copy(path: &Path) -> Result<Connection, Failure> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA cell_size_check = ON;")?;
    Ok(connection)
}

fn look_through(connection: &Connection) -> Result<BackupContents, Failure> {
    if open::schema_version(connection)? == 0 {
        return Err(Failure::corrupt("database file: it is not a store"));
    }
    check::thoroughly(connection)?;
    let count = |sql: &str| -> Result<u64, Failure> {
        let counted: i64 = connection.query_row(sql, [], |row| row.get(0))?;
        Ok(u64::try_from(counted).unwrap_or(0))
    };
    let version: Option<i64> =
        connection.query_row("SELECT version FROM ring", [], |row| row.get(0)).optional()?;
    let mut keks = connection.prepare("SELECT DISTINCT kek_id FROM data_keys ORDER BY kek_id")?;
    let keks = keks.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    Ok(BackupContents {
        bytes: 0,
        consumers: count("SELECT count(*) FROM records WHERE kind = 'consumer'")?,
        endpoints: count("SELECT count(*) FROM records WHERE kind = 'endpoint'")?,
        events: count("SELECT count(*) FROM events")?,
        contents: count("SELECT count(*) FROM events WHERE length(sealed) > 0")?,
        live: count("SELECT count(*) FROM delivery_live")?,
        ring_version: version.and_then(|version| u64::try_from(version).ok()),
        key_encryption_keys: keks,
    })
}

/// The folder that a file is in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
