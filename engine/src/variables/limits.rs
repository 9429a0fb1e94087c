//! Holds a variable's value against its `max` and `min`: whatever gave it, it is refused beyond.

use crate::{diagnostic::Reporter, document::VariableDoc, yaml::Spot};
use squall_wire::{ByteRate, ByteSize, Span};

/// What a value is an amount of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Number,
    Time,
    Size,
    ByteRate,
    Rate,
}

impl Kind {
    const fn example(self) -> &'static str {
        match self {
            Self::Number => "a number such as `30` or `30%`",
            Self::Time => "a duration such as `800ms`",
            Self::Size => "a size such as `64KiB`",
            Self::ByteRate => "a rate such as `1MB/s`",
            Self::Rate => "so many a second, such as `40/s`",
        }
    }
}

fn amount(text: &str) -> Option<(Kind, f64)> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
    number(text.trim().trim_end_matches('%'))
        .map(|n| (Kind::Number, n))
        .or_else(|| text.parse::<Span>().ok().map(|span| (Kind::Time, span.get().as_secs_f64())))
        .or_else(|| text.parse::<ByteSize>().ok().map(|size| (Kind::Size, size.get() as f64)))
        .or_else(|| text.trim().strip_suffix("/s").and_then(number).map(|n| (Kind::Rate, n)))
        .or_else(|| text.parse::<ByteRate>().ok().map(|rate| (Kind::ByteRate, rate.get() as f64)))
}

/// Whether the value is within the variable's limits; what is wrong is reported.
pub(super) fn check(
    name: &str,
    value: &str,
    secret: bool,
    from: Option<&str>,
    spot: Spot<'_>,
    declared: Option<&VariableDoc>,
    report: &mut Reporter<'_>,
) -> bool {
    let Some(declared) = declared else { return true };
    let limits = [("max", "maximum", declared.max.as_ref()), ("min", "minimum", declared.min.as_ref())];
    let mut within = true;
    for (key, word, limit) in limits {
        let Some(limit) = limit.map(crate::document::Text::as_str) else { continue };
        let Some((kind, bound)) = amount(limit) else {
            report
                .error(spot.key(key).mark(), format!("`{limit}` cannot be a {word}"))
                .expected("a quantity: `3s`, `1MB`, `40/s`, `30%` or a number");
            within = false;
            continue;
        };
        // Where the value stands, or the limit when it came from elsewhere.
        let mut mark = if from.is_some() { spot.key(key).mark() } else { spot.key("default").mark() };
        mark.secret = secret;
        let given = from.map_or(String::new(), |from| format!(", as {from} gives it,"));
        match amount(value) {
            Some((same, number)) if same == kind => {
                let beyond = if key == "max" { number > bound } else { number < bound };
                if beyond {
                    let side = if key == "max" { "over" } else { "under" };
                    report.error(mark, format!("`{name}` is {value}{given} {side} its {word} of {limit}"));
                    within = false;
                }
            }
            _ => {
                report
                    .error(mark, format!("`{name}` is `{value}`{given} which cannot be held against its {word}"))
                    .expected(kind.example());
                within = false;
            }
        }
    }
    within
}
