//! `…/encryption-keys`: the keys that consumers, or single endpoints, give to be sealed to.
//!
//! Guarantees that a set that is kept holds only keys that can be sealed to; a single bad key refuses the whole
//! request, with the reason, because a set that is silently smaller than the one given is found out too late.

use std::collections::HashSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::Value;
use url::Url;
use waxseal_keys::{CertifiedKey, Timestamp};

use super::auth::{Allowed, ToChangeConsumerKeys, ToRead};
use super::input::{Fields, Refused, Wrong, found};
use super::problem::Problem;
use super::request::{Input, Name, Names, NoInput, NoQuery};
use super::{Api, Caller, consumers, endpoints, read, show};
use crate::consumer_keys::import::{admissible, carried_over, certified};
use crate::directory::{ChangeError, KeysGivenBy};
use crate::engine::egress::Egress;
use crate::model::encryption_keys::{Admission, EncryptionKeySet, KeyOwner, KeySource, KnownKey};

/// Where a resource with encryption keys lives: under which of the two kinds of owner.
pub(super) trait Owned: Send + Sync + 'static {
    fn owner(api: &Api, caller: &Caller, id: &str) -> Result<KeyOwner, Problem>;
}

/// Under `/v1/consumers/{id}`.
#[derive(Debug)]
pub(super) struct OfConsumer;

impl Owned for OfConsumer {
    fn owner(api: &Api, caller: &Caller, id: &str) -> Result<KeyOwner, Problem> {
        let id = consumers::visible(caller, id)?;
        let known = api.directory.consumer(&id).is_some();
        if known { Ok(KeyOwner::Consumer(id)) } else { Err(Problem::not_found("consumer")) }
    }
}

/// Under `/v1/endpoints/{id}`.
#[derive(Debug)]
pub(super) struct OfEndpoint;

impl Owned for OfEndpoint {
    fn owner(api: &Api, caller: &Caller, id: &str) -> Result<KeyOwner, Problem> {
        let endpoint = endpoints::visible(api, caller, id)?;
        Ok(KeyOwner::Endpoint(endpoint.consumer.clone(), endpoint.id))
    }
}

pub(super) async fn put<O: Owned>(
    State(api): State<Api>,
    caller: Allowed<ToChangeConsumerKeys>,
    Name(id): Name,
    Input(mut fields): Input,
) -> Result<Json<Value>, Problem> {
    let owner = O::owner(&api, &caller, &id)?;
    let keys = NewKeys::read(&mut fields, &api.egress, api.clock.now());
    fields.finish()?;
    let keys = keys?;
    let make = |before: Option<&EncryptionKeySet>| keys.into_set(owner.clone(), before);
    api.directory.replace_key_set(&owner, given_by(&caller), make).await?;
    look_up(&api, owner.clone());
    current(&api, &owner)
}

/// Fetches what was given as a URL, while nobody waits for it.
pub(super) fn look_up(api: &Api, owner: KeyOwner) {
    let consumer_keys = Arc::clone(&api.consumer_keys);
    tokio::spawn(async move { consumer_keys.look_up(&owner).await });
}

pub(super) async fn get<O: Owned>(
    State(api): State<Api>,
    caller: Allowed<ToRead>,
    Name(id): Name,
    _: NoQuery,
) -> Result<Json<Value>, Problem> {
    current(&api, &O::owner(&api, &caller, &id)?)
}

/// Forgets the whole set. An endpoint falls back to its consumer's.
pub(super) async fn delete<O: Owned>(
    State(api): State<Api>,
    caller: Allowed<ToChangeConsumerKeys>,
    Name(id): Name,
    _: NoInput,
) -> Result<StatusCode, Problem> {
    api.directory.delete_key_set(&O::owner(&api, &caller, &id)?, given_by(&caller)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Says that a fetched key is really the consumer's: from now on it may be used.
pub(super) async fn admit<O: Owned>(
    State(api): State<Api>,
    caller: Allowed<ToChangeConsumerKeys>,
    Names(id, thumbprint): Names,
    _: NoInput,
) -> Result<Json<Value>, Problem> {
    let owner = O::owner(&api, &caller, &id)?;
    let now = api.clock.now();
    let edit = |set: &mut EncryptionKeySet| {
        let key = set.keys.iter_mut().find(|key| key.thumbprint == thumbprint);
        let key = key.ok_or_else(|| no_key(&thumbprint))?;
        key.admitted_at = key.admitted_at.or(Some(now));
        Ok(())
    };
    let set = api.directory.update_key_set(&owner, edit).await?;
    Ok(Json(show::key_set(&set)))
}

/// Takes one key out. One that its `jwks_uri` still has comes back as one that is not admitted.
pub(super) async fn remove<O: Owned>(
    State(api): State<Api>,
    caller: Allowed<ToChangeConsumerKeys>,
    Names(id, thumbprint): Names,
    _: NoInput,
) -> Result<StatusCode, Problem> {
    let owner = O::owner(&api, &caller, &id)?;
    let edit = |set: &mut EncryptionKeySet| {
        let before = set.keys.len();
        set.keys.retain(|key| key.thumbprint != thumbprint);
        if set.keys.len() == before { Err(no_key(&thumbprint)) } else { Ok(()) }
    };
    api.directory.update_key_set(&owner, edit).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Keys that somebody gives, read from a request.
#[derive(Debug)]
pub(super) enum NewKeys {
    /// The keys themselves.
    Pinned(Vec<KnownKey>),
    /// Where to fetch them.
    Uri { jwks_uri: Url, admission: Admission },
}

impl NewKeys {
    /// `{jwks: {keys: […]}}`, `{certificates}`, or `{jwks_uri, admission?}`.
    pub(super) fn read(fields: &mut Fields, egress: &Egress, now: Timestamp) -> Result<Self, Refused> {
        if fields.has("certificates") {
            return read_certificates(fields, now).map(Self::Pinned);
        }
        match (fields.has("jwks"), fields.has("jwks_uri")) {
            (true, true) => {
                fields.take("jwks");
                fields.take("jwks_uri");
                Err(fields.refuse("jwks_uri", "expected either `jwks` or `jwks_uri`, not both"))
            }
            (true, false) => read_pinned(fields, now).map(Self::Pinned),
            (false, true) => {
                let jwks_uri = fields.required("jwks_uri", |value| read::target_url(value, egress));
                let admission = fields.optional("admission", read::admission);
                Ok(Self::Uri { jwks_uri: jwks_uri?, admission: admission?.unwrap_or(Admission::Approve) })
            }
            (false, false) => {
                fields.take("jwks");
                fields.take("jwks_uri");
                Err(fields.refuse("jwks", "this field is required (or `jwks_uri`)"))
            }
        }
    }

    /// The set to keep. A key that `before` had keeps its dates: they decide which of two keys is the newer one.
    pub(super) fn into_set(self, owner: KeyOwner, before: Option<&EncryptionKeySet>) -> EncryptionKeySet {
        match self {
            Self::Pinned(keys) => {
                let known = before.map(|set| set.keys.as_slice()).unwrap_or_default();
                EncryptionKeySet { owner, source: KeySource::Pinned, keys: carried_over(known, keys) }
            }
            Self::Uri { jwks_uri, admission } => {
                // Keys of another place were confirmed as found there, not here.
                let same_place = |set: &&EncryptionKeySet| matches!(&set.source, KeySource::Uri { jwks_uri: old, .. } if *old == jwks_uri);
                let keys = before.filter(same_place).map(|set| set.keys.clone()).unwrap_or_default();
                EncryptionKeySet { owner, source: KeySource::Uri { jwks_uri, admission }, keys }
            }
        }
    }
}

/// One or more certificates, PEM: their keys, as if they had been given as JWKs, and when the certificates end.
fn read_certificates(fields: &mut Fields, now: Timestamp) -> Result<Vec<KnownKey>, Refused> {
    if fields.has("jwks") || fields.has("jwks_uri") {
        fields.take("jwks");
        fields.take("jwks_uri");
        fields.take("certificates");
        return Err(fields.refuse("certificates", "expected either this or `jwks` or `jwks_uri`"));
    }
    fields.required("certificates", |value| {
        let keys = certified(read::text(value)?.as_bytes(), now).map_err(|error| error.to_string())?;
        if keys.len() > MAX_KEYS {
            return Err(format!("expected at most {MAX_KEYS} certificates, found {}", keys.len()).into());
        }
        let mut names = HashSet::new();
        let read = |key: &CertifiedKey| {
            let known = read_key(&key.jwk.to_json(), &mut names, now)?;
            Ok(KnownKey { certificate_not_after: Some(key.not_after), ..known })
        };
        keys.iter().map(read).collect()
    })
}

fn read_pinned(fields: &mut Fields, now: Timestamp) -> Result<Vec<KnownKey>, Refused> {
    let set = fields.take("jwks");
    // Members of a JWK Set that are not understood are to be ignored (RFC 7517 section 5), unlike fields of ours.
    let keys = match &set {
        Some(Value::Object(set)) => set.get("keys"),
        Some(other) => return Err(fields.refuse("jwks", found("a JWK Set, an object with `keys`", other))),
        None => None,
    };
    let keys = match keys {
        Some(Value::Array(keys)) if (1..=MAX_KEYS).contains(&keys.len()) => keys,
        Some(Value::Array(keys)) => {
            let detail = format!("expected 1 to {MAX_KEYS} keys, found {}", keys.len());
            return Err(fields.refuse("jwks.keys", detail));
        }
        Some(other) => return Err(fields.refuse("jwks.keys", found("an array of keys", other))),
        None => return Err(fields.refuse("jwks.keys", "this field is required, as an array of keys")),
    };
    let mut names = HashSet::new();
    let mut read = Vec::with_capacity(keys.len());
    let mut refused = None;
    for (index, key) in keys.iter().enumerate() {
        match read_key(key, &mut names, now) {
            Ok(key) => read.push(key),
            Err(wrong) => refused = Some(fields.refuse(&format!("jwks.keys[{index}]"), wrong)),
        }
    }
    refused.map_or(Ok(read), Err)
}

fn read_key(key: &Value, names: &mut HashSet<String>, now: Timestamp) -> Result<KnownKey, Wrong> {
    let known = admissible(key, now).map_err(|error| error.to_string())?;
    if !names.insert(known.thumbprint.clone()) {
        return Err("this key is in the set twice".into());
    }
    let kid = known.jwk.get("kid").and_then(Value::as_str);
    if kid.is_some_and(|kid| !names.insert(format!("kid {kid}"))) {
        return Err("another key of the set has the same `kid`".into());
    }
    Ok(known)
}

fn given_by(caller: &Caller) -> KeysGivenBy {
    match caller.bound_to() {
        None => KeysGivenBy::Operator,
        Some(_) => KeysGivenBy::Consumer,
    }
}

fn current(api: &Api, owner: &KeyOwner) -> Result<Json<Value>, Problem> {
    let set = api.directory.key_set(owner).ok_or_else(|| Problem::not_found("encryption key set"))?;
    Ok(Json(show::key_set(&set)))
}

fn no_key(thumbprint: &str) -> ChangeError {
    ChangeError::NotFound { what: "encryption key", id: thumbprint.to_owned() }
}

/// As many keys as a fetched set may have.
const MAX_KEYS: usize = 32;
