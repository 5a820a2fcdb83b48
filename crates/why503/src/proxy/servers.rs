//! What every proxy says of a backend: each of its servers, and how many of them serve.

use steadfast_diagnosis::{Maker, Proxy, ServerIs, Text, Tied};

use crate::collect::Collected;

/// The servers of a backend, and where they were read of.
pub(super) struct Servers<'a> {
    pub(super) by: Maker,
    pub(super) source: &'a str,
    pub(super) tied: Tied,
}

impl Servers<'_> {
    /// Writes down one of its servers, with what the proxy's last look at it said.
    pub(super) fn server(
        &self,
        name: impl Into<Text>,
        is: ServerIs,
        last_check: impl Into<Text>,
        seen: &mut Collected,
    ) {
        let server = Proxy::Server {
            by: self.by,
            name: name.into(),
            is,
            last_check: last_check.into(),
        };
        seen.saw(self.source, self.tied.clone(), server);
    }

    /// Writes down how many of its servers serve. One is enough for it to be up.
    pub(super) fn serves(&self, serving: usize, listed: usize, seen: &mut Collected) {
        let count = |all: usize| u64::try_from(all).unwrap_or(u64::MAX);
        let backend = Proxy::Backend {
            by: self.by,
            serving: count(serving),
            listed: count(listed),
            up: serving > 0,
        };
        seen.saw(self.source, self.tied.clone(), backend);
    }
}
