//! Random changes to honest tokens and keys at every entry point: nothing panics, and nothing that differs from what
//! was signed is accepted (row 48). The bounded sibling of the targets in `fuzz/`.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use waxseal_envelope::{Data, Limits, OpenError, Opened, Token, jwe, jws};
use waxseal_keys::{DecryptionKey, Jwk, PrivateJwk};

use crate::forge::{ES256, P256, Parts, RSA, X25519, claims, header, open_with, sign, signed};

/// One change to a sequence of bytes.
#[derive(Clone, Debug)]
enum Change {
    Flip { at: prop::sample::Index, bit: u8 },
    Replace { at: prop::sample::Index, byte: u8 },
    Insert { at: prop::sample::Index, byte: u8 },
    Remove { at: prop::sample::Index },
    Truncate { at: prop::sample::Index },
    Repeat { from: prop::sample::Index, len: usize },
    Swap { a: prop::sample::Index, b: prop::sample::Index },
}

fn change() -> impl Strategy<Value = Change> {
    use prop::sample::Index;
    let interesting = prop_oneof![any::<u8>(), prop::sample::select(&b"AZaz09-_.={}\"\\,:[]"[..])];
    prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip { at, bit }),
        (any::<Index>(), interesting.clone()).prop_map(|(at, byte)| Change::Replace { at, byte }),
        (any::<Index>(), interesting).prop_map(|(at, byte)| Change::Insert { at, byte }),
        any::<Index>().prop_map(|at| Change::Remove { at }),
        any::<Index>().prop_map(|at| Change::Truncate { at }),
        (any::<Index>(), 1..40_usize).prop_map(|(from, len)| Change::Repeat { from, len }),
        (any::<Index>(), any::<Index>()).prop_map(|(a, b)| Change::Swap { a, b }),
    ]
}

fn apply(bytes: &mut Vec<u8>, change: &Change) {
    if bytes.is_empty() {
        return;
    }
    let len = bytes.len();
    match change {
        Change::Flip { at, bit } => bytes[at.index(len)] ^= 1 << bit,
        Change::Replace { at, byte } => bytes[at.index(len)] = *byte,
        Change::Insert { at, byte } => bytes.insert(at.index(len), *byte),
        Change::Remove { at } => drop(bytes.remove(at.index(len))),
        Change::Truncate { at } => bytes.truncate(at.index(len)),
        Change::Repeat { from, len: count } => {
            let from = from.index(len);
            let piece = bytes[from..len.min(from + count)].to_vec();
            bytes.splice(from..from, piece);
        }
        Change::Swap { a, b } => bytes.swap(a.index(len), b.index(len)),
    }
}

fn mutated(original: &[u8], changes: &[Change]) -> Vec<u8> {
    let mut bytes = original.to_vec();
    changes.iter().for_each(|change| apply(&mut bytes, change));
    bytes
}

/// Runs a check over changes to an original; always the same ones, so that a failure is one for everybody.
fn run(cases: u32, original: &[u8], check: impl Fn(&[u8], bool) -> Result<(), TestCaseError>) {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = prop::collection::vec(change(), 1..5);
    let outcome = runner.run(&strategy, |changes| {
        let bytes = mutated(original, &changes);
        check(&bytes, bytes == original)
    });
    outcome.unwrap();
}

/// Accepted if and only if unchanged.
fn only_the_original(token: &str, open: impl Fn(&[u8]) -> Result<Opened, OpenError>) {
    assert!(open(token.as_bytes()).is_ok());
    run(4000, token.as_bytes(), |bytes, same| {
        prop_assert_eq!(open(bytes).is_ok(), same);
        Ok(())
    });
}

#[test]
fn row_48_signed_tokens() {
    only_the_original(&signed(), |bytes| open_with(bytes, &ES256, &P256));
}

#[test]
fn row_48_sealed_tokens() {
    for key in [&P256, &X25519, &RSA] {
        only_the_original(&Parts::new(key, &signed()).token(), |bytes| open_with(bytes, &ES256, key));
    }
}

/// Changes inside: headers and claims are changed before they are encoded, so that the JSON readers see them.
#[test]
fn row_48_headers_and_claims() {
    let json = header(&ES256).to_string();
    run(4000, json.as_bytes(), |bytes, _| {
        let token = [crate::forge::b64(bytes).as_bytes(), b".e30.AAAA"].concat();
        prop_assert!(open_with(&token, &ES256, &P256).is_err());
        Ok(())
    });
    let outer = Parts::new(&P256, "").header.to_string();
    run(4000, outer.as_bytes(), |bytes, _| {
        let token =
            [crate::forge::b64(bytes).as_bytes(), b"..AAAAAAAAAAAAAAAA..AAAAAAAAAAAAAAAAAAAAAA"].concat();
        prop_assert!(open_with(&token, &ES256, &P256).is_err());
        Ok(())
    });
    // These are signed after the change: what is accepted must still be what the format says.
    let claims = claims().to_string();
    run(4000, claims.as_bytes(), |bytes, _| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(opened) = open_with(sign(&ES256, header(&ES256), text).as_bytes(), &ES256, &P256) {
            prop_assert_eq!(opened.event.audience.as_str(), "acme");
            prop_assert_eq!(opened.event.issuer.as_str(), "https://h.example");
            prop_assert!((1..=128).contains(&opened.event.id.as_str().len()));
        }
        Ok(())
    });
}

/// What decrypts to arbitrary bytes.
#[test]
fn row_48_contents_of_sealed_tokens() {
    let inner = signed();
    run(1000, inner.as_bytes(), |bytes, same| {
        let parts = Parts { content: bytes.to_vec(), ..Parts::new(&P256, "") };
        prop_assert_eq!(open_with(parts.token().as_bytes(), &ES256, &P256).is_ok(), same);
        Ok(())
    });
}

#[test]
fn row_48_raw_layers() {
    let (token, sealed) = (signed(), Parts::new(&P256, "hello").token());
    let (verifying, decryption): (_, &DecryptionKey) = (ES256.verifying_key(), &P256);
    run(3000, token.as_bytes(), |bytes, same| {
        prop_assert_eq!(jws::verify(bytes, &verifying).is_ok(), same);
        Ok(())
    });
    run(3000, sealed.as_bytes(), |bytes, same| {
        prop_assert_eq!(jwe::decrypt(bytes, decryption).is_ok(), same);
        Ok(())
    });
}

/// Keys: a changed key may still be a key, but then it is read back the same.
#[test]
fn row_48_keys() {
    for jwk in [ES256.public_jwk(), X25519.public_jwk(), RSA.public_jwk()] {
        run(2000, jwk.to_json().to_string().as_bytes(), |bytes, _| {
            if let Ok(key) = Jwk::parse(bytes) {
                let again = Jwk::parse(key.to_json().to_string().as_bytes());
                prop_assert_eq!(again.map_err(|error| error.code()), Ok(key));
            }
            Ok(())
        });
    }
    let private = ES256.to_jwk().to_json();
    run(2000, private.as_bytes(), |bytes, _| {
        prop_assert!(Jwk::parse(bytes).is_err() || !String::from_utf8_lossy(bytes).contains("\"d\""));
        let _ = PrivateJwk::parse(bytes);
        Ok(())
    });
}

/// What a publisher sends: accepted only if every reader takes it the same way.
#[test]
fn row_48_published_data() {
    let json =
        br#"{"a":[1,-2.5e3,"\u00e9\ud83d\ude00",{"b":null,"c":{"d":[true,false]}}],"e":{"a":1,"b":{}}}"#;
    run(6000, json, |bytes, _| {
        if let Ok(Data::Json(text)) = Data::json(bytes) {
            prop_assert!(waxseal_keys::strict_json::from_slice(text.get().as_bytes(), 64).is_ok());
        } else {
            prop_assert!(waxseal_keys::strict_json::from_slice(bytes, 64).is_err());
        }
        Ok(())
    });
}

/// Bytes that never were a token.
#[test]
fn row_48_arbitrary_bytes() {
    let config = Config { cases: 4000, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let strategy = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..400),
        prop::collection::vec(prop::sample::select(&b"eyJhbGci._-A"[..]), 0..400),
    ];
    let outcome = runner.run(&strategy, |bytes| {
        prop_assert!(Token::parse(&bytes, &Limits::default()).is_err());
        Ok(())
    });
    outcome.unwrap();
}

/// The corpus of the fuzz targets: every input is read without a panic, and the honest ones still open.
#[test]
fn row_48_fuzz_corpus() {
    let corpus = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut inputs = 0;
    for target in ["parse", "open", "jwk"] {
        for entry in std::fs::read_dir(corpus.join(target)).unwrap() {
            let bytes = std::fs::read(entry.unwrap().path()).unwrap();
            assert!(open_with(&bytes, &ES256, &P256).is_err());
            let _ = (Data::json(&bytes), Jwk::parse(&bytes), PrivateJwk::parse(&bytes));
            inputs += 1;
        }
    }
    assert!(inputs > 60, "{inputs}");
    for honest in ["open/signed", "open/sealed", "open/binary"] {
        assert!(Token::parse(&std::fs::read(corpus.join(honest)).unwrap(), &Limits::default()).is_ok());
    }
}
