//! Wycheproof's JSON Web Signature, Encryption and Key files.
//!
//! Upstream's keys carry a `kid` that many tokens lack, so keys are looked up by the harness where a set is given, and
//! the raw layers do not compare `kid`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use waxseal_envelope::{jwe, jws};
use waxseal_keys::{DecryptionKey, Jwk, PrivateJwk, SignatureAlgorithm, VerifyingKey};

use crate::verdict::{Case, Outcome, hex, judge, read, wycheproof};

#[test]
fn json_web_signature() {
    let file = "wycheproof/json_web_signature_test.json";
    let cases: Vec<Case> = wycheproof(&read(file)).map(|(group, test)| signature_case(group, test)).collect();
    judge(file, &cases);
}

#[test]
fn json_web_key() {
    let file = "wycheproof/json_web_key_test.json";
    let cases: Vec<Case> = wycheproof(&read(file)).map(|(group, test)| signature_case(group, test)).collect();
    judge(file, &cases);
}

#[test]
fn json_web_encryption() {
    let file = "wycheproof/json_web_encryption_test.json";
    let cases: Vec<Case> = wycheproof(&read(file))
        .map(|(group, test)| {
            let token = test["jwe"].as_str().unwrap();
            Case {
                id: test["tcId"].to_string(),
                valid: test["result"] == "valid",
                allowed: allowed_jwe(token),
                outcome: decrypt(&group["private"], token, test.get("pt").map(hex).as_deref()),
            }
        })
        .collect();
    judge(file, &cases);
}

fn signature_case(group: &Value, test: &Value) -> Case {
    // Symmetric keys have no public half; asking for their import is the question then.
    let keys = group.get("public").unwrap_or(&group["private"]);
    let token = match &test["jws"] {
        Value::String(token) => token.clone(),
        other => other.to_string(),
    };
    let keys: Vec<&Value> =
        keys.get("keys").map_or(vec![keys], |set| set.as_array().unwrap().iter().collect());
    Case {
        id: test["tcId"].to_string(),
        valid: test["result"] == "valid",
        allowed: keys.iter().all(|key| allowed_signature_key(key)),
        outcome: keys.iter().try_for_each(|key| verify(key, token.as_bytes())),
    }
}

/// Import, then verification.
pub fn verify(jwk: &Value, token: &[u8]) -> Outcome {
    let jwk = Jwk::parse(jwk.to_string().as_bytes()).map_err(|error| error.code())?;
    let key = VerifyingKey::from_jwk(&jwk).map_err(|error| error.code())?;
    jws::verify(token, &key).map(|_| ()).map_err(|error| error.code())
}

/// Import, then decryption to exactly this plaintext.
pub fn decrypt(jwk: &Value, token: &str, plaintext: Option<&[u8]>) -> Outcome {
    let jwk = PrivateJwk::parse(jwk.to_string().as_bytes()).map_err(|error| error.code())?;
    let key = DecryptionKey::from_jwk(&jwk).map_err(|error| error.code())?;
    let decrypted = jwe::decrypt(token.as_bytes(), &key).map_err(|error| error.code())?;
    assert_eq!(Some(&decrypted[..]), plaintext);
    Ok(())
}

/// By the key's own statement, not by our import.
pub fn allowed_signature_key(jwk: &Value) -> bool {
    jwk["alg"].as_str().and_then(SignatureAlgorithm::from_name).is_some()
        || (jwk["alg"].is_null() && (jwk["crv"] == "P-256" || jwk["crv"] == "Ed25519"))
}

/// By the token's header, read leniently.
pub fn allowed_jwe(token: &str) -> bool {
    let header =
        token.split('.').next().and_then(|segment| URL_SAFE_NO_PAD.decode(segment).ok()).unwrap_or_default();
    let header: Value = serde_json::from_slice(&header).unwrap_or_default();
    header["enc"] == "A256GCM" && (header["alg"] == "ECDH-ES" || header["alg"] == "RSA-OAEP-256")
}
