//! Why a key was refused, in words for the partner who sent it.

use crate::alg::KeyUse;
use crate::strict_json::StrictJsonError;

/// Why a JWK was refused. The texts are written for whoever supplied the key and carry none of its
/// private members.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JwkError {
    /// The text is not JSON, or not strict enough.
    #[error("the key cannot be read: {0}")]
    Json(StrictJsonError),
    /// A member appears twice.
    #[error("the key has the member \"{}\" twice; readers would disagree about which one counts", member.escape_debug())]
    DuplicateMember {
        /// Its name.
        member: String,
    },
    /// The text is larger than any key.
    #[error("the key is larger than {limit} octets")]
    TooLarge {
        /// The limit.
        limit: usize,
    },
    /// The text is JSON, but not an object.
    #[error("a key is a JSON object")]
    NotAnObject,
    /// A required member is absent.
    #[error("the key has no \"{member}\"")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// A member has the wrong JSON type.
    #[error("\"{member}\" must be {expected}")]
    WrongType {
        /// Its name.
        member: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// A member is not base64url as RFC 7515 §2 has it.
    #[error("\"{member}\" must be base64url without padding, white space or stray last bits")]
    Encoding {
        /// Its name.
        member: &'static str,
    },
    /// A coordinate, key or private value does not have the full length of its curve.
    #[error("\"{member}\" has {actual} octets, but {expected} are needed (leading zeros included)")]
    Length {
        /// Its name.
        member: &'static str,
        /// The curve's length.
        expected: usize,
        /// What was sent.
        actual: usize,
    },
    /// A public key was wanted and a private one was sent.
    #[error(
        "this is a private key (it has \"{member}\"): it was sent to somebody else, so it is now compromised; replace it and send only the public key"
    )]
    PrivateKey {
        /// The member that gave it away.
        member: &'static str,
    },
    /// A symmetric key was sent.
    #[error(
        "this is a symmetric key: whoever can read it can also forge; it is now compromised. Only public keys (EC, OKP, RSA) are accepted"
    )]
    Symmetric,
    /// Not one of EC, OKP, RSA.
    #[error("\"kty\" \"{}\" is not supported; use EC, OKP or RSA", kty.escape_debug())]
    UnsupportedKeyType {
        /// What was sent, cut to a bounded length.
        kty: String,
    },
    /// A curve that we do not accept.
    #[error("curve \"{}\" is not supported; use P-256, P-384, Ed25519 or X25519", crv.escape_debug())]
    UnsupportedCurve {
        /// What was sent, cut to a bounded length.
        crv: String,
    },
    /// A curve of another key type.
    #[error("curve {crv} does not belong to \"kty\" \"{kty}\"")]
    CurveMismatch {
        /// The curve.
        crv: &'static str,
        /// The key type.
        kty: &'static str,
    },
    /// The coordinates are no point of the curve.
    #[error("the coordinates are not a point of {crv}")]
    OffCurve {
        /// The curve.
        crv: &'static str,
    },
    /// A point of small order: it would verify forged signatures, or agree on a constant.
    #[error("\"x\" is a point of small order of {crv}, which offers no security")]
    SmallOrder {
        /// The curve.
        crv: &'static str,
    },
    /// A second encoding of a point (RFC 7748 §5, RFC 8032 §5.1.3).
    #[error("\"x\" is not the canonical encoding of a point of {crv}")]
    NonCanonicalPoint {
        /// The curve.
        crv: &'static str,
    },
    /// The modulus is too short.
    #[error("the RSA modulus has {bits} bits; at least 2048 are needed")]
    RsaTooSmall {
        /// Its length.
        bits: usize,
    },
    /// The modulus is too long.
    #[error("the RSA modulus has {bits} bits; at most 8192 are accepted")]
    RsaTooLarge {
        /// Its length.
        bits: usize,
    },
    /// The modulus is even.
    #[error("the RSA modulus is even, so it is not a product of two large primes")]
    RsaModulus,
    /// The exponent is even, too small or too large.
    #[error("the RSA exponent must be odd and between 65537 and 4294967295; 65537 (\"AQAB\") is best")]
    RsaExponent,
    /// A number starts with a zero octet (RFC 7518 §6.3.1.1).
    #[error("\"{member}\" starts with a zero octet; RFC 7518 wants the shortest form")]
    LeadingZero {
        /// Its name.
        member: &'static str,
    },
    /// An RSA key of more than two primes.
    #[error("RSA keys of more than two primes (\"oth\") are not supported")]
    MultiPrime,
    /// `use` is neither `sig` nor `enc`.
    #[error("\"use\" must be \"sig\" or \"enc\"")]
    UnknownUse,
    /// The key is for something else than what it was given for.
    #[error("the key is for {}, but one for {} is needed", purpose(*found), purpose(*wanted))]
    WrongUse {
        /// What was needed.
        wanted: KeyUse,
        /// What it is for.
        found: KeyUse,
    },
    /// `use` contradicts `alg` or the curve.
    #[error("\"use\" \"{key_use}\" contradicts {with}")]
    UseConflict {
        /// Its `use`.
        key_use: KeyUse,
        /// The algorithm or curve.
        with: &'static str,
    },
    /// `key_ops` repeats itself, mixes purposes, or contradicts `use` (RFC 7517 §4.3).
    #[error("\"key_ops\" must not repeat an operation, mix signing and encryption, or contradict \"use\"")]
    KeyOps,
    /// An `alg` that is not on our list.
    #[error("\"alg\" \"{}\" is not accepted; use ES256, ES384, EdDSA, Ed25519 or PS256 to sign, ECDH-ES or RSA-OAEP-256 to encrypt", alg.escape_debug())]
    AlgNotAccepted {
        /// What was sent, cut to a bounded length.
        alg: String,
    },
    /// An `alg` of other keys.
    #[error("\"alg\" \"{alg}\" does not go with this key ({key})")]
    AlgMismatch {
        /// The algorithm.
        alg: &'static str,
        /// The curve, or RSA.
        key: &'static str,
    },
    /// A `kid` that could not be echoed safely.
    #[error(
        "\"kid\" must be 1 to 128 printable ASCII characters without spaces, quotation marks or backslashes"
    )]
    Kid,
    /// The private members do not belong to the public ones.
    #[error("the private members do not belong to the public key, or are damaged")]
    PairMismatch,
}

impl JwkError {
    /// A stable code for logs, metrics and problem details.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Json(_) => "jwk.json",
            Self::DuplicateMember { .. } => "jwk.duplicate_member",
            Self::TooLarge { .. } => "jwk.too_large",
            Self::NotAnObject => "jwk.not_an_object",
            Self::Missing { .. } => "jwk.missing_member",
            Self::WrongType { .. } => "jwk.wrong_type",
            Self::Encoding { .. } => "jwk.encoding",
            Self::Length { .. } => "jwk.length",
            Self::PrivateKey { .. } => "jwk.private_key",
            Self::Symmetric => "jwk.symmetric",
            Self::UnsupportedKeyType { .. } => "jwk.unsupported_key_type",
            Self::UnsupportedCurve { .. } => "jwk.unsupported_curve",
            Self::CurveMismatch { .. } => "jwk.curve_mismatch",
            Self::OffCurve { .. } => "jwk.off_curve",
            Self::SmallOrder { .. } => "jwk.small_order",
            Self::NonCanonicalPoint { .. } => "jwk.non_canonical_point",
            Self::RsaTooSmall { .. } => "jwk.rsa_too_small",
            Self::RsaTooLarge { .. } => "jwk.rsa_too_large",
            Self::RsaModulus => "jwk.rsa_modulus",
            Self::RsaExponent => "jwk.rsa_exponent",
            Self::LeadingZero { .. } => "jwk.leading_zero",
            Self::MultiPrime => "jwk.multi_prime",
            Self::UnknownUse => "jwk.unknown_use",
            Self::WrongUse { .. } => "jwk.wrong_use",
            Self::UseConflict { .. } => "jwk.use_conflict",
            Self::KeyOps => "jwk.key_ops",
            Self::AlgNotAccepted { .. } => "jwk.alg_not_accepted",
            Self::AlgMismatch { .. } => "jwk.alg_mismatch",
            Self::Kid => "jwk.kid",
            Self::PairMismatch => "jwk.pair_mismatch",
        }
    }
}

impl From<StrictJsonError> for JwkError {
    fn from(error: StrictJsonError) -> Self {
        match error {
            StrictJsonError::DuplicateMember { member } => Self::DuplicateMember { member },
            StrictJsonError::Syntax { .. } | StrictJsonError::TooDeep { .. } => Self::Json(error),
        }
    }
}

const fn purpose(key_use: KeyUse) -> &'static str {
    match key_use {
        KeyUse::Sig => "signatures (\"use\" \"sig\")",
        KeyUse::Enc => "encryption (\"use\" \"enc\")",
    }
}
