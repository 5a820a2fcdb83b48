//! Runs scenarios and prints what came of them.

use sim::scenario::Bar;
use sim::world;
use std::num::NonZeroU32;
use steadfast_core::limit::{Adaptive, Fixed, Limit};

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut filter = String::new();
    let mut seeds = 1..=1u64;
    let mut peer = "adaptive".to_owned();
    let mut trace = false;
    let mut it = args.iter();
    while let Some(a) = it.next() {
        match a.as_str() {
            "--seed" => {
                let s = it.next().unwrap().parse().unwrap();
                seeds = s..=s;
            }
            "--seeds" => seeds = 1..=it.next().unwrap().parse().unwrap(),
            "--peer" => peer = it.next().unwrap().clone(),
            "--trace" => trace = true,
            other => filter = other.to_owned(),
        }
    }
    let make = move |seed: u64| -> Box<dyn Limit> {
        match peer.as_str() {
            "adaptive" => Box::new(Adaptive::new(seed)),
            p if p.starts_with("fixed-") => Box::new(Fixed::new(
                NonZeroU32::new(p[6..].parse().unwrap()).unwrap(),
            )),
            p if p.starts_with("start-") => Box::new(
                Adaptive::builder(seed)
                    .start(p[6..].parse().unwrap())
                    .build(),
            ),
            _ => panic!(),
        }
    };
    for s in sim::scenarios::all() {
        if !s.name.contains(&filter) {
            continue;
        }
        for seed in seeds.clone() {
            let r = world::run(&s.setup, &make, seed);
            print!("{:26} {seed:3} ", s.name);
            for f in (s.figures)(&r) {
                let (v, ok) = (f.value, f.holds());
                let bar = match f.bar {
                    Bar::Least(b) => format!("(>={b})"),
                    Bar::Most(b) => format!("(<={b})"),
                    Bar::None => String::new(),
                };
                print!(
                    " {}={:.3}{}{}",
                    f.name,
                    v,
                    bar,
                    if ok { "" } else { " FAIL" }
                );
            }
            println!(
                "  calls/req={:.2} changes={}",
                r.calls_per_request,
                r.changes.len()
            );
            if std::env::var("CH").is_ok() {
                for c in &r.changes {
                    println!("  {:.3} {c}", r.secs_of(c));
                }
            }
            if trace {
                for (i, b) in r.bins.iter().enumerate() {
                    println!(
                        "{:6.2} sent={} refused={} done={} to={} cap={:?} f={} ",
                        i as f64 * 0.05,
                        b.sent,
                        b.refused,
                        b.done,
                        b.timed_out,
                        b.cap,
                        b.in_flight
                    );
                    for c in &r.changes {
                        let _ = c;
                    }
                }
                if let Some(first) = r.changes.first() {
                    for c in &r.changes {
                        println!("  +{:.3} {c}", c.at.duration_since(first.at).as_secs_f64());
                    }
                }
            }
        }
    }
}
