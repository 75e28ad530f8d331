//! Some cores that work off what they are given, in the order in which it comes.

use super::Micros;

/// The cores of one machine.
#[derive(Clone, Debug)]
pub struct Cores {
    free_at: Vec<Micros>,
    used: Micros,
}

impl Cores {
    /// So many, all idle.
    pub fn new(count: usize) -> Self {
        Self { free_at: vec![0; count], used: 0 }
    }

    /// Gives them `work`; returns when it is done.
    pub fn work(&mut self, now: Micros, work: Micros) -> Micros {
        let core = self.free_at.iter_mut().min().unwrap();
        *core = now.max(*core) + work;
        self.used += work;
        *core
    }

    /// Which share of their time was used, of so much time.
    pub fn utilisation(&self, time: Micros) -> f64 {
        self.used as f64 / (time * self.free_at.len() as Micros) as f64
    }

    /// How long they worked, all together.
    pub fn used(&self) -> Micros {
        self.used
    }
}
