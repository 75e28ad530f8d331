//! What the program says when it cannot do what it was told, and its exit status.

use std::error::Error;
use std::fmt;
use std::path::Path;

use serde_json::Value;
use url::Url;

/// Why a command failed: one message for people, and an exit status (1, 2 where the command line was wrong, 65 where the
/// store is damaged).
#[derive(Debug)]
pub struct CliError {
    message: String,
    status: u8,
}

impl CliError {
    /// The command line is not right.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 2 }
    }

    /// Something that has an exit status of its own.
    pub(super) fn with_status(message: impl Into<String>, status: u8) -> Self {
        Self { message: message.into(), status }
    }

    /// Something did not work.
    pub fn failed(what: impl fmt::Display, why: impl Error) -> Self {
        Self { message: format!("{what}: {}", chain(&why)), status: 1 }
    }

    /// Something is not as it should be.
    pub fn plain(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: 1 }
    }

    /// A file cannot be read or written.
    pub fn file(path: &Path, why: std::io::Error) -> Self {
        Self::failed(path.display(), why)
    }

    /// The sender cannot be reached.
    pub fn unreachable(url: &Url, why: reqwest::Error) -> Self {
        let origin = url.origin().ascii_serialization();
        Self::failed(
            format!("no answer from the sender at {origin} (is it running? see --url)"),
            why.without_url(),
        )
    }

    /// The sender answered with an error: its problem details in words.
    pub fn refused(status: u16, problem: Value) -> Self {
        let text = |name: &str| problem.get(name).and_then(Value::as_str).map(str::to_owned);
        let said = text("detail").or_else(|| text("title")).unwrap_or_else(|| "no reason given".to_owned());
        let mut message = format!("the sender answered {status}: {said}");
        for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let part = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or("?").to_owned();
            message.push_str(&format!("\n  {}: {}", part("field"), part("detail")));
        }
        Self { message, status: 1 }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        self.status
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for CliError {}

/// An error and its causes, each said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}
