//! HTTPS for everybody, plain HTTP for the inside, one drain for both. The certificates are
//! read again when their files change, as cert-manager and certbot change them.

use std::{env, process::ExitCode, time::Duration};

use axum::{Router, routing::get};
use steadfast::{Guard, Tls};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let of = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let tls = Tls::from_files(of("TLS_CERT", "tls.crt"), of("TLS_KEY", "tls.key"))?
        .look_every(Duration::from_secs(1));
    let guard = Guard::builder().build()?;
    let app = Router::new().route("/", get(|| async { "hello\n" }));
    let inside = Router::new().route("/", get(|| async { "inside\n" }));

    let public = TcpListener::bind(of("ADDR", "127.0.0.1:8443")).await?;
    let internal = TcpListener::bind(of("INTERNAL_ADDR", "127.0.0.1:0")).await?;
    println!("listening on https://{}", public.local_addr()?);
    println!("inside on http://{}", internal.local_addr()?);
    let report = guard
        .server()
        .listen_tls(public, &tls, guard.protect(app))
        .listen(internal, guard.protect(inside))
        .run()
        .await?;
    eprintln!("{report}");
    Ok(ExitCode::from(report.exit_status()))
}
