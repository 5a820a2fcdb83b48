//! `bench traps [--json]`: which breaker falls into which trap.
//!
//! Each trap is a situation of production in which some breaker misbehaves, written once
//! and run against every peer through [`subject::Subject`]: calls whose end the trap
//! decides, time, and nothing else. Peers are wired as their documentation shows; where
//! there is a choice, the one that suits the trap. They read the real clock, so they wait
//! for real, and no verdict depends on how long a step takes; ours runs on a paused clock.
//!
//! A trap that a peer cannot be put into, because it has no such feature, is no failure and
//! says so. The command ends with an error if *ours* does not pass every one.

mod call;
mod clock;
mod failsafe;
mod handles;
mod ours;
mod pinned;
mod recloser;
mod recovery;
mod subject;
mod tower_resilience;
mod tripping;

use std::process::ExitCode;

use subject::Peer;

/// One situation.
pub(crate) struct Trap {
    /// A stable name: `M1`.
    id: &'static str,
    /// What a breaker should do.
    claim: &'static str,
    run: fn(&dyn Peer) -> Verdict,
}

/// What came of a trap.
#[derive(Clone, Debug)]
pub(crate) struct Verdict {
    /// `None` if the peer cannot be put into it.
    pass: Option<bool>,
    /// The fact that was seen, in a few words.
    seen: String,
}

impl Verdict {
    fn new(pass: bool, seen: impl Into<String>) -> Self {
        Self {
            pass: Some(pass),
            seen: seen.into(),
        }
    }

    fn not_applicable(why: impl Into<String>) -> Self {
        Self {
            pass: None,
            seen: why.into(),
        }
    }

    fn word(&self) -> &'static str {
        match self.pass {
            Some(true) => "pass",
            Some(false) => "FAIL",
            None => "-",
        }
    }
}

/// Runs every trap against every peer and prints what was seen.
pub(crate) fn command(json: bool) -> ExitCode {
    let peers = peers();
    let mut table = Vec::new();
    for trap in traps() {
        let verdicts: Vec<Verdict> = peers.iter().map(|peer| run(trap, &**peer)).collect();
        if json {
            print_lines(trap, &peers, &verdicts);
        }
        table.push((trap, verdicts));
    }
    if !json {
        print_table(&peers, &table);
    }
    let ours = peers.iter().position(|peer| peer.name() == ours::NAME);
    let is_trapped = |(_, verdicts): &(&Trap, Vec<Verdict>)| {
        ours.is_none_or(|ours| verdicts[ours].pass != Some(true))
    };
    let trapped: Vec<&str> = table
        .iter()
        .filter(|row| is_trapped(row))
        .map(|(trap, _)| trap.id)
        .collect();
    if trapped.is_empty() {
        return ExitCode::SUCCESS;
    }
    eprintln!("{} does not pass {}", ours::NAME, trapped.join(", "));
    ExitCode::FAILURE
}

pub(crate) fn peers() -> Vec<Box<dyn Peer>> {
    vec![
        Box::new(tower_resilience::TowerResilience),
        Box::new(failsafe::Failsafe),
        Box::new(recloser::RecloserPeer),
        Box::new(ours::Ours),
    ]
}

fn traps() -> impl Iterator<Item = &'static Trap> {
    tripping::TRAPS
        .iter()
        .chain(recovery::TRAPS)
        .chain(handles::TRAPS)
}

fn run(trap: &Trap, peer: &dyn Peer) -> Verdict {
    clock::inside(|| (trap.run)(peer))
}

fn print_lines(trap: &Trap, peers: &[Box<dyn Peer>], verdicts: &[Verdict]) {
    for (peer, verdict) in peers.iter().zip(verdicts) {
        println!(
            "{}",
            serde_json::json!({
                "bench": "traps", "trap": trap.id, "claim": trap.claim, "peer": peer.name(),
                "version": peer.version(), "pass": verdict.pass, "seen": verdict.seen,
            })
        );
    }
}

fn print_table(peers: &[Box<dyn Peer>], table: &[(&Trap, Vec<Verdict>)]) {
    for (at, peer) in peers.iter().enumerate() {
        println!("[{}] {} {}", at + 1, peer.name(), peer.version());
    }
    let heads = (1..=peers.len()).map(|at| format!("{:>6}", format!("[{at}]")));
    println!("\n{:<76}{}", "a breaker should", heads.collect::<String>());
    for (trap, verdicts) in table {
        let words = verdicts
            .iter()
            .map(|verdict| format!("{:>6}", verdict.word()));
        let claim = format!("{:<12} {}", trap.id, trap.claim);
        println!("{claim:<76}{}", words.collect::<String>());
    }
    println!("\nwhat was seen");
    for (trap, verdicts) in table {
        println!("\n{:<12} {}", trap.id, trap.claim);
        for (peer, verdict) in peers.iter().zip(verdicts) {
            println!(
                "  {:<4} {:<32} {}",
                verdict.word(),
                peer.name(),
                verdict.seen
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_passes_every_trap() {
        for trap in traps() {
            let verdict = run(trap, &ours::Ours);
            assert_eq!(
                verdict.pass,
                Some(true),
                "{} ({}): {}",
                trap.id,
                trap.claim,
                verdict.seen
            );
        }
    }

    #[test]
    fn a_trap_has_a_name_of_its_own() {
        let mut names: Vec<&str> = traps().map(|trap| trap.id).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
