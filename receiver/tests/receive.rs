//! From bytes to an outcome: what is taken, and which answer everything else gets.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{collections::HashMap, sync::Arc, time::Duration};

use waxseal_envelope::{Data, Event, jwe, jws};
use waxseal_keys::{DecryptionKey, ManualClock, SignatureAlgorithm, generate_signing_key};
use waxseal_receiver::{Answer, ErrorCode, Outcome, Protection, Received, Receiver, Reject, TrustedIssuer};

#[allow(dead_code, clippy::unwrap_used, reason = "each test binary uses its part")]
mod support;

use support::{NOW, Sender, decryption_key, event, public};

struct Setup {
    clock: Arc<ManualClock>,
    sender: Sender,
    key: DecryptionKey,
}

impl Setup {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(NOW));
        let sender = Sender::published(&clock).await;
        Self { clock, sender, key: decryption_key() }
    }

    /// A receiver named `acme` that fetches the sender's keys.
    fn receiver(&self, protection: Protection) -> Receiver {
        let builder =
            Receiver::builder().audience("acme").scope("orders").issuer(&self.sender.issuer, protection);
        builder.decryption_key(self.key.clone()).clock(self.clock.clone()).build().unwrap()
    }
}

async fn taken(receiver: &Receiver, body: &[u8]) -> Event {
    match receiver.receive(body).await {
        Ok(Outcome::New { event, permit }) => {
            permit.commit().await.unwrap();
            *event
        }
        other => panic!("{other:?}"),
    }
}

async fn refused(receiver: &Receiver, body: &[u8]) -> Reject {
    receiver.receive(body).await.unwrap_err()
}

fn error_code(reject: &Reject) -> ErrorCode {
    match reject.answer() {
        Answer::Refused { err, .. } => err,
        other => panic!("{reject:?} is answered {other:?}"),
    }
}

/// The same token with one character of its last segment changed, in a bit that counts.
fn tampered(mut token: Vec<u8>) -> Vec<u8> {
    let at = token.len() - 10;
    token[at] = if token[at] == b'A' { b'B' } else { b'A' };
    token
}

#[tokio::test]
async fn a_signed_event_comes_out_whole() {
    let setup = Setup::new().await;
    let sent = Event { txn: Some("order-991".to_owned()), ..setup.sender.event("acme", "evt_1") };
    let receiver = setup.receiver(Protection::Signed);
    assert_eq!(taken(&receiver, &setup.sender.token(&sent, None)).await, sent);
}

#[tokio::test]
async fn a_sealed_event_comes_out_whole() {
    let setup = Setup::new().await;
    let data = Data::binary("image/png", vec![0, 159, 146, 150]).unwrap();
    let sent = Event { data, ..setup.sender.event("acme", "evt_1") };
    let receiver = setup.receiver(Protection::Sealed);
    let token = setup.sender.token(&sent, Some(&public(&setup.key)));
    assert_eq!(taken(&receiver, &token).await, sent);
}

#[tokio::test]
async fn either_form_is_taken_where_both_are_allowed_and_counts_as_the_same_event() {
    let setup = Setup::new().await;
    let receiver = setup.receiver(Protection::Either);
    taken(&receiver, &setup.sender.signed("acme", "evt_1")).await;
    let again = receiver.receive(&setup.sender.sealed("acme", "evt_1", &setup.key)).await;
    assert!(matches!(again, Ok(Outcome::Done)));
}

#[tokio::test]
async fn every_fault_of_a_key_is_told_in_one_text() {
    let setup = Setup::new().await;
    let sender = &setup.sender;
    let stranger = Sender::at("https://stranger.example", setup.clock.clone());
    let impostor = Sender::at(&sender.issuer, setup.clock.clone());
    let forged = tampered(sender.signed("acme", "evt_1"));
    let either = [
        (sender.sealed("acme", "evt_1", &decryption_key()), "receive.unknown_recipient"),
        (tampered(sender.sealed("acme", "evt_1", &setup.key)), "open.decrypt"),
        (
            jwe::encrypt(&forged, Some("secevent+jwt"), Some("JWT"), &public(&setup.key))
                .unwrap()
                .into_bytes(),
            "open.signature",
        ),
        (forged, "open.signature"),
        (stranger.signed("acme", "evt_1"), "receive.unknown_issuer"),
        (stranger.sealed("acme", "evt_1", &setup.key), "receive.unknown_issuer"),
        (impostor.signed("acme", "evt_1"), "jwks.no_matching_key"),
    ];
    let mut faults = Vec::new();
    for (body, code) in either {
        // A new receiver each time, so that its keys may be fetched.
        faults.push((refused(&setup.receiver(Protection::Either), &body).await, code));
    }
    let readable = sender.signed("acme", "evt_1");
    faults.push((refused(&setup.receiver(Protection::Sealed), &readable).await, "receive.not_sealed"));
    let sealed = sender.sealed("acme", "evt_1", &setup.key);
    faults.push((refused(&setup.receiver(Protection::Signed), &sealed).await, "receive.sealed"));
    let told = faults[0].0.answer();
    for (reject, code) in &faults {
        assert_eq!(reject.code(), *code);
        assert_eq!(error_code(reject), ErrorCode::InvalidKey, "{code}");
        assert_eq!(reject.answer(), told, "{code}");
    }
}

#[tokio::test]
async fn what_is_malformed_or_of_another_time_is_an_invalid_request() {
    let setup = Setup::new().await;
    let (sender, receiver) = (&setup.sender, setup.receiver(Protection::Either));
    let order = sender.event("acme", "evt_1");
    let at = |back: i64| {
        sender.token_at(&order, None, waxseal_keys::Timestamp::from_seconds(NOW.as_seconds() - back))
    };
    let exp = format!(r#"{{"iss":"{}","exp":1}}"#, sender.issuer);
    let header = jws::JwsHeader { typ: Some("secevent+jwt"), cty: None };
    let not_sealed = jwe::encrypt(b"{}", Some("secevent+jwt"), Some("JWT"), &public(&setup.key)).unwrap();
    let cases = [
        (Vec::new(), "open.malformed"),
        (b"{}".to_vec(), "open.malformed"),
        (b"a.b.c".to_vec(), "open.malformed"),
        (at(301), "open.stale"),
        (at(-61), "open.future"),
        (jws::sign(exp.as_bytes(), &header, &sender.key).unwrap().into_bytes(), "open.claims"),
        (not_sealed.into_bytes(), "open.malformed"),
    ];
    for (body, code) in cases {
        let reject = refused(&receiver, &body).await;
        assert_eq!(reject.code(), code);
        assert_eq!(error_code(&reject), ErrorCode::InvalidRequest, "{code}");
    }
    taken(&receiver, &at(300)).await;
}

#[tokio::test]
async fn the_audience_is_judged_only_after_the_signature() {
    let setup = Setup::new().await;
    let receiver = setup.receiver(Protection::Either);
    let other = setup.sender.signed("globex", "evt_1");
    assert_eq!(error_code(&refused(&receiver, &other).await), ErrorCode::InvalidAudience);
    assert_eq!(error_code(&refused(&receiver, &tampered(other.clone())).await), ErrorCode::InvalidKey);
    // Somebody who was sent an event seals it again, for us.
    let forwarded = jwe::encrypt(&other, Some("secevent+jwt"), Some("JWT"), &public(&setup.key)).unwrap();
    let reject = refused(&receiver, forwarded.as_bytes()).await;
    assert_eq!(error_code(&reject), ErrorCode::InvalidAudience);
}

#[tokio::test]
async fn issuers_have_their_own_keys_rules_and_name_for_us() {
    let Setup { clock, sender: shop, key } = Setup::new().await;
    let bank = Sender::published(&clock).await;
    let receiver = Receiver::builder()
        .audience("acme")
        .scope("all")
        .issuer(&shop.issuer, Protection::Signed)
        .trust(TrustedIssuer::new(&bank.issuer, Protection::Sealed).audience("con_7"))
        .decryption_key(key.clone())
        .clock(clock.clone())
        .build()
        .unwrap();
    taken(&receiver, &shop.signed("acme", "evt_1")).await;
    taken(&receiver, &bank.sealed("con_7", "evt_1", &key)).await;
    let wrong_name = refused(&receiver, &bank.sealed("acme", "evt_2", &key)).await;
    assert_eq!(error_code(&wrong_name), ErrorCode::InvalidAudience);
    assert_eq!(refused(&receiver, &bank.signed("con_7", "evt_2")).await.code(), "receive.not_sealed");
    // The shop signs what the bank would say.
    let posing = Sender { issuer: bank.issuer.clone(), key: shop.key.clone(), clock: clock.clone() };
    clock.advance(Duration::from_secs(30));
    let reject = refused(&receiver, &posing.sealed("con_7", "evt_2", &key)).await;
    assert_eq!(reject.code(), "jwks.no_matching_key");
}

#[tokio::test]
async fn two_decryption_keys_work_at_once_and_are_published() {
    let Setup { clock, sender, key: old } = Setup::new().await;
    let new = decryption_key();
    let builder =
        Receiver::builder().audience("acme").scope("orders").issuer(&sender.issuer, Protection::Sealed);
    let receiver =
        builder.decryption_key(new.clone()).decryption_key(old.clone()).clock(clock).build().unwrap();
    taken(&receiver, &sender.sealed("acme", "evt_1", &old)).await;
    taken(&receiver, &sender.sealed("acme", "evt_2", &new)).await;
    let published = receiver.encryption_keys();
    assert_eq!(published.keys(), [new.public_jwk(), old.public_jwk()]);
    assert!(!published.to_json().contains(r#""d":"#));
}

#[tokio::test]
async fn verification_is_answered_each_time_and_under_the_same_rules() {
    let setup = Setup::new().await;
    let receiver = setup.receiver(Protection::Sealed);
    let question = setup.sender.verification("acme", "evt_1", "s-123");
    let sealed = setup.sender.token(&question, Some(&public(&setup.key)));
    for _ in 0..2 {
        let outcome = receiver.receive(&sealed).await;
        assert!(matches!(outcome, Ok(Outcome::Verification { state }) if state == "s-123"));
    }
    let readable = setup.sender.token(&question, None);
    assert_eq!(error_code(&refused(&receiver, &readable).await), ErrorCode::InvalidKey);
}

#[tokio::test]
async fn keys_that_cannot_be_had_are_our_own_trouble() {
    let setup = Setup::new().await;
    let receiver = setup.receiver(Protection::Either);
    taken(&receiver, &setup.sender.signed("acme", "evt_1")).await;
    let rotated = Sender::at(&setup.sender.issuer, setup.clock.clone());
    let held_off = refused(&receiver, &rotated.signed("acme", "evt_2")).await;
    assert_eq!(held_off.answer(), Answer::Unavailable { retry_after: Duration::from_secs(30) });

    let gone = Sender::at("http://127.0.0.1:1", setup.clock.clone());
    let builder =
        Receiver::builder().audience("acme").scope("orders").issuer(&gone.issuer, Protection::Signed);
    let receiver = builder.clock(setup.clock.clone()).build().unwrap();
    let unreachable = refused(&receiver, &gone.signed("acme", "evt_1")).await;
    assert_eq!(unreachable.code(), "jwks.unavailable");
    assert_eq!(unreachable.answer().status(), 503);
}

#[tokio::test]
async fn es384_is_taken_only_where_it_is_allowed() {
    let mut sender = Sender::at("https://hooks.example.com", Arc::new(ManualClock::new(NOW)));
    sender.key = generate_signing_key(SignatureAlgorithm::Es384).unwrap();
    let issuer = TrustedIssuer::new(&sender.issuer, Protection::Signed).pinned(sender.jwk_set());
    let receiver = |issuer| {
        let builder = Receiver::builder().audience("acme").scope("orders").trust(issuer);
        builder.clock(sender.clock.clone()).build().unwrap()
    };
    let token = sender.signed("acme", "evt_1");
    assert_eq!(error_code(&refused(&receiver(issuer.clone()), &token).await), ErrorCode::InvalidKey);
    taken(&receiver(issuer.allow_es384()), &token).await;
}

#[tokio::test]
async fn a_body_over_the_limit_is_not_looked_at() {
    let setup = Setup::new().await;
    let receiver = setup.receiver(Protection::Either);
    let over = refused(&receiver, &vec![b'a'; 256 * 1024 + 1]).await;
    assert_eq!(over.answer(), Answer::TooLarge);
    assert_eq!(refused(&receiver, &vec![b'a'; 256 * 1024]).await.code(), "open.malformed");
}

#[tokio::test]
async fn nothing_secret_is_in_debug_output_or_errors() {
    let setup = Setup::new().await;
    let receiver = setup.receiver(Protection::Sealed);
    let token = setup.sender.sealed("acme", "evt_1", &setup.key);
    let outcome = receiver.receive(&token).await.unwrap();
    let text = format!("{receiver:?} {outcome:?}");
    assert!(!text.contains("991") && !text.contains("12.50"), "{text}");
    let bad = tampered(token.clone());
    let reject = refused(&receiver, &bad).await;
    assert!(!format!("{reject:?} {reject}").contains(str::from_utf8(&bad[..40]).unwrap()));
}

#[test]
fn data_that_does_not_fit_is_not_quoted() {
    let event = event("https://hooks.example.com", "acme", "evt_1", r#"{"card":"4111111111111111"}"#);
    let reject = Received::<HashMap<String, u64>>::new(event).unwrap_err();
    let text = format!("{reject} {reject:?}");
    assert!(!text.contains("4111111111111111"), "{text}");
    assert!(text.contains("line 1, column 26"), "{text}");
}

#[test]
fn a_url_with_a_token_is_not_shown() {
    let issuer = TrustedIssuer::new("https://hooks.example.com", Protection::Signed)
        .jwks_url("https://keys.example.com/set.json?token=s3cret");
    let builder = Receiver::builder().trust(issuer.clone());
    let text = format!("{issuer:?} {builder:?}");
    assert!(text.contains("https://hooks.example.com") && !text.contains("s3cret"), "{text}");
}
