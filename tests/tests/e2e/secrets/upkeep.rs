//! What is done with a sender beside delivering: an endpoint that is asked whether it wants events, a backup, another
//! key-encryption key, a recovery.

use std::path::PathBuf;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::TempDir;
use waxseal_tests::api::Api;
use waxseal_tests::leak::Secrets;
use waxseal_tests::process::program;
use waxseal_tests::sender::SenderFolder;

use super::evidence::Evidence;
use super::setup::Outside;
use crate::program::waxseal;
use crate::support::TYPE;

/// What belongs to the sender and does not lie in its folder.
pub struct Elsewhere(TempDir);

impl Elsewhere {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// The key-encryption key that the sender gets in place of its first one.
    pub fn second_key(&self) -> PathBuf {
        self.0.path().join("second.key")
    }

    fn backup(&self, when: &str) -> PathBuf {
        self.0.path().join(format!("backup {when}.db"))
    }
}

/// An endpoint that nobody trusts, and that answers with a copy of what it is asked: that proves nothing, and whoever
/// learns the `state` meanwhile could answer for it. Returns its path.
pub async fn ask_a_stranger(api: &Api, outside: &Outside) -> String {
    let body = json!({
        "consumer": "stark", "url": format!("http://{}/hooks", outside.stranger.address()),
        "event_types": [TYPE], "protection": "signed",
    });
    let path = format!("/v1/endpoints/{}", api.post("/v1/endpoints", body).await["id"].as_str().unwrap());
    outside.stranger.until_received(1).await;
    path
}

/// Waits until what it answered was found to prove nothing.
pub async fn until_not_confirmed(api: &Api, path: &str) {
    let judged = |shown: &Value| shown["verification"]["code"] == "verification.not_confirmed";
    api.until(path, judged).await;
}

/// The states that it was asked with.
pub fn add_states(outside: &Outside, secrets: &mut Secrets) {
    let asked = outside.stranger.received();
    assert!(!asked.is_empty());
    for (_, token) in asked {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        let (name, event) = claims["events"].as_object().unwrap().iter().next().unwrap();
        assert!(name.ends_with("/events/waxseal.verification"), "{name}");
        secrets.add("the state of a verification", event["data"]["state"].as_str().unwrap());
    }
}

/// Copies the store; the copy is evidence.
pub fn back_up(folder: &SenderFolder, elsewhere: &Elsewhere, when: &str, evidence: &mut Evidence) {
    let file = elsewhere.backup(when);
    let said = waxseal(folder, "", &["backup", file.to_str().unwrap(), "--json"]);
    evidence.add(format!("backup {when}"), std::fs::read(file).unwrap());
    evidence.add(format!("what was said of the backup {when}"), said);
}

/// Changes the key-encryption key of a sender that does not run, as it is talkative.
pub fn rewrap(folder: &SenderFolder, elsewhere: &Elsewhere, evidence: &mut Evidence) {
    let second = elsewhere.second_key();
    let output = Command::new(program("waxseal"))
        .args(["keys", "rewrap", "--new-key-file"])
        .arg(&second)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    evidence.add("what was said of the rewrap", said);
    let config = std::fs::read_to_string(folder.file("waxseal.toml")).unwrap();
    let config = format!("key_encryption_key_file = \"{}\"\n{config}", second.display());
    std::fs::write(folder.file("waxseal.toml"), config).unwrap();
}

/// Takes back what waits for an endpoint where nobody is, and delivers it again.
pub async fn recover(api: &Api, folder: &SenderFolder, endpoint: &str) {
    waxseal(folder, "", &["endpoint", "cancel", endpoint]);
    let states = ["--state", "cancelled", "--state", "exhausted", "--rate", "500", "--detach", "--json"];
    let begun = ["endpoint", "recover", endpoint, "--since", "2020-01-01T00:00:00Z"];
    let begun = waxseal(folder, "", &[&begun[..], &states].concat());
    let begun: Value = serde_json::from_str(&begun).unwrap();
    let path = format!("/v1/recoveries/{}", begun["id"].as_str().unwrap());
    api.until(&path, |shown| shown["redelivered"].as_u64().is_some_and(|count| count > 0)).await;
}

/// The endpoint of `hooli` where nobody listens.
pub async fn dead_endpoint(api: &Api) -> String {
    let all = api.get("/v1/endpoints?consumer=hooli").await;
    let is_dead =
        |endpoint: &&Value| endpoint["url"].as_str().is_some_and(|url| url.contains("unknown.invalid"));
    let dead = all["data"].as_array().unwrap().iter().find(is_dead).unwrap();
    dead["id"].as_str().unwrap().to_owned()
}
