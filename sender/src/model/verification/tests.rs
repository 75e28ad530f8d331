use std::time::Duration;

use super::*;
use crate::id::{ConsumerId, EndpointId};
use crate::model::encryption_keys::{Admission, KeyOwner, KnownKey};
use crate::model::endpoint::{EndpointStatus, Subscription};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_000 + seconds)
}

fn endpoint(protection: Protection) -> Endpoint {
    Endpoint {
        id: EndpointId::generate(at(0)),
        consumer: ConsumerId::parse("acme").unwrap(),
        url: Url::parse("https://a.example/hook?key=1").unwrap(),
        event_types: Subscription::All,
        audience: None,
        protection,
        retry: None,
        description: None,
        status: EndpointStatus::Active,
        pace: Default::default(),
        created_at: at(0),
        authentication: None,
        server_authentication: None,
        verification: Verification::UNASKED,
    }
}

fn set(source: KeySource, thumbprints: &[&str]) -> EncryptionKeySet {
    let key = |thumbprint: &&str| KnownKey {
        thumbprint: (*thumbprint).to_owned(),
        jwk: serde_json::Value::Null,
        first_seen: at(0),
        admitted_at: None,
        certificate_not_after: None,
    };
    let owner = KeyOwner::Consumer(ConsumerId::parse("acme").unwrap());
    EncryptionKeySet { owner, source, keys: thumbprints.iter().map(key).collect() }
}

fn uri(path: &str) -> KeySource {
    let jwks_uri = Url::parse(&format!("https://a.example/{path}")).unwrap();
    KeySource::Uri { jwks_uri, admission: Admission::Approve }
}

#[test]
fn a_binding_ends_with_the_url_the_protection_and_the_source_of_keys() {
    let pinned = set(KeySource::Pinned, &["one", "two"]);
    let (signed, sealed) = (endpoint(Protection::Signed), endpoint(Protection::Sealed));
    let binding = Binding::of(&sealed, Some(&pinned));
    assert!(binding.is_of(&sealed, Some(&pinned)));
    assert!(binding.is_of(&sealed, Some(&set(KeySource::Pinned, &["two", "one"]))));
    let moved = Endpoint { url: Url::parse("https://a.example/hook?key=2").unwrap(), ..sealed.clone() };
    assert!(!binding.is_of(&moved, Some(&pinned)));
    for other in [
        set(KeySource::Pinned, &["one"]),
        set(KeySource::Pinned, &["one", "two", "three"]),
        set(KeySource::Pinned, &["one", "three"]),
        set(uri("jwks"), &["one", "two"]),
    ] {
        assert!(!binding.is_of(&sealed, Some(&other)), "{other:?}");
    }
    assert!(!binding.is_of(&sealed, None) && !binding.is_of(&signed, Some(&pinned)));

    let fetched = Binding::of(&sealed, Some(&set(uri("jwks"), &["one"])));
    assert!(fetched.is_of(&sealed, Some(&set(uri("jwks"), &["two"]))), "admission is a control of its own");
    assert!(!fetched.is_of(&sealed, Some(&set(uri("other"), &["one"]))));

    let unsealed = Binding::of(&signed, Some(&pinned));
    assert!(unsealed.is_of(&signed, None), "keys say nothing where nothing is sealed");
    assert!(!unsealed.is_of(&sealed, Some(&pinned)));
    assert!(!Binding::of(&sealed, None).is_of(&sealed, None), "nothing is proved without a key");
}

#[test]
fn what_is_shown_of_asking_in_vain_follows_from_when_it_was_asked() {
    let mut asked = endpoint(Protection::Signed);
    let standing = |endpoint: &Endpoint, now| endpoint.verification.standing(endpoint, None, at(now));
    let due = |endpoint: &Endpoint, now| endpoint.verification.due_at(endpoint, None, at(now));
    assert_eq!((standing(&asked, 0), due(&asked, 0)), (Standing::Pending, Some(at(0))));
    let mut challenge = Challenge {
        state_sha256: "hash".to_owned(),
        binding: Binding::of(&asked, None),
        sealed_to: None,
        attempts_made: 1,
        answer_by: at(10),
        next_at: Some(at(60)),
        ends_at: at(3_600),
    };
    assert!(!challenge.has_missed(at(9)) && challenge.has_missed(at(10)));
    asked.verification =
        Verification::Awaited { challenge: Some(Box::new(challenge.clone())), agreed_at: None };
    assert_eq!((standing(&asked, 30), due(&asked, 30)), (Standing::Pending, Some(at(60))));
    assert_eq!((standing(&asked, 3_600), due(&asked, 3_600)), (Standing::Failed, None));
    assert_eq!(standing(&asked, -60), Standing::Pending, "by a node whose clock is a little behind");
    assert_eq!(standing(&asked, -61), Standing::Failed, "the clock was set back");

    challenge = Challenge { attempts_made: 3, answer_by: at(370), next_at: None, ..challenge };
    assert!(challenge.has_missed(at(361)));
    asked.verification = Verification::Awaited { challenge: Some(Box::new(challenge)), agreed_at: None };
    assert_eq!((standing(&asked, 361), due(&asked, 361)), (Standing::Pending, None));
    assert_eq!(standing(&asked, 370), Standing::Failed);

    asked.url = Url::parse("https://b.example/").unwrap();
    assert_eq!((standing(&asked, 370), due(&asked, 370)), (Standing::Pending, Some(at(370))), "asked anew");
}

#[test]
fn a_proof_is_worth_nothing_once_the_endpoint_is_another() {
    let mut proven = endpoint(Protection::Signed);
    proven.verification = Verification::Proven { at: at(1), binding: Box::new(Binding::of(&proven, None)) };
    let standing = |endpoint: &Endpoint| endpoint.verification.standing(endpoint, None, at(2));
    assert_eq!(standing(&proven), Standing::Proven);
    // Around `Endpoint::move_to`, which also forgets the proof.
    proven.url = Url::parse("https://b.example/").unwrap();
    assert_eq!(standing(&proven), Standing::Pending);
    assert_eq!(proven.verification.due_at(&proven, None, at(2)), Some(at(2)));
}

#[test]
fn a_record_keeps_it_and_one_from_before_is_trusted() {
    let mut endpoint = endpoint(Protection::Signed);
    let mut old = serde_json::to_value(&endpoint).unwrap();
    old.as_object_mut().unwrap().remove("verification");
    let read: Endpoint = serde_json::from_value(old).unwrap();
    assert_eq!(read.verification, Verification::Trusted { by: None, since: None });
    let challenge = Challenge {
        state_sha256: "hash".to_owned(),
        binding: Binding::of(&endpoint, None),
        sealed_to: None,
        attempts_made: 1,
        answer_by: at(0).saturating_add(Duration::from_secs(1)),
        next_at: None,
        ends_at: at(1),
    };
    for verification in [
        Verification::UNASKED,
        Verification::Awaited { challenge: Some(Box::new(challenge)), agreed_at: None },
        Verification::Proven { at: at(1), binding: Box::new(Binding::of(&endpoint, None)) },
        Verification::Trusted { by: Some(TokenId::generate(at(0))), since: Some(at(2)) },
    ] {
        endpoint.verification = verification;
        let json = serde_json::to_string(&endpoint).unwrap();
        assert_eq!(serde_json::from_str::<Endpoint>(&json).unwrap(), endpoint, "{json}");
    }
}
