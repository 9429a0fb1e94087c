//! Passwords in URLs, as they stand in a line that is shown: each letter becomes a star, so that what is beside it keeps its place.
//!
//! Secrets that are known are redacted by `Secrets`, and a password in a URL is made one here; `veil` is for a line of a file that is
//! shown because there is a mistake in it, whatever the URL is for. Neighbour: `diagnostic` shows lines.

use crate::experiment::Secrets;
use regex::Regex;
use std::{borrow::Cow, sync::LazyLock};

/// `scheme://user:PASSWORD@`, and `?password=PASSWORD`.
#[expect(clippy::expect_used, reason = "the pattern is a constant, and a test uses it")]
static PASSWORD: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"(?i)(://[^\s/:@'"]*:|[?&]password=)([^\s'"&]+)(@)|([?&]password=)([^\s'"&]+)"#)
        .expect("a constant pattern")
});

/// The text without the passwords in its URLs.
pub(crate) fn veil(text: &str) -> Cow<'_, str> {
    PASSWORD.replace_all(text, |found: &regex::Captures<'_>| {
        let part = |index| found.get(index).map_or("", |part| part.as_str());
        let stars = |text: &str| "*".repeat(text.chars().count());
        format!("{}{}{}{}{}", part(1), stars(part(2)), part(3), part(4), stars(part(5)))
    })
}

impl Secrets {
    /// Keeps a URL secret that holds a password, and the password by itself: as written, and with its `%` signs undone.
    pub fn add_url(&mut self, url: &str) {
        let user =
            url.split_once("://").and_then(|(_, rest)| Some(rest.split(['/', '?', '#']).next()?.rsplit_once('@')?.0));
        let named =
            url.split_once('?').map_or("", |(_, query)| query).split('&').filter_map(|pair| pair.split_once('='));
        let named = named.filter(|(name, _)| name.eq_ignore_ascii_case("password")).map(|(_, value)| value);
        let passwords: Vec<&str> =
            user.and_then(|user| Some(user.split_once(':')?.1)).into_iter().chain(named).collect();
        for password in passwords.into_iter().filter(|password| !password.is_empty()) {
            let plain: String = url::form_urlencoded::parse(format!("p={}", password.replace('+', "%2B")).as_bytes())
                .next()
                .map_or_else(String::new, |(_, value)| value.into_owned());
            self.add(url);
            self.add(password);
            self.add(&plain);
            // One that is too short to be replaced wherever it stands still is where a URL has it.
            self.add(&format!(":{password}@"));
            self.add(&format!("password={password}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::veil;

    #[test]
    fn passwords_become_stars_and_nothing_else_changes() {
        let cases = [
            ("url: 'postgres://u:pä55@h/db'", "url: 'postgres://u:****@h/db'"),
            ("postgres://:a@b@h?password=x&c=1", "postgres://:***@h?password=*&c=1"),
            ("http://h:8080/x?a=b me@example.org", "http://h:8080/x?a=b me@example.org"),
            ("{{ https://u@h/ }} password=x", "{{ https://u@h/ }} password=x"),
        ];
        for (text, shown) in cases {
            assert_eq!(veil(text), shown);
        }
    }
}
