//! Where the guard's own paths are, and how they answer.

use crate::probe::{
    answer::Profile,
    build::Build,
    paths::{Paths, under},
};

/// Which probe paths are mounted, and how they answer.
#[derive(Clone, Debug)]
#[must_use]
pub struct Probes {
    pub(crate) paths: Paths,
    pub(crate) profile: Profile,
}

impl Default for Probes {
    /// `/health/`, `/ready/` and `/why503/`, without aliases.
    fn default() -> Self {
        Self {
            paths: Paths {
                health: "/health".to_owned(),
                ready: "/ready".to_owned(),
                operator: "/why503".to_owned(),
                aliases: false,
            },
            profile: Profile {
                strict: false,
                envoy: false,
                not_found_while_draining: false,
                service: None,
            },
        }
    }
}

impl Probes {
    /// Sets the path of the health report. Default `/health`.
    pub fn health_path(mut self, path: impl Into<String>) -> Self {
        self.paths.health = path.into();
        self
    }

    /// Sets the path of the readiness probe. Default `/ready`.
    pub fn ready_path(mut self, path: impl Into<String>) -> Self {
        self.paths.ready = path.into();
        self
    }

    /// Sets the path of the operator's view. Default `/why503`.
    pub fn operator_path(mut self, path: impl Into<String>) -> Self {
        self.paths.operator = path.into();
        self
    }

    /// Also mounts `/livez`, `/readyz` and `/startupz`.
    pub const fn aliases(mut self) -> Self {
        self.paths.aliases = true;
        self
    }

    /// Makes `/health/` fail when a required dependency is down. For balancers that can
    /// probe only this path; **never** for a liveness probe, which would restart a healthy
    /// process because its database is down.
    pub const fn strict(mut self) -> Self {
        self.profile.strict = true;
        self
    }

    /// Sends Envoy's health headers: `x-envoy-degraded` on probes, and on every answer
    /// `x-envoy-immediate-health-check-fail` while leaving.
    pub const fn envoy(mut self) -> Self {
        self.profile.envoy = true;
        self
    }

    /// Answers readiness with 404 instead of 503 while leaving, which HAProxy's
    /// `http-check disable-on-404` takes as "no new sessions, keep the old ones".
    pub const fn not_found_while_draining(mut self) -> Self {
        self.profile.not_found_while_draining = true;
        self
    }

    /// Names the service and its version, in `application/health+json` and on the operator's
    /// page, where a deploy is a change of version. At most 64 characters of each are kept.
    ///
    /// Without it, and without [`Probes::built`], the page and the history name a build by the
    /// moment at which its program was written (`built 2026-01-31T10:02:11Z`).
    pub fn service(mut self, name: impl Into<String>, version: impl Into<String>) -> Self {
        self.profile.service = Some((label(&name.into()), label(&version.into())));
        self
    }

    /// Names the service and its version as its build knows them:
    /// `.built(steadfast::build!())`.
    pub fn built(self, build: Build) -> Self {
        self.service(build.name, build.version)
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let paths = [
            ("health", &self.paths.health),
            ("ready", &self.paths.ready),
            ("operator", &self.paths.operator),
        ];
        for (key, path) in paths {
            if !is_probe_path(path) {
                faults.push(format!(
                    "probes: {key} path {path:?}; allowed is a path below / without ? # {{ }}"
                ));
            }
        }
        let path = |at: usize| paths[at].1.strip_suffix('/').unwrap_or(paths[at].1);
        for (at, other) in [(1, 0), (2, 0), (2, 1)] {
            if path(at) == path(other) {
                let (key, other, path) = (paths[at].0, paths[other].0, path(at));
                faults.push(format!("probes: {key} and {other} share the path {path:?}"));
            }
        }
        // Below the ready path are the names of checks.
        for at in [0, 2] {
            if under(path(at), path(1)).is_some_and(|rest| !rest.is_empty()) {
                let (key, path, ready) = (paths[at].0, path(at), path(1));
                faults.push(format!(
                    "probes: {key} path {path:?} is below the ready path {ready:?}, where each \
                     check has its own; allowed is any other place"
                ));
            }
        }
        faults
    }

    /// Paths are kept without their trailing slash and matched with and without it.
    pub(crate) fn trimmed(mut self) -> Self {
        for path in [
            &mut self.paths.health,
            &mut self.paths.ready,
            &mut self.paths.operator,
        ] {
            if path.len() > 1 && path.ends_with('/') {
                path.pop();
            }
        }
        self
    }
}

/// Longest name or version that is kept, in characters: a commit's hash has 40.
const LABEL_LEN_MAX: usize = 64;

fn label(text: &str) -> String {
    steadfast_core::plumbing::inert(text)
        .chars()
        .take(LABEL_LEN_MAX)
        .collect()
}

/// Whether a probe can be there.
pub(crate) fn is_probe_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'{' | b'}');
    path.starts_with('/') && path.len() >= 2 && path.bytes().all(plain)
}
