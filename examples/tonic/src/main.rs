//! A tonic service behind a guard. A refusal arrives as the status UNAVAILABLE with
//! `grpc-retry-pushback-ms`, which clients with a retry policy obey; probes are plain HTTP on
//! the same port.

use std::{env, process::ExitCode};

use steadfast::{Guard, Shed};
use tokio::net::TcpListener;
use tonic_guarded::Greeter;

/// How many calls run at once.
const LIMIT: u32 = 4;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let guard = Guard::builder().shed(Shed::fixed(LIMIT)).build()?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:50051".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let report = guard
        .serve(listener, guard.protect_service(Greeter))
        .await?;
    eprintln!("{report}");
    Ok(ExitCode::from(report.exit_status()))
}
