//! Consumers, endpoints with every kind of credential, and what the sender does not take.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use waxseal_keys::EncryptionKeyType;
use waxseal_tests::api::Api;
use waxseal_tests::leak::Secrets;
use waxseal_tests::nginx::Nginx;
use waxseal_tests::pki::Pki;
use waxseal_tests::sender::{SenderFolder, free_port};

use super::confidential::{content, credential};
use super::service::{Echo, Tokens};
use super::{key as keys, publish_to};
use crate::program::waxseal;
use crate::support::{TYPE, key};

/// What the sender is connected to.
pub struct Outside {
    pub sound: Echo,
    pub failing: Echo,
    /// Nobody trusts it.
    pub stranger: Echo,
    pub tokens: Tokens,
    nginx: Nginx,
    pki: Pki,
    theirs: Pki,
}

impl Outside {
    pub async fn start(folder: &SenderFolder) -> Self {
        let (sound, failing, tokens) =
            (Echo::start(202).await, Echo::start(500).await, Tokens::start().await);
        let stranger = Echo::start(200).await;
        let (pki, theirs) = (Pki::new(), Pki::named("Clients of Umbrella"));
        let ours = waxseal(folder, "", &["keys", "client-ca"]);
        let server = format!(
            "ssl_client_certificate @folder@/clients.pem; ssl_verify_client on; location / {{ proxy_pass http://{}; }}",
            sound.address()
        );
        let nginx = Nginx::start(&pki, &[("clients.pem", format!("{ours}{}", theirs.root()))], &[&server]);
        Self { sound, failing, stranger, tokens, nginx, pki, theirs }
    }
}

/// Consumers, and endpoints with every kind of credential.
pub async fn configure(api: &Api, folder: &SenderFolder, outside: &Outside, secrets: &mut Secrets) {
    waxseal(folder, "", &["event-type", "create", TYPE]);
    for consumer in ["acme", "globex", "initech", "umbrella", "hooli", "vandelay", "soylent", "stark"] {
        waxseal(folder, "", &["consumer", "create", consumer]);
    }
    let sound = format!(
        "http://{}/{}?key={}",
        outside.sound.address(),
        content("a URL's path"),
        content("a URL's query")
    );
    let id = create(
        api,
        "acme",
        &sound,
        json!({
            "api_key": { "header": "X-Api-Key", "value": credential("an API key that was replaced") },
            "basic": { "username": "waxseal", "password": credential("a password") },
            "headers": { "X-Partner": credential("a header"), "X-Other": credential("another header") },
        }),
    )
    .await;
    let replaced = ["endpoint", "update", &id, "--api-key-header", "X-Api-Key", "--api-key-file", "-"];
    waxseal(folder, credential("an API key"), &replaced);

    let (private, set) = key(EncryptionKeyType::X25519);
    keys::add_decryption_key("a consumer's key", &private, secrets);
    api.put("/v1/consumers/globex/encryption-keys", json!({ "jwks": set })).await;
    let bearer = json!({ "bearer": { "token": credential("a bearer token") } });
    sealed(api, "globex", &sound, bearer).await;

    for (method, secret) in OAUTH2 {
        create(api, "initech", &sound, oauth2(outside, method, secret)).await;
    }

    let client = outside.theirs.client("waxseal at umbrella");
    keys::add_pem("a client certificate's key", &client.key, secrets);
    for certificate in [
        json!({ "source": "uploaded", "certificate": client.cert, "private_key": client.key }),
        json!({ "source": "own" }),
    ] {
        let mut body = endpoint("umbrella", &outside.nginx.url(0), "signed");
        body["authentication"] = json!({ "client_certificate": certificate });
        body["server_authentication"] = json!({ "ca_certificates": outside.pki.root() });
        api.post("/v1/endpoints", body).await;
    }

    let dead = content("a URL that nobody answers");
    create(api, "hooli", &format!("http://{}/{dead}", outside.failing.address()), json!(null)).await;
    create(api, "hooli", &format!("http://127.0.0.1:{}/{dead}", free_port()), json!(null)).await;
    create(api, "hooli", &format!("https://{}/{dead}?key={dead}", outside.sound.address()), json!(null))
        .await;
    create(api, "hooli", &format!("https://unknown.invalid/{dead}?key={dead}"), json!(null)).await;

    // Nobody answers there with keys.
    let jwks = format!("http://{}/jwks?key={}", outside.tokens.address(), content("a jwks_uri's query"));
    let source = json!({ "jwks_uri": jwks, "admission": "automatic" });
    api.put("/v1/consumers/vandelay/encryption-keys", source).await;
    sealed(api, "vandelay", &sound, json!(null)).await;
}

/// A client of the token server that proves itself so.
fn oauth2(outside: &Outside, method: &str, secret: Option<&str>) -> Value {
    let query = content("a token URL's query");
    let mut oauth2 = json!({
        "token_url": format!("http://{}/{method}?key={query}", outside.tokens.address()),
        "client_id": "waxseal", "client_authentication": method,
    });
    if let Some(secret) = secret {
        oauth2["client_secret"] = credential(secret).into();
    }
    json!({ "oauth2": oauth2 })
}

/// How a client proves itself to the token server, and by which secret.
const OAUTH2: [(&str, Option<&str>); 3] = [
    ("client_secret_post", Some("a client secret")),
    ("client_secret_basic", Some("another client secret")),
    ("private_key_jwt", None),
];

fn endpoint(consumer: &str, url: &str, protection: &str) -> Value {
    json!({ "consumer": consumer, "url": url, "event_types": [TYPE], "protection": protection, "trusted": true })
}

async fn create(api: &Api, consumer: &str, url: &str, authentication: Value) -> String {
    let mut body = endpoint(consumer, url, "signed");
    body["authentication"] = authentication;
    api.post("/v1/endpoints", body).await["id"].as_str().unwrap().to_owned()
}

async fn sealed(api: &Api, consumer: &str, url: &str, authentication: Value) {
    let mut body = endpoint(consumer, url, "sealed");
    body["authentication"] = authentication;
    api.post("/v1/endpoints", body).await;
}

/// A token server that refuses: the endpoint is held until its credentials are changed.
pub async fn refused_a_token(api: &Api, outside: &Outside) {
    for (method, secret) in OAUTH2 {
        let url = format!("http://{}/{}", outside.sound.address(), content("a URL's path"));
        let id = create(api, "soylent", &url, oauth2(outside, method, secret)).await;
        outside.tokens.refuse();
        publish_to(api, "soylent", json!(1)).await;
        let path = format!("/v1/endpoints/{id}");
        let held = api.until(&path, |answer| answer["hold"].is_string()).await;
        assert_eq!(held["hold"], "hold.token_refused");
        api.expect(Method::DELETE, &path, None).await;
    }
}

/// What is not taken is not repeated either.
pub async fn refused(api: &Api, folder: &SenderFolder, secrets: &mut Secrets) {
    let (private, _) = key(EncryptionKeyType::P256);
    keys::add_decryption_key("a private key that was given in place of a public one", &private, secrets);
    let private: Value = serde_json::from_str(&private.to_jwk().to_json()).unwrap();
    let (status, _) = api
        .call(
            Method::PUT,
            "/v1/consumers/acme/encryption-keys",
            Some(json!({ "jwks": { "keys": [private] } })),
        )
        .await;
    assert_eq!(status, 400);
    let mut body = endpoint("acme", "https://acme.example/", "signed");
    body["authentication"] =
        json!({ "headers": { "X-A": format!("{}\nX-B: c", credential("a header that was refused")) } });
    assert_eq!(api.call(Method::POST, "/v1/endpoints", Some(body)).await.0, 400);

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let events =
        client.post(format!("{}/v1/events", folder.origin)).header("content-type", "application/json");
    let broken = format!(
        r#"{{"type":"{TYPE}","to":"all","data":{{"card":"{}","#,
        content("a payload that was refused")
    );
    let answer = events.bearer_auth(&folder.token).body(broken).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    let path =
        format!("{}/v1/consumers/{}?a={}", folder.origin, content("a URL's path"), content("a URL's query"));
    let answer =
        client.get(path).bearer_auth(credential("an API token that does not exist")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
}
