//! Examples of RFCs 7515, 7516, 7520, 7638, 7797 and 8037.

use std::fs;
use std::path::Path;

use serde_json::Value;
use waxseal_keys::{Jwk, PrivateJwk};

use crate::verdict::{Case, judge, read};
use crate::wycheproof_jose::{allowed_jwe, allowed_signature_key, decrypt, verify};

#[test]
fn appendices_jws() {
    let file = read("rfc-appendices/jws.json");
    let cases: Vec<Case> = vectors(&file)
        .map(|vector| Case {
            id: id(vector),
            valid: vector["result"] == "valid",
            allowed: allowed_signature_key(&vector["jwk"]),
            // RFC 7515 A.5 has no key: verified with that of A.3.
            outcome: match &vector["jwk"] {
                Value::Null => verify(&public(&file["vectors"][2]["jwk"]), text(&vector["jws"]).as_bytes()),
                jwk => verify(&public(jwk), text(&vector["jws"]).as_bytes()),
            },
        })
        .collect();
    judge("rfc-appendices/jws.json", &cases);
}

#[test]
fn appendices_jwe() {
    let file = read("rfc-appendices/jwe.json");
    let cases: Vec<Case> = vectors(&file)
        .map(|vector| Case {
            id: id(vector),
            valid: vector["result"] == "valid",
            allowed: allowed_jwe(text(&vector["jwe"])),
            outcome: decrypt(
                &vector["jwk"],
                text(&vector["jwe"]),
                Some(text(&vector["plaintext"]).as_bytes()),
            ),
        })
        .collect();
    judge("rfc-appendices/jwe.json", &cases);
}

#[test]
fn appendices_thumbprints() {
    let file = read("rfc-appendices/jwk-thumbprint.json");
    let mut judged = 0;
    for vector in vectors(&file) {
        // The algorithm of RFC 7638's example is not allowed; a thumbprint does not depend on it.
        let mut jwk = vector["jwk"].clone();
        jwk.as_object_mut().unwrap().remove("alg");
        let thumbprint = Jwk::parse(jwk.to_string().as_bytes()).unwrap().thumbprint();
        assert_eq!(thumbprint.as_str(), text(&vector["thumbprint_sha256"]), "{}", id(vector));
        judged += 1;
    }
    assert_eq!(judged, 2);
}

/// Every signature of the cookbook, compact and JSON.
#[test]
fn cookbook_signatures() {
    let mut cases = Vec::new();
    for (name, file) in cookbook(&["jws", "curve25519", "rfc7797"]) {
        if file["input"].get("enc").is_some() {
            continue;
        }
        let keys =
            file["input"]["key"].as_array().cloned().unwrap_or_else(|| vec![file["input"]["key"].clone()]);
        for form in ["compact", "json", "json_flat"] {
            let output = &file["output"][form];
            if output.is_null() {
                continue;
            }
            let token = output.as_str().map_or_else(|| output.to_string(), str::to_owned);
            let allowed =
                form == "compact" && keys.iter().all(|key| allowed_with(key, &file["input"]["alg"]));
            let outcome = keys.iter().try_for_each(|key| verify(&public(key), token.as_bytes()));
            cases.push(Case { id: format!("{name} {form}"), valid: true, allowed, outcome });
        }
    }
    judge("ietf-jose-cookbook/signatures", &cases);
}

/// Every encryption of the cookbook, compact and JSON.
#[test]
fn cookbook_encryptions() {
    let mut cases = Vec::new();
    for (name, file) in cookbook(&["jwe", "curve25519"]) {
        if file["input"].get("enc").is_none() {
            continue;
        }
        let key = match (&file["input"]["key"], &file["input"]["pwd"]) {
            (Value::Array(keys), _) => keys[0].clone(),
            (Value::Null, password) => password.clone(),
            (key, _) => key.clone(),
        };
        for form in ["compact", "json", "json_flat"] {
            let output = &file["output"][form];
            if output.is_null() {
                continue;
            }
            let token = output.as_str().map_or_else(|| output.to_string(), str::to_owned);
            let allowed = form == "compact" && allowed_jwe(&token);
            let outcome = decrypt(&key, &token, file["input"]["plaintext"].as_str().map(str::as_bytes));
            cases.push(Case { id: format!("{name} {form}"), valid: true, allowed, outcome });
        }
    }
    judge("ietf-jose-cookbook/encryptions", &cases);
}

/// RFC 7520 section 6: a signed token inside an encrypted one. Only the signature's algorithm is allowed.
#[test]
fn cookbook_nesting() {
    let file = read("ietf-jose-cookbook/6.nesting_signatures_and_encryption.json");
    let (sign, encrypt) = (&file["sign"], &file["encrypt"]);
    let cases = [
        Case {
            id: "sign".into(),
            valid: true,
            allowed: true,
            outcome: verify(
                &public(&with_alg(&sign["input"]["key"], &sign["input"]["alg"])),
                text(&sign["output"]["compact"]).as_bytes(),
            ),
        },
        Case {
            id: "encrypt".into(),
            valid: true,
            allowed: allowed_jwe(text(&encrypt["output"]["compact"])),
            outcome: decrypt(&encrypt["input"]["key"], text(&encrypt["output"]["compact"]), None),
        },
    ];
    judge("ietf-jose-cookbook/6.nesting_signatures_and_encryption.json", &cases);
}

/// The keys of the cookbook: import of the public half, and of the pair.
#[test]
fn cookbook_keys() {
    let mut cases = Vec::new();
    for (name, jwk) in cookbook(&["jwk"]) {
        let allowed = jwk["kty"] == "RSA" || jwk["crv"] == "P-256";
        let json = jwk.to_string();
        let outcome = match jwk.get("d") {
            Some(_) => PrivateJwk::parse(json.as_bytes()).map(|_| ()),
            None => Jwk::parse(json.as_bytes()).map(|_| ()),
        };
        cases.push(Case { id: name, valid: true, allowed, outcome: outcome.map_err(|error| error.code()) });
    }
    judge("ietf-jose-cookbook/keys", &cases);
}

fn vectors(file: &Value) -> impl Iterator<Item = &Value> {
    file["vectors"].as_array().unwrap().iter()
}

/// The RFC and section, without the remark behind it.
fn id(vector: &Value) -> String {
    text(&vector["origin"]).split(" (").next().unwrap().to_owned()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// Files of folders of the cookbook, by name.
fn cookbook(folders: &[&str]) -> Vec<(String, Value)> {
    let mut files = Vec::new();
    for folder in folders {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors/ietf-jose-cookbook").join(folder);
        for entry in fs::read_dir(path).unwrap() {
            let name = format!("{folder}/{}", entry.unwrap().file_name().to_str().unwrap());
            let file = read(&format!("ietf-jose-cookbook/{name}"));
            files.push((name.trim_end_matches(".json").to_owned(), file));
        }
    }
    files.sort_by(|(a, _), (b, _)| a.cmp(b));
    assert!(!files.is_empty());
    files
}

/// The cookbook names the algorithm beside the key.
fn with_alg(key: &Value, alg: &Value) -> Value {
    let mut key = key.clone();
    key["alg"] = alg.clone();
    key
}

fn allowed_with(key: &Value, alg: &Value) -> bool {
    allowed_signature_key(&with_alg(key, alg))
}

/// The public half of a key pair; a symmetric key stays what it is.
fn public(jwk: &Value) -> Value {
    let mut jwk = jwk.clone();
    for member in ["d", "p", "q", "dp", "dq", "qi"] {
        jwk.as_object_mut().unwrap().remove(member);
    }
    jwk
}
