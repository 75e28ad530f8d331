//! How many bytes a delivery is on the wire: the token by `docs/wire-format.md`, and what HTTP, TLS and TCP add.
//!
//! The token's length is exact, and a test compares it with real tokens. The rest is that of HTTP/1.1 in TLS 1.3 over
//! IPv4 on a connection that is used again: without handshakes, retransmissions and credentials of endpoints.

/// What decides a token's length beside its content.
#[derive(Clone, Copy, Debug)]
pub struct Names<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `aud`.
    pub audience: &'a str,
    /// `jti`.
    pub event: &'a str,
    /// The type, a dotted one.
    pub event_type: &'a str,
}

impl Default for Names<'static> {
    fn default() -> Self {
        Self {
            issuer: "https://hooks.example.com",
            audience: "acme",
            event: "evt_01981e2f5c7a7f3e9d4b8a6c0e2d4f61",
            event_type: "order.created",
        }
    }
}

/// The length of a token signed with ES256 whose event has JSON data of this length, and both times.
pub fn signed(data: usize, names: &Names<'_>) -> usize {
    let Names { issuer, audience, event, event_type } = names;
    let claims = format!(
        r#"{{"iss":"{issuer}","aud":"{audience}","jti":"{event}","iat":{TIME},"toe":{TIME},"events":{{"{issuer}/events/{event_type}":{{"data":}}}}}}"#
    );
    let header = format!(r#"{{"typ":"secevent+jwt","alg":"ES256","kid":"{KID}"}}"#);
    base64url(header.len()) + 1 + base64url(claims.len() + data) + 1 + base64url(SIGNATURE)
}

/// The length of that token sealed with ECDH-ES on P-256 and A256GCM: nested, so its content is base64url twice.
pub fn sealed(data: usize, names: &Names<'_>) -> usize {
    let header = format!(
        r#"{{"alg":"ECDH-ES","enc":"A256GCM","kid":"{KID}","typ":"secevent+jwt","cty":"JWT","epk":{{"kty":"EC","crv":"P-256","x":"{KID}","y":"{KID}"}}}}"#
    );
    // The encrypted key is empty: two points beside each other.
    base64url(header.len()) + 2 + base64url(NONCE) + 1 + base64url(signed(data, names)) + 1 + base64url(TAG)
}

/// What a node sends for one delivery, in bytes on the wire.
pub fn sent(token: usize) -> usize {
    let head = format!(
        "POST /hooks/orders HTTP/1.1\r\nhost: acme.example.com\r\ncontent-type: application/secevent+jwt\r\naccept: application/json\r\ncontent-length: {token}\r\n\r\n"
    );
    let plain = head.len() + token;
    packets(plain + plain.div_ceil(RECORD) * RECORD_OVERHEAD) + ACKNOWLEDGEMENT
}

/// What it receives for it: the answer, and acknowledgements of every other packet.
pub fn received(token: usize) -> usize {
    let answer = "HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\ndate: Mon, 30 Nov 2026 09:00:00 GMT\r\n\r\n";
    let acknowledgements = (sent(token) / SEGMENT).div_ceil(2) * ACKNOWLEDGEMENT;
    packets(answer.len() + RECORD_OVERHEAD) + acknowledgements
}

fn packets(bytes: usize) -> usize {
    bytes + bytes.div_ceil(SEGMENT) * ACKNOWLEDGEMENT
}

fn base64url(bytes: usize) -> usize {
    (bytes * 4).div_ceil(3)
}

/// Seconds since 1970 have ten digits until the year 2286.
const TIME: u64 = 1_795_293_600;

/// An RFC 7638 thumbprint; a coordinate on P-256 is as long.
const KID: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

/// ES256: RFC 7518 section 3.4.
const SIGNATURE: usize = 64;

/// A256GCM: RFC 7518 section 5.3.
const NONCE: usize = 12;
const TAG: usize = 16;

/// What fits into one TLS record, and what it adds in TLS 1.3: header, type, tag (RFC 8446 section 5.2).
const RECORD: usize = 16_384;
const RECORD_OVERHEAD: usize = 5 + 1 + 16;

/// TCP over Ethernet with time stamps: what a packet carries, and what it is without content (with the link's own frame,
/// preamble and gap: 38 bytes).
const SEGMENT: usize = 1_448;
const ACKNOWLEDGEMENT: usize = 52 + 38;
