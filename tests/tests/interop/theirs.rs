//! Direction two: another library signs and encrypts by the document, we open.

use std::time::Duration;

use serde_json::{Value, json};
use waxseal_envelope::{Audience, Data, Expected, Issuer, Limits, Opened, Token, jwe, jws};
use waxseal_keys::{Jwk, SigningKey, Timestamp, VerifyingKey};

use crate::cases::{
    BINARY, Content, DATA, FIXTURE, ISSUED, ISSUER, MakeAnswer, MakeCase, Recipient, base64url, binary_event,
    binary_wrapper, claims, json_event,
};
use crate::program::Library;

/// Lets `library` make a token for every pair, with keys of its own, and opens all of them.
pub(crate) fn opened_here(library: Library) {
    let json_claims = json_claims();
    let mut made = Vec::new();
    for (signer, recipient) in FIXTURE.pairs() {
        made.push(Made::event(&json_claims, signer, recipient, Content::Json));
    }
    let binary_claims = claims(&binary_wrapper()).to_string();
    let (signer, recipient) = (&FIXTURE.signers[0], &FIXTURE.recipients[0]);
    made.push(Made::event(&binary_claims, signer, Some(recipient), Content::Binary));
    made.extend(FIXTURE.signers.iter().map(Made::signed_bytes));
    made.extend(FIXTURE.recipients.iter().map(Made::encrypted_bytes));

    let cases: Vec<_> = made.iter().map(|each| &each.case).collect();
    let answers: Vec<MakeAnswer> = library.run("make", &cases);
    for (made, answer) in made.iter().zip(&answers) {
        made.judge(answer);
    }
}

/// One token to make and what we have to read in it.
struct Made {
    case: MakeCase,
    content: Content,
    recipient: Option<&'static Recipient>,
}

impl Made {
    fn event(
        claims: &str,
        signer: &SigningKey,
        recipient: Option<&'static Recipient>,
        content: Content,
    ) -> Self {
        let header = json!({ "typ": "secevent+jwt", "alg": signer.alg().name() });
        let outer = recipient.map(|one| outer_header(one, Some(("secevent+jwt", "JWT"))));
        Self::new(claims.as_bytes(), Some(header), recipient, outer, content)
    }

    fn signed_bytes(signer: &SigningKey) -> Self {
        let header = json!({ "alg": signer.alg().name() });
        Self::new(BINARY, Some(header), None, None, Content::Bytes)
    }

    fn encrypted_bytes(recipient: &'static Recipient) -> Self {
        Self::new(BINARY, None, Some(recipient), Some(outer_header(recipient, None)), Content::Bytes)
    }

    fn new(
        payload: &[u8],
        header: Option<Value>,
        recipient: Option<&'static Recipient>,
        outer_header: Option<Value>,
        content: Content,
    ) -> Self {
        let signed = header.as_ref().map_or("not signed", |header| header["alg"].as_str().expect("a name"));
        let sealed = recipient.map_or_else(|| "not sealed".to_owned(), Recipient::name);
        let case = MakeCase {
            name: format!("{signed}, {sealed}"),
            payload: base64url(payload),
            header,
            encrypt: recipient.map(|one| one.key.public_jwk().to_json()),
            outer_header,
        };
        Self { case, content, recipient }
    }

    fn judge(&self, answer: &MakeAnswer) {
        let name = &self.case.name;
        assert_eq!(&answer.name, name);
        assert_eq!(answer.error, None, "{name}");
        let token = answer.token.as_deref().expect("a token");
        let verifying = answer.verify.as_ref().map(|jwk| {
            let jwk =
                Jwk::parse(jwk.to_string().as_bytes()).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(jwk.kid(), Some(jwk.thumbprint().as_str()), "{name}: another thumbprint than theirs");
            VerifyingKey::from_jwk(&jwk).unwrap_or_else(|error| panic!("{name}: {error}"))
        });
        match (&self.content, verifying) {
            (Content::Bytes, Some(key)) => {
                assert_eq!(jws::verify(token.as_bytes(), &key).expect(name), BINARY, "{name}");
            }
            (Content::Bytes, None) => {
                let key = &self.recipient.expect("encrypted, then").key;
                assert_eq!(jwe::decrypt(token.as_bytes(), key).expect(name), BINARY, "{name}");
            }
            (content, Some(key)) => self.judge_event(content, &self.open(token, &key), &key),
            (_, None) => panic!("{name}: no verification key"),
        }
    }

    fn open(&self, token: &str, key: &VerifyingKey) -> Opened {
        let name = &self.case.name;
        let signed = match Token::parse(token.as_bytes(), &Limits::default()).expect(name) {
            Token::Signed(signed) => {
                assert!(self.recipient.is_none(), "{name}: not sealed");
                signed
            }
            Token::Sealed(sealed) => {
                let recipient = self.recipient.unwrap_or_else(|| panic!("{name}: sealed"));
                assert_eq!(sealed.recipient_kid(), recipient.key.kid(), "{name}");
                sealed.decrypt(&recipient.key).expect(name)
            }
        };
        assert_eq!(signed.signer_kid(), key.kid(), "{name}");
        let issuer = Issuer::parse(ISSUER).expect("an issuer");
        let expected = Expected::new(issuer, Audience::parse("acme").expect("an audience"));
        let now = Timestamp::from_seconds(ISSUED).saturating_add(Duration::from_secs(5));
        signed.verify(key, &expected, now).expect(name)
    }

    fn judge_event(&self, content: &Content, opened: &Opened, key: &VerifyingKey) {
        let name = &self.case.name;
        assert_eq!(opened.issued_at, Timestamp::from_seconds(ISSUED), "{name}");
        assert_eq!(opened.signer_kid, key.kid(), "{name}");
        assert_eq!(opened.sealed_to.as_deref(), self.recipient.map(|one| one.key.kid()), "{name}");
        let sent = match content {
            Content::Binary => binary_event(),
            Content::Json | Content::Bytes => json_event(),
        };
        let event = &opened.event;
        assert_eq!(
            (&event.issuer, &event.audience, &event.id),
            (&sent.issuer, &sent.audience, &sent.id),
            "{name}"
        );
        assert_eq!((&event.event_type, &event.txn), (&sent.event_type, &sent.txn), "{name}");
        assert_eq!((event.occurred_at, &event.redelivery_of), (sent.occurred_at, &None), "{name}");
        match (&event.data, &sent.data) {
            (Data::Json(read), Data::Json(written)) => assert_eq!(read.get(), written.get(), "{name}"),
            (Data::Binary { content_type, bytes }, Data::Binary { .. }) => {
                assert_eq!((content_type.as_str(), bytes.as_slice()), ("image/png", BINARY), "{name}");
            }
            (read, written) => panic!("{name}: {read:?} instead of {written:?}"),
        }
    }
}

fn outer_header(recipient: &Recipient, types: Option<(&str, &str)>) -> Value {
    let key = &recipient.key;
    let mut header = json!({ "alg": key.alg().name(), "enc": "A256GCM", "kid": key.kid() });
    if let Some((typ, cty)) = types {
        header["typ"] = typ.into();
        header["cty"] = cty.into();
    }
    header
}

/// The claims as text, with the data exactly as it was published.
fn json_claims() -> String {
    claims(&json!({ "data": "DATA" })).to_string().replace(r#""DATA""#, DATA)
}
