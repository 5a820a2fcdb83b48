//! What was set, beside what is seen: the facts of the self-audit, which finds what cannot
//! work before it fails.

use std::time::{Duration, Instant};

use steadfast_diagnosis::{Evidence, Id, Own, Text};

use super::{around, say, since};
use crate::instance::{
    Control,
    probers::{ProbeKind, Prober},
};

/// What the guard was told, as far as the diagnosis asks for it. Known once it has started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    /// The version of the application: what was named, else when its program was written.
    pub(crate) version: Option<String>,
    /// How long the process manager waits after it has sent its signal, as far as is known.
    pub(crate) stop_allowed: Option<Duration>,
    /// How long an idle connection is kept.
    pub(crate) idle: Duration,
    /// After how long a request is cut, if at all.
    pub(crate) request_timeout: Option<Duration>,
}

pub(super) fn gather(evidence: &mut Evidence, control: &Control, now: Instant) {
    let drain = control.drain_settings();
    say(
        evidence,
        Own::LameDuck {
            max: drain.lame_duck_max,
        },
    );
    let mut probers = control.probers().view();
    // The doctor asks as a balancer does, and is none.
    probers.retain(|it| it.asks == ProbeKind::Ready && !it.agent.starts_with("why503"));
    say(evidence, probes(&probers, now));
    if let Some(known) = control.known() {
        let (longest, allowed) = (drain.longest(), known.stop_allowed);
        say(evidence, Own::Grace { longest, allowed });
        say(evidence, Own::KeepAlive { idle: known.idle });
        around::balancer(evidence, control, known, &probers);
        if let Some(version) = changed(control, known) {
            let since = since(control.made_at(), now);
            say(evidence, Own::Version { version, since });
        }
    }
    evidence.could_not(
        Id::HostAcceptQueueFull,
        "the kernel's queue is in front of the process",
        FROM_OUTSIDE,
    );
}

/// How to look at what only somebody outside of the process can see.
pub(super) const FROM_OUTSIDE: &str = "run why503 on the host, or against the URL that clients use";

/// Who asks for readiness, how often at the least, and when last.
fn probes(probers: &[Prober], now: Instant) -> Own {
    let regular = probers.iter().filter(|it| it.period().is_some());
    let slowest = regular.max_by_key(|it| it.period());
    Own::Probes {
        count: probers.iter().map(|it| it.count).sum(),
        period: slowest.and_then(Prober::period),
        last: probers.first().map(|it| since(it.last, now)),
        from: slowest
            .or(probers.first())
            .map(|it| Text::new(&it.agent))
            .unwrap_or_default(),
    }
}

/// The version, if the run before this one was of another.
fn changed(control: &Control, known: &Known) -> Option<Text> {
    let version = known.version.as_deref()?;
    let before = control.past().version()?;
    (before != version).then(|| Text::new(version))
}
