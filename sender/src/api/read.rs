//! Readers of single values: each takes a JSON value and gives what it means, or says what was expected.

use std::time::Duration;

use serde_json::Value;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use url::Url;
use waxseal_envelope::{Audience, EventType, Issuer};
use waxseal_keys::Timestamp;

use super::input::{Wrong, found};
use crate::engine::egress::Egress;
use crate::id::{ConsumerId, GroupName};
use crate::model::encryption_keys::Admission;
use crate::model::endpoint::Protection;
use crate::model::token::Scope;

pub(super) fn text(value: &Value) -> Result<&str, Wrong> {
    value.as_str().ok_or_else(|| found("a string", value))
}

pub(super) fn boolean(value: &Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| found("a boolean", value))
}

/// Free text for people.
pub(super) fn description(value: &Value) -> Result<String, Wrong> {
    let text = text(value)?;
    if text.chars().count() > MAX_DESCRIPTION {
        return Err(format!("expected at most {MAX_DESCRIPTION} characters").into());
    }
    if text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
        return Err("expected no control characters but line feed and tab".into());
    }
    Ok(text.to_owned())
}

pub(super) fn consumer_id(value: &Value) -> Result<ConsumerId, Wrong> {
    ConsumerId::parse(text(value)?).map_err(|error| error.to_string().into())
}

pub(super) fn group_name(value: &Value) -> Result<GroupName, Wrong> {
    GroupName::parse(text(value)?).map_err(|error| error.to_string().into())
}

pub(super) fn event_type(value: &Value) -> Result<EventType, Wrong> {
    EventType::parse(text(value)?).map_err(|error| error.to_string().into())
}

/// A type that an operator may declare: the framework's own names are not among them, nor URIs in the place where the
/// issuer's dotted names go (wire format, section 1).
pub(super) fn declarable_type(value: &Value, issuer: &Issuer) -> Result<EventType, Wrong> {
    let name = event_type(value)?;
    if name.is_reserved() {
        return Err("types under `waxseal.` are reserved; choose another name".into());
    }
    let own = format!("{issuer}/events/");
    match name.as_str().strip_prefix(&own) {
        Some(rest) => Err(format!("URIs under {own} cannot be declared; did you mean `{rest}`?").into()),
        None => Ok(name),
    }
}

pub(super) fn audience(value: &Value) -> Result<Audience, Wrong> {
    Audience::parse(text(value)?).map_err(|error| error.to_string().into())
}

pub(super) fn protection(value: &Value) -> Result<Protection, Wrong> {
    match text(value)? {
        "signed" => Ok(Protection::Signed),
        "sealed" => Ok(Protection::Sealed),
        _ => Err("expected `signed` or `sealed`".into()),
    }
}

pub(super) fn admission(value: &Value) -> Result<Admission, Wrong> {
    match text(value)? {
        "approve" => Ok(Admission::Approve),
        "automatic" => Ok(Admission::Automatic),
        _ => Err("expected `approve` or `automatic`".into()),
    }
}

pub(super) fn scope(value: &Value) -> Result<Scope, Wrong> {
    let text = text(value)?;
    let known = Scope::ALL.into_iter().find(|scope| scope.name() == text);
    known.ok_or_else(|| {
        format!("expected one of {}", Scope::ALL.map(|scope| format!("`{}`", scope.name())).join(", ")).into()
    })
}

/// A URL that we are to call: one that the guard of outgoing requests lets pass as far as can be said before its
/// host is resolved, and that says nothing which would never be sent.
pub(super) fn target_url(value: &Value, egress: &Egress) -> Result<Url, Wrong> {
    const EXPECTED: &str = "expected an absolute https URL";
    let text = text(value)?;
    if text.len() > MAX_URL {
        return Err(format!("expected a URL of at most {MAX_URL} bytes").into());
    }
    // What the URL parser would silently drop or repair is refused: the URL that is kept is the one that was meant.
    if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(format!("{EXPECTED} without white space, control characters and backslashes").into());
    }
    let url = Url::parse(text).map_err(|_| EXPECTED)?;
    let authority_given = text.get(url.scheme().len()..).is_some_and(|rest| rest.starts_with("://"));
    if !authority_given || url.host_str().is_none_or(str::is_empty) {
        return Err(EXPECTED.into());
    }
    if url.fragment().is_some() {
        return Err("expected a URL without a fragment (#…)".into());
    }
    if url.port() == Some(0) {
        return Err("expected a port from 1 to 65535".into());
    }
    egress.check(&url).map_err(|refused| refused.to_string())?;
    Ok(url)
}

/// A moment: RFC 3339 text, or whole seconds since 1970.
pub(super) fn moment(value: &Value) -> Result<Timestamp, Wrong> {
    const EXPECTED: &str = "an RFC 3339 time such as \"2026-11-21T09:30:00Z\", or whole seconds since 1970";
    match value {
        Value::Number(number) => number
            .as_i64()
            .filter(|seconds| (0..=MAX_SECONDS).contains(seconds))
            .map(Timestamp::from_seconds)
            .ok_or_else(|| format!("expected {EXPECTED}").into()),
        Value::String(text) => {
            let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| format!("expected {EXPECTED}"))?;
            let millis = parsed.unix_timestamp_nanos().div_euclid(1_000_000);
            i64::try_from(millis).map(Timestamp::from_millis).map_err(|_| EXPECTED.into())
        }
        other => Err(found(EXPECTED, other)),
    }
}

/// `true` or `false`.
pub(super) fn flag(value: &Value) -> Result<bool, Wrong> {
    value.as_bool().ok_or_else(|| found("`true` or `false`", value))
}

/// A time span in whole seconds, from 1 to `longest`.
pub(super) fn seconds(value: &Value, longest: Duration) -> Result<Duration, Wrong> {
    let most = longest.as_secs();
    match value {
        Value::Number(number) => match number.as_u64() {
            Some(seconds) if (1..=most).contains(&seconds) => Ok(Duration::from_secs(seconds)),
            _ => Err(format!("expected a whole number of seconds from 1 to {most}").into()),
        },
        other => Err(found("a whole number of seconds", other)),
    }
}

const MAX_DESCRIPTION: usize = 512;
const MAX_URL: usize = 2_048;
/// The last second of the year 9999, the last that RFC 3339 can write.
const MAX_SECONDS: i64 = 253_402_300_799;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::engine::egress::EgressPolicy;
    use crate::engine::egress::guard::PlainHttp;

    fn egress(http: PlainHttp) -> Egress {
        let allow = vec!["127.0.0.0/8".parse().unwrap()];
        Egress::new(EgressPolicy { allow, http, ..EgressPolicy::default() }).unwrap()
    }

    #[test]
    fn only_plain_https_urls_are_targets() {
        let strict = Egress::new(EgressPolicy::default()).unwrap();
        let long = format!("https://a.example/{}", "x".repeat(MAX_URL));
        for bad in [
            "",
            "/hook",
            "a.example/hook",
            "https:",
            "https://",
            "https:a.example",
            "http://a.example/",
            "ftp://a.example/",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "https://u@a.example/",
            "https://u:p@a.example/",
            "https://:p@a.example/",
            "https://a.example/#x",
            "https://a.example:0/",
            "https://a.example:99999/",
            " https://a.example/",
            "https://a.example/a b",
            "https://a.exa\tmple/",
            "https:\\\\a.example",
            "https://a.example/\u{0}",
            "https://exa mple/",
            "https://[::1",
            "https://127.0.0.1/",
            "https://0x7f.1/",
            "https://[::ffff:10.0.0.1]/",
            "https://169.254.169.254/latest/meta-data",
            &long,
        ] {
            assert!(target_url(&json!(bad), &strict).is_err(), "{bad:?}");
        }
        for good in ["https://a.example", "https://a.example:8443/h?token=x", "https://[2606:4700::1]/h"] {
            assert!(target_url(&json!(good), &strict).is_ok(), "{good}");
        }
    }

    #[test]
    fn plain_http_needs_the_operators_word() {
        let local = json!("http://127.0.0.1:9/h");
        assert!(target_url(&local, &egress(PlainHttp::AllowedRanges)).is_ok());
        assert!(target_url(&local, &egress(PlainHttp::Never)).is_err());
        assert!(target_url(&json!("ftp://127.0.0.1/h"), &egress(PlainHttp::AllowedRanges)).is_err());
    }

    #[test]
    fn moments_are_read_in_both_forms() {
        assert_eq!(moment(&json!("1970-01-01T01:00:00.250+01:00")), Ok(Timestamp::from_millis(250)));
        assert_eq!(moment(&json!("1969-12-31T23:59:59.9999Z")), Ok(Timestamp::from_millis(-1)));
        assert_eq!(moment(&json!(1_795_293_598)), Ok(Timestamp::from_seconds(1_795_293_598)));
        for bad in [json!("yesterday"), json!(-1), json!(1.5), json!(1e30), json!(true), json!("2026-11-21")]
        {
            assert!(moment(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn descriptions_are_bounded_in_characters() {
        assert!(description(&json!("ä".repeat(512))).is_ok());
        assert!(description(&json!("a".repeat(513))).is_err());
        assert!(description(&json!("bell \u{7}")).is_err());
    }
}
