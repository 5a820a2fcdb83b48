//! The summary: what happened, in the clients' numbers and the ledger's own words, and
//! whether the two agree.

use std::{collections::BTreeSet, process::ExitStatus, sync::Arc, time::Duration};

use serde_json::Value;

use super::{
    LIMIT, Payments, WORK_MS,
    client::{Client, Refused},
    ledger::Ledger,
    prober::Seen,
    screen::{Colours, say},
    tally::{Counts, Tally, median_and_max},
};
use crate::Fatal;

/// How the service left.
pub(super) struct Leaving {
    /// What it said while it left.
    pub(super) ledger: Ledger,
    pub(super) exit: ExitStatus,
    /// From the signal to the end of the process.
    pub(super) took: Duration,
}

/// A refusal on both sides: as its client saw it, and as the service wrote it down.
pub(super) struct Sample {
    pub(super) seen: Refused,
    pub(super) written: Option<String>,
}

pub(super) struct Report(Colours);

impl Report {
    pub(super) const fn new(colours: Colours) -> Self {
        Self(colours)
    }

    pub(super) fn calm(&self, calm: &Tally) {
        let calm = calm.counts();
        self.line(
            "calm",
            &format!(
                "{} of {} served{}.",
                n(calm.served),
                n(calm.asked),
                times(&calm.served_in)
            ),
        );
    }

    pub(super) fn overload(&self, overload: &Tally, length: Duration) {
        let counts = overload.counts();
        let could = u64::from(LIMIT) * 1000 / u64::from(WORK_MS);
        let told = counts
            .retry_after
            .map_or_else(String::new, |(least, most)| {
                if least == most {
                    format!(", each told to come back after {least} s")
                } else {
                    format!(", each told to come back after {least} to {most} s")
                }
            });
        self.line("overload", &format!(
            "{} requests a second were asked where {could} can be done. {} served{}; {} refused{}{told}.",
            counts.asked / length.as_secs().max(1),
            n(counts.served), times(&counts.served_in),
            n(counts.refused_sum()), times(&counts.refused_in),
        ));
    }

    pub(super) fn payments(&self, payments: &Payments) {
        let (pay, others, mending, mended) = (
            payments.pay.counts(),
            payments.products.counts(),
            payments.mending.counts(),
            payments.mended.counts(),
        );
        let untried = pay
            .refused
            .get("dependency-down")
            .copied()
            .unwrap_or_default();
        let by_limit = match pay.refused_sum() - untried {
            0 => String::new(),
            more => format!(", and {} for other reasons", n(more)),
        };
        self.line(
            "no payments",
            &format!(
                "The service knew after {}. {} payments were tried in vain; {} were refused without a \
                 try{by_limit}{}. Meanwhile {} of {} other requests were served. Mended, it let \
                 payments back in within {}, {} of {} at first, and then {} of {} went through.",
                t(payments.noticed),
                n(pay.failed_sum()),
                n(untried),
                times(&pay.refused_in),
                n(others.served),
                n(others.asked),
                t(payments.recovered),
                n(mending.served),
                n(mending.asked),
                n(mended.served),
                n(mended.asked),
            ),
        );
    }

    pub(super) fn drain(&self, drain: &Tally, leaving: &Leaving) {
        let counts = drain.counts();
        self.line(
            "drain",
            &format!(
                "SIGTERM in the midst of work: /ready/ said no, and what came was served until the \
                 clients had noticed. {} of {} requests were served, {} refused, {} lost; the \
                 process ended {} after the signal, with {}.",
                n(counts.served),
                n(counts.asked),
                n(counts.refused_sum()),
                n(counts.lost),
                t(leaving.took),
                leaving.exit,
            ),
        );
    }

    pub(super) fn probes(&self, seen: &Seen) {
        self.line(
            "probes",
            &format!(
                "/ready/ answered {} times throughout{}.",
                n(seen.asked),
                times(&seen.times)
            ),
        );
    }

    /// What the service says itself.
    pub(super) fn ledger(&self, ledger: &Ledger) {
        let Colours {
            bold,
            dim,
            off,
            warn,
            ..
        } = self.0;
        say(&format!(
            "\n{bold}In the ledger's own words{off} {dim}(GET /why503/){off}\n"
        ));
        for incident in &ledger.incidents {
            self.paragraph(
                &format!("  {warn}{:<15}{off}", incident.cause),
                17,
                &format!(
                    "{} refusals by {}, {} to {}. It began with: {}.",
                    n(incident.count),
                    incident.source,
                    incident.first,
                    incident.last,
                    incident.evidence
                ),
            );
        }
    }

    /// One refusal, followed from its client to the ledger.
    pub(super) fn sample(&self, sample: Option<&Sample>) {
        let Some(Sample { seen, written }) = sample else {
            return;
        };
        let Colours { bold, dim, off, .. } = self.0;
        say(&format!(
            "\n{bold}One of them{off} {dim}(GET /why503/{}){off}\n  its client read:  {}\n  the ledger says:  {}\n",
            seen.id,
            seen.detail,
            written
                .as_deref()
                .unwrap_or("nothing; it keeps the newest ones only"),
        ));
    }

    /// Compares, and decides how the program ends.
    pub(super) fn verdict(
        &self,
        streams: &[&Arc<Tally>],
        ledger: &Ledger,
        leaving: &Leaving,
    ) -> Result<(), Fatal> {
        let Colours { bold, off, .. } = self.0;
        let mut seen = Counts::default();
        for stream in streams {
            seen.add(&stream.counts());
        }
        say(&format!("\n{bold}Do they agree?{off}\n"));
        say("                       clients saw  ledger counted  in incidents\n");
        let causes: BTreeSet<_> = seen.refused.keys().chain(ledger.by_cause.keys()).collect();
        let mut agree = true;
        for cause in causes {
            let by_clients = seen.refused.get(cause).copied().unwrap_or_default();
            let by_ledger = ledger.by_cause.get(cause).copied().unwrap_or_default();
            let in_incidents = ledger.in_incidents(cause);
            let same = by_clients == by_ledger
                && in_incidents <= by_ledger
                && in_incidents + ledger.not_written_down >= by_ledger;
            agree &= same;
            say(&format!(
                "  {} {cause:<18} {:>11}  {:>14}  {:>12}\n",
                self.mark(same),
                n(by_clients),
                n(by_ledger),
                n(in_incidents)
            ));
        }
        if ledger.not_written_down > 0 {
            say(&format!(
                "    {} of them were not kept one by one: so many came at once\n",
                n(ledger.not_written_down)
            ));
        }
        let ended = seen.served + seen.refused_sum() + seen.failed_sum() + seen.lost;
        let mut faults = Vec::new();
        let mut check = |holds: bool, what: String| {
            say(&format!("  {} {what}\n", self.mark(holds)));
            if !holds {
                faults.push(what);
            }
        };
        check(
            agree,
            "every refusal that a client saw is in the ledger, and no other".to_owned(),
        );
        check(
            ended == seen.asked,
            format!(
                "every request has one outcome: {} asked = {} served + {} refused + {} failed + {} lost",
                n(seen.asked),
                n(seen.served),
                n(seen.refused_sum()),
                n(seen.failed_sum()),
                n(seen.lost)
            ),
        );
        check(
            seen.lost == 0,
            format!("no request was lost: {}", n(seen.lost)),
        );
        check(
            leaving.exit.success(),
            format!("the service left in order: {}", leaving.exit),
        );
        if seen.held_back > 0 {
            say(&format!(
                "    {} requests were not sent: this machine was too slow\n",
                n(seen.held_back)
            ));
        }
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Fatal::new(format!("does not hold: {}", faults.join("; "))))
        }
    }

    pub(super) fn heading(&self) {
        let Colours { bold, off, .. } = self.0;
        say(&format!("{bold}What happened{off}\n"));
    }

    fn line(&self, weather: &str, text: &str) {
        let Colours { bold, off, .. } = self.0;
        self.paragraph(&format!("  {bold}{weather:<11}{off}"), 13, text);
    }

    /// Text beside its heading, wrapped.
    fn paragraph(&self, heading: &str, indent: usize, text: &str) {
        let mut out = heading.to_owned();
        let mut column = indent;
        for word in text.split(' ') {
            let length = word.chars().count() + 1;
            if column + length > COLUMNS {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                column = indent;
            }
            out.push(' ');
            out.push_str(word);
            column += length;
        }
        say(&format!("{out}\n"));
    }

    fn mark(&self, holds: bool) -> String {
        let Colours { good, bad, off, .. } = self.0;
        if holds {
            format!("{good}✓{off}")
        } else {
            format!("{bad}✗{off}")
        }
    }
}

impl Sample {
    /// Looks the last refusal of a stream up.
    pub(super) async fn find(client: &Client, stream: &Tally) -> Option<Self> {
        let seen = stream.counts().sample?;
        let found = client
            .operator(&format!("/why503/{}", seen.id))
            .await
            .ok()?;
        let found = found["refusals"]
            .as_array()
            .or(found.as_array())?
            .first()
            .cloned();
        let written = found.as_ref().map(written);
        Some(Self { seen, written })
    }
}

/// One refusal of the ledger as a line.
fn written(found: &Value) -> String {
    let text = |name: &str| found[name].as_str().unwrap_or_default();
    let (at, cause) = (text("at"), text("cause"));
    let evidence = super::ledger::words(&found["evidence"]);
    // Refusals of a storm are not all kept: what an id says by itself is told with a note.
    match found["note"].as_str() {
        None => format!("{} at {at}, {cause}: {evidence}", text("request")),
        Some(_) => format!(
            "{cause} at {at}, as its id says (of so many not each is kept);\n{}its incident began with: {evidence}",
            " ".repeat(20)
        ),
    }
}

/// Widest line of the summary, as a terminal of 100 columns shows it.
const COLUMNS: usize = 96;

/// A count, its thousands apart.
fn n(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time as a person says it.
fn t(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1000.0 => format!("{ms:.0} ms"),
        ms => format!("{:.1} s", ms / 1000.0),
    }
}

/// ` (median 2 ms, slowest 9 ms)`, or nothing if there was none.
fn times(times: &[Duration]) -> String {
    median_and_max(times.to_vec()).map_or_else(String::new, |(median, max)| {
        format!(" (median {}, slowest {})", t(median), t(max))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_refusal_that_was_not_kept_is_told_as_what_its_id_says() {
        let mut found = json!({
            "at": "2026-01-31T10:02:11Z", "cause": "overloaded", "request": "GET /work",
            "evidence": {"in_flight": 16, "limit": 16},
        });
        assert_eq!(
            written(&found),
            "GET /work at 2026-01-31T10:02:11Z, overloaded: in flight 16, limit 16"
        );
        found["request"] = json!("not kept");
        found["note"] = json!("refusals came faster than they are kept");
        let told = written(&found);
        assert!(
            told.starts_with("overloaded at 2026-01-31T10:02:11Z, as its id says"),
            "{told}"
        );
        assert!(
            told.ends_with("its incident began with: in flight 16, limit 16"),
            "{told}"
        );
    }

    #[test]
    fn numbers_are_written_for_people() {
        for (count, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(n(count), text);
        }
        for (micros, text) in [
            (950, "0.9 ms"),
            (9_990, "10.0 ms"),
            (203_400, "203 ms"),
            (1_900_000, "1.9 s"),
        ] {
            assert_eq!(t(Duration::from_micros(micros)), text);
        }
    }
}
