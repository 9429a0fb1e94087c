//! Another text for a section of an experiment file: what `squall matrix` runs in place of the file's own method. Pure.
//!
//! The text is changed and not the experiment, so that every rule of the language holds for what is run, and journal and
//! report have a file that can be run again.
//! Neighbour: `yaml` knows where each section stands. Invariant: everything outside the section stays as it was.

use crate::{diagnostic::Reporter, yaml};

/// Why a section cannot be replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RewriteError {
    /// The text is no experiment at all.
    #[error("the file is not readable as YAML")]
    Unreadable,
    /// It is one map on one line, say.
    #[error(
        "`{0}` does not begin a line of the file: write each section at the start of a line, as `squall init` does"
    )]
    NotInBlocks(String),
}

/// The text with this top-level section replaced, or added at the end when it is not there. `block` is the section with
/// its key.
///
/// # Errors
/// When the text is no map of sections, each on lines of its own.
pub fn replace(text: &str, key: &str, block: &str) -> Result<String, RewriteError> {
    let mut report = Reporter::new(text);
    let tree = yaml::parse(text, "an experiment", &mut report).ok_or(RewriteError::Unreadable)?;
    if tree.entries().is_empty() {
        return Err(RewriteError::Unreadable);
    }
    let mut starts: Vec<(usize, &str)> =
        tree.entries().iter().map(|entry| (entry.key_mark.start, entry.key.as_str())).collect();
    starts.sort_unstable();
    for (start, name) in &starts {
        if *start > 0 && !text[..*start].ends_with('\n') {
            return Err(RewriteError::NotInBlocks((*name).to_owned()));
        }
    }
    let block = format!("{}\n", block.trim_end());
    let Some(place) = starts.iter().position(|(_, name)| *name == key) else {
        let newline = if text.ends_with('\n') { "" } else { "\n" };
        return Ok(format!("{text}{newline}{block}"));
    };
    let from = starts[place].0;
    // Comments and empty lines in front of the next section belong to it.
    let mut to = starts.get(place + 1).map_or(text.len(), |(start, _)| *start);
    let between = |line: &str| line.trim().is_empty() || line.starts_with('#');
    while let Some(line) = text[from..to].trim_end_matches('\n').rsplit('\n').next().filter(|line| between(line)) {
        let start = text[from..to].trim_end_matches('\n').len() - line.len();
        to = from + start;
    }
    let gap = if to < text.len() && text[..to].ends_with("\n\n") { "\n" } else { "" };
    Ok(format!("{}{block}{gap}{}", &text[..from], &text[to..]))
}

#[cfg(test)]
mod tests {
    use super::{RewriteError, replace};

    const FILE: &str = "# what it is about\nversion: 1\nmethod:\n# of the method\n- inject: {a: b}\n  for: 1s # c\n- wait: 2s\n\n# where\nblast_radius:\n  proxies: [a]\n";

    #[test]
    fn a_section_is_replaced_and_all_else_stays() {
        assert_eq!(
            replace(FILE, "method", "method:\n  - wait: 1s").unwrap(),
            "# what it is about\nversion: 1\nmethod:\n  - wait: 1s\n\n# where\nblast_radius:\n  proxies: [a]\n"
        );
        assert_eq!(replace(FILE, "version", "version: 2").unwrap(), FILE.replace("version: 1", "version: 2"));
        assert!(replace(FILE, "blast_radius", "blast_radius: {}").unwrap().ends_with("\n# where\nblast_radius: {}\n"));
        assert_eq!(replace("a: 1", "b", "b: 2\n").unwrap(), "a: 1\nb: 2\n");
    }

    #[test]
    fn what_has_no_sections_of_its_own_lines_is_told() {
        assert_eq!(
            replace("{version: 1, method: []}", "method", "x"),
            Err(RewriteError::NotInBlocks("version".into()))
        );
        assert_eq!(replace("- a", "method", "x"), Err(RewriteError::Unreadable));
        assert_eq!(replace("", "method", "x"), Err(RewriteError::Unreadable));
    }

    proptest::proptest! {
        #[test]
        fn any_text_ends_in_a_text_or_an_error(text in "[a-c:#\\- \\n\\[\\]{}é]{0,60}") {
            let _ = replace(&text, "a", "a: 1");
        }
    }
}
