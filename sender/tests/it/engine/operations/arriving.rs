//! What only time and the keys bring, from its cause to the operator's endpoint: ends that come closer, keys of the
//! sender that change, clocks that differ.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::DATE;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use serde_json::{Value, json};
use waxseal_keys::{EncryptionKeyType, ManualClock, Timestamp, generate_decryption_key};
use waxseal_sender::engine::EngineHandle;
use waxseal_sender::id::{ConsumerId, EndpointId};
use waxseal_sender::model::authentication::{Authentication, ClientCertificate};
use waxseal_sender::model::certificate::{CertificateSummary, CertificateWithKey, TrustedCertificates};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::encryption_keys::{EncryptionKeySet, KeyOwner, KeySource, KnownKey};
use waxseal_sender::model::endpoint::{Endpoint, Protection};
use waxseal_sender::model::server_authentication::ServerAuthentication;
use waxseal_sender::model::told::Told;
use waxseal_sender::operations::OperationsPolicy;

use super::{Telling, deliveries_to, next, policy};
use crate::engine::support::{Receiver, Sender, err, noon, until};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A sender whose clock the test moves, and that tells an operator.
struct World {
    sender: Sender,
    clock: Arc<ManualClock>,
    operator: Receiver,
    engine: EngineHandle,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(noon()));
        let mut sender = Sender::with_clock(clock.clone()).await;
        sender.parts.policy.retry.schedule = vec![DAY];
        let operator = Receiver::accepting().await;
        sender.endpoint("ops", &operator.url, Protection::Signed).await;
        let engine = sender.start();
        Self { sender, clock, operator, engine }
    }

    /// Begins to tell, and waits until it has been looked once.
    async fn tell(&self, policy: OperationsPolicy) -> Telling {
        let telling = Telling::by(&self.sender, &self.engine, policy);
        let has_looked = |told: &Arc<Told>| matches!(**told, Told::SigningKeys { .. });
        until(async || self.sender.parts.directory.told().iter().any(has_looked).then_some(())).await;
        telling
    }

    async fn next(&mut self) -> (String, Value) {
        next(&self.sender, &mut self.operator).await
    }

    /// What is told next, of things that expire, by their kind.
    async fn next_expiring(&mut self) -> BTreeMap<String, Value> {
        let (event_type, said) = self.next().await;
        assert_eq!(event_type, "waxseal.key.expiring");
        let keys = said["keys"].as_array().unwrap().clone();
        assert_eq!(said["total"], keys.len());
        keys.into_iter().map(|key| (key["kind"].as_str().unwrap().to_owned(), key)).collect()
    }

    /// Gives a consumer one key, which is one of a certificate.
    async fn give_certified_key(&self, consumer: &str, certificate_not_after: Timestamp) -> String {
        let public = generate_decryption_key(EncryptionKeyType::P256).unwrap().public_jwk();
        let thumbprint = public.thumbprint().to_string();
        let key = KnownKey {
            thumbprint: thumbprint.clone(),
            jwk: public.to_json(),
            first_seen: noon(),
            admitted_at: Some(noon()),
            certificate_not_after: Some(certificate_not_after),
        };
        let owner = KeyOwner::Consumer(ConsumerId::parse(consumer).unwrap());
        let set = EncryptionKeySet { owner, source: KeySource::Pinned, keys: vec![key] };
        self.sender.parts.directory.put_key_set(set).await.unwrap();
        thumbprint
    }

    async fn end(self, telling: Telling) {
        telling.stop().await;
        self.engine.stop().await;
    }
}

/// A certificate that ends on a day of December 2026, and its key, PEM.
fn certificate(day: u8) -> (String, String) {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 12, day);
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Lets the endpoint be shown a certificate, and ask for one under a root; both by what people know them by.
async fn certify(sender: &Sender, endpoint: EndpointId) -> [CertificateSummary; 2] {
    let (shown, key) = certificate(24);
    let shown = CertificateWithKey::parse(&shown, &key, noon()).unwrap();
    let roots = TrustedCertificates::parse(&certificate(25).0, noon()).unwrap();
    let summaries = [shown.summary.clone(), roots.certificates[0].clone()];
    let edit = |endpoint: &mut Endpoint| {
        let client_certificate = Some(ClientCertificate::Uploaded(Arc::new(shown)));
        endpoint.authentication =
            Some(Box::new(Authentication { client_certificate, ..Authentication::default() }));
        let server = ServerAuthentication { ca_certificates: Some(roots), ..ServerAuthentication::default() };
        endpoint.server_authentication = Some(Box::new(server));
        Ok(())
    };
    sender.parts.directory.update_endpoint(endpoint, edit).await.unwrap();
    summaries
}

#[tokio::test]
async fn everything_that_expires_is_told_before_its_end_and_after_it() {
    let mut world = World::new().await;
    let endpoint = world.sender.endpoint("acme", "https://acme.example/hook", Protection::Signed).await;
    let [shown, root] = certify(&world.sender, endpoint).await;
    let ends = Timestamp::from_seconds(1_798_243_200); // 2026-12-26T00:00:00Z
    let thumbprint = world.give_certified_key("acme", ends).await;
    // The operator's own is its own affair.
    world.give_certified_key("ops", ends).await;
    let file = world.sender.dir.path().join("server.pem");
    let (served, _) = certificate(27);
    std::fs::write(&file, &served).unwrap();
    let served = TrustedCertificates::parse(&served, noon()).unwrap().certificates.remove(0);
    let policy = OperationsPolicy { server_certificate: Some(file), ..policy() };
    let telling = world.tell(policy).await;

    world.clock.advance(DAY * 6);
    let told = world.next_expiring().await;
    let acme = |kind: &str, endpoint: Option<EndpointId>, fingerprint: &str, day: u8| {
        let endpoint = endpoint.map(|id| id.to_string());
        json!({
            "kind": kind, "consumer": "acme", "endpoint": endpoint, "fingerprint": fingerprint,
            "not_after": format!("2026-12-{day}T00:00:00.000Z"), "expired": false,
        })
    };
    let expected = [
        acme("client_certificate", Some(endpoint), &shown.fingerprint_sha256, 24),
        acme("encryption_certificate", None, &thumbprint, 26),
        json!({
            "kind": "server_certificate", "consumer": null, "endpoint": null,
            "fingerprint": served.fingerprint_sha256, "not_after": "2026-12-27T00:00:00.000Z", "expired": false,
        }),
        acme("trusted_certificate", Some(endpoint), &root.fingerprint_sha256, 25),
    ];
    assert_eq!(told.into_values().collect::<Vec<_>>(), expected);

    // Looked at many times since, and told but once for each warning: the next one is of the end.
    world.clock.advance(DAY);
    until(async || (world.sender.parts.directory.notices().is_empty()).then_some(())).await;
    world.clock.advance(DAY * 40);
    let told = world.next_expiring().await;
    assert_eq!(told.len(), 4);
    assert!(told.values().all(|one| one["expired"] == true), "{told:?}");
    assert_eq!(deliveries_to(&world.sender, "ops").await, 2);
    world.end(telling).await;
}

#[tokio::test]
async fn a_rotation_of_the_signing_keys_arrives() {
    let mut world = World::new().await;
    let telling = world.tell(policy()).await;
    let keys = world.sender.parts.signing_keys.clone();
    let before = keys.active().unwrap().kid().to_owned();
    world.clock.advance(DAY + DAY);
    keys.advance().await.unwrap();
    keys.rotate().await.unwrap();
    let after = keys.active().unwrap().kid().to_owned();
    assert_ne!(before, after);
    let (event_type, said) = world.next().await;
    assert_eq!(event_type, "waxseal.signing_key.rotated");
    assert_eq!(said, json!({ "before": before, "active": after }));
    assert_eq!(deliveries_to(&world.sender, "ops").await, 1);
    world.end(telling).await;
}

#[tokio::test]
async fn a_revocation_of_the_key_that_signs_arrives_signed_by_the_next_one() {
    let mut world = World::new().await;
    let telling = world.tell(policy()).await;
    let keys = world.sender.parts.signing_keys.clone();
    let revoked = keys.active().unwrap().kid().to_owned();
    world.clock.advance(DAY + DAY);
    keys.revoke(&revoked).await.unwrap();
    let active = keys.active().unwrap().kid().to_owned();
    // Opened with the key that is active now.
    let mut told = BTreeMap::from([world.next().await, world.next().await]);
    let expected = json!({ "revoked": revoked, "active": active });
    assert_eq!(told.remove("waxseal.signing_key.revoked"), Some(expected));
    let expected = json!({ "before": revoked, "active": active });
    assert_eq!(told.remove("waxseal.signing_key.rotated"), Some(expected));
    world.end(telling).await;
}

#[tokio::test]
async fn refusals_of_a_receiver_whose_clock_differs_are_told_with_the_difference() {
    let mut world = World::new().await;
    let dated = |date: &'static str| {
        Receiver::answering(move |_| {
            let mut answer = err("invalid_request");
            answer.headers_mut().insert(DATE, http::HeaderValue::from_static(date));
            answer
        })
    };
    let ahead = dated("Sat, 21 Nov 2026 20:45:00 GMT").await;
    let right = dated("Sat, 21 Nov 2026 20:40:01 GMT").await;
    let telling = world.tell(policy()).await;
    for (consumer, receiver) in [("acme", &ahead), ("beta", &right)] {
        world.sender.endpoint(consumer, &receiver.url, Protection::Signed).await;
        let published = world.sender.publish(Some(&world.engine), consumer, "1").await;
        world.sender.until(published.deliveries[0].id, DeliveryState::Retrying, 1).await;
    }
    world.clock.advance(Duration::from_secs(10));
    let (event_type, said) = world.next().await;
    assert_eq!((event_type.as_str(), &said["count"]), ("waxseal.attempts.refused", &json!(2)));
    let groups = said["groups"].as_array().unwrap().iter();
    let skews: BTreeMap<_, _> = groups
        .map(|group| (group["consumer"].as_str().unwrap(), group.get("clock_skew_seconds").cloned()))
        .collect();
    assert_eq!(skews, BTreeMap::from([("acme", Some(json!(300))), ("beta", None)]));
    world.end(telling).await;
}
