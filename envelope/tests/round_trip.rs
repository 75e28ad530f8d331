//! What is sealed comes back as it was, for every algorithm and kind of content; what differs from the expected does not.
#![cfg(feature = "seal")]
#![allow(clippy::unwrap_used, reason = "a case that cannot be set up must fail")]

use std::time::Duration;

use waxseal_envelope::{
    Audience, Data, Event, EventId, EventType, Expected, Issuer, Limits, OpenError, Opened, SealError,
    Signed, Token, seal,
};
use waxseal_keys::{
    DecryptionKey, EncryptionKey, EncryptionKeyType, Jwk, SignatureAlgorithm, SigningKey, Timestamp,
    generate_decryption_key, generate_signing_key,
};

const NOW: Timestamp = Timestamp::from_seconds(1_795_293_600);

fn event() -> Event {
    Event {
        issuer: Issuer::parse("https://hooks.example.com").unwrap(),
        audience: Audience::parse("acme").unwrap(),
        id: EventId::parse("evt_01JD9Z7Q2M6V8K3N5T1R4W9XYZ").unwrap(),
        event_type: EventType::parse("order.created").unwrap(),
        occurred_at: Some(Timestamp::from_seconds(1_795_293_598)),
        txn: Some("order \"991\" é".into()),
        data: Data::json(br#"{"order":"991", "total":12.50,"note":"\u00e9 \/"}"#).unwrap(),
        redelivery_of: None,
    }
}

fn expected() -> Expected {
    Expected::new(event().issuer, event().audience)
}

fn es256() -> SigningKey {
    generate_signing_key(SignatureAlgorithm::Es256).unwrap()
}

fn signed(token: &str) -> Signed {
    match Token::parse(token.as_bytes(), &Limits::default()).unwrap() {
        Token::Signed(signed) => signed,
        Token::Sealed(_) => panic!("sealed"),
    }
}

fn open(token: &str, key: &SigningKey, decryption: Option<&DecryptionKey>) -> Result<Opened, OpenError> {
    let signed = match Token::parse(token.as_bytes(), &Limits::default())? {
        Token::Signed(signed) => signed,
        Token::Sealed(sealed) => sealed.decrypt(decryption.unwrap())?,
    };
    signed.verify(&key.verifying_key(), &expected(), NOW)
}

#[test]
fn every_pair_of_algorithms() {
    let signers = [
        SignatureAlgorithm::Es256,
        SignatureAlgorithm::Es384,
        SignatureAlgorithm::EdDsa,
        SignatureAlgorithm::Ed25519,
        SignatureAlgorithm::Ps256,
    ]
    .map(|alg| generate_signing_key(alg).unwrap());
    let recipients = [
        EncryptionKeyType::P256,
        EncryptionKeyType::P384,
        EncryptionKeyType::X25519,
        EncryptionKeyType::Rsa3072,
    ]
    .map(|kind| generate_decryption_key(kind).unwrap());
    let event = event();
    for signer in &signers {
        let opened = open(&seal(&event, signer, None, NOW).unwrap(), signer, None).unwrap();
        assert_eq!((&opened.event, opened.issued_at, &opened.sealed_to), (&event, NOW, &None));
        assert_eq!(opened.signer_kid, signer.kid());
        for recipient in &recipients {
            let key = EncryptionKey::from_jwk(&recipient.public_jwk()).unwrap();
            let token = seal(&event, signer, Some(&key), NOW).unwrap();
            let opened = open(&token, signer, Some(recipient)).unwrap();
            assert_eq!((&opened.event, opened.sealed_to.as_deref()), (&event, Some(recipient.kid())));
        }
    }
}

#[test]
fn every_kind_of_content() {
    let key = es256();
    let mut event = event();
    for data in [
        Data::json(b"null").unwrap(),
        Data::json(b"[1e2 , -0.0]").unwrap(),
        Data::json("\"😀\"".as_bytes()).unwrap(),
        Data::binary("application/octet-stream", vec![]).unwrap(),
        Data::binary("image/png", (0..=255).collect()).unwrap(),
    ] {
        event.data = data;
        assert_eq!(open(&seal(&event, &key, None, NOW).unwrap(), &key, None).unwrap().event, event);
    }
    (event.txn, event.occurred_at) = (None, None);
    event.redelivery_of = EventId::parse("evt_0").ok();
    event.event_type = EventType::parse("urn:example:order").unwrap();
    assert_eq!(open(&seal(&event, &key, None, NOW).unwrap(), &key, None).unwrap().event, event);
}

#[test]
fn the_largest_content_fits_the_receivers_limit_when_sealed() {
    let key = es256();
    let own = generate_decryption_key(EncryptionKeyType::Rsa3072).unwrap();
    let recipient = EncryptionKey::from_jwk(&own.public_jwk()).unwrap();
    let mut event = event();
    let text = format!("\"{}\"", "x".repeat(waxseal_envelope::MAX_JSON - 2));
    for data in [
        Data::json(text.as_bytes()).unwrap(),
        Data::binary("a/b", vec![7; waxseal_envelope::MAX_BINARY]).unwrap(),
    ] {
        event.data = data;
        let token = seal(&event, &key, Some(&recipient), NOW).unwrap();
        assert!((230_000..240_000).contains(&token.len()), "{}", token.len());
        assert_eq!(open(&token, &key, Some(&own)).unwrap().event, event);
    }
}

#[test]
fn the_header_and_claims_are_those_of_the_format() {
    let key = es256();
    let event = event();
    let token = seal(&event, &key, None, NOW).unwrap();
    let mut parts = token.split('.').map(|part| {
        use base64::Engine as _;
        String::from_utf8_lossy(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap())
            .into_owned()
    });
    let kid = key.kid();
    assert_eq!(parts.next().unwrap(), format!(r#"{{"typ":"secevent+jwt","alg":"ES256","kid":"{kid}"}}"#));
    assert_eq!(
        parts.next().unwrap(),
        concat!(
            r#"{"iss":"https://hooks.example.com","aud":"acme","jti":"evt_01JD9Z7Q2M6V8K3N5T1R4W9XYZ","iat":1795293600,"#,
            r#""toe":1795293598,"txn":"order \"991\" é","events":{"https://hooks.example.com/events/order.created":"#,
            r#"{"data":{"order":"991", "total":12.50,"note":"\u00e9 \/"}}}}"#
        )
    );
}

#[test]
fn the_time_window() {
    let key = es256();
    let token = seal(&event(), &key, None, NOW).unwrap();
    let at = |now: Timestamp| signed(&token).verify(&key.verifying_key(), &expected(), now).map(|_| ());
    let (back, ahead) = (Duration::from_secs(300), Duration::from_secs(60));
    let millisecond = Duration::from_millis(1);
    assert_eq!(at(NOW.saturating_add(back)), Ok(()));
    assert_eq!(at(NOW.saturating_add(back + millisecond)), Err(OpenError::Stale { age: back + millisecond }));
    assert_eq!(at(NOW.saturating_sub(ahead)), Ok(()));
    assert_eq!(
        at(NOW.saturating_sub(ahead + millisecond)),
        Err(OpenError::Future { ahead: ahead + millisecond })
    );
    assert_eq!(at(Timestamp::MAX).unwrap_err().code(), "open.stale");
    assert_eq!(at(Timestamp::MIN).unwrap_err().code(), "open.future");
}

#[test]
fn another_issuer_audience_or_key() {
    let key = es256();
    let token = seal(&event(), &key, None, NOW).unwrap();
    let with = |expected: Expected| signed(&token).verify(&key.verifying_key(), &expected, NOW).unwrap_err();
    let other = Issuer::parse("https://hooks.example.com/a").unwrap();
    assert_eq!(with(Expected::new(other, event().audience)), OpenError::Issuer);
    assert_eq!(with(Expected::new(event().issuer, Audience::parse("ACME").unwrap())), OpenError::Audience);
    assert_eq!(open(&token, &es256(), None).unwrap_err(), OpenError::UnknownKey);

    let jwk = es256().public_jwk().with_kid(key.kid()).unwrap();
    let impostor = waxseal_keys::VerifyingKey::from_jwk(&jwk).unwrap();
    assert_eq!(signed(&token).verify(&impostor, &expected(), NOW).unwrap_err(), OpenError::Signature);

    let own = generate_decryption_key(EncryptionKeyType::P256).unwrap();
    let other = generate_decryption_key(EncryptionKeyType::P256).unwrap();
    let recipient = EncryptionKey::from_jwk(&own.public_jwk()).unwrap();
    let sealed = seal(&event(), &key, Some(&recipient), NOW).unwrap();
    assert_eq!(open(&sealed, &key, Some(&other)).unwrap_err(), OpenError::UnknownKey);
    let renamed = other.to_jwk().with_kid(own.kid()).unwrap();
    let renamed = DecryptionKey::from_jwk(&renamed).unwrap();
    assert_eq!(open(&sealed, &key, Some(&renamed)).unwrap_err(), OpenError::Decrypt);
}

#[test]
fn a_consumers_own_kid_is_echoed() {
    let own = generate_decryption_key(EncryptionKeyType::X25519).unwrap();
    let own = DecryptionKey::from_jwk(&own.to_jwk().with_kid("me@example.com/keys#1").unwrap()).unwrap();
    let key = es256();
    let recipient = EncryptionKey::from_jwk(&own.public_jwk()).unwrap();
    let token = seal(&event(), &key, Some(&recipient), NOW).unwrap();
    assert_eq!(open(&token, &key, Some(&own)).unwrap().sealed_to.as_deref(), Some("me@example.com/keys#1"));
}

#[test]
fn verification_events_show_their_state() {
    let key = es256();
    let mut event = event();
    let open = |event: &Event| open(&seal(event, &key, None, NOW).unwrap(), &key, None);
    assert_eq!(open(&event).unwrap().verification(), None);
    event.event_type = EventType::parse("waxseal.verification").unwrap();
    event.data = Data::json(br#"{"state":"s-1"}"#).unwrap();
    assert_eq!(open(&event).unwrap().verification(), Some("s-1"));
    for wrong in ["{}", r#"{"state":1}"#, r#"{"state":"a","x":1}"#, r#"["state"]"#, r#""state""#] {
        event.data = Data::json(wrong.as_bytes()).unwrap();
        assert_eq!(open(&event).unwrap_err().code(), "open.claims", "{wrong}");
    }
}

#[test]
fn what_could_not_be_opened_is_not_sealed() {
    let key = es256();
    let refused = |change: &dyn Fn(&mut Event)| {
        let mut event = event();
        change(&mut event);
        seal(&event, &key, None, NOW).unwrap_err()
    };
    for txn in ["", "a\u{0}", "a\nb", &"t".repeat(257)] {
        assert_eq!(refused(&|event| event.txn = Some(txn.to_owned())), SealError::Txn, "{txn}");
    }
    for seconds in [-1, 253_402_300_800] {
        let at = Timestamp::from_seconds(seconds);
        assert_eq!(refused(&|event| event.occurred_at = Some(at)), SealError::Time { claim: "toe" });
        assert_eq!(seal(&event(), &key, None, at), Err(SealError::Time { claim: "iat" }));
    }
    let own_uri = EventType::parse("https://hooks.example.com/events/order.created").unwrap();
    assert_eq!(refused(&|event| event.event_type = own_uri.clone()), SealError::EventType);
}

#[test]
fn foreign_signers_must_be_of_this_format() {
    let jwk = |alg: &str, kid: Option<&str>| {
        let mut jwk = josekit::jwk::Jwk::from_bytes(es256().to_jwk().to_json().as_bytes()).unwrap();
        jwk.set_algorithm(alg);
        match kid {
            Some(kid) => jwk.set_key_id(kid),
            None => jwk.set_parameter("kid", None).unwrap(),
        }
        jwk
    };
    let es256 = |kid| josekit::jws::ES256.signer_from_jwk(&jwk("ES256", kid)).unwrap();
    assert!(seal(&event(), &es256(Some("k")), None, NOW).is_ok());
    assert_eq!(seal(&event(), &es256(None), None, NOW), Err(SealError::MissingKid));
    assert_eq!(seal(&event(), &es256(Some("a/b")), None, NOW), Err(SealError::Kid));
    let hmac = josekit::jws::HS256.signer_from_bytes([7; 32]).unwrap();
    assert_eq!(seal(&event(), &hmac, None, NOW), Err(SealError::Algorithm { alg: "HS256".into() }));
}

#[test]
fn debug_shows_no_content() {
    let key = es256();
    let own = generate_decryption_key(EncryptionKeyType::P256).unwrap();
    let recipient =
        EncryptionKey::from_jwk(&Jwk::parse(own.public_jwk().to_json().to_string().as_bytes()).unwrap());
    let mut event = event();
    event.data = Data::json(br#""tell nobody""#).unwrap();
    let token = seal(&event, &key, Some(&recipient.unwrap()), NOW).unwrap();
    let Token::Sealed(sealed) = Token::parse(token.as_bytes(), &Limits::default()).unwrap() else {
        panic!("signed")
    };
    let mut shown = format!("{sealed:?}");
    let signed = sealed.decrypt(&own).unwrap();
    shown += &format!("{signed:?}");
    shown += &format!("{:?}", signed.verify(&key.verifying_key(), &expected(), NOW).unwrap());
    let last = token.rsplit('.').next().unwrap();
    assert!(
        !shown.contains("tell nobody") && !shown.contains(last) && !shown.contains("116, 101, 108"),
        "{shown}"
    );
}
