//! What the breaker promises, on its pure core with a made-up clock, and its guard.

use super::{Admitted, BreakerConfig, CircuitBreaker, Core, Outcome, State};
use crate::failure::FailureKind::{Absent, Senseless};
use parking_lot::Mutex;
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const MS: Duration = Duration::from_millis(1);
const FAILURE: Outcome = Outcome::Failure(Absent);

fn core(now: Instant) -> Core {
    Core::new(BreakerConfig { minimum: 10, ..BreakerConfig::default() }, now)
}

fn call(core: &mut Core, outcome: Outcome, now: Instant) {
    let generation = core.admit(now).expect("the breaker lets calls pass");
    core.settle(generation, outcome, now);
}

fn opened(now: Instant) -> Core {
    let mut core = core(now);
    for _ in 0..10 {
        call(&mut core, FAILURE, now);
    }
    assert_eq!(core.state(), State::Open);
    core
}

#[test]
fn it_opens_at_half_failures_and_not_before_the_minimum() {
    let now = Instant::now();
    let mut core = core(now);
    for _ in 0..9 {
        call(&mut core, FAILURE, now);
    }
    assert_eq!(core.state(), State::Closed);
    call(&mut core, FAILURE, now);
    assert_eq!(core.state(), State::Open);
}

#[test]
fn three_failures_in_ten_leave_it_closed() {
    let now = Instant::now();
    let mut core = core(now);
    for round in 0..1000u32 {
        call(&mut core, if round % 10 < 3 { FAILURE } else { Outcome::Success }, now + round * MS);
    }
    assert_eq!(core.state(), State::Closed);
}

#[test]
fn ten_thousand_old_successes_do_not_delay_the_opening() {
    let now = Instant::now();
    let mut core = core(now);
    for _ in 0..10_000 {
        call(&mut core, Outcome::Success, now);
    }
    let later = now + 2200 * MS;
    for _ in 0..10 {
        call(&mut core, FAILURE, later);
    }
    assert_eq!(core.state(), State::Open);
}

#[test]
fn open_it_refuses_says_why_and_for_how_long_and_then_lets_three_trials_pass() {
    let now = Instant::now();
    let mut core = opened(now);
    let rejected = core.admit(now + 500 * MS).unwrap_err();
    assert_eq!((rejected.retry_after, rejected.because), (1500 * MS, Absent));
    let later = now + 2000 * MS;
    for _ in 0..3 {
        core.admit(later).unwrap();
    }
    assert_eq!(core.state(), State::HalfOpen);
    assert!(core.admit(later).is_err());
}

#[test]
fn three_good_trials_close_it_and_one_bad_opens_it_again() {
    let now = Instant::now();
    let later = now + 2000 * MS;
    let mut good = opened(now);
    for _ in 0..3 {
        call(&mut good, Outcome::Success, later);
    }
    assert_eq!(good.state(), State::Closed);

    let mut bad = opened(now);
    call(&mut bad, Outcome::Success, later);
    call(&mut bad, Outcome::Failure(Senseless), later);
    assert_eq!(bad.state(), State::Open);
    assert_eq!(bad.admit(later).unwrap_err().because, Senseless);
}

#[test]
fn a_trial_that_was_given_up_makes_room_for_another() {
    let now = Instant::now();
    let mut core = opened(now);
    let later = now + 2000 * MS;
    let trials: Vec<u64> = (0..3).map(|_| core.admit(later).unwrap()).collect();
    core.settle(trials[0], Outcome::Unknown, later);
    assert!(core.admit(later).is_ok());
}

#[test]
fn stragglers_from_before_the_outage_count_for_nothing() {
    let now = Instant::now();
    let mut core = core(now);
    let straggler = core.admit(now).unwrap();
    for _ in 0..10 {
        call(&mut core, FAILURE, now);
    }
    let later = now + 2000 * MS;
    let _trial = core.admit(later).unwrap();
    core.settle(straggler, FAILURE, later);
    assert_eq!(core.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn each_change_is_told_once_and_in_order_and_a_dropped_call_returns_its_trial() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&seen);
    let config = BreakerConfig { minimum: 1, trials: 1, ..BreakerConfig::default() };
    let breaker = CircuitBreaker::new(config, Box::new(move |state, _| told.lock().push(state)));
    breaker.admit().map(|call| call.settle(FAILURE)).unwrap();
    tokio::time::advance(config.open_for).await;
    let trial: Admitted = breaker.admit().unwrap();
    assert!(breaker.admit().is_err());
    drop(trial);
    breaker.admit().map(|call| call.settle(Outcome::Success)).unwrap();
    assert_eq!(*seen.lock(), [State::Closed, State::Open, State::HalfOpen, State::Closed]);
}

proptest! {
    /// The bucketed window never counts an outcome older than itself, and always one in its younger nine tenths.
    #[test]
    fn the_window_agrees_with_a_plain_list(steps in proptest::collection::vec((0u64..400, any::<bool>()), 1..200)) {
        let begin = Instant::now();
        let mut window = super::Window::new(2000 * MS, begin);
        let (mut now, mut list) = (begin, Vec::new());
        for (pause, failed) in steps {
            now += Duration::from_millis(pause);
            window.record(now, failed);
            list.push((now, failed));
            let within = |age: Duration| list.iter().filter(|(at, _)| now - *at < age).count() as u32;
            let (calls, failures) = window.totals();
            prop_assert!(calls >= within(1800 * MS) && calls <= within(2000 * MS), "{calls}");
            prop_assert!(failures <= calls);
        }
    }
}
