//! Who calls: API tokens, what they open, and whose things their bearer may see.
//!
//! Relies on the [`Directory`](crate::directory::Directory) for the tokens' hashes. Guarantees that a handler that
//! has an `Allowed` was called with a token that works now and has one of the scopes that the handler's signature
//! names. A token is found by its SHA-256, so the time that it takes says nothing about any real one.

use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use axum::extract::FromRequestParts;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::request::Parts;
use waxseal_keys::Timestamp;
use zeroize::Zeroizing;

use super::Api;
use super::problem::Problem;
use crate::audit::{self, Actor};
use crate::id::{ConsumerId, TokenId};
use crate::model::token::{ApiToken, Scope};

/// A token that was just made. Only its hash is ever kept: show it once.
pub struct NewToken {
    /// The secret, `wxs_` and 43 characters: 32 random bytes as base64url. The prefix is for secret scanners.
    pub secret: Zeroizing<String>,
    /// What to keep.
    pub record: ApiToken,
}

impl NewToken {
    /// Makes a token.
    ///
    /// # Panics
    /// If the operating system has no randomness to give.
    pub fn generate(grant: Grant, now: Timestamp) -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut()).expect("the system's random generator works");
        let mut secret = Zeroizing::new(String::with_capacity(PREFIX.len() + 43));
        secret.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(bytes.as_ref(), &mut secret);
        let record = ApiToken {
            id: TokenId::generate(now),
            sha256: sha256_hex(secret.as_bytes()),
            label: grant.label,
            scopes: grant.scopes,
            consumer: grant.consumer,
            created_at: now,
            expires_at: grant.expires_at,
        };
        Self { secret, record }
    }
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").field("id", &self.record.id).finish_non_exhaustive()
    }
}

/// What a new token may do.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Grant {
    /// Free text for people.
    pub label: Option<String>,
    /// What it may do.
    pub scopes: BTreeSet<Scope>,
    /// The only consumer whose things it may see and change.
    pub consumer: Option<ConsumerId>,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
}

impl Scope {
    /// Every scope.
    pub const ALL: [Self; 9] = [
        Self::Admin,
        Self::Publish,
        Self::Read,
        Self::Manage,
        Self::ConsumerKeys,
        Self::Keys,
        Self::Tokens,
        Self::Metrics,
        Self::Audit,
    ];

    /// Its name in the API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Publish => "publish",
            Self::Read => "read",
            Self::Manage => "manage",
            Self::ConsumerKeys => "consumer_keys",
            Self::Keys => "keys",
            Self::Tokens => "tokens",
            Self::Metrics => "metrics",
            Self::Audit => "audit",
        }
    }
}

/// The bearer of a token that works now.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    token: Arc<ApiToken>,
}

impl Caller {
    fn authenticate(api: &Api, parts: &Parts) -> Result<Self, Problem> {
        let header = parts.headers.get(AUTHORIZATION).ok_or_else(|| {
            Problem::unauthenticated("this needs an API token: send `Authorization: Bearer wxs_…`")
        })?;
        let refused = || Problem::unauthenticated("the API token is not known, or does not work any more");
        let (scheme, secret) =
            header.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(refused)?;
        if !scheme.eq_ignore_ascii_case("Bearer") || secret.len() != TOKEN_LEN {
            return Err(refused());
        }
        if !api.directory.is_up_to_date() {
            // It may have been withdrawn on another node.
            return Err(Problem::behind());
        }
        let token = api.directory.token_by_hash(&sha256_hex(secret.as_bytes())).ok_or_else(refused)?;
        match token.expires_at {
            Some(end) if end <= api.clock.now() => Err(refused()),
            Some(_) | None => Ok(Self { token }),
        }
    }

    /// Which token it is: for records of who did what.
    pub(super) fn token_id(&self) -> TokenId {
        self.token.id
    }

    /// Whether the token has this scope.
    pub(super) fn has(&self, scope: Scope) -> bool {
        self.token.scopes.contains(&scope) || self.token.scopes.contains(&Scope::Admin)
    }

    /// Refuses if it does not.
    pub(super) fn require(&self, scope: Scope) -> Result<(), Problem> {
        self.require_any(&[scope])
    }

    fn require_any(&self, scopes: &[Scope]) -> Result<(), Problem> {
        if scopes.iter().any(|scope| self.has(*scope)) {
            return Ok(());
        }
        let names = scopes.iter().map(|scope| format!("`{}`", scope.name())).collect::<Vec<_>>().join(" or ");
        Err(Problem::forbidden("api.scope", format!("this needs a token with the scope {names}")))
    }

    /// Refuses a token that is bound to a consumer: this concerns all of them.
    pub(super) fn unbound(&self) -> Result<(), Problem> {
        match self.token.consumer {
            None => Ok(()),
            Some(_) => Err(Problem::forbidden(
                "api.consumer_bound",
                "this is not open to a token that is bound to a consumer",
            )),
        }
    }

    /// The only consumer whose things it may see, if it is bound to one.
    pub(super) fn bound_to(&self) -> Option<&ConsumerId> {
        self.token.consumer.as_ref()
    }

    /// When it stops working: what it hands out stops no later.
    pub(super) fn expires_at(&self) -> Option<Timestamp> {
        self.token.expires_at
    }

    /// Whether it may see and change the things of this consumer, as far as its scopes go.
    pub(super) fn may_see(&self, consumer: &ConsumerId) -> bool {
        self.bound_to().is_none_or(|own| own == consumer)
    }

    /// Whether it may hand out, or withdraw, what this token can do: nobody gives more than they have.
    pub(super) fn covers(&self, scopes: &BTreeSet<Scope>, consumer: Option<&ConsumerId>) -> bool {
        let consumer_ok = self.bound_to().is_none_or(|own| consumer == Some(own));
        consumer_ok && scopes.iter().all(|scope| self.has(*scope))
    }
}

/// A caller with one of the scopes that `N` names. Extracting it is the only way to one.
#[derive(Debug)]
pub(super) struct Allowed<N> {
    caller: Caller,
    needs: PhantomData<N>,
}

impl<N> Deref for Allowed<N> {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

impl<N: Needs> FromRequestParts<Api> for Allowed<N> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let caller = Caller::authenticate(api, parts)?;
        caller.require_any(N::ANY_OF)?;
        audit::identify(|| Actor::Token { id: caller.token.id, label: caller.token.label.clone() });
        Ok(Self { caller, needs: PhantomData })
    }
}

/// Which scopes open a route; `admin` opens every one.
pub(super) trait Needs: Send + Sync {
    const ANY_OF: &'static [Scope];
}

macro_rules! needs {
    ($($name:ident: $($scope:ident)|+;)*) => {$(
        #[derive(Debug)]
        pub(super) struct $name;

        impl Needs for $name {
            const ANY_OF: &'static [Scope] = &[$(Scope::$scope),+];
        }
    )*};
}

needs! {
    ToPublish: Publish;
    ToRead: Read;
    ToManage: Manage;
    ToChangeConsumerKeys: ConsumerKeys;
    ToSeeSigningKeys: Read | Keys;
    ToChangeSigningKeys: Keys;
    ToGrant: Tokens;
    ToMeasure: Metrics;
    ToAudit: Audit;
    ToSeeNodes: Admin;
}

fn sha256_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let hash = digest(&SHA256, bytes);
    let nibbles = hash.as_ref().iter().flat_map(|byte| [byte >> 4, byte & 15]);
    nibbles.map(|nibble| char::from(DIGITS[usize::from(nibble)])).collect()
}

const PREFIX: &str = "wxs_";
const TOKEN_LEN: usize = PREFIX.len() + 43;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_random_prefixed_and_kept_as_its_hash_alone() {
        let now = Timestamp::from_seconds(1_000);
        let (one, two) =
            (NewToken::generate(Grant::default(), now), NewToken::generate(Grant::default(), now));
        assert_ne!(*one.secret, *two.secret);
        assert!(one.secret.starts_with("wxs_") && one.secret.len() == TOKEN_LEN);
        assert_eq!(one.record.sha256, sha256_hex(one.secret.as_bytes()));
        let shown = format!("{one:?} {:?}", one.record);
        assert!(!shown.contains(&one.secret[4..]));
    }

    #[test]
    fn the_hash_is_sha_256_in_hexadecimal() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256_hex(b"abc"), expected);
    }

    #[test]
    fn nobody_grants_more_than_they_have() {
        let now = Timestamp::from_seconds(1_000);
        let caller = |scopes: &[Scope], consumer: Option<&str>| Caller {
            token: Arc::new(
                NewToken::generate(
                    Grant {
                        scopes: scopes.iter().copied().collect(),
                        consumer: consumer.map(|id| ConsumerId::parse(id).unwrap()),
                        ..Grant::default()
                    },
                    now,
                )
                .record,
            ),
        };
        let acme = ConsumerId::parse("acme").unwrap();
        let read = BTreeSet::from([Scope::Read]);
        let admin = BTreeSet::from([Scope::Admin]);
        assert!(caller(&[Scope::Admin], None).covers(&admin, None));
        assert!(caller(&[Scope::Tokens, Scope::Read], None).covers(&read, Some(&acme)));
        assert!(!caller(&[Scope::Tokens], None).covers(&read, None));
        assert!(!caller(&[Scope::Tokens, Scope::Read], None).covers(&admin, None));
        assert!(caller(&[Scope::Admin], Some("acme")).covers(&admin, Some(&acme)));
        assert!(!caller(&[Scope::Admin], Some("acme")).covers(&read, None));
    }
}
