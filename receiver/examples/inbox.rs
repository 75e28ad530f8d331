//! Acknowledge now, process later: events lie encrypted on disk between their `202` and a handler that takes its time.

use std::path::Path;

use waxseal_receiver::{
    KeyEncryptionKey, Protection, Received, Receiver,
    inbox::{Inbox, RetryPolicy},
};

#[derive(serde::Deserialize)]
struct Order {
    order: String,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let key = KeyEncryptionKey::from_file(Path::new("inbox.key"))?;
    let inbox = Inbox::<Order>::open("inbox.db", "orders", &key)?;
    let builder =
        Receiver::builder().audience("acme").issuer("https://hooks.example.com", Protection::Signed);
    let app = axum::Router::new().route_service("/hooks/orders", inbox.intake(builder)?);

    let worker = inbox
        .worker(|Received { event, data, .. }: Received<Order>| async move {
            println!("{}: order {}", event.id, data.order);
            Ok::<_, std::io::Error>(())
        })
        .concurrency(4)
        .retry(RetryPolicy { attempts: 10, ..RetryPolicy::default() });
    for letter in inbox.dead_letters(0, 100).await? {
        eprintln!("number {} failed {} times: {}", letter.number, letter.attempts, letter.reason);
    }

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let working = tokio::spawn(worker.run(async { drop(stopped.await) }));
    let listener = tokio::net::TcpListener::bind("0.0.0.0:8080").await?;
    let interrupted = async { drop(tokio::signal::ctrl_c().await) };
    axum::serve(listener, app).with_graceful_shutdown(interrupted).await?;
    drop(stop);
    Ok(working.await?)
}
