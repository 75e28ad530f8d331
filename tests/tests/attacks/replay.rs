//! A token again: at once, changed in what no signature covers, at another instance, after a restart, much later.
//!
//! Through the whole receiver with its guards, as the envelope alone knows nothing of what came before.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use waxseal_receiver::jwks::JwkSet;
use waxseal_receiver::{
    ManualClock, MemoryGuard, Outcome, Protection, Receiver, Reject, ReplayGuard, SqliteGuard, TrustedIssuer,
};

use crate::forge::{ES256, NOW, P256, Parts, claims, claims_with, header, sign, signed};
use crate::signature::malleated;

fn receiver(clock: &Arc<ManualClock>, guard: Arc<dyn ReplayGuard>) -> Receiver {
    let keys = JwkSet::new(vec![ES256.public_jwk()]);
    Receiver::builder()
        .audience("acme")
        .scope("orders")
        .trust(TrustedIssuer::new("https://h.example", Protection::Either).pinned(keys))
        .decryption_key(P256.clone())
        .replay_guard(guard)
        .clock(Arc::<ManualClock>::clone(clock))
        .build()
        .unwrap()
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(NOW))
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Takes the event and has processed it.
async fn take(receiver: &Receiver, token: &str) {
    match receiver.receive(token.as_bytes()).await {
        Ok(Outcome::New { permit, .. }) => drop(permit.commit().await.unwrap()),
        other => panic!("{other:?}"),
    }
}

async fn is_done(receiver: &Receiver, token: &str) -> bool {
    matches!(receiver.receive(token.as_bytes()).await, Ok(Outcome::Done))
}

async fn code(receiver: &Receiver, token: &str) -> &'static str {
    receiver.receive(token.as_bytes()).await.expect_err("the token was accepted").code()
}

#[tokio::test]
async fn row_34_replay_while_the_event_is_processed_and_ever_after_within_the_window() {
    let clock = clock();
    let receiver = receiver(&clock, Arc::new(MemoryGuard::default()));
    let token = signed();
    let Ok(Outcome::New { permit, .. }) = receiver.receive(token.as_bytes()).await else { panic!() };
    assert!(matches!(receiver.receive(token.as_bytes()).await, Err(Reject::InProgress { .. })));
    permit.commit().await.unwrap();
    for second in [0, 1, 60, 299, 300] {
        clock.set(NOW.saturating_add(seconds(second)));
        assert!(is_done(&receiver, &token).await, "{second} s");
    }
}

#[tokio::test]
async fn row_34_replay_in_another_form() {
    // Whoever has the token can give it the other signature, or seal what is in it anew to the consumer's public key.
    let receiver = receiver(&clock(), Arc::new(MemoryGuard::default()));
    let token = signed();
    take(&receiver, &token).await;
    let sealed = Parts::new(&P256, &token).token();
    let again = Parts::new(&P256, &malleated(&token)).token();
    for form in [&malleated(&token), &sealed, &again] {
        assert!(is_done(&receiver, form).await, "{form}");
    }
    // The next attempt of the sender is another token, and the same event.
    let later = sign(&ES256, header(&ES256), claims_with("iat", json!(1_795_293_601)));
    assert!(is_done(&receiver, &later).await);
    let other = sign(&ES256, header(&ES256), claims_with("jti", json!("evt_2")));
    take(&receiver, &other).await;
}

#[tokio::test]
async fn row_34_replay_after_the_window_and_ahead_of_it() {
    // Whatever the guard has forgotten: time alone refuses it.
    let clock = clock();
    let token = signed();
    let forgetful = || receiver(&clock, Arc::new(MemoryGuard::new(10, seconds(1))));
    take(&forgetful(), &token).await;
    for second in [301, 3_600, 86_400 * 365] {
        clock.set(NOW.saturating_add(seconds(second)));
        assert_eq!(code(&forgetful(), &token).await, "open.stale", "{second} s");
    }
    clock.set(NOW.saturating_sub(seconds(61)));
    assert_eq!(code(&forgetful(), &token).await, "open.future");
}

#[tokio::test]
async fn row_34_replay_at_another_instance_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let open = |path: &Path| Arc::new(SqliteGuard::open(path).unwrap());
    let (clock, path) = (clock(), folder.path().join("replay.db"));
    let token = signed();
    let (one, two) = (receiver(&clock, open(&path)), receiver(&clock, open(&path)));
    let Ok(Outcome::New { permit, .. }) = one.receive(token.as_bytes()).await else { panic!() };
    assert!(matches!(two.receive(token.as_bytes()).await, Err(Reject::InProgress { .. })));
    permit.commit().await.unwrap();
    assert!(is_done(&two, &token).await);
    drop((one, two));
    assert!(is_done(&receiver(&clock, open(&path)), &token).await);
}

#[tokio::test]
async fn row_34_a_flood_of_events_does_not_make_the_guard_forget_what_may_be_replayed() {
    let clock = clock();
    let receiver = receiver(&clock, Arc::new(MemoryGuard::new(2, seconds(86_400))));
    let event = |number: u32| {
        let mut claims = claims();
        claims["jti"] = json!(format!("evt_{number}"));
        sign(&ES256, header(&ES256), claims)
    };
    take(&receiver, &event(1)).await;
    take(&receiver, &event(2)).await;
    assert_eq!(code(&receiver, &event(3)).await, "replay.full", "refused for now, and nothing is forgotten");
    clock.set(NOW.saturating_add(seconds(300)));
    assert_eq!(code(&receiver, &event(3)).await, "replay.full");
    assert!(is_done(&receiver, &event(1)).await && is_done(&receiver, &event(2)).await);
}
