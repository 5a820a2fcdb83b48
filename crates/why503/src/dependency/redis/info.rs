//! What Redis says of itself in `INFO`.

use std::collections::BTreeMap;

/// The fields of `INFO`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Info(BTreeMap<String, String>);

impl Info {
    /// Reads `field:value` lines; headings and what is no field are left out.
    pub(crate) fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once(':'));
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.trim().to_owned());
        Self(pairs.map(owned).collect())
    }

    /// A field as it stands.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    /// A field as a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.text(name).parse().ok()
    }

    /// Whether a field is 1.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name) == "1"
    }

    /// Whether the last save to disk failed.
    pub(crate) fn save_failed(&self) -> bool {
        self.text("rdb_last_bgsave_status") == "err" || self.text("aof_last_write_status") == "err"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_and_nonsense_are_left_out() {
        let info = Info::read("# Clients\r\nconnected_clients:3\r\nmaxclients:x\r\n\r\nnonsense");
        assert_eq!(info.number("connected_clients"), Some(3));
        assert_eq!(info.number("maxclients"), None);
        assert_eq!(info.text("absent"), "");
        assert!(!info.save_failed());
        assert!(Info::read("rdb_last_bgsave_status:err").save_failed());
    }
}
