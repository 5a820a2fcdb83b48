//! What an operator should change, told by what was seen on the way out.

use std::{fmt, time::Duration};

use super::{DrainReport, LameDuckEnd};

/// A request in the last part of the lame duck means that somebody had not yet gone: this
/// share of it, counted from its end.
const STILL_COMING: u32 = 10;

/// Fewer late requests than this are stragglers, not a balancer that does not listen.
const LATE_MIN: u64 = 3;

/// A likely misconfiguration, with its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Advice {
    /// Requests came, and nobody asked for readiness.
    NobodyAsksReadiness {
        /// How many came.
        requests: u64,
    },
    /// Balancers were told, and still sent requests to the end of the lame duck.
    LameDuckTooShort {
        /// How many failing probes they had seen.
        probes: u32,
        /// How long the lame duck was.
        lame_duck: Duration,
    },
    /// Streams or upgraded connections ran into the deadline.
    StreamsDoNotLeave {
        /// How many.
        count: u64,
    },
}

impl DrainReport {
    /// Returns what this drain suggests to change, most likely first.
    #[must_use]
    pub fn advice(&self) -> Vec<Advice> {
        let mut advice = Vec::new();
        let late = self.came_late >= LATE_MIN && !self.lame_duck.is_zero();
        if late && self.failing_probes == 0 {
            let requests = self.came_late;
            advice.push(Advice::NobodyAsksReadiness { requests });
        }
        let to_the_end = self
            .last_came
            .is_some_and(|last| last + self.lame_duck / STILL_COMING >= self.lame_duck);
        if late
            && self.failing_probes > 0
            && to_the_end
            && self.lame_duck_end == LameDuckEnd::Maximum
        {
            advice.push(Advice::LameDuckTooShort {
                probes: self.failing_probes,
                lame_duck: self.lame_duck,
            });
        }
        let count = self.cut.stream + self.cut.upgrade;
        if count > 0 {
            advice.push(Advice::StreamsDoNotLeave { count });
        }
        advice
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NobodyAsksReadiness { requests } => write!(
                f,
                "{requests} requests came after readiness had begun to fail, and nobody asked \
                 for it: let the balancer's health check ask the readiness path; a balancer that \
                 cannot ask learns of the end only by refused connections"
            ),
            Self::LameDuckTooShort { probes, lame_duck } => write!(
                f,
                "requests came to the end of the lame duck of {:.1} s although {probes} probes \
                 had failed: let the balancer probe more often or give up sooner, or raise \
                 lame_duck_max above interval times threshold",
                lame_duck.as_secs_f64()
            ),
            Self::StreamsDoNotLeave { count } => write!(
                f,
                "{count} streams or upgraded connections ran into the deadline: end them when \
                 the drain token says so, or give them a longer grace"
            ),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn report() -> DrainReport {
        DrainReport {
            lame_duck: Duration::from_secs(10),
            lame_duck_end: LameDuckEnd::Maximum,
            came_late: 500,
            last_came: Some(Duration::from_millis(9900)),
            ..DrainReport::default()
        }
    }

    #[test]
    fn each_misconfiguration_has_its_remedy_and_a_quiet_end_has_none() {
        let [only] = &report().advice()[..] else {
            panic!("one");
        };
        assert_eq!(*only, Advice::NobodyAsksReadiness { requests: 500 });
        let mut told = report();
        told.failing_probes = 4;
        let told = told.advice();
        assert!(matches!(
            told[..],
            [Advice::LameDuckTooShort { probes: 4, .. }]
        ));
        let mut left = report();
        left.failing_probes = 4;
        left.last_came = Some(Duration::from_secs(3));
        assert_eq!(left.advice(), []);
        let mut few = report();
        few.came_late = 1;
        assert_eq!(few.advice(), []);
    }
}
