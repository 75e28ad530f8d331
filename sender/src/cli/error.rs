//! What the program says when it cannot do what it was told, and its exit status.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;
use url::Url;

use super::output::{printable, printable_lines};

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

    /// The configuration is not right, or cannot be read.
    pub fn misconfigured(why: impl Error + 'static) -> Self {
        Self { message: explained(&why), status: 2 }
    }

    /// The same, of this file.
    #[must_use]
    pub fn in_file(self, path: &Path) -> Self {
        Self { message: format!("{}: {}", path.display(), self.message), ..self }
    }

    /// Something that has an exit status of its own.
    pub(super) fn with_status(message: impl Into<String>, status: u8) -> Self {
        Self { message: message.into(), status }
    }

    /// Something did not work.
    pub fn failed(what: impl fmt::Display, why: impl Error + 'static) -> Self {
        Self { message: format!("{what}: {}", explained(&why)), status: 1 }
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

    /// Something answers there that is not a sender.
    pub fn no_sender(url: &Url, status: u16) -> Self {
        let origin = url.origin().ascii_serialization();
        Self::plain(format!(
            "{origin} answered {status} with something that is not JSON: is --url a Waxseal sender? Nobody knows whether anything was done"
        ))
    }

    /// The sender answered with an error: its problem details in words.
    pub fn refused(status: u16, problem: Value) -> Self {
        let text = |name: &str| problem.get(name).and_then(Value::as_str).map(printable);
        let said = text("detail").or_else(|| text("title")).unwrap_or(Cow::Borrowed("no reason given"));
        let mut message = format!("the sender answered {status}: {said}");
        for error in problem.get("errors").and_then(Value::as_array).into_iter().flatten() {
            let part = |name: &str| printable(error.get(name).and_then(Value::as_str).unwrap_or("?"));
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
        f.write_str(&printable_lines(&self.message))
    }
}

impl Error for CliError {}

/// An error, its causes, and what can be done about the common ones.
fn explained(error: &(dyn Error + 'static)) -> String {
    let mut text = chain(error);
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(remedy) = cause.downcast_ref::<std::io::Error>().and_then(remedy) {
            text.push_str(remedy);
            break;
        }
        next = cause.source();
    }
    text
}

fn remedy(error: &std::io::Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::PermissionDenied => {
            Some("; run this as the user that owns it, or change its owner (chown)")
        }
        ErrorKind::ReadOnlyFilesystem => Some("; the file system is read-only: choose another place"),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => {
            Some("; make room there, or choose another place")
        }
        _ => None,
    }
}

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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_sender_answers_is_shown_as_text() {
        let problem = json!({
            "detail": "no\u{1b}[2J\nwaxseal: all is well",
            "errors": [{ "field": "url\n", "detail": "\u{202e}" }],
        });
        let shown = CliError::refused(400, problem).to_string();
        assert_eq!(shown, "the sender answered 400: no\\u001b[2J\\nwaxseal: all is well\n  url\\n: \\u202e");
        assert_eq!(CliError::plain("\u{9b}").to_string(), "\\u009b");
    }

    #[test]
    fn causes_are_said_with_the_path_and_the_remedy() {
        let denied = || std::io::Error::from(ErrorKind::PermissionDenied);
        let path = Path::new("/etc/waxseal.toml");
        let config = crate::config::ConfigError::Unreadable { path: path.to_owned(), source: denied() };
        let store = crate::store::StoreError::Unavailable(Box::new(denied()));
        for (error, status, expected) in [
            (
                CliError::misconfigured(config),
                2,
                "cannot read /etc/waxseal.toml: permission denied; run this as",
            ),
            (CliError::file(path, denied()), 1, "/etc/waxseal.toml: permission denied; run this as"),
            (
                CliError::failed("a.db", store),
                1,
                "a.db: the store is unavailable: permission denied; run this as",
            ),
        ] {
            assert!(error.to_string().starts_with(expected), "{error}");
            assert_eq!(error.status(), status);
        }
    }
}
