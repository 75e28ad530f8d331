//! The guard in Redis, against a real server. Time passes there by bringing every expiry nearer, which is all that
//! the guard knows of time.

use std::{sync::Arc, time::Duration};

use waxseal_keys::{Clock, SystemClock, Timestamp};
use waxseal_receiver::{Begin, GuardError, RedisGuard, ReplayGuard, Settled};

use crate::{
    child,
    redis_server::RedisServer,
    suite::{LEASE, RETENTION, Subject, begin, commit, conformance, done, in_progress, key, new},
};

struct Redis {
    guard: Arc<RedisGuard>,
    server: RedisServer,
}

impl Redis {
    async fn start() -> Self {
        let server = RedisServer::start().await;
        let guard = RedisGuard::connect(&server.url(), "shared").await.unwrap().retention(RETENTION);
        Self { guard: Arc::new(guard), server }
    }

    async fn keys(&self) -> u64 {
        self.server.command(&["DBSIZE"]).await.unwrap()
    }
}

impl Subject for Redis {
    fn guard(&self) -> Arc<dyn ReplayGuard> {
        self.guard.clone()
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    async fn advance(&self, by: Duration) {
        self.server.advance(by).await;
    }
}

conformance!(Redis::start());

#[tokio::test]
async fn only_the_clock_of_the_server_counts() {
    let redis = Redis::start().await;
    let (early, late) = (Timestamp::from_seconds(0), Timestamp::from_seconds(100_000_000_000));
    let begin = |now| {
        let guard = redis.guard.clone();
        async move { guard.begin(&key("a"), now, LEASE).await.unwrap() }
    };
    let Begin::New(fence) = begin(early).await else { panic!("it is new") };
    assert!(matches!(begin(late).await, Begin::InProgress { .. }));
    assert_eq!(redis.guard.renew(&key("a"), fence, early, LEASE).await.unwrap(), Settled::Applied);
    assert!(matches!(begin(late).await, Begin::InProgress { .. }));
    assert_eq!(redis.guard.commit(&key("a"), fence, early).await.unwrap(), Settled::Applied);
    assert_eq!(begin(late).await, Begin::Done);
    redis.advance(RETENTION).await;
    assert!(matches!(begin(early).await, Begin::New(_)));
}

#[tokio::test]
async fn a_lease_of_a_second_ends_by_the_clock_of_the_server() {
    let redis = Redis::start().await;
    let lease = Duration::from_secs(1);
    let begin = || async { redis.guard.begin(&key("a"), redis.now(), lease).await.unwrap() };
    assert!(matches!(begin().await, Begin::New(_)));
    assert!(matches!(begin().await, Begin::InProgress { .. }));
    let freed = async {
        while !matches!(begin().await, Begin::New(_)) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), freed).await.unwrap();
}

#[tokio::test]
async fn a_server_that_was_killed_forgets_nothing_and_is_found_again() {
    let mut redis = Redis::start().await;
    done(&redis, "done").await;
    let abandoned = new(&redis, "abandoned").await;
    let surviving = new(&redis, "surviving").await;
    redis.server.kill();
    let away = redis.guard.begin(&key("done"), redis.now(), LEASE).await;
    assert!(matches!(away, Err(GuardError::Store(_))), "{away:?}");
    redis.server.resume().await;
    let back = async {
        while redis.guard.begin(&key("done"), redis.now(), LEASE).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), back).await.unwrap();
    assert_eq!(begin(&redis, "done").await, Begin::Done);
    in_progress(&redis, "abandoned").await;
    assert_eq!(commit(&redis, "surviving", surviving).await, Settled::Applied);
    redis.advance(LEASE).await;
    assert_ne!(new(&redis, "abandoned").await, abandoned);
    assert_eq!(commit(&redis, "abandoned", abandoned).await, Settled::Stale);
}

#[tokio::test]
async fn nothing_stays_for_ever() {
    let redis = Redis::start().await;
    done(&redis, "done").await;
    new(&redis, "abandoned").await;
    assert_eq!(redis.keys().await, 3);
    redis.advance(RETENTION + LEASE).await;
    assert_eq!(redis.keys().await, 0);
}

#[tokio::test]
async fn processes_share_it() {
    let redis = Redis::start().await;
    child::two_processes_share("redis", &redis.server.url(), &*redis.guard()).await;
}

#[tokio::test]
async fn a_server_that_is_full_is_our_own_trouble() {
    let redis = Redis::start().await;
    redis.server.command::<String>(&["CONFIG", "SET", "maxmemory", "1"]).await.unwrap();
    let refused = redis.guard.begin(&key("a"), redis.now(), LEASE).await;
    assert!(matches!(refused, Err(GuardError::Store(_))), "{refused:?}");
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_told_at_once_and_no_password_is_shown() {
    let nowhere = RedisGuard::connect("redis+unix:///nonexistent/redis.sock?pass=hush", "shared").await;
    let refused = nowhere.unwrap_err();
    assert_eq!(refused.code(), "replay.store");
    assert!(!format!("{refused} {refused:?}").contains("hush"), "{refused:?}");
    let redis = Redis::start().await;
    assert!(!format!("{:?}", redis.guard).contains("redis.sock"));
}
