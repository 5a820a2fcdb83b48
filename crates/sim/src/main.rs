//! Runs scenarios, prints what came of them and draws it.

mod options;

use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

use options::{Options, usage};
use sim::scenario::{Bar, Figure, Scenario};
use sim::summary::Summary;
use sim::{pictures, scenarios, svg};

fn main() -> ExitCode {
    let all: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = all.iter().map(String::as_str).collect();
    let mut out = io::stdout().lock();
    let done = match Options::parse(&arguments) {
        _ if matches!(arguments[..], ["-h" | "--help" | "help", ..]) => {
            writeln!(out, "{}", usage())
        }
        Ok(options) => tell(&options, &mut out),
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(64);
        }
    };
    match done {
        // Whoever read has seen enough, as `head` has.
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

fn tell(options: &Options, out: &mut impl Write) -> io::Result<()> {
    if let Some(dir) = &options.fleets {
        let files = pictures::fleets(dir)?;
        return files.iter().try_for_each(|file| writeln!(out, "{file}"));
    }
    if options.csv {
        writeln!(out, "scenario,peer,seed,figure,value,bar,holds")?;
    }
    let mut held = (0, 0);
    for scenario in scenarios::all() {
        if !options.wants(&scenario.name) {
            continue;
        }
        for peer in &options.peers {
            let mut summary = Summary::new(&scenario.name);
            for seed in options.seeds.clone() {
                summary.add(&run(options, &scenario, peer, seed, out)?);
            }
            held.0 += summary.held().0;
            held.1 += summary.held().1;
            if options.summary {
                write!(out, "{summary}")?;
            }
        }
    }
    if options.summary {
        writeln!(out, "{} of {} figures held", held.0, held.1)?;
    }
    Ok(())
}

fn run(
    options: &Options,
    scenario: &Scenario,
    peer: &str,
    seed: u64,
    out: &mut impl Write,
) -> io::Result<Vec<Figure>> {
    let began = ran();
    let record = scenario.run(peer, seed).expect("the name was checked");
    let took = ran().zip(began).map(|(ends, began)| ends - began);
    let name = &scenario.name;
    let figures = (scenario.figures)(&record);
    if options.csv {
        for figure in &figures {
            let bar = match figure.bar {
                Bar::Least(bar) | Bar::Most(bar) => bar.to_string(),
                Bar::None => String::new(),
            };
            let (value, holds) = (figure.value, figure.holds());
            writeln!(
                out,
                "{name},{peer},{seed},{},{value:.4},{bar},{holds}",
                figure.name
            )?;
        }
    } else if !options.summary {
        write!(out, "{name:26} {peer:10} {seed:2}")?;
        for figure in &figures {
            let (value, sign) = (figure.value, if figure.holds() { "" } else { "!" });
            let bar = match figure.bar {
                Bar::Least(bar) => format!(" (>= {bar})"),
                Bar::Most(bar) => format!(" (<= {bar})"),
                Bar::None => String::new(),
            };
            write!(out, "  {sign}{} {value:.3}{bar}", figure.name)?;
        }
        writeln!(out, "  calls/request {:.2}", record.calls_per_request)?;
    }
    if let Some(took) = took.filter(|_| options.speed) {
        let sent = record.sum(0.0, scenario.setup.secs, |bin| bin.sent);
        let events = record.events as f64;
        writeln!(
            out,
            "    {events} events of {sent} requests in {took:.2} s of a processor: {:.2} million events/s, {:.2} us a request",
            events / took / 1e6,
            took / sent * 1e6
        )?;
    }
    if options.changes {
        for (secs, told) in record.told() {
            writeln!(out, "    {secs:8.3} s  {told}")?;
        }
    }
    if let Some(dir) = &options.svg {
        std::fs::create_dir_all(dir)?;
        let picture = svg::draw(&format!("{name}, {peer}, seed {seed}"), &record);
        std::fs::write(dir.join(format!("{name}-{peer}-{seed}.svg")), picture)?;
    }
    Ok(figures)
}

/// Seconds for which this thread has had a processor, where that is known: neighbours do not count.
fn ran() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanos: f64 = stat.split(' ').next()?.parse().ok()?;
    Some(nanos * 1e-9)
}
