//! The claims set, read (RFC 7519 section 4, RFC 8417 section 2.2).
//!
//! Relies on serde_json for the grammar. Guarantees typed claims and no duplicate member from the top through
//! `events` down to the event's object; what is inside `data` belongs to the publisher and is only delimited.

use std::cell::{Cell, RefCell};
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::data::{Data, Seen, is_content_type};
use crate::error::{ClaimsError, MAX_TXN};
use crate::event::EventId;
use crate::json::Text;

/// The claims of a token: types and shapes are right, nothing is yet compared with what was expected.
#[derive(Debug)]
pub(crate) struct Claims<'a> {
    pub(crate) iss: Text<'a>,
    pub(crate) aud: Text<'a>,
    pub(crate) jti: EventId,
    /// Seconds, within the years 1970 to 9999.
    pub(crate) iat: i64,
    pub(crate) toe: Option<i64>,
    pub(crate) txn: Option<Text<'a>>,
    /// The name of the one member of `events`.
    pub(crate) event_uri: Text<'a>,
    pub(crate) data: Data,
    pub(crate) redelivery_of: Option<EventId>,
}

impl<'a> Claims<'a> {
    pub(crate) fn parse(json: &'a [u8]) -> Result<Self, ClaimsError> {
        let at = At::default();
        let members = read(json, &at, TopVisitor(&at))?;
        let missing = |claim| move || ClaimsError::Missing { claim };
        let (event_uri, body) = members.events.ok_or_else(missing("events"))?;
        Ok(Self {
            iss: members.iss.ok_or_else(missing("iss"))?,
            aud: members.aud.ok_or_else(missing("aud"))?,
            jti: event_id("jti", &members.jti.ok_or_else(missing("jti"))?)?,
            iat: seconds("iat", members.iat.ok_or_else(missing("iat"))?)?,
            toe: members.toe.map(|toe| seconds("toe", toe)).transpose()?,
            txn: members.txn.map(publishers_id).transpose()?,
            event_uri,
            redelivery_of: body
                .redelivery_of
                .as_ref()
                .map(|text| event_id("redelivery_of", text))
                .transpose()?,
            data: body.into_data()?,
        })
    }
}

/// Reads `iss` alone, before anything is verified: it only selects a configured issuer.
pub(crate) fn claimed_issuer(json: &[u8]) -> Result<String, ClaimsError> {
    let at = At::default();
    let issuer = read(json, &at, IssuerVisitor(&at))?;
    issuer.map(Text::into_string).ok_or(ClaimsError::Missing { claim: "iss" })
}

/// Whether a publisher's own id can travel: bounded, and harmless in a log.
pub(crate) fn is_txn(text: &str) -> bool {
    (1..=MAX_TXN).contains(&text.len()) && !text.chars().any(char::is_control)
}

/// The last second of the year 9999: beyond it is no time that anybody means.
pub(crate) const MAX_SECONDS: i64 = 253_402_300_799;

/// Where the reader is, and what it found wrong there. Shared by the visitors of one text.
#[derive(Default)]
struct At {
    claim: Cell<Option<&'static str>>,
    refused: RefCell<Option<ClaimsError>>,
}

impl At {
    fn refuse<E: serde::de::Error>(&self, reason: ClaimsError) -> E {
        self.refused.replace(Some(reason));
        E::custom("refused")
    }

    fn duplicate<E: serde::de::Error>(&self, name: &str) -> E {
        self.refuse(ClaimsError::Duplicate { claim: name.chars().take(64).collect() })
    }

    /// Reads the value of a claim into its place, which must be empty.
    fn fill<'de, T: Deserialize<'de>, A: MapAccess<'de>>(
        &self,
        claim: &'static str,
        slot: &mut Option<T>,
        members: &mut A,
    ) -> Result<(), A::Error> {
        self.claim.set(Some(claim));
        if slot.replace(members.next_value()?).is_some() {
            return Err(self.duplicate(claim));
        }
        self.claim.set(None);
        Ok(())
    }

    /// Passes over a member that this format does not know, unless it appears twice.
    fn ignore<'de, A: MapAccess<'de>>(
        &self,
        name: Text<'de>,
        seen: &mut Seen<'de>,
        members: &mut A,
    ) -> Result<(), A::Error> {
        if seen.contains(&name) {
            return Err(self.duplicate(name.as_str()));
        }
        seen.insert(name);
        members.next_value::<IgnoredAny>().map(|_| ())
    }
}

fn read<'a, V: Visitor<'a>>(json: &'a [u8], at: &At, visitor: V) -> Result<V::Value, ClaimsError> {
    // Checked once for the whole text, ignored parts included; the parser then borrows from it.
    let json = str::from_utf8(json).map_err(|_| ClaimsError::Json)?;
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let parsed = (&mut deserializer).deserialize_map(visitor);
    parsed.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| {
        match (at.refused.take(), at.claim.get()) {
            (Some(reason), _) => reason,
            (None, Some(claim)) if error.is_data() => ClaimsError::Value { claim },
            (None, _) => ClaimsError::Json,
        }
    })
}

struct IssuerVisitor<'f>(&'f At);

impl<'de> Visitor<'de> for IssuerVisitor<'_> {
    type Value = Option<Text<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claims set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut issuer = None;
        while let Some(name) = members.next_key::<Text<'de>>()? {
            if name.as_str() == "iss" {
                self.0.fill("iss", &mut issuer, &mut members)?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(issuer)
    }
}

#[derive(Default)]
struct Members<'a> {
    iss: Option<Text<'a>>,
    aud: Option<Text<'a>>,
    jti: Option<Text<'a>>,
    iat: Option<u64>,
    toe: Option<u64>,
    txn: Option<Text<'a>>,
    events: Option<(Text<'a>, Body<'a>)>,
}

struct TopVisitor<'f>(&'f At);

impl<'de> Visitor<'de> for TopVisitor<'_> {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a claims set")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let at = self.0;
        let mut claims = Members::default();
        let mut unknown = Seen::default();
        while let Some(name) = members.next_key::<Text<'de>>()? {
            match name.as_str() {
                "iss" => at.fill("iss", &mut claims.iss, &mut members)?,
                "aud" => at.fill("aud", &mut claims.aud, &mut members)?,
                "jti" => at.fill("jti", &mut claims.jti, &mut members)?,
                "iat" => at.fill("iat", &mut claims.iat, &mut members)?,
                "toe" => at.fill("toe", &mut claims.toe, &mut members)?,
                "txn" => at.fill("txn", &mut claims.txn, &mut members)?,
                "events" => {
                    at.claim.set(Some("events"));
                    if claims.events.replace(members.next_value_seed(EventsVisitor(at))?).is_some() {
                        return Err(at.duplicate("events"));
                    }
                    at.claim.set(None);
                }
                // A token that lives by other rules of time or speaks of another subject is not one of ours.
                "exp" => return Err(at.refuse(ClaimsError::Forbidden { claim: "exp" })),
                "nbf" => return Err(at.refuse(ClaimsError::Forbidden { claim: "nbf" })),
                "sub" => return Err(at.refuse(ClaimsError::Forbidden { claim: "sub" })),
                _ => at.ignore(name, &mut unknown, &mut members)?,
            }
        }
        Ok(claims)
    }
}

/// `events`: an object of exactly one member, whose value is an object.
struct EventsVisitor<'f>(&'f At);

impl<'de> DeserializeSeed<'de> for EventsVisitor<'_> {
    type Value = (Text<'de>, Body<'de>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventsVisitor<'_> {
    type Value = (Text<'de>, Body<'de>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("one event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let at = self.0;
        let Some(name) = members.next_key::<Text<'de>>()? else {
            return Err(A::Error::custom("no event"));
        };
        let body = members.next_value_seed(BodyVisitor(at))?;
        at.claim.set(Some("events"));
        match members.next_key::<Text<'de>>()? {
            None => Ok((name, body)),
            Some(second) if second == name => Err(at.duplicate(name.as_str())),
            Some(_) => Err(A::Error::custom("more than one event")),
        }
    }
}

/// The event's own object: `data`, or `data_base64` with `datacontenttype`; perhaps `redelivery_of`.
#[derive(Default)]
struct Body<'a> {
    data: Option<&'a RawValue>,
    data_base64: Option<Text<'a>>,
    datacontenttype: Option<Text<'a>>,
    redelivery_of: Option<Text<'a>>,
}

impl Body<'_> {
    fn into_data(self) -> Result<Data, ClaimsError> {
        match (self.data, self.data_base64, self.datacontenttype) {
            (Some(json), None, None) => Ok(Data::Json(json.to_owned())),
            (None, Some(text), Some(content_type)) => {
                if !is_content_type(content_type.as_str()) {
                    return Err(ClaimsError::Value { claim: "datacontenttype" });
                }
                let bytes = STANDARD.decode(text.as_str());
                let bytes = bytes.map_err(|_| ClaimsError::Value { claim: "data_base64" })?;
                Ok(Data::Binary { content_type: content_type.into_string(), bytes })
            }
            (None, Some(_), None) => Err(ClaimsError::Missing { claim: "datacontenttype" }),
            (None, None, _) => Err(ClaimsError::Missing { claim: "data" }),
            (Some(_), Some(_), _) => Err(ClaimsError::Value { claim: "data_base64" }),
            (Some(_), None, Some(_)) => Err(ClaimsError::Value { claim: "datacontenttype" }),
        }
    }
}

struct BodyVisitor<'f>(&'f At);

impl<'de> DeserializeSeed<'de> for BodyVisitor<'_> {
    type Value = Body<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BodyVisitor<'_> {
    type Value = Body<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let at = self.0;
        let mut body = Body::default();
        let mut unknown = Seen::default();
        while let Some(name) = members.next_key::<Text<'de>>()? {
            match name.as_str() {
                "data" => at.fill("data", &mut body.data, &mut members)?,
                "data_base64" => at.fill("data_base64", &mut body.data_base64, &mut members)?,
                "datacontenttype" => at.fill("datacontenttype", &mut body.datacontenttype, &mut members)?,
                "redelivery_of" => at.fill("redelivery_of", &mut body.redelivery_of, &mut members)?,
                _ => at.ignore(name, &mut unknown, &mut members)?,
            }
        }
        Ok(body)
    }
}

fn event_id(claim: &'static str, text: &Text<'_>) -> Result<EventId, ClaimsError> {
    EventId::parse(text.as_str()).map_err(|_| ClaimsError::Value { claim })
}

fn seconds(claim: &'static str, value: u64) -> Result<i64, ClaimsError> {
    i64::try_from(value).ok().filter(|value| *value <= MAX_SECONDS).ok_or(ClaimsError::Value { claim })
}

fn publishers_id(text: Text<'_>) -> Result<Text<'_>, ClaimsError> {
    if is_txn(text.as_str()) { Ok(text) } else { Err(ClaimsError::Value { claim: "txn" }) }
}

#[cfg(test)]
mod tests;
