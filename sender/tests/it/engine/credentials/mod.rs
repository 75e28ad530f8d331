//! What endpoints are shown beside the token, on the wire; and tokens of authorization servers, as the clock goes.

mod echo;
mod refused;
mod waiting;
mod world;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::time::timeout;
use waxseal_sender::engine::hold::Hold;
use waxseal_sender::model::authentication::{
    ApiKey, Authentication, Basic, Bearer, ClientAuthentication, ClientCertificate,
};
use waxseal_sender::model::certificate::CertificateWithKey;
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::endpoint::Protection;
use waxseal_sender::model::secret::Secret;

use self::world::{Hearing, TokenServer, World, add_endpoint, serve, show};
use super::support::{noon, until};

#[tokio::test]
async fn an_endpoint_is_shown_what_it_asked_for_and_another_is_not() {
    let (mut ours, mut other) = (Hearing::start().await, Hearing::start().await);
    let shown = Authentication {
        api_key: Some(ApiKey { header: "x-api-key".to_owned(), value: Secret::new("k") }),
        basic: Some(Basic { username: "user".to_owned(), password: Secret::new("p:ä") }),
        headers: [("x-tenant".to_owned(), Secret::new("acme"))].into(),
        ..Authentication::default()
    };
    let world = World::new(&ours.url, shown).await;
    world.sender.endpoint("beta", &other.url, Protection::Signed).await;
    world.publish().await;
    let got = ours.next().await;
    assert_eq!(got["x-api-key"], "k");
    assert_eq!(got["x-tenant"], "acme");
    assert_eq!(got["authorization"], "Basic dXNlcjpwOsOk");
    assert_eq!(got["content-type"], "application/secevent+jwt");
    world.sender.publish(Some(&world.engine), "beta", "1").await;
    let got = other.next().await;
    for name in ["x-api-key", "x-tenant", "authorization"] {
        assert!(!got.contains_key(name), "{name}");
    }
    let bearer =
        Authentication { bearer: Some(Bearer { token: Secret::new("tok") }), ..Authentication::default() };
    show(&world.sender, world.endpoint, bearer).await;
    world.publish().await;
    let got = ours.next().await;
    assert_eq!(got["authorization"], "Bearer tok");
    assert!(!got.contains_key("x-api-key"), "what was taken back is not shown any more");
}

#[tokio::test]
async fn the_client_proves_itself_as_the_endpoint_says() {
    let (mut hearing, tokens) = (Hearing::start().await, TokenServer::start().await);
    let world = World::new(&hearing.url, tokens.client()).await;
    world.publish().await;
    assert_eq!(hearing.next_authorization().await, "Bearer t1");
    let secret = || Secret::new("s&c");
    let basic = tokens.client_by(ClientAuthentication::ClientSecretBasic { client_secret: secret() });
    show(&world.sender, world.endpoint, basic).await;
    world.publish().await;
    assert_eq!(hearing.next_authorization().await, "Bearer t2", "other settings, another token");
    show(
        &world.sender,
        world.endpoint,
        tokens.client_by(ClientAuthentication::PrivateKeyJwt { audience: None }),
    )
    .await;
    world.publish().await;
    assert_eq!(hearing.next_authorization().await, "Bearer t3");

    let seen = tokens.state.seen.lock().unwrap().clone();
    let common = "grant_type=client_credentials&scope=a+b&audience=https%3A%2F%2Fapi.example";
    assert_eq!(seen[0], (None, format!("{common}&client_id=us&client_secret=s%26c")));
    assert_eq!(seen[1], (Some("Basic dXM6cyUyNmM=".to_owned()), common.to_owned()));
    let (authorization, form) = &seen[2];
    let assertion = form.split("client_assertion=").nth(1).unwrap();
    let kind = "client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
    assert!(authorization.is_none() && form.contains(kind) && !form.contains("secret"), "{form}");
    let key = world.sender.parts.signing_keys.active().unwrap().verifying_key();
    let claims = waxseal_envelope::jws::verify(assertion.as_bytes(), &key).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(
        (&claims["iss"], &claims["sub"], &claims["aud"]),
        (&"us".into(), &"us".into(), &tokens.url.as_str().into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_fetched_once_and_renewed_shortly_before_its_end() {
    let (mut hearing, tokens) = (Hearing::start().await, TokenServer::start().await);
    let world = World::new(&hearing.url, tokens.client()).await;
    for _ in 0..8 {
        world.publish().await;
    }
    for _ in 0..8 {
        assert_eq!(hearing.next_authorization().await, "Bearer t1");
    }
    assert_eq!(tokens.asked(), 1, "those who come meanwhile wait for the one who asks");
    world.pass(Duration::from_secs(3_600 - 61));
    world.publish().await;
    assert_eq!(hearing.next_authorization().await, "Bearer t1");
    world.pass(Duration::from_secs(2));
    // Whoever comes while it is renewed is served with the old one.
    until(async || {
        world.publish().await;
        (hearing.next_authorization().await == "Bearer t2").then_some(())
    })
    .await;
    assert_eq!(tokens.asked(), 2);
}

#[tokio::test]
async fn a_renewal_that_fails_leaves_the_token_in_use_to_its_end() {
    let (mut hearing, tokens) = (Hearing::start().await, TokenServer::start().await);
    let world = World::new(&hearing.url, tokens.client()).await;
    world.publish().await;
    assert_eq!(hearing.next_authorization().await, "Bearer t1");
    tokens.answer(503);
    world.pass(Duration::from_secs(3_600 - 30));
    for _ in 0..3 {
        world.publish().await;
        assert_eq!(hearing.next_authorization().await, "Bearer t1");
    }
    assert_eq!(tokens.asked(), 2, "one renewal was tried");
    world.pass(Duration::from_secs(31));
    let waits = world.publish().await;
    assert_eq!(world.until_held().await, Hold::TokenUnavailable);
    let delivery = world.sender.delivery(waits.deliveries[0].id).await;
    assert_eq!(
        (delivery.state, delivery.attempts_made),
        (DeliveryState::Pending, 0),
        "a hold is not an attempt"
    );
    tokens.answer(200);
    world.pass(Duration::from_secs(60));
    assert!(hearing.next_authorization().await.starts_with("Bearer t"));
    world.sender.until(waits.deliveries[0].id, DeliveryState::Delivered, 1).await;
}

#[tokio::test]
async fn two_endpoints_with_the_same_settings_share_no_token() {
    let (mut one, mut two, tokens) =
        (Hearing::start().await, Hearing::start().await, TokenServer::start().await);
    let world = World::new(&one.url, tokens.client()).await;
    let other = world.sender.endpoint("beta", &two.url, Protection::Signed).await;
    show(&world.sender, other, tokens.client()).await;
    world.publish().await;
    assert_eq!(one.next_authorization().await, "Bearer t1");
    world.sender.publish(Some(&world.engine), "beta", "1").await;
    assert_eq!(two.next_authorization().await, "Bearer t2");
    world.publish().await;
    assert_eq!(one.next_authorization().await, "Bearer t1");
    assert_eq!(tokens.asked(), 2);
}

#[tokio::test]
async fn a_refused_token_is_renewed_once_and_the_same_is_posted_again_at_once() {
    let (mut hearing, tokens) = (Hearing::start().await, TokenServer::start().await);
    let world = World::new(&hearing.url, tokens.client()).await;
    world.publish().await;
    assert_eq!(hearing.next_authorization().await, "Bearer t1");
    hearing.like("Bearer t2"); // t1 was revoked
    let published = world.publish().await;
    assert_eq!(hearing.next_authorization().await, "Bearer t1");
    assert_eq!(hearing.next_authorization().await, "Bearer t2");
    world.sender.until(published.deliveries[0].id, DeliveryState::Delivered, 2).await;
    assert_eq!(tokens.asked(), 2);
}

#[tokio::test]
async fn an_endpoint_that_refuses_every_token_makes_no_flood() {
    let (mut hearing, tokens) = (Hearing::start().await, TokenServer::start().await);
    let world = World::new(&hearing.url, tokens.client()).await;
    hearing.like("nothing");
    let mut published = Vec::new();
    // Not so many that the breaker opens.
    for _ in 0..2 {
        published.push(world.publish().await);
    }
    // Each is tried to its end, four attempts by the schedule and one more for the one that renewed the token.
    for one in &published {
        let id = one.deliveries[0].id;
        until(async || {
            world.pass(Duration::from_millis(25));
            (world.sender.delivery(id).await.state == DeliveryState::Exhausted).then_some(())
        })
        .await;
    }
    assert_eq!(tokens.asked(), 2, "one token, and one renewal within the minute");
    let first = hearing.next_authorization().await;
    assert_eq!(first, "Bearer t1");
    world.pass(Duration::from_secs(61));
    world.publish().await;
    until(async || (tokens.asked() > 2).then_some(())).await;
    assert_eq!(tokens.asked(), 3, "a minute later once more");
}

#[tokio::test]
async fn a_server_that_refuses_us_is_asked_less_and_less_and_the_endpoint_waits() {
    let (mut hearing, tokens) = (Hearing::start().await, TokenServer::start().await);
    tokens.answer(401);
    let world = World::new(&hearing.url, tokens.client()).await;
    let published = world.publish().await;
    assert_eq!(world.until_held().await, Hold::TokenRefused);
    let asked_after = async |seconds: u64, expected: usize| {
        world.pass(Duration::from_secs(seconds));
        until(async || (tokens.asked() >= expected).then_some(())).await;
        // Whatever looks again now finds the server resting.
        for _ in 0..5 {
            world.pass(Duration::from_millis(1));
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(tokens.asked(), expected);
    };
    asked_after(0, 1).await;
    asked_after(58, 1).await;
    asked_after(3, 2).await; // after one minute
    asked_after(61, 2).await;
    asked_after(61, 3).await; // after two
    asked_after(200, 3).await;
    asked_after(50, 4).await; // after four
    let delivery = world.sender.delivery(published.deliveries[0].id).await;
    assert_eq!((delivery.state, delivery.attempts_made), (DeliveryState::Pending, 0));
    // Whoever corrects the secret does not wait.
    tokens.answer(200);
    let corrected =
        tokens.client_by(ClientAuthentication::ClientSecretPost { client_secret: Secret::new("right") });
    show(&world.sender, world.endpoint, corrected).await;
    assert_eq!(hearing.next_authorization().await, "Bearer t5");
    world.sender.until(published.deliveries[0].id, DeliveryState::Delivered, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_endpoints_at_a_dead_server_make_no_flood() {
    let tokens = TokenServer::start().await;
    tokens.answer(500);
    let hearing = Hearing::start().await;
    let world = World::new(&hearing.url, tokens.client()).await;
    for _ in 0..40 {
        let id = add_endpoint(&world.sender, &hearing.url).await;
        show(&world.sender, id, tokens.client()).await;
    }
    world.publish().await;
    until(async || (world.engine.holds().len() == 41).then_some(())).await;
    assert!(tokens.asked() <= 5, "{} requests", tokens.asked());
}

#[tokio::test]
async fn a_token_url_is_guarded_and_its_answer_bounded() {
    let hearing = Hearing::start().await;
    let inside = tokio::net::TcpListener::bind("[::1]:0").await.unwrap();
    let too_long = serve(Router::new().fallback(|| async {
        format!(r#"{{"access_token":"t","token_type":"bearer","x":"{}"}}"#, "a".repeat(64 * 1024))
    }));
    for url in [format!("http://{}/t", inside.local_addr().unwrap()), too_long.await] {
        let mut shown = TokenServer::start().await.client();
        shown.oauth2.as_mut().unwrap().token_url = url.parse().unwrap();
        let world = World::new(&hearing.url, shown).await;
        world.publish().await;
        assert_eq!(world.until_held().await, Hold::TokenUnavailable, "{url}");
    }
    let connected = timeout(Duration::from_millis(50), inside.accept()).await;
    assert!(connected.is_err(), "an address that is not allowed was connected to");
}

#[tokio::test]
async fn an_uploaded_certificate_that_has_expired_holds_the_endpoint() {
    let hearing = Hearing::start().await;
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    (params.not_before, params.not_after) =
        (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2027, 1, 1));
    let key = rcgen::KeyPair::generate().unwrap();
    let pem = params.self_signed(&key).unwrap().pem();
    let certificate = CertificateWithKey::parse(&pem, &key.serialize_pem(), noon()).unwrap();
    let shown = Authentication {
        client_certificate: Some(ClientCertificate::Uploaded(Arc::new(certificate))),
        ..Authentication::default()
    };
    let world = World::new(&hearing.url, shown).await;
    world.clock.advance(Duration::from_secs(60 * 24 * 60 * 60));
    world.publish().await;
    assert_eq!(world.until_held().await, Hold::ClientCertificateExpired);
}
