//! A server as a process: one application, served in one of several ways.

mod app;
mod ours;
mod peers;

use std::{io::Read, net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

use serde_json::Value;
use tokio::net::TcpListener;

/// The header that carries a request's id to the server, which writes it down.
pub const ID: &str = "x-request-id";

/// The header on each answer that says which process gave it.
pub const INSTANCE: &str = "x-instance";

/// The header on each answer that ours gives on its way out.
pub const LEAVING: &str = "x-leaving";

/// What a subject prints before its address, when it is about to accept.
pub const LISTENING: &str = "listening on ";

/// Worker threads of a subject: enough for its tasks to run at the same time.
pub(crate) const WORKERS: usize = 2;

/// The status of a subject whose starter has gone.
const ORPHANED: i32 = 70;

/// A way to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// `Guard::serve`.
    Ours,
    /// `axum::serve` with a graceful shutdown at SIGTERM.
    Axum,
    /// axum-server, told by its handle to shut down gracefully within the grace.
    AxumServer,
    /// The accept loop of hyper-util's example, which waits for the grace.
    HyperUtil,
}

impl Kind {
    /// All of them, ours first.
    pub const ALL: [Self; 4] = [Self::Ours, Self::Axum, Self::AxumServer, Self::HyperUtil];

    /// The name in tables and arguments.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ours => "steadfast",
            Self::Axum => "axum-serve",
            Self::AxumServer => "axum-server",
            Self::HyperUtil => "hyper-util",
        }
    }

    /// Finds one by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Everything a subject is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How it serves.
    pub kind: Kind,
    /// Where it listens.
    pub address: SocketAddr,
    /// Which process of a run it is; goes into each answer.
    pub label: String,
    /// Where it writes the ids of the requests it processed.
    pub journal: PathBuf,
    /// For how long readiness fails before anything is closed. Only ours has that.
    pub lame_duck: Duration,
    /// How long running requests may take, for those that have a limit.
    pub grace: Duration,
    /// Whether `/ready/` answers 404 while leaving, for HAProxy's `disable-on-404`.
    pub not_found: bool,
    /// How long the first check takes; zero is none. Only ours has checks.
    pub first_check: Duration,
}

impl Settings {
    /// Writes them as arguments for [`main`].
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        vec![
            self.kind.name().to_owned(),
            self.address.to_string(),
            self.label.clone(),
            self.journal.display().to_string(),
            self.lame_duck.as_millis().to_string(),
            self.grace.as_millis().to_string(),
            self.not_found.to_string(),
            self.first_check.as_millis().to_string(),
        ]
    }

    fn parse(arguments: &[String]) -> Option<Self> {
        let [
            kind,
            address,
            label,
            journal,
            lame_duck,
            grace,
            not_found,
            first_check,
        ] = arguments
        else {
            return None;
        };
        let millis = |text: &String| text.parse().ok().map(Duration::from_millis);
        Some(Self {
            kind: Kind::named(kind)?,
            address: address.parse().ok()?,
            label: label.clone(),
            journal: journal.into(),
            lame_duck: millis(lame_duck)?,
            grace: millis(grace)?,
            not_found: not_found.parse().ok()?,
            first_check: millis(first_check)?,
        })
    }
}

/// Serves until it is told to end, and prints its report, one line of JSON, as the last.
#[must_use]
pub fn main(arguments: &[String]) -> ExitCode {
    let Some(settings) = Settings::parse(arguments) else {
        eprintln!(
            "usage: KIND ADDRESS LABEL JOURNAL LAME_DUCK_MS GRACE_MS NOT_FOUND FIRST_CHECK_MS"
        );
        return ExitCode::from(64);
    };
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .init();
    end_with_the_starter();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .enable_all()
        .build()
        .expect("a process may have threads");
    match runtime.block_on(serve(&settings)) {
        Ok((report, status)) => {
            println!("{report}");
            // A handler that never ends must not keep the process.
            runtime.shutdown_background();
            ExitCode::from(status)
        }
        Err(error) => {
            eprintln!("{}: {error}", settings.address);
            ExitCode::FAILURE
        }
    }
}

/// Serves, and returns the report and the exit status.
async fn serve(settings: &Settings) -> std::io::Result<(Value, u8)> {
    let streams = match settings.kind {
        Kind::Ours => ours::streams(),
        Kind::Axum | Kind::AxumServer | Kind::HyperUtil => peers::streams(),
    };
    let router = app::router(settings, streams)?;
    // Bound at once: what came before has ended, and Linux lets tokio take its port.
    let listener = TcpListener::bind(settings.address).await?;
    match settings.kind {
        Kind::Ours => ours::serve(settings, listener, router).await,
        Kind::Axum => peers::axum(listener, router).await,
        Kind::AxumServer => peers::axum_server(settings.grace, listener, router).await,
        Kind::HyperUtil => peers::hyper_util(settings.grace, listener, router).await,
    }
}

/// Says that signals are heard and connections taken from here on.
fn say_listening(listener: &TcpListener) -> std::io::Result<()> {
    println!("{LISTENING}{}", listener.local_addr()?);
    Ok(())
}

/// The report and the status of those that have none.
const fn no_report() -> (Value, u8) {
    (Value::Null, 0)
}

/// Standard input ends when the starter is gone, however it went.
fn end_with_the_starter() {
    std::thread::spawn(|| {
        let mut rest = Vec::new();
        let _ = std::io::stdin().read_to_end(&mut rest);
        std::process::exit(ORPHANED);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_the_command_line() {
        for kind in Kind::ALL {
            let settings = Settings {
                kind,
                address: ([127, 0, 0, 1], 8000).into(),
                label: "a-1".into(),
                journal: "/tmp/journal".into(),
                lame_duck: Duration::from_millis(1500),
                grace: Duration::from_secs(2),
                not_found: true,
                first_check: Duration::from_millis(3),
            };
            let parsed = Settings::parse(&settings.arguments());
            assert_eq!(parsed, Some(settings));
        }
    }
}
