//! When the write-ahead log is written back into the database.
//!
//! SQLite would do it inside whichever commit fills 1,000 pages. Here the writer does it when nothing else waits, or
//! when the log has grown to [`LIMIT`], so that pages written again and again go back once.
//!
//! The file itself keeps its size and is written over from its beginning: flushing bytes over blocks that a file
//! already has costs a fraction of making it longer, which the file system's own journal has to record each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rusqlite::Connection;

use super::failure::Failure;
use super::session::Session;

/// The log of one database.
#[derive(Debug)]
pub(super) struct Log {
    /// Pages in the log, as the last commit left it.
    pages: Arc<AtomicU32>,
    limit: u32,
    resting: bool,
    /// It has something that is to be in no file.
    unclean: bool,
}

/// What becomes of the file when its pages are written back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum After {
    /// It is kept, to be written over.
    Reuse,
    /// It is emptied, so that nothing that was ever in it can be read from it.
    Empty,
}

impl Log {
    /// The log of the database that `connection` writes. What an earlier process left in it is found at the first
    /// commit, or when nothing else is to be done.
    pub(super) fn of(connection: &mut Connection) -> Result<Self, Failure> {
        let pages = Arc::new(AtomicU32::new(1));
        let told = Arc::clone(&pages);
        connection.wal_hook(Some(move |_: &mut _, now| {
            told.store(u32::try_from(now).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))?;
        Ok(Self { pages, limit: LIMIT, resting: false, unclean: false })
    }

    /// Whether there is nothing to write back, or nothing that could be written back a moment ago.
    pub(super) fn is_empty(&self) -> bool {
        (self.pages() == 0 && !self.unclean) || self.resting
    }

    /// Notes that a checkpoint was just tried while idle: there is no use in trying again before something changes.
    /// Unless it must be emptied: then it is tried until no reader is in the way any more.
    pub(super) fn rest(&mut self) {
        self.resting = !self.unclean;
    }

    /// Notes that what was just written took something away that is to be in no file: from now on the log is emptied
    /// and not written over, until that has succeeded once.
    pub(super) fn must_be_emptied(&mut self) {
        self.unclean = true;
        self.resting = false;
    }

    /// Writes back a log that has grown too large.
    pub(super) fn after_commit(&mut self, session: &Session) {
        self.resting = false;
        if self.pages() >= self.limit {
            self.checkpoint(session, After::Reuse);
            // A reader can hold the log; it is not to be asked again at every commit.
            self.limit = if self.pages() == 0 { LIMIT } else { self.pages().saturating_add(LIMIT / 4) };
        }
    }

    /// Writes back what no reader still needs, and starts the log anew if that is all. Failing is harmless: the log
    /// keeps what it has and is tried again later.
    pub(super) fn checkpoint(&mut self, session: &Session, after: After) {
        let after = if self.unclean { After::Empty } else { after };
        let pragma = match after {
            After::Reuse => "PRAGMA wal_checkpoint(RESTART)",
            After::Empty => "PRAGMA wal_checkpoint(TRUNCATE)",
        };
        // The row says whether somebody was in the way.
        let held = session.connection().query_row(pragma, [], |row| row.get::<_, bool>(0));
        if matches!(held, Ok(false)) {
            self.pages.store(0, Ordering::Relaxed);
            self.unclean &= after != After::Empty;
        }
    }

    fn pages(&self) -> u32 {
        self.pages.load(Ordering::Relaxed)
    }
}

/// 64 MiB of pages of 4 KiB: some ten thousand events, written back in some hundred milliseconds.
const LIMIT: u32 = 16_384;
