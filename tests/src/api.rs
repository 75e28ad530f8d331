//! A client for the sender's HTTP API.

use std::time::Duration;

use reqwest::{Client, Method};
use serde_json::Value;

/// A client with a token.
#[derive(Clone)]
pub struct Api {
    client: Client,
    base: String,
    token: String,
}

impl Api {
    /// A client for the sender at `base`, trusting this root as well.
    pub fn new(base: &str, token: &str, root: Option<&str>) -> Self {
        let mut builder = Client::builder().timeout(Duration::from_secs(20)).no_proxy();
        if let Some(pem) = root {
            builder = builder.add_root_certificate(reqwest::Certificate::from_pem(pem.as_bytes()).unwrap());
        }
        Self { client: builder.build().unwrap(), base: base.to_owned(), token: token.to_owned() }
    }

    /// Calls; returns the status and the JSON answer (null if there is none).
    pub async fn call(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let mut request =
            self.client.request(method, format!("{}{path}", self.base)).bearer_auth(&self.token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{path}: {error:?}"));
        let status = response.status().as_u16();
        let bytes = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Calls with POST, without a body if it is null, and expects success.
    pub async fn post(&self, path: &str, body: Value) -> Value {
        self.expect(Method::POST, path, Some(body).filter(|body| !body.is_null())).await
    }

    /// Calls with PUT and expects success.
    pub async fn put(&self, path: &str, body: Value) -> Value {
        self.expect(Method::PUT, path, Some(body)).await
    }

    /// Calls with GET and expects success.
    pub async fn get(&self, path: &str) -> Value {
        self.expect(Method::GET, path, None).await
    }

    /// What GET answers, as text.
    pub async fn text(&self, path: &str) -> String {
        let request = self.client.get(format!("{}{path}", self.base)).bearer_auth(&self.token);
        request.send().await.unwrap().text().await.unwrap()
    }

    /// Calls and expects success.
    pub async fn expect(&self, method: Method, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.call(method.clone(), path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer:#}");
        answer
    }

    /// Publishes; `None` if the sender did not answer (it was killed), else its id.
    pub async fn try_publish(&self, body: &Value) -> Option<String> {
        let request =
            self.client.post(format!("{}/v1/events", self.base)).bearer_auth(&self.token).json(body);
        let response = request.send().await.ok()?;
        let accepted = response.status().as_u16() == 202;
        let answer: Value = response.json().await.ok()?;
        if accepted { answer["id"].as_str().map(str::to_owned) } else { None }
    }

    /// Waits until `holds` of the answer to GET `path`; returns that answer.
    pub async fn until(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..600 {
            last = self.get(path).await;
            if holds(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{path} never came to what was expected; last: {last:#}");
    }
}
