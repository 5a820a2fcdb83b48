//! What earlier processes of this service wrote down, and how a line of it looks.
//!
//! A line is a checksum, a blank and one JSON object. A file that was cut in the middle of a
//! line, or has had something else written into it, loses the lines that do not fit their
//! checksum and no others. Reading and writing is for a thread of its own
//! (`background/journal`); here is only what the page reads from memory.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use steadfast_core::plumbing::inert;

use crate::refusal::facts::Facts;

/// Runs that are kept in memory: more deploys than a bad day has.
pub(crate) const RUNS_KEPT: usize = 20;

/// Incidents, and changes, kept of one run; the latest.
const KEPT_OF_A_RUN: usize = 100;

/// Longest line that is read. What is written has bounded parts and is far shorter.
pub(crate) const LINE_LEN_MAX: usize = 8 * 1024;

/// What the processes before this one did.
#[derive(Debug, Default)]
pub(crate) struct Past(ArcSwap<Vec<Run>>);

impl Past {
    /// Returns the earlier runs, newest first.
    pub(crate) fn earlier(&self) -> Arc<Vec<Run>> {
        self.0.load_full()
    }

    /// Returns the version of the run before this one, if it had one.
    pub(crate) fn version(&self) -> Option<String> {
        let earlier = self.earlier();
        earlier.first().and_then(|run| run.version.clone())
    }

    pub(crate) fn set(&self, earlier: Vec<Run>) {
        self.0.store(Arc::new(earlier));
    }
}

/// One process, as its lines tell it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Run {
    #[serde(skip)]
    pub(crate) id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<String>,
    pub(crate) pid: u32,
    pub(crate) started: String,
    /// How it ended, in its own words. Absent if it never said so: it was killed, or it
    /// still runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended: Option<String>,
    /// When it last wrote something.
    pub(crate) last_seen: String,
    pub(crate) incidents: Vec<PastIncident>,
    pub(crate) changes: Vec<PastChange>,
}

/// An incident of an earlier run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PastIncident {
    pub(crate) cause: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) rule: String,
    pub(crate) source: String,
    pub(crate) first: String,
    /// Absent if the process ended before the incident did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    pub(crate) evidence: Facts,
}

/// A change in an earlier run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct PastChange {
    pub(crate) at: String,
    pub(crate) subject: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) why: String,
}

/// One line: of which run, and what it says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) run: String,
    #[serde(flatten)]
    pub(crate) event: Event,
}

/// What a line says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub(crate) enum Event {
    /// A process began.
    Started {
        at: String,
        version: Option<String>,
        pid: u32,
    },
    /// It is still there.
    Alive { at: String },
    /// Something changed.
    Changed {
        at: String,
        subject: String,
        from: String,
        to: String,
        why: String,
    },
    /// Requests are being refused.
    Began {
        at: String,
        cause: String,
        rule: String,
        source: String,
        evidence: Facts,
    },
    /// They were refused.
    Over {
        at: String,
        cause: String,
        source: String,
        first: String,
        count: u64,
    },
    /// It left.
    Ended { at: String, how: String },
}

impl Line {
    /// Writes the line with its checksum and its end.
    pub(crate) fn to_text(&self) -> String {
        let json = serde_json::to_string(self).expect("texts, numbers and lists of them");
        format!("{} {json}\n", checksum(json.as_bytes()))
    }

    /// Reads a line, without its end, if it is whole.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > LINE_LEN_MAX {
            return None;
        }
        let (sum, json) = text.split_at_checked(SUM_LEN)?;
        let json = json.strip_prefix(b" ")?;
        if checksum(json).as_bytes() != sum {
            return None;
        }
        serde_json::from_slice(json).ok()
    }
}

const SUM_LEN: usize = 16;

/// The first eight bytes of the SHA-256, in hexadecimal: against accidents, not against
/// somebody who may write the file.
fn checksum(json: &[u8]) -> String {
    let digest = Sha256::digest(json);
    digest[..SUM_LEN / 2]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Puts lines together to runs, newest first, without the run that reads. What is older than
/// `since` (RFC 3339, which sorts as text) is left out.
pub(crate) fn runs(lines: impl Iterator<Item = Line>, own: &str, since: &str) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for line in lines.filter(|line| line.run != own) {
        let at = match runs.iter().rposition(|run| run.id == line.run) {
            Some(at) => at,
            None => {
                runs.push(Run {
                    id: line.run.clone(),
                    started: inert(line.event.at()).into(),
                    ..Run::default()
                });
                runs.len() - 1
            }
        };
        runs[at].take(line.event);
    }
    runs.retain(|run| run.last_seen.as_str() >= since);
    runs.reverse();
    runs.truncate(RUNS_KEPT);
    runs
}

impl Event {
    pub(crate) fn at(&self) -> &str {
        match self {
            Self::Started { at, .. }
            | Self::Alive { at }
            | Self::Changed { at, .. }
            | Self::Began { at, .. }
            | Self::Over { at, .. }
            | Self::Ended { at, .. } => at,
        }
    }
}

impl Run {
    /// Takes what a line says. Its texts are made harmless once more: the file may have been
    /// written by somebody else.
    fn take(&mut self, event: Event) {
        let tame = |text: String| inert(&text).into_owned();
        if event.at() > self.last_seen.as_str() {
            self.last_seen = inert(event.at()).into();
        }
        match event {
            Event::Started { at, version, pid } => {
                (self.started, self.version, self.pid) = (tame(at), version.map(tame), pid);
            }
            Event::Alive { .. } => {}
            Event::Changed {
                at,
                subject,
                from,
                to,
                why,
            } => {
                let change = PastChange {
                    at: tame(at),
                    subject: tame(subject),
                    from: tame(from),
                    to: tame(to),
                    why: tame(why),
                };
                push_bounded(&mut self.changes, change);
            }
            Event::Began {
                at,
                cause,
                rule,
                source,
                evidence,
            } => {
                let incident = PastIncident {
                    cause: tame(cause),
                    rule: tame(rule),
                    source: tame(source),
                    first: tame(at),
                    last: None,
                    count: None,
                    evidence,
                };
                push_bounded(&mut self.incidents, incident);
            }
            Event::Over {
                at,
                cause,
                source,
                first,
                count,
            } => {
                let same = self.incidents.iter_mut().rev().find(|it| {
                    (it.cause.as_str(), it.source.as_str(), it.first.as_str())
                        == (cause.as_str(), source.as_str(), first.as_str())
                });
                if let Some(incident) = same {
                    (incident.last, incident.count) = (Some(tame(at)), Some(count));
                }
            }
            Event::Ended { how, .. } => self.ended = Some(tame(how)),
        }
    }
}

fn push_bounded<T>(list: &mut Vec<T>, item: T) {
    if list.len() == KEPT_OF_A_RUN {
        list.remove(0);
    }
    list.push(item);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(run: &str, event: Event) -> Line {
        Line {
            run: run.to_owned(),
            event,
        }
    }

    fn a_life(run: &str, day: u32) -> Vec<Line> {
        let at = |second: u32| format!("2026-01-{day:02}T00:00:{second:02}.000Z");
        let text = str::to_owned;
        [
            Event::Started {
                at: at(0),
                version: Some(text("1.2.3")),
                pid: 7,
            },
            Event::Began {
                at: at(1),
                cause: text("overloaded"),
                rule: text("limit"),
                source: text("shed"),
                evidence: Facts::default(),
            },
            Event::Over {
                at: at(9),
                cause: text("overloaded"),
                source: text("shed"),
                first: at(1),
                count: 12,
            },
            Event::Ended {
                at: at(20),
                how: text("drained in order"),
            },
        ]
        .map(|event| line(run, event))
        .into()
    }

    #[test]
    fn a_run_is_put_together_again_and_the_newest_is_first() {
        let lines = [a_life("a", 1), a_life("b", 2), a_life("own", 3)].concat();
        let texts: Vec<_> = lines.iter().map(Line::to_text).collect();
        let read = texts
            .iter()
            .map(|text| Line::parse(text.trim_end().as_bytes()));
        let read: Vec<_> = read.collect::<Option<_>>().expect("all whole");
        assert_eq!(read, lines);
        let runs = runs(read.into_iter(), "own", "2026-01-01");
        let ids: Vec<_> = runs.iter().map(|run| run.id.as_str()).collect();
        assert_eq!(ids, ["b", "a"]);
        assert_eq!(runs[0].ended.as_deref(), Some("drained in order"));
        assert_eq!(runs[0].incidents[0].count, Some(12));
        assert_eq!(runs[0].last_seen, "2026-01-02T00:00:20.000Z");
        let young = super::runs(lines.into_iter(), "own", "2026-01-02");
        assert_eq!(young.len(), 1, "what is too old is left out");
    }

    proptest! {
        /// Goal: a line that was cut or changed anywhere is dropped, never misread.
        #[test]
        fn a_line_that_is_not_whole_is_dropped(cut in 0_usize..200, flip in 1_u8..255, at in 0_usize..200) {
            let text = a_life("a", 1)[1].to_text();
            let whole = text.trim_end().as_bytes();
            prop_assert!(Line::parse(whole).is_some());
            let torn = &whole[..cut.min(whole.len() - 1)];
            prop_assert_eq!(Line::parse(torn), None);
            let mut changed = whole.to_vec();
            changed[at % whole.len()] ^= flip;
            prop_assert_eq!(Line::parse(&changed), None);
        }
    }
}
