//! `waxseal open`: decrypts, verifies and explains tokens, and says exactly which check fails.
//!
//! This is for the person at the receiver's side who asks why a token is refused. It says more than a receiver may
//! ever answer over the network.

use std::io::BufRead;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value, json};
use waxseal_envelope::{
    Audience, Data, Expected, Issuer, Limits, OpenError, Opened, Signed, Token, jwe, jws,
};
use waxseal_keys::{Clock, DecryptionKey, SystemClock, Timestamp, VerifyingKey};

use super::error::CliError;
use super::output::{line, printable};
use super::trust::{decryption_keys, verifying_keys};

/// Decrypt, verify and explain tokens
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  waxseal open --issuer https://hooks.example.com --audience acme --jwks issuer-jwks.json --key consumer-key.json < tokens.txt\n  waxseal open --jwe --key consumer-key.json TOKEN\n  waxseal open --jws --jwks https://hooks.example.com/.well-known/jwks.json TOKEN"
)]
pub struct OpenArgs {
    /// The tokens; read from standard input, one a line, if there are none
    tokens: Vec<String>,
    /// Who the tokens must come from
    #[arg(long, required_unless_present_any = ["jws", "jwe"])]
    issuer: Option<String>,
    /// Whom the tokens must be for
    #[arg(long, required_unless_present_any = ["jws", "jwe"])]
    audience: Option<String>,
    /// The issuer's JWKS: a file or a URL; fetched from the issuer if left out
    #[arg(long)]
    jwks: Option<String>,
    /// A file with a private decryption key (a JWK, or a set of them); may be given several times
    #[arg(long = "key")]
    keys: Vec<PathBuf>,
    /// Judge the time of signing as of then (Unix seconds) instead of now
    #[arg(long)]
    at: Option<i64>,
    /// Only verify a JWS, whatever its payload
    #[arg(long, conflicts_with = "jwe")]
    jws: bool,
    /// Only decrypt a JWE, whatever its content
    #[arg(long)]
    jwe: bool,
    /// Print one JSON object for each token
    #[arg(long)]
    json: bool,
}

/// What tokens are opened with.
struct Opener {
    issuer: Option<Issuer>,
    audience: Option<Audience>,
    verifying: Vec<VerifyingKey>,
    decryption: Vec<DecryptionKey>,
    now: Timestamp,
}

/// Why a token does not open: the step, a stable code, and a sentence.
struct Failure {
    step: &'static str,
    code: &'static str,
    detail: String,
}

impl OpenArgs {
    /// Opens every token.
    ///
    /// # Errors
    /// If a key cannot be read, or at least one token does not open.
    pub async fn run(self) -> Result<(), CliError> {
        let opener = self.opener().await?;
        let tokens = match self.tokens.is_empty() {
            false => self.tokens.clone(),
            true => lines()?,
        };
        let mut refused = 0_usize;
        for token in &tokens {
            let result = match (self.jws, self.jwe) {
                (true, _) => opener.verify_jws(token.as_bytes()),
                (_, true) => opener.decrypt_jwe(token.as_bytes()),
                (false, false) => opener.open(token.as_bytes()),
            };
            refused += usize::from(result.is_err());
            self.show(result)?;
        }
        match (tokens.len(), refused) {
            (0, _) => Err(CliError::usage("no token: give one, or write some to standard input, one a line")),
            (_, 0) => Ok(()),
            (all, refused) => Err(CliError::plain(format!("{refused} of {all} tokens did not open"))),
        }
    }

    async fn opener(&self) -> Result<Opener, CliError> {
        let usage = |flag: &str, error: &dyn std::fmt::Display| CliError::usage(format!("{flag}: {error}"));
        let issuer = self.issuer.as_deref().map(Issuer::parse).transpose();
        let issuer = issuer.map_err(|error| usage("--issuer", &error))?;
        let audience = self.audience.as_deref().map(Audience::parse).transpose();
        let audience = audience.map_err(|error| usage("--audience", &error))?;
        let source =
            self.jwks.clone().or_else(|| issuer.as_ref().map(|iss| format!("{iss}/.well-known/jwks.json")));
        let verifying = match source {
            _ if self.jwe => Vec::new(),
            Some(source) => verifying_keys(&source).await?,
            None => return Err(CliError::usage("--jws needs --jwks: the file or URL of the issuer's JWKS")),
        };
        let decryption = decryption_keys(&self.keys)?;
        if self.jwe && decryption.is_empty() {
            return Err(CliError::usage("--jwe needs --key: a file with the private key"));
        }
        let now = self.at.map_or_else(|| SystemClock.now(), Timestamp::from_seconds);
        Ok(Opener { issuer, audience, verifying, decryption, now })
    }

    fn show(&self, result: Result<Value, Failure>) -> Result<(), CliError> {
        match (result, self.json) {
            (Ok(opened), true) => line(&json!({ "ok": true, "opened": opened }).to_string()),
            (Err(failure), true) => {
                let Failure { step, code, detail } = failure;
                line(&json!({ "ok": false, "step": step, "code": code, "detail": detail }).to_string())
            }
            (Ok(opened), false) => line(&format!("opened: {opened:#}")),
            (Err(Failure { step, code, detail }), false) => {
                line(&format!("REFUSED at {step}: {} [{code}]", printable(&detail)))
            }
        }
    }
}

impl Opener {
    fn open(&self, token: &[u8]) -> Result<Value, Failure> {
        let (Some(issuer), Some(audience)) = (&self.issuer, &self.audience) else {
            return Err(Failure::new(
                "expectations",
                "open.expectations",
                "no issuer and audience are given",
            ));
        };
        let signed =
            match Token::parse(token, &Limits::default()).map_err(|error| Failure::open("parse", &error))? {
                Token::Signed(signed) => signed,
                Token::Sealed(sealed) => {
                    let kid = sealed.recipient_kid().to_owned();
                    let key = self.decryption.iter().find(|key| key.kid() == kid).ok_or_else(|| Failure {
                        step: "decrypt",
                        code: "open.unknown_kid",
                        detail: format!("it is sealed to the key `{kid}`, which no --key file holds"),
                    })?;
                    sealed.decrypt(key).map_err(|error| Failure::open("decrypt", &error))?
                }
            };
        let key = self.key_of(&signed)?;
        let expected = Expected::new(issuer.clone(), audience.clone());
        let opened =
            signed.verify(key, &expected, self.now).map_err(|error| Failure::open("verify", &error))?;
        Ok(describe(&opened))
    }

    fn key_of(&self, signed: &Signed) -> Result<&VerifyingKey, Failure> {
        let kid = signed.signer_kid();
        self.verifying.iter().find(|key| key.kid() == kid).ok_or_else(|| Failure {
            step: "verify",
            code: "open.unknown_kid",
            detail: format!(
                "it is signed by the key `{kid}`, which is not in the JWKS (it says that it comes from `{}`)",
                signed.claimed_issuer()
            ),
        })
    }

    fn verify_jws(&self, token: &[u8]) -> Result<Value, Failure> {
        let mut last = None;
        for key in &self.verifying {
            match jws::verify(token, key) {
                Ok(payload) => return Ok(json!({ "kid": key.kid(), "payload": shown(&payload) })),
                Err(error) => last = Some(Failure::new("verify", error.code(), &error.to_string())),
            }
        }
        Err(last.unwrap_or_else(|| Failure::new("verify", "open.unknown_kid", "the JWKS has no usable key")))
    }

    fn decrypt_jwe(&self, token: &[u8]) -> Result<Value, Failure> {
        let mut last = None;
        for key in &self.decryption {
            match jwe::decrypt(token, key) {
                Ok(content) => return Ok(json!({ "kid": key.kid(), "content": shown(&content) })),
                Err(error) => last = Some(Failure::new("decrypt", error.code(), &error.to_string())),
            }
        }
        Err(last.unwrap_or_else(|| Failure::new("decrypt", "open.unknown_kid", "there is no --key")))
    }
}

impl Failure {
    fn new(step: &'static str, code: &'static str, detail: &str) -> Self {
        Self { step, code, detail: detail.to_owned() }
    }

    fn open(step: &'static str, error: &OpenError) -> Self {
        Self::new(step, error.code(), &error.to_string())
    }
}

/// An event in JSON, as people and programs are shown it.
pub(super) fn describe(opened: &Opened) -> Value {
    let event = &opened.event;
    json!({
        "issuer": event.issuer.as_str(),
        "audience": event.audience.as_str(),
        "id": event.id.as_str(),
        "type": event.event_type.as_str(),
        "issued_at": opened.issued_at.as_seconds(),
        "occurred_at": event.occurred_at.map(Timestamp::as_seconds),
        "txn": event.txn,
        "signed_by": opened.signer_kid,
        "sealed_to": opened.sealed_to,
        "data": match &event.data {
            Data::Json(raw) => serde_json::from_str(raw.get()).unwrap_or(Value::Null),
            Data::Binary { content_type, bytes } => {
                json!({ "content_type": content_type, "base64": STANDARD.encode(bytes) })
            }
        },
    })
}

/// Bytes as JSON where they are JSON, as text where they are text, as base64 otherwise.
fn shown(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| match std::str::from_utf8(bytes) {
        Ok(text) => json!(text),
        Err(_) => json!({ "base64": STANDARD.encode(bytes) }),
    })
}

fn lines() -> Result<Vec<String>, CliError> {
    let lines = std::io::stdin().lock().lines().collect::<Result<Vec<_>, _>>();
    let lines = lines.map_err(|error| CliError::failed("cannot read standard input", error))?;
    Ok(lines.into_iter().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect())
}
