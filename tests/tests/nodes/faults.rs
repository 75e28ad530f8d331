//! A node that is killed, one that stops and goes on, one that is cut off from the database; and one that hangs at the
//! worst moment.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use waxseal_tests::measured::measured;
use waxseal_tests::postgres::Postgres;

use crate::fleet::{Fleet, Node, Start, now, owners, server, shard_of, shared_out, until, with_endpoints};
use crate::load::Load;
use crate::proxy::Proxy;
use crate::receiver::{Post, Receiver};

const CONSUMERS: usize = 12;

/// How many POSTs to one endpoint there may be at once.
const AT_ONCE: usize = 3;

/// How long after a stopped process goes on there may be more at an endpoint: POSTs that it had decided on before it was
/// stopped, but not sent yet. It looks at its clock before each, so these are at most as many as it may have in flight;
/// they come at once, and are in the way as long as the receiver takes.
const ZOMBIE: Duration = Duration::from_secs(3);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Fault {
    Killed,
    Stopped,
    CutOff,
}

impl Fault {
    fn name(self) -> &'static str {
        match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped (SIGSTOP)",
            Self::CutOff => "cut off from the database",
        }
    }
}

/// Three nodes, and what reaches the endpoints.
struct World {
    server: Postgres,
    database: String,
    receiver: Receiver,
    endpoints: Vec<String>,
}

/// What is expected to come twice, and more of it at once than usual.
#[derive(Default)]
struct Excused {
    /// By consumer: how often its endpoint was owned by a node that failed.
    exposed: BTreeMap<String, usize>,
    /// When a zombie went on.
    zombies: Vec<Instant>,
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_fail_one_after_the_other_under_load_and_everything_is_delivered() {
    let server = server(&[]);
    let database = server.create_database("faults");
    let settings = format!("[delivery]\nmax_in_flight_per_endpoint = {AT_ONCE}");
    let fleet = Fleet::init(&server.dsn(&database), &settings);
    let way = Proxy::to(server.port()).await;
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let c = fleet.start_with("c", Start { dsn: Some(&way.dsn(&database)), ..Start::default() }).await;
    let receiver = Receiver::start(Duration::from_millis(120)).await;
    receiver.trust(&fleet, &a.origin).await;
    let endpoints = with_endpoints(&a.api, &receiver, CONSUMERS).await;
    shared_out(&[&a, &b, &c]).await;
    let world = World { server, database, receiver, endpoints };
    let mut load = Load::start(
        &fleet,
        &[&a.origin, &b.origin, &c.origin, &a.origin, &b.origin, &c.origin],
        CONSUMERS,
        Duration::from_millis(60),
    );
    load.more(60).await;
    let mut excused = Excused::default();

    let mut nodes = [a, b, c];
    nodes[0] = world.killed(&fleet, &nodes, &mut excused).await;
    shared_out(&nodes.each_ref()).await;
    load.more(60).await;
    world.stopped(&nodes, &mut excused).await;
    shared_out(&nodes.each_ref()).await;
    load.more(60).await;
    world.cut_off(&nodes, &way, &mut excused).await;
    shared_out(&nodes.each_ref()).await;
    load.more(60).await;

    let acknowledged = load.stop().await;
    until("everything is delivered", async || world.receiver.events().is_superset(&acknowledged)).await;
    for node in nodes {
        let name = node.name.clone();
        assert!(node.process.stop().success(), "{name}");
    }
    world.nothing_came_twice_but_what_was_in_flight(&excused);
    world.nowhere_were_too_many_at_once(&excused);
    println!("{} events were acknowledged, {} POSTs", acknowledged.len(), world.receiver.count());
}

impl World {
    /// The consumers whose endpoints a node owns.
    fn consumers_of(&self, node: &str) -> BTreeSet<String> {
        let owners = owners(&self.server, &self.database);
        let owned = |endpoint: &String| owners.get(&shard_of(endpoint)).is_some_and(|owner| owner == node);
        let numbered = self.endpoints.iter().enumerate();
        numbered.filter(|(_, endpoint)| owned(endpoint)).map(|(n, _)| format!("c{n}")).collect()
    }

    /// Takes note that the deliveries to this node's endpoints that are in flight now may come twice.
    fn expose(&self, node: &Node, excused: &mut Excused) -> BTreeSet<String> {
        let consumers = self.consumers_of(&node.name);
        assert!(
            !consumers.is_empty(),
            "{} owns nothing that is published to: chance has it once in a hundred",
            node.name
        );
        for consumer in &consumers {
            *excused.exposed.entry(consumer.clone()).or_default() += 1;
        }
        consumers
    }

    /// Waits until somebody else delivers to all of these endpoints, and says how long it took.
    async fn taken_over(&self, fault: Fault, since: Instant, consumers: &BTreeSet<String>, gone: &str) {
        until("others have taken over", async || self.consumers_of(gone).is_empty()).await;
        let owned = since.elapsed();
        let taken_over = now();
        until("others deliver", async || {
            let posts = self.receiver.posts();
            let served: BTreeSet<_> =
                posts.into_iter().filter(|post| post.at > taken_over).map(|post| post.consumer).collect();
            served.is_superset(consumers)
        })
        .await;
        let served = since.elapsed();
        measured(&format!(
            "take-over from a node that is {}: its shards owned by others after {owned:.1?}, all served after {served:.1?}",
            fault.name()
        ));
    }

    /// `kill -9`. Returns a node that takes its place.
    async fn killed(&self, fleet: &Fleet, nodes: &[Node; 3], excused: &mut Excused) -> Node {
        let consumers = self.expose(&nodes[0], excused);
        let since = now();
        // The process ends when the kernel says so; the node's own value is replaced by the caller.
        nodes[0].process.kill_now();
        self.taken_over(Fault::Killed, since, &consumers, "a").await;
        fleet.start_with("a2", Start { origin: Some(&nodes[0].origin), ..Start::default() }).await
    }

    /// SIGSTOP beyond the lease, then SIGCONT.
    async fn stopped(&self, nodes: &[Node; 3], excused: &mut Excused) {
        let consumers = self.expose(&nodes[1], excused);
        let since = now();
        nodes[1].process.pause();
        self.taken_over(Fault::Stopped, since, &consumers, "b").await;
        excused.zombies.push(now());
        nodes[1].process.resume();
    }

    /// Nothing goes through between the node and the database. What it knows it goes on with as long as it may.
    async fn cut_off(&self, nodes: &[Node; 3], way: &Proxy, excused: &mut Excused) {
        let consumers = self.expose(&nodes[2], excused);
        let since = now();
        way.cut();
        self.taken_over(Fault::CutOff, since, &consumers, "c").await;
        let health = nodes[2].process.log();
        assert!(health.contains("nothing is delivered until it is"), "it noticed nothing:\n{health}");
        way.mend();
    }

    fn nothing_came_twice_but_what_was_in_flight(&self, excused: &Excused) {
        let repeated = self.receiver.repeated();
        println!("came twice: {repeated:?}");
        for (consumer, times) in repeated {
            let most = AT_ONCE * excused.exposed.get(&consumer).copied().unwrap_or(0);
            assert!(times <= most, "{consumer}: {times} came twice, at most {most} were in flight");
        }
    }

    fn nowhere_were_too_many_at_once(&self, excused: &Excused) {
        let posts = self.receiver.posts();
        let most = posts.iter().map(|post| post.at_once).max().unwrap();
        assert!(most >= AT_ONCE, "the limit was never reached, so it was not tried");
        let in_window = |post: &Post| {
            excused.zombies.iter().any(|zombie| post.at > *zombie && post.at < *zombie + ZOMBIE)
        };
        let wrong: Vec<_> = posts.iter().filter(|post| post.at_once > AT_ONCE && !in_window(post)).collect();
        assert!(wrong.is_empty(), "more than {AT_ONCE} at once: {wrong:?}");
        assert!(most <= 2 * AT_ONCE, "{most} at once: more than two nodes can have had");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_hangs_in_the_middle_of_renewing_its_lease_holds_up_nobody() {
    let server = server(&[]);
    let database = server.create_database("hangs");
    let fleet = Fleet::init(&server.dsn(&database), "");
    let good = fleet.start("good").await;
    shared_out(&[&good]).await;
    let way = Proxy::to(server.port()).await;
    // Whoever says this has the lock that all renewals wait for.
    way.hang_at("INSERT INTO nodes");
    let hanging = fleet.launch("hanging", Start { dsn: Some(&way.dsn(&database)), ..Start::default() });
    let holds = "FROM pg_locks WHERE locktype = 'advisory' AND granted \
                 AND pid IN (SELECT pid FROM pg_stat_activity WHERE state = 'idle in transaction')";
    let held = server.wait_for(&database, &format!("SELECT count(*) > 0 {holds}"), "t");
    assert_eq!(held, "t", "it hangs while it has the lock");
    // It tries again at once, and hangs again: what is looked for is the end of one of its connections.
    let holder = server.execute(&database, &format!("SELECT max(pid) {holds}"));
    let there = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {holder}");
    assert_eq!(server.wait_for(&database, &there, "0"), "0", "its lock is taken from it");
    let begun = now();
    while begun.elapsed() < Duration::from_secs(8) {
        let health = good.health().await.expect("it answers");
        assert_eq!(health["trusted"], true, "{health}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    drop(hanging);
    let log = good.process.log();
    assert!(!log.contains("could not be renewed in time"), "{log}");
}
