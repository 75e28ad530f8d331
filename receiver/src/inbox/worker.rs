//! [`Worker`]: gives what lies in the inbox to the handler, until it is processed or dead.
//!
//! Relies on the [store](super::store) for who may work on what. Guarantees that an attempt which is at work keeps its
//! lease, that one which cannot end is cancelled, and that an event which cannot be read or does not fit the
//! type is dead at once and in nobody's way.

use std::{fmt, fmt::Display, future::Future, sync::Arc, time::Duration};

use serde::de::DeserializeOwned;
use tokio::task::JoinSet;

use super::{
    Inbox, InboxError,
    store::{self, Claim, Claimed},
};
use crate::{Received, Reject, Settled, metric, process};

/// When a failed attempt is made again, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "partners write it down whole")]
pub struct RetryPolicy {
    /// How many attempts there are before an event is dead; at least one.
    pub attempts: u32,
    /// How long after the first failure the second attempt is. Each further wait is twice as long.
    pub first_wait: Duration,
    /// But never longer than this.
    pub longest_wait: Duration,
}

impl RetryPolicy {
    fn wait_after(&self, attempt: u32) -> Duration {
        let doublings = 2_u32.saturating_pow(attempt.saturating_sub(1));
        self.first_wait.saturating_mul(doublings).min(self.longest_wait)
    }
}

impl Default for RetryPolicy {
    /// 20 attempts, after 1 s, 2 s, 4 s, … and then every hour: somewhat less than ten hours together.
    fn default() -> Self {
        Self { attempts: 20, first_wait: Duration::from_secs(1), longest_wait: Duration::from_secs(3600) }
    }
}

/// Gives the events of an [`Inbox`] to a handler. It does nothing until [`run`](Self::run).
#[must_use = "a worker does nothing until run()"]
pub struct Worker<T, H> {
    inbox: Inbox<T>,
    handler: Arc<H>,
    concurrency: usize,
    retry: RetryPolicy,
    limit: Duration,
    lease: Duration,
}

impl<T> Inbox<T> {
    /// A worker for this inbox. Several may run at the same time, in several processes too.
    ///
    /// The handler's `Ok` deletes the event. Its `Err` or panic is a failed attempt, as is being too slow. The text of
    /// an `Err` goes to the log at debug level and nowhere else. [`Inbox`] has an example.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # let directory = tempfile::tempdir().unwrap();
    /// # let path = directory.path().join("inbox.db");
    /// use waxseal_receiver::{KeyEncryptionKey, Received, inbox::{Inbox, RetryPolicy}};
    ///
    /// let inbox = Inbox::<u64>::open(&path, "orders", &KeyEncryptionKey::generate()).unwrap();
    /// let worker = inbox
    ///     .worker(|received: Received<u64>| async move { Ok::<_, std::io::Error>(()) })
    ///     .concurrency(8)
    ///     .handler_timeout(Duration::from_secs(60))
    ///     .lease(Duration::from_secs(20))
    ///     .retry(RetryPolicy { attempts: 5, ..RetryPolicy::default() });
    /// ```
    pub fn worker<H, F, E>(&self, handler: H) -> Worker<T, H>
    where
        H: Fn(Received<T>) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Display + Send + 'static,
    {
        let (inbox, handler) = (self.clone(), Arc::new(handler));
        let retry = RetryPolicy::default();
        Worker { inbox, handler, concurrency: 1, retry, limit: HANDLER_TIMEOUT, lease: LEASE }
    }
}

impl<T, H> Worker<T, H> {
    /// How many events are at work at the same time; one by default, which keeps their order but for failed ones.
    /// See [`Inbox::worker`].
    pub fn concurrency(self, events: usize) -> Self {
        Self { concurrency: events.max(1), ..self }
    }

    /// How long a handler may take, 5 minutes by default. It is cancelled at its next `.await` soon after, which is a
    /// failed attempt. See [`Inbox::worker`].
    pub fn handler_timeout(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// How long an attempt is safe from other workers without a sign of life, 60 s by default: after a crash, this
    /// long passes until what was at work begins again. See [`Inbox::worker`].
    pub fn lease(self, lease: Duration) -> Self {
        Self { lease: lease.max(MIN_LEASE), ..self }
    }

    /// When failed attempts are made again. See [`Inbox::worker`].
    pub fn retry(self, policy: RetryPolicy) -> Self {
        Self { retry: policy, ..self }
    }
}

impl<T, H, F, E> Worker<T, H>
where
    T: DeserializeOwned + Send + 'static,
    H: Fn(Received<T>) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), E>> + Send + 'static,
    E: Display + Send + 'static,
{
    /// Works until `shutdown` ends, then finishes what it has begun. If this future is dropped instead, what it has
    /// begun is begun again when its lease has run out. See [`Inbox`] for an example.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut at_work = JoinSet::new();
        loop {
            let wait = match self.fill(&mut at_work).await {
                Ok(wait) => wait,
                Err(error) => {
                    tracing::warn!(code = error.code(), "nothing taken from the inbox: {error}");
                    POLL
                }
            };
            tokio::select! {
                () = &mut shutdown => break,
                Some(_) = at_work.join_next() => {}
                () = self.inbox.arrived.notified() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
        while at_work.join_next().await.is_some() {}
    }

    /// Begins as many attempts as there is room for, and says when to look again.
    async fn fill(&self, at_work: &mut JoinSet<()>) -> Result<Duration, InboxError> {
        while at_work.len() < self.concurrency {
            let lease = self.lease;
            let (scope, most, now) =
                (self.inbox.scope.clone(), self.retry.attempts.max(1), self.inbox.clock.now());
            match self.inbox.act(move |step| store::claim(step, &scope, most, now, lease)).await? {
                Claim::Event(claimed) => {
                    at_work.spawn(self.attempt(claimed));
                }
                Claim::Later(Some(due)) => return Ok(due.duration_since(now).min(POLL)),
                Claim::Later(None) => break,
            }
        }
        Ok(POLL)
    }

    fn attempt(&self, claimed: Claimed) -> impl Future<Output = ()> + Send + use<T, H, F, E> {
        let (inbox, handler) = (self.inbox.clone(), self.handler.clone());
        let (retry, limit, lease) = (self.retry, self.limit, self.lease);
        async move {
            let Claimed { number, fence, attempts, event } = claimed;
            let ended = match inbox.at_rest.read(&inbox.scope, number, &event).map(Received::<T>::new) {
                Some(Ok(received)) => {
                    let renew = || async { drop(inbox.renew(number, fence, lease).await) };
                    process::run(handle(handler, received), lease, limit, renew)
                        .await
                        .map_err(Failure::Attempt)
                }
                Some(Err(misfit)) => Err(Failure::Hopeless(misfit.code())),
                None => Err(Failure::Hopeless(UNREADABLE)),
            };
            let settled = match ended {
                Ok(()) => inbox.done(number, fence).await,
                Err(failure) => inbox.failed(number, fence, &failure, retry.next(attempts)).await,
            };
            match settled {
                Ok(Settled::Applied) => {}
                Ok(Settled::Stale) => {
                    tracing::warn!(number, "the lease ran out before the attempt had ended")
                }
                Err(error) => tracing::warn!(code = error.code(), number, "attempt not settled: {error}"),
            }
        }
    }
}

impl RetryPolicy {
    /// The wait before the next attempt, if there is one.
    fn next(&self, attempts: u32) -> Option<Duration> {
        (attempts < self.attempts).then(|| self.wait_after(attempts))
    }
}

impl<T> Inbox<T> {
    async fn renew(&self, number: i64, fence: i64, lease: Duration) -> Result<Settled, InboxError> {
        let until = self.clock.now().saturating_add(lease);
        self.act(move |step| store::renew(step, number, fence, until)).await
    }

    async fn done(&self, number: i64, fence: i64) -> Result<Settled, InboxError> {
        let settled = self.act(move |step| store::remove(step, number, fence)).await?;
        if settled == Settled::Applied {
            metric::inbox("processed");
        }
        Ok(settled)
    }

    async fn failed(
        &self,
        number: i64,
        fence: i64,
        failure: &Failure,
        wait: Option<Duration>,
    ) -> Result<Settled, InboxError> {
        let now = self.clock.now();
        let (code, wait) = match failure {
            Failure::Attempt(reject) => (reject.code(), wait),
            Failure::Hopeless(code) => (*code, None),
        };
        metric::inbox(if wait.is_some() { "failed" } else { "dead" });
        tracing::warn!(code, number, dead = wait.is_none(), "event from the inbox not processed");
        let again = wait.map(|wait| now.saturating_add(wait));
        self.act(move |step| store::fail(step, number, fence, code, again, now)).await
    }
}

impl<T, H> fmt::Debug for Worker<T, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("inbox", &self.inbox)
            .field("retry", &self.retry)
            .finish_non_exhaustive()
    }
}

/// Why an event was not processed.
enum Failure {
    /// The next attempt may do better.
    Attempt(Reject),
    /// None will.
    Hopeless(&'static str),
}

async fn handle<T, H, F, E>(handler: Arc<H>, received: Received<T>) -> Result<(), Reject>
where
    H: Fn(Received<T>) -> F,
    F: Future<Output = Result<(), E>>,
    E: Display,
{
    handler(received).await.map_err(|error| {
        tracing::debug!(code = Reject::HandlerFailed.code(), "{error}");
        Reject::HandlerFailed
    })
}

/// How long an attempt is safe from others without a sign of life. It is renewed three times as often.
const LEASE: Duration = Duration::from_secs(60);

/// Shorter ones would be lost to a slow disk.
const MIN_LEASE: Duration = Duration::from_secs(1);

/// Work that takes longer belongs into a queue of its own.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(300);

/// How often to look for what other processes put into the inbox.
const POLL: Duration = Duration::from_secs(1);

/// The row cannot be decrypted, or is not an event.
const UNREADABLE: &str = "inbox.unreadable";
