//! Time windows, of an experiment or of an environment.
//!
//! Neighbour: `crate::window` says whether one is open. Invariant: every window opens on some day.

use crate::{
    diagnostic::Reporter,
    document::WindowDoc,
    window::{Window, Windows},
    yaml::Spot,
};
use jiff::{
    civil::{Time, Weekday},
    tz::TimeZone,
};

const DAYS: [(&str, Weekday); 7] = [
    ("mon", Weekday::Monday),
    ("tue", Weekday::Tuesday),
    ("wed", Weekday::Wednesday),
    ("thu", Weekday::Thursday),
    ("fri", Weekday::Friday),
    ("sat", Weekday::Saturday),
    ("sun", Weekday::Sunday),
];

/// The windows that are written there; none where there are none.
pub(crate) fn windows(
    docs: Option<&[WindowDoc]>,
    list: Spot<'_>,
    whose: &str,
    report: &mut Reporter<'_>,
) -> Option<Windows> {
    let docs = docs?;
    if docs.is_empty() && !list.node().has_lost() {
        let told = report.error(list.mark(), "there is no window, so it may never run");
        told.help(
            "leave `windows` out, or write `windows: [{days: mon-fri, from: \"09:00\", to: \"17:00\", zone: UTC}]`",
        );
    }
    let found: Vec<Window> =
        docs.iter().enumerate().filter_map(|(index, doc)| window(doc, list.item(index), report)).collect();
    (!found.is_empty()).then(|| Windows { whose: whose.to_owned(), windows: found })
}

fn window(doc: &WindowDoc, spot: Spot<'_>, report: &mut Reporter<'_>) -> Option<Window> {
    let days = days(doc.days.as_deref(), spot, report);
    let from = doc.from.as_deref().map(|text| time(text, spot.key("from"), report));
    let to = doc.to.as_deref().filter(|text| text.trim() != "24:00").map(|text| time(text, spot.key("to"), report));
    let zone = match doc.zone.as_deref() {
        Some(name) => zone(name, spot, report),
        None => {
            if !spot.node().had("zone") && !spot.node().had_nearly(&["zone"]) {
                let told = report.error(spot.key_mark(), "`zone` is missing here");
                told.help("say where these times are meant: `zone: Europe/Berlin`, or `zone: UTC`");
            }
            None
        }
    };
    let (days, from, to) = (days?, from.unwrap_or(Some(Time::midnight()))?, to.map_or(Some(None), |to| to.map(Some))?);
    if to == Some(from) {
        let told = report.error(spot.key("to").mark(), "it closes at the time at which it opens");
        told.help("for the whole day leave `from` and `to` out");
        return None;
    }
    let text = |text: &Option<String>, default: &str| text.clone().unwrap_or_else(|| default.to_owned());
    let shown = format!(
        "{} {}–{} {}",
        text(&doc.days, "every day"),
        text(&doc.from, "00:00"),
        text(&doc.to, "24:00"),
        text(&doc.zone, "")
    );
    Some(Window { days, from, to, zone: zone?, shown })
}

fn zone(name: &str, spot: Spot<'_>, report: &mut Reporter<'_>) -> Option<TimeZone> {
    if let Ok(zone) = TimeZone::get(name) {
        return Some(zone);
    }
    let known: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    let told = report.error(spot.key("zone").mark(), format!("`{name}` is not a time zone that is known here"));
    match squall_wire::nearest::nearest(name, known.iter().map(String::as_str)) {
        Some(near) => told.help(format!("did you mean `{near}`?")),
        None => told.expected("a name such as `Europe/Berlin`, `America/New_York` or `UTC`"),
    };
    None
}

/// `HH:MM`, of a 24-hour clock.
fn time(text: &str, at: Spot<'_>, report: &mut Reporter<'_>) -> Option<Time> {
    let two =
        |part: &str| part.parse::<i8>().ok().filter(|_| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit()));
    let parsed = text.trim().split_once(':').and_then(|(hour, minute)| Some((two(hour)?, two(minute)?)));
    let time = parsed.and_then(|(hour, minute)| Time::new(hour, minute, 0, 0).ok());
    if time.is_none() {
        report.error(at.mark(), format!("`{text}` is not a time of day")).expected("`\"09:00\"`, from 00:00 to 23:59");
    }
    time
}

/// `mon-fri`, `sat`, `mon, wed`; over the weekend as well: `fri-mon`.
fn days(text: Option<&str>, spot: Spot<'_>, report: &mut Reporter<'_>) -> Option<Vec<Weekday>> {
    let Some(text) = text else { return Some(DAYS.iter().map(|(_, day)| *day).collect()) };
    let words = DAYS.map(|(word, _)| word);
    let mut found = Vec::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').map_or((part, part), |(first, last)| (first.trim(), last.trim()));
        let place = |word: &str| words.iter().position(|known| known.eq_ignore_ascii_case(word));
        let (Some(first_place), Some(last_place)) = (place(first), place(last)) else {
            let wrong = if place(first).is_none() { first } else { last };
            let told = report.error(spot.key("days").mark(), format!("`{wrong}` is not a day of the week"));
            told.expected("days such as `mon-fri`, `sat` or `mon, wed`: mon, tue, wed, thu, fri, sat, sun");
            return None;
        };
        let length = (last_place + 7 - first_place) % 7;
        found.extend((0..=length).map(|offset| DAYS[(first_place + offset) % 7].1));
    }
    Some(found)
}
