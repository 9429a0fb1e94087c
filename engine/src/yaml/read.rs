//! Reads a tree into a type and tells every mistake: on an error it takes out what was wrong and reads again, until the
//! rest is right or nothing is left.
//!
//! Invariant: each pass takes out at least one value, and there are at most so many passes.

use super::{
    de::{DeError, NodeDe, Why},
    node::Node,
};
use crate::diagnostic::{MOST, Reporter, one_of};
use serde::de::DeserializeOwned;

/// Told mistakes and those that follow from them.
const MOST_PASSES: usize = 3 * MOST;

/// The tree as a `T`, without what was wrong in it, which is reported and taken out of the tree. `None` when what is
/// left is not a `T`; then something has been reported, too.
pub(crate) fn read<T: DeserializeOwned>(tree: &mut Node, report: &mut Reporter<'_>) -> Option<T> {
    for _ in 0..MOST_PASSES {
        match T::deserialize(NodeDe(tree)) {
            Ok(value) => return Some(value),
            Err(error) => {
                tell(&error, tree, report);
                let path: Vec<usize> = error.path.iter().rev().copied().collect();
                if report.len() > MOST || !tree.prune(&path) {
                    return None;
                }
            }
        }
    }
    None
}

fn tell(error: &DeError, tree: &Node, report: &mut Reporter<'_>) {
    let mark = error.mark.unwrap_or(tree.mark);
    match &error.why {
        Why::Silent => {}
        Why::Custom(message) => {
            report.error(mark, message.as_str());
        }
        Why::Type { expected, found } => {
            let found = found.as_deref().unwrap_or("something else");
            report.error(mark, format!("{found} cannot stand here")).expected(expected.as_str());
        }
        Why::UnknownField { field, known } => {
            let told = report.error(mark, format!("unknown key `{field}`")).nearest(field, known.iter().copied());
            if field.to_lowercase().starts_with("rollback") && known.contains(&"method") {
                told.help("leave it out: whatever a run has injected is taken away again, however it ends");
            }
        }
        Why::UnknownVariant { variant, known } => {
            let told = report.error(mark, format!("unknown word `{variant}`"));
            told.nearest(variant, known.iter().copied()).expected(one_of(known));
        }
        Why::MissingField(field) => {
            report.error(mark, format!("`{field}` is missing here")).help(format!("write `{field}: …`"));
        }
    }
}
