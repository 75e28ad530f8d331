//! An endpoint that answers with what it was shown: nothing of that is kept.

use axum::Router;
use axum::body::Bytes;
use http::{HeaderMap, StatusCode};
use waxseal_sender::model::authentication::{ApiKey, Authentication, Basic, Bearer};
use waxseal_sender::model::delivery::DeliveryState;
use waxseal_sender::model::secret::Secret;

use super::world::{TokenServer, World, serve};

/// Answers with every header field as it came, then with `more`.
async fn echoing(more: String) -> String {
    let echo = move |headers: HeaderMap, _: Bytes| {
        let more = more.clone();
        async move {
            let shown = headers.iter().map(|(name, value)| format!("{name}: {}\n", value.to_str().unwrap()));
            (StatusCode::PAYLOAD_TOO_LARGE, format!("{}{more}", shown.collect::<String>()))
        }
    };
    serve(Router::new().fallback(echo)).await
}

/// What was kept of the answer to the one attempt.
async fn kept(shown: Authentication, more: &str) -> String {
    let world = World::new(&echoing(more.to_owned()).await, shown).await;
    let delivery = world.publish().await.deliveries[0].id;
    world.sender.until(delivery, DeliveryState::Refused, 1).await;
    let attempt = world.sender.parts.store.attempts(delivery).await.unwrap().remove(0);
    let consumer = world.sender.delivery(delivery).await.consumer;
    let key = world.sender.parts.data_keys.of(&consumer).unwrap();
    let context = format!("attempt|{delivery}|1");
    let excerpt = key.decrypt(context.as_bytes(), &attempt.excerpt).unwrap();
    String::from_utf8(excerpt.to_vec()).unwrap()
}

#[tokio::test]
async fn credentials_that_an_endpoint_sends_back_are_not_kept() {
    let basic = Authentication {
        api_key: Some(ApiKey { header: "x-api-key".to_owned(), value: Secret::new("hunter2/key") }),
        basic: Some(Basic { username: "us".to_owned(), password: Secret::new("pass\"word") }),
        headers: [("x-tenant".to_owned(), Secret::new("tenant-secret"))].into(),
        ..Authentication::default()
    };
    // In the ways in which programs that show a request write it.
    let more = r#"{"password":"pass\"word","form":"pass%22word","key":"hunter2\/key","url":"hunter2%2Fkey"}"#;
    let kept_of_basic = kept(basic, more).await;
    for secret in ["hunter2", "pass\\\"", "pass%22", "dXM6cGFzcyJ3b3Jk", "tenant-secret"] {
        assert!(!kept_of_basic.contains(secret), "{secret} in {kept_of_basic}");
    }
    for harmless in ["x-api-key: ", "content-type: application/secevent+jwt", "\"form\":\""] {
        assert!(kept_of_basic.contains(harmless), "{harmless} not in {kept_of_basic}");
    }

    let bearer = Authentication {
        bearer: Some(Bearer { token: Secret::new("a-bearer-token") }),
        ..Authentication::default()
    };
    assert!(!kept(bearer, "").await.contains("a-bearer-token"));
    let tokens = TokenServer::start().await;
    let kept_of_oauth = kept(tokens.client(), "and the secret was s&c, or s%26c").await;
    for secret in ["Bearer t1", "s&c", "s%26c"] {
        assert!(!kept_of_oauth.contains(secret), "{kept_of_oauth}");
    }
}

#[tokio::test]
async fn a_credential_that_is_cut_off_with_the_answer_is_not_kept_either() {
    let key = ApiKey { header: "x-api-key".to_owned(), value: Secret::new("hunter2-and-more") };
    let shown = Authentication { api_key: Some(key), ..Authentication::default() };
    for length in 3_700..3_720 {
        let more = format!("{}hunter2-and-more hunter2-and-more", "x".repeat(4_096 - 300 + length - 3_700));
        let kept = kept(shown.clone(), &more).await;
        assert!(!kept.contains("hunter"), "{}", &kept[3_900..]);
    }
}
