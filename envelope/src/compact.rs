//! Compact serialisation: dot-separated base64url segments (RFC 7515 section 7.1, RFC 7516 section 7.1).
//!
//! Relies on nothing but bytes. Guarantees that whatever passes is made of `[A-Za-z0-9_.-]` only, is within the
//! size limits, has three or five segments, and that each segment has exactly one encoding (no padding, unused
//! bits zero). The other serialisations of RFC 7515 and RFC 7516 are not understood: a `{` is a byte out of class.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::error::{Malformed, Part};

/// How much of a stranger's bytes is read at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Longest token, in bytes. The standard is 256 KiB.
    pub token: usize,
    /// Longest protected header, in bytes of JSON. The standard is 4 KiB.
    pub header: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { token: MAX_TOKEN, header: MAX_HEADER }
    }
}

/// A token cut at its dots; nothing is decoded yet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Segments<'a> {
    /// A JWS: protected header, payload, signature.
    Three([&'a [u8]; 3]),
    /// A JWE: protected header, encrypted key, initialisation vector, ciphertext, tag.
    Five([&'a [u8]; 5]),
}

impl<'a> Segments<'a> {
    /// Checks size and byte class, then cuts.
    pub(crate) fn split(token: &'a [u8], limits: &Limits) -> Result<Self, Malformed> {
        if token.len() > limits.token {
            return Err(Malformed::TooLong { limit: limits.token });
        }
        // Without an early exit the compiler checks many bytes at once; the position is found only on failure.
        if !token.iter().fold(true, |ok, byte| ok & is_token_byte(*byte)) {
            let at = token.iter().position(|byte| !is_token_byte(*byte)).unwrap_or(0);
            return Err(Malformed::Byte { at });
        }
        let mut parts = [&token[..0]; 5];
        let mut found = 0;
        for part in token.split(|byte| *byte == b'.') {
            if let Some(slot) = parts.get_mut(found) {
                *slot = part;
            }
            found += 1;
        }
        let [a, b, c, d, e] = parts;
        match found {
            3 => Ok(Self::Three([a, b, c])),
            5 => Ok(Self::Five([a, b, c, d, e])),
            _ => Err(Malformed::Segments { found }),
        }
    }
}

/// Decodes one segment, strictly (RFC 7515 section 2 and RFC 4648 section 3.5: canonical encodings only).
pub(crate) fn decode(segment: &[u8], part: Part) -> Result<Vec<u8>, Malformed> {
    URL_SAFE_NO_PAD.decode(segment).map_err(|_| Malformed::Base64 { part })
}

/// Decodes the protected header's segment within its size limit.
pub(crate) fn decode_header(segment: &[u8], limits: &Limits) -> Result<Vec<u8>, Malformed> {
    // Judged by the encoded length, so that nothing over the limit is decoded at all.
    if segment.len() / 4 * 3 > limits.header {
        return Err(Malformed::HeaderTooLong { limit: limits.header });
    }
    decode(segment, Part::Header)
}

/// Decodes a segment whose length the algorithm fixes; another length is refused before any cryptography.
pub(crate) fn decode_exact<const N: usize>(segment: &[u8], part: Part) -> Result<[u8; N], Malformed> {
    let wrong_length = Malformed::Length { part, expected: N };
    if segment.len() != (N * 8).div_ceil(6) {
        return Err(wrong_length);
    }
    // `decode_slice` wants room for the estimate of a padded text, hence the Vec for this short value.
    decode(segment, part)?.try_into().map_err(|_| wrong_length)
}

/// Appends the base64url text of `bytes`. A sender does it with every content, so it has the faster library.
#[cfg(feature = "seal")]
pub(crate) fn encode_into(out: &mut Vec<u8>, bytes: &[u8]) {
    base64_simd::URL_SAFE_NO_PAD.encode_append(bytes, out);
}

/// Appends the base64url text of `bytes`.
#[cfg(not(feature = "seal"))]
pub(crate) fn encode_into(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + encoded_len(bytes.len()), 0);
    URL_SAFE_NO_PAD
        .encode_slice(bytes, &mut out[start..])
        .expect("the space was sized with the formula of unpadded base64");
}

/// Length of the unpadded base64 text of `len` bytes.
pub(crate) const fn encoded_len(len: usize) -> usize {
    (len * 4).div_ceil(3)
}

/// Turns a finished token into text.
pub(crate) fn into_text(token: Vec<u8>) -> String {
    String::from_utf8(token).expect("base64url and dots are ASCII")
}

const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// 256 KiB: 128 KiB of JSON come to about 234 KB when signed and sealed.
pub(crate) const MAX_TOKEN: usize = 256 * 1024;
/// Our own headers are under 400 bytes; other libraries add little.
pub(crate) const MAX_HEADER: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn split(token: &str) -> Result<usize, Malformed> {
        Segments::split(token.as_bytes(), &Limits::default()).map(|segments| match segments {
            Segments::Three(_) => 3,
            Segments::Five(_) => 5,
        })
    }

    #[test]
    fn three_or_five_segments() {
        assert_eq!(split("a.b.c"), Ok(3));
        assert_eq!(split("..").map(|_| ()), Ok(()));
        assert_eq!(split("a.b.c.d.e"), Ok(5));
        for (token, found) in
            [("", 1), ("a", 1), ("a.b", 2), ("a.b.c.", 4), ("a.b.c.d.e.f", 6), (".......", 8)]
        {
            assert_eq!(split(token), Err(Malformed::Segments { found }), "{token}");
        }
    }

    #[test]
    fn bytes_out_of_class_are_located() {
        for (token, at) in
            [("a.b.c\n", 5), ("a=.b.c", 1), ("{}", 0), ("a.b+.c", 3), ("a.\0.c", 2), ("a.é.c", 2)]
        {
            assert_eq!(split(token), Err(Malformed::Byte { at }), "{token}");
        }
    }

    #[test]
    fn limits_hold() {
        let limits = Limits { token: 5, header: 3 };
        assert!(Segments::split(b"a.b.c", &limits).is_ok());
        assert!(matches!(Segments::split(b"a.b.cc", &limits), Err(Malformed::TooLong { limit: 5 })));
        assert!(decode_header(b"AAAA", &limits).is_ok());
        assert_eq!(decode_header(b"AAAAAAAA", &limits), Err(Malformed::HeaderTooLong { limit: 3 }));
    }

    #[test]
    fn one_encoding_only() {
        assert_eq!(decode(b"Zg", Part::Payload), Ok(b"f".to_vec()));
        for text in ["Zh", "Zg==", "Z", "Zg=", "Z+", "Z/"] {
            assert_eq!(
                decode(text.as_bytes(), Part::Payload),
                Err(Malformed::Base64 { part: Part::Payload }),
                "{text}"
            );
        }
        let wrong = Malformed::Length { part: Part::Tag, expected: 2 };
        assert_eq!(decode_exact::<2>(b"AAA", Part::Tag), Ok([0, 0]));
        assert_eq!(decode_exact::<2>(b"AA", Part::Tag), Err(wrong));
        assert_eq!(decode_exact::<2>(b"", Part::Tag), Err(wrong));
    }

    #[test]
    fn encoding_appends() {
        let mut out = b"x.".to_vec();
        for bytes in [&b""[..], b"f", b"fo", b"foo"] {
            encode_into(&mut out, bytes);
        }
        assert_eq!(into_text(out), "x.ZgZm8Zm9v");
    }
}
