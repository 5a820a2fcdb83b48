//! Which language the visitor reads, of the few in which a refusal has a page.

use http::HeaderValue;

use super::weight::weight;

/// Ranges looked at; browsers send a handful.
const RANGES_MAX: usize = 16;

/// A language in which a refusal has a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Language {
    /// English, also for whoever asks for none of these.
    #[default]
    English,
    /// German.
    German,
    /// Spanish.
    Spanish,
    /// French.
    French,
    /// Italian.
    Italian,
    /// Dutch.
    Dutch,
    /// Portuguese.
    Portuguese,
}

impl Language {
    /// Every language.
    pub const ALL: [Self; 7] = [
        Self::English,
        Self::German,
        Self::Spanish,
        Self::French,
        Self::Italian,
        Self::Dutch,
        Self::Portuguese,
    ];

    /// Returns the tag (BCP 47).
    #[must_use]
    pub const fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
            Self::Spanish => "es",
            Self::French => "fr",
            Self::Italian => "it",
            Self::Dutch => "nl",
            Self::Portuguese => "pt",
        }
    }

    /// Reads `Accept-Language` (RFC 9110, 12.5.4). A browser's first range has no weight and
    /// is what its user wants, so the rest is hardly ever looked at.
    #[inline]
    pub(crate) fn of(header: &HeaderValue) -> Self {
        let bytes = header.as_bytes();
        let first = bytes.get(..2).and_then(Self::known);
        match (first, bytes.get(2)) {
            (Some(language), None | Some(b',')) => language,
            _ => Self::weighed(bytes),
        }
    }

    /// The one with the most weight; of equals the first.
    #[cold]
    fn weighed(header: &[u8]) -> Self {
        let mut best = (0, Self::default());
        for range in header.split(|byte| *byte == b',').take(RANGES_MAX) {
            let mut parts = range.split(|byte| *byte == b';');
            let tag = parts.next().unwrap_or_default().trim_ascii();
            let primary = tag.split(|byte| *byte == b'-').next().unwrap_or_default();
            let Some(language) = Self::known(primary) else {
                continue;
            };
            let weight = parts
                .filter_map(|parameter| std::str::from_utf8(parameter).ok())
                .find_map(weight)
                .unwrap_or(1000);
            if weight > best.0 {
                best = (weight, language);
            }
        }
        best.1
    }

    fn known(tag: &[u8]) -> Option<Self> {
        let is = |it: &Self| it.tag().as_bytes().eq_ignore_ascii_case(tag);
        Self::ALL.into_iter().find(is)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_visitor_reads_what_the_browser_says() {
        for (header, expected) in [
            ("de", Language::German),
            ("DE-at,de;q=0.9,en;q=0.8", Language::German),
            ("fr,en", Language::French),
            ("sv-SE,sv;q=0.9,nl;q=0.8,en;q=0.7", Language::Dutch),
            ("en;q=0.1, it;q=0.9", Language::Italian),
            ("de;q=0", Language::English),
            ("deu,gsw", Language::English),
            ("*", Language::English),
            ("", Language::English),
            ("pt-BR", Language::Portuguese),
            ("es;q=x", Language::Spanish),
        ] {
            let value = HeaderValue::from_static(header);
            assert_eq!(Language::of(&value), expected, "{header}");
        }
    }

    proptest! {
        #[test]
        fn any_header_is_taken(bytes in proptest::collection::vec(32_u8..=255, 0..200)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let _ = Language::of(&value);
            }
        }
    }
}
