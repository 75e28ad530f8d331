//! Seven days of deliveries in a minute: the real engine, store, keys and upkeep by a clock that the test moves, and
//! partners with the receiver crate, whose caches are old.
//!
//! The clock goes from one moment at which something is due to the next and stands still until all of it is done. So
//! whatever comes late or early is a fault of the sender, never of a busy machine.

mod house;
mod judge;
mod keys;
mod ledger;
mod partner;
mod plan;
mod time;
mod week;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use waxseal_keys::Timestamp;
use waxseal_sender::engine::breaker::BreakerPolicy;
use waxseal_sender::model::delivery::DeliveryState;

use self::judge::Judge;
use self::ledger::Entry;
use self::plan::{Illness, Role};
use self::week::Week;

const ISSUER: &str = "https://hooks.example.com";
const START: Timestamp = Timestamp::from_seconds(1_795_293_600);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Far longer than anything takes for which the clock stands still.
const PATIENCE: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn seven_days_pass_and_nothing_is_refused_lost_late_or_kept_too_long() {
    // An open breaker would explain any lateness.
    let never = BreakerPolicy { failures: u32::MAX, disable_after: None, ..BreakerPolicy::default() };
    let mut week = Week::begin(never).await;
    pass(&mut week, |_| false).await;
    assert_eq!((week.given_up, week.opened.len()), (None, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn seven_days_pass_with_breakers_and_nothing_is_refused_or_lost() {
    let mut week = Week::begin(BreakerPolicy::default()).await;
    // Those who are away for hours: the others answer too often for their breakers to open.
    let is_away = |role: &Role| role.opens != Some(Duration::ZERO) || matches!(role.mood, Illness::From(..));
    pass(&mut week, is_away).await;
    let opened: BTreeSet<_> = week.opened.iter().map(|role| week.roles[*role].name).collect();
    assert!(opened.is_superset(&BTreeSet::from(["away", "gone"])), "{opened:?}");
    assert!(week.opened.iter().all(|role| is_away(&week.roles[*role])), "{opened:?}");
    let (role, since) = week.given_up.expect("somebody was never there");
    let attempts: BTreeSet<_> =
        week.of(role).flat_map(|entry| &entry.attempts).map(|attempt| attempt.started_at).collect();
    let long_enough = attempts.first().expect("it was tried").saturating_add(DAY * 5);
    // When the next attempt comes is chance; that it is the last one is not.
    assert_eq!(
        attempts.range(long_enough..).next(),
        Some(&since),
        "given up by the first failure after five days"
    );
    assert_eq!(attempts.last(), Some(&since), "and left alone from then on");
}

async fn pass(week: &mut Week, excused: impl Fn(&Role) -> bool) {
    week.until_all_is_over().await;
    every_delivery_ended_as_it_had_to(week, excused);
    every_event_was_handled_once(week);
    let signed = week.keys.check(&week.ledger, START, week.now());
    assert!(signed >= 5, "three rotations and a revocation: {signed} keys have signed");
    week.until_all_is_forgotten().await;
    println!("{:?}; {signed} keys; at most {} deliveries waited in memory", week.looked, week.most_waiting);
}

fn every_delivery_ended_as_it_had_to(week: &Week, excused: impl Fn(&Role) -> bool) {
    let mut faults = Vec::new();
    for (number, role) in week.roles.iter().enumerate() {
        let mut judge = Judge::new(role, &week.windows, START);
        judge.rests |= excused(role);
        judge.removed = week.given_up.is_some_and(|(given_up, _)| given_up == number);
        let mut ends: BTreeMap<&str, usize> = BTreeMap::new();
        for entry in week.of(number) {
            judge.judge(entry);
            *ends.entry(entry.end.map_or("live", |(state, _)| state.name())).or_default() += 1;
        }
        let attempts: usize = week.of(number).map(|entry| entry.attempts.len()).sum();
        let fetched = week.partners[number].fetched();
        println!("{:8} {ends:?}, {attempts} attempts, keys fetched {fetched} times", role.name);
        for (refused, times) in week.partners[number].refused() {
            faults.push(format!("{} refused {times} tokens: {refused}", role.name));
        }
        faults.append(&mut judge.faults);
        faults.extend(is_spread(role.name, &judge.varied));
    }
    faults.truncate(40);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// Waits, as parts of the jitter that is allowed: from one end to the other, the same on either side.
fn is_spread(role: &str, varied: &[f64]) -> Option<String> {
    if varied.len() < 100 {
        return None;
    }
    let mean = varied.iter().sum::<f64>() / varied.len() as f64;
    let (least, most) = varied.iter().fold((1.0_f64, -1.0_f64), |(a, b), one| (a.min(*one), b.max(*one)));
    let different: BTreeSet<_> = varied.iter().map(|one| one.to_bits()).collect();
    let spread = least < -0.85 && most > 0.85 && mean.abs() < 0.25 && different.len() * 10 > varied.len() * 9;
    (!spread).then(|| format!("{role}: the jitter goes from {least} to {most}, {mean} on average"))
}

fn every_event_was_handled_once(week: &Week) {
    for (number, partner) in week.partners.iter().enumerate() {
        let name = week.roles[number].name;
        let taken: Vec<String> = partner.taken().into_iter().map(|(id, _)| id).collect();
        let once: BTreeSet<_> = taken.iter().cloned().collect();
        assert_eq!(once.len(), taken.len(), "{name} handled an event twice");
        let delivered = |entry: &&Entry| matches!(entry.end, Some((DeliveryState::Delivered, _)));
        let delivered: Vec<_> =
            week.of(number).filter(delivered).map(|entry| entry.event.to_string()).collect();
        assert_eq!(once, delivered.iter().cloned().collect(), "{name}");
        if name == "fifo" {
            assert_eq!(taken, delivered, "in the order of acceptance");
        }
    }
}
