//! The simulation: what happens, in the order of time.
//!
//! Everything is an event at a moment. Those of a node that is stopped happen when it goes on, those of one that was
//! killed never; what the database has been given it executes, whatever becomes of the node.
//!
//! What is checked while it runs is counted in the [`Outcome`]: arrivals that were there before, POSTs for shards of
//! others, and at the end what has not arrived.

mod flow;
mod making;
mod tenure;

use std::collections::{BTreeMap, BTreeSet};

use waxseal_sender::config::DeliveryConfig;
use waxseal_sender::store::{Shard, Tenure};

use super::constants::Constants;
use super::node::{Command, Node, State, Work};
use super::outcome::Outcome;
use super::scenario::{Fault, Scenario, WARM_UP};
use super::workload::Endpoints;
use super::{Database, Micros, Random, Registry, micros};

/// Runs it to its end.
pub fn run(scenario: &Scenario, constants: &Constants) -> Outcome {
    let mut world = World::new(scenario, constants);
    while let Some(((now, _), event)) = world.queue.pop_first() {
        world.now = now;
        if world.is_over() {
            break;
        }
        world.happens(event);
    }
    world.end()
}

struct World<'a> {
    scenario: &'a Scenario,
    constants: &'a Constants,
    now: Micros,
    queue: BTreeMap<(Micros, u64), Event>,
    queued: u64,
    random: Random,
    endpoints: Endpoints,
    registry: Registry,
    database: Database,
    nodes: Vec<Node>,
    deliveries: Vec<Delivery>,
    live: Vec<BTreeSet<usize>>,
    // Deliveries that are not settled, to endpoints that answer.
    expected: usize,
    // Shards that nobody works on: whose they were, and since when.
    orphaned: BTreeMap<Shard, (usize, Micros)>,
    commands: u64,
    giant_arrivals: usize,
    retries: Vec<Micros>,
    timeout: Micros,
    // In fractions, because at a million a second they count.
    next_publish: f64,
    stops_publishing: Micros,
    ends_after: Micros,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
struct Delivery {
    endpoint: usize,
    published_at: Micros,
    due_at: Micros,
    attempts: u32,
    live: bool,
    taken: u32,
    accepted: bool,
}

#[derive(Clone, Debug)]
enum Event {
    /// Somebody publishes.
    Publish,
    /// The database has executed a batch, and flushed it.
    Executed(usize, Vec<Command>),
    Durable(usize, Vec<Command>),
    /// The owner of its shard hears of a delivery.
    Due(usize),
    Fault(Fault),
    /// Nothing more is published: time to look at how busy everybody was.
    Published,
    /// Of a node.
    Of(usize, Step),
}

#[derive(Clone, Debug)]
enum Step {
    /// A request was understood.
    Prepared(usize),
    /// The database has answered.
    Acknowledged(Vec<Command>),
    /// A token was made.
    Sealed(Work),
    /// It was looked whether the shard is still owned.
    Checked(Work),
    /// The endpoint has taken it, or not.
    Answered(Work, Taken),
    Tend,
    Tended(Micros, Tenure),
    Surveyed(Vec<(Shard, u64)>),
    /// What had stopped it is over.
    Continued,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Taken {
    Yes,
    No,
}

impl<'a> World<'a> {
    fn new(scenario: &'a Scenario, constants: &'a Constants) -> Self {
        let mut random = Random::new(scenario.seed);
        let endpoints = scenario.workload.endpoints(&mut random);
        let database = Database::new(scenario.database_cores, constants, Random::new(random.number()));
        let delivery = DeliveryConfig::default();
        let stops_publishing = WARM_UP + scenario.publishing;
        let mut world = Self {
            scenario,
            constants,
            now: 0,
            queue: BTreeMap::new(),
            queued: 0,
            random,
            endpoints,
            registry: Registry::new(scenario.rules.lease),
            database,
            nodes: vec![Node::new(scenario.node_cores); scenario.nodes],
            deliveries: Vec::new(),
            live: vec![BTreeSet::new(); Shard::COUNT],
            expected: 0,
            orphaned: BTreeMap::new(),
            commands: 0,
            giant_arrivals: 0,
            retries: delivery.retry.iter().copied().map(micros).collect(),
            timeout: micros(delivery.timeout),
            next_publish: WARM_UP as f64,
            stops_publishing,
            ends_after: stops_publishing + SETTLED,
            outcome: Outcome::default(),
        };
        for node in 0..scenario.nodes {
            let first = world.random.below(scenario.rules.tend_every as usize) as Micros;
            world.at(first, Event::Of(node, Step::Tend));
        }
        for (after, fault) in &scenario.faults {
            world.at(WARM_UP + after, Event::Fault(*fault));
            let lasts = match fault {
                Fault::Stop(_, lasts) | Fault::CutOff(_, lasts) => *lasts,
                Fault::Kill(_) | Fault::Join | Fault::Leave(_) => scenario.rules.lease,
            };
            world.ends_after = world.ends_after.max(WARM_UP + after + lasts + 2 * SETTLED);
        }
        world.at(WARM_UP, Event::Publish);
        world.at(stops_publishing, Event::Published);
        world
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Publish => self.publish(),
            Event::Executed(node, commands) => self.executed(node, commands),
            Event::Durable(node, commands) => self.durable(node, commands),
            Event::Due(delivery) => self.due(delivery),
            Event::Fault(fault) => self.fault(fault),
            Event::Published => self.look_at_utilisation(),
            Event::Of(node, step) => match self.nodes[node].state {
                State::Gone => self.never_told(step),
                State::Stopped(since, until) if self.now < until => {
                    self.at(until, Event::Of(node, self.when_it_goes_on(node, step, since)));
                }
                State::Running | State::Stopped(..) | State::CutOff(_) => self.steps(node, step),
            },
        }
    }

    fn steps(&mut self, node: usize, step: Step) {
        match step {
            Step::Prepared(delivery) => self.write(node, Command::Accept(delivery)),
            Step::Acknowledged(commands) => self.acknowledged(node, commands),
            Step::Sealed(work) => self.sealed(node, work),
            Step::Checked(work) => self.post(node, work),
            Step::Answered(work, taken) => self.answered(node, work, taken),
            Step::Tend => self.tend(node),
            Step::Tended(begun, tenure) => self.tended(node, begun, &tenure),
            Step::Surveyed(shards) => self.surveyed(node, shards),
            Step::Continued => self.continued(node),
        }
    }

    /// A node that was stopped between looking whether a shard is its own and posting does not look again.
    fn when_it_goes_on(&self, node: usize, step: Step, since: Micros) -> Step {
        match step {
            Step::Sealed(work) if self.now <= since + CHECK_TO_POST && self.may_post(node, work) => {
                Step::Checked(work)
            }
            step => step,
        }
    }

    fn at(&mut self, moment: Micros, event: Event) {
        self.queued += 1;
        self.queue.insert((moment.max(self.now), self.queued), event);
    }

    fn is_over(&self) -> bool {
        let latest = self.ends_after + self.scenario.draining;
        self.now > latest || self.now > self.ends_after && self.expected == 0
    }

    fn look_at_utilisation(&mut self) {
        let time = self.scenario.publishing;
        self.outcome.node_utilisation = self.nodes.iter().map(|node| node.cores.utilisation(time)).collect();
        self.outcome.database_utilisation = self.database.cores().utilisation(time);
        self.outcome.database_cpu = self.database.cores().used() as f64 / self.deliveries.len().max(1) as f64;
        self.outcome.giant_rate = self.giant_arrivals as f64 / (time as f64 / 1e6);
    }

    fn end(mut self) -> Outcome {
        let answers = |delivery: &&Delivery| !self.endpoints.is_dead(delivery.endpoint);
        let accepted = || self.deliveries.iter().filter(|delivery| delivery.accepted);
        self.outcome.accepted = accepted().count();
        self.outcome.missing = accepted().filter(answers).filter(|delivery| delivery.taken == 0).count();
        self.outcome.live = self.live.iter().map(BTreeSet::len).sum();
        self.outcome.batch = self.commands as f64 / self.database.commits.max(1) as f64;
        self.outcome.commits_per_flush = self.database.commits as f64 / self.database.flushes.max(1) as f64;
        self.outcome.shards = self.registry.shares(self.now);
        self.outcome.latency.sort();
        self.outcome.taken_over.sort();
        self.outcome
    }
}

/// Between looking whether a shard is still owned and the first byte of the POST.
const CHECK_TO_POST: Micros = 100;

/// For how long a run goes on at least, after the last thing that was done to it.
const SETTLED: Micros = 5_000_000;
