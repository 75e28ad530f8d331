//! Putting a copy in the place of the store.
//!
//! Guarantees that the store is locked all the while, so no sender runs on it; that nothing is replaced before the copy
//! has been looked through and its owner has had a look at it ([`Restoration::path`]); and that what was there is moved
//! aside whole, never removed. The old write-ahead log above all: beside a new database it would be applied to it.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use waxseal_keys::Timestamp;

use super::backup::{BackupContents, BackupError, folder_of, inspect, sync_folder};
use super::open;
use crate::store::StoreError;

/// What to do if there is a store already.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Occupied {
    /// Do nothing.
    Refuse,
    /// Keep it under another name.
    MoveAside,
}

/// A copy that is ready to take the place of the store.
#[derive(Debug)]
pub struct Restoration {
    store: PathBuf,
    staged: PathBuf,
    contents: BackupContents,
    /// Removed, with what was not used, at the end.
    _folder: TempDir,
    /// The sender's lock on the store.
    _lock: open::Lock,
}

/// Why a copy was not put in the place of the store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The copy cannot be used.
    #[error("the backup cannot be used")]
    Backup(#[from] BackupError),
    /// A sender runs on the store, or its lock cannot be had.
    #[error(transparent)]
    Locked(StoreError),
    /// There is a store.
    #[error("there is a store {}; with --replace it is moved aside, and kept", path.display())]
    Occupied {
        /// The store.
        path: PathBuf,
    },
    /// A file cannot be written or moved.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Restoration {
    /// Copies a backup into the folder of the store at `store`, and looks it through. Blocks.
    ///
    /// # Errors
    /// [`RestoreError`]; nothing was changed.
    pub fn prepare(backup: &Path, store: &Path, occupied: Occupied) -> Result<Self, RestoreError> {
        // What cannot be used is said before anything is touched.
        inspect(backup)?;
        let lock = open::lock(store).map_err(RestoreError::Locked)?;
        if occupied == Occupied::Refuse && files_of(store).any(|file| file.exists()) {
            return Err(RestoreError::Occupied { path: store.to_owned() });
        }
        let within = folder_of(store);
        let folder = tempfile::Builder::new().prefix(".waxseal-restore-").tempdir_in(within);
        let folder = folder.map_err(file(within))?;
        let staged = folder.path().join("store.db");
        open::create_private(&staged).map_err(file(&staged))?;
        // Into the file that only its owner can read: copying by name would take the mode of the backup.
        let mut from = File::open(backup).map_err(file(backup))?;
        let mut to = File::options().write(true).open(&staged).map_err(file(&staged))?;
        io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).map_err(file(&staged))?;
        // The backup may have been damaged on its way here.
        let contents = inspect(&staged)?;
        Ok(Self { store: store.to_owned(), staged, contents, _folder: folder, _lock: lock })
    }

    /// The copy that will be the store. It may be opened and must be closed again before [`Self::finish`].
    pub fn path(&self) -> &Path {
        &self.staged
    }

    /// What it holds.
    pub fn contents(&self) -> &BackupContents {
        &self.contents
    }

    /// Puts it in place. Returns where the store that was there is now, if there was one. Blocks.
    ///
    /// # Errors
    /// If a file cannot be moved. If that happens half way, the old store is under its new name and the same command
    /// can be given again.
    pub fn finish(self, now: Timestamp) -> Result<Option<PathBuf>, RestoreError> {
        if with_suffix(&self.staged, "-wal").metadata().is_ok_and(|log| log.len() > 0) {
            let source = io::Error::other("it is still open");
            return Err(RestoreError::File { path: self.staged.clone(), source });
        }
        let aside = with_suffix(&self.store, &format!(".replaced-{}", now.as_millis() / 1_000));
        let mut moved = None;
        for (from, to) in files_of(&self.store).zip(files_of(&aside)) {
            if from.exists() {
                fs::rename(&from, &to).map_err(file(&from))?;
                moved = Some(aside.clone());
            }
        }
        File::open(&self.staged).and_then(|staged| staged.sync_all()).map_err(file(&self.staged))?;
        fs::rename(&self.staged, &self.store).map_err(file(&self.store))?;
        let folder = folder_of(&self.store);
        sync_folder(folder).map_err(file(folder))?;
        Ok(moved)
    }
}

/// The files of a database, itself first: without it the others are nothing.
fn files_of(path: &Path) -> impl Iterator<Item = PathBuf> {
    ["", "-wal", "-shm"].into_iter().map(|suffix| with_suffix(path, suffix))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    |source| RestoreError::File { path, source }
}
