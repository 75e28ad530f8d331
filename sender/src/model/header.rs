//! Header fields that an endpoint asks us to send: which names, which values.
//!
//! Guarantees that a name that passed is none that belongs to HTTP itself, to us, or to whoever stands between us and
//! the endpoint, and that a value that passed cannot end its own line.

use http::header::{HeaderName, HeaderValue};

use super::secret::Secret;

/// Why a name or a value is not one that can be set.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HeaderRefused {
    /// Not a field name (RFC 9110 section 5.1).
    #[error("expected a header name: 1 to 64 of the characters A-Z a-z 0-9 ! # $ % & ' * + - . ^ _ ` | ~")]
    Name,
    /// A name that cannot be set.
    #[error("the header `{0}` cannot be set: {1}")]
    Reserved(&'static str, &'static str),
    /// Not a field value that arrives as it was given.
    #[error(
        "expected 1 to 4096 visible ASCII characters, with spaces and tabs only between them: no control characters, no line breaks"
    )]
    Value,
}

/// Reads a name that may be set. It comes out in lower case, as names are compared.
///
/// # Errors
/// [`HeaderRefused`], with the reason.
pub fn parse_name(text: &str) -> Result<HeaderName, HeaderRefused> {
    let name = match HeaderName::from_bytes(text.as_bytes()) {
        Ok(name) if text.len() <= MAX_NAME => name,
        Ok(_) | Err(_) => return Err(HeaderRefused::Name),
    };
    for (reserved, reason) in RESERVED {
        let hit = match reserved.strip_suffix('*') {
            Some(prefix) => name.as_str().starts_with(prefix),
            None => name.as_str() == *reserved,
        };
        if hit {
            return Err(HeaderRefused::Reserved(reserved, reason));
        }
    }
    Ok(name)
}

/// Reads a value.
///
/// # Errors
/// [`HeaderRefused::Value`].
pub fn parse_value(text: &str) -> Result<Secret, HeaderRefused> {
    let visible = |byte: u8| byte.is_ascii_graphic();
    let (first, last) = match (text.bytes().next(), text.bytes().last()) {
        (Some(first), Some(last)) if text.len() <= MAX_VALUE => (first, last),
        _ => return Err(HeaderRefused::Value),
    };
    let inside = text.bytes().all(|byte| visible(byte) || matches!(byte, b' ' | b'\t'));
    if inside && visible(first) && visible(last) { Ok(Secret::new(text)) } else { Err(HeaderRefused::Value) }
}

/// A value as the HTTP client takes it, marked so that nothing shows it.
pub fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_bytes(text.as_bytes()).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// Names that cannot be set, and why; `*` stands for any rest.
const RESERVED: &[(&str, &str)] = &[
    // Who ends where (RFC 9110 section 7.6.1, RFC 9112 sections 6 and 9): set by hand, they smuggle requests.
    ("host", FRAMING),
    ("connection", FRAMING),
    ("keep-alive", FRAMING),
    ("te", FRAMING),
    ("trailer", FRAMING),
    ("transfer-encoding", FRAMING),
    ("upgrade", FRAMING),
    ("http2-settings", FRAMING),
    ("expect", FRAMING),
    // What the body is, and what may come back.
    ("content-*", BODY),
    ("accept", BODY),
    ("accept-*", BODY),
    ("range", BODY),
    ("if-*", BODY),
    ("date", "the time of signing is inside of the token"),
    // Credentials have forms of their own, which are checked, shown and erased as such.
    ("authorization", "use `basic`, `bearer`, `oauth2` or `api_key`"),
    ("cookie", SESSION),
    ("cookie2", SESSION),
    ("set-cookie", SESSION),
    // Between us and the endpoint: what a proxy adds is believed because nobody else could have added it.
    ("proxy-*", PROXY),
    ("via", PROXY),
    ("forwarded", PROXY),
    ("x-forwarded-*", PROXY),
    ("x-real-ip", PROXY),
    ("max-forwards", PROXY),
    // What makes a request another one than it seems.
    ("x-http-method*", OTHER_REQUEST),
    ("x-method-override", OTHER_REQUEST),
    ("x-original-url", OTHER_REQUEST),
    ("x-rewrite-url", OTHER_REQUEST),
    // What clouds ask for so that a forged request cannot read an instance's credentials.
    ("metadata", METADATA),
    ("metadata-flavor", METADATA),
    ("x-google-metadata-request", METADATA),
    ("x-aws-ec2-metadata-*", METADATA),
    // What a browser alone may say.
    ("sec-*", BROWSER),
    ("origin", BROWSER),
    ("referer", BROWSER),
    // What we say.
    ("user-agent", OURS),
    ("waxseal-*", OURS),
    ("webhook-*", OURS),
];

const FRAMING: &str = "it belongs to the connection";
const BODY: &str = "it describes the body, which is the token";
const SESSION: &str = "a session is no way to know a sender; use `api_key`";
const PROXY: &str = "it belongs to proxies";
const OTHER_REQUEST: &str = "it would make another request of it";
const METADATA: &str = "it opens the metadata services of clouds";
const BROWSER: &str = "it belongs to browsers";
const OURS: &str = "it says what we are";

const MAX_NAME: usize = 64;
/// Half of what common servers take for a whole line.
const MAX_VALUE: usize = 4_096;

#[cfg(test)]
mod tests {
    use super::*;

    /// Names as people write them, and the entry that each is refused by.
    const BELONGS_TO_OTHERS: &[(&str, &str)] = &[
        ("Host", "host"),
        ("Connection", "connection"),
        ("Keep-Alive", "keep-alive"),
        ("Te", "te"),
        ("Trailer", "trailer"),
        ("TRANSFER-ENCODING", "transfer-encoding"),
        ("upgrade", "upgrade"),
        ("HTTP2-Settings", "http2-settings"),
        ("Expect", "expect"),
        ("content-type", "content-*"),
        ("Content-Length", "content-*"),
        ("Content-Encoding", "content-*"),
        ("Content-Digest", "content-*"),
        ("Accept", "accept"),
        ("Accept-Encoding", "accept-*"),
        ("Range", "range"),
        ("If-Match", "if-*"),
        ("If-None-Match", "if-*"),
        ("Date", "date"),
        ("Authorization", "authorization"),
        ("Cookie", "cookie"),
        ("Cookie2", "cookie2"),
        ("Set-Cookie", "set-cookie"),
        ("Proxy-Authorization", "proxy-*"),
        ("Proxy-Connection", "proxy-*"),
        ("Via", "via"),
        ("Forwarded", "forwarded"),
        ("X-Forwarded-For", "x-forwarded-*"),
        ("X-Forwarded-Host", "x-forwarded-*"),
        ("X-Real-IP", "x-real-ip"),
        ("Max-Forwards", "max-forwards"),
        ("X-HTTP-Method", "x-http-method*"),
        ("X-HTTP-Method-Override", "x-http-method*"),
        ("X-Method-Override", "x-method-override"),
        ("X-Original-URL", "x-original-url"),
        ("X-Rewrite-URL", "x-rewrite-url"),
        ("Metadata", "metadata"),
        ("Metadata-Flavor", "metadata-flavor"),
        ("X-Google-Metadata-Request", "x-google-metadata-request"),
        ("X-aws-ec2-metadata-token", "x-aws-ec2-metadata-*"),
        ("Sec-Fetch-Site", "sec-*"),
        ("Sec-WebSocket-Key", "sec-*"),
        ("Origin", "origin"),
        ("Referer", "referer"),
        ("User-Agent", "user-agent"),
        ("Waxseal-Event", "waxseal-*"),
        ("Webhook-Signature", "webhook-*"),
        ("Webhook-Id", "webhook-*"),
    ];

    #[test]
    fn names_that_belong_to_somebody_else_are_refused_in_any_case() {
        for (name, entry) in BELONGS_TO_OTHERS {
            match parse_name(name) {
                Err(HeaderRefused::Reserved(found, _)) => assert_eq!(found, *entry, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        for name in ["", "x y", "x:y", "x\r\n", "ä", "x\0", &"x".repeat(65)] {
            assert_eq!(parse_name(name), Err(HeaderRefused::Name), "{name:?}");
        }
        for name in [
            "X-Api-Key",
            "x-tenant",
            "Tenant",
            "hostname",
            "contents",
            "x-cookie",
            "ocp-apim-subscription-key",
        ] {
            assert_eq!(parse_name(name).unwrap().as_str(), name.to_ascii_lowercase());
        }
    }

    #[test]
    fn every_entry_of_the_list_is_tried_above() {
        for (entry, _) in RESERVED {
            assert!(BELONGS_TO_OTHERS.iter().any(|(_, tried)| tried == entry), "{entry}");
        }
    }

    #[test]
    fn a_value_cannot_end_its_line() {
        for bad in
            ["", " x", "x ", "\tx", "a\r\nb: c", "a\nb", "a\rb", "a\0b", "a\u{7f}", "ä", &"x".repeat(4_097)]
        {
            assert_eq!(parse_value(bad), Err(HeaderRefused::Value), "{bad:?}");
        }
        for good in ["x", "a b", "a\tb", "=?;,\"", &"x".repeat(4_096)] {
            assert_eq!(parse_value(good).unwrap().reveal(), good);
        }
        assert!(sensitive("x").unwrap().is_sensitive());
    }

    #[test]
    fn the_list_is_in_lower_case_and_without_repetition() {
        let mut names: Vec<_> = RESERVED.iter().map(|(name, _)| *name).collect();
        assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), RESERVED.len());
    }
}
