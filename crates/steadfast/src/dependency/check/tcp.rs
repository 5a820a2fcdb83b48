//! A check that something listens.

use std::{io, time::Duration};

use steadfast_core::{Check, CheckOutcome, CheckRun, FailureClass};
use tokio::net::TcpStream;

use crate::clock;

/// Passes when a TCP connection to `host:port` can be opened.
///
/// It says that something listens, not that it works: prefer a check that asks a question.
pub fn tcp(address: impl Into<String>) -> TcpCheck {
    TcpCheck {
        address: address.into(),
    }
}

/// See [`tcp`].
#[derive(Clone, Debug)]
pub struct TcpCheck {
    address: String,
}

impl Check for TcpCheck {
    async fn run(&self, run: CheckRun) -> CheckOutcome {
        let began = clock::now();
        match connect(&self.address, run).await {
            Ok(_stream) => CheckOutcome::pass().number("connect_ms", millis_since(began)),
            Err(outcome) => outcome,
        }
    }

    fn kind(&self) -> &'static str {
        "tcp"
    }
}

/// Opens a connection before the deadline, or says what stands in the way.
pub(super) async fn connect(address: &str, run: CheckRun) -> Result<TcpStream, CheckOutcome> {
    let deadline = tokio::time::Instant::from_std(run.deadline.with_margin(clock::now()).instant());
    let lookup = tokio::time::timeout_at(deadline, tokio::net::lookup_host(address)).await;
    let addresses: Vec<_> = match lookup {
        Err(_) => {
            return Err(CheckOutcome::fail(
                FailureClass::Dns,
                format!("{address}: name lookup timed out"),
            ));
        }
        Ok(Err(error)) => {
            return Err(CheckOutcome::fail(
                FailureClass::Dns,
                format!("{address}: {error}"),
            ));
        }
        Ok(Ok(addresses)) => addresses.collect(),
    };
    match tokio::time::timeout_at(deadline, TcpStream::connect(&*addresses)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(CheckOutcome::fail(
            class(&error),
            format!("{address}: {error}"),
        )),
        Err(_) => Err(CheckOutcome::fail(
            FailureClass::Timeout,
            format!("{address}: no connection before the deadline"),
        )),
    }
}

fn class(error: &io::Error) -> FailureClass {
    match error.kind() {
        io::ErrorKind::TimedOut => FailureClass::Timeout,
        io::ErrorKind::InvalidInput => FailureClass::Misconfigured,
        _ => FailureClass::Unreachable,
    }
}

pub(super) fn millis_since(began: std::time::Instant) -> f64 {
    let took: Duration = clock::now().saturating_duration_since(began);
    took.as_secs_f64() * 1000.0
}
