//! From publish to disk, and from disk to the owner of the shard.

use super::{Command, Delivery, Event, State, Step, Work, World};
use crate::simulation::Micros;
use crate::simulation::database::Batch;

impl World<'_> {
    pub(super) fn publish(&mut self) {
        self.next_publish += self.random.wait(1e6 / self.scenario.rate);
        if self.next_publish < self.stops_publishing as f64 {
            self.at(self.next_publish as Micros, Event::Publish);
        }
        let Some(node) = self.some_node() else { return };
        let endpoint = self.endpoints.draw(&mut self.random);
        let delivery = Delivery {
            endpoint,
            published_at: self.now,
            due_at: self.now,
            attempts: 0,
            live: false,
            taken: 0,
            accepted: false,
        };
        self.deliveries.push(delivery);
        let done = self.nodes[node].cores.work(self.now, self.constants.publish_cpu());
        self.at(done, Event::Of(node, Step::Prepared(self.deliveries.len() - 1)));
    }

    /// Hands a command to the node's writers.
    pub(super) fn write(&mut self, node: usize, command: Command) {
        self.nodes[node].committer.waiting.push(command);
        self.commit(node);
    }

    pub(super) fn commit(&mut self, node: usize) {
        loop {
            let Self { nodes, constants, .. } = self;
            let node_at = &mut nodes[node];
            let committer = &mut node_at.committer;
            let free = (committer.committing as f64) < constants.pg_writers;
            if node_at.state != State::Running || !free || committer.waiting.is_empty() {
                return;
            }
            let most = committer.waiting.len().min(BATCH);
            let commands: Vec<_> = committer.waiting.drain(..most).collect();
            committer.committing += 1;
            let accepts = commands.iter().filter(|command| matches!(command, Command::Accept(_))).count();
            let batch = Batch { accepts, settles: commands.len() - accepts };
            self.commands += commands.len() as u64;
            let executed = self.database.execute(self.now, batch);
            self.at(executed, Event::Executed(node, commands));
        }
    }

    pub(super) fn executed(&mut self, node: usize, commands: Vec<Command>) {
        if self.nodes[node].state == State::Gone {
            return; // nobody says COMMIT any more
        }
        let durable = self.database.flush(self.now);
        self.at(durable, Event::Durable(node, commands));
    }

    pub(super) fn durable(&mut self, node: usize, commands: Vec<Command>) {
        for command in &commands {
            match *command {
                Command::Accept(delivery) => self.accepted(node, delivery),
                Command::Settle(work, again) => self.settled(work, again),
            }
        }
        let answered = self.now + self.constants.database_round_trip();
        self.at(answered, Event::Of(node, Step::Acknowledged(commands)));
    }

    fn accepted(&mut self, node: usize, number: usize) {
        let delivery = &mut self.deliveries[number];
        (delivery.live, delivery.accepted) = (true, true);
        let endpoint = delivery.endpoint;
        self.live[usize::from(self.endpoints.shard(endpoint).number())].insert(number);
        self.expected += usize::from(!self.endpoints.is_dead(endpoint));
        if self.nodes[node].state != State::Running {
            self.found_by_asking(number);
        }
    }

    /// A node that is gone tells nobody of what it had accepted.
    pub(super) fn never_told(&mut self, step: Step) {
        let Step::Acknowledged(commands) = step else { return };
        for command in commands {
            if let Command::Accept(delivery) = command {
                self.found_by_asking(delivery);
            }
        }
    }

    /// Nobody has told the owner, but it asks once a second.
    fn found_by_asking(&mut self, delivery: usize) {
        let found = self.now + self.random.below(POLL_EVERY) as Micros;
        self.at(found, Event::Due(delivery));
    }

    fn settled(&mut self, work: Work, again: Option<Micros>) {
        let delivery = &mut self.deliveries[work.delivery];
        if !delivery.live || delivery.attempts != work.attempts {
            self.outcome.superseded += 1;
            return self.found_by_asking(work.delivery); // while it was in flight nobody could take it in anew
        }
        self.outcome.recorded_twice += usize::from(delivery.attempts != work.attempts);
        delivery.attempts += 1;
        if let Some(due_at) = again {
            delivery.due_at = due_at;
            self.at(due_at, Event::Due(work.delivery));
            return;
        }
        delivery.live = false;
        self.live[usize::from(work.shard.number())].remove(&work.delivery);
        self.expected -= usize::from(!self.endpoints.is_dead(work.endpoint));
    }

    pub(super) fn acknowledged(&mut self, node: usize, commands: Vec<Command>) {
        self.nodes[node].committer.committing -= 1;
        for command in commands {
            match command {
                Command::Accept(delivery) => {
                    let shard = self.endpoints.shard(self.deliveries[delivery].endpoint);
                    let own = self.registry.owner(shard) == Some(node);
                    let hint = if own { 0 } else { self.hint() };
                    self.at(self.now + hint, Event::Due(delivery));
                }
                Command::Settle(work, _) => self.nodes[node].ended(work),
            }
        }
        self.commit(node);
        self.give_back(node);
        self.claim(node);
    }

    /// The owner of the shard takes it in, if there is one that runs; whoever becomes the owner finds it.
    pub(super) fn due(&mut self, number: usize) {
        let work = self.work(number);
        let Some(owner) = self.registry.owner(work.shard) else { return };
        let delivery = &self.deliveries[number];
        let node = &mut self.nodes[owner];
        let hears = node.state == State::Running && node.works_on(work.shard, self.now);
        if hears && delivery.live && delivery.due_at <= self.now {
            node.take_in(work);
            self.claim(owner);
        }
    }

    /// A delivery as it stands in the store.
    pub(super) fn work(&self, number: usize) -> Work {
        let Delivery { endpoint, attempts, .. } = self.deliveries[number];
        let shard = self.endpoints.shard(endpoint);
        Work { delivery: number, endpoint, shard, struggling: self.endpoints.is_dead(endpoint), attempts }
    }

    fn hint(&mut self) -> Micros {
        self.random.below(self.constants.notify_every_us as usize) as Micros
            + self.constants.database_round_trip()
    }

    fn some_node(&mut self) -> Option<usize> {
        let runs = |node: &super::Node| node.state == State::Running && !node.ends;
        let first = self.random.below(self.nodes.len());
        (0..self.nodes.len()).map(|n| (first + n) % self.nodes.len()).find(|n| runs(&self.nodes[*n]))
    }
}

/// Commands in a transaction, at most: as in the sender's stores.
const BATCH: usize = 256;

/// How often an owner asks for arrivals that it was not told of.
const POLL_EVERY: usize = 1_000_000;
