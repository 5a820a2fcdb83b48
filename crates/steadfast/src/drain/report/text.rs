//! The report as an operator reads it.

use std::fmt;

use super::{DrainReport, HookEnd, LameDuckEnd};

impl fmt::Display for LameDuckEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Skipped => "none was asked for",
            Self::BalancersGone => "balancers had gone",
            Self::Maximum => "its maximum had passed",
            Self::Hurried => "told to hurry",
        })
    }
}

impl fmt::Display for HookEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Done => "done",
            Self::Panicked => "panicked",
            Self::TimedOut => "cut, its time was over",
            Self::NotRun => "not run, no time was left",
        })
    }
}

/// Joins the counts that are not zero.
fn counts(all: &[(&str, u64)]) -> Option<String> {
    let some: Vec<_> = all
        .iter()
        .filter(|(_, count)| *count != 0)
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    (!some.is_empty()).then(|| some.join(", "))
}

impl DrainReport {
    /// Returns the report in one line.
    #[must_use]
    pub fn summary(&self) -> String {
        let cut = counts(&self.cut.by_reason()).unwrap_or_else(|| "nothing".to_owned());
        format!(
            "left after {:.1} s (lame duck {:.1} s: {}; draining {:.1} s): served {}, cut {cut}",
            self.total.as_secs_f64(),
            self.lame_duck.as_secs_f64(),
            self.lame_duck_end,
            self.draining.as_secs_f64(),
            self.served,
        )
    }
}

impl fmt::Display for DrainReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.summary())?;
        writeln!(f, "  why: {}", self.why)?;
        write!(
            f,
            "  requests: {} served, {} abandoned by their client, {} came after readiness \
             failed",
            self.served, self.abandoned, self.came_late
        )?;
        if let Some(last) = self.last_came {
            write!(f, " (the last after {:.1} s)", last.as_secs_f64())?;
        }
        writeln!(f, "; {} failing probes served", self.failing_probes)?;
        let closed = &self.closed;
        let ends = counts(&[
            ("told by header", closed.told_by_header),
            ("told by GOAWAY", closed.told_by_goaway),
            ("GOAWAY unacknowledged", closed.goaway_unacknowledged),
            ("closed idle", closed.idle),
            ("closed unused", closed.unused),
            ("closed by the peer", closed.by_peer),
            ("reset by the peer", closed.reset_by_peer),
            ("upgraded and ended", closed.upgraded),
            ("too slow", closed.too_slow),
        ]);
        match ends {
            Some(ends) => writeln!(f, "  connections: {ends}")?,
            None if self.connections_seen => writeln!(f, "  connections: none")?,
            None => writeln!(f, "  connections: not seen")?,
        }
        for stuck in &self.stuck {
            let route = if stuck.route.is_empty() {
                "no request yet"
            } else {
                &stuck.route
            };
            let age = stuck.age.as_secs_f64();
            writeln!(f, "  cut in {}: {route}, after {age:.1} s", stuck.reason)?;
        }
        for hook in &self.hooks {
            let (stage, took) = (hook.stage.as_str(), hook.took.as_secs_f64());
            writeln!(f, "  hook {stage} {}: {}, {took:.1} s", hook.name, hook.end)?;
        }
        for advice in self.advice() {
            writeln!(f, "  advice: {advice}")?;
        }
        Ok(())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::drain::{Cut, HookReport, HookStage, Stuck};
    use std::time::Duration;

    #[test]
    fn the_report_names_what_was_cut_and_for_how_long_it_had_run() {
        let report = DrainReport {
            why: "SIGTERM".into(),
            served: 812,
            cut: Cut {
                handler: 1,
                stream: 2,
                ..Cut::default()
            },
            stuck: vec![Stuck::new("handler", "/report", Duration::from_secs(21))],
            hooks: vec![HookReport::new(
                "close pool",
                HookStage::AfterDrain,
                HookEnd::TimedOut,
                Duration::from_secs(3),
            )],
            ..DrainReport::default()
        };
        let text = report.to_string();
        for part in [
            "served 812, cut 1 handler, 2 stream",
            "cut in handler: /report, after 21.0 s",
            "hook after-drain close pool: cut, its time was over, 3.0 s",
            "advice: 2 streams",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert_eq!(report.exit_status(), DrainReport::EXIT_CUT);
    }

    #[test]
    fn a_half_sent_head_alone_is_no_lost_work() {
        let report = DrainReport {
            cut: Cut {
                handshake: 3,
                ..Cut::default()
            },
            ..DrainReport::default()
        };
        assert!(report.is_clean() && report.exit_status() == 0);
        assert!(report.to_string().contains("cut 3 handshake"));
    }
}
