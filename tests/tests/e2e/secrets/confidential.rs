//! What is nobody else's business.

/// Texts that are shown to endpoints or token servers. Nothing ever has a reason to repeat one.
pub const CREDENTIALS: [(&str, &str); 10] = [
    ("an API key", "hush-api-key-\"5c1f\"-0b77"),
    ("a password", "hush-password-ünlike-44d0"),
    ("a bearer token", "hush-bearer-token-e21b/93=="),
    ("a header", "hush-header-value-7aa2"),
    ("another header", "hush-other-header-1f0e"),
    ("a client secret", "hush-client-secret-b6d1 & more"),
    ("another client secret", "hush-other-secret-2291"),
    ("an API key that was replaced", "hush-replaced-key-8e8e"),
    ("a header that was refused", "hush-refused-header-60c9"),
    ("an API token that does not exist", "wxs_hush-no-such-token-0000000000000000000000000"),
];

/// Texts that are confidential at rest, and shown by the API to whoever may see them.
pub const CONTENTS: [(&str, &str); 13] = [
    ("a payload", "hush-payload \"4111\" ümlaut-1"),
    ("a payload that was sealed", "hush-payload-sealed-2"),
    ("a payload for somebody who fails", "hush-payload-failing-3"),
    ("a payload that is not JSON", "hush-payload-binary-4"),
    ("a payload that was refused", "hush-payload-refused-5"),
    ("a payload beside the kill", "hush-payload-killed-6"),
    ("a publisher's id", "hush-publishers-id-31c7"),
    ("an idempotency key", "hush-idempotency-key-dd02"),
    ("a URL's path", "hush-path-55f3"),
    ("a URL's query", "hush-query-9c9c"),
    ("a URL that nobody answers", "hush-dead-path-17b2"),
    ("a token URL's query", "hush-token-query-c4c4"),
    ("a jwks_uri's query", "hush-jwks-query-2a2a"),
];

pub fn credential(what: &str) -> &'static str {
    CREDENTIALS.iter().find(|(name, _)| *name == what).unwrap().1
}

pub fn content(what: &str) -> &'static str {
    CONTENTS.iter().find(|(name, _)| *name == what).unwrap().1
}
