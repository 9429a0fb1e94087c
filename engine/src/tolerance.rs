//! The tolerance language: `< 1500ms`, `between 1 and 5`, `within 20% of baseline or < 50ms`, `matches /re/`.

/// A parsed tolerance, which prints as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Tolerance {
    source: String,
}

impl std::fmt::Display for Tolerance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)
    }
}
