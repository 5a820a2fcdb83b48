//! What was set, as far as it can be wrong beside what is seen: the self-audit's facts.

use steadfast_diagnosis::{Evidence, Own};

use super::say;
use crate::instance::Control;

pub(super) fn gather(evidence: &mut Evidence, control: &Control) {
    let drain = control.drain_settings();
    say(
        evidence,
        Own::LameDuck {
            max: drain.lame_duck_max,
        },
    );
}
