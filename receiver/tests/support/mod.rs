// A sender to test against: keys, tokens, a place for its JWK Set, and HTTP on the loopback. The examples in
// the documentation include this file, so it has no inner doc comment.

use std::{sync::Arc, time::Duration};

use waxseal_envelope::{Audience, Data, Event, EventId, EventType, Issuer, seal};
use waxseal_jwks::{JwkSet, publish};
use waxseal_keys::{
    Clock, DecryptionKey, EncryptionKey, EncryptionKeyType, ManualClock, SignatureAlgorithm, SigningKey,
    SystemClock, Timestamp, generate_decryption_key, generate_signing_key,
};

/// What the tests call now: 2026-11-21.
pub(crate) const NOW: Timestamp = Timestamp::from_seconds(1_795_293_600);

pub(crate) const ORDER: &str = r#"{"order":"991","total":"12.50"}"#;

pub(crate) fn decryption_key() -> DecryptionKey {
    generate_decryption_key(EncryptionKeyType::P256).unwrap()
}

pub(crate) fn public(key: &DecryptionKey) -> EncryptionKey {
    EncryptionKey::from_jwk(&key.public_jwk()).unwrap()
}

pub(crate) fn event(issuer: &str, audience: &str, id: &str, json: &str) -> Event {
    Event {
        issuer: Issuer::parse(issuer).unwrap(),
        audience: Audience::parse(audience).unwrap(),
        id: EventId::parse(id).unwrap(),
        event_type: EventType::parse("order.created").unwrap(),
        occurred_at: None,
        txn: None,
        data: Data::json(json.as_bytes()).unwrap(),
        redelivery_of: None,
    }
}

/// An issuer with one signing key.
pub(crate) struct Sender {
    pub(crate) issuer: String,
    pub(crate) key: SigningKey,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Sender {
    /// For the documentation: on the system's clock, with its keys pinned in `receiver()`.
    pub(crate) fn new(issuer: &str) -> Self {
        Self::at(issuer, Arc::new(SystemClock))
    }

    pub(crate) fn at(issuer: &str, clock: Arc<dyn Clock>) -> Self {
        let key = generate_signing_key(SignatureAlgorithm::Es256).unwrap();
        Self { issuer: issuer.to_owned(), key, clock }
    }

    /// An issuer whose URL is a server on the loopback, which publishes its keys.
    pub(crate) async fn published(clock: &Arc<ManualClock>) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sender = Self::at(&format!("http://{}", listener.local_addr().unwrap()), clock.clone());
        let app = publish::router(Arc::new(sender.jwk_set()), Duration::from_secs(300));
        tokio::spawn(async move { axum::serve(listener, app).await });
        sender
    }

    pub(crate) fn jwk_set(&self) -> JwkSet {
        JwkSet::new(vec![self.key.public_jwk()])
    }

    /// A receiver that is called `acme`, takes both forms, and has the sender's keys pinned.
    pub(crate) fn receiver(&self) -> waxseal_receiver::Receiver {
        use waxseal_receiver::{Protection, Receiver, TrustedIssuer};
        let issuer = TrustedIssuer::new(&self.issuer, Protection::Either).pinned(self.jwk_set());
        let builder = Receiver::builder().audience("acme").scope("orders").trust(issuer);
        builder.decryption_key(decryption_key()).clock(self.clock.clone()).build().unwrap()
    }

    pub(crate) fn event(&self, audience: &str, id: &str) -> Event {
        event(&self.issuer, audience, id, ORDER)
    }

    pub(crate) fn token(&self, event: &Event, recipient: Option<&EncryptionKey>) -> Vec<u8> {
        self.token_at(event, recipient, self.clock.now())
    }

    pub(crate) fn token_at(&self, event: &Event, to: Option<&EncryptionKey>, iat: Timestamp) -> Vec<u8> {
        seal(event, &self.key, to, iat).unwrap().into_bytes()
    }

    /// An order, signed only.
    pub(crate) fn signed(&self, audience: &str, id: &str) -> Vec<u8> {
        self.token(&self.event(audience, id), None)
    }

    /// An order, sealed to `key`.
    pub(crate) fn sealed(&self, audience: &str, id: &str, key: &DecryptionKey) -> Vec<u8> {
        self.token(&self.event(audience, id), Some(&public(key)))
    }

    /// A verification event.
    pub(crate) fn verification(&self, audience: &str, id: &str, state: &str) -> Event {
        let json = format!(r#"{{"state":"{state}"}}"#);
        let event_type = EventType::parse("waxseal.verification").unwrap();
        Event { event_type, ..event(&self.issuer, audience, id, &json) }
    }
}

/// Serves `app` on a free port of the loopback, and gives its URL without trailing slash.
pub(crate) async fn serve(app: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

/// Posts a body as a sender does.
pub(crate) async fn deliver(url: &str, body: Vec<u8>) -> reqwest::Response {
    let request = reqwest::Client::new().post(url).timeout(Duration::from_secs(20));
    let request = request.header("Content-Type", "application/secevent+jwt");
    request.header("Accept", "application/json").body(body).send().await.unwrap()
}
