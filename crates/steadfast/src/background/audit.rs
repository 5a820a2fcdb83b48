//! Tells once, in the log, what cannot work: settings that do not fit each other, or what is
//! around the process.
//!
//! A risk is found while nothing fails, so nobody looks at the page that shows it. It is
//! looked for at the start and twice a minute, because some of it shows only by and by: who
//! probes, and how often.

use std::collections::BTreeSet;

use steadfast_diagnosis::{Id, Role, Tied};

use crate::instance::Control;

/// Between two looks, in rounds of a second.
const EVERY_ROUNDS: u32 = 30;

/// Most risks that are told; each id can be about each dependency.
const TOLD_MAX: usize = 256;

/// What is told where it is found, with what only that place knows: the arithmetic of a
/// drain, the routes of a Router, the answer that had the headers.
const TOLD_ELSEWHERE: [Id; 3] = [Id::ConfigGrace, Id::ConfigShadowedRoute, Id::ConfigCors];

/// What was told.
#[derive(Debug, Default)]
pub(crate) struct Audit {
    rounds: u32,
    told: BTreeSet<(Id, Tied)>,
}

impl Audit {
    /// Looks, if it is time, and tells what is new.
    pub(crate) fn round(&mut self, control: &Control) {
        let is_due = self.rounds % EVERY_ROUNDS == 0;
        self.rounds = self.rounds.wrapping_add(1);
        if !is_due {
            return;
        }
        for risk in control.diagnosis().findings {
            let is_ours = risk.role == Role::Risk && !TOLD_ELSEWHERE.contains(&risk.id);
            if !is_ours || self.told.len() >= TOLD_MAX {
                continue;
            }
            if self.told.insert((risk.id, risk.about.clone())) {
                tracing::warn!(target: crate::log::AUDIT, id = %risk.id, fix = risk.fix.text, "{}", risk.summary);
            }
        }
    }
}
