//! JWK thumbprints (RFC 7638), our `kid`.

use std::fmt;

use aws_lc_rs::digest;

use crate::encoding::base64url;
use crate::jwk::PublicMaterial;

/// The SHA-256 thumbprint of a public key, in base64url (RFC 7638 §3).
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Thumbprint(String);

impl Thumbprint {
    pub(crate) fn of(material: &PublicMaterial) -> Self {
        // RFC 7638 §3.2, §3.3: required members only, in lexicographic order, no white space. The values
        // are names of ours and base64url, so there is nothing to escape.
        let members: Vec<_> =
            material.members().into_iter().map(|(name, value)| format!("\"{name}\":\"{value}\"")).collect();
        let canonical = format!("{{{}}}", members.join(","));
        Self(base64url(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref()))
    }

    /// The thumbprint as text, 43 characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Thumbprint {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use crate::jwk::Jwk;

    #[test]
    fn rfc_7638_3_1() {
        // The example's own "alg" (RS256) and "kid" are left out: they are not part of a thumbprint, and
        // RS256 is not accepted here.
        let jwk = Jwk::parse(
            br#"{"kty":"RSA","e":"AQAB","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"}"#,
        )
        .unwrap();
        assert_eq!(jwk.thumbprint().as_str(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn rfc_8037_a_3() {
        let jwk =
            Jwk::parse(br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)
                .unwrap();
        assert_eq!(jwk.thumbprint().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn depends_on_the_key_alone() {
        let bare = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        let dressed = br#"{"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","alg":"EdDSA","use":"sig","crv":"Ed25519","kty":"OKP"}"#;
        assert_eq!(Jwk::parse(bare).unwrap().thumbprint(), Jwk::parse(dressed).unwrap().thumbprint());
    }
}
