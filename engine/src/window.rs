//! When an experiment may run: days and times in a zone. Pure: a time in, open or not and until when out.
//!
//! A window that closes at or before the time at which it opens closes on the next day; its day is the one on which it
//! opens. Times that a change of the clock skips or doubles are understood as the zone's calendar does (the earlier of
//! two, the later of a gap). Neighbours: `validate::windows` makes them, `run::plan` holds a run against them.

use jiff::{
    SignedDuration, Timestamp, ToSpan, Zoned,
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};
use std::time::Duration;

/// Windows that are open here and there so long ahead are looked for; after that they never open.
const AHEAD_DAYS: i64 = 8;

/// One window, each of its days.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The days on which it opens.
    pub days: Vec<Weekday>,
    /// When it opens.
    pub from: Time,
    /// When it closes; none: at the end of the day.
    pub to: Option<Time>,
    /// Where the times are meant.
    pub zone: TimeZone,
    /// As it is written.
    pub shown: String,
}

/// Several windows, of which one must be open, and who asks for that.
#[derive(Debug, Clone, PartialEq)]
pub struct Windows {
    /// `the experiment`, or the environment.
    pub whose: String,
    /// At least one.
    pub windows: Vec<Window>,
}

impl Window {
    /// When it opens on this day, and when it closes after that.
    fn on(&self, day: Date) -> Option<(Timestamp, Timestamp)> {
        if !self.days.contains(&day.weekday()) {
            return None;
        }
        let at = |day: Date, time: Time| Some(day.to_datetime(time).to_zoned(self.zone.clone()).ok()?.timestamp());
        let next = day.tomorrow().ok()?;
        let closes = match self.to {
            Some(to) if to > self.from => at(day, to),
            Some(to) => at(next, to),
            None => at(next, Time::midnight()),
        };
        Some((at(day, self.from)?, closes?))
    }

    /// Its openings from the day before `now` on, in order.
    fn openings(&self, now: Timestamp) -> impl Iterator<Item = (Timestamp, Timestamp)> + '_ {
        let today = now.to_zoned(self.zone.clone()).date();
        (-1..=AHEAD_DAYS).filter_map(move |days| self.on(today.checked_add(days.days()).ok()?))
    }
}

impl Windows {
    /// Until when it is open at `now`; none: it is closed. Windows that follow one another are one.
    #[must_use]
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let mut until: Option<Timestamp> = None;
        loop {
            let at = until.unwrap_or(now);
            let open = self.windows.iter().flat_map(|window| window.openings(at));
            let later = open.filter(|(opens, closes)| *opens <= at && at < *closes).map(|(_, closes)| closes).max();
            match later {
                // A week of windows without a gap has no end that matters.
                Some(closes) if closes.duration_since(now) < SignedDuration::from_hours(24 * 7) => until = Some(closes),
                Some(closes) => return Some(closes),
                None => return until,
            }
        }
    }

    /// When it is open next: `now`, if it is.
    #[must_use]
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        if self.open_until(now).is_some() {
            return Some(now);
        }
        self.windows.iter().flat_map(|window| window.openings(now)).map(|(opens, _)| opens).filter(|at| *at > now).min()
    }

    /// As written, joined.
    #[must_use]
    pub fn shown(&self) -> String {
        self.windows.iter().map(|window| window.shown.as_str()).collect::<Vec<_>>().join(" or ")
    }

    fn in_its_zone(&self, at: Timestamp) -> Zoned {
        at.to_zoned(self.windows.first().map_or(TimeZone::UTC, |window| window.zone.clone()))
    }
}

/// Whether a run of this length may begin now: every one of them must be open until its end.
///
/// # Errors
/// Why not, and when it may.
pub fn may_run(all: &[Windows], now: Timestamp, lasting: Duration) -> Result<(), String> {
    let needed = SignedDuration::try_from(lasting).unwrap_or(SignedDuration::MAX);
    for windows in all {
        let said = |at: Timestamp| windows.in_its_zone(at).strftime("%A %Y-%m-%d %H:%M %Z").to_string();
        let (whose, shown) = (&windows.whose, windows.shown());
        let Some(closes) = windows.open_until(now) else {
            let next = match next(all, now) {
                Some(next) => format!("it opens next on {}", said(next)),
                None => format!("it does not open together with the others within {AHEAD_DAYS} days"),
            };
            return Err(format!("the time window of {whose} is closed ({shown}); {next}"));
        };
        if closes.duration_since(now) < needed {
            let (length, left) = (squall_wire::Span::from(lasting), closes.duration_since(now).as_secs() / 60);
            return Err(format!(
                "the run takes up to {length}, but the time window of {whose} ({shown}) closes on {}, in {left} minutes",
                said(closes)
            ));
        }
    }
    Ok(())
}

/// When all are open next.
fn next(all: &[Windows], now: Timestamp) -> Option<Timestamp> {
    let mut at = now;
    // Each turn moves on to an opening of one of them; a week has few enough.
    for _ in 0..200 {
        let latest = all.iter().map(|windows| windows.next(at)).collect::<Option<Vec<_>>>()?.into_iter().max()?;
        if latest == at {
            return Some(at);
        }
        at = latest;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Window, Windows, may_run};
    use jiff::{
        Timestamp,
        civil::{Time, Weekday},
        tz::TimeZone,
    };
    use std::time::Duration;

    fn windows(days: &[Weekday], from: (i8, i8), to: (i8, i8)) -> Windows {
        let time = |(hour, minute): (i8, i8)| Time::constant(hour, minute, 0, 0);
        let window = Window {
            days: days.to_vec(),
            from: time(from),
            to: Some(time(to)),
            zone: TimeZone::get("Europe/Berlin").unwrap(),
            shown: "as written".into(),
        };
        Windows { whose: "the experiment".into(), windows: vec![window] }
    }

    const WEEK: [Weekday; 5] =
        [Weekday::Monday, Weekday::Tuesday, Weekday::Wednesday, Weekday::Thursday, Weekday::Friday];

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    #[test]
    fn a_run_must_begin_and_end_inside() {
        let office = [windows(&WEEK, (9, 0), (17, 0))];
        // Berlin is an hour ahead of UTC in November.
        assert_eq!(may_run(&office, at("2026-11-25T08:00:00Z"), minutes(5)), Ok(()));
        assert_eq!(may_run(&office, at("2026-11-25T15:55:00Z"), minutes(5)), Ok(()));
        let late = may_run(&office, at("2026-11-25T15:55:01Z"), minutes(5)).unwrap_err();
        assert!(late.contains("closes on Wednesday 2026-11-25 17:00 CET"), "{late}");
        let early = may_run(&office, at("2026-11-25T07:59:59Z"), minutes(5)).unwrap_err();
        assert!(early.contains("opens next on Wednesday 2026-11-25 09:00 CET"), "{early}");
        let weekend = may_run(&office, at("2026-11-27T16:00:00Z"), minutes(5)).unwrap_err();
        assert!(weekend.contains("opens next on Monday 2026-11-30 09:00 CET"), "{weekend}");
    }

    #[test]
    fn a_window_that_closes_before_it_opens_is_open_over_midnight() {
        let night = windows(&[Weekday::Friday], (22, 0), (4, 0));
        assert_eq!(night.open_until(at("2026-11-27T21:30:00Z")), Some(at("2026-11-28T03:00:00Z")));
        assert_eq!(night.open_until(at("2026-11-28T02:59:59Z")), Some(at("2026-11-28T03:00:00Z")));
        assert_eq!(night.open_until(at("2026-11-28T03:00:00Z")), None);
        assert_eq!(night.open_until(at("2026-11-27T02:00:00Z")), None, "that is Thursday's night");
    }

    #[test]
    fn windows_that_follow_one_another_are_one_and_all_of_them_without_end_end_late() {
        let mut two = windows(&WEEK, (9, 0), (12, 0));
        two.windows.extend(windows(&WEEK, (12, 0), (17, 0)).windows);
        assert_eq!(two.open_until(at("2026-11-25T10:00:00Z")), Some(at("2026-11-25T16:00:00Z")));
        let mut always = windows(&WEEK, (0, 0), (12, 0));
        always.windows[0].days.extend([Weekday::Saturday, Weekday::Sunday]);
        always.windows[0].to = None;
        assert_eq!(may_run(&[always], at("2026-11-25T10:00:00Z"), minutes(60 * 24)), Ok(()));
    }

    #[test]
    fn the_next_opening_is_one_at_which_all_are_open() {
        let both = [windows(&WEEK, (9, 0), (17, 0)), windows(&[Weekday::Tuesday, Weekday::Friday], (8, 0), (10, 0))];
        let told = may_run(&both, at("2026-11-25T10:00:00Z"), minutes(5)).unwrap_err();
        assert!(told.contains("opens next on Friday 2026-11-27 09:00 CET"), "{told}");
        let never = [windows(&WEEK, (9, 0), (17, 0)), windows(&[Weekday::Sunday], (8, 0), (10, 0))];
        assert!(
            may_run(&never, at("2026-11-25T10:00:00Z"), minutes(5)).unwrap_err().contains("does not open together")
        );
    }

    #[test]
    fn a_change_of_the_clock_moves_no_window() {
        let office = windows(&[Weekday::Sunday], (1, 0), (5, 0));
        // The night of the 28th of March 2027 has no 02:00 to 03:00 in Berlin.
        let opens = office.next(at("2027-03-27T12:00:00Z")).unwrap();
        assert_eq!(opens, at("2027-03-28T00:00:00Z"));
        assert_eq!(office.open_until(opens), Some(at("2027-03-28T03:00:00Z")));
    }
}
