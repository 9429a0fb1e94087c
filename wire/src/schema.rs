//! The JSON Schemas of what is in this crate, as experiments and as requests have them.
//!
//! In an experiment a variable may stand wherever a text is wanted, so the patterns of quantities and names leave room
//! for `${...}`. An agent knows no variables. Neighbours: `quantity` and `name` write the patterns, `squall-agent`
//! describes its API with [`literal`] ones, `squall-engine` its language with those that leave room.
//!
//! Invariant: a pattern that is [`literal`] takes no text that the type refuses for its form.

use schemars::{Schema, transform::transform_subschemas};

/// What a pattern leaves room for beside the value itself.
const OR_VARIABLE: &str = crate::or_variable!();

/// The end of a pattern that leaves room for a variable; a macro, so that patterns can be put together of it.
#[doc(hidden)]
#[macro_export]
macro_rules! or_variable {
    () => {
        "|.*\\$\\{.+\\}.*"
    };
}

/// Takes the room for variables out of every pattern of a schema.
pub fn literal(schema: &mut Schema) {
    if let Some(serde_json::Value::String(pattern)) = schema.get_mut("pattern") {
        *pattern = pattern.replace(OR_VARIABLE, "");
    }
    transform_subschemas(&mut literal, schema);
}

#[cfg(test)]
mod tests {
    use super::literal;
    use crate::{ByteRate, ByteSize, Percent, ProxyName, Span, SpanOrForever};
    use schemars::{JsonSchema, schema_for};
    use serde::de::DeserializeOwned;

    fn pattern<T: JsonSchema>() -> String {
        let mut schema = schema_for!(T);
        literal(&mut schema);
        schema.get("pattern").and_then(|value| value.as_str()).unwrap().to_owned()
    }

    fn agree<T: JsonSchema + DeserializeOwned>(good: &[&str], bad: &[&str]) {
        let pattern = regex::Regex::new(&pattern::<T>()).unwrap();
        for text in good {
            assert!(pattern.is_match(text), "{pattern} should take `{text}`");
            assert!(serde_json::from_value::<T>((*text).into()).is_ok(), "`{text}`");
        }
        for text in bad {
            assert!(!pattern.is_match(text), "{pattern} should not take `{text}`");
            assert!(serde_json::from_value::<T>((*text).into()).is_err(), "`{text}`");
        }
    }

    #[test]
    fn patterns_take_what_the_types_take_and_no_variables() {
        agree::<Span>(&["800ms", "1.5 s", "1m30s", ".5h", "1_000us"], &["", "5", "ms", "1..5s", "${delay}", "forever"]);
        agree::<SpanOrForever>(&["forever", "2s"], &["ever", "${x}"]);
        agree::<ByteSize>(&["64KiB", "1.5 MB", "0B"], &["64", "KiB", ".B", "${size}"]);
        agree::<ByteRate>(&["1MB/s", "10 KB/s"], &["1MB", "/s", "${rate}"]);
        agree::<Percent>(&["30", "0.5", "30%", "7 %"], &["", "%", ".", "-1", "${share}"]);
        agree::<ProxyName>(&["a", "db-1.b_c"], &["", "-a", "a b", "${proxy}"]);
    }

    #[test]
    fn an_experiment_may_have_a_variable_there() {
        let schema = schema_for!(Span);
        let with_room = regex::Regex::new(schema.get("pattern").unwrap().as_str().unwrap()).unwrap();
        assert!(with_room.is_match("${delay}") && with_room.is_match("800ms"));
    }
}
