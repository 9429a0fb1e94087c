//! Texts with a form of their own: words, URLs, headers, selectors.

use crate::experiment::Selector;

/// 1 to 64 small letters, digits and `-`, the first no `-`: fit for file names and lists.
pub(super) fn is_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    (1..=64).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('-')
}

/// 1 to 64 letters, digits, `-` and `_`: fit for the name of a series.
pub(super) fn is_series_word(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (1..=64).contains(&text.len()) && text.chars().all(allowed) && !text.starts_with('-')
}

/// An absolute `http` or `https` URL with a host.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn url(text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("`{text}` is not a URL that can be asked: {why}"));
    match url::Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => wrong("it must begin with `http://` or `https://`"),
        Ok(url) if url.host().is_none() => wrong("the host is missing"),
        Ok(_) => Ok(()),
        Err(url::ParseError::RelativeUrlWithoutBase) => wrong("write it whole, such as `http://127.0.0.1:8080/health`"),
        Err(error) => wrong(&error.to_string()),
    }
}

/// `HOST:PORT`: a name or an address, an IPv6 address in brackets.
///
/// # Errors
/// What is wrong with it.
pub(super) fn address(text: &str) -> Result<(), String> {
    let wrong = |why: &str| Err(format!("`{text}` is not an address that can be connected to: {why}"));
    if text.contains("://") {
        return wrong("it has no `http://` or the like in front");
    }
    let Some((host, port)) = text.rsplit_once(':') else { return wrong("the port is missing") };
    if !matches!(port.parse::<u16>(), Ok(1..)) || port.starts_with('+') {
        return wrong("the port is a number from 1 to 65535");
    }
    match url::Host::parse(host) {
        Ok(_) => Ok(()),
        Err(_) if host.is_empty() => wrong("the host is missing"),
        Err(_) if host.contains(':') => wrong("an IPv6 address stands in brackets, as in `[::1]:5432`"),
        Err(error) => wrong(&error.to_string()),
    }
}

/// A variable's name and value as a program can be given them.
pub(super) fn variable(name: &str, value: &str) -> Result<(), String> {
    if name.is_empty() || name.contains(['=', '\0']) {
        return Err(format!("`{name}` cannot be a variable's name"));
    }
    if value.contains('\0') {
        return Err(format!("the value of `{name}` holds a zero byte"));
    }
    Ok(())
}

/// A URL in which `{{ … }}` stand: each counts as a digit, which fits wherever a value may stand.
pub(super) fn template_url(text: &str) -> Result<(), String> {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        plain.push_str(before);
        plain.push('0');
        rest = after.split_once("}}").map_or("", |(_, after)| after);
    }
    plain.push_str(rest);
    url(&plain).map_err(|message| message.replacen(&plain, text, 1))
}

/// A header's name and value as HTTP allows them.
pub(super) fn header(name: &str, value: &str) -> Result<(), String> {
    let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    if name.is_empty() || !name.chars().all(token) {
        return Err(format!("`{name}` cannot be a header's name"));
    }
    if value.contains(|c: char| c.is_control() && c != '\t') {
        return Err(format!("the value of `{name}` holds a line break or another control character"));
    }
    Ok(())
}

/// `name` or `name{label="value",…}`, with the escapes `\\`, `\"` and `\n` in values.
pub(super) fn selector(text: &str) -> Result<Selector, String> {
    let wrong = |why: &str| format!("`{text}` does not select a series: {why}");
    let text_trimmed = text.trim();
    let (name, labels) = match text_trimmed.split_once('{') {
        None => (text_trimmed, ""),
        Some((name, rest)) => {
            let inner = rest.strip_suffix('}').ok_or_else(|| wrong("`{` is never closed"))?;
            (name.trim_end(), inner)
        }
    };
    if !is_metric_name(name, true) {
        return Err(wrong("it begins with a metric's name, such as `http_requests_total`"));
    }
    let mut found = Vec::new();
    let mut rest = labels.trim();
    while !rest.is_empty() {
        let form = || wrong("labels are written `label=\"value\"`, with commas between them");
        let (label, after) = rest.split_once('=').ok_or_else(form)?;
        if after.starts_with('~') || label.ends_with('!') {
            return Err(wrong("labels can only be compared by `=`"));
        }
        if !is_metric_name(label.trim(), false) {
            return Err(form());
        }
        let (value, after) = quoted(after.trim_start()).ok_or_else(form)?;
        found.push((label.trim().to_owned(), value));
        let after = after.trim_start();
        rest = match after.strip_prefix(',') {
            Some(next) => next.trim_start(),
            None if after.is_empty() => "",
            None => return Err(form()),
        };
    }
    Ok(Selector { name: name.to_owned(), labels: found })
}

fn is_metric_name(text: &str, colons: bool) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || (colons && c == ':');
    !text.is_empty() && text.chars().all(allowed) && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// The text in quotes at the start, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let inner = text.strip_prefix('"')?;
    let mut value = String::new();
    let mut letters = inner.char_indices();
    while let Some((at, c)) = letters.next() {
        match c {
            '"' => return Some((value, &inner[at + 1..])),
            '\\' => match letters.next()?.1 {
                'n' => value.push('\n'),
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{address, header, selector, template_url, url};

    #[test]
    fn urls_are_whole_and_of_http() {
        for text in ["http://127.0.0.1:8080/health", "https://shop/x?a=b", "http://[::1]:1/"] {
            assert_eq!(url(text), Ok(()), "{text}");
        }
        for text in
            ["", "/health", "shop/health", "ftp://shop/", "http://", "http://a b/", "127.0.0.1:80", "http://h:99999/"]
        {
            assert!(url(text).is_err(), "{text}");
        }
        assert_eq!(template_url("http://shop/products/{{ random(1, 500) }}?x={{ uuid() }}"), Ok(()));
        assert!(template_url("{{ uuid() }}/x").is_err());
    }

    #[test]
    fn addresses_are_a_host_and_a_port() {
        for text in ["127.0.0.1:5432", "db.internal:1", "[::1]:65535", "localhost:80"] {
            assert_eq!(address(text), Ok(()), "{text}");
        }
        let wrong = ["", "db", "db:", ":80", "db:0", "db:65536", "db:+80", "::1:80", "a b:80", "http://db:80", "db:x"];
        for text in wrong {
            assert!(address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn selectors_are_a_name_and_labels() {
        let found = selector(r#"circuit_breaker_state{service="payment", path="a\"b\\,}"}"#).unwrap();
        assert_eq!(found.name, "circuit_breaker_state");
        assert_eq!(found.labels, [("service".into(), "payment".into()), ("path".into(), "a\"b\\,}".into())]);
        assert!(selector("up").unwrap().labels.is_empty() && selector("a:b{}").unwrap().labels.is_empty());
        assert_eq!(selector(r#"up{a="1",}"#).unwrap().labels.len(), 1);
        for text in
            ["", "{a=\"1\"}", "up{", "up{a}", "up{a=1}", "up{a=\"1}", "up{a=\"1\" b=\"2\"}", "up{a=~\"x\"}", "1up"]
        {
            assert!(selector(text).is_err(), "{text}");
        }
    }

    #[test]
    fn headers_keep_to_one_line() {
        assert!(header("X-Request-Id", "a b").is_ok());
        assert!(header("X Request", "a").is_err() && header("", "a").is_err() && header("X", "a\r\nY: b").is_err());
    }
}
