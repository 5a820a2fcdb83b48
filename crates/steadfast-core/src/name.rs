//! Names of dependencies, gates and checks: short, bounded and safe in a header,
//! a URL, a metric label and an environment variable.

use std::{fmt, sync::Arc};

/// Longest name, in bytes. A metric label and a log field stay readable at this length.
pub const NAME_LEN_MAX: usize = 63;

/// A checked name: 1 to 63 of `a-z 0-9 . _ -`, starting with a letter or digit.
///
/// ```
/// use steadfast_core::Name;
///
/// let name = Name::new("orders-db")?;
/// assert_eq!(name.as_str(), "orders-db");
/// assert_eq!(name.env_key(), "ORDERS_DB");
/// assert!(Name::new("Orders DB").is_err());
/// # Ok::<(), steadfast_core::plumbing::NameError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Repr);

#[derive(Clone)]
enum Repr {
    Static(&'static str),
    Shared(Arc<str>),
}

impl Name {
    /// Checks and keeps a name.
    ///
    /// # Errors
    /// The name is empty, longer than [`NAME_LEN_MAX`] bytes, or has a byte outside
    /// `a-z 0-9 . _ -`, or does not start with a letter or digit.
    pub fn new(name: impl AsRef<str>) -> Result<Self, NameError> {
        let name = name.as_ref();
        check(name).map_err(|fault| NameError {
            name: clip(name),
            fault,
        })?;
        Ok(Self(Repr::Shared(name.into())))
    }

    /// Keeps one of this project's own names; wrong ones fail to compile when used in a const.
    ///
    /// # Panics
    /// Panics where [`Name::new`] would err.
    #[must_use]
    pub const fn from_static(name: &'static str) -> Self {
        assert!(check(name).is_ok(), "not a name");
        Self(Repr::Static(name))
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Returns the name as it is spelt in environment variables: upper case, with `_`
    /// for `-` and `.`.
    #[must_use]
    pub fn env_key(&self) -> String {
        self.as_str().to_ascii_uppercase().replace(['-', '.'], "_")
    }
}

const fn check(name: &str) -> Result<(), &'static str> {
    let bytes = name.as_bytes();
    if bytes.is_empty() {
        return Err("is empty");
    }
    if bytes.len() > NAME_LEN_MAX {
        return Err("is longer than 63 bytes");
    }
    if !bytes[0].is_ascii_lowercase() && !bytes[0].is_ascii_digit() {
        return Err("does not start with a-z or 0-9");
    }
    let mut at = 0;
    while at < bytes.len() {
        if !matches!(bytes[at], b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-') {
            return Err("has a character outside a-z 0-9 . _ -");
        }
        at += 1;
    }
    Ok(())
}

fn clip(name: &str) -> String {
    name.chars().take(NAME_LEN_MAX + 1).collect()
}

impl PartialEq for Repr {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Repr {}

impl std::hash::Hash for Repr {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for Repr {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Repr {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Repr {
    fn as_str(&self) -> &str {
        match self {
            Self::Static(name) => name,
            Self::Shared(name) => name,
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Says what is wrong with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError {
    name: String,
    fault: &'static str,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "name {:?} {}; allowed are 1 to 63 of a-z 0-9 . _ -, starting with a letter or digit",
            self.name, self.fault
        )
    }
}

impl std::error::Error for NameError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_says_what_was_found_and_what_is_allowed() {
        let long = "x".repeat(64);
        for (name, fault) in [
            ("", "is empty"),
            ("Orders", "does not start with"),
            ("a b", "has a character outside"),
            ("-x", "does not start with"),
            (long.as_str(), "is longer than 63 bytes"),
        ] {
            let message = Name::new(name).expect_err(name).to_string();
            assert!(message.contains(fault), "{message}");
            assert!(message.contains("allowed are"), "{message}");
        }
    }

    #[test]
    fn a_wrong_name_is_told_no_longer_than_shows_what_is_wrong() {
        let message = Name::new("x".repeat(1_000)).expect_err("long").to_string();
        assert_eq!(message.matches('x').count(), NAME_LEN_MAX + 1, "{message}");
    }

    #[test]
    fn names_are_ordered_hashed_and_spelt_as_their_text() {
        use std::hash::{BuildHasher, RandomState};
        let (static_name, shared) = (
            Name::from_static("orders-db.eu"),
            Name::new("orders-db.eu").expect("a name"),
        );
        let hash = RandomState::new();
        assert_eq!(hash.hash_one(&static_name), hash.hash_one(&shared));
        assert_ne!(
            hash.hash_one(&static_name),
            hash.hash_one(Name::from_static("a"))
        );
        assert!(Name::from_static("a") < shared && shared > Name::from_static("orders-db"));
        assert_eq!(shared.env_key(), "ORDERS_DB_EU");
        assert_eq!(
            format!("{shared} {static_name:?}"),
            "orders-db.eu \"orders-db.eu\""
        );
    }

    #[test]
    fn static_and_shared_names_are_equal() {
        assert_eq!(
            Name::from_static("shed"),
            Name::new("shed").expect("a name")
        );
    }
}
