//! The shortest guarded service: try `/`, `/health/` and `/ready/`, then end it with Ctrl-C.

use axum::{Router, routing::get};
use steadfast::{Guard, Shed};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let guard = Guard::builder().shed(Shed::fixed(64)).build()?;
    let app = guard.protect(Router::new().route("/", get(|| async { "hello\n" })));

    let addr = std::env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    guard.serve(listener, app).await?;
    Ok(())
}
