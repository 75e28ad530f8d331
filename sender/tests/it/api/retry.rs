//! An endpoint's own retry schedule.

use serde_json::{Value, json};

use super::world::{Furniture, World};

#[tokio::test]
async fn it_is_given_changed_and_taken_back() {
    let (world, Furniture { acme, .. }) = World::furnished().await;
    let path = format!("/v1/endpoints/{acme}");
    assert_eq!(world.get(&path).await.expect(200)["retry"], Value::Null);
    let given = json!({ "retry": { "schedule_seconds": [1, 60, 604_800], "jitter": 0.05 } });
    assert_eq!(world.patch(&path, given.clone()).await.expect(200)["retry"], given["retry"]);
    assert_eq!(world.patch(&path, json!({ "description": "x" })).await.expect(200)["retry"], given["retry"]);
    let once = world.patch(&path, json!({ "retry": { "schedule_seconds": [] } })).await.expect(200);
    assert_eq!(once["retry"], json!({ "schedule_seconds": [], "jitter": 0.2 }));
    assert_eq!(world.patch(&path, json!({ "retry": null })).await.expect(200)["retry"], Value::Null);

    let body = json!({
        "consumer": "acme", "url": "https://a.example/h", "event_types": ["*"], "protection": "signed",
        "retry": { "schedule_seconds": [9], "jitter": 1 },
    });
    let made = world.post("/v1/endpoints", body).await.expect(201);
    assert_eq!(made["retry"], json!({ "schedule_seconds": [9], "jitter": 1.0 }));
    let read = world.get(&format!("/v1/endpoints/{}", made["id"].as_str().unwrap())).await.expect(200);
    assert_eq!(read["retry"], made["retry"]);
}
