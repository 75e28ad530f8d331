//! The transactional outbox, from a service's own transaction to the consumer: real PostgreSQL, real processes.

mod carrying;
mod isolating;
mod pinned;
mod publishing;
mod reaching;
mod refusing;

use std::process::Command;

use axum::Router;
use tokio::net::TcpListener;
use tokio_postgres::{Client, NoTls};
use waxseal_sender::relay::INSTALL;
use waxseal_tests::postgres::Postgres;
use waxseal_tests::process::{Process, program};
use waxseal_tests::sender::SenderFolder;

/// A database with an outbox, a user that publishes and one that relays.
struct Shop {
    server: &'static Postgres,
    database: String,
}

impl Shop {
    fn open(name: &str) -> Self {
        let server = Postgres::shared();
        let database = server.create_database(name);
        let shop = Self { server, database };
        shop.sql(INSTALL);
        let (app, relay) = (shop.user("app"), shop.user("relay"));
        shop.sql(&format!(
            "CREATE ROLE {app} LOGIN; GRANT waxseal_outbox_publisher TO {app}; \
             CREATE ROLE {relay} LOGIN; GRANT waxseal_outbox_relay TO {relay}; CREATE TABLE orders (n bigint)"
        ));
        shop.sql(&format!("GRANT INSERT ON orders TO {app}"));
        shop
    }

    /// A user of this database alone.
    fn user(&self, name: &str) -> String {
        format!("{name}_{}", self.database)
    }

    /// The URL of this database for one of its users.
    fn url(&self, user: &str) -> String {
        format!("postgres://{}@127.0.0.1:{}/{}", self.user(user), self.server.port(), self.database)
    }

    /// Runs SQL as the owner of everything.
    fn sql(&self, sql: &str) -> String {
        self.server.execute(&self.database, sql)
    }

    /// How many rows a table of the outbox has.
    fn rows(&self, table: &str) -> usize {
        self.sql(&format!("SELECT count(*) FROM waxseal_outbox.{table}")).parse().unwrap()
    }

    /// A connection of the service.
    async fn connect(&self) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url("app"), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    fn relay(&self, folder: &SenderFolder) -> Process {
        let mut command = self.relay_command(folder);
        Process::start("waxseal relay", command.args(["--every", "20ms"]))
    }

    /// Carries what is there; returns the status, and all that was said.
    fn relay_once(&self, folder: &SenderFolder) -> (i32, String) {
        run(self.relay_command(folder).args(["--once", "--json"]))
    }

    fn relay_command(&self, folder: &SenderFolder) -> Command {
        let mut command = Command::new(program("waxseal"));
        command.args(["relay", "--url", &folder.origin, "--database", &self.url("relay")]);
        command.env("WAXSEAL_TOKEN", &folder.token);
        command
    }
}

/// Runs a program to its end; returns its status, and all that it said.
fn run(command: &mut Command) -> (i32, String) {
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap(), String::from_utf8(said).unwrap())
}

/// Serves what the test scripts in place of a sender; returns its URL.
async fn scripted(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}
