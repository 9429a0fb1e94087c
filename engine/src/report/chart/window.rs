//! Stretches above a chart and behind it: when a fault was set, or the load surged. Pure.
//!
//! Neighbours: `mod` has them in the frame of a page, `page::plot` in that of a plot.
//! Invariant: two that overlap lie in different lanes, as long as there are lanes.

use super::time::{TimeAxis, round};
use crate::{
    event::{Event, What},
    record::FaultRecord,
    report::{moment, page::Tone},
};
use serde::Serialize;
use std::time::Duration;

/// Faults side by side above a chart, at most; more are drawn over each other.
const MOST_LANES: usize = 4;

/// Percent of the width that a label needs on a small screen.
const ROOM: f64 = 45.0;

/// Windows closer than this, in percent, touch: places are rounded.
const TOUCHING: f64 = 0.02;

/// A stretch of time in which a fault was set.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Window {
    left: f64,
    width: f64,
    lane: usize,
    label: String,
    /// Where its label has room: to the next window of its lane, or from the one before.
    label_left: f64,
    label_width: f64,
    label_ends: bool,
    title: String,
    /// None: a fault.
    tone: Option<Tone>,
}

impl Window {
    /// A stretch in percent of the width, in no lane yet.
    pub(crate) fn of_band(left: f64, width: f64, label: String, title: String, tone: Option<Tone>) -> Self {
        Self { left, width, lane: 0, label, label_left: 0.0, label_width: 100.0, label_ends: false, title, tone }
    }

    fn end(&self) -> f64 {
        self.left + self.width
    }
}

/// One window for the faults of a step on a proxy, however many agents have it.
pub(super) fn of_faults(faults: &[FaultRecord], axis: TimeAxis) -> Vec<Window> {
    let mut merged: Vec<(&FaultRecord, Duration, Duration, usize)> = vec![];
    for fault in faults {
        let to = fault.to.unwrap_or_else(|| axis.total());
        let same =
            |other: &FaultRecord| (&other.step, &other.proxy, &other.kind) == (&fault.step, &fault.proxy, &fault.kind);
        match merged.iter_mut().find(|(other, from, until, _)| same(other) && fault.from <= *until && *from <= to) {
            Some((_, from, until, count)) => {
                (*from, *until, *count) = ((*from).min(fault.from), (*until).max(to), *count + 1);
            }
            None => merged.push((fault, fault.from, to, 1)),
        }
    }
    let windows = merged.into_iter().map(|(fault, from, to, count)| {
        let many = if count > 1 { format!(" ×{count}") } else { String::new() };
        let gone = if fault.to.is_some() { "" } else { ", not confirmed gone" };
        let (step, shown, proxy) = (&fault.step, &fault.shown, &fault.proxy);
        let title = format!("{step}: {shown} on {proxy}, {} to {}{gone}", moment(from), moment(to));
        let (left, width) = (axis.at(from), round(axis.at(to) - axis.at(from)).max(0.3));
        Window::of_band(left, width, format!("{} · {proxy}{many}", fault.kind), title, None)
    });
    windows.collect()
}

/// One window for each surge of the load, in no lane yet.
pub(super) fn of_surges(events: &[Event], axis: TimeAxis) -> Vec<Window> {
    let surge = |(index, event): (usize, &Event)| {
        let What::Surged { step, rate, normal } = &event.what else { return None };
        let over = |event: &&Event| matches!(&event.what, What::Subsided { step: other, .. } if other == step);
        let to = events[index..].iter().find(over).map_or_else(|| axis.total(), |event| event.at);
        let (from, label) = (event.at, format!("{rate} · traffic"));
        let title = format!("{step}: {rate}, normally {normal}, {} to {}", moment(from), moment(to));
        let (left, width) = (axis.at(from), round(axis.at(to) - axis.at(from)).max(0.3));
        Some(Window::of_band(left, width, label, title, None))
    };
    events.iter().enumerate().filter_map(surge).collect()
}

/// Gives each window a lane in which it overlaps no other, and says how many there are.
pub(crate) fn lanes(mut windows: Vec<Window>) -> (Vec<Window>, usize) {
    windows.sort_by(|one, other| one.left.total_cmp(&other.left));
    let mut ends: Vec<f64> = vec![];
    for window in &mut windows {
        let free = ends.iter().position(|end| *end <= window.left + TOUCHING);
        window.lane = free.unwrap_or(ends.len()).min(MOST_LANES - 1);
        if window.lane == ends.len() {
            ends.push(0.0);
        }
        ends[window.lane] = ends[window.lane].max(window.end());
    }
    make_room(&mut windows);
    (windows, ends.len())
}

/// Lets a label reach beyond its window where its lane is free: to the right, or to the left if there is more room.
fn make_room(windows: &mut [Window]) {
    for lane in 0..MOST_LANES {
        let mut taken = 0.0;
        let of_lane: Vec<usize> = (0..windows.len()).filter(|index| windows[*index].lane == lane).collect();
        for (place, index) in of_lane.iter().enumerate() {
            let next = of_lane.get(place + 1).map_or(100.0, |next| windows[*next].left);
            let window = &mut windows[*index];
            let end = window.end();
            let (right, left) = (next.max(end) - window.left, end - taken);
            window.label_ends = right < ROOM && left > right;
            window.label_left = if window.label_ends { round(taken) } else { window.left };
            window.label_width = round(right.max(if window.label_ends { left } else { right }));
            taken = end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_LANES, TimeAxis, Window, lanes, of_faults, of_surges};
    use crate::{
        event::{Event, What},
        record::FaultRecord,
    };
    use std::time::Duration;

    fn fault(agent: &str, step: &str, from: u64, to: Option<u64>) -> FaultRecord {
        FaultRecord {
            step: step.into(),
            agent: agent.into(),
            proxy: "payment".into(),
            name: "latency-1".into(),
            kind: "latency".into(),
            shown: "{latency: {delay: 1s}}".into(),
            seed: None,
            from: Duration::from_secs(from),
            to: to.map(Duration::from_secs),
            hits: None,
        }
    }

    fn drawn(faults: &[FaultRecord]) -> Vec<Window> {
        // A second is a percent.
        lanes(of_faults(faults, TimeAxis::lasting(Duration::from_secs(100)))).0
    }

    #[test]
    fn the_same_fault_on_many_agents_is_one_window() {
        let windows = drawn(&[fault("a", "slow", 10, Some(20)), fault("b", "slow", 11, Some(22))]);
        assert_eq!(windows.len(), 1);
        assert_eq!((windows[0].left, windows[0].width), (10.0, 12.0));
        assert_eq!(windows[0].label, "latency · payment ×2");
    }

    #[test]
    fn overlapping_faults_lie_in_lanes_and_a_free_lane_is_used_again() {
        let windows = drawn(&[
            fault("a", "one", 10, Some(30)),
            fault("a", "two", 20, Some(40)),
            fault("a", "three", 30, Some(50)),
        ]);
        assert_eq!(windows.iter().map(|window| window.lane).collect::<Vec<_>>(), [0, 1, 0]);
        let many: Vec<_> = (0..9).map(|number| fault("a", &number.to_string(), number, Some(90))).collect();
        assert!(drawn(&many).iter().all(|window| window.lane < MOST_LANES));
    }

    #[test]
    fn a_fault_that_is_not_confirmed_gone_reaches_to_the_end() {
        let windows = drawn(&[fault("a", "slow", 40, None)]);
        assert_eq!(windows[0].width, 60.0);
        assert!(windows[0].title.ends_with("not confirmed gone"));
    }

    #[test]
    fn a_surge_is_a_window_until_it_is_over_or_to_the_end() {
        let event = |second, what| Event { at: Duration::from_secs(second), what };
        let surged = |step: &str| What::Surged { step: step.into(), rate: "600/s".into(), normal: "150/s".into() };
        let over = What::Subsided { step: "one".into(), rate: "150/s".into() };
        let events = [event(10, surged("one")), event(30, over), event(70, surged("two"))];
        let windows = of_surges(&events, TimeAxis::lasting(Duration::from_secs(100)));
        let places: Vec<_> = windows.iter().map(|window| (window.left, window.width)).collect();
        assert_eq!(places, [(10.0, 20.0), (70.0, 30.0)]);
        assert_eq!(windows[0].label, "600/s · traffic");
    }

    #[test]
    fn a_label_near_the_end_has_its_room_to_the_left() {
        let windows = drawn(&[fault("a", "early", 10, Some(20)), fault("a", "late", 90, Some(99))]);
        assert!(!windows[0].label_ends && windows[1].label_ends);
        assert_eq!((windows[0].label_left, windows[0].label_width), (10.0, 80.0));
        assert_eq!((windows[1].label_left, windows[1].label_width), (20.0, 79.0));
    }
}
