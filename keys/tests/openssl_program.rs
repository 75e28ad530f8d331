//! Private keys as the `openssl` program writes them, in every form that operators have.
#![cfg(feature = "josekit")]
#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;

use waxseal_keys::pem::private_from_file;
use waxseal_keys::{JwkError, PemError, SignatureAlgorithm, SigningKey};

/// Runs `openssl` in a folder. It must be installed: a test that cannot run fails.
fn openssl(folder: &Path, line: &str) {
    let output = Command::new("openssl").args(line.split_whitespace()).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "openssl {line}: {}", String::from_utf8_lossy(&output.stderr));
}

fn read(folder: &Path, file: &str, passphrase: Option<&str>) -> Result<SigningKey, PemError> {
    let bytes = fs::read(folder.join(file)).unwrap();
    let key = private_from_file(&bytes, passphrase.map(str::as_bytes))?;
    Ok(SigningKey::from_jwk(&key)?)
}

#[test]
fn every_form_of_the_same_key_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (make, alg, traditional) in [
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256", SignatureAlgorithm::Es256, "ec"),
        ("genpkey -algorithm ED25519", SignatureAlgorithm::EdDsa, ""),
        ("genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048", SignatureAlgorithm::Ps256, "rsa"),
    ] {
        openssl(at, &format!("{make} -out a.pem"));
        openssl(at, "pkey -in a.pem -outform DER -out a.der");
        openssl(
            at,
            "pkcs8 -topk8 -in a.pem -v2 aes-256-cbc -v2prf hmacWithSHA256 -passout pass:sesame -out e.pem",
        );
        openssl(at, "pkcs8 -topk8 -in a.pem -v2 aes-128-cbc -passout pass:sesame -outform DER -out e.der");
        openssl(at, "pkcs8 -topk8 -in a.pem -scrypt -passout pass:sesame -out s.pem");
        let expected = read(at, "a.pem", None).unwrap();
        assert_eq!(expected.alg(), alg);
        let mut forms = vec![("a.der", None), ("e.pem", Some("sesame")), ("e.der", Some("sesame"))];
        forms.extend([
            ("s.pem", Some("sesame")),
            ("a.pem", Some("not needed")),
            ("a.der", Some("not needed")),
        ]);
        if !traditional.is_empty() {
            openssl(at, &format!("{traditional} -in a.pem -out t.pem"));
            openssl(at, &format!("{traditional} -in a.pem -outform DER -out t.der"));
            openssl(at, &format!("{traditional} -in a.pem -aes256 -passout pass:sesame -out te.pem"));
            forms.extend([("t.pem", None), ("t.der", None), ("te.pem", Some("sesame"))]);
            assert_eq!(read(at, "te.pem", None).unwrap_err(), PemError::Encrypted);
        }
        for (file, passphrase) in forms {
            let key = read(at, file, passphrase).unwrap_or_else(|error| panic!("{alg:?} {file}: {error}"));
            assert_eq!(key.kid(), expected.kid(), "{file}");
            assert_eq!(key.to_jwk().to_json(), expected.to_jwk().to_json(), "the private half of {file}");
        }
        for file in ["e.pem", "e.der"] {
            assert_eq!(read(at, file, None).unwrap_err(), PemError::Encrypted, "{file}");
            assert_eq!(read(at, file, Some("wrong")).unwrap_err(), PemError::Passphrase, "{file}");
            let long = "x".repeat(5_000);
            assert_eq!(read(at, file, Some(&long)).unwrap_err(), PemError::Passphrase, "{file}");
        }
    }
}

#[test]
fn curve_parameters_before_the_key_do_not_disturb() {
    let folder = tempfile::tempdir().unwrap();
    openssl(folder.path(), "ecparam -name prime256v1 -genkey -out a.pem");
    let text = fs::read_to_string(folder.path().join("a.pem")).unwrap();
    assert!(text.contains("BEGIN EC PARAMETERS"), "{text}");
    assert_eq!(read(folder.path(), "a.pem", None).unwrap().alg(), SignatureAlgorithm::Es256);
}

#[test]
fn what_cannot_sign_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    for (make, expected) in [
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp256k1", PemError::Unsupported),
        ("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521", PemError::Unsupported),
        ("genpkey -algorithm ED448", PemError::Unsupported),
        ("genpkey -algorithm RSA-PSS -pkeyopt rsa_keygen_bits:2048", PemError::Unsupported),
        (
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024",
            PemError::Key(JwkError::RsaTooSmall { bits: 1024 }),
        ),
    ] {
        openssl(at, &format!("{make} -out a.pem"));
        assert_eq!(read(at, "a.pem", None).unwrap_err(), expected, "{make}");
        openssl(at, "pkey -in a.pem -outform DER -out a.der");
        assert_eq!(read(at, "a.der", None).unwrap_err(), expected, "{make}");
    }
    openssl(at, "genpkey -algorithm X25519 -out a.pem");
    assert_eq!(read(at, "a.pem", None).unwrap_err().code(), "jwk.wrong_use");
    openssl(at, "genpkey -algorithm ED25519 -out a.pem");
    openssl(at, "pkey -in a.pem -pubout -out p.pem");
    openssl(at, "pkey -in a.pem -pubout -outform DER -out p.der");
    for file in ["p.pem", "p.der"] {
        for passphrase in [None, Some("sesame")] {
            assert_eq!(read(at, file, passphrase).unwrap_err().code(), "pem.malformed", "{file}");
        }
    }
}
