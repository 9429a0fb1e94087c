//! "Did you mean …?": the known word nearest to a misspelt one.
//!
//! Used wherever a user's word is matched against a fixed list: keys, kinds, names, commands.
//! Invariant: a suggestion is always one of the known words, and never a far-fetched one.

/// The word of `known` that `word` most likely meant, if one is near enough: at most a third of its letters
/// differ, a transposition counting as one.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &candidate.to_lowercase()), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(word.chars().count()).div_ceil(3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_misspelt_word_finds_its_neighbour() {
        assert_eq!(nearest("latncy", ["bandwidth", "latency"]), Some("latency"));
    }

    #[test]
    fn a_word_that_is_near_nothing_gets_no_suggestion() {
        assert_eq!(nearest("elephant", ["latency", "reset"]), None);
    }
}
