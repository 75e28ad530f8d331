//! The way from a node to its database, which can be cut without anybody being told: what is sent goes nowhere.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A way to a server on this machine.
pub struct Proxy {
    address: SocketAddr,
    open: watch::Sender<bool>,
    /// Words of a client after which nothing of its connection goes on.
    hangs_at: Arc<Mutex<Option<&'static [u8]>>>,
}

impl Proxy {
    /// One to this port.
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let open = watch::Sender::new(true);
        let hangs_at = Arc::new(Mutex::new(None));
        let (gate, words) = (open.subscribe(), Arc::clone(&hangs_at));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, port, gate.clone(), Arc::clone(&words)));
            }
        });
        Self { address, open, hangs_at }
    }

    /// The URL of a database by this way.
    pub fn dsn(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.address)
    }

    /// From now on nothing goes through. No connection is closed: both sides wait.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Everything that was held up goes on its way, however late.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }

    /// Lets nothing through of a connection whose client says this, from these words on.
    pub fn hang_at(&self, words: &'static str) {
        *self.hangs_at.lock().unwrap() = Some(words.as_bytes());
    }
}

async fn carry(
    client: TcpStream,
    port: u16,
    open: watch::Receiver<bool>,
    words: Arc<Mutex<Option<&'static [u8]>>>,
) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let asks = pass(from_client, to_server, open.clone(), Some(words));
    let answers = pass(from_server, to_client, open, None);
    // Whoever closes first ends both.
    tokio::select! {
        () = asks => {}
        () = answers => {}
    }
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
    words: Option<Arc<Mutex<Option<&'static [u8]>>>>,
) {
    let mut buffer = vec![0; 16 * 1_024];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        if let Some(words) = words.as_ref().and_then(|words| *words.lock().unwrap())
            && buffer[..length].windows(words.len()).any(|window| window == words)
        {
            // As a machine that is stopped at this moment: the connection stays, and nothing comes.
            tokio::time::sleep(Duration::from_secs(600)).await;
            return;
        }
        if open.wait_for(|open| *open).await.is_err() || to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
