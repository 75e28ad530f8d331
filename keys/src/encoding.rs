//! base64url without padding, canonical (RFC 7515 §2, RFC 4648 §3.5).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// The one way we write octets.
pub(crate) fn base64url(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// As [`base64url`], for secrets.
pub(crate) fn secret_base64url(octets: &[u8]) -> Zeroizing<String> {
    // The exact capacity: growing the string would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(octets.len().div_ceil(3) * 4));
    URL_SAFE_NO_PAD.encode_string(octets, &mut text);
    text
}

/// The octets of a canonical text; padding, white space and stray last bits are refused.
pub(crate) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
