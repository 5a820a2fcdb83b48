//! The versions that are measured, read where cargo reads them.

/// Returns the version that the manifest pins this crate to.
pub(crate) fn pinned(name: &str) -> &'static str {
    MANIFEST
        .lines()
        .find_map(|line| {
            let rest = line.strip_prefix(name)?.trim_start().strip_prefix('=')?;
            let (_, version) = rest.split_once("\"=")?;
            version.split_once('"').map(|(version, _)| version)
        })
        .expect("a peer is pinned to one version in the manifest")
}

const MANIFEST: &str = include_str!("../../Cargo.toml");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_peer_is_pinned() {
        for peer in crate::traps::peers() {
            assert!(!peer.version().is_empty(), "{}", peer.name());
        }
        assert_eq!(pinned("failsafe"), "1.3.0");
    }
}
