//! The server under test: a process of its own, told what to be on its command line and
//! how slow to be on its standard input. It ends with its input.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use steadfast::{Control, limit::Snapshot};
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

/// Says on standard error, for as long as the process lives, where the gate stands, and where
/// each limit of its own does.
async fn watch(control: Control) {
    let began = clock::now();
    let mut news = News::default();
    loop {
        tokio::time::sleep(LOOK).await;
        let seen = control.shedder().snapshot();
        let at = clock::secs_since(began);
        let line = format!(
            "{at:7.3} s {} in flight {} admitted {} refused {}; {} in line, {} of them refused, lag {:?}, {}; pause {:?}, {:.0} hasty",
            limit(&seen.algorithm),
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
        eprintln!("{line}{}", news.of("", &seen.algorithm));
        for it in &seen.backends {
            eprintln!(
                "{at:7.3} s   {}: {} in flight {} admitted {} refused {} held {:?}, by {}{}",
                it.backend,
                limit(&it.algorithm),
                it.in_flight,
                it.admitted,
                it.refused,
                it.mean_held.unwrap_or_default(),
                it.routes.join(" "),
                news.of(it.backend.as_str(), &it.algorithm),
            );
        }
    }
}

/// A limit, and what its algorithm is doing.
fn limit(algorithm: &Snapshot) -> String {
    let limit = algorithm
        .limit
        .map_or_else(|| "none".to_owned(), |it| it.to_string());
    format!("limit {limit} ({})", algorithm.phase.code())
}

/// What was said last of each limit: when it changed and when an experiment ended.
#[derive(Default)]
struct News(HashMap<String, (Option<Instant>, Option<Instant>)>);

impl News {
    /// The last change and the last experiment of a limit, each said once.
    fn of(&mut self, name: &str, algorithm: &Snapshot) -> String {
        let (change, experiment) = (algorithm.change, algorithm.experiment);
        let at = (change.map(|it| it.at), experiment.map(|it| it.at));
        let before = self.0.insert(name.to_owned(), at).unwrap_or_default();
        let change = change.filter(|_| at.0 != before.0);
        let experiment = experiment.filter(|_| at.1 != before.1).map(|it| {
            format!(
                "in flight {:.1} and {:.1}: latency {:.2} +- {:.2}, knee {:.1}",
                it.in_flight_low, it.in_flight_high, it.latency_ratio, it.error, it.knee
            )
        });
        let change = change.map(|it| it.to_string());
        let said = change.into_iter().chain(experiment);
        said.map(|it| format!("; {it}")).collect()
    }
}
