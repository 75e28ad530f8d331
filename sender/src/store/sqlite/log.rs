//! When the write-ahead log is written back into the database.
//!
//! SQLite would do it inside whichever commit fills 1,000 pages. Here the writer does it when nothing else waits, or
//! when the log has grown to [`LIMIT`], so that pages written again and again go back once.

use std::fs;
use std::path::{Path, PathBuf};

use super::open::beside;
use super::session::Session;

/// The log of one database.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    size: u64,
    limit: u64,
    resting: bool,
}

impl Log {
    /// The log of the database at `path`.
    pub(super) fn of(path: &Path) -> Self {
        let mut log = Self { path: beside(path, "-wal"), size: 0, limit: LIMIT, resting: false };
        log.measure();
        log
    }

    /// Whether there is nothing to write back, or nothing that could be written back a moment ago.
    pub(super) fn is_empty(&self) -> bool {
        self.size == 0 || self.resting
    }

    /// Notes that a checkpoint was just tried while idle: there is no use in trying again before something changes.
    pub(super) fn rest(&mut self) {
        self.resting = true;
    }

    /// Writes back a log that has grown too large.
    pub(super) fn after_commit(&mut self, session: &Session) {
        self.resting = false;
        self.measure();
        if self.size >= self.limit {
            self.checkpoint(session);
            // A reader can hold the log; it is not to be asked again at every commit.
            self.limit = if self.size == 0 { LIMIT } else { self.size + LIMIT / 4 };
        }
    }

    /// Writes back what no reader still needs, and empties the log if that is all. Failing is harmless: the log keeps
    /// what it has and is tried again later.
    pub(super) fn checkpoint(&mut self, session: &Session) {
        let _ = session.connection().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        self.measure();
    }

    fn measure(&mut self) {
        self.size = fs::metadata(&self.path).map_or(0, |file| file.len());
    }
}

/// 64 MiB: some ten thousand events, written back in some hundred milliseconds.
const LIMIT: u64 = 64 << 20;
