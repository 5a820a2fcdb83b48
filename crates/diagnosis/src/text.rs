//! The values that evidence is made of where a number with a type is not enough.

use std::fmt;

/// Longest text that evidence keeps, in bytes: a log line that names host, port and error
/// fits, and a thousand of them are half a megabyte.
pub const TEXT_LEN_MAX: usize = 400;

/// A text that a stranger may have written, made harmless: without secrets, control
/// characters and marks that turn the direction of writing, and cut to [`TEXT_LEN_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "String", into = "String"))]
pub struct Text(Box<str>);

impl Text {
    /// Makes a text harmless.
    ///
    /// ```
    /// use steadfast_diagnosis::Text;
    ///
    /// let line = Text::new("postgres://app:hunter2@db/shop \u{1b}[31mrefused\u{202e}\n");
    /// assert!(line.as_str().starts_with("postgres://***@db/shop [31mrefused"));
    /// assert!(!line.as_str().contains(['\u{1b}', '\u{202e}', '\n']));
    /// ```
    #[must_use]
    pub fn new(text: &str) -> Self {
        // What is cut away later need not be looked at, and a log line may be 100 MB long.
        let text = cut(text, 4 * TEXT_LEN_MAX);
        let safe: String = steadfast_core::plumbing::redact(text)
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .filter(|c| !turns_direction(*c))
            .collect();
        let words: Vec<_> = safe.split_whitespace().collect();
        Self(cut(&words.join(" "), TEXT_LEN_MAX).into())
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A text behind what parts it from the one before; nothing if there is no text.
pub(crate) struct Then<'a>(pub(crate) &'static str, pub(crate) &'a Text);

impl fmt::Display for Then<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.1.as_str() {
            "" => Ok(()),
            text => write!(f, "{}{text}", self.0),
        }
    }
}

fn cut(text: &str, max: usize) -> &str {
    if text.len() <= max {
        return text;
    }
    let mut end = max;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Marks of the bidirectional algorithm, of no width, and what ends a line in some viewers.
const fn turns_direction(c: char) -> bool {
    matches!(
        c,
        '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
    )
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self::new(text)
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self::new(&text)
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0.into()
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A share of something, 1.0 is all of it. May exceed 1; what is no number is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(from = "f64", into = "f64"))]
pub struct Ratio(f64);

impl Ratio {
    /// Takes a share.
    #[must_use]
    pub const fn new(ratio: f64) -> Self {
        Self(if ratio.is_finite() && ratio > 0.0 {
            ratio
        } else {
            0.0
        })
    }

    /// Divides; nothing of nothing is nothing.
    ///
    /// ```
    /// use steadfast_diagnosis::Ratio;
    ///
    /// assert_eq!(Ratio::of(1, 4).to_string(), "25 %");
    /// assert_eq!(Ratio::of(3, 0).get(), 0.0);
    /// ```
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a share for people")]
    pub fn of(part: u64, whole: u64) -> Self {
        Self::new(part as f64 / whole as f64)
    }

    /// Returns the share.
    #[must_use]
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl From<f64> for Ratio {
    fn from(ratio: f64) -> Self {
        Self::new(ratio)
    }
}

impl From<Ratio> for f64 {
    fn from(ratio: Ratio) -> Self {
        ratio.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.0 * 100.0;
        if percent != 0.0 && percent < 1.0 {
            write!(f, "{percent:.1} %")
        } else {
            write!(f, "{percent:.0} %")
        }
    }
}

/// Writes a time as people do: `20 ms`, `1.5 s`, `4 min`, `3 h`, `2 d`.
///
/// ```
/// use std::time::Duration;
/// use steadfast_diagnosis::Lasting;
///
/// assert_eq!(Lasting(Duration::from_millis(1500)).to_string(), "1.5 s");
/// assert_eq!(Lasting(Duration::from_secs(240)).to_string(), "4 min");
/// ```
///
/// Complete: it is one number and how it is written.
#[derive(Clone, Copy, Debug)]
pub struct Lasting(pub std::time::Duration);

impl fmt::Display for Lasting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs_f64();
        match seconds {
            s if s < 0.0095 => write!(f, "{:.1} ms", s * 1e3),
            s if s < 0.9995 => write!(f, "{:.0} ms", s * 1e3),
            s if s < 9.95 => write!(f, "{s:.1} s"),
            s if s < 119.5 => write!(f, "{s:.0} s"),
            s if s < 7_170.0 => write!(f, "{:.0} min", s / 60.0),
            s if s < 172_000.0 => write!(f, "{:.0} h", s / 3_600.0),
            s => write!(f, "{:.0} d", s / 86_400.0),
        }
    }
}

/// A number of bytes, written as people do: `512 B`, `20 KiB`, `1.5 GiB`.
///
/// Complete: it is one number and how it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0 as f64;
        for unit in ["B", "KiB", "MiB", "GiB"] {
            if left < 1024.0 {
                let digits = usize::from(left < 10.0 && unit != "B");
                return write!(f, "{left:.digits$} {unit}");
            }
            left /= 1024.0;
        }
        write!(f, "{left:.1} TiB")
    }
}
