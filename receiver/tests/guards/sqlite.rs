//! The guard in SQLite.

use std::{path::PathBuf, sync::Arc, time::Duration};

use tempfile::TempDir;
use waxseal_keys::{Clock, ManualClock, Timestamp};
use waxseal_receiver::{Begin, GuardError, ReplayGuard, Settled, SqliteGuard};

use crate::{
    child,
    suite::{LEASE, RETENTION, Subject, begin, commit, conformance, done, in_progress, key, new},
};

struct Sqlite {
    guard: Option<Arc<SqliteGuard>>,
    clock: ManualClock,
    directory: TempDir,
}

impl Sqlite {
    async fn start() -> Self {
        let clock = ManualClock::new(Timestamp::from_seconds(1_795_293_600));
        let mut this = Self { guard: None, clock, directory: tempfile::tempdir().unwrap() };
        this.reopen();
        this
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("replay.db")
    }

    /// As a process does that starts anew.
    fn reopen(&mut self) {
        self.guard = None;
        self.guard = Some(Arc::new(SqliteGuard::open(self.path()).unwrap().retention(RETENTION)));
    }

    fn rows(&self) -> u32 {
        let database = rusqlite::Connection::open(self.path()).unwrap();
        database.query_row("SELECT count(*) FROM replay", [], |row| row.get(0)).unwrap()
    }
}

impl Subject for Sqlite {
    fn guard(&self) -> Arc<dyn ReplayGuard> {
        self.guard.clone().unwrap()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    async fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }
}

conformance!(Sqlite::start());

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let mut sqlite = Sqlite::start().await;
    done(&sqlite, "done").await;
    let abandoned = new(&sqlite, "abandoned").await;
    let surviving = new(&sqlite, "surviving").await;
    sqlite.reopen();
    assert_eq!(begin(&sqlite, "done").await, Begin::Done);
    in_progress(&sqlite, "abandoned").await;
    assert_eq!(commit(&sqlite, "surviving", surviving).await, Settled::Applied);
    sqlite.advance(LEASE).await;
    assert_ne!(new(&sqlite, "abandoned").await, abandoned);
    assert_eq!(commit(&sqlite, "abandoned", abandoned).await, Settled::Stale);
}

#[tokio::test]
async fn what_is_past_its_retention_makes_room_by_itself_and_at_once_if_asked() {
    let sqlite = Sqlite::start().await;
    for number in 0..40 {
        done(&sqlite, &format!("old{number}")).await;
    }
    new(&sqlite, "abandoned").await;
    assert_eq!(sqlite.rows(), 41);
    sqlite.advance(RETENTION - Duration::from_secs(1)).await;
    done(&sqlite, "young").await;
    assert_eq!(sqlite.rows(), 42, "nothing is forgotten early");
    sqlite.advance(LEASE + Duration::from_secs(1)).await;
    done(&sqlite, "new").await;
    let left = sqlite.rows();
    assert!(left < 42, "{left}");
    let guard = sqlite.guard.clone().unwrap();
    let swept = guard.sweep(sqlite.now()).await.unwrap();
    assert_eq!((swept, sqlite.rows()), (u64::from(left) - 2, 2));
    for kept in ["young", "new"] {
        assert_eq!(begin(&sqlite, kept).await, Begin::Done);
    }
}

#[tokio::test]
async fn processes_share_it() {
    let sqlite = Sqlite::start().await;
    let place = sqlite.path().to_str().unwrap().to_owned();
    child::two_processes_share("sqlite", &place, &*sqlite.guard()).await;
}

#[tokio::test]
async fn a_file_that_is_not_ours_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let text = directory.path().join("notes.txt");
    std::fs::write(&text, "not a database, and long enough to be one: ".repeat(100)).unwrap();
    let foreign = directory.path().join("foreign.db");
    let database = rusqlite::Connection::open(&foreign).unwrap();
    database.execute_batch("CREATE TABLE theirs (a)").unwrap();
    drop(database);
    for path in [text, foreign, directory.path().join("no/such/directory/replay.db")] {
        let before = std::fs::read(&path).ok();
        assert_eq!(SqliteGuard::open(&path).unwrap_err().code(), "replay.store", "{path:?}");
        if before.as_ref().is_some_and(|before| before.starts_with(b"not")) {
            assert_eq!(std::fs::read(&path).ok(), before);
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn only_the_owner_can_read_the_files() {
    use std::os::unix::fs::PermissionsExt;
    let sqlite = Sqlite::start().await;
    done(&sqlite, "a").await;
    let files: Vec<_> = std::fs::read_dir(sqlite.directory.path()).unwrap().map(Result::unwrap).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{file:?}");
    }
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_our_own_trouble() {
    let sqlite = Sqlite::start().await;
    let breaker = rusqlite::Connection::open(sqlite.path()).unwrap();
    breaker.execute_batch("DROP TABLE replay").unwrap();
    let refused = sqlite.guard().begin(&key("a"), sqlite.now(), LEASE).await;
    assert!(matches!(refused, Err(GuardError::Store(_))), "{refused:?}");
}
