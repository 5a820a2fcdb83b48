//! A guard around a plain tower service, without axum: probes, explained refusals, an accept
//! loop, and a drain that loses nothing.
//!
//! The service is asked with [`steadfast::Body`]; it may answer with any body. Where not even a
//! guard is wanted, its layers (`DrainLayer`, `ShedLayer`, `ExplainLayer`) work alone in any
//! tower stack.

use std::{convert::Infallible, env, process::ExitCode, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use steadfast::{Body, Drain, Guard, Shed, Shedder};
use tokio::{net::TcpListener, time::sleep};
use tower::service_fn;

/// How many requests run at once.
const LIMIT: u32 = 4;

/// The application: `/slow` takes its time, everything else tells at once how many requests
/// run, itself included.
async fn application(
    request: Request<Body>,
    shedder: Shedder,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().path() == "/slow" {
        sleep(Duration::from_secs(5)).await;
    }
    let text = format!("{} of {LIMIT}\n", shedder.in_flight());
    Ok(Response::new(Full::from(text)))
}

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let guard = Guard::builder()
        .shed(Shed::fixed(LIMIT))
        .drain(Drain::default().lame_duck_max(Duration::from_secs(1)))
        .build()?;
    let shedder = guard.control().shedder().clone();
    let service = service_fn(move |request| application(request, shedder.clone()));

    let addr = env::var("ADDR").unwrap_or_else(|_| "127.0.0.1:8000".to_owned());
    let listener = TcpListener::bind(addr).await?;
    println!("listening on http://{}", listener.local_addr()?);
    let report = guard
        .serve(listener, guard.protect_service(service))
        .await?;
    eprintln!("{report}");
    Ok(ExitCode::from(report.exit_status()))
}
