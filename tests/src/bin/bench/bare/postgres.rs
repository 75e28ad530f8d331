//! The limit in PostgreSQL: the same tables, one connection, one statement for all that comes and one for all that is
//! settled, both sent with the begin and the commit around them.

use tokio::sync::mpsc;
use tokio_postgres::{Client, NoTls, Statement};

use super::store::{BATCH, Job, KID, TIME, Work};

/// The way to the task.
pub(super) type Writer = mpsc::UnboundedSender<Job>;

/// Makes the tables and starts the task.
pub(super) async fn start(url: &str) -> Writer {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(async move { connection.await.unwrap() });
    client.batch_execute(SCHEMA).await.unwrap();
    let statements = [client.prepare(ACCEPT).await.unwrap(), client.prepare(SETTLE).await.unwrap()];
    let (writer, jobs) = mpsc::unbounded_channel();
    tokio::spawn(write(client, statements, jobs));
    writer
}

async fn write(client: Client, statements: [Statement; 2], mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut waiting = Vec::new();
    while jobs.recv_many(&mut waiting, BATCH).await > 0 {
        let (work, done): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        run(&client, &statements, &work).await;
        for caller in done {
            let _ = caller.send(()); // it may have gone
        }
    }
}

async fn run(client: &Client, [accept, settle]: &[Statement; 2], work: &[Work]) {
    let (mut events, mut bodies, mut live, mut settled) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for work in work {
        match work {
            Work::Accept { deliveries, body } => {
                events.push(&deliveries[0][..8]);
                bodies.push(&body[..]);
                live.extend(deliveries.iter().map(|delivery| &delivery[..]));
            }
            Work::Settle(delivery) => settled.push(&delivery[..]),
        }
    }
    let inserted = async {
        let columns: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&events, &bodies, &live, &TIME];
        let rows = if live.is_empty() { Ok(0) } else { client.execute(accept, &columns).await };
        assert_eq!(rows.unwrap(), live.len() as u64);
    };
    let deleted = async {
        let columns: [&(dyn tokio_postgres::types::ToSql + Sync); 4] = [&settled, &TIME, &202, &KID];
        let rows = if settled.is_empty() { Ok(0) } else { client.execute(settle, &columns).await };
        assert_eq!(rows.unwrap(), settled.len() as u64);
    };
    // They leave in this order, and together.
    let (begun, (), (), committed) =
        tokio::join!(client.batch_execute("BEGIN"), inserted, deleted, client.batch_execute("COMMIT"));
    begun.and(committed).unwrap();
}

const SCHEMA: &str = "CREATE TABLE events (id bytea PRIMARY KEY, body bytea NOT NULL);
    CREATE TABLE live (id bytea PRIMARY KEY, due_at bigint NOT NULL);
    CREATE TABLE attempts (delivery bytea PRIMARY KEY, at bigint, status integer, kid text);
    ALTER TABLE events ALTER body SET STORAGE EXTERNAL";

const ACCEPT: &str =
    "WITH events AS (INSERT INTO events (id, body) SELECT * FROM unnest($1::bytea[], $2::bytea[]))
    INSERT INTO live (id, due_at) SELECT id, $4 FROM unnest($3::bytea[]) AS l (id)";

const SETTLE: &str =
    "WITH gone AS (DELETE FROM live l USING unnest($1::bytea[]) AS g (id) WHERE l.id = g.id RETURNING l.id)
    INSERT INTO attempts (delivery, at, status, kid) SELECT id, $2, $3, $4 FROM gone";
