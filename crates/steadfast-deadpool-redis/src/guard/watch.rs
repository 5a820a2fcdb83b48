//! One command on its way: its permit, its bound, and what its answer is told to.

use std::{io, sync::Arc, time::Instant};

use deadpool_redis::redis::{RedisError, RedisFuture};
use steadfast_core::{
    CallOutcome, CallPermit, Deadline, DependencyState, FailureClass, Refusal, plumbing::PoolLease,
};
use tokio::time::timeout_at;

use super::{command::Traits, error::explained, sessions::Sessions};
use crate::{
    clock,
    verdict::{self, Health, Verdict},
};

/// What is to become of the session.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fate {
    /// It leads to a server that cannot serve, or nothing on it is understood any more.
    pub(super) is_lost: bool,
    /// The server works on a command that waits, and takes the next one only afterwards.
    pub(super) is_waiting: bool,
}

/// Waits for the answer of one command. Dropped before, the command was abandoned.
pub(super) struct Watch<'a> {
    /// When its session was opened.
    pub(super) created: Instant,
    pub(super) traits: Traits,
    pub(super) is_patient: bool,
    pub(super) until: Option<Deadline>,
    pub(super) sessions: &'a Sessions,
    pub(super) lease: Option<&'a PoolLease>,
    pub(super) permit: Option<CallPermit<Arc<DependencyState>>>,
    pub(super) since: Instant,
    pub(super) fate: &'a mut Fate,
}

impl Watch<'_> {
    /// Waits until the request's deadline, and then leaves the command alone: that says
    /// nothing against a server which would have answered others in time.
    pub(super) async fn until_deadline<T>(
        mut self,
        answer: RedisFuture<'_, T>,
        judge: impl FnOnce(&Result<T, RedisError>) -> Verdict,
        fails: impl FnOnce(T) -> Result<T, RedisError>,
    ) -> Result<T, RedisError> {
        let answer = match self.until {
            None => answer.await,
            Some(until) => match timeout_at(until.instant().into(), answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    let text = "the request's time was over before the answer came";
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text).into());
                }
            },
        };
        let verdict = judge(&answer);
        self.answered(&verdict);
        match self.known_outage(&verdict.health) {
            // Whoever is told the error is told the reason too.
            Some(refusal) => answer
                .and_then(fails)
                .map_err(|error| explained(refusal.entered(), error)),
            None => answer,
        }
    }

    /// Returns the refusal that explains a failure, once the outage behind it is known.
    fn known_outage(&self, health: &Health) -> Option<Refusal> {
        let (state, now) = (&self.sessions.state, clock::now());
        match health {
            Health::Served | Health::Callers => None,
            Health::Ill(failure) => state.explanation_of(failure.class(), now),
            Health::ReadOnly { .. } => state.read_only_refusal(now),
        }
    }

    fn answered(&mut self, verdict: &Verdict) {
        let now = clock::now();
        match verdict.session {
            verdict::Session::Keep => {}
            verdict::Session::Close => self.fate.is_lost = true,
            verdict::Session::Demoted => {
                self.fate.is_lost |= self.sessions.generation(|it| it.accuse(self.created, now));
            }
        }
        if self.is_patient && verdict.health.is_silence() {
            return;
        }
        self.fate.is_waiting = false;
        let permit = self.permit.take();
        if let Some(permit) = permit.or_else(|| steadfast_pool::permit(&self.sessions.state, now)) {
            match &verdict.health {
                // One that takes no writes answered; that is a health of its own.
                Health::Served | Health::ReadOnly { .. } => permit.succeed(now),
                Health::Callers => permit.settle(CallOutcome::Neutral, now),
                Health::Ill(failure) => permit.fail_inside(failure.class().into(), failure, now),
            }
        }
        self.tell(&verdict.health, now);
    }

    /// Tells what is not a matter of this one call.
    fn tell(&self, health: &Health, now: Instant) {
        let state = &self.sessions.state;
        match health {
            Health::Served if self.traits.writes => {
                self.sessions.generation(|it| it.only_growth = false);
                state.note_writable(now);
            }
            Health::ReadOnly {
                failure,
                only_growth,
            } => {
                self.sessions.generation(|it| it.only_growth = *only_growth);
                state.note_read_only(failure, now);
            }
            // What a new session would be told too.
            Health::Ill(failure)
                if matches!(
                    failure.class(),
                    FailureClass::Loading | FailureClass::RefusedByServer
                ) =>
            {
                if let Some(lease) = self.lease {
                    lease.gate().connect_failed(failure.clone(), now);
                }
            }
            Health::Served | Health::Callers | Health::Ill(_) => {}
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let now = clock::now();
            let elapsed = now.saturating_duration_since(self.since);
            permit.settle(CallOutcome::Abandoned { elapsed }, now);
        }
    }
}
