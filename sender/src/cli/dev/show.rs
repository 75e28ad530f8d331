//! What the demonstration prints.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use waxseal_envelope::{Data, Opened};

use super::consumer::{DemoConsumer, Seen};
use crate::cli::error::CliError;
use crate::cli::output;

/// Prints to standard output.
pub(super) struct Show;

impl Show {
    pub(super) fn new() -> Self {
        Self
    }

    pub(super) fn line(&self, text: &str) -> Result<(), CliError> {
        output::line(text)
    }

    pub(super) fn introduction(&self, origin: &str, consumer: &DemoConsumer) -> Result<(), CliError> {
        self.line(&format!("sender    {origin}  (embedded store in a temporary folder, encrypted at rest)"))?;
        self.line(&format!("jwks      {origin}/.well-known/jwks.json"))?;
        self.line(&format!("consumer  acme at {}", consumer.url()))?;
        self.line(&format!("          its P-256 key {}; only it has the private half", consumer.kid()))?;
        self.line("")
    }

    pub(super) fn publish(&self, event_type: &str, data: &str) -> Result<(), CliError> {
        self.line(&format!("publish   {event_type} {data}"))
    }

    pub(super) fn wire(&self, seen: &Seen) -> Result<(), CliError> {
        let token = &seen.token;
        let header = token.split('.').next().and_then(|header| URL_SAFE_NO_PAD.decode(header).ok());
        let header = header.and_then(|header| String::from_utf8(header).ok()).unwrap_or_default();
        let (bytes, parts) = (token.len(), token.split('.').count());
        self.line(&format!("  wire    POST application/secevent+jwt, {bytes} bytes in {parts} parts"))?;
        self.line(&format!("          {}...", &token[..token.len().min(72)]))?;
        self.line(&format!("          header {header}"))
    }

    pub(super) fn read(&self, opened: &Opened) -> Result<(), CliError> {
        let event = &opened.event;
        self.line(&format!("  read    from {} for {}", event.issuer, event.audience))?;
        self.line(&format!("          id {}, signed by {}", event.id, opened.signer_kid))?;
        if let Data::Json(data) = &event.data {
            self.line(&format!("          {}  (equal)", data.get()))?;
        }
        self.line("")
    }

    pub(super) fn keys(&self, keys: &Value) -> Result<(), CliError> {
        let text = |key: &Value, name: &str| key.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
        for key in keys.get("data").and_then(Value::as_array).into_iter().flatten() {
            self.line(&format!("  key     {}  {}", text(key, "kid"), text(key, "state")))?;
        }
        Ok(())
    }
}
