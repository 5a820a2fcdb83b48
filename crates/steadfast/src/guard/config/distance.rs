//! Finds the word that somebody probably meant.

/// Returns the known word that is nearest, if it is near: a third of its letters may
/// differ, which takes a swapped pair in a short word and a missing part of a long one.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Counts the letters to insert, remove or replace (Levenshtein).
fn distance(left: &str, right: &str) -> usize {
    // A much longer word is not near, and is not worth the time.
    if left.len() > 2 * right.len() + 1 {
        return left.len();
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.bytes().enumerate() {
            let replaced = diagonal + usize::from(!a.eq_ignore_ascii_case(&b));
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_understood_and_another_word_is_not() {
        let known = ["limit", "mode", "held_max", "retry_after_max"];
        for (word, meant) in [
            ("limt", Some("limit")),
            ("limits", Some("limit")),
            ("Mode", Some("mode")),
            ("held-max", Some("held_max")),
            ("retry_max", None),
            ("retry_aftermax", Some("retry_after_max")),
            ("timeout", None),
            ("", None),
            ("é", None),
        ] {
            assert_eq!(nearest(word, known.into_iter()), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(1 << 20), known.into_iter()), None);
    }
}
