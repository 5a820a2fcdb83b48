//! Nearly every setting in one place: what belongs to the code in the code, what differs
//! between places in `tuned.toml`, and single values in the environment, for example
//! `TUNED__SHED__LIMIT=8`. The environment wins over the file, the file over the code.

use std::{env, process::ExitCode, time::Duration};

use axum::{Router, routing::get};
use steadfast::{
    CheckOutcome, ConfigError, Dependency, Drain, ExplainSettings, Guard, GuardConfig, Probes,
    Shed, check,
};
use tokio::net::TcpListener;

const CONFIG_DEFAULT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tuned.toml");

fn guard() -> Result<Guard, ConfigError> {
    let file = env::var("TUNED_CONFIG").unwrap_or_else(|_| CONFIG_DEFAULT.to_owned());
    // A dependency is part of the code; how often it is asked may stand in the file.
    let itself = Dependency::builder("self")
        .check(check::closure(|| async { CheckOutcome::pass() }))
        .required()
        .timeout(Duration::from_millis(500))
        .build()?;
    Guard::builder()
        .dependency(&itself)
        .shed(Shed::fixed(64).held_max(Duration::from_secs(10)))
        .drain(
            Drain::default()
                .lame_duck_max(Duration::from_secs(10))
                .grace(Duration::from_secs(15)),
        )
        .start_hold(Duration::from_secs(10))
        // Cuts a handler that hangs, so that it gives its place back.
        .request_timeout(Duration::from_secs(30))
        .explain(ExplainSettings::default().type_base("https://errors.example.com/503"))
        .probes(
            Probes::default()
                .health_path("/-/health")
                .ready_path("/-/ready")
                .operator_path("/-/why503")
                .aliases()
                .envoy()
                .service("tuned", env!("CARGO_PKG_VERSION")),
        )
        // From a secret store, in a service that others can reach.
        .token("not-a-secret-at-all")
        .unready_budget(Duration::from_secs(60))
        .config(GuardConfig::from_toml_file(file)?)
        .config(GuardConfig::from_env("TUNED")?)
        .build()
}

#[tokio::main]
async fn main() -> ExitCode {
    // `main` could return the errors; then they would be shown as Rust values.
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tuned: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn std::error::Error>> {
    let guard = guard()?;
    let app = guard.protect(Router::new().route("/", get(|| async { "hello\n" })));
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let bound = TcpListener::bind(&addr).await;
    let listener = bound.map_err(|error| format!("ADDR {addr}: {error}"))?;
    println!("listening on http://{}", listener.local_addr()?);
    guard.serve(listener, app).await?;
    Ok(())
}
