//! A small order service behind Steadfast.
//!
//! `shop` serves; `shop storm` starts the same service and shows what it does under
//! overload, with a dead dependency and while it leaves. [`app`] is where the guard is
//! put around the application.

mod app;
mod cache;
mod checks;
mod hints;
mod listen;
mod log;
mod metrics;
mod payments;
mod problem;
mod routes;
mod serve;
mod settings;
mod store;
mod storm;
mod writes;

use std::{fmt, process::ExitCode};

const USAGE: &str = "\
usage: shop          serve on ADDR (default 127.0.0.1:8000)
       shop storm    start the service on a free port and put it through a storm
       shop storm --series FILE
                     a slow storm of three minutes, and its metrics as a unit test
                     for promtool

environment of `shop`: ADDR DATABASE_URL REDIS_URL PAYMENTS_URL PROBE_ADDR
METRICS_ADDR WHY503_TOKEN STEADFAST_CONFIG STEADFAST__… RUST_LOG; see examples/shop/README.md";

/// What ends the program, in one line for the person who started it.
#[derive(Debug)]
pub(crate) struct Fatal(String);

impl Fatal {
    pub(crate) fn new(message: impl fmt::Display) -> Self {
        Self(message.to_string().replace('\n', "; "))
    }

    /// Every fault of a configuration.
    pub(crate) fn config(error: steadfast::ConfigError) -> Self {
        Self::new(error.into_faults().join("; "))
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os()
        .skip(1)
        .map(|argument| argument.to_string_lossy().into_owned())
        .collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve::run().await,
        ["storm"] => storm::run(None).await.map(|()| ExitCode::SUCCESS),
        ["storm", "--series", file] => storm::run(Some(file.into()))
            .await
            .map(|()| ExitCode::SUCCESS),
        ["-h" | "--help" | "help"] => {
            println!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
        ref wrong => {
            eprintln!("shop: no such command: {}\n\n{USAGE}", wrong.join(" "));
            return ExitCode::from(64);
        }
    };
    done.unwrap_or_else(|fatal| {
        eprintln!("shop: {fatal}");
        ExitCode::FAILURE
    })
}
