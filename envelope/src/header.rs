//! Protected headers (RFC 7515 section 4, RFC 7516 section 4): known members only, each with its one type.
//!
//! Relies on serde_json for the grammar. Guarantees that a header that parses has no duplicate and no unknown
//! member, none of those that bring keys, compression or semantics of their own, and an ephemeral key of exactly
//! its public members. What a *token of this format* must have on top of that is checked in `require_*`.

use std::fmt;

use serde::de::{Deserializer as _, Error as _, IgnoredAny, MapAccess, Visitor};
use waxseal_keys::Curve;

use crate::compact;
use crate::error::{HeaderError, Part};
use crate::json::Text;

/// Every member that any header of this format may have.
#[derive(Debug, Default)]
pub(crate) struct Header<'a> {
    pub(crate) alg: Option<Text<'a>>,
    pub(crate) enc: Option<Text<'a>>,
    pub(crate) typ: Option<Text<'a>>,
    pub(crate) cty: Option<Text<'a>>,
    pub(crate) kid: Option<Text<'a>>,
    pub(crate) apu: Option<Text<'a>>,
    pub(crate) apv: Option<Text<'a>>,
    pub(crate) iss: Option<Text<'a>>,
    pub(crate) aud: Option<Text<'a>>,
    pub(crate) epk: Option<Epk>,
}

impl<'a> Header<'a> {
    /// Reads the header's JSON.
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, HeaderError> {
        // Checked once for the whole text; the parser then borrows from it.
        let json = str::from_utf8(json).map_err(|_| HeaderError::Json)?;
        let mut at = At::default();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        let parsed = deserializer.deserialize_map(HeaderVisitor(&mut at));
        parsed.and_then(|header| deserializer.end().map(|()| header)).map_err(|error| at.reason(&error))
    }

    /// The members that a JWS may not have (RFC 7516's own, and claims replicated outside).
    pub(crate) fn require_jws(&self) -> Result<(), HeaderError> {
        let foreign = [
            ("enc", &self.enc),
            ("apu", &self.apu),
            ("apv", &self.apv),
            ("iss", &self.iss),
            ("aud", &self.aud),
        ];
        let foreign = foreign.iter().find(|(_, value)| value.is_some()).map(|(member, _)| *member);
        match foreign.or_else(|| self.epk.as_ref().map(|_| "epk")) {
            Some(member) => Err(HeaderError::Unknown { member: member.into() }),
            None => Ok(()),
        }
    }

    /// `alg`, which every header has.
    pub(crate) fn alg(&self) -> Result<&str, HeaderError> {
        self.alg.as_ref().map(Text::as_str).ok_or(HeaderError::Missing { member: "alg" })
    }

    /// `typ` must name this format's media type (RFC 8725 section 3.11, RFC 8417 section 2.3).
    pub(crate) fn require_typ(&self) -> Result<(), HeaderError> {
        require_media_type("typ", self.typ.as_ref(), TYP)
    }

    /// `cty` must say that the content is a JWT (RFC 7519 section 5.2).
    pub(crate) fn require_cty(&self) -> Result<(), HeaderError> {
        require_media_type("cty", self.cty.as_ref(), CTY)
    }

    /// `kid` of a signed token: ours are thumbprints, so it is of a shape that is safe in any map, path or log.
    pub(crate) fn require_signer_kid(&self) -> Result<&str, HeaderError> {
        self.require_kid(is_signer_kid)
    }

    /// `kid` of a sealed token: the consumer's own, echoed, so whatever a JWK may have.
    pub(crate) fn require_recipient_kid(&self) -> Result<&str, HeaderError> {
        self.require_kid(|kid| {
            (1..=128).contains(&kid.len())
                && kid.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'))
        })
    }

    fn require_kid(&self, allowed: fn(&str) -> bool) -> Result<&str, HeaderError> {
        let kid = self.kid.as_ref().ok_or(HeaderError::Missing { member: "kid" })?.as_str();
        if allowed(kid) { Ok(kid) } else { Err(HeaderError::Value { member: "kid" }) }
    }
}

/// An ephemeral public key (RFC 7518 section 4.6.1.1): the point is not yet validated.
#[derive(Debug)]
pub(crate) struct Epk {
    pub(crate) curve: Curve,
    /// `x || y` for EC, `x` for OKP.
    pub(crate) public: Vec<u8>,
}

impl Epk {
    fn new(members: &EpkMembers<'_>) -> Result<Self, HeaderError> {
        let missing = HeaderError::Value { member: "epk" };
        let (Some(kty), Some(crv), Some(x)) = (&members.kty, &members.crv, &members.x) else {
            return Err(missing);
        };
        let curve = match (kty.as_str(), crv.as_str(), &members.y) {
            ("EC", "P-256", Some(_)) => Curve::P256,
            ("EC", "P-384", Some(_)) => Curve::P384,
            ("OKP", "X25519", None) => Curve::X25519,
            _ => return Err(missing),
        };
        let mut public = Vec::new();
        for coordinate in std::iter::once(x).chain(&members.y) {
            let bytes = compact::decode(coordinate.as_str().as_bytes(), Part::Header).unwrap_or_default();
            if bytes.len() != curve.coordinate_len() {
                return Err(HeaderError::Value { member: "epk" });
            }
            public.extend_from_slice(&bytes);
        }
        Ok(Self { curve, public })
    }
}

/// Where the reader is, and what it found wrong there.
#[derive(Default)]
struct At {
    member: Option<&'static str>,
    refused: Option<HeaderError>,
}

impl At {
    fn refuse<E: serde::de::Error>(&mut self, reason: HeaderError) -> E {
        self.refused = Some(reason);
        E::custom("refused")
    }

    fn reason(self, error: &serde_json::Error) -> HeaderError {
        match (self.refused, self.member) {
            (Some(reason), _) => reason,
            (None, Some(member)) if error.is_data() => HeaderError::Value { member },
            (None, _) => HeaderError::Json,
        }
    }
}

struct HeaderVisitor<'f>(&'f mut At);

impl<'de> Visitor<'de> for HeaderVisitor<'_> {
    type Value = Header<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JOSE header")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Header<'de>, A::Error> {
        let mut header = Header::default();
        while let Some(name) = members.next_key::<Text<'de>>()? {
            let (member, slot) = match name.as_str() {
                "alg" => ("alg", &mut header.alg),
                "enc" => ("enc", &mut header.enc),
                "typ" => ("typ", &mut header.typ),
                "cty" => ("cty", &mut header.cty),
                "kid" => ("kid", &mut header.kid),
                "apu" => ("apu", &mut header.apu),
                "apv" => ("apv", &mut header.apv),
                "iss" => ("iss", &mut header.iss),
                "aud" => ("aud", &mut header.aud),
                "epk" => {
                    self.0.member = Some("epk");
                    let members = members.next_value_seed(EpkSeed(&mut *self.0))?;
                    let epk = Epk::new(&members).map_err(|reason| self.0.refuse::<A::Error>(reason))?;
                    if header.epk.replace(epk).is_some() {
                        return Err(self.0.refuse(HeaderError::Duplicate { member: "epk".into() }));
                    }
                    self.0.member = None;
                    continue;
                }
                other => return Err(self.0.refuse(refuse_member(other, &name))),
            };
            self.0.member = Some(member);
            if slot.replace(members.next_value()?).is_some() {
                return Err(self.0.refuse(HeaderError::Duplicate { member: member.into() }));
            }
            self.0.member = None;
        }
        Ok(header)
    }
}

#[derive(Default)]
struct EpkMembers<'a> {
    kty: Option<Text<'a>>,
    crv: Option<Text<'a>>,
    x: Option<Text<'a>>,
    y: Option<Text<'a>>,
}

struct EpkSeed<'f>(&'f mut At);

impl<'de> serde::de::DeserializeSeed<'de> for EpkSeed<'_> {
    type Value = EpkMembers<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EpkSeed<'_> {
    type Value = EpkMembers<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a public key")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut epk = EpkMembers::default();
        while let Some(name) = members.next_key::<Text<'de>>()? {
            let slot = match name.as_str() {
                "kty" => &mut epk.kty,
                "crv" => &mut epk.crv,
                "x" => &mut epk.x,
                "y" => &mut epk.y,
                // RFC 7518 sections 6.2.2 and 6.3.2, RFC 8037 section 2: all private or symmetric members.
                "d" | "p" | "q" | "dp" | "dq" | "qi" | "oth" | "k" => {
                    return Err(self.0.refuse(HeaderError::PrivateEpk));
                }
                _ => {
                    members.next_value::<IgnoredAny>()?;
                    return Err(A::Error::custom("a member that an ephemeral key does not have"));
                }
            };
            if slot.replace(members.next_value()?).is_some() {
                return Err(self.0.refuse(HeaderError::Duplicate { member: name.shortened() }));
            }
        }
        Ok(epk)
    }
}

fn refuse_member(name: &str, text: &Text<'_>) -> HeaderError {
    match REFUSED.iter().find(|refused| **refused == name) {
        Some(member) => HeaderError::Refused { member },
        None => HeaderError::Unknown { member: text.shortened() },
    }
}

/// Media types are case-insensitive, and `application/` may be left out (RFC 7515 section 4.1.9).
fn require_media_type(
    member: &'static str,
    value: Option<&Text<'_>>,
    expected: &str,
) -> Result<(), HeaderError> {
    let value = value.ok_or(HeaderError::Missing { member })?.as_str();
    let prefix = "application/";
    let rest = match value.get(..prefix.len()) {
        Some(start) if start.eq_ignore_ascii_case(prefix) => &value[prefix.len()..],
        _ => value,
    };
    if rest.eq_ignore_ascii_case(expected) { Ok(()) } else { Err(HeaderError::Value { member }) }
}

pub(crate) fn is_signer_kid(kid: &str) -> bool {
    (1..=128).contains(&kid.len())
        && kid.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b'-'))
}

/// The media type of a Security Event Token without its prefix (RFC 8417 section 2.3).
pub(crate) const TYP: &str = "secevent+jwt";
/// The content type of a nested JWT (RFC 7519 section 5.2).
pub(crate) const CTY: &str = "JWT";

/// Members that are never accepted. `crit` announces extensions and this format has none; `b64` changes what is
/// signed; the key members would let a token bring its own key; `zip` and `p2c` let it burn memory and time.
const REFUSED: [&str; 13] =
    ["crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "x5t#S256", "zip", "p2c", "p2s", "iv", "tag"];

#[cfg(test)]
mod tests;
