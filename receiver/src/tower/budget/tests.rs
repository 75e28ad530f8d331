use std::{net::Ipv4Addr, num::NonZeroU32, time::Duration};

use governor::{Quota, clock::FakeRelativeClock};

use super::{Budgets, Network, SWEEP_EVERY};

fn peer(number: u32) -> Network {
    Network::V4(Ipv4Addr::from_bits(number))
}

fn budgets(capacity: usize) -> (Budgets<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    let quota = Quota::per_second(NonZeroU32::new(2).unwrap());
    (Budgets::new(quota, capacity, clock.clone()), clock)
}

impl Budgets<FakeRelativeClock> {
    fn len(&self) -> usize {
        self.limiter.len()
    }
}

#[test]
fn a_burst_is_allowed_then_each_request_waits_for_its_turn() {
    let (budgets, clock) = budgets(10);
    assert!(budgets.take(peer(1)).is_ok() && budgets.take(peer(1)).is_ok());
    assert_eq!(budgets.take(peer(1)), Err(Duration::from_millis(500)));
    assert!(budgets.take(peer(2)).is_ok(), "another has its own");
    clock.advance(Duration::from_millis(500));
    assert!(budgets.take(peer(1)).is_ok());
    assert!(budgets.take(peer(1)).is_err());
}

#[test]
fn who_has_a_full_budget_again_is_forgotten() {
    let (budgets, clock) = budgets(10_000);
    for number in 0..500 {
        assert!(budgets.take(peer(number)).is_ok());
    }
    assert_eq!(budgets.len(), 500);
    clock.advance(Duration::from_secs(2));
    for _ in 0..SWEEP_EVERY {
        let _ = budgets.take(peer(1_000));
    }
    assert_eq!(budgets.len(), 1);
}

#[test]
fn a_flood_of_addresses_neither_grows_the_table_nor_takes_from_those_who_were_there() {
    let (budgets, _clock) = budgets(100);
    for number in 0..100 {
        assert!(budgets.take(peer(number)).is_ok());
    }
    let through = (1_000..100_000).filter(|number| budgets.take(peer(*number)).is_ok()).count();
    assert_eq!(through, 2, "they share one budget");
    assert_eq!(budgets.len(), 101);
    assert!(budgets.take(peer(7)).is_ok());
}
