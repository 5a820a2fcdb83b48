//! Takes the life out of a text that a stranger wrote, so that a terminal, a log or a page
//! shows what it says and does nothing else.

use std::borrow::Cow;

/// Returns the text with each character that acts instead of showing (an escape sequence's
/// first byte, a line end, NUL, a mark that turns the direction of writing or has no width)
/// replaced by U+FFFD. What HTML or JSON give a meaning to is theirs to escape.
///
/// ```
/// use steadfast_core::plumbing::inert;
///
/// assert_eq!(inert("/orders/7"), "/orders/7");
/// assert_eq!(inert("a\u{1b}[31mb\u{202e}c"), "a\u{fffd}[31mb\u{fffd}c");
/// ```
#[must_use]
pub fn inert(text: &str) -> Cow<'_, str> {
    if !text.chars().any(deceives) {
        return Cow::Borrowed(text);
    }
    let shown = |c| match deceives(c) {
        true => char::REPLACEMENT_CHARACTER,
        false => c,
    };
    Cow::Owned(text.chars().map(shown).collect())
}

/// Whether a character acts instead of showing: controls, marks of the bidirectional
/// algorithm (UAX 9), those of no width, and the line ends of Unicode.
pub(super) fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::redact;
    use proptest::prelude::*;

    #[test]
    fn what_is_plain_is_not_copied() {
        for text in ["", "/products", "naïve – ünï", "שלום", "日本"] {
            assert!(matches!(inert(text), Cow::Borrowed(_)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_acts_is_left(text in any::<String>()) {
            prop_assert!(!inert(&text).chars().any(deceives));
            prop_assert!(!redact(&text).chars().any(deceives));
        }
    }

    #[test]
    fn a_mark_inside_a_word_is_taken_out_of_an_error() {
        for text in ["pay\u{202e}gpj.exe", "a\u{200b}b=c", "\u{feff}x"] {
            assert!(!redact(text).chars().any(deceives), "{text:?}");
        }
    }
}
