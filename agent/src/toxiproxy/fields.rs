//! An object's fields, matched as Go's decoder matches them: exactly, or else without regard to letter case.
//!
//! Neighbours: `proxy.rs` and `toxic.rs` take theirs from it, `kind.rs` a toxic's attributes.
//! Invariant: a field that nobody takes is passed over, whatever it holds.

use serde::Deserialize;
use serde_json::{Map, Value};

/// What came as one object.
pub(super) struct Fields(pub(super) Map<String, Value>);

impl Fields {
    /// The field of this name, if it is there and not null.
    pub(super) fn take<'a, T: Deserialize<'a>>(&'a self, name: &str) -> Result<Option<T>, String> {
        match named(&self.0, name) {
            None => Ok(None),
            Some(value) => Option::deserialize(value).map_err(|error| format!("{name}: {error}")),
        }
    }
}

/// The value of this name: an exact match wins.
pub(super) fn named<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let alike = || object.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    object.get(name).or_else(alike)
}

#[cfg(test)]
mod tests {
    use super::{Fields, named};
    use serde_json::{Value, json};

    fn fields(value: Value) -> Fields {
        Fields(serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_field_is_found_in_any_letter_case_and_its_own_is_preferred() {
        let found = fields(json!({"NAME": "a", "name": "b", "Upstream": "c", "Nothing": null}));
        assert_eq!(found.take("name"), Ok(Some("b".to_owned())));
        assert_eq!(found.take("upstream"), Ok(Some("c".to_owned())));
        assert_eq!((found.take::<bool>("nothing"), found.take::<bool>("listen")), (Ok(None), Ok(None)));
        assert_eq!(named(&found.0, "UPSTREAM"), Some(&json!("c")));
    }

    #[test]
    fn a_wrong_type_is_told_with_its_field() {
        let told = fields(json!({"Enabled": "yes"})).take::<bool>("enabled").unwrap_err();
        assert_eq!(told, "enabled: invalid type: string \"yes\", expected a boolean");
    }
}
