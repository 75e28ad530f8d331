//! From a body to an event that is ours, in the order of the wire format, section 5; and the memory of what was taken.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use serde_json::{Value, json};
use url::Url;
use waxseal_envelope::{Audience, Expected, Issuer, Limits, OpenError, Opened, Signed, Token};
use waxseal_jwks::{JwksError, RemoteJwks, RemotePolicy, ReqwestGet};
use waxseal_keys::{Clock, DecryptionKey, SystemClock};

use super::answer::Answer;
use crate::cli::error::CliError;

/// Opens tokens of one issuer for one audience.
pub(super) struct Reader {
    expected: Expected,
    jwks: RemoteJwks,
    keys: Vec<DecryptionKey>,
    sealed_only: bool,
    taken: Mutex<LruCache<String, Progress>>,
}

/// How far an event has come that opened before.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Progress {
    /// It is being handed on.
    Begun,
    /// It was taken.
    Done,
}

/// A token that opened.
pub(super) enum Taken {
    /// The first time.
    New(Box<Opened>),
    /// It was taken before.
    Again(Box<Opened>),
    /// The sender asks whether this endpoint wants its events.
    Verification { state: String },
}

/// A token that did not: what the person here is told, and what the sender is.
pub(super) struct Refused {
    pub(super) step: &'static str,
    pub(super) detail: String,
    pub(super) answer: Answer,
}

impl Reader {
    pub(super) fn new(
        issuer: Issuer,
        audience: Audience,
        jwks: Option<Url>,
        keys: Vec<DecryptionKey>,
        sealed_only: bool,
    ) -> Result<Self, CliError> {
        let well_known = format!("{issuer}/.well-known/jwks.json");
        let jwks = match jwks {
            Some(given) => given,
            None => Url::parse(&well_known).map_err(|error| CliError::failed(well_known, error))?,
        };
        let http = ReqwestGet::new().map_err(|error| CliError::failed("cannot prepare HTTP", error))?;
        let jwks = RemoteJwks::new(jwks, Arc::new(http), Arc::new(SystemClock), RemotePolicy::default());
        let taken = Mutex::new(LruCache::new(REMEMBERED));
        Ok(Self { expected: Expected::new(issuer, audience), jwks, keys, sealed_only, taken })
    }

    pub(super) async fn read(&self, body: &[u8]) -> Result<Taken, Refused> {
        let opened = self.open(body).await?;
        if let Some(state) = opened.verification() {
            return Ok(Taken::Verification { state: state.to_owned() });
        }
        let opened = Box::new(opened);
        let mut taken = self.taken();
        match taken.get(opened.event.id.as_str()) {
            Some(Progress::Done) => Ok(Taken::Again(opened)),
            Some(Progress::Begun) => {
                let detail = "the attempt before is still being handed on".to_owned();
                Err(Refused { step: "replay", detail, answer: Answer::Unavailable })
            }
            None => {
                taken.put(opened.event.id.to_string(), Progress::Begun);
                Ok(Taken::New(opened))
            }
        }
    }

    /// It was taken: every later attempt is a repetition.
    pub(super) fn commit(&self, opened: &Opened) {
        self.taken().put(opened.event.id.to_string(), Progress::Done);
    }

    /// It was not taken after all: the next attempt is to be treated as the first.
    pub(super) fn forget(&self, opened: &Opened) {
        self.taken().pop(opened.event.id.as_str());
    }

    async fn open(&self, body: &[u8]) -> Result<Opened, Refused> {
        let signed = match Token::parse(body, &Limits::default()).map_err(|error| refused("parse", &error))? {
            Token::Signed(_) if self.sealed_only => {
                return Err(Refused::of_key(
                    "decrypt",
                    "it is signed only, and --sealed-only is set".to_owned(),
                ));
            }
            Token::Signed(signed) => signed,
            Token::Sealed(sealed) => {
                let kid = sealed.recipient_kid().to_owned();
                let key = self.keys.iter().find(|key| key.kid() == kid);
                let key = key.ok_or_else(|| {
                    Refused::of_key(
                        "decrypt",
                        format!("it is sealed to the key `{kid}`, which no --key file holds"),
                    )
                })?;
                sealed.decrypt(key).map_err(|error| refused("decrypt", &error))?
            }
        };
        self.verify(signed).await
    }

    async fn verify(&self, signed: Signed) -> Result<Opened, Refused> {
        // Nothing is verified yet: the claim only decides whether the issuer is asked for a key.
        if signed.claimed_issuer() != self.expected.issuer.as_str() {
            let detail = format!("it says that it comes from `{}`", signed.claimed_issuer());
            return Err(Refused::of_key("verify", detail));
        }
        let key = match self.jwks.verifying_key(signed.signer_kid()).await {
            Ok(key) => key,
            Err(JwksError::UnknownKey) => {
                let detail =
                    format!("it is signed by the key `{}`, which is not in the JWKS", signed.signer_kid());
                return Err(Refused::of_key("verify", detail));
            }
            Err(error) => {
                let why = self.jwks.last_error().map(|error| format!(": {error}")).unwrap_or_default();
                return Err(Refused {
                    step: "verify",
                    detail: format!("{error}{why}"),
                    answer: Answer::Unavailable,
                });
            }
        };
        signed.verify(&key, &self.expected, SystemClock.now()).map_err(|error| refused("verify", &error))
    }

    fn taken(&self) -> MutexGuard<'_, LruCache<String, Progress>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Refused {
    pub(super) fn to_json(&self) -> Value {
        json!({ "refused": true, "step": self.step, "detail": self.detail })
    }

    fn of_key(step: &'static str, detail: String) -> Self {
        Self { step, detail, answer: Answer::INVALID_KEY }
    }
}

fn refused(step: &'static str, error: &OpenError) -> Refused {
    let answer = match error {
        OpenError::Decrypt
        | OpenError::Signature
        | OpenError::Algorithm
        | OpenError::UnknownKey
        | OpenError::Issuer => Answer::INVALID_KEY,
        OpenError::Audience => Answer::INVALID_AUDIENCE,
        _ => Answer::INVALID_REQUEST,
    };
    Refused { step, detail: format!("{error} [{}]", error.code()), answer }
}

/// More than anybody looks at.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");
