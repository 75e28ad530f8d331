//! A token becomes an event, in stages that consume each other: parse, decrypt, verify.
//!
//! Relies on the caller for keys and the time. Guarantees that an [`Event`] comes out of bytes only after every check
//! of the format: what an earlier stage shows (key ids, the claimed issuer) serves to find a key and nothing else.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;
use waxseal_keys::{DecryptionKey, SignatureAlgorithm, Timestamp, VerifyingKey};

use crate::claims::{self, Claims};
use crate::compact::{self, Limits, Segments};
use crate::data::Data;
use crate::error::{ClaimsError, HeaderError, Malformed, OpenError, Part};
use crate::event::{Audience, Event, EventType, Issuer};
use crate::header::Header;
use crate::json::Text;
use crate::jwe;

/// A token of this format by its shape alone: nothing in it is verified.
#[derive(Debug)]
pub enum Token {
    /// Signed only.
    Signed(Signed),
    /// Signed, then encrypted.
    Sealed(Sealed),
}

impl Token {
    /// Reads a token's shape and headers.
    ///
    /// ```
    /// use waxseal_envelope::{Limits, Token};
    ///
    /// let refused = Token::parse(b"{\"not\":\"a token\"}", &Limits::default()).unwrap_err();
    /// assert_eq!(refused.code(), "open.malformed");
    /// ```
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, OpenError> {
        match Segments::split(bytes, limits)? {
            Segments::Three(_) => Signed::parse(bytes.to_vec(), limits, None).map(Self::Signed),
            Segments::Five(segments) => Sealed::parse(segments, limits).map(Self::Sealed),
        }
    }
}

/// A sealed token, not yet decrypted.
#[derive(Debug)]
pub struct Sealed {
    outer: Outer,
    parts: jwe::Parts,
    limits: Limits,
}

/// What the outer header said, for comparison with the signed claims (RFC 7519 section 5.3).
#[derive(Debug)]
struct Outer {
    kid: String,
    iss: Option<String>,
    aud: Option<String>,
}

impl Sealed {
    fn parse(segments: [&[u8]; 5], limits: &Limits) -> Result<Self, OpenError> {
        let json = compact::decode_header(segments[0], limits)?;
        let header = Header::parse(&json)?;
        header.require_typ()?;
        header.require_cty()?;
        let parts = jwe::Parts::parse(segments, &header)?;
        let outer = Outer {
            kid: header.require_recipient_kid()?.to_owned(),
            iss: header.iss.map(Text::into_string),
            aud: header.aud.map(Text::into_string),
        };
        Ok(Self { outer, parts, limits: *limits })
    }

    /// The `kid` of the key that it was encrypted to: use it to find one's own key and for nothing else.
    #[must_use]
    pub fn recipient_kid(&self) -> &str {
        &self.outer.kid
    }

    /// Decrypts, and reads the shape of the signed token inside. That it decrypts proves nothing about its sender:
    /// anybody can encrypt to a public key.
    pub fn decrypt(self, key: &DecryptionKey) -> Result<Signed, OpenError> {
        if key.kid() != self.outer.kid {
            return Err(OpenError::UnknownKey);
        }
        let inner = self.parts.decrypt(key)?;
        Signed::parse(inner, &self.limits, Some(self.outer))
    }
}

/// A signed token, not yet verified.
pub struct Signed {
    token: Vec<u8>,
    signing_input: usize,
    alg: SignatureAlgorithm,
    kid: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
    claimed_issuer: String,
    outer: Option<Outer>,
}

impl Signed {
    /// Reads the shape of a signed token; `outer` if it was inside a sealed one, so that it cannot be one itself.
    fn parse(token: Vec<u8>, limits: &Limits, outer: Option<Outer>) -> Result<Self, OpenError> {
        let segments = Segments::split(&token, limits)?;
        let Segments::Three([header, payload, signature]) = segments else {
            return Err(Malformed::Inner.into());
        };
        let json = compact::decode_header(header, limits)?;
        let parsed = Header::parse(&json)?;
        parsed.require_jws()?;
        // Exactly typ, alg, kid: `cty` would announce a content that a signed token of this format does not have.
        if parsed.cty.is_some() {
            return Err(HeaderError::Unknown { member: "cty".into() }.into());
        }
        parsed.require_typ()?;
        let kid = parsed.require_signer_kid()?.to_owned();
        let alg = SignatureAlgorithm::from_name(parsed.alg()?).ok_or(OpenError::Algorithm)?;
        let signing_input = header.len() + 1 + payload.len();
        let signature = compact::decode(signature, Part::Signature)?;
        let payload = compact::decode(payload, Part::Payload)?;
        let claimed_issuer = claims::claimed_issuer(&payload)?;
        Ok(Self { token, signing_input, alg, kid, payload, signature, claimed_issuer, outer })
    }

    /// The `kid` of the key that is said to have signed it: use it to find the key and for nothing else.
    #[must_use]
    pub fn signer_kid(&self) -> &str {
        &self.kid
    }

    /// The issuer that it claims to be from. Untrusted: use it to select a configured issuer and for nothing else.
    #[must_use]
    pub fn claimed_issuer(&self) -> &str {
        &self.claimed_issuer
    }

    /// Whether it came out of a sealed token.
    #[must_use]
    pub fn was_sealed(&self) -> bool {
        self.outer.is_some()
    }

    /// Verifies the signature with the issuer's key, then every claim against what is expected at `now`.
    pub fn verify(
        self,
        key: &VerifyingKey,
        expected: &Expected,
        now: Timestamp,
    ) -> Result<Opened, OpenError> {
        if key.kid() != self.kid {
            return Err(OpenError::UnknownKey);
        }
        if key.alg() != self.alg {
            return Err(OpenError::Algorithm);
        }
        let signing_input = &self.token[..self.signing_input];
        key.verify(signing_input, &self.signature).map_err(|_| OpenError::Signature)?;
        // From here on it is the signer who speaks.
        let claims = Claims::parse(&self.payload)?;
        expected.check(&claims, self.outer.as_ref(), now)?;
        let event_type = event_type(&expected.issuer, &claims)?;
        Ok(Opened {
            issued_at: Timestamp::from_seconds(claims.iat),
            event: Event {
                issuer: expected.issuer.clone(),
                audience: expected.audience.clone(),
                id: claims.jti,
                event_type,
                occurred_at: claims.toe.map(Timestamp::from_seconds),
                txn: claims.txn.map(Text::into_string),
                data: claims.data,
                redelivery_of: claims.redelivery_of,
            },
            signer_kid: self.kid,
            sealed_to: self.outer.map(|outer| outer.kid),
        })
    }
}

/// Shows the key ids, never the token.
impl fmt::Debug for Signed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { alg, kid, outer, .. } = self;
        f.debug_struct("Signed")
            .field("alg", alg)
            .field("kid", kid)
            .field("outer", outer)
            .finish_non_exhaustive()
    }
}

/// What the receiver expects of every token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expected {
    /// The issuer whose key is given to [`Signed::verify`].
    pub issuer: Issuer,
    /// Who the receiver is.
    pub audience: Audience,
    /// How long ago a token may have been signed. The standard is 300 s.
    pub max_age: Duration,
    /// How far in the future a token may have been signed, by another clock. The standard is 60 s.
    pub max_skew: Duration,
}

impl Expected {
    /// With the standard window: 300 s back, 60 s ahead.
    #[must_use]
    pub fn new(issuer: Issuer, audience: Audience) -> Self {
        Self { issuer, audience, max_age: Duration::from_secs(300), max_skew: Duration::from_secs(60) }
    }

    fn check(&self, claims: &Claims<'_>, outer: Option<&Outer>, now: Timestamp) -> Result<(), OpenError> {
        if claims.iss.as_str() != self.issuer.as_str() {
            return Err(OpenError::Issuer);
        }
        if claims.aud.as_str() != self.audience.as_str() {
            return Err(OpenError::Audience);
        }
        if let Some(outer) = outer {
            for (member, outside, inside) in
                [("iss", &outer.iss, &claims.iss), ("aud", &outer.aud, &claims.aud)]
            {
                if outside.as_deref().is_some_and(|outside| outside != inside.as_str()) {
                    return Err(OpenError::Outer { member });
                }
            }
        }
        let issued_at = Timestamp::from_seconds(claims.iat);
        let (age, ahead) = (now.duration_since(issued_at), issued_at.duration_since(now));
        if ahead > self.max_skew {
            return Err(OpenError::Future { ahead });
        }
        if age > self.max_age {
            return Err(OpenError::Stale { age });
        }
        Ok(())
    }
}

/// An event that passed every check, and how it came.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Opened {
    /// The event.
    pub event: Event,
    /// When this attempt was signed.
    pub issued_at: Timestamp,
    /// The `kid` of the key that signed it.
    pub signer_kid: String,
    /// The `kid` of the key that it was sealed to; `None` if it came signed only.
    pub sealed_to: Option<String>,
}

impl Opened {
    /// The `state` of a verification event, by which an endpoint proves that its owner wants events; `None` for
    /// every other event.
    #[must_use]
    pub fn verification(&self) -> Option<&str> {
        if self.event.event_type.as_str() == VERIFICATION { state(&self.event.data) } else { None }
    }
}

/// The content of a verification event: exactly this member.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Verification<'a> {
    state: &'a str,
}

fn state(data: &Data) -> Option<&str> {
    // A derived struct would also take an array of its fields.
    let Data::Json(text) = data else { return None };
    let object = Some(text.get()).filter(|text| text.starts_with('{'))?;
    serde_json::from_str::<Verification<'_>>(object).ok().map(|verification| verification.state)
}

fn event_type(issuer: &Issuer, claims: &Claims<'_>) -> Result<EventType, ClaimsError> {
    let event_type =
        issuer.event_type(claims.event_uri.as_str()).map_err(|_| ClaimsError::Value { claim: "events" })?;
    // A verification event without a state could otherwise reach a handler as if it were one of the publisher's.
    if event_type.as_str() == VERIFICATION && state(&claims.data).is_none() {
        return Err(ClaimsError::Value { claim: "state" });
    }
    Ok(event_type)
}

/// The type by which an endpoint is verified before it receives anything else.
pub const VERIFICATION: &str = "waxseal.verification";
