//! Passwords in URLs, as they stand in a line that is shown: each letter becomes a star, so that what is beside it keeps its place.
//!
//! Secrets that are known are redacted by `Secrets`; this is for a line of a file that is shown because there is a mistake in it,
//! whatever the URL is for. Neighbour: `diagnostic` shows lines.

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
