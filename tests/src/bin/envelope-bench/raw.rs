//! The primitives alone, through `aws-lc-rs`, with keys parsed beforehand: what nobody can do without.
//!
//! No JSON, no base64url, no key derivation, no checks. Signatures are over the payload alone, which is
//! shorter than what a token signs: the comparison is in the primitives' favour.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey,
};

use crate::envelope::PAYLOAD;

/// A signature algorithm of the table.
#[derive(Clone, Copy)]
pub(crate) enum Signature {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519 under its older name.
    EdDsa,
}

/// A curve for ECDH-ES.
#[derive(Clone, Copy)]
pub(crate) enum Agreement {
    /// NIST P-256.
    P256,
    /// X25519.
    X25519,
}

/// Keys and messages for one row.
pub(crate) struct Raw {
    signer: Signer,
    verifier: ParsedPublicKey,
    signature: Vec<u8>,
    recipient: Option<Recipient>,
    random: SystemRandom,
}

enum Signer {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

struct Recipient {
    algorithm: &'static agreement::Algorithm,
    private: PrivateKey,
    public: Vec<u8>,
    ephemeral: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl Signature {
    /// The `alg`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl Agreement {
    /// The `crv`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::X25519 => "X25519",
        }
    }
}

impl Raw {
    /// Fresh keys, and something to verify and to decrypt.
    pub(crate) fn new(signature: Signature, agreement: Option<Agreement>) -> Self {
        let (signer, verifier) = match signature {
            Signature::Es256 => {
                let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key pair");
                let public =
                    ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key()).expect("a key");
                (Signer::Ecdsa(pair), public)
            }
            Signature::EdDsa => {
                let pair = Ed25519KeyPair::generate().expect("a key pair");
                let public = ParsedPublicKey::new(&ED25519, pair.public_key()).expect("a key");
                (Signer::Ed25519(pair), public)
            }
        };
        let recipient = agreement.map(Recipient::new);
        let mut raw =
            Self { signer, verifier, signature: Vec::new(), recipient, random: SystemRandom::new() };
        raw.signature = raw.sign();
        raw
    }

    /// The signature alone.
    pub(crate) fn sign(&self) -> Vec<u8> {
        match &self.signer {
            Signer::Ecdsa(pair) => pair.sign(&self.random, &MESSAGE).expect("signed").as_ref().to_vec(),
            Signer::Ed25519(pair) => pair.sign(&MESSAGE).as_ref().to_vec(),
        }
    }

    /// The verification alone.
    pub(crate) fn verify(&self) {
        self.verifier.verify_sig(&MESSAGE, &self.signature).expect("verified");
    }

    /// Signature, ephemeral key, agreement, A256GCM.
    pub(crate) fn seal(&self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let (ephemeral, ciphertext) = self.recipient().encrypt();
        (self.sign(), ephemeral, ciphertext)
    }

    /// Agreement, A256GCM, verification.
    pub(crate) fn open(&self) -> Vec<u8> {
        let plaintext = self.recipient().decrypt();
        self.verify();
        plaintext
    }

    fn recipient(&self) -> &Recipient {
        self.recipient.as_ref().expect("a row with a recipient")
    }
}

impl Recipient {
    fn new(agreement: Agreement) -> Self {
        let algorithm = match agreement {
            Agreement::P256 => &ECDH_P256,
            Agreement::X25519 => &X25519,
        };
        let private = PrivateKey::generate(algorithm).expect("a key");
        let public = private.compute_public_key().expect("a public key").as_ref().to_vec();
        let mut recipient =
            Self { algorithm, private, public, ephemeral: Vec::new(), ciphertext: Vec::new() };
        (recipient.ephemeral, recipient.ciphertext) = recipient.encrypt();
        recipient
    }

    fn encrypt(&self) -> (Vec<u8>, Vec<u8>) {
        let ephemeral = PrivateKey::generate(self.algorithm).expect("a key");
        let public = ephemeral.compute_public_key().expect("a public key").as_ref().to_vec();
        let key = self.agree(&ephemeral, &self.public);
        let mut ciphertext = MESSAGE.to_vec();
        key.seal_in_place_append_tag(nonce(), Aad::empty(), &mut ciphertext).expect("encrypted");
        (public, ciphertext)
    }

    fn decrypt(&self) -> Vec<u8> {
        let key = self.agree(&self.private, &self.ephemeral);
        let mut plaintext = self.ciphertext.clone();
        key.open_in_place(nonce(), Aad::empty(), &mut plaintext).expect("decrypted");
        plaintext
    }

    fn agree(&self, private: &PrivateKey, public: &[u8]) -> LessSafeKey {
        let public = UnparsedPublicKey::new(self.algorithm, public);
        let key = agreement::agree(private, public, aws_lc_rs::error::Unspecified, |secret| {
            UnboundKey::new(&AES_256_GCM, secret)
        });
        LessSafeKey::new(key.expect("agreed"))
    }
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([7; 12])
}

static MESSAGE: [u8; PAYLOAD] = [b'm'; PAYLOAD];
