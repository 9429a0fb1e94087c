//! The door with its patterns on and off, on a paused clock.

use super::{Door, Refused, Slot};
use crate::{
    metrics::Metrics,
    resilience::{
        adaptive_concurrency::Limit,
        back_pressure::{BackPressure, BackPressureConfig},
        load_shedding::{Priority, Reason, SheddingConfig},
        timeout_budget::Deadline,
    },
};
use futures::FutureExt as _;
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

const MS: Duration = Duration::from_millis(1);
const ON: BackPressure = BackPressure::On(BackPressureConfig { wait: Duration::from_millis(100) });

fn door(slots: usize, shedding: Option<SheddingConfig>, pressure: BackPressure) -> Arc<Door> {
    Door::new(Limit::Fixed(slots), shedding, pressure, Metrics::new())
}

fn usual(slots: usize) -> Arc<Door> {
    door(slots, Some(SheddingConfig::default()), ON)
}

async fn enter(door: &Arc<Door>, priority: Priority) -> Result<Slot, Refused> {
    door.enter(priority, Deadline::Never).await
}

fn shed(result: Result<Slot, Refused>) -> Reason {
    match result {
        Err(Refused::Shed(reason)) => reason,
        Err(Refused::Late) => panic!("it is not late"),
        Ok(_) => panic!("there is no slot"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_becomes_free_in_time_serves_who_waits_and_otherwise_they_are_refused() {
    let door = usual(1);
    let slot = enter(&door, Priority::Normal).await.unwrap();
    let begun = Instant::now();
    assert_eq!(shed(enter(&door, Priority::Normal).await), Reason::Slots);
    assert_eq!(begun.elapsed(), 100 * MS);
    let (second, ()) = tokio::join!(enter(&door, Priority::Normal), async {
        tokio::time::sleep(50 * MS).await;
        drop(slot);
    });
    drop(second.unwrap());
    assert_eq!(door.usage(), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn the_queue_is_bounded_and_higher_work_takes_the_place_of_lower() {
    let door =
        door(1, Some(SheddingConfig { queue: 2, early_most: 0.0, low_from: 2.0, ..SheddingConfig::default() }), ON);
    let slot = enter(&door, Priority::Normal).await.unwrap();
    let (mut low, mut normal) = (Box::pin(enter(&door, Priority::Low)), Box::pin(enter(&door, Priority::Normal)));
    assert!((&mut low).now_or_never().is_none() && (&mut normal).now_or_never().is_none());
    assert_eq!(shed(enter(&door, Priority::Low).await), Reason::Queue);
    let mut high = Box::pin(enter(&door, Priority::High));
    assert!((&mut high).now_or_never().is_none(), "it has a place");
    assert_eq!(shed(low.await), Reason::Priority);
    drop(slot);
    let high = high.await.unwrap();
    assert!((&mut normal).now_or_never().is_none(), "higher work is served first");
    drop(high);
    assert!(normal.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn with_slow_requests_who_would_wait_too_long_is_refused_at_once() {
    let door = usual(1);
    for _ in 0..100 {
        let slot = enter(&door, Priority::Normal).await.unwrap();
        tokio::time::sleep(150 * MS).await;
        drop(slot);
    }
    let _slot = enter(&door, Priority::Normal).await.unwrap();
    let begun = Instant::now();
    assert_eq!(shed(enter(&door, Priority::Normal).await), Reason::Latency);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn low_work_is_refused_while_there_are_still_slots_for_others() {
    let door = usual(10);
    let mut slots = Vec::new();
    for _ in 0..7 {
        slots.push(enter(&door, Priority::Normal).await.unwrap());
    }
    assert_eq!(shed(enter(&door, Priority::Low).await), Reason::Priority);
    assert!(enter(&door, Priority::Normal).await.is_ok());
}

#[tokio::test]
async fn a_busy_cpu_refuses_about_nine_in_ten() {
    let door = usual(10);
    door.cpu_is(1.0);
    let mut refused = 0;
    for _ in 0..1000 {
        refused += usize::from(enter(&door, Priority::Normal).await.is_err());
    }
    assert!((850..=950).contains(&refused), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn without_load_shedding_and_back_pressure_they_stand_in_line_until_their_deadline() {
    let door = door(1, None, BackPressure::Off);
    let slot = enter(&door, Priority::Normal).await.unwrap();
    let begun = Instant::now();
    let late = door.enter(Priority::Normal, Deadline::At(begun + 3000 * MS)).await;
    assert!(matches!(late, Err(Refused::Late)));
    assert_eq!(begun.elapsed(), 3000 * MS);
    let mut patient = Box::pin(enter(&door, Priority::Normal));
    assert!(tokio::time::timeout(Duration::from_secs(3600), &mut patient).await.is_err());
    drop(slot);
    assert!(patient.await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_leaves_the_queue_takes_no_slot_along() {
    let door = usual(1);
    let slot = enter(&door, Priority::Normal).await.unwrap();
    let mut leaver = Box::pin(enter(&door, Priority::Normal));
    assert!((&mut leaver).now_or_never().is_none());
    drop(leaver);
    assert_eq!(door.usage(), (1, 1, 0));
    // Told of its slot and gone before it could take it.
    let mut gone = Box::pin(enter(&door, Priority::Normal));
    assert!((&mut gone).now_or_never().is_none());
    drop(slot);
    drop(gone);
    assert_eq!(door.usage(), (0, 1, 0));
    assert!(enter(&door, Priority::Normal).await.is_ok());
}

/// Open-loop arrivals at three times what the slots can do; how many were served within a second.
async fn surge(door: &Arc<Door>) -> (usize, usize) {
    let (served, most_waiting) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut customers = JoinSet::new();
    // 8 slots of 40 ms are 200 a second; 600 a second come, for ten seconds.
    for _ in 0..6000 {
        tokio::time::sleep(Duration::from_micros(1667)).await;
        let (door, served) = (Arc::clone(door), Arc::clone(&served));
        most_waiting.fetch_max(door.usage().2, Ordering::Relaxed);
        customers.spawn(async move {
            let visit = async {
                let slot = enter(&door, Priority::Normal).await.ok()?;
                tokio::time::sleep(40 * MS).await;
                slot.done(40 * MS);
                Some(())
            };
            // A customer who gets nothing within a second leaves.
            let visit = tokio::time::timeout(1000 * MS, visit).await;
            served.fetch_add(usize::from(matches!(visit, Ok(Some(())))), Ordering::Relaxed);
        });
    }
    customers.join_all().await;
    (served.load(Ordering::Relaxed), most_waiting.load(Ordering::Relaxed))
}

#[tokio::test(start_paused = true)]
async fn at_three_times_the_capacity_it_keeps_serving_and_without_shedding_it_collapses() {
    let (with, waiting) = surge(&usual(8)).await;
    assert!(with > 1800, "{with} of 2000 that are possible");
    assert!(waiting <= 64, "{waiting}");
    let (without, waiting) = surge(&door(8, None, BackPressure::Off)).await;
    assert!(without < 1000, "{without} of 2000 that are possible");
    assert!(waiting > 400, "{waiting}");
}
