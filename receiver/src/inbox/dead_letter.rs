//! [`DeadLetter`]: an event that was acknowledged and could not be processed, for an operator to decide.
//!
//! Relies on the [store](super::store). Guarantees that nothing dead is ever deleted but by [`Inbox::discard`].

use waxseal_envelope::Event;
use waxseal_keys::Timestamp;

use super::{Inbox, InboxError, store};
use crate::Settled;

/// An event whose attempts have all failed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeadLetter {
    /// Its number in the inbox.
    pub number: i64,
    /// The event; none if the row cannot be decrypted or read.
    pub event: Option<Event>,
    /// When it came.
    pub received_at: Timestamp,
    /// When the last attempt had failed.
    pub died_at: Timestamp,
    /// How many attempts began.
    pub attempts: u32,
    /// The code of the last failure: `receive.handler_failed`, `receive.handler_panicked`, `receive.handler_slow`,
    /// `receive.data` if it does not fit the type any more, `inbox.unreadable`, or `inbox.abandoned` if no
    /// attempt came to an end.
    pub reason: String,
}

/// How much lies in the inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backlog {
    /// Events that wait or are at work.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
}

impl<T> Inbox<T> {
    /// How much lies in the inbox, to watch.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// # use waxseal_receiver::{KeyEncryptionKey, inbox::Inbox};
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// assert_eq!(inbox.backlog().await.unwrap().dead, 0);
    /// # }
    /// ```
    pub async fn backlog(&self) -> Result<Backlog, InboxError> {
        let scope = self.scope.clone();
        let (waiting, dead) = self.act(move |step| store::count(step, &scope)).await?;
        Ok(Backlog { waiting, dead })
    }

    /// At most `limit` dead letters with a number above `after`, in the order in which they came.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// # use waxseal_receiver::{KeyEncryptionKey, inbox::Inbox};
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// for letter in inbox.dead_letters(0, 100).await.unwrap() {
    ///     println!("{}: {}", letter.number, letter.reason);
    /// }
    /// # }
    /// ```
    pub async fn dead_letters(&self, after: i64, limit: u32) -> Result<Vec<DeadLetter>, InboxError> {
        let scope = self.scope.clone();
        let rows = self.act(move |step| store::dead(step, &scope, after, limit)).await?;
        let letter = |row: store::Dead| DeadLetter {
            number: row.number,
            event: self.at_rest.read(&self.scope, row.number, &row.event),
            received_at: row.received_at,
            died_at: row.died_at,
            attempts: row.attempts,
            reason: row.reason,
        };
        Ok(rows.into_iter().map(letter).collect())
    }

    /// Gives a dead letter a full set of attempts, from now on. [`Settled::Stale`] if there is none of that number.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// # use waxseal_receiver::{KeyEncryptionKey, Settled, inbox::Inbox};
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// assert_eq!(inbox.retry(7).await.unwrap(), Settled::Stale);
    /// # }
    /// ```
    pub async fn retry(&self, number: i64) -> Result<Settled, InboxError> {
        Ok(store::settled(self.revive(Some(number)).await?))
    }

    /// The same for all dead letters: how many there were.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// # use waxseal_receiver::{KeyEncryptionKey, inbox::Inbox};
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// assert_eq!(inbox.retry_all().await.unwrap(), 0);
    /// # }
    /// ```
    pub async fn retry_all(&self) -> Result<usize, InboxError> {
        self.revive(None).await
    }

    /// Deletes a dead letter for good. [`Settled::Stale`] if there is none of that number.
    ///
    /// ```
    /// # #[tokio::main]
    /// # async fn main() {
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// # use waxseal_receiver::{KeyEncryptionKey, Settled, inbox::Inbox};
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// assert_eq!(inbox.discard(7).await.unwrap(), Settled::Stale);
    /// # }
    /// ```
    pub async fn discard(&self, number: i64) -> Result<Settled, InboxError> {
        let scope = self.scope.clone();
        self.act(move |step| store::discard(step, &scope, number)).await
    }

    async fn revive(&self, number: Option<i64>) -> Result<usize, InboxError> {
        let (scope, now) = (self.scope.clone(), self.clock.now());
        let revived = self.act(move |step| store::revive(step, &scope, number, now)).await?;
        if revived > 0 {
            self.arrived.notify_one();
        }
        Ok(revived)
    }
}
