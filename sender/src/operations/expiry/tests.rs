use serde_json::json;

use super::*;
use crate::id::ConsumerId;
use crate::model::encryption_keys::{KeySource, KnownKey};

const DAY: i64 = 24 * 60 * 60;
const NOW: Timestamp = Timestamp::from_seconds(1_795_293_600);

fn in_days(days: i64) -> Timestamp {
    Timestamp::from_seconds(NOW.as_seconds() + days * DAY)
}

fn warn_before() -> Vec<Duration> {
    crate::operations::OperationsPolicy::default().warn_before
}

fn certificate(not_after: Timestamp) -> Expiring {
    let consumer = Some(ConsumerId::parse("acme").unwrap());
    let fingerprint = "ab".repeat(32);
    Expiring { kind: "client_certificate", consumer, endpoint: None, fingerprint, not_after }
}

fn set(ends: &[Option<Timestamp>]) -> EncryptionKeySet {
    let key = |(number, end): (usize, &Option<Timestamp>)| KnownKey {
        thumbprint: format!("key-{number}"),
        jwk: end.map_or_else(|| json!({}), |end| json!({ "exp": end.as_seconds() })),
        first_seen: NOW,
        admitted_at: Some(NOW),
        certificate_not_after: None,
    };
    let owner = KeyOwner::Consumer(ConsumerId::parse("acme").unwrap());
    EncryptionKeySet { owner, source: KeySource::Pinned, keys: ends.iter().enumerate().map(key).collect() }
}

#[test]
fn each_warning_is_given_once_and_the_end_is_told_too() {
    let mut told = Vec::new();
    let mut given = Vec::new();
    for day in 0..=50 {
        let news = look(vec![certificate(in_days(40))], &told, &warn_before(), in_days(day));
        if let [notice] = &news.notices[..] {
            given.push((day, notice.data["keys"][0]["expired"].as_bool().unwrap()));
        }
        told.retain(|told: &Arc<Told>| !news.told.iter().any(|new| new.id() == told.id()));
        told.extend(news.told.into_iter().map(Arc::new));
    }
    assert_eq!(given, [(10, false), (33, false), (39, false), (40, true)]);
    let news = look(vec![certificate(in_days(400))], &told, &warn_before(), in_days(50));
    assert_eq!((news.notices.len(), news.over.len()), (0, 1), "its successor lasts");
}

#[test]
fn many_are_one_event() {
    let many = (0..200).map(|n| Expiring { fingerprint: format!("{n}"), ..certificate(in_days(1)) });
    let news = look(many.collect(), &[], &warn_before(), NOW);
    let [notice] = &news.notices[..] else { panic!("{news:?}") };
    assert_eq!((notice.data["total"].as_u64(), news.told.len()), (Some(200), 200));
    assert_eq!(notice.data["keys"].as_array().unwrap().len(), notices::LISTED);
}

#[test]
fn of_several_keys_the_last_one_counts() {
    assert_eq!(of_keys(&set(&[])), []);
    assert_eq!(of_keys(&set(&[Some(in_days(1)), None])), [], "one of them has no end");
    let [last] = &of_keys(&set(&[Some(in_days(1)), Some(in_days(9)), Some(in_days(3))]))[..] else {
        panic!()
    };
    assert_eq!((last.not_after, &*last.fingerprint, last.kind), (in_days(9), "key-1", "encryption_key"));
}

#[test]
fn of_several_certificates_of_keys_the_last_one_counts() {
    let certified = |ends: &[Option<Timestamp>]| {
        let mut set = set(&vec![None; ends.len()]);
        for (key, end) in set.keys.iter_mut().zip(ends) {
            key.certificate_not_after = *end;
        }
        set
    };
    assert_eq!(of_keys(&certified(&[Some(in_days(1)), None])), [], "one of the keys was given by itself");
    let mut several = certified(&[Some(in_days(1)), Some(in_days(9)), Some(in_days(30))]);
    several.keys[2].admitted_at = None;
    let [last] = &of_keys(&several)[..] else { panic!() };
    let found = (last.not_after, &*last.fingerprint, last.kind);
    assert_eq!(found, (in_days(9), "key-1", "encryption_certificate"));
}
