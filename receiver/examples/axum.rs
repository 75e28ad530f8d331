//! A partner's complete service. The README shows this file; a test keeps the two alike.

use waxseal_receiver::axum::{encryption_keys, webhook};
use waxseal_receiver::{DecryptionKey, PrivateJwk, Protection, Received, Receiver};

#[derive(serde::Deserialize)]
struct Order {
    order: String,
    total: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let jwk = PrivateJwk::parse(&std::fs::read("encryption-key.json")?)?;
    let receiver = Receiver::builder()
        .audience("acme")
        .scope("orders")
        .issuer("https://hooks.example.com", Protection::Sealed)
        .decryption_key(DecryptionKey::from_jwk(&jwk)?)
        .build()?;
    let keys = encryption_keys(&receiver);
    let hook = webhook(receiver, |Received { event, data, .. }: Received<Order>| async move {
        println!("{}: order {} of {}", event.id, data.order, data.total);
        Ok::<_, std::io::Error>(())
    });
    let app = axum::Router::new().route("/hooks/orders", hook).merge(keys);
    Ok(axum::serve(tokio::net::TcpListener::bind("0.0.0.0:8080").await?, app).await?)
}
