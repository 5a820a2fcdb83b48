//! Says when an incident is over, and knows which are not.
//!
//! That one begins is said where its first refusal is answered. That it is over is known only
//! when nothing has come for a while ([`steadfast_core::plumbing::INCIDENT_GAP`]), so once a second
//! somebody looks. Both lines together are all that the log has of a storm, whatever its
//! length; the metrics say since when it lasts, because a rate only says that it does.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use steadfast_core::{Cause, Ledger, Rule, plumbing::Incident};

use crate::clock;

/// What was seen at the last look: the last incident of each cause and source. As many as the
/// ledger tells apart.
#[derive(Debug, Default)]
pub(crate) struct Incidents(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    /// Refusals up to the last look. While nothing is refused there is nothing to look at.
    refused: u64,
    last: Vec<(Incident, bool)>,
}

impl Incidents {
    /// Looks, and says which are over.
    pub(crate) fn round(&self, ledger: &Ledger) {
        let now = clock::now();
        let mut seen = self.lock();
        let refused = Cause::ALL.iter().map(|cause| ledger.count(*cause)).sum();
        let is_quiet = refused == seen.refused && !seen.last.iter().any(|(_, lasts)| *lasts);
        if is_quiet {
            return;
        }
        seen.refused = refused;
        // Oldest first, so that what began again stands last.
        for incident in ledger.incidents().into_iter().rev() {
            seen.take(incident, now);
        }
    }

    /// Says of those that last that nobody will see their end: the guard stops.
    pub(crate) fn stop(&self, ledger: &Ledger) {
        self.round(ledger);
        for (incident, lasts) in &mut self.lock().last {
            if std::mem::take(lasts) {
                say_that_it_is_over(incident, "the guard stopped");
            }
        }
    }

    /// Returns the last incident of each cause and source, and whether it lasts.
    pub(crate) fn known(&self) -> Vec<(Incident, bool)> {
        self.lock().last.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn take(&mut self, incident: Incident, now: Instant) {
        let lasts = incident.is_open(now);
        let of_it =
            |known: &Incident| known.cause == incident.cause && known.source == incident.source;
        let Some((known, lasted)) = self.last.iter_mut().find(|(known, _)| of_it(known)) else {
            if !lasts {
                say_that_it_is_over(&incident, QUIET);
            }
            self.last.push((incident, lasts));
            return;
        };
        // A stripe may be heard of late with an earlier first refusal, so what tells one from
        // the next is that it begins after the last was over.
        let is_another = !known.is_open(incident.first);
        if !is_another && incident.last < known.first {
            // An older one, told long ago.
            return;
        }
        if is_another && std::mem::take(lasted) {
            say_that_it_is_over(known, QUIET);
        }
        let is_new = is_another || std::mem::replace(lasted, lasts);
        if is_new && !lasts {
            say_that_it_is_over(&incident, QUIET);
        }
        *known = incident;
        *lasted = lasts;
    }
}

/// How most of them end.
const QUIET: &str = "nothing came";

fn say_that_it_is_over(incident: &Incident, how: &str) {
    let lasted = incident.last.saturating_duration_since(incident.first);
    tracing::info!(
        target: crate::log::INCIDENT,
        cause = incident.cause.code(),
        rule = incident.rule.map_or("", Rule::code),
        source = %incident.source,
        lasted_ms = lasted.as_millis(), refused = incident.count, how,
        "refusing no more"
    );
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::refusal::refuse;

    /// Each look is at the second, after so many refusals in that second.
    #[tokio::test(start_paused = true)]
    async fn of_each_cause_and_source_the_last_is_known_and_whether_it_lasts() {
        let (ledger, incidents) = (Ledger::new(), Incidents::default());
        let start = clock::now();
        for (second, refusals, lasts, began, count) in [
            (1, 3, true, 1, 3),
            (8, 1, true, 1, 4),
            (18, 0, true, 1, 4),
            (19, 0, false, 1, 4),
            (40, 2, true, 40, 2),
            // It is over and the next has begun before anybody looks.
            (60, 1, true, 60, 1),
        ] {
            let at = start + Duration::from_secs(second);
            tokio::time::sleep_until(at.into()).await;
            (0..refusals).for_each(|_| refuse(&ledger, at));
            incidents.round(&ledger);
            let known = incidents.known();
            let seen: Vec<_> = known
                .iter()
                .map(|(it, lasts)| (*lasts, (it.first - start).as_secs(), it.count))
                .collect();
            assert_eq!(seen, [(lasts, began, count)], "second {second}");
        }
    }
}
