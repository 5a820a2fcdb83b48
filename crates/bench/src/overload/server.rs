//! The server under test: a process of its own, told what to be on its command line and
//! how slow to be on its standard input. It ends with its input.

use std::{io, net::SocketAddr, time::Duration};

use steadfast::Control;
use tokio::{net::TcpListener, sync::watch};

use super::{
    backend::{Backend, Place},
    peers,
};
use crate::clock;

/// Serves until the standard input ends; the first line of standard output is the address.
pub(crate) fn run(peer: &str, backend: Backend, place: &Place) -> io::Result<()> {
    let (slower, slowness) = watch::channel(1.0);
    std::thread::spawn(move || {
        for line in io::stdin().lines().map_while(Result::ok) {
            if let Ok(times) = line.trim().parse() {
                slower.send_replace(times);
            }
        }
        // The conductor has gone, or wants this to go.
        std::process::exit(0);
    });
    // What most services run on; named here because a machine of one core would get one.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(super::backend::cores())
        .enable_all()
        .build()?;
    runtime.block_on(serve(peer, backend, place, slowness))
}

async fn serve(
    peer: &str,
    backend: Backend,
    place: &Place,
    slowness: watch::Receiver<f64>,
) -> io::Result<()> {
    let app = backend.app(place, slowness).await;
    let app = app.map_err(io::Error::other)?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    if let Some(guard) = peers::guard(peer) {
        if place.watch {
            tokio::spawn(watch(guard.control()));
        }
        return guard.serve(listener, guard.protect(app)).await.map(drop);
    }
    let unknown = || io::Error::other(format!("no peer is called `{peer}`"));
    let app = peers::app(peer, backend, app).ok_or_else(unknown)?;
    axum::serve(listener, app).await
}

/// Between two looks at the gate.
const LOOK: Duration = Duration::from_millis(100);

/// Says on standard error, for as long as the process lives, where the gate stands.
async fn watch(control: Control) {
    let (began, mut said) = (clock::now(), None);
    loop {
        tokio::time::sleep(LOOK).await;
        let seen = control.shedder().snapshot();
        let limit = |limit: Option<u32>| limit.map_or("none".to_owned(), |it| it.to_string());
        let line = format!(
            "{:7.3} s limit {} ({}) in flight {} admitted {} refused {}; {} in line, {} of them refused, lag {:?}, {}; pause {:?}, {:.0} hasty",
            clock::secs_since(began),
            limit(seen.algorithm.limit),
            seen.algorithm.phase.code(),
            seen.in_flight,
            seen.admitted,
            seen.refused,
            seen.lag.waiting,
            seen.lag.refused,
            seen.lag.lag,
            seen.lag.phase.code(),
            seen.pacing.pause.unwrap_or_default(),
            seen.pacing.hasty,
        );
        let change = seen
            .algorithm
            .change
            .filter(|change| said != Some(change.at));
        said = change.map(|change| change.at).or(said);
        match change {
            Some(change) => eprintln!("{line}; {change}"),
            None => eprintln!("{line}"),
        }
    }
}
