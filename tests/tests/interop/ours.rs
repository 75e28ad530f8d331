//! Direction one: we seal, another library opens.

use serde_json::{Value, json};
use waxseal_envelope::{Event, jwe, jws, seal};
use waxseal_keys::{SigningKey, Timestamp};

use crate::cases::{
    BINARY, Content, DATA, FIXTURE, ISSUED, OpenAnswer, OpenCase, Recipient, binary_event, binary_wrapper,
    claims, from_base64url, json_event,
};
use crate::program::Library;

/// Seals every pair, lets `library` open all of it, and compares what it read with what we put in.
pub(crate) fn opened_by(library: Library) {
    let mut expected = Vec::new();
    for (signer, recipient) in FIXTURE.pairs() {
        expected.push(Expected::event(&json_event(), signer, recipient, Content::Json));
    }
    let (signer, recipient) = (&FIXTURE.signers[0], &FIXTURE.recipients[0]);
    expected.push(Expected::event(&binary_event(), signer, Some(recipient), Content::Binary));
    expected.extend(FIXTURE.signers.iter().map(Expected::signed_bytes));
    expected.extend(FIXTURE.recipients.iter().map(Expected::encrypted_bytes));

    let cases: Vec<_> = expected.iter().map(|each| &each.case).collect();
    let answers: Vec<OpenAnswer> = library.run("open", &cases);
    for (expected, answer) in expected.iter().zip(&answers) {
        expected.judge(answer);
    }
}

/// One token and what another library has to read in it.
struct Expected {
    case: OpenCase,
    content: Content,
    signer: Option<&'static SigningKey>,
    recipient: Option<&'static Recipient>,
}

impl Expected {
    fn event(
        event: &Event,
        signer: &'static SigningKey,
        recipient: Option<&'static Recipient>,
        content: Content,
    ) -> Self {
        let issued_at = Timestamp::from_seconds(ISSUED);
        let token = seal(event, signer, recipient.map(|one| &one.public), issued_at).expect("sealed");
        Self::new(token, content, Some(signer), recipient)
    }

    fn signed_bytes(signer: &'static SigningKey) -> Self {
        let token = jws::sign(BINARY, &jws::JwsHeader::default(), signer).expect("signed");
        Self::new(token, Content::Bytes, Some(signer), None)
    }

    fn encrypted_bytes(recipient: &'static Recipient) -> Self {
        let token = jwe::encrypt(BINARY, None, None, &recipient.public).expect("encrypted");
        Self::new(token, Content::Bytes, None, Some(recipient))
    }

    fn new(
        token: String,
        content: Content,
        signer: Option<&'static SigningKey>,
        recipient: Option<&'static Recipient>,
    ) -> Self {
        let signed = signer.map_or("not signed", |key| key.alg().name());
        let sealed = recipient.map_or_else(|| "not sealed".to_owned(), Recipient::name);
        let case = OpenCase {
            name: format!("{signed}, {sealed}"),
            token,
            verify: signer.map(|key| key.public_jwk().to_json()),
            alg: signer.map(|key| key.alg().name()),
            decrypt: recipient.map(Recipient::private_json),
            key_management: recipient.map(|one| one.key.alg().name()),
        };
        Self { case, content, signer, recipient }
    }

    fn judge(&self, answer: &OpenAnswer) {
        let name = &self.case.name;
        assert_eq!(&answer.name, name);
        assert_eq!(answer.error, None, "{name}");
        let payload = from_base64url(answer.payload.as_deref().expect("a payload"));
        match self.content {
            Content::Json => {
                let text = str::from_utf8(&payload).expect("JSON is UTF-8");
                assert_eq!(json(&payload), claims(&json!({ "data": json(DATA.as_bytes()) })), "{name}");
                assert!(text.contains(DATA), "{name}: the data changed on its way: {text}");
            }
            Content::Binary => {
                assert_eq!(json(&payload), claims(&binary_wrapper()), "{name}");
            }
            Content::Bytes => assert_eq!(payload, BINARY, "{name}"),
        }
        self.judge_headers(answer);
    }

    /// Exactly the members of `docs/wire-format.md`, and keys that both sides give the same thumbprint.
    fn judge_headers(&self, answer: &OpenAnswer) {
        let name = &self.case.name;
        let whole = !matches!(self.content, Content::Bytes);
        let kid = self.signer.map(SigningKey::kid);
        assert_eq!(answer.signer_thumbprint.as_deref(), kid, "{name}");
        let header = self.signer.map(|key| {
            let mut header = json!({ "alg": key.alg().name(), "kid": key.kid() });
            if whole {
                header["typ"] = "secevent+jwt".into();
            }
            header
        });
        assert_eq!(answer.header, header, "{name}");

        let kid = self.recipient.map(|one| one.key.kid());
        assert_eq!(answer.recipient_thumbprint.as_deref(), kid, "{name}");
        let mut outer = answer.outer_header.clone();
        let epk = outer.as_mut().and_then(|header| header.as_object_mut()?.remove("epk"));
        assert_eq!(epk.is_some(), self.recipient.is_some_and(|one| one.key.curve().is_some()), "{name}");
        let header = self.recipient.map(|one| {
            let mut header = json!({ "alg": one.key.alg().name(), "enc": "A256GCM", "kid": one.key.kid() });
            if whole {
                header["typ"] = "secevent+jwt".into();
                header["cty"] = "JWT".into();
            }
            header
        });
        assert_eq!(outer, header, "{name}");
    }
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("JSON")
}
