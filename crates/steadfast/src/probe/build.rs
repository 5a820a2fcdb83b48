//! What was built: the name and the version of the application, from its own build.

/// The name and the version of an application. Made by [`build!`](crate::build).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Build {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

impl Build {
    /// For [`build!`](crate::build), which knows what the compiler was told.
    #[doc(hidden)]
    pub const fn told(
        name: &'static str,
        package_version: &'static str,
        version: Option<&'static str>,
    ) -> Self {
        let version = match version {
            Some(version) if !version.is_empty() => version,
            _ => package_version,
        };
        Self { name, version }
    }
}

/// Names the application and its version as they were when it was built: for
/// [`Probes::built`](crate::Probes::built).
///
/// The name is that of the Cargo package in whose code this stands. So is the version, unless
/// the variable `STEADFAST_VERSION` was set when that package was compiled, which is for
/// whatever changes with each build:
///
/// ```text
/// STEADFAST_VERSION=$(git describe --always --dirty) cargo build --release
/// ```
///
/// ```
/// use steadfast::{Guard, Probes};
///
/// let probes = Probes::default().built(steadfast::build!());
/// let guard = Guard::builder().probes(probes).build()?;
/// # Ok::<(), steadfast::ConfigError>(())
/// ```
#[macro_export]
macro_rules! build {
    () => {
        $crate::Build::told(
            ::core::env!("CARGO_PKG_NAME"),
            ::core::env!("CARGO_PKG_VERSION"),
            ::core::option_env!("STEADFAST_VERSION"),
        )
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_build_was_told_goes_before_the_packages_version() {
        for (told, expected) in [(None, "1.0.0"), (Some(""), "1.0.0"), (Some("8f3c"), "8f3c")] {
            assert_eq!(Build::told("shop", "1.0.0", told).version, expected);
        }
        let here = crate::build!();
        assert_eq!(here.name, "steadfast");
    }
}
