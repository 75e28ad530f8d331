//! The primitives alone, through `aws-lc-rs`, with keys parsed beforehand: what nobody can do without.
//!
//! No JSON, no base64url, no key derivation, no checks: the limit that benchmarks compare with. The payload alone is
//! signed, which is shorter than what a token signs: the comparison is in the primitives' favour.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, ECDH_P256, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    ParsedPublicKey,
};

/// A signature algorithm of the table.
#[derive(Clone, Copy, Debug)]
pub enum Signature {
    /// ECDSA on P-256.
    Es256,
    /// Ed25519 under its older name.
    EdDsa,
}

/// A curve for ECDH-ES.
#[derive(Clone, Copy, Debug)]
pub enum Agreement {
    /// NIST P-256.
    P256,
    /// X25519.
    X25519,
}

/// Keys, and a message.
#[derive(Debug)]
pub struct Raw {
    message: Vec<u8>,
    signer: Signer,
    verifier: ParsedPublicKey,
    signature: Vec<u8>,
    recipient: Option<Recipient>,
    random: SystemRandom,
}

#[derive(Debug)]
enum Signer {
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

#[derive(Debug)]
struct Recipient {
    algorithm: &'static agreement::Algorithm,
    private: PrivateKey,
    public: Vec<u8>,
    ephemeral: Vec<u8>,
    ciphertext: Vec<u8>,
}

impl Signature {
    /// The `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl Agreement {
    /// The `crv`.
    pub fn name(self) -> &'static str {
        match self {
            Self::P256 => "P-256",
            Self::X25519 => "X25519",
        }
    }
}

impl Raw {
    /// Fresh keys, and something to verify and to decrypt.
    pub fn new(signature: Signature, agreement: Option<Agreement>, message: &[u8]) -> Self {
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
        let recipient = agreement.map(|agreement| Recipient::new(agreement, message));
        let (message, signature) = (message.to_vec(), Vec::new());
        let mut raw = Self { message, signer, verifier, signature, recipient, random: SystemRandom::new() };
        raw.signature = raw.sign();
        raw
    }

    /// The signature alone.
    pub fn sign(&self) -> Vec<u8> {
        self.sign_other(&self.message)
    }

    /// The signature of another message.
    pub fn sign_other(&self, message: &[u8]) -> Vec<u8> {
        match &self.signer {
            Signer::Ecdsa(pair) => pair.sign(&self.random, message).expect("signed").as_ref().to_vec(),
            Signer::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        }
    }

    /// The verification alone.
    pub fn verify(&self) {
        self.verifier.verify_sig(&self.message, &self.signature).expect("verified");
    }

    /// Signature, ephemeral key, agreement, A256GCM.
    pub fn seal(&self) -> (Vec<u8>, Vec<u8>, Vec<u8>) {
        let (ephemeral, ciphertext) = self.recipient().encrypt(&self.message);
        (self.sign(), ephemeral, ciphertext)
    }

    /// Ephemeral key, agreement and A256GCM of another message: the ephemeral public key and the ciphertext.
    pub fn encrypt_other(&self, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        self.recipient().encrypt(message)
    }

    /// Agreement, A256GCM, verification.
    pub fn open(&self) -> Vec<u8> {
        let plaintext = self.recipient().decrypt();
        self.verify();
        plaintext
    }

    fn recipient(&self) -> &Recipient {
        self.recipient.as_ref().expect("a row with a recipient")
    }
}

impl Recipient {
    fn new(agreement: Agreement, message: &[u8]) -> Self {
        let algorithm = match agreement {
            Agreement::P256 => &ECDH_P256,
            Agreement::X25519 => &X25519,
        };
        let private = PrivateKey::generate(algorithm).expect("a key");
        let public = private.compute_public_key().expect("a public key").as_ref().to_vec();
        let mut recipient =
            Self { algorithm, private, public, ephemeral: Vec::new(), ciphertext: Vec::new() };
        (recipient.ephemeral, recipient.ciphertext) = recipient.encrypt(message);
        recipient
    }

    fn encrypt(&self, message: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let ephemeral = PrivateKey::generate(self.algorithm).expect("a key");
        let public = ephemeral.compute_public_key().expect("a public key").as_ref().to_vec();
        let key = self.agree(&ephemeral, &self.public);
        let mut ciphertext = message.to_vec();
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
