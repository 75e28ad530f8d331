//! The relay of the transactional outbox: carries what other services committed in their own databases to the sender.
//!
//! ```text
//!   your transaction ──► waxseal_outbox.outbox ──► take ──► POST /v1/events/batch ──► settle, commit
//!   (outbox.sql)                                   rows::   post::                    rows::
//!                                                  SKIP LOCKED, one transaction around all three
//! ```
//!
//! Relies on the sender to know a repetition by the event's id for a day, and on the database to give a row to one relay
//! at a time. Guarantees that a row leaves the outbox only when the sender has its event on disk or refuses it for good;
//! that it does not matter how many relays there are, nor when one dies; that no row holds up another, since those that
//! cannot be carried now wait apart; and that a transaction is open no longer than a call may take.

mod observe;
mod pace;
mod post;
mod rows;
mod verdict;

use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_postgres::Client;

pub use self::pace::{LARGEST_BATCH, batch_size};
use self::pace::{Pace, SLOW_LOOK};
pub use self::post::Events;
use self::rows::{Backlog, Batch};
use self::verdict::Fate;
pub use self::verdict::{Refusal, RefusedCall};
use crate::clock_watch::this_instant;
use crate::database::Database;

/// What users install in their own database.
pub const INSTALL: &str = include_str!("outbox.sql");
/// What takes it away again.
pub const UNINSTALL: &str = include_str!("uninstall.sql");

/// Carries rows from one outbox to one sender.
#[derive(Debug)]
pub struct Relay {
    database: Database,
    events: Events,
    every: Duration,
    pace: Pace,
    carried: Carried,
    measured: Option<Instant>,
}

/// What became of rows.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Carried {
    /// Accepted by the sender, now or when they were posted before.
    pub published: u64,
    /// Refused for good, and moved to `waxseal_outbox.refused`.
    pub refused: u64,
    /// Not now.
    pub put_off: u64,
}

/// Why nothing could be carried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelayError {
    /// The database has no outbox, or one that this program does not know.
    #[error("{0}")]
    NotInstalled(String),
    /// The database is not to be had, or does not do what it is asked.
    #[error("the database: {0}")]
    Database(String),
    /// The sender is not to be had, or does not do what it is asked.
    #[error("the sender: {0}")]
    Sender(RefusedCall),
}

impl RelayError {
    /// A stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotInstalled(_) => "relay.not_installed",
            Self::Database(_) => "relay.database",
            Self::Sender(call) => call.code(),
        }
    }
}

impl Relay {
    /// A relay that looks for new rows this often when there were none, and carries at most so many at once.
    pub fn new(database: Database, events: Events, every: Duration, batch: u32) -> Self {
        Self { database, events, every, pace: Pace::new(batch), carried: Carried::default(), measured: None }
    }

    /// Carries until `stop` completes. A batch that was begun is finished.
    ///
    /// # Errors
    /// If there is no outbox when it starts. Everything else is waited for.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Carried, RelayError> {
        let mut stop = std::pin::pin!(stop);
        let mut connected = None;
        let mut known_good = false;
        loop {
            let wait = match self.turn(&mut connected).await {
                Ok(Turn::Carried | Turn::Again) => {
                    known_good = true;
                    Duration::ZERO
                }
                Ok(Turn::Nothing | Turn::Waits) => {
                    known_good = true;
                    self.every
                }
                Ok(Turn::NotNow) => self.pace.back_off(),
                Err(error @ RelayError::NotInstalled(_)) if !known_good => return Err(error),
                Err(error) => {
                    let wait = self.pace.back_off();
                    observe::failed(&error, wait);
                    wait
                }
            };
            let pause = tokio::time::sleep(wait);
            tokio::select! {
                biased;
                () = &mut stop => return Ok(self.carried),
                () = pause => {}
            }
        }
    }

    /// Carries all that can be carried now.
    ///
    /// # Errors
    /// If the database or the sender is not to be had.
    pub async fn drain(mut self) -> Result<Carried, RelayError> {
        let mut connected = None;
        loop {
            let size = self.pace.size();
            match self.turn(&mut connected).await {
                Ok(Turn::Carried | Turn::Again) => {}
                // It ends when all has been read, and not when that is due.
                Ok(Turn::Waits) => self.pace.read_anew(),
                Ok(Turn::Nothing | Turn::NotNow) => return Ok(self.carried),
                // The next, smaller batch may be understood, or be in time.
                Err(RelayError::Sender(call)) if call.is_of_batch() && size > 1 => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One batch, from its rows to its end, on a connection that is made first if there is none.
    async fn turn(&mut self, connected: &mut Option<Client>) -> Result<Turn, RelayError> {
        let mut client = match connected.take() {
            Some(client) if !client.is_closed() => client,
            Some(_) | None => rows::connect(&self.database).await?,
        };
        let turn = timeout(TURN, async {
            self.measure(&mut client).await;
            self.batch(&mut client).await
        });
        let turn = turn.await;
        let turn = turn.unwrap_or_else(|_| Err(RelayError::Database("no answer in time".to_owned())));
        // After trouble with the database nobody knows what the connection is good for. Dropped, its transaction ends.
        if !matches!(turn, Err(RelayError::Database(_))) {
            *connected = Some(client);
        }
        turn
    }

    async fn batch(&mut self, client: &mut Client) -> Result<Turn, RelayError> {
        let begun = this_instant();
        let from = self.pace.from(begun);
        let taken = Batch::take(client, from, self.pace.size()).await;
        let (now, took) = (this_instant(), begun.elapsed());
        if from == 0 && took >= SLOW_LOOK {
            observe::slow_look(took);
        }
        let batch = match taken {
            Ok(batch) => batch,
            Err(error) => {
                self.pace.failed(from, took, now);
                return Err(error);
            }
        };
        self.pace.read(from, batch.first(), took, now);
        if batch.is_empty() {
            batch.give_back().await?;
            return Ok(match (from, self.pace.from(now)) {
                (0, _) => Turn::Nothing,
                (_, 0) => Turn::Again,
                _ => Turn::Waits,
            });
        }
        let fates = match self.events.post(batch.requests()).await {
            Ok(fates) => fates,
            // What was refused as a whole is taken apart, down to the one event that is at fault.
            Err(RefusedCall::Batch(refusal)) if batch.len() == 1 => vec![Fate::Refused(refusal)],
            Err(call) => {
                if call.is_of_batch() {
                    self.pace.make_smaller(batch.len());
                }
                batch.give_back().await?;
                return Err(RelayError::Sender(call));
            }
        };
        let carried = batch.settle(&fates).await?;
        observe::count(&carried, begun.elapsed());
        self.carried.add(carried);
        if carried.published + carried.refused == 0 {
            return Ok(Turn::NotNow);
        }
        self.pace.went_well(begun.elapsed());
        Ok(Turn::Carried)
    }

    /// Looks now and then how the outbox does. Nothing waits for what this cannot say.
    async fn measure(&mut self, client: &mut Client) {
        let now = this_instant();
        if self.measured.is_some_and(|last| now.saturating_duration_since(last) < MEASURE_EVERY) {
            return;
        }
        self.measured = Some(now);
        match Backlog::measure(client, self.pace.first()).await {
            Ok(backlog) => observe::backlog(&backlog),
            Err(error) => tracing::warn!(%error, "the outbox cannot be measured"),
        }
    }
}

impl Carried {
    fn add(&mut self, other: Self) {
        self.published += other.published;
        self.refused += other.refused;
        self.put_off += other.put_off;
    }
}

/// How a turn went.
enum Turn {
    /// Rows left the outbox: there may be more.
    Carried,
    /// No row was there, from where it was read: there may be some before.
    Again,
    /// No row was there, from where it was read, and what lies before that is not due yet.
    Waits,
    /// No row was there.
    Nothing,
    /// The sender took none of them now.
    NotNow,
}

/// A call of two seconds, and statements that are quick where nothing is wrong. Longer, and the connection is given up.
const TURN: Duration = Duration::from_secs(12);

/// As often as metrics are asked for.
const MEASURE_EVERY: Duration = Duration::from_secs(10);
