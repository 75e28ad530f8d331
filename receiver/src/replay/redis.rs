//! [`RedisGuard`]: the replay guard that processes on many machines share.
//!
//! Two keys for each event: `…:event` says who had the last lease, or that it is done; `…:lease` exists while
//! that lease lasts. Both end by expiry, so only the server's clock counts: callers' clocks may be
//! as wrong as they like. Every call is one script, which the server runs alone, so each is atomic.
//!
//! Relies on the server keeping what it acknowledged: run it with `appendonly yes` and, where an acknowledged event
//! must never run again, with `appendfsync always`, and with `maxmemory-policy noeviction`. Replicas follow
//! later: a fail-over can forget the last moments. Guarantees that a fence is random, so that not even a
//! server that lost its memory gives an old holder's fence to a new one.

use std::{fmt, sync::LazyLock, time::Duration};

use aws_lc_rs::rand;
use redis::{
    Client, FromRedisValue, Script, ScriptInvocation,
    aio::{ConnectionManager, ConnectionManagerConfig},
};
use waxseal_keys::Timestamp;

use super::{Begin, Fence, GuardError, GuardFuture, RETENTION, ReplayGuard, ReplayKey, Settled, retry_after};

/// A [`ReplayGuard`] in Redis, or in anything that speaks its protocol and runs its scripts.
#[derive(Clone)]
pub struct RedisGuard {
    connection: ConnectionManager,
    prefix: String,
    retention: Duration,
}

impl RedisGuard {
    /// Connects to a server: `redis://user:password@host:6379/0` or `redis+unix:///run/redis.sock`. For `rediss://`,
    /// turn on `tokio-rustls-comp` of the crate `redis` in your own manifest. What is done is remembered for 7 days.
    /// A connection that is lost later is made anew; until then events are answered `503`.
    ///
    /// All keys begin with `prefix`, which must be shared by those who share events and by nobody else.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::sync::Arc;
    /// use waxseal_receiver::{Protection, Receiver, RedisGuard};
    ///
    /// let guard = RedisGuard::connect("redis://127.0.0.1/", "waxseal").await?;
    /// let builder = Receiver::builder().audience("acme").scope("orders").replay_guard(Arc::new(guard));
    /// let receiver = builder.issuer("https://hooks.example.com", Protection::Signed).build()?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn connect(url: &str, prefix: impl Into<String>) -> Result<Self, GuardError> {
        let client = Client::open(url).map_err(store)?;
        let config = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(PATIENCE))
            .set_response_timeout(Some(PATIENCE))
            .set_number_of_retries(1);
        let mut connection = ConnectionManager::new_with_config(client, config).await.map_err(store)?;
        warn_of_eviction(&mut connection).await;
        Ok(Self { connection, prefix: prefix.into(), retention: RETENTION })
    }

    /// Remembers what is done for `retention`: at least as long as the sender repeats an event, and a day more.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), waxseal_receiver::GuardError> {
    /// # use std::time::Duration;
    /// use waxseal_receiver::RedisGuard;
    ///
    /// let guard = RedisGuard::connect("redis://127.0.0.1/", "waxseal").await?;
    /// let guard = guard.retention(Duration::from_secs(3 * 86_400));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn retention(self, retention: Duration) -> Self {
        Self { retention, ..self }
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, GuardError> {
        call.invoke_async(&mut self.connection.clone()).await.map_err(store)
    }

    async fn settle(&self, call: &ScriptInvocation<'_>) -> Result<Settled, GuardError> {
        Ok(if self.run::<bool>(call).await? { Settled::Applied } else { Settled::Stale })
    }

    /// The event's keys stand between the same braces, so that a cluster keeps them in one place.
    fn call<'a>(&self, script: &'a Script, key: &ReplayKey) -> ScriptInvocation<'a> {
        let ReplayKey { issuer, audience, scope, id } = key;
        // As JSON, so that no two sequences of parts look alike.
        let parts = serde_json::json!([scope, issuer.as_str(), audience.as_str(), id.as_str()]);
        let mut call = script.prepare_invoke();
        call.key(format!("{}:{{{parts}}}:event", self.prefix));
        call.key(format!("{}:{{{parts}}}:lease", self.prefix));
        call
    }

    /// An abandoned lease is forgotten like a done event. Until then its holder may still commit.
    fn forget_after(&self, lease: Duration) -> u64 {
        millis(self.retention.saturating_add(lease))
    }
}

impl ReplayGuard for RedisGuard {
    /// The server's time is what counts, not `now`.
    fn begin<'a>(&'a self, key: &'a ReplayKey, _now: Timestamp, lease: Duration) -> GuardFuture<'a, Begin> {
        Box::pin(async move {
            let fence = fence()?;
            let mut call = self.call(&BEGIN, key);
            call.arg(fence.get()).arg(millis(lease)).arg(self.forget_after(lease));
            let (state, left): (String, u64) = self.run(&call).await?;
            Ok(match state.as_str() {
                "new" => Begin::New(fence),
                "done" => Begin::Done,
                _ => Begin::InProgress { retry_after: retry_after(Duration::from_millis(left)) },
            })
        })
    }

    fn renew<'a>(
        &'a self,
        key: &'a ReplayKey,
        fence: Fence,
        _now: Timestamp,
        lease: Duration,
    ) -> GuardFuture<'a, Settled> {
        Box::pin(async move {
            let mut call = self.call(&RENEW, key);
            call.arg(fence.get()).arg(millis(lease)).arg(self.forget_after(lease));
            self.settle(&call).await
        })
    }

    fn commit<'a>(&'a self, key: &'a ReplayKey, fence: Fence, _now: Timestamp) -> GuardFuture<'a, Settled> {
        Box::pin(async move {
            let mut call = self.call(&COMMIT, key);
            call.arg(fence.get()).arg(millis(self.retention));
            self.settle(&call).await
        })
    }

    fn abort<'a>(&'a self, key: &'a ReplayKey, fence: Fence) -> GuardFuture<'a, Settled> {
        Box::pin(async move {
            let mut call = self.call(&ABORT, key);
            call.arg(fence.get());
            self.settle(&call).await
        })
    }
}

impl fmt::Debug for RedisGuard {
    /// Not the connection: its address may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisGuard").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// A server that drops keys for lack of memory forgets what was done. Whoever may not ask is not warned.
async fn warn_of_eviction(connection: &mut ConnectionManager) {
    let memory = redis::cmd("INFO").arg("memory").query_async::<String>(connection).await.unwrap_or_default();
    let policy = memory.lines().find_map(|line| line.strip_prefix("maxmemory_policy:"));
    if policy.is_some_and(|policy| policy != "noeviction") {
        tracing::warn!(policy, "this Redis may drop replay entries for lack of memory: set noeviction");
    }
}

fn fence() -> Result<Fence, GuardError> {
    let mut octets = [0; 8];
    rand::fill(&mut octets).map_err(|_| GuardError::Store("no randomness for a fence".into()))?;
    Ok(Fence::new(u64::from_be_bytes(octets)))
}

/// At least one: an expiry of nothing is an error to the server.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX).clamp(1, MAX_MILLIS)
}

/// The words of an error are the server's, and may quote its address: they are for the log alone.
fn store(error: redis::RedisError) -> GuardError {
    GuardError::Store(Box::new(error))
}

/// ARGV: fence, length of the lease, when to forget it.
static BEGIN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) == 'done' then return {'done', 0} end
         local left = redis.call('PTTL', KEYS[2])
         if left >= 0 then return {'in progress', left} end
         redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[3])
         redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
         return {'new', 0}",
    )
});

/// ARGV: fence, length of the lease, when to forget it.
static RENEW: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
         redis.call('PEXPIRE', KEYS[1], ARGV[3])
         return 1",
    )
});

/// ARGV: fence, how long to remember.
static COMMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
         redis.call('DEL', KEYS[2])
         return 1",
    )
});

/// ARGV: fence.
static ABORT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
         redis.call('DEL', KEYS[1], KEYS[2])
         return 1",
    )
});

/// How long the server may take to be reached, and to answer. Senders wait longer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Thousands of years, and far from what the server's arithmetic cannot hold.
const MAX_MILLIS: u64 = 1 << 47;
