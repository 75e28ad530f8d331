//! The sender's own certificate authority, as the clock goes.

use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use waxseal_envelope::Issuer;
use waxseal_keys::{Clock, ManualClock, Timestamp};
use waxseal_sender::credentials::authority::ClientAuthority;
use waxseal_sender::directory::Directory;
use waxseal_sender::id::ConsumerId;
use waxseal_sender::model::certificate::CertificateWithKey;

use super::support::{ISSUER, Sender, noon};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether a receiver that trusts `root` takes this client at this time.
fn taken(root: &str, client: &CertificateWithKey, now: Timestamp) -> bool {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::new(default_provider()))
        .build()
        .unwrap();
    let (chain, _) = client.to_der().unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_seconds().try_into().unwrap()));
    verifier.verify_client_cert(&chain[0], &chain[1..], now).is_ok()
}

struct World {
    sender: Sender,
    clock: Arc<ManualClock>,
    authority: ClientAuthority,
}

async fn world() -> World {
    let clock = Arc::new(ManualClock::new(noon()));
    let sender = Sender::with_clock(clock.clone()).await;
    let authority = authority(Arc::clone(&sender.parts.directory), clock.clone());
    World { sender, clock, authority }
}

fn authority(directory: Arc<Directory>, clock: Arc<ManualClock>) -> ClientAuthority {
    ClientAuthority::new(directory, Issuer::parse(ISSUER).unwrap(), clock)
}

fn acme() -> ConsumerId {
    ConsumerId::parse("acme").unwrap()
}

#[tokio::test]
async fn a_certificate_names_issuer_and_consumer_and_is_renewed_in_time() {
    let World { clock, authority, .. } = world().await;
    let root = authority.current().await.unwrap().certificate.clone();
    let first = authority.certificate_for(&acme()).await.unwrap();
    assert_eq!(first.summary.subject, "hooks.example.com");
    let x509 = openssl::x509::X509::from_pem(first.certificates.as_bytes()).unwrap();
    let names = x509.subject_alt_names().unwrap();
    assert_eq!(names[0].uri(), Some("https://hooks.example.com/consumers/acme"));
    assert!(taken(&root, &first, clock.now()));
    let beta = authority.certificate_for(&ConsumerId::parse("beta").unwrap()).await.unwrap();
    assert_ne!(beta.summary.fingerprint_sha256, first.summary.fingerprint_sha256);

    clock.advance(DAY * 59);
    assert_eq!(authority.certificate_for(&acme()).await.unwrap().summary, first.summary);
    clock.advance(DAY * 2);
    let second = authority.certificate_for(&acme()).await.unwrap();
    assert_ne!(second.summary.fingerprint_sha256, first.summary.fingerprint_sha256);
    assert!(taken(&root, &second, clock.now()));
    clock.advance(DAY * 30);
    assert!(!taken(&root, &first, clock.now()), "the first one is over");
    assert!(taken(&root, &second, clock.now()));
}

#[tokio::test]
async fn the_authority_stays_over_a_restart_and_its_certificate_is_made_anew_in_time() {
    let World { sender, clock, authority } = world().await;
    let root = authority.current().await.unwrap().certificate.clone();
    let (store, keys) = (Arc::clone(&sender.parts.store), Arc::clone(&sender.parts.data_keys));
    let directory = Directory::load(store, keys).await.unwrap();
    let again = self::authority(directory, clock.clone());
    assert_eq!(again.current().await.unwrap().certificate, root);
    assert!(taken(&root, &again.certificate_for(&acme()).await.unwrap(), clock.now()));

    clock.advance(DAY * (3_650 - 366));
    assert_eq!(again.current().await.unwrap().certificate, root);
    clock.advance(DAY * 2);
    let next = again.current().await.unwrap().certificate.clone();
    assert_ne!(next, root);
    // For a year receivers may have the old one or the new one.
    let client = again.certificate_for(&acme()).await.unwrap();
    assert!(taken(&root, &client, clock.now()) && taken(&next, &client, clock.now()));
}

#[tokio::test]
async fn nobody_but_the_authority_is_believed() {
    let World { clock, authority, .. } = world().await;
    let client = authority.certificate_for(&acme()).await.unwrap();
    let other = world().await.authority.current().await.unwrap().certificate.clone();
    assert!(!taken(&other, &client, clock.now()));
}
