//! `shop storm`: starts the service as a process of its own on a free port, puts it through
//! overload, a dead dependency and a drain, and tells what happened.
//!
//! Every number that is shown is counted in the run: what clients saw by the clients, what
//! the service says by its own ledger, and at the end the two must agree.

mod client;
mod ledger;
mod load;
mod prober;
mod report;
mod screen;
mod series;
mod service;
mod tally;

use std::{
    io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::time::Instant;

use crate::Fatal;
use client::{Ask, Client};
use ledger::Ledger;
use load::Stream;
use prober::Prober;
use report::{Leaving, Report, Sample};
use screen::Screen;
use series::{Lengths, Series};
use service::Service;
use tally::Tally;

/// How many requests the service may run at once.
const LIMIT: u32 = 16;

/// How long one piece of work takes: together with [`LIMIT`], 80 are done in a second.
const WORK_MS: u32 = 200;

/// Longest wait for the service to notice something.
const NOTICE_MAX: Duration = Duration::from_secs(120);

const SECOND: Duration = Duration::from_secs(1);

/// What the summary is made of.
struct Storm {
    client: Client,
    prober: Prober,
    screen: Screen,
    lengths: Lengths,
}

/// Ends early when it is told to, and takes the service with it. With a file the storm is
/// slow, and its metrics are written there as a unit test for alert rules.
pub(crate) async fn run(series: Option<PathBuf>) -> Result<(), Fatal> {
    tokio::select! {
        done = storm(series) => done,
        told = told_to_end() => Err(told.map_or_else(Fatal::new, |()| Fatal::new("ended early"))),
    }
}

#[cfg(unix)]
async fn told_to_end() -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        told = tokio::signal::ctrl_c() => told,
        _ = terminate.recv() => Ok(()),
    }
}

#[cfg(not(unix))]
async fn told_to_end() -> io::Result<()> {
    tokio::signal::ctrl_c().await
}

async fn storm(series: Option<PathBuf>) -> Result<(), Fatal> {
    let mut service = Service::start(LIMIT).await?;
    let client = Client::new(service.url(), service.token());
    let prober = Prober::start(client.clone());
    if !prober.wait(NOTICE_MAX, |line| line == "ready").await {
        return Err(service.fault("it did not become ready"));
    }
    let screen = Screen::begin(service.url(), LIMIT);
    let lengths = series.as_ref().map_or(Lengths::QUICK, |_| Lengths::SLOW);
    let series = series.map(|file| Series::start(file, service.metrics()));
    let mut storm = Storm {
        client,
        prober,
        screen,
        lengths,
    };
    let over = |weather, alerts| {
        if let Some(series) = &series {
            series.ends(weather, alerts);
        }
    };

    let (calm, orders) = storm.calm().await?;
    over("calm", &[]);
    let overload = storm.overload().await;
    over(
        "overload",
        &["SteadfastOverloaded", "SteadfastScalingBehind"],
    );
    // At once: the ledger keeps single refusals only until newer ones need the room.
    let sample = Sample::find(&storm.client, &overload).await;
    let payments = storm.payments(orders, over).await?;
    over("payments are back", &[]);
    if let Some(series) = &series {
        series.write()?;
    }
    let (drain, leaving) = storm.drain(&mut service).await?;
    storm.screen.end();

    let ledger = &leaving.ledger;
    let report = Report::new(storm.screen.colours());
    report.heading();
    report.calm(&calm);
    report.overload(&overload, lengths.overload);
    report.payments(&payments);
    report.drain(&drain, &leaving);
    report.probes(&storm.prober.seen());
    report.ledger(ledger);
    report.sample(sample.as_ref());
    let streams = [
        &calm,
        &overload,
        &payments.pay,
        &payments.products,
        &payments.mending,
        &payments.mended,
        &drain,
    ];
    report.verdict(&streams, ledger, &leaving)
}

/// What the dead dependency did.
struct Payments {
    /// Payments that were tried while it was dead.
    pay: Arc<Tally>,
    /// What else was asked for in that time.
    products: Arc<Tally>,
    /// Payments while the service let traffic back in.
    mending: Arc<Tally>,
    /// Payments after it was mended.
    mended: Arc<Tally>,
    /// How long it took until the service knew.
    noticed: Duration,
    /// How long it took until the service knew that all is well again.
    recovered: Duration,
}

impl Storm {
    /// A quiet shop. The orders that are made here are paid for later.
    async fn calm(&mut self) -> Result<(Arc<Tally>, Arc<[String]>), Fatal> {
        let mut orders = Vec::new();
        for _ in 0..20 {
            orders.push(self.client.order().await?);
        }
        let stream = Stream::new(40, self.lengths.calm, |number| match number % 4 {
            0 => Ask::order(),
            _ => Ask::get("/products"),
        });
        let tally = stream.tally();
        self.blow("calm", vec![stream]).await;
        Ok((tally, orders.into()))
    }

    /// Three times what it can do.
    async fn overload(&mut self) -> Arc<Tally> {
        let stream = Stream::new(240, self.lengths.overload, |_| {
            Ask::get(format!("/work?ms={WORK_MS}"))
        });
        let tally = stream.tally();
        self.blow("overload", vec![stream]).await;
        tally
    }

    /// Payments dies, and is mended.
    async fn payments(
        &mut self,
        orders: Arc<[String]>,
        ends: impl Fn(&'static str, &'static [&'static str]),
    ) -> Result<Payments, Fatal> {
        let pay = move |number: u64| {
            let order = &orders[usize::try_from(number).unwrap_or(0) % orders.len()];
            Ask::post(format!("/pay/{order}"))
        };
        self.client.payments("failing").await?;
        let (prober, began) = (self.prober.clone(), Instant::now());
        let noticed = Arc::new(OnceLock::new());
        let noticing = Arc::clone(&noticed);
        let noticing = tokio::spawn(async move {
            if prober
                .wait(NOTICE_MAX, |line| line.contains("payments"))
                .await
            {
                let _ = noticing.set(Instant::now());
            }
        });
        let over = {
            let (noticed, dead) = (Arc::clone(&noticed), self.lengths.dead);
            move || noticed.get().is_some_and(|at| Instant::now() > *at + dead)
        };
        let dead = Stream::new(40, NOTICE_MAX, pay.clone()).until(over.clone());
        let others = Stream::new(40, NOTICE_MAX, |_| Ask::get("/products")).until(over);
        let (pay_seen, products_seen) = (dead.tally(), others.tally());
        self.blow("no payments", vec![dead, others]).await;
        noticing.await.map_err(Fatal::new)?;
        let unnoticed = || Fatal::new("the service did not notice that payments is dead");
        let noticed = noticed
            .get()
            .ok_or_else(unnoticed)?
            .saturating_duration_since(began);

        ends(
            "no payments",
            &["SteadfastBreakerOpen", "SteadfastDependencyFailing"],
        );
        self.client.payments("working").await?;
        // Customers go on trying. The first that get through are the probes; then the
        // breaker lets in more and more.
        let began = Instant::now();
        let prober = self.prober.clone();
        let is_ready = move || prober.line() == "ready";
        let trying = Stream::new(40, NOTICE_MAX, pay.clone()).until(is_ready);
        let mending = trying.tally();
        self.blow("mending", vec![trying]).await;
        if self.prober.line() != "ready" {
            return Err(Fatal::new(
                "the service did not notice that payments is mended",
            ));
        }
        let recovered = Instant::now().saturating_duration_since(began);
        let stream = Stream::new(40, self.lengths.mended, pay);
        let mended = stream.tally();
        self.blow("mended", vec![stream]).await;
        Ok(Payments {
            pay: pay_seen,
            products: products_seen,
            mending,
            mended,
            noticed,
            recovered,
        })
    }

    /// The service is told to leave while it works. The client does what a balancer does:
    /// it sends nothing more once `/ready/` says no.
    async fn drain(&mut self, service: &mut Service) -> Result<(Arc<Tally>, Leaving), Fatal> {
        let prober = self.prober.clone();
        let stream = Stream::new(40, NOTICE_MAX, |_| Ask::get("/work?ms=300"))
            .until(move || prober.line().starts_with("not ready"));
        let tally = stream.tally();
        let told = service.terminate_after(SECOND);
        self.blow("drain", vec![stream]).await;
        let told = told.await.map_err(Fatal::new)??;
        // Every request has its answer now, and the lame duck still answers the operator.
        let ledger = Ledger::read(&self.client).await?;
        // The second signal ends the lame duck: nobody is left who could send more.
        service.terminate()?;
        let exit = service.wait().await?;
        let took = Instant::now().saturating_duration_since(told);
        Ok((tally, Leaving { ledger, exit, took }))
    }

    /// Sends what the streams say, and shows it as it goes.
    async fn blow(&mut self, weather: &'static str, streams: Vec<Stream>) {
        let tallies: Vec<_> = streams.iter().map(Stream::tally).collect();
        self.screen.weather(weather, tallies);
        let running = streams
            .into_iter()
            .map(|stream| stream.run(self.client.clone()));
        let running = futures_util::future::join_all(running);
        tokio::pin!(running);
        loop {
            tokio::select! {
                _ = &mut running => break,
                () = tokio::time::sleep(screen::REDRAW) => self.screen.draw(&self.prober.line()),
            }
        }
        self.screen.row(&self.prober.line());
    }
}
