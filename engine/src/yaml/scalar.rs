//! What a plain word means: YAML 1.2's core schema, strictly. `yes`, `no`, `on` and `off` are words, not truth values.

use super::Value;

/// A scalar's meaning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning<'a> {
    Nothing,
    Bool(bool),
    Unsigned(u64),
    Signed(i64),
    Float(f64),
    Text(&'a str),
}

pub(super) fn is_nothing(text: &str, plain: bool) -> bool {
    plain && matches!(text, "" | "~" | "null" | "Null" | "NULL")
}

pub(super) fn meaning(value: &Value) -> Option<Meaning<'_>> {
    match value {
        Value::Scalar { text, plain: false } => Some(Meaning::Text(text)),
        Value::Scalar { text, plain: true } => Some(plain(text)),
        _ => None,
    }
}

fn plain(text: &str) -> Meaning<'_> {
    match text {
        _ if is_nothing(text, true) => Meaning::Nothing,
        "true" | "True" | "TRUE" => Meaning::Bool(true),
        "false" | "False" | "FALSE" => Meaning::Bool(false),
        _ => number(text).unwrap_or(Meaning::Text(text)),
    }
}

fn number(text: &str) -> Option<Meaning<'_>> {
    if !text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.')) {
        return None;
    }
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Meaning::Unsigned);
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.starts_with(|c: char| c.is_ascii_digit()) && digits.bytes().all(|b| b.is_ascii_digit()) {
        if let Ok(number) = text.trim_start_matches('+').parse() {
            return Some(Meaning::Unsigned(number));
        }
        if let Ok(number) = text.parse() {
            return Some(Meaning::Signed(number));
        }
    }
    let numeric = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    let float = text.parse::<f64>().ok().filter(|float| float.is_finite())?;
    numeric.then_some(Meaning::Float(float))
}

#[cfg(test)]
mod tests {
    use super::{Meaning, plain};

    #[test]
    fn plain_words_mean_what_yaml_1_2_says() {
        let table = [
            ("", Meaning::Nothing),
            ("~", Meaning::Nothing),
            ("true", Meaning::Bool(true)),
            ("yes", Meaning::Text("yes")),
            ("off", Meaning::Text("off")),
            ("7", Meaning::Unsigned(7)),
            ("-7", Meaning::Signed(-7)),
            ("0x1F", Meaning::Unsigned(31)),
            ("0.5", Meaning::Float(0.5)),
            ("-1e3", Meaning::Float(-1000.0)),
            ("1e999", Meaning::Text("1e999")),
            ("800ms", Meaning::Text("800ms")),
            ("1.2.3", Meaning::Text("1.2.3")),
            ("-", Meaning::Text("-")),
            (".inf", Meaning::Text(".inf")),
            ("nan", Meaning::Text("nan")),
        ];
        for (text, meaning) in table {
            assert_eq!(plain(text), meaning, "{text}");
        }
    }
}
