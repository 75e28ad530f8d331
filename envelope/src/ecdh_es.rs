//! ECDH-ES in direct mode: from the shared secret to the content encryption key (RFC 7518 section 4.6).
//!
//! Relies on the agreement of `waxseal-keys`, which has validated the point. Guarantees the Concat KDF of
//! NIST SP 800-56A section 5.8.1 with SHA-256 as RFC 7518 section 4.6.2 fixes its inputs.

use aws_lc_rs::digest;
use zeroize::Zeroizing;

/// Derives a content encryption key of `N` bytes; one round of SHA-256 is enough for up to 32.
pub(crate) fn derive<const N: usize>(z: &[u8], enc: &str, apu: &[u8], apv: &[u8]) -> Zeroizing<[u8; N]> {
    const { assert!(N <= digest::SHA256_OUTPUT_LEN, "more than one round is not implemented") };
    let mut round = digest::Context::new(&digest::SHA256);
    round.update(&1_u32.to_be_bytes()); // counter, starts at 1
    round.update(z);
    for field in [enc.as_bytes(), apu, apv] {
        round.update(&length(field.len())); // AlgorithmID, PartyUInfo, PartyVInfo: length || data
        round.update(field);
    }
    round.update(&length(N * 8)); // SuppPubInfo: the key's length in bits; SuppPrivInfo is empty
    let mut key = Zeroizing::new([0; N]);
    key.copy_from_slice(&round.finish().as_ref()[..N]);
    key
}

fn length(len: usize) -> [u8; 4] {
    u32::try_from(len).expect("header members are bounded by the header's 4 KiB").to_be_bytes()
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    /// RFC 7518 appendix C: Z, "A128GCM", Alice, Bob.
    #[test]
    fn rfc7518_appendix_c() {
        let z = [
            158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66, 131, 191, 132, 38, 156, 251, 49, 110, 163,
            218, 128, 106, 72, 246, 218, 167, 121, 140, 254, 144, 196,
        ];
        let key = derive::<16>(&z, "A128GCM", b"Alice", b"Bob");
        assert_eq!(URL_SAFE_NO_PAD.encode(&key[..]), "VqqN6vgjbSBcIijNcacQGg");
    }

    #[test]
    fn every_input_counts() {
        let base = derive::<32>(b"z", "A256GCM", b"u", b"v");
        assert_ne!(base, derive::<32>(b"y", "A256GCM", b"u", b"v"));
        assert_ne!(base, derive::<32>(b"z", "A128GCM", b"u", b"v"));
        assert_ne!(base, derive::<32>(b"z", "A256GCM", b"", b"uv"));
        assert_ne!(base, derive::<32>(b"z", "A256GCM", b"uv", b""));
        assert_ne!(base[..16], derive::<16>(b"z", "A256GCM", b"u", b"v")[..]);
    }
}
