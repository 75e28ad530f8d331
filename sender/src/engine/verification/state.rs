//! The `state` of a verification event: what an endpoint sends back, and how it is told.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use waxseal_keys::strict_json;
use zeroize::Zeroizing;

use crate::engine::post::{Answer, BodyEnd};

/// 32 random bytes as base64url, made for one attempt. Whoever knows them before they are answered can answer for the
/// endpoint, so only their hash is kept.
pub(super) struct State(Zeroizing<String>);

impl State {
    /// # Panics
    /// If the operating system has no randomness to give.
    pub(super) fn generate() -> Self {
        let mut bytes = Zeroizing::new([0; 32]);
        rand::fill(bytes.as_mut()).expect("the system's random generator works");
        Self(Zeroizing::new(URL_SAFE_NO_PAD.encode(bytes.as_ref())))
    }

    pub(super) fn reveal(&self) -> &str {
        &self.0
    }

    pub(super) fn sha256(&self) -> String {
        sha256(&self.0)
    }
}

/// The hash of the state that an answer brings: status 200, and a body that is a JSON object with this one member,
/// short enough to be known as a whole.
pub(super) fn echoed(answer: &Answer) -> Option<String> {
    if answer.status != 200 || answer.body != BodyEnd::Whole {
        return None;
    }
    let mut members = strict_json::parse_object(&answer.excerpt, ECHO_DEPTH).ok()??;
    match (members.remove("state"), members.is_empty()) {
        (Some(Value::String(state)), true) => Some(sha256(&state)),
        _ => None,
    }
}

fn sha256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// One object.
const ECHO_DEPTH: usize = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { excerpt: body.as_bytes().to_vec(), ..Answer::of_status(status) }
    }

    #[test]
    fn states_are_random_and_known_by_their_hash() {
        let (one, two) = (State::generate(), State::generate());
        assert_eq!(URL_SAFE_NO_PAD.decode(one.reveal()).unwrap().len(), 32);
        assert_ne!(one.reveal(), two.reveal());
        let echo = answer(200, &format!(r#" {{"state": "{}"}} "#, one.reveal()));
        assert_eq!(echoed(&echo), Some(one.sha256()));
        assert_ne!(echoed(&echo), Some(two.sha256()));
        assert!(!one.sha256().contains(one.reveal()));
    }

    #[test]
    fn nothing_else_is_an_echo() {
        for body in [
            "",
            "x",
            "\"x\"",
            "[\"x\"]",
            "<html>{\"state\":\"x\"}</html>",
            "{}",
            r#"{"state":null}"#,
            r#"{"state":["x"]}"#,
            r#"{"state":1}"#,
            r#"{"state":"x","more":1}"#,
            r#"{"state":"x","state":"x"}"#,
            r#"{"State":"x"}"#,
            r#"{"state":"x"}{"state":"x"}"#,
            r#"[{"state":"x"}]"#,
            r#"{"data":{"state":"x"}}"#,
        ] {
            assert_eq!(echoed(&answer(200, body)), None, "{body}");
        }
        let right = r#"{"state":"x"}"#;
        assert!(echoed(&answer(200, right)).is_some());
        for status in [201, 202, 204, 302, 400, 500] {
            assert_eq!(echoed(&answer(status, right)), None, "{status}");
        }
        let cut = Answer { body: BodyEnd::Cut, ..answer(200, right) };
        assert_eq!(echoed(&cut), None);
    }
}
