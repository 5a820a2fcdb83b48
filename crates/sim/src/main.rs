//! Runs scenarios, prints what came of them and draws it.

use std::path::PathBuf;
use std::process::ExitCode;

use sim::scenario::{Bar, Figure, Scenario};
use sim::summary::Summary;
use sim::{peers, pictures, scenarios, svg};

const USAGE: &str = "usage: sim [SCENARIO] [--peer NAME|all] [--seed N | --seeds N | --seeds FROM-TO] [--summary | --csv] [--changes] [--speed] [--svg DIR]
       sim --fleets DIR
Runs every scenario whose name contains SCENARIO; several names are separated by commas. Peers: adaptive fixed-N start-N aimd gradient2 vegas, each also with +gate, +queue, +queue-N or +queue-N-MS behind it.\n--fleets draws the pictures of docs/fleets.md.";

struct Options {
    scenario: String,
    peers: Vec<String>,
    seeds: std::ops::RangeInclusive<u64>,
    changes: bool,
    speed: bool,
    csv: bool,
    summary: bool,
    svg: Option<PathBuf>,
    fleets: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("{USAGE}");
        return ExitCode::from(64);
    };
    if let Some(dir) = &options.fleets {
        return match pictures::fleets(dir) {
            Ok(files) => {
                files.iter().for_each(|file| println!("{file}"));
                ExitCode::SUCCESS
            }
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    if options.csv {
        println!("scenario,peer,seed,figure,value,bar,holds");
    }
    let mut held = (0, 0);
    for scenario in scenarios::all() {
        if !options.wants(&scenario.name) {
            continue;
        }
        for peer in &options.peers {
            let mut summary = Summary::new(&scenario.name);
            for seed in options.seeds.clone() {
                match run(&options, &scenario, peer, seed) {
                    Ok(figures) => summary.add(&figures),
                    Err(error) => {
                        eprintln!("{error}");
                        return ExitCode::FAILURE;
                    }
                }
            }
            held.0 += summary.held().0;
            held.1 += summary.held().1;
            if options.summary {
                print!("{summary}");
            }
        }
    }
    if options.summary {
        println!("{} of {} figures held", held.0, held.1);
    }
    ExitCode::SUCCESS
}

fn run(
    options: &Options,
    scenario: &Scenario,
    peer: &str,
    seed: u64,
) -> std::io::Result<Vec<Figure>> {
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
            println!(
                "{name},{peer},{seed},{},{value:.4},{bar},{holds}",
                figure.name
            );
        }
    } else if !options.summary {
        print!("{name:26} {peer:10} {seed:2}");
        for figure in &figures {
            let (value, sign) = (figure.value, if figure.holds() { "" } else { "!" });
            let bar = match figure.bar {
                Bar::Least(bar) => format!(" (>= {bar})"),
                Bar::Most(bar) => format!(" (<= {bar})"),
                Bar::None => String::new(),
            };
            print!("  {sign}{} {value:.3}{bar}", figure.name);
        }
        println!("  calls/request {:.2}", record.calls_per_request);
    }
    if let Some(took) = took.filter(|_| options.speed) {
        let sent = record.sum(0.0, scenario.setup.secs, |bin| bin.sent);
        let events = record.events as f64;
        println!(
            "    {events} events of {sent} requests in {took:.2} s of a processor: {:.2} million events/s, {:.2} us a request",
            events / took / 1e6,
            took / sent * 1e6
        );
    }
    if options.changes {
        for change in &record.changes {
            println!("    {:8.3} s  {change}", record.secs_of(change));
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

fn options() -> Option<Options> {
    let mut options = Options {
        scenario: String::new(),
        peers: vec!["adaptive".to_owned()],
        seeds: 1..=1,
        changes: false,
        speed: false,
        csv: false,
        summary: false,
        svg: None,
        fleets: None,
    };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--peer" => {
                let name = args.next()?;
                options.peers = if name == "all" {
                    peers::NAMES.map(str::to_owned).into()
                } else {
                    peers::make(&name, 1)?;
                    vec![name]
                };
            }
            "--seed" => {
                let seed = args.next()?.parse().ok()?;
                options.seeds = seed..=seed;
            }
            "--seeds" => options.seeds = seeds(&args.next()?)?,
            "--summary" => options.summary = true,
            "--changes" => options.changes = true,
            "--speed" => options.speed = true,
            "--fleets" => options.fleets = Some(args.next()?.into()),
            "--csv" => options.csv = true,
            "--svg" => options.svg = Some(args.next()?.into()),
            name if !name.starts_with('-') => name.clone_into(&mut options.scenario),
            _ => return None,
        }
    }
    Some(options)
}

/// `N` is the seeds from 1 to N, `FROM-TO` those between.
fn seeds(text: &str) -> Option<std::ops::RangeInclusive<u64>> {
    let (from, to) = text.split_once('-').unwrap_or(("1", text));
    Some(from.parse().ok()?..=to.parse().ok()?)
}

impl Options {
    fn wants(&self, name: &str) -> bool {
        self.scenario.split(',').any(|part| name.contains(part))
    }
}
