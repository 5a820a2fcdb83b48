//! Whether the instance should get traffic: the checks in the background, and the answers
//! that probes read from memory.
//!
//! ```text
//! scheduler ──asks──▶ check          one task for each dependency
//!     └─────records──▶ Dependency ──▶ snapshot ──read by──▶ /ready/ /health/ (any thread)
//! lifecycle, pulse ─────────────────────┘
//! ```
//!
//! A probe takes no lock, does no I/O and asks no dependency, however many come: it loads
//! one snapshot, compares the moments in it with the present (a snapshot that nobody
//! renews goes stale by itself) and writes a short answer. So a thousand probes a second
//! cost the database nothing, and probes answer while every check hangs.
//!
//! Law kept: a check can neither stop the scheduler nor another check. Each run is a task of
//! its own, so a panic is an answer and a hang is cut; a check that blocks its thread is not
//! started a second time while the first has not come back.

pub(crate) mod overload;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use steadfast_core::{
    Lifecycle, Name, Phase, Verdict,
    plumbing::{
        DependencyView, LifecycleView, Moved, Pulse, Signals, Standing, first_round_is_over,
        start_is_complete, verdict,
    },
};
use tokio::sync::watch;

use crate::{clock, dependency::Dependency, refusal::Explain};

pub(crate) const LIFECYCLE: Name = Name::from_static("lifecycle");

/// What the verdict is made of, published whenever a part of it changes.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    pub(crate) life: LifecycleView,
    pub(crate) dependencies: Vec<DependencyView>,
    /// The opt-in rule's finding at the last round.
    pub(crate) overloaded: bool,
}

/// The readiness of one guard.
#[derive(Debug)]
pub(crate) struct Readiness {
    pub(crate) life: Arc<Lifecycle>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) pulse: Pulse,
    pub(crate) explain: Explain,
    unready_budget: Duration,
    snapshot: ArcSwap<Snapshot>,
    overloaded: Mutex<bool>,
    /// Held while a snapshot is made and stored, so that an older one never replaces a newer.
    publishing: Mutex<()>,
    standing: watch::Sender<Standing>,
    phase: watch::Sender<Option<Phase>>,
}

impl Readiness {
    pub(crate) fn new(
        life: Arc<Lifecycle>,
        dependencies: Vec<Dependency>,
        explain: Explain,
        unready_budget: Duration,
    ) -> Self {
        let now = clock::now();
        let first = Snapshot {
            life: life.view(now),
            dependencies: dependencies.iter().map(Dependency::view).collect(),
            overloaded: false,
        };
        Self {
            life,
            dependencies,
            pulse: Pulse::new(now),
            explain,
            unready_budget,
            snapshot: ArcSwap::from_pointee(first),
            overloaded: Mutex::new(false),
            publishing: Mutex::new(()),
            standing: watch::Sender::new(Standing::NotReady),
            phase: watch::Sender::new(None),
        }
    }

    /// Returns the verdict now, with what it was made of. What traffic says of the
    /// dependencies is read as of now; what checks say is as of the last publication, and
    /// goes stale by itself.
    pub(crate) fn verdict(&self, now: Instant) -> (Verdict, Snapshot) {
        let mut snapshot = Snapshot::clone(&self.snapshot.load());
        let signals = Signals {
            silent_for: self.pulse.silent_for(now),
            overloaded: snapshot.overloaded,
            unready_budget: self.unready_budget,
        };
        for (dependency, view) in self.dependencies.iter().zip(&mut snapshot.dependencies) {
            dependency.state().refresh(view, now);
        }
        let life = snapshot.life.clone().at(now);
        (
            verdict(&life, &snapshot.dependencies, signals, now),
            snapshot,
        )
    }

    /// Takes the finding of the opt-in overload rule; the next publication carries it.
    pub(crate) fn set_overloaded(&self, overloaded: bool) {
        *self
            .overloaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = overloaded;
    }

    /// Publishes what has changed, and moves on from starting when the first round is complete.
    pub(crate) fn publish(&self) {
        let _one_at_a_time = self
            .publishing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        let seen: Vec<_> = self.dependencies.iter().map(Dependency::view).collect();
        for (dependency, view) in self.dependencies.iter().zip(&seen) {
            dependency.follow(view, now);
        }
        if start_is_complete(&seen) {
            if self.life.view(now).phase == Some(Phase::Starting) {
                self.moved(self.life.advance(Phase::Ready, now));
            } else {
                self.life.start_passed(now);
            }
        } else if first_round_is_over(&seen) {
            self.life.first_round_failed(now);
        }
        let overloaded = *self
            .overloaded
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let life = self.life.view(now);
        let phase = life.phase;
        self.snapshot.store(Arc::new(Snapshot {
            life,
            dependencies: seen,
            overloaded,
        }));
        // Here, so that whoever waited for a phase reads a snapshot that has it.
        self.phase.send_if_modified(|known| {
            let ahead = *known < phase;
            *known = phase.max(*known);
            ahead
        });
        let (verdict, _) = self.verdict(now);
        let before = self.standing.send_replace(verdict.standing);
        if before != verdict.standing {
            let why: Vec<_> = verdict.reasons.iter().map(ToString::to_string).collect();
            self.explain.note(
                &Name::from_static("readiness"),
                before.as_str(),
                verdict.standing.as_str(),
                &why.join("; "),
            );
        }
    }

    /// Moves to a phase, if it is ahead, and tells everybody. Returns whether it moved.
    pub(crate) fn advance(&self, phase: Phase) -> bool {
        let moved = self.life.advance(phase, clock::now());
        let did_move = moved.is_some();
        self.moved(moved);
        if did_move {
            self.publish();
        }
        did_move
    }

    pub(crate) fn moved(&self, moved: Option<Moved>) {
        let Some(moved) = moved else { return };
        let from = moved.from.map_or("not started", Phase::as_str);
        let why = format!("after {:.1} s", moved.after.as_secs_f64());
        self.explain.note(&LIFECYCLE, from, moved.to.as_str(), &why);
    }

    /// Follows the phase.
    pub(crate) fn watch_phase(&self) -> watch::Receiver<Option<Phase>> {
        self.phase.subscribe()
    }

    /// Follows the verdict's standing.
    pub(crate) fn watch(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }
}
