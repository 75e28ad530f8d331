//! Reads a publication from a request: `data` byte for byte, everything else strictly.
//!
//! A body is parsed once into the text of its members; those are parsed again, each with the rules that it needs. So
//! published JSON is never taken apart and put together again, and every other field is read like any in the API.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::HeaderName;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use waxseal_envelope::Data;

use super::input::{Fields, Refused};
use super::problem::Problem;
use super::request::{parse, parse_value};
use super::{Caller, read};
use crate::directory::To;
use crate::publish::{Expiry, IdempotencyKey, LONGEST_LIFE, Publication, check_id};

/// One event.
pub(super) fn one(text: &[u8], caller: &Caller, key: Option<IdempotencyKey>) -> Result<Publication, Problem> {
    let (data, mut fields) = split(text, "data")?;
    let event_type = fields.required("type", read::event_type);
    fields.take("data");
    let data = read_data(data, &mut fields);
    let to = read_to(caller, &mut fields);
    let id = fields.optional("id", |value| {
        let text = read::text(value)?;
        check_id(text).map(|()| text.to_owned()).map_err(Into::into)
    });
    let occurred_at = fields.optional("occurred_at", read::moment);
    let expiry = read_expiry(&mut fields);
    fields.finish()?;
    Ok(Publication {
        event_type: event_type?,
        data: data?,
        to: to?,
        id: id?,
        occurred_at: occurred_at?,
        expiry: expiry?,
        idempotency_key: key,
        publisher: caller.bound_to().cloned(),
    })
}

/// The events of a batch, not yet read.
pub(super) fn batch(text: &[u8]) -> Result<Vec<&RawValue>, Problem> {
    let (events, mut fields) = split(text, "events")?;
    // Noted as known, so that a report of other fields names it.
    fields.take("events");
    let events = match events.map(|events| serde_json::from_str::<Vec<&RawValue>>(events.get())) {
        Some(Ok(events)) if (1..=MAX_BATCH).contains(&events.len()) => Ok(events),
        Some(Ok(events)) => {
            let detail = format!("expected 1 to {MAX_BATCH} events, found {}", events.len());
            Err(fields.refuse("events", detail))
        }
        Some(Err(_)) => Err(fields.refuse("events", "expected an array of events")),
        None => Err(fields.refuse("events", "this field is required, as an array of events")),
    };
    fields.finish()?;
    Ok(events?)
}

/// The header `Idempotency-Key`, if there is one.
pub(super) fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let (first, second) = (given.next(), given.next());
    if second.is_some() {
        return Err(Problem::field("Idempotency-Key", "expected this header once"));
    }
    let key = first.map(|value| IdempotencyKey::parse(value.as_bytes())).transpose();
    key.map_err(|error| Problem::field("Idempotency-Key", error.to_string()))
}

/// The members of an object as they were written: each name once.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(String, &'de RawValue)> = Vec::new();
        while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
            let repeated = members.iter().any(|(known, _)| *known == name);
            if repeated || members.len() >= MAX_MEMBERS {
                return Err(serde::de::Error::custom("repeated, or too many"));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

/// The member `verbatim` as it was written, and the other fields as values.
fn split<'a>(text: &'a [u8], verbatim: &str) -> Result<(Option<&'a RawValue>, Fields), Problem> {
    let Ok(Members(members)) = serde_json::from_slice(text) else {
        // Say what is wrong with it: a second, slower reader knows more about why.
        return parse(text)?.finish().and(Err(Problem::field("", "expected an object with fewer members")));
    };
    let mut kept = None;
    let mut others = Map::new();
    for (name, value) in members {
        if name == verbatim {
            kept = Some(value);
        } else {
            others.insert(name, parse_value(value.get().as_bytes())?);
        }
    }
    Ok((kept, Fields::new(Value::Object(others))?))
}

/// `data`, any JSON; or `data_base64` with `datacontenttype`.
fn read_data(json: Option<&RawValue>, fields: &mut Fields) -> Result<Data, Refused> {
    let content_type = fields.optional("datacontenttype", |value| read::text(value).map(str::to_owned));
    let base64 = fields.optional("data_base64", |value| {
        STANDARD
            .decode(read::text(value)?)
            .map_err(|_| "expected base64 with padding (RFC 4648 section 4)".into())
    });
    let (content_type, base64) = (content_type?, base64?);
    match (json, base64, content_type) {
        (Some(json), None, None) => {
            Data::json_value(json).map_err(|error| fields.refuse("data", error.to_string()))
        }
        (None, Some(bytes), Some(content_type)) => Data::binary(&content_type, bytes)
            .map_err(|error| fields.refuse("data_base64", error.to_string())),
        (None, Some(_), None) => {
            Err(fields.refuse("datacontenttype", "this field is required beside `data_base64`"))
        }
        (None, None, Some(_)) => {
            Err(fields.refuse("data_base64", "this field is required beside `datacontenttype`"))
        }
        (None, None, None) => {
            Err(fields.refuse("data", "this field is required (or `data_base64` with `datacontenttype`)"))
        }
        (Some(_), _, _) => {
            Err(fields
                .refuse("data", "expected either `data` or `data_base64` with `datacontenttype`, not both"))
        }
    }
}

/// `expires_at`, a moment, or `ttl_seconds`, a number.
fn read_expiry(fields: &mut Fields) -> Result<Option<Expiry>, Refused> {
    let at = fields.optional("expires_at", read::moment);
    let after = fields.optional("ttl_seconds", |value| read::seconds(value, LONGEST_LIFE));
    match (at?, after?) {
        (Some(_), Some(_)) => {
            Err(fields.refuse("ttl_seconds", "expected either `expires_at` or `ttl_seconds`, not both"))
        }
        (at, after) => Ok(at.map(Expiry::At).or_else(|| after.map(Expiry::After))),
    }
}

/// `"all"`, `{consumer}`, `{consumers}` or `{group}`. Whoever is bound to a consumer publishes to it alone.
fn read_to(caller: &Caller, fields: &mut Fields) -> Result<To, Refused> {
    let to = match fields.take_text("to") {
        // A receiver that the publisher's program failed to fill in must not become everybody.
        None if fields.is_null("to") => {
            fields.take("to");
            return Err(fields.refuse("to", EXPECTED_TO));
        }
        Some(text) if text == "all" => Some(To::All),
        Some(_) => return Err(fields.refuse("to", EXPECTED_TO)),
        None => fields.object("to", read_receivers)?,
    };
    let Some(own) = caller.bound_to() else {
        return Ok(to.unwrap_or(To::All));
    };
    match to {
        None => Ok(To::Consumers(vec![own.clone()])),
        Some(To::Consumers(ids)) if ids.iter().all(|id| id == own) => Ok(To::Consumers(ids)),
        Some(_) => {
            Err(fields
                .refuse("to", format!("a token that is bound to consumer `{own}` publishes to it alone")))
        }
    }
}

fn read_receivers(to: &mut Fields) -> Result<To, Refused> {
    let consumer = to.optional("consumer", read::consumer_id)?;
    let consumers = to.list("consumers", MAX_RECEIVERS, read::consumer_id)?;
    let group = to.optional("group", read::group_name)?;
    match (consumer, consumers, group) {
        (Some(consumer), None, None) => Ok(To::Consumers(vec![consumer])),
        (None, Some(consumers), None) if consumers.is_empty() => {
            Err(to.refuse("consumers", "expected at least one consumer"))
        }
        (None, Some(consumers), None) => Ok(To::Consumers(consumers)),
        (None, None, Some(group)) => Ok(To::Group(group)),
        _ => Err(to.refuse("", EXPECTED_TO)),
    }
}

const EXPECTED_TO: &str = "expected \"all\", or an object with one of `consumer`, `consumers` and `group`";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// More than any request has, few enough to look for repetitions one by one.
const MAX_MEMBERS: usize = 64;
const MAX_BATCH: usize = 100;
/// How many consumers one event can name; more are a group.
const MAX_RECEIVERS: usize = 1_000;
