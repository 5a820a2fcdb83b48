//! What `varnishadm backend.list -j` says.

use serde_json::Value;

/// A backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Backend {
    pub(crate) name: String,
    pub(crate) healthy: bool,
    /// Set by hand, without a probe's say.
    pub(crate) is_forced: bool,
    /// Whether a probe asks it at all.
    pub(crate) is_probed: bool,
    /// `0/8`: probes that passed of the last.
    pub(crate) probes: String,
}

/// Reads the list; newer versions have an object where older have an array.
pub(crate) fn backends(text: &str) -> Vec<Backend> {
    let json: Value = serde_json::from_str(text).unwrap_or_default();
    let list = json
        .as_array()
        .and_then(|all| all.iter().find_map(Value::as_object));
    let backend = |(name, it): (&String, &Value)| {
        let message = &it["probe_message"];
        let number = |at: usize| message[at].as_u64().unwrap_or(0);
        let admin = it["admin_health"].as_str().unwrap_or_default();
        let verdict = message[2].as_str().unwrap_or_default();
        let is_probed = admin == "probe";
        Backend {
            name: name.clone(),
            healthy: if is_probed {
                verdict != "sick"
            } else {
                admin != "sick"
            },
            is_forced: admin == "sick",
            is_probed,
            probes: format!("{}/{}", number(0), number(1)),
        }
    };
    list.into_iter().flatten().map(backend).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_or_the_operator_decides() {
        let text = r#"[ 3, ["backend.list", "-j"], 1795941181.766, {
            "boot.app": {"type": "backend", "admin_health": "probe", "probe_message": [0, 8, "sick"], "last_change": 1},
            "boot.off": {"type": "backend", "admin_health": "sick", "probe_message": [8, 8, "healthy"], "last_change": 1},
            "boot.other": {"type": "backend", "admin_health": "healthy", "probe_message": [0, 0, "healthy"], "last_change": 1}}]"#;
        let found: Vec<_> = backends(text)
            .into_iter()
            .map(|it| (it.name, it.healthy, it.is_forced, it.is_probed))
            .collect();
        assert_eq!(
            found,
            [
                ("boot.app".to_owned(), false, false, true),
                ("boot.off".to_owned(), false, true, false),
                ("boot.other".to_owned(), true, false, false),
            ]
        );
        assert!(backends("").is_empty());
    }
}
