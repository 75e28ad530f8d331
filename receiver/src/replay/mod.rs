//! The replay guard: what makes a handler run once for an event that arrives many times.
//!
//! States of an event, by [`ReplayKey`]: unknown, leased (somebody processes it), done.
//!
//! ```text
//!            begin -> New(fence)              commit(fence)
//!   unknown ────────────────────► leased ───────────────────► done ──(retention)──► unknown
//!      ▲                            │  begin -> InProgress      begin -> Done
//!      └── abort(fence), lease out ─┘
//! ```
//!
//! Who holds the lease has the authority, and proves it by the fence of its `begin`. A holder that dies
//! loses the lease by time; whoever takes the event over gets another fence, and the old one can no longer
//! commit or abort anything. A guard that several processes share must decide each call atomically.
//!
//! Relies on `now` being passed in. Guarantees nothing by itself: implementations do.
//!
//! | guard | survives | shared by | whose clock |
//! | --- | --- | --- | --- |
//! | `MemoryGuard` | nothing | one process | the caller's |
//! | `SqliteGuard` (feature `sqlite`) | a crash, and a loss of power once committed | processes of one machine | the caller's |
//! | `RedisGuard` (feature `redis`) | what the server's persistence keeps | processes anywhere | the server's |
//!
//! One suite, in `tests/guards`, judges all of them.

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use waxseal_envelope::{Audience, EventId, Issuer};
use waxseal_keys::Timestamp;

mod memory;
#[cfg(feature = "redis")]
mod redis;
#[cfg(feature = "sqlite")]
mod sqlite;

pub use memory::MemoryGuard;
#[cfg(feature = "redis")]
pub use redis::RedisGuard;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteGuard;
#[cfg(feature = "inbox")]
pub(crate) use sqlite::{entry, finish};

/// Remembers which events are being processed and which were.
pub trait ReplayGuard: Debug + Send + Sync {
    /// Asks for the event: leased to the caller for `lease`, or taken by somebody else, or done.
    fn begin<'a>(&'a self, key: &'a ReplayKey, now: Timestamp, lease: Duration) -> GuardFuture<'a, Begin>;

    /// Prolongs the lease to `lease` from `now`, for a handler that is still at work.
    fn renew<'a>(
        &'a self,
        key: &'a ReplayKey,
        fence: Fence,
        now: Timestamp,
        lease: Duration,
    ) -> GuardFuture<'a, Settled>;

    /// The event is processed: from now on it is done.
    fn commit<'a>(&'a self, key: &'a ReplayKey, fence: Fence, now: Timestamp) -> GuardFuture<'a, Settled>;

    /// The event was not processed: the next `begin` may have it.
    fn abort<'a>(&'a self, key: &'a ReplayKey, fence: Fence) -> GuardFuture<'a, Settled>;
}

/// The pending answer of a [`ReplayGuard`].
pub type GuardFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, GuardError>> + Send + 'a>>;

/// What makes two tokens the same event.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(clippy::exhaustive_structs, reason = "the four parts are the protocol's")]
pub struct ReplayKey {
    /// `iss`: who says it.
    pub issuer: Issuer,
    /// `aud`: to whom.
    pub audience: Audience,
    /// Which of the receiver's endpoints or handlers: two that share a store do not swallow each other's events.
    pub scope: String,
    /// `jti`: the event.
    pub id: EventId,
}

/// Proof of a lease: a number that no other lease of the same event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(u64);

impl Fence {
    /// For implementations of [`ReplayGuard`].
    ///
    /// ```
    /// assert_eq!(waxseal_receiver::Fence::new(7).get(), 7);
    /// ```
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number, for implementations of [`ReplayGuard`].
    ///
    /// ```
    /// assert!(waxseal_receiver::Fence::new(7).get() < 8);
    /// ```
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// The answer to [`ReplayGuard::begin`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "the three answers are the protocol's")]
pub enum Begin {
    /// The event is the caller's, until the lease runs out.
    New(Fence),
    /// Somebody processes it.
    InProgress {
        /// When asking again may be of use.
        retry_after: Duration,
    },
    /// It was processed.
    Done,
}

/// Whether a commit, an abort or a renewal took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "it did or it did not")]
pub enum Settled {
    /// It did.
    Applied,
    /// The fence is not that of the current lease: nothing was changed.
    Stale,
}

/// Why a guard cannot answer. The event is refused for now; nothing was processed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardError {
    /// Everything that the guard remembers is too young to be forgotten.
    #[error("the replay guard is full of events that it may not forget yet")]
    Full,
    /// The guard's store did not answer.
    #[error("the replay guard's store did not answer")]
    Store(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl GuardError {
    /// A stable name of the reason, for logs and metrics.
    ///
    /// ```
    /// assert_eq!(waxseal_receiver::GuardError::Full.code(), "replay.full");
    /// ```
    pub fn code(&self) -> &'static str {
        match self {
            Self::Full => "replay.full",
            Self::Store(_) => "replay.store",
        }
    }
}

/// When asking again for an event that is leased for `left` may be of use.
fn retry_after(left: Duration) -> Duration {
    left.clamp(MIN_RETRY, MAX_RETRY)
}

/// How long a done event is remembered if nothing else is said: the sender's retry horizon and more.
pub(crate) const RETENTION: Duration = Duration::from_secs(7 * 86_400);

/// A whole second is the least that `Retry-After` can say.
const MIN_RETRY: Duration = Duration::from_secs(1);

/// A handler is usually done long before its lease is.
const MAX_RETRY: Duration = Duration::from_secs(10);
