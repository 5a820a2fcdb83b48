//! Serves the application behind its guard: `ADDR=127.0.0.1:8000 cargo run -p moved`.

use std::{env, error::Error};

use sqlx::sqlite::SqlitePoolOptions;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = env::var("DATABASE_URL").unwrap_or_else(|_| "sqlite::memory:".to_owned());
    // One connection, because each connection to `:memory:` is a database of its own.
    let pool = SqlitePoolOptions::new().max_connections(1);
    let (guard, app) = moved::after::build(pool.connect(&url).await?).await?;
    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    guard.serve(listener, app).await?;
    Ok(())
}
