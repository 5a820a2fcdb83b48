//! A headless Chromium for tests, driven over its DevTools protocol.
//!
//! One process, with a profile of its own in a temporary directory; each [`Page`] is a tab
//! that keeps what its console said and which addresses it asked. Nothing here waits for a
//! fixed time: it waits until something is so, for as long as [`WAIT_MAX`].

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests wait for a real browser, and have nobody to return an error to"
)]

mod axe;
mod page;
mod wire;

use std::{process::Stdio, time::Duration};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::{Child, Command},
    time::timeout,
};

pub use axe::axe;
pub use page::Page;

use wire::Wire;

/// Longest wait for anything. It decides only how long a failure takes to show.
pub const WAIT_MAX: Duration = Duration::from_secs(120);

/// A browser. Dropped, it is ended.
#[derive(Debug)]
pub struct Browser {
    _child: Child,
    _profile: TempDir,
    wire: Wire,
}

impl Browser {
    /// Starts one.
    ///
    /// # Panics
    /// Chromium is not installed, or does not come up.
    pub async fn start() -> Self {
        let profile = TempDir::with_prefix("browser-").expect("a temporary directory");
        let mut child = Command::new("chromium")
            .args([
                "--headless",
                // As root there is no sandbox; what is opened is our own.
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--disable-extensions",
                "--disable-background-networking",
                "--no-first-run",
                "--hide-scrollbars",
                "--lang=en",
                "--remote-debugging-port=0",
                "--window-size=1280,900",
            ])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .env("HOME", profile.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("chromium is installed (Debian: chromium)");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let url = timeout(WAIT_MAX, async {
            let mut said = Vec::new();
            while let Ok(Some(line)) = lines.next_line().await {
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    return url.to_owned();
                }
                said.push(line);
            }
            panic!("chromium ended: {said:#?}")
        });
        let url = url.await.expect("chromium comes up");
        // Read on, or it would wait for a reader.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Self {
            _child: child,
            _profile: profile,
            wire: Wire::connect(&url).await,
        }
    }

    /// Opens a tab of its own, which shares no cookie with any other.
    pub async fn page(&self) -> Page {
        Page::open(self.wire.clone()).await
    }
}
